"""Drift of inputs: what is alarmed, what is only shown, and that nothing is where nothing has changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sales_pipeline.models.matrix import DAY, Matrix, SourceColumn
from sales_pipeline.monitoring.figure import Figure
from sales_pipeline.monitoring.inputs import follows_time, input_figures
from sales_pipeline.monitoring.params import MonitoringParams
from sales_pipeline.monitoring.reference import Reference, landmark_reference, plain_reference

PARAMS = MonitoringParams()
COLUMNS = (
    SourceColumn("amount", "number", "amount"),
    SourceColumn("stage", "category", "stage"),
    SourceColumn("activity_count_30d", "number", "activities"),
    SourceColumn("as_of_month", "number", "month"),
    SourceColumn("owner_closed_count", "number", "closed by the owner"),
)


def matrix(
    seed: int = 0, rows: int = 600, dates: int = 1, change: Callable[[pd.DataFrame], Any] | None = None
) -> Matrix:
    """Opportunities, each at every date: the month moves with the date, the owner's count grows, the rest stays alike."""
    random = np.random.default_rng(seed)
    number = np.tile(np.arange(rows), dates)
    date = np.repeat(np.arange(dates), rows)
    frame = pd.DataFrame(
        {
            "amount": np.exp(random.normal(9, 1, rows))[number],
            "stage": random.choice(np.array(["Qualify", "Propose", "Close"], dtype=object), rows)[number],
            "activity_count_30d": random.poisson(0.5, rows).astype(float)[number],
            "as_of_month": (date % 12).astype(float),
            "owner_closed_count": random.poisson(20, rows)[number] + date * 5.0,
        }
    )
    frame.loc[random.uniform(size=len(frame)) < 0.1, "amount"] = np.nan
    if change is not None:
        change(frame)
    keys = pd.DataFrame(
        {
            "opportunity_id": [f"{seed}-{one}" for one in number],
            "account_id": [f"{seed}-{one // 2}" if one % 3 else None for one in number],
            "kind": "opportunity",
            "as_of_us": (date + 1) * 28.0 * DAY,
        }
    )
    return Matrix(frame, keys, COLUMNS)


@pytest.fixture(scope="module")
def training() -> Reference:
    return landmark_reference(matrix(1, dates=12), COLUMNS, (), PARAMS)


def compare(today: Matrix, reference: Reference, absent: tuple[str, ...] = ()) -> dict[tuple[str, str], Figure]:
    figures, _ = input_figures(today, absent, COLUMNS, reference, "training", PARAMS)
    return {(one.subject, one.figure): one for one in figures}


def alerts(today: Matrix, reference: Reference) -> set[tuple[str, str]]:
    return {name for name, one in compare(today, reference).items() if one.is_alert}


def test_nothing_is_alarmed_where_nothing_has_changed(training: Reference) -> None:
    found = [alerts(matrix(seed, rows=rows), training) for seed in range(100, 130) for rows in (40, 400)]
    assert set().union(*found) == set()


def test_a_shifted_number_is_alarmed_and_the_rest_is_not(training: Reference) -> None:
    today = matrix(2, change=lambda frame: frame.update({"amount": frame["amount"] * 4}))
    assert alerts(today, training) == {("amount", "psi")}
    figure = compare(today, training)["amount", "psi"]
    assert figure.limit_high is not None
    assert figure.value is not None
    assert figure.value > figure.limit_high >= PARAMS.psi
    assert "by chance" in figure.detail


def test_a_column_that_vanished_says_so(training: Reference) -> None:
    today = matrix(2, change=lambda frame: frame.__setitem__("amount", np.nan))
    assert alerts(today, training) == {("amount", "missing_share")}
    assert "the column has vanished" in compare(today, training)["amount", "missing_share"].detail
    assert compare(today, training)["amount", "psi"].value is None


