"""The world run on from the export's end by somebody else's decisions: who is contacted in a week is an argument.

The same laws (`dynamics`); the draws are a function of seed, week and opportunity alone, so that two policies meet the same luck (common random
numbers). The value of a state is what its seller's own habit would make of it from then on (`truth`), hence what a decision gains in a state is known
exactly: the advantage of contacting or not over that habit. Summed along a path it gives the policy's expected result (the performance difference of
Kakade & Langford, "Approximately optimal approximate reinforcement learning", 2002) with far less noise than counting wins.

Belongs here: stepping and those values. Does not belong here: policies, and the run up to the export's end (`world`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sales_pipeline.simulation.dynamics import (
    ENGAGEMENT_LEVELS,
    OPEN_STAGES,
    Ints,
    engagement_moves,
    event_probabilities,
)
from sales_pipeline.simulation.journal import reply_probability
from sales_pipeline.simulation.truth import Values, step_back
from sales_pipeline.simulation.world import World, next_stage

_CHUNK = 2048


@dataclass(frozen=True, slots=True)
class State:
    """Where the opportunities open at the export's end stand at the start of `week`; stages from CLOSED_WON on are closed and stay so."""

    week: int
    opportunity: Ints
    stage: Ints
    engagement: Ints

    @property
    def is_open(self) -> NDArray[np.bool_]:
        """Still open, by opportunity."""
        return np.asarray(self.stage < len(OPEN_STAGES))


def state_at_end(world: World) -> State:
    """The state at the export's as-of."""
    marks, week = world.landmarks, world.calendar.week_count
    rows = marks.week == week
    return State(week, marks.opportunity[rows], marks.stage[rows], marks.engagement[rows])


def step_forward(world: World, state: State, contacted: NDArray[np.bool_]) -> tuple[State, NDArray[np.bool_]]:
    """One week on, and whether the customer was in touch in it. `contacted` holds one decision per opportunity of the state."""
    draws = np.random.default_rng((world.params.seed, 11, state.week)).random((4, len(state.opportunity)))
    mine = world.population.opportunities.constants.take(state.opportunity)
    is_open = state.is_open
    stage = np.where(is_open, state.stage, 0)
    up, down = engagement_moves(state.engagement, mine.win_index, np.where(contacted, mine.lift, 0.0))
    engagement = state.engagement + (draws[1] < up) - (draws[1] >= 1.0 - down)
    chances = event_probabilities(
        stage,
        engagement,
        mine.win_index,
        mine.created_week,
        state.week,
        world.calendar,
        world.params.max_age_weeks,
    )
    after = np.where(is_open, next_stage(stage, draws[2], *chances), state.stage)
    replied = is_open & (draws[3] < reply_probability(engagement, contacted))
    return State(state.week + 1, state.opportunity, after, np.where(is_open, engagement, state.engagement)), replied


def values_ahead(world: World, state: State, weeks: int) -> list[Values]:
    """Win probabilities on the grid (opportunity of the state, stage, engagement) at the start of each of the next `weeks` weeks and after them."""
    constants = world.population.opportunities.constants
    first, last = state.week, state.week + weeks
    parts: list[list[Values]] = []
    for start in range(0, len(state.opportunity), _CHUNK):
        mine = constants.take(state.opportunity[start : start + _CHUNK])
        values = np.zeros((len(mine.win_index), len(OPEN_STAGES), len(ENGAGEMENT_LEVELS)))
        kept: list[Values] = []
        for week in range(int(mine.created_week.max()) + world.params.max_age_weeks, first - 1, -1):
            step = step_back(values, mine, week, world.calendar, world.params.max_age_weeks)
            values = step.expected
            if week <= last:
                kept.append(step)
        parts.append(kept[::-1])
    return [
        Values(
            *(
                np.concatenate([getattr(part[k], name) for part in parts])
                for name in ("expected", "contacted", "left_alone")
            )
        )
        for k in range(weeks + 1)
    ]
