"""The candidate families: their few settings, and how each is fitted into a plain estimator.

Belongs here: fitting with scikit-learn and LightGBM. Does not belong here: judging and choosing (`evaluation`), scoring (`estimators`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from sales_pipeline.models.boosting import Objective, fit_boosting
from sales_pipeline.models.estimators import Blend, Estimator, KeyAmount, Linear, Rates, Tree, logit
from sales_pipeline.models.machines import (
    DecisionScore,
    in_log_odds,
    kernel_classifier,
    kernel_regressor,
    linear_classifier,
    linear_regressor,
)
from sales_pipeline.models.matrix import Encoded, Floats, Indices, codes
from sales_pipeline.models.naive_bayes import fit_frequencies
from sales_pipeline.models.params import TrainingParams
from sales_pipeline.models.teaching import TeachingRows, first_of_landmark, weighted_median

Setting = Mapping[str, Any]
START_C, START_ALPHA = 0.01, 100.0
"""Penalty of the linear model boosted trees may start from."""
LEAF_PRIOR = 10.0
"""Rows at the base rate every leaf of a classification tree is shrunken with: rows of one opportunity are not independent."""


@dataclass(frozen=True)
class Sample:
    """Training rows in time order, their target (win: 1/0; amount: the scale it is learnt on) and their weight.

    `weight` is one per row (a landmark of an opportunity still open stands twice, won and lost, with weights that add up to 1); None, the default,
    counts every row once.
    """

    rows: Encoded
    y: Floats
    weight: Floats = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.weight is None:
            object.__setattr__(self, "weight", np.ones(len(self.y)))

    @property
    def x(self) -> Floats:
        """The numeric matrix."""
        return self.rows.x

    @cached_property
    def teaching(self) -> TeachingRows:
        """The same as arrays."""
        return TeachingRows(self.x, self.y, self.weight, codes(self.rows.keys["opportunity_id"]))

    def take(self, rows: Indices) -> Sample:
        """Those rows, in that order."""
        return Sample(self.rows.take(rows), self.y[rows], self.weight[rows])


@dataclass(frozen=True)
class Fitting:
    """What a family is fitted with."""

    sample: Sample
    setting: Setting
    params: TrainingParams


@dataclass(frozen=True)
class Candidate:
    """A family with its settings; raw scores of win families are log-odds."""

    name: str
    settings: tuple[Setting, ...]
    fit: Callable[[Fitting], Estimator]
    note: str = ""


def shrunken_rates(sample: Sample, fields: tuple[str, ...], strength: float) -> Rates:
    """Rates of the fields' values, shrunken to the base rate (see `Rates`); one weighted vote per opportunity and value."""
    won, weight = sample.y, sample.weight
    base = float(((won * weight).sum() + 0.5) / (weight.sum() + 1.0))
    base_logit = float(logit(np.array([base]))[0])
    tables: dict[str, dict[str, float]] = {}
    is_first = first_of_landmark(sample.rows.keys).astype(np.float64)
    for field in fields:
        votes = pd.DataFrame(
            {
                "opportunity": sample.rows.keys["opportunity_id"].to_numpy(dtype=object),
                "value": sample.rows.keys[field].astype(object).to_numpy(),
                "won": won * weight,
                "closed": weight,
                "landmarks": is_first,
            }
        ).dropna(subset=["value"])
        if votes.empty:
            continue
        votes["value"] = votes["value"].astype(str)
        # An opportunity's landmarks of one value share one vote: their mean weight.
        shared = votes.groupby(["opportunity", "value"], sort=False)[["won", "closed", "landmarks"]].sum()
        shared = shared[shared["closed"] > 0]
        counts = shared[["won", "closed"]].div(shared["landmarks"].clip(lower=1.0), axis=0).groupby("value").sum()
        counts = counts.sort_index()
        if counts.empty:
            continue
        wins = counts["won"].to_numpy(dtype=np.float64)
        closed = counts["closed"].to_numpy(dtype=np.float64)
        pooled = float(wins.sum() / closed.sum())
        k = _prior_strength(wins, closed, strength)
        rate = (wins + k * pooled) / (closed + k)
        effect = logit(rate) - float(logit(np.array([pooled]))[0])
        tables[field] = {str(value): float(e) for value, e in zip(counts.index, effect, strict=True)}
    return Rates(base=base_logit, fields=tables)


def _prior_strength(wins: Floats, closed: Floats, least: float) -> float:
    """Pseudo-observations by moments: pooled variance over the variance between values beyond chance, at least `least`."""
    pooled = float(wins.sum() / closed.sum())
    chance = pooled * (1 - pooled)
    if len(wins) < 2 or chance <= 0:
        return 1e6
    weights = closed / closed.sum()
    between = float((weights * (wins / closed - pooled) ** 2).sum()) - chance * float((weights / closed).sum())
    return float(max(least, min(1e6, chance / between))) if between > 0 else 1e6


