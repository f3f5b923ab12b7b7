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
import pandas as pd
from scipy.special import ndtr, ndtri

from sales_pipeline.models.blend import blend_results
from sales_pipeline.models.candidates import AMOUNT_CANDIDATES, WIN_CANDIDATES, Candidate, Fitting, Sample, Setting
from sales_pipeline.models.encoding import Encoding, learn_encoding
from sales_pipeline.models.estimators import Estimator, expit
from sales_pipeline.models.expected_outcomes import Expectations, learn_expectations, outcomes_known
from sales_pipeline.models.matrix import Encoded, Floats, Indices, Matrix
from sales_pipeline.models.metrics import log_losses, paired_difference
from sales_pipeline.models.params import TrainingParams
from sales_pipeline.models.selection import keep_columns
from sales_pipeline.models.splits import Fold, time_stratified

Task = Literal["win", "amount"]


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


def prepare(
    matrix: Matrix,
    rows: Indices,
    task: Task,
    params: TrainingParams,
    known_us: float = np.inf,
    expectations: Expectations | None = None,
) -> Prepared:
    """Encode training rows (in time order): columns selected and encoding learnt on them, with what was known strictly before `known_us`.

    win: rows still open then teach twice, won with their chance of winning as weight and lost with the rest (`expected_outcomes`); columns are selected
    on closed rows alone. What is to be expected of them is learnt on all rows before `known_us`, unless `expectations` (of the same instant) are given. amount: of the rows
    those won by then.
    """
    if task == "amount":
        known = outcomes_known(matrix.keys, known_us)[rows] == 1
        rows = rows[known & np.isfinite(target(matrix, task)[rows])]
    taught = rows[time_stratified(len(rows), params.max_training_rows)]
    part = matrix.take(taught)
    if task == "amount":
        y = target(part, task)
        encoding = _encoding(part, part, y, task, params)
        return Prepared(encoding, Sample(encoding.encode(part), y))
    expectations = expectations or learn_expectations(matrix, known_us, params)
    y = expectations.outcomes(matrix)[taught]
    part, y = part.take(np.flatnonzero(np.isfinite(y)).astype(np.int64)), y[np.isfinite(y)]
    closed = np.flatnonzero((y == 0) | (y == 1)).astype(np.int64)
    encoding = _encoding(part, part.take(closed), y[closed], task, params)
    return Prepared(encoding, expected_sample(encoding.encode(part), y))


def _encoding(part: Matrix, closed: Matrix, y: Floats, task: Task, params: TrainingParams) -> Encoding:
    return learn_encoding(
        part.frame,
        keep_columns(closed, y, task, params),
        max_categories=params.max_categories,
        min_category_rows=params.min_category_rows,
    )


def expected_sample(rows: Encoded, y: Floats) -> Sample:
    """Rows with outcomes between 0 and 1 as weighted rows that are won or lost, in the rows' order."""
    is_between = (y > 0) & (y < 1)
    position = np.repeat(np.arange(len(y), dtype=np.int64), 1 + is_between)
    first = np.append(True, np.diff(position) != 0)
    value = y[position]
    split = is_between[position]
    won = np.where(split, first.astype(np.float64), value)
    weight = np.where(split, np.where(first, value, 1 - value), 1.0)
    return Sample(rows.take(position), won, weight)


def clusters(keys: pd.DataFrame) -> npt.NDArray[Any]:
    """What rows depend on each other by: the account, else the opportunity."""
    opportunity = keys["opportunity_id"].to_numpy(dtype=object)
    if "account_id" not in keys:
        return opportunity
    account = keys["account_id"].to_numpy(dtype=object)
    return np.where(pd.isna(account), opportunity, account)


def fit(candidate: Candidate, setting: Setting, sample: Sample, params: TrainingParams) -> Estimator:
    """Fit one candidate with one setting."""
    return candidate.fit(Fitting(sample, setting, params))


def is_possible(candidate: Candidate, sample: Sample) -> bool:
    """Whether a candidate can be fitted on a sample: linear and kernel families need at least one matrix column."""
    return sample.x.shape[1] > 0 or candidate.name in ("base_rate", "stage_rate", "median", "crm_amount")


def probabilities(
    candidate: Candidate, setting: Setting, sample: Sample, rows: Encoded, params: TrainingParams
) -> Floats:
    """Win probabilities of later rows, as the family itself gives them: every one speaks in log-odds."""
    return expit(fit(candidate, setting, sample, params).score(rows))


@dataclass(frozen=True)
class Result:
    """One candidate with one setting over all validation windows: predictions out of time, and a loss per row.

    `actual` is the outcome or the logarithm of the amount; `loss` the log loss or the squared error of the logarithm. `window` numbers the validation window.
    """

    candidate: Candidate
    setting: Setting
    rows: Indices
    actual: Floats
    predicted: Floats
    loss: Floats
    window: Indices

    @property
    def mean_loss(self) -> float:
        """Mean over all judged rows."""
        return float(self.loss.mean())


def judge(task: Task, actual: Floats, predicted: Floats) -> Floats:
    """Loss per row."""
    return log_losses(actual, predicted) if task == "win" else (actual - predicted) ** 2


def predict_rows(
    task: Task, candidate: Candidate, setting: Setting, prepared: Prepared, rows: Encoded, params: TrainingParams
) -> Floats:
    """Win probabilities, or log amounts, of later rows, encoded like the training rows, by a candidate fitted on those."""
    if task == "win":
        return probabilities(candidate, setting, prepared.sample, rows, params)
    return fit(candidate, setting, prepared.sample, params).score(rows)


