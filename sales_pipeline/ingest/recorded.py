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
from sales_pipeline.ingest.columns import Columns, FirstOf, Take
from sales_pipeline.ingest.dialects.spec import TableSpec
from sales_pipeline.ingest.reader import column_name

RECORDED = ("created_at", "modified_at", "changed_at", "logged_at", "opened_at")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# ISO texts of one length and one ending sort as their instants do, so of the usual forms only the greatest need be parsed.
_FORMS = ((10, ""), (19, ""), (20, "Z"), (23, ""), (24, "Z"))
_PARSED = "SELECT MAX(parse_instant(text, $date_order, $zone)) AS instant FROM texts"


def recorded_positions(spec: TableSpec, columns: Columns) -> list[int]:
    """Positions of the columns of a file that record when something happened.

    Where a table of activities records nothing else, when they happened counts: they are done, unless the file says which are.
    """
    rules = [rule for name in RECORDED if isinstance(rule := spec.columns.get(name), Take | FirstOf)]
    found = [position for rule in rules for position in columns.used(rule)]
    if not found and spec.table == "activities" and "is_done" not in spec.columns:
        found = columns.used(spec.columns["occurred_at"]) if "occurred_at" in spec.columns else []
    return sorted(set(found))


def newest_instant(
    staged: Path, positions: Sequence[int], *, date_order: str, zone_name: str, engine: Engine
) -> datetime | None:
    """The greatest instant in these staged columns, UTC; None where none can be read."""
    names = [column_name(position) for position in positions]
    if not names:
        return None
    found: list[datetime | None] = []
    parameters = {"date_order": date_order, "zone": zone_name}
    greatest = engine.query(_greatest(names), {"staged": staged}).to_pylist()[0]
    for name in names:
        try:
            usual = [greatest[f"{name}_{length}"] for length, _ in _FORMS]
            found += [_iso_instant(text, zone_name) for text in usual if text is not None]
            is_rest = greatest[f"{name}_rest"] > 0
        except ValueError:
            # The greatest text is no instant, such as the 31st of a shorter month: all have to be parsed.
            is_rest = True
        if is_rest:
            texts = engine.query(
                exp.select(exp.alias_(_column(name), "text")).distinct().from_("staged"), {"staged": staged}
            )
            found += _instants(engine.query(_model(_PARSED), {"texts": texts}, parameters=parameters))
    return max((instant for instant in found if instant is not None), default=None)


def _greatest(names: Sequence[str]) -> exp.Query:
    """Per column: the greatest text of each usual form, and how many texts have another form."""
    selected: list[exp.Expr] = []
    for name in names:
        text, length = _column(name), exp.Length(this=_column(name))
        is_iso = exp.and_(exp.Like(this=text.copy(), expression=exp.Literal.string("____-__-__%")), text.copy() < "21")
        forms = []
        for size, ending in _FORMS:
            form = exp.and_(is_iso.copy(), length.copy().eq(size))
            if ending:
                form = exp.and_(form, exp.Like(this=text.copy(), expression=exp.Literal.string(f"%{ending}")))
            forms.append(form)
            value = exp.Case().when(form.copy(), text.copy())
            selected.append(exp.alias_(exp.Max(this=value), f"{name}_{size}"))
        is_other = exp.and_(text.copy().neq(""), exp.not_(exp.or_(*forms)))
        selected.append(exp.alias_(exp.Count(this=exp.Case().when(is_other, exp.Literal.number(1))), f"{name}_rest"))
    return exp.select(*selected).from_("staged")


def _column(name: str) -> exp.Column:
    """One of our own positional names."""
    return exp.column(name, quoted=True)


def _iso_instant(text: str, zone_name: str) -> datetime:
    instant = datetime.fromisoformat(text)
    return (instant if instant.tzinfo else instant.replace(tzinfo=zone(zone_name))).astimezone(UTC)


def _model(text: str) -> exp.Query:
    tree = sqlglot.parse_one(text, read=DIALECT)
    assert isinstance(tree, exp.Query)
    return tree


def _instants(table: pa.Table) -> list[datetime | None]:
    """The column `instant` in UTC, through whole microseconds: no time zone library is needed."""
    micros = table.column("instant").cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_pylist()
    return [None if value is None else _EPOCH + timedelta(microseconds=value) for value in micros]
