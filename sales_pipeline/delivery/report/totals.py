"""What open opportunities will bring together: expected value, wins, and an 80 % interval of what comes.

Each simulated future draws one shared error for all probabilities, within the 80 % interval of each on the log-odds scale, then wins and amounts one by
one. A sum of independent draws alone would promise far too much for many opportunities, since the errors of one model do not cancel (a one-factor model,
as in Vasicek, "Loan Portfolio Value", Risk, December 2002; here the factor is the model's own uncertainty). Neither error moves a mean: the probability's
by the logistic-normal mean of MacKay, "The Evidence Framework Applied to Classification Networks", Neural Computation 4, 1992; amounts follow a gamma
distribution.

Belongs here: totals by group. Does not belong here: revenue by period (sales_management), the probabilities.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit, logit

DRAWS = 1_000
LEAST_DRAWS = 200
MOST_CELLS = 40_000_000
"""Draws times rows above which fewer draws are made."""
Z80 = 1.2815515655446004
SMALL = 1e-6
LEAST_SHAPE = 1e-2
"""Least shape of the gamma distribution of an amount: one of which next to nothing is known."""
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Totals:
    """Per group, in the order of `groups`: expected value and the 10 % and 90 % points of what comes; the same for all groups together."""

    groups: tuple[str, ...]
    expected: Floats
    low: Floats
    high: Floats
    all_expected: float
    all_low: float
    all_high: float
    draws: int


def simulated_totals(rows: pd.DataFrame, groups: pd.Series, *, seed: int) -> Totals:
    """Totals of rows that have a probability and an expected amount, by group (as text, in order of appearance).

    `rows` holds win_probability and expected_amount with their `_low` and `_high` ends; an end that is NULL is the value itself. One currency.
    """
    names = tuple(dict.fromkeys(groups))
    place = np.asarray(groups.map({name: number for number, name in enumerate(names)}), dtype=np.int64)
    p, p_low, p_high = (
        _column(rows, name, "win_probability")
        for name in ("win_probability", "win_probability_low", "win_probability_high")
    )
    a, a_low, a_high = (
        _column(rows, name, "expected_amount")
        for name in ("expected_amount", "expected_amount_low", "expected_amount_high")
    )
    odds = logit(np.clip(p, SMALL, 1 - SMALL))
    error = np.maximum(logit(np.clip(p_high, SMALL, 1 - SMALL)) - logit(np.clip(p_low, SMALL, 1 - SMALL)), 0) / (
        2 * Z80
    )
    spread = np.maximum(a_high - a_low, 0) / (2 * Z80)
    centre = odds * np.sqrt(1 + np.pi * error**2 / 8)
    is_known = spread <= 0
    shape = np.clip((a / np.where(is_known, 1.0, spread)) ** 2, LEAST_SHAPE, None)
    draws = int(min(DRAWS, max(LEAST_DRAWS, MOST_CELLS // max(len(p), 1))))
    random = np.random.default_rng(seed)
    sums = np.empty((draws, len(names)))
    for draw in range(draws):
        chance = expit(centre + error * random.standard_normal())
        won = np.flatnonzero(random.random(len(p)) < chance)
        amount = np.where(is_known[won], a[won], a[won] * random.gamma(shape[won]) / shape[won])
        sums[draw] = np.bincount(place[won], weights=amount, minlength=len(names))
    low, high = np.quantile(sums, [0.1, 0.9], axis=0)
    all_low, all_high = np.quantile(sums.sum(axis=1), [0.1, 0.9])
    expected = np.bincount(place, weights=p * a, minlength=len(names)).astype(np.float64)
    return Totals(names, expected, low, high, float((p * a).sum()), float(all_low), float(all_high), draws)


def _column(rows: pd.DataFrame, name: str, instead: str) -> Floats:
    return rows[name].fillna(rows[instead]).to_numpy(dtype=np.float64)
