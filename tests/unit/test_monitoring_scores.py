"""Drift of scores and of abstaining between runs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sales_pipeline.monitoring.figure import Figure
from sales_pipeline.monitoring.outcomes import Known
from sales_pipeline.monitoring.params import MonitoringParams
from sales_pipeline.monitoring.scores import score_figures

PARAMS = MonitoringParams()
NOTHING_KNOWN = Known(pd.DataFrame({"is_won": [], "closed_us": [], "won_amount": [], "currency": []}))


def scores(p: np.ndarray, as_of_us: float = 2.0, model: str = "m1") -> pd.DataFrame:
    rows = np.arange(len(p))
    return pd.DataFrame(
        {
            "opportunity_id": [f"o{row}" for row in rows],
            "account_id": [f"a{row // 2}" for row in rows],
            "win_probability": p,
            "model_version": model,
            "as_of_us": as_of_us,
        }
    )


def figures(
    today: pd.DataFrame, previous: pd.DataFrame | None, known: Known = NOTHING_KNOWN
) -> dict[tuple[str, str], Figure]:
    earlier = previous if previous is not None else today.iloc[:0]
    return {(one.figure, one.reference): one for one in score_figures(today, previous, earlier, known, PARAMS)}


def draw(seed: int, rows: int = 500) -> np.ndarray:
    return np.random.default_rng(seed).beta(2, 4, rows)


def test_the_first_run_has_nothing_to_compare_with() -> None:
    found = figures(scores(np.array([0.2, np.nan])), None)
    assert found["psi", "previous_run"].value is None
    assert found["abstaining_share", "previous_run"].value == 0.5
    assert not any(one.is_alert for one in found.values())


def test_news_that_cancels_out_is_no_alarm() -> None:
    for seed in range(30):
        before = draw(seed)
        news = np.random.default_rng(seed + 1000).normal(0, 0.1, len(before))
        found = figures(scores(np.clip(before + news, 0, 1)), scores(before, 1.0))
        assert not any(one.is_alert for one in found.values()), seed


def test_another_spread_of_scores_is_alarmed_with_the_model_named_as_the_cause() -> None:
    before = draw(1)
    found = figures(scores(np.clip(before * 2, 0, 1), model="m2"), scores(before, 1.0))
    assert found["psi", "previous_run"].is_alert
    assert "the model was replaced" in found["psi", "previous_run"].detail
    assert found["mean_change", "previous_run"].is_alert
    same = figures(scores(np.clip(before * 2, 0, 1)), scores(before, 1.0))
    assert "the same model" in same["mean_change", "previous_run"].detail


def test_outcomes_count_as_the_last_word() -> None:
    before = np.full(400, 0.5)
    closed = np.arange(400) < 200
    today = scores(before)[~closed]
    won = np.where(np.arange(400) % 2 == 0, 1.0, 0.0)
    index = pd.Index([f"o{row}" for row in range(400)], dtype=object)
    outcomes = pd.DataFrame(
        {"is_won": np.where(closed, won, np.nan), "closed_us": 1.5, "won_amount": np.nan, "currency": "EUR"},
        index=index,
    )
    found = figures(today, scores(before, 1.0), Known(outcomes))["mean_change", "previous_run"]
    assert found.value == pytest.approx(0.0)
    assert "200 of them closed since" in found.detail
    lost = Known(outcomes.assign(is_won=np.where(closed, 0.0, np.nan)))
    worse = figures(today, scores(before, 1.0), lost)["mean_change", "previous_run"]
    assert worse.value == pytest.approx(-0.25)
    assert worse.is_alert


def test_more_abstaining_than_before_is_alarmed_and_less_is_not() -> None:
    before, today = draw(1), draw(1)
    today[:150] = np.nan
    found = figures(scores(today), scores(before, 1.0))["abstaining_share", "previous_run"]
    assert found.value == pytest.approx(0.3)
    assert found.is_alert
    assert not figures(scores(before), scores(today, 1.0))["abstaining_share", "previous_run"].is_alert


def test_earlier_runs_are_a_reference_of_their_own_once_there_are_two() -> None:
    before = draw(1)
    past = pd.concat([scores(before, 1.0), scores(draw(2), 0.5, model="m0")], ignore_index=True)
    found = score_figures(scores(before), scores(before, 1.0), past, NOTHING_KNOWN, PARAMS)
    assert {one.reference for one in found} == {"previous_run", "earlier_runs"}
    detail = next(one.detail for one in found if one.reference == "earlier_runs")
    assert "2 models gave the earlier scores" in detail


def test_too_few_probabilities_are_not_compared() -> None:
    found = figures(scores(draw(1, 10)), scores(draw(1, 10), 1.0))
    assert found["psi", "previous_run"].value is None
    assert found["mean_change", "previous_run"].value is None
    assert found["abstaining_share", "previous_run"].limit_high is None
