"""Which proposals fit into the day: hold-out, one per opportunity, account and contact, the day of each owner, exploration.

1. Proposals that gain nothing leave; then the opportunities that the seeded draw holds out, among those that could be queued.
2. Owners who explore today keep a slot of `exploration_minutes` free. Whether one does is drawn by owner and day, with the probability that makes
   the slots take `exploration_share` of his capacity on average.
3. The rest of everybody's day is solved as an assignment by expected gain (`assignment`); proposals whose gain cannot be compared (no amount known,
   or no rate among several currencies) come after the others, by probability at risk per minute.
4. Owners who explore draw one of the proposals left that still fit, each with the same chance.

The logged propensity is the chance that a row gets into the queue given the data of the day, the draws of the other opportunities and who
explores: 1 - hold_out_share for rows chosen by gain, and that divided by the number of candidates for rows drawn (so that inverse propensity
weighting holds: Horvitz and Thompson, "A Generalization of Sampling Without Replacement", 1952).

Belongs here: weighing proposals against each other. Does not belong here: what a proposal is (`rules`), numbers (`assignment`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import numpy as np

from sales_pipeline.domain.identifiers import digest_of
from sales_pipeline.follow_up.assignment import Solution, solve
from sales_pipeline.follow_up.capacity import OwnerDay, Owners
from sales_pipeline.follow_up.params import FollowUpParams
from sales_pipeline.follow_up.problem import NOTHING, Bools, Ints, Problem
from sales_pipeline.follow_up.rules import Omission, Proposal, is_held_out
from sales_pipeline.follow_up.situation import Situation


@dataclass(frozen=True)
class Chosen:
    """A proposal in the queue: by `gain` or `exploration`, with the probability (0–1) it was chosen with."""

    proposal: Proposal
    chosen_by: str
    propensity: float


@dataclass(frozen=True)
class Allocation:
    """`taken`, at most one per opportunity, in falling order of gain per minute; `left` with their reasons; `facts` about how the day was solved."""

    taken: list[Chosen]
    left: list[Omission]
    facts: dict[str, Any] = field(default_factory=dict)


def allocate(
    proposals: Iterable[Proposal], owners: Owners, params: FollowUpParams, rates: Mapping[str, Decimal] | None = None
) -> Allocation:
    """The proposals taken and the opportunities left out. Amounts of several currencies are compared in the corporate currency by `rates`
    (units of a currency for one of the corporate currency)."""
    everyone = list(proposals)
    values = comparable_gains(everyone, rates or {})
    gainful = [proposal for proposal in everyone if _can_gain(proposal, values)]
    hopeless = _situations(everyone).keys() - _situations(gainful).keys()
    held = {key for key, one in _situations(gainful).items() if is_held_out(one, params)}
    able = [proposal for proposal in gainful if id(proposal.situation) not in held]
    able.sort(key=lambda proposal: _order(proposal, values))
    day = _Day(able, owners, params, values)
    solution, taken = day.by_gain()
    drawn = day.explore(taken)

    keep = 1.0 - params.hold_out_share
    chosen = [Chosen(able[index], "gain", keep) for index in np.flatnonzero(taken).tolist()]
    chosen += [Chosen(able[index], "exploration", keep / among) for index, among in drawn.items()]
    chosen.sort(key=lambda one: _order(one.proposal, values))
    left = [
        Omission(situation, "hold_out", "Kept out at random to measure the effect of following up")
        if key in held
        else Omission(situation, "no_gain", "No follow-up is expected to gain anything")
        for key, situation in _situations(everyone).items()
        if key in held or key in hopeless
    ]
    left += _left_out([one.proposal for one in chosen], able, day)
    facts = {
        "method": params.assignment.method,
        "expected_gain": round(solution.gain, 2),
        "bound": round(solution.bound, 2),
        "gap_to_bound": round(solution.gap, 6),
        "greedy_expected_gain": round(solution.greedy_gain, 2),
        "parts": solution.parts,
        "rounded_parts": solution.rounded_parts,
        "proposals": len(everyone),
        "proposals_considered": solution.considered,
        "exploring_owners": len(day.exploring),
        "explored_rows": len(drawn),
    }
    return Allocation(chosen, left, facts)


class _Day:
    """The proposals of a day as arrays, in falling order of gain per minute, and the days of their owners."""

    def __init__(
        self,
        proposals: Sequence[Proposal],
        owners: Owners,
        params: FollowUpParams,
        values: Mapping[tuple[str, str, str], Decimal],
    ) -> None:
        self.proposals = proposals
        self.params = params
        numbers: dict[str, int] = {}
        self.owner = _numbered([p.situation.owner_id or "" for p in proposals], numbers)
        self.days: list[OwnerDay] = [owners.day(name) for name in numbers]
        self.exploring = {number for number, day in enumerate(self.days) if self._explores(day)}
        gains = [values.get(_key(proposal)) for proposal in proposals]
        self.known = np.array([gain is not None for gain in gains], dtype=bool)
        self.at_risk = np.array([_at_risk(proposal) for proposal in proposals], dtype=np.float64)
        slot = np.array([params.exploration_minutes * (n in self.exploring) for n in range(len(self.days))], np.int64)
        self.capacity = np.array([day.capacity_minutes for day in self.days], np.int64)
        self.rows = np.full(len(self.days), params.max_rows_per_owner, np.int64)
        self.problem = Problem(
            gains=np.array([0.0 if gain is None else float(gain) for gain in gains]),
            minutes=np.array([proposal.minutes for proposal in proposals], np.int64),
            owners=self.owner,
            opportunities=_numbered([(p.situation.source_system, p.situation.opportunity_id) for p in proposals]),
            accounts=_numbered([p.situation.account_id for p in proposals]),
            contacts=_numbered([p.situation.contact_id for p in proposals]),
            capacity=self.capacity - slot,
            most_rows=np.maximum(self.rows - (slot > 0), 0),
            least_minutes=(params.min_capacity_share * (self.capacity - slot)).astype(np.float64),
        )

    def _explores(self, day: OwnerDay) -> bool:
        """Drawn by owner and day; owners without time for a slot, or without rows, never explore."""
        params = self.params
        if params.exploration_minutes > day.capacity_minutes or params.max_rows_per_owner < 1:
            return False
        chance = params.exploration_share * day.capacity_minutes / params.exploration_minutes
        drawn = _draw("explores", params.exploration_seed, day.owner_id, day.due_at.isoformat())
        return drawn < min(1.0, chance)

    def by_gain(self) -> tuple[Solution, Bools]:
        """What is taken, and the solution over the proposals whose gain is known (over the others, by probability at risk, where none is)."""
        taken = np.zeros(len(self.proposals), bool)
        first = solve(self.problem.only(np.flatnonzero(self.known)), self.params.assignment)
        taken[np.flatnonzero(self.known)[first.taken]] = True
        if self.known.all():
            return first, taken
        rest, rows = self._left_by(taken)
        second = solve(rest, self.params.assignment)
        taken[rows[second.taken]] = True
        return (first if self.known.any() else second), taken

    def _left_by(self, taken: Bools) -> tuple[Problem, Ints]:
        """The problem of proposals whose gain is not known, in what the others leave, and their positions."""
        problem = self.problem
        free = ~self.known
        for column in (problem.opportunities, problem.accounts, problem.contacts):
            free &= ~np.isin(column, column[taken & (column != NOTHING)])
        rows = np.flatnonzero(free)
        used = np.bincount(problem.owners[taken], problem.minutes[taken], len(self.days)).astype(np.int64)
        count = np.bincount(problem.owners[taken], minlength=len(self.days))
        part = problem.only(rows)
        return replace(
            part,
            gains=self.at_risk[rows],
            capacity=problem.capacity - used,
            most_rows=problem.most_rows - count,
            least_minutes=np.minimum(problem.least_minutes, problem.capacity - used),
        ), rows

    def explore(self, taken: Bools) -> dict[int, int]:
        """The proposals drawn, each with the number of candidates it was drawn among.

        Who competes for what is settled before anything is drawn: an account or contact that candidates of several exploring owners share
        belongs to the owner with the first of them.
        """
        if not self.exploring:
            return {}
        full, problem = taken.copy(), self.problem
        left = self.capacity - np.bincount(problem.owners[full], problem.minutes[full], len(self.days)).astype(np.int64)
        columns = (problem.opportunities, problem.accounts, problem.contacts)
        used = [set(column[full].tolist()) - {NOTHING} for column in columns]
        claimed: list[dict[int, int]] = [{}, {}, {}]
        candidates: dict[int, list[int]] = {}
        explores = np.isin(problem.owners, np.array(sorted(self.exploring), np.int64))
        fits = problem.minutes <= left[problem.owners]
        for index in np.flatnonzero(explores & fits).tolist():
            owner = int(problem.owners[index])
            keys = [int(column[index]) for column in columns]
            if any(key in taken_keys for key, taken_keys in zip(keys, used, strict=True)):
                continue
            if all(key == NOTHING or by.get(key, owner) == owner for key, by in zip(keys, claimed, strict=True)):
                candidates.setdefault(owner, []).append(index)
                for key, by in zip(keys, claimed, strict=True):
                    by[key] = owner
        drawn = {}
        for owner, indexes in candidates.items():
            day = self.days[owner]
            draw = _draw("explored", self.params.exploration_seed, day.owner_id, day.due_at.isoformat())
            drawn[indexes[int(draw * len(indexes))]] = len(indexes)
        return drawn


def _draw(*parts: Any) -> float:
    """A number in [0, 1) that depends on the parts alone."""
    return int(digest_of(*parts), 16) / 16**16


def _numbered(values: Sequence[Any], numbers: dict[Any, int] | None = None) -> Ints:
    """Values by number in order of appearance; NOTHING for None."""
    known = {} if numbers is None else numbers
    return np.array([NOTHING if value is None else known.setdefault(value, len(known)) for value in values], np.int64)


def _situations(proposals: Iterable[Proposal]) -> dict[int, Situation]:
    """Each situation once, by identity, in order."""
    return {id(proposal.situation): proposal.situation for proposal in proposals}


def _can_gain(proposal: Proposal, values: Mapping[tuple[str, str, str], Decimal]) -> bool:
    value = values.get(_key(proposal))
    return _at_risk(proposal) > 0 if value is None else value > 0


def _left_out(taken: Sequence[Proposal], able: Sequence[Proposal], day: _Day) -> list[Omission]:
    """Why each opportunity that is not taken is not, by its proposal with most gain per minute."""
    accounts = {p.situation.account_id: p.situation.opportunity_id for p in taken if p.situation.account_id is not None}
    contacts = {p.situation.contact_id: p.situation.opportunity_id for p in taken if p.situation.contact_id is not None}
    minutes: dict[str, int] = {}
    rows: dict[str, int] = {}
    for proposal in taken:
        owner = proposal.situation.owner_id or ""
        minutes[owner] = minutes.get(owner, 0) + proposal.minutes
        rows[owner] = rows.get(owner, 0) + 1
    days = {one.owner_id: one for one in day.days}
    exploring = {day.days[number].owner_id for number in day.exploring}
    done = {id(proposal.situation) for proposal in taken}
    omissions = []
    for proposal in able:
        situation = proposal.situation
        if id(situation) in done:
            continue
        done.add(id(situation))
        if situation.account_id in accounts:
            detail = f"Opportunity {accounts[situation.account_id]} of the same account is in the queue"
            omissions.append(Omission(situation, "duplicate_account", detail))
        elif situation.contact_id in contacts:
            detail = f"Opportunity {contacts[situation.contact_id]} with the same contact is in the queue"
            omissions.append(Omission(situation, "duplicate_account", detail))
        else:
            owner = situation.owner_id or ""
            detail = _full(minutes.get(owner, 0), rows.get(owner, 0), proposal, days[owner], owner in exploring)
            omissions.append(Omission(situation, "capacity", detail))
    return omissions


def _full(minutes: int, rows: int, proposal: Proposal, day: OwnerDay, explores: bool) -> str:
    if day.capacity_minutes == 0:
        return f"The owner has no selling time: capacity is 0 minutes ({day.capacity_basis})"
    slot = ", one slot of them kept for exploration" if explores else ""
    return (
        f"Better follow-ups take {minutes} of {day.capacity_minutes} minutes in {rows} rows{slot}; "
        f"this one takes {proposal.minutes} minutes"
    )


def comparable_gains(
    proposals: Iterable[Proposal], rates: Mapping[str, Decimal]
) -> dict[tuple[str, str, str], Decimal]:
    """Expected gain of each proposal by (source_system, opportunity_id, action) in one currency; absent where it cannot be compared."""
    known = [p for p in proposals if p.expected_gain is not None]
    is_single = len({p.situation.currency for p in known}) <= 1
    gains = {}
    for proposal in known:
        rate = Decimal(1) if is_single else rates.get(proposal.situation.currency)
        if rate and proposal.expected_gain is not None:
            gains[_key(proposal)] = proposal.expected_gain / rate
    return gains


def _key(proposal: Proposal) -> tuple[str, str, str]:
    return proposal.situation.source_system, proposal.situation.opportunity_id, proposal.action


def _order(
    proposal: Proposal, values: Mapping[tuple[str, str, str], Decimal]
) -> tuple[bool, float, float, tuple[str, str]]:
    """Falling gain per minute; what cannot be compared last; of equals by opportunity, and within one as proposed."""
    value = values.get(_key(proposal))
    density = 0.0 if value is None else -float(value) / proposal.minutes
    key = proposal.situation.source_system, proposal.situation.opportunity_id
    return value is None, density, -_at_risk(proposal) / proposal.minutes, key


def _at_risk(proposal: Proposal) -> float:
    return (proposal.situation.owner_free_probability or 0.0) * proposal.risk_share
