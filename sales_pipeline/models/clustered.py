"""Means and ratios over rows that hang together (the landmarks of an opportunity, the opportunities of an account), with standard errors.

Rows of one group count as one draw: the error of a ratio is that of the ratio estimator over groups (Cochran, Sampling Techniques, 3rd ed.,
section 6; with groups as the drawn units, section 9A), which needs no resampling and gives the same bytes everywhere.

Belongs here: these formulas. Does not belong here: what is averaged (`proof`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sales_pipeline.models.matrix import Floats, Indices

Z80 = 1.2815515655446004
"""Half width of an 80 % interval in standard errors: the 90 % quantile of the normal distribution."""


@dataclass(frozen=True)
class Estimate:
    """A value with its standard error; `groups` counts the independent draws behind it."""

    value: float
    error: float
    groups: int

    def interval(self, low: float = -np.inf, high: float = np.inf) -> tuple[float, float]:
        """80 %, held within the bounds."""
        return max(low, self.value - Z80 * self.error), min(high, self.value + Z80 * self.error)

    def log_interval(self) -> tuple[float, float] | None:
        """80 % of a ratio above 0, symmetric on the log scale; None for a ratio of 0, about which nothing can be said that way."""
        if self.value <= 0:
            return None
        width = float(np.exp(Z80 * self.error / self.value))
        return self.value / width, self.value * width


def ratio(observed: Floats, expected: Floats, weight: Floats, groups: Indices) -> Estimate:
    """Sum of weight x observed over sum of weight x expected. NaN without rows or where nothing is expected."""
    total = float((weight * expected).sum())
    if not len(observed) or total <= 0:
        return Estimate(float("nan"), float("nan"), 0)
    value = float((weight * observed).sum()) / total
    sums = group_sums(weight * (observed - value * expected), groups)
    return Estimate(value, float(np.sqrt((sums**2).sum())) / total, len(sums))


def mean(values: Floats, weight: Floats, groups: Indices) -> Estimate:
    """The weighted mean."""
    return ratio(values, np.ones(len(values)), weight, groups)


def deviation(observed: Floats, expected: Floats, weight: Floats, groups: Indices) -> float:
    """How many standard errors the observed sum lies above the expected one, were the expectation right; 0 where that is undefined."""
    sums = group_sums(weight * (observed - expected), groups)
    spread = float(np.sqrt((sums**2).sum()))
    return float(sums.sum()) / spread if spread > 0 else 0.0


def group_sums(values: Floats, groups: Indices) -> Floats:
    """One sum per group that occurs."""
    _, number = np.unique(groups, return_inverse=True)
    return np.bincount(number, weights=values).astype(np.float64) if len(values) else np.zeros(0)


def quantile(values: Floats, weight: Floats, level: float) -> float:
    """The smallest value at or below which at least `level` of the weight lies. NaN without weight."""
    order = np.argsort(values, kind="stable")
    mass = np.cumsum(weight[order])
    if not len(mass) or mass[-1] <= 0:
        return float("nan")
    return float(values[order][int(np.searchsorted(mass, level * mass[-1] * (1 - 1e-12)))])
