"""Columns that every published table has, said once.

Belongs here: those columns. Does not belong here: tables (`published`, `management`, `forecast`).
"""

from __future__ import annotations

from typing import Any

from sales_pipeline.contracts.model import Column

SOURCE = Column("source_system", "string", "the CRM instance the record comes from", required=True)
AS_OF = Column(
    "as_of",
    "timestamp",
    "the instant the row holds for; nothing from at or after it was used",
    unit="UTC",
    required=True,
)
RUN = Column("run_id", "string", "the run that wrote the row", required=True)
PROBABILITY: dict[str, Any] = {"unit": "0–1", "minimum": 0.0, "maximum": 1.0, "decimals": 6}
"""What a probability's column says besides its name and meaning."""
