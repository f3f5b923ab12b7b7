from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from sales_pipeline.delivery.audit import audit
from tests.support.published_run import RUN, changed, run_tables
from tests.support.scored_rows import AS_OF


def test_a_sound_run_has_no_failures() -> None:
    assert audit(run_tables(), RUN) == []


SCORED, QUEUE, LEFT = "scored_opportunities", "follow_up_queue", "left_out"


@pytest.mark.parametrize(
    ("table", "row", "values", "failure"),
    [
        (SCORED, 0, {"currency": None}, "currency: is required and empty in 1 rows, first source_system=crm, opportunity_id=a"),
        (SCORED, 1, {"opportunity_id": "a"}, "1 rows repeat the key source_system, opportunity_id"),
        (SCORED, 0, {"kind": "deal"}, "kind: is not an allowed value"),
        (SCORED, 0, {"win_probability": 1.5, "win_probability_high": 1.5}, "win_probability: is above 1.0"),
        (SCORED, 0, {"win_probability": float("nan")}, "win_probability: is not a finite number"),
        (SCORED, 0, {"score": 0}, "score: is below 1"),
        (SCORED, 0, {"expected_amount_low": Decimal("-1.00")}, "expected_amount_low: is below 0"),
        (SCORED, 0, {"win_probability_low": 0.6}, "win_probability_low: is greater than win_probability"),
        (SCORED, 0, {"win_probability_high": 0.4}, "win_probability: is greater than win_probability_high"),
        (SCORED, 0, {"win_probability_30d": 0.3}, "win_probability_30d: is greater than win_probability_90d"),
        (SCORED, 0, {"win_probability_90d": 0.6}, "win_probability_90d: is greater than win_probability"),
        (SCORED, 0, {"predicted_close_date_low": date(2027, 1, 1)}, "predicted_close_date_low: is greater than"),
        (SCORED, 0, {"expected_value": Decimal("500.02")}, "expected_value: is not win_probability x expected_amount"),
        (SCORED, 0, {"expected_value": None}, "expected_value: is not win_probability x expected_amount"),
        (SCORED, 0, {"grade": None}, "grade: is not empty exactly where win_probability is"),
        (SCORED, 2, {"abstain_reason": None}, "abstain_reason: is not given exactly where win_probability is empty"),
        (SCORED, 0, {"reasons_up": [{"code": "x", "text": "Bad", "weight": -0.1}]}, "wrong sign"),
        (SCORED, 0, {"reasons_up": [{"code": "x", "text": "=1+1", "weight": 0.1}]}, "begins like a spreadsheet formula"),
        (SCORED, 0, {"reasons_up": [{"code": "x", "text": f"T{n}", "weight": 0.1} for n in range(4)]}, "more than 3"),
        (SCORED, 0, {"reasons_up": [{"code": "x", "text": "T", "weight": w} for w in (0.1, 0.2)]}, "falling order"),
        (SCORED, 0, {"stage": "=HYPERLINK(1)"}, "stage: begins like a spreadsheet formula"),
        (SCORED, 0, {"stage": " -2+3+cmd|' /C calc'!A0"}, "stage: begins like a spreadsheet formula"),
        (SCORED, 0, {"owner_id": "somebody@example.com"}, "owner_id: holds an e-mail address"),
        (SCORED, 0, {"stage": "a\x00b"}, "stage: holds a control character"),
        (SCORED, 0, {"as_of": AS_OF.instant - timedelta(days=1)}, "2 different as-ofs"),
        (QUEUE, 0, {"reason": "- call"}, "reason: begins like a spreadsheet formula"),
        (QUEUE, 0, {"reason": "＝1+1"}, "reason: begins like a spreadsheet formula"),
        (QUEUE, 0, {"reason": "Call +49 30 901820"}, "reason: holds a phone number"),
        (QUEUE, 0, {"evidence": "Call (030) 901-820"}, "evidence: holds a phone number"),
        (QUEUE, 0, {"run_id": "run-2"}, "run_id: is not run-1"),
        (QUEUE, 0, {"due_at": AS_OF.instant - timedelta(days=1)}, "as_of: is greater than due_at"),
        (QUEUE, 0, {"opportunity_id": "b"}, "are in the queue and in left_out, first b"),
        (QUEUE, 0, {"opportunity_id": "z"}, "are in the queue or in left_out, but not scored, first z"),
        (LEFT, 0, {"opportunity_id": "a"}, "are scored, but neither in the queue nor in left_out, first b"),
        (LEFT, 0, {"reason": "bored"}, "reason: is not an allowed value"),
    ],
)  # fmt: skip
def test_each_fault_is_found_and_named(table: str, row: int, values: dict[str, Any], failure: str) -> None:
    failures = audit(changed(run_tables(), table, row, **values), RUN)
    assert any(failure in found for found in failures), failures


@pytest.mark.parametrize(
    ("table", "values"),
    [
        (SCORED, {"stage": "- none -"}),
        (SCORED, {"stage": "-1"}),
        (SCORED, {"account_id": "10234567890"}),
        (SCORED, {"account_id": "555-123-4567"}),  # an id may look like anything
        (
            QUEUE,
            {"evidence": "expected value 1234567890.12 EUR; close date 2026-06-30; opportunity 006000000000001AAA"},
        ),
    ],
)
def test_ids_amounts_and_dates_are_no_false_alarm(table: str, values: dict[str, Any]) -> None:
    assert audit(changed(run_tables(), table, 0, **values), RUN) == []


def test_a_wrong_shape_is_reported_once() -> None:
    tables = run_tables()
    short = {**tables, SCORED: tables[SCORED].drop_columns(["grade"])}
    assert [f for f in audit(short, RUN) if SCORED in f] == [
        "scored_opportunities: expected the contract's columns in order; missing ['grade'], extra []"
    ]
    texts = tables[SCORED].set_column(0, "source_system", pa.array([1, 2, 3]))
    assert audit({**tables, SCORED: texts}, RUN) == ["scored_opportunities.source_system: expected string, found int64"]
    assert "not a published table" in audit({"secrets": tables[LEFT]}, RUN)[0]


def test_all_faults_are_listed_at_once() -> None:
    tables = changed(changed(run_tables(), SCORED, 0, kind="deal"), QUEUE, 0, reason="@x")
    assert len(audit(tables, RUN)) == 2
