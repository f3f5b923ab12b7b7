"""Large tables in parts: which row lies where, and that together they are one table."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlglot import exp

from sales_pipeline.contracts.model import Column, Table
from sales_pipeline.engines.duckdb import DuckDBEngine
from sales_pipeline.engines.parts import Part
from sales_pipeline.errors import LedgerUnbalanced
from sales_pipeline.lake.tables import read_batches, read_matching, read_schema, read_table, table_ref, take_over

AT = Column("at", "timestamp", "when", required=True)
THINGS = Table("things", "one row per thing", ("id",), (Column("id", "string", "id", required=True), AT))
ROWS = {
    "id": ["d", "a", "c", "b"],
    "at": [
        datetime(2026, 1, 1, tzinfo=UTC),
        datetime(2025, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2025, 10, 1, tzinfo=UTC),
        datetime(2026, 3, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    ],
}
ALL = exp.select("*").from_("rows")


@pytest.fixture(scope="module")
def engine() -> Iterator[DuckDBEngine]:
    with DuckDBEngine(threads=1) as one:
        yield one


@pytest.fixture
def rows() -> pa.Table:
    return pa.table(ROWS, schema=pa.schema([("id", pa.string()), ("at", pa.timestamp("us", tz="UTC"))]))


@pytest.mark.parametrize(
    ("day", "name", "next_day"),
    [
        (date(2025, 1, 1), "2025-Q1", "2025-04-01"),
        (date(2025, 7, 1), "2025-Q3", "2025-10-01"),
        (date(2025, 10, 1), "2025-Q4", "2026-01-01"),
    ],
)
def test_a_quarter_ends_where_the_next_begins(day: date, name: str, next_day: str) -> None:
    part = Part("at", day)
    assert part.name == name
    assert f"< CAST('{next_day} 00:00:00+00'" in part.of(ALL).sql()


def test_a_row_that_would_be_in_no_part_is_refused(engine: DuckDBEngine, rows: pa.Table) -> None:
    lost = pa.concat_tables([rows, pa.table({"id": ["e"], "at": [None]}, schema=rows.schema)])
    with pytest.raises(LedgerUnbalanced, match="in none of them"):
        engine.parts_of(ALL, {"rows": lost}, AT)


def test_parts_together_are_the_table(engine: DuckDBEngine, rows: pa.Table, tmp_path: Path) -> None:
    parts = engine.parts_of(ALL, {"rows": rows}, AT)
    assert [part.name for part in parts] == ["2025-Q4", "2026-Q1"]
    ref = engine.run(ALL, {"rows": rows}, tmp_path / "things.parquet", contract=THINGS, parts=parts)
    assert (ref.name, ref.rows, ref.path) == ("things", 4, str(tmp_path / "things.parquet"))
    assert [file.name for file in ref.files] == ["2025-Q4.parquet", "2026-Q1.parquet"]
    assert read_table(ref, ["id"]).column("id").to_pylist() == ["a", "c", "b", "d"]
    assert [batch.num_rows for batch in read_batches(ref, columns=["id"])] == [2, 2]
    assert read_matching(ref, ["id"], "id", pa.array(["d", "a"])).column("id").to_pylist() == ["a", "d"]
    assert read_schema(ref).names == ["id", "at"]
    found = engine.query(exp.select(exp.Count(this=exp.Star()).as_("n")).from_("things"), {"things": ref})
    assert found.to_pylist() == [{"n": 4}]


def test_the_digest_of_a_table_in_parts_tells_of_each_and_of_its_name(
    engine: DuckDBEngine, rows: pa.Table, tmp_path: Path
) -> None:
    parts = engine.parts_of(ALL, {"rows": rows}, AT)
    one = engine.run(ALL, {"rows": rows}, tmp_path / "1", contract=THINGS, parts=parts)
    other = engine.run(ALL, {"rows": rows.slice(0, 3)}, tmp_path / "2", contract=THINGS, parts=parts)
    assert one.files[0].read_bytes() == other.files[0].read_bytes()
    assert one.sha256 != other.sha256
    one.files[1].rename(tmp_path / "1" / "2026-Q2.parquet")
    assert table_ref("things", tmp_path / "1").sha256 != one.sha256


def test_a_part_without_rows_has_no_file(engine: DuckDBEngine, rows: pa.Table, tmp_path: Path) -> None:
    parts = [Part("at", date(2026, 1, 1)), Part("at", date(2026, 4, 1))]
    ref = engine.run(ALL, {"rows": rows}, tmp_path / "things.parquet", contract=THINGS, parts=parts)
    assert [file.stem for file in ref.files] == ["2026-Q1"]


def test_parts_are_taken_over_as_they_lie(engine: DuckDBEngine, rows: pa.Table, tmp_path: Path) -> None:
    parts = engine.parts_of(ALL, {"rows": rows}, AT)
    ref = engine.run(ALL, {"rows": rows}, tmp_path / "one.parquet", contract=THINGS, parts=parts)
    take_over(ref, tmp_path / "two.parquet", but=["2026-Q1"])
    engine.run(ALL, {"rows": rows}, tmp_path / "two.parquet", contract=THINGS, parts=parts[1:])
    assert table_ref("things", tmp_path / "two.parquet").sha256 == ref.sha256


def test_where_there_are_no_hard_links_bytes_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "one.parquet")
    ref = table_ref("one", tmp_path / "one.parquet")
    take_over(ref, tmp_path / "two.parquet")
    assert table_ref("one", tmp_path / "two.parquet").sha256 == ref.sha256
