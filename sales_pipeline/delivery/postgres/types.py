"""Contracts in PostgreSQL's terms: the type of a column, the shape of a table, names that fit.

Belongs here: pure derivations. Does not belong here: SQL statements (`tables`, `views`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from sales_pipeline.contracts.model import Column
from sales_pipeline.domain.identifiers import digest_of
from sales_pipeline.domain.money import AMOUNT_PRECISION, AMOUNT_SCALE

MAX_NAME_BYTES = 63
"""Longer identifiers are cut by the server (PostgreSQL, "Identifiers and Key Words")."""

_TYPES: dict[str, str] = {
    "string": "text",
    "int64": "bigint",
    "float64": "double precision",
    "amount": f"numeric({AMOUNT_PRECISION},{AMOUNT_SCALE})",
    "boolean": "boolean",
    "date": "date",
    "timestamp": "timestamp with time zone",
    "reasons": "jsonb",
}
_PLAIN = re.compile(r"[A-Za-z0-9_.-]+")


def column_type(column: Column) -> str:
    """The column's type, spelled as the server's `format_type` spells it."""
    return _TYPES[column.type]


def shape_of(columns: Sequence[Column]) -> str:
    """A digest of names and types in order: tables of one shape can stand behind one view."""
    return digest_of([[column.name, column_type(column)] for column in columns])[:10]


def run_table_name(table: str, run_id: str) -> str:
    """The table in schema `runs` that holds a published table of a run: `<table>__<run_id>`.

    Where that does not fit 63 bytes or holds anything but letters, digits, `_`, `.` and `-`, a digest stands at its end.
    """
    return _name(table, run_id)


def shape_table_name(table: str, shape: str) -> str:
    """The partitioned table in schema `runs` that holds all runs of a published table that have this shape: `<table>__all_<shape>`."""
    return _name(table, f"all_{shape}")


def _name(table: str, rest: str) -> str:
    name = f"{table}__{rest}"
    if _PLAIN.fullmatch(name) and len(name) <= MAX_NAME_BYTES:
        return name
    plain = re.sub(r"[^A-Za-z0-9_.-]", "_", table)[:40]
    return f"{plain}__{digest_of([table, rest])[:16]}"
