from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sales_pipeline.follow_up.assignment import solve
from sales_pipeline.follow_up.contest import claim
from sales_pipeline.follow_up.params import AssignmentParams
from sales_pipeline.follow_up.problem import NOTHING, Bools, Problem, by_density, fill, is_free
from sales_pipeline.follow_up.solvers import branch_and_bound, choices_of_one, constraints, dynamic_programme

EXACT = AssignmentParams(relative_gap=0.0)
ROUNDED = AssignmentParams(largest=0)


def problem(proposals: list[tuple[float, int, int, int, int, int]], **owners: Any) -> Problem:
    """From rows of (gain, minutes, owner, opportunity, account, contact)."""
    gains, *columns = (list(column) for column in zip(*proposals, strict=True))
    numbers = [np.array(column, np.int64) for column in columns]
    many = int(numbers[1].max()) + 1
    return Problem(
        np.array(gains, float),
        *numbers,
        capacity=np.array(owners.get("capacity", [240] * many), np.int64),
        most_rows=np.array(owners.get("most_rows", [20] * many), np.int64),
        least_minutes=np.array(owners.get("least_minutes", [0.0] * many), float),
    )


def drawn(seed: int, opportunities: int = 6, owners: int = 2, accounts: int = 4) -> Problem:
    draw = np.random.default_rng(seed)
    proposals = [
        (float(draw.lognormal(3, 1)), int(draw.choice([3, 10, 15, 20])), int(owner), number, account, contact)
        for number, owner in enumerate(draw.integers(0, owners, opportunities))
        for account, contact in [(int(draw.integers(NOTHING, accounts)), int(draw.integers(NOTHING, accounts)))]
        for _ in range(2)
    ]
    return problem(proposals, capacity=draw.integers(0, 45, owners), most_rows=draw.integers(1, 4, owners))


def is_allowed(found: Problem, taken: Bools) -> bool:
    owners = found.owners[taken]
    many = len(found.capacity)
    if (np.bincount(owners, found.minutes[taken], many) > found.capacity).any():
        return False
    if (np.bincount(owners, minlength=many) > found.most_rows).any():
        return False
    columns = (column[taken] for column in (found.opportunities, found.accounts, found.contacts))
    return all(len(set(used)) == len(used) for column in columns for used in [column[column != NOTHING].tolist()])


def best_by_trying(found: Problem) -> float:
    trials = (np.array(chosen, bool) for chosen in itertools.product([False, True], repeat=len(found)))
    return max(float(found.gains[trial].sum()) for trial in trials if is_allowed(found, trial))


@pytest.mark.parametrize("seed", range(12))
def test_the_assignment_is_the_best_of_all(seed: int) -> None:
    found = drawn(seed, opportunities=5)
    solution = solve(found, EXACT)
    best = best_by_trying(found)
    assert is_allowed(found, solution.taken)
    assert solution.gain == pytest.approx(best)
    assert solution.bound >= best - 1e-6
    assert solution.gap < 1e-6
    assert solution.greedy_gain <= best + 1e-9


@pytest.mark.parametrize("seed", range(12))
def test_a_rounded_part_keeps_the_rules_and_knows_its_gap(seed: int) -> None:
    found = drawn(seed, opportunities=40, owners=5, accounts=25)
    exact, rounded = solve(found, EXACT), solve(found, ROUNDED)
    assert is_allowed(found, rounded.taken)
    assert rounded.greedy_gain - 1e-9 <= rounded.gain <= exact.gain + 1e-6
    assert rounded.bound >= exact.gain - 1e-6


def test_the_greedy_order_can_be_kept_and_its_gap_is_known() -> None:
    # 3 minutes at 1.2 a minute keep out 10 minutes at 1.0 a minute.
    found = problem([(3.6, 3, 0, 0, 0, NOTHING), (10.0, 10, 0, 1, 1, NOTHING)], capacity=[10])
    greedy = solve(found, AssignmentParams(method="greedy"))
    assert (greedy.taken.tolist(), greedy.gain, greedy.gap) == ([True, False], 3.6, pytest.approx(0.64))
    assert solve(found, EXACT).taken.tolist() == [False, True]


def test_owners_without_common_accounts_are_separate_problems() -> None:
    rows = [(1.0, 10, owner, number, number, NOTHING) for number, owner in enumerate([0, 0, 1, 1, 2])]
    assert solve(problem(rows), EXACT).parts == 3
    rows.append((1.0, 10, 0, 5, 4, NOTHING))  # on the account of owner 2
    assert solve(problem(rows), EXACT).parts == 2


