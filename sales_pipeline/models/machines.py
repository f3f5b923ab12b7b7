"""Support vector machines, linear and with a Gaussian kernel, and how decision scores become log-odds.

Belongs here: fitting with scikit-learn's linear solvers on the columns or on a Nyström map of them. Does not belong here: the settings that are
tried (`candidates`), scoring (`estimators`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from sales_pipeline.models.blend import fit_level, fit_weights
from sales_pipeline.models.estimators import Estimator, Linear, Nystroem
from sales_pipeline.models.matrix import Encoded, Floats
from sales_pipeline.models.params import TrainingParams
from sales_pipeline.models.splits import time_stratified
from sales_pipeline.models.teaching import TeachingRows, split_by_opportunity, weighted_median

Setting = Mapping[str, Any]
Head = Callable[[Floats, Floats, Floats], Any]
"""Fits a linear machine on (matrix, target, weight)."""
HELD_OUT_TIMES, ENOUGH_ROWS = 5, 5_000
"""How often opportunities are held out to find the slope of decision scores, and the rows from which once is enough."""


class DecisionScore(Estimator, Protocol):
    """A fitted model whose scores have a unit of their own."""

    def stretched(self, slope: float, level: float) -> Estimator:
        """The same model with scores of slope x score + level."""
        ...


def linear_classifier(rows: TeachingRows, setting: Setting, params: TrainingParams) -> Linear:
    """A linear support vector classifier; its scores are distances from the plane."""
    return _plane(_classifier(setting, params), rows)


def kernel_classifier(rows: TeachingRows, setting: Setting, params: TrainingParams) -> Nystroem:
    """The same on a Gaussian kernel's Nyström map of a time-stratified part of the rows."""
    return _kernel(_classifier(setting, params), rows, setting, params)


def linear_regressor(rows: TeachingRows, setting: Setting, params: TrainingParams) -> Linear:
    """Linear support vector regression of the target."""
    head, scale, center = _regressor(rows, setting, params)
    return _plane(head, rows).stretched(scale, center)


def kernel_regressor(rows: TeachingRows, setting: Setting, params: TrainingParams) -> Nystroem:
    """The same on a Gaussian kernel's Nyström map of a time-stratified part of the rows."""
    head, scale, center = _regressor(rows, setting, params)
    return _kernel(head, rows, setting, params).stretched(scale, center)


def in_log_odds(
    fit: Callable[[Encoded, TeachingRows], DecisionScore], encoded: Encoded, rows: TeachingRows, seed: int
) -> Estimator:
    """A model of decision scores, turned into one of log-odds (Platt, 1999): by the slope its scores have on opportunities held out when it is fitted
    on the others; then fitted on all rows, at the level that gives their share won."""
    model = fit(encoded, rows)
    whole = model.score(encoded)
    spread = max(float(whole.std()), 1e-12)
    held, scores = [rows], [whole / spread]
    times = HELD_OUT_TIMES if len(rows.y) < ENOUGH_ROWS else 1
    drawn = [split_by_opportunity(rows, seed + number) for number in range(times)]
    splits = [split for split in drawn if split is not None]
    if splits:
        held = [rows.take(judged) for _, judged in splits]
        # A penalised machine's scores grow with its rows: slopes are told in spreads of its scores over all rows.
        every = [fit(encoded.take(taught), rows.take(taught)).score(encoded) for taught, _ in splits]
        scores = [
            score[judged] / max(float(score.std()), 1e-12) for score, (_, judged) in zip(every, splits, strict=True)
        ]
    slopes, _ = fit_weights(
        np.concatenate(scores)[:, None],
        np.concatenate([part.y for part in held]),
        np.concatenate([part.weight for part in held]),
    )
    slope = float(slopes[0]) / spread
    return model.stretched(slope, fit_level(slope * whole, rows.y, rows.weight))


def _classifier(setting: Setting, params: TrainingParams) -> Head:
    from sklearn.svm import LinearSVC

    def head(x: Floats, y: Floats, weight: Floats) -> Any:
        model = LinearSVC(C=setting["C"], dual=False, random_state=params.seed, max_iter=5000, tol=1e-3)
        return model.fit(x, y, sample_weight=weight)

    return head


def _regressor(rows: TeachingRows, setting: Setting, params: TrainingParams) -> tuple[Head, float, float]:
    """The head, and the scale and centre its target is brought to."""
    from sklearn.svm import LinearSVR

    center = weighted_median(rows.y, rows.weight)
    scale = float(np.std(rows.y)) or 1.0

    def head(x: Floats, y: Floats, weight: Floats) -> Any:
        model = LinearSVR(
            C=setting["C"],
            epsilon=setting["epsilon"],
            loss="squared_epsilon_insensitive",
            dual=False,
            random_state=params.seed,
            max_iter=5000,
        )
        return model.fit(x, (y - center) / scale, sample_weight=weight)

    return head, scale, center


def _plane(head: Head, rows: TeachingRows) -> Linear:
    model = head(rows.x, rows.y, rows.weight)
    return Linear(np.ravel(model.coef_), float(np.ravel(model.intercept_)[0]), rows.x.mean(axis=0))


def _kernel(head: Head, rows: TeachingRows, setting: Setting, params: TrainingParams) -> Nystroem:
    from sklearn.kernel_approximation import Nystroem as NystroemMap

    part = rows.take(time_stratified(len(rows.y), params.max_kernel_rows))
    gamma = float(setting["gamma"]) / max(float(part.x.shape[1] * part.x.var()), 1e-9)
    mapping = NystroemMap(
        gamma=gamma, n_components=min(params.nystroem_components, len(part.y)), random_state=params.seed
    ).fit(part.x)
    model = head(mapping.transform(part.x), part.y, part.weight)
    weights = np.asarray(mapping.normalization_).T @ np.ravel(model.coef_)
    return Nystroem(
        np.asarray(mapping.components_), weights, float(np.ravel(model.intercept_)[0]), gamma, rows.x.mean(axis=0)
    )
