"""Published runs and mappings for tests of kits: a handful of rows that a test states, written as a run's folder."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa

from sales_pipeline.contracts.published import FOLLOW_UP_QUEUE, SCORED_OPPORTUNITIES
from sales_pipeline.delivery.kit import Kit
from sales_pipeline.delivery.kits.build import build_kit
from sales_pipeline.delivery.params import MoveLimit
from sales_pipeline.delivery.targets.spec import TargetSpec
from sales_pipeline.domain.identifiers import to_sfid18
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.runs import PublishedRun, read_manifest, write_run
from sales_pipeline.lake.tables import write_table
from tests.support.published_run import queue_row
from tests.support.scored_rows import rows_of

DAY = datetime(2026, 7, 1, tzinfo=UTC)
ANY_MOVES = MoveLimit(max_share=1.0)


def sfid(prefix: str, number: int) -> str:
    return to_sfid18(f"{prefix}A{number:011d}")


def scored_row(opportunity_id: str, probability: float | None = 0.5, **values: Any) -> dict[str, Any]:
    row = {
        "source_system": "crm",
        "opportunity_id": opportunity_id,
        "kind": "opportunity",
        "as_of": DAY,
        "currency": "EUR",
        "win_probability": probability,
        "score": None if probability is None else max(1, min(99, round(100 * probability))),
        "grade": None if probability is None else "B",
        "expected_amount": Decimal("1000.00"),
        "predicted_close_date": date(2026, 9, 1),
        "reasons_up": [],
        "reasons_down": [],
        "evidence_level": "full_model",
        "abstain_reason": None if probability is not None else "no creation date is recorded",
        "model_name": "win",
        "model_version": "0123abcd",
        "run_id": "run-1",
    }
    return row | values


def follow_up(queue_id: str, opportunity_id: str, **values: Any) -> dict[str, Any]:
    dates = {"as_of": DAY, "due_at": DAY + timedelta(hours=17), "expires_at": DAY + timedelta(days=5)}
    return queue_row(opportunity_id, queue_id=queue_id, owner_id=sfid("005", 1), **dates, **values)


def reason(text: str) -> list[dict[str, Any]]:
    return [{"code": "x", "text": text, "weight": 0.4}]


def publish_rows(
    lake: Lake,
    run_id: str,
    scored: list[dict[str, Any]],
    queue: list[dict[str, Any]] | None = None,
    *,
    as_of: datetime = DAY,
) -> PublishedRun:
    """Write a run's folder of these rows, with its manifest. Keys may repeat: no audit looks."""

    def build(folder: Path) -> dict[str, Any]:
        for contract, rows in ((SCORED_OPPORTUNITIES, scored), (FOLLOW_UP_QUEUE, queue or [])):
            table = rows_of(contract, [{**row, "run_id": run_id} for row in rows])
            write_table(pa.table(table), folder / f"{contract.name}.parquet", contract)
        return {"as_of": as_of.isoformat().replace("+00:00", "Z"), "model_version": "0123abcd"}

    folder = write_run(lake, run_id, build)
    manifest = read_manifest(folder)
    return PublishedRun(run_id, manifest["as_of"], folder, manifest)


def kit_of(lake: Lake, run: PublishedRun, spec: TargetSpec, **options: Any) -> Kit:
    return build_kit(lake, run, spec, target="crm", **{"moves": ANY_MOVES, **options})


def mapping(**changes: Any) -> TargetSpec:
    """A small target: a required figure, a text that may be blank, and a stamp that is not compared."""
    item = {
        "name": "scores",
        "source": "scores",
        "object": "deal",
        "operation": "update",
        "key": {"field": "id", "column": "opportunity_id"},
        "moves": "win",
        "fields": [
            {"field": "win", "column": "win_probability", "notation": "decimal", "decimals": 4, "required": True},
            {"field": "reason", "column": "reason_up", "length": 40},
            {"field": "at", "column": "as_of", "notation": "instant", "is_compared": False},
        ],
    }
    item |= changes.pop("item", {})
    return TargetSpec.model_validate(
        {"name": "crm", "title": "A CRM", "blank": "ignored", "clear": "#N/A", "objects": [item], **changes}
    )


def tasks(operation: str = "upsert", **changes: Any) -> dict[str, Any]:
    """An object of tasks for `mapping(objects=[...])`."""
    return {
        "name": "tasks",
        "source": "follow_ups",
        "object": "task",
        "operation": operation,
        "key": {"field": "key", "column": "queue_id"},
        "fields": [
            {"field": "subject", "column": "subject", "required": True},
            {"field": "due", "column": "due_on", "notation": "date", "required": True},
            {"field": "owner", "column": "owner_id", "is_sent_once": operation == "upsert"},
            {"field": "state", "constant": "proposed"},
        ],
    } | changes


def text(kit: Kit, name: str) -> str:
    return (kit.folder / name).read_text(encoding="utf-8")


def left_out(kit: Kit) -> dict[str, str]:
    """Code by the row's key."""
    import csv
    import io

    rows = csv.DictReader(io.StringIO(text(kit, "not_delivered.csv")))
    return {row["key"].removeprefix("crm / "): row["code"] for row in rows}