def _base_rate(task: Fitting) -> Estimator:
    return shrunken_rates(task.sample, (), task.params.prior_strength)


def _stage_rate(task: Fitting) -> Estimator:
    return shrunken_rates(task.sample, ("stage",), task.params.prior_strength)


def _fit_logistic(x: Floats, y: Floats, weight: Floats, c: float) -> Linear:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=c, max_iter=2000, tol=1e-4).fit(x, y, sample_weight=weight)
    return Linear(np.asarray(model.coef_[0]), float(model.intercept_[0]), x.mean(axis=0))


def _logistic(task: Fitting) -> Estimator:
    return _fit_logistic(task.sample.x, task.sample.y, task.sample.weight, task.setting["C"])


def _tree_arrays(model: Any, value: Floats) -> Tree:
    tree = model.tree_
    return Tree(
        feature=np.asarray(tree.feature, dtype=np.int64).clip(min=-1),
        threshold=np.asarray(tree.threshold, dtype=np.float64),
        left=np.asarray(tree.children_left, dtype=np.int64),
        right=np.asarray(tree.children_right, dtype=np.int64),
        value=value,
    )


def _leaf(setting: Setting, rows: int) -> int:
    """Rows a leaf needs: a share of all, and 25 where there are enough (rows of one opportunity resemble each other)."""
    return max(5, min(25, rows // 20), int(setting["leaf"] * rows))


def _tree_classifier(task: Fitting) -> Estimator:
    from sklearn.tree import DecisionTreeClassifier

    model = DecisionTreeClassifier(
        max_depth=task.setting["depth"],
        min_samples_leaf=_leaf(task.setting, len(task.sample.x)),
        criterion="log_loss",
        random_state=task.params.seed,
    ).fit(task.sample.x, task.sample.y, sample_weight=task.sample.weight)
    share = np.asarray(model.tree_.value)[:, 0, 1]
    rows = np.asarray(model.tree_.weighted_n_node_samples)
    base = float(np.average(task.sample.y, weights=task.sample.weight))
    return _tree_arrays(model, logit((share * rows + LEAF_PRIOR * base) / (rows + LEAF_PRIOR)))


def _boosting(objective: Objective) -> Callable[[Fitting], Estimator]:
    def fit(task: Fitting) -> Estimator:
        sample = task.sample

        def start(rows: TeachingRows) -> Linear:
            if objective == "binary":
                return _fit_logistic(rows.x, rows.y, rows.weight, START_C)
            return _fit_ridge(rows.x, rows.y, rows.weight, START_ALPHA)

        return fit_boosting(
            sample.teaching,
            objective,
            task.setting,
            most_rounds=task.params.boosting_rounds,
            threads=task.params.threads,
            seed=task.params.seed,
            start=start if task.setting["start"] == "linear" else None,
        )

    return fit


def _blend(task: Fitting) -> Estimator:
    """Every member fitted on all rows, by the weights learnt out of time."""
    entries = task.setting["members"]
    members = [
        WIN_CANDIDATES[entry["family"]].fit(Fitting(task.sample, entry["setting"], task.params)) for entry in entries
    ]
    weights = np.array([float(entry["weight"]) for entry in entries])
    return Blend(tuple(members), weights, float(task.setting["intercept"]))


def _machine(fit: Callable[[TeachingRows, Setting, TrainingParams], DecisionScore]) -> Callable[[Fitting], Estimator]:
    """A support vector classifier, in log-odds."""

    def fit_machine(task: Fitting) -> Estimator:
        def once(_: Encoded, rows: TeachingRows) -> DecisionScore:
            return fit(rows, task.setting, task.params)

        return in_log_odds(once, task.sample.rows, task.sample.teaching, task.params.seed)

    return fit_machine


def _regression(fit: Callable[[TeachingRows, Setting, TrainingParams], Estimator]) -> Callable[[Fitting], Estimator]:
    """Support vector regression."""
    return lambda task: fit(task.sample.teaching, task.setting, task.params)


def _median(task: Fitting) -> Estimator:
    return KeyAmount(weighted_median(task.sample.y, task.sample.weight), uses_amount=False)


def _crm_amount(task: Fitting) -> Estimator:
    return KeyAmount(weighted_median(task.sample.y, task.sample.weight), uses_amount=True)


def _fit_ridge(x: Floats, y: Floats, weight: Floats, alpha: float) -> Linear:
    from sklearn.linear_model import Ridge

    model = Ridge(alpha=alpha).fit(x, y, sample_weight=weight)
    return Linear(np.asarray(model.coef_), float(model.intercept_), x.mean(axis=0))


def _linear_regression(task: Fitting) -> Estimator:
    from sklearn.linear_model import LinearRegression

    model = LinearRegression().fit(task.sample.x, task.sample.y, sample_weight=task.sample.weight)
    return Linear(np.asarray(model.coef_), float(model.intercept_), task.sample.x.mean(axis=0))


def _ridge(task: Fitting) -> Estimator:
    return _fit_ridge(task.sample.x, task.sample.y, task.sample.weight, task.setting["alpha"])


def _naive_bayes(task: Fitting) -> Estimator:
    def fit(encoded: Encoded, rows: TeachingRows) -> DecisionScore:
        return fit_frequencies(encoded, rows.y, rows.weight, smoothing=task.setting["smoothing"])

    return in_log_odds(fit, task.sample.rows, task.sample.teaching, task.params.seed)


def _tree_regressor(task: Fitting) -> Estimator:
    from sklearn.tree import DecisionTreeRegressor

    model = DecisionTreeRegressor(
        max_depth=task.setting["depth"],
        min_samples_leaf=_leaf(task.setting, len(task.sample.x)),
        random_state=task.params.seed,
    ).fit(task.sample.x, task.sample.y, sample_weight=task.sample.weight)
    return _tree_arrays(model, np.asarray(model.tree_.value)[:, 0, 0].astype(np.float64))


_KERNEL_NOTE = "Nyström approximation of the Gaussian kernel, fitted on time-stratified rows"
_BOOSTING_NOTE = "rounds chosen on a fifth of the training opportunities; started at the base rate or at a linear model"
_TREE_SETTINGS: tuple[Setting, ...] = ({"depth": 4, "leaf": 0.02}, {"depth": 7, "leaf": 0.01})
_BOOSTING_SETTINGS: tuple[Setting, ...] = (
    {"start": "linear", "leaves": 4, "rate": 0.05},
    {"start": "base", "leaves": 7, "rate": 0.05},
    {"start": "base", "leaves": 63, "rate": 0.1},
)

WIN_CANDIDATES: dict[str, Candidate] = {
    candidate.name: candidate
    for candidate in (
        Candidate("base_rate", ({},), _base_rate),
        Candidate("stage_rate", ({},), _stage_rate),
        Candidate("logistic_regression", ({"C": 0.001}, {"C": 0.01}, {"C": 0.1}), _logistic),
        Candidate("frequency_naive_bayes", ({"smoothing": 0.1},), _naive_bayes),
        Candidate("decision_tree", _TREE_SETTINGS, _tree_classifier),
        Candidate("linear_svm", ({"C": 0.0003}, {"C": 0.002}), _machine(linear_classifier)),
        Candidate(
            "rbf_svm",
            ({"C": 1.0, "gamma": 0.03}, {"C": 1.0, "gamma": 0.1}),
            _machine(kernel_classifier),
            note=_KERNEL_NOTE,
        ),
        Candidate("gradient_boosting", _BOOSTING_SETTINGS, _boosting("binary"), note=_BOOSTING_NOTE),
        Candidate(
            "blend", (), _blend, note="stacked on the validation windows; its setting comes from `blend_results`"
        ),
    )
}
"""From the simplest to the least simple. `blend` has no setting of its own to try: its members and weights come from the others' results."""

AMOUNT_CANDIDATES: dict[str, Candidate] = {
    candidate.name: candidate
    for candidate in (
        Candidate("median", ({},), _median),
        Candidate("crm_amount", ({},), _crm_amount),
        Candidate("linear_regression", ({},), _linear_regression),
        Candidate("ridge_regression", ({"alpha": 10.0}, {"alpha": 100.0}, {"alpha": 1000.0}), _ridge),
        Candidate("decision_tree", _TREE_SETTINGS, _tree_regressor),
        Candidate(
            "svr_linear", ({"C": 0.01, "epsilon": 0.05}, {"C": 0.1, "epsilon": 0.05}), _regression(linear_regressor)
        ),
        Candidate(
            "svr_rbf",
            ({"C": 1.0, "epsilon": 0.05, "gamma": 0.03}, {"C": 10.0, "epsilon": 0.05, "gamma": 0.01}),
            _regression(kernel_regressor),
            note=_KERNEL_NOTE,
        ),
        Candidate("gradient_boosting", _BOOSTING_SETTINGS, _boosting("regression"), note=_BOOSTING_NOTE),
    )
}
