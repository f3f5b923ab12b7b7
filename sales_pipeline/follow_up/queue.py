"""The queue of one day: situations judged, proposals allocated, ids and dates given.

Belongs here: putting the tables together, and what ties a row to the one of the last run. Does not belong here: rules, allocation, what
feedback means, measuring effects.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.contracts.model import Table
from sales_pipeline.contracts.published import FOLLOW_UP_QUEUE, LEFT_OUT, OWNER_WORKLOAD
from sales_pipeline.domain.identifiers import digest_of
from sales_pipeline.domain.time import AsOf
from sales_pipeline.engines.base import Engine
from sales_pipeline.engines.machine import one_core
from sales_pipeline.errors import SalesPipelineError
from sales_pipeline.follow_up.allocation import Allocation, Chosen, allocate
from sales_pipeline.follow_up.capacity import OwnerDay, Owners, read_owners
from sales_pipeline.follow_up.cohort import ELIGIBLE_REASONS
from sales_pipeline.follow_up.feedback import Feedback
from sales_pipeline.follow_up.gain import Effect, typical_effect
from sales_pipeline.follow_up.omissions import Omission, omitted
from sales_pipeline.follow_up.params import FollowUpParams
from sales_pipeline.follow_up.reassignment import reassign, reassigned_reason
from sales_pipeline.follow_up.rules import Proposal, judge
from sales_pipeline.follow_up.situation import Situation, Situations, gather
from sales_pipeline.lake.tables import TableRef, conform, read_table

POLICY = "expected_gain_assignment/1"


@dataclass(frozen=True)
class Queue:
    """`rows` (FOLLOW_UP_QUEUE) and `left_out` (LEFT_OUT): together every open opportunity exactly once; `workload` (OWNER_WORKLOAD).

    `facts` tell how the day was solved: gain, bound, gap, the greedy order's gain.
    """

    rows: pa.Table
    left_out: pa.Table
    workload: pa.Table
    facts: dict[str, Any] = field(default_factory=dict)


@one_core()
def build_queue(
    scored: pa.Table,
    *,
    touches: pa.Table,
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
    effects: Mapping[str, Effect] | None = None,
) -> Queue:
    """Queue and left-out rows for the working day after `as_of`.

    Parameters
    ----------
    scored
        SCORED_OPPORTUNITIES of this run.
    touches
        TOUCHES of the scoring features: empty without activities.
    activities, planned, contacts, owners
        Canonical tables; any of them may be empty. What is lacking is not guessed: without activities no rule speaks
        of contacts, without contacts nobody has refused, without owners everybody is active and has the default day.
    previous_queue
        FOLLOW_UP_QUEUE of the published run with the greatest earlier as-of: carries `expires_at` and `attempt` of unworked rows on.
    feedback
        FEEDBACK; None where there is none.
    spine
        Scoring SPINE, for the main contact and the age of opportunities; without it both are unknown.
    exchange_rates
        EXCHANGE_RATES: needed to rank opportunities of several currencies against each other.
    effects
        The estimated effect of a contact now by opportunity_id. All or nothing: where there are any, contacts about opportunities without one
        gain by the mean of the others, as gains by effect and by rule must not compete.

    Raises SalesPipelineError when `scored` is of another as-of, ConfigurationError for an unknown country or zone.
    """
    _check_as_of(scored, as_of)
    said = Feedback.of(feedback, as_of, params)
    people = read_owners(owners, activities, as_of=as_of, params=params, engine=engine)
    situations = gather(
        scored,
        touches=touches,
        activities=activities,
        planned=planned,
        contacts=contacts,
        inactive={owner_id for owner_id in people.rows if not people.is_active(owner_id)},
        spine=spine,
        as_of=as_of,
        params=params,
        engine=engine,
        done_contacts=said.contacts(),
    )
    naming = _Naming(previous_queue, people, as_of, params)
    desk = _Desk(said, naming, as_of, params, effects or {})
    is_worked = situations.flags("is_owner_active")
    desk.judge_all(situations.where(is_worked))
    gone = situations.where(~is_worked).rows()
    stand_ins = reassign(gone, people, desk.needed_minutes(), params.minutes.call)
    desk.judge_all(Situations.of(stand_ins.get((one.source_system, one.opportunity_id), one) for one in gone))
    found = allocate(desk.proposals, people, params, rates_at(exchange_rates, as_of, params))
    left = pa.concat_tables([*desk.left, omitted(found.left)])

    shared = {"as_of": as_of.instant, "run_id": run_id}
    ranks: Counter[str] = Counter()
    rows = []
    for chosen in found.taken:
        owner = chosen.proposal.situation.owner_id or ""
        ranks[owner] += 1
        rows.append(naming.row(chosen) | {"rank": ranks[owner]} | shared)
    workload = [line | shared for line in _workload(situations, found, left, people)]
    return Queue(_table(rows, FOLLOW_UP_QUEUE), _left_out(left, shared), _table(workload, OWNER_WORKLOAD), found.facts)


class _Desk:
    """Judges situations: proposals that may be made, and what is left out (tables of OMITTED)."""

    def __init__(
        self, said: Feedback, naming: _Naming, as_of: AsOf, params: FollowUpParams, effects: Mapping[str, Effect]
    ) -> None:
        self._said = said
        self._naming = naming
        self._as_of = as_of
        self._params = params
        self._effects = effects
        self._typical = typical_effect(effects.values())
        self.proposals: list[Proposal] = []
        self.left: list[pa.Table] = []

    def judge_all(self, situations: Situations) -> None:
        judged = judge(situations, self._as_of, self._params, self._effect_of)
        dealt_with: list[Omission] = []
        for proposals in judged.proposed:
            situation, allowed = proposals[0].situation, proposals
            if (situation.source_system, situation.opportunity_id) in self._said.by_opportunity:
                episode_id = self._naming.episode_id(situation)
                verdicts = [
                    self._said.verdict(p, episode_id, self._naming.names(p, since_start=True)) for p in proposals
                ]
                allowed = [p for p, verdict in zip(proposals, verdicts, strict=True) if verdict is None]
                if not allowed:
                    detail = next(verdict for verdict in verdicts if verdict is not None)
                    dealt_with.append(Omission(situation, "dealt_with", detail))
            self.proposals += allowed
        self.left += [judged.left, omitted(dealt_with)]

    def _effect_of(self, situation: Situation) -> Effect | None:
        return self._effects.get(situation.opportunity_id, self._typical)

    def needed_minutes(self) -> Counter[str]:
        """Minutes that each owner's proposals call for, the first one of each opportunity counted."""
        needed: Counter[str] = Counter()
        last: Situation | None = None
        for proposal in self.proposals:
            if proposal.situation is not last:
                needed[proposal.situation.owner_id or ""] += proposal.minutes
            last = proposal.situation
        return needed


