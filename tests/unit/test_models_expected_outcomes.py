"""Open opportunities: what is expected of them, and that nothing of what came later is in it."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from sales_pipeline.models.evaluation import expected_sample, prepare
from sales_pipeline.models.expected_outcomes import (
    STEP_DAYS,
    Steps,
    fixed_point,
    learn_expectations,
    outcomes_known,
    steps_of,
)
from sales_pipeline.models.matrix import DAY, Encoded, Matrix, SourceColumn
from sales_pipeline.models.params import TrainingParams
from sales_pipeline.models.splits import plan_windows

END = 900.0
PARAMS = TrainingParams()


def _matrix(n: int = 900, seed: int = 3) -> tuple[Matrix, np.ndarray]:
    """Opportunities whose winners close fast and losers slowly; `quality` tells, and so does having been open for long. With each row's true chance."""
    random = np.random.default_rng(seed)
    rows, chance = [], []
    for number in range(n):
        quality, created = random.normal(), random.uniform(0, END)
        p = 1 / (1 + np.exp(-quality))
        is_won = random.uniform() < p
        pace = 40.0 if is_won else 160.0
        closed = created + random.exponential(pace)
        for landmark in np.arange(30.0, END, 30.0):
            if not created < landmark < closed:
                continue
            age = landmark - created
            odds = p * np.exp(-age / 40.0) / ((1 - p) * np.exp(-age / 160.0))
            chance.append(odds / (1 + odds))
            is_known = closed < END
            rows.append(
                {
                    "opportunity_id": f"o{number}",
                    "account_id": f"a{number % 90}",
                    "kind": "opportunity",
                    "stage": "open",
                    "as_of_us": landmark * DAY,
                    "created_us": created * DAY,
                    "closed_us": closed * DAY if is_known else np.nan,
                    "is_won": float(is_won) if is_known else np.nan,
                    "quality": quality,
                    "age_days": age,
                }
            )
    frame = pd.DataFrame(rows)
    columns = (SourceColumn("quality", "number", "quality"), SourceColumn("age_days", "number", "age"))
    keys = frame.drop(columns=["quality", "age_days"])
    return Matrix(frame[["quality", "age_days"]], keys, columns), np.array(chance)


@pytest.fixture(scope="module")
def world() -> tuple[Matrix, np.ndarray]:
    return _matrix()


def test_closed_rows_keep_their_outcome_and_open_ones_get_a_chance(world) -> None:
    matrix, _ = world
    found = learn_expectations(matrix, END * DAY, PARAMS).outcomes(matrix)
    known = matrix.keys["is_won"].notna().to_numpy()
    assert (found[known] == matrix.keys["is_won"].to_numpy()[known]).all()
    assert ((found[~known] > 0) & (found[~known] < 1)).all()


def test_slow_rows_are_not_taken_for_winners(world) -> None:
    """Closed rows alone overstate winning; with what is to be expected of the open ones the level comes near the truth."""
    matrix, chance = world
    recent = matrix.keys["as_of_us"].to_numpy() >= (END - 120) * DAY
    found = learn_expectations(matrix, END * DAY, PARAMS).outcomes(matrix)
    closed_only = float(matrix.keys["is_won"][recent].mean())
    assert closed_only - chance[recent].mean() > 0.1
    assert abs(found[recent].mean() - chance[recent].mean()) < 0.5 * (closed_only - chance[recent].mean())


def test_nothing_that_came_at_or_after_the_instant_is_in_it(world) -> None:
    matrix, _ = world
    split = 600 * DAY
    later = (matrix.keys["closed_us"] >= split).to_numpy()
    keys = matrix.keys.copy()
    keys.loc[later, "is_won"] = 1 - keys.loc[later, "is_won"]
    keys.loc[later, "closed_us"] = keys.loc[later, "closed_us"] + 7 * DAY
    changed = Matrix(matrix.frame, keys, matrix.columns)
    first = learn_expectations(matrix, split, PARAMS).outcomes(matrix)
    second = learn_expectations(changed, split, PARAMS).outcomes(changed)
    np.testing.assert_array_equal(first, second)
    assert np.isnan(first[(matrix.keys["as_of_us"] >= split).to_numpy()]).all()


