"""Figures of predictions against outcomes; the same names everywhere.

win: log_loss, brier, auc, average_precision, calibration_error (10 bins of equal mass), lift_10, lift_20 (win rate of the best 10 and 20 % over the
overall one), rows, opportunities, win_rate. amount: mae, mse, rmse, r2 (money), log_rmse.

Belongs here: formulas. Does not belong here: what is done about them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sales_pipeline.models.matrix import Floats, codes

WIN_KEYS = ("log_loss", "brier", "auc", "average_precision", "calibration_error", "lift_10", "lift_20")
AMOUNT_KEYS = ("mae", "mse", "rmse", "r2")


def log_losses(won: Floats, p: Floats) -> Floats:
    """Per row, natural logarithm; p is held off 0 and 1 by 1e-6."""
    held = np.clip(p, 1e-6, 1 - 1e-6)
    return -(won * np.log(held) + (1 - won) * np.log1p(-held))


def auc(won: Floats, p: Floats) -> float:
    """Area under the ROC curve: the share of (won, lost) pairs in the right order, ties half. NaN with one class only."""
    from scipy.stats import rankdata

    positives = float(won.sum())
    negatives = len(won) - positives
    if not positives or not negatives:
        return float("nan")
    ranks = rankdata(p)
    return float((ranks[won > 0.5].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def average_precision(won: Floats, p: Floats) -> float:
    """Mean precision at each won row, from the top; ties count at the end of their group. NaN without a won row."""
    if not won.sum():
        return float("nan")
    order = np.argsort(-p, kind="stable")
    hits = np.cumsum(won[order])
    last = np.append(np.diff(p[order]) != 0, True)
    precision = hits[last] / (np.flatnonzero(last) + 1)
    recall = hits[last] / won.sum()
    return float((np.diff(recall, prepend=0.0) * precision).sum())


def calibration_error(won: Floats, p: Floats, bins: int = 10) -> float:
    """Mean distance of predicted and seen win rates over bins of equal mass (ECE)."""
    if not len(p):
        return float("nan")
    order = np.argsort(p, kind="stable")
    parts = [part for part in np.array_split(order, min(bins, len(order))) if len(part)]
    return float(sum(abs(float(won[part].mean() - p[part].mean())) * len(part) for part in parts) / len(p))


def lift(won: Floats, p: Floats, share: float) -> float:
    """Win rate of the best-scored share over the overall win rate; rows tied at the edge count in part. NaN without a won row."""
    if not len(p) or not won.sum():
        return float("nan")
    wanted = max(1.0, share * len(p))
    edge = np.sort(p)[::-1][int(np.ceil(wanted)) - 1]
    above = p > edge
    tied = p == edge
    hits = float(won[above].sum()) + float(won[tied].mean()) * (wanted - float(above.sum()))
    return float(hits / wanted / won.mean())


def win_metrics(won: Floats, p: Floats, opportunity: npt.NDArray[Any] | None = None) -> dict[str, float]:
    """All figures of win probabilities; those that are not defined (one class only) are left out."""
    figures = {
        "log_loss": float(log_losses(won, p).mean()) if len(p) else float("nan"),
        "brier": float(((p - won) ** 2).mean()) if len(p) else float("nan"),
        "auc": auc(won, p),
        "average_precision": average_precision(won, p),
        "calibration_error": calibration_error(won, p),
        "lift_10": lift(won, p, 0.1),
        "lift_20": lift(won, p, 0.2),
        "win_rate": float(won.mean()) if len(won) else float("nan"),
        "rows": float(len(won)),
    }
    if opportunity is not None:
        figures["opportunities"] = float(len(set(opportunity.tolist())))
    return {name: value for name, value in figures.items() if np.isfinite(value)}


def amount_metrics(actual: Floats, predicted: Floats) -> dict[str, float]:
    """All figures of amounts, on the scale they come in; r2 is left out where the actual amounts are all equal."""
    error = predicted - actual
    mse = float((error**2).mean())
    figures = {"mae": float(np.abs(error).mean()), "mse": mse, "rmse": float(np.sqrt(mse)), "rows": float(len(actual))}
    spread = float(((actual - actual.mean()) ** 2).mean())
    if spread > 0:
        figures["r2"] = 1 - mse / spread
    return figures


def paired_difference(first: Floats, second: Floats, groups: npt.NDArray[Any]) -> tuple[float, float]:
    """Mean of first - second and its standard error, with rows of one group (opportunity) counted as dependent."""
    difference = first - second
    mean = float(difference.mean())
    sums = np.bincount(codes(groups), weights=difference - mean)
    return mean, float(np.sqrt((sums**2).sum()) / len(difference))


def bootstrap_interval(
    won: Floats, p: Floats, opportunity: npt.NDArray[Any], *, rounds: int, seed: int
) -> dict[str, tuple[float, float]]:
    """80 % intervals of log_loss, brier and auc over resampled opportunities (percentiles, seeded)."""
    number = codes(opportunity)
    groups = int(number.max(initial=-1)) + 1
    random = np.random.default_rng(seed)
    draws: dict[str, list[float]] = {"log_loss": [], "brier": [], "auc": []}
    for _ in range(rounds):
        drawn = np.bincount(random.integers(0, groups, groups), minlength=groups)
        rows = np.repeat(np.arange(len(number)), drawn[number])
        draws["log_loss"].append(float(log_losses(won[rows], p[rows]).mean()))
        draws["brier"].append(float(((p[rows] - won[rows]) ** 2).mean()))
        draws["auc"].append(auc(won[rows], p[rows]))
    return {
        name: (float(np.nanquantile(values, 0.1)), float(np.nanquantile(values, 0.9)))
        for name, values in draws.items()
        if np.isfinite(values).any()
    }


def calibration_table(won: Floats, p: Floats, bins: int = 10) -> list[dict[str, float]]:
    """Per bin of equal mass: rows, mean predicted, share won."""
    order = np.argsort(p, kind="stable")
    return [
        {"rows": len(part), "predicted": float(p[part].mean()), "won": float(won[part].mean())}
        for part in np.array_split(order, min(bins, max(1, len(order))))
        if len(part)
    ]