def test_a_share_without_values_that_grows_is_alarmed(training: Reference) -> None:
    def empty(frame: pd.DataFrame) -> None:
        frame.loc[frame.index % 2 == 0, "stage"] = None

    assert ("stage", "missing_share") in alerts(matrix(2, change=empty), training)


def test_new_and_vanished_values_are_alarmed_and_named_apart_from_the_figures(training: Reference) -> None:
    def rename(frame: pd.DataFrame) -> None:
        frame["stage"] = frame["stage"].replace("Close", "Negotiate jointly")

    today = matrix(2, change=rename)
    assert {("stage", "new_value_share"), ("stage", "vanished_value_share")} <= alerts(today, training)
    figures, named = input_figures(today, (), COLUMNS, training, "training", PARAMS)
    assert named == {"stage": {"new": ["Negotiate jointly"], "vanished": ["Close"]}}
    assert not any("Negotiate" in one.detail or "Close" in one.detail for one in figures)


def test_a_category_with_ever_new_values_is_no_alarm() -> None:
    def serial(prefix: str) -> Callable[[pd.DataFrame], Any]:
        return lambda frame: frame.__setitem__(
            "stage", [f"{prefix}{n}" if n % 4 == 0 else "usual" for n in frame.index]
        )

    before = plain_reference(matrix(1, change=serial("a")), COLUMNS, (), PARAMS)
    found = compare(matrix(2, change=serial("b")), before)["stage", "new_value_share"]
    assert found.value == pytest.approx(0.25)
    assert not found.is_alert


def test_what_follows_the_time_is_shown_without_a_limit(training: Reference) -> None:
    def later(frame: pd.DataFrame) -> None:
        frame["as_of_month"] = 6.0
        frame["owner_closed_count"] += 1000

    today = matrix(2, change=later)
    assert alerts(today, training) == set()
    for name in ("as_of_month", "owner_closed_count"):
        figure = compare(today, training)[name, "psi"]
        assert figure.value is not None
        assert figure.value > 1
        assert figure.limit_high is None
        assert "follows the time by itself" in figure.detail
    assert follows_time(SourceColumn("attribute:Start", "number", "start", is_date=True))
    assert not follows_time(COLUMNS[0])


def test_what_landmark_dates_differ_by_themselves_is_usual() -> None:
    def seasonal(frame: pd.DataFrame) -> None:
        frame["amount"] *= np.where(frame["as_of_month"] % 3 == 2, 4, 1)

    reference = landmark_reference(matrix(1, dates=12, change=seasonal), COLUMNS, (), PARAMS)
    assert reference.columns[0].usual_psi > PARAMS.psi
    today = matrix(2, change=lambda frame: frame.update({"amount": frame["amount"] * 4}))
    assert alerts(today, reference) == set()


def test_the_reference_is_the_last_year_of_landmarks() -> None:
    whole = landmark_reference(matrix(1, dates=20), COLUMNS, (), PARAMS)
    assert whole.rows == 600 * 14
    assert Reference.from_dict(whole.to_dict()).to_dict() == whole.to_dict()


def test_features_that_came_or_went_are_named_and_only_used_ones_alarm(training: Reference) -> None:
    found = compare(matrix(2), training, absent=("activity_count_30d", "call_count_30d"))
    assert found["activity_count_30d", "is_present"].is_alert
    assert not found["call_count_30d", "is_present"].is_alert
    assert "does not use it" in found["call_count_30d", "is_present"].detail
    poorer = plain_reference(matrix(1), COLUMNS, ("meeting_count",), PARAMS)
    came = compare(matrix(2), poorer)["meeting_count", "is_present"]
    assert came.value == 1.0
    assert not came.is_alert


def test_too_few_rows_are_not_compared(training: Reference) -> None:
    found = compare(matrix(2, rows=10), training)
    assert {one.value for one in found.values()} == {None}
    assert all("fewer than 30 rows" in one.detail for one in found.values())