def _workload(situations: Situations, found: Allocation, left: pa.Table, people: Owners) -> Iterator[dict[str, Any]]:
    """Rows of OWNER_WORKLOAD: owners of open opportunities and those who stand in. `left` is a table of OMITTED."""
    open_count = _counted(situations.table["owner_id"])
    rows, minutes, explored, reassigned = (Counter[str]() for _ in range(4))
    is_eligible = pc.is_in(left["reason"], value_set=pa.array(ELIGIBLE_REASONS))
    eligible = _counted(left["owner_id"].filter(is_eligible))
    capacity = _counted(left["owner_id"].filter(pc.equal(left["reason"], "capacity")))
    for chosen in found.taken:
        owner = chosen.proposal.situation.owner_id or ""
        rows[owner] += 1
        minutes[owner] += chosen.proposal.minutes
        explored[owner] += chosen.chosen_by == "exploration"
        reassigned[owner] += chosen.proposal.situation.reassigned_from is not None
        eligible[owner] += 1
    owners = {*open_count, *rows, *left["owner_id"].unique().to_pylist()}
    for owner in sorted(name for name in owners if name):
        day: OwnerDay = people.day(owner)
        yield {
            "owner_id": owner,
            "capacity_minutes": day.capacity_minutes if people.is_active(owner) else 0,
            "capacity_basis": day.capacity_basis if people.is_active(owner) else "owners_table",
            "planned_minutes": minutes[owner],
            "queue_rows": rows[owner],
            "exploration_rows": explored[owner],
            "reassigned_rows": reassigned[owner],
            "open_count": open_count[owner],
            "eligible_count": eligible[owner],
            "capacity_left_out_count": capacity[owner],
            "due_at": day.due_at,
        }


def _counted(owner_ids: pa.ChunkedArray) -> Counter[str]:
    """How often each owner is named."""
    return Counter({one["values"]: one["counts"] for one in owner_ids.drop_null().value_counts().to_pylist()})


