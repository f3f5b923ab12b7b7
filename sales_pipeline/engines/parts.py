"""Parts of a table: which rows of a large table lie together in one of its files.

A part is a quarter of a year of an instant. Which part a row is in is told by the row alone, never by how many others there are or when it
came: so parts that later rows do not touch stay as they lie, byte for byte.

Belongs here: what a part is. Does not belong here: writing one (`base`), a folder of them (`lake.tables`), which table has parts (clean).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from sqlglot import exp

from sales_pipeline.contracts.model import Column
from sales_pipeline.engines.compiler import DIALECT


@dataclass(frozen=True)
class Part:
    """The rows in which a column stands at an instant of the quarter (UTC) that begins on a day; rows without a value are in no part."""

    column: str
    start: date

    @property
    def name(self) -> str:
        """Of its file, without suffix."""
        return f"{self.start.year:04}-Q{(self.start.month + 2) // 3}"

    def of(self, rows: exp.Query) -> exp.Query:
        """The rows of a query that are in it."""
        column = exp.column(self.column, quoted=True)
        held = exp.and_(column >= _instant(self.start), column.copy() < _instant(_next(self.start)))
        return exp.select("*").from_(rows.subquery("r", copy=True)).where(held)


def days_of(rows: exp.Query, column: Column) -> exp.Query:
    """The days (UTC) a query's rows stand at, each once."""
    day = exp.func("day_of", exp.column(column.name, quoted=True))
    return exp.select(exp.alias_(day, "day")).distinct().from_(rows.subquery("r", copy=True)).order_by("day")


def part_of(column: Column, day: date) -> Part:
    """The part of the rows of a day."""
    return Part(column.name, date(day.year, (day.month - 1) // 3 * 3 + 1, 1))


def _next(start: date) -> date:
    return date(start.year + (start.month > 9), (start.month + 2) % 12 + 1, 1)


def _instant(day: date) -> exp.Expr:
    return exp.cast(exp.Literal.string(f"{day.isoformat()} 00:00:00+00"), "TIMESTAMPTZ", dialect=DIALECT)
