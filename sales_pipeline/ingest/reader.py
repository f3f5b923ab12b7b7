"""One export file to text columns at rest and a place in the ledger for each of its records.

Two lanes for delimited text: where every record is plain, a strict reader takes the file as it is; else the readable
records are copied aside for the same strict reader and the others go to the ledger. The reader's count must be ours either way.
Workbooks and Parquet files come with records of their own. Belongs here: reading. Does not belong here: what columns mean.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from sales_pipeline.errors import LedgerUnbalanced
from sales_pipeline.ingest import records as rec
from sales_pipeline.ingest.cells import Cells, DelimitedCells, column_name
from sales_pipeline.ingest.file_ledger import FileLedger, Lines
from sales_pipeline.ingest.landing import WORKBOOK_SUFFIXES
from sales_pipeline.ingest.layout import Bytes, Layout, find_layout
from sales_pipeline.ingest.text import Encoding, settle_encoding, write_text

_HEAD = 1 << 20


@dataclass(frozen=True)
class FileReading:
    """What is known of one file, and its cells to be read as often as needed.

    `cells` gives the columns of its accepted records; None where it has none or was only counted. `ledger` tells of every record.
    `facts`: records, accepted, encoding, delimiter, lane, header, warnings.
    """

    header: tuple[str, ...]
    cells: Cells | None
    ledger: FileLedger
    facts: dict[str, Any]

    def batches(self, positions: Sequence[int]) -> Iterator[tuple[pa.Array, dict[int, pa.Array]]]:
        """The columns at these places, batch by batch, with the numbers of their records."""
        if self.cells is None:
            return
        start = 0
        for batch in self.cells.batches(positions or [0]):
            columns = {position: batch.column(column_name(position)) for position in positions}
            yield self.ledger.numbers(start, batch.num_rows), columns
            start += batch.num_rows

    def column(self, position: int) -> pa.Array:
        """One column whole; for files known to be small, and for looking at them by hand."""
        found = [columns[position] for _, columns in self.batches([position])]
        return pa.chunked_array(found, pa.string()).combine_chunks()


def settle(path: Path, configured: str | None, *, label: str) -> Encoding | None:
    """The encoding of a text file by the ladder of `text`; None for workbooks and Parquet files. InputRejected where none fits."""
    if path.suffix.lower() in (*WORKBOOK_SUFFIXES, ".parquet"):
        return None
    return settle_encoding(path, configured, label=label)


def read_header(path: Path, encoding: Encoding | None, *, label: str, sheet: str | None = None) -> tuple[str, ...]:
    """The header of a file, without reading the rest; empty for an empty file. Raises InputRejected as `read_file` does."""
    if path.suffix.lower() in WORKBOOK_SUFFIXES:
        from sales_pipeline.ingest.tabular import workbook_header, workbook_rows

        return workbook_header(list(islice(workbook_rows(path, sheet, label=label), 200)))[1]
    if path.suffix.lower() == ".parquet":
        from sales_pipeline.ingest.tabular import open_parquet

        return tuple(open_parquet(path, label=label).schema_arrow.names)
    assert encoding is not None
    layout = find_layout(_head(path, encoding))
    return layout.header if layout else ()


def read_file(
    path: Path,
    encoding: Encoding | None,
    *,
    label: str,
    sheet: str | None,
    folder: Path,
    is_used: bool = True,
) -> FileReading:
    """Find every record of one file. `folder` takes what must lie there as long as its cells are read; a file that is not used is only counted.

    Raises InputRejected for an unknown encoding, a workbook or Parquet file that cannot be opened, or a sheet that is not there.
    Reading the cells raises LedgerUnbalanced where the strict reader finds another number of records than the scan of the file.
    """
    if path.suffix.lower() in WORKBOOK_SUFFIXES:
        from sales_pipeline.ingest.tabular import read_workbook

        return read_workbook(path, sheet, label=label)
    if path.suffix.lower() == ".parquet":
        from sales_pipeline.ingest.tabular import read_parquet

        return read_parquet(path, label=label)
    assert encoding is not None
    return _read_text(path, encoding, label=label, folder=folder, is_used=is_used)


def _read_text(path: Path, encoding: Encoding, *, label: str, folder: Path, is_used: bool) -> FileReading:
    text = write_text(path, folder / "text", encoding)
    facts: dict[str, Any] = {"encoding": encoding.name, "encoding_basis": encoding.basis}
    if text.stat().st_size == 0:
        return FileReading((), None, FileLedger(0, 1, {}, None), {**facts, "lane": "empty", **_counts(0, 0)})
    with text.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
        head = data[:_HEAD]
        layout = find_layout(head[: head.rfind(b"\n") + 1] or data[: data.find(b"\n") + 1])
        if layout is None:
            ledger = _ledger_of_blanks(data)
            return FileReading((), None, ledger, {**facts, "lane": "empty", **_counts(ledger.count, 0)})
        records = rec.find_records(data, layout)
        _hold_balance(data, records, label)
        ledger = _ledger(records)
        facts |= {
            "delimiter": layout.delimiter,
            "quoting": "all" if data[layout.header_start] == ord('"') else "as needed",
            "lane": "strict" if records.is_plain else "resynchronised",
            **_counts(ledger.count, ledger.accepted),
        }
        if is_used and ledger.accepted and not records.is_plain:
            source = _copy_readable(data, layout, records, folder / "readable")
        else:
            source = text
    if source != folder / "text":
        (folder / "text").unlink(missing_ok=True)
    cells = None
    if is_used and ledger.accepted:
        width = len(layout.header)
        # Quoted anew, a record has a quote more for each of its letters and two for each cell at most.
        longest = records.longest if source == text else 2 * (records.longest + width)
        cells = DelimitedCells(source, width, layout.delimiter, ledger.accepted, longest, label)
    return FileReading(layout.header, cells, ledger, facts)


def _head(path: Path, encoding: Encoding) -> bytes:
    with path.open("rb") as handle:
        handle.seek(encoding.skip)
        raw = handle.read(_HEAD)
    text = raw.decode(encoding.name, "ignore").replace("\r\n", "\n").replace("\r", "\n")
    head = text.encode()
    return (
        head
        if len(raw) < _HEAD and head.endswith(b"\n")
        else (head if len(raw) < _HEAD else head[: head.rfind(b"\n")]) + b"\n"
    )


def _counts(records: int, accepted: int) -> dict[str, int]:
    return {"records": records, "accepted": accepted}


def _hold_balance(data: Bytes, records: rec.Records, label: str) -> None:
    """Records lie end to end from the first byte to the last: none is lost, none is counted twice."""
    bounds = np.array([(stretch.start, stretch.end) for stretch in records.stretches], dtype=np.int64)
    is_whole = bool((bounds[1:, 0] == bounds[:-1, 1]).all()) and int(bounds[0, 0]) == 0
    if not is_whole or int(bounds[-1, 1]) != len(data):
        raise LedgerUnbalanced("the records of a file do not cover it", expected=f"{len(data)} bytes", where=label)


def _copy_readable(data: Bytes, layout: Layout, records: rec.Records, target: Path) -> Path:
    """The header and the accepted records, byte for byte, but for those that must be quoted anew."""
    delimiter = layout.delimiter.encode()
    with target.open("wb") as out:
        out.write(delimiter.join(column_name(i).encode() for i in range(len(layout.header))) + b"\n")
        for start, end, cells in records.pieces():
            if cells is not None:
                out.write(delimiter.join(b'"' + cell.replace(b'"', b'""') + b'"' for cell in cells) + b"\n")
                continue
            for at in range(start, end, _HEAD):
                out.write(data[at : min(at + _HEAD, end)])
    return target


def _ledger(records: rec.Records) -> FileLedger:
    exceptional = {
        index: (
            found.outcome,
            found.reason,
            found.text if found.outcome == "quarantined" or found.reason == rec.FOOTER else None,
        )
        for index, found in records.exceptional.items()
    }
    lines = Lines(records.firsts, np.array([stretch.line for stretch in records.stretches], dtype=np.int64))
    return FileLedger(records.count, -records.header_index, exceptional, lines)


def _ledger_of_blanks(data: Bytes) -> FileLedger:
    count = data[:].count(b"\n")
    first = np.zeros(1, dtype=np.int64)
    return FileLedger(count, 1, dict.fromkeys(range(count), ("structural", rec.BLANK, None)), Lines(first, first + 1))
