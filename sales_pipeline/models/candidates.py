"""The candidate families: their few settings, and how each is fitted into a plain estimator.

Belongs here: fitting with scikit-learn and LightGBM. Does not belong here: judging and choosing (`evaluation`), scoring (`estimators`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sales_pipeline.models.estimators import Boosting, Estimator, KeyAmount, Linear, Nystroem, Rates, Tree, logit
from sales_pipeline.models.matrix import Encoded, Floats, Indices
from sales_pipeline.models.params import TrainingParams
from sales_pipeline.models.splits import time_stratified

Setting = Mapping[str, Any]
LEAF_PRIOR = 10.0
"""Rows at the base rate every leaf of a classification tree is shrunken with: rows of one opportunity are not independent."""


@dataclass(frozen=True)
class Sample:
    """Training rows in time order and their target (win: 1/0; amount: the scale it is learnt on)."""

    rows: Encoded
    y: Floats

    @property
    def x(self) -> Floats:
        """The numeric matrix."""
        return self.rows.x

    def take(self, rows: Indices) -> Sample:
        """Those rows, in that order."""
        return Sample(self.rows.take(rows), self.y[rows])


@dataclass(frozen=True)
class Fitting:
    """What a family is fitted with."""

    sample: Sample
    setting: Setting
    params: TrainingParams


@dataclass(frozen=True)
class Candidate:
    """A family with its settings. `is_probability`: raw scores are log-odds; else they need a calibrator."""

    name: str
    settings: tuple[Setting, ...]
    fit: Callable[[Fitting], Estimator]
    is_probability: bool = True
    note: str = ""


def shrunken_rates(sample: Sample, fields: tuple[str, ...], strength: float) -> Rates:
    """Rates of the fields' values, shrunken to the base rate (see `Rates`); one vote per opportunity and value."""
    won = sample.y
    base = float((won.sum() + 0.5) / (len(won) + 1.0))
    base_logit = float(logit(np.array([base]))[0])
    tables: dict[str, dict[str, float]] = {}
    for field in fields:
        votes = pd.DataFrame(
            {
                "opportunity": sample.rows.keys["opportunity_id"].to_numpy(dtype=object),
                "value": sample.rows.keys[field].astype(object).to_numpy(),
                "won": won,
            }
        ).dropna(subset=["value"])
        if votes.empty:
            continue
        votes["value"] = votes["value"].astype(str)
        counts = votes.drop_duplicates(["opportunity", "value"]).groupby("value")["won"].agg(["sum", "count"])
        counts = counts.sort_index()
        wins = counts["sum"].to_numpy(dtype=np.float64)
        closed = counts["count"].to_numpy(dtype=np.float64)
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


def _logistic(task: Fitting) -> Estimator:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=task.setting["C"], max_iter=2000, tol=1e-4).fit(task.sample.x, task.sample.y)
    return Linear(np.asarray(model.coef_[0]), float(model.intercept_[0]), task.sample.x.mean(axis=0))


def _linear_svm(task: Fitting) -> Estimator:
    from sklearn.svm import LinearSVC

    model = LinearSVC(C=task.setting["C"], dual=False, random_state=task.params.seed, max_iter=5000).fit(
        task.sample.x, task.sample.y
    )
    return Linear(np.asarray(model.coef_[0]), float(model.intercept_[0]), task.sample.x.mean(axis=0))


def _rbf_svm(task: Fitting) -> Estimator:
    from sklearn.svm import LinearSVC

    def head(mapped: Floats, y: Floats) -> Any:
        return LinearSVC(C=task.setting["C"], dual=False, random_state=task.params.seed, max_iter=5000).fit(mapped, y)

    return _kernel(task, head)


def _kernel(task: Fitting, head: Callable[[Floats, Floats], Any]) -> Nystroem:
    from sklearn.kernel_approximation import Nystroem as NystroemMap

    rows = time_stratified(len(task.sample.x), task.params.max_kernel_rows)
    x, y = task.sample.x[rows], task.sample.y[rows]
    gamma = float(task.setting["gamma"]) / max(float(x.shape[1] * x.var()), 1e-9)
    mapping = NystroemMap(
        gamma=gamma, n_components=min(task.params.nystroem_components, len(x)), random_state=task.params.seed
    ).fit(x)
    model = head(mapping.transform(x), y)
    weights = np.asarray(mapping.normalization_).T @ np.ravel(model.coef_)
    return Nystroem(
        np.asarray(mapping.components_),
        weights,
        float(np.ravel(model.intercept_)[0]),
        gamma,
        task.sample.x.mean(axis=0),
    )


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
    ).fit(task.sample.x, task.sample.y)
    share = np.asarray(model.tree_.value)[:, 0, 1]
    rows = np.asarray(model.tree_.weighted_n_node_samples)
    base = float(task.sample.y.mean())
    return _tree_arrays(model, logit((share * rows + LEAF_PRIOR * base) / (rows + LEAF_PRIOR)))


