"""What people in the simulated world see and write down: activities, replies, amounts, close dates, confirmed budgets.

Reads the hidden state of each weekly step and emits from it; nothing written here acts back on the state. Records are kept
as column chunks, one per week, and joined once at the end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from sales_pipeline.simulation.dynamics import (
    CLOSED_WON,
    STAGE_PROBABILITIES,
    Calendar,
    Floats,
    Ints,
)
from sales_pipeline.simulation.population import Population, workday_instant

CALL, EMAIL, MEETING = 0, 1, 2
_REPLY = np.array([0.01, 0.08, 0.24, 0.48])
_REPLY_AFTER_CONTACT = 0.10
_KIND_BY_STAGE = np.array([[0.45, 0.48], [0.38, 0.42], [0.30, 0.42], [0.30, 0.38]])
_PUSH_WHEN_DUE = np.array([0.25, 0.65, 0.85, 0.90])
_PUSH_ANYWAY = np.array([0.010, 0.030, 0.015, 0.008])
_CONFIRM_BUDGET = np.array([0.002, 0.01, 0.06, 0.11])
_REVISION_SPREAD = np.array([0.35, 0.25, 0.15, 0.08])


@dataclass(frozen=True, slots=True)
class Step:
    """One week of the chain for the open opportunities; `position` (0-1) is where in the week's working time the event fell."""

    week: int
    opportunity: Ints
    contacted: NDArray[np.bool_]
    engagement: Ints
    stage_before: Ints
    stage_after: Ints
    position: Floats


@dataclass(frozen=True)
class Trace:
    """The journal's tables as columns. Instants are seconds since 1970-01-01 UTC.

    history_*: one element per creation or change, ordered by (opportunity, instant): stage, amount (NaN: none), close day.
    activity_*: one per activity done, ordered by instant. budget_at: per opportunity, when the budget was confirmed (-1: not).
    discount: per opportunity, taken at signing (NaN: not won in view).
    """

    history_opportunity: Ints
    history_at: Ints
    history_stage: Ints
    history_amount: Floats
    history_close_day: Ints
    activity_opportunity: Ints
    activity_at: Ints
    activity_kind: Ints
    activity_is_inbound: NDArray[np.bool_]
    budget_at: Ints
    discount: Floats


