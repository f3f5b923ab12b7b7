"""The Protocol every way to a target keeps.

A channel may be killed at any moment and called again with the same parcel and journal: it goes on where it stopped, sends nothing twice that
may not be sent twice, and never reports a row as succeeded that the target did not confirm.

Belongs here: the seam. Does not belong here: any one target.
"""

from __future__ import annotations

from typing import Protocol

import pyarrow as pa

from sales_pipeline.delivery.journal import Journal
from sales_pipeline.delivery.parcel import Parcel


class Channel(Protocol):
    """A way to a target."""

    def send(self, parcel: Parcel, journal: Journal) -> pa.Table:
        """Send the parcel, or what of it is not sent yet, and return DELIVERY_RESULTS of all its rows.

        Rows the target refused are results, not errors. Raises DeliveryFailed when the target cannot be reached, refuses the whole
        delivery or does not answer in time; what was confirmed until then is in the journal, and sending again goes on from there.
        """
        ...
