"""The laws of the simulated world: weekly transition probabilities, in one place for the forward run and the exact truth.

An opportunity is a Markov chain in weekly steps over (stage, engagement), given its own constants and the calendar:

1. the seller follows up, or not (`contact_probability`);
2. the customer's engagement rises, falls or stays (`engagement_moves`), helped or harmed by the follow-up according to
   how persuadable the customer is;
3. one of the competing events win, lose, advance, fall back, or nothing happens (`event_probabilities`): a multinomial
   logit with "nothing" as its base, the discrete-time form of competing risks (Tutz & Schmid, "Modeling Discrete
   Time-to-Event Data", 2016, ch. 8).

All functions broadcast: a scalar opportunity index with a 4 x 4 grid of states serves the backward recursion, aligned
vectors serve the forward run. Nothing here draws random numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from sales_pipeline.simulation.params import WorldParams

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

OPEN_STAGES = ("Prospecting", "Qualification", "Proposal", "Negotiation")
CLOSED_WON = len(OPEN_STAGES)
CLOSED_LOST = CLOSED_WON + 1
STAGE_NAMES = (*OPEN_STAGES, "Closed Won", "Closed Lost")
STAGE_PROBABILITIES = (10, 25, 50, 75, 100, 0)
ENGAGEMENT_LEVELS = ("silent", "cool", "warm", "hot")

_NEVER = 0.0
# Weekly rates relative to "nothing happens", for a warm customer of average index, per open stage.
_ADVANCE = np.array([0.20, 0.175, 0.16, _NEVER])
_WIN = np.array([_NEVER, _NEVER, 0.007, 0.095])
_LOSE = np.array([0.044, 0.040, 0.044, 0.055])
_BACK = np.array([_NEVER, 0.006, 0.012, 0.018])
# Factors per engagement level (silent, cool, warm, hot).
_ADVANCE_BY_ENGAGEMENT = np.array([0.10, 0.55, 1.0, 1.3])
_WIN_BY_ENGAGEMENT = np.array([0.07, 0.50, 1.0, 1.5])
_LOSE_BY_ENGAGEMENT = np.array([0.12, 1.15, 1.05, 0.70])
_ADVANCE_RATE = _ADVANCE[:, None] * _ADVANCE_BY_ENGAGEMENT
_WIN_RATE = _WIN[:, None] * _WIN_BY_ENGAGEMENT
_LOSE_RATE = _LOSE[:, None] * _LOSE_BY_ENGAGEMENT
_BACK_RATE = np.repeat(_BACK[:, None], len(ENGAGEMENT_LEVELS), axis=1)
# How the win index (standard deviation about 1) acts on each rate.
_INDEX_ON_WIN, _INDEX_ON_ADVANCE, _INDEX_ON_LOSE = 0.36, 0.18, -0.36
# Engagement: weekly odds of one level up and one level down without a follow-up.
_UP = np.array([0.025, 0.08, 0.07, _NEVER])
_DOWN = np.array([_NEVER, 0.10, 0.13, 0.22])
_INDEX_ON_UP, _INDEX_ON_DOWN = 0.20, -0.15
# Seller's follow-up: logit per engagement level and stage.
_CONTACT_BY_ENGAGEMENT = np.array([-1.1, -0.3, 0.2, 0.45])
_CONTACT_BY_STAGE = np.array([-0.1, 0.1, 0.35, 0.55])


@dataclass(frozen=True, slots=True)
class Constants:
    """What stays fixed for an opportunity, one element per opportunity.

    win_index: unitless, mean about 0; contact_logit: the seller's weekly habit; lift: what a follow-up adds to the log-odds
    of rising engagement (half of it is taken from the log-odds of falling); created_week: the week of the grid it was created in.
    """

    win_index: Floats
    contact_logit: Floats
    lift: Floats
    created_week: Ints

    def take(self, index: Ints | slice) -> Constants:
        """The constants of some of the opportunities."""
        return Constants(self.win_index[index], self.contact_logit[index], self.lift[index], self.created_week[index])


@dataclass(frozen=True, slots=True)
class Calendar:
    """The weekly grid and its season. Week t covers days [first_day + 7 t, first_day + 7 (t + 1)); days since 1970-01-01.

    `workdays` are the five offsets (0-6) of Monday to Friday inside a week of the grid; everything happens on them,
    each with the same probability.
    """

    first_day: int
    week_count: int
    workdays: tuple[int, ...]
    advance_factor: Floats
    win_factor: Floats
    lose_factor: Floats

    @property
    def total_weeks(self) -> int:
        """Observed weeks and the unseen ones after them."""
        return len(self.win_factor)

    def day_of(self, week: int) -> int:
        """First day of the week, days since 1970-01-01."""
        return self.first_day + 7 * week

    def share_of_week(self, days: int) -> float:
        """Share of a week's workdays that lie in its first `days` days."""
        return sum(offset < days for offset in self.workdays) / len(self.workdays)


