"""The statistics of one column for the leak ledger: how it is filled, how it differs between open and closed, how well it predicts alone.

Belongs here: figures. Does not belong here: what is concluded from them (`leaks`). Loaded only where a ledger is made.
"""

from __future__ import annotations

from collections.abc import Sequence
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
_PERIODS = 12
_ROWS_PER_PERIOD = 20


@dataclass(frozen=True)
class Rows:
    """The rows a ledger looks at: the target (NaN where open), the folds; and which kind of target it is.

    `period_weight`: for closed rows, what makes their creation times those of the open ones (`period_weights`); None where creation
    is not known.
    """

    target: Floats
    is_open: Flags
    fold: Integers
    is_binary: bool
    period_weight: Floats | None = None

    @property
    def is_closed(self) -> Flags:
        """Rows with a known target."""
        return ~self.is_open


@dataclass(frozen=True)
class Figures:
    """Figures of one column; None where the rows do not allow it.

    `filled_*_share`: share with a value. `missing_z`: difference of the two in standard errors; `missing_difference` and `missing_matched_z`: of all
    rows or of rows created in the same time, whichever differ less. `psi`: population stability index of the values between open and closed, less what chance alone gives, (levels - 1)(1/n + 1/m)
    (Yurdakul, "Statistical properties of population stability index", 2018), again the smaller of the two; `divergence`: Jensen–Shannon
    distance, base 2, of the same rows, less what chance gives (the divergence is about an eighth of the index). `auc_alone`: of out-of-fold target rates per level (20 quantile bins for numbers, missing a level of its
    own). `r2_alone`: the same for a numeric target, or the squared correlation with a number where that is greater.
    `misfit`: PSI between open rows and the nearest mixture of won and lost ones (`_misfit`), with its standard error by chance.
    `one_sided`: the commonest value of a category all of whose closed rows ended the same way, where chance makes that unlikely.
    """

    distinct: int
    filled: int
    filled_open_share: float | None
    filled_closed_share: float | None
    missing_z: float | None
    missing_difference: float | None
    missing_matched_z: float | None
    psi: float | None
    divergence: float | None
    auc_alone: float | None
    r2_alone: float | None
    one_sided: OneSided | None = None
    misfit: float | None = None
    misfit_error: float | None = None


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
    difference = matched_z = misfit = misfit_error = None
    if share_open is not None and share_closed is not None and min(n_open, n_closed) >= min_rows:
        missing_z = matched_z = _difference_z(share_open, n_open, share_closed, n_closed)
        difference = abs(share_open - share_closed)
        enough = min(filled[opened].sum(), filled[closed].sum()) >= min_rows
        if enough:
            psi, divergence = _shift(level[opened & filled], level[closed & filled])
        weight = rows.period_weight
        if weight is not None and _effective(weight[closed]) >= min_rows:
            share = float(weight[closed] @ filled[closed] / weight[closed].sum())
            if abs(share_open - share) < difference:
                difference = abs(share_open - share)
                matched_z = _difference_z(share_open, n_open, share, _effective(weight[closed]))
            held = closed & filled
            if psi is not None and _effective(weight[held]) >= min_rows:
                psi, divergence = min((psi, divergence), _shift(level[opened & filled], level[held], weight[held]))
        if enough and rows.is_binary:
            misfit, misfit_error = _least_misfit(level, rows, min_rows)
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
        difference,
        matched_z,
        psi,
        divergence,
        auc,
        r2,
        _one_sided(values, rows) if rows.is_binary and n_closed >= min_rows else None,
        misfit,
        misfit_error,
    )


def _least_misfit(level: Integers, rows: Rows, min_rows: int) -> tuple[float | None, float | None]:
    """The misfit over all rows or over rows created in the same time, whichever is less; missing is a level of its own."""
    won, lost = rows.is_closed & (rows.target > 0.5), rows.is_closed & ~(rows.target > 0.5)
    found = []
    for weight in (np.ones(len(level)), rows.period_weight):
        if weight is not None and min(_effective(weight[won]), _effective(weight[lost])) >= min_rows:
            sides = [(level[side & (weight > 0)], weight[side & (weight > 0)]) for side in (won, lost)]
            found.append(_misfit(level[rows.is_open], sides[0], sides[1]))
    return min(found) if found else (None, None)


def _one_sided(values: pd.Series, rows: Rows) -> OneSided | None:
    """A value of a category that never, or always, wins although chance would give that less than once in a million.

    A status that the outcome itself rewrites shows so: accounts that were never won keep the value prospects begin with.
    """
    if kind_of(values) != "category":
        return None
    won = rows.target[rows.is_closed]
    closed = values[rows.is_closed].astype("string")
    base = float(won.mean())
    codes, uniques = pd.factorize(closed)
    if not len(uniques):
        return None
    held = codes >= 0
    size = np.bincount(codes[held], minlength=len(uniques))
    wins = np.bincount(codes[held], weights=won[held], minlength=len(uniques))
    chance = np.clip(np.where(wins > 0, base, 1 - base), 1e-12, None)
    is_proof = ((wins == 0) | (wins == size)) & (size * np.log(chance) < np.log(_ONE_SIDED_CHANCE))
    if not is_proof.any():
        return None
    # The commonest one; of equally common ones the first by name.
    largest = np.flatnonzero(is_proof & (size == size[is_proof].max())).tolist()
    value, code = min((str(uniques[code]), code) for code in largest)
    return OneSided(value, int(size[code]), bool(wins[code]))


