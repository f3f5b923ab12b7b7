"""How right amounts, closing dates and slip probabilities were in a replay.

Belongs here: figures of these three. Does not belong here: win probabilities (`proof`), formulas (`metrics`, `clustered`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from sales_pipeline.models.clustered import Z80, Estimate, mean, quantile, ratio
from sales_pipeline.models.matrix import DAY, Floats, Indices
from sales_pipeline.models.metrics import log_losses, paired_difference, win_metrics
from sales_pipeline.models.outcome_rows import Outcomes, days, numbers

WANTED_COVERAGE = (0.75, 0.85)
"""What an 80 % interval should cover."""


def amounts(rows: pa.Table, data: Outcomes) -> dict[str, Any] | None:
    """Expected against won amounts, on rows won by the end, with both; None without such rows. Dates too young to count (weight 0) are left out.

    Across currencies only ratios can be averaged: `log_mae` is the mean absolute difference of natural logarithms (0.1: about 10 % off),
    `log_rmse` its root mean square. `by_currency` has the mean absolute error in money, for the CRM's own amount too where it is known for those
    rows, and the sum won over the sum expected. `gain` is the CRM's absolute log difference less the model's on the same rows.
    """
    won_amount, expected = numbers(rows, "won_amount"), numbers(rows, "expected_amount")
    use = (data.won == 1) & (data.weight > 0) & (won_amount > 0) & (expected > 0)
    part = np.flatnonzero(use).astype(np.int64)
    if not len(part):
        return None
    low, high = numbers(rows, "expected_amount_low")[part], numbers(rows, "expected_amount_high")[part]
    actual, said, crm = won_amount[part], expected[part], numbers(rows, "amount")[part]
    weight, groups = data.weight[part], data.groups[part]
    own = np.abs(np.log(said) - np.log(actual))
    found: dict[str, Any] = {
        "rows": len(part),
        "opportunities": len(np.unique(data.opportunity[part])),
        "log_mae": float(np.average(own, weights=weight)),
        "log_rmse": float(np.sqrt(np.average(own**2, weights=weight))),
        "interval": coverage(actual, low, high, weight, groups),
        "crm": None,
    }
    known = crm > 0
    if known.any():
        theirs = np.abs(np.log(crm[known]) - np.log(actual[known]))
        gain, error = paired_difference(theirs, own[known], groups[known], weight[known])
        found["crm"] = {
            "rows": int(known.sum()),
            "log_mae": float(np.average(theirs, weights=weight[known])),
            "log_rmse": float(np.sqrt(np.average(theirs**2, weights=weight[known]))),
            "model_log_mae": float(np.average(own[known], weights=weight[known])),
            "gain": gain,
            "standard_error": error,
            "verdict": verdict(gain, error),
        }
    currency = rows.column("currency").to_numpy(zero_copy_only=False)[part]
    found["by_currency"] = [
        {"currency": str(name), **_money(actual, said, crm, weight, groups, np.flatnonzero(currency == name))}
        for name in sorted(set(currency.tolist()))
    ]
    return found


def verdict(gain: float, error: float) -> str:
    """In a word: `better` or `worse` where the 80 % interval of the gain leaves out 0, else `not told apart`."""
    if abs(gain) <= Z80 * error:
        return "not told apart"
    return "better" if gain > 0 else "worse"


def coverage(actual: Floats, low: Floats, high: Floats, weight: Floats, groups: Indices) -> dict[str, Any] | None:
    """Share of rows within an 80 % interval, and below and above it, with the share's own interval; None where no interval was given."""
    given = np.isfinite(low) & np.isfinite(high)
    if not given.any():
        return None
    inside = ((actual >= low) & (actual <= high)).astype(np.float64)[given]
    share = mean(inside, weight[given], groups[given])
    bottom, top = share.interval(0.0, 1.0)
    return {
        "rows": int(given.sum()),
        "covered_share": share.value,
        "low": bottom,
        "high": top,
        "below_share": float(np.average(actual[given] < low[given], weights=weight[given])),
        "above_share": float(np.average(actual[given] > high[given], weights=weight[given])),
        "is_as_promised": WANTED_COVERAGE[0] <= share.value <= WANTED_COVERAGE[1],
    }


def close_dates(rows: pa.Table, data: Outcomes, end_us: float) -> dict[str, Any] | None:
    """Predicted against seen closing days (won or lost); None where no interval has passed whole by the end. Days are UTC days.

    `interval` is judged on all rows, see `date_coverage`. The medians rest on the rows whose interval ended before the end: of one still open then the
    difference is at least what has passed, which a median bears as long as fewer than half are open. A positive difference means that it closed later than
    said. `crm` holds the CRM's own close date on those rows, where it has passed too.
    """
    predicted, low, high = (days(rows, f"predicted_close_date{end}") for end in ("", "_low", "_high"))
    last = float(np.floor(end_us / DAY))
    is_open = np.isnan(data.won)
    given = np.flatnonzero((np.isfinite(data.closed_us) | is_open) & np.isfinite(predicted)).astype(np.int64)
    part = given[high[given] < last]
    if not len(part):
        return None
    closed = np.where(is_open, np.inf, np.floor(data.closed_us / DAY))
    interval = date_coverage(closed[given], low[given], predicted[given], high[given], last, data.groups[given])
    closed = np.minimum(closed, last)[part]
    groups, ones = data.groups[part], np.ones(len(part))
    gap = closed - predicted[part]
    found = {
        "rows": len(part),
        "opportunities": len(np.unique(data.opportunity[part])),
        "still_open": int(is_open[part].sum()),
        **_gaps(gap, ones),
        "interval": interval,
        "median_interval_days": quantile((high - low)[given], np.ones(len(given)), 0.5),
        "crm": None,
    }
    theirs = days(rows, "crm_close_date")[part]
    known = theirs < last
    if known.any():
        crm_gap = (closed - theirs)[known]
        gain, error = paired_difference(np.abs(crm_gap), np.abs(gap[known]), groups[known], ones[known])
        found["crm"] = {
            "rows": int(known.sum()),
            **_gaps(crm_gap, ones[known]),
            "model_median_absolute_days": quantile(np.abs(gap[known]), ones[known], 0.5),
            "mean_gain_days": gain,
            "standard_error": error,
            "verdict": verdict(gain, error),
        }
    return found


