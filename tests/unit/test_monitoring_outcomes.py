"""Past scores against what came of them: only where time enough has passed, and without false alarms."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.contracts.internal import OUTCOMES
from sales_pipeline.models.matrix import DAY
from sales_pipeline.monitoring.figure import Figure
from sales_pipeline.monitoring.outcomes import ALL, EVER, Known, outcome_figures
from sales_pipeline.monitoring.params import MonitoringParams

PARAMS = MonitoringParams()
TODAY = datetime(2026, 7, 1, tzinfo=UTC).timestamp() * 1e6


def past(age_days: float, probability: np.ndarray, first: int = 0, **columns: Any) -> pd.DataFrame:
    """A run of that age: one row per probability, each opportunity with an account of its own."""
    rows = len(probability)
    frame = pd.DataFrame(
        {
            "opportunity_id": [f"o{first + number}" for number in range(rows)],
            "account_id": [f"a{first + number}" for number in range(rows)],
            "kind": "opportunity",
            "currency": "EUR",
            "model_version": "m1",
            "as_of_us": TODAY - age_days * DAY,
            "win_probability": probability,
            "win_probability_30d": probability,
            "win_probability_90d": probability,
            "expected_amount_low": 80.0,
            "expected_amount_high": 120.0,
            "predicted_close_date_low": np.nan,
            "predicted_close_date_high": np.nan,
        }
    )
    return frame.assign(**columns)


def known(won: np.ndarray, closed_us: np.ndarray, first: int = 0, amount: np.ndarray | None = None) -> Known:
    frame = pd.DataFrame(
        {
            "is_won": won,
            "closed_us": closed_us,
            "won_amount": np.where(won == 1, 100.0, np.nan) if amount is None else amount,
            "currency": "EUR",
        },
        index=pd.Index([f"o{first + number}" for number in range(len(won))], dtype=object),
    )
    return Known(frame)


def figures(frame: pd.DataFrame, outcomes: Known) -> dict[tuple[str, str, str], Figure]:
    found = outcome_figures(frame, outcomes, TODAY, PARAMS)
    return {(one.subject, one.figure, one.reference): one for one in found}


def drawn(seed: int, factor: float = 1.0, rows: int = 1500, age: float = 100) -> tuple[pd.DataFrame, Known]:
    """A run whose 30-day probabilities come true `factor` times as often as they say; the 90-day ones are the same events."""
    random = np.random.default_rng(seed)
    p = random.beta(1, 4, rows)
    won = (random.uniform(size=rows) < p * factor).astype(float)
    closed = TODAY - age * DAY + random.uniform(0, 30, rows) * DAY
    return past(age, p), known(won, closed)


def test_exact_probabilities_raise_no_alarm() -> None:
    for seed in range(12):
        found = figures(*drawn(seed))
        assert not [one for name, one in found.items() if one.is_alert and name[0] != "expected_amount"], seed
        ratio = found["win_probability_30d", "observed_expected", ALL]
        assert ratio.low is not None
        assert ratio.high is not None
        assert ratio.value is not None
        assert ratio.low < ratio.value < ratio.high


def test_probabilities_twice_too_high_are_alarmed() -> None:
    found = figures(*drawn(1, factor=0.5))
    ratio = found["win_probability_30d", "observed_expected", ALL]
    assert ratio.value == pytest.approx(0.5, abs=0.1)
    assert ratio.is_alert
    assert found["win_probability_30d", "calibration_error", ALL].is_alert
    month = found["win_probability_30d", "observed_expected", "2026-03"]
    assert month.value == ratio.value
    assert not month.is_alert
    assert "came true" in ratio.detail


def test_scores_worse_than_a_constant_are_alarmed() -> None:
    random = np.random.default_rng(5)
    p = random.choice([0.05, 0.95], 1500)
    won = (random.uniform(size=1500) < 0.5).astype(float)
    found = figures(past(100, p), known(won, np.full(1500, TODAY - 99 * DAY)))
    gain = found["win_probability_30d", "log_loss_gain", ALL]
    assert gain.is_alert
    assert not found["win_probability_30d", "observed_expected", ALL].is_alert


def test_a_run_is_judged_once_its_days_have_passed_and_not_a_day_before() -> None:
    frame, outcomes = drawn(1, age=30)
    assert figures(frame, outcomes)["win_probability_30d", "observed_expected", ALL].value is not None
    later = figures(frame, outcomes)["win_probability_90d", "observed_expected", ALL]
    assert later.value is None
    assert later.detail.startswith("too young")
    assert "in 60 days" in later.detail
    younger = figures(frame.assign(as_of_us=frame["as_of_us"] + DAY), outcomes)
    assert younger["win_probability_30d", "observed_expected", ALL].value is None
    assert not any(one.is_alert for one in younger.values() if one.kind == "calibration" and one.subject != EVER)


def test_a_win_after_its_days_is_no_win_within_them_and_open_ones_count_as_not_won() -> None:
    p = np.full(200, 0.5)
    closed = np.where(np.arange(200) < 100, TODAY - 75 * DAY, np.nan)
    won = np.where(np.arange(200) < 100, 1.0, np.nan)
    closed[:40] = TODAY - 60 * DAY
    found = figures(past(100, p), known(won, closed))
    assert found["win_probability_30d", "observed_expected", ALL].value == pytest.approx(60 / 100)
    assert found["win_probability_90d", "observed_expected", ALL].value == pytest.approx(100 / 100)


def test_wins_at_an_unknown_instant_and_unknown_opportunities_are_left_out() -> None:
    p = np.full(200, 0.5)
    won = np.ones(100)
    closed = np.where(np.arange(100) < 50, TODAY - 90 * DAY, np.nan)
    found = figures(past(100, p), known(won, closed))["win_probability_30d", "observed_expected", ALL]
    assert found.rows == 50
    assert (
        figures(past(100, p), known(np.zeros(0), np.zeros(0)))["win_probability_30d", "observed_expected", ALL].value
        is None
    )


def test_no_runs_no_scores_and_few_wins_say_what_is_missing() -> None:
    none = figures(past(100, np.zeros(0)), known(np.zeros(0), np.zeros(0)))
    assert none["win_probability_30d", "observed_expected", ALL].detail.startswith(
        "no published run has given this score"
    )
    few = figures(past(100, np.full(40, 0.1)), known(np.zeros(40), np.full(40, TODAY - 90 * DAY)))
    assert "too few to judge" in few["win_probability_30d", "observed_expected", ALL].detail
    assert all(one.value is None or one.subject == EVER for one in few.values())


def test_ever_won_is_judged_on_runs_nearly_all_closed_with_bounds_for_the_rest() -> None:
    p = np.full(400, 0.5)
    won = np.where(np.arange(400) < 200, 1.0, 0.0)
    closed = np.full(400, TODAY - 50 * DAY)
    whole = figures(past(100, p), known(won, closed))[EVER, "observed_expected", ALL]
    assert whole.value == pytest.approx(1.0)
    nearly = won.copy()
    nearly[:30] = np.nan
    part = figures(past(100, p), known(nearly, np.where(np.isnan(nearly), np.nan, closed)))[
        EVER, "observed_expected", ALL
    ]
    assert part.low is not None
    assert part.high is not None
    assert part.low < 170 / 200
    assert part.high > 200 / 200
    half = np.where(np.arange(400) < 200, np.nan, won)
    assert figures(past(100, p), known(half, closed))[EVER, "observed_expected", ALL].value is None
    wrong = figures(past(100, np.full(400, 0.95)), known(won, closed))[EVER, "observed_expected", ALL]
    assert wrong.is_alert


def test_amount_intervals_that_cover_too_little_are_alarmed() -> None:
    random = np.random.default_rng(2)
    frame, won = past(100, np.full(300, 0.5)), np.ones(300)
    closed = np.full(300, TODAY - 60 * DAY)
    right = np.where(random.uniform(size=300) < 0.8, 100.0, 200.0)
    assert not figures(frame, known(won, closed, amount=right))["expected_amount", "coverage_80", ALL].is_alert
    wrong = np.where(np.arange(300) % 2 == 0, 100.0, 200.0)
    found = figures(frame, known(won, closed, amount=wrong))["expected_amount", "coverage_80", ALL]
    assert found.value == 0.5
    assert found.is_alert
    other = frame.assign(currency="USD")
    assert figures(other, known(won, closed, amount=wrong))["expected_amount", "coverage_80", ALL].value is None


def test_close_dates_are_judged_where_their_interval_has_ended() -> None:
    dates = {"predicted_close_date_low": TODAY - 80 * DAY, "predicted_close_date_high": TODAY - 40 * DAY}
    frame = past(100, np.full(300, 0.5), **dates)
    closed = np.where(np.arange(300) < 150, TODAY - 60 * DAY, np.nan)
    won = np.where(np.arange(300) < 150, 0.0, np.nan)
    found = figures(frame, known(won, closed))["predicted_close_date", "coverage_80", ALL]
    assert found.value == 0.5
    assert found.rows == 300
    assert found.is_alert
    young = frame.assign(predicted_close_date_high=TODAY - DAY / 2)
    assert figures(young, known(won, closed))["predicted_close_date", "coverage_80", ALL].value is None


def test_outcomes_are_read_from_their_table() -> None:
    rows = [
        {"opportunity_id": "o1", "is_won": True, "closed_at": datetime(2026, 6, 1, tzinfo=UTC), "won_amount": None, "currency": "EUR"},
        {"opportunity_id": "o2", "is_won": None, "currency": "EUR"},
    ]  # fmt: skip
    table = pa.Table.from_pylist(rows, schema=arrow_schema(OUTCOMES))
    found = Known.of_outcomes(table).of(pd.Series(["o2", "o1", "o3"], dtype=object))
    won, closed, there = found.won, found.closed, found.there
    assert won.tolist()[1] == 1.0
    assert np.isnan(won[[0, 2]]).all()
    assert closed[1] == datetime(2026, 6, 1, tzinfo=UTC).timestamp() * 1e6
    assert there.tolist() == [True, True, False]
