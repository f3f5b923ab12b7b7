"""Columns and tables that come, change and go between runs: views, grants and what others built on them."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from psycopg import errors

from sales_pipeline.contracts.model import Column, Table
from sales_pipeline.contracts.published import LEFT_OUT, PUBLISHED_TABLES
from sales_pipeline.errors import DeliveryFailed
from tests.support.postgres_asked import runs_in, shown
from tests.support.postgres_server import missing
from tests.support.published_lake import published_folder

pytestmark = [pytest.mark.postgres, pytest.mark.skipif(missing() is not None, reason=missing() or "")]


def with_columns(*columns: Column) -> Table:
    return replace(LEFT_OUT, columns=columns)


def grown(tables: dict[str, pa.Table]) -> dict[str, pa.Table]:
    left = tables["left_out"]
    return {**tables, "left_out": left.append_column("added", pa.array(["x"] * left.num_rows))}


ADDED = Column("added", "string", "came later", null_means="not known")


def test_a_column_at_the_end_keeps_grants_and_views_of_others(
    tmp_path: Path, publish: Any, ask: Any, reader: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = published_folder(tmp_path, "run-1")
    publish(first)
    ask("CREATE ROLE r_grown NOLOGIN")
    ask("GRANT SELECT ON published.left_out TO r_grown")
    ask("CREATE VIEW public.mine AS SELECT opportunity_id FROM published.left_out")
    reader.execute("SELECT count(*) FROM published.run_ledger")
    monkeypatch.setitem(PUBLISHED_TABLES, "left_out", with_columns(*LEFT_OUT.columns, ADDED))
    assert publish(published_folder(tmp_path, "run-2", day=1, change=grown)).is_current
    assert ask("SELECT DISTINCT run_id, added FROM published.left_out") == [("run-2", "x")]
    assert ask("SELECT has_table_privilege('r_grown', 'published.left_out', 'SELECT')") == [(True,)]
    assert len(ask("SELECT * FROM public.mine")) == 2
    # A transaction from before reads what did not change, and is told to begin again for what did.
    assert runs_in(reader, "scored_opportunities") == ["run-1"]
    with pytest.raises(errors.SerializationFailure, match="cannot show run run-1"):
        runs_in(reader, "left_out")
    # The older run, shown again, has the column no more; a view that stands on it is not dropped for that.
    with pytest.raises(DeliveryFailed, match="stands on a view"):
        publish(first, make_current=True)
    assert shown(ask) == ["run-2"]
    ask("DROP VIEW public.mine")
    assert publish(first, make_current=True).is_current
    assert "added" not in [
        row[0] for row in ask("SELECT attname FROM pg_attribute WHERE attrelid = 'published.left_out'::regclass")
    ]


def test_a_type_that_changes_keeps_the_grants(
    tmp_path: Path, publish: Any, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(published_folder(tmp_path, "run-1"))
    ask("CREATE ROLE r_typed NOLOGIN")
    ask("GRANT SELECT ON published.left_out TO r_typed WITH GRANT OPTION")
    ask("GRANT SELECT (reason, detail) ON published.left_out TO PUBLIC")
    number = Column("detail", "int64", "now a number", required=True)
    columns = tuple(number if column.name == "detail" else column for column in LEFT_OUT.columns)
    monkeypatch.setitem(PUBLISHED_TABLES, "left_out", with_columns(*columns))

    def renumbered(tables: dict[str, pa.Table]) -> dict[str, pa.Table]:
        left = tables["left_out"]
        place = left.schema.get_field_index("detail")
        return {**tables, "left_out": left.set_column(place, "detail", pa.array([7] * left.num_rows))}

    publish(published_folder(tmp_path, "run-2", day=1, change=renumbered))
    assert ask("SELECT DISTINCT detail FROM published.left_out") == [(7,)]
    assert ask("SELECT has_table_privilege('r_typed', 'published.left_out', 'SELECT WITH GRANT OPTION')") == [(True,)]
    assert ask(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'published.left_out'::regclass AND attacl::text LIKE '{=r/%' ORDER BY 1"
    ) == [("detail",), ("reason",)]


def test_a_table_that_is_gone_takes_its_view_with_it_and_comes_back(tmp_path: Path, publish: Any, ask: Any) -> None:
    publish(published_folder(tmp_path, "run-1"))

    def without(tables: dict[str, pa.Table]) -> dict[str, pa.Table]:
        return {name: data for name, data in tables.items() if name != "left_out"}

    assert publish(published_folder(tmp_path, "run-2", day=1, change=without)).is_current
    assert ask("SELECT to_regclass('published.left_out')") == [(None,)]
    publish(published_folder(tmp_path, "run-3", day=2))
    assert len(ask("SELECT * FROM published.left_out")) == 2


def test_a_view_that_somebody_dropped_is_made_again_by_the_next_run(tmp_path: Path, publish: Any, ask: Any) -> None:
    publish(published_folder(tmp_path, "run-1"))
    ask("DROP VIEW published.left_out")
    publish(published_folder(tmp_path, "run-2", day=1))
    assert len(ask("SELECT * FROM published.left_out")) == 2


def test_a_reader_who_holds_a_view_that_has_to_change_is_waited_for_and_never_killed(
    tmp_path: Path, publish: Any, ask: Any, reader: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(published_folder(tmp_path, "run-1"))
    runs_in(reader, "left_out")
    monkeypatch.setitem(PUBLISHED_TABLES, "left_out", with_columns(*LEFT_OUT.columns, ADDED))
    second = published_folder(tmp_path, "run-2", day=1, change=grown)
    with pytest.raises(DeliveryFailed, match="readers hold a view that has to change"):
        publish(second, timeout_seconds=1.0)
    assert shown(ask) == ["run-1"]
    assert ask("SELECT count(*) FROM runs.ledger") == [(1,)]
    assert runs_in(reader, "left_out") == ["run-1"]
    timer = threading.Timer(1.0, reader.rollback)
    timer.start()
    assert publish(second).is_current
    timer.join()


def test_tables_of_shapes_no_run_has_any_more_are_dropped(
    tmp_path: Path, publish: Any, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(published_folder(tmp_path, "run-0"))
    monkeypatch.setitem(PUBLISHED_TABLES, "left_out", with_columns(*LEFT_OUT.columns, ADDED))
    publish(published_folder(tmp_path, "run-1", day=1, change=grown), keep_runs=1)
    assert ask("SELECT count(*) FROM pg_class WHERE relname LIKE 'left_out__all_%'") == [(1,)]
