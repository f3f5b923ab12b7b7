"""When open opportunities are won, lost, or still open: a mixture of two outcomes that cannot contradict the win probability.

Given the win probability p, the time to closing follows F_won with probability p and F_lost with 1 - p (Larson and Dinse, "A mixture model for the
regression analysis of competing risks data", 1985). Then

- won within t days: p F_won(t), which rises with t and never exceeds p;
- still open after t days: 1 - p F_won(t) - (1 - p) F_lost(t), of which `slip_probability` is the value at the end of the CRM's close date;
- `predicted_close_date` and the ends of its 80 % interval: quantiles of the same mixture.

F_won and F_lost are hazards (`hazards`). Rows that closed teach their outcome's; rows still open teach both, each by how likely the outcome is given
that it has not come yet (Larson and Dinse's expectation step; the chances come from `expected_outcomes`), or slow outcomes would be taken for missing. `calibrate`
then holds the mixture against later rows with the win model's own probabilities, and moves the ends of the interval to where they cover
(conformal quantiles; censored rows by Kaplan and Meier's estimate of the distribution of F(T): Candès, Lei and Ren, "Conformalized survival
analysis", 2023, for the idea; marginal coverage, not for every record).

Belongs here: fitting, calibrating and applying the mixture. Does not belong here: probabilities of winning ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from sales_pipeline.models.hazards import Hazard, fit_hazard, levelled
from sales_pipeline.models.matrix import DAY, Floats, Matrix, codes, known_kinds
from sales_pipeline.models.params import TrainingParams
from sales_pipeline.models.pieces import Clock, Course, Pieces
from sales_pipeline.models.splits import kaplan_meier, thin_by_opportunity

MIN_ROWS = 20
"""Known closing times below which nothing is said about time; and wins (losses) below which these have no pace of their own."""
MAX_ROWS = 12_000
"""Landmark rows the hazards are fitted on; more are thinned by opportunity."""
MIN_CALIBRATION = 50
"""Closed opportunities of the later window below which nothing is corrected."""
LEVELS = (0.1, 0.9)
MAX_DAYS = 3650.0
HORIZONS = (30, 90)
TIMING_COLUMNS = (
    "win_probability_30d",
    "win_probability_90d",
    "predicted_close_date",
    "predicted_close_date_low",
    "predicted_close_date_high",
    "slip_probability",
)
PRECISION = 1e-8
"""Days by which a quantile may be off."""
_CHUNK = 10_000
_LEVEL_STRENGTH = 100.0


@dataclass(frozen=True)
class Timing:
    """The paces of winning and of losing, the quantile levels that cover, and what they rest on (`facts`, for the model card)."""

    won: Hazard
    lost: Hazard
    levels: tuple[float, float]
    facts: Mapping[str, Any]

    def predict(self, matrix: Matrix, p: Floats) -> dict[str, Floats]:
        """One value per row and name of `TIMING_COLUMNS`: probabilities 0-1, dates in microseconds since 1970-01-01 UTC.

        `p` is the probability of winning ever. NaN where p is NaN; `slip_probability` also without a close date in the CRM.
        Only the matrix's keys are read.
        """
        result = {name: np.full(len(matrix), np.nan) for name in TIMING_COLUMNS}
        clock = Clock.of(matrix.keys)
        for first in range(0, len(matrix), _CHUNK):
            rows = first + np.flatnonzero(np.isfinite(p[first : first + _CHUNK]))
            mixture = self.mixture(clock.take(rows), p[rows])
            for days in HORIZONS:
                result[f"win_probability_{days}d"][rows] = mixture.won_within(np.full(len(rows), float(days)))
            for suffix, level in (("", 0.5), ("_low", self.levels[0]), ("_high", self.levels[1])):
                result[f"predicted_close_date{suffix}"][rows] = (mixture.clock.as_of + mixture.quantiles(level)) * DAY
            until = mixture.clock.until
            open_still = 1.0 - mixture.closed_within(np.where(np.isfinite(until), until, 0.0))
            result["slip_probability"][rows] = np.where(np.isfinite(until), open_still, np.nan)
        return result

    def mixture(self, clock: Clock, p: Floats) -> Mixture:
        """The distribution of the closing time of some rows."""
        pieces = Pieces.of(np.union1d(self.won.edges, self.lost.edges), clock)
        return Mixture(clock, p, self.won.course(clock, pieces), self.lost.course(clock, pieces))

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data."""
        return {
            "won": self.won.to_dict(),
            "lost": self.lost.to_dict(),
            "levels": list(self.levels),
            "facts": dict(self.facts),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Timing:
        """The inverse of `to_dict`."""
        low, high = data["levels"]
        return cls(
            Hazard.from_dict(data["won"]), Hazard.from_dict(data["lost"]), (float(low), float(high)), data["facts"]
        )


@dataclass(frozen=True)
class Mixture:
    """Closing times of rows: the course of each outcome on the same pieces, and `p`, the chance that it is the one of winning."""

    clock: Clock
    p: Floats
    won: Course
    lost: Course

    def won_within(self, days: Floats) -> Floats:
        """Probability that the row is won within its number of days."""
        return np.asarray(self.p * -np.expm1(-self.won.by(days)))

    def closed_within(self, days: Floats) -> Floats:
        """Probability that the row is closed within its number of days, either way."""
        lost = (1.0 - self.p) * -np.expm1(-self.lost.by(days))
        return np.clip(self.won_within(days) + lost, 0.0, 1.0)

    def won_if_open(self, days: Floats) -> Floats:
        """Probability of winning ever, given that the row is still open after its number of days."""
        won = np.log(self.p) - self.won.by(days)
        lost = np.log1p(-self.p) - self.lost.by(days)
        return np.asarray(1.0 / (1.0 + np.exp(np.clip(lost - won, -700.0, 700.0))))

    @cached_property
    def _still_open(self) -> tuple[Floats, Floats]:
        """Probability that the row is still open at the start of each piece and will be won, and will be lost; both (pieces, rows)."""
        return self.p * np.exp(-self.won.before), (1.0 - self.p) * np.exp(-self.lost.before)

    def quantiles(self, level: float) -> Floats:
        """Days after which the row is closed with that probability; `MAX_DAYS` at most.

        In the piece where that is so, the share still open is a sum of two exponentials of the days since its start. The logarithm of such a sum is convex
        and falls, so that Newton's steps from the start never go too far; each row takes as many as it needs.
        """
        pieces = self.won.pieces
        to_win, to_lose = self._still_open
        piece = np.maximum((to_win + to_lose > 1.0 - level).sum(axis=0) - 1, 0)
        rows = np.arange(len(piece))
        won, lost, won_rate, lost_rate = (
            values[piece, rows] for values in (to_win, to_lose, self.won.rates, self.lost.rates)
        )
        days = np.zeros(len(piece))
        while len(rows):
            of_won = won[rows] * np.exp(-won_rate[rows] * days[rows])
            of_lost = lost[rows] * np.exp(-lost_rate[rows] * days[rows])
            share = of_won + of_lost
            step = np.log(share / (1.0 - level)) * share / (won_rate[rows] * of_won + lost_rate[rows] * of_lost)
            days[rows] += step
            rows = rows[(step > PRECISION) & (days[rows] < MAX_DAYS)]
        return np.asarray(np.minimum(pieces.starts[piece, pieces.state] + np.maximum(days, 0.0), MAX_DAYS))


def learn_timing(
    matrix: Matrix, outcome: Floats, params: TrainingParams, *, as_of_us: float | None = None
) -> Timing | None:
    """Learn from all landmark rows, closed and still open; None with fewer than 20 known closing times.

    `outcome` (one per row, `expected_outcomes.Expectations.outcomes`): 1 won, 0 lost, between them the chance of winning of a row still open; NaN where
    nothing is known (a closed row is not used then). `as_of_us` is the instant up to which outcomes are known; None: the newest one in the keys.
    With fewer than 20 won or lost opportunities both outcomes go at the pace of all closings. ValueError for outcomes outside 0-1.
    """
    if bool((np.abs(outcome - 0.5) > 0.5).any()):
        raise ValueError(f"expected outcomes between 0 and 1, found {np.nanmin(outcome):g} to {np.nanmax(outcome):g}")
    seen = _Seen.of(matrix, outcome, as_of_us)
    rows = thin_by_opportunity(np.flatnonzero(seen.usable), seen.opportunity, MAX_ROWS, params.seed)
    seen = seen.take(rows)
    closed = seen.closed
    if int(closed.sum()) < MIN_ROWS:
        return None
    winners, losers = (_distinct(seen.opportunity[closed & (seen.outcome == side)]) for side in (1, 0))
    facts: dict[str, Any] = {
        "method": "mixture of the times to winning and to losing (Larson and Dinse, 1985), piecewise constant hazards",
        "rows": len(rows),
        "closed_rows": int(closed.sum()),
        "won_opportunities": winners,
        "lost_opportunities": losers,
        "tail": "beyond the last interval its rate goes on",
        "interval": "80 %: the mixture's own quantiles",
    }
    if min(winners, losers) < MIN_ROWS:
        event = closed.astype(np.float64)
        one = fit_hazard(seen.clock, seen.days, event, np.ones(len(rows)), _distinct(seen.opportunity[closed]))
        facts["method"] += "; fewer than 20 wins or losses: both at the pace of all closings"
        return Timing(one, one, LEVELS, facts)
    share = float(seen.outcome[closed].mean())
    chance = np.where(np.isfinite(seen.outcome), seen.outcome, share)
    return Timing(_pace(seen, 1.0, chance, winners), _pace(seen, 0.0, 1.0 - chance, losers), LEVELS, facts)


def calibrate(timing: Timing, matrix: Matrix, p: Floats, *, as_of_us: float | None = None) -> Timing:
    """The timing held against later rows: ALL landmark rows of a later window, those still open too, and the win model's probabilities of them.

    Both paces are moved to the window's, each by one factor, then the interval's levels to where they cover. Nothing is corrected by fewer than 50 closed
    opportunities, nor by a window without a row still open: closed rows alone are the fast ones. `as_of_us` as in `learn_timing`.
    """
    seen = _Seen.of(matrix, matrix.keys["is_won"].to_numpy(dtype=np.float64), as_of_us)
    rows = np.flatnonzero(seen.usable & np.isfinite(p))
    rows = thin_by_opportunity(rows, seen.opportunity, MAX_ROWS, 0)
    seen, p = seen.take(rows), np.clip(p[rows], 1e-4, 1 - 1e-4)
    closed = seen.closed
    count = _distinct(seen.opportunity[closed])
    if count < MIN_CALIBRATION or bool(closed.all()):
        return timing
    for _ in range(2):
        open_won = timing.mixture(seen.clock, p).won_if_open(seen.days)
        moved = []
        for hazard, side, chance in ((timing.won, 1.0, open_won), (timing.lost, 0.0, 1.0 - open_won)):
            event = (closed & (seen.outcome == side)).astype(np.float64)
            weight = np.where(closed, event, chance)
            moved.append(levelled(hazard, seen.clock, seen.days, event, weight, _distinct(seen.opportunity[event > 0])))
        timing = replace(timing, won=moved[0], lost=moved[1])
    reached = timing.mixture(seen.clock, p).closed_within(seen.days)
    facts = {
        **timing.facts,
        "interval": f"80 %: conformal quantiles of {count} later opportunities ({len(rows)} rows, open ones censored)",
    }
    return replace(timing, levels=_levels(reached, closed, count), facts=facts)


def interval_coverage(actual: Floats, low: Floats, high: Floats, weight: Floats | None = None) -> dict[str, float]:
    """`share` of the (weighted) rows whose actual value lies within [low, high], and the number of `rows` it rests on.

    Rows with a NaN among the three are left out; without any the share is NaN.
    """
    known = np.isfinite(actual) & np.isfinite(low) & np.isfinite(high)
    weights = np.ones(len(actual)) if weight is None else weight
    total = float(weights[known].sum())
    inside = known & (actual >= low) & (actual <= high)
    share = float(weights[inside].sum()) / total if total > 0 else float("nan")
    return {"share": share, "rows": float(known.sum())}


@dataclass(frozen=True)
class _Seen:
    """Landmark rows by what happened: `days` to the closing or, where still open, to the as-of. `outcome` as `learn_timing` has it."""

    clock: Clock
    opportunity: npt.NDArray[np.int64]
    outcome: Floats
    closed: npt.NDArray[np.bool_]
    days: Floats
    usable: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, matrix: Matrix, outcome: Floats, as_of_us: float | None) -> _Seen:
        keys = matrix.keys
        landmark = keys["as_of_us"].to_numpy(dtype=np.float64)
        closed_us = keys["closed_us"].to_numpy(dtype=np.float64)
        until = _newest(landmark, closed_us) if as_of_us is None else as_of_us
        labelled = np.isfinite(keys["is_won"].to_numpy(dtype=np.float64)) & ~(closed_us > until)
        closed = labelled & np.isfinite(closed_us) & np.isfinite(outcome)
        days = (np.where(closed, closed_us, until) - landmark) / DAY
        usable = (closed | ~labelled) & (days >= 0) & keys["kind"].isin(known_kinds(keys)).to_numpy()
        return cls(Clock.of(keys), codes(keys["opportunity_id"]), outcome, closed, np.maximum(days, 0.0), usable)

    def take(self, rows: npt.NDArray[np.int64]) -> _Seen:
        return _Seen(
            self.clock.take(rows),
            *(getattr(self, name)[rows] for name in self.__dataclass_fields__ if name != "clock"),
        )


