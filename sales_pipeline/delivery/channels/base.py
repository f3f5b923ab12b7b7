"""The Protocol every way to a target keeps, and how a part's rows are told to have all come to the same end.

A channel may be killed at any moment and called again with the same parcel and journal: it goes on where it stopped, sends nothing twice that
may not be sent twice, and never reports a row as succeeded that the target did not confirm.

Belongs here: the seam. Does not belong here: any one target.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import pyarrow as pa

from sales_pipeline.contracts.delivery import DELIVERY_RESULTS
from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.delivery.journal import Journal
from sales_pipeline.delivery.parcel import Parcel, Part


class Channel(Protocol):
    """A way to a target."""

    def send(self, parcel: Parcel, journal: Journal) -> pa.Table:
        """Send the parcel, or what of it is not sent yet, and return DELIVERY_RESULTS of all its rows.

        Rows the target refused are results, not errors. Raises DeliveryFailed when the target cannot be reached, refuses the whole
        delivery or does not answer in time; what was confirmed until then is in the journal, and sending again goes on from there.
        """
        ...


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
