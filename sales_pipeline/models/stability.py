"""Which features the models kept from one replay date to the next, how much each moves a score, and whose meaning drifts.

Belongs here: figures about features over time. Does not belong here: choosing features (`selection`, features.selector), drift of values
without outcomes (monitoring).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import chi2

from sales_pipeline.features.catalogue import FEATURES
from sales_pipeline.models.encoding import Encoding
from sales_pipeline.models.estimators import Estimator
from sales_pipeline.models.matrix import Floats, Matrix
from sales_pipeline.models.metrics import auc

MIN_CLASS_ROWS = 30
"""Won rows and lost rows with a value, on a date, below which a feature's strength there is not measured."""
DRIFT_LEVEL = 0.01
"""Chance, over all features together (Bonferroni), of naming one that does not drift."""
MIN_CHANGE = 0.05
"""A change of the area under the ROC curve smaller than this is not worth a name, however sure it is."""
MAX_IMPORTANCE_ROWS = 1_000
OWNER_KEYS = ("owner_id",)


def selection_stability(dates: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """How often each source column was kept over the replay dates (`dates` of a replay's facts), the steadiest first.

    Only dates whose model looks at columns count (rates look at none). Per column: `kept` and `dates` (counts), `share`, `is_in_last`.
    """
    used = [set(date["columns_used"]) for date in dates if date.get("columns_used")]
    kept = {name: sum(name in columns for columns in used) for name in sorted(set().union(*used))} if used else {}
    return [
        {
            "column": name,
            "kept": count,
            "dates": len(used),
            "share": round(count / len(used), 6),
            "is_in_last": name in used[-1],
        }
        for name, count in sorted(kept.items(), key=lambda item: (-item[1], item[0]))
    ]


@dataclass(frozen=True)
class DatedRows:
    """What was open at a replay date: one frame row per opportunity, its outcome (NaN: open still) and its censoring weight."""

    as_of: str
    frame: pd.DataFrame
    won: Floats
    weight: Floats


def dated_rows(matrix: Matrix, columns: Collection[str]) -> list[DatedRows]:
    """A matrix's rows by as-of, ascending, with those of the columns it has; rows all weigh alike."""
    instants = matrix.keys["as_of_us"].to_numpy(dtype=np.float64)
    won = matrix.keys["is_won"].to_numpy(dtype=np.float64)
    kept = [name for name in matrix.frame.columns if name in columns]
    return [
        DatedRows(
            datetime.fromtimestamp(instant / 1e6, UTC).isoformat(timespec="seconds"),
            matrix.frame.loc[instants == instant, kept],
            won[instants == instant],
            np.ones(int((instants == instant).sum())),
        )
        for instant in np.unique(instants)
    ]


def meaning_drift(parts: Sequence[DatedRows]) -> list[dict[str, Any]]:
    """Features whose tie to the outcome changes between dates beyond noise; empty where there is none or too little to say so.

    The tie is the area under the ROC curve of the feature alone, weighted for censoring, at each date (a category counts as the win rate its value
    has over all dates); its error is that of Hanley and McNeil (1982, Radiology 143) on the effective number of rows. A feature is named where
    Cochran's Q of these areas (1954, Biometrics 10) exceeds chance, corrected for the number of features, and they differ by `MIN_CHANGE` or more.
    Opportunities open at several dates make the areas more alike than the test takes them to be: it errs towards silence.

    Per feature: `kind` (`sign changed` where the area lies clearly on both sides of a half, else `size changed`), `q`, `p_value`, and `by_date`
    (as_of, auc, standard_error, rows), dates without enough rows left out.
    """
    names = sorted(set().union(*(part.frame.columns for part in parts))) if parts else []
    measured = {name: _areas(name, parts) for name in names}
    tested = {name: areas for name, areas in measured.items() if len(areas) >= 2}
    found = []
    for name, areas in tested.items():
        value, error = (np.array([row[key] for row in areas]) for key in ("auc", "standard_error"))
        precision = 1 / error**2
        q = float((precision * (value - np.average(value, weights=precision)) ** 2).sum())
        p_value = float(chi2.sf(q, len(areas) - 1))
        if p_value > DRIFT_LEVEL / len(tested) or float(np.ptp(value)) < MIN_CHANGE:
            continue
        z = (value - 0.5) / error
        kind = "sign changed" if z.min() < -2 and z.max() > 2 else "size changed"
        found.append(
            {"column": name, "kind": kind, "q": round(q, 3), "p_value": float(f"{p_value:.2e}"), "by_date": areas}
        )
    return found


def _areas(name: str, parts: Sequence[DatedRows]) -> list[dict[str, Any]]:
    values = _as_numbers(name, parts)
    areas = []
    for part, numbers in zip(parts, values, strict=True):
        use = np.isfinite(part.won) & (part.weight > 0) & np.isfinite(numbers)
        won, weight, x = part.won[use], part.weight[use], numbers[use]
        classes = weight[won == 1], weight[won == 0]
        if min(len(rows) for rows in classes) < MIN_CLASS_ROWS or np.ptp(x) == 0:
            continue
        area = auc(won, x, weight)
        positives, negatives = (float(rows.sum() ** 2 / (rows**2).sum()) for rows in classes)
        error = _hanley_mcneil(area, positives, negatives)
        areas.append(
            {"as_of": part.as_of, "auc": round(area, 6), "standard_error": round(error, 6), "rows": int(use.sum())}
        )
    return areas


def _as_numbers(name: str, parts: Sequence[DatedRows]) -> list[Floats]:
    """Numbers as they are; a category as its win rate over all dates, shrunken by one won and one lost row. A missing column is all NaN."""
    columns = [part.frame[name] if name in part.frame else pd.Series(np.nan, index=part.frame.index) for part in parts]
    if all(pd.api.types.is_numeric_dtype(column) for column in columns):
        return [np.asarray(column, dtype=np.float64) for column in columns]
    text = pd.concat(columns, ignore_index=True).astype(object)
    won = np.concatenate([part.won for part in parts])
    weight = np.where(np.isfinite(won), np.concatenate([part.weight for part in parts]), 0.0)
    hits = pd.Series(weight * np.nan_to_num(won)).groupby(text.to_numpy()).sum()
    rate = (hits + 1) / (pd.Series(weight).groupby(text.to_numpy()).sum() + 2)
    return [np.asarray(column.map(rate), dtype=np.float64) for column in columns]


def _hanley_mcneil(area: float, positives: float, negatives: float) -> float:
    held = min(max(area, 0.01), 0.99)
    q1, q2 = held / (2 - held), 2 * held**2 / (1 + held)
    variance = held * (1 - held) + (positives - 1) * (q1 - held**2) + (negatives - 1) * (q2 - held**2)
    return float(np.sqrt(variance / (positives * negatives)))


def importance(encoding: Encoding, estimator: Estimator, matrix: Matrix) -> list[dict[str, Any]]:
    """How much each source column moves the scores of a matrix's rows: its share of the mean absolute contribution in log-odds.

    `matrix` holds the encoding's columns; of more than `MAX_IMPORTANCE_ROWS` rows evenly spaced ones are taken. The largest share first; empty where nothing moves.
    Per column: `column`, `meaning`, `share` (sums to 1), `is_about_owner`.
    """
    every = np.arange(len(matrix), dtype=np.int64)
    part = matrix.take(every[:: max(1, -(-len(every) // MAX_IMPORTANCE_ROWS))])
    effects, names = estimator.contributions(encoding.encode(part))
    size = np.abs(effects).mean(axis=0) if len(part) else np.zeros(0)
    if not size.sum() > 0:
        return []
    meaning = {column.name: column.label for column in encoding.columns}
    labels = list(names) or list(meaning)
    owners = owner_columns()
    rows = [
        {
            "column": name,
            "meaning": meaning.get(name, name),
            "share": round(float(value / size.sum()), 6),
            "is_about_owner": name in owners,
        }
        # Source columns at the end that encode to nothing have no effect of their own.
        for name, value in zip(labels, size, strict=False)
    ]
    return sorted(rows, key=lambda row: (-float(str(row["share"])), str(row["column"])))


def owner_columns() -> frozenset[str]:
    """Columns that say who owns the opportunity, or what the owner has done: what an owner-free model does without."""
    about = {
        feature.name
        for feature in FEATURES
        if feature.state_field == "owner_id" or any(need.startswith("owners.") for need in feature.needs)
    }
    return frozenset(about | set(OWNER_KEYS))