def _pace(seen: _Seen, side: float, chance: Floats, count: int) -> Hazard:
    """The pace of an outcome: rows that closed with it count whole, rows still open by their `chance` of it, the other outcome's not."""
    event = (seen.closed & (seen.outcome == side)).astype(np.float64)
    return fit_hazard(seen.clock, seen.days, event, np.where(seen.closed, event, chance), count)


def _newest(landmark: Floats, closed_us: Floats) -> float:
    known = closed_us[np.isfinite(closed_us)]
    return float(max(landmark.max(initial=0.0), known.max(initial=0.0)))


def _distinct(values: npt.NDArray[Any]) -> int:
    return len(np.unique(values))


def _levels(reached: Floats, closed: npt.NDArray[np.bool_], count: int) -> tuple[float, float]:
    """Levels whose quantiles cover: quantiles of F(T) among later rows, those still open censored at F(their age).

    With as many as (count + 1) x share opportunities inside (split conformal), shrunken to the nominal levels where few; nominal where F(T) is not
    known as far.
    """
    values, survival = kaplan_meier(reached, closed)
    share = np.concatenate([[0.0], 1.0 - survival])
    found = []
    for nominal in LEVELS:
        wanted = ((count + 1) * nominal - (nominal < 0.5)) / count
        level = float(np.interp(wanted, share, np.concatenate([[0.0], values]))) if wanted <= share[-1] else nominal
        level = (count * level + _LEVEL_STRENGTH * nominal) / (count + _LEVEL_STRENGTH)
        found.append(float(np.clip(level, 0.005, 0.5) if nominal < 0.5 else np.clip(level, 0.5, 0.995)))
    return found[0], found[1]
