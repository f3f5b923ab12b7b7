"""The day as numbers: proposals, what they use up, and filling in a given order.

Belongs here: the problem's own vocabulary. Does not belong here: solving it (`assignment`), contested accounts (`contest`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import sparse

Ints: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]
Bools: TypeAlias = npt.NDArray[np.bool_]
NOTHING = -1
"""In `accounts` and `contacts`: none is recorded."""


@dataclass(frozen=True)
class Problem:
    """Proposals in the order that breaks ties; all arrays but the last three have one entry per proposal.

    `gains` are above zero in one currency. `opportunities`, `accounts` and `contacts` number what a row uses up; `owners` number into
    `capacity` (minutes) and `most_rows`. `least_minutes` is each owner's own share when accounts are contested.
    """

    gains: Floats
    minutes: Ints
    owners: Ints
    opportunities: Ints
    accounts: Ints
    contacts: Ints
    capacity: Ints
    most_rows: Ints
    least_minutes: Floats

    def __len__(self) -> int:
        return len(self.gains)

    def only(self, rows: Ints) -> Problem:
        """The problem of some proposals; owners keep their numbers."""
        return Problem(
            self.gains[rows], self.minutes[rows], self.owners[rows], self.opportunities[rows], self.accounts[rows],
            self.contacts[rows], self.capacity, self.most_rows, self.least_minutes,
        )  # fmt: skip


def by_density(gains: Floats, minutes: Ints) -> Ints:
    """Proposals by falling gain per minute, ties in their order."""
    return np.argsort(-gains / minutes, kind="stable").astype(np.int64)


def fill(problem: Problem, taken: Bools, order: Ints) -> Bools:
    """`taken` and what else fits, tried in `order`."""
    taken = taken.copy()
    minutes = np.bincount(problem.owners[taken], problem.minutes[taken], len(problem.capacity)).astype(np.int64)
    left = (problem.capacity - minutes).tolist()
    rows = (problem.most_rows - np.bincount(problem.owners[taken], minlength=len(problem.capacity))).tolist()
    columns = (problem.opportunities, problem.accounts, problem.contacts)
    used: list[set[int]] = [set(column[taken].tolist()) - {NOTHING} for column in columns]
    opportunities, accounts, contacts = used
    candidates = order[~taken[order]]
    for index, owner, needed, opportunity, account, contact in zip(
        candidates.tolist(),
        problem.owners[candidates].tolist(),
        problem.minutes[candidates].tolist(),
        *(column[candidates].tolist() for column in columns),
        strict=True,
    ):
        if needed > left[owner] or rows[owner] < 1 or opportunity in opportunities:
            continue
        if account in accounts or contact in contacts:
            continue
        taken[index] = True
        left[owner] -= needed
        rows[owner] -= 1
        opportunities.add(opportunity)
        if account != NOTHING:
            accounts.add(account)
        if contact != NOTHING:
            contacts.add(contact)
    return taken


def is_free(problem: Problem, rows: Ints) -> Bools:
    """Which proposals may all be taken if only those `rows` are asked for: their owner has room for all of his, and nothing they use up is used twice."""
    owners = problem.owners[rows]
    fits = np.bincount(owners, problem.minutes[rows], len(problem.capacity)) <= problem.capacity
    fits &= np.bincount(owners, minlength=len(problem.most_rows)) <= problem.most_rows
    free = np.zeros(len(problem), bool)
    free[rows] = fits[owners]
    for column in (problem.opportunities, problem.accounts, problem.contacts):
        _, number, uses = np.unique(column[rows], return_inverse=True, return_counts=True)
        free[rows] &= (uses[number] == 1) | (column[rows] == NOTHING)
    return free


def grouped(column: Ints) -> dict[int, Ints]:
    """Positions by value, in order; NOTHING is left out."""
    order = np.argsort(column, kind="stable")
    order = order[column[order] != NOTHING]
    cuts = np.flatnonzero(np.diff(column[order])) + 1
    return {int(column[part[0]]): part for part in np.split(order, cuts) if len(part)}


def joined(size: int, columns: tuple[Ints, ...]) -> Ints:
    """Connected components of proposals that share a value in a column."""
    heads, tails, offset = [], [], size
    for column in columns:
        there = np.flatnonzero(column != NOTHING)
        values, numbers = np.unique(column[there], return_inverse=True)
        heads.append(there)
        tails.append(offset + numbers)
        offset += len(values)
    edges = np.concatenate(heads), np.concatenate(tails)
    graph = sparse.coo_array((np.ones(len(edges[0]), np.int8), edges), shape=(offset, offset))
    _, labels = sparse.csgraph.connected_components(graph, directed=False)
    return np.asarray(labels[:size], dtype=np.int64)
