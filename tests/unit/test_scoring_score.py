from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from pydantic import ValidationError

from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.contracts.published import SCORED_OPPORTUNITIES
from sales_pipeline.errors import SalesPipelineError
from sales_pipeline.scoring.params import ScoringParams
from tests.support.scored_rows import prediction_row, scored_table, spine_row


def scored_one(probability: float | None, previous: pa.Table | None = None, **values: object) -> dict[str, object]:
    return scored_table([spine_row("o")], [prediction_row("o", probability, **values)], previous).to_pylist()[0]


def test_the_table_follows_its_contract_and_is_sorted_by_its_key() -> None:
    table = scored_table([spine_row("b"), spine_row("a")], [prediction_row("a", 0.9), prediction_row("b", 0.1)])
    assert table.schema == arrow_schema(SCORED_OPPORTUNITIES)
    assert table.column("opportunity_id").to_pylist() == ["a", "b"]
    assert table.column("win_probability").to_pylist() == [0.9, 0.1]


@pytest.mark.parametrize(
    ("probability", "expected"), [(0.0, 1), (0.004, 1), (0.124999, 12), (0.125, 13), (0.5, 50), (0.995, 99), (1.0, 99)]
)
def test_the_score_is_rounded_half_up_and_held_within_1_and_99(probability: float, expected: int) -> None:
    assert scored_one(probability)["score"] == expected


def test_expected_value_is_exact_to_the_cent_from_the_published_figures() -> None:
    row = scored_one(1 / 3, expected_amount=1000.005)
    assert row["expected_amount"] == Decimal("1000.01")
    assert row["expected_value"] == Decimal("333.34")  # 0.333333 x 1000.01 = 333.33633…


def test_without_an_amount_or_a_probability_there_is_no_expected_value() -> None:
    assert scored_one(0.5, expected_amount=None)["expected_value"] is None
    row = scored_one(None)
    empty = ("win_probability", "score", "grade", "trend", "expected_value", "predicted_close_date")
    assert [row[name] for name in empty] == [None] * 6
    assert row["abstain_reason"] == "no creation date is recorded"


@pytest.mark.parametrize(
    ("probability", "grade"), [(1.0, "A"), (0.7, "A"), (0.699, "B"), (0.4, "B"), (0.15, "C"), (0.149, "D"), (0.0, "D")]
)
def test_grades_without_a_past(probability: float, grade: str) -> None:
    assert scored_one(probability)["grade"] == grade


@pytest.mark.parametrize(
    ("before", "now", "grade"),
    [
        (0.75, 0.69, "A"),  # still within 0.02 of the cut-off
        (0.75, 0.68, "A"),
        (0.75, 0.679, "B"),
        (0.65, 0.71, "B"),
        (0.65, 0.72, "A"),
        (0.75, 0.39, "B"),  # from A every lower cut-off counts as held, so B is left below 0.38
        (0.75, 0.379, "C"),
        (0.05, 0.9, "A"),
        (0.9, 0.05, "D"),
    ],
)
def test_a_grade_changes_only_beyond_the_hysteresis(before: float, now: float, grade: str) -> None:
    previous = scored_table([spine_row("o")], [prediction_row("o", before)])
    assert scored_one(now, previous)["grade"] == grade


@pytest.mark.parametrize(
    ("before", "now", "trend"),
    [
        (0.5, 0.61, "improving"),
        (0.5, 0.6, "steady"),
        (0.5, 0.39, "declining"),
        (0.5, 0.4, "steady"),
        (None, 0.4, "new"),
        (0.5, None, None),
    ],
)
def test_trend_is_judged_against_the_last_published_interval(
    before: float | None, now: float | None, trend: str | None
) -> None:
    previous = scored_table([spine_row("o")], [prediction_row("o", before)])
    row = scored_one(now, previous)
    assert row["trend"] == trend
    assert row["previous_win_probability"] == before


def test_a_change_too_small_to_matter_is_steady_even_outside_a_narrow_interval() -> None:
    narrow = {"win_probability_low": 0.5, "win_probability_high": 0.5}
    previous = scored_table([spine_row("o")], [prediction_row("o", 0.5, **narrow)])
    assert scored_one(0.509, previous)["trend"] == "steady"
    assert scored_one(0.511, previous)["trend"] == "improving"


def test_an_opportunity_unknown_to_the_last_run_is_new() -> None:
    previous = scored_table([spine_row("other")], [prediction_row("other")])
    assert scored_one(0.5, previous)["trend"] == "new"
    assert scored_one(0.5)["trend"] == "new"


def test_reasons_keep_their_rows_and_are_rounded() -> None:
    up = [{"code": "stage", "text": "The stage is Proposal", "weight": 0.123456}]
    table = scored_table(
        [spine_row("a"), spine_row("b")], [prediction_row("b", reasons_up=up), prediction_row("a", reasons_down=up)]
    )
    rounded = [{"code": "stage", "text": "The stage is Proposal", "weight": 0.1235}]
    assert table.column("reasons_up").to_pylist() == [[], rounded]
    assert table.column("reasons_down").to_pylist() == [rounded, []]


def test_predictions_of_other_opportunities_are_refused() -> None:
    with pytest.raises(SalesPipelineError, match="1 open opportunities without a prediction"):
        scored_table([spine_row("a")], [prediction_row("b")])
    late = prediction_row("a", as_of=datetime(2026, 7, 2, tzinfo=UTC))
    with pytest.raises(SalesPipelineError, match="2 different as-ofs"):
        scored_table([spine_row("a")], [late])


def test_no_open_opportunity_gives_an_empty_table() -> None:
    assert scored_table([], []).num_rows == 0


def test_cut_offs_must_fall_and_keep_their_distance() -> None:
    with pytest.raises(ValidationError, match="falling"):
        ScoringParams(grade_cut_offs=(0.4, 0.7, 0.1))
    with pytest.raises(ValidationError, match="twice grade_hysteresis"):
        ScoringParams(grade_cut_offs=(0.7, 0.69, 0.1))
