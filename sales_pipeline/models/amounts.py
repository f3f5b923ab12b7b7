"""The amount an opportunity brings if it is won: chosen on the same windows as the win model, with a conformal interval.

The target is the logarithm of the won amount, in the record's own currency. The expected amount is exp(prediction) times Duan's smearing
factor (Duan, 1983); its 80 % interval comes from the residuals of later rows (split conformal: Lei et al., 2018).

Belongs here: fitting, choosing and applying the amount model. Does not belong here: win probabilities.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sales_pipeline.models.calibration import SHARE
from sales_pipeline.models.encoding import Encoding
from sales_pipeline.models.estimators import Estimator, KeyAmount
from sales_pipeline.models.evaluation import (
    Choice,
    Prepared,
    candidates_of,
    choose,
    fit,
    is_possible,
    predict_rows,
    prepare,
    search,
    setting_text,
    target,
)
from sales_pipeline.models.matrix import Floats, Indices, Matrix, codes
from sales_pipeline.models.metrics import amount_metrics
from sales_pipeline.models.params import TrainingParams
from sales_pipeline.models.splits import Fold, Plan

MIN_JUDGED = 10


@dataclass(frozen=True)
class AmountModel:
    """Encoding and estimator of the log amount, the smearing factor, and the interval's ends as log residuals."""

    family: str
    encoding: Encoding
    estimator: Estimator
    smearing: float
    residual_low: float
    residual_high: float

    def predict(self, matrix: Matrix) -> tuple[Floats, Floats, Floats]:
        """Expected amount if won, lower and upper end; all at least 0, the ends around the expectation."""
        score = np.clip(self.estimator.score(self.encoding.encode(matrix)), -5.0, 35.0)
        expected = np.exp(score) * self.smearing
        low = np.minimum(np.exp(score + self.residual_low), expected)
        high = np.maximum(np.exp(score + self.residual_high), expected)
        return expected, low, high

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data, without the estimator (`bundle` adds it)."""
        return {
            "family": self.family,
            "encoding": self.encoding.to_dict(),
            "smearing": self.smearing,
            "residual_low": self.residual_low,
            "residual_high": self.residual_high,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], estimator: Estimator) -> AmountModel:
        """The inverse of `to_dict`."""
        return cls(
            family=data["family"],
            encoding=Encoding.from_dict(data["encoding"]),
            estimator=estimator,
            smearing=float(data["smearing"]),
            residual_low=float(data["residual_low"]),
            residual_high=float(data["residual_high"]),
        )


@dataclass(frozen=True)
class AmountTraining:
    """The model (None without won amounts), the candidates' figures on validation and on the test window, and why it was chosen."""

    model: AmountModel | None
    candidates: list[dict[str, Any]]
    facts: dict[str, Any]


def train_amount(matrix: Matrix, plan: Plan, params: TrainingParams) -> AmountTraining:
    """Choose on the validation windows, judge once on the test window, fit on all matured won rows."""
    y = target(matrix, "amount")
    usable = np.isfinite(y)
    final = plan.final[usable[plan.final]]
    opportunity = matrix.keys["opportunity_id"].to_numpy(dtype=object)
    won_count = len(set(opportunity[final].tolist()))
    if not won_count:
        return AmountTraining(None, [], {"choice": None, "why": "no won opportunity has an amount", "won_amounts": 0})
    folds = [Fold(f.name, f.train[usable[f.train]], f.judge[usable[f.judge]]) for f in plan.folds]
    folds = [f for f in folds if len(f.train) >= params.min_won_amounts and len(f.judge) >= MIN_JUDGED]
    table: list[dict[str, Any]] = []
    choice: Choice | None = None
    if won_count >= params.min_won_amounts and folds:
        candidates = candidates_of("amount", params.amount_families)
        choice = choose(search(matrix, folds, "amount", candidates, params), opportunity, "median", params)
    prepared = prepare(matrix, final, "amount", params)
    if choice is None:
        return _without_choice(prepared, won_count)
    later: list[tuple[Indices, Floats]] = []
    calibration = plan.calibration
    test = plan.test[usable[plan.test]]
    taught = prepare(matrix, calibration.train[usable[calibration.train]], "amount", params) if calibration else None
    for result in choice.best_of:
        name = result.candidate.name
        row: dict[str, Any] = {"name": name, "setting": setting_text(result.setting), "note": result.candidate.note}
        row["validation"] = {"log_mse": result.mean_loss, **_money(y[result.rows], result.predicted)}
        if taught is not None and len(test) and is_possible(result.candidate, taught.sample):
            predicted = predict_rows("amount", result.candidate, result.setting, taught, matrix.take(test), params)
            row["test"] = {"log_mse": float(((y[test] - predicted) ** 2).mean()), **_money(y[test], predicted)}
            if result is choice.chosen:
                later.append((test, predicted))
        table.append(row)
    if taught is not None and calibration is not None:
        judged = calibration.judge[usable[calibration.judge]]
        if len(judged):
            result = choice.chosen
            later.append(
                (judged, predict_rows("amount", result.candidate, result.setting, taught, matrix.take(judged), params))
            )
    estimator = fit(choice.chosen.candidate, choice.chosen.setting, prepared.sample, params)
    if not later:
        later = [(choice.chosen.rows, choice.chosen.predicted)]
    rows = np.concatenate([part for part, _ in later])
    residual = y[rows] - np.concatenate([values for _, values in later])
    low, high = _conformal(residual, opportunity[rows])
    fitted = AmountModel(choice.chosen.candidate.name, prepared.encoding, estimator, _smearing(residual), low, high)
    facts = {
        "choice": choice.chosen.candidate.name,
        "setting": setting_text(choice.chosen.setting),
        "why": choice.why,
        "won_amounts": won_count,
        "interval": f"split conformal on {len(rows)} later rows",
        "target": "natural logarithm of the won amount, in the record's currency; expectation by Duan's smearing factor",
    }
    return AmountTraining(fitted, table, facts)


def _without_choice(prepared: Prepared, won_count: int) -> AmountTraining:
    simple, why = _simple(prepared)
    family = "crm_amount" if simple.uses_amount else "median"
    residual = prepared.sample.y - simple.score(prepared.sample.rows)
    low, high = _conformal(residual, prepared.sample.rows.keys["opportunity_id"].to_numpy(dtype=object))
    model = AmountModel(family, Encoding((), ()), simple, _smearing(residual), low, high)
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


def _money(y: Floats, predicted: Floats) -> dict[str, float]:
    return amount_metrics(np.exp(y), np.exp(np.clip(predicted, -5.0, 35.0)))


def _smearing(residual: Floats) -> float:
    """Mean of exp(residual), with the largest 1 % held back so that one outlier does not lift every expectation."""
    low, high = np.quantile(residual, [0.01, 0.99])
    return float(np.exp(np.clip(residual, low, high)).mean())


def _conformal(residual: Floats, opportunity: Any) -> tuple[float, float]:
    """Ends of the interval: conformal quantiles of one residual per opportunity (rows of one are not exchangeable with others')."""
    _, last = np.unique(codes(opportunity)[::-1], return_index=True)
    own = np.sort(residual[len(residual) - 1 - last])
    n = len(own)
    below = int(np.floor((n + 1) * (1 - SHARE) / 2)) - 1
    above = int(np.ceil((n + 1) * (1 + SHARE) / 2)) - 1
    return float(own[max(0, below)]), float(own[min(n - 1, above)])
