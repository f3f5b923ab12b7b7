"""Workbooks and Parquet files as text columns. Their records are rows; nothing in them can be broken the way text files are."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sales_pipeline.errors import InputRejected
from sales_pipeline.ingest import records as rec
from sales_pipeline.ingest.layout import is_footer
from sales_pipeline.ingest.reader import FileReading, column_name, empty_ledger, ledger_table, write_staged
from sales_pipeline.lake.tables import PARQUET_OPTIONS


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


def read_workbook(path: Path, sheet: str | None, *, label: str, folder: Path) -> FileReading:
    """A sheet as `reader.read_file` would give it. The header is the first row that fills more than half as many cells as rows do."""
    rows = list(workbook_rows(path, sheet, label=label))
    facts: dict[str, Any] = {"lane": "workbook", "records": len(rows), "sheets_not_read": unread_sheets(path, sheet)}
    filled = [sum(bool(cell.strip()) for cell in row) for row in rows]
    if not any(filled):
        blanks = dict.fromkeys(range(len(rows)), ("structural", rec.BLANK, None))
        numbers = pa.array(range(1, len(rows) + 1), pa.int64())
        return FileReading(
            (), None, pa.array([], pa.int64()), ledger_table(numbers, numbers, blanks), {**facts, "accepted": 0}
        )
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
    ledger = ledger_table(
        pa.array([index - header_row for index in range(len(rows))], pa.int64()),
        pa.array(range(1, len(rows) + 1), pa.int64()),
        exceptional,
    )
    staged = write_staged(columns, folder) if kept else None
    numbers = pa.array([index - header_row for index in kept], pa.int64())
    return FileReading(
        tuple(cell.strip() for cell in header), staged, numbers, ledger, {**facts, "accepted": len(kept)}
    )


def open_parquet(path: Path, *, label: str) -> pq.ParquetFile:
    """The file; InputRejected where it is none."""
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputRejected(
            "a Parquet file cannot be opened", found=str(error).splitlines()[0], where=label, fix="write it again"
        ) from error


def read_parquet(path: Path, *, label: str, folder: Path) -> FileReading:
    """A Parquet file as `reader.read_file` would give it: no header record; columns of lists or structs are left out and named in the facts."""
    source = open_parquet(path, label=label)
    fields = [field for field in source.schema_arrow if not pa.types.is_nested(field.type)]
    nested = [field.name for field in source.schema_arrow if pa.types.is_nested(field.type)]
    count = source.metadata.num_rows
    numbers = pa.array(np.arange(1, count + 1, dtype=np.int64))
    facts = {"lane": "parquet", "records": count, "accepted": count, "nested_columns_left_out": nested}
    header = tuple(field.name for field in fields)
    if not count or not fields:
        return FileReading(header, None, pa.array([], pa.int64()), empty_ledger(), facts)
    schema = pa.schema([(column_name(position), pa.string()) for position in range(len(fields))])
    staged = folder / "staged.parquet"
    options = {name: value for name, value in PARQUET_OPTIONS.items() if name != "row_group_size"}
    with pq.ParquetWriter(staged, schema, **options) as writer:
        for batch in source.iter_batches(batch_size=PARQUET_OPTIONS["row_group_size"], columns=list(header)):
            writer.write_batch(pa.record_batch([_as_text(batch.column(name)) for name in header], schema=schema))
    return FileReading(header, staged, numbers, ledger_table(numbers, pa.nulls(count, pa.int64()), {}), facts)


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
