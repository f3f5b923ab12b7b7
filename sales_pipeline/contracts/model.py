"""How a table is declared: `Column` and `Table`.

Belongs here: the declaration's own vocabulary. Does not belong here: the tables themselves (`canonical`, `published`)
and what is derived from them (`derive`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Type = Literal["string", "int64", "float64", "amount", "boolean", "date", "timestamp", "reasons"]
"""`amount` is DECIMAL(18, 2); `timestamp` is a UTC instant in microseconds; `reasons` is a list of {code, text, weight}."""


@dataclass(frozen=True)
class Column:
    """One column: what it means and what may stand in it.

    `null_means` is required where NULL is allowed. `decimals` is the number of places a float64 is rounded to when the table is
    written. `allowed`, `minimum` and `maximum` become checks.
    """

    name: str
    type: Type
    meaning: str
    unit: str = ""
    null_means: str = ""
    required: bool = False
    allowed: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    decimals: int | None = None

    @property
    def nullable(self) -> bool:
        """Whether the column may hold NULL."""
        return not self.required


@dataclass(frozen=True)
class Table:
    """A table: its grain in words, its key, its columns in order; rows are written sorted by the key (of a table in parts, in each of them)."""

    name: str
    grain: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        if len(set(names)) != len(names):
            raise ValueError(f"{self.name}: a column is declared twice")
        for part in self.key:
            if part not in names:
                raise ValueError(f"{self.name}: key column {part} is not declared")
        for column in self.columns:
            if column.nullable and not column.null_means:
                raise ValueError(f"{self.name}.{column.name}: say what NULL means or make it required")

    def column(self, name: str) -> Column:
        """The column of that name; KeyError when there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"{self.name} has no column {name}")

    @property
    def column_names(self) -> tuple[str, ...]:
        """The column names in order."""
        return tuple(column.name for column in self.columns)
