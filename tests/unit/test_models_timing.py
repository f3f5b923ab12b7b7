"""Timing: the mixture keeps its promises, finds the pace it was shown, and its intervals cover."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sales_pipeline.models.matrix import DAY, Matrix
from sales_pipeline.models.params import TrainingParams
from sales_pipeline.models.pieces import Clock
from sales_pipeline.models.timing import TIMING_COLUMNS, Timing, calibrate, interval_coverage, learn_timing

PARAMS = TrainingParams()
AS_OF = 900.0
LATER = 700.0
PACE = {"early": (0.002, 0.008), "late": (0.015, 0.01)}
"""Won and lost per day and stage: times to either are exponential, so that the truth is a formula."""


def _matrix(keys: dict[str, Any]) -> Matrix:
    rows = len(keys["as_of"])
    blank: dict[str, Any] = {
        "opportunity_id": [f"O{row}" for row in range(rows)],
        "kind": "opportunity",
        "stage": "early",
        "amount": 1000.0,
        "created": np.asarray(keys["as_of"]) - 20.0,
        "until": np.nan,
        "is_won": np.nan,
        "closed": np.nan,
    }
    data = blank | keys
    as_of = np.asarray(data["as_of"], dtype=np.float64)
    frame = {name: data[name] for name in ("opportunity_id", "kind", "stage", "amount", "is_won")}
    frame |= {
        "as_of_us": as_of * DAY,
        "created_us": np.asarray(data["created"], dtype=np.float64) * DAY,
        "crm_close_us": (as_of + np.asarray(data["until"], dtype=np.float64)) * DAY,
        "closed_us": np.asarray(data["closed"], dtype=np.float64) * DAY,
    }
    return Matrix(pd.DataFrame(index=range(rows)), pd.DataFrame(frame, index=range(rows)), ())


def _world(count: int = 1500, seed: int = 3) -> dict[str, Any]:
    """Landmark rows every 28 days of opportunities that keep their stage; `true_closed`, `p` are the truth."""
    random = np.random.default_rng(seed)
    stage = random.choice(list(PACE), count)
    won_rate, lost_rate = (np.array([PACE[name][side] for name in stage]) for side in (0, 1))
    created = random.uniform(0, AS_OF, count)
    closed = created + random.exponential(1 / (won_rate + lost_rate))
    p = won_rate / (won_rate + lost_rate)
    won = (random.uniform(size=count) < p).astype(float)
    pairs = [(i, t) for t in np.arange(28.0, AS_OF, 28.0) for i in np.flatnonzero((created < t) & (closed > t))]
    who, when = np.array([i for i, _ in pairs]), np.array([t for _, t in pairs])
    return {
        "opportunity_id": np.array([f"O{i}" for i in who], dtype=object),
        "as_of": when,
        "stage": stage[who].astype(object),
        "created": created[who],
        "true_closed": closed[who],
        "true_won": won[who],
        "p": p[who],
        "total": (won_rate + lost_rate)[who],
        "until": random.uniform(-30, 120, len(who)).round(),
    }


def _known(world: dict[str, Any], at: float) -> Matrix:
    """The world's rows with what is known at a day."""
    hidden = world["true_closed"] >= at
    return _matrix(
        world
        | {
            "is_won": np.where(hidden, np.nan, world["true_won"]),
            "closed": np.where(hidden, np.nan, world["true_closed"]),
        }
    )


def _outcome(matrix: Matrix, chance: Any = np.nan) -> np.ndarray:
    """What is known of the rows; those still open have a chance of winning."""
    won = matrix.keys["is_won"].to_numpy(dtype=np.float64)
    return np.where(np.isnan(won), chance, won)


def _learn(matrix: Matrix, at: float, chance: Any = np.nan) -> Timing:
    timing = learn_timing(matrix, _outcome(matrix, chance), PARAMS, as_of_us=at * DAY)
    assert timing is not None
    return timing


@pytest.fixture(scope="module")
def world() -> dict[str, Any]:
    return _world()


@pytest.fixture(scope="module")
def split(world: dict[str, Any]) -> tuple[Timing, Matrix, np.ndarray]:
    """A timing learnt at day 700, and the rows after it."""
    known = _known(world, LATER)
    before = np.flatnonzero(world["as_of"] < LATER)
    after = np.flatnonzero(world["as_of"] >= LATER)
    return _learn(known.take(before), LATER, world["p"][before]), _known(world, AS_OF).take(after), after


