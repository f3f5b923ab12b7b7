"""Publication into a real PostgreSQL server that the tests start for themselves: what is stored, shown, kept and read meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from psycopg import errors

from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.contracts.model import Column, Table
from sales_pipeline.contracts.published import LEFT_OUT, PUBLISHED_TABLES
from sales_pipeline.delivery.channels.postgres import PostgresTables, run_parcel
from sales_pipeline.delivery.journal import Journal
from sales_pipeline.delivery.params import PostgresChannel
from sales_pipeline.delivery.postgres import publish as publishing
from sales_pipeline.errors import DeliveryFailed
from sales_pipeline.settings import load_settings
from tests.support.cli import DEALS_MAPPING, IGNORED_WARNINGS, call, write_config
from tests.support.postgres_server import Server, missing
from tests.support.published_lake import published_folder, unaudited_folder
from tests.support.scored_rows import AS_OF

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.skipif(missing() is not None, reason=missing() or ""),
    *(pytest.mark.filterwarnings(warning) for warning in IGNORED_WARNINGS),
]

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


def runs_in(connection: psycopg.Connection[Any], view: str) -> list[str]:
    rows = connection.execute(f"SELECT DISTINCT run_id FROM published.{view}").fetchall()
    return [run_id for (run_id,) in rows]


def shown(ask: Any) -> list[str]:
    return [row[0] for row in ask("SELECT DISTINCT run_id FROM published.scored_opportunities")]


def run_tables_left(ask: Any) -> set[str]:
    return {
        row[0].split("__")[1]
        for row in ask("SELECT relname FROM pg_class WHERE relnamespace = 'runs'::regnamespace AND relispartition")
        if not row[0].endswith("_pkey")
    }


# What is stored


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


# What is shown


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


def test_a_transaction_sees_one_run_however_late_it_opens_a_view(
    tmp_path: Path, publish: Any, reader: psycopg.Connection[Any]
) -> None:
    publish(published_folder(tmp_path, "run-1"))
    reader.execute("SELECT count(*) FROM published.run_ledger")  # the snapshot is taken here, no other view is opened
    assert publish(published_folder(tmp_path, "run-2", day=1)).is_current
    assert runs_in(reader, "scored_opportunities") == ["run-1"]
    assert publish(published_folder(tmp_path, "run-3", day=2)).is_current
    assert runs_in(reader, "left_out") == ["run-1"]
    assert reader.execute("SELECT run_id FROM published.run_ledger WHERE is_shown").fetchall() == [("run-1",)]
    reader.rollback()
    assert {*runs_in(reader, "scored_opportunities"), *runs_in(reader, "left_out")} == {"run-3"}


def test_why_views_are_not_replaced_by_each_publication(ask: Any, reader: psycopg.Connection[Any]) -> None:
    """The trap the design avoids, on the same server: a view replaced after the snapshot was taken shows no row at all."""
    ask("CREATE TABLE t1 AS SELECT 1 AS x")
    ask("CREATE VIEW v AS SELECT x FROM t1")
    reader.execute("SELECT count(*) FROM pg_class")
    ask("CREATE TABLE t2 AS SELECT 2 AS x")
    ask("CREATE OR REPLACE VIEW v AS SELECT x FROM t2")
    assert reader.execute("SELECT x FROM v").fetchall() == []


def runs_in_several_statements(connection: psycopg.Connection[Any]) -> set[str]:
    first, second = (runs_in(connection, view) for view in ("scored_opportunities", "left_out"))
    third = connection.execute("SELECT run_id FROM published.run_ledger WHERE is_shown").fetchall()
    return {*first, *second, *(run_id for (run_id,) in third)} if first and second else set()


def runs_in_one_statement(connection: psycopg.Connection[Any]) -> set[str]:
    rows = connection.execute(
        "SELECT s.run_id, l.run_id FROM published.scored_opportunities AS s"
        " FULL JOIN published.left_out AS l USING (opportunity_id) WHERE opportunity_id = 'b'"
    ).fetchall()
    return {run_id for pair in rows for run_id in pair}


@pytest.mark.parametrize("has_long_reader", [False, True])
def test_readers_never_see_two_runs_at_once_while_runs_are_published(
    postgres: Server,
    database: str,
    tmp_path: Path,
    publish: Any,
    reader: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
    has_long_reader: bool,
) -> None:
    publish(published_folder(tmp_path, "run-00"))
    folders = [published_folder(tmp_path, f"run-{n:02}", day=n) for n in range(1, 4 if has_long_reader else 7)]
    seen: list[set[str]] = []
    begun_again: list[str] = []
    is_over = threading.Event()

    def read(isolation: psycopg.IsolationLevel, look: Callable[[psycopg.Connection[Any]], set[str]]) -> None:
        with postgres.connect(database) as connection:
            connection.autocommit = False
            connection.isolation_level = isolation
            while not is_over.is_set() and len(seen) < 100_000:
                try:
                    seen.append(look(connection))
                except errors.SerializationFailure as error:
                    begun_again.append(str(error))
                connection.rollback()
                time.sleep(0.002)

    levels = psycopg.IsolationLevel
    threads = [
        threading.Thread(target=read, args=(levels.REPEATABLE_READ, runs_in_several_statements)),
        threading.Thread(target=read, args=(levels.READ_COMMITTED, runs_in_one_statement)),
    ]
    were_alone: list[bool] = []
    keep_out = publishing._keep_readers_out
    monkeypatch.setattr(publishing, "_keep_readers_out", lambda *given: were_alone.append(keep_out(*given)))
    if has_long_reader:
        runs_in(reader, "scored_opportunities")
    for thread in threads:
        thread.start()
    try:
        for folder in folders:
            assert publish(folder).is_current
    finally:
        is_over.set()
        for thread in threads:
            thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    assert {len(runs) for runs in seen} == {1}
    assert len(set.union(*seen)) > 2
    # Nobody has to begin again unless a long reader kept the publication from being alone for a moment.
    assert not (all(were_alone) and begun_again)
    assert not (has_long_reader and any(were_alone))


@pytest.mark.parametrize("runs_in_reach", [1, 2, 3])
def test_a_view_whose_rows_are_out_of_reach_says_so_instead_of_being_empty(
    tmp_path: Path, publish: Any, ask: Any, runs_in_reach: int
) -> None:
    for day in range(runs_in_reach + 1):
        publish(published_folder(tmp_path, f"run-{day}", day))
    (parent,) = ask("SELECT relname FROM pg_class WHERE relname LIKE 'left_out__all_%'")[0]
    ask(f'ALTER TABLE runs."{parent}" DETACH PARTITION runs."left_out__run-{runs_in_reach}"')
    for asked in (
        "SELECT * FROM published.left_out",
        "SELECT count(*) FROM published.left_out",
        "SELECT * FROM published.left_out ORDER BY source_system, opportunity_id LIMIT 1",
        "SELECT * FROM published.left_out WHERE source_system = 'crm' AND opportunity_id = 'b'",
        "SELECT * FROM published.left_out WHERE opportunity_id = 'not there'",
        "SELECT * FROM published.left_out FULL JOIN published.scored_opportunities USING (opportunity_id) WHERE opportunity_id = 'b'",
        "SELECT * FROM published.scored_opportunities LEFT JOIN published.left_out USING (opportunity_id)",
        "SELECT EXISTS (SELECT FROM published.left_out)",
        "SELECT opportunity_id FROM published.scored_opportunities WHERE opportunity_id NOT IN (SELECT opportunity_id FROM published.left_out)",
    ):
        with pytest.raises(errors.SerializationFailure, match=r"published\.left_out cannot show run run-\d"):
            ask(asked)
    ask("SET enable_partition_pruning = off")
    with pytest.raises(errors.SerializationFailure, match=r"published\.left_out cannot show run run-\d"):
        ask("SELECT * FROM published.left_out")


@pytest.mark.parametrize(
    "asked",
    [
        "SELECT * FROM published.left_out WHERE source_system = 'crm' AND opportunity_id = 'b'",
        "SELECT count(*) FROM published.left_out JOIN published.scored_opportunities USING (opportunity_id)",
    ],
)
def test_a_query_reads_only_the_run_that_is_shown(tmp_path: Path, publish: Any, ask: Any, asked: str) -> None:
    for day in range(3):
        publish(published_folder(tmp_path, f"run-{day}", day))
    plan = [line for (line,) in ask(f"EXPLAIN (ANALYZE, TIMING off, SUMMARY off) {asked}")]
    read = [line for line in plan if "__run-" in line and "never executed" not in line]
    assert read
    assert all("__run-2" in line for line in read), "\n".join(plan)


def test_an_empty_table_is_shown_as_empty(tmp_path: Path, publish: Any, ask: Any) -> None:
    publish(unaudited_folder(tmp_path, "run-1", {"left_out": arrow_schema(LEFT_OUT).empty_table()}))
    assert ask("SELECT * FROM published.left_out") == []


# Columns that change


def with_columns(*columns: Column) -> Table:
    return replace(LEFT_OUT, columns=columns)


def grown(tables: dict[str, pa.Table]) -> dict[str, pa.Table]:
    left = tables["left_out"]
    return {**tables, "left_out": left.append_column("added", pa.array(["x"] * left.num_rows))}


ADDED = Column("added", "string", "came later", null_means="not known")


def test_a_column_at_the_end_keeps_grants_and_views_of_others(
    tmp_path: Path, publish: Any, ask: Any, reader: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = published_folder(tmp_path, "run-1")
    publish(first)
    ask("CREATE ROLE r_grown NOLOGIN")
    ask("GRANT SELECT ON published.left_out TO r_grown")
    ask("CREATE VIEW public.mine AS SELECT opportunity_id FROM published.left_out")
    reader.execute("SELECT count(*) FROM published.run_ledger")
    monkeypatch.setitem(PUBLISHED_TABLES, "left_out", with_columns(*LEFT_OUT.columns, ADDED))
    assert publish(published_folder(tmp_path, "run-2", day=1, change=grown)).is_current
    assert ask("SELECT DISTINCT run_id, added FROM published.left_out") == [("run-2", "x")]
    assert ask("SELECT has_table_privilege('r_grown', 'published.left_out', 'SELECT')") == [(True,)]
    assert len(ask("SELECT * FROM public.mine")) == 2
    # A transaction from before reads what did not change, and is told to begin again for what did.
    assert runs_in(reader, "scored_opportunities") == ["run-1"]
    with pytest.raises(errors.SerializationFailure, match="cannot show run run-1"):
        runs_in(reader, "left_out")
    # The older run, shown again, has the column no more; a view that stands on it is not dropped for that.
    with pytest.raises(DeliveryFailed, match="stands on a view"):
        publish(first, make_current=True)
    assert shown(ask) == ["run-2"]
    ask("DROP VIEW public.mine")
    assert publish(first, make_current=True).is_current
    assert "added" not in [
        row[0] for row in ask("SELECT attname FROM pg_attribute WHERE attrelid = 'published.left_out'::regclass")
    ]


def test_a_type_that_changes_keeps_the_grants(
    tmp_path: Path, publish: Any, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(published_folder(tmp_path, "run-1"))
    ask("CREATE ROLE r_typed NOLOGIN")
    ask("GRANT SELECT ON published.left_out TO r_typed WITH GRANT OPTION")
    ask("GRANT SELECT (reason, detail) ON published.left_out TO PUBLIC")
    number = Column("detail", "int64", "now a number", required=True)
    columns = tuple(number if column.name == "detail" else column for column in LEFT_OUT.columns)
    monkeypatch.setitem(PUBLISHED_TABLES, "left_out", with_columns(*columns))

    def renumbered(tables: dict[str, pa.Table]) -> dict[str, pa.Table]:
        left = tables["left_out"]
        place = left.schema.get_field_index("detail")
        return {**tables, "left_out": left.set_column(place, "detail", pa.array([7] * left.num_rows))}

    publish(published_folder(tmp_path, "run-2", day=1, change=renumbered))
    assert ask("SELECT DISTINCT detail FROM published.left_out") == [(7,)]
    assert ask("SELECT has_table_privilege('r_typed', 'published.left_out', 'SELECT WITH GRANT OPTION')") == [(True,)]
    assert ask(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'published.left_out'::regclass AND attacl::text LIKE '{=r/%' ORDER BY 1"
    ) == [("detail",), ("reason",)]


def test_a_table_that_is_gone_takes_its_view_with_it_and_comes_back(tmp_path: Path, publish: Any, ask: Any) -> None:
    publish(published_folder(tmp_path, "run-1"))

    def without(tables: dict[str, pa.Table]) -> dict[str, pa.Table]:
        return {name: data for name, data in tables.items() if name != "left_out"}

    assert publish(published_folder(tmp_path, "run-2", day=1, change=without)).is_current
    assert ask("SELECT to_regclass('published.left_out')") == [(None,)]
    publish(published_folder(tmp_path, "run-3", day=2))
    assert len(ask("SELECT * FROM published.left_out")) == 2


def test_a_view_that_somebody_dropped_is_made_again_by_the_next_run(tmp_path: Path, publish: Any, ask: Any) -> None:
    publish(published_folder(tmp_path, "run-1"))
    ask("DROP VIEW published.left_out")
    publish(published_folder(tmp_path, "run-2", day=1))
    assert len(ask("SELECT * FROM published.left_out")) == 2


def test_a_reader_who_holds_a_view_that_has_to_change_is_waited_for_and_never_killed(
    tmp_path: Path, publish: Any, ask: Any, reader: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(published_folder(tmp_path, "run-1"))
    runs_in(reader, "left_out")
    monkeypatch.setitem(PUBLISHED_TABLES, "left_out", with_columns(*LEFT_OUT.columns, ADDED))
    second = published_folder(tmp_path, "run-2", day=1, change=grown)
    with pytest.raises(DeliveryFailed, match="readers hold a view that has to change"):
        publish(second, timeout_seconds=1.0)
    assert shown(ask) == ["run-1"]
    assert ask("SELECT count(*) FROM runs.ledger") == [(1,)]
    assert runs_in(reader, "left_out") == ["run-1"]
    timer = threading.Timer(1.0, reader.rollback)
    timer.start()
    assert publish(second).is_current
    timer.join()


# What is kept


def test_the_newest_runs_are_kept_and_older_ones_dropped(tmp_path: Path, publish: Any, ask: Any) -> None:
    for number in range(4):
        done = publish(published_folder(tmp_path, f"run-{number}", day=number), keep_runs=2)
    assert (done.dropped_runs, done.postponed_runs) == (("run-1",), ())
    assert run_tables_left(ask) == {"run-2", "run-3"}
    ledger = ask("SELECT run_id, dropped_at IS NULL FROM published.run_ledger ORDER BY 1")
    assert ledger == [("run-0", False), ("run-1", False), ("run-2", True), ("run-3", True)]


def test_the_run_that_is_shown_is_never_dropped(tmp_path: Path, publish: Any, ask: Any) -> None:
    old = published_folder(tmp_path, "run-0")
    publish(old)
    publish(published_folder(tmp_path, "run-1", day=1))
    done = publish(old, make_current=True, keep_runs=1)
    assert done.dropped_runs == ()
    assert run_tables_left(ask) == {"run-0", "run-1"}
    assert shown(ask) == ["run-0"]


def test_a_run_that_was_dropped_is_left_so_unless_it_is_to_be_shown(tmp_path: Path, publish: Any, ask: Any) -> None:
    old = published_folder(tmp_path, "run-0")
    publish(old)
    publish(published_folder(tmp_path, "run-1", day=1), keep_runs=1)
    done = publish(old, keep_runs=1)
    assert (done.is_new, done.is_current) == (False, False)
    assert run_tables_left(ask) == {"run-1"}
    done = publish(old, keep_runs=1, make_current=True)
    assert (done.is_new, done.is_current) == (True, True)
    assert shown(ask) == ["run-0"]
    assert ask("SELECT count(*) FROM runs.ledger") == [(2,)]


def test_a_reader_does_not_hold_up_publication_and_what_it_reads_is_dropped_another_time(
    tmp_path: Path, publish: Any, ask: Any, reader: psycopg.Connection[Any]
) -> None:
    publish(published_folder(tmp_path, "run-0"))
    assert runs_in(reader, "left_out") == ["run-0"]
    done = publish(published_folder(tmp_path, "run-1", day=1), keep_runs=1)
    assert (done.is_new, done.is_current) == (True, True)
    assert (done.dropped_runs, done.postponed_runs) == ((), ("run-0",))
    assert "readers" in (done.postponed_because or "")
    assert runs_in(reader, "left_out") == ["run-0"]
    reader.rollback()
    done = publish(published_folder(tmp_path, "run-2", day=2), keep_runs=1)
    assert (done.dropped_runs, done.postponed_runs, done.postponed_because) == (("run-0", "run-1"), (), None)
    assert run_tables_left(ask) == {"run-2"}


def test_a_transaction_whose_run_was_dropped_is_told_and_sees_no_empty_table(
    tmp_path: Path, publish: Any, reader: psycopg.Connection[Any]
) -> None:
    publish(published_folder(tmp_path, "run-0"))
    reader.execute("SELECT count(*) FROM published.run_ledger")
    assert publish(published_folder(tmp_path, "run-1", day=1), keep_runs=1).dropped_runs == ("run-0",)
    with pytest.raises(errors.SerializationFailure, match="cannot show run run-0"):
        runs_in(reader, "left_out")
    reader.rollback()
    assert runs_in(reader, "left_out") == ["run-1"]


def test_what_goes_wrong_in_retention_leaves_the_publication_standing(tmp_path: Path, publish: Any, ask: Any) -> None:
    publish(published_folder(tmp_path, "run-0"))
    ask('CREATE VIEW public.mine AS SELECT opportunity_id FROM runs."left_out__run-0"')
    done = publish(published_folder(tmp_path, "run-1", day=1), keep_runs=1)
    assert done.is_current
    assert done.postponed_runs == ("run-0",)
    assert "2BP01" in (done.postponed_because or "")
    assert shown(ask) == ["run-1"]


def test_tables_of_shapes_no_run_has_any_more_are_dropped(
    tmp_path: Path, publish: Any, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(published_folder(tmp_path, "run-0"))
    monkeypatch.setitem(PUBLISHED_TABLES, "left_out", with_columns(*LEFT_OUT.columns, ADDED))
    publish(published_folder(tmp_path, "run-1", day=1, change=grown), keep_runs=1)
    assert ask("SELECT count(*) FROM pg_class WHERE relname LIKE 'left_out__all_%'") == [(1,)]


# The channel


def test_the_channel_gives_a_result_per_table_and_publishes_once(
    postgres: Server, database: str, tmp_path: Path, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    parcel = run_parcel(published_folder(tmp_path, "run-1"), "warehouse")
    assert {part.operation for part in parcel.parts} == {"replace"}
    assert parcel.path(parcel.parts[0]).is_file()
    channel = PostgresTables(PostgresChannel(url=postgres.url(database)), postgres.password)
    results = channel.send(parcel, Journal(tmp_path / "journal"))
    assert [row["key"] for row in results.to_pylist()] == sorted(part.object_name for part in parcel.parts)
    assert set(results.column("outcome").to_pylist()) == {"succeeded"}
    assert "3 rows, shown" in results.column("message").to_pylist()
    # The database knows what it has, whatever the journal says.
    for place in ("journal", "other"):
        assert channel.send(parcel, Journal(tmp_path / place)).equals(results)
        (note,) = Journal(tmp_path / place).notes(None)[-1:]
        assert (note["run_id"], note["is_new"], note["is_current"]) == ("run-1", False, True)
    assert ask("SELECT count(*) FROM runs.ledger") == [(1,)]


def test_the_channel_says_when_a_newer_run_is_shown(postgres: Server, database: str, tmp_path: Path) -> None:
    channel = PostgresTables(PostgresChannel(url=postgres.url(database)), postgres.password)
    channel.send(run_parcel(published_folder(tmp_path, "run-2", day=1), "warehouse"), Journal(tmp_path / "2"))
    results = channel.send(run_parcel(published_folder(tmp_path, "run-1"), "warehouse"), Journal(tmp_path / "1"))
    assert "3 rows, kept, a newer run is shown" in results.column("message").to_pylist()


# The command line and Dagster


@pytest.fixture
def configured(postgres: Server, database: str, tmp_path: Path) -> Path:
    """A configuration with the target `postgres`, its password in a file that only its owner may read."""
    secret = tmp_path / "secret"
    secret.write_text(postgres.password + "\n")
    secret.chmod(0o600)
    channel = {"kind": "postgres", "url": postgres.url(database), "token_file": str(secret), "keep_runs": 1}
    targets = {"postgres": {"channel": channel, "scheduled": True}}
    return write_config(tmp_path, mapping=DEALS_MAPPING, delivery={"targets": targets})


def test_the_command_line_publishes_a_run_and_says_what_became_of_it(
    configured: Path, postgres: Server, tmp_path: Path, ask: Any
) -> None:
    published_folder(tmp_path / "lake", "run-1")
    done = call("publish", "postgres", "-c", configured, "--json").done()
    assert (done.json["ended"], done.json["run_id"]) == ("published", "run-1")
    assert shown(ask) == ["run-1"]
    assert call("publish", "postgres", "-c", configured, "--json").done().json["ended"] == "nothing_new"
    published_folder(tmp_path / "lake", "run-2", day=1)
    assert call("publish", "postgres", "-c", configured, "--json").done().json["ended"] == "published"
    assert shown(ask) == ["run-2"]
    assert call("publish", "postgres", "-c", configured, "--run", "run-1", "--json").done().json["ended"] == "kept"
    assert shown(ask) == ["run-2"]


def test_the_command_line_says_what_is_wrong_without_the_password(
    configured: Path, postgres: Server, tmp_path: Path
) -> None:
    published_folder(tmp_path / "lake", "run-1")
    (tmp_path / "secret").write_text("hunter2-is-wrong")
    refused = call("publish", "postgres", "-c", configured).refused(8, "refused the user or the password")
    assert "hunter2" not in refused.text
    assert postgres.password not in refused.text


def test_the_scheduled_asset_publishes_the_days_run(configured: Path, tmp_path: Path, ask: Any) -> None:
    import dagster as dg

    from dagster_project.definitions import build_definitions
    from dagster_project.jobs import DELIVERY_JOB

    published_folder(tmp_path / "lake", "run-1")
    job = build_definitions(load_settings(configured)).resolve_job_def(DELIVERY_JOB)
    with dg.DagsterInstance.ephemeral() as instance:
        assert job.execute_in_process(instance=instance, partition_key="2026-06-30").success
    assert shown(ask) == ["run-1"]
