"""Weeks of opportunities with a planted effect of contacts, for tests of the estimate.

A customer is warm or cold. Warm ones reply, move on and are won; a contact makes a cold customer warm with `lift`. Sellers contact by habit, and with
`confounding` rather the warm ones, which no column shows.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa

from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.contracts.internal import CONTACT_WEEKS
from sales_pipeline.domain.time import AsOf

AS_OF = AsOf(datetime(2026, 7, 1, tzinfo=UTC))
WEEKS = 60


def planted_weeks(
    *,
    seed: int = 1,
    opportunities: int = 1500,
    lift: float = 0.0,
    lift_of_web: float | None = None,
    confounding: float = 0.0,
    certain: bool = False,
) -> pa.Table:
    """CONTACT_WEEKS as of AS_OF. `lift_of_web`: the lift of opportunities from the web, where it differs; `certain`: warm ones are contacted always,
    cold ones never, and everybody sees who is warm by the stage."""
    rng = np.random.default_rng(seed)
    created = rng.integers(0, WEEKS - 1, opportunities)
    web = rng.random(opportunities) < 0.5
    owner = rng.integers(0, 12, opportunities)
    habit = rng.normal(0.0, 0.5, 12)[owner]
    lifts = np.where(web, lift if lift_of_web is None else lift_of_web, lift)
    warm = rng.random(opportunities) < 0.4
    is_open = np.zeros(opportunities, dtype=bool)
    won = np.full(opportunities, np.nan)
    closed = np.full(opportunities, -1)
    rows: dict[str, list[np.ndarray]] = {name: [] for name in ("who", "week", "stage", "inbound", "kind")}
    for week in range(WEEKS + 1):
        is_open |= created + 1 == week
        here = np.flatnonzero(is_open)
        draws = rng.random((6, len(here)))
        state = warm[here]
        logit = habit[here] - 0.5 + confounding * (state - 0.5)
        contacted = state.copy() if certain else draws[0] < 1 / (1 + np.exp(-logit))
        turned = np.where(contacted, lifts[here], 0.0)
        state = np.where(state, draws[1] > 0.10, draws[1] < 0.06 + turned)
        inbound = draws[2] < np.where(state, 0.45, 0.05)
        shown = np.where(warm[here], 1, 0) if certain else np.zeros(len(here), dtype=int)
        if week == WEEKS:
            contacted[:], inbound[:] = False, False
        for name, values in zip(
            rows,
            (here, np.full(len(here), week), shown, inbound, np.where(contacted, 1 + (draws[3] < 0.5), 0)),
            strict=True,
        ):
            rows[name].append(values)
        warm[here] = state
        if week == WEEKS:
            break
        win, lose = np.where(state, 0.06, 0.005), np.where(state, 0.02, 0.05)
        ends = draws[4] < win + lose
        won[here[ends]] = (draws[4] < win)[ends]
        closed[here[ends]] = week
        is_open[here[ends]] = False
    who, when, stage, inbound, kind = (np.concatenate(rows[name]) for name in rows)
    first = AS_OF.instant - timedelta(weeks=WEEKS)

    def instants(weeks: np.ndarray, hours: int = 0) -> list[datetime]:
        return [first + timedelta(weeks=int(week), hours=hours) for week in weeks]

    outcome = won[who]
    columns = {
        "opportunity_id": [f"o{number:06d}" for number in who],
        "as_of": instants(when),
        "kind": ["opportunity"] * len(who),
        "account_id": [f"a{number:06d}" for number in who],
        "owner_id": [f"u{number}" for number in owner[who]],
        "stage": [("Cold", "Warm")[int(number)] for number in stage],
        "created_at": instants(created[who], 24),
        "lead_source": ["web" if flag else "event" for flag in web[who]],
        "industry": [None] * len(who),
        "employees": [None] * len(who),
        "inbound_count": inbound.astype(int),
        "call_count": (kind == 1).astype(int),
        "email_count": (kind == 2).astype(int),
        "meeting_count": np.zeros(len(who), dtype=int),
        "is_won": [None if np.isnan(value) else bool(value) for value in outcome],
        "closed_at": [
            None if np.isnan(value) else first + timedelta(weeks=int(week), hours=40)
            for value, week in zip(outcome, closed[who], strict=True)
        ],
    }
    return pa.table(columns, schema=arrow_schema(CONTACT_WEEKS))


def true_effect(*, lift: float, confounding: float = 0.0) -> float:
    """The mean effect of a contact on being won in the end, by first-step analysis of the two-state chain under the mean seller's habit."""
    alone, warm_contact = (1 / (1 + np.exp(0.5 - sign * 0.5 * confounding)) for sign in (-1.0, 1.0))
    assert 0 < warm_contact < 1
    up = 0.06 + alone * lift
    # Unknown: values of cold and warm before the week's move (c, w); after it a warm one is won 0.06 + 0.92 w, a cold one 0.005 + 0.945 c.
    left = np.array([[1 - (1 - up) * 0.945, -up * 0.92], [-0.10 * 0.945, 1 - 0.90 * 0.92]])
    cold, warm = np.linalg.solve(left, np.array([(1 - up) * 0.005 + up * 0.06, 0.10 * 0.005 + 0.90 * 0.06]))
    after = (0.06 + 0.92 * warm) - (0.005 + 0.945 * cold)
    # The share of open ones that are cold, at the chain's quasi-stationary mix.
    chain = np.array([[(1 - up) * 0.945, up * 0.92], [0.10 * 0.945, 0.90 * 0.92]])
    vector = np.ones(2)
    for _ in range(500):
        vector = vector @ chain
        vector /= vector.sum()
    return float(vector[0] * lift * after)
