"""Parts of a table: which rows of a large table lie together in one of its files.

A part is a quarter of a year of an instant, or one text of a column. Which part a row is in is told by the row alone, never by how many others there are or when it
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
    """The rows in which a column stands at one text, or at an instant of the quarter (UTC) that begins on a day; rows without a value are in no part."""

    column: str
    value: str | date

    def __post_init__(self) -> None:
        if isinstance(self.value, str) and not (self.value.isascii() and self.value.isalnum()):
            raise ValueError(f"no file can be named after {self.column} = {self.value!r}: letters and digits alone")

    @property
    def name(self) -> str:
        """Of its file, without suffix."""
        if isinstance(self.value, str):
            return self.value
        return f"{self.value.year:04}-Q{(self.value.month + 2) // 3}"

    @property
    def is_of_one_value(self) -> bool:
        """Whether the column says the same in all of its rows."""
        return isinstance(self.value, str)

    def of(self, rows: exp.Query) -> exp.Query:
        """The rows of a query that are in it."""
        column = exp.column(self.column, quoted=True)
        if isinstance(self.value, str):
            held: exp.Expr = column.eq(exp.Literal.string(self.value))
        else:
            held = exp.and_(column >= _instant(self.value), column.copy() < _instant(_next(self.value)))
        return exp.select("*").from_(rows.subquery("r", copy=True)).where(held)


def values_of(rows: exp.Query, column: Column) -> exp.Query:
    """What tells the parts of a query's rows, each once: texts, or days, of which a quarter has several."""
    value: exp.Expr = exp.column(column.name, quoted=True)
    if column.type == "timestamp":
        value = exp.func("day_of", value)
    return exp.select(exp.alias_(value, "value")).distinct().from_(rows.subquery("r", copy=True)).order_by("value")


def part_of(column: Column, value: str | date) -> Part:
    """The part of the rows with such a value."""
    return Part(column.name, value if isinstance(value, str) else date(value.year, (value.month - 1) // 3 * 3 + 1, 1))


def _next(start: date) -> date:
    return date(start.year + (start.month > 9), (start.month + 2) % 12 + 1, 1)


def _instant(day: date) -> exp.Expr:
    return exp.cast(exp.Literal.string(f"{day.isoformat()} 00:00:00+00"), "TIMESTAMPTZ", dialect=DIALECT)