def test_proposals_nobody_needs_leave_before_the_search() -> None:
    rows = [(float(n), 10, 0, n, n, NOTHING) for n in range(1, 1001)]
    solution = solve(problem(rows, capacity=[240]), EXACT)
    assert solution.considered == 20
    assert solution.gain == sum(range(981, 1001))


def test_an_account_with_thousands_of_opportunities_gives_one_row() -> None:
    rows = [(float(n), 10, n % 3, n, 0, NOTHING) for n in range(1, 5001)]
    solution = solve(problem(rows), AssignmentParams())
    assert np.flatnonzero(solution.taken).tolist() == [4999]


def test_one_owner_by_dynamic_programming_is_as_good_as_by_branch_and_bound() -> None:
    for seed in range(5):
        draw = np.random.default_rng(seed)
        rows = [
            (float(draw.lognormal(3, 1)), int(draw.choice([3, 10, 15, 20, 45])), 0, n // 2, n // 4, NOTHING)
            for n in range(80)
        ]
        found = problem(rows, most_rows=[6])
        part = np.arange(80)
        groups = choices_of_one(found, part)
        assert groups is not None
        by_programme = found.gains[dynamic_programme(found, part, groups)].sum()
        by_search, bound = branch_and_bound(found, part, *constraints(found, part), EXACT)
        assert by_programme == pytest.approx(found.gains[by_search].sum())
        assert bound == pytest.approx(by_programme)


def test_dynamic_programming_is_not_for_chains_of_accounts_and_contacts() -> None:
    # account 0 and contact 0, account 1 and contact 0, account 1 and contact 1: the ends may both be taken
    chain = problem([(1.0, 5, 0, 0, 0, 0), (1.5, 5, 0, 1, 1, 0), (1.0, 5, 0, 2, 1, 1)])
    assert choices_of_one(chain, np.arange(3)) is None
    assert solve(chain, EXACT).gain == 2.0


def test_owners_short_of_accounts_of_their_own_claim_contested_ones() -> None:
    # Owner 0 has much of his own, and would take the shared account too; owner 1 has nothing else.
    rows = [(100.0 + n, 10, 0, n, n, NOTHING) for n in range(30)]
    shared = [(500.0, 10, 0, 40, 99, NOTHING), (5.0, 10, 1, 41, 99, NOTHING)]
    found = problem([*rows, *shared], capacity=[240, 240])
    assert solve(found, EXACT).taken[-2:].tolist() == [True, False]
    fair = replace(found, least_minutes=np.array([24.0, 24.0]))
    assert claim(fair)[-2:].tolist() == [False, True]
    assert solve(fair, EXACT).taken[-2:].tolist() == [False, True]


def test_what_was_claimed_and_cannot_be_used_goes_to_others() -> None:
    # Owner 1 claims account 9 for 8 minutes, but takes the better account 8 with all his time.
    rows = [
        (5.0, 8, 1, 0, 9, NOTHING),
        (50.0, 10, 1, 1, 8, NOTHING),
        (1.0, 8, 0, 2, 9, NOTHING),
        (1.0, 8, 0, 3, 8, NOTHING),
    ]
    found = problem(rows, capacity=[240, 10], least_minutes=[0.0, 10.0])
    solution = solve(found, EXACT)
    assert solution.taken.tolist() == [False, True, True, False]


def test_the_search_says_nothing_on_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    for seed in range(30):
        solve(drawn(seed, opportunities=30, owners=3, accounts=12), AssignmentParams())
    print("still open")
    assert capfd.readouterr().out == "still open\n"


@pytest.mark.parametrize("seed", range(12))
def test_what_is_free_may_be_taken_together(seed: int) -> None:
    found = drawn(seed)
    rows = np.flatnonzero(np.random.default_rng(seed).random(len(found)) < 0.4)
    free = is_free(found, rows)
    assert not np.delete(free, rows).any()
    assert is_allowed(found, free)
    chosen = np.zeros(len(found), bool)
    chosen[rows] = True
    assert bool(free[rows].all()) == is_allowed(found, chosen)


def test_filling_respects_what_is_taken() -> None:
    found = problem([(9.0, 10, 0, 0, 0, 0), (8.0, 10, 0, 1, 0, 1), (7.0, 10, 0, 2, 2, 0), (6.0, 10, 0, 3, 3, 3)])
    order = by_density(found.gains, found.minutes)
    assert fill(found, np.array([True, False, False, False]), order).tolist() == [True, False, False, True]
