"""A model that may be cut gives the same bytes in any number of ranges, which together hold every row once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlglot
from sqlglot import exp

from sales_pipeline.engines.base import Cut
from sales_pipeline.engines.duckdb import DuckDBEngine
from sales_pipeline.engines.ranges import Range, between, how_many, rows_at_once
from sales_pipeline.lake.tables import write_table

CUT = Cut("k", ("facts", "events"))
NAMES = [f"{letter}{number}" for letter in ("a", "é", "Z", "商", "\U0001f600") for number in range(40)]


def tree(sql: str) -> exp.Query:
    found = sqlglot.parse_one(sql, read="duckdb")
    assert isinstance(found, exp.Query)
    return found


COUNTED = tree(
    "SELECT f.k, (SELECT COUNT(*) FROM small) AS small, COUNT(e.n) AS n FROM facts AS f LEFT JOIN events AS e ON e.k = f.k GROUP BY f.k"
)


def inputs(folder: Path, *, at_rest: bool) -> dict[str, Any]:
    facts = pa.table({"k": sorted(NAMES)})
    events = pa.table({"k": [*NAMES[::3], *NAMES[::-2], None], "n": range(len(NAMES[::3]) + len(NAMES[::2]) + 1)})
    small = pa.table({"k": ["x", "y"]})
    if not at_rest:
        return {"facts": facts, "events": events, "small": small}
    named = {"facts": facts, "events": events}
    return {name: write_table(table, folder / f"{name}.parquet") for name, table in named.items()} | {"small": small}


@pytest.mark.parametrize("at_rest", [True, False])
@pytest.mark.parametrize("at_once", [1000, 150, 7])
def test_in_how_many_ranges_a_model_runs_changes_no_byte(tmp_path: Path, at_once: int, at_rest: bool) -> None:
    known = inputs(tmp_path, at_rest=at_rest)
    found = []
    for rows in (10**9, at_once):
        with DuckDBEngine(threads=2, rows_at_once=rows) as engine:
            ref = engine.run(COUNTED, known, tmp_path / f"{rows}.parquet", order_by=["k"], cut=CUT)
            held = engine.hold(COUNTED, known, cut=CUT)
            ordered = tree("SELECT * FROM t ORDER BY k")
            found.append((ref.sha256, ref.rows, engine.query(ordered, {"t": held}).to_pylist()))
            assert pq.read_table(ref.path).to_pylist() == found[-1][2]
    assert found[0] == found[1]
    assert found[0][1] == len(NAMES)
    assert sum(row["n"] for row in found[0][2]) == len(NAMES[::3]) + len(NAMES[::2])


def test_a_large_held_table_lies_in_files_until_it_is_released(tmp_path: Path) -> None:
    known = inputs(tmp_path, at_rest=True)
    ordered = tree("SELECT * FROM t ORDER BY k")
    found = []
    for rows in (10**9, 100, 7):
        with DuckDBEngine(threads=2, rows_at_once=rows, spill_directory=tmp_path / "spill") as engine:
            held = engine.hold(COUNTED, known, cut=CUT)
            small = engine.hold(tree("SELECT k FROM small"), known)
            assert [file.exists() for file in held.parts] == [True] * len(held.parts)
            found.append((held.rows, held.columns, engine.query(ordered, {"t": held}).to_pylist()))
            assert not small.parts, "a model that reads few rows is held in memory whatever else is given"
            assert engine.hold(tree("SELECT k FROM small"), known, beside=rows + 1).parts, "unless larger ones come"
            engine.release(held)
            assert not any(file.exists() for file in held.parts)
            engine.hold(COUNTED, known, cut=CUT)
        assert list((tmp_path / "spill").iterdir()) == []
        found[-1] += (len(held.parts),)
    assert [one[:3] for one in found] == [found[0][:3]] * 3
    assert found[0][3] == 0 < found[1][3] < found[2][3]


def test_a_column_that_no_file_can_hold_is_named(tmp_path: Path) -> None:
    numbers = {"t": pa.table({"n": [1, 2]})}
    with (
        DuckDBEngine(threads=1, rows_at_once=1, spill_directory=tmp_path) as engine,
        pytest.raises(TypeError, match="as total: cast"),
    ):
        engine.hold(tree("SELECT 1 AS one, SUM(n) AS total FROM t"), numbers)


def test_a_model_that_needs_other_keys_gives_another_result_in_ranges(tmp_path: Path) -> None:
    """Were ranges not used, the test above would prove nothing."""
    known = inputs(tmp_path, at_rest=True)
    needy = tree("SELECT k, (SELECT COUNT(*) FROM facts) AS n FROM facts")
    counts = []
    for rows in (10**9, 150):
        with DuckDBEngine(threads=1, rows_at_once=rows) as engine:
            ref = engine.run(needy, known, tmp_path / f"{rows}.parquet", order_by=["k"], cut=Cut("k", ("facts",)))
            counts.append({row["n"] for row in pq.read_table(ref.path).to_pylist()})
    assert counts[0] == {len(NAMES)}
    assert len(counts[1]) >= 1
    assert max(counts[1]) < len(NAMES)


def test_a_cut_stands_first_in_the_order(tmp_path: Path) -> None:
    known = inputs(tmp_path, at_rest=True)
    with DuckDBEngine(threads=1) as engine:
        for order in ([], ["n", "k"]):
            with pytest.raises(ValueError, match="cut by k"):
                engine.run(COUNTED, known, tmp_path / "x.parquet", order_by=order, cut=CUT)


def test_no_rows_are_a_table_with_its_columns(tmp_path: Path) -> None:
    known = {name: table.slice(0, 0) for name, table in inputs(tmp_path, at_rest=False).items()}
    with DuckDBEngine(threads=1, rows_at_once=1) as engine:
        ref = engine.run(COUNTED, known, tmp_path / "x.parquet", order_by=["k"], cut=CUT)
    assert pq.read_table(ref.path).column_names == ["k", "small", "n"]
    assert ref.rows == 0


def test_ranges_share_values_out_and_leave_no_gap() -> None:
    ranges = between("k", NAMES, 5)
    assert (ranges[0].low, ranges[-1].high) == (None, None)
    assert [one.high for one in ranges[:-1]] == [one.low for one in ranges[1:]]
    table = pa.table({"k": NAMES})
    assert [one.rows(table).num_rows for one in ranges] == [40] * 5
    assert between("k", ["a"] * 9, 4) == [Range("k", None, "a"), Range("k", "a", None)]
    assert between("k", [], 4) == [Range("k", None, None)]
    assert [how_many(rows, 100) for rows in (0, 1, 100, 101, 250)] == [1, 1, 1, 2, 3]


def test_more_memory_has_room_for_more_rows_and_little_still_for_some() -> None:
    assert rows_at_once(8 << 30) > rows_at_once(4 << 30) > rows_at_once(1 << 30) > rows_at_once(0) > 0
