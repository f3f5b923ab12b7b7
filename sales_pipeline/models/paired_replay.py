"""Two recipes replayed side by side: fitted at several past dates on what was known then, and judged on all rows open at those dates.

The last window is one stretch of time; a recipe that was lucky in it is found out here. Both recipes see the same rows at every date.

Belongs here: which dates, and the probabilities of both. Does not belong here: the rule (`verdict`), the replay of the whole pipeline (`replay`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sales_pipeline.models.expected_outcomes import outcomes_known
from sales_pipeline.models.matrix import DAY, Floats, Indices, Matrix, SourceColumn, align
from sales_pipeline.models.params import TrainingParams
from sales_pipeline.models.predict import win_probabilities
from sales_pipeline.models.splits import plan_windows
from sales_pipeline.models.win import Recipe, fitted_recipe

MIN_DATE_ROWS = 20
"""Landmark rows of a date below which nothing is fitted for it."""


@dataclass(frozen=True)
class Contestant:
    """A recipe and the source columns it may choose from."""

    recipe: Recipe
    columns: tuple[SourceColumn, ...]


@dataclass(frozen=True)
class PairedReplay:
    """Matrix rows, what became of them and both contestants' probabilities, over all dates."""

    rows: Indices
    won: Floats
    probabilities: tuple[Floats, Floats]
    dates: tuple[float, ...]


def paired_replay(
    matrix: Matrix, as_of_us: float, contestants: tuple[Contestant, Contestant], params: TrainingParams, *, dates: int
) -> PairedReplay | None:
    """Replay on the latest `dates` landmark instants whose outcomes have mostly come; None where there is none on which both can be fitted.

    A date's fits see the landmarks before it, with the outcomes known strictly before it.
    """
    landmark = matrix.keys["as_of_us"].to_numpy(dtype=np.float64)
    found: list[tuple[float, Indices, Floats, Floats]] = []
    for date in reversed(_dates(matrix, as_of_us, params)):
        at = np.flatnonzero(landmark == date).astype(np.int64)
        before = _as_known(matrix, date)
        said = [_probabilities(before, matrix.take(at), date, one, params) for one in contestants]
        if said[0] is not None and said[1] is not None:
            found.append((date, at, said[0], said[1]))
        if len(found) == dates:
            break
    if not found:
        return None
    found.reverse()
    rows = np.concatenate([at for _, at, _, _ in found])
    won = outcomes_known(matrix.keys, as_of_us)[rows]
    known = np.isfinite(won)
    both = (np.concatenate([p for _, _, p, _ in found])[known], np.concatenate([q for _, _, _, q in found])[known])
    return PairedReplay(rows[known], won[known], both, tuple(date for date, _, _, _ in found))


def _dates(matrix: Matrix, as_of_us: float, params: TrainingParams) -> Sequence[float]:
    """Landmark instants of the later half that are older than the maturity, ascending."""
    landmark = matrix.keys["as_of_us"].to_numpy(dtype=np.float64)
    mature_us = as_of_us - plan_windows(matrix.keys, as_of_us, params).maturity_days * DAY
    instants, counts = np.unique(landmark, return_counts=True)
    usable = (counts >= MIN_DATE_ROWS) & (instants <= mature_us) & (instants > np.median(landmark))
    return [float(instant) for instant in instants[usable]]


def _as_known(matrix: Matrix, date: float) -> Matrix:
    """The rows before an instant, with the outcomes known strictly before it."""
    part = matrix.take(np.flatnonzero(matrix.keys["as_of_us"].to_numpy(dtype=np.float64) < date).astype(np.int64))
    keys = part.keys.copy()
    later = keys["closed_us"].to_numpy(dtype=np.float64) >= date
    keys.loc[later, ["is_won", "closed_us", "won_amount"]] = np.nan
    return replace(part, keys=keys)


def _probabilities(
    before: Matrix, at: Matrix, date: float, contestant: Contestant, params: TrainingParams
) -> Floats | None:
    known, scored = (align(part, contestant.columns) for part in (before, at))
    model = fitted_recipe(known, date, params, contestant.recipe, has_history=True)
    return win_probabilities(model, align(scored, model.encoding.columns)) if model is not None else None
