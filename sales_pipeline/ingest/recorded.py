"""The newest instant an export recorded: over created, modified, changed and logged columns, never over due or close dates."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import sqlglot
from sqlglot import exp

from sales_pipeline.domain.time import zone
from sales_pipeline.engines.base import Engine
from sales_pipeline.engines.compiler import DIALECT
from sales_pipeline.ingest.columns import Columns, Take
from sales_pipeline.ingest.dialects.spec import TableSpec
from sales_pipeline.ingest.reader import column_name

RECORDED = ("created_at", "modified_at", "changed_at", "logged_at", "opened_at")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# ISO texts of one length and one ending sort as their instants do, so only the greatest of each need be parsed; the rest are all parsed.
_IS_ISO = """{column} LIKE '____-__-__%' AND {column} < '21' AND SUBSTRING({column}, 11, 1) IN ('', ' ', 'T')
  AND SUBSTRING({column}, 12) NOT LIKE '%-%' AND {column} NOT LIKE '%+%'"""
_GREATEST = f"SELECT MAX({{column}}) AS text FROM staged WHERE {_IS_ISO} GROUP BY LENGTH({{column}}), RIGHT({{column}}, 1) IN ('Z', 'z')"
_REST = f"SELECT DISTINCT {{column}} AS text FROM staged WHERE TRIM({{column}}) <> '' AND NOT ({_IS_ISO})"
_ALL = "SELECT DISTINCT {column} AS text FROM staged"
_PARSED = "SELECT MAX(parse_instant(text, $date_order, $zone)) AS instant FROM texts"


def recorded_positions(spec: TableSpec, columns: Columns) -> list[int]:
    """Positions of the columns of a file that record when something happened.

    Where a table of activities records nothing else, when they happened counts: they are done, unless the file says which are.
    """
    rules = [rule for name in RECORDED if isinstance(rule := spec.columns.get(name), Take)]
    found = [position for rule in rules for position in columns.used(rule)]
    if not found and spec.table == "activities" and "is_done" not in spec.columns:
        found = columns.used(spec.columns["occurred_at"]) if "occurred_at" in spec.columns else []
    return sorted(set(found))


def newest_instant(
    staged: Path, positions: Sequence[int], *, date_order: str, zone_name: str, engine: Engine
) -> datetime | None:
    """The greatest instant in these staged columns, UTC; None where none can be read."""
    newest: datetime | None = None
    for position in positions:
        for found in _newest_of(staged, column_name(position), {"date_order": date_order, "zone": zone_name}, engine):
            if found is not None and (newest is None or found > newest):
                newest = found
    return newest


def _newest_of(staged: Path, column: str, parameters: dict[str, str], engine: Engine) -> list[datetime | None]:
    greatest = engine.query(_model(_GREATEST, column), {"staged": staged}).column("text").to_pylist()
    try:
        found: list[datetime | None] = [_iso_instant(text, parameters["zone"]) for text in greatest]
        rest = engine.query(_model(_REST, column), {"staged": staged})
    except ValueError:
        # The greatest text is no instant (the 31st of a shorter month, an hour of one digit): every one has to be parsed.
        found, rest = [], engine.query(_model(_ALL, column), {"staged": staged})
    if rest.num_rows:
        found += _instants(engine.query(_model(_PARSED, column), {"texts": rest}, parameters=parameters))
    return found


def _iso_instant(text: str, zone_name: str) -> datetime:
    instant = datetime.fromisoformat(text)
    return (instant if instant.tzinfo else instant.replace(tzinfo=zone(zone_name))).astimezone(UTC)


def _model(text: str, column: str) -> exp.Query:
    """`column` is one of our own positional names."""
    tree = sqlglot.parse_one(text.format(column=column), read=DIALECT)
    assert isinstance(tree, exp.Query)
    return tree


def _instants(table: pa.Table) -> list[datetime | None]:
    """The column `instant` in UTC, through whole microseconds: no time zone library is needed."""
    micros = table.column("instant").cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_pylist()
    return [None if value is None else _EPOCH + timedelta(microseconds=value) for value in micros]
