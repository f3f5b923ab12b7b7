"""What each source column adds to a probability, in calibrated log-odds: base + contributions = log-odds of the probability.

Every family takes its raw score apart against its training mean, so that the parts add up (`estimators`). They are stretched by one factor per row, the
calibrator's secant between base and score, which keeps their signs and makes them add up to the calibrated log-odds (calibrators are monotone).

Belongs here: the arithmetic. Does not belong here: raw contributions (`estimators`), terms and words (`reasons`, `wording`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sales_pipeline.models.bundle import WinModel
from sales_pipeline.models.encoding import Encoding
from sales_pipeline.models.estimators import logit
from sales_pipeline.models.matrix import Encoded, Floats, Matrix, SourceColumn


@dataclass(frozen=True)
class Contributions:
    """Per row and column, in log-odds.

    base
        Log-odds of the model's reference (its training mean); the same for every row.
    effects
        (rows, columns): what each column adds.
    columns, values
        The columns and their values in the rows. `known` holds, for categories, the values the model tells apart; `usual` the training
        rows' median of numbers. `is_rate`: the columns are keys with a rate each.
    """

    base: float
    effects: Floats
    columns: tuple[SourceColumn, ...]
    values: Mapping[str, npt.NDArray[Any]]
    known: Mapping[str, frozenset[str]]
    usual: Mapping[str, float]
    is_rate: bool = False

    @property
    def log_odds(self) -> Floats:
        """Per row: base and contributions together."""
        return np.asarray(self.base + self.effects.sum(axis=1), dtype=np.float64)


@dataclass(frozen=True)
class Scores:
    """Rows as the estimator sees them, and its raw score of each."""

    rows: Encoded
    score: Floats


def score(win: WinModel, matrix: Matrix) -> Scores:
    """Raw scores of rows whose frame holds the model's columns."""
    rows = win.encoding.encode(matrix)
    return Scores(rows, win.estimator.score(rows))


def contributions(win: WinModel, matrix: Matrix, scored: Scores | None = None) -> Contributions:
    """The contributions of every row of a matrix that holds the model's columns; `scored` are its scores where they are known already."""
    scored = scored or score(win, matrix)
    raw = scored.score
    effects, names = win.estimator.contributions(scored.rows)
    # The same in every row but for rounding; each row takes its own, so that none depends on the others beside it.
    reference = raw - effects.sum(axis=1)
    log_odds = logit(win.calibrator.apply(raw))
    start = logit(win.calibrator.apply(reference))
    base = float(np.median(start)) if len(start) else 0.0
    away = raw - reference
    is_away = np.abs(away) > 1e-9
    stretch = np.where(
        is_away, (log_odds - start) / np.where(is_away, away, 1.0), win.calibrator.secant(raw, reference)
    )
    effects = effects * stretch[:, None]
    if names:
        columns = tuple(SourceColumn(name, "category", name) for name in names)
        values = {name: matrix.keys[name].to_numpy(dtype=object) for name in names}
        return Contributions(base, effects, columns, values, {}, {}, is_rate=True)
    values = {column.name: matrix.frame[column.name].to_numpy() for column in win.encoding.columns}
    return Contributions(base, effects, win.encoding.columns, values, *_learnt(win.encoding))


def _learnt(encoding: Encoding) -> tuple[dict[str, frozenset[str]], dict[str, float]]:
    known: dict[str, frozenset[str]] = {}
    usual: dict[str, float] = {}
    for column, block in zip(encoding.columns, encoding.blocks, strict=True):
        if "levels" in block:
            known[column.name] = frozenset(block["levels"])
        elif "median" in block:
            usual[column.name] = float(block["median"])
    return known, usual