class _Naming:
    """Ids, dates and attempts of rows, and what the last queue says about them."""

    def __init__(self, previous_queue: pa.Table | None, people: Owners, as_of: AsOf, params: FollowUpParams) -> None:
        self._as_of = as_of
        self._params = params
        self._people = people
        self._today = as_of.day(params.time_zone).toordinal()
        self._previous: dict[str, dict[str, Any]] = {}
        if previous_queue is not None:
            columns = previous_queue.select(["queue_id", "expires_at", "due_at", "attempt"])
            self._previous = {row["queue_id"]: row for row in columns.to_pylist() if row["expires_at"] > as_of.instant}

    def row(self, chosen: Chosen) -> dict[str, Any]:
        proposal = chosen.proposal
        situation = proposal.situation
        names = list(self.names(proposal))
        day = self._people.day(situation.owner_id or "")
        living = (name for name in names if name in self._previous and self._previous[name]["expires_at"] >= day.due_at)
        queue_id = next(living, None)
        before = None if queue_id is None else self._previous[queue_id]
        attempt = 1 if before is None else before["attempt"] + (before["due_at"] <= self._as_of.instant)
        return {
            "queue_id": queue_id or names[0],
            "source_system": situation.source_system,
            "owner_id": situation.owner_id,
            "opportunity_id": situation.opportunity_id,
            "account_id": situation.account_id,
            "contact_id": situation.contact_id,
            "action": proposal.action,
            "channel": proposal.channel,
            "due_at": day.due_at,
            "expires_at": day.expires_at if before is None else before["expires_at"],
            "priority": proposal.priority,
            "expected_gain": proposal.expected_gain,
            "gain_basis": proposal.gain_basis,
            "estimated_minutes": proposal.minutes,
            "reason": proposal.reason + reassigned_reason(situation, self._people),
            "evidence": proposal.evidence + _holiday_note(day),
            "last_touch_at": situation.last_touch_at,
            "attempt": attempt,
            "propensity": chosen.propensity,
            "policy": POLICY,
            "stage": situation.stage,
            "episode_id": self.episode_id(situation),
            "chosen_by": chosen.chosen_by,
            "reassigned_from": situation.reassigned_from,
        }

    def episode_id(self, situation: Situation) -> str:
        named = digest_of(situation.source_system, situation.opportunity_id, _episode(situation), length=20)
        return f"ep-{named}"

    def names(self, proposal: Proposal, *, since_start: bool = False) -> Iterator[str]:
        """The id of the follow-up were it proposed first today, then those of earlier windows of the same episode.

        An episode lasts until the next contact or change of stage. It is cut into windows of `expires_after_working_days`
        calendar days, counted from the last contact (or the creation). A row lives that many working days, hence into a
        later window: so an id is never used again after it has expired, and no date enters it. Windows in which a row that still
        lives may have been named, or with `since_start` all.
        """
        situation = proposal.situation
        anchor = situation.last_touch_at or situation.created_at
        start_day = 0 if anchor is None else AsOf(anchor).day(self._params.time_zone).toordinal()
        window = (self._today - start_day) // self._params.expires_after_working_days
        oldest = max(window - _living_windows(self._params.expires_after_working_days), -1)
        if since_start:
            oldest = max(window - _MOST_WINDOWS, -1)
        episode = _episode(situation)
        for number in range(window, oldest, -1):
            named = digest_of(
                situation.source_system, situation.opportunity_id, proposal.action, [*episode, number], length=20
            )
            yield f"fu-{named}"


_MOST_WINDOWS = 400
"""Windows looked back over for feedback on rows that do not name their episode."""


def _episode(situation: Situation) -> list[str | None]:
    anchor = situation.last_touch_at or situation.created_at
    return [situation.stage, None if anchor is None else AsOf(anchor).isoformat()]


def _holiday_note(day: OwnerDay) -> str:
    if not day.holidays_before:
        return ""
    count = "1 public holiday" if day.holidays_before == 1 else f"{day.holidays_before} public holidays"
    return f"; due on the next working day, {day.due_at.date().isoformat()}, after {count}"


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


def rates_at(exchange_rates: TableRef | None, as_of: AsOf, params: FollowUpParams) -> dict[str, Decimal]:
    """Units of each currency for one of the corporate currency, as valid on the last day as_of sees."""
    if exchange_rates is None:
        return {}
    day = as_of.day(params.time_zone)
    rows = read_table(exchange_rates, ["currency", "valid_from", "rate"]).to_pylist()
    valid = sorted((row["valid_from"], row["currency"], row["rate"]) for row in rows if row["valid_from"] <= day)
    return {currency: Decimal(str(rate)) for _, currency, rate in valid}


def _left_out(left: pa.Table, shared: Mapping[str, Any]) -> pa.Table:
    """LEFT_OUT from a table of OMITTED."""
    for name, value in shared.items():
        left = left.append_column(name, pa.repeat(pa.scalar(value), left.num_rows))
    return conform(left, LEFT_OUT)


def _table(rows: list[dict[str, Any]], contract: Table) -> pa.Table:
    return conform(pa.Table.from_pylist(rows, schema=arrow_schema(contract)), contract)
