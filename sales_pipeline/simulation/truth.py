"""The hidden truth of a simulated world: exact win probabilities and effects of a follow-up, given the hidden state.

Computed by backward recursion over the weekly chain of `dynamics` (first-step analysis; Kemeny & Snell, "Finite Markov
Chains", 1960, ch. 3), not by sampling. The truth knows the hidden state, so its AUC bounds what any model can reach.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from sales_pipeline.simulation.dynamics import (
    CLOSED_LOST,
    CLOSED_WON,
    ENGAGEMENT_LEVELS,
    OPEN_STAGES,
    STAGE_NAMES,
    Calendar,
    Constants,
    Floats,
    contact_probability,
    engagement_moves,
    event_probabilities,
)
from sales_pipeline.simulation.ids import make_ids
from sales_pipeline.simulation.population import PERSUADABILITY
from sales_pipeline.simulation.world import World

HORIZON_DAYS = (30, 90)
_CHUNK = 2048
_STAGE = np.arange(len(OPEN_STAGES))[None, :, None]
_ENGAGEMENT = np.arange(len(ENGAGEMENT_LEVELS))[None, None, :]


@dataclass(frozen=True, slots=True)
class Values:
    """Win probabilities on the grid (opportunity, stage, engagement) at the start of a week: as the seller goes on, and with and
    without a follow-up in this week."""

    expected: Floats
    contacted: Floats
    left_alone: Floats


def truth_tables(world: World) -> dict[str, pa.Table]:
    """The truth as tables, by file name without ending.

    - `opportunities`: one row per opportunity: the hidden constants (win_index, persuadability, budget, mean discount) and the
      eventual outcome (`eventual_stage`, `eventually_closed_on`), which lies after the export where `is_open` is true.
    - `landmarks`: one row per (opportunity, as_of) for the opportunities open at each landmark, the world's end included
      (`is_world_end`): hidden stage and engagement, true `win_probability` (ever), `win_probability_30d`,
      `win_probability_90d`, `expected_amount` (mean signed amount if won), `follow_up_effect` and `follow_up_effect_90d`
      (win probability with a follow-up in the week after as_of minus without), `is_eventually_won`.
    - `sellers`: one row per seller: hidden skill (in units of the win index) and contact habit (log-odds per week).
    """
    return {
        "opportunities": _opportunity_table(world),
        "landmarks": landmark_table(world),
        "sellers": _seller_table(world),
    }


def landmark_table(world: World) -> pa.Table:
    """The `landmarks` table of `truth_tables`, ordered by (as_of, opportunity)."""
    marks, data = world.landmarks, world.population.opportunities
    ever, effect = _ever(world)
    within = {days: _within(world, days) for days in HORIZON_DAYS}
    seconds = (world.calendar.first_day + 7 * marks.week) * 86_400
    expected_amount = (data.budget * (1.0 - data.discount_mean))[marks.opportunity]
    return pa.table(
        {
            "opportunity_id": make_ids("Opportunity", marks.opportunity),
            "as_of": pa.array(seconds).cast(pa.timestamp("s", tz="UTC")),
            "is_world_end": pa.array(marks.week == world.calendar.week_count),
            "stage": pa.array(OPEN_STAGES).take(pa.array(marks.stage)),
            "engagement": pa.array(ENGAGEMENT_LEVELS).take(pa.array(marks.engagement)),
            "win_probability": ever,
            **{f"win_probability_{days}d": values for days, (values, _) in within.items()},
            "expected_amount": np.round(expected_amount, 2),
            "follow_up_effect": effect,
            "follow_up_effect_90d": within[90][1],
            "is_eventually_won": pa.array(world.final_stage[marks.opportunity] == CLOSED_WON),
            "eventually_closed_at": pa.array(world.closed_at[marks.opportunity]).cast(pa.timestamp("s", tz="UTC")),
        }
    )


def step_back(
    following: Floats,
    constants: Constants,
    week: int,
    calendar: Calendar,
    max_age_weeks: int,
    *,
    counted_share: float = 1.0,
) -> Values:
    """Win probabilities at the start of `week` from those at the start of the next, on the grid of hidden states.

    `counted_share`: the share of the week before the horizon ends; a win after it does not count, and with less than 1
    `following` must be zero.
    """
    index, created = constants.win_index[:, None, None], constants.created_week[:, None, None]
    win, lose, advance, back = event_probabilities(_STAGE, _ENGAGEMENT, index, created, week, calendar, max_age_weeks)
    after_moves = win * counted_share + (1.0 - win - lose - advance - back) * following
    after_moves[:, :-1] += advance[:, :-1] * following[:, 1:]
    after_moves[:, 1:] += back[:, 1:] * following[:, :-1]
    contacted = _after_engagement(after_moves, index, constants.lift[:, None, None])
    left_alone = _after_engagement(after_moves, index, np.zeros_like(index))
    chance = contact_probability(_STAGE, _ENGAGEMENT, constants.contact_logit[:, None, None])
    return Values(chance * contacted + (1.0 - chance) * left_alone, contacted, left_alone)


def _after_engagement(values: Floats, index: Floats, effect: Floats) -> Floats:
    """Mean of `values` over this week's move of engagement."""
    up, down = engagement_moves(_ENGAGEMENT, index, effect)
    mean = (1.0 - up - down) * values
    mean[..., :-1] += up[..., :-1] * values[..., 1:]
    mean[..., 1:] += down[..., 1:] * values[..., :-1]
    return mean


