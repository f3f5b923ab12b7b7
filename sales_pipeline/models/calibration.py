"""From raw scores to probabilities, and how sure a probability is.

Belongs here: calibrators as JSON-able values, and the interval of a calibrated probability. Does not belong here: which rows they are fitted on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from sales_pipeline.models.estimators import expit, logit
from sales_pipeline.models.interpolation import Curve
from sales_pipeline.models.matrix import Floats, codes

SHARE = 0.8
"""Coverage of every interval."""


@dataclass(frozen=True)
class Calibrator:
    """A monotone map from raw score to probability: logistic (Platt, 1999), or isotonic by its knots."""

    kind: str = "logistic"
    slope: float = 1.0
    intercept: float = 0.0
    knots_x: tuple[float, ...] = ()
    knots_y: tuple[float, ...] = ()

    def apply(self, scores: Floats) -> Floats:
        """Probabilities, strictly between 0 and 1."""
        if self.kind == "isotonic":
            return np.clip(np.interp(scores, self.knots_x, self.knots_y), 1e-6, 1 - 1e-6)
        return np.clip(expit(self.slope * scores + self.intercept), 1e-6, 1 - 1e-6)

    def secant(self, scores: Floats, reference: Floats) -> Floats:
        """Calibrated log-odds per unit of raw score between each score and its reference; never negative.

        Raw contributions times this add up to the calibrated log-odds against the reference's.
        """
        if self.kind == "logistic":
            return np.full(len(scores), self.slope)
        away = scores - reference
        gain = logit(self.apply(scores)) - logit(self.apply(reference))
        return np.where(np.abs(away) > 1e-9, gain / np.where(np.abs(away) > 1e-9, away, 1.0), 0.0)

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data."""
        return dict(self.__dict__) | {"knots_x": list(self.knots_x), "knots_y": list(self.knots_y)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Calibrator:
        """The inverse of `to_dict`."""
        return cls(**{**data, "knots_x": tuple(data["knots_x"]), "knots_y": tuple(data["knots_y"])})


def fit_logistic(scores: Floats, won: Floats, weight: Floats | None = None) -> Calibrator:
    """Platt's calibrator with his smoothed targets; outcomes may lie between 0 and 1. Scores that are all equal only get the base rate."""
    w = np.ones(len(won)) if weight is None else weight * (len(won) / weight.sum())
    positives, negatives = float((w * won).sum()), float((w * (1 - won)).sum())
    target = won * (positives + 1) / (positives + 2) + (1 - won) / (negatives + 2)
    center, spread = float(scores.mean()), float(scores.std())
    rate = float((w * target).mean())
    if spread < 1e-9:
        return Calibrator(slope=1.0, intercept=float(logit(np.array([rate]))[0]) - center)
    z = (scores - center) / spread
    slope, intercept = 0.5, float(logit(np.array([rate]))[0])
    ridge = 1e-3
    for _ in range(60):
        p = expit(slope * z + intercept)
        curve = w * np.maximum(p * (1 - p), 1e-9)
        away = w * (p - target)
        gradient = np.array([float((z * away).sum()) + ridge * slope, float(away.sum())])
        hessian = np.array(
            [
                [float((curve * z * z).sum()) + ridge, float((curve * z).sum())],
                [float((curve * z).sum()), float(curve.sum()) + 1e-9],
            ]
        )
        step = np.linalg.solve(hessian, gradient)
        step *= min(1.0, 4.0 / max(1e-12, float(np.abs(step).max())))
        slope, intercept = slope - float(step[0]), intercept - float(step[1])
        if float(np.abs(step).max()) < 1e-10:
            break
    if slope <= 0:
        return Calibrator(slope=0.0, intercept=float(logit(np.array([rate]))[0]))
    return Calibrator(slope=slope / spread, intercept=intercept - slope * center / spread)


def anchored(calibrator: Calibrator, scores: Floats, won: Floats, weight: Floats) -> Calibrator:
    """The calibrator moved in log-odds so that its mean probability of these scores is the (weighted, slightly smoothed) share won. Newton's method."""
    odds = logit(calibrator.apply(scores))
    total = float(weight.sum())
    target = (float((weight * won).sum()) + 0.5) / (total + 1.0)
    shift = 0.0
    for _ in range(60):
        p = expit(odds + shift)
        slope = float((weight * p * (1 - p)).sum()) / total
        step = (float((weight * p).sum()) / total - target) / max(slope, 1e-9)
        shift -= float(np.clip(step, -4.0, 4.0))
        if abs(step) < 1e-10:
            break
    if calibrator.kind == "isotonic":
        moved = expit(logit(np.array(calibrator.knots_y)) + shift)
        return replace(calibrator, knots_y=tuple(float(v) for v in moved))
    return replace(calibrator, intercept=calibrator.intercept + shift)


def fit_shrinking(scores: Floats, won: Floats) -> Calibrator:
    """Platt's calibrator with a slope of at most 1, for log-odds that are shrunken already.

    Where values hardly differ the free slope is the inverse of next to nothing: it would undo the shrinking, and throw the rates of a later
    fit, whose level is another by a hair, to 0 or 1. At a slope of 1 only the level is fitted.
    """
    free = fit_logistic(scores, won)
    return free if free.slope <= 1.0 else anchored(Calibrator(), scores, won, np.ones(len(won)))


def fit_isotonic(scores: Floats, won: Floats) -> Calibrator:
    """The monotone step fit by its knots, held off 0 and 1 by the number of rows."""
    from sklearn.isotonic import IsotonicRegression

    edge = 1.0 / (len(won) + 2.0)
    model = IsotonicRegression(out_of_bounds="clip", y_min=edge, y_max=1 - edge).fit(scores, won)
    return Calibrator(
        kind="isotonic",
        knots_x=tuple(float(v) for v in model.X_thresholds_),
        knots_y=tuple(float(v) for v in model.y_thresholds_),
    )


def choose_calibrator(scores: Floats, won: Floats, *, min_isotonic_rows: int) -> tuple[Calibrator, str]:
    """Logistic, unless rows are plenty and isotonic is better on the later half of them; rows come in time order."""
    logistic = fit_logistic(scores, won)
    half = len(scores) // 2
    if len(scores) < min_isotonic_rows or len(set(won[:half].tolist())) < 2:
        return logistic, f"logistic: {len(scores)} rows, isotonic needs {min_isotonic_rows}"
    later = won[half:]
    losses = []
    for calibrator in (fit_logistic(scores[:half], won[:half]), fit_isotonic(scores[:half], won[:half])):
        p = calibrator.apply(scores[half:])
        losses.append(float(-(later * np.log(p) + (1 - later) * np.log1p(-p)).mean()))
    text = f"log loss on the later half: logistic {losses[0]:.4f}, isotonic {losses[1]:.4f}"
    if losses[1] < losses[0] - 0.001:
        return fit_isotonic(scores, won), f"isotonic: {text}"
    return logistic, f"logistic: {text}"


@dataclass(frozen=True)
class IntervalTable:
    """How many opportunities out of time stood near a probability: what its 80 % interval rests on.

    The interval is Jeffreys' for a rate of p seen on that many (Brown, Cai and DasGupta, 2001): it speaks of the share that is won among
    opportunities scored like this one, not of the single opportunity.
    """

    grid: tuple[float, ...]
    counts: tuple[float, ...]

    def bounds(self, p: Floats) -> tuple[Floats, Floats]:
        """Lower and upper end; p lies between them."""
        odds = logit(p)
        low, high = (expit(curve(odds)) for curve in self._curves)
        return np.minimum(low, p), np.maximum(high, p)

    @cached_property
    def _curves(self) -> tuple[Curve, Curve]:
        """Log-odds of the ends by those of p. A quantile of the beta distribution takes a hundred times as long as anything else that is done to a probability."""
        from scipy.stats import beta

        reach = float(logit(np.array([1.0]))[0])
        inside = [end for end in self.grid if -reach < end < reach]

        def end_of(share: float) -> Curve:
            def quantile(odds: Floats) -> Floats:
                # Seen from the rarer outcome: next to 1 there are no digits left for how near.
                rarer, n = expit(-np.abs(odds)), np.interp(odds, self.grid, self.counts)
                found = beta.ppf(np.where(odds > 0, 1 - share, share), rarer * n + 0.5, (1 - rarer) * n + 0.5)
                away = np.log(found) - np.log1p(-found)
                return np.asarray(np.where(odds > 0, -away, away), dtype=np.float64)

            return Curve.through(quantile, np.array([-reach, *inside, reach]), tolerance=1e-10)

        return end_of((1 - SHARE) / 2), end_of((1 + SHARE) / 2)

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data."""
        return {"grid": list(self.grid), "counts": list(self.counts)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> IntervalTable:
        """The inverse of `to_dict`."""
        return cls(tuple(data["grid"]), tuple(data["counts"]))


def interval_table(p: Floats, opportunity: npt.NDArray[Any], *, reach: float = 0.5) -> IntervalTable:
    """Distinct opportunities within `reach` log-odds of each grid point; at least 2."""
    order = np.argsort(p, kind="stable")
    odds = logit(p[order])
    ids = codes(opportunity)[order]
    grid = np.arange(-6.0, 6.01, 0.25)
    counts = []
    for center in grid:
        start, end = np.searchsorted(odds, [center - reach, center + reach])
        counts.append(float(max(2, len(np.unique(ids[start:end])))))
    return IntervalTable(tuple(grid.tolist()), tuple(counts))
