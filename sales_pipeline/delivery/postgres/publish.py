"""Publication of a run: COPY, audit, swap, ledger, all in one transaction.

Whatever happens (the client is killed, the connection breaks, the disk is full), either the whole run is in the database or nothing of it; doing it again
ends with exactly one ledger row. That holds when the commit was done and only its answer was lost, too: the ledger tells.

Belongs here: the order of the steps. Does not belong here: their statements (`tables`, `views`, `ledger`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from psycopg import Connection, errors

from sales_pipeline.contracts.published import CONTRACT_VERSION
from sales_pipeline.delivery.postgres import ledger, tables, views
from sales_pipeline.delivery.postgres.connection import address, with_connection
from sales_pipeline.delivery.postgres.copying import Tally, copy_text
from sales_pipeline.delivery.postgres.faults import under_way
from sales_pipeline.delivery.postgres.retention import drop_old_runs, drop_tables
from sales_pipeline.delivery.postgres.run_folder import RunTable, RunToPublish, read_run
from sales_pipeline.delivery.postgres.types import shape_table_name
from sales_pipeline.errors import DeliveryFailed

SWAP_LOCK_MS = 500
"""Longest wait for a reader at a time: shorter than the server's deadlock_timeout (1 s), so that it is never a reader who has to give way."""
SWAP_PAUSE_SECONDS = 0.2
ALONE_LOCK_MS = 100
ALONE_TRIES = 5
"""How long, and how often, to wait for the moment without readers in which the pointer moves; new readers wait that long too."""


@dataclass(frozen=True)
class PostgresPublication:
    """What became of a publication.

    Parameters
    ----------
    is_new
        Whether its tables were loaded now; False when they were there already, or were dropped by retention and are not to be shown.
    is_current
        Whether the views show this run now; an older day does not take a newer one's place by itself.
    rows
        Per table.
    dropped_runs, postponed_runs
        Runs that retention dropped, and runs it will drop another time because of `postponed_because`.
    """

    run_id: str
    is_new: bool
    is_current: bool
    rows: Mapping[str, int]
    dropped_runs: tuple[str, ...] = ()
    postponed_runs: tuple[str, ...] = ()
    postponed_because: str | None = None


def publish_to_postgres(
    run_folder: Path,
    url: str,
    password: str | None,
    *,
    keep_runs: int,
    reader_role: str | None,
    make_current: bool = False,
    timeout_seconds: float = 60.0,
    attempts: int = 1,
) -> PostgresPublication:
    """Publish a run's folder into schema `runs`, and show it in schema `published` unless a newer one is shown.

    Parameters
    ----------
    run_folder
        Of a published run of the lake; its bytes are compared with its manifest first.
    url, password
        A libpq connection string without a password, and the password where one is needed.
    keep_runs
        How many runs, newest as-of first, keep their tables; the one that is shown always does.
    reader_role
        A role that is given SELECT on the views, and nothing else; it has to be there.
    make_current
        Show the run even when a newer one is shown.
    timeout_seconds
        For connecting, for another publisher to finish, and for readers to let go of a view that has to change.
    attempts
        How often to try where trying again may help (no connection, server shut down, gave way to another).

    Raises DeliveryFailed (with what the server said, never a secret), DeliveryUnderWay when another publisher is at work for longer than the
    timeout, ConfigurationError and EnvironmentProblem for what `read_run` and the url say. Nothing of the run is in the database then.
    """
    run = read_run(run_folder)
    where = address(url)

    def work(connection: Connection[Any]) -> PostgresPublication:
        with connection.transaction():
            try:
                ledger.begin_alone(connection, int(timeout_seconds * 1000))
            except errors.LockNotAvailable as error:
                raise under_way(where) from error
            is_new, is_current = _publish(connection, run, where, make_current, timeout_seconds)
            if reader_role is not None:
                shown = ledger.shown_run(connection)
                views.let_read(connection, reader_role, sorted(shown.tables) if shown else ())
        done = drop_old_runs(connection, keep_runs)
        return PostgresPublication(run.run_id, is_new, is_current, run.rows, done.dropped, done.postponed, done.because)

    return with_connection(work, url, password, timeout_seconds=timeout_seconds, attempts=attempts)


