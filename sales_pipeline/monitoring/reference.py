"""What the champion's inputs looked like where it learnt: bins of each column over a year of landmarks, and how much they vary by themselves.

Inputs differ from one landmark date to the next without anything being wrong: quarters end, campaigns start, a young history grows old. So each date
of the reference is compared with the others, and the greatest distance found is what is usual.

Belongs here: making the reference from a training's features, and keeping it as data. Does not belong here: judging a day by it (`inputs`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sales_pipeline.models.matrix import DAY, Floats, Indices, Matrix, SourceColumn, codes
from sales_pipeline.monitoring.distributions import Bins, effective_size, shift, unseen_share
from sales_pipeline.monitoring.params import MonitoringParams


@dataclass(frozen=True)
class ColumnReference:
    """One column over the reference rows.

    `counts` are rows per bin, `size` and `filled_size` effective numbers of rows (all, and those with a value). `unseen_share` is the share of
    rows with a value never seen before that is to be expected. `usual_psi`, `usual_missing` are the greatest distances of one landmark
    date from the others: 0 where there are too few dates to tell.
    """

    name: str
    bins: Bins
    counts: Floats
    rows: int
    size: float
    filled_size: float
    missing_share: float
    unseen_share: float
    usual_psi: float
    usual_missing: float

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data."""
        return {**self.__dict__, "bins": self.bins.to_dict(), "counts": self.counts.tolist()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ColumnReference:
        """The inverse of `to_dict`."""
        return cls(**{**data, "bins": Bins.from_dict(data["bins"]), "counts": np.asarray(data["counts"])})


@dataclass(frozen=True)
class Reference:
    """The columns of a reference, over how many rows, and the features that were absent there."""

    columns: tuple[ColumnReference, ...]
    rows: int
    absent: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data."""
        return {
            "columns": [column.to_dict() for column in self.columns],
            "rows": self.rows,
            "absent": list(self.absent),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Reference:
        """The inverse of `to_dict`."""
        columns = tuple(ColumnReference.from_dict(column) for column in data["columns"])
        return cls(columns, data["rows"], tuple(data["absent"]))


def account_of(keys: pd.DataFrame) -> Indices:
    """The group a row hangs together with, as a whole number from 0: its account, else its opportunity."""
    return codes(keys["account_id"].fillna(keys["opportunity_id"]))


def grouped(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with their `group` (`account_of`)."""
    return rows.assign(group=account_of(rows))


def landmark_reference(
    matrix: Matrix, columns: Sequence[SourceColumn], absent: Sequence[str], params: MonitoringParams
) -> Reference:
    """The reference from landmark rows, those of the last `reference_days` before the youngest landmark; open and closed ones alike."""
    landmark = matrix.keys["as_of_us"].to_numpy(dtype=np.float64)
    recent = np.flatnonzero(landmark > landmark.max(initial=0.0) - params.reference_days * DAY).astype(np.int64)
    return plain_reference(matrix.take(recent), columns, absent, params)


def plain_reference(
    matrix: Matrix, columns: Sequence[SourceColumn], absent: Sequence[str], params: MonitoringParams
) -> Reference:
    """The reference from all rows given; of a single as-of, nothing is known of what is usual."""
    groups = account_of(matrix.keys)
    landmark = matrix.keys["as_of_us"].to_numpy(dtype=np.float64)
    size = effective_size(groups)
    dates = [rows for date in np.unique(landmark) if (rows := landmark == date).sum() >= params.min_rows]
    found = []
    for column in columns:
        values = matrix.frame[column.name]
        missing = values.isna().to_numpy()
        bins = Bins.of(values, column.kind)
        counts = bins.counts(values)
        filled = effective_size(groups[~missing])
        usual_psi = usual_missing = 0.0
        for rows in dates if len(dates) > 1 else ():
            usual_missing = max(usual_missing, abs(float(missing[rows].mean()) - float(missing[~rows].mean())))
            part = bins.counts(values[rows])
            if part.sum() >= params.min_rows and (counts - part).sum() >= params.min_rows:
                usual_psi = max(usual_psi, shift(counts - part, part, filled, filled).psi)
        found.append(
            ColumnReference(
                name=column.name,
                bins=bins,
                counts=counts,
                rows=len(values),
                size=size,
                filled_size=filled,
                missing_share=float(missing.mean()) if len(values) else 0.0,
                unseen_share=unseen_share(values, groups) if column.kind == "category" else 0.0,
                usual_psi=usual_psi,
                usual_missing=usual_missing,
            )
        )
    return Reference(tuple(found), len(matrix), tuple(sorted(absent)))
