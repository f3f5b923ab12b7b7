"""A function over a table at rest, a few rows at a time, on the embedded engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from sqlglot import exp

from sales_pipeline.contracts.model import Column, Table
from sales_pipeline.engines.base import Cut
from sales_pipeline.engines.duckdb import DuckDBEngine
from sales_pipeline.lake.tables import PARQUET_OPTIONS, read_table, write_pieces

SCORES = Table(
    "scores", "one row per key", ("key",), (Column("key", "string", "key", required=True), Column("value", "float64", "value", null_means="none", decimals=3))
)  # fmt: skip
EVERY = exp.select("*").from_("batches")


def scaled(batch: pa.Table, factor: Any) -> pa.Table:
    return batch.select(["key"]).append_column("value", pc.multiply(batch.column("x"), factor))


def rows(count: int) -> pa.Table:
    numbers = [(n * 7919) % count for n in range(count)]
    return pa.table(
        {
            "x": pa.array([None if n % 11 == 0 else n / 7 for n in numbers], pa.float64()),
            "key": [f"k{n:07d}" for n in numbers],
            "other": numbers,
        }
    )


@pytest.mark.parametrize("at_rest", [True, False])
@pytest.mark.parametrize("batch_rows", [1, 7, 10_000])
def test_the_size_of_batches_changes_no_byte(batch_rows: int, at_rest: bool, tmp_path: Path) -> None:
    source = rows(97)
    pq.write_table(source, tmp_path / "in.parquet")
    given = tmp_path / "in.parquet" if at_rest else source
    sizes: list[int] = []

    def counted(batch: pa.Table, factor: Any) -> pa.Table:
        sizes.append(batch.num_rows)
        return scaled(batch, factor)

    with DuckDBEngine(threads=1) as engine:
        whole = engine.apply_batches(EVERY, {"batches": given}, scaled, 3.0, tmp_path / "whole.parquet", SCORES)
        found = engine.apply_batches(
            EVERY, {"batches": given}, counted, 3.0, tmp_path / "parts.parquet", SCORES, batch_rows=batch_rows
        )
        again = engine.query(
            Path(__file__).parents[2] / "sales_pipeline/clean/sql/raw_files.sql",
            {"raw": pa.table({"source_file": ["a"]})},
        )
    assert (found.sha256, found.rows) == (whole.sha256, 97)
    assert (sum(sizes), max(sizes)) == (97, min(batch_rows, 97))
    assert again.num_rows == 1
    values = read_table(found).to_pydict()
    assert values["key"] == sorted(source.column("key").to_pylist())
    assert values["value"][:2] == [None, round(3 / 7, 3)]


def test_a_model_that_is_cut_gives_the_same_bytes_in_any_number_of_ranges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {
        "batches": rows(97),
        "more": pa.table({"key": [f"k{n:07d}" for n in range(0, 97, 2)], "y": list(range(49))}),
    }
    tree = exp.select("batches.key", "x", "y").from_("batches").join("more", using="key", join_type="left")
    sizes: list[int] = []

    def counted(batch: pa.Table, factor: Any) -> pa.Table:
        sizes.append(batch.num_rows)
        return scaled(batch, factor)

    cut = Cut("key", ("batches", "more"))
    with DuckDBEngine(threads=1) as engine:
        whole = engine.apply_batches(tree, given, counted, 3.0, tmp_path / "whole.parquet", SCORES, cut=cut)
        assert sizes == [97]
        monkeypatch.setattr("sales_pipeline.engines.duckdb._RANGE_ROWS", 30)
        parts = engine.apply_batches(tree, given, counted, 3.0, tmp_path / "parts.parquet", SCORES, cut=cut)
    assert (parts.sha256, parts.rows) == (whole.sha256, 97)
    assert len(sizes) > 4
    assert sum(sizes) == 2 * 97


def test_an_empty_table_gives_an_empty_one(tmp_path: Path) -> None:
    with DuckDBEngine(threads=1) as engine:
        found = engine.apply_batches(
            EVERY, {"batches": rows(5).slice(0, 0)}, scaled, 3.0, tmp_path / "out.parquet", SCORES
        )
    assert (found.rows, read_table(found).column_names) == (0, ["key", "value"])


def test_a_function_that_loses_a_column_is_an_error_and_the_engine_lives_on(tmp_path: Path) -> None:
    with DuckDBEngine(threads=1) as engine:
        with pytest.raises(KeyError, match="value"):
            engine.apply_batches(
                EVERY,
                {"batches": rows(5)},
                lambda batch, _: batch.select(["key"]),
                None,
                tmp_path / "out.parquet",
                SCORES,
            )
        assert (
            engine.apply_batches(EVERY, {"batches": rows(5)}, scaled, 2.0, tmp_path / "out.parquet", SCORES).rows == 5
        )


def test_pieces_become_row_groups_of_one_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PARQUET_OPTIONS, "row_group_size", 10)
    whole = rows(23)
    write_pieces([whole], tmp_path / "one.parquet", whole.schema)
    write_pieces((whole.slice(n, 4) for n in range(0, 23, 4)), tmp_path / "many.parquet", whole.schema)
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "many.parquet").read_bytes()
    metadata = pq.read_metadata(tmp_path / "many.parquet")
    assert [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)] == [10, 10, 3]
    assert pq.read_table(tmp_path / "many.parquet").equals(whole)