def make_calendar(params: WorldParams) -> Calendar:
    """The grid of the world and its season: a push before quarter ends, a clean-up after them, quiet summers and Christmas."""
    first = params.end_on + timedelta(days=1 - 7 * params.week_count)
    total = params.week_count + params.max_age_weeks + 1
    advance, win, lose = np.ones(total), np.ones(total), np.ones(total)
    for week in range(total):
        middle = first + timedelta(days=7 * week + 3)
        left = _days_to_quarter_end(middle)
        if left <= 21:
            win[week] *= 1.9 if left <= 8 else 1.35
            advance[week] *= 1.15
        if left >= 80:
            lose[week] *= 1.7
            win[week] *= 0.75
        if middle.month == 8 or (middle.month, middle.day) >= (12, 22):
            advance[week] *= 0.65
            win[week] *= 0.7
    workdays = tuple(offset for offset in range(7) if (first + timedelta(days=offset)).weekday() < 5)
    return Calendar((first - date(1970, 1, 1)).days, params.week_count, workdays, advance, win, lose)


def _days_to_quarter_end(day: date) -> int:
    month = 3 * ((day.month - 1) // 3) + 3
    following = date(day.year + month // 12, month % 12 + 1, 1)
    return (following - day).days - 1


def contact_probability(stage: Ints, engagement: Ints, contact_logit: Floats) -> Floats:
    """Probability that the seller follows up this week."""
    logit = contact_logit + _CONTACT_BY_ENGAGEMENT[engagement] + _CONTACT_BY_STAGE[stage]
    return np.asarray(1.0 / (1.0 + np.exp(-logit)))


def engagement_moves(engagement: Ints, win_index: Floats, effect: Floats) -> tuple[Floats, Floats]:
    """Probabilities that engagement rises and falls by one level this week.

    `effect` is the opportunity's lift in a week with a follow-up and 0 in one without.
    """
    up = _UP[engagement] * np.exp(_INDEX_ON_UP * win_index + effect)
    down = _DOWN[engagement] * np.exp(_INDEX_ON_DOWN * win_index - 0.5 * effect)
    total = 1.0 + up + down
    return up / total, down / total


def event_probabilities(
    stage: Ints,
    engagement: Ints,
    win_index: Floats,
    created_week: Ints,
    week: int,
    calendar: Calendar,
    max_age_weeks: int,
) -> tuple[Floats, Floats, Floats, Floats]:
    """Probabilities of win, lose, advance and fall back in `week`; nothing happens with what remains.

    Losing grows likelier after 20 weeks; at `max_age_weeks` it is certain.
    """
    age = week - created_week
    win = _WIN_RATE[stage, engagement] * (np.exp(_INDEX_ON_WIN * win_index) * calendar.win_factor[week])
    advance = _ADVANCE_RATE[stage, engagement] * (np.exp(_INDEX_ON_ADVANCE * win_index) * calendar.advance_factor[week])
    ageing = np.exp(0.012 * np.maximum(age - 20, 0)) * calendar.lose_factor[week]
    lose = _LOSE_RATE[stage, engagement] * (np.exp(_INDEX_ON_LOSE * win_index) * ageing)
    back = _BACK_RATE[stage, engagement]
    total = 1.0 + win + lose + advance + back
    alive = np.where(age >= max_age_weeks, 0.0, 1.0)
    share = alive / total
    return win * share, lose * share + (1.0 - alive), advance * share, back * share