class Journal:
    """Collects the trace of a world; `record` once per week in order of time, `finish` once."""

    def __init__(self, population: Population, calendar: Calendar, rng: Generator) -> None:
        self._opportunities = population.opportunities
        self._calendar = calendar
        self._rng = rng
        count = len(self._opportunities.account)
        self._amount = self._opportunities.first_amount.copy()
        self._close_day = self._opportunities.first_close_day.copy()
        self._budget_at = np.full(count, -1, dtype=np.int64)
        self._discount = np.full(count, np.nan)
        self._history: list[tuple[NDArray[np.generic], ...]] = [
            (
                np.arange(count),
                self._opportunities.created_at,
                np.zeros(count, dtype=np.int64),
                self._amount.copy(),
                self._close_day.copy(),
            )
        ]
        self._activities: list[tuple[NDArray[np.generic], ...]] = []

    def record(self, step: Step) -> None:
        """Write down what a week showed."""
        self._record_activities(step)
        self._record_budgets(step)
        self._record_changes(step)

    def finish(self) -> Trace:
        """Join the weeks into one trace."""
        opportunity, at, stage, amount, close_day = (
            np.concatenate(column) for column in zip(*self._history, strict=True)
        )
        order = np.lexsort((at, opportunity))
        if self._activities:
            done = [np.concatenate(column) for column in zip(*self._activities, strict=True)]
        else:
            done = [np.zeros(0, dtype=kind) for kind in (np.int64, np.int64, np.int64, np.bool_)]
        by_time = np.lexsort((done[0], done[1]))
        return Trace(
            history_opportunity=opportunity[order],
            history_at=at[order],
            history_stage=stage[order],
            history_amount=amount[order],
            history_close_day=close_day[order],
            activity_opportunity=done[0][by_time],
            activity_at=done[1][by_time],
            activity_kind=done[2][by_time],
            activity_is_inbound=done[3][by_time],
            budget_at=self._budget_at,
            discount=self._discount,
        )

    def _record_activities(self, step: Step) -> None:
        """Out: one or two per follow-up. In: a reply or an own approach, likelier the more engaged the customer. Before any closing."""
        rng = self._rng
        until = np.where(step.stage_after >= CLOSED_WON, step.position, 1.0)
        outbound = np.flatnonzero(step.contacted)
        outbound = np.concatenate((outbound, outbound[rng.random(len(outbound)) < 0.25]))
        chance = reply_probability(step.engagement, step.contacted)
        inbound = np.flatnonzero(rng.random(len(step.opportunity)) < chance)
        row = np.concatenate((outbound, inbound))
        is_inbound = np.arange(len(row)) >= len(outbound)
        shares = _KIND_BY_STAGE[step.stage_before[row]]
        draw = rng.random(len(row))
        kind = np.where(draw < shares[:, 0], CALL, np.where(draw < shares.sum(axis=1), EMAIL, MEETING))
        kind = np.where(is_inbound, np.where(draw < 0.2, CALL, EMAIL), kind)
        at = workday_instant(self._calendar.day_of(step.week), rng.random(len(row)) * until[row], self._calendar)
        self._activities.append((step.opportunity[row], at, kind, is_inbound))

    def _record_budgets(self, step: Step) -> None:
        rng = self._rng
        chance = _CONFIRM_BUDGET[step.engagement] * (step.stage_before >= 1)
        chance *= np.exp(0.4 * self._opportunities.constants.win_index[step.opportunity])
        seen = (rng.random(len(step.opportunity)) < chance) & (self._budget_at[step.opportunity] < 0)
        until = np.where(step.stage_after >= CLOSED_WON, step.position, 1.0)[seen]
        at = workday_instant(self._calendar.day_of(step.week), rng.random(int(seen.sum())) * until, self._calendar)
        self._budget_at[step.opportunity[seen]] = at

    def _record_changes(self, step: Step) -> None:
        """Stage moves with their revised amounts, pushes of the close date, and both set to the facts at closing."""
        row = step.opportunity
        day = self._calendar.day_of(step.week)
        at = workday_instant(day, step.position, self._calendar)
        close_day = self._next_close_day(step, day, at)
        amount = self._next_amount(step)
        changed = step.stage_before != step.stage_after
        changed |= close_day != self._close_day[row]
        changed |= ~((amount == self._amount[row]) | (np.isnan(amount) & np.isnan(self._amount[row])))
        self._amount[row], self._close_day[row] = amount, close_day
        self._history.append(
            (row[changed], at[changed], step.stage_after[changed], amount[changed], close_day[changed])
        )

    def _next_close_day(self, step: Step, day: int, at: Ints) -> Ints:
        rng = self._rng
        now = self._close_day[step.opportunity]
        draw = rng.random((3, len(now)))
        chance = np.where(now < day + 7, _PUSH_WHEN_DUE[step.engagement], _PUSH_ANYWAY[step.engagement])
        later = np.maximum(now, day + 7) + 10 + (-30.0 * np.log1p(-draw[1])).astype(np.int64)
        month = later.astype("datetime64[D]").astype("datetime64[M]") + 1
        later = np.where(draw[2] < 0.5, month.astype("datetime64[D]").astype(np.int64) - 1, later)
        pushed = np.where(draw[0] < chance, later, now)
        pull = (draw[0] > 0.97) & (step.engagement == 3) & (now > day + 28)
        return np.where(step.stage_after >= CLOSED_WON, at // 86_400, np.where(pull, now - 14, pushed))

    def _next_amount(self, step: Step) -> Floats:
        """At each new stage the estimate comes nearer to the budget (less half the discount in negotiation); signed value when won."""
        rng = self._rng
        row = step.opportunity
        now = self._amount[row]
        noise = rng.normal(size=len(row))
        unasked = rng.random(len(row)) < 0.012
        budget, mean = self._opportunities.budget[row], self._opportunities.discount_mean[row]
        discount = rng.beta(4.0, 4.0 * (1.0 / mean - 1.0))
        moved = (step.stage_after != step.stage_before) & (step.stage_after < CLOSED_WON)
        stage = np.minimum(step.stage_after, 3)
        estimate = budget * np.exp(_REVISION_SPREAD[stage] * noise) * np.where(stage == 3, 1.0 - 0.5 * mean, 1.0)
        revised = np.where(moved | (unasked & (step.stage_after < CLOSED_WON)), np.round(estimate, -2), now)
        won = step.stage_after == CLOSED_WON
        self._discount[row[won]] = discount[won]
        return np.where(won, np.round(budget * (1.0 - discount), 2), revised)


def reply_probability(engagement: Ints, contacted: NDArray[np.bool_]) -> Floats:
    """Probability that a customer is in touch in a week, by the engagement after its move."""
    return np.asarray(_REPLY[engagement] + _REPLY_AFTER_CONTACT * contacted * (engagement >= 1))


def stage_probability(stage: Ints) -> Ints:
    """The CRM's own probability of a stage, in percent."""
    return np.array(STAGE_PROBABILITIES, dtype=np.int64)[stage]
