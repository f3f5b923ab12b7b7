"""A PostgreSQL server for all tests of this folder that ask for one, and a new database for each of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from sales_pipeline.delivery.postgres.publish import PostgresPublication, publish_to_postgres
from tests.support.postgres_server import Server, missing, postgres_server


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    if reason := missing():
        pytest.skip(reason)
    with postgres_server() as started:
        yield started


@pytest.fixture
def database(postgres: Server) -> str:
    return postgres.new_database()


@pytest.fixture
def ask(postgres: Server, database: str) -> Iterator[Any]:
    """Runs a statement as the superuser and returns its rows."""
    with postgres.connect(database) as connection:

        def run(statement: str, *values: Any) -> list[tuple[Any, ...]]:
            cursor = connection.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

        yield run


@pytest.fixture
def publish(postgres: Server, database: str) -> Any:
    """Publishes a folder as the superuser."""

    def run(folder: Path, **options: Any) -> PostgresPublication:
        given = {"keep_runs": 30, "reader_role": None, "timeout_seconds": 10.0} | options
        return publish_to_postgres(folder, postgres.url(database), postgres.password, **given)

    return run


@pytest.fixture
def reader(postgres: Server, database: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection whose transactions are REPEATABLE READ."""
    with postgres.connect(database) as connection:
        connection.autocommit = False
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        yield connection
