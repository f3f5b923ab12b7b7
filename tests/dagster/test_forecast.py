"""The forecast as Dagster shows it: its checks stop a run that does not add up before it is published."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from dagster_project.assets.manage import FORECAST_CANONICAL, FORECAST_CHECKS
from dagster_project.managing import forecast_figures, forecast_verdicts
from dagster_project.run import execute
from sales_pipeline.contracts.forecast import FORECAST_CHANGES, REVENUE_FORECAST
from sales_pipeline.errors import SalesPipelineError
from sales_pipeline.lake.tables import write_table
from sales_pipeline.sales_management.changes import changes
from sales_pipeline.sales_management.forecast import FORECAST_INPUTS
from tests.dagster.conftest import CHAMPION, DAY, Library
from tests.support.forecast_rows import PARAMS, make_forecast, past, rows_by, scored


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
