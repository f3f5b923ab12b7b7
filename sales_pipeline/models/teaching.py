"""Training rows as arrays, and how rows of one opportunity are kept from counting as many or from standing on both sides.

Belongs here: splitting by opportunity, which rows count as a landmark of their own, medians of weighted values. Does not belong here: windows of
time (`splits`), anything fitted (`candidates`, `boosting`, `machines`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from sales_pipeline.models.matrix import Floats, Indices, codes

HELD_SHARE = 0.2
"""Of the training opportunities: what is held out of a fit to choose or to calibrate by."""
MIN_HELD_ROWS = 200


@dataclass(frozen=True)
class TeachingRows:
    """Training rows: matrix, target, weight, and the opportunity of each as a number."""

    x: Floats
    y: Floats
    weight: Floats
    opportunity: Indices

    def take(self, rows: Indices) -> TeachingRows:
        """Those rows, in that order."""
        return TeachingRows(self.x[rows], self.y[rows], self.weight[rows], self.opportunity[rows])


def split_by_opportunity(rows: TeachingRows, seed: int) -> tuple[Indices, Indices] | None:
    """(taught, held) rows, no opportunity on both sides; None where either side would be too small or of one class."""
    count = int(rows.opportunity.max(initial=-1)) + 1
    is_held = np.zeros(count, dtype=bool)
    is_held[np.random.default_rng(seed).permutation(count)[: int(HELD_SHARE * count)]] = True
    held = is_held[rows.opportunity]
    taught, judged = np.flatnonzero(~held).astype(np.int64), np.flatnonzero(held).astype(np.int64)
    for part in (taught, judged):
        if len(part) < MIN_HELD_ROWS or len(np.unique(rows.y[part])) < 2:
            return None
    return taught, judged


def first_of_landmark(keys: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """True for the first row of each (opportunity, landmark).

    A landmark of an opportunity still open stands twice in a sample, won and lost, with weights that add up to 1 (`expected_outcomes`). Keys without a
    landmark (flat tables) have one per row.
    """
    if "as_of_us" not in keys:
        return np.ones(len(keys), dtype=bool)
    opportunity, landmark = codes(keys["opportunity_id"]), codes(keys["as_of_us"])
    pair = opportunity * (int(landmark.max(initial=0)) + 1) + landmark
    first = np.zeros(len(pair), dtype=bool)
    first[np.unique(pair, return_index=True)[1]] = True
    return first


def weighted_median(values: Floats, weight: Floats) -> float:
    """The mean of the lower and the upper weighted median; the usual median where all weights are equal."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weight[order])
    half, last = 0.5 * float(reached[-1]), len(values) - 1
    held = 1e-9 * half
    low = int(np.searchsorted(reached, half - held, side="left"))
    high = int(np.searchsorted(reached, half + held, side="right"))
    return float(0.5 * (values[order[min(low, last)]] + values[order[min(high, last)]]))