def _ever(world: World) -> tuple[Floats, Floats]:
    """Per landmark row: probability of ever being won, and a follow-up's effect on it."""
    marks, constants = world.landmarks, world.population.opportunities.constants
    max_age = world.params.max_age_weeks
    result, effect = np.zeros(len(marks.week)), np.zeros(len(marks.week))
    by_opportunity = np.lexsort((marks.week, marks.opportunity))
    ordered = marks.opportunity[by_opportunity]
    seen = np.unique(ordered)
    for start in range(0, len(seen), _CHUNK):
        members = seen[start : start + _CHUNK]
        rows = by_opportunity[
            np.searchsorted(ordered, members[0]) : np.searchsorted(ordered, members[-1], side="right")
        ]
        mine = constants.take(members)
        values = np.zeros((len(members), len(OPEN_STAGES), len(ENGAGEMENT_LEVELS)))
        weeks = marks.week[rows]
        wanted = set(weeks.tolist())
        for week in range(int(mine.created_week.max()) + max_age, int(weeks.min()) - 1, -1):
            step = step_back(values, mine, week, world.calendar, max_age)
            values = step.expected
            if week in wanted:
                here = rows[weeks == week]
                state = (np.searchsorted(members, marks.opportunity[here]), marks.stage[here], marks.engagement[here])
                result[here] = step.expected[state]
                effect[here] = step.contacted[state] - step.left_alone[state]
    return result, effect


def _within(world: World, days: int) -> tuple[Floats, Floats]:
    """Per landmark row: probability of being won within `days` after the landmark, and a follow-up's effect on it."""
    marks, constants, calendar = world.landmarks, world.population.opportunities.constants, world.calendar
    result, effect = np.zeros(len(marks.week)), np.zeros(len(marks.week))
    whole_weeks, rest = divmod(days, 7)
    for first in range(0, len(marks.week), _CHUNK):
        block = np.arange(first, min(first + _CHUNK, len(marks.week)))
        for week in np.unique(marks.week[block]).tolist():
            rows = block[marks.week[block] == week]
            mine = constants.take(marks.opportunity[rows])
            zero = np.zeros((len(rows), len(OPEN_STAGES), len(ENGAGEMENT_LEVELS)))
            share = calendar.share_of_week(rest)
            step = step_back(zero, mine, week + whole_weeks, calendar, world.params.max_age_weeks, counted_share=share)
            for later in range(week + whole_weeks - 1, week - 1, -1):
                step = step_back(step.expected, mine, later, calendar, world.params.max_age_weeks)
            state = (np.arange(len(rows)), marks.stage[rows], marks.engagement[rows])
            result[rows] = step.expected[state]
            effect[rows] = step.contacted[state] - step.left_alone[state]
    return result, effect


def _opportunity_table(world: World) -> pa.Table:
    data = world.population.opportunities
    return pa.table(
        {
            "opportunity_id": make_ids("Opportunity", np.arange(world.params.opportunities)),
            "win_index": data.constants.win_index,
            "persuadability": pa.array(PERSUADABILITY).take(pa.array(data.persuadability)),
            "budget": np.round(data.budget, 2),
            "discount_mean": data.discount_mean,
            "is_open": pa.array(~world.is_closed),
            "eventual_stage": pa.array(STAGE_NAMES[CLOSED_WON : CLOSED_LOST + 1]).take(
                pa.array(world.final_stage - CLOSED_WON)
            ),
            "eventually_closed_on": pa.array((world.closed_at // 86_400).astype(np.int32)).cast(pa.date32()),
        }
    )


def _seller_table(world: World) -> pa.Table:
    sellers = world.population.sellers
    number = np.arange(sellers.seller_count)
    return pa.table(
        {
            "owner_id": make_ids("User", number),
            "skill": sellers.skill[number],
            "contact_habit": sellers.contact_habit[number],
        }
    )
