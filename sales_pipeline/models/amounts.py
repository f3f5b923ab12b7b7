"""The amount an opportunity brings if it is won: chosen on the same windows as the win model, with a conformal interval.

The target is the logarithm of the won amount, in the record's own currency, held within fences far out (5 spreads between quartiles beyond them; Tukey,
1977, calls 3 far out): one typing error must not decide. The expected amount is exp(prediction) times Duan's smearing factor (Duan, 1983); its 80 %
interval comes from the residuals of later rows (split conformal: Lei et al., 2018), by stage and apart where the CRM states no amount (Mondrian: Vovk
et al., 2003), as amounts settle while an opportunity advances.

Belongs here: fitting, choosing and applying the amount model. Does not belong here: win probabilities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from sales_pipeline.models.candidates import Setting
from sales_pipeline.models.encoding import Encoding
from sales_pipeline.models.estimators import Estimator, KeyAmount
from sales_pipeline.models.evaluation import (
    Choice,
    Prepared,
    candidates_of,
    choose,
    clusters,
    fit,
    is_possible,
    judged_rows,
    prepare,
    search,
    setting_text,
    target,
)
from sales_pipeline.models.expected_outcomes import outcomes_known
from sales_pipeline.models.matrix import Floats, Indices, Matrix, codes
from sales_pipeline.models.metrics import amount_metrics, paired_difference
from sales_pipeline.models.params import TrainingParams
from sales_pipeline.models.splits import Fold, Plan
from sales_pipeline.models.spreads import STATED, UNSTATED, Spread, amounts_of, groups_of, learn_spreads, spread_of
from sales_pipeline.models.timing import interval_coverage

MIN_JUDGED = 10
FENCE = 5.0
"""Spreads between quartiles (of the logarithm, at least log 2) beyond the quartiles at which amounts are held."""
CRM = "crm_amount"


@dataclass(frozen=True)
class AmountModel:
    """Encoding and estimator of the log amount, the fences scores are held within, and the spread by group (`STATED`)."""

    family: str
    encoding: Encoding
    estimator: Estimator
    fences: tuple[float, float]
    spreads: Mapping[str, Spread]

    def predict(self, matrix: Matrix) -> tuple[Floats, Floats, Floats]:
        """Expected amount if won, lower and upper end of its 80 % interval, in the record's currency: finite, at least 0, the ends around it."""
        score = np.clip(self.estimator.score(self.encoding.encode(matrix)), *self.fences)
        return amounts_of(score, matrix.keys, self.spreads)

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data, without the estimator (`bundle` adds it)."""
        return {
            "family": self.family,
            "encoding": self.encoding.to_dict(),
            "fences": list(self.fences),
            "spreads": {name: dict(spread.__dict__) for name, spread in self.spreads.items()},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], estimator: Estimator) -> AmountModel:
        """The inverse of `to_dict`."""
        low, high = data["fences"]
        return cls(
            family=data["family"],
            encoding=Encoding.from_dict(data["encoding"]),
            estimator=estimator,
            fences=(float(low), float(high)),
            spreads={name: Spread(**spread) for name, spread in data["spreads"].items()},
        )


@dataclass(frozen=True)
class AmountTraining:
    """The model (None without won amounts), the candidates' figures on validation and on the test window, and why it was chosen.

    `facts` of a chosen model: `against_crm_amount` (on the test window: `log_mse` and `mae` of the model and of the CRM's own amount, the paired
    `difference` and its `standard_error`, a `verdict`) and `coverage` (the share of the test window's amounts in an interval made before it).
    """

    model: AmountModel | None
    candidates: list[dict[str, Any]]
    facts: dict[str, Any]


def train_amount(
    matrix: Matrix, plan: Plan, params: TrainingParams, *, recipe: tuple[str, Setting] | None = None
) -> AmountTraining:
    """Choose on the validation windows, judge once on the test window, fit on all won rows.

    With a `recipe` (family and setting, `facts["recipe"]` of an earlier training) only that competes with the CRM's own amount: a refit without a search.
    """
    y = target(matrix, "amount")
    final = plan.final[np.isfinite(y[plan.final])]
    opportunity = codes(matrix.keys["opportunity_id"])
    won_count = _distinct(opportunity[final])
    if not won_count:
        return AmountTraining(None, [], {"choice": None, "why": "no won opportunity has an amount", "won_amounts": 0})
    fences = _fences(y[final])
    # From here on every amount is held within the fences.
    matrix = replace(matrix, keys=matrix.keys.assign(won_amount=np.exp(np.clip(y, *fences))))
    y = target(matrix, "amount")
    prepared = prepare(matrix, final, "amount", params)
    folds = [fold for fold in plan.folds if _has_enough(matrix, y, fold, params)]
    if won_count < params.min_won_amounts or not folds:
        return _without_choice(prepared, won_count, fences)
    candidates = candidates_of("amount", params.amount_families)
    if recipe is not None:
        family, setting = recipe
        candidates = [replace(one, settings=(setting,)) for one in candidates_of("amount", (family,))]
        candidates += candidates_of("amount", (CRM,)) if family != CRM else []
    results = search(matrix, folds, "amount", candidates, params)
    groups = clusters(matrix.keys)
    choice = _no_worse_than_crm(choose(results, groups, "median", params), groups)
    chosen = choice.chosen
    window = _Window(matrix, y, opportunity, groups, fences)
    table, later, judged = _judge(window, plan, choice, params)
    spreads = window.spreads(later or [(chosen.rows, chosen.predicted)], prepared.sample.y)
    estimator = fit(chosen.candidate, chosen.setting, prepared.sample, params)
    model = AmountModel(chosen.candidate.name, prepared.encoding, estimator, fences, spreads)
    rows = sum(len(part) for part, _ in later) or len(chosen.rows)
    facts = {
        "choice": chosen.candidate.name,
        "setting": setting_text(chosen.setting),
        "recipe": {"family": chosen.candidate.name, "setting": dict(chosen.setting)},
        "why": choice.why,
        "won_amounts": won_count,
        "interval": f"80 %: split conformal on {rows} later rows, by stage and apart without a CRM amount",
        "target": "natural logarithm of the won amount, in the record's currency; expectation by Duan's smearing factor",
        "held_within": [float(np.exp(end)) for end in fences],
        **judged,
    }
    return AmountTraining(model, table, facts)


def _has_enough(matrix: Matrix, y: Floats, fold: Fold, params: TrainingParams) -> bool:
    """Whether a fold teaches and judges anything with the amounts known at its instants."""
    taught = np.isfinite(y[fold.train]) & (outcomes_known(matrix.keys, fold.from_us)[fold.train] == 1)
    judged = np.isfinite(y[fold.judge]) & (outcomes_known(matrix.keys, fold.known_us)[fold.judge] == 1)
    return int(taught.sum()) >= params.min_won_amounts and int(judged.sum()) >= MIN_JUDGED


@dataclass(frozen=True)
class _Window:
    """What predictions of rows are held against: per matrix row the log amount, its opportunity and what it depends on others by."""

    matrix: Matrix
    y: Floats
    opportunity: Indices
    groups: npt.NDArray[Any]
    fences: tuple[float, float]

    def spreads(self, later: Sequence[tuple[Indices, Floats]], taught: Floats) -> dict[str, Spread]:
        """The spreads of out-of-time predictions (`spreads.learn_spreads`)."""
        rows = np.concatenate([part for part, _ in later])
        score = np.clip(np.concatenate([values for _, values in later]), *self.fences)
        return learn_spreads(self.y[rows] - score, self.opportunity[rows], self.matrix.keys.iloc[rows], taught)

    def figures(self, rows: Indices, predicted: Floats) -> dict[str, float]:
        """log_mse and the figures of money."""
        log_mse = float(((self.y[rows] - predicted) ** 2).mean())
        return {"log_mse": log_mse, **amount_metrics(np.exp(self.y[rows]), np.exp(np.clip(predicted, *self.fences)))}


def _judge(
    window: _Window, plan: Plan, choice: Choice, params: TrainingParams
) -> tuple[list[dict[str, Any]], list[tuple[Indices, Floats]], dict[str, Any]]:
    """Every family's figures on validation and test; the chosen one's out-of-time predictions; and how it stands on the test window."""
    table: list[dict[str, Any]] = []
    for result in choice.best_of:
        row = {"name": result.candidate.name, "setting": setting_text(result.setting), "note": result.candidate.note}
        table.append(row | {"validation": window.figures(result.rows, result.predicted)})
    if plan.calibration is None or not _has_enough(window.matrix, window.y, plan.calibration, params):
        return table, [], {}
    taught = prepare(window.matrix, plan.calibration.train, "amount", params, plan.calibration.from_us)

    matrix = window.matrix
    test = plan.test[np.isfinite(window.y[plan.test])]
    # What came of the calibration window during the test window is known by now, but was not when the test window began.
    earlier = plan.calibration.judge[np.isfinite(window.y[plan.calibration.judge])]
    ((known, _),) = judged_rows(matrix, [plan.calibration], "amount")
    later: list[tuple[Indices, Floats]] = []
    facts: dict[str, Any] = {}
    for number, result in enumerate(choice.best_of):
        if not is_possible(result.candidate, taught.sample):
            continue
        estimator = fit(result.candidate, result.setting, taught.sample, params)
        parts = {"test": test, "known": known, "earlier": earlier} if result is choice.chosen else {"test": test}
        scores = {name: estimator.score(taught.encoding.encode(matrix.take(rows))) for name, rows in parts.items()}
        if len(test):
            table[number]["test"] = window.figures(test, scores["test"])
        if result is choice.chosen:
            later = [(parts[name], scores[name]) for name in ("earlier", "test") if len(parts[name])]
            if len(test):
                facts = _on_test(
                    window, test, scores["test"], window.spreads([(known, scores["known"])], taught.sample.y)
                )
    return table, later, facts


def _on_test(window: _Window, test: Indices, predicted: Floats, spreads: Mapping[str, Spread]) -> dict[str, Any]:
    """What the published columns would have been on the test window, made of what was known before it."""
    actual, groups = np.exp(window.y[test]), window.groups[test]
    expected, low, high = amounts_of(np.clip(predicted, *window.fences), window.matrix.keys.iloc[test], spreads)
    stated, stage = groups_of(window.matrix.keys.iloc[test])
    inside_of = {name: stated & (stage == name) for name in spreads} | {STATED: stated, UNSTATED: ~stated}
    facts: dict[str, Any] = {
        "coverage": {
            **interval_coverage(actual, low, high),
            "groups": {
                name: interval_coverage(actual[inside], low[inside], high[inside])
                for name, inside in inside_of.items()
                if inside.any()
            },
        },
        "actual_over_expected": float(actual.sum() / expected.sum()),
        "against_crm_amount": None,
    }
    if not stated.any():
        return facts
    crm = np.maximum(window.matrix.keys["amount"].to_numpy(dtype=np.float64)[test][stated], 1.0)
    compared: dict[str, Any] = {"rows": int(stated.sum()), "window": "test, rows whose amount the CRM states"}
    for name, ours, theirs in (
        ("log_mse", (window.y[test] - predicted)[stated] ** 2, (window.y[test][stated] - np.log(crm)) ** 2),
        ("mae", np.abs(expected - actual)[stated], np.abs(crm - actual[stated])),
    ):
        difference, error = paired_difference(ours, theirs, groups[stated])
        compared[name] = {
            "model": float(ours.mean()),
            "crm_amount": float(theirs.mean()),
            "difference": difference,
            "standard_error": error,
        }
    return facts | {"against_crm_amount": compared | {"verdict": _verdict(compared["mae"])}}


def _verdict(figure: Mapping[str, float]) -> str:
    difference, error = figure["difference"], figure["standard_error"]
    text = f"(mean absolute error {figure['model']:.0f} against {figure['crm_amount']:.0f})"
    if difference < -error:
        return f"better than the CRM's own amount {text}"
    if difference > error:
        return f"not better than the CRM's own amount {text}"
    return f"not to be told from the CRM's own amount {text}"


def _no_worse_than_crm(choice: Choice, groups: npt.NDArray[Any]) -> Choice:
    """The choice, or the CRM's own amount where that is better by more than one standard error of their paired difference."""
    own = next((result for result in choice.best_of if result.candidate.name == CRM), None)
    chosen = choice.chosen
    if own is None or own is chosen:
        return choice
    excess, error = paired_difference(chosen.loss, own.loss, groups[own.rows])
    if excess <= error:
        return choice
    why = (
        f"the CRM's own amount: {chosen.candidate.name} is worse by {excess:.4f} in squared log error, "
        f"more than one standard error ({error:.4f})"
    )
    return replace(choice, chosen=own, why=why)


def _without_choice(prepared: Prepared, won_count: int, fences: tuple[float, float]) -> AmountTraining:
    simple, why = _simple(prepared)
    family = CRM if simple.uses_amount else "median"
    residual = prepared.sample.y - np.clip(simple.score(prepared.sample.rows), *fences)
    spread = spread_of(residual, codes(prepared.sample.rows.keys["opportunity_id"]))
    model = AmountModel(family, Encoding((), ()), simple, fences, {STATED: spread, UNSTATED: spread})
    facts = {
        "choice": family,
        "why": why,
        "won_amounts": won_count,
        "setting": "none",
        "interval": "in-sample residuals",
    }
    return AmountTraining(model, [], facts)


def _simple(prepared: Prepared) -> tuple[KeyAmount, str]:
    """Few won amounts: the CRM's own amount where it is mostly there, else the median."""
    amounts = prepared.sample.rows.keys["amount"].to_numpy(dtype=np.float64)
    fallback = float(np.median(prepared.sample.y))
    if float((np.isfinite(amounts) & (amounts > 0)).mean()) > 0.5:
        return KeyAmount(fallback, uses_amount=True), "too few won amounts to choose by: the CRM's own amount"
    return KeyAmount(fallback, uses_amount=False), "too few won amounts to choose by: their median"


def _fences(y: Floats) -> tuple[float, float]:
    low, high = (float(end) for end in np.quantile(y, [0.25, 0.75]))
    reach = FENCE * max(high - low, float(np.log(2.0)))
    return low - reach, high + reach


def _distinct(values: npt.NDArray[Any]) -> int:
    return len(np.unique(values))
