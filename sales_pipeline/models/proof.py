"""How right the win probabilities were: every figure of a replay, beside the baselines, with intervals and by segment.

Most of what was open at a past date has closed since. A row still open counts with its expected chance of winning (`expected_outcomes`: the chance that a row
open for so long is won in the end), so that slow opportunities are not left out; dates too young for that count in no figure of winning ever (their
weight is 0). Horizons, closing dates and slips are judged on rows for which all of the time in question has been seen: nothing is expected there. Rows of one
account (of one opportunity, where there is no account) count as one draw in every interval.

Belongs here: what is compared, and the figures of win probabilities. Does not belong here: formulas (`metrics`, `clustered`), amounts and
dates (`proof_values`), sentences and pages (`model_card`, delivery).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.stats import norm

from sales_pipeline.models.clustered import Z80, deviation, mean, ratio
from sales_pipeline.models.matrix import DAY, Floats, Indices
from sales_pipeline.models.metrics import (
    bootstrap_interval,
    calibration_error,
    log_losses,
    paired_difference,
    win_metrics,
)
from sales_pipeline.models.outcome_rows import MODEL, Outcomes, numbers, outcomes_of
from sales_pipeline.models.proof_values import amounts, close_dates, slips
from sales_pipeline.models.segments import segments, shown

SCHEMA_VERSION = 1
HORIZONS = (30, 90)
BINS = 10
MIN_GROUPS = 20
"""Independent draws a segment needs before it may be called off."""
OFF_SHARE = 0.1
"""A segment is called off only where observed and expected wins differ by more than this share, however sure it is."""
OFF_LEVEL = 0.05
"""Chance, over all segments of a kind together (Bonferroni), of calling one off that is not."""
WHOLE_SHARE = 0.95
"""A baseline is shown beside the model only where it is known for that share of the same rows."""
FLOOR_ROUNDS = 50


def proof(rows: pa.Table, *, rounds: int, seed: int, end: datetime) -> dict[str, Any]:
    """Every figure of a replay (REPLAY rows), JSON-able; the same rows give the same figures.

    `end` is the instant through which outcomes are known. `rounds` and `seed` govern the resampling behind intervals of log loss, Brier score, AUC
    and calibration error; all intervals are 80 %.

    Parts: `counts`; `win` (per name of COMPARED: figures and, for the others, the paired gain of the model over them; None where nothing is
    known to have closed); `reliability` (per name, bins of equal count); `horizons`; `segments`; `dates` (one entry per replay date); `amount`, `close_date`, `slip`.
    Figures that are not defined on the rows at hand are absent or None, never NaN.
    """
    data = outcomes_of(rows)
    judged = data.judged
    end_us = end.timestamp() * 1e6
    found = {
        "schema_version": SCHEMA_VERSION,
        "end": end.astimezone(UTC).isoformat(timespec="seconds"),
        "counts": _counts(rows, data),
        "win": _compared(data, judged, rounds, seed) if len(judged) else None,
        "reliability": {name: table for name in data.said if (table := reliability(data, judged, name))},
        "horizons": {f"{days}d": _horizon(rows, data, days, end_us, rounds, seed) for days in HORIZONS},
        "segments": _segments(rows, data, judged),
        "dates": _dates(rows, data, judged),
        "amount": amounts(rows, data),
        "close_date": close_dates(rows, data, end_us),
        "slip": slips(rows, data, end_us),
    }
    rounded: dict[str, Any] = plain(found)
    return rounded


def plain(value: Any) -> Any:
    """JSON-able: numbers of numpy become Python's, floats are rounded to six decimals, NaN and infinities become None."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return round(float(value), 6) if math.isfinite(value) else None
    return value


def observed_expected(won: Floats, p: Floats, weight: Floats, groups: Indices) -> dict[str, Any]:
    """Wins seen over wins expected, with its interval."""
    estimate = ratio(won, p, weight, groups)
    interval = estimate.log_interval() if np.isfinite(estimate.value) else None
    low, high = interval or (None, None)
    return {"observed_expected": estimate.value, "observed_expected_low": low, "observed_expected_high": high}


def reliability(data: Outcomes, judged: Indices, name: str = MODEL, bins: int = BINS) -> list[dict[str, Any]]:
    """Per bin, from the lowest probability: rows, opportunities, mean predicted, share won with its interval.

    Bins of equal count, those of the calibration error; a bin per value where there are no more values than bins (rates, the CRM's stages).
    """
    p = data.said[name]
    known = _ascending(judged[np.isfinite(p[judged])], p)
    table = []
    for part in _bins(known, p, bins):
        won = mean(data.outcome[part], data.weight[part], data.groups[part])
        low, high = won.interval(0.0, 1.0)
        table.append(
            {
                "rows": len(part),
                "opportunities": len(np.unique(data.opportunity[part])),
                "predicted": float(np.average(p[part], weights=data.weight[part])),
                "won": won.value,
                "low": low,
                "high": high,
            }
        )
    return table


