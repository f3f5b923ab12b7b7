"""The cells of one file as text, some columns at a time, batch by batch: nothing of a file is held whole.

Columns are named by their place in the header, so that no text of a user becomes an identifier.
Belongs here: where cells come from. Does not belong here: what they mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import pyarrow as pa

from sales_pipeline.engines.base import CsvDialect, Engine
from sales_pipeline.errors import ConfigurationError, LedgerUnbalanced

BATCH = 122_880


class Cells(Protocol):
    """The accepted records of a file."""

    def batches(self, positions: Sequence[int]) -> Iterator[pa.RecordBatch]:
        """The columns at these places (at least one), all text, in the file's order; batches may be of any length."""
        ...


@runtime_checkable
class StrictReader(Protocol):
    """An engine that reads a delimited UTF-8 file strictly."""

    def csv_batches(
        self, source: Path, columns: Sequence[str], dialect: CsvDialect, *, keep: Sequence[str]
    ) -> Iterator[pa.RecordBatch]:
        """See `engines.duckdb`."""
        ...


def strict_reader(engine: Engine) -> StrictReader:
    """The engine as a reader of delimited files; ConfigurationError where it is none."""
    if not isinstance(engine, StrictReader):
        raise ConfigurationError(
            "this engine cannot read delimited files",
            found=type(engine).__name__,
            fix="ingest with the embedded engine",
        )
    return engine


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
    """Cells of a delimited UTF-8 file whose every record is plain, by the engine's strict reader.

    Whoever reads to the end knows that the reader found as many records as the scan of the file did: else LedgerUnbalanced is raised.
    """

    path: Path
    width: int
    dialect: CsvDialect
    engine: StrictReader
    records: int
    label: str

    def batches(self, positions: Sequence[int]) -> Iterator[pa.RecordBatch]:
        """See `Cells`; raises InputRejected where the strict reader fails."""
        count = 0
        names = [column_name(position) for position in range(self.width)]
        for batch in self.engine.csv_batches(self.path, names, self.dialect, keep=[names[at] for at in positions]):
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