def test_what_a_fold_teaches_does_not_know_what_came_after_its_split(world) -> None:
    matrix, _ = world
    plan = plan_windows(matrix.keys, END * DAY, PARAMS)
    assert plan.calibration is not None
    for fold in (*plan.folds, plan.calibration):
        later = (matrix.keys["closed_us"] >= fold.from_us).to_numpy()
        keys = matrix.keys.copy()
        keys.loc[later, "is_won"] = 1 - keys.loc[later, "is_won"]
        changed = Matrix(matrix.frame, keys, matrix.columns)
        first = prepare(matrix, fold.train, "win", PARAMS, fold.from_us).sample
        second = prepare(changed, fold.train, "win", PARAMS, fold.from_us).sample
        np.testing.assert_array_equal(first.x, second.x)
        np.testing.assert_array_equal(first.y * first.weight, second.y * second.weight)


def test_too_few_closings_leave_open_rows_without_an_expectation() -> None:
    matrix, _ = _matrix(n=15)
    found = learn_expectations(matrix, END * DAY, PARAMS).outcomes(matrix)
    assert np.isnan(found[matrix.keys["is_won"].isna().to_numpy()]).all()


def test_outcomes_known_at_an_instant() -> None:
    keys = pd.DataFrame({"is_won": [1.0, 0.0, np.nan, 1.0], "closed_us": [5.0, 10.0, np.nan, np.nan]})
    np.testing.assert_array_equal(outcomes_known(keys, 10.0), [1.0, np.nan, np.nan, 1.0])


def test_expected_rows_stand_twice_with_weights_that_add_up() -> None:
    keys = pd.DataFrame({"opportunity_id": ["a", "b", "c"]})
    rows = Encoded(np.arange(3.0)[:, None], keys, np.zeros(1, dtype=np.int64))
    sample = expected_sample(rows, np.array([1.0, 0.25, 0.0]))
    assert sample.y.tolist() == [1.0, 1.0, 0.0, 0.0]
    assert sample.weight.tolist() == [1.0, 0.25, 0.75, 1.0]
    assert sample.x[:, 0].tolist() == [0.0, 1.0, 1.0, 2.0]
    assert sample.rows.keys["opportunity_id"].tolist() == ["a", "b", "b", "c"]


def test_all_rows_of_an_open_opportunity_share_the_chance_of_its_newest_one(world) -> None:
    matrix, _ = world
    expectations = learn_expectations(matrix, END * DAY, PARAMS)
    found = expectations.outcomes(matrix)
    still_open = matrix.keys["is_won"].isna()
    rows = matrix.keys[still_open].assign(chance=found[still_open])
    assert (rows.groupby("opportunity_id")["chance"].nunique() == 1).all()
    newest = np.sort(rows.groupby("opportunity_id")["as_of_us"].idxmax().to_numpy())
    days = (END * DAY - matrix.keys["as_of_us"].to_numpy()[newest]) / DAY
    np.testing.assert_allclose(found[newest], expectations.chance(matrix.take(newest), days))


def test_the_longer_it_has_been_open_the_less_a_slow_one_is_expected_to_win(world) -> None:
    """Of old rows that were never closed a model of the old rows alone still expects what was expected then."""
    matrix, chance = world
    found = learn_expectations(matrix, END * DAY, PARAMS).outcomes(matrix)
    keys = matrix.keys
    old = keys["is_won"].isna().to_numpy() & (keys["as_of_us"].to_numpy() < (END - 240) * DAY)
    assert old.sum() > 30
    assert chance[old].mean() > 0.15
    assert found[old].mean() < 0.1


def test_one_landmark_an_opportunity_is_enough(world) -> None:
    """Without history there is one row right after creation: then the days since tell what has become of it."""
    matrix, _ = world
    first = matrix.keys.groupby("opportunity_id").head(1).index.to_numpy()
    alone = matrix.take(first)
    constant = Matrix(alone.frame[["quality"]], alone.keys, alone.columns[:1])
    expectations = learn_expectations(constant, END * DAY, PARAMS)
    found = expectations.outcomes(constant)
    landmark = constant.keys["as_of_us"].to_numpy() / DAY
    still_open = constant.keys["is_won"].isna().to_numpy()
    assert expectations.coefficients is not None
    assert found[still_open & (landmark < END - 240)].mean() < 0.1
    same = constant.take(np.zeros(3, dtype=np.int64))
    early, middle, late = expectations.chance(same, np.array([0.0, STEP_DAYS, 3 * STEP_DAYS]))
    assert early > middle > late