def _odd_rows() -> Matrix:
    """Rows at the edges of what a CRM can say."""
    return _matrix(
        {
            "as_of": np.full(9, 800.25),
            "stage": ["early", "late", None, "never seen", "early", "late", "late", "early", "late"],
            "created": [780.0, np.nan, 900.0, -1e5, 700.0, 10.0, 800.0, 790.0, 500.0],
            "until": [np.nan, -1e5, 1e5, 0.75, 0.0, 29.75, 90.0, 400.0, 3.0],
            "amount": [np.nan, -5.0, 0.0, 1e12, 1e300, 1.0, 10.0, 1e3, np.inf],
            "kind": ["opportunity", "lead"] + ["opportunity"] * 7,
        }
    )


class TestPromises:
    @pytest.mark.parametrize("p", [1e-6, 0.03, 0.5, 0.97, 1 - 1e-6])
    def test_nothing_contradicts(self, split: tuple[Timing, Matrix, np.ndarray], p: float) -> None:
        timing, later, _ = split
        for matrix in (later, _odd_rows()):
            chance = np.full(len(matrix), p)
            found = timing.predict(matrix, chance)
            assert tuple(found) == TIMING_COLUMNS
            p30, p90, slip = (
                found[name] for name in ("win_probability_30d", "win_probability_90d", "slip_probability")
            )
            assert (p30 >= 0).all()
            assert (p30 <= p90).all()
            assert (p90 <= chance).all()
            dated = np.isfinite(matrix.keys["crm_close_us"].to_numpy())
            assert np.array_equal(np.isfinite(slip), dated)
            assert ((slip[dated] >= 0) & (slip[dated] <= 1)).all()
            mixture = timing.mixture(Clock.of(matrix.keys), chance)
            until = np.where(dated, mixture.clock.until, 0.0)
            assert (1 - slip[dated] >= mixture.won_within(until)[dated] - 1e-12).all()
            low, middle, high = (found[f"predicted_close_date{end}"] for end in ("_low", "", "_high"))
            assert (low <= middle).all()
            assert (middle <= high).all()
            assert (low >= matrix.keys["as_of_us"].to_numpy()).all()
            # The median falls after the CRM's date exactly where it is likelier than not still open then.
            sure = dated & (np.abs(slip - 0.5) > 1e-6)
            after = middle > matrix.keys["crm_close_us"].to_numpy()
            assert np.array_equal(after[sure], slip[sure] > 0.5)

    def test_it_rises_with_the_horizon(self, split: tuple[Timing, Matrix, np.ndarray]) -> None:
        timing, later, _ = split
        mixture = timing.mixture(Clock.of(later.keys), np.full(len(later), 0.4))
        curve = np.array([mixture.won_within(np.full(len(later), days)) for days in (-3.0, 0.0, 1.0, 30.0, 400.0, 1e5)])
        assert (np.diff(curve, axis=0) >= 0).all()
        assert (curve[:2] == 0).all()
        np.testing.assert_allclose(curve[-1], 0.4, atol=1e-6)

    def test_an_overdue_close_date_has_slipped(self, split: tuple[Timing, Matrix, np.ndarray]) -> None:
        found = split[0].predict(_odd_rows(), np.full(9, 0.3))
        assert found["slip_probability"][1] == 1.0

    def test_no_probability_no_timing(self, split: tuple[Timing, Matrix, np.ndarray]) -> None:
        timing, later, _ = split
        p = np.full(len(later), 0.3)
        whole = timing.predict(later, p)
        p[::2] = np.nan
        for name, values in timing.predict(later, p).items():
            assert np.isnan(values[::2]).all()
            assert np.array_equal(values[1::2], whole[name][1::2], equal_nan=True)

    def test_round_trip_and_repeatable(self, world: dict[str, Any], split: tuple[Timing, Matrix, np.ndarray]) -> None:
        timing, later, after = split
        text = json.dumps(timing.to_dict(), allow_nan=False)
        before = np.flatnonzero(world["as_of"] < LATER)
        once_more = _learn(_known(world, LATER).take(before), LATER, world["p"][before])
        assert json.dumps(once_more.to_dict()) == text
        again = Timing.from_dict(json.loads(text))
        assert json.dumps(again.to_dict()) == text
        p = world["p"][after]
        for name, values in again.predict(later, p).items():
            assert np.array_equal(values, timing.predict(later, p)[name], equal_nan=True)


