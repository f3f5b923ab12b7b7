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
from sales_pipeline.follow_up.omissions import Omission
from sales_pipeline.follow_up.params import FollowUpParams
from sales_pipeline.follow_up.problem import NOTHING, Bools, Ints, Problem
from sales_pipeline.follow_up.rules import Proposal, is_held_out


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
    book = _Book(list(proposals), params, rates or {})
    day = _Day(book, owners, params)
    solution, taken = day.by_gain()
    drawn = day.explore(taken)

    keep = 1.0 - params.hold_out_share
    by_index = {index: Chosen(book.able[index], "gain", keep) for index in np.flatnonzero(taken).tolist()}
    by_index |= {index: Chosen(book.able[index], "exploration", keep / among) for index, among in drawn.items()}
    chosen = [by_index[index] for index in sorted(by_index)]
    left = book.hopeless + book.held_out + _left_out([one.proposal for one in chosen], book, day)
    facts = {
        "method": params.assignment.method,
        "expected_gain": round(solution.gain, 2),
        "bound": round(solution.bound, 2),
        "gap_to_bound": round(solution.gap, 6),
        "greedy_expected_gain": round(solution.greedy_gain, 2),
        "parts": solution.parts,
        "rounded_parts": solution.rounded_parts,
        "proposals": book.proposals,
        "proposals_considered": solution.considered,
        "exploring_owners": len(day.exploring),
        "explored_rows": len(drawn),
    }
    return Allocation(chosen, left, facts)


class _Book:
    """Proposals as arrays: `able` may be taken, in falling order of gain per minute; the opportunities of the others are held out or hopeless.

    What cannot be compared comes last, by probability at risk per minute; of equals by opportunity, and within one as proposed. `gains` (NaN where
    not comparable), `at_risk` and `minutes` have an entry per able proposal, and `numbers` the number of its situation.
    """

    def __init__(self, proposals: list[Proposal], params: FollowUpParams, rates: Mapping[str, Decimal]) -> None:
        self.proposals = len(proposals)
        known: dict[int, int] = {}
        numbers = np.array([known.setdefault(id(p.situation), len(known)) for p in proposals], np.int64)
        self.situations = list({id(p.situation): p.situation for p in proposals}.values())
        gains = np.array([np.nan if g is None else float(g) for g in comparable_gains(proposals, rates)], np.float64)
        at_risk = np.array([_at_risk(proposal) for proposal in proposals], np.float64)
        minutes = np.array([proposal.minutes for proposal in proposals], np.int64)
        is_gainful = np.where(np.isnan(gains), at_risk > 0, gains > 0)
        hopes = np.zeros(len(self.situations), bool)
        hopes[numbers[is_gainful]] = True
        held = np.array([hopes[n] and is_held_out(one, params) for n, one in enumerate(self.situations)], bool)
        detail = "Kept out at random to measure the effect of following up"
        self.held_out = [Omission(self.situations[n], "hold_out", detail) for n in np.flatnonzero(held)]
        detail = "No follow-up is expected to gain anything"
        self.hopeless = [Omission(self.situations[n], "no_gain", detail) for n in np.flatnonzero(~hopes)]
        able = np.flatnonzero(is_gainful & ~held[numbers])
        names = [(one.source_system, one.opportunity_id) for one in self.situations]
        place = np.empty(len(names), np.int64)
        place[sorted(range(len(names)), key=names.__getitem__)] = np.arange(len(names))
        density, chance = np.nan_to_num(gains[able]) / minutes[able], at_risk[able] / minutes[able]
        able = able[np.lexsort((able, place[numbers[able]], -chance, -density, np.isnan(gains[able])))]
        self.able = [proposals[index] for index in able.tolist()]
        self.gains, self.at_risk, self.minutes, self.numbers = gains[able], at_risk[able], minutes[able], numbers[able]

    def column(self, values: Iterable[Any], numbers: dict[Any, int] | None = None) -> Ints:
        """A value of each situation by number in order of appearance (NOTHING for None), for each able proposal."""
        known = {} if numbers is None else numbers
        each = [NOTHING if value is None else known.setdefault(value, len(known)) for value in values]
        return np.array(each, np.int64)[self.numbers] if each else np.zeros(0, np.int64)


class _Day:
    """The problem of a day, and the days of the owners."""

    def __init__(self, book: _Book, owners: Owners, params: FollowUpParams) -> None:
        self.params = params
        numbers: dict[str, int] = {}
        of = book.column((one.owner_id or "" for one in book.situations), numbers)
        self.days: list[OwnerDay] = [owners.day(name) for name in numbers]
        self.exploring = {number for number, day in enumerate(self.days) if self._explores(day)}
        self.known = ~np.isnan(book.gains)
        self.at_risk = book.at_risk
        slot = np.array([params.exploration_minutes * (n in self.exploring) for n in range(len(self.days))], np.int64)
        self.capacity = np.array([day.capacity_minutes for day in self.days], np.int64)
        self.problem = Problem(
            gains=np.nan_to_num(book.gains),
            minutes=book.minutes,
            owners=of,
            opportunities=book.numbers,
            accounts=book.column(one.account_id for one in book.situations),
            contacts=book.column(one.contact_id for one in book.situations),
            capacity=self.capacity - slot,
            most_rows=np.maximum(np.full(len(self.days), params.max_rows_per_owner, np.int64) - (slot > 0), 0),
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
        taken = np.zeros(len(self.problem), bool)
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


def _left_out(taken: Sequence[Proposal], book: _Book, day: _Day) -> list[Omission]:
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
    firsts = np.sort(np.unique(book.numbers, return_index=True)[1])
    for index in firsts.tolist():
        proposal = book.able[index]
        situation = proposal.situation
        if id(situation) in done:
            continue
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


def comparable_gains(proposals: Sequence[Proposal], rates: Mapping[str, Decimal]) -> list[Decimal | None]:
    """Expected gain of each proposal in one currency; None where it cannot be compared."""
    currencies = {p.situation.currency for p in proposals if p.expected_gain is not None}
    if len(currencies) <= 1:
        return [proposal.expected_gain for proposal in proposals]
    return [
        proposal.expected_gain / rate
        if proposal.expected_gain is not None and (rate := rates.get(proposal.situation.currency))
        else None
        for proposal in proposals
    ]


def _at_risk(proposal: Proposal) -> float:
    return (proposal.situation.owner_free_probability or 0.0) * proposal.risk_share
