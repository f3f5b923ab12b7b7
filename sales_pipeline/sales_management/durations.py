"""Medians of times of which some are still going on.

Belongs here: the estimator. Does not belong here: which times are counted (`team`, `sql/`).
"""

from __future__ import annotations

import itertools

import numpy as np

from sales_pipeline.models.matrix import Floats, Indices


def median_times(groups: Indices, lengths: Floats, ended: Indices, going: Indices) -> Floats:
    """The median of the times of each group by the product-limit estimator, NaN where fewer than half are known to have ended.

    Parameters
    ----------
    groups
        The group of each row, numbered from 0; each number up to the highest is met.
    lengths
        Times, in any order and unit; a length may occur several times.
    ended, going
        How many ended at that length, and how many have lasted so long and go on (censored: at risk up to and including their length).

    Source: Kaplan & Meier, "Nonparametric estimation from incomplete observations", 1958; the median is the first time at which the estimate is at
    most one half.

    >>> median_times(np.zeros(3, dtype=int), np.array([1.0, 2.0, 9.0]), np.array([1, 1, 0]), np.array([0, 0, 1]))
    array([2.])
    """
    if not len(groups):
        return np.zeros(0)
    order = np.lexsort((lengths, groups))
    group, times = groups[order], lengths[order]
    is_new = np.concatenate([[True], (np.diff(group) != 0) | (np.diff(times) != 0)])
    starts = np.flatnonzero(is_new)
    events = np.add.reduceat(ended[order], starts)
    leaving = events + np.add.reduceat(going[order], starts)
    group, times = group[starts], times[starts]
    edges = np.searchsorted(group, np.arange(group[-1] + 2))
    return np.array(
        [_median(times[start:end], events[start:end], leaving[start:end]) for start, end in itertools.pairwise(edges)]
    )


def _median(times: Floats, events: Indices, leaving: Indices) -> float:
    """Of different times, rising."""
    at_risk = leaving[::-1].cumsum()[::-1]
    survival = np.cumprod(1.0 - events / np.maximum(at_risk, 1))
    # A half reached by rounding alone is reached.
    reached = np.flatnonzero(survival <= 0.5 + 1e-12)
    return float(times[reached[0]]) if len(reached) else np.nan
