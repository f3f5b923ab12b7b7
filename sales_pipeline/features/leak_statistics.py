"""The statistics of one column for the leak ledger: how it is filled, how it differs between open and closed, how well it predicts alone.

Belongs here: figures. Does not belong here: what is concluded from them (`leaks`). Loaded only where a ledger is made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.spatial.distance import jensenshannon
from scipy.stats import rankdata

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Kind = Literal["number", "category"]

MISSING = 0
"""The level of a missing value; every other level is positive."""
_BINS = 20
_LEVELS = 200
_PRIOR_WEIGHT = 10.0
_ONE_SIDED_CHANCE = 1e-6


@dataclass(frozen=True)
class Rows:
    """The rows a ledger looks at: the target (NaN where open), the folds; and which kind of target it is."""

    target: Floats
    is_open: Flags
    fold: Integers
    is_binary: bool

    @property
    def is_closed(self) -> Flags:
        """Rows with a known target."""
        return ~self.is_open


@dataclass(frozen=True)
class Figures:
    """Figures of one column; None where the rows do not allow it.

    `filled_*_share`: share with a value. `missing_z`: difference of the two in standard errors. `psi`: population stability
    index of the values between open and closed, less what chance alone gives (levels - 1)(1/n + 1/m). `divergence`: Jensen–Shannon
    distance, base 2. `auc_alone`: of out-of-fold target rates per level (20 quantile bins for numbers, missing a level of its
    own). `r2_alone`: the same for a numeric target, or the squared correlation with a number where that is greater.
    `one_sided`: the commonest value of a category all of whose closed rows ended the same way, where chance makes that unlikely.
    """

    distinct: int
    filled: int
    filled_open_share: float | None
    filled_closed_share: float | None
    missing_z: float | None
    psi: float | None
    divergence: float | None
    auc_alone: float | None
    r2_alone: float | None
    one_sided: OneSided | None = None


@dataclass(frozen=True)
class OneSided:
    """A value whose rows all ended one way: how many there are, and which way."""

    value: str
    rows: int
    is_won: bool


def kind_of(values: pd.Series) -> Kind:
    """Number for numeric and boolean columns, category for the rest."""
    return "number" if pd.api.types.is_numeric_dtype(values.dtype) else "category"


def levels(values: pd.Series) -> Integers:
    """One level per row: quantile bins for a number with many values, else the value; beyond 200 values the rarest share one."""
    if kind_of(values) == "number":
        numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
        numbers = np.where(np.isfinite(numbers), numbers, np.nan)
        distinct = np.unique(numbers[~np.isnan(numbers)])
        if len(distinct) > _BINS:
            edges = np.unique(np.nanquantile(numbers, np.linspace(0, 1, _BINS + 1)[1:-1]))
            binned = np.searchsorted(edges, numbers, side="right") + 1
        else:
            binned = np.searchsorted(distinct, numbers) + 1
        return np.where(np.isnan(numbers), MISSING, binned).astype(np.int64)
    codes, uniques = pd.factorize(values.astype("string"), sort=True)
    result = codes.astype(np.int64) + 1
    if len(uniques) > _LEVELS:
        counts = np.bincount(result, minlength=len(uniques) + 1)
        counts[MISSING] = 0
        rare = np.argsort(-counts, kind="stable")[_LEVELS:]
        result[np.isin(result, rare[rare != MISSING])] = len(uniques) + 1
    return result


def figures(values: pd.Series, rows: Rows, *, min_rows: int) -> Figures:
    """The figures of one column over the rows."""
    filled = values.notna().to_numpy(dtype=bool)
    level = levels(values)
    closed, opened = rows.is_closed, rows.is_open
    n_closed, n_open = int(closed.sum()), int(opened.sum())
    share_closed = float(filled[closed].mean()) if n_closed else None
    share_open = float(filled[opened].mean()) if n_open else None
    missing_z = psi = divergence = auc = r2 = None
    if share_open is not None and share_closed is not None and min(n_open, n_closed) >= min_rows:
        missing_z = _difference_z(share_open, n_open, share_closed, n_closed)
        if min(filled[opened].sum(), filled[closed].sum()) >= min_rows:
            psi, divergence = _shift(level[opened & filled], level[closed & filled])
    if n_closed >= min_rows:
        predicted = out_of_fold_rates(level[closed], rows.target[closed], rows.fold[closed])
        if rows.is_binary:
            auc = area_under_curve(predicted, rows.target[closed])
        else:
            r2 = _r2(predicted, rows.target[closed])
            if r2 is not None and kind_of(values) == "number":
                r2 = max(r2, _squared_correlation(values, rows))
    return Figures(
        int(values.nunique(dropna=True)),
        int(filled.sum()),
        share_open,
        share_closed,
        missing_z,
        psi,
        divergence,
        auc,
        r2,
        _one_sided(values, rows) if rows.is_binary and n_closed >= min_rows else None,
    )


def _one_sided(values: pd.Series, rows: Rows) -> OneSided | None:
    """A value of a category that never, or always, wins although chance would give that less than once in a million.

    A status that the outcome itself rewrites shows so: accounts that were never won keep the value prospects begin with.
    """
    if kind_of(values) != "category":
        return None
    won = rows.target[rows.is_closed]
    closed = values[rows.is_closed].astype("string")
    base = float(won.mean())
    counts = pd.DataFrame({"value": closed.to_numpy(), "won": won}).groupby("value")["won"].agg(["size", "sum"])
    for value, (size, wins) in counts.sort_values("size", ascending=False, kind="stable").iterrows():
        if wins in (0, size):
            chance = base if wins else 1 - base
            if size * np.log(max(chance, 1e-12)) < np.log(_ONE_SIDED_CHANCE):
                return OneSided(str(value), int(size), bool(wins))
    return None


def _difference_z(share_a: float, n_a: int, share_b: float, n_b: int) -> float:
    pooled = (share_a * n_a + share_b * n_b) / (n_a + n_b)
    error = float(np.sqrt(pooled * (1 - pooled) * (1 / n_a + 1 / n_b)))
    return abs(share_a - share_b) / error if error > 0 else 0.0


def _shift(opened: Integers, closed: Integers) -> tuple[float, float]:
    """PSI beyond chance and the Jensen–Shannon distance of two samples of levels."""
    size = int(max(opened.max(), closed.max())) + 1
    counts = np.stack([np.bincount(part, minlength=size) for part in (opened, closed)]).astype(float)
    counts = counts[:, counts.sum(axis=0) > 0]
    # Rare levels are pooled: an empty cell would dominate the index.
    rare = counts.sum(axis=0) < 10
    if rare.any():
        counts = np.column_stack([counts[:, ~rare], counts[:, rare].sum(axis=1)])
    smooth = counts + 0.5
    share = smooth / smooth.sum(axis=1, keepdims=True)
    raw = float(((share[0] - share[1]) * np.log(share[0] / share[1])).sum())
    by_chance = (counts.shape[1] - 1) * (1 / len(opened) + 1 / len(closed))
    return max(0.0, raw - by_chance), float(jensenshannon(share[0], share[1], base=2))


def out_of_fold_rates(level: Integers, target: Floats, fold: Integers) -> Floats:
    """For each row the mean target of its level over the other folds, shrunken to their overall mean."""
    size = int(level.max()) + 1
    result = np.zeros(len(level))
    for number in np.unique(fold):
        test = fold == number
        mean = target[~test].mean() if (~test).any() else float(target.mean())
        counts = np.bincount(level[~test], minlength=size)
        sums = np.bincount(level[~test], weights=target[~test], minlength=size)
        result[test] = ((sums + mean * _PRIOR_WEIGHT) / (counts + _PRIOR_WEIGHT))[level[test]]
    return result


def area_under_curve(score: Floats, target: Floats) -> float | None:
    """Area under the ROC curve (Mann–Whitney, ties at mid-rank); None with one class only."""
    positive = target > 0.5
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if not n_positive or not n_negative:
        return None
    ranks = rankdata(score)
    return float((ranks[positive].sum() - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))


def _r2(predicted: Floats, target: Floats) -> float | None:
    spread = float(((target - target.mean()) ** 2).sum())
    return 1 - float(((target - predicted) ** 2).sum()) / spread if spread > 0 else None


def _squared_correlation(values: pd.Series, rows: Rows) -> float:
    """Of a number with the target, over closed rows with a value; 0 where one of the two does not vary."""
    numbers: Floats = values.to_numpy(dtype=np.float64, na_value=np.nan)
    both = rows.is_closed & np.isfinite(numbers)
    x, y = numbers[both], rows.target[both]
    if len(x) < 2 or x.std() == 0 or y.std() == 0:
        return 0.0
    return float(np.corrcoef(x, y)[0, 1] ** 2)
