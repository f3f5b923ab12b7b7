"""Runs the simulated world week by week, over all opportunities at once, and keeps a journal of what could be seen.

`simulate` is the door. The hidden state (stage, engagement) follows the laws of `dynamics`; what people see of it
(activities, replies, amounts, close dates, confirmed budgets) is emitted by `journal` and never acts back on the state,
so that the exact probabilities of `truth` need the state alone. After `end_on` the world runs on unseen until every
opportunity is closed: the eventual outcomes are part of the truth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from sales_pipeline.simulation.dynamics import (
    CLOSED_LOST,
    CLOSED_WON,
    Calendar,
    Floats,
    Ints,
    contact_probability,
    engagement_moves,
    event_probabilities,
    make_calendar,
)
from sales_pipeline.simulation.journal import Journal, Step, Trace
from sales_pipeline.simulation.params import WorldParams
from sales_pipeline.simulation.population import Population, draw_population, workday_instant


@dataclass(frozen=True)
class Landmarks:
    """Hidden state of every opportunity open at each landmark; grain (landmark, opportunity), ordered by landmark.

    `week` is the week of the grid that starts at the landmark's as-of.
    """

    week: Ints
    opportunity: Ints
    stage: Ints
    engagement: Ints


@dataclass(frozen=True)
class World:
    """A finished world. Arrays per opportunity: `final_stage` and `closed_at` (seconds UTC) hold the eventual outcome, which may
    lie after the export; `is_closed` says what the export has seen."""

    params: WorldParams
    calendar: Calendar
    population: Population
    trace: Trace
    landmarks: Landmarks
    final_stage: Ints
    closed_at: Ints

    @property
    def end_at(self) -> int:
        """The export's as-of: the first second after `end_on`, UTC."""
        return self.calendar.day_of(self.calendar.week_count) * 86_400

    @property
    def is_closed(self) -> NDArray[np.bool_]:
        """Per opportunity, whether it was closed before the export's as-of."""
        return np.asarray(self.closed_at < self.end_at)


def simulate(params: WorldParams) -> World:
    """Draw and run a world. The same parameters give the same world, bit for bit, on one platform and numpy version."""
    calendar = make_calendar(params)
    streams = [np.random.Generator(np.random.PCG64(child)) for child in np.random.SeedSequence(params.seed).spawn(3)]
    population = draw_population(params, calendar, streams[0])
    return _run(params, calendar, population, streams[1], streams[2])


def landmark_weeks(params: WorldParams) -> Ints:
    """Weeks of the grid whose start is a landmark: the world's end and every `landmark_every_weeks` before it."""
    return np.arange(params.week_count, 0, -params.landmark_every_weeks)[::-1]


def _run(params: WorldParams, calendar: Calendar, population: Population, rng: Generator, seen: Generator) -> World:
    opportunities = population.opportunities
    constants = opportunities.constants
    count = params.opportunities
    stage = np.zeros(count, dtype=np.int64)
    engagement = opportunities.first_engagement.copy()
    closed_at = np.full(count, -1, dtype=np.int64)
    journal = Journal(population, calendar, seen)
    marks: list[tuple[int, Ints, Ints, Ints]] = []
    wanted = set(landmark_weeks(params).tolist())
    created_before = np.searchsorted(constants.created_week, np.arange(calendar.total_weeks + 1), side="left")
    active = np.zeros(0, dtype=np.int64)
    for week in range(1, calendar.total_weeks):
        active = np.concatenate((active, np.arange(created_before[week - 1], created_before[week])))
        if week in wanted:
            marks.append((week, active, stage[active], engagement[active]))
        step = _advance_week(week, active, stage, engagement, population, calendar, params, rng)
        stage[active], engagement[active] = step.stage_after, step.engagement
        closing = step.stage_after >= CLOSED_WON
        ended = active[closing]
        closed_at[ended] = workday_instant(calendar.day_of(week), step.position[closing], calendar)
        if week < calendar.week_count:
            journal.record(step)
        active = active[~closing]
    landmarks = Landmarks(
        week=np.repeat(np.array([mark[0] for mark in marks]), [len(mark[1]) for mark in marks]),
        opportunity=np.concatenate([mark[1] for mark in marks]),
        stage=np.concatenate([mark[2] for mark in marks]),
        engagement=np.concatenate([mark[3] for mark in marks]),
    )
    return World(params, calendar, population, journal.finish(), landmarks, stage, closed_at)


def _advance_week(
    week: int,
    active: Ints,
    stages: Ints,
    engagements: Ints,
    population: Population,
    calendar: Calendar,
    params: WorldParams,
    rng: Generator,
) -> Step:
    """One weekly step of the chain for the active opportunities, in the order `dynamics` states."""
    mine = population.opportunities.constants.take(active)
    stage, before = stages[active], engagements[active]
    draws = rng.random((4, len(active)))
    contacted = draws[0] < contact_probability(stage, before, mine.contact_logit)
    up, down = engagement_moves(before, mine.win_index, np.where(contacted, mine.lift, 0.0))
    engagement = before + (draws[1] < up) - (draws[1] >= 1.0 - down)
    win, lose, advance, back = event_probabilities(
        stage, engagement, mine.win_index, mine.created_week, week, calendar, params.max_age_weeks
    )
    return Step(
        week=week,
        opportunity=active,
        contacted=contacted,
        engagement=engagement,
        stage_before=stage,
        stage_after=next_stage(stage, draws[2], win, lose, advance, back),
        position=draws[3],
    )


def next_stage(stage: Ints, draw: Floats, win: Floats, lose: Floats, advance: Floats, back: Floats) -> Ints:
    """The stage after the week's event, which a uniform draw picks."""
    after = np.where(draw < win + lose + advance + back, stage - 1, stage)
    after = np.where(draw < win + lose + advance, stage + 1, after)
    after = np.where(draw < win + lose, CLOSED_LOST, after)
    return np.where(draw < win, CLOSED_WON, after)
