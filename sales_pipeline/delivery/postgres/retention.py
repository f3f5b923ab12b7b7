"""Old runs' tables are dropped, after the publication and apart from it: what goes wrong here is said, and leaves the publication standing.

A table can only be dropped when no open transaction has read from its view. Readers are not waited for: what they hold is dropped another
time. Each table goes in a transaction of its own, so that this never holds one table while it waits for another.
A transaction that began when a dropped run was still shown is told so by the views (SQLSTATE 40001); it never reads half of a run.

Belongs here: which runs go, and how. Does not belong here: publishing (`publish`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import Connection, errors

from sales_pipeline.delivery.postgres import ledger, tables

LOCK_MS = 200
"""How long a reader, or another publisher, is waited for."""


@dataclass(frozen=True)
class Retention:
    """Runs that are gone, runs that will go another time, and why not now."""

    dropped: tuple[str, ...] = ()
    postponed: tuple[str, ...] = ()
    because: str | None = None


def surplus(runs: Sequence[ledger.LedgerRow], keep_runs: int, shown: str | None) -> list[ledger.LedgerRow]:
    """Of the runs (newest first), those whose tables may go: beyond the `keep_runs` newest that have tables, and not the one that is shown."""
    kept = [run.run_id for run in runs if not run.is_dropped][:keep_runs]
    return [run for run in runs if run.run_id not in kept and run.run_id != shown]


def drop_old_runs(connection: Connection[Any], keep_runs: int) -> Retention:
    """Drop the tables of surplus runs, as far as readers allow; never raises for an error of the server."""
    dropped: list[str] = []
    postponed: list[str] = []
    because: str | None = None
    try:
        runs = _mark(connection, keep_runs)
        for run in runs:
            reason = _drop_run(connection, run)
            (postponed if reason else dropped).append(run.run_id)
            because = because or reason
        _drop_empty_shapes(connection)
    except psycopg.Error as error:
        because = because or _said(error)
    return Retention(tuple(dropped), tuple(postponed), because)


def drop_tables(connection: Connection[Any], names: Iterable[str]) -> None:
    """Drop what is still there of these tables, in the transaction that is open."""
    for name in names:
        connection.execute(tables.drop_table(name))


def _mark(connection: Connection[Any], keep_runs: int) -> list[ledger.LedgerRow]:
    """Note which runs go from now on, and return those of which something is left, oldest first."""
    with connection.transaction():
        ledger.begin_alone(connection, LOCK_MS)
        shown = ledger.shown_run(connection)
        going = surplus(ledger.all_runs(connection), keep_runs, shown.run_id if shown else None)
        connection.execute(
            "UPDATE runs.ledger SET dropped_at = clock_timestamp() WHERE dropped_at IS NULL AND run_number = ANY(%s)",
            [[run.run_number for run in going]],
        )
        return [run for run in reversed(going) if any(_is_there(connection, name) for name in _names(run))]


def _drop_run(connection: Connection[Any], run: ledger.LedgerRow) -> str | None:
    """Drop a run's tables one by one; why something is left, or None."""
    reason = None
    for name in _names(run):
        try:
            with connection.transaction():
                ledger.begin_alone(connection, LOCK_MS)
                now = ledger.find_run(connection, run.run_id)
                if now is not None and now.is_dropped:  # else another publisher has loaded it again
                    connection.execute(tables.drop_table(name))
        except errors.LockNotAvailable:
            reason = "readers, or another publisher, hold what should be dropped"
        except psycopg.Error as error:
            reason = _said(error)
    return reason


def _drop_empty_shapes(connection: Connection[Any]) -> None:
    """Drop tables of shapes that no run has any more."""
    with connection.transaction():
        ledger.begin_alone(connection, LOCK_MS)
        found = connection.execute(
            "SELECT relname FROM pg_class AS c WHERE relnamespace = 'runs'::regnamespace AND relkind = 'p'"
            " AND NOT EXISTS (SELECT FROM pg_inherits AS i WHERE i.inhparent = c.oid)"
        ).fetchall()
        drop_tables(connection, [name for (name,) in found])


def _names(run: ledger.LedgerRow) -> list[str]:
    return [entry["name"] for entry in run.tables.values()]


def _is_there(connection: Connection[Any], name: str) -> bool:
    asked = [tables.in_runs(name).as_string(connection)]
    return connection.execute("SELECT to_regclass(%s) IS NOT NULL", asked).fetchone() == (True,)


def _said(error: psycopg.Error) -> str:
    return f"{error.diag.message_primary or type(error).__name__} ({error.sqlstate})"
