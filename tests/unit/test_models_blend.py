"""Blends: weights that may not be negative, judged on windows they were not learnt on."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from sales_pipeline.models.blend import blend_results, fit_weights
from sales_pipeline.models.candidates import WIN_CANDIDATES
from sales_pipeline.models.estimators import expit, logit
from sales_pipeline.models.evaluation import Result
from sales_pipeline.models.metrics import log_losses

N = 3000


@pytest.fixture(scope="module")
def world() -> SimpleNamespace:
    random = np.random.default_rng(5)
    first, second = random.normal(size=N), random.normal(size=N)
    won = (random.uniform(size=N) < expit(first + second)).astype(float)
    return SimpleNamespace(
        first=first,
        second=second,
        noise=random.normal(size=N),
        won=won,
        weight=np.ones(N),
        opportunity=np.array([f"o{i // 2}" for i in range(N)], dtype=object),
        window=np.arange(N, dtype=np.int64) // 1000,
    )


def _result(world: Any, name: str, odds: np.ndarray, setting: int = 0) -> Result:
    predicted = expit(odds)
    return Result(
        candidate=WIN_CANDIDATES[name],
        setting=WIN_CANDIDATES[name].settings[setting],
        rows=np.arange(N),
        actual=world.won,
        predicted=predicted,
        loss=log_losses(world.won, predicted),
        window=world.window,
    )


def _blend(world: Any, results: list[Result], window: Any = None) -> Result | None:
    blend = WIN_CANDIDATES["blend"]
    return blend_results(results, blend, world.won, world.weight, world.opportunity, window)


def test_weights_find_the_truth_and_are_never_negative(world: SimpleNamespace) -> None:
    scores = np.column_stack([world.first, world.second, -world.first])
    slopes, level = fit_weights(scores[:, :2], world.won, world.weight)
    np.testing.assert_allclose(slopes, [1.0, 1.0], atol=0.12)
    assert abs(level) < 0.12
    assert (fit_weights(scores, world.won, world.weight)[0] >= 0).all()
    against, level = fit_weights(-world.first[:, None], world.won, world.weight)
    assert against[0] == pytest.approx(0.0, abs=1e-9)
    assert expit(np.array([level]))[0] == pytest.approx(world.won.mean(), abs=1e-3)


def test_weights_do_not_mind_the_unit_of_a_decision_score(world: SimpleNamespace) -> None:
    one, _ = fit_weights(world.first[:, None], world.won, world.weight)
    thousand, _ = fit_weights(1000 * world.first[:, None], world.won, world.weight)
    assert thousand[0] * 1000 == pytest.approx(one[0], rel=0.02)


def test_rows_weigh_as_they_are_told(world: SimpleNamespace) -> None:
    weight = np.where(world.won == 1, 3.0, 1.0)
    _, plain = fit_weights(world.first[:, None], world.won, world.weight)
    _, heavy = fit_weights(world.first[:, None], world.won, weight)
    assert heavy - plain == pytest.approx(np.log(3), abs=0.1)
    # An outcome that is expected to 0.7 is as good as 7 won rows of 10.
    soft = np.full(10, 0.7)
    _, level = fit_weights(np.zeros((10, 1)), soft, np.ones(10))
    assert expit(np.array([level]))[0] == pytest.approx(0.7, abs=1e-4)


def test_a_blend_of_two_halves_beats_both(world: SimpleNamespace) -> None:
    results = [
        _result(world, "logistic_regression", world.first),
        _result(world, "logistic_regression", 0.1 * world.first, 1),
        _result(world, "gradient_boosting", world.second),
        _result(world, "decision_tree", world.noise),
        _result(world, "base_rate", np.zeros(N)),
    ]
    blended = _blend(world, results, world.window)
    assert blended is not None
    assert blended.candidate.name == "blend"
    assert blended.mean_loss < min(result.mean_loss for result in results) - 0.02
    families = {member["family"]: member["weight"] for member in blended.setting["members"]}
    assert set(families) == {
        "logistic_regression",
        "gradient_boosting",
    }  # noise is left out, baselines never are members
    assert blended.setting["members"][0]["setting"] in ({"C": 0.001}, dict(results[2].setting))


def test_a_window_is_predicted_by_the_other_windows_weights(world: SimpleNamespace) -> None:
    results = [
        _result(world, "logistic_regression", world.first),
        _result(world, "gradient_boosting", world.second),
    ]
    before = _blend(world, results, world.window)
    turned = SimpleNamespace(**vars(world))
    last = world.window == 2
    turned.won = np.where(
        last, 1 - world.won, world.won
    )  # what happened in the last window cannot change its predictions
    after = _blend(turned, results, world.window)
    assert before is not None
    assert after is not None
    np.testing.assert_allclose(after.predicted[last], before.predicted[last], atol=1e-12)
    assert np.abs(after.predicted[~last] - before.predicted[~last]).max() > 0.01
    np.testing.assert_allclose(after.loss, log_losses(turned.won, after.predicted))


def test_an_opportunitys_rows_in_other_windows_do_not_teach_its_own(world: SimpleNamespace) -> None:
    results = [_result(world, "logistic_regression", world.first), _result(world, "gradient_boosting", world.second)]
    shared = SimpleNamespace(**vars(world))
    shared.opportunity = np.array([f"o{i % 100}" for i in range(N)], dtype=object)  # each stands in every window
    before = _blend(shared, results, world.window)
    mine = shared.opportunity == "o7"
    shared.won = np.where(mine, 1 - shared.won, shared.won)
    after = _blend(shared, results, world.window)
    assert before is not None
    assert after is not None
    np.testing.assert_array_equal(after.predicted[mine], before.predicted[mine])
    assert not np.array_equal(after.predicted[~mine], before.predicted[~mine])


def test_one_window_is_cut_into_parts_by_opportunity(world: SimpleNamespace) -> None:
    results = [_result(world, "logistic_regression", world.first), _result(world, "gradient_boosting", world.second)]
    blended = _blend(world, results)
    assert blended is not None
    whole, level = fit_weights(np.column_stack([world.first, world.second]), world.won, world.weight)
    same = expit(np.column_stack([world.first, world.second]) @ whole + level)
    assert 0 < np.abs(logit(blended.predicted) - logit(same)).max() < 0.3


def test_nothing_to_blend(world: SimpleNamespace) -> None:
    base = _result(world, "base_rate", np.zeros(N))
    alone = _result(world, "logistic_regression", world.first)
    useless = _result(world, "decision_tree", world.noise)
    assert _blend(world, [base, alone]) is None
    assert _blend(world, [base, alone, useless]) is None
    assert cast(Any, WIN_CANDIDATES["blend"]).settings == ()
