"""Draws: every single chance stays what the score said, shocks spread the totals alone, and luck belongs to an id."""

import numpy as np
import pytest

from sales_pipeline.sales_management.new_pipeline import NewPipeline
from sales_pipeline.sales_management.people import People
from sales_pipeline.sales_management.pipeline import Pipeline
from sales_pipeline.sales_management.shocks import Shocks
from sales_pipeline.sales_management.simulate import AMOUNT_CELLS, CELLS, Luck, Stretches, normal_cells, simulate

INDEPENDENT = Shocks(0.0, 0.0, 0.0, 0.0, 0.0)
NO_NEW = NewPipeline(np.zeros((0, 2)), np.zeros(0), 0.0, 0.0, 0.0)


def pipeline(p: float, count: int, names: str = "o") -> Pipeline:
    wins = np.tile([0.0, 0.4 * p, p], (count, 1))
    ids = np.array([f"{names}{number:04d}" for number in range(count)], dtype=object)
    return Pipeline(
        ids, np.array(["a"] * count, dtype=object), np.full(count, p), wins, np.full(count, 1000.0), np.full(count, 0.2),
        np.zeros(count, dtype=np.int64), np.array([""] * count, dtype=object), 0, 0,
    )  # fmt: skip


def people(owners: int = 1) -> People:
    names = tuple(f"o{number}" for number in range(owners))
    return People(names, ("t",), np.zeros(owners, dtype=np.int64), np.ones(owners, dtype=bool))


def totals(
    of: Pipeline,
    shocks: Shocks = INDEPENDENT,
    draws: int = 4000,
    new: NewPipeline = NO_NEW,
    seed: int = 1,
    block: int = 128,
) -> np.ndarray:
    places = np.zeros(len(of), dtype=np.int64)
    ((_, cents),) = simulate(of, places, people(), new, np.ones(1), shocks, draws=draws, seed=seed, block=block)
    return cents


def test_the_mean_of_the_draws_is_what_is_expected_whatever_the_shocks() -> None:
    of = pipeline(0.3, 300)
    for shocks in (INDEPENDENT, Shocks(0.1, 0.05, 0.1, 0.1, 0.0)):
        cents = totals(of, shocks)
        assert cents.mean(axis=1) == pytest.approx([300 * 0.12 * 1000, 300 * 0.18 * 1000], rel=0.05)


def test_shared_shocks_widen_the_total_and_independent_luck_does_not() -> None:
    of = pipeline(0.3, 300)
    alone, shared = totals(of).sum(axis=0), totals(of, Shocks(0.05, 0.0, 0.0, 0.0, 0.0)).sum(axis=0)
    amount_factor = np.exp(0.2**2)
    assert alone.std() == pytest.approx(np.sqrt(300 * (0.3 * amount_factor - 0.09)) * 1000, rel=0.05)
    assert shared.std() > 2 * alone.std()


def test_luck_belongs_to_the_id_whatever_else_is_open() -> None:
    few, many = pipeline(0.3, 1), pipeline(0.3, 2)
    first = totals(few, draws=200)
    both = totals(many, draws=200)
    rest = both - first
    assert np.all(rest >= -1e-9)
    assert not np.array_equal(totals(few, draws=200, seed=2), first)


def test_numbers_belong_to_a_key_whatever_was_drawn_before() -> None:
    luck, other = Luck(1), Luck(1)
    other.of("b").random(7)
    assert np.array_equal(luck.of("a").random(3), other.of("a").random(3))
    assert not np.array_equal(luck.of("a", "b").random(3), luck.of("ab").random(3))


