"""Why a probability changed: the parts add up to the change that is published, and time is told from data."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from sales_pipeline.models.bundle import Bundle
from sales_pipeline.models.calibration import Calibrator
from sales_pipeline.models.estimators import logit
from sales_pipeline.models.explanation import pass_time, why_changed
from sales_pipeline.models.matrix import DAY, Matrix
from sales_pipeline.models.predict import win_probabilities
from sales_pipeline.models.wording import Wording
from tests.support.explained import AS_OF_DAY, bundle, fit_model, make_matrix

MATRIX, WON = make_matrix()
OTHER, OTHER_WON = make_matrix(seed=6)
LATER = 17
ROW = MATRIX.take(np.array([0]))


@cache
def model(family: str = "logistic_regression", version: str = "v1") -> Bundle:
    matrix, won = (MATRIX, WON) if version == "v1" else (OTHER, OTHER_WON)
    return bundle(fit_model(family, matrix, won), version)


def published(told: Bundle, row: Matrix) -> float:
    assert told.win is not None
    return float(logit(np.round(win_probabilities(told.win, row), 6))[0])


def at(row: Matrix, days: int, **values: object) -> Matrix:
    """The row some days later, had nothing happened but those values."""
    keys = row.keys.copy()
    keys["as_of_us"] += days * DAY
    moved = pass_time(row, Matrix(row.frame, keys, row.columns))
    frame = moved.frame.copy()
    for name, value in values.items():
        frame[name] = value if isinstance(value, float) else np.array([value], dtype=object)
    return Matrix(frame, moved.keys, row.columns)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (("logistic_regression", "v1"), ("logistic_regression", "v1")),
        (("logistic_regression", "v1"), ("logistic_regression", "v2")),
        (("decision_tree", "v1"), ("decision_tree", "v2")),
        (("gradient_boosting", "v1"), ("gradient_boosting", "v2")),
        (("stage_rate", "v1"), ("gradient_boosting", "v2")),
        (("linear_svm", "v1"), ("logistic_regression", "v2")),
    ],
)
def test_the_parts_add_up_to_the_published_change(old: tuple[str, str], new: tuple[str, str]) -> None:
    for number in range(12):
        before = MATRIX.take(np.array([number]))
        after = OTHER.take(np.array([number]))
        after.keys["as_of_us"] += LATER * DAY
        change = why_changed(model(*old), before, model(*new), after)
        assert change.time + change.data + change.model + change.recalibration == pytest.approx(change.total, abs=1e-12)
        expected = published(model(*new), after) - published(model(*old), before)
        assert change.total == pytest.approx(expected, abs=1e-12)
        assert change.is_split == (old[0] == new[0])
        if not change.is_split:
            assert change.recalibration == 0


def test_nothing_happened_and_no_time_passed() -> None:
    change = why_changed(model(), ROW, model(), ROW)
    assert (change.time, change.data, change.model, change.recalibration, change.total) == (0, 0, 0, 0, 0)
    assert change.details == ()


@pytest.mark.parametrize("family", ["logistic_regression", "gradient_boosting"])
def test_time_alone_is_time(family: str) -> None:
    change = why_changed(model(family), ROW, model(family), at(ROW, LATER))
    assert change.time == change.total != 0
    assert change.data == change.model == change.recalibration == 0
    assert {move["part"] for move in change.details} == {"time"}
    # Where effects interact, what stood still may weigh differently; it says so.
    moving = {"time_open", "engagement", "close_date", "attribute:Renewal_Date__c"}
    still = [move for move in change.details if move["code"] not in moving]
    assert all("unchanged" in move["text"] for move in still)
    assert any("before" in move["text"] for move in change.details)
    assert not still or family == "gradient_boosting"


@pytest.mark.parametrize("family", ["logistic_regression", "decision_tree", "gradient_boosting"])
def test_news_without_time_is_data(family: str) -> None:
    stages = [stage for stage in ("Prospecting", "Negotiation") if stage != ROW.frame["stage"][0]]
    change = why_changed(
        model(family), ROW, model(family), at(ROW, 0, stage=stages[0], activity_count_30d=90.0, owner_win_rate=0.1)
    )
    assert change.time == 0
    assert change.data == change.total != 0


def test_time_and_news_are_told_apart() -> None:
    """A call yesterday after 17 days: silence is time, the call is data."""
    quiet = ROW.frame["days_since_last_activity"][0]
    after = at(ROW, LATER, days_since_last_activity=1.0)
    change = why_changed(model(), ROW, model(), after)
    moves = {(move["part"], move["code"]): move for move in change.details}
    silence, call = moves["time", "engagement"], moves["data", "engagement"]
    assert silence["weight"] < 0 < call["weight"]
    assert silence["text"] == f"no activity for {quiet + LATER:.0f} days (before: {quiet:.0f})"
    assert call["text"] == f"last activity 1 days ago (before: {quiet + LATER:.0f})"
    for part in ("time", "data"):
        found = sum(move["weight"] for (of, _), move in moves.items() if of == part)
        # Moves too small for a sentence are left out, published probabilities are rounded.
        assert found == pytest.approx(getattr(change, part), abs=0.02)


def test_another_calibrator_alone_is_recalibration() -> None:
    old = model()
    assert old.win is not None
    shifted = replace(
        old.win, calibrator=Calibrator(slope=old.win.calibrator.slope, intercept=old.win.calibrator.intercept + 0.5)
    )
    change = why_changed(old, ROW, bundle(shifted, "v3"), ROW)
    assert change.recalibration == pytest.approx(0.5, abs=1e-4)
    assert change.time == change.data == change.model == 0


def test_another_estimator_alone_is_model() -> None:
    old, new = model(), model(version="v2")
    assert old.win is not None
    assert new.win is not None
    retrained = bundle(replace(new.win, calibrator=old.win.calibrator), "v4")
    change = why_changed(old, ROW, retrained, ROW)
    assert change.model == change.total != 0
    assert change.recalibration == 0


def test_sensitive_fields_are_not_quoted() -> None:
    wording = Wording.of("en", ("days_since_last_activity", "stage"))
    change = why_changed(model(), ROW, model(), at(ROW, LATER, stage="Negotiation"), wording=wording)
    told = " ".join(f"{move['code']} {move['label']} {move['text']}" for move in change.details)
    assert "fields not shown here" in told
    for secret in ("activity", "Negotiation", "stage:"):
        assert secret not in told


def test_texts_come_in_chinese() -> None:
    change = why_changed(model(), ROW, model(), at(ROW, LATER, stage="Negotiation"), wording=Wording("zh"))
    texts = [move["text"] for move in change.details]
    assert any("（此前：" in text for text in texts)
    assert not any("before" in text for text in texts)


def test_a_change_needs_two_probabilities() -> None:
    with pytest.raises(ValueError, match="both runs"):
        why_changed(bundle(None), ROW, model(), ROW)


class TestPassingOfTime:
    def test_ages_grow_and_dates_come_nearer(self) -> None:
        moved = at(MATRIX, LATER)
        for name in ("days_in_stage", "age_days", "days_since_last_activity"):
            np.testing.assert_array_equal(moved.frame[name], MATRIX.frame[name] + LATER)
        np.testing.assert_array_equal(
            moved.frame["days_to_crm_close_date"], MATRIX.frame["days_to_crm_close_date"] - LATER
        )
        np.testing.assert_array_equal(
            moved.frame["attribute:Renewal_Date__c"], MATRIX.frame["attribute:Renewal_Date__c"] + LATER
        )
        for name in ("amount", "owner_win_rate", "activity_count_30d"):
            np.testing.assert_array_equal(moved.frame[name], MATRIX.frame[name])
        assert (moved.keys["as_of_us"] == (AS_OF_DAY + LATER) * DAY).all()

    def test_a_close_date_passes_the_day_after_it(self) -> None:
        moved = at(MATRIX, LATER)
        expected = (moved.frame["days_to_crm_close_date"] < 0).astype(float)
        assert (expected != MATRIX.frame["is_past_crm_close_date"]).any()
        np.testing.assert_array_equal(moved.frame["is_past_crm_close_date"], expected)

    def test_windows_are_taken_where_they_are_known(self) -> None:
        keys = ROW.keys.copy()
        keys["as_of_us"] += LATER * DAY
        later = Matrix(ROW.frame, keys, ROW.columns)
        assert pass_time(ROW, later, {"activity_count_30d": 2.0}).frame["activity_count_30d"][0] == 2.0
        assert np.isnan(pass_time(ROW, later, {"activity_count_30d": None}).frame["activity_count_30d"][0])
