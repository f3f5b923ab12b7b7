"""DELIVERY_RESULTS put together.

Belongs here: making that table from keys and ends. Does not belong here: reading files (`read`), sending (`channels`).
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from sales_pipeline.contracts.delivery import DELIVERY_RESULTS
from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.delivery.parcel import Part


def results_table(
    part: Part,
    keys: Sequence[str] | pa.ChunkedArray | pa.Array,
    outcome: str,
    *,
    remote_ids: Sequence[str | None] | None = None,
    codes: Sequence[str | None] | None = None,
    messages: Sequence[str | None] | None = None,
) -> pa.Table:
    """DELIVERY_RESULTS of rows of a part that came to the same end."""
    count = len(keys)
    columns = {
        "part": pa.array([part.name] * count, pa.string()),
        "key": keys if isinstance(keys, pa.ChunkedArray | pa.Array) else pa.array(keys, pa.string()),
        "outcome": pa.array([outcome] * count, pa.string()),
        "remote_id": pa.array(remote_ids if remote_ids is not None else [None] * count, pa.string()),
        "code": pa.array(codes if codes is not None else [None] * count, pa.string()),
        "message": pa.array(messages if messages is not None else [None] * count, pa.string()),
    }
    return pa.table(columns, schema=arrow_schema(DELIVERY_RESULTS))


def joined(tables: Sequence[pa.Table]) -> pa.Table:
    """DELIVERY_RESULTS of several parts as one table; of none, an empty one."""
    return pa.concat_tables([arrow_schema(DELIVERY_RESULTS).empty_table(), *tables])
