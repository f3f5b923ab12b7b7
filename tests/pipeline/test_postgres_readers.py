"""Readers of the published views while runs are published: one run, or told to begin again; never two, never an empty table."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import errors

from sales_pipeline.delivery.postgres import publish as publishing
from tests.support.postgres_asked import runs_in
from tests.support.postgres_server import Server, missing
from tests.support.published_lake import published_folder

pytestmark = [pytest.mark.postgres, pytest.mark.skipif(missing() is not None, reason=missing() or "")]


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