def _bins(ascending: Indices, p: Floats, bins: int) -> list[Indices]:
    changes = np.flatnonzero(np.diff(p[ascending])) + 1
    if len(changes) < bins:
        return [part for part in np.split(ascending, changes) if len(part)]
    return list(np.array_split(ascending, bins))


def _counts(rows: pa.Table, data: Outcomes) -> dict[str, Any]:
    closed, scored = np.isfinite(data.won), np.isfinite(data.said[MODEL])
    reasons = [reason for reason in rows.column("abstain_reason").to_pylist() if reason]
    judged = data.judged
    return {
        "rows": rows.num_rows,
        "opportunities": len(np.unique(data.opportunity)),
        "dates": len(np.unique(data.as_of_us)),
        "from": _day(data.as_of_us.min()) if rows.num_rows else None,
        "to": _day(data.as_of_us.max()) if rows.num_rows else None,
        "scored": int(scored.sum()),
        "scored_opportunities": len(np.unique(data.opportunity[scored])),
        "abstained": int((~scored).sum()),
        "abstain_reasons": {reason: reasons.count(reason) for reason in sorted(set(reasons))},
        "closed": int((closed & scored).sum()),
        "still_open": int((~closed & scored).sum()),
        "judged": len(judged),
        "judged_opportunities": len(np.unique(data.opportunity[judged])),
        "expected_share": float(np.isnan(data.won[judged]).mean()) if len(judged) else None,
        "too_young": int((scored & (data.weight == 0)).sum()),
    }


def _day(micros: float) -> str:
    return datetime.fromtimestamp(micros / 1e6, UTC).date().isoformat()


def _compared(data: Outcomes, judged: Indices, rounds: int, seed: int) -> dict[str, Any]:
    """Per name: figures on the rows it is known for; for all but the model the paired gain on those rows."""
    found: dict[str, Any] = {}
    for name, said in data.said.items():
        part = _ascending(judged[np.isfinite(said[judged])], said)
        if not len(part):
            continue
        won, p, weight, groups = data.outcome[part], said[part], data.weight[part], data.groups[part]
        figures: dict[str, Any] = win_metrics(won, p, None, weight) | {
            "rows": len(part),
            "opportunities": len(np.unique(data.opportunity[part])),
            "predicted": float(np.average(p, weights=weight)),
            **observed_expected(won, p, weight, groups),
        }
        if name == MODEL:
            figures["intervals"] = _intervals(figures, won, p, groups, weight, rounds, seed)
            figures["calibration_error_if_right"] = _calibration_floor(data, part, seed)
        else:
            figures["gain"] = _gain(data, part, name)
        found[name] = figures
    return found


def _ascending(part: Indices, p: Floats) -> Indices:
    """The rows from the lowest probability: every resampling sorts them again, which is quick where they are in order."""
    return part[np.argsort(p[part], kind="stable")].astype(np.int64)


def _intervals(
    figures: Mapping[str, Any], won: Floats, p: Floats, groups: Indices, weight: Floats, rounds: int, seed: int
) -> dict[str, Any]:
    """Resampled intervals; that of observed over expected is the one shown everywhere else too, which needs no resampling."""
    found: dict[str, Any] = dict(bootstrap_interval(won, p, groups, weight=weight, rounds=rounds, seed=seed))
    return found | {"observed_expected": [figures["observed_expected_low"], figures["observed_expected_high"]]}


def _gain(data: Outcomes, part: Indices, name: str) -> dict[str, Any]:
    """Log loss of the other less the model's on the same rows; above 0 the model is better."""
    won, weight, groups = data.outcome[part], data.weight[part], data.groups[part]
    other, own = log_losses(won, data.said[name][part]), log_losses(won, data.said[MODEL][part])
    gain, error = paired_difference(other, own, groups, weight)
    return {
        "log_loss": gain,
        "standard_error": error,
        "low": gain - Z80 * error,
        "high": gain + Z80 * error,
        "model_log_loss": float(np.average(own, weights=weight)),
        "is_clear": abs(gain) > Z80 * error,
    }


def _calibration_floor(data: Outcomes, part: Indices, seed: int) -> dict[str, float]:
    """The calibration error these rows would show by chance alone if every probability were right (Bröcker & Smith, 2007).

    Outcomes are drawn from the probabilities, one draw per opportunity, so that its rows end alike as they do in truth; rows still open keep theirs.
    """
    p, weight, is_open = data.said[MODEL][part], data.weight[part], np.isnan(data.won[part])
    _, opportunity = np.unique(data.opportunity[part], return_inverse=True)
    random = np.random.default_rng(seed)
    errors = []
    for _ in range(FLOOR_ROUNDS):
        drawn = random.uniform(size=int(opportunity.max()) + 1)[opportunity] < p
        errors.append(calibration_error(np.where(is_open, p, drawn), p, BINS, weight))
    return {"mean": float(np.mean(errors)), "high": float(np.quantile(errors, 0.9))}