def date_coverage(
    closed: Floats, low: Floats, middle: Floats, high: Floats, last: float, groups: Indices
) -> dict[str, Any] | None:
    """Share that closed within the interval's days, as if all had been watched to its end; None where no row was.

    Kaplan and Meier's product (1958) over three stretches, each judged on the rows that reached it and were watched all through it: before `low`,
    from there through `middle`, from there through `high`. `closed` is infinite for rows still open on day `last`, the first not seen. So a
    long interval that has not passed yet counts as far as it has been seen, and is not left out for being long.
    """
    stretches = (
        (low - 1, np.ones(len(closed), dtype=bool), closed < low),
        (middle, closed >= low, closed <= middle),
        (high, closed > middle, closed <= high),
    )
    shares = []
    for until, reached, ended in stretches:
        watched = np.flatnonzero(reached & (until < last))
        if not len(watched) and reached.any():
            return None
        if not len(watched):
            shares.append(Estimate(0.0, 0.0, 0))
            continue
        shares.append(mean(ended[watched].astype(np.float64), np.ones(len(watched)), groups[watched]))
    first, second, third = (share.value for share in shares)
    below, above = first, (1 - first) * (1 - second) * (1 - third)
    covered = 1 - below - above
    slopes = (-(1 - (1 - second) * (1 - third)), (1 - first) * (1 - third), (1 - first) * (1 - second))
    error = float(np.sqrt(sum((slope * share.error) ** 2 for slope, share in zip(slopes, shares, strict=True))))
    return {
        "rows": int((low - 1 < last).sum()),
        "watched_whole": int((high < last).sum()),
        "covered_share": covered,
        "low": max(0.0, covered - Z80 * error),
        "high": min(1.0, covered + Z80 * error),
        "below_share": below,
        "above_share": above,
        "is_as_promised": WANTED_COVERAGE[0] <= covered <= WANTED_COVERAGE[1],
    }


def slips(rows: pa.Table, data: Outcomes, end_us: float) -> dict[str, Any] | None:
    """Open past the end (UTC) of the CRM's close date, on rows whose date lay ahead and before the end of the replay; None without such rows.

    All of that time has been seen, so no weights are needed. The constant is the share seen on these rows, known only afterwards.
    """
    p = numbers(rows, "slip_probability")
    until = (days(rows, "crm_close_date") + 1) * DAY
    dated = np.isnan(data.won) | np.isfinite(data.closed_us)
    part = np.flatnonzero(np.isfinite(p) & (until > data.as_of_us) & (until <= end_us) & dated)
    if not len(part):
        return None
    slipped = (~(data.closed_us[part] < until[part])).astype(np.float64)
    said, groups, ones = p[part], data.groups[part], np.ones(len(part))
    estimate = ratio(slipped, said, ones, groups)
    interval = estimate.log_interval() if np.isfinite(estimate.value) else None
    figures = win_metrics(slipped, said, None, ones)
    return {
        "rows": len(part),
        "opportunities": len(np.unique(data.opportunity[part])),
        "slipped_share": float(slipped.mean()),
        "predicted": float(said.mean()),
        **{name: figures.get(name) for name in ("log_loss", "brier", "auc", "calibration_error")},
        "constant_log_loss": float(log_losses(slipped, np.full(len(part), slipped.mean())).mean()),
        "constant_brier": float(slipped.mean() * (1 - slipped.mean())),
        "observed_expected": estimate.value,
        "observed_expected_low": interval[0] if interval else None,
        "observed_expected_high": interval[1] if interval else None,
    }


def _gaps(gap: Floats, weight: Floats) -> dict[str, float]:
    return {
        "median_absolute_days": quantile(np.abs(gap), weight, 0.5),
        "median_days_late": quantile(gap, weight, 0.5),
    }


def _money(actual: Floats, said: Floats, crm: Floats, weight: Floats, groups: Indices, part: Indices) -> dict[str, Any]:
    actual, said, crm, weight = actual[part], said[part], crm[part], weight[part]
    total = ratio(actual, said, weight, groups[part])
    interval = total.log_interval()
    known = np.isfinite(crm)
    return {
        "rows": len(part),
        "mean_won_amount": float(np.average(actual, weights=weight)),
        "mae": float(np.average(np.abs(actual - said), weights=weight)),
        "crm_mae": float(np.average(np.abs(actual - crm)[known], weights=weight[known])) if known.any() else None,
        "crm_rows": int(known.sum()),
        "observed_expected": total.value,
        "observed_expected_low": interval[0] if interval else None,
        "observed_expected_high": interval[1] if interval else None,
    }
