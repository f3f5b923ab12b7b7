"""The simulated world: repeatable, plausible, and with a truth that is true."""

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from sales_pipeline.domain.identifiers import to_sfid18
from sales_pipeline.simulation.dynamics import (
    CLOSED_WON,
    contact_probability,
    engagement_moves,
    event_probabilities,
    make_calendar,
)
from sales_pipeline.simulation.ids import PREFIXES, make_ids
from sales_pipeline.simulation.params import DirtParams, WorldParams
from sales_pipeline.simulation.truth import landmark_table, step_back
from sales_pipeline.simulation.world import World, landmark_weeks, simulate

DAY = 86_400


@pytest.fixture(scope="module")
def world() -> World:
    return simulate(WorldParams(opportunities=4000, seed=11))


@pytest.fixture(scope="module")
def truth(world: World) -> pa.Table:
    return landmark_table(world)


def area_under_curve(outcome: np.ndarray, score: np.ndarray) -> float:
    """The share of (positive, negative) pairs in the right order; ties among continuous scores are taken as none."""
    rank = np.empty(len(score))
    rank[np.argsort(score)] = np.arange(len(score))
    positives = outcome.sum()
    return float((rank[outcome].sum() - positives * (positives - 1) / 2) / (positives * (~outcome).sum()))


def test_the_same_seed_gives_the_same_world_and_another_seed_another() -> None:
    first, again, other = (simulate(WorldParams(opportunities=80, seed=seed)) for seed in (3, 3, 4))
    for name in ("history_at", "history_amount", "history_close_day", "activity_at", "budget_at", "discount"):
        np.testing.assert_array_equal(getattr(first.trace, name), getattr(again.trace, name))
    assert len(first.trace.activity_at) != len(other.trace.activity_at)


@pytest.mark.parametrize("opportunities", [1, 2, 25])
def test_tiny_worlds_run_to_their_end(opportunities: int) -> None:
    tiny = simulate(WorldParams(opportunities=opportunities))
    assert (tiny.closed_at > tiny.population.opportunities.created_at).all()
    assert (tiny.final_stage >= CLOSED_WON).all()


def test_a_period_too_short_and_a_share_too_large_are_refused() -> None:
    with pytest.raises(ValidationError, match="at least 8 weeks"):
        WorldParams(start_on="2026-06-01", end_on="2026-06-30")
    with pytest.raises(ValidationError):
        DirtParams(deleted=0.5)


def test_the_world_looks_like_a_sales_team(world: World) -> None:
    closed, won = world.is_closed, world.final_stage == CLOSED_WON
    cycle_weeks = (world.closed_at - world.population.opportunities.created_at)[closed] / (7 * DAY)
    assert 0.20 < won[closed].mean() < 0.30
    assert 0.20 < 1.0 - closed.mean() < 0.35
    assert 10 < np.median(cycle_weeks) < 15
    assert 8 < len(world.trace.activity_at) / world.params.opportunities < 14
    assert 0.2 < world.trace.activity_is_inbound.mean() < 0.4


def test_probabilities_of_a_week_are_probabilities(world: World) -> None:
    stage, engagement = np.arange(4)[:, None], np.arange(4)[None, :]
    index, created = np.array([[[-4.0]], [[0.0]], [[4.0]]]), np.array([[[0]], [[0]], [[0]]])
    for week in (1, 26, 103, 104):
        shares = event_probabilities(stage, engagement, index, created, week, world.calendar, 104)
        assert all((share >= 0.0).all() for share in shares)
        assert (sum(shares) <= 1.0 + 1e-12).all()
    assert (shares[1] == 1.0).all(), "at the greatest age losing is certain"
    up, down = engagement_moves(engagement, index, np.full_like(index, 3.0))
    assert (up + down < 1.0).all()
    assert (up[..., -1] == 0.0).all()
    assert (down[..., 0] == 0.0).all()
    assert (
        (contact_probability(stage, engagement, index) > 0.0) & (contact_probability(stage, engagement, index) < 1.0)
    ).all()


