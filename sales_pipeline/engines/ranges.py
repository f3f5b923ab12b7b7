"""Ranges of a key: how the embedded engine runs a model that may be cut (`base.Cut`) in parts.

Belongs here: how many ranges there are, and where one ends. Does not belong here: running a query (`duckdb`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from sqlglot import exp

ROW_BYTES = 512
"""What a row of input takes while a model runs: a wide row that waits to be sorted, its groups and hash tables. Measured with the features of 100,000
opportunities (1.9 million rows of input), which spill from 700 MB down."""
FIXED_BYTES = 256 << 20
"""What a model of a dozen joins takes however few rows there are: below it DuckDB gives up instead of spilling."""
LEAST_ROWS = 100_000
PROBES = 64
"""So many values a range are looked at to find even bounds."""


@dataclass(frozen=True)
class Range:
    """Values of a text key from `low` on and before `high`; None is open. Texts are in the order of their UTF-8 bytes, as engines sort them."""

    key: str
    low: str | None
    high: str | None

    def condition(self) -> exp.Expr:
        """Whether a row is in it."""
        column = exp.column(self.key, quoted=True)
        low = [column >= exp.Literal.string(self.low)] if self.low is not None else []
        high = [column < exp.Literal.string(self.high)] if self.high is not None else []
        return exp.and_(*low, *high)

    def rows(self, table: pa.Table) -> pa.Table:
        """The rows of a table in memory within the range."""
        column = table[self.key]
        low = pc.greater_equal(column, self.low) if self.low is not None else pc.is_valid(column)
        high = pc.less(column, self.high) if self.high is not None else pc.is_valid(column)
        return table.filter(pc.and_(low, high))


def rows_at_once(memory_limit: int) -> int:
    """Rows of input there is room for within so many bytes."""
    return max(LEAST_ROWS, (memory_limit - FIXED_BYTES) // ROW_BYTES)


def how_many(rows: int, at_once: int) -> int:
    """Ranges for so many rows of input when so many may be met at once."""
    return max(1, -(-rows // at_once))


def probe_step(rows: int, count: int) -> int:
    """Every how many rows a value of the key is looked at."""
    return max(1, rows // (count * PROBES))


def between(key: str, values: Iterable[str], count: int) -> list[Range]:
    """At most `count` ranges that share out the values evenly and together hold every text."""
    ordered = sorted(values)
    bounds = sorted({ordered[len(ordered) * number // count] for number in range(1, count)}) if ordered else []
    return [Range(key, low, high) for low, high in zip([None, *bounds], [*bounds, None], strict=True)]
