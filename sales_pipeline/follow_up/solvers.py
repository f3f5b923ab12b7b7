"""Solvers of one group of owners: branch and bound, dynamic programming for one owner alone, rounding for large groups.

Belongs here: one group, numbers only. Does not belong here: which groups there are (`contest`), putting them together (`assignment`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from sales_pipeline.follow_up.params import AssignmentParams
from sales_pipeline.follow_up.problem import NOTHING, Bools, Floats, Ints, Problem, fill, grouped, joined

MOST_STEPS = 20_000_000
"""Up to so many states times proposals, dynamic programming is used for one owner; more would take more than a second."""


def constraints(problem: Problem, part: Ints) -> tuple[Any, Floats]:
    """Rows of the matrix: minutes and rows of each owner, then every account, contact and opportunity used more than once."""
    size = len(part)
    owner_ids, owners = np.unique(problem.owners[part], return_inverse=True)
    count = len(owner_ids)
    rows, columns = [owners, count + owners], [np.arange(size)] * 2
    values: list[npt.NDArray[Any]] = [problem.minutes[part], np.ones(size)]
    limits: list[npt.NDArray[Any]] = [problem.capacity[owner_ids], problem.most_rows[owner_ids]]
    offset = 2 * count
    alone = problem.accounts[part] == NOTHING
    for column, where in (
        (problem.accounts[part], ~alone),
        (problem.contacts[part], problem.contacts[part] != NOTHING),
        (problem.opportunities[part], alone),
    ):
        there = np.flatnonzero(where)
        _, number, uses = np.unique(column[there], return_inverse=True, return_counts=True)
        shared = uses > 1
        numbers = np.cumsum(shared) - 1
        many = shared[number]
        rows.append(offset + numbers[number[many]])
        columns.append(there[many])
        values.append(np.ones(int(many.sum())))
        limits.append(np.ones(int(shared.sum())))
        offset += int(shared.sum())
    entries = np.concatenate(values).astype(np.float64), (np.concatenate(rows), np.concatenate(columns))
    return sparse.csr_array(entries, shape=(offset, size)), np.concatenate(limits).astype(np.float64)


def branch_and_bound(
    problem: Problem, part: Ints, matrix: Any, limits: Floats, params: AssignmentParams
) -> tuple[Ints, float]:
    """By HiGHS; nothing where the limits end the search before a solution is found. Also a bound."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    gains = problem.gains[part]
    scale = float(gains.max())
    with _quiet():
        result = milp(
            -gains / scale,
            integrality=np.ones(len(part)),
            bounds=Bounds(0, 1),
            constraints=LinearConstraint(matrix, -np.inf, limits),
            options={"mip_rel_gap": params.relative_gap, "node_limit": params.node_limit},
        )
    bound = float(gains.sum()) if result.mip_dual_bound is None else -float(result.mip_dual_bound) * scale
    if result.x is None:
        return part[:0], bound
    chosen = result.x > 0.5
    if (matrix @ chosen > limits).any():
        return part[:0], bound
    return part[chosen], bound


def choices_of_one(problem: Problem, part: Ints) -> Ints | None:
    """The number of the group of each proposal where the part is one owner's and of each group one may be taken: what `dynamic_programme`
    needs; None where it is not so, or where it would take too long."""
    owners = problem.owners[part]
    if (owners != owners[0]).any() or _states(problem, part) * len(part) > MOST_STEPS:
        return None
    groups = joined(len(part), (problem.opportunities[part], problem.accounts[part], problem.contacts[part]))
    count = int(groups.max()) + 1
    is_one = np.zeros(count, bool)
    for column in (problem.opportunities[part], problem.accounts[part], problem.contacts[part]):
        low, high = np.full(count, np.iinfo(np.int64).max), np.full(count, NOTHING)
        np.minimum.at(low, groups, column)
        np.maximum.at(high, groups, column)
        is_one |= (low == high) & (low != NOTHING)
    return groups if is_one.all() else None