def _boosting(objective: str) -> Callable[[Fitting], Estimator]:
    def fit(task: Fitting) -> Estimator:
        import lightgbm

        options = {
            "objective": objective,
            "num_leaves": task.setting["leaves"],
            "learning_rate": task.setting["rate"],
            "min_data_in_leaf": max(20, int(0.0003 * len(task.sample.x))),
            "lambda_l2": 5.0,
            "feature_fraction": 0.8,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": task.params.threads,
            "seed": task.params.seed,
            "verbosity": -1,
        }
        data = lightgbm.Dataset(task.sample.x, task.sample.y, params={"verbosity": -1}, free_raw_data=True)
        model = lightgbm.train(options, data, num_boost_round=task.params.boosting_rounds)
        return Boosting(str(model.model_to_string()))

    return fit


def _median(task: Fitting) -> Estimator:
    return KeyAmount(float(np.median(task.sample.y)), uses_amount=False)


def _crm_amount(task: Fitting) -> Estimator:
    return KeyAmount(float(np.median(task.sample.y)), uses_amount=True)


def _linear_regression(task: Fitting) -> Estimator:
    from sklearn.linear_model import LinearRegression

    model = LinearRegression().fit(task.sample.x, task.sample.y)
    return Linear(np.asarray(model.coef_), float(model.intercept_), task.sample.x.mean(axis=0))


def _tree_regressor(task: Fitting) -> Estimator:
    from sklearn.tree import DecisionTreeRegressor

    model = DecisionTreeRegressor(
        max_depth=task.setting["depth"],
        min_samples_leaf=_leaf(task.setting, len(task.sample.x)),
        random_state=task.params.seed,
    ).fit(task.sample.x, task.sample.y)
    return _tree_arrays(model, np.asarray(model.tree_.value)[:, 0, 0].astype(np.float64))


def _svr_head(task: Fitting) -> tuple[Callable[[Floats, Floats], Any], float, float]:
    from sklearn.svm import LinearSVR

    center = float(np.median(task.sample.y))
    scale = float(np.std(task.sample.y)) or 1.0

    def head(mapped: Floats, y: Floats) -> Any:
        model = LinearSVR(
            C=task.setting["C"],
            epsilon=task.setting["epsilon"],
            loss="squared_epsilon_insensitive",
            dual=False,
            random_state=task.params.seed,
            max_iter=5000,
        )
        return model.fit(mapped, (y - center) / scale)

    return head, center, scale


def _svr_linear(task: Fitting) -> Estimator:
    head, center, scale = _svr_head(task)
    model = head(task.sample.x, task.sample.y)
    return Linear(
        np.ravel(model.coef_) * scale, float(np.ravel(model.intercept_)[0]) * scale + center, task.sample.x.mean(axis=0)
    )


def _svr_rbf(task: Fitting) -> Estimator:
    head, center, scale = _svr_head(task)
    fitted = _kernel(task, head)
    return Nystroem(fitted.basis, fitted.weights * scale, fitted.intercept * scale + center, fitted.gamma, fitted.mean)


_KERNEL_NOTE = "Nyström approximation of the Gaussian kernel, fitted on time-stratified rows"
_TREE_SETTINGS: tuple[Setting, ...] = ({"depth": 4, "leaf": 0.01}, {"depth": 7, "leaf": 0.005})

WIN_CANDIDATES: dict[str, Candidate] = {
    candidate.name: candidate
    for candidate in (
        Candidate("base_rate", ({},), _base_rate),
        Candidate("stage_rate", ({},), _stage_rate),
        Candidate("logistic_regression", ({"C": 0.003}, {"C": 0.03}, {"C": 0.3}), _logistic),
        Candidate("decision_tree", _TREE_SETTINGS, _tree_classifier),
        Candidate("linear_svm", ({"C": 0.01}, {"C": 0.1}), _linear_svm, is_probability=False),
        Candidate("rbf_svm", ({"C": 0.1, "gamma": 0.3}, {"C": 1.0, "gamma": 1.0}), _rbf_svm, False, _KERNEL_NOTE),
        Candidate("gradient_boosting", ({"leaves": 7, "rate": 0.05}, {"leaves": 31, "rate": 0.1}), _boosting("binary")),
    )
}

AMOUNT_CANDIDATES: dict[str, Candidate] = {
    candidate.name: candidate
    for candidate in (
        Candidate("median", ({},), _median),
        Candidate("crm_amount", ({},), _crm_amount),
        Candidate("linear_regression", ({},), _linear_regression),
        Candidate("decision_tree", _TREE_SETTINGS, _tree_regressor),
        Candidate("svr_linear", ({"C": 0.1, "epsilon": 0.05},), _svr_linear),
        Candidate("svr_rbf", ({"C": 1.0, "epsilon": 0.05, "gamma": 0.3},), _svr_rbf, note=_KERNEL_NOTE),
        Candidate(
            "gradient_boosting", ({"leaves": 7, "rate": 0.08}, {"leaves": 31, "rate": 0.1}), _boosting("regression")
        ),
    )
}
