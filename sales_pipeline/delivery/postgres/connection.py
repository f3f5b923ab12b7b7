"""A connection to the database, and trying again where that may help.

Belongs here: connecting, waiting, the border where the server's errors become ours. Does not belong here: what is done with a connection.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import psycopg
from psycopg import Connection
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import TupleRow

from sales_pipeline.delivery.postgres.faults import delivery_failed, is_transient
from sales_pipeline.errors import ConfigurationError

Result = TypeVar("Result")

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0


def address(url: str) -> str:
    """Host, port, database and user of a connection string, for messages.

    ConfigurationError when it cannot be read or holds a password; the string itself is never repeated, since it may hold one.
    """
    try:
        parts = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        raise ConfigurationError(
            "the url of PostgreSQL cannot be read",
            expected="postgresql://user@host:5432/database, or `host=… dbname=… user=…`",
            found="something else (not shown, since it may hold a password)",
            fix="mend `url` of the target's channel",
        ) from None
    if parts.get("password"):
        raise ConfigurationError(
            "the url of PostgreSQL holds a password",
            expected="a connection string without one",
            found="a password (not shown)",
            fix="take it out; give it as `token` in the environment, or in `token_file`",
        )
    host = parts.get("host") or parts.get("hostaddr") or "local socket"
    return (
        f"{host}:{parts.get('port') or 5432}/{parts.get('dbname') or ''} as {parts.get('user') or 'the default user'}"
    )


def connect(url: str, password: str | None, timeout_seconds: float) -> Connection[TupleRow]:
    """An autocommit connection. What the connection string leaves open, libpq takes as it always does (PGHOST, a service file…)."""
    # A server that vanished without a word is noticed after half a minute, unless the url says otherwise.
    watch = {"keepalives_idle": 15, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 30_000}
    connection = psycopg.connect(
        make_conninfo("", **{**watch, **conninfo_to_dict(url)}),
        password=password,
        connect_timeout=max(2, int(timeout_seconds)),
        application_name="sales-pipeline",
        client_encoding="utf8",
        autocommit=True,
    )
    connection.prepare_threshold = None  # poolers that hand out a server per transaction know no prepared statements
    return connection


def with_connection(
    work: Callable[[Connection[TupleRow]], Result],
    url: str,
    password: str | None,
    *,
    timeout_seconds: float,
    attempts: int,
) -> Result:
    """Do the work on a connection of its own; again, on a new one and after a pause, while that may help. The work has to bear repeating.

    Raises DeliveryFailed in place of every error of the server, ConfigurationError for a connection string that is of no use.
    """
    where = address(url)
    pause = FIRST_PAUSE_SECONDS
    for attempt in range(1, attempts + 1):
        try:
            with connect(url, password, timeout_seconds) as connection:
                return work(connection)
        except psycopg.Error as error:
            if attempt == attempts or not is_transient(error):
                raise delivery_failed(error, where=where) from error
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
    raise AssertionError("attempts is at least 1")
