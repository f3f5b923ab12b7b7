"""The cells of one file as text, some columns at a time, batch by batch: nothing of a file is held whole.

Columns are named by their place in the header, so that no text of a user becomes an identifier.
Belongs here: where cells come from. Does not belong here: what they mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.csv as pc

from sales_pipeline.errors import InputRejected, LedgerUnbalanced

BATCH = 122_880
_BLOCK = 1 << 22
"""Bytes of a delimited file that are read at once: more would fall out of the processor's cache, fewer would be many small batches."""


class Cells(Protocol):
    """The accepted records of a file."""

    def batches(self, positions: Sequence[int]) -> Iterator[pa.RecordBatch]:
        """The columns at these places (at least one), all text, in the file's order; batches may be of any length."""
        ...


def column_name(position: int) -> str:
    """Name of the column at a place."""
    return f"c{position}"


@dataclass(frozen=True)
class TableCells:
    """Cells in memory: a table of text columns."""

    table: pa.Table

    def batches(self, positions: Sequence[int]) -> Iterator[pa.RecordBatch]:
        """See `Cells`."""
        yield from self.table.select([column_name(position) for position in positions]).to_batches(BATCH)


@dataclass(frozen=True)
class DelimitedCells:
    """Cells of a delimited UTF-8 file whose every record is plain, by Arrow's reader: nothing is sniffed, skipped or padded, no text means NULL.

    `records` is how many the scan of the file found behind its header, none of them longer than `longest` bytes. Whoever reads to the end knows
    that the reader found as many: else LedgerUnbalanced is raised.
    """

    path: Path
    width: int
    delimiter: str
    records: int
    longest: int
    label: str

    def batches(self, positions: Sequence[int]) -> Iterator[pa.RecordBatch]:
        """See `Cells`; raises InputRejected where the strict reader fails."""
        count = 0
        for batch in self._read(positions):
            count += batch.num_rows
            if count > self.records:
                break
            yield batch
        if count != self.records:
            raise LedgerUnbalanced(
                "the records of a file are not all accounted for",
                expected=f"{self.records} readable records by the scan of the file",
                found=f"{count} by the strict reader" + (" or more" if count > self.records else ""),
                where=self.label,
                fix="please report this file's shape; nothing of it was taken",
            )

    def _read(self, positions: Sequence[int]) -> Iterator[pa.RecordBatch]:
        names = [column_name(position) for position in range(self.width)]
        kept = [names[at] for at in positions]
        # The header is a record, which may span lines. A record must not span more than two blocks.
        how = pc.ReadOptions(block_size=max(_BLOCK, self.longest), column_names=names, skip_rows_after_names=1)
        shape = pc.ParseOptions(delimiter=self.delimiter, newlines_in_values=True, ignore_empty_lines=False)
        text = pc.ConvertOptions(
            column_types=dict.fromkeys(kept, pa.string()),
            include_columns=kept,
            strings_can_be_null=False,
            check_utf8=False,
        )
        try:
            with pc.open_csv(self.path, how, shape, text) as reader:
                yield from reader
        except pa.ArrowInvalid as error:
            raise InputRejected(
                "the file does not fit a strict reading", found=str(error).splitlines()[0], where=self.label
            ) from error
