"""Least privilege in PostgreSQL, seen from the roles themselves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import errors, sql

from sales_pipeline.delivery.postgres.publish import publish_to_postgres
from sales_pipeline.delivery.postgres.roles import roles_sql
from tests.support.postgres_server import Server, missing
from tests.support.published_lake import published_folder

pytestmark = [pytest.mark.postgres, pytest.mark.skipif(missing() is not None, reason=missing() or "")]

SECRET = "secret-of-the-role"


@pytest.fixture
def roles(database: str, ask: Any) -> tuple[str, str]:
    """Names of a publisher, and of a reader that may log in, set up by the script."""
    publisher, reader = f"{database}_publisher", f"{database}_reader"
    ask(roles_sql(publisher, reader))
    ask(roles_sql(publisher, reader))
    for role in (publisher, reader):
        ask(f"ALTER ROLE {role} LOGIN PASSWORD '{SECRET}'")
    return publisher, reader


@pytest.fixture
def as_reader(
    postgres: Server, database: str, tmp_path: Path, roles: tuple[str, str]
) -> Iterator[psycopg.Connection[Any]]:
    """The reader's connection, after the publisher has published two runs."""
    publisher, reader = roles
    for day in range(2):
        folder = published_folder(tmp_path, f"run-{day}", day=day)
        publish_to_postgres(folder, postgres.url(database, publisher), SECRET, keep_runs=1, reader_role=reader)
    with postgres.connect(database, reader, SECRET) as connection:
        yield connection


def test_the_reader_sees_every_view_and_the_ledger(as_reader: psycopg.Connection[Any]) -> None:
    for view in ("scored_opportunities", "follow_up_queue", "left_out", "field_dictionary", "run_ledger"):
        assert as_reader.execute(f"SELECT * FROM published.{view}").fetchall()


@pytest.mark.parametrize(
    "statement",
    [
        'SELECT * FROM runs."left_out__run-1"',
        "SELECT * FROM runs.ledger",
        "SELECT runs.require_shown(1, 'run-1', 'left_out', true)",
        "DELETE FROM published.left_out",
        "UPDATE published.left_out SET detail = ''",
        "INSERT INTO published.left_out (detail) VALUES ('')",
        "DROP VIEW published.left_out",
        "CREATE VIEW published.mine AS SELECT 1",
        "CREATE TABLE runs.mine (x integer)",
        "CREATE TABLE public.mine (x integer)",
        "CREATE SCHEMA mine",
    ],
)
def test_the_reader_may_do_nothing_else(as_reader: psycopg.Connection[Any], statement: str) -> None:
    with pytest.raises(errors.InsufficientPrivilege):
        as_reader.execute(statement)


def test_the_publisher_may_write_nowhere_else(
    postgres: Server, database: str, roles: tuple[str, str], ask: Any
) -> None:
    ask("CREATE TABLE public.theirs (x integer)")
    with postgres.connect(database, roles[0], SECRET) as connection:
        for statement in (
            "SELECT * FROM public.theirs",
            "DROP TABLE public.theirs",
            "CREATE TABLE public.mine (x integer)",
            "CREATE SCHEMA mine",
            "CREATE ROLE mine",
            "CREATE DATABASE mine",
        ):
            with pytest.raises(errors.InsufficientPrivilege):
                connection.execute(statement)


def test_a_view_that_was_gone_and_came_back_can_be_read_again(
    postgres: Server, database: str, tmp_path: Path, roles: tuple[str, str], as_reader: psycopg.Connection[Any]
) -> None:
    def publish(day: int, *without: str) -> None:
        folder = published_folder(
            tmp_path, f"run-{day}", day, lambda tables: {n: t for n, t in tables.items() if n not in without}
        )
        publish_to_postgres(folder, postgres.url(database, roles[0]), SECRET, keep_runs=1, reader_role=roles[1])

    publish(2, "left_out")
    with pytest.raises(errors.UndefinedTable):
        as_reader.execute("SELECT * FROM published.left_out")
    publish(3)
    assert as_reader.execute("SELECT DISTINCT run_id FROM published.left_out").fetchall() == [("run-3",)]


def test_without_a_reader_role_nobody_is_let_in(
    postgres: Server, database: str, tmp_path: Path, roles: tuple[str, str]
) -> None:
    publisher, reader = roles
    publish_to_postgres(
        published_folder(tmp_path, "run-1"), postgres.url(database, publisher), SECRET, keep_runs=1, reader_role=None
    )
    with postgres.connect(database, reader, SECRET) as connection, pytest.raises(errors.InsufficientPrivilege):
        connection.execute("SELECT * FROM published.left_out")


def test_roles_with_hostile_names_are_only_names(postgres: Server, database: str, tmp_path: Path, ask: Any) -> None:
    publisher, reader = (f"{kind} {database} \"'; $do$ DROP SCHEMA runs; --" for kind in "pr")
    ask(roles_sql(publisher, reader))
    for role in (publisher, reader):
        ask(sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(role), sql.Literal(SECRET)))
    where = psycopg.conninfo.make_conninfo("", host="127.0.0.1", port=postgres.port, dbname=database)
    publish_to_postgres(
        published_folder(tmp_path, "run-1"),
        psycopg.conninfo.make_conninfo(where, user=publisher),
        SECRET,
        keep_runs=1,
        reader_role=reader,
    )
    with psycopg.connect(where, user=reader, password=SECRET) as connection:
        assert connection.execute("SELECT count(*) FROM published.left_out").fetchone() == (2,)
