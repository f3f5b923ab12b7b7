"""A desk for tests of the follow-up queue: small canonical tables in, a queue out."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from sales_pipeline.contracts.canonical import ACTIVITIES, CONTACTS, EXCHANGE_RATES, OWNERS, PLANNED_ACTIVITIES
from sales_pipeline.contracts.internal import FEEDBACK, SPINE
from sales_pipeline.domain.time import AsOf
from sales_pipeline.engines.base import Engine
from sales_pipeline.engines.duckdb import DuckDBEngine
from sales_pipeline.features.sql_models import model
from sales_pipeline.follow_up.feedback import ISSUED_COLUMNS
from sales_pipeline.follow_up.params import FollowUpParams
from sales_pipeline.follow_up.queue import Queue, build_queue
from sales_pipeline.lake.tables import TableRef, write_table
from tests.support.scored_rows import AS_OF, prediction_row, rows_of, scored_table, spine_row

NO_HOLD_OUT = FollowUpParams(hold_out_share=0.0, exploration_share=0.0)
TABLES = {"activities": ACTIVITIES, "planned": PLANNED_ACTIVITIES, "contacts": CONTACTS, "owners": OWNERS}


def touches_of(spine: pa.Table, activities: TableRef, as_of: AsOf, engine: Engine) -> pa.Table:
    """TOUCHES of these opportunities."""
    inputs = {"spine": spine, "activities": activities}
    return engine.query(model("touches"), inputs, parameters={"as_of": as_of.instant})


class Desk:
    """Builds queues over small canonical tables."""

    def __init__(self, folder: Path, engine: DuckDBEngine) -> None:
        self.folder = folder
        self.engine = engine

    def queue(
        self,
        opportunities: list[tuple[dict[str, Any], dict[str, Any]]],
        *,
        params: FollowUpParams = NO_HOLD_OUT,
        as_of: AsOf = AS_OF,
        previous: pa.Table | None = None,
        feedback: pa.Table | None = None,
        rates: list[dict[str, Any]] | None = None,
        **canonical: list[dict[str, Any]],
    ) -> Queue:
        spine = [row | {"as_of": as_of.instant} for row, _ in opportunities]
        predictions = [row | {"as_of": as_of.instant} for _, row in opportunities]
        refs = {}
        for name, contract in TABLES.items():
            lineage = {"source_system": "crm", "source_file": "f", "source_record": 1}
            rows = [lineage | row for row in canonical.get(name, [])]
            refs[name] = write_table(rows_of(contract, rows), self.folder / f"{name}.parquet", contract)
        exchange_rates = None
        if rates is not None:
            lines = [{"source_file": "f", "source_record": 1} | row for row in rates]
            exchange_rates = write_table(rows_of(EXCHANGE_RATES, lines), self.folder / "rates.parquet", EXCHANGE_RATES)
        opportunities_now = rows_of(SPINE, spine)
        return build_queue(
            scored_table(spine, predictions),
            touches=touches_of(opportunities_now, refs["activities"], as_of, self.engine),
            **refs,
            previous_queue=previous,
            feedback=feedback,
            as_of=as_of,
            params=params,
            run_id="run-1",
            engine=self.engine,
            spine=opportunities_now,
            exchange_rates=exchange_rates,
        )


def opportunity(
    name: str = "o", probability: float | None = 0.5, *, predicted: dict[str, Any] | None = None, **state: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    return spine_row(name, **state), prediction_row(name, probability, **(predicted or {}))


def activity(days_ago: float, direction: str | None = "outbound", **values: Any) -> dict[str, Any]:
    at = AS_OF.instant - timedelta(days=days_ago)
    return {
        "activity_id": f"a{days_ago}{direction}{values.get('opportunity_id', 'o')}",
        "opportunity_id": "o",
        "kind": "call",
        "direction": direction,
        "occurred_at": at,
        "logged_at": at,
    } | values


def only(queue: Queue) -> dict[str, Any]:
    assert (queue.rows.num_rows, queue.left_out.num_rows) == (1, 0), queue.left_out.to_pylist()
    return queue.rows.to_pylist()[0]


def left(queue: Queue) -> dict[str, str]:
    return {row["opportunity_id"]: row["reason"] for row in queue.left_out.to_pylist()}


def queued(queue: Queue) -> list[str]:
    return [row["opportunity_id"] for row in sorted(queue.rows.to_pylist(), key=lambda row: row["rank"])]


def said(row: dict[str, Any], outcome: str, *, hours: float, **values: Any) -> pa.Table:
    at = AS_OF.instant + timedelta(hours=hours)
    known = {name: row[name] for name in ISSUED_COLUMNS}
    return rows_of(FEEDBACK, [{**known, "outcome": outcome, "dealt_with_at": at, "origin": "file", **values}])
