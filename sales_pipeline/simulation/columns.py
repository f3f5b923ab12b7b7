"""From typed arrays to the text columns of a Salesforce export: nulls become empty text, as the vendor writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sales_pipeline.simulation.dynamics import Floats, Ints

Bools = NDArray[np.bool_]


def instants(seconds: Ints) -> pa.Array:
    """`YYYY-MM-DD HH:MM:SS`, GMT; negative seconds are empty."""
    values = pa.array(np.asarray(seconds, dtype=np.int64), mask=np.asarray(seconds) < 0)
    return _text(values.cast(pa.timestamp("s")))


def dates(days: Ints) -> pa.Array:
    """`YYYY-MM-DD`; negative day numbers are empty."""
    values = pa.array(np.asarray(days, dtype=np.int32), mask=np.asarray(days) < 0)
    return _text(values.cast(pa.date32()))


def amounts(values: Floats, decimals: int = 2) -> pa.Array:
    """Fixed decimals, a point, no thousands; NaN is empty."""
    scaled = pa.array(np.round(values, decimals), mask=np.isnan(values))
    return _text(scaled.cast(pa.decimal128(18, decimals)))


def integers(values: Ints) -> pa.Array:
    """Whole numbers; -1 is empty."""
    return _text(pa.array(np.asarray(values, dtype=np.int64), mask=np.asarray(values) == -1))


def flags(values: Bools) -> pa.Array:
    """0 and 1."""
    return _text(pa.array(np.asarray(values).astype(np.int8)))


def labels(names: Sequence[str], index: Ints) -> pa.Array:
    """The name at each index; -1 is empty."""
    return pick(pa.array(list(names), pa.string()), index)


def pick(column: pa.Array, index: Ints) -> pa.Array:
    """The value of a text column at each index; -1 is empty."""
    positions = pa.array(np.asarray(index, dtype=np.int64), mask=np.asarray(index) < 0)
    return pc.fill_null(column.take(positions), "")


def codes(prefix: str, numbers: Ints, width: int, suffix: str = "") -> pa.Array:
    """`prefix` and the number (counted from 1) padded with zeros: the only names in this world."""
    padded = pc.utf8_lpad(integers(np.asarray(numbers) + 1), width=width, padding="0")
    return pc.binary_join_element_wise(prefix, padded, suffix, "")


def constant(value: str, count: int) -> pa.Array:
    """The same text in every row."""
    return pa.repeat(pa.scalar(value, pa.string()), count)


def where(condition: Bools, column: pa.Array, otherwise: pa.Array | str = "") -> pa.Array:
    """The column where the condition holds, `otherwise` elsewhere."""
    return pc.if_else(pa.array(np.asarray(condition, dtype=np.bool_)), column, otherwise)


def table(columns: Mapping[str, Any]) -> pa.Table:
    """A table of text columns in the order given."""
    return pa.table({name: _text(column) for name, column in columns.items()})


def _text(column: Any) -> pa.Array:
    text = column if pa.types.is_string(column.type) else column.cast(pa.string())
    return pc.fill_null(text, "")