def test_history_begins_at_creation_ends_at_closing_and_never_leaves_that_span(world: World) -> None:
    trace, created_at = world.trace, world.population.opportunities.created_at
    opportunity = trace.history_opportunity
    assert (trace.history_at >= created_at[opportunity]).all()
    assert (trace.history_at <= np.minimum(world.closed_at, world.end_at)[opportunity]).all()
    first = np.searchsorted(opportunity, np.arange(world.params.opportunities))
    np.testing.assert_array_equal(trace.history_at[first], created_at)
    last = np.searchsorted(opportunity, np.arange(world.params.opportunities), side="right") - 1
    closed = world.is_closed
    np.testing.assert_array_equal(trace.history_at[last][closed], world.closed_at[closed])
    np.testing.assert_array_equal(trace.history_stage[last][closed], world.final_stage[closed])
    np.testing.assert_array_equal(trace.history_close_day[last][closed], world.closed_at[closed] // DAY)
    assert (trace.history_stage[last][~closed] < CLOSED_WON).all()


def test_every_history_row_changes_something(world: World) -> None:
    trace = world.trace
    same = trace.history_opportunity[1:] == trace.history_opportunity[:-1]
    unchanged = trace.history_stage[1:] == trace.history_stage[:-1]
    unchanged &= trace.history_close_day[1:] == trace.history_close_day[:-1]
    amounts = np.nan_to_num(trace.history_amount, nan=-1.0)
    unchanged &= amounts[1:] == amounts[:-1]
    assert not (same & unchanged).any()
    assert same.any()


def test_activities_and_budgets_lie_between_creation_and_closing(world: World) -> None:
    trace, created_at = world.trace, world.population.opportunities.created_at
    assert (trace.activity_at > created_at[trace.activity_opportunity]).all()
    assert (trace.activity_at <= world.closed_at[trace.activity_opportunity]).all()
    assert (trace.activity_at < world.end_at).all()
    known = trace.budget_at >= 0
    assert known.any()
    assert (trace.budget_at[known] > created_at[known]).all()
    assert (trace.budget_at[known] <= world.closed_at[known]).all()


def test_everything_happens_in_working_time(world: World) -> None:
    for instants in (world.trace.activity_at, world.trace.history_at):
        assert np.is_busday((instants // DAY).astype("datetime64[D]")).all()
        assert ((instants % DAY >= 8 * 3600) & (instants % DAY < 18 * 3600)).all()


@pytest.mark.parametrize("column", ["win_probability", "win_probability_30d", "win_probability_90d"])
@pytest.mark.parametrize("moment", ["first landmark", "middle", "world end"])
def test_true_probabilities_are_calibrated_overall_and_where_they_are_low_and_high(
    world: World, truth: pa.Table, column: str, moment: str
) -> None:
    """Mean probability and share won agree within sampling error.

    Each opportunity counts once, at a moment chosen without knowing its future. (A landmark drawn at random from each
    opportunity's would favour those that close soon.)
    """
    marks = world.landmarks
    if moment == "first landmark":
        _, rows = np.unique(marks.opportunity, return_index=True)
    else:
        week = world.params.week_count - (0 if moment == "world end" else 60)
        rows = np.flatnonzero(marks.week == week)
    probability, won = truth[column].to_numpy()[rows], outcome(truth, column)[rows]
    everywhere = np.ones(len(rows), dtype=bool)
    for part in (everywhere, probability < np.median(probability), probability >= np.quantile(probability, 0.8)):
        error = np.sqrt((probability * (1 - probability))[part].sum()) / part.sum()
        assert abs(probability[part].mean() - won[part].mean()) < 3.5 * error


def outcome(truth: pa.Table, column: str) -> np.ndarray:
    won = truth["is_eventually_won"].to_numpy()
    if column == "win_probability":
        return won
    days = int(column.rsplit("_", 1)[1].removesuffix("d"))
    wait = (truth["eventually_closed_at"].to_numpy() - truth["as_of"].to_numpy()).astype("timedelta64[s]")
    return won & (wait < np.timedelta64(days, "D"))


def test_the_truth_separates_winners_well_but_not_perfectly(truth: pa.Table) -> None:
    area = area_under_curve(outcome(truth, "win_probability"), truth["win_probability"].to_numpy())
    assert 0.80 < area < 0.89


def test_horizons_are_ordered(truth: pa.Table) -> None:
    ever, quarter, month = (truth[f"win_probability{end}"].to_numpy() for end in ("", "_90d", "_30d"))
    assert (month <= quarter + 1e-12).all()
    assert (quarter <= ever + 1e-12).all()


def test_landmarks_hold_exactly_the_open_opportunities(world: World) -> None:
    created_at = world.population.opportunities.created_at
    assert landmark_weeks(world.params)[-1] == world.params.week_count
    for week in landmark_weeks(world.params)[[0, 10, -1]]:
        as_of = world.calendar.day_of(int(week)) * DAY
        expected = np.flatnonzero((created_at < as_of) & (world.closed_at >= as_of))
        np.testing.assert_array_equal(np.sort(world.landmarks.opportunity[world.landmarks.week == week]), expected)


def test_a_follow_up_helps_the_persuadable_harms_the_put_off_and_leaves_the_unmoved(
    world: World, truth: pa.Table
) -> None:
    kind = world.population.opportunities.persuadability[world.landmarks.opportunity]
    effect = truth["follow_up_effect"].to_numpy()
    assert (np.abs(effect[kind == 0]) < 1e-12).all()
    assert (effect[kind == 1] >= -1e-12).all()
    assert (effect[kind == 2] <= 1e-12).all()
    assert effect[kind == 1].max() > 0.03


def test_one_step_of_the_recursion_agrees_with_the_week_simulated_many_times() -> None:
    """The exact probability of winning in the coming week against the frequency in 40,000 copies of one opportunity."""
    params = WorldParams(opportunities=1)
    calendar = make_calendar(params)
    world = simulate(params)
    copies = 40_000
    mine = world.population.opportunities.constants.take(np.zeros(copies, dtype=np.int64))
    rng, week = np.random.default_rng(5), int(mine.created_week[0]) + 3
    stage, before = np.full(copies, 3), np.full(copies, 2)
    contacted = rng.random(copies) < contact_probability(stage, before, mine.contact_logit)
    up, down = engagement_moves(before, mine.win_index, np.where(contacted, mine.lift, 0.0))
    draw = rng.random(copies)
    after = before + (draw < up) - (draw >= 1.0 - down)
    win = event_probabilities(stage, after, mine.win_index, mine.created_week, week, calendar, params.max_age_weeks)[0]
    grid = step_back(np.zeros((1, 4, 4)), mine.take(slice(0, 1)), week, calendar, params.max_age_weeks)
    assert grid.expected[0, 3, 2] == pytest.approx(win.mean(), rel=0.02)


def test_ids_agree_with_the_domain_and_are_distinct() -> None:
    numbers = np.array([0, 1, 61, 62, 3843, 5_000_000, 900_000_000])
    for kind in PREFIXES:
        ids = make_ids(kind, numbers).to_pylist()
        assert ids == [to_sfid18(value[:15]) for value in ids]
        assert len(set(ids)) == len(numbers)
        assert all(len(value) == 18 and value.startswith(PREFIXES[kind]) for value in ids)