def search(
    matrix: Matrix, folds: Sequence[Fold], task: Task, candidates: Sequence[Candidate], params: TrainingParams
) -> list[Result]:
    """Every candidate with every setting on every fold; encoding and selection are learnt once per fold.

    A blend has nothing to fit here: it is made of the others' predictions, each window's by the weights of the other windows.
    """
    members = [candidate for candidate in candidates if candidate.settings]
    quick = params.model_copy(update={"max_training_rows": min(params.max_search_rows, params.max_training_rows)})
    pieces: dict[tuple[str, int], list[Floats]] = {}
    judged: list[tuple[Indices, Floats]] = []
    for fold, (rows, actual) in zip(folds, judged_rows(matrix, folds, task), strict=True):
        judged.append((rows, actual))
        prepared = prepare(matrix, fold.train, task, quick, fold.from_us)
        later = prepared.encoding.encode(matrix.take(rows))
        for candidate in members:
            if not is_possible(candidate, prepared.sample):
                continue
            for number, setting in enumerate(candidate.settings):
                predicted = predict_rows(task, candidate, setting, prepared, later, params)
                pieces.setdefault((candidate.name, number), []).append(predicted)
    if not judged:
        return []
    rows = np.concatenate([rows for rows, _ in judged])
    actual = np.concatenate([actual for _, actual in judged])
    window = np.repeat(np.arange(len(judged), dtype=np.int64), [len(rows) for rows, _ in judged])
    results: list[Result] = []
    for candidate in members:
        for number, setting in enumerate(candidate.settings):
            parts = pieces.get((candidate.name, number), [])
            if len(parts) == len(folds):
                predicted = np.concatenate(parts)
                loss = judge(task, actual, predicted)
                results.append(Result(candidate, setting, rows, actual, predicted, loss, window))
    for candidate in candidates:
        if not candidate.settings:
            groups = matrix.keys["opportunity_id"].to_numpy(dtype=object)[rows]
            blended = blend_results(results, candidate, actual, np.ones(len(rows)), groups, window)
            results.extend([blended] if blended is not None else [])
    return results


def judged_rows(matrix: Matrix, folds: Sequence[Fold], task: Task) -> list[tuple[Indices, Floats]]:
    """Per fold the rows it judges and what became of them, as seen before the fold's `known_us`; rows still open then are left out.

    Outcomes that are to be expected teach, but do not judge: candidates would be held against another model, and noise would look like skill.
    """
    y = target(matrix, task)
    found: list[tuple[Indices, Floats]] = []
    for fold in folds:
        won = outcomes_known(matrix.keys, fold.known_us)[fold.judge]
        usable = np.isfinite(won) if task == "win" else (won == 1) & np.isfinite(y[fold.judge])
        found.append((fold.judge[usable], y[fold.judge[usable]]))
    return found


@dataclass(frozen=True)
class Choice:
    """What was chosen and why; `best_of` holds each family's best setting, in order of simplicity."""

    chosen: Result
    best_of: tuple[Result, ...]
    has_skill: bool
    why: str


def choose(results: Sequence[Result], groups: npt.NDArray[Any], baseline: str, params: TrainingParams) -> Choice:
    """The simplest family that cannot be told from the best: its loss exceeds the best's by no more than one standard error
    of their paired difference (Breiman et al., 1984, with `groups` as the units: accounts, else opportunities; one value per matrix row).

    Skill: the best beats the baseline (for the base rate: also the best single rate of the judged rows) by more than `noise_z` standard errors of the paired difference, a limit raised for the number of
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
        gain, error = paired_difference(_baseline_loss(base), best.loss, groups[best.rows])
        limit = float(-ndtri(ndtr(-params.noise_z) / max(1, len(best_of) - 1)))
        if best is base or gain <= limit * error:
            why = (
                f"no skill: the best candidate, {best.candidate.name}, gains {gain:.4f} on {baseline}, "
                f"not more than {limit:.2f} standard errors ({error:.4f} each), the limit for the best of {len(best_of) - 1}"
            )
            return Choice(base, best_of, False, why)
    for result in best_of:
        excess, error = paired_difference(result.loss, best.loss, groups[best.rows])
        if result is best or excess <= error:
            why = f"lowest validation loss ({best.mean_loss:.4f})"
            if result is not best:
                why = (
                    f"simplest within one standard error of the best: {result.mean_loss:.4f} against "
                    f"{best.mean_loss:.4f} of {best.candidate.name} (difference {excess:.4f}, standard error {error:.4f})"
                )
            return Choice(result, best_of, True, why)
    raise AssertionError("the best candidate is within one standard error of itself")


def _baseline_loss(base: Result) -> Floats:
    """What a baseline loses per row; the base rate at least as little as the best single rate of the judged rows.

    Where the level moves between windows, whatever moves with the calendar beats a base rate of the past without telling one record from another.
    """
    if base.candidate.name != "base_rate":
        return base.loss
    single = log_losses(base.actual, np.full(len(base.actual), float(base.actual.mean())))
    return single if float(single.mean()) < base.mean_loss else base.loss


def setting_text(setting: Mapping[str, Any]) -> str:
    """A setting for people: `C=0.1`."""
    return ", ".join(f"{name}={value}" for name, value in setting.items()) or "none"
