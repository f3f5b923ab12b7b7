"""What became of every record of one file, told in few words: all are accepted but for the exceptional ones.

Belongs here: records' numbers, lines and outcomes. Does not belong here: the ledger of an export at rest (`row_ledger`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

SCHEMA = pa.schema(
    [
        ("source_record", pa.int64()),
        ("line", pa.int64()),
        ("outcome", pa.string()),
        ("reason", pa.string()),
        ("value", pa.string()),
    ]
)
ACCEPTED = ("accepted", "", None)


class Repeated:
    """One value for any number of rows, spelt out once for the longest column asked for."""

    def __init__(self, value: Any, type_: pa.DataType) -> None:
        self._scalar = pa.scalar(value, type_)
        self._column = pa.array([], type_)

    def column(self, count: int) -> pa.Array:
        """So many rows of the value."""
        if len(self._column) < count:
            self._column = pa.repeat(self._scalar, count)
        return self._column.slice(0, count)


@dataclass(frozen=True)
class Lines:
    """The line every record starts at: from the record at index `firsts[i]` on, which starts at `lines[i]`, each starts one line further."""

    firsts: NDArray[np.int64]
    lines: NDArray[np.int64]

    def of(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Lines of the records at these places, 1 for the first of the file."""
        at = np.searchsorted(self.firsts, indices, side="right") - 1
        found: NDArray[np.int64] = self.lines[at] + indices - self.firsts[at]
        return found


@dataclass(frozen=True)
class FileLedger:
    """The records of one file in its order. It takes memory for exceptional records alone, however many there are.

    `first` is the number of the first record, 1 for the first data record of a file without any before it. `exceptional` says by index
    what is not accepted: (outcome, reason, value). `lines` is None where the format has none.
    """

    count: int
    first: int
    exceptional: Mapping[int, tuple[str, str, str | None]]
    lines: Lines | None

    @property
    def accepted(self) -> int:
        """How many records are accepted."""
        return self.count - len(self.exceptional)

    @cached_property
    def _places(self) -> NDArray[np.int64]:
        return np.array(sorted(self.exceptional), dtype=np.int64)

    def numbers(self, start: int = 0, count: int | None = None) -> pa.Array:
        """Numbers of the accepted records: `count` of them after the first `start`, or all that are left."""
        ordinals = np.arange(start, self.accepted if count is None else min(start + count, self.accepted))
        before = np.searchsorted(self._places - np.arange(len(self._places)), ordinals, side="right")
        return pa.array(ordinals + before + self.first)

    def rows(self, start: int = 0, count: int | None = None, usual: tuple[str, str, str | None] = ACCEPTED) -> pa.Table:
        """One row per record under SCHEMA, `count` of them from index `start` on, or all; `usual` is said of those that are not exceptional."""
        stop = self.count if count is None else min(start + count, self.count)
        indices = np.arange(start, stop)
        lines = pa.nulls(len(indices), pa.int64()) if self.lines is None else pa.array(self.lines.of(indices))
        columns: list[pa.Array] = [pa.array(indices + self.first), lines]
        places = self._places[np.searchsorted(self._places, start) : np.searchsorted(self._places, stop)]
        mask = np.zeros(len(indices), dtype=np.bool_)
        mask[places - start] = True
        for part, word in enumerate(usual):
            values = pa.repeat(pa.scalar(word, pa.string()), len(indices))
            if len(places):
                said = pa.array([self.exceptional[place][part] for place in places.tolist()], pa.string())
                values = pc.replace_with_mask(values, mask, said)
            columns.append(values)
        return pa.Table.from_arrays(columns, schema=SCHEMA)

    def quarantined(self) -> list[dict[str, Any]]:
        """The rows of quarantined records."""
        found = [place for place in self._places.tolist() if self.exceptional[place][0] == "quarantined"]
        return [row for place in found for row in self.rows(place, 1).to_pylist()]
