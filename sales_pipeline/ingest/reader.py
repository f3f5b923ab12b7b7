"""One export file to text columns at rest and a place in the ledger for each of its records.

Two lanes for delimited text: where every record is plain, the engine's strict reader takes the file as it is; else the readable
records are copied aside for the same strict reader and the others go to the ledger. The reader's count must be ours either way.
Workbooks and Parquet files come with records of their own. Belongs here: reading. Does not belong here: what columns mean.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sales_pipeline.engines.base import CsvDialect, Engine
from sales_pipeline.errors import ConfigurationError, LedgerUnbalanced
from sales_pipeline.ingest import records as rec
from sales_pipeline.ingest.landing import WORKBOOK_SUFFIXES
from sales_pipeline.ingest.layout import Bytes, Layout, find_layout
from sales_pipeline.ingest.text import Encoding, settle_encoding, write_text
from sales_pipeline.lake.tables import PARQUET_OPTIONS

Wanted: TypeAlias = Callable[[tuple[str, ...]], Iterable[int]]
"""Which columns of a file are wanted, by their places in its header."""

_HEAD = 1 << 20
_BATCH = 122_880


@runtime_checkable
class StrictReader(Protocol):
    """An engine that reads a delimited UTF-8 file strictly into Parquet and returns the number of its data records."""

    def csv_to_parquet(
        self,
        source: Path,
        output: Path,
        columns: Sequence[str],
        dialect: CsvDialect,
        *,
        keep: Sequence[str] | None = None,
    ) -> int:
        """See `engines.duckdb`."""
        ...


@dataclass(frozen=True)
class FileReading:
    """What was read of one file.

    `staged` is a Parquet file with the wanted text columns, named `c0`, `c1`… by their place in `header`, one row per accepted record, whose
    number stands at the same place of `numbers`; None where the file has no record or was only counted. `ledger` has one row per record: source_record,
    line, outcome, reason, value. `facts`: records, accepted, encoding, delimiter, lane, header, warnings.
    """

    header: tuple[str, ...]
    staged: Path | None
    numbers: pa.Array
    ledger: pa.Table
    facts: dict[str, Any]


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
    """Name of a staged column: positions instead of headers, so that no text of a user becomes an identifier."""
    return f"c{position}"


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
    engine: StrictReader,
    folder: Path,
    wanted: Wanted | None,
) -> FileReading:
    """Read one file whole. `folder` takes the staged columns that `wanted` picks from the header; without it records are only counted.

    Raises InputRejected for an unknown encoding, a workbook or Parquet file that cannot be opened, or a sheet that is not there, and
    LedgerUnbalanced where the strict reader found another number of records than the scan of the file.
    """
    if path.suffix.lower() in WORKBOOK_SUFFIXES:
        from sales_pipeline.ingest.tabular import read_workbook

        return read_workbook(path, sheet, label=label, folder=folder)
    if path.suffix.lower() == ".parquet":
        from sales_pipeline.ingest.tabular import read_parquet

        return read_parquet(path, label=label, folder=folder)
    assert encoding is not None
    return _read_text(path, encoding, label=label, engine=engine, folder=folder, wanted=wanted)


def _read_text(
    path: Path, encoding: Encoding, *, label: str, engine: StrictReader, folder: Path, wanted: Wanted | None
) -> FileReading:
    text = write_text(path, folder / "text", encoding)
    facts: dict[str, Any] = {"encoding": encoding.name, "encoding_basis": encoding.basis}
    if text.stat().st_size == 0:
        return FileReading(
            (), None, pa.array([], pa.int64()), empty_ledger(), {**facts, "lane": "empty", **_counts(0, 0)}
        )
    with text.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
        head = data[:_HEAD]
        layout = find_layout(head[: head.rfind(b"\n") + 1] or data[: data.find(b"\n") + 1])
        if layout is None:
            ledger = _ledger_of_blanks(data)
            return FileReading(
                (), None, pa.array([], pa.int64()), ledger, {**facts, "lane": "empty", **_counts(ledger.num_rows, 0)}
            )
        records = rec.find_records(data, layout)
        accepted = int(records.accepted.sum())
        facts |= {
            "delimiter": layout.delimiter,
            "quoting": "all" if data[layout.header_start] == ord('"') else "as needed",
            "lane": "strict" if records.is_plain else "resynchronised",
            **_counts(len(records.starts), accepted),
        }
        _hold_balance(data, records, label)
        staged: Path | None = None
        if wanted is not None and accepted:
            staged = folder / "staged.parquet"
            source = text if records.is_plain else _copy_readable(data, layout, records, folder / "readable")
            names = [column_name(position) for position in range(len(layout.header))]
            kept = [names[position] for position in sorted(wanted(layout.header))] or names[:1]
            count = engine.csv_to_parquet(source, staged, names, CsvDialect(delimiter=layout.delimiter), keep=kept)
            if count != accepted:
                raise LedgerUnbalanced(
                    "the records of a file are not all accounted for",
                    expected=f"{accepted} readable records by the scan of the file",
                    found=f"{count} by the strict reader",
                    where=label,
                    fix="please report this file's shape; nothing of it was taken",
                )
        ledger = _ledger(records)
    for left in (folder / "readable", folder / "text"):
        left.unlink(missing_ok=True)
    return FileReading(layout.header, staged, pa.array(records.numbers[records.accepted]), ledger, facts)


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
    is_whole = bool((records.starts[1:] == records.ends[:-1]).all()) and int(records.starts[0]) == 0
    if not is_whole or int(records.ends[-1]) != len(data):
        raise LedgerUnbalanced("the records of a file do not cover it", expected=f"{len(data)} bytes", where=label)


def _copy_readable(data: Bytes, layout: Layout, records: rec.Records, target: Path) -> Path:
    """The header and the accepted records, byte for byte, but for those that must be quoted anew."""
    delimiter = layout.delimiter.encode()
    kept = np.flatnonzero(records.accepted)
    anew = np.array(sorted(records.rewritten), dtype=np.int64)
    with target.open("wb") as out:
        out.write(delimiter.join(column_name(i).encode() for i in range(len(layout.header))) + b"\n")
        plain = kept[~np.isin(kept, anew)]
        pieces: list[tuple[int, int, tuple[bytes, ...] | None]] = [
            (int(records.starts[index]), int(records.ends[index]), records.rewritten[index]) for index in anew.tolist()
        ]
        if len(plain):
            breaks = np.flatnonzero(np.diff(plain) != 1)
            firsts = plain[np.concatenate(([0], breaks + 1))]
            lasts = plain[np.concatenate((breaks, [len(plain) - 1]))]
            pieces += [(int(a), int(b), None) for a, b in zip(records.starts[firsts], records.ends[lasts], strict=True)]
        for start, end, cells in sorted(pieces, key=lambda piece: piece[0]):
            if cells is None:
                out.write(data[start:end])
            else:
                out.write(delimiter.join(b'"' + cell.replace(b'"', b'""') + b'"' for cell in cells) + b"\n")
    return target


LEDGER_SCHEMA = pa.schema(
    [
        ("source_record", pa.int64()),
        ("line", pa.int64()),
        ("outcome", pa.string()),
        ("reason", pa.string()),
        ("value", pa.string()),
    ]
)


def empty_ledger() -> pa.Table:
    """A ledger of no record."""
    return LEDGER_SCHEMA.empty_table()


def ledger_table(
    numbers: pa.Array, lines: pa.Array, exceptional: Mapping[int, tuple[str, str, str | None]]
) -> pa.Table:
    """The ledger of a file: everything accepted but what stands in `exceptional` by index as (outcome, reason, value)."""
    count = len(numbers)
    columns: list[pa.Array] = [numbers, lines]
    places = np.array(sorted(exceptional), dtype=np.int64)
    mask = np.zeros(count, dtype=np.bool_)
    mask[places] = True
    for part, usual in enumerate(("accepted", "", None)):
        values = pa.repeat(pa.scalar(usual, pa.string()), count)
        if len(places):
            values = pc.replace_with_mask(
                values, mask, pa.array([exceptional[i][part] for i in places.tolist()], pa.string())
            )
        columns.append(values)
    return pa.Table.from_arrays(columns, schema=LEDGER_SCHEMA)


def _ledger(records: rec.Records) -> pa.Table:
    exceptional = {
        index: (
            found.outcome,
            found.reason,
            found.text if found.outcome == "quarantined" or found.reason == rec.FOOTER else None,
        )
        for index, found in records.exceptional.items()
    }
    return ledger_table(pa.array(records.numbers), pa.array(records.lines), exceptional)


def _ledger_of_blanks(data: Bytes) -> pa.Table:
    count = data[:].count(b"\n")
    return ledger_table(
        pa.array(range(1, count + 1), pa.int64()),
        pa.array(range(1, count + 1), pa.int64()),
        dict.fromkeys(range(count), ("structural", rec.BLANK, None)),
    )


def staged_batches(reading: FileReading, positions: Sequence[int]) -> Iterator[tuple[pa.Array, dict[int, pa.Array]]]:
    """The staged columns at these positions, batch by batch, with the record numbers of the rows."""
    if reading.staged is None:
        return
    source = pq.ParquetFile(reading.staged)
    names = [column_name(position) for position in positions] or source.schema_arrow.names[:1]
    start = 0
    for batch in source.iter_batches(batch_size=_BATCH, columns=names):
        columns = {position: batch.column(column_name(position)) for position in positions}
        yield reading.numbers.slice(start, batch.num_rows), columns
        start += batch.num_rows


def write_staged(columns: Sequence[pa.Array | pa.ChunkedArray], folder: Path) -> Path:
    """Text columns as a staged file."""
    path = folder / "staged.parquet"
    pq.write_table(
        pa.table({column_name(position): column for position, column in enumerate(columns)}), path, **PARQUET_OPTIONS
    )
    return path
