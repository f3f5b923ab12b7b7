"""The day as an assignment problem: which proposals bring most within everybody's minutes, one per account, contact and opportunity.

Maximise the sum of gains subject to the minutes and rows of each owner, and to at most one row per opportunity, account and contact: a
generalised assignment problem with knapsack constraints (Martello and Toth, "Knapsack Problems", 1990, chapter 7), solved by HiGHS
(Huangfu and Hall, "Parallelizing the dual revised simplex method", 2018) through SciPy.

1. Claims: owners whose uncontested follow-ups fill less than their share of capacity claim contested accounts in turn (`claim`).
2. Reduction: a proposal leaves when another on the same account brings more in no more time, or when its owner has as many better ones on separate
   uncontested accounts as rows fit into his day; an exchange argument shows that some optimum does without it.
3. Decomposition: owners who share no account or contact are separate problems.
4. One owner alone is solved by dynamic programming, a group by branch and bound, and a group larger than `largest` is rounded from its linear
   relaxation and then reconsidered owner by owner; never worse than greedy.
5. What is left of anybody's minutes is filled in order of gain per minute, accounts that were claimed and not used included.

The bound is the sum of the bounds of the parts, so the gap is known. Nothing depends on the clock: limits count nodes and variables.

Belongs here: numbers only. Does not belong here: proposals, reasons, hold-out, exploration (`allocation`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sales_pipeline.follow_up.contest import best_of_their_kind, claim, parts_of, undominated
from sales_pipeline.follow_up.params import AssignmentParams
from sales_pipeline.follow_up.problem import Bools, Ints, Problem, by_density, fill, is_free
from sales_pipeline.follow_up.solvers import branch_and_bound, choices_of_one, constraints, dynamic_programme, rounded


@dataclass(frozen=True)
class Solution:
    """Which proposals are taken, and how good that is: `bound` is a value no solution can exceed.

    `greedy_gain` is what filling in order of gain per minute brings on the same problem. `parts` counts the separate problems, `rounded_parts` those
    too large to be solved exactly, `considered` the proposals left after the reduction.
    """

    taken: Bools
    gain: float
    bound: float
    greedy_gain: float
    parts: int
    rounded_parts: int
    considered: int

    @property
    def gap(self) -> float:
        """Share (0–1) of the bound that may be missing."""
        return max(0.0, self.bound - self.gain) / self.bound if self.bound > 0 else 0.0


def solve(problem: Problem, params: AssignmentParams) -> Solution:
    """The assignment, or with `method: greedy` the greedy order with the same bound beside it."""
    allowed = claim(problem)
    order = by_density(problem.gains, problem.minutes)
    greedy = fill(problem, np.zeros(len(problem), bool), order[allowed[order]])
    taken = np.zeros(len(problem), bool)
    bound = 0.0
    kept = np.flatnonzero(allowed)
    kept = kept[best_of_their_kind(problem, kept)]
    kept = kept[undominated(problem, kept)]
    parts = parts_of(problem, kept)
    free = is_free(problem, kept)
    rounded = 0
    for part in parts:
        if free[part].all():
            taken[part] = True
            bound += float(problem.gains[part].sum())
            continue
        found, most, is_rounded = _solve_part(problem, part, params)
        taken[found] = True
        bound += most
        rounded += is_rounded
    taken = fill(problem, taken, order)
    if params.method == "greedy":
        taken = greedy
    gain = float(problem.gains[taken].sum())
    greedy_gain = float(problem.gains[greedy].sum())
    return Solution(taken, gain, max(bound, gain), greedy_gain, len(parts), rounded, len(kept))


def _solve_part(problem: Problem, part: Ints, params: AssignmentParams) -> tuple[Ints, float, bool]:
    """Proposals taken of one part, a bound on what it can bring, and whether it had to be rounded."""
    matrix, limits = constraints(problem, part)
    gains = problem.gains[part]
    order = by_density(gains, problem.minutes[part])
    greedy = part[fill(problem.only(part), np.zeros(len(part), bool), order)]
    is_rounded = False
    groups = choices_of_one(problem, part)
    if groups is not None:
        found = dynamic_programme(problem, part, groups)
        bound = float(problem.gains[found].sum())
    elif len(part) <= params.largest:
        found, bound = branch_and_bound(problem, part, matrix, limits, params)
    else:
        found, bound = rounded(problem, part, matrix, limits)
        is_rounded = True
    better = found if problem.gains[found].sum() >= problem.gains[greedy].sum() else greedy
    return better, bound, is_rounded
