"""Publication into PostgreSQL when something goes wrong, each against a real server: nothing half-done, nothing done twice, no secret told."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from sales_pipeline.delivery.postgres import connection as connecting
from sales_pipeline.delivery.postgres import publish as publishing
from sales_pipeline.delivery.postgres.publish import publish_to_postgres
from sales_pipeline.errors import DeliveryFailed, DeliveryUnderWay
from tests.support.postgres_server import Server, missing
from tests.support.postgres_victim import POINTS
from tests.support.published_lake import published_folder, unaudited_folder
from tests.support.published_run import run_tables
from tests.support.scored_rows import AS_OF

pytestmark = [pytest.mark.postgres, pytest.mark.skipif(missing() is not None, reason=missing() or "")]

ROOT = Path(__file__).parents[2]
STANDS = "what was shown before still stands"


def tables_in_runs(ask: Any) -> list[str]:
    return [
        name
        for (name,) in ask(
            "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace('runs') AND relispartition AND relkind = 'r'"
        )
    ]


def is_whole(ask: Any, run_id: str) -> bool:
    """Whether the run's four tables, its ledger row and nothing else are there."""
    assert ask("SELECT run_id FROM runs.ledger") == [(run_id,)]
    assert ask("SELECT run_id, is_shown FROM published.run_ledger") == [(run_id, True)]
    assert len(tables_in_runs(ask)) == 4
    others = ask(
        "SELECT relname FROM pg_class WHERE relnamespace = 'runs'::regnamespace AND relkind = 'r' AND NOT relispartition"
    )
    assert sorted(others) == [("current_run",), ("ledger",)]
    return ask("SELECT count(*), min(run_id), max(run_id) FROM published.scored_opportunities") == [(3, run_id, run_id)]


def wait_until(is_so: Any) -> None:
    for _ in range(200):
        if is_so():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come about in ten seconds")


# Killed


