"""The queue of one day: situations judged, proposals allocated, ids and dates given.

Belongs here: putting the two tables together, and what ties a row to the one of the last run. Does not belong here: rules,
allocation, measuring effects.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa

from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.contracts.model import Column, Table
from sales_pipeline.contracts.published import FOLLOW_UP_QUEUE, LEFT_OUT
from sales_pipeline.domain.identifiers import digest_of
from sales_pipeline.domain.time import AsOf
from sales_pipeline.engines.base import Engine
from sales_pipeline.errors import SalesPipelineError
from sales_pipeline.follow_up.allocation import allocate
from sales_pipeline.follow_up.calendar import WorkingCalendar
from sales_pipeline.follow_up.params import FollowUpParams
from sales_pipeline.follow_up.rules import Omission, Proposal, judge
from sales_pipeline.follow_up.situation import Situation, gather
from sales_pipeline.lake.tables import TableRef, conform, read_table

POLICY = "value_at_risk_rules/1"

FEEDBACK = Table(
    "feedback",
    "one row per follow-up that somebody has dealt with",
    ("queue_id",),
    (
        Column("queue_id", "string", "the follow-up's id", required=True),
        Column("dealt_with_at", "timestamp", "when it was done or declined", unit="UTC", required=True),
    ),
)
"""Feedback as the queue reads it: a follow-up dealt with before as_of is not proposed again in its episode."""


@dataclass(frozen=True)
class Queue:
    """`rows` (FOLLOW_UP_QUEUE) and `left_out` (LEFT_OUT): together every open opportunity exactly once."""

    rows: pa.Table
    left_out: pa.Table


def build_queue(
    scored: pa.Table,
    *,
    activities: TableRef,
    planned: TableRef,
    contacts: TableRef,
    owners: TableRef,
    previous_queue: pa.Table | None,
    feedback: pa.Table | None,
    as_of: AsOf,
    params: FollowUpParams,
    run_id: str,
    engine: Engine,
    spine: pa.Table | None = None,
    exchange_rates: TableRef | None = None,
) -> Queue:
    """Queue and left-out rows for the working day after `as_of`.

    Parameters
    ----------
    scored
        SCORED_OPPORTUNITIES of this run.
    activities, planned, contacts, owners
        Canonical tables; any of them may be empty. What is lacking is not guessed: without activities no rule speaks
        of contacts, without contacts nobody has refused.
    previous_queue
        FOLLOW_UP_QUEUE of the published run with the greatest earlier as-of: carries `expires_at` and `attempt` of unworked rows on.
    feedback
        FEEDBACK; None where there is none.
    spine
        Scoring SPINE, for the main contact and the age of opportunities; without it both are unknown.
    exchange_rates
        EXCHANGE_RATES: needed to rank opportunities of several currencies against each other.

    Raises SalesPipelineError when `scored` is of another as-of, ConfigurationError for an unknown country or zone.
    """
    _check_as_of(scored, as_of)
    situations = gather(
        scored,
        activities=activities,
        planned=planned,
        contacts=contacts,
        owners=owners,
        spine=spine,
        as_of=as_of,
        params=params,
        engine=engine,
    )
    naming = _Naming(previous_queue, feedback, as_of, params)
    proposals: list[Proposal] = []
    omissions: list[Omission] = []
    for situation in situations:
        outcome = judge(situation, as_of, params)
        if isinstance(outcome, Omission):
            omissions.append(outcome)
            continue
        done = [instant for proposal in outcome if (instant := naming.dealt_with_at(proposal)) is not None]
        if done:
            detail = f"This follow-up was dealt with on {max(done).date().isoformat()}"
            omissions.append(Omission(situation, "cool_down", detail))
        else:
            proposals += outcome
    taken, left = allocate(proposals, params, _rates(exchange_rates, as_of, params))
    omissions += left

    shared = {"as_of": as_of.instant, "run_id": run_id}
    ranks: dict[str, int] = {}
    rows = []
    for proposal in taken:
        owner = proposal.situation.owner_id or ""
        ranks[owner] = ranks.get(owner, 0) + 1
        rows.append(naming.row(proposal) | {"rank": ranks[owner]} | shared)
    left_rows = [
        {
            "source_system": omission.situation.source_system,
            "opportunity_id": omission.situation.opportunity_id,
            "account_id": omission.situation.account_id,
            "owner_id": omission.situation.owner_id,
            "reason": omission.reason,
            "detail": omission.detail,
        }
        | shared
        for omission in omissions
    ]
    return Queue(_table(rows, FOLLOW_UP_QUEUE), _table(left_rows, LEFT_OUT))


class _Naming:
    """Ids, dates and attempts of rows, and what the last queue and the feedback say about them."""

    def __init__(
        self, previous_queue: pa.Table | None, feedback: pa.Table | None, as_of: AsOf, params: FollowUpParams
    ) -> None:
        self._as_of = as_of
        self._params = params
        calendar = WorkingCalendar(params.country, params.time_zone)
        self._due_at = calendar.end_of_working_day(as_of, 1)
        self._expires_at = calendar.end_of_working_day(as_of, params.expires_after_working_days)
        self._previous: dict[str, dict[str, Any]] = {}
        if previous_queue is not None:
            self._previous = {
                row["queue_id"]: row for row in previous_queue.to_pylist() if row["expires_at"] > as_of.instant
            }
        self._dealt_with: dict[str, datetime] = {}
        if feedback is not None:
            self._dealt_with = {
                row["queue_id"]: row["dealt_with_at"]
                for row in feedback.to_pylist()
                if row["dealt_with_at"] < as_of.instant
            }

    def dealt_with_at(self, proposal: Proposal) -> datetime | None:
        """When somebody dealt with this very follow-up, if anybody has."""
        return next((self._dealt_with[name] for name in self._names(proposal) if name in self._dealt_with), None)

    def row(self, proposal: Proposal) -> dict[str, Any]:
        situation = proposal.situation
        names = list(self._names(proposal))
        queue_id = next((name for name in names if name in self._previous), names[0])
        before = self._previous.get(queue_id)
        attempt = 1 if before is None else before["attempt"] + (before["due_at"] <= self._as_of.instant)
        expires_at = self._expires_at if before is None else before["expires_at"]
        return {
            "queue_id": queue_id,
            "source_system": situation.source_system,
            "owner_id": situation.owner_id,
            "opportunity_id": situation.opportunity_id,
            "account_id": situation.account_id,
            "contact_id": situation.contact_id,
            "action": proposal.action,
            "channel": proposal.channel,
            "due_at": min(self._due_at, expires_at),
            "expires_at": expires_at,
            "priority": proposal.priority,
            "expected_gain": proposal.expected_gain,
            "gain_basis": proposal.gain_basis,
            "estimated_minutes": proposal.minutes,
            "reason": proposal.reason,
            "evidence": proposal.evidence,
            "last_touch_at": situation.last_touch_at,
            "attempt": attempt,
            "propensity": 1.0 - self._params.hold_out_share,
            "policy": POLICY,
            "stage": situation.stage,
            "episode_id": f"ep-{digest_of(situation.source_system, situation.opportunity_id, self._episode(situation), length=20)}",
            "chosen_by": "gain",
            "reassigned_from": None,
        }

    def _names(self, proposal: Proposal) -> Iterator[str]:
        """The id of the follow-up were it proposed first today, then those of earlier windows of the same episode.

        An episode lasts until the next contact or change of stage. It is cut into windows of `expires_after_working_days`
        calendar days, counted from the last contact (or the creation). A row lives that many working days, hence into a
        later window: so an id is never used again after it has expired, and no date enters it.
        """
        situation = proposal.situation
        anchor = situation.last_touch_at or situation.created_at
        episode = self._episode(situation)
        zone_name = self._params.time_zone
        start_day = 0 if anchor is None else AsOf(anchor).day(zone_name).toordinal()
        window = (self._as_of.day(zone_name).toordinal() - start_day) // self._params.expires_after_working_days
        for number in range(window, max(window - _living_windows(self._params.expires_after_working_days), -1), -1):
            named = digest_of(
                situation.source_system, situation.opportunity_id, proposal.action, [*episode, number], length=20
            )
            yield f"fu-{named}"

    def _episode(self, situation: Situation) -> list[str | None]:
        anchor = situation.last_touch_at or situation.created_at
        return [situation.stage, None if anchor is None else AsOf(anchor).isoformat()]


def _living_windows(working_days: int) -> int:
    """How many windows back a living row may have been named: n working days last 2n + 14 calendar days at most.

    That is a week-end in every week and the longest public holidays there are (Golden Week, Spring Festival).
    """
    return (2 * working_days + 14) // working_days + 1


def _check_as_of(scored: pa.Table, as_of: AsOf) -> None:
    found = scored.column("as_of").unique().to_pylist()
    if any(instant != as_of.instant for instant in found):
        raise SalesPipelineError(
            "the scored table is of another as-of",
            expected=as_of.isoformat(),
            found=", ".join(sorted(AsOf(instant).isoformat() for instant in found)),
            fix="score again for this as-of",
        )


def _rates(exchange_rates: TableRef | None, as_of: AsOf, params: FollowUpParams) -> dict[str, Decimal]:
    """Units of each currency for one of the corporate currency, as valid on the last day as_of sees."""
    if exchange_rates is None:
        return {}
    day = as_of.day(params.time_zone)
    rows = read_table(exchange_rates, ["currency", "valid_from", "rate"]).to_pylist()
    valid = sorted((row["valid_from"], row["currency"], row["rate"]) for row in rows if row["valid_from"] <= day)
    return {currency: Decimal(str(rate)) for _, currency, rate in valid}


def _table(rows: list[dict[str, Any]], contract: Table) -> pa.Table:
    return conform(pa.Table.from_pylist(rows, schema=arrow_schema(contract)), contract)
