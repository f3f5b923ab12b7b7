"""The selector used inside training folds: which of the allowed columns are worth a model's attention.

A pure function of the training rows it is given: it never sees validation rows, so it belongs inside each fold (Ambroise & McLachlan,
"Selection bias in gene extraction", PNAS 2002, on what selecting outside the folds does). Belongs here: constants, near-duplicates and
importance. Does not belong here: leaks (`leaks`) and encodings that are kept (`models`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import rankdata

from sales_pipeline.features.leak_statistics import kind_of, levels, out_of_fold_rates

Floats = npt.NDArray[np.float64]

_MAX_ROWS = 6_000
_FOLDS = 5
_MIN_SHADOWS = 20


@dataclass(frozen=True)
class Selected:
    """What was decided on one column: its importance (share of the total gain) and, where it was dropped, why."""

    name: str
    score: float
    is_kept: bool
    reason: str


def select(
    frame: pd.DataFrame,
    target: pd.Series,
    *,
    task: Literal["classify", "regress"] = "classify",
    groups: pd.Series | None = None,
    max_columns: int | None = None,
    seed: int = 0,
) -> list[str]:
    """Names of the columns to keep, most important first; empty when none carries more than chance."""
    judged = judge_columns(frame, target, task=task, groups=groups, max_columns=max_columns, seed=seed)
    return [entry.name for entry in judged if entry.is_kept]


def judge_columns(
    frame: pd.DataFrame,
    target: pd.Series,
    *,
    task: Literal["classify", "regress"] = "classify",
    groups: pd.Series | None = None,
    max_columns: int | None = None,
    correlation_limit: float = 0.98,
    seed: int = 0,
) -> list[Selected]:
    """Every column with its score and the decision on it, kept ones first, most important first.

    Dropped are, in this order: constants; near-duplicates of an earlier column (rank correlation beyond `correlation_limit` with
    the same values missing); columns whose gain in a small boosted ensemble does not exceed that of the best shuffled copy
    (Kursa & Rudnicki, "Feature selection with the Boruta package", 2010) and whose rank correlation with the target lies within three
    standard errors of zero; and what exceeds `max_columns`. Categories enter by out-of-fold target rates, folds by `groups` (such as
    the opportunity) so that rows of one group do not vouch for each other.
    """
    keep = np.arange(len(frame)) if len(frame) <= _MAX_ROWS else np.arange(_MAX_ROWS) * len(frame) // _MAX_ROWS
    y = target.to_numpy(dtype=np.float64, na_value=np.nan)[keep]
    if np.isnan(y).any():
        raise ValueError("the selector needs a known target in every row")
    fold = _folds(groups, len(frame))[keep]
    columns: dict[str, Floats] = {}
    dropped: list[Selected] = []
    seen: list[tuple[str, Floats, npt.NDArray[np.bool_]]] = []
    for name in frame.columns:
        values = frame[name].iloc[keep]
        missing = values.isna().to_numpy(dtype=bool)
        if values.nunique(dropna=True) + int(missing.any()) <= 1:
            dropped.append(Selected(str(name), 0.0, False, "constant"))
            continue
        encoded = _encoded(values, y, fold)
        ranks = _standard_ranks(encoded)
        twin = next(
            (other for other, known, gaps in seen if _is_twin(ranks, known, missing, gaps, correlation_limit)), None
        )
        if twin is not None:
            dropped.append(Selected(str(name), 0.0, False, f"nearly the same as {twin}"))
            continue
        seen.append((str(name), ranks, missing))
        columns[str(name)] = encoded
    if not columns or len(np.unique(y)) < 2:
        return [*(Selected(name, 0.0, False, "one value of the target only") for name in columns), *dropped]
    categories = {name for name in columns if kind_of(frame[name]) == "category"}
    gains, shadow = _gains(columns, categories, y, task, seed)
    target_ranks, limit = _standard_ranks(y), 3 / float(np.sqrt(len(y)))
    is_related = {}
    for name, ranks, _ in seen:
        correlation = float(ranks @ target_ranks)
        is_related[name] = (correlation if name in categories else abs(correlation)) > limit
    return _by_importance(list(columns), gains, shadow, is_related, max_columns) + dropped


def _folds(groups: pd.Series | None, count: int) -> npt.NDArray[np.int64]:
    if groups is None:
        return np.arange(count) % _FOLDS
    hashed = pd.util.hash_array(groups.to_numpy(dtype=object), categorize=True)
    return (hashed % _FOLDS).astype(np.int64)


def _encoded(values: pd.Series, y: Floats, fold: npt.NDArray[np.int64]) -> Floats:
    if kind_of(values) == "category":
        return out_of_fold_rates(levels(values), y, fold)
    numbers: Floats = values.to_numpy(dtype=np.float64, na_value=np.nan)
    return numbers


def _standard_ranks(values: Floats) -> Floats:
    """Ranks with mean 0 and norm 1, the median for missing values."""
    filled = np.where(np.isnan(values), np.nanmedian(values), values)
    ranks: Floats = np.asarray(rankdata(filled), dtype=np.float64) - (len(filled) + 1) / 2
    norm = float(np.sqrt((ranks**2).sum()))
    return ranks / norm if norm > 0 else ranks


def _is_twin(
    ranks: Floats, known: Floats, missing: npt.NDArray[np.bool_], gaps: npt.NDArray[np.bool_], limit: float
) -> bool:
    return abs(float(ranks @ known)) > limit and float((missing == gaps).mean()) > limit


def _by_importance(
    names: Sequence[str], gains: Floats, shadow: float, is_related: Mapping[str, bool], max_columns: int | None
) -> list[Selected]:
    total = float(gains.sum()) or 1.0
    judged: list[Selected] = []
    kept = 0
    for number in sorted(range(len(names)), key=lambda number: (-gains[number], number)):
        name, gain = names[number], float(gains[number])
        is_kept, reason = gain > shadow or is_related[name], ""
        if not is_kept:
            reason = "no more than a shuffled copy"
        elif max_columns is not None and kept >= max_columns:
            is_kept, reason = False, f"beyond the {max_columns} most important"
        kept += is_kept
        judged.append(Selected(name, gain / total, is_kept, reason))
    return sorted(judged, key=lambda entry: not entry.is_kept)


def _gains(
    columns: Mapping[str, Floats], categories: set[str], y: Floats, task: Literal["classify", "regress"], seed: int
) -> tuple[Floats, float]:
    """Gain of every column, and the greatest gain of a shuffled copy.

    Out-of-fold rates of a category without meaning run slightly against the target; held to rise with it, they gain nothing.
    """
    import lightgbm

    rng = np.random.default_rng(seed)
    real = np.column_stack(list(columns.values()))
    rounds = -(-_MIN_SHADOWS // len(columns))
    shuffled = np.column_stack([rng.permutation(column) for _ in range(rounds) for column in columns.values()])
    data = lightgbm.Dataset(np.hstack([real, shuffled]), label=y, free_raw_data=False)
    booster = lightgbm.train(
        {
            "objective": "binary" if task == "classify" else "regression",
            "num_leaves": 15,
            "learning_rate": 0.1,
            "min_data_in_leaf": max(5, len(y) // 200),
            "monotone_constraints": [int(name in categories) for name in columns] * (1 + rounds),
            "seed": seed,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": 1,
            "verbosity": -1,
        },
        data,
        num_boost_round=40,
    )
    gains = np.asarray(booster.feature_importance("gain"), dtype=np.float64)
    return gains[: len(columns)], float(gains[len(columns) :].max())
