"""Publication into a real PostgreSQL server that the tests start for themselves: what is stored and what is shown."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.contracts.model import Column, Table
from sales_pipeline.contracts.published import LEFT_OUT, PUBLISHED_TABLES
from sales_pipeline.errors import DeliveryFailed
from tests.support.postgres_asked import shown
from tests.support.postgres_server import missing
from tests.support.published_lake import published_folder, unaudited_folder
from tests.support.scored_rows import AS_OF

pytestmark = [pytest.mark.postgres, pytest.mark.skipif(missing() is not None, reason=missing() or "")]

HOSTILE = [
    'x"); drop table runs.ledger; --',
    "'; drop schema runs cascade; --",
    "a\n\\.\nb",
    "\\N",
    "\\",
    '"',
    "",
    " é中 ",
]


def test_a_run_is_published_into_typed_tables_views_and_the_ledger(tmp_path: Path, publish: Any, ask: Any) -> None:
    done = publish(published_folder(tmp_path, "run-1"))
    assert (done.is_new, done.is_current, done.dropped_runs) == (True, True, ())
    assert done.rows["scored_opportunities"] == 3
    assert ask("SELECT opportunity_id, reasons_up FROM published.scored_opportunities ORDER BY 1")[0] == (
        "a",
        [{"code": "engagement", "text": "The customer wrote twice, lately", "weight": 0.42}],
    )
    row = ask("SELECT run_id, as_of, rows, is_shown, dropped_at, published_at <= now() FROM published.run_ledger")
    assert row == [("run-1", AS_OF.instant, done.rows, True, None, True)]


def test_tables_have_the_contracts_types_keys_nulls_and_comments(tmp_path: Path, publish: Any, ask: Any) -> None:
    publish(published_folder(tmp_path, "run-1"))
    columns = ask(
        "SELECT attname, format_type(atttypid, atttypmod), attnotnull, col_description(attrelid, attnum)"
        " FROM pg_attribute WHERE attrelid = 'runs.\"scored_opportunities__run-1\"'::regclass AND attnum > 0"
    )
    found = {name: (kind, is_required, comment) for name, kind, is_required, comment in columns}
    assert found["amount"] == ("numeric(18,2)", False, "the CRM's amount at as_of; unit: currency; NULL: not recorded")
    assert found["as_of"][:2] == ("timestamp with time zone", True)
    assert found["reasons_up"][:2] == ("jsonb", True)
    assert [name for name, *_ in columns][:-1] == list(PUBLISHED_TABLES["scored_opportunities"].column_names)
    key = ask(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'p'"
        " AND conrelid = 'runs.\"scored_opportunities__run-1\"'::regclass"
    )
    assert key == [("PRIMARY KEY (source_system, opportunity_id)",)]
    comments = ask(
        "SELECT obj_description('published.left_out'::regclass), col_description('published.left_out'::regclass, 6),"
        " obj_description('runs.\"left_out__run-1\"'::regclass)"
    )
    assert "one row per open opportunity that is not in the queue" in comments[0][0]
    assert comments[0][1].startswith("why it was left out; one of capacity")
    assert "run run-1, as of 2026-07-01" in comments[0][2]


def sample(column: Column, number: int) -> Any:
    """A value of the column; NULL in the second row where it may be."""
    if number == 1 and column.nullable:
        return None
    texts = HOSTILE + [f"key {n}" for n in range(9)]
    return {
        "string": texts[number % len(texts)] + (str(number) if column.required else ""),
        "int64": [2**63 - 1, 0, -(2**63)][number % 3],
        "float64": [1e-320, -0.1, 1.7976931348623157e308][number % 3],
        "amount": [Decimal("9999999999999999.99"), Decimal("-0.01"), Decimal("0.00")][number % 3],
        "boolean": number % 2 == 0,
        "date": [date(1, 1, 1), date(2026, 2, 28), date(9999, 12, 31)][number % 3],
        "timestamp": [datetime(1969, 12, 31, 23, 59, 59, 999999, UTC), datetime(2026, 7, 1, tzinfo=UTC)][number % 2],
        "reasons": [[{"code": text, "text": text, "weight": 0.1 * number} for text in texts[: number % 3]]],
    }[column.type]


def sample_rows(table: Table, run_id: str, count: int = 10) -> pa.Table:
    rows = []
    for number in range(count):
        row = {column.name: sample(column, number) for column in table.columns}
        row = {
            name: value[0] if table.column(name).type == "reasons" and value else value for name, value in row.items()
        }
        rows.append(row | {"run_id": run_id, "as_of": AS_OF.instant})
    names = table.column_names
    return pa.Table.from_pylist([{name: row[name] for name in names} for row in rows], schema=arrow_schema(table))


def test_every_cell_of_every_published_table_reads_back_equal(tmp_path: Path, publish: Any, ask: Any) -> None:
    tables = {name: sample_rows(table, "run-1") for name, table in PUBLISHED_TABLES.items()}
    publish(unaudited_folder(tmp_path, "run-1", tables))
    for name, table in PUBLISHED_TABLES.items():
        names = ", ".join(f'"{column}"' for column in table.column_names)
        stored = ask(f"SELECT {names} FROM published.{name}")
        sent = [tuple(row.values()) for row in tables[name].to_pylist()]
        assert len(stored) == 10
        assert sorted(map(plain, stored)) == sorted(map(plain, sent)), name


def plain(row: tuple[Any, ...]) -> str:
    return repr([value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value for value in row])


def test_hostile_values_ids_and_run_ids_are_stored_as_they_are(tmp_path: Path, publish: Any, ask: Any) -> None:
    run_id = 'run"; drop schema published cascade; --'
    rows = [
        {"source_system": "crm", "opportunity_id": text, "account_id": text, "owner_id": None, "as_of": AS_OF.instant}
        | {"reason": "capacity", "detail": text, "run_id": run_id}
        for text in HOSTILE
    ]
    publish(unaudited_folder(tmp_path, run_id, {"left_out": pa.Table.from_pylist(rows, schema=arrow_schema(LEFT_OUT))}))
    stored = ask("SELECT opportunity_id, account_id, owner_id, detail, run_id FROM published.left_out")
    assert sorted(stored) == sorted((text, text, None, text, run_id) for text in HOSTILE)
    assert ask("SELECT run_id FROM runs.ledger") == [(run_id,)]


def test_the_same_run_published_twice_changes_nothing_and_says_so(tmp_path: Path, publish: Any, ask: Any) -> None:
    folder = published_folder(tmp_path, "run-1")
    publish(folder)
    before = ask("SELECT oid, relname, xmin::text FROM pg_class WHERE relnamespace = 'runs'::regnamespace ORDER BY 1")
    ledger = ask("SELECT l.*, l.xmin::text, c.*, c.xmin::text FROM runs.ledger AS l, runs.current_run AS c")
    done = publish(folder)
    assert (done.is_new, done.is_current) == (False, True)
    after = ask("SELECT oid, relname, xmin::text FROM pg_class WHERE relnamespace = 'runs'::regnamespace ORDER BY 1")
    assert after == before
    assert ask("SELECT l.*, l.xmin::text, c.*, c.xmin::text FROM runs.ledger AS l, runs.current_run AS c") == ledger


def test_another_run_under_the_same_id_is_refused(tmp_path: Path, publish: Any, ask: Any) -> None:
    publish(published_folder(tmp_path / "one", "run-1"))
    with pytest.raises(DeliveryFailed, match="another run under this id"):
        publish(published_folder(tmp_path / "two", "run-1", day=1))
    assert ask("SELECT count(*), min(as_of) FROM runs.ledger") == [(1, AS_OF.instant)]


def test_an_older_day_is_kept_and_not_shown_unless_told_to(tmp_path: Path, publish: Any, ask: Any) -> None:
    publish(published_folder(tmp_path, "run-new", day=1))
    older = published_folder(tmp_path, "run-old")
    done = publish(older)
    assert (done.is_new, done.is_current) == (True, False)
    assert shown(ask) == ["run-new"]
    assert ask('SELECT count(*) FROM runs."left_out__run-old"') == [(2,)]
    done = publish(older, make_current=True)
    assert (done.is_new, done.is_current) == (False, True)
    assert shown(ask) == ["run-old"]
    assert ask("SELECT run_id FROM published.run_ledger WHERE is_shown") == [("run-old",)]


def test_an_empty_table_is_shown_as_empty(tmp_path: Path, publish: Any, ask: Any) -> None:
    publish(unaudited_folder(tmp_path, "run-1", {"left_out": arrow_schema(LEFT_OUT).empty_table()}))
    assert ask("SELECT * FROM published.left_out") == []
