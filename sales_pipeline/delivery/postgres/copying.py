"""A table's file as text for COPY, a batch of rows at a time, and what was counted on the way.

The text is CSV as the server reads it: text always quoted, so that an empty text ("") and NULL (nothing) stay apart, and `\\.` or a line end
in a text is only text (PostgreSQL, "COPY", CSV format); numbers in their shortest form that reads back the same; instants in UTC.

Belongs here: Arrow to text. Does not belong here: the connection.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Context, Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from sales_pipeline.contracts.model import Column

BATCH_ROWS = 8_192
_EXACT = Context(prec=76)


@dataclass
class Tally:
    """What went out: rows, values that are not NULL per column, the sum of each amount (exact)."""

    rows: int = 0
    values: dict[str, int] = field(default_factory=dict)
    sums: dict[str, Decimal] = field(default_factory=dict)


def copy_text(
    path: Path, columns: tuple[Column, ...], tally: Tally, batch_rows: int = BATCH_ROWS
) -> Iterator[pa.Buffer]:
    """The rows of a Parquet file as CSV without a header, batch by batch; `tally` grows with each."""
    tally.values = {column.name: 0 for column in columns}
    tally.sums = {column.name: Decimal(0) for column in columns if column.type == "amount"}
    options = pyarrow.csv.WriteOptions(include_header=False, quoting_style="needed")
    for batch in pq.ParquetFile(path, pre_buffer=False).iter_batches(batch_rows):
        tally.rows += batch.num_rows
        for column, values in zip(columns, batch.columns, strict=True):
            tally.values[column.name] += len(values) - values.null_count
            if column.type == "amount":
                tally.sums[column.name] = _EXACT.add(tally.sums[column.name], pc.sum(values).as_py() or Decimal(0))
        written = [json_texts(v) if c.type == "reasons" else v for c, v in zip(columns, batch.columns, strict=True)]
        sink = pa.BufferOutputStream()
        pyarrow.csv.write_csv(pa.record_batch(written, names=[column.name for column in columns]), sink, options)
        yield sink.getvalue()


def json_texts(reasons: pa.ListArray) -> pa.Array:
    """Lists of {code, text, weight} as JSON text, one per row; NULL stays NULL. A weight that is no finite number becomes null."""
    flat = reasons.flatten()
    code, text = (_quoted(flat.field(number)) for number in (0, 1))
    weight = flat.field(2)
    number = pc.if_else(pc.is_finite(weight), weight, None).cast(pa.string()).fill_null("null")
    objects = pc.binary_join_element_wise('{"code":', code, ',"text":', text, ',"weight":', number, "}", "")
    # `flatten` leaves out what NULL lists hide, so the lists are laid anew over what is left.
    lengths = pc.list_value_length(reasons).fill_null(0)
    offsets = pa.concat_arrays([pa.array([0], pa.int32()), pc.cumulative_sum(lengths).cast(pa.int32())])
    joined = pc.binary_join(pa.ListArray.from_arrays(offsets, objects), ",")
    texts = pc.binary_join_element_wise("[", joined, "]", "")
    return pc.if_else(pc.is_valid(reasons), texts, None)


def _quoted(texts: pa.Array) -> pa.Array:
    """Texts as JSON strings. The same few texts come again and again, so each is written once."""
    kinds = texts.dictionary_encode()
    written = pa.array([json.dumps(value, ensure_ascii=False) for value in kinds.dictionary.to_pylist()], pa.string())
    return written.take(kinds.indices).fill_null("null")
