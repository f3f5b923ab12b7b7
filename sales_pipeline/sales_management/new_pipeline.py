"""Revenue of a month from opportunities that do not exist yet: how many are created, how they fare by age, how much that varies.

A deal created in the past tells, whatever has become of it since, how likely one is won at each age: by age in weeks the wins over those still watched,
times the share not closed before (Aalen and Johansen, "An empirical transition matrix for non-homogeneous Markov chains based on censored observations",
1978), so that young deals speak too. With the recent number of creations a week and its trend, every past win stands for so many wins, of its amount, in each month to
come. How far what came differed from what this would have said at past dates gives the spread (moments of a Poisson count with a shared factor).

Belongs here: these expectations and the pool of past wins to draw from. Does not belong here: drawing (`simulate`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from sales_pipeline.models.matrix import DAY, Floats
from sales_pipeline.sales_management.deals import Deals, Known
from sales_pipeline.sales_management.params import ForecastParams

Ints = npt.NDArray[np.int64]
WEEK = 7.0
PAST_DAYS = 91.0
"""Length of the windows past forecasts of new pipeline are judged over."""
MOST_PAST = 12
TREND_WEEKS = 52
LEAST_TREND_WEEKS = 26
LEAST_WINS = 5
"""Past wins below which nothing is said about new pipeline."""


@dataclass(frozen=True)
class NewPipeline:
    """`weights` (wins, months): how many wins like each past one a month is to bring; `cents`: the past wins' amounts. `spread`: standard deviation of the
    logarithm of the factor on all of it; `judged`: how much of it rests on past windows (in whole windows). `rate`: creations a week."""

    weights: Floats
    cents: Floats
    spread: float
    judged: float
    rate: float

    def counts(self) -> Floats:
        """Expected number of wins per month."""
        return np.asarray(self.weights.sum(axis=0))

    def by_span(self, begins: Sequence[int]) -> NewPipeline:
        """With the months from each of these positions to the next taken together."""
        return replace(self, weights=np.add.reduceat(self.weights, list(begins), axis=1))

    def expected(self) -> Floats:
        """Expected cents per month."""
        return np.asarray(self.weights.T @ self.cents)


def learn_new_pipeline(
    deals: Deals, starts: Floats, ends: Floats, instant_us: float, params: ForecastParams
) -> NewPipeline:
    """What is to come after an instant in windows given by first and last instants, from what was known strictly before it."""
    found = _expect(deals, starts, ends, instant_us, params)
    excess, strength = _past_excess(deals, instant_us, params)
    stated = params.shocks.new_pipeline
    believed = strength / (strength + params.shocks.strength)
    variance = (
        believed * excess + (1.0 - believed) * (np.exp(stated**2) - 1.0) + _estimation_variance(found[0], found[1])
    )
    return NewPipeline(found[0], found[1], float(np.sqrt(np.log1p(variance))), strength, found[2])


def _estimation_variance(weights: Floats, cents: Floats) -> float:
    """Squared relative error of the expected total that comes from resting on so many past wins (of a sum of as many independent terms)."""
    values = weights.sum(axis=1) * cents
    total = float(values.sum())
    return float(np.square(values).sum()) / total**2 if total > 0 else 0.0


def _expect(
    deals: Deals, starts: Floats, ends: Floats, instant_us: float, params: ForecastParams
) -> tuple[Floats, Floats, float]:
    known = deals.known_at(instant_us)
    rate, rise = creation_rate(deals, instant_us, params)
    ages, cents, share = wins_by_age(known, params)
    if len(ages) < LEAST_WINS or rate <= 0:
        return np.zeros((0, len(starts))), np.zeros(0), rate
    # A deal of that age is won within [start, end) when it was created within [start - age, end - age), after the instant.
    from_days = np.maximum((starts - instant_us) / DAY, 0.0)[None, :]
    to_days = np.maximum((ends - instant_us) / DAY, 0.0)[None, :]
    age = ages[:, None]
    first, last = (np.maximum(days - age, 0.0) / WEEK for days in (from_days, to_days))
    weights = share[:, None] * (rate * (last - first) + 0.5 * rise * (last**2 - first**2))
    used = weights.sum(axis=1) > 0
    return weights[used], cents[used], rate


def creation_rate(deals: Deals, instant_us: float, params: ForecastParams) -> tuple[float, float]:
    """Deals created a week at the instant, and what that rises by each week.

    The level is the mean of the last weeks, or of all there are. The trend is that of the last year, by least squares, drawn towards none by its error
    (the positive part of 1 - error^2 / slope^2: James and Stein, "Estimation with quadratic loss", 1961), and none with less than half a year.
    """
    age = (instant_us - deals.created[deals.is_first]) / (WEEK * DAY)
    age = age[age > 0]
    if not len(age):
        return 0.0, 0.0
    watched = float(age.max())
    level_weeks = min(float(params.new_pipeline_weeks), watched)
    level = float((age <= level_weeks).sum()) / max(level_weeks, 1.0)
    weeks = int(min(watched, TREND_WEEKS))
    if weeks < LEAST_TREND_WEEKS:
        return level, 0.0
    counts = np.bincount(age[age < weeks].astype(np.int64), minlength=weeks).astype(np.float64)
    time = -(np.arange(weeks) + 0.5)
    centred = time - time.mean()
    slope = float(centred @ counts / (centred @ centred))
    error = float(
        np.sqrt(np.square(counts - counts.mean() - slope * centred).sum() / (weeks - 2) / (centred @ centred))
    )
    slope *= max(1.0 - (error / slope) ** 2, 0.0) if slope else 0.0
    limit = level / TREND_WEEKS
    slope = float(np.clip(slope, -0.5 * limit, limit))
    return level + slope * level_weeks / 2.0, slope


def wins_by_age(known: Known, params: ForecastParams) -> tuple[Floats, Floats, Floats]:
    """Per past win its age in days, its cents, and the chance that a deal created becomes just this win."""
    deals = known.deals
    age = (known.instant_us - deals.created) / DAY
    usable = np.flatnonzero(known.latest & (age > 0) & (age <= params.history_days) & known.is_there)
    closed = known.closed[usable]
    lived = (deals.closed[usable] - deals.created[usable]) / DAY
    days = np.maximum(np.where(closed, lived, age[usable]), 0.0)
    weeks = np.floor(days / WEEK)
    # The quotient may be rounded up to a whole week that is not over.
    week = (weeks - (weeks * WEEK > days)).astype(np.int64)
    count = int(week.max(initial=0)) + 1
    leaving = np.bincount(week, minlength=count)
    closing = np.bincount(week[closed], minlength=count)
    watched = leaving[::-1].cumsum()[::-1]
    # Deals censored within a week were watched for half of it.
    at_risk = np.maximum(watched - 0.5 * (leaving - closing), 1.0)
    surviving = np.concatenate([[1.0], np.cumprod(1.0 - np.minimum(closing / at_risk, 1.0))[:-1]])
    wins = closed & known.countable[usable]
    return days[wins], deals.cents[usable[wins]], (surviving / at_risk)[week[wins]]


def _past_excess(deals: Deals, instant_us: float, params: ForecastParams) -> tuple[float, float]:
    """Variance of the shared factor beyond that of a Poisson count, from past windows, and how many whole windows that rests on."""
    first = np.nanmin(deals.created) if np.isfinite(deals.created).any() else instant_us
    step = 28.0 * DAY
    known = deals.known_at(instant_us)
    squares, expected_squares, dates = 0.0, 0.0, 0
    start = instant_us - PAST_DAYS * DAY
    while dates < MOST_PAST and start - first >= 2 * PAST_DAYS * DAY:
        end = start + PAST_DAYS * DAY
        weights, _, _ = _expect(deals, np.array([start]), np.array([end]), start, params)
        expected = float(weights.sum())
        came = float((known.countable & (deals.created >= start) & (deals.closed < end)).sum())
        squares += (came - expected) ** 2 - expected
        expected_squares += expected**2
        dates += 1
        start -= step
    if expected_squares <= 0:
        return 0.0, 0.0
    return max(squares / expected_squares, 0.0), dates * step / (PAST_DAYS * DAY)


def shares_of_new(
    deals: Deals, places: Ints, is_active: npt.NDArray[np.bool_], instant_us: float, params: ForecastParams
) -> Floats:
    """Share (adding up to 1) of each owner in what is created lately; owners who have left get none, unless nobody else is there."""
    age = (instant_us - deals.created) / DAY
    recent = (deals.created < instant_us) & (age <= params.new_pipeline_weeks * WEEK) & deals.is_first
    counts = np.bincount(places[recent], minlength=len(is_active)).astype(np.float64)
    staying = np.where(is_active, counts, 0.0)
    chosen = staying if staying.sum() > 0 else counts
    if chosen.sum() <= 0:
        chosen = np.zeros(len(is_active))
        chosen[-1] = 1.0
    return np.asarray(chosen / chosen.sum())
