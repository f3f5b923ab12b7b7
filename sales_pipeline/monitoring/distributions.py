"""How far two samples of one column lie apart, and how far chance alone would put them.

Population stability index: sum of (a - e) ln(a / e) over the shares a and e of the bins. With no drift it is distributed as (1/n + 1/m) times a
chi-square variable of bins - 1 degrees of freedom, so its expectation is (bins - 1)(1/n + 1/m) (Yurdakul & Naranjo, "Statistical properties of
the population stability index", Journal of Risk Model Validation, 2020). n and m are independent draws: rows of one account hang together and count
by Kish's effective size.

Belongs here: bins and formulas. Does not belong here: which columns are compared, and with what.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from sales_pipeline.models.matrix import Floats, Indices, Kind

BINS = 10
MOST_LEVELS = 200
Values: TypeAlias = "npt.NDArray[Any] | pd.Series[Any]"
"""A column: numbers (NaN: missing) or texts."""
LEAST_COUNT = 10.0
"""Bins with fewer rows on both sides together are pooled: an empty cell would dominate the index."""


@dataclass(frozen=True)
class Bins:
    """Bins of one column: for numbers the upper edges of all but the last, for categories the values, the rest together in the last bin.

    `is_complete` says that every value of the reference has a bin of its own, so that any other value is new.
    """

    is_category: bool
    edges: tuple[float, ...] = ()
    levels: tuple[str, ...] = ()
    is_complete: bool = True

    @classmethod
    def of(cls, values: Values, kind: Kind) -> Bins:
        """Values of a category by frequency; a number's own values where they are few, else tenths of the sample."""
        if kind == "category":
            counts = _rows_by_level(values)
            ordered = sorted(counts.index, key=lambda level: (-counts[level], level))
            return cls(True, levels=tuple(ordered[:MOST_LEVELS]), is_complete=len(ordered) <= MOST_LEVELS)
        known = _numbers(values)
        distinct = np.unique(known)
        if len(distinct) > BINS:
            distinct = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1]))
        else:
            distinct = distinct[:-1]
        return cls(False, edges=tuple(float(edge) for edge in distinct))

    def counts(self, values: Values) -> Floats:
        """Rows per bin; missing ones are in none."""
        if self.is_category:
            found = _rows_by_level(values)
            number = pd.Index(self.levels, dtype=object).get_indexer(pd.Index(found.index, dtype=object))
            number = np.where(number < 0, len(self.levels), number)
            rows = found.to_numpy(dtype=np.float64)
            return np.asarray(np.bincount(number, weights=rows, minlength=len(self.levels) + 1), dtype=np.float64)
        number = np.searchsorted(np.asarray(self.edges), _numbers(values), side="left")
        return np.bincount(number, minlength=len(self.edges) + 1).astype(np.float64)

    def others(self, values: Values) -> dict[str, int]:
        """Values of a category that have no bin of their own, with their rows."""
        found = _rows_by_level(values)
        return {str(level): int(rows) for level, rows in found[~found.index.isin(self.levels)].items()}

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data."""
        return {
            "is_category": self.is_category,
            "edges": list(self.edges),
            "levels": list(self.levels),
            "is_complete": self.is_complete,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Bins:
        """The inverse of `to_dict`."""
        return cls(data["is_category"], tuple(data["edges"]), tuple(data["levels"]), data["is_complete"])


@dataclass(frozen=True)
class Shift:
    """Distance of two samples: the index, the Jensen–Shannon distance (base 2, 0–1), and what chance gives the index."""

    psi: float
    divergence: float
    by_chance: float
    bins: int

    def beyond_chance(self, alarm_rate: float) -> float:
        """The index that chance exceeds with that probability."""
        from scipy.stats import chi2

        if self.bins < 2:
            return 0.0
        return float(chi2.isf(alarm_rate, self.bins - 1)) * self.by_chance / (self.bins - 1)


def shift(expected: Floats, actual: Floats, expected_size: float, actual_size: float) -> Shift:
    """From rows per bin and the effective sizes of both samples. Shares are smoothed by half a row per bin."""
    counts = np.stack([expected, actual])
    counts = counts[:, counts.sum(axis=0) > 0]
    rare = counts.sum(axis=0) < LEAST_COUNT
    if rare.sum() > 1:
        counts = np.column_stack([counts[:, ~rare], counts[:, rare].sum(axis=1)])
    size = counts.shape[1]
    share = (counts + 0.5) / (counts + 0.5).sum(axis=1, keepdims=True)
    psi = float(((share[1] - share[0]) * np.log(share[1] / share[0])).sum())
    middle = share.mean(axis=0)
    divergence = 0.5 * float((share * np.log2(share / middle)).sum())
    by_chance = (size - 1) * (1 / max(expected_size, 1.0) + 1 / max(actual_size, 1.0))
    return Shift(psi, float(np.sqrt(max(divergence, 0.0))), by_chance, size)


def effective_size(groups: Indices) -> float:
    """Kish's effective sample size where the rows of a group (whole numbers from 0) say the same: (sum of sizes)² / sum of sizes²."""
    if not len(groups):
        return 0.0
    size = np.bincount(groups).astype(np.float64)
    return float(size.sum() ** 2 / (size**2).sum())


def unseen_share(values: Values, groups: Indices) -> float:
    """Share of further rows whose value the sample has not seen: values seen in one group alone over groups (Good, Biometrika 1953)."""
    value = pd.factorize(values)[0]
    value, groups = value[value >= 0], groups[value >= 0]
    if not len(value):
        return 0.0
    width = int(groups.max()) + 1
    groups_of_value = np.bincount(np.unique(value * width + groups) // width)
    return float((groups_of_value == 1).sum() / len(np.unique(groups)))


def share_error(first: float, first_size: float, second: float, second_size: float) -> float:
    """Standard error of the difference of two shares, were they one."""
    pooled = (first * first_size + second * second_size) / max(first_size + second_size, 1.0)
    return float(np.sqrt(pooled * (1 - pooled) * (1 / max(first_size, 1.0) + 1 / max(second_size, 1.0))))


def _rows_by_level(values: Values) -> pd.Series[int]:
    """Rows by value of a category, as text; missing ones are in none."""
    return pd.Series(values).dropna().astype(str).value_counts()


def _numbers(values: Values) -> Floats:
    numbers = np.asarray(values, dtype=np.float64)
    return numbers[np.isfinite(numbers)]
