"""Which record of a key stands for all of it: against the plain definition, on random records with ties and NULLs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlglot import exp

from sales_pipeline.clean.versions import KEYS, repeated_records, with_versions
from sales_pipeline.clean.vocabulary import SQL
from sales_pipeline.engines.base import Engine, WorkTable
from sales_pipeline.engines.duckdb import DuckDBEngine

INSTANT = pa.timestamp("us", tz="UTC")
SCHEMA = pa.schema(
    [("source_file", pa.string()), ("source_record", pa.int64()), ("exported_at", INSTANT), ("modified_at", INSTANT),
     ("activity_id", pa.string()), ("problem", pa.string()), ("version", pa.int64())]
)  # fmt: skip
instants = st.sampled_from([datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2)])
records = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c", None]),
        st.none() | instants,
        instants,
        st.sampled_from([None, None, None, "missing key"]),
    ),
    max_size=12,
)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with DuckDBEngine(threads=1) as one:
        yield one


def _held(engine: Engine, rows: list[dict[str, Any]]) -> WorkTable:
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    return engine.hold(exp.select(*SCHEMA.names).from_("given"), {"given": table})


def _rows(engine: Engine, table: WorkTable) -> list[dict[str, Any]]:
    return engine.query(exp.select("*").from_("t"), {"t": table}).to_pylist()


def _expected(rows: list[dict[str, Any]]) -> dict[int, tuple[int, int]]:
    """By record its version and the record that is kept, for usable records whose key others have too."""
    groups: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        if row["problem"] is None:
            groups[row["activity_id"]].append(row)
    oldest = datetime(1, 1, 1, tzinfo=UTC)
    found: dict[int, tuple[int, int]] = {}
    for group in groups.values():
        group.sort(key=lambda r: (r["modified_at"] or oldest, r["exported_at"], r["source_record"]), reverse=True)
        if len(group) > 1:
            found |= {r["source_record"]: (place, group[0]["source_record"]) for place, r in enumerate(group, 1)}
    return found


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=records)
def test_the_last_modified_record_of_a_key_is_version_one(drawn: list[tuple[Any, ...]], engine: Engine) -> None:
    rows = [
        {"source_file": "f", "source_record": number, "activity_id": key, "modified_at": modified, "exported_at": exported,
         "problem": problem, "version": 1}
        for number, (key, modified, exported, problem) in enumerate(drawn, 1)
    ]  # fmt: skip
    staged = _held(engine, rows)
    repeated = repeated_records("activities", staged, engine)
    whole = with_versions("activities", staged, repeated, engine)
    expected = _expected(rows)
    assert {r["source_record"]: (r["version"], r["kept_record"]) for r in _rows(engine, repeated)} == expected
    found = {row.pop("source_record"): row for row in _rows(engine, whole)}
    assert whole.columns == staged.columns
    for row in rows:
        version, _ = expected.get(row["source_record"], (1, 0))
        assert found.pop(row["source_record"]) == {
            name: value for name, value in row.items() if name != "source_record"
        } | {"version": version}
    assert found == {}
    for table in (staged, repeated, whole):
        engine.release(table)


def test_every_staged_table_has_a_key() -> None:
    assert set(KEYS) == {path.stem.removeprefix("staged_") for path in Path(SQL).glob("staged_*.sql")}
