"""Which runs keep their tables, and what is dropped another time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import errors

from tests.support.postgres_asked import run_tables_left, runs_in, shown
from tests.support.postgres_server import missing
from tests.support.published_lake import published_folder

pytestmark = [pytest.mark.postgres, pytest.mark.skipif(missing() is not None, reason=missing() or "")]


def test_the_newest_runs_are_kept_and_older_ones_dropped(tmp_path: Path, publish: Any, ask: Any) -> None:
    for number in range(4):
        done = publish(published_folder(tmp_path, f"run-{number}", day=number), keep_runs=2)
    assert (done.dropped_runs, done.postponed_runs) == (("run-1",), ())
    assert run_tables_left(ask) == {"run-2", "run-3"}
    ledger = ask("SELECT run_id, dropped_at IS NULL FROM published.run_ledger ORDER BY 1")
    assert ledger == [("run-0", False), ("run-1", False), ("run-2", True), ("run-3", True)]


def test_the_run_that_is_shown_is_never_dropped(tmp_path: Path, publish: Any, ask: Any) -> None:
    old = published_folder(tmp_path, "run-0")
    publish(old)
    publish(published_folder(tmp_path, "run-1", day=1))
    done = publish(old, make_current=True, keep_runs=1)
    assert done.dropped_runs == ()
    assert run_tables_left(ask) == {"run-0", "run-1"}
    assert shown(ask) == ["run-0"]


def test_a_run_that_was_dropped_is_left_so_unless_it_is_to_be_shown(tmp_path: Path, publish: Any, ask: Any) -> None:
    old = published_folder(tmp_path, "run-0")
    publish(old)
    publish(published_folder(tmp_path, "run-1", day=1), keep_runs=1)
    done = publish(old, keep_runs=1)
    assert (done.is_new, done.is_current) == (False, False)
    assert run_tables_left(ask) == {"run-1"}
    done = publish(old, keep_runs=1, make_current=True)
    assert (done.is_new, done.is_current) == (True, True)
    assert shown(ask) == ["run-0"]
    assert ask("SELECT count(*) FROM runs.ledger") == [(2,)]


def test_a_reader_does_not_hold_up_publication_and_what_it_reads_is_dropped_another_time(
    tmp_path: Path, publish: Any, ask: Any, reader: psycopg.Connection[Any]
) -> None:
    publish(published_folder(tmp_path, "run-0"))
    assert runs_in(reader, "left_out") == ["run-0"]
    done = publish(published_folder(tmp_path, "run-1", day=1), keep_runs=1)
    assert (done.is_new, done.is_current) == (True, True)
    assert (done.dropped_runs, done.postponed_runs) == ((), ("run-0",))
    assert "readers" in (done.postponed_because or "")
    assert runs_in(reader, "left_out") == ["run-0"]
    reader.rollback()
    done = publish(published_folder(tmp_path, "run-2", day=2), keep_runs=1)
    assert (done.dropped_runs, done.postponed_runs, done.postponed_because) == (("run-0", "run-1"), (), None)
    assert run_tables_left(ask) == {"run-2"}


def test_a_transaction_whose_run_was_dropped_is_told_and_sees_no_empty_table(
    tmp_path: Path, publish: Any, reader: psycopg.Connection[Any]
) -> None:
    publish(published_folder(tmp_path, "run-0"))
    reader.execute("SELECT count(*) FROM published.run_ledger")
    assert publish(published_folder(tmp_path, "run-1", day=1), keep_runs=1).dropped_runs == ("run-0",)
    with pytest.raises(errors.SerializationFailure, match="cannot show run run-0"):
        runs_in(reader, "left_out")
    reader.rollback()
    assert runs_in(reader, "left_out") == ["run-1"]


def test_what_goes_wrong_in_retention_leaves_the_publication_standing(tmp_path: Path, publish: Any, ask: Any) -> None:
    publish(published_folder(tmp_path, "run-0"))
    ask('CREATE VIEW public.mine AS SELECT opportunity_id FROM runs."left_out__run-0"')
    done = publish(published_folder(tmp_path, "run-1", day=1), keep_runs=1)
    assert done.is_current
    assert done.postponed_runs == ("run-0",)
    assert "2BP01" in (done.postponed_because or "")
    assert shown(ask) == ["run-1"]
