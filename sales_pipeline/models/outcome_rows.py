"""REPLAY rows as arrays: what was said, by whom, and what came.

Belongs here: reading the table's columns. Does not belong here: figures (`proof`, `proof_values`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from sales_pipeline.models.matrix import Floats, Indices, codes

MODEL = "model"
COMPARED = {
    MODEL: "win_probability",
    "challenger": "challenger_probability",
    "base_rate": "base_rate",
    "stage_rate": "stage_rate",
    "crm_probability": "crm_probability",
}
"""Who is compared, and the REPLAY column that holds what was said."""


@dataclass(frozen=True)
class Outcomes:
    """REPLAY rows as arrays, in the table's order. instants are microseconds; `said` holds COMPARED (NaN: nothing).

    `won` is 1 or 0, NaN for rows still open at the end; `outcome` has for those the chance of winning that is to be expected of them.
    """

    opportunity: Indices
    groups: Indices
    as_of_us: Floats
    won: Floats
    outcome: Floats
    closed_us: Floats
    weight: Floats
    said: Mapping[str, Floats]

    @property
    def judged(self) -> Indices:
        """Rows with an outcome (seen, or to be expected), a weight and a probability of the model."""
        known = np.isfinite(self.outcome) & (self.weight > 0) & np.isfinite(self.said[MODEL])
        return np.flatnonzero(known).astype(np.int64)


def outcomes_of(rows: pa.Table) -> Outcomes:
    """The arrays of REPLAY rows."""
    opportunity = rows.column("opportunity_id").to_numpy(zero_copy_only=False)
    account = rows.column("account_id").to_numpy(zero_copy_only=False)
    unit = np.array(
        [f"o{o}" if a is None else f"a{a}" for o, a in zip(opportunity, account, strict=True)], dtype=object
    )
    return Outcomes(
        opportunity=codes(opportunity),
        groups=codes(unit),
        as_of_us=instants(rows, "as_of"),
        won=numbers(rows, "is_won"),
        outcome=numbers(rows, "outcome"),
        closed_us=instants(rows, "closed_at"),
        weight=numbers(rows, "weight"),
        said={name: numbers(rows, column) for name, column in COMPARED.items()},
    )


def numbers(rows: pa.Table, column: str) -> Floats:
    """A column as float64; NaN for NULL."""
    return np.asarray(rows.column(column).cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)


def instants(rows: pa.Table, column: str) -> Floats:
    """A timestamp column in microseconds; NaN for NULL."""
    values = rows.column(column).cast(pa.int64()).cast(pa.float64())
    return np.asarray(values.to_numpy(zero_copy_only=False), dtype=np.float64)


def days(rows: pa.Table, column: str) -> Floats:
    """A date column in days since 1970-01-01; NaN for NULL."""
    values = rows.column(column).cast(pa.int32()).cast(pa.float64())
    return np.asarray(values.to_numpy(zero_copy_only=False), dtype=np.float64)
