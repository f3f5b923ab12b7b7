"""What the embedded engine writes depends on the rows alone, not on what its planner knows of them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlglot
from sqlglot import exp

from sales_pipeline.engines.duckdb import DuckDBEngine

ROWS = [{"k": number, "word": "same"} for number in range(10)]


def test_equal_rows_give_equal_bytes_whatever_the_planner_knows_of_nulls(tmp_path: Path) -> None:
    known = _tree("SELECT k, 'same' AS word FROM data")
    unknown = _tree("SELECT k, CASE WHEN k >= 0 THEN word END AS word FROM data")
    with DuckDBEngine(threads=1) as engine:
        refs = [
            engine.run(tree, {"data": pa.Table.from_pylist(ROWS)}, tmp_path / f"{number}.parquet", order_by=["k"])
            for number, tree in enumerate((known, unknown))
        ]
    assert refs[0].sha256 == refs[1].sha256
    assert pq.read_table(refs[0].path).to_pylist() == ROWS


def _tree(sql: str) -> exp.Query:
    tree = sqlglot.parse_one(sql, read="duckdb")
    assert isinstance(tree, exp.Query)
    return tree


def test_a_held_table_is_read_by_the_next_model_until_it_is_released() -> None:
    with DuckDBEngine(threads=1) as engine:
        held = engine.hold(_tree("SELECT k, word FROM data WHERE k > 6"), {"data": pa.Table.from_pylist(ROWS)})
        other = engine.hold(_tree("SELECT k FROM data"), {"data": held})
        assert (held.columns, held.rows, other.rows) == (("k", "word"), 3, 3)
        engine.release(held)
        assert engine.query(_tree("SELECT SUM(k) AS s FROM data"), {"data": other}).to_pylist() == [{"s": 24}]
        with pytest.raises(Exception, match=held.name):
            engine.query(_tree("SELECT k FROM data"), {"data": held})


def test_inputs_that_a_query_does_not_name_are_not_opened(tmp_path: Path) -> None:
    with DuckDBEngine(threads=1) as engine:
        known = {"Data": pa.Table.from_pylist(ROWS), "another": tmp_path / "missing.parquet"}
        assert engine.query(_tree("SELECT COUNT(*) AS n FROM data"), known).to_pylist() == [{"n": 10}]


def test_where_row_groups_end_is_not_left_to_the_planner() -> None:
    # What it does with partitioned execution shows with some ten million rows alone.
    tree = _tree("SELECT current_setting('disabled_optimizers') AS names")
    with DuckDBEngine(threads=1) as engine:
        assert engine.query(tree, {}).to_pylist() == [{"names": "partitioned_execution"}]
