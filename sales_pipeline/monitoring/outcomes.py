"""How past published scores turned out, judged only where time enough has passed to know.

Won within 30 and within 90 days: known of every opportunity once those days have passed since the run, won or not, so nothing is censored and
nothing leans towards fast outcomes. Won ever: judged on runs of which nearly all opportunities have closed since; those still open widen the
interval from "none of them" to "all of them" (bounds without assumptions: Manski, Partial Identification of Probability Distributions, 2003).
Close dates: judged where the predicted interval has ended. Amounts: where the opportunity was won since.

Belongs here: these figures. Does not belong here: which runs are read (`history`), the drift of scores (`scores`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from sales_pipeline.models.clustered import Z80, mean, ratio
from sales_pipeline.models.matrix import DAY, Floats, Indices, codes
from sales_pipeline.models.metrics import calibration_error, log_losses, paired_difference
from sales_pipeline.monitoring.distributions import effective_size
from sales_pipeline.monitoring.figure import Figure
from sales_pipeline.monitoring.params import MonitoringParams
from sales_pipeline.monitoring.reference import grouped

ALL = "past_runs"
COVERED = 0.8
HORIZONS = {"win_probability_30d": 30, "win_probability_90d": 90}
OUTCOME_COLUMNS = ("opportunity_id", "is_won", "closed_at", "won_amount", "currency")
EVER = "win_probability"
LEAST_CLOSED_SHARE = 0.9
BINS = 10
LEAST_WINS = 10
"""Fewer expected wins say nothing of a ratio."""


@dataclass(frozen=True)
class Ends:
    """What came of opportunities, one element each: is_won (1/0, NaN: open), closed_us, won_amount, currency, and whether they are `there` at all."""

    won: Floats
    closed: Floats
    amount: Floats
    currency: npt.NDArray[np.object_]
    there: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Known:
    """Outcomes as known strictly before today of opportunities that are asked for: by opportunity is_won (1/0, NaN: open), closed_us, won_amount and currency."""

    frame: pd.DataFrame

    @classmethod
    def of_outcomes(cls, outcomes: pa.Table) -> Known:
        """From OUTCOMES, of which `OUTCOME_COLUMNS` are read."""

        def numbers(name: str) -> Floats:
            return np.asarray(outcomes.column(name).cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)

        closed = outcomes.column("closed_at").cast(pa.int64()).cast(pa.float64())
        data = {
            "is_won": numbers("is_won"),
            "closed_us": np.asarray(closed.to_numpy(zero_copy_only=False), dtype=np.float64),
            "won_amount": numbers("won_amount"),
            "currency": np.asarray(outcomes.column("currency").to_numpy(zero_copy_only=False), dtype=object),
        }
        return cls(
            pd.DataFrame(
                data, index=pd.Index(outcomes.column("opportunity_id").to_numpy(zero_copy_only=False), dtype=object)
            )
        )

    def of(self, opportunities: pd.Series) -> Ends:
        """What is known of each opportunity."""
        place = self.frame.index.get_indexer(pd.Index(opportunities, dtype=object))
        won, closed, amount = (
            np.append(self.frame[name].to_numpy(dtype=np.float64), np.nan)[place]
            for name in ("is_won", "closed_us", "won_amount")
        )
        nothing = np.array([None], dtype=object)
        currency = np.append(self.frame["currency"].to_numpy(dtype=object), nothing)[place]
        return Ends(won, closed, amount, currency, place >= 0)


@dataclass(frozen=True)
class Judged:
    """Rows of past runs that can be judged: the probability given, whether it came true, the group and the month of the run."""

    said: Floats
    true: Floats
    group: Indices
    month: npt.NDArray[np.object_]


def outcome_figures(past: pd.DataFrame, known: Known, today_us: float, params: MonitoringParams) -> list[Figure]:
    """Calibration of past probabilities and coverage of past intervals. `past` is what earlier runs said (`history.said`)."""
    figures: list[Figure] = []
    past, ends = grouped(past), known.of(past["opportunity_id"])
    for score, days in HORIZONS.items():
        figures += _calibration(score, _within(past, ends, score, days, today_us, params), past, days, today_us, params)
    figures += _ever(past, ends, params)
    figures.append(_amount_coverage(past, ends, params))
    figures.append(_close_date_coverage(past, ends, today_us, params))
    return figures


def _within(past: pd.DataFrame, ends: Ends, score: str, days: int, today_us: float, params: MonitoringParams) -> Judged:
    """Rows old enough: won within so many days of the run, or not. Those won at an unknown instant are left out."""
    run = past["as_of_us"].to_numpy(dtype=np.float64)
    won, closed = ends.won, ends.closed
    old = run + days * DAY <= today_us
    recent = run + (days + params.history_days) * DAY >= today_us
    said = past[score].to_numpy(dtype=np.float64)
    use = old & recent & np.isfinite(said) & ends.there & ~((won == 1) & np.isnan(closed))
    true = ((won == 1) & (closed < run + days * DAY)).astype(np.float64)
    return _judged(past, said, true, use)


def _groups(past: pd.DataFrame, use: npt.NDArray[np.bool_]) -> Indices:
    """The groups of some rows, numbered anew from 0 in order of appearance."""
    return codes(past["group"].to_numpy(dtype=np.int64)[use])


def _judged(past: pd.DataFrame, said: Floats, true: Floats, use: npt.NDArray[np.bool_]) -> Judged:
    months = pd.to_datetime(past["as_of_us"].to_numpy()[use].astype(np.int64) - 1, unit="us", utc=True)
    month = np.asarray(months.strftime("%Y-%m"), dtype=object)
    return Judged(said[use], true[use], _groups(past, use), month)


def _calibration(
    score: str, judged: Judged, past: pd.DataFrame, days: int, today_us: float, params: MonitoringParams
) -> Iterator[Figure]:
    if not len(judged.said):
        yield Figure("calibration", score, "observed_expected", ALL, None, _too_young(past, score, days, today_us))
        return
    yield from _figures(score, judged, ALL, params, is_limited=True)
    for month in sorted(set(judged.month.tolist())):
        rows = judged.month == month
        part = Judged(judged.said[rows], judged.true[rows], judged.group[rows], judged.month[rows])
        yield from _figures(score, part, month, params, is_limited=False)


def _too_young(past: pd.DataFrame, score: str, days: int, today_us: float) -> str:
    given = past.loc[past[score].notna(), "as_of_us"]
    if given.empty:
        return "no published run has given this score yet: nothing to judge"
    first = float(given.min())
    if first + days * DAY > today_us:
        day = pd.Timestamp(int(first) - 1, unit="us", tz="UTC").strftime("%Y-%m-%d")
        left = int(np.ceil((first + days * DAY - today_us) / DAY))
        return f"too young: the oldest run that can be judged is of {day}; {days} days will have passed in {left} days"
    return "no opportunity of the past runs can be judged: their outcomes are not in today's data"


def _figures(score: str, judged: Judged, name: str, params: MonitoringParams, *, is_limited: bool) -> Iterator[Figure]:
    """Observed over expected, gain in log loss over the base rate, calibration error; limits only where asked for."""
    from scipy.stats import norm

    rows, said, true, group = len(judged.said), judged.said, judged.true, judged.group
    z = float(norm.isf(params.alarm_rate / 2))
    expected = float(said.sum())
    found = ratio(true, said, np.ones(rows), group)
    detail = f"{int(true.sum())} came true, {expected:.1f} were expected"
    if expected < LEAST_WINS:
        yield Figure("calibration", score, "observed_expected", name, None, f"{detail}: too few to judge", rows=rows)
        return
    width = max(params.observed_expected, z * _error_if_right(judged) / expected) if is_limited else None
    yield Figure(
        "calibration", score, "observed_expected", name, found.value, detail, rows=rows,
        low=max(0.0, found.value - Z80 * found.error), high=found.value + Z80 * found.error,
        limit_low=None if width is None else 1 - width, limit_high=None if width is None else 1 + width,
    )  # fmt: skip
    base = float(true.mean())
    losses = log_losses(true, said)
    gain, error = paired_difference(log_losses(true, np.full(rows, base)), losses, group)
    detail = f"log loss {losses.mean():.4f}; a constant that knew the rate of {base:.1%} in advance would have had {losses.mean() + gain:.4f}"
    yield Figure("calibration", score, "log_loss", name, float(losses.mean()), detail, rows=rows)
    yield Figure(
        "calibration", score, "log_loss_gain", name, gain, detail, rows=rows,
        low=gain - Z80 * error, high=gain + Z80 * error, limit_low=min(0.0, -z * error) if is_limited else None,
    )  # fmt: skip
    if rows < BINS * params.min_rows:
        return
    chance, spread = _error_by_chance(judged)
    limit = chance + max(z * spread, params.calibration_error) if is_limited else None
    detail = f"{BINS} bins of equal count; chance alone gives {chance:.3f}"
    yield Figure(
        "calibration",
        score,
        "calibration_error",
        name,
        calibration_error(true, said),
        detail,
        rows=rows,
        limit_high=limit,
    )


def _error_if_right(judged: Judged) -> float:
    """Standard error of the number that comes true, were the probabilities exact.

    The greater of two: independent draws, sqrt(sum of p (1 - p)), and the spread seen between groups, whose rows hang together.
    """
    sums = np.bincount(judged.group, weights=judged.true - judged.said)
    independent = float((judged.said * (1 - judged.said)).sum())
    return float(np.sqrt(max(independent, float((sums**2).sum()))))


def _error_by_chance(judged: Judged) -> tuple[float, float]:
    """Expectation and standard deviation of the calibration error of exact probabilities.

    The distance in a bin is then the size of a normal variable of mean 0: expectation sqrt(2 / pi), variance (1 - 2 / pi) of its own.
    """
    order = np.argsort(judged.said, kind="stable")
    expectation = variance = 0.0
    for part in np.array_split(order, BINS):
        share = len(part) / len(order)
        difference = judged.true[part] - judged.said[part]
        error = mean(difference, np.ones(len(part)), judged.group[part]).error
        expectation += share * error * float(np.sqrt(2 / np.pi))
        variance += share**2 * error**2 * (1 - 2 / np.pi)
    return expectation, float(np.sqrt(variance))


def _ever(past: pd.DataFrame, ends: Ends, params: MonitoringParams) -> Iterator[Figure]:
    """Ever won, on the runs of which nearly everything has closed since."""
    from scipy.stats import norm

    won = ends.won
    said = past[EVER].to_numpy(dtype=np.float64)
    use = ends.there & np.isfinite(said)
    run = codes(past["as_of_us"])
    total = np.bincount(run[use], minlength=run.max(initial=-1) + 1)
    closed = np.bincount(run[use & np.isfinite(won)], minlength=len(total))
    is_done = closed >= LEAST_CLOSED_SHARE * np.maximum(total, 1)
    use &= is_done[run] if len(run) else use
    rows, expected = int(use.sum()), float(said[use].sum())
    if expected < LEAST_WINS:
        detail = f"too young: of no run with enough opportunities {LEAST_CLOSED_SHARE:.0%} have closed since"
        yield Figure("calibration", EVER, "observed_expected", ALL, None, detail, rows=rows)
        return
    group = _groups(past, use)
    fewest, most = (
        ratio(np.where(np.isnan(won[use]), open_as, won[use]), said[use], np.ones(rows), group)
        for open_as in (0.0, 1.0)
    )
    still_open = int(np.isnan(won[use]).sum())
    z = float(norm.isf(params.alarm_rate / 2))
    low, high = (max(params.observed_expected, z * one.error) for one in (most, fewest))
    detail = f"{still_open} of {rows} are still open: the interval reaches from none of them won to all of them"
    # The limits are moved by what the open ones leave undecided, so that an alert holds whatever becomes of them.
    value = (fewest.value + most.value) / 2
    yield Figure(
        "calibration", EVER, "observed_expected", ALL, value, detail, rows=rows,
        low=max(0.0, fewest.value - Z80 * fewest.error), high=most.value + Z80 * most.error,
        limit_low=1 - low - (most.value - value), limit_high=1 + high + (value - fewest.value),
    )  # fmt: skip


def _amount_coverage(past: pd.DataFrame, ends: Ends, params: MonitoringParams) -> Figure:
    """Share of won amounts within the 80 % interval given for them, over opportunities won since, in the currency they were given in."""
    amount = ends.amount
    low, high = (past[f"expected_amount_{side}"].to_numpy(dtype=np.float64) for side in ("low", "high"))
    same = ends.currency == past["currency"].to_numpy(dtype=object)
    use = np.isfinite(amount) & np.isfinite(low) & np.isfinite(high) & same
    inside = ((amount >= low) & (amount <= high)).astype(np.float64)
    return _coverage("expected_amount", inside, use, past, params, "won since")


def _close_date_coverage(past: pd.DataFrame, ends: Ends, today_us: float, params: MonitoringParams) -> Figure:
    """Share that closed within the 80 % interval of days given for them, over intervals that have ended."""
    closed = ends.closed
    low, high = (past[f"predicted_close_date_{side}"].to_numpy(dtype=np.float64) for side in ("low", "high"))
    use = (high + DAY <= today_us) & ends.there & ~(np.isfinite(ends.won) & np.isnan(closed))
    inside = ((closed >= low) & (closed < high + DAY)).astype(np.float64)
    return _coverage("predicted_close_date", inside, use, past, params, "whose interval has ended")


def _coverage(
    subject: str, inside: Floats, use: npt.NDArray[np.bool_], past: pd.DataFrame, params: MonitoringParams, which: str
) -> Figure:
    from scipy.stats import norm

    rows = int(use.sum())
    if rows < params.min_rows:
        detail = f"too young: fewer than {params.min_rows} past scores {which}"
        return Figure("coverage", subject, "coverage_80", ALL, None, detail, rows=rows)
    group = _groups(past, use)
    found = mean(inside[use], np.ones(rows), group)
    error = float(np.sqrt(COVERED * (1 - COVERED) / effective_size(group)))
    width = max(params.coverage, float(norm.isf(params.alarm_rate / 2)) * error)
    detail = f"of {rows} past scores {which}; 80 % should lie inside"
    low, high = found.interval(0.0, 1.0)
    return Figure(
        "coverage", subject, "coverage_80", ALL, found.value, detail, rows=rows,
        low=low, high=high, limit_low=COVERED - width, limit_high=COVERED + width,
    )  # fmt: skip