def test_an_opportunity_has_a_stretch_of_its_own_of_numbers_that_are_all_as_likely() -> None:
    stretches, ids = Stretches(Luck(1), 50), [f"o{number}" for number in range(20_000)]
    hidden, lots = stretches.places(ids)
    assert np.array_equal(stretches.places(ids[7:9])[0], hidden[7:9])
    assert not np.array_equal(Stretches(Luck(2), 50).places(ids)[0], hidden)
    assert max(hidden) + 50 <= len(stretches.hidden)
    assert max(lots) + 50 <= len(stretches.lots)
    half = stretches.hidden[: len(stretches.hidden) // 2]
    assert np.array_equal(np.unique(half[:-50], return_counts=True)[1], np.full(CELLS, len(half[:-50]) // CELLS))
    assert np.array_equal(half[-50:], half[:50])
    for draw in (0, 49):
        normal, amount = stretches.hidden[hidden + draw], stretches.lots[lots + draw]
        assert [normal.mean(), normal.std(), (normal < -1.2816).mean()] == pytest.approx([0.0, 1.0, 0.1], abs=0.02)
        assert np.bincount(amount // 32) == pytest.approx(np.full(AMOUNT_CELLS // 32, 2500), rel=0.1)
        assert abs(np.corrcoef(normal, amount)[0, 1]) < 0.03
    first, second = (stretches.hidden[hidden[number] + np.arange(50)] for number in (0, 1))
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.5


def test_every_chance_is_what_the_score_said() -> None:
    """Of very many opportunities of one chance, each with one draw, the share that is won; small chances too."""
    for p in (0.0005, 0.02, 0.5, 0.999):
        of = pipeline(p, 20_000, names="p")
        of = Pipeline(**{**of.__dict__, "log_spread": np.zeros(len(of)), "cents": np.ones(len(of))})
        for shocks in (INDEPENDENT, Shocks(0.05, 0.05, 0.0, 0.0, 0.0)):
            won = totals(of, shocks, draws=500).sum(axis=0)
            assert won.mean() / len(of) == pytest.approx(p, rel=0.1 if shocks.company else 0.03)


def test_an_amount_is_drawn_about_what_is_expected() -> None:
    of = pipeline(1.0, 1)
    one = Pipeline(**{**of.__dict__, "wins": np.array([[0.0, 0.0, 1.0]]), "cents": np.array([250_000_001.0])})
    drawn = totals(one, draws=20_000)[1]
    assert drawn.mean() == pytest.approx(250_000_001, rel=0.01)
    assert np.log(drawn).std() == pytest.approx(0.2, rel=0.03)
    assert np.array_equal(drawn, np.rint(drawn))
    known = Pipeline(**{**one.__dict__, "log_spread": np.zeros(1)})
    assert np.all(totals(known, draws=100)[1] == 250_000_001)


def test_what_is_won_before_the_horizon_is_in_no_month() -> None:
    of = pipeline(1.0, 40)
    before = Pipeline(**{**of.__dict__, "wins": np.tile([0.5, 0.7, 1.0], (40, 1)), "log_spread": np.zeros(40)})
    assert totals(before).mean(axis=1) == pytest.approx([40 * 0.2 * 1000, 40 * 0.3 * 1000], rel=0.05)


def test_cells_of_the_normal_distribution_have_its_moments() -> None:
    cells = normal_cells()
    assert len(cells) == CELLS
    assert np.all(np.diff(cells) > 0)
    assert [cells.mean(), cells.var(), (cells**4).mean()] == pytest.approx([0.0, 1.0, 3.0], abs=1e-3)


def test_how_many_are_drawn_at_a_time_changes_nothing() -> None:
    of = pipeline(0.3, 50)
    whole = totals(of, Shocks(0.05, 0.02, 0.05, 0.05, 0.0), draws=300)
    for block in (1, 7, 49):
        assert np.array_equal(totals(of, Shocks(0.05, 0.02, 0.05, 0.05, 0.0), draws=300, block=block), whole)


def test_new_pipeline_is_drawn_about_its_mean_with_its_own_spread() -> None:
    new = NewPipeline(np.full((50, 2), 0.1), np.linspace(100.0, 1900.0, 50), 0.2, 1.0, 3.0)
    cents = totals(pipeline(0.3, 0), new=new)
    assert cents.mean(axis=1) == pytest.approx([5000.0, 5000.0], rel=0.05)
    assert cents[0].std() > np.sqrt(0.1 * (np.linspace(100.0, 1900.0, 50) ** 2).sum())


def test_new_wins_are_those_of_the_past_in_each_month() -> None:
    cents = np.linspace(100.0, 1900.0, 50)
    weights = np.stack([np.where(cents < 1000, 0.2, 0.0), np.where(cents > 1000, 0.04, 0.0)], axis=1)
    drawn = totals(pipeline(0.3, 0), new=NewPipeline(weights, cents, 0.0, 1.0, 3.0), draws=20_000)
    assert drawn.mean(axis=1) == pytest.approx(weights.T @ cents, rel=0.02)
    assert drawn.var(axis=1) == pytest.approx(weights.T @ cents**2, rel=0.05)
    assert (drawn == 0).mean(axis=1) == pytest.approx(np.exp(-weights.sum(axis=0)), abs=0.01)


def test_months_of_many_new_wins_leave_those_of_few_as_they_are() -> None:
    cents = np.linspace(100.0, 1900.0, 50)
    weights = np.stack([np.full(50, 0.1), np.full(50, 6.0)], axis=1)
    drawn = totals(pipeline(0.3, 0), new=NewPipeline(weights, cents, 0.0, 1.0, 3.0), draws=20_000)
    assert drawn.mean(axis=1) == pytest.approx(weights.T @ cents, rel=0.02)
    assert drawn.var(axis=1) == pytest.approx(weights.T @ cents**2, rel=0.05)
    assert (drawn == 0).mean(axis=1) == pytest.approx([np.exp(-5.0), 0.0], abs=0.01)


def test_many_new_wins_are_drawn_as_normal() -> None:
    new = NewPipeline(np.full((50, 1), 20.0), np.full(50, 100.0), 0.0, 1.0, 3.0)
    of = pipeline(0.3, 0)
    cents = totals(Pipeline(**{**of.__dict__, "wins": np.zeros((0, 2))}), new=new)
    assert cents[0].mean() == pytest.approx(100_000, rel=0.01)
    assert cents[0].std() == pytest.approx(100 * np.sqrt(1000), rel=0.1)
