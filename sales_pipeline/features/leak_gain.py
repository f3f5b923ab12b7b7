"""What a column that was left out would have been worth: the AUC of all used columns without it and with it.

Belongs here: one small model for the comparison. Does not belong here: the models that score (`models`). Loaded only where a ledger is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sales_pipeline.features.leak_statistics import (
    Floats,
    Integers,
    Rows,
    area_under_curve,
    evenly,
    out_of_fold_rates,
)

_MAX_ROWS = 6_000
_MIN_OF_A_CLASS = 20


@dataclass(frozen=True)
class Judged:
    """A row of the ledger, and the column it speaks of: its level per row of `rows`; `ids` names the rows (None: the same rows in every column)."""

    row: dict[str, Any]
    level: Integers
    rows: Rows
    ids: pd.Index | None


def with_gains(judged: Sequence[Judged]) -> list[dict[str, Any]]:
    """The ledger's rows, those of columns left out as leak or suspect with `auc_with` and `auc_without`.

    Looked at are the closed rows that all columns have: where features are judged at landmarks, those of the first column.
    """
    result = [one.row for one in judged]
    caught = {one.row["column"]: one for one in judged if one.row["verdict"] in ("leak", "suspect")}
    if not caught or not judged[0].rows.is_binary:
        return result
    first = judged[0]
    closed = np.flatnonzero(first.rows.is_closed)
    shared = closed
    if first.ids is not None:
        smallest = min((one.ids for one in judged if one.ids is not None), key=len)
        shared = closed[first.ids[closed].isin(smallest)]
    shared = shared[evenly(len(shared), _MAX_ROWS)]
    placed: dict[int, Integers] = {}

    def at_shared(one: Judged) -> Integers:
        if one.ids is None or first.ids is None or one.ids is first.ids:
            return one.level[shared]
        if id(one.ids) not in placed:
            placed[id(one.ids)] = one.ids.get_indexer(first.ids[shared]).astype(np.int64)
        return one.level[placed[id(one.ids)]]

    without, beside = auc_with_and_without(
        [at_shared(one) for one in judged if one.row["is_used"]],
        {name: at_shared(one) for name, one in caught.items()},
        first.rows.target[shared],
        first.rows.fold[shared],
    )
    for name, one in caught.items():
        if name in beside and without is not None:
            one.row["auc_with"], one.row["auc_without"] = round(beside[name], 6), round(without, 6)
    return result


def auc_with_and_without(
    used: Sequence[Integers], left_out: Mapping[str, Integers], target: Floats, fold: Integers
) -> tuple[float | None, dict[str, float]]:
    """AUC of the used columns, and of them together with each column left out, over closed rows; all by levels, one per row.

    Every column becomes the log-odds of its out-of-fold rate; a ridge logistic regression on the used ones, fitted fold by fold, gives
    each row a log-odds that never saw its group; each column left out is then set beside it in a regression of two terms (stacking:
    Wolpert, "Stacked generalization", 1992), whose two weights cannot overfit. (None, {}) where fewer than twenty rows ended either way.
    """
    if min(int((target > 0.5).sum()), int((target <= 0.5).sum())) < _MIN_OF_A_CLASS:
        return None, {}
    base = _base([_log_odds(level, target, fold) for level in used], target, fold)
    return area_under_curve(base, target), {
        name: _beside(base, _log_odds(level, target, fold), target) for name, level in left_out.items()
    }


def _log_odds(level: Integers, won: Floats, fold: Integers) -> Floats:
    rate = np.clip(out_of_fold_rates(level, won, fold), 1e-3, 1 - 1e-3)
    result: Floats = np.log(rate / (1 - rate))
    return result


def _fitted(x: Floats, won: Floats) -> tuple[Floats, float]:
    """Weights and intercept of a ridge logistic regression on standardised columns, for the columns as they are."""
    from sklearn.linear_model import LogisticRegression

    mean, spread = x.mean(axis=0), x.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    model = LogisticRegression(C=0.1, max_iter=300, tol=1e-4).fit((x - mean) / spread, won > 0.5)
    weights: Floats = model.coef_[0] / spread
    return weights, float(model.intercept_[0] - mean @ weights)


def _base(columns: Sequence[Floats], won: Floats, fold: Integers) -> Floats:
    """The log-odds of each row by a model of the other folds; zero without columns, or where the other folds ended one way."""
    result = np.zeros(len(won))
    if not columns:
        return result
    x = np.column_stack(columns)
    for number in np.unique(fold):
        test = fold == number
        if 0 < (won[~test] > 0.5).sum() < (~test).sum():
            weights, intercept = _fitted(x[~test], won[~test])
            result[test] = x[test] @ weights + intercept
    return result


def _beside(base: Floats, column: Floats, won: Floats) -> float:
    x = np.column_stack([base, column])
    weights, _ = _fitted(x, won)
    found = area_under_curve(x @ weights, won)
    assert found is not None
    return found