@pytest.mark.parametrize("point", POINTS)
def test_a_publisher_that_was_killed_leaves_all_or_nothing_and_running_again_ends_with_one_run(
    postgres: Server, database: str, tmp_path: Path, publish: Any, ask: Any, point: str
) -> None:
    folder = published_folder(tmp_path, "run-1")
    command = [sys.executable, "-m", "tests.support.postgres_victim", str(folder), postgres.url(database)]
    result = subprocess.run([*command, postgres.password, point], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == -9, result.stderr
    wait_until(lambda: ask("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'sales-pipeline'") == [(0,)])
    assert len(tables_in_runs(ask)) == (4 if point == "after_commit" else 0)
    done = publish(folder)
    assert (done.is_new, done.is_current) == (point != "after_commit", True)
    assert is_whole(ask, "run-1")
    assert publish(folder).is_new is False


STEPS = {
    "before COPY": ("tables", "copy_in"),
    "after COPY": ("tables", "add_key"),
    "before commit": ("ledger", "show"),
    "after commit": (None, "drop_old_runs"),
}


def break_once(monkeypatch: pytest.MonkeyPatch, ask: Any, step: str) -> list[int]:
    """Let the server end our connection the first time this step is come to; the list grows with each time."""
    module, name = STEPS[step]
    place = getattr(publishing, module) if module else publishing
    real = getattr(place, name)
    times: list[int] = []

    def broken(*arguments: Any) -> Any:
        times.append(len(times))
        if len(times) == 1:
            ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'sales-pipeline'")
        return real(*arguments)

    monkeypatch.setattr(place, name, broken)
    return times


@pytest.mark.parametrize("step", ["before COPY", "after COPY", "before commit"])
def test_a_connection_that_breaks_is_an_error_and_nothing_is_there(
    tmp_path: Path, publish: Any, ask: Any, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    break_once(monkeypatch, ask, step)
    with pytest.raises(DeliveryFailed, match=STANDS):
        publish(published_folder(tmp_path, "run-1"))
    assert tables_in_runs(ask) == []


@pytest.mark.parametrize("step", ["before COPY", "after COPY", "before commit"])
def test_a_connection_that_breaks_is_made_anew_while_attempts_are_left(
    tmp_path: Path, publish: Any, ask: Any, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.setattr(connecting, "FIRST_PAUSE_SECONDS", 0.01)
    times = break_once(monkeypatch, ask, step)
    done = publish(published_folder(tmp_path, "run-1"), attempts=2)
    assert len(times) > 1
    assert done.is_new
    assert is_whole(ask, "run-1")


def test_a_connection_that_breaks_after_the_commit_loses_only_the_retention(
    tmp_path: Path, publish: Any, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_once(monkeypatch, ask, "after commit")
    done = publish(published_folder(tmp_path, "run-1"))
    assert (done.is_new, done.is_current) == (True, True)
    assert done.postponed_because is not None
    assert is_whole(ask, "run-1")


# Two at once


def test_a_second_publisher_is_told_when_the_first_does_not_finish_in_time(
    postgres: Server, database: str, tmp_path: Path, publish: Any, ask: Any
) -> None:
    with postgres.connect(database) as first, first.transaction():
        first.execute("SELECT pg_advisory_xact_lock(%s)", [publishing.ledger.LOCK_KEY])
        with pytest.raises(DeliveryUnderWay, match="another publication to this database is under way"):
            publish(published_folder(tmp_path, "run-1"), timeout_seconds=0.2)
    assert ask("SELECT to_regnamespace('runs')") == [(None,)]


@pytest.mark.parametrize("are_the_same", [True, False])
def test_publishers_at_the_same_time_come_one_after_the_other(
    tmp_path: Path, publish: Any, ask: Any, are_the_same: bool
) -> None:
    folders = [published_folder(tmp_path, "run-1"), published_folder(tmp_path, "run-2", day=1)]
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda folder: found.append(publish(folder)), args=(folders[0 if are_the_same else n],))
        for n in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(done.is_new for done in found) == ([False, True] if are_the_same else [True, True])
    assert ask("SELECT count(*) FROM runs.ledger") == [(1 if are_the_same else 2,)]
    shown = ask("SELECT DISTINCT run_id FROM published.left_out")
    assert shown == [("run-1" if are_the_same else "run-2",)]


# Refused


def refusal(folder: Path, url: str, password: str | None) -> str:
    with pytest.raises(DeliveryFailed) as caught:
        publish_to_postgres(folder, url, password, keep_runs=1, reader_role=None, timeout_seconds=5, attempts=1)
    told = "".join(traceback.format_exception(caught.value))
    if password:
        assert password not in told
    return str(caught.value)


def test_a_wrong_password_is_told_without_it_and_not_tried_again(
    postgres: Server, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connecting.time, "sleep", lambda _: pytest.fail("it was tried again"))
    folder = published_folder(tmp_path, "run-1")
    for password in ("hunter2-is-wrong", None):
        with pytest.raises(DeliveryFailed, match="refused the user or the password") as caught:
            publish_to_postgres(folder, postgres.url(database), password, keep_runs=1, reader_role=None, attempts=3)
        assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_an_unreachable_server_an_unknown_database_and_an_unknown_user_are_told(
    postgres: Server, database: str, tmp_path: Path
) -> None:
    folder = published_folder(tmp_path, "run-1")
    said = refusal(folder, "postgresql://me@127.0.0.1:1/x", "hunter2")
    assert "PostgreSQL cannot be reached" in said
    assert "127.0.0.1:1/x as me" in said
    assert "refused the user" in refusal(folder, postgres.url(database, user="nobody_here"), "hunter2")
    said = refusal(folder, postgres.url("no_such_database"), postgres.password)
    assert "no such user or database" in said
    assert "no_such_database" in said


def test_a_server_that_takes_the_connection_and_never_answers_is_given_up(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"host=127.0.0.1 port={silent.getsockname()[1]}"
        folder = published_folder(tmp_path, "run-1")
        with pytest.raises(DeliveryFailed, match="cannot be reached") as caught:
            publish_to_postgres(folder, url, "hunter2", keep_runs=1, reader_role=None, timeout_seconds=2)
        assert "timeout" in str(caught.value)


def test_a_database_of_another_encoding_is_told(postgres: Server, tmp_path: Path, ask: Any, database: str) -> None:
    ask(f"CREATE DATABASE {database}_latin ENCODING 'LATIN1' TEMPLATE template0")
    tables = {"left_out": left({"detail": "\u4e2d"}, {})}
    said = refusal(unaudited_folder(tmp_path, "run-1", tables), postgres.url(f"{database}_latin"), postgres.password)
    assert "a text holds a character the database cannot store" in said


def test_a_database_that_is_read_only_is_told(postgres: Server, database: str, tmp_path: Path, ask: Any) -> None:
    ask(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    said = refusal(published_folder(tmp_path, "run-1"), postgres.url(database), postgres.password)
    assert "the database is read-only" in said


def test_an_unreachable_server_is_tried_again_with_growing_pauses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(connecting.time, "sleep", pauses.append)
    with pytest.raises(DeliveryFailed, match="cannot be reached"):
        publish_to_postgres(
            published_folder(tmp_path, "run-1"),
            "host=127.0.0.1 port=1",
            None,
            keep_runs=1,
            reader_role=None,
            attempts=4,
        )
    assert pauses == [0.5, 1.0, 2.0]


def test_a_user_without_rights_is_told_what_to_do(postgres: Server, database: str, tmp_path: Path, ask: Any) -> None:
    ask("CREATE ROLE no_rights LOGIN PASSWORD 'hunter2'")
    said = refusal(published_folder(tmp_path, "run-1"), postgres.url(database, user="no_rights"), "hunter2")
    assert "refused a right the publication needs" in said
    assert "sales-pipeline publish roles" in said


def test_a_reader_role_that_is_not_there_stops_the_publication(tmp_path: Path, publish: Any, ask: Any) -> None:
    with pytest.raises(DeliveryFailed, match="does not know a role"):
        publish(published_folder(tmp_path, "run-1"), reader_role="not_there")
    assert tables_in_runs(ask) == []


RAISING = """
CREATE FUNCTION raise_it() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT count(*) FROM pg_class WHERE relname LIKE 'left_out__run-2%') > 0 THEN
        RAISE EXCEPTION 'could not extend file "base/1": No space left on device' USING ERRCODE = '{code}';
    END IF;
END $$
"""


@pytest.mark.parametrize(
    ("code", "words"), [("53100", "the disk of PostgreSQL is full"), ("53400", "PostgreSQL lacks a resource")]
)
def test_a_server_without_room_in_the_middle_keeps_the_run_before(
    tmp_path: Path, publish: Any, ask: Any, code: str, words: str
) -> None:
    publish(published_folder(tmp_path, "run-1"))
    ask(RAISING.format(code=code))
    ask("CREATE EVENT TRIGGER full_disk ON ddl_command_end EXECUTE FUNCTION raise_it()")
    second = published_folder(tmp_path, "run-2", day=1)
    with pytest.raises(DeliveryFailed, match=words) as caught:
        publish(second)
    assert f"No space left on device ({code})" in str(caught.value)
    assert is_whole(ask, "run-1")
    ask("DROP EVENT TRIGGER full_disk")
    assert publish(second).is_current


def test_a_server_that_ends_a_transaction_for_its_own_limits_is_told(
    postgres: Server, database: str, tmp_path: Path, ask: Any
) -> None:
    ask(f"ALTER DATABASE {database} SET statement_timeout = '1ms'")
    with pytest.raises(DeliveryFailed, match="ended the work") as caught:
        publish_to_postgres(
            published_folder(tmp_path, "run-1"),
            postgres.url(database),
            postgres.password,
            keep_runs=1,
            reader_role=None,
        )
    assert "57014" in str(caught.value)


def test_a_name_that_somebody_else_uses_is_left_alone(tmp_path: Path, publish: Any, ask: Any) -> None:
    publish(published_folder(tmp_path, "run-1"))
    ask('CREATE TABLE runs."left_out__run-2" (theirs integer)')
    with pytest.raises(DeliveryFailed, match="not ours has a name the publication needs"):
        publish(published_folder(tmp_path, "run-2", day=1))
    assert ask('SELECT * FROM runs."left_out__run-2"') == []


# Data that no audit should have let through


def left(*changes: dict[str, Any]) -> pa.Table:
    data = run_tables()["left_out"]
    rows = [{**row, **change} for row, change in zip(data.to_pylist(), changes, strict=True)]
    return pa.Table.from_pylist(rows, schema=pa.schema([field.with_nullable(True) for field in data.schema]))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (left({"opportunity_id": "c"}, {}), "two rows of a table share its key"),
        (left({"detail": None}, {}), "a required value is missing"),
        (left({"detail": "zero \x00 byte"}, {}), "a text holds a character the database cannot store"),
        (left({"run_id": "run-9"}, {}), "expected: 0 rows of another run or as-of\n  found: 1 rows of another run"),
        (left({"as_of": AS_OF.instant.replace(year=2020)}, {}), "found: 1 rows of another run or as-of"),
    ],
)
def test_rows_that_break_the_contract_are_not_published(
    tmp_path: Path, publish: Any, ask: Any, data: pa.Table, words: str
) -> None:
    with pytest.raises(DeliveryFailed) as caught:
        publish(unaudited_folder(tmp_path, "run-1", {"left_out": data}))
    assert words in str(caught.value)
    assert "Better follow-ups take" not in str(caught.value)
    assert tables_in_runs(ask) == []


def test_a_file_with_other_rows_than_its_manifest_says_is_not_published(tmp_path: Path, publish: Any, ask: Any) -> None:
    with pytest.raises(DeliveryFailed, match="the audit in PostgreSQL failed") as caught:
        publish(unaudited_folder(tmp_path, "run-1", {"left_out": run_tables()["left_out"]}, rows={"left_out": 3}))
    assert "expected: 3 rows" in str(caught.value)
    assert "found: 2 rows" in str(caught.value)
    assert tables_in_runs(ask) == []


TAMPERING = """
CREATE FUNCTION tamper() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$;
CREATE FUNCTION add_it() RETURNS event_trigger LANGUAGE plpgsql AS $$
DECLARE made record;
BEGIN
    FOR made IN SELECT * FROM pg_event_trigger_ddl_commands() WHERE object_identity LIKE 'runs."scored_opportunities__run-1"%' LOOP
        EXECUTE format('CREATE TRIGGER t BEFORE INSERT ON %s FOR EACH ROW EXECUTE FUNCTION public.tamper()', made.object_identity);
    END LOOP;
END $$;
CREATE EVENT TRIGGER adds_it ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION add_it();
"""


@pytest.mark.parametrize(
    ("body", "expected", "found"),
    [
        ("IF new.opportunity_id = 'b' THEN RETURN NULL; END IF; RETURN new;", "3 rows", "2 rows"),
        ("new.grade := NULL; RETURN new;", "2 values of grade", "0 values of grade"),
        ("new.amount := new.amount + 0.01; RETURN new;", "3000.00 sum of amount", "3000.03 sum of amount"),
    ],
)
def test_a_database_that_changes_what_is_written_fails_the_audit(
    tmp_path: Path, publish: Any, ask: Any, body: str, expected: str, found: str
) -> None:
    ask(TAMPERING.format(body=body))
    with pytest.raises(DeliveryFailed, match="the audit in PostgreSQL failed") as caught:
        publish(published_folder(tmp_path, "run-1"))
    assert expected in str(caught.value)
    assert found in str(caught.value)
    assert tables_in_runs(ask) == []
