"""What is decided without a server: which runs may be published, which go, what an error means, what may be tried again."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest
from psycopg import errors

from sales_pipeline.delivery.postgres.connection import address
from sales_pipeline.delivery.postgres.faults import delivery_failed, is_transient
from sales_pipeline.delivery.postgres.ledger import LedgerRow
from sales_pipeline.delivery.postgres.publish import publish_to_postgres
from sales_pipeline.delivery.postgres.retention import surplus
from sales_pipeline.delivery.postgres.run_folder import read_run
from sales_pipeline.errors import ConfigurationError, DeliveryFailed, EnvironmentProblem
from tests.support.published_lake import published_folder, unaudited_folder
from tests.support.published_run import run_tables


def ledger_row(name: str, day: int, *, is_dropped: bool = False) -> LedgerRow:
    return LedgerRow(day, name, datetime(2026, 7, day, tzinfo=UTC), "0" * 64, {}, is_dropped)


def test_the_newest_runs_are_kept_and_the_one_that_is_shown() -> None:
    runs = [ledger_row(name, day) for name, day in (("e", 5), ("d", 4), ("c", 3), ("b", 2), ("a", 1))]
    assert [run.run_id for run in surplus(runs, 2, "e")] == ["c", "b", "a"]
    assert [run.run_id for run in surplus(runs, 2, "b")] == ["c", "a"]
    assert surplus(runs, 5, "a") == []


def test_runs_that_were_dropped_take_no_place_of_those_that_are_kept() -> None:
    runs = [ledger_row("c", 3, is_dropped=True), ledger_row("b", 2), ledger_row("a", 1)]
    assert [run.run_id for run in surplus(runs, 2, "a")] == ["c"]


def test_a_run_is_read_with_the_rows_and_the_shape_of_its_tables(tmp_path: Path) -> None:
    run = read_run(published_folder(tmp_path, "run-1"))
    assert run.run_id == "run-1"
    assert run.rows == {"field_dictionary": run.rows["field_dictionary"], "follow_up_queue": 1, "left_out": 2} | {
        "scored_opportunities": 3
    }


def test_only_a_published_run_is_taken(tmp_path: Path) -> None:
    folder = published_folder(tmp_path, "run-1")
    (tmp_path / "runs" / "run-1.published").unlink()
    with pytest.raises(ConfigurationError, match="only a published run") as caught:
        read_run(folder)
    assert "a run that was not published" in str(caught.value)
    with pytest.raises(ConfigurationError, match="no such folder"):
        read_run(tmp_path / "runs" / "run-2")


def test_a_changed_file_is_not_published(tmp_path: Path) -> None:
    folder = published_folder(tmp_path, "run-1")
    (folder / "left_out.parquet").write_bytes(b"PAR1")
    with pytest.raises(EnvironmentProblem, match="changed or lost"):
        read_run(folder)


def test_a_run_under_another_contract_is_not_guessed_at(tmp_path: Path) -> None:
    tables = {"left_out": run_tables()["left_out"]}
    with pytest.raises(ConfigurationError, match="another contract") as caught:
        read_run(unaudited_folder(tmp_path, "run-1", tables, contract_version=2))
    assert "contract version 1" in str(caught.value)
    with pytest.raises(ConfigurationError, match="does not know") as caught:
        read_run(unaudited_folder(tmp_path, "run-2", {"forecasts": tables["left_out"]}))
    assert "forecasts" in str(caught.value)


def test_a_table_may_lack_columns_at_its_end_and_nowhere_else(tmp_path: Path) -> None:
    left = run_tables()["left_out"]
    older = read_run(unaudited_folder(tmp_path, "run-1", {"left_out": left.drop_columns(["run_id"])}))
    assert [column.name for column in older.tables[0].columns][-1] == "detail"
    for number, (data, place) in enumerate(
        [
            (left.drop_columns(["account_id"]), "column 3"),
            (left.append_column("more", pa.array([1, 2])), "column 9"),
            (left.select(["source_system"]), "column 2"),
            (left.set_column(6, "detail", pa.array([1, 2])), "column 7"),
        ]
    ):
        with pytest.raises(EnvironmentProblem, match="not of its contract") as caught:
            read_run(unaudited_folder(tmp_path, f"wrong-{number}", {"left_out": data}))
        assert place in str(caught.value)


def test_a_connection_string_with_a_password_is_refused_without_repeating_it() -> None:
    for url in ("postgresql://me:hunter2@db/x", "host=db password=hunter2"):
        with pytest.raises(ConfigurationError, match="holds a password") as caught:
            address(url)
        assert "hunter2" not in str(caught.value)


def test_a_connection_string_that_cannot_be_read_is_not_repeated_either(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read") as caught:
        publish_to_postgres(published_folder(tmp_path, "run-1"), "host=db hunter2", None, keep_runs=1, reader_role=None)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_messages_say_which_server_without_a_secret() -> None:
    assert address("postgresql://me@db:5433/sales") == "db:5433/sales as me"
    assert address("dbname=sales") == "local socket:5432/sales as the default user"


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (errors.DiskFull, "the disk of PostgreSQL is full"),
        (errors.OutOfMemory, "out of memory"),
        (errors.TooManyConnections, "takes no more connections"),
        (errors.ConfigurationLimitExceeded, "lacks a resource"),
        (errors.InvalidPassword, "refused the user or the password"),
        (errors.InvalidCatalogName, "no such database"),
        (errors.InsufficientPrivilege, "refused a right"),
        (errors.UndefinedObject, "does not know a role"),
        (errors.ReadOnlySqlTransaction, "read-only"),
        (errors.DependentObjectsStillExist, "stands on a view"),
        (errors.AdminShutdown, "ended the work"),
        (errors.LockNotAvailable, "readers hold a view"),
        (errors.DeadlockDetected, "give way"),
        (errors.UniqueViolation, "share its key"),
        (errors.NotNullViolation, "required value is missing"),
        (errors.CharacterNotInRepertoire, "cannot store"),
        (errors.UntranslatableCharacter, "cannot store"),
        (errors.DuplicateTable, "not ours"),
        (errors.ConnectionFailure, "connection to PostgreSQL broke"),
        (errors.SyntaxError, "refused the publication"),
    ],
)
def test_each_kind_of_error_is_said_in_words_with_its_code(kind: type[psycopg.Error], words: str) -> None:
    found = delivery_failed(kind("what the server said\nDETAIL: a row"), where="db:5432/x as me")
    assert isinstance(found, DeliveryFailed)
    assert words in str(found)
    assert f"what the server said ({kind.sqlstate})" in str(found)
    assert "a row" not in str(found)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ('FATAL:  password authentication failed for user "me"', "refused the user or the password"),
        ("fe_sendauth: no password supplied", "refused the user or the password"),
        ('FATAL:  no pg_hba.conf entry for host "10.0.0.1"', "does not let this user in from here"),
        ('FATAL:  role "me" is not permitted to log in', "does not let this user in"),
        ('FATAL:  permission denied for database "x"', "does not let this user in"),
        ('FATAL:  database "x" does not exist', "no such user or database"),
        ("Connection refused", "cannot be reached"),
        ("connection timeout expired", "cannot be reached"),
    ],
)
def test_a_connection_that_is_not_had_is_said_in_words(said: str, words: str) -> None:
    found = str(delivery_failed(psycopg.OperationalError(f"connection failed: {said}"), where="db"))
    assert words in found
    assert said in found


def test_only_what_may_pass_by_itself_is_tried_again() -> None:
    again = [errors.AdminShutdown, errors.CannotConnectNow, errors.DeadlockDetected, errors.TooManyConnections]
    assert all(is_transient(kind("x")) for kind in [*again, errors.ConnectionFailure])
    never = [errors.DiskFull, errors.InvalidPassword, errors.InsufficientPrivilege, errors.QueryCanceled]
    assert not any(is_transient(kind("x")) for kind in never)
    assert is_transient(psycopg.OperationalError("connection refused"))
    assert not is_transient(psycopg.OperationalError('FATAL: password authentication failed for user "me"'))
    assert not is_transient(psycopg.DataError("no code"))