def _publish(
    connection: Connection[Any], run: RunToPublish, where: str, make_current: bool, timeout_seconds: float
) -> tuple[bool, bool]:
    """Load the run where it is not there, show it where it should be shown; whether it was loaded, and whether it is shown."""
    ledger.set_up(connection)
    known, shown = ledger.find_run(connection, run.run_id), ledger.shown_run(connection)
    if known is not None and known.manifest_sha256 != run.manifest_sha256:
        raise DeliveryFailed(
            "the database has another run under this id",
            expected=f"manifest sha256 {known.manifest_sha256}",
            found=run.manifest_sha256,
            where=f"{where}, runs.ledger, {run.run_id}",
            fix="find out which lake published it; one database takes the runs of one lake",
        )
    as_of = datetime.fromisoformat(run.as_of)
    is_current = make_current or shown is None or shown.run_id == run.run_id or shown.as_of <= as_of
    number = known.run_number if known is not None else ledger.next_number(connection)
    is_new = known is None or (known.is_dropped and is_current)
    if is_new:
        if known is not None:
            drop_tables(connection, [entry["name"] for entry in known.tables.values()])
        for table in run.tables:
            _load(connection, table, run, number, where)
        entries = {t.contract.name: {"name": t.name, "shape": t.shape, "rows": t.rows} for t in run.tables}
        row = ledger.LedgerRow(number, run.run_id, as_of, run.manifest_sha256, entries, is_dropped=False)
        ledger.write_row(connection, row, CONTRACT_VERSION)
    if is_current and (shown is None or shown.run_number != number):
        _swap(connection, run, number, shown.tables if shown else {}, timeout_seconds)
    return is_new, is_current


def _load(connection: Connection[Any], table: RunTable, run: RunToPublish, number: int, where: str) -> None:
    """Make a run's table, fill it, key it, audit it, and put it among those of its shape."""
    connection.execute(tables.create_run_table(table.name, table.columns, number))
    tally = Tally()
    with connection.cursor() as cursor, cursor.copy(tables.copy_in(table.name, table.columns)) as copy:
        for text in copy_text(table.path, table.columns, tally):
            copy.write(memoryview(text))
    connection.execute(tables.add_key(table.name, table.contract))
    _audit(connection, table, run, tally, where)
    note = f"run {run.run_id}, as of {run.as_of}; never changed"
    for statement in tables.comments("TABLE", tables.in_runs(table.name), table.contract, table.columns, note):
        connection.execute(statement)
    shape_table = shape_table_name(table.contract.name, table.shape)
    connection.execute(tables.create_shape_table(shape_table, table.columns))
    connection.execute(tables.attach(shape_table, table.name, number))
    connection.execute(tables.analyze(table.name))


def _audit(connection: Connection[Any], table: RunTable, run: RunToPublish, tally: Tally, where: str) -> None:
    """Compare what the database holds with what was sent and with the manifest."""
    asked = {"run_id": run.run_id, "as_of": run.as_of}
    row = connection.execute(tables.count_what_came(table.name, table.columns), asked).fetchone()
    expected = (table.rows, *tally.values.values(), *tally.sums.values(), 0)
    if tally.rows != table.rows or row != expected:
        names = [column.name for column in table.columns]
        told = ["rows", *(f"values of {name}" for name in names), *(f"sum of {name}" for name in tally.sums)]
        told.append("rows of another run or as-of")
        pairs = list(zip(told, expected, row or (), strict=True))
        raise DeliveryFailed(
            "the audit in PostgreSQL failed: nothing of the run was published; what was shown before still stands",
            expected=", ".join(f"{wanted} {name}" for name, wanted, found in pairs if wanted != found)
            or f"{table.rows} rows, as the manifest says",
            found=", ".join(f"{found} {name}" for name, wanted, found in pairs if wanted != found)
            or f"{tally.rows} rows in the file",
            where=f"{where}, {table.contract.name}",
            fix="look for triggers and rules in the database that change what is written; else restore the run's files",
        )


def _swap(
    connection: Connection[Any],
    run: RunToPublish,
    number: int,
    shown: dict[str, dict[str, Any]],
    timeout_seconds: float,
) -> None:
    """Make the views fit and point them to the run. Where a view has to change and a reader has it, let go of everything and try again."""
    give_up_at = time.monotonic() + timeout_seconds
    ledger.set_lock_timeout(connection, SWAP_LOCK_MS)
    while True:
        try:
            with connection.transaction():
                views.make_views(connection, run.tables, shown)
            break
        except errors.LockNotAvailable:
            if time.monotonic() >= give_up_at:
                raise
        time.sleep(SWAP_PAUSE_SECONDS)
    _keep_readers_out(connection, run)
    ledger.show(connection, number)


def _keep_readers_out(connection: Connection[Any], run: RunToPublish) -> bool:
    """Let no reader plan a query while the pointer moves, where that can be had at once; whether it could.

    A query that was planned before the commit knows no table of the new run, and may take its snapshot after it: its views would have to
    tell it to begin again. Where a long reader is in the way the pointer moves all the same, and that small chance is taken.
    """
    names = sorted(shape_table_name(table.contract.name, table.shape) for table in run.tables)
    ledger.set_lock_timeout(connection, ALONE_LOCK_MS)
    for _ in range(ALONE_TRIES):
        try:
            with connection.transaction():
                connection.execute(tables.lock_alone(names))
            return True
        except errors.LockNotAvailable:
            time.sleep(SWAP_PAUSE_SECONDS)
    return False
