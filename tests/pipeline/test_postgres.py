"""Publication into a real PostgreSQL server that the tests start for themselves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sales_pipeline.delivery.postgres.publish import PostgresPublication, publish_to_postgres
from tests.support.postgres_server import Server, missing, postgres_server
from tests.support.published_lake import published_folder

pytestmark = [pytest.mark.postgres, pytest.mark.skipif(missing() is not None, reason=missing() or "")]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres_server() as started:
        yield started


@pytest.fixture
def database(server: Server) -> str:
    return server.new_database()


@pytest.fixture
def ask(server: Server, database: str) -> Iterator[Any]:
    """Runs a statement as the superuser and returns its rows."""
    with server.connect(database) as connection:

        def run(statement: str, *values: Any) -> list[tuple[Any, ...]]:
            cursor = connection.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

        yield run


@pytest.fixture
def publish(server: Server, database: str) -> Any:
    def run(folder: Path, **options: Any) -> PostgresPublication:
        given = {"keep_runs": 30, "reader_role": None, "timeout_seconds": 5.0} | options
        return publish_to_postgres(folder, server.url(database), server.password, **given)

    return run


def runs_shown(ask: Any) -> list[str]:
    return [row[0] for row in ask("SELECT DISTINCT run_id FROM published.scored_opportunities")]


def test_a_run_is_published_into_typed_tables_views_and_the_ledger(tmp_path: Path, publish: Any, ask: Any) -> None:
    done = publish(published_folder(tmp_path, "run-1"))
    assert (done.is_new, done.is_current, done.dropped_runs) == (True, True, ())
    assert done.rows["scored_opportunities"] == 3
    assert ask("SELECT opportunity_id, reasons_up FROM published.scored_opportunities ORDER BY 1")[0] == (
        "a",
        [{"code": "engagement", "text": "The customer wrote twice, lately", "weight": 0.42}],
    )
    row = ask("SELECT run_id, rows, is_shown, dropped_at, published_at <= now() FROM published.run_ledger")
    assert row == [("run-1", done.rows, True, None, True)]
