"""Search and choice: candidates over rolling validation windows, the simplest within one standard error of the best.

Belongs here: fitting candidates on a fold's training rows and judging them on its later rows. Does not belong here: the final fit and
the bundle (`train`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from sales_pipeline.models.calibration import fit_logistic
from sales_pipeline.models.candidates import AMOUNT_CANDIDATES, WIN_CANDIDATES, Candidate, Fitting, Sample, Setting
from sales_pipeline.models.encoding import Encoding, learn_encoding
from sales_pipeline.models.estimators import Estimator, expit
from sales_pipeline.models.matrix import Encoded, Floats, Indices, Matrix, codes
from sales_pipeline.models.metrics import log_losses, paired_difference
from sales_pipeline.models.params import TrainingParams
from sales_pipeline.models.selection import keep_columns
from sales_pipeline.models.splits import Fold, thin_by_opportunity

Task = Literal["win", "amount"]

CALIBRATOR_SHARE = 0.2
"""Of a fold's training rows, the latest: what a decision-score family's calibrator is fitted on."""


def candidates_of(task: Task, names: Sequence[str]) -> list[Candidate]:
    """The candidates of a task by name, in the order from simple to less simple."""
    table = WIN_CANDIDATES if task == "win" else AMOUNT_CANDIDATES
    return [candidate for name, candidate in table.items() if name in names]


def target(matrix: Matrix, task: Task) -> Floats:
    """win: 1 or 0; amount: natural logarithm of the won amount. NaN where the row cannot teach the task."""
    if task == "win":
        return matrix.keys["is_won"].to_numpy(dtype=np.float64)
    amount = matrix.keys["won_amount"].to_numpy(dtype=np.float64)
    usable = np.isfinite(amount) & (amount > 0) & (matrix.keys["is_won"].to_numpy(dtype=np.float64) == 1)
    return np.where(usable, np.log(np.where(usable, np.maximum(amount, 1.0), 1.0)), np.nan)


@dataclass(frozen=True)
class Prepared:
    """Training rows of a fold, encoded by what they alone teach."""

    encoding: Encoding
    sample: Sample


def prepare(matrix: Matrix, rows: Indices, task: Task, params: TrainingParams) -> Prepared:
    """Encode training rows (in time order): columns selected and encoding learnt on them."""
    opportunity = matrix.keys["opportunity_id"].to_numpy(dtype=object)
    rows = thin_by_opportunity(rows, opportunity, params.max_training_rows, params.seed)
    part = matrix.take(rows)
    y = target(part, task)
    columns = keep_columns(part, y, task, params)
    encoding = learn_encoding(
        part.frame, columns, max_categories=params.max_categories, min_category_rows=params.min_category_rows
    )
    return Prepared(encoding, Sample(encoding.encode(part), y))


def fit(candidate: Candidate, setting: Setting, sample: Sample, params: TrainingParams) -> Estimator:
    """Fit one candidate with one setting."""
    return candidate.fit(Fitting(sample, setting, params))


def is_possible(candidate: Candidate, sample: Sample) -> bool:
    """Whether a candidate can be fitted on a sample: linear and kernel families need at least one matrix column."""
    return sample.x.shape[1] > 0 or candidate.name in ("base_rate", "stage_rate", "median", "crm_amount")


def probabilities(
    candidate: Candidate, setting: Setting, sample: Sample, rows: Encoded, params: TrainingParams
) -> Floats:
    """Win probabilities of later rows. Decision scores go through a calibrator fitted on the latest training rows,
    which the machine itself was not fitted on (nor on other rows of their opportunities)."""
    if candidate.is_probability:
        return expit(fit(candidate, setting, sample, params).score(rows))
    cut = int(len(sample.y) * (1 - CALIBRATOR_SHARE))
    opportunity = codes(sample.rows.keys["opportunity_id"])
    later = np.arange(cut, len(sample.y))
    earlier = np.flatnonzero(~np.isin(opportunity[:cut], opportunity[later], kind="table"))
    if min(len(set(sample.y[earlier].tolist())), len(set(sample.y[later].tolist()))) < 2:
        earlier = later = np.arange(len(sample.y))
    model = fit(candidate, setting, sample.take(earlier), params)
    held = sample.take(later)
    return fit_logistic(model.score(held.rows), held.y).apply(model.score(rows))


@dataclass(frozen=True)
class Result:
    """One candidate with one setting over all validation windows: predictions out of time, and a loss per row.

    `loss` is the log loss (win) or the squared error of the logarithm (amount).
    """

    candidate: Candidate
    setting: Setting
    rows: Indices
    predicted: Floats
    loss: Floats

    @property
    def mean_loss(self) -> float:
        """Mean over all judged rows."""
        return float(self.loss.mean())


def judge(task: Task, actual: Floats, predicted: Floats) -> Floats:
    """Loss per row."""
    return log_losses(actual, predicted) if task == "win" else (actual - predicted) ** 2


def predict_rows(
    task: Task, candidate: Candidate, setting: Setting, prepared: Prepared, part: Matrix, params: TrainingParams
) -> Floats:
    """Win probabilities, or log amounts, of later rows by a candidate fitted on prepared training rows."""
    rows = prepared.encoding.encode(part)
    if task == "win":
        return probabilities(candidate, setting, prepared.sample, rows, params)
    return fit(candidate, setting, prepared.sample, params).score(rows)


def search(
    matrix: Matrix, folds: Sequence[Fold], task: Task, candidates: Sequence[Candidate], params: TrainingParams
) -> list[Result]:
    """Every candidate with every setting on every fold; encoding and selection are learnt once per fold."""
    y = target(matrix, task)
    pieces: dict[tuple[str, int], list[tuple[Indices, Floats]]] = {}
    for fold in folds:
        train, judged = fold.train[np.isfinite(y[fold.train])], fold.judge[np.isfinite(y[fold.judge])]
        prepared = prepare(matrix, train, task, params)
        part = matrix.take(judged)
        for candidate in candidates:
            if not is_possible(candidate, prepared.sample):
                continue
            for number, setting in enumerate(candidate.settings):
                predicted = predict_rows(task, candidate, setting, prepared, part, params)
                pieces.setdefault((candidate.name, number), []).append((judged, predicted))
    results: list[Result] = []
    for candidate in candidates:
        for number, setting in enumerate(candidate.settings):
            parts = pieces.get((candidate.name, number), [])
            if len(parts) != len(folds) or not parts:
                continue
            rows = np.concatenate([rows for rows, _ in parts])
            predicted = np.concatenate([values for _, values in parts])
            results.append(Result(candidate, setting, rows, predicted, judge(task, y[rows], predicted)))
    return results


@dataclass(frozen=True)
class Choice:
    """What was chosen and why; `best_of` holds each family's best setting, in order of simplicity."""

    chosen: Result
    best_of: tuple[Result, ...]
    has_skill: bool
    why: str


