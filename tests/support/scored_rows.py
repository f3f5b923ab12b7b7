"""Small spines, predictions and scored tables for tests of scoring, follow-up and delivery."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa

from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.contracts.internal import PREDICTIONS, SPINE
from sales_pipeline.contracts.model import Table
from sales_pipeline.domain.time import AsOf
from sales_pipeline.scoring.params import ScoringParams
from sales_pipeline.scoring.score import score

AS_OF = AsOf(datetime(2026, 7, 1, tzinfo=UTC))  # the end of Tuesday, 30 June 2026


def rows_of(contract: Table, rows: list[dict[str, Any]]) -> pa.Table:
    """A table of the contract's schema; columns a row does not name are NULL."""
    names = contract.column_names
    return pa.Table.from_pylist([{n: row.get(n) for n in names} for row in rows], schema=arrow_schema(contract))


def spine_row(opportunity_id: str, **values: Any) -> dict[str, Any]:
    return {
        "opportunity_id": opportunity_id,
        "as_of": AS_OF.instant,
        "source_system": "crm",
        "kind": "opportunity",
        "account_id": f"account-{opportunity_id}",
        "owner_id": "seller-1",
        "stage": "Qualify",
        "currency": "EUR",
        "amount": Decimal("1000.00"),
        "crm_close_date": date(2026, 9, 30),
        "created_at": datetime(2026, 6, 1, tzinfo=UTC),
        "is_landmark": False,
    } | values


def prediction_row(opportunity_id: str, probability: float | None = 0.5, **values: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "opportunity_id": opportunity_id,
        "as_of": AS_OF.instant,
        "reasons_up": [],
        "reasons_down": [],
        "evidence_level": "full_model",
    }
    if probability is None:
        row["abstain_reason"] = "no creation date is recorded"
        row["evidence_level"] = "rules"
    else:
        row |= {
            "win_probability": probability,
            "win_probability_low": max(0.0, probability - 0.1),
            "win_probability_high": min(1.0, probability + 0.1),
            "win_probability_30d": probability / 4,
            "win_probability_90d": probability / 2,
            "expected_amount": 1000.0,
            "expected_amount_low": 800.0,
            "expected_amount_high": 1200.0,
            "predicted_close_date": date(2026, 9, 1),
            "predicted_close_date_low": date(2026, 8, 1),
            "predicted_close_date_high": date(2026, 11, 1),
            "slip_probability": 0.25,
        }
    return row | values


def scored_table(
    spine: list[dict[str, Any]],
    predictions: list[dict[str, Any]],
    previous: pa.Table | None = None,
    params: ScoringParams | None = None,
) -> pa.Table:
    return score(
        rows_of(PREDICTIONS, predictions),
        rows_of(SPINE, spine),
        previous,
        params or ScoringParams(),
        model_name="win",
        model_version="0123abcd",
        run_id="run-1",
    )
