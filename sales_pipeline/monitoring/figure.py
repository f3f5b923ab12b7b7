"""One figure of monitoring, and the table of them.

Belongs here: what a row says and when it is an alert. Does not belong here: how a figure is computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa

from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.contracts.published import MODEL_MONITORING
from sales_pipeline.domain.time import AsOf
from sales_pipeline.lake.tables import conform

Kind = Literal["input_drift", "score_drift", "abstention", "calibration", "coverage"]


@dataclass(frozen=True)
class Figure:
    """One row of MODEL_MONITORING.

    `value` None: it could not be computed, `detail` says why. `low` and `high` are an 80 % interval of the value. A limit of None is none: the
    figure is there to be read.
    """

    kind: Kind
    subject: str
    figure: str
    reference: str
    value: float | None
    detail: str
    rows: int = 0
    low: float | None = None
    high: float | None = None
    limit_low: float | None = None
    limit_high: float | None = None

    @property
    def is_alert(self) -> bool:
        """Whether the value lies outside its limits."""
        if self.value is None or not np.isfinite(self.value):
            return False
        return (self.limit_low is not None and self.value < self.limit_low) or (
            self.limit_high is not None and self.value > self.limit_high
        )


def figure_table(figures: Sequence[Figure], as_of: AsOf, run_id: str) -> pa.Table:
    """The figures under their contract. A value that is not finite becomes NULL."""

    def numbers(name: str) -> pa.Array:
        values = [getattr(one, name) for one in figures]
        return pa.array([value if value is not None and np.isfinite(value) else None for value in values], pa.float64())

    data = {
        name: [getattr(one, name) for one in figures] for name in ("kind", "subject", "figure", "reference", "detail")
    }
    columns = {name: pa.array(values, pa.string()) for name, values in data.items()} | {
        name: numbers(name) for name in ("value", "low", "high", "limit_low", "limit_high")
    }
    columns["rows"] = pa.array([one.rows for one in figures], pa.int64())
    columns["is_alert"] = pa.array([one.is_alert for one in figures], pa.bool_())
    columns["as_of"] = pa.array([as_of.instant] * len(figures), arrow_schema(MODEL_MONITORING).field("as_of").type)
    columns["run_id"] = pa.array([run_id] * len(figures), pa.string())
    return conform(pa.table(columns), MODEL_MONITORING)
