"""Draws: every single chance stays what the score said, shocks spread the totals alone, and luck belongs to an id."""

import numpy as np
import pytest

from sales_pipeline.sales_management.new_pipeline import NewPipeline
from sales_pipeline.sales_management.people import People
from sales_pipeline.sales_management.pipeline import Pipeline
from sales_pipeline.sales_management.shocks import Shocks
from sales_pipeline.sales_management.simulate import keyed, simulate

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
    of: Pipeline, shocks: Shocks = INDEPENDENT, draws: int = 4000, new: NewPipeline = NO_NEW, seed: int = 1
) -> np.ndarray:
    places = np.zeros(len(of), dtype=np.int64)
    ((_, cents),) = simulate(of, places, people(), new, np.ones(1), shocks, draws=draws, seed=seed)
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
    assert np.array_equal(keyed(1, "a").random(3), keyed(1, "a").random(3))
    assert not np.array_equal(keyed(1, "a", "b").random(3), keyed(1, "ab").random(3))


def test_new_pipeline_is_drawn_about_its_mean_with_its_own_spread() -> None:
    new = NewPipeline(np.full((50, 2), 0.1), np.linspace(100.0, 1900.0, 50), 0.2, 1.0, 3.0)
    cents = totals(pipeline(0.3, 0), new=new)
    assert cents.mean(axis=1) == pytest.approx([5000.0, 5000.0], rel=0.05)
    assert cents[0].std() > np.sqrt(0.1 * (np.linspace(100.0, 1900.0, 50) ** 2).sum())


def test_many_new_wins_are_drawn_as_normal() -> None:
    new = NewPipeline(np.full((50, 1), 20.0), np.full(50, 100.0), 0.0, 1.0, 3.0)
    of = pipeline(0.3, 0)
    cents = totals(Pipeline(**{**of.__dict__, "wins": np.zeros((0, 2))}), new=new)
    assert cents[0].mean() == pytest.approx(100_000, rel=0.01)
    assert cents[0].std() == pytest.approx(100 * np.sqrt(1000), rel=0.1)
