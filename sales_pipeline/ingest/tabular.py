"""Workbooks and Parquet files as text columns. Their records are rows; nothing in them can be broken the way text files are."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sales_pipeline.errors import InputRejected
from sales_pipeline.ingest import records as rec
from sales_pipeline.ingest.cells import BATCH, TableCells, column_name
from sales_pipeline.ingest.file_ledger import FileLedger, Lines
from sales_pipeline.ingest.layout import is_footer
from sales_pipeline.ingest.reader import FileReading

_ROWS = Lines(np.zeros(1, dtype=np.int64), np.ones(1, dtype=np.int64))
"""Every row of a sheet is a line."""
_BUFFER = 1 << 20


def workbook_rows(path: Path, sheet: str | None, *, label: str) -> Iterator[list[str]]:
    """The rows of a sheet (the first where none is named) as text; InputRejected where the workbook or sheet cannot be opened."""
    import python_calamine

    try:
        workbook = python_calamine.load_workbook(str(path))
        names = workbook.sheet_names
    except (python_calamine.CalamineError, OSError, ValueError) as error:
        raise InputRejected(
            "a workbook cannot be opened", found=str(error), where=label, fix="save it again as .xlsx or CSV"
        ) from error
    if sheet is not None and sheet not in names:
        raise InputRejected(
            "the workbook has no such sheet",
            expected=sheet,
            found=", ".join(names),
            where=label,
            fix="name one of its sheets in the mapping",
        )
    if not names:
        return
    for row in workbook.get_sheet_by_name(sheet or names[0]).iter_rows():
        yield [cell_text(cell) for cell in row]


def unread_sheets(path: Path, sheet: str | None) -> list[str]:
    """The visible sheets of a workbook beside the one that is read, which may hold tables of their own."""
    import python_calamine

    with contextlib.suppress(python_calamine.CalamineError, OSError, ValueError):
        sheets = python_calamine.load_workbook(str(path)).sheets_metadata
        read = sheet or (sheets[0].name if sheets else None)
        return [
            one.name for one in sheets if one.name != read and one.visible == python_calamine.SheetVisibleEnum.Visible
        ]
    return []


def cell_text(value: Any) -> str:
    """A workbook's cell as text: whole numbers without a point, ISO days and instants, true and false."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == time() else value.isoformat(sep=" ")
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return str(value)
    return str(value)


def workbook_header(rows: Sequence[Sequence[str]]) -> tuple[int, tuple[str, ...]]:
    """Place and cells of the header among the first rows: the first that fills more than half as many cells as rows usually do."""
    filled = [sum(bool(cell.strip()) for cell in row) for row in rows]
    if not any(filled):
        return 0, ()
    usual = max(set(filled) - {0}, key=lambda count: (filled.count(count), count))
    place = next(index for index, count in enumerate(filled) if count >= max(1.0, usual * 0.6))
    width = max(index for index, cell in enumerate(rows[place]) if cell.strip()) + 1
    return place, tuple(cell.strip() for cell in rows[place][:width])


def read_workbook(path: Path, sheet: str | None, *, label: str) -> FileReading:
    """A sheet as `reader.read_file` would give it. The header is the first row that fills more than half as many cells as rows do."""
    rows = list(workbook_rows(path, sheet, label=label))
    facts: dict[str, Any] = {"lane": "workbook", "records": len(rows), "sheets_not_read": unread_sheets(path, sheet)}
    filled = [sum(bool(cell.strip()) for cell in row) for row in rows]
    if not any(filled):
        blanks = dict.fromkeys(range(len(rows)), ("structural", rec.BLANK, None))
        return FileReading((), None, FileLedger(len(rows), 1, blanks, _ROWS), {**facts, "accepted": 0})
    header_row, header = workbook_header(rows[:200])
    width = len(header)
    exceptional: dict[int, tuple[str, str, str | None]] = {}
    for index, row in enumerate(rows):
        if index < header_row:
            exceptional[index] = ("structural", rec.PREAMBLE if filled[index] else rec.BLANK, None)
        elif index == header_row:
            exceptional[index] = ("structural", rec.HEADER, None)
        elif not filled[index]:
            exceptional[index] = ("structural", rec.BLANK, None)
        elif tuple(cell.strip() for cell in row[:width]) == header:
            exceptional[index] = ("structural", rec.REPEATED_HEADER, None)
        elif any(cell.strip() for cell in row[width:]):
            exceptional[index] = ("quarantined", rec.TOO_MANY, "\t".join(row))
    last = max(index for index, count in enumerate(filled) if count)
    if width > 2 and last not in exceptional and is_footer([cell for cell in rows[last] if cell.strip()], width):
        exceptional[last] = ("structural", rec.FOOTER, "\t".join(rows[last]))
    kept = [index for index in range(len(rows)) if index not in exceptional]
    columns = [
        pa.array([rows[index][at] if at < len(rows[index]) else "" for index in kept], pa.string())
        for at in range(width)
    ]
    table = pa.table({column_name(position): column for position, column in enumerate(columns)})
    return FileReading(
        tuple(cell.strip() for cell in header),
        TableCells(table) if kept else None,
        FileLedger(len(rows), -header_row, exceptional, _ROWS),
        {**facts, "accepted": len(kept)},
    )


def open_parquet(path: Path, *, label: str) -> pq.ParquetFile:
    """The file; InputRejected where it is none."""
    try:
        # Read through a buffer: a writer may have put all its rows into one row group.
        return pq.ParquetFile(path, buffer_size=_BUFFER)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputRejected(
            "a Parquet file cannot be opened", found=str(error).splitlines()[0], where=label, fix="write it again"
        ) from error


def read_parquet(path: Path, *, label: str) -> FileReading:
    """A Parquet file as `reader.read_file` would give it: no header record; columns of lists or structs are left out and named in the facts."""
    source = open_parquet(path, label=label)
    header = tuple(field.name for field in source.schema_arrow if not pa.types.is_nested(field.type))
    nested = [field.name for field in source.schema_arrow if pa.types.is_nested(field.type)]
    count = source.metadata.num_rows
    facts = {"lane": "parquet", "records": count, "accepted": count, "nested_columns_left_out": nested}
    if not count or not header:
        return FileReading(header, None, FileLedger(0, 1, {}, None), facts)
    return FileReading(header, ParquetCells(path, header, label), FileLedger(count, 1, {}, None), facts)


@dataclass(frozen=True)
class ParquetCells:
    """Cells of a Parquet file, read anew each time."""

    path: Path
    header: tuple[str, ...]
    label: str

    def batches(self, positions: Sequence[int]) -> Iterator[pa.RecordBatch]:
        """See `cells.Cells`; values that are no text become text here."""
        names = [self.header[position] for position in positions]
        schema = pa.schema([(column_name(position), pa.string()) for position in positions])
        with open_parquet(self.path, label=self.label) as source:
            for batch in source.iter_batches(batch_size=BATCH, columns=names):
                yield pa.record_batch([_as_text(batch.column(name)) for name in names], schema=schema)


def _as_text(values: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_timestamp(values.type) and values.type.tz is not None:
        return pc.binary_join_element_wise(
            values.cast(pa.timestamp("us", "UTC")).cast(pa.timestamp("us")).cast(pa.string()), "Z", ""
        )
    if pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type):
        return values.cast(pa.string(), safe=True)
    if pa.types.is_floating(values.type):
        text = values.cast(pa.string())
        return pc.replace_substring_regex(text, r"\.0$", "")
    return values.cast(pa.string())
