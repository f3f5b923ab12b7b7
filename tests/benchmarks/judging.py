"""Predictions of a simulated world held against its truth.

Two kinds of figures stand side by side. Those on outcomes are what a company could compute once everything has closed; they carry the chance of every
single deal. Those under the true probabilities are their exact means over that chance, given the hidden state, so they tell models apart on far fewer rows.

Belongs here: formulas against a truth. Does not belong here: formulas against outcomes alone (`models.metrics`), making worlds (`worlds`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from sales_pipeline.lake.tables import read_table
from sales_pipeline.models.metrics import auc, calibration_error, log_losses
from tests.benchmarks.worlds import PROBABILITIES, World

Floats = npt.NDArray[np.float64]


def open_rows(world: World) -> pd.DataFrame:
    """What the export says of the open opportunities that the truth knows, in a fixed order: spine columns by opportunity_id."""
    spine = read_table(
        world.features_scoring.spine, ["opportunity_id", "stage", "amount", "crm_close_date", "crm_probability"]
    )
    frame = spine.to_pandas().set_index("opportunity_id").sort_index()
    return frame[frame.index.isin(world.truth.index)]


def judge(world: World, predictions: pa.Table) -> dict[str, float]:
    """All figures of a PREDICTIONS table (only `opportunity_id` and `win_probability` are required) on the world's open opportunities.

    Rows without a probability count as the mean of those with one, and are counted (`abstained`). Figures of columns that are not there are left out.
    """
    rows = open_rows(world)
    truth = world.truth.loc[rows.index]
    told = predictions.to_pandas().set_index("opportunity_id").reindex(rows.index)
    p = told["win_probability"].to_numpy(dtype=np.float64)
    figures = {"rows": float(len(rows)), "abstained": float(np.isnan(p).sum())}
    p = np.where(np.isnan(p), np.nanmean(p), p)
    figures |= win_figures(truth["is_eventually_won"].to_numpy(), p, truth["win_probability"].to_numpy())
    figures |= _horizons(told, truth)
    figures |= _amounts(told, rows, truth)
    figures |= _dates(told, rows, truth)
    return figures


def win_figures(won: Floats, p: Floats, true_p: Floats) -> dict[str, float]:
    """Figures of win probabilities on outcomes, and (`true_…`) under the true probabilities.

    `gain_share` is the share of the attainable gain in log loss: (base - model) / (base - truth), where base is the one constant that is best on these very
    rows, so that no model gains by a wrong base rate of its competitor.
    """
    base, best = entropy(won, np.full(len(won), won.mean())), entropy(won, true_p)
    true_base, true_best = entropy(true_p, np.full(len(won), true_p.mean())), entropy(true_p, true_p)
    loss, true_loss = entropy(won, p), entropy(true_p, p)
    return {
        "log_loss": loss,
        "gain_share": (base - loss) / (base - best),
        "auc": auc(won, p),
        "calibration_error": calibration_error(won, p),
        "observed_to_expected": float(won.sum() / p.sum()),
        "true_log_loss": true_loss,
        "true_gain_share": (true_base - true_loss) / (true_base - true_best),
        "true_auc": expected_auc(true_p, p),
        "true_calibration_error": calibration_error(true_p, p),
        "true_observed_to_expected": float(true_p.sum() / p.sum()),
    }


def entropy(target: Floats, p: Floats) -> float:
    """Mean log loss of p where the target is an outcome (0, 1) or the true probability of one."""
    return float(log_losses(target, p).mean())


def expected_auc(true_p: Floats, score: Floats) -> float:
    """The AUC's ratio of expectations: the share of (won, lost) pairs in the right order, each pair by its probability, ties half."""
    order = np.argsort(score, kind="stable")
    _, tie = np.unique(score[order], return_inverse=True)
    won = np.bincount(tie, weights=true_p[order])
    lost = np.bincount(tie, weights=1.0 - true_p[order])
    below = np.cumsum(lost) - lost
    return float((won * (below + 0.5 * lost)).sum() / (won.sum() * lost.sum()))


