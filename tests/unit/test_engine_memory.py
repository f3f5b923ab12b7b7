"""The embedded engine's memory: set from the machine where the settings say nothing, and of no effect on what is written."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import sqlglot
from sqlglot import exp

from sales_pipeline.engines.duckdb import DuckDBEngine
from sales_pipeline.engines.machine import limit_of, memory_limit
from sales_pipeline.settings import EngineSettings

GIB = 1 << 30


def test_the_settings_say_nothing_about_memory_unless_told() -> None:
    assert EngineSettings().memory_limit is None


def test_a_quarter_of_the_machine_is_taken_and_never_less_than_one_gib() -> None:
    assert limit_of(32 * GIB, ()) == 8 * GIB
    assert limit_of(2 * GIB, ()) == GIB


def test_a_containers_limit_counts_where_it_is_smaller(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text(f"{8 * GIB}\n")
    (tmp_path / "none").write_text("max\n")
    (tmp_path / "unlimited").write_text("9223372036854771712\n")
    found = tuple(tmp_path / name for name in ("memory.max", "none", "unlimited", "absent"))
    assert limit_of(32 * GIB, found) == 2 * GIB
    assert limit_of(32 * GIB, found[1:]) == 8 * GIB


def test_this_machines_limit_is_one_the_engine_takes() -> None:
    with DuckDBEngine(threads=1, memory_limit=memory_limit()) as engine:
        assert engine.query(_tree("SELECT 1 AS one"), {}).to_pylist() == [{"one": 1}]


def test_what_is_written_does_not_depend_on_the_memory(tmp_path: Path) -> None:
    rows = 400_000
    numbers = pa.array(((i * 7919) % rows for i in range(rows)), pa.int64())
    data = tmp_path / "data.parquet"
    pq.write_table(pa.table({"k": numbers, "t": [f"text of some length {i:09d}" for i in range(rows)]}), data)
    tree = _tree("SELECT k, MAX(t) AS t, ROW_NUMBER() OVER (ORDER BY t DESC) AS place FROM data GROUP BY k, t")
    spill = tmp_path / "spill"
    written = {}
    for limit in ("80MB", "2GB"):
        with DuckDBEngine(threads=2, memory_limit=limit, spill_directory=spill) as engine:
            written[limit] = engine.run(tree, {"data": data}, tmp_path / f"{limit}.parquet", order_by=["k"])
    assert written["80MB"].rows == rows
    assert written["80MB"].sha256 == written["2GB"].sha256


def _tree(sql: str) -> exp.Query:
    tree = sqlglot.parse_one(sql, read="duckdb")
    assert isinstance(tree, exp.Query)
    return tree