def _states(problem: Problem, part: Ints) -> int:
    owner = int(problem.owners[part[0]])
    capacity = int(problem.capacity[owner])
    rows = min(int(problem.most_rows[owner]), capacity // int(problem.minutes[part].min()))
    return (rows + 1) * (capacity + 1)


def dynamic_programme(problem: Problem, part: Ints, groups: Ints) -> Ints:
    """The optimum of one owner alone: the multiple-choice knapsack problem with a limit on the number of rows, by dynamic programming over
    minutes and rows (Kellerer, Pferschy and Pisinger, "Knapsack Problems", 2004, chapter 11).

    Ten times faster here than branch and bound on the same proposals, and exact.
    """
    owner = int(problem.owners[part[0]])
    capacity = int(problem.capacity[owner])
    rows = min(int(problem.most_rows[owner]), capacity // int(problem.minutes[part].min()))
    order = np.argsort(groups, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
    best = np.zeros((rows + 1, capacity + 1))
    choices = np.full((len(members), rows + 1, capacity + 1), NOTHING, np.int32)
    for choice, group in zip(choices, members, strict=True):
        before = best.copy()
        for member in group.tolist():
            needed = int(problem.minutes[part[member]])
            if needed > capacity:
                continue
            reached = before[:-1, : capacity + 1 - needed] + problem.gains[part[member]]
            view = best[1:, needed:]
            is_better = reached > view
            np.copyto(view, reached, where=is_better)
            np.copyto(choice[1:, needed:], member, where=is_better)
    taken = []
    minutes_left = capacity
    for choice in choices[::-1]:
        member = int(choice[rows, minutes_left])
        if member != NOTHING:
            taken.append(member)
            rows -= 1
            minutes_left -= int(problem.minutes[part[member]])
    return part[np.sort(np.array(taken, dtype=np.int64))]


def rounded(problem: Problem, part: Ints, matrix: Any, limits: Floats) -> tuple[Ints, float]:
    """From the linear relaxation: what it takes wholly stays, the rest is filled by its share, then by gain per minute."""
    from scipy.optimize import linprog

    gains = problem.gains[part]
    scale = float(gains.max())
    result = linprog(-gains / scale, A_ub=matrix, b_ub=limits, bounds=(0, 1), method="highs")
    if result.x is None:
        return part[:0], float(gains.sum())
    density = gains / problem.minutes[part]
    order = np.lexsort((np.arange(len(part)), -density, -np.round(result.x, 6))).astype(np.int64)
    found = fill(problem.only(part), np.zeros(len(part), bool), order)
    return _reconsidered(problem, part, found), -float(result.fun) * scale


def _reconsidered(problem: Problem, part: Ints, found: Bools) -> Ints:
    """Each owner's day solved anew in turn, over the accounts and contacts that nobody else uses: never worse."""
    columns = tuple(column[part] for column in (problem.opportunities, problem.accounts, problem.contacts))
    holders: list[Ints] = []
    for column in columns:
        holder = np.full(int(column.max(initial=0)) + 1, NOTHING, np.int64)
        held = found & (column != NOTHING)
        holder[column[held]] = problem.owners[part][held]
        holders.append(holder)
    for owner, rows in grouped(problem.owners[part]).items():
        free = np.ones(len(rows), bool)
        for column, holder in zip(columns, holders, strict=True):
            by = np.where(column[rows] == NOTHING, NOTHING, holder[column[rows]])
            free &= (by == NOTHING) | (by == owner)
        candidates = rows[free]
        mine = rows[found[rows]]
        groups = choices_of_one(problem, part[candidates]) if len(candidates) else None
        if groups is None:
            continue
        better = candidates[np.isin(part[candidates], dynamic_programme(problem, part[candidates], groups))]
        if problem.gains[part[better]].sum() <= problem.gains[part[mine]].sum():
            continue
        for column, holder in zip(columns, holders, strict=True):
            holder[column[mine][column[mine] != NOTHING]] = NOTHING
            holder[column[better][column[better] != NOTHING]] = owner
        found[mine], found[better] = False, True
    return part[found]


@contextmanager
def _quiet() -> Iterator[None]:
    """Standard output closed for the native library: HiGHS 1.12 prints a line of its own where it repairs a solution, whatever it was told."""
    sys.stdout.flush()
    kept = os.dup(1)
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