def choose(results: Sequence[Result], opportunity: npt.NDArray[Any], baseline: str, params: TrainingParams) -> Choice:
    """The simplest family that cannot be told from the best: its loss exceeds the best's by no more than one standard error
    of their paired difference (Breiman et al., 1984, with opportunities as the units).

    Skill: the best beats the baseline by more than `noise_z` standard errors of the paired difference, a limit raised for the number of
    families that compete (Bonferroni: the best of several noises is larger than one); without it the baseline is chosen.
    """
    families: dict[str, Result] = {}
    for result in results:
        name = result.candidate.name
        if name not in families or result.mean_loss < families[name].mean_loss:
            families[name] = result
    best_of = tuple(families.values())
    best = min(best_of, key=lambda result: result.mean_loss)
    base = families.get(baseline)
    if base is not None:
        gain, error = paired_difference(base.loss, best.loss, opportunity[best.rows])
        limit = float(norm.isf(norm.sf(params.noise_z) / max(1, len(best_of) - 1)))
        if best is base or gain <= limit * error:
            why = (
                f"no skill: the best candidate, {best.candidate.name}, gains {gain:.4f} on {baseline}, "
                f"not more than {limit:.2f} standard errors ({error:.4f} each), the limit for the best of {len(best_of) - 1}"
            )
            return Choice(base, best_of, False, why)
    for result in best_of:
        excess, error = paired_difference(result.loss, best.loss, opportunity[best.rows])
        if result is best or excess <= error:
            why = f"lowest validation loss ({best.mean_loss:.4f})"
            if result is not best:
                why = (
                    f"simplest within one standard error of the best: {result.mean_loss:.4f} against "
                    f"{best.mean_loss:.4f} of {best.candidate.name} (difference {excess:.4f}, standard error {error:.4f})"
                )
            return Choice(result, best_of, True, why)
    raise AssertionError("the best candidate is within one standard error of itself")


def setting_text(setting: Mapping[str, Any]) -> str:
    """A setting for people: `C=0.1`."""
    return ", ".join(f"{name}={value}" for name, value in setting.items()) or "none"
