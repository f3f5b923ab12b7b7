"""What tests of the PostgreSQL publication ask the database."""

from __future__ import annotations

from typing import Any

import psycopg


def runs_in(connection: psycopg.Connection[Any], view: str) -> list[str]:
    """The run ids in a view."""
    rows = connection.execute(f"SELECT DISTINCT run_id FROM published.{view}").fetchall()
    return [run_id for (run_id,) in rows]


def shown(ask: Any) -> list[str]:
    """The run ids the views show."""
    return [row[0] for row in ask("SELECT DISTINCT run_id FROM published.scored_opportunities")]


def run_tables_left(ask: Any) -> set[str]:
    """The run ids that have tables."""
    return {
        row[0].split("__")[1]
        for row in ask("SELECT relname FROM pg_class WHERE relnamespace = 'runs'::regnamespace AND relispartition")
        if not row[0].endswith("_pkey")
    }
