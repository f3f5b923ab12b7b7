"""Open opportunities: what is expected of them, and that nothing of what came later is in it."""

import numpy as np
import pandas as pd
import pytest

from sales_pipeline.models.competing_risks import learn_expectations, outcomes_known
from sales_pipeline.models.evaluation import expected_sample, prepare
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