def _horizon(rows: pa.Table, data: Outcomes, days: int, end_us: float, rounds: int, seed: int) -> dict[str, Any] | None:
    """Won within `days` of the as-of, on the rows for which all of that time has been seen; None without such rows.

    The constant it is compared with is the share seen on these rows, known only afterwards: nothing that does not tell rows apart does better.
    """
    p = numbers(rows, f"win_probability_{days}d")
    until = data.as_of_us + days * DAY
    dated = np.isnan(data.won) | np.isfinite(data.closed_us)
    part = _ascending(np.flatnonzero((until <= end_us) & np.isfinite(p) & dated), p)
    if not len(part):
        return None
    won = ((data.won[part] == 1) & (data.closed_us[part] < until[part])).astype(np.float64)
    said, groups, ones = p[part], data.groups[part], np.ones(len(part))
    figures: dict[str, Any] = win_metrics(won, said, None, ones) | {
        "rows": len(part),
        "opportunities": len(np.unique(data.opportunity[part])),
        "predicted": float(said.mean()),
        "constant_log_loss": float(log_losses(won, np.full(len(part), won.mean())).mean()),
        **observed_expected(won, said, ones, groups),
    }
    if 0 < won.sum() < len(won):
        figures["intervals"] = _intervals(figures, won, said, groups, ones, rounds, seed)
    return figures


def _segments(rows: pa.Table, data: Outcomes, judged: Indices) -> list[dict[str, Any]]:
    """One entry per kind and segment; flags are corrected for the number of segments of the kind."""
    losses = _losses(data, judged)
    table: list[dict[str, Any]] = []
    for kind, texts in segments(rows).items():
        own, order = shown(kind, texts[judged], data.weight[judged])
        if len(order) < 2:
            continue
        for name in order:
            part = np.flatnonzero(own == name)
            entry = {"segment": kind, "value": name, **_figures(data, judged, part, losses)}
            table.append(entry | _flags(data, judged[part], losses, part, len(order)))
    return table


def _dates(rows: pa.Table, data: Outcomes, judged: Indices) -> list[dict[str, Any]]:
    """One entry per replay date, the oldest first; dates of which nothing has closed yet have counts alone."""
    losses = _losses(data, judged)
    versions = rows.column("model_version").to_numpy(zero_copy_only=False)
    table = []
    for instant in np.unique(data.as_of_us):
        every = np.flatnonzero(data.as_of_us == instant)
        part = np.flatnonzero(data.as_of_us[judged] == instant)
        is_scored = np.isfinite(data.said[MODEL][every])
        counts = {
            "as_of": datetime.fromtimestamp(instant / 1e6, UTC).isoformat(timespec="seconds"),
            "model_version": str(versions[every[0]]),
            "scored": int(is_scored.sum()),
            "still_open": int((is_scored & np.isnan(data.won[every])).sum()),
        }
        figures = _figures(data, judged, part, losses) if len(part) else {"rows": 0, "opportunities": 0}
        if len(part):
            rows_at = judged[part]
            figures |= win_metrics(data.outcome[rows_at], data.said[MODEL][rows_at], None, data.weight[rows_at])
        table.append({**counts, **figures, "rows": len(part)})
    return table


def _losses(data: Outcomes, judged: Indices) -> dict[str, Floats]:
    """Log loss per judged row and name; NaN where that name said nothing."""
    return {name: log_losses(data.outcome[judged], said[judged]) for name, said in data.said.items()}


def _figures(data: Outcomes, judged: Indices, part: Indices, losses: Mapping[str, Floats]) -> dict[str, Any]:
    rows = judged[part]
    won, p, weight = data.outcome[rows], data.said[MODEL][rows], data.weight[rows]
    found: dict[str, Any] = {
        "rows": len(rows),
        "opportunities": len(np.unique(data.opportunity[rows])),
        "win_rate": float(np.average(won, weights=weight)),
        "predicted": float(np.average(p, weights=weight)),
    }
    for name, loss in losses.items():
        known = np.isfinite(loss[part])
        if known.mean() >= WHOLE_SHARE:
            key = "log_loss" if name == MODEL else f"{name}_log_loss"
            found[key] = float(np.average(loss[part][known], weights=weight[known]))
    return found | observed_expected(won, p, weight, data.groups[rows])


def _flags(data: Outcomes, rows: Indices, losses: Mapping[str, Floats], part: Indices, compared: int) -> dict[str, Any]:
    """Whether the model is clearly off here (observed against expected), and clearly worse than the base rate."""
    limit = float(norm.ppf(1 - OFF_LEVEL / (2 * max(1, compared))))
    won, p, weight, groups = data.outcome[rows], data.said[MODEL][rows], data.weight[rows], data.groups[rows]
    z = deviation(won, p, weight, groups)
    expected = float((weight * p).sum())
    is_large = abs(float((weight * won).sum()) - expected) > OFF_SHARE * expected
    enough = len(np.unique(groups)) >= MIN_GROUPS
    is_worse = False
    base = losses["base_rate"][part]
    known = np.isfinite(base)
    if enough and known.mean() >= WHOLE_SHARE:
        loss, error = paired_difference(losses[MODEL][part][known], base[known], groups[known], weight[known])
        is_worse = loss > limit * error
    return {"deviation": z, "is_off": bool(enough and is_large and abs(z) > limit), "is_worse_than_base_rate": is_worse}
