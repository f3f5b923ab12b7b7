"""Medians of times of which some are still going on.

Belongs here: the estimator. Does not belong here: which times are counted (`team`, `sql/`).
"""

from __future__ import annotations

import numpy as np

from sales_pipeline.models.matrix import Floats, Indices


def median_time(lengths: Floats, ended: Indices, going: Indices) -> float | None:
    """The median of times by the product-limit estimator, None where fewer than half are known to have ended.

    Parameters
    ----------
    lengths
        Times, in any order and unit; a length may occur several times.
    ended, going
        How many ended at that length, and how many have lasted so long and go on (censored: at risk up to and including their length).

    Source: Kaplan & Meier, "Nonparametric estimation from incomplete observations", 1958; the median is the first time at which the estimate is at
    most one half.

    >>> median_time(np.array([1.0, 2.0, 9.0]), np.array([1, 1, 0]), np.array([0, 0, 1]))
    2.0
    """
    order = np.argsort(lengths, kind="stable")
    times, group = np.unique(lengths[order], return_inverse=True)
    events = np.bincount(group, weights=ended[order], minlength=len(times))
    leaving = events + np.bincount(group, weights=going[order], minlength=len(times))
    at_risk = leaving[::-1].cumsum()[::-1]
    with np.errstate(invalid="ignore", divide="ignore"):
        survival = np.cumprod(np.where(at_risk > 0, 1.0 - events / at_risk, 1.0))
    # A half reached by rounding alone is reached.
    reached = np.flatnonzero(survival <= 0.5 + 1e-12)
    return float(times[reached[0]]) if len(reached) else None
