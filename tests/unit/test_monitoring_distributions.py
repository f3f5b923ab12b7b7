"""Bins, distances and what chance gives them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sales_pipeline.monitoring.distributions import (
    MOST_LEVELS,
    Bins,
    effective_size,
    share_error,
    shift,
    unseen_share,
)


def test_index_is_the_formula() -> None:
    before, now = np.array([60.0, 40.0]), np.array([30.0, 70.0])
    found = shift(before, now, 100, 100)
    shares = [(60.5 / 101, 30.5 / 101), (40.5 / 101, 70.5 / 101)]
    assert found.psi == pytest.approx(sum((b - a) * math.log(b / a) for a, b in shares))
    assert found.by_chance == pytest.approx(1 * (1 / 100 + 1 / 100))
    assert 0 < found.divergence < 1
    assert shift(before, before, 100, 100).psi == 0.0


def test_chance_gives_the_index_its_expectation_and_its_critical_value() -> None:
    random = np.random.default_rng(3)
    share = np.full(10, 0.1)
    found = [
        shift(random.multinomial(2000, share).astype(float), random.multinomial(500, share).astype(float), 2000, 500)
        for _ in range(600)
    ]
    values = np.array([one.psi for one in found])
    assert values.mean() == pytest.approx(9 * (1 / 2000 + 1 / 500), rel=0.08)
    assert (values > found[0].beyond_chance(0.05)).mean() == pytest.approx(0.05, abs=0.025)


def test_rare_bins_are_pooled_and_empty_ones_left_out() -> None:
    found = shift(np.array([500.0, 3.0, 2.0, 0.0]), np.array([500.0, 2.0, 2.0, 0.0]), 500, 500)
    assert found.bins == 2
    assert shift(np.array([9.0, 0.0]), np.array([9.0, 0.0]), 9, 9).beyond_chance(0.001) == 0.0


def test_tenths_of_a_number_and_own_values_where_they_are_few() -> None:
    numbers = np.arange(1000.0)
    bins = Bins.of(numbers, "number")
    assert len(bins.edges) == 9
    assert bins.counts(numbers).tolist() == pytest.approx([100] * 10, abs=1)
    few = np.array([0.0, 0.0, 0.0, 0.0, 1.0, 2.0, np.nan])
    assert Bins.of(few, "number").counts(few).tolist() == [4, 1, 1]


def test_a_spike_at_zero_stays_apart_from_the_rest() -> None:
    counts = np.concatenate([np.zeros(950), np.arange(1.0, 51.0)])
    bins = Bins.of(counts, "number")
    assert bins.counts(counts)[0] == 950
    assert shift(bins.counts(counts), bins.counts(counts + 3), 1000, 1000).psi > 1


def test_values_of_a_category_and_the_rest() -> None:
    values = np.array(["b", "a", "a", None, "c"], dtype=object)
    bins = Bins.of(values, "category")
    assert bins.levels == ("a", "b", "c")
    assert bins.counts(np.array(["a", "z", None], dtype=object)).tolist() == [1, 0, 0, 1]
    assert Bins.from_dict(bins.to_dict()) == bins


def test_fifty_thousand_values_are_cut_to_the_most_frequent() -> None:
    values = np.array([f"v{number}" for number in range(50_000)] + ["common"] * 10, dtype=object)
    bins = Bins.of(values, "category")
    assert len(bins.levels) == MOST_LEVELS
    assert bins.levels[0] == "common"
    assert not bins.is_complete
    assert bins.counts(values).sum() == len(values)


def test_rows_of_one_group_count_once() -> None:
    assert effective_size(np.array([0, 1, 2])) == 3
    assert effective_size(np.zeros(5, dtype=np.int64)) == 1
    assert effective_size(np.array([], dtype=np.int64)) == 0


def test_unseen_share_is_that_of_values_seen_in_one_group_alone() -> None:
    values = np.array(["x", "x", "y", "y", "z", None], dtype=object)
    groups = np.array([0, 1, 2, 2, 3, 4])
    assert unseen_share(values, groups) == pytest.approx(2 / 4)
    assert unseen_share(np.array([None], dtype=object), np.array([0])) == 0.0


def test_error_of_a_difference_of_shares() -> None:
    assert share_error(0.5, 100, 0.5, 100) == pytest.approx(math.sqrt(0.25 * 2 / 100))
    assert share_error(0.0, 100, 0.0, 100) == 0.0
