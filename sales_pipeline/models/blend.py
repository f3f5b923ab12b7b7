"""A blend of families on the log-odds scale: non-negative weights, learnt on predictions out of time and judged on other windows.

Stacked regressions (Breiman, 1996; van der Laan, Polley and Hubbard, "Super Learner", 2007): the members' log-odds enter a logistic regression whose
weights may not be negative. A blend is never judged by what its weights were learnt on: a row is predicted by weights from the other validation
windows and from other opportunities. (Opportunities are parted at random: leaving out all that stand in the judged window would leave the
short-lived ones, and weights learnt on those are wrong.)

Belongs here: the weights and the judgement. Does not belong here: fitting the members (`candidates`), scoring (`estimators.Blend`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sales_pipeline.models.estimators import expit, logit
from sales_pipeline.models.matrix import Floats, Indices, codes
from sales_pipeline.models.metrics import log_losses

if TYPE_CHECKING:
    from sales_pipeline.models.candidates import Candidate
    from sales_pipeline.models.evaluation import Result

NEVER_MEMBERS = ("base_rate", "stage_rate", "blend")
MOST_MEMBERS = 4
LEAST_WEIGHT = 0.05
"""A member with less than this share of the weights is left out."""
RIDGE = 1e-3
"""Penalty towards equal weights that sum to 1, beside a mean loss: members that agree share their weight instead of taking turns."""
PARTS, SEED = 5, 7
"""Parts opportunities are dealt into, and the seed of the deal."""


def fit_weights(scores: Floats, won: Floats, weight: Floats) -> tuple[Floats, float]:
    """Non-negative weights of score columns (rows, members), and the intercept, by penalised logistic regression (L-BFGS-B).

    One column gives Platt's calibrator without his smoothing. Columns are scaled by their spread inside, so that units do not matter to it.
    """
    from scipy.optimize import minimize

    members = scores.shape[1]
    center, spread = scores.mean(axis=0), scores.std(axis=0)
    spread = np.where(spread > 1e-12, spread, 1.0)
    z = (scores - center) / spread
    # Several columns are log-odds and may weigh the same; the unit of a single one means nothing.
    toward = spread / members if members > 1 else np.zeros(1)
    share = weight / weight.sum()
    rate = float(np.clip((share * won).sum(), 1e-6, 1 - 1e-6))

    def loss(values: Floats) -> tuple[float, Floats]:
        slope, level = values[:-1], values[-1]
        odds = z @ slope + level
        away = slope - toward
        error = share * (expit(odds) - won)
        value = float((share * (np.logaddexp(0.0, odds) - won * odds)).sum() + 0.5 * RIDGE * (away**2).sum())
        return value, np.append(error @ z + RIDGE * away, error.sum())

    start = np.append(toward, float(logit(np.array([rate]))[0]))
    bounds = [(0.0, None)] * members + [(None, None)]
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 500, "ftol": 1e-13})
    slopes = np.asarray(found.x[:-1], dtype=np.float64) / spread
    return slopes, float(found.x[-1] - (slopes * center).sum())


def fit_level(odds: Floats, won: Floats, weight: Floats) -> float:
    """What to add to log-odds so that their mean probability is the share won."""
    from scipy.optimize import brentq

    share = weight / weight.sum()
    rate = float(np.clip((share * won).sum(), 1e-6, 1 - 1e-6))
    reach = float(np.abs(odds).max(initial=0.0)) + 20.0
    return float(brentq(lambda level: float((share * expit(odds + level)).sum()) - rate, -reach, reach))


def blend_results(
    results: Sequence[Result],
    blend: Candidate,
    won: Floats,
    weight: Floats,
    opportunity: npt.NDArray[Any],
    window: Indices | None = None,
) -> Result | None:
    """The blend of the families' best settings, judged like any other candidate; None where fewer than two families are worth blending.

    `won`, `weight`, `opportunity` and `window` (number of the validation window) belong to the results' rows, which are the same rows in the same
    order for all; without windows opportunities alone are kept apart. The result's `setting` holds the weights learnt on all rows ({"members":
    [{"family", "setting", "weight"}], "intercept"}); its predictions and losses are those of weights learnt without the row's window and opportunity.
    """
    members = _members(results)
    if len(members) < 2:
        return None
    scores = np.column_stack([logit(member.predicted) for member in members])
    kept = _worth_keeping(scores, won, weight)
    if len(kept) < 2:
        return None
    members, scores = [members[i] for i in kept], scores[:, kept]
    number = codes(opportunity)
    part = (np.random.default_rng(SEED).permutation(int(number.max()) + 1) % PARTS)[number]
    several = window is not None and len(np.unique(window)) > 1
    windows = window if window is not None and several else np.zeros(len(won), dtype=np.int64)
    predicted = np.empty(len(won))
    for cell in sorted(set(zip(windows.tolist(), part.tolist(), strict=True))):
        judged = (windows == cell[0]) & (part == cell[1])
        taught = (part != cell[1]) & ((windows != cell[0]) if several else True)
        if len(np.unique(won[taught & (weight > 0)])) < 2:
            return None
        slopes, level = fit_weights(scores[taught], won[taught], weight[taught])
        predicted[judged] = expit(scores[judged] @ slopes + level)
    slopes, level = fit_weights(scores, won, weight)
    setting = {
        "members": [
            {"family": member.candidate.name, "setting": dict(member.setting), "weight": round(float(slope), 6)}
            for member, slope in zip(members, slopes, strict=True)
        ],
        "intercept": round(level, 6),
    }
    return replace(members[0], candidate=blend, setting=setting, predicted=predicted, loss=log_losses(won, predicted))


def _members(results: Sequence[Result]) -> list[Result]:
    """Each family's best setting, the best families first."""
    families: dict[str, Result] = {}
    for result in results:
        name = result.candidate.name
        if name not in NEVER_MEMBERS and (name not in families or result.mean_loss < families[name].mean_loss):
            families[name] = result
    return sorted(families.values(), key=lambda result: result.mean_loss)[:MOST_MEMBERS]


def _worth_keeping(scores: Floats, won: Floats, weight: Floats) -> list[int]:
    """Positions of the members whose share of the blend is worth a model."""
    slopes, _ = fit_weights(scores, won, weight)
    size = slopes * scores.std(axis=0)
    return [int(i) for i in np.flatnonzero(size >= LEAST_WEIGHT * max(float(size.sum()), 1e-12))]
