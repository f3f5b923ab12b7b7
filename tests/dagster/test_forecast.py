"""The forecast as Dagster shows it: its checks stop a run that does not add up before it is published."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest

from dagster_project.assets.manage import FORECAST_CANONICAL, FORECAST_CHECKS
from dagster_project.managing import forecast_figures, forecast_tables, forecast_verdicts
from dagster_project.plan import RunPlan
from dagster_project.run import execute
from sales_pipeline.contracts.canonical import CANONICAL_TABLES
from sales_pipeline.contracts.forecast import FORECAST_CHANGES, FORECAST_TABLES, REVENUE_FORECAST
from sales_pipeline.contracts.internal import REPLAY
from sales_pipeline.contracts.published import SCORED_OPPORTUNITIES
from sales_pipeline.delivery.audit import audit
from sales_pipeline.domain.time import AsOf
from sales_pipeline.engines.duckdb import DuckDBEngine
from sales_pipeline.errors import SalesPipelineError
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.tables import TableRef, read_table, write_table
from sales_pipeline.sales_management.changes import NO_EARLIER, changes
from sales_pipeline.sales_management.forecast import FORECAST_INPUTS
from sales_pipeline.settings import Settings
from tests.dagster.conftest import CHAMPION, DAY, Library
from tests.support.forecast_rows import PARAMS, make_forecast, past, rows_by, scored
from tests.support.replay_rows import make_replay
from tests.support.scored_rows import rows_of


def test_declared_inputs_are_those_the_library_reads() -> None:
    assert set(FORECAST_CANONICAL) == set(FORECAST_INPUTS)


def test_a_forecast_that_does_not_add_up_is_not_published(library: Library) -> None:
    library.champion = CHAMPION
    library.failing_forecasts = {"levels_add_up"}
    with pytest.raises(SalesPipelineError, match="levels_add_up"):
        execute(library.settings, DAY)
    assert library.published == []


def test_verdicts_name_the_rows_at_fault(tmp_path: Path) -> None:
    of = past([])
    now = make_forecast(scored(("a", 0.5, {})), of)
    moved = write_table(changes(now, None, of.owners, PARAMS), tmp_path / "changes.parquet", FORECAST_CHANGES)
    said = write_table(now.table, tmp_path / "forecast.parquet", REVENUE_FORECAST)
    assert [(verdict.name, verdict.passed) for verdict in forecast_verdicts(said, moved)] == [
        (name, True) for name in FORECAST_CHECKS
    ]
    company = rows_by(now.table)["company", "company", "2026-Q3"]
    assert forecast_figures(said)["2026-Q3"]["expected"] == str(company["expected"])
    rows = now.table.to_pylist()
    for row in rows:
        if row["level"] == "team":
            row["high"], row["closed"] = row["expected"] - 1, row["closed"] + Decimal(1)
    broken = write_table(
        now.table.from_pylist(rows, schema=now.table.schema), tmp_path / "broken.parquet", REVENUE_FORECAST
    )
    found = {verdict.name: verdict for verdict in forecast_verdicts(broken, moved)}
    assert "adds up to" in found["levels_add_up"].message
    assert "does not hold" in found["interval_holds_expected"].message


def test_a_stored_replay_is_forecast_and_judged_and_a_repeat_reads_what_was_kept(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    rows, end = make_replay(opportunities=300, dates=6)
    replay = lake.root / "replays" / "key"
    write_table(rows, replay / "replay.parquet", REPLAY)
    (replay / "facts.json").write_text(json.dumps({"end": end.isoformat(), "dates": []}))
    settings = Settings(lake=lake.root, mapping={"dialect": "table"}, forecast={"draws": 100})
    as_of = AsOf(end)
    plan = RunPlan("run-1", as_of.isoformat(), (), "s", "c", "m", "v", None, None, False, "key")
    scores = write_table(
        scored(("o1", 0.5, {"currency": "USD"}), as_of=as_of), tmp_path / "scored.parquet", SCORED_OPPORTUNITIES
    )
    canonical = SimpleNamespace(key="canonical", base=None, came={}, tables=_canonical(tmp_path / "canonical", rows))
    with DuckDBEngine(threads=1) as engine:
        refs = forecast_tables(lake, settings, scores, canonical, as_of, plan, engine)  # type: ignore[arg-type]
        again = forecast_tables(lake, settings, scores, canonical, as_of, plan, engine)  # type: ignore[arg-type]
    assert again == refs
    assert [ref.name for ref in refs] == [table.name for table in FORECAST_TABLES]
    tables = {ref.name: read_table(ref) for ref in refs}
    assert audit(tables, "run-1") == []
    said, moved, history, accuracy = tables.values()
    assert "past windows of 90 days" in said["evidence"][0].as_py()
    assert set(moved["note"].to_pylist()) == {NO_EARLIER}
    assert set(history["source"].to_pylist()) == {"replay"}
    assert len(history["said_at"].unique()) == 6
    assert {"forecast", "stage_weighted", "last_period"} == set(accuracy["method"].to_pylist())


def _canonical(folder: Path, replayed: pa.Table) -> dict[str, TableRef]:
    """Canonical tables of a world without change history: deals with the outcomes the replay saw."""
    deals: dict[str, dict[str, object]] = {}
    for row in replayed.to_pylist():
        state = "open" if row["is_won"] is None else "won" if row["is_won"] else "lost"
        deals.setdefault(
            row["opportunity_id"],
            {
                "source_system": "crm", "opportunity_id": row["opportunity_id"], "kind": "opportunity", "state": state, "currency": "USD",
                "owner_id": row["owner_id"], "amount": row["won_amount"], "created_at": row["as_of"] - timedelta(days=10),
                "closed_at": row["closed_at"], "source_file": "f", "source_record": 1,
            },
        )  # fmt: skip
    rows = {"opportunities": list(deals.values())}
    return {
        name: write_table(
            rows_of(CANONICAL_TABLES[name], rows.get(name, [])), folder / f"{name}.parquet", CANONICAL_TABLES[name]
        )
        for name in FORECAST_INPUTS
    }
