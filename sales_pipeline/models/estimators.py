"""Fitted models as plain arrays, scored by numpy: what a bundle stores instead of pickles.

Every estimator gives one raw score per row (win: a decision value, log-odds where the family has them; amount: the
target's scale) and what each matrix column added to it against the training mean. Predictions equal scikit-learn's (tested to 1e-9).

Belongs here: scoring and contributions of fitted models. Does not belong here: fitting (`candidates`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from sales_pipeline.models.matrix import Encoded, Floats, Indices
from sales_pipeline.models.tree_tables import TreeTables

QUADRATURE_NODES = 12


class Estimator(Protocol):
    """A fitted model."""

    @property
    def kind(self) -> str:
        """Which of this module's classes it is."""
        ...

    def score(self, rows: Encoded) -> Floats:
        """Raw scores, one per row."""
        ...

    def contributions(self, rows: Encoded) -> tuple[Floats, list[str]]:
        """What raised or lowered each raw score against the training mean: (rows, effects) and the effects' names.

        With matrix columns the effects are the groups, in order, and the names are empty; rates name theirs.
        """
        ...

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data."""
        ...


def _grouped(columns: Floats, groups: Indices) -> Floats:
    """Sums of matrix columns by source column."""
    summed = np.zeros((len(columns), int(groups.max()) + 1 if len(groups) else 0))
    for column, group in enumerate(groups.tolist()):
        summed[:, group] += columns[:, column]
    return summed


def logit(p: Floats) -> Floats:
    """Log-odds, held within those of 1e-6 and 1 - 1e-6."""
    held = np.clip(p, 1e-6, 1 - 1e-6)
    return np.log(held) - np.log1p(-held)


def expit(z: Floats) -> Floats:
    """Probability of log-odds, without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * z))


