"""The run ledger, the pointer to the run that is shown, and the lock that lets one publisher in at a time.

Belongs here: statements about them, and what they say. Does not belong here: tables of runs (`tables`), views of them (`views`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection

LOCK_KEY = 0x53616C6573
"""Of the advisory lock: any fixed number that other programs of the database do not use."""

_SET_UP = (
    """
    CREATE TABLE IF NOT EXISTS runs.ledger (
        run_number integer PRIMARY KEY,
        run_id text NOT NULL UNIQUE,
        as_of timestamptz NOT NULL,
        contract_version integer NOT NULL,
        manifest_sha256 text NOT NULL CHECK (length(manifest_sha256) = 64),
        tables jsonb NOT NULL,
        published_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        dropped_at timestamptz
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS runs.current_run (
        is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
        run_number integer NOT NULL REFERENCES runs.ledger,
        shown_since timestamptz NOT NULL DEFAULT clock_timestamp()
    )
    """,
    # What the reader's snapshot says is shown may be gone by now, of another shape, or not in the plan that was made just before the
    # snapshot. Then nothing true can be shown: the reader has to begin again, which drivers do for this SQLSTATE.
    """
    CREATE OR REPLACE FUNCTION runs.require_shown(run_number integer, run_id text, view_name text, is_there boolean) RETURNS integer
    LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $body$
    BEGIN
        IF is_there IS NOT TRUE THEN
            RAISE EXCEPTION 'published.% cannot show run % to this transaction', view_name, run_id
                USING ERRCODE = 'serialization_failure', HINT = 'Begin the transaction again.';
        END IF;
        RETURN run_number;
    END
    $body$
    """,
    """
    CREATE OR REPLACE VIEW published.run_ledger AS
    SELECT l.run_id, l.as_of, l.contract_version, l.manifest_sha256,
        (SELECT jsonb_object_agg(t.key, t.value -> 'rows') FROM jsonb_each(l.tables) AS t) AS rows,
        l.published_at, l.dropped_at, c.run_number IS NOT NULL AS is_shown
    FROM runs.ledger AS l LEFT JOIN runs.current_run AS c ON c.run_number = l.run_number
    """,
    "COMMENT ON VIEW published.run_ledger IS 'one row per run that was published here'",
    "COMMENT ON COLUMN published.run_ledger.rows IS 'rows per table'",
    "COMMENT ON COLUMN published.run_ledger.published_at IS 'by the clock of the server'",
    "COMMENT ON COLUMN published.run_ledger.dropped_at IS 'since when its tables are being dropped; NULL: they are kept'",
    "COMMENT ON COLUMN published.run_ledger.is_shown IS 'whether the views of this schema show it'",
)


@dataclass(frozen=True)
class LedgerRow:
    """A run in the ledger. `tables`: per published table its name in schema `runs`, its shape, its rows."""

    run_number: int
    run_id: str
    as_of: datetime
    manifest_sha256: str
    tables: dict[str, dict[str, Any]]
    is_dropped: bool


def begin_alone(connection: Connection[Any], wait_ms: int) -> None:
    """Take the publishers' lock until the transaction ends; LockNotAvailable when another holds it longer than that."""
    connection.execute("SET LOCAL search_path = pg_catalog, pg_temp")
    set_lock_timeout(connection, wait_ms)
    connection.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK_KEY])


def set_lock_timeout(connection: Connection[Any], wait_ms: int) -> None:
    """How long the rest of the transaction waits for each lock."""
    connection.execute("SELECT set_config('lock_timeout', %s, true)", [f"{wait_ms}ms"])


def set_up(connection: Connection[Any]) -> None:
    """Make the schemas, the ledger, the pointer and their view where they are not there yet."""
    for schema in ("runs", "published"):
        # CREATE … IF NOT EXISTS would ask for the right to create even where there is nothing to do.
        if connection.execute("SELECT to_regnamespace(%s) IS NULL", [schema]).fetchone() == (True,):
            connection.execute(f"CREATE SCHEMA {schema}")
    if connection.execute("SELECT to_regclass('published.run_ledger') IS NULL").fetchone() == (True,):
        for statement in _SET_UP:
            connection.execute(statement)


_ROW = "SELECT run_number, run_id, as_of, manifest_sha256, tables, dropped_at IS NOT NULL FROM runs.ledger"


def find_run(connection: Connection[Any], run_id: str) -> LedgerRow | None:
    """The run's row, or None."""
    row = connection.execute(f"{_ROW} WHERE run_id = %s", [run_id]).fetchone()
    return LedgerRow(*row) if row else None


def all_runs(connection: Connection[Any]) -> list[LedgerRow]:
    """Every run, newest as-of first; of the same as-of, the last published first."""
    rows = connection.execute(f"{_ROW} ORDER BY as_of DESC, run_number DESC").fetchall()
    return [LedgerRow(*row) for row in rows]


def shown_run(connection: Connection[Any]) -> LedgerRow | None:
    """The run the views show, or None before the first."""
    row = connection.execute(f"{_ROW} WHERE run_number = (SELECT run_number FROM runs.current_run)").fetchone()
    return LedgerRow(*row) if row else None


def next_number(connection: Connection[Any]) -> int:
    """The number of the next new run."""
    row = connection.execute("SELECT coalesce(max(run_number), 0) + 1 FROM runs.ledger").fetchone()
    assert row is not None
    return int(row[0])


def write_row(connection: Connection[Any], row: LedgerRow, contract_version: int) -> None:
    """Note a run whose tables are there; of one that had been dropped, that it is there again."""
    connection.execute(
        """
        INSERT INTO runs.ledger (run_number, run_id, as_of, contract_version, manifest_sha256, tables)
        VALUES (%s, %s, %s, %s, %s, %s)
        ON CONFLICT (run_number) DO UPDATE SET tables = excluded.tables, dropped_at = NULL
        """,
        [row.run_number, row.run_id, row.as_of, contract_version, row.manifest_sha256, json.dumps(row.tables)],
    )


def show(connection: Connection[Any], run_number: int) -> None:
    """Point the views to a run."""
    connection.execute(
        """
        INSERT INTO runs.current_run (run_number) VALUES (%s)
        ON CONFLICT (is_only) DO UPDATE SET run_number = excluded.run_number, shown_since = clock_timestamp()
        """,
        [run_number],
    )