class TestLearning:
    def test_it_finds_the_pace_despite_censoring(
        self, world: dict[str, Any], split: tuple[Timing, Matrix, np.ndarray]
    ) -> None:
        timing, later, after = split
        found = timing.predict(later, world["p"][after])
        for days in (30, 90):
            true = world["p"][after] * -np.expm1(-world["total"][after] * days)
            error = np.abs(found[f"win_probability_{days}d"] - true)
            assert error.mean() < 0.02, days

    def test_its_interval_covers_later_closings(
        self, world: dict[str, Any], split: tuple[Timing, Matrix, np.ndarray]
    ) -> None:
        timing, later, after = split
        found = timing.predict(later, world["p"][after])
        covered = interval_coverage(
            world["true_closed"][after] * DAY, found["predicted_close_date_low"], found["predicted_close_date_high"]
        )
        assert 0.75 <= covered["share"] <= 0.85
        assert covered["rows"] == len(after)

    def test_the_newest_instant_stands_in_for_the_as_of(self, world: dict[str, Any]) -> None:
        known = _known(world, AS_OF)
        outcome = _outcome(known, world["p"])
        told, guessed = (learn_timing(known, outcome, PARAMS, as_of_us=at) for at in (AS_OF * DAY, None))
        assert told is not None
        assert guessed is not None
        p = world["p"]
        name = "win_probability_90d"
        np.testing.assert_allclose(guessed.predict(known, p)[name], told.predict(known, p)[name], atol=0.01)

    def test_closings_on_the_stated_day_are_foreseen(self) -> None:
        random = np.random.default_rng(5)
        n = 800
        as_of = random.uniform(0, 500, n).round()
        until = random.integers(10, 80, n).astype(float)
        # Half close on the stated day, the others within the following months.
        closed = as_of + until + np.where(random.uniform(size=n) < 0.5, -0.4, random.exponential(60, n))
        matrix = _matrix(
            {"as_of": as_of, "until": until, "closed": closed, "is_won": (random.uniform(size=n) < 0.5).astype(float)}
        )
        slip = _learn(matrix, 900.0).predict(matrix, np.full(n, 0.5))["slip_probability"]
        assert abs(slip.mean() - 0.5) < 0.05

    def test_too_little_is_known(self) -> None:
        n = 19
        matrix = _matrix({"as_of": np.zeros(n), "closed": np.arange(1.0, n + 1), "is_won": [0.0, 1.0] * 9 + [1.0]})
        assert learn_timing(matrix, _outcome(matrix), PARAMS) is None
        assert learn_timing(_matrix({"as_of": np.zeros(50)}), np.full(50, 0.5), PARAMS) is None

    def test_rows_of_unknown_outcome_teach_nothing(self, world: dict[str, Any]) -> None:
        known = _known(world, AS_OF)
        assert learn_timing(known, np.full(len(known), np.nan), PARAMS) is None

    def test_weights_are_not_outcomes(self, world: dict[str, Any]) -> None:
        known = _known(world, AS_OF)
        with pytest.raises(ValueError, match="between 0 and 1, found 0 to 10"):
            learn_timing(known, np.linspace(0, 10, len(known)), PARAMS)

    def test_open_rows_are_not_taken_for_fast_ones(self, world: dict[str, Any]) -> None:
        known = _known(world, LATER).take(np.flatnonzero(world["as_of"] < LATER))
        chance = world["p"][world["as_of"] < LATER]
        whole = _learn(known, LATER, chance)
        closed = np.flatnonzero(known.keys["is_won"].notna())
        fast = _learn(known.take(closed), LATER)
        dates = [one.predict(known, chance)["predicted_close_date"] for one in (whole, fast)]
        assert dates[0].mean() > dates[1].mean() + 3 * DAY

    @pytest.mark.parametrize("won", [0, 1, 19])
    def test_few_wins_share_the_pace_of_all(self, won: int) -> None:
        n = 60
        matrix = _matrix(
            {"as_of": np.zeros(n), "closed": np.arange(1.0, n + 1), "is_won": [1.0] * won + [0.0] * (n - won)}
        )
        timing = _learn(matrix, 100.0)
        assert timing.won is timing.lost
        found = timing.predict(matrix, np.full(n, 0.2))
        assert np.isfinite(found["win_probability_30d"]).all()
        assert 20 <= (found["predicted_close_date"][0] / DAY) <= 45

    def test_all_close_on_one_day_or_at_once(self) -> None:
        n = 80
        won = [0.0, 1.0] * (n // 2)
        for closed in (50.0, 0.0):
            matrix = _matrix({"as_of": np.zeros(n), "closed": np.full(n, closed), "is_won": won})
            found = _learn(matrix, 100.0).predict(matrix, np.full(n, 0.5))
            assert all(np.isfinite(found[name]).all() for name in TIMING_COLUMNS if name != "slip_probability")

    def test_a_kind_without_outcomes_does_not_slow_the_others(self, world: dict[str, Any]) -> None:
        known = _known(world, AS_OF)
        leads = _matrix(
            {"as_of": np.full(2000, 100.0), "kind": "lead", "opportunity_id": [f"L{i}" for i in range(2000)]}
        )
        both = Matrix(
            pd.DataFrame(index=range(len(known) + 2000)), pd.concat([known.keys, leads.keys], ignore_index=True), ()
        )
        alone, mixed = (_learn(matrix, AS_OF, 0.4).predict(known, world["p"]) for matrix in (known, both))
        name = "win_probability_90d"
        np.testing.assert_allclose(mixed[name], alone[name], atol=1e-9)


class TestCalibration:
    def test_it_brings_a_wrong_pace_back(self, world: dict[str, Any], split: tuple[Timing, Matrix, np.ndarray]) -> None:
        timing, later, after = split
        wrong = replace(timing, won=replace(timing.won, level=0.8), lost=replace(timing.lost, level=0.8))
        p = world["p"][after]
        before, corrected = wrong, calibrate(wrong, later, p, as_of_us=AS_OF * DAY)
        shares = []
        for one in (before, corrected):
            found = one.predict(later, p)
            low, high = found["predicted_close_date_low"], found["predicted_close_date_high"]
            shares.append(interval_coverage(world["true_closed"][after] * DAY, low, high)["share"])
        assert shares[0] < 0.72
        assert 0.75 <= shares[1] <= 0.85
        assert abs(corrected.won.level) < 0.25
        assert "conformal" in corrected.facts["interval"]

    def test_closed_rows_alone_correct_nothing(
        self, world: dict[str, Any], split: tuple[Timing, Matrix, np.ndarray]
    ) -> None:
        timing, later, after = split
        closed = np.flatnonzero(later.keys["is_won"].notna().to_numpy())
        assert calibrate(timing, later.take(closed), world["p"][after][closed], as_of_us=AS_OF * DAY) is timing

    def test_few_rows_correct_nothing(self, world: dict[str, Any], split: tuple[Timing, Matrix, np.ndarray]) -> None:
        timing, later, after = split
        rows = np.arange(40)
        assert calibrate(timing, later.take(rows), world["p"][after][rows], as_of_us=AS_OF * DAY) is timing

    def test_rows_without_probability_are_left_out(
        self, world: dict[str, Any], split: tuple[Timing, Matrix, np.ndarray]
    ) -> None:
        timing, later, after = split
        p = world["p"][after].copy()
        p[:100] = np.nan
        rows = np.arange(100, len(later))
        left_out = calibrate(timing, later, p, as_of_us=AS_OF * DAY)
        taken = calibrate(timing, later.take(rows), p[rows], as_of_us=AS_OF * DAY)
        assert left_out.to_dict() == taken.to_dict()


def test_coverage_counts_known_rows_by_weight() -> None:
    actual = np.array([1.0, 5.0, np.nan, 9.0])
    low, high = np.zeros(4), np.array([2.0, 2.0, 2.0, 10.0])
    assert interval_coverage(actual, low, high) == {"share": 2 / 3, "rows": 3.0}
    assert interval_coverage(actual, low, high, np.array([1.0, 2.0, 9.0, 1.0]))["share"] == 0.5
    assert np.isnan(interval_coverage(actual[2:3], low[2:3], high[2:3])["share"])