def _horizons(told: pd.DataFrame, truth: pd.DataFrame) -> dict[str, float]:
    figures: dict[str, float] = {}
    for name in PROBABILITIES[1:]:
        if name not in told or told[name].isna().all():
            continue
        known = told[name].notna().to_numpy()
        p, true_p = told[name].to_numpy(dtype=np.float64)[known], truth[name].to_numpy()[known]
        base, best = entropy(true_p, np.full(len(p), true_p.mean())), entropy(true_p, true_p)
        label = name.removeprefix("win_probability_")
        figures[f"true_gain_share_{label}"] = (base - entropy(true_p, p)) / (base - best)
        figures[f"true_observed_to_expected_{label}"] = float(true_p.sum() / p.sum())
        figures[f"true_calibration_error_{label}"] = calibration_error(true_p, p)
    return figures


def _amounts(told: pd.DataFrame, rows: pd.DataFrame, truth: pd.DataFrame) -> dict[str, float]:
    """Coverage and errors of the amount if won, each row by its true chance of being won. Errors are of natural logarithms."""
    if "expected_amount" not in told or told["expected_amount"].isna().all():
        return {}
    signed, weight = truth["signed_amount"].to_numpy(), truth["win_probability"].to_numpy()
    given = told["expected_amount"].to_numpy(dtype=np.float64)
    crm = pd.to_numeric(rows["amount"]).to_numpy(dtype=np.float64)
    figures: dict[str, float] = {}
    if "expected_amount_low" in told:
        low, high = (told[f"expected_amount_{end}"].to_numpy(dtype=np.float64) for end in ("low", "high"))
        known = np.isfinite(low) & np.isfinite(high)
        inside = (low <= signed) & (signed <= high)
        figures["amount_coverage"] = float(np.average(inside[known], weights=weight[known]))
        figures["amount_width"] = float(np.average(np.log(high / np.maximum(low, 1.0))[known], weights=weight[known]))
    both = np.isfinite(given) & np.isfinite(crm) & (crm > 0) & (given > 0)

    def error(values: Floats) -> float:
        return float(np.average(np.abs(np.log(values[both] / signed[both])), weights=weight[both]))

    def bias(values: Floats, known: npt.NDArray[np.bool_]) -> float:
        return float((weight * values)[known].sum() / (weight * signed)[known].sum())

    figures |= {"amount_log_error": error(given), "crm_amount_log_error": error(crm)}
    figures |= {"amount_to_signed": bias(given, both), "crm_amount_to_signed": bias(crm, both)}
    return figures


def _dates(told: pd.DataFrame, rows: pd.DataFrame, truth: pd.DataFrame) -> dict[str, float]:
    if "predicted_close_date" not in told or told["predicted_close_date"].isna().all():
        return {}
    closed = truth["eventually_closed_on"].to_numpy().astype("datetime64[D]").astype(np.float64)
    middle, low, high = (_days(told[f"predicted_close_date{end}"]) for end in ("", "_low", "_high"))
    crm = _days(rows["crm_close_date"])
    known = np.isfinite(low) & np.isfinite(high)
    both = known & np.isfinite(crm)
    figures = {
        "date_coverage": float(((low <= closed) & (closed <= high))[known].mean()),
        "date_below": float((closed < low)[known].mean()),
        "date_width_days": float((high - low)[known].mean()),
        "date_error_days": float(np.abs(middle - closed)[both].mean()),
        "crm_date_error_days": float(np.abs(crm - closed)[both].mean()),
    }
    if "slip_probability" in told:
        slip = told["slip_probability"].to_numpy(dtype=np.float64)
        use = np.isfinite(slip) & np.isfinite(crm)
        slipped = (closed > crm).astype(np.float64)[use]
        figures["slip_observed_to_expected"] = float(slipped.sum() / slip[use].sum())
        figures["slip_calibration_error"] = calibration_error(slipped, slip[use])
        figures["slip_auc"] = auc(slipped, slip[use])
    return figures


def _days(values: pd.Series[Any]) -> Floats:
    """Days since 1970-01-01, NaN where there is none."""
    days = pd.to_datetime(values, errors="raise").to_numpy().astype("datetime64[D]")
    return np.where(np.isnat(days), np.nan, days.astype(np.float64))
