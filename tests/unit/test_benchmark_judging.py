"""The formulas the benchmark of scores holds predictions against a known truth with."""

from __future__ import annotations

import numpy as np
import pytest

from sales_pipeline.models.metrics import auc
from tests.benchmarks.judging import expected_auc, win_figures

P = np.random.default_rng(5).uniform(0.02, 0.9, 400)
"""True probabilities of 400 rows."""


def test_the_truth_attains_everything_and_the_best_constant_nothing() -> None:
    won = (np.random.default_rng(6).uniform(size=len(P)) < P).astype(float)
    truth = win_figures(won, P, P)
    assert truth["gain_share"] == pytest.approx(1.0)
    assert truth["true_gain_share"] == pytest.approx(1.0)
    assert truth["true_calibration_error"] == pytest.approx(0.0)
    assert truth["true_observed_to_expected"] == pytest.approx(1.0)
    constant = win_figures(won, np.full(len(P), P.mean()), P)
    assert constant["true_gain_share"] == pytest.approx(0.0)
    assert constant["true_auc"] == pytest.approx(0.5)
    assert win_figures(won, np.full(len(P), won.mean()), P)["gain_share"] == pytest.approx(0.0)


def test_a_wrong_base_rate_gains_less_than_nothing() -> None:
    figures = win_figures((P > 0.5).astype(float), np.full(len(P), 0.9), P)
    assert figures["true_gain_share"] < 0
    assert figures["true_observed_to_expected"] == pytest.approx(P.mean() / 0.9)


def test_expected_auc_is_that_of_outcomes_where_the_truth_is_certain() -> None:
    won = (P > 0.4).astype(float)
    score = np.round(P + np.random.default_rng(7).normal(0.0, 0.3, len(P)), 1)  # with ties
    assert expected_auc(won, score) == pytest.approx(auc(won, score))


def test_expected_auc_is_the_mean_over_the_chance_of_each_deal() -> None:
    random = np.random.default_rng(8)
    score = P**2
    drawn = [auc((random.uniform(size=len(P)) < P).astype(float), score) for _ in range(400)]
    assert expected_auc(P, score) == pytest.approx(np.mean(drawn), abs=0.005)


def test_figures_under_the_truth_are_the_mean_of_those_on_outcomes() -> None:
    random = np.random.default_rng(9)
    told = np.clip(P * 0.8, 0.01, 0.99)
    drawn = [win_figures((random.uniform(size=len(P)) < P).astype(float), told, P)["log_loss"] for _ in range(400)]
    assert win_figures((P > 0.5).astype(float), told, P)["true_log_loss"] == pytest.approx(np.mean(drawn), abs=0.01)
