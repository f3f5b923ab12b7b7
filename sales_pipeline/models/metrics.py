"""Figures of predictions against outcomes; the same names everywhere.

win: log_loss, brier, auc, average_precision, calibration_error (10 bins of equal count), observed_expected (win rate over mean probability), lift_10,
lift_20 (win rate of the best 10 and 20 % over the overall one), rows, opportunities, win_rate. amount: mae, mse, rmse, r2 (money), log_rmse.

Belongs here: formulas. Does not belong here: what is done about them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sales_pipeline.models.matrix import Floats, codes

WIN_KEYS = (
    "log_loss",
    "brier",
    "auc",
    "average_precision",
    "calibration_error",
    "observed_expected",
    "lift_10",
    "lift_20",
)
AMOUNT_KEYS = ("mae", "mse", "rmse", "r2")


def log_losses(won: Floats, p: Floats) -> Floats:
    """Per row, natural logarithm; p is held off 0 and 1 by 1e-6."""
    held = np.clip(p, 1e-6, 1 - 1e-6)
    return -(won * np.log(held) + (1 - won) * np.log1p(-held))


def squared_errors(won: Floats, p: Floats) -> Floats:
    """Per row (Brier); of an outcome that is itself a chance, what is to be expected of the square."""
    return (p - won) ** 2 + won * (1 - won)


def auc(won: Floats, p: Floats, weight: Floats | None = None) -> float:
    """Area under the ROC curve: the share of (won, lost) pairs in the right order, ties half. NaN with one class only."""
    w = _weights(won, weight)
    _, group = np.unique(p, return_inverse=True)
    positive = np.bincount(group, weights=w * won)
    negative = np.bincount(group, weights=w * (1 - won))
    if not positive.sum() or not negative.sum():
        return float("nan")
    below = np.cumsum(negative) - negative
    return float((positive * (below + negative / 2)).sum() / (positive.sum() * negative.sum()))


def average_precision(won: Floats, p: Floats, weight: Floats | None = None) -> float:
    """Mean precision at each won row, from the top; ties count at the end of their group. NaN without a won row."""
    w = _weights(won, weight)
    if not (w * won).sum():
        return float("nan")
    order = np.argsort(-p, kind="stable")
    hits = np.cumsum((w * won)[order])
    last = np.append(np.diff(p[order]) != 0, True)
    precision = hits[last] / np.maximum(np.cumsum(w[order])[last], 1e-12)
    recall = hits[last] / hits[-1]
    return float((np.diff(recall, prepend=0.0) * precision).sum())


def calibration_error(won: Floats, p: Floats, bins: int = 10, weight: Floats | None = None) -> float:
    """Mean distance of predicted and seen win rates over bins of equal count (ECE; Naeini, Cooper & Hauskrecht, AAAI 2015)."""
    table = calibration_table(won, p, bins, weight)
    total = sum(row["weight"] for row in table)
    if not total:
        return float("nan")
    return float(sum(abs(row["won"] - row["predicted"]) * row["weight"] for row in table) / total)


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


def win_metrics(
    won: Floats, p: Floats, opportunity: npt.NDArray[Any] | None = None, weight: Floats | None = None
) -> dict[str, float]:
    """All figures of win probabilities; those that are not defined (one class only) are left out.

    `weight` is one per row; None: all alike. Lift is unweighted.
    """
    w = _weights(won, weight)
    total = float(w.sum())

    def mean(values: Floats) -> float:
        return float((w * values).sum() / total) if total else float("nan")

    figures = {
        "log_loss": mean(log_losses(won, p)),
        "brier": mean(squared_errors(won, p)),
        "auc": auc(won, p, weight),
        "average_precision": average_precision(won, p, weight),
        "calibration_error": calibration_error(won, p, weight=weight),
        "observed_expected": mean(won) / mean(p) if total and mean(p) else float("nan"),
        "lift_10": lift(won, p, 0.1),
        "lift_20": lift(won, p, 0.2),
        "win_rate": mean(won),
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


def paired_difference(
    first: Floats, second: Floats, groups: npt.NDArray[Any], weight: Floats | None = None
) -> tuple[float, float]:
    """Mean of first - second and its standard error, with rows of one group (account, opportunity) counted as dependent."""
    difference = first - second
    w = _weights(difference, weight)
    mean = float((w * difference).sum() / w.sum())
    sums = np.bincount(codes(groups), weights=w * (difference - mean))
    return mean, float(np.sqrt((sums**2).sum()) / w.sum())


def bootstrap_interval(
    won: Floats, p: Floats, groups: npt.NDArray[Any], *, weight: Floats | None = None, rounds: int, seed: int
) -> dict[str, tuple[float, float]]:
    """80 % intervals of log_loss, brier, auc, calibration_error and observed_expected over resampled groups (percentiles, seeded).

    A resampled calibration error is larger than the one it stands for (bins get noisier), so its interval is the basic one: 2 x figure - percentiles,
    held at or above 0 (Davison & Hinkley, Bootstrap Methods, 1997, ch. 5).
    """
    number = codes(groups)
    count = int(number.max(initial=-1)) + 1
    random = np.random.default_rng(seed)
    w = _weights(won, weight)
    losses, squares = log_losses(won, p), squared_errors(won, p)
    draws: dict[str, list[float]] = {
        name: [] for name in ("log_loss", "brier", "auc", "calibration_error", "observed_expected")
    }
    for _ in range(rounds):
        drawn = w * np.bincount(random.integers(0, count, count), minlength=count)[number]
        total = max(float(drawn.sum()), 1e-12)
        draws["log_loss"].append(float((drawn * losses).sum() / total))
        draws["brier"].append(float((drawn * squares).sum() / total))
        draws["auc"].append(auc(won, p, drawn))
        draws["calibration_error"].append(calibration_error(won, p, weight=drawn))
        draws["observed_expected"].append(float((drawn * won).sum() / max(float((drawn * p).sum()), 1e-12)))
    found = {
        name: (float(np.nanquantile(values, 0.1)), float(np.nanquantile(values, 0.9)))
        for name, values in draws.items()
        if np.isfinite(values).any()
    }
    if "calibration_error" in found:
        low, high = found["calibration_error"]
        figure = calibration_error(won, p, weight=weight)
        found["calibration_error"] = (max(0.0, 2 * figure - high), max(0.0, 2 * figure - low))
    return found


def calibration_table(won: Floats, p: Floats, bins: int = 10, weight: Floats | None = None) -> list[dict[str, float]]:
    """Per bin of equal count: rows, their weight, mean predicted, share won."""
    order = np.argsort(p, kind="stable")
    w = _weights(won, weight)
    return [
        {
            "rows": len(part),
            "weight": float(w[part].sum()),
            "predicted": float((w[part] * p[part]).sum() / w[part].sum()),
            "won": float((w[part] * won[part]).sum() / w[part].sum()),
        }
        for part in np.array_split(order, min(bins, max(1, len(order))))
        if len(part) and w[part].sum() > 0
    ]


def _weights(values: Floats, weight: Floats | None) -> Floats:
    return np.ones(len(values)) if weight is None else weight