@dataclass(frozen=True)
class Linear:
    """intercept + x · coefficients."""

    coefficients: Floats
    intercept: float
    mean: Floats
    kind: str = "linear"

    def score(self, rows: Encoded) -> Floats:
        """Raw scores."""
        return rows.x @ self.coefficients + self.intercept

    def contributions(self, rows: Encoded) -> tuple[Floats, list[str]]:
        """coefficient x (value - training mean): exact."""
        return _grouped((rows.x - self.mean) * self.coefficients, rows.groups), []

    def stretched(self, slope: float, level: float) -> Linear:
        """The same model with scores of slope x score + level."""
        return Linear(self.coefficients * slope, self.intercept * slope + level, self.mean)

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data."""
        return {
            "kind": self.kind,
            "coefficients": self.coefficients.tolist(),
            "intercept": self.intercept,
            "mean": self.mean.tolist(),
        }


@dataclass(frozen=True)
class Tree:
    """A binary tree as arrays: rows go left where x[feature] <= threshold; feature -1 marks a leaf."""

    feature: Indices
    threshold: Floats
    left: Indices
    right: Indices
    value: Floats
    kind: str = "tree"

    def score(self, rows: Encoded) -> Floats:
        """The value of each row's leaf."""
        return self.value[self.leaves(rows.x)]

    def leaves(self, x: Floats) -> Indices:
        """The node each row of a matrix ends in."""
        return self._walk(x, None)

    def contributions(self, rows: Encoded) -> tuple[Floats, list[str]]:
        """Changes of the node's value along the path, by the column split on (Saabas, 2014): they add up exactly."""
        added = np.zeros_like(rows.x)
        self._walk(rows.x, added)
        return _grouped(added, rows.groups), []

    def _walk(self, x: Floats, added: Floats | None) -> Indices:
        node = np.zeros(len(x), dtype=np.int64)
        every = np.arange(len(x))
        active = every[self.feature[node] >= 0]
        while len(active):
            here = node[active]
            column = self.feature[here]
            # scikit-learn compares in single precision.
            goes_left = x[active, column].astype(np.float32) <= self.threshold[here]
            following = np.where(goes_left, self.left[here], self.right[here])
            if added is not None:
                added[active, column] += self.value[following] - self.value[here]
            node[active] = following
            active = active[self.feature[following] >= 0]
        return node

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data."""
        return {
            "kind": self.kind,
            **{name: getattr(self, name).tolist() for name in ("feature", "threshold", "left", "right", "value")},
        }


@dataclass(frozen=True)
class Nystroem:
    """A Gaussian-kernel machine over landmark points: exp(-gamma |x - b|²) · normalization · coefficients + intercept.

    Williams and Seeger, "Using the Nyström method to speed up kernel machines", 2001. `weights` is normalization times coefficients.
    """

    basis: Floats
    weights: Floats
    intercept: float
    gamma: float
    mean: Floats
    kind: str = "nystroem"

    def score(self, rows: Encoded) -> Floats:
        """Raw scores."""
        return self._score(rows.x)

    def _score(self, x: Floats) -> Floats:
        scores = np.empty(len(x))
        for start in range(0, len(x), 20_000):
            scores[start : start + 20_000] = self._kernel(x[start : start + 20_000]) @ self.weights
        return scores + self.intercept

    def _kernel(self, x: Floats) -> Floats:
        """Closeness to every landmark point: (rows, points)."""
        distance = (x**2).sum(axis=1)[:, None] + (self.basis**2).sum(axis=1) - 2.0 * x @ self.basis.T
        closeness: Floats = np.exp(-self.gamma * np.maximum(distance, 0.0))
        return closeness

    def contributions(self, rows: Encoded) -> tuple[Floats, list[str]]:
        """The gradient along the straight way from the training mean to the row, times the step (Sundararajan, Taly and Yan, "Axiomatic
        attribution for deep networks", 2017): a column that does not matter, or stands at its mean, gets nothing.

        Integrated by Gauss and Legendre; what the quadrature leaves (about 1e-9) is spread by size, so that they add up exactly.
        """
        away = rows.x - self.mean
        added = np.zeros_like(rows.x)
        nodes, shares = np.polynomial.legendre.leggauss(QUADRATURE_NODES)
        for start in range(0, len(rows), 20_000):
            part = slice(start, start + 20_000)
            for node, share in zip(0.5 * (nodes + 1), 0.5 * shares, strict=True):
                added[part] += share * self._gradient(self.mean + node * away[part]) * away[part]
        missing = self._score(rows.x) - float(self._score(self.mean[None, :])[0]) - added.sum(axis=1)
        size = np.abs(added).sum(axis=1)
        added += (missing / np.where(size > 0, size, 1.0))[:, None] * np.abs(added)
        return _grouped(added, rows.groups), []

    def stretched(self, slope: float, level: float) -> Nystroem:
        """The same machine with scores of slope x score + level."""
        return Nystroem(self.basis, self.weights * slope, self.intercept * slope + level, self.gamma, self.mean)

    def _gradient(self, x: Floats) -> Floats:
        """Of the score by each column."""
        pull = self._kernel(x) * self.weights
        gradient: Floats = 2.0 * self.gamma * (pull @ self.basis - pull.sum(axis=1)[:, None] * x)
        return gradient

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data."""
        return {
            "kind": self.kind,
            "basis": self.basis.tolist(),
            "weights": self.weights.tolist(),
            "intercept": self.intercept,
            "gamma": self.gamma,
            "mean": self.mean.tolist(),
        }


@dataclass(frozen=True)
class Boosting:
    """A LightGBM model by its text. Small trees are looked up in tables (`tree_tables`); of larger ones LightGBM says the same, taking longer."""

    text: str
    kind: str = "boosting"

    @cached_property
    def _booster(self) -> Any:
        import lightgbm

        return lightgbm.Booster(model_str=self.text)

    @cached_property
    def _tables(self) -> TreeTables | None:
        return TreeTables.read(self.text)

    def score(self, rows: Encoded) -> Floats:
        """Raw scores."""
        if self._tables is not None:
            return self._tables.score(rows.x)
        return np.asarray(self._booster.predict(rows.x, raw_score=True, num_threads=1), dtype=np.float64)

    def contributions(self, rows: Encoded) -> tuple[Floats, list[str]]:
        """Exact additive contributions of trees (Lundberg et al., 2020)."""
        if self._tables is not None:
            return self._tables.contributions(rows.x, rows.groups), []
        if not len(rows):
            return np.zeros((0, int(rows.groups.max()) + 1 if len(rows.groups) else 0)), []
        added = np.asarray(self._booster.predict(rows.x, pred_contrib=True, num_threads=1), dtype=np.float64)
        return _grouped(added[:, :-1], rows.groups), []

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data; the text goes to its own file (`bundle`)."""
        return {"kind": self.kind, "text": self.text}


@dataclass(frozen=True)
class Blend:
    """intercept + sum of weight x a member's raw score, on the log-odds scale; every member sees the matrix, not the keys."""

    members: tuple[Estimator, ...]
    weights: Floats
    intercept: float
    kind: str = "blend"

    def score(self, rows: Encoded) -> Floats:
        """Raw scores."""
        scores = np.full(len(rows), self.intercept)
        for member, weight in zip(self.members, self.weights, strict=True):
            scores += weight * member.score(rows)
        return scores

    def contributions(self, rows: Encoded) -> tuple[Floats, list[str]]:
        """The members' contributions by their weights: exact, as theirs are."""
        effects = np.zeros((len(rows), int(rows.groups.max(initial=-1)) + 1))
        for member, weight in zip(self.members, self.weights, strict=True):
            effects += weight * member.contributions(rows)[0]
        return effects, []

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data."""
        return {
            "kind": self.kind,
            "members": [member.to_dict() for member in self.members],
            "weights": self.weights.tolist(),
            "intercept": self.intercept,
        }


@dataclass(frozen=True)
class Rates:
    """Log-odds of the base rate plus, per field of the keys, the shrunken log-odds of its value.

    A value's rate is (won + strength x base) / (closed + strength); the strength per field is large where the values' rates differ no more than
    chance would have them (empirical Bayes by moments), so that noise stays at the base rate.
    """

    base: float
    fields: Mapping[str, Mapping[str, float]]
    kind: str = "rates"

    def score(self, rows: Encoded) -> Floats:
        """Log-odds."""
        effects, _ = self.contributions(rows)
        return np.asarray(self.base + effects.sum(axis=1), dtype=np.float64)

    def contributions(self, rows: Encoded) -> tuple[Floats, list[str]]:
        """Each field's log-odds against the base rate."""
        effects = np.zeros((len(rows), len(self.fields)))
        for index, (field, table) in enumerate(self.fields.items()):
            effects[:, index] = [table.get(str(value), 0.0) for value in rows.keys[field].to_numpy(dtype=object)]
        return effects, list(self.fields)

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data."""
        return {"kind": self.kind, "base": self.base, "fields": {name: dict(t) for name, t in self.fields.items()}}


@dataclass(frozen=True)
class KeyAmount:
    """The logarithm of the CRM's own amount, and a constant where it has none."""

    fallback: float
    uses_amount: bool
    is_log: bool = True
    kind: str = "key_amount"

    def score(self, rows: Encoded) -> Floats:
        """Amounts on the model's scale."""
        if not self.uses_amount:
            return np.full(len(rows), self.fallback)
        amount = rows.keys["amount"].to_numpy(dtype=np.float64)
        known = np.isfinite(amount) & (amount > 0)
        scaled = np.log(np.where(known, np.maximum(amount, 1.0), 1.0)) if self.is_log else amount
        return np.where(known, scaled, self.fallback)

    def contributions(self, rows: Encoded) -> tuple[Floats, list[str]]:
        """None: there is nothing to explain."""
        return np.zeros((len(rows), 0)), []

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data."""
        return {"kind": self.kind, "fallback": self.fallback, "uses_amount": self.uses_amount, "is_log": self.is_log}


def estimator_from_dict(data: Mapping[str, Any]) -> Estimator:
    """The inverse of an estimator's `to_dict`. KeyError for a kind that is not known."""
    kinds: dict[str, type[Any]] = {
        "linear": Linear,
        "tree": Tree,
        "nystroem": Nystroem,
        "boosting": Boosting,
        "blend": Blend,
        "rates": Rates,
        "key_amount": KeyAmount,
    }
    integers = ("feature", "left", "right")
    arguments: dict[str, npt.NDArray[Any] | Any] = {}
    for name, value in data.items():
        if name == "members":
            arguments[name] = tuple(estimator_from_dict(member) for member in value)
        elif isinstance(value, list):
            arguments[name] = np.asarray(value, dtype=np.int64 if name in integers else np.float64)
        else:
            arguments[name] = value
    built: Estimator = kinds[data["kind"]](**arguments)
    return built
