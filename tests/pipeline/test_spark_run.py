"""The main job on Spark publishes what it publishes on DuckDB: from files to the published tables, through the command line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.runs import require_current_run
from sales_pipeline.simulation.params import WorldParams
from sales_pipeline.simulation.salesforce_export import write_export
from sales_pipeline.simulation.world import simulate
from tests.support.cli import IGNORED_WARNINGS, call, write_config
from tests.support.parity import differences
from tests.support.spark import INTERPRETED, QUICK_START

pytestmark = [pytest.mark.spark, *(pytest.mark.filterwarnings(text) for text in IGNORED_WARNINGS)]
OPPORTUNITIES = 150


def test_a_run_on_spark_publishes_the_tables_of_a_run_on_duckdb(tmp_path: Path) -> None:
    pytest.importorskip("pyspark", reason="pyspark is not installed: pip install 'sales-pipeline[spark]'")
    write_export(simulate(WorldParams(opportunities=OPPORTUNITIES, seed=11)), tmp_path)
    engine = {"shuffle_partitions": 2, "conf": QUICK_START | INTERPRETED}
    config = write_config(
        tmp_path, mapping={"dialect": "salesforce", "currency": "USD"}, exports="export", start_date="2024-01-01", engine=engine
    )  # fmt: skip
    call("train", "-c", config).done()
    shutil.copytree(tmp_path / "lake", tmp_path / "spark")
    for read in ("ingested", "canonical"):
        shutil.rmtree(tmp_path / "spark" / read)
    call("run", "-c", config).done()
    call("run", "-c", config, "--lake", tmp_path / "spark", "--engine", "spark", "--master", "local[2]").done()
    left, right = (require_current_run(Lake(tmp_path / name)).path for name in ("lake", "spark"))
    names = sorted(path.name for path in left.glob("*.parquet"))
    assert names == sorted(path.name for path in right.glob("*.parquet"))
    assert "scored_opportunities.parquet" in names
    found: list[str] = []
    for name in names:
        one, other = pq.read_table(left / name), pq.read_table(right / name)
        assert other.schema.equals(one.schema), name
        found += differences(one.to_pylist(), other.to_pylist(), name)
    assert found == []
    assert pq.read_metadata(left / "scored_opportunities.parquet").num_rows > 0
    ledger = pq.read_table(left / "row_ledger_summary.parquet")
    assert ledger.num_rows > 0
    assert not list((tmp_path / "spark" / "_spark").iterdir()), "a session leaves nothing in its folder"
