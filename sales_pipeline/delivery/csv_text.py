"""Published tables as CSV text that CRMs import: typed values in one fixed notation, nothing escaped or guessed.

UTF-8 without BOM, lines end in LF, comma, quotes only where needed, an empty cell for NULL; dates `2026-06-30`, instants
`2026-06-30T22:00:00.000Z`, amounts and probabilities as fixed-point numbers with a full stop, booleans `true` and `false`, reasons
as `text (+0.42); text (+0.10)`.

Belongs here: notation. Does not belong here: whether the values may be published (audit).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sales_pipeline.contracts.model import Column, Table

_ROWS = 100_000
_MILLISECONDS = pa.timestamp("ms", tz="UTC")


def csv_bytes(data: pa.Table, contract: Table) -> bytes:
    """The table as CSV, header included, columns and rows in the table's order."""
    return b"".join(csv_pieces(data, contract))


def csv_pieces(data: pa.Table, contract: Table) -> Iterator[bytes]:
    """The same, some rows at a time. Each distinct value of a column is written once: most of them repeat."""
    yield ",".join(contract.column_names).encode() + b"\n"
    for start in range(0, data.num_rows, _ROWS):
        rows = data.slice(start, _ROWS)
        cells = [_cells(rows.column(column.name), column) for column in contract.columns]
        lines = pc.binary_join_element_wise(*cells, ",")
        (whole,) = pc.binary_join(pa.ListArray.from_arrays(pa.array([0, len(lines)], pa.int32()), lines), "\n")
        yield whole.as_buffer().to_pybytes()
        yield b"\n"


def _cells(values: pa.ChunkedArray, column: Column) -> pa.Array:
    if column.type == "reasons":
        values = pa.chunked_array([_reasons(chunk) for chunk in values.chunks], pa.string())
    coded = values.combine_chunks().dictionary_encode()
    if values.type == pa.string():
        texts = _quoted(coded.dictionary)
    elif column.type == "timestamp":
        texts = _instants(coded.dictionary)
    elif column.type == "amount":
        texts = coded.dictionary.cast(pa.string())
    else:
        write = _writer(column)
        texts = pa.array([write(value) for value in coded.dictionary.to_pylist()], pa.string())
    return pc.fill_null(texts.take(coded.indices), "")


def _reasons(lists: pa.ListArray) -> pa.Array:
    """Each list as one text; NULL for NULL."""
    reasons = lists.flatten()
    weights = reasons.field("weight").dictionary_encode()
    signed = pa.array([f" ({weight:+.2f})" for weight in weights.dictionary.to_pylist()], pa.string())
    texts = pc.binary_join_element_wise(reasons.field("text"), signed.take(weights.indices), "")
    ends = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False).cumsum()
    joined = pa.ListArray.from_arrays(pa.array([0, *ends.tolist()], pa.int32()), texts)
    return pc.if_else(pc.is_valid(lists), pc.binary_join(joined, "; "), pa.scalar(None, pa.string()))


def _instants(instants: pa.Array) -> pa.Array:
    """Each instant to the millisecond; written field by field a format takes ten times as long."""
    texts = (
        pc.floor_temporal(instants, unit="millisecond").cast(_MILLISECONDS).cast(pa.timestamp("ms")).cast(pa.string())
    )
    return pc.binary_join_element_wise(pc.utf8_replace_slice(texts, 10, 11, "T"), "Z", "")


def _quoted(texts: pa.Array) -> pa.Array:
    """In quotes where a text would not be one cell otherwise."""
    quoted = pc.binary_join_element_wise('"', pc.replace_substring(texts, '"', '""'), '"', "")
    return pc.if_else(pc.match_substring_regex(texts, '[,"\\r\\n]'), quoted, texts)


def _writer(column: Column) -> Callable[[Any], str]:
    if column.type == "float64":
        places = 6 if column.decimals is None else column.decimals
        return lambda value: f"{value:.{places}f}"
    if column.type == "boolean":
        return lambda value: "true" if value else "false"
    if column.type == "date":
        return lambda value: str(value.isoformat())
    return str
