"""Who competes with whom: contested accounts and contacts, claims on them, proposals nobody needs, and separate groups of owners.

Belongs here: everything that makes the problem smaller before it is solved. Does not belong here: solving (`assignment`).
"""

from __future__ import annotations

import heapq

import numpy as np

from sales_pipeline.follow_up.problem import NOTHING, Bools, Floats, Ints, Problem, by_density, grouped, joined


def claim(problem: Problem) -> Bools:
    """Which proposals may compete once owners short of uncontested follow-ups have claimed theirs.

    Owners whose uncontested proposals fill less than `least_minutes` take turns, the least filled share first (ties by number). At his turn an
    owner claims the contested proposal that brings him most per minute and still fits; all other owners' proposals on its account and contact
    leave. His turns end when his share is filled or nothing is left to claim. So an owner stays below his share only where what he could do
    was claimed by others who were below theirs.
    """
    allowed = np.ones(len(problem), bool)
    fits = problem.minutes <= problem.capacity[problem.owners]
    contested = _contested(problem)
    supply = _private_supply(problem, fits & ~contested)
    short = np.flatnonzero((problem.least_minutes > 0) & (supply < problem.least_minutes))
    if not len(short) or not contested.any():
        return allowed
    is_short = np.zeros(len(problem.capacity), bool)
    is_short[short] = True
    order = by_density(problem.gains, problem.minutes)
    order = order[(contested & fits & is_short[problem.owners])[order]]
    wanted = {owner: order[rows] for owner, rows in grouped(problem.owners[order]).items()}
    filled = {owner: float(supply[owner]) for owner in wanted}
    rivals_on = [(column, grouped(column)) for column in (problem.accounts, problem.contacts, problem.opportunities)]
    next_one = dict.fromkeys(wanted, 0)
    claimed = np.zeros(len(problem), bool)
    turns = [(share, owner) for owner in wanted if (share := filled[owner] / problem.least_minutes[owner]) < 1]
    heapq.heapify(turns)
    while turns:
        _, owner = heapq.heappop(turns)
        choices, left = wanted[owner], problem.capacity[owner] - filled[owner]
        while (at := next_one[owner]) < len(choices):
            next_one[owner] += 1
            best = int(choices[at])
            if allowed[best] and not claimed[best] and problem.minutes[best] <= left:
                break
        else:
            continue
        for column, rows in rivals_on:
            if column[best] != NOTHING:
                rivals = rows[int(column[best])]
                allowed[rivals[problem.owners[rivals] != owner]] = False
                claimed[rivals] = True
        filled[owner] += float(problem.minutes[best])
        if filled[owner] < problem.least_minutes[owner]:
            heapq.heappush(turns, (filled[owner] / problem.least_minutes[owner], owner))
    return allowed


def _contested(problem: Problem) -> Bools:
    """Proposals on an account or contact that another owner has a proposal on."""
    contested = np.zeros(len(problem), bool)
    for column in (problem.accounts, problem.contacts):
        there = column != NOTHING
        if there.any():
            size = int(column.max()) + 1
            low, high = np.full(size, len(problem.capacity)), np.full(size, -1)
            np.minimum.at(low, column[there], problem.owners[there])
            np.maximum.at(high, column[there], problem.owners[there])
            contested[there] |= (low < high)[column[there]]
    return contested


def _private_supply(problem: Problem, private: Bools) -> Floats:
    """Minutes by owner of one proposal (the shortest) per uncontested unit, up to his capacity."""
    units = _units(problem)
    chosen = np.flatnonzero(private)
    order = chosen[np.lexsort((chosen, problem.minutes[chosen], units[chosen]))]
    first = np.ones(len(order), bool)
    first[1:] = units[order][1:] != units[order][:-1]
    supply = np.bincount(problem.owners[order[first]], problem.minutes[order[first]], len(problem.capacity))
    return np.minimum(supply, problem.capacity).astype(np.float64)


def _units(problem: Problem) -> Ints:
    """Number of the unit of each proposal: proposals joined by opportunity, account or contact, whoever owns them."""
    return joined(len(problem), (problem.opportunities, problem.accounts, problem.contacts))


def best_of_their_kind(problem: Problem, kept: Ints) -> Bools:
    """Which proposals gain more than every one of the same owner, account (else opportunity) and contact that takes no longer.

    Of such proposals one at most is taken, so the others are needed by no optimum (dominance in the multiple-choice knapsack problem: Kellerer,
    Pferschy and Pisinger, "Knapsack Problems", 2004, section 11.2).
    """
    accounts, opportunities = problem.accounts[kept], problem.opportunities[kept]
    one_of = np.where(accounts == NOTHING, -2 - opportunities, accounts)
    _, kinds = np.unique(np.stack([problem.owners[kept], one_of, problem.contacts[kept]]), axis=1, return_inverse=True)
    gains = problem.gains[kept]
    order = np.lexsort((kept, -gains, problem.minutes[kept], kinds))
    rank = np.empty(len(kept), np.int64)
    rank[np.lexsort((-kept, gains))] = np.arange(len(kept))  # of equal gains the first is the highest
    height = kinds[order] * len(kept) + rank[order]
    best = np.ones(len(kept), bool)
    best[order[1:]] = height[1:] > np.maximum.accumulate(height)[:-1]
    return best


def undominated(problem: Problem, kept: Ints) -> Bools:
    """Which of the proposals some optimum may need: those with fewer better ones on separate uncontested accounts than rows fit into the day."""
    owners, minutes = problem.owners[kept], problem.minutes[kept]
    most = problem.most_rows[owners]
    needed = (minutes <= problem.capacity[owners]) & (most > 0)
    if not needed.any():
        return needed
    shortest = np.full(len(problem.capacity), np.iinfo(np.int64).max)
    np.minimum.at(shortest, owners, minutes)
    slots = np.minimum(problem.most_rows, problem.capacity // shortest)
    part = problem.only(kept)
    units = _units(part)
    low, high = np.full(units.max() + 1, len(slots)), np.full(units.max() + 1, -1)
    np.minimum.at(low, units, owners)
    np.maximum.at(high, units, owners)
    private = (low == high)[units] & needed
    rank = np.empty(len(kept), np.int64)
    rank[np.lexsort((kept, -part.gains))] = np.arange(len(kept))
    for length in np.unique(minutes[needed]):
        within = np.flatnonzero(private & (minutes <= length))
        within = within[np.lexsort((rank[within], units[within]))]
        first = np.ones(len(within), bool)
        first[1:] = units[within][1:] != units[within][:-1]
        best = within[first]
        best = best[np.lexsort((rank[best], owners[best]))]
        starts = np.searchsorted(owners[best], np.arange(len(slots)))
        ends = np.searchsorted(owners[best], np.arange(len(slots)), side="right")
        limit = np.full(len(slots), len(kept), np.int64)
        enough = (ends - starts >= slots) & (slots > 0)
        limit[enough] = rank[best[starts[enough] + slots[enough] - 1]]
        needed &= ~((minutes == length) & (rank > limit[owners]))
    return needed


def parts_of(problem: Problem, kept: Ints) -> list[Ints]:
    """The proposals of each group of owners that share no account or contact with others, in order of their first proposal."""
    if not len(kept):
        return []
    columns = (problem.owners[kept], problem.accounts[kept], problem.contacts[kept])
    labels = joined(len(kept), columns)
    order = np.argsort(labels, kind="stable")
    cuts = np.flatnonzero(np.diff(labels[order])) + 1
    return sorted((kept[part] for part in np.split(order, cuts)), key=lambda part: int(part[0]))
