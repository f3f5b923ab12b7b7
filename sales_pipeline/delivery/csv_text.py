"""Published tables as CSV text that CRMs import: typed values in one fixed notation, nothing escaped or guessed.

UTF-8 without BOM, lines end in LF, comma, quotes only where needed, an empty cell for NULL; dates `2026-06-30`, instants
`2026-06-30T22:00:00.000Z`, amounts and probabilities as fixed-point numbers with a full stop, booleans `true` and `false`, reasons
as `text (+0.42); text (+0.10)`.

Belongs here: notation. Does not belong here: whether the values may be published (audit).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from sales_pipeline.contracts.model import Column, Table
from sales_pipeline.domain.time import AsOf


def csv_bytes(data: pa.Table, contract: Table) -> bytes:
    """The table as CSV, header included, columns and rows in the table's order."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(contract.column_names)
    columns = [_cells(data.column(column.name), column) for column in contract.columns]
    writer.writerows(zip(*columns, strict=True))
    return buffer.getvalue().encode("utf-8")


def _cells(values: pa.ChunkedArray, column: Column) -> list[str]:
    write = _writer(column)
    return ["" if value is None else write(value) for value in values.to_pylist()]


def _writer(column: Column) -> Callable[[Any], str]:
    if column.type == "float64":
        places = 6 if column.decimals is None else column.decimals
        return lambda value: f"{value:.{places}f}"
    if column.type == "boolean":
        return lambda value: "true" if value else "false"
    if column.type == "timestamp":
        return lambda value: AsOf(value).instant.strftime("%Y-%m-%dT%H:%M:%S.") + f"{value.microsecond // 1000:03d}Z"
    if column.type == "date":
        return lambda value: str(value.isoformat())
    if column.type == "amount":
        return lambda value: f"{value:f}"
    if column.type == "reasons":
        return lambda value: "; ".join(f"{reason['text']} ({reason['weight']:+.2f})" for reason in value)
    return str