def period_weights(created_us: Floats, is_open: Flags) -> Floats:
    """One weight per row: 1 where open; where closed, what gives the closed rows the creation times of the open ones.

    Creation is cut at the open rows' quantiles; a closed row weighs (share of open rows) / (share of closed rows) of its part, and 0
    where no open row was created in its time, or its creation is not known. What changes with the times alone then looks the same on both sides.
    """
    weight = np.where(is_open, 1.0, 0.0)
    known = ~np.isnan(created_us)
    opened, closed = known & is_open, known & ~is_open
    if not opened.any() or not closed.any():
        return weight
    periods = int(np.clip(opened.sum() // _ROWS_PER_PERIOD, 1, _PERIODS))
    edges = np.unique(np.quantile(created_us[opened], np.linspace(0, 1, periods + 1)))
    inside = closed & (created_us >= edges[0]) & (created_us <= edges[-1])
    part = np.searchsorted(edges[1:-1], created_us, side="right")
    of_open = np.bincount(part[opened], minlength=len(edges))
    of_closed = np.bincount(part[inside], minlength=len(edges))
    weight[inside] = (of_open / np.maximum(of_closed, 1))[part[inside]]
    return weight


def evenly(count: int, at_most: int) -> Integers:
    """Positions of at most that many rows, evenly spread."""
    if count <= at_most:
        return np.arange(count)
    return np.arange(at_most) * count // at_most


def _effective(weight: Floats) -> float:
    """As how many rows of equal weight these count (Kish, "Survey sampling", 1965)."""
    squares = float((weight**2).sum())
    return float(weight.sum()) ** 2 / squares if squares > 0 else 0.0


def _difference_z(share_a: float, n_a: float, share_b: float, n_b: float) -> float:
    pooled = (share_a * n_a + share_b * n_b) / (n_a + n_b)
    error = float(np.sqrt(pooled * (1 - pooled) * (1 / n_a + 1 / n_b)))
    return abs(share_a - share_b) / error if error > 0 else 0.0


def _shift(opened: Integers, closed: Integers, closed_weight: Floats | None = None) -> tuple[float, float]:
    """PSI and Jensen–Shannon distance of two samples of levels, both beyond chance; the second sample may be weighted."""
    weight = np.ones(len(closed)) if closed_weight is None else closed_weight
    counts = _counted([(opened, np.ones(len(opened))), (closed, weight)])
    share = _shares(counts)
    by_chance = (counts.shape[1] - 1) * float((1 / counts.sum(axis=1)).sum())
    divergence = float(jensenshannon(share[0], share[1], base=2)) ** 2 - by_chance / (8 * np.log(2))
    return max(0.0, _index(share[0], share[1]) - by_chance), float(np.sqrt(max(0.0, divergence)))


def _misfit(opened: Integers, won: tuple[Integers, Floats], lost: tuple[Integers, Floats]) -> tuple[float, float]:
    """PSI, beyond chance, between open rows and the mixture of won and lost ones nearest to them, and its standard error by chance.

    Open rows are going to be won or lost: a value that stands from the beginning spreads among them as some mixture of the two. A value that
    the outcome rewrites does not, however the two are mixed.
    """
    counts = _counted([(opened, np.ones(len(opened))), won, lost])
    share = _shares(counts)
    nearest, of_won = min(
        (_index(share[0], part * share[1] + (1 - part) * share[2]), part) for part in np.linspace(0, 1, 41)
    )
    sizes = counts.sum(axis=1)
    spread = 1 / sizes[0] + of_won**2 / sizes[1] + (1 - of_won) ** 2 / sizes[2]
    freedom = max(counts.shape[1] - 2, 1)
    return max(0.0, nearest - freedom * spread), float(np.sqrt(2 * freedom) * spread)


def _counted(samples: Sequence[tuple[Integers, Floats]]) -> Floats:
    """Counts by level, one row per weighted sample, each summing to what its weights count as. Rare levels are pooled: an empty cell would
    dominate the index."""
    size = max(int(level.max()) for level, _ in samples) + 1
    counts = np.stack(
        [
            np.bincount(level, weights=weight, minlength=size) * (_effective(weight) / weight.sum())
            for level, weight in samples
        ]
    )
    counts = counts[:, counts.sum(axis=0) > 0]
    rare = counts.sum(axis=0) < 10
    return np.column_stack([counts[:, ~rare], counts[:, rare].sum(axis=1)]) if rare.any() else counts


def _shares(counts: Floats) -> Floats:
    smooth = counts + 0.5
    shares: Floats = smooth / smooth.sum(axis=1, keepdims=True)
    return shares


def _index(first: Floats, second: Floats) -> float:
    """The population stability index of two distributions."""
    return float(((first - second) * np.log(first / second)).sum())


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