def _keys(*rows: tuple[str, float, float | None, float | None]) -> pd.DataFrame:
    """Keys of (opportunity, landmark day, closing day, won) rows."""
    return pd.DataFrame(
        {
            "opportunity_id": [row[0] for row in rows],
            "as_of_us": [row[1] * DAY for row in rows],
            "closed_us": [np.nan if row[2] is None else row[2] * DAY for row in rows],
            "is_won": [np.nan if row[3] is None else row[3] for row in rows],
        }
    )


def _steps(keys: pd.DataFrame, as_of: float) -> Steps:
    return steps_of(keys, outcomes_known(keys, as_of * DAY), np.arange(len(keys), dtype=np.int64), as_of * DAY)


def test_a_step_ends_in_the_outcome_or_in_the_newest_row_by_then() -> None:
    keys = _keys(("won", 0, 50, 1), ("open", 0, None, None), ("open", 80, None, None), ("open", 120, None, None))
    steps = _steps(keys, 400)
    found = list(zip(steps.row, steps.days, steps.later, steps.later_days, steps.is_closed, steps.won, strict=True))
    assert found == [
        (0, 0, 0, STEP_DAYS, True, 1),
        (1, 0, 2, STEP_DAYS - 80, False, 0),
        (2, 0, 3, STEP_DAYS + 80 - 120, False, 0),
        # No other row for longer than a step: every day on which one ends begins the next.
        (3, 0, 3, STEP_DAYS, False, 0),
        (3, STEP_DAYS, 3, 2 * STEP_DAYS, False, 0),
        (3, 2 * STEP_DAYS, 3, 3 * STEP_DAYS, False, 0),
    ]


def test_a_step_that_the_as_of_cuts_short_is_none_whether_or_not_it_closed_in_it() -> None:
    keys = _keys(("first", 0, 10, 0), ("closed", 380, 390, 1), ("open", 380, None, None))
    assert _steps(keys, 400).row.tolist() == [0]


def test_a_closing_at_the_end_of_a_step_is_of_the_next_one() -> None:
    keys = _keys(("at", 0, STEP_DAYS, 1), ("late", 0, 2 * STEP_DAYS, 1))
    steps = _steps(keys, 4 * STEP_DAYS)
    assert steps.row.tolist() == [0, 0, 1, 1, 1]
    assert steps.is_closed.tolist() == [False, True, False, False, True]


def test_chances_agree_with_themselves_one_step_later() -> None:
    """Two states: fresh ones are won (0.2), lost (0.1) or grow stale; stale ones are won (0.02), lost (0.18) or stay: 0.1 and then 0.2 + 0.7 x 0.1."""
    fresh, stale = np.array([1.0, 0.0, 1.0]), np.array([0.0, 1.0, 1.0])
    count = 100_000
    won = np.concatenate(
        [np.repeat([1.0, 0.0, 0.0], [20_000, 10_000, 70_000]), np.repeat([1.0, 0.0, 0.0], [2_000, 18_000, 80_000])]
    )
    closed = np.concatenate([np.arange(count) < 30_000, np.arange(count) < 20_000])
    rows = np.repeat([fresh, stale], count, axis=0)
    later = np.repeat([stale, stale], count, axis=0)
    nobody = np.zeros(2 * count)
    steps = Steps(nobody.astype(np.int64), nobody, nobody.astype(np.int64), nobody, closed, won)
    coefficients = fixed_point(rows, later, steps, 0.5)
    assert coefficients is not None
    found = 1 / (1 + np.exp(-np.array([fresh, stale]) @ coefficients))
    np.testing.assert_allclose(found, [0.27, 0.1], atol=0.005)


def test_chances_of_nothing_are_an_error(world) -> None:
    matrix, _ = world
    nothing = replace(learn_expectations(matrix, END * DAY, PARAMS), coefficients=None)
    with pytest.raises(ValueError, match="expected a model of open opportunities, found none"):
        nothing.chance(matrix, np.zeros(len(matrix)))
