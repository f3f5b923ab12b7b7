"""A small complete run: scored table, queue and left-out rows that agree with each other."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa

from sales_pipeline.contracts.published import FOLLOW_UP_QUEUE, LEFT_OUT
from sales_pipeline.domain.time import AsOf
from tests.support.scored_rows import AS_OF, prediction_row, rows_of, scored_table, spine_row

RUN = "run-1"


def queue_row(opportunity_id: str, **values: Any) -> dict[str, Any]:
    return {
        "queue_id": f"fu-{opportunity_id}",
        "source_system": "crm",
        "as_of": AS_OF.instant,
        "owner_id": "seller-1",
        "rank": 1,
        "opportunity_id": opportunity_id,
        "action": "call",
        "channel": "phone",
        "due_at": AS_OF.instant + timedelta(days=1),
        "expires_at": AS_OF.instant + timedelta(days=5),
        "priority": "high",
        "expected_gain": Decimal("50.00"),
        "gain_basis": "value_at_risk_rules",
        "estimated_minutes": 15,
        "reason": "The last contact was 35 days ago.",
        "evidence": "win probability 0.50; close date 2026-09-30",
        "attempt": 1,
        "propensity": 0.95,
        "policy": "value_at_risk_rules/1",
        "run_id": RUN,
        "stage": "Qualify",
        "episode_id": f"ep-{opportunity_id}",
        "chosen_by": "gain",
    } | values


def left_row(opportunity_id: str, **values: Any) -> dict[str, Any]:
    return {
        "source_system": "crm",
        "opportunity_id": opportunity_id,
        "as_of": AS_OF.instant,
        "reason": "capacity",
        "detail": "Better follow-ups take 240 of 240 minutes",
        "run_id": RUN,
    } | values


def run_tables(as_of: AsOf = AS_OF, run_id: str = RUN) -> dict[str, pa.Table]:
    """Three open opportunities: one in the queue, two left out, one of them abstained."""
    up = [{"code": "engagement", "text": "The customer wrote twice, lately", "weight": 0.42}]
    at = {"as_of": as_of.instant}
    shared = {**at, "run_id": run_id}
    scored = scored_table(
        [spine_row(name, **at) for name in "abc"],
        [
            prediction_row("a", 0.5, reasons_up=up, **at),
            prediction_row("b", 0.25, **at),
            prediction_row("c", None, **at),
        ],
    )
    dates = {"due_at": as_of.instant + timedelta(days=1), "expires_at": as_of.instant + timedelta(days=5)}
    return {
        "scored_opportunities": scored.set_column(
            scored.schema.get_field_index("run_id"),
            scored.schema.field("run_id"),
            pa.array([run_id] * scored.num_rows),
        ),
        "follow_up_queue": rows_of(FOLLOW_UP_QUEUE, [queue_row("a", **shared, **dates)]),
        "left_out": rows_of(LEFT_OUT, [left_row("b", **shared), left_row("c", reason="abstained", **shared)]),
    }


def changed(tables: dict[str, pa.Table], name: str, row: int, **values: Any) -> dict[str, pa.Table]:
    """The same tables with some cells of one row replaced; nothing is checked."""
    table = tables[name]
    rows = table.to_pylist()
    rows[row] |= values
    return {**tables, name: pa.Table.from_pylist(rows, schema=table.schema)}
