"""Own scorers against scikit-learn and LightGBM, and what contributions promise."""

import numpy as np
import pandas as pd
import pytest

from sales_pipeline.models.candidates import AMOUNT_CANDIDATES, WIN_CANDIDATES, Fitting, Sample, shrunken_rates
from sales_pipeline.models.estimators import Nystroem, estimator_from_dict
from sales_pipeline.models.matrix import Encoded
from sales_pipeline.models.params import TrainingParams

PARAMS = TrainingParams(boosting_rounds=10, nystroem_components=40)
N = 300


@pytest.fixture(scope="module")
def sample() -> Sample:
    random = np.random.default_rng(3)
    x = random.normal(size=(N, 4))
    keys = pd.DataFrame(
        {
            "opportunity_id": [str(i) for i in range(N)],
            "stage": random.choice(["a", "b"], N).astype(object),
            "amount": np.exp(random.normal(8, 1, N)),
        }
    )
    won = (random.uniform(size=N) < 1 / (1 + np.exp(-2 * x[:, 0] + x[:, 1]))).astype(float)
    return Sample(Encoded(x, keys, np.array([0, 0, 1, 2])), won)


def _fit(candidate, sample, number=0):
    return candidate.fit(Fitting(sample, candidate.settings[number], PARAMS))


def test_logistic_regression_scores_like_scikit_learn(sample: Sample) -> None:
    from sklearn.linear_model import LogisticRegression

    ours = _fit(WIN_CANDIDATES["logistic_regression"], sample).score(sample.rows)
    theirs = LogisticRegression(C=0.003, max_iter=2000, tol=1e-4).fit(sample.x, sample.y).decision_function(sample.x)
    np.testing.assert_allclose(ours, theirs, atol=1e-9)


def test_tree_scores_like_scikit_learn(sample: Sample) -> None:
    from sklearn.tree import DecisionTreeRegressor

    target = Sample(sample.rows, sample.x[:, 0] ** 2)
    ours = _fit(AMOUNT_CANDIDATES["decision_tree"], target).score(sample.rows)
    theirs = DecisionTreeRegressor(max_depth=4, min_samples_leaf=15, random_state=PARAMS.seed).fit(target.x, target.y)
    np.testing.assert_allclose(ours, theirs.predict(target.x), atol=1e-9)


def test_kernel_machine_scores_like_scikit_learn(sample: Sample) -> None:
    from sklearn.kernel_approximation import Nystroem as Map
    from sklearn.svm import LinearSVC

    model = _fit(WIN_CANDIDATES["rbf_svm"], sample)
    assert isinstance(model, Nystroem)
    mapping = Map(gamma=model.gamma, n_components=40, random_state=PARAMS.seed).fit(sample.x)
    theirs = LinearSVC(C=0.1, dual=False, random_state=PARAMS.seed, max_iter=5000).fit(
        mapping.transform(sample.x), sample.y
    )
    np.testing.assert_allclose(
        model.score(sample.rows), theirs.decision_function(mapping.transform(sample.x)), atol=1e-8
    )


@pytest.mark.parametrize("name", sorted(WIN_CANDIDATES))
def test_json_round_trip_scores_the_same(sample: Sample, name: str) -> None:
    model = _fit(WIN_CANDIDATES[name], sample)
    again = estimator_from_dict(model.to_dict())
    np.testing.assert_array_equal(again.score(sample.rows), model.score(sample.rows))


@pytest.mark.parametrize(
    "name", ["stage_rate", "logistic_regression", "decision_tree", "linear_svm", "gradient_boosting"]
)
def test_contributions_add_up_to_the_score(sample: Sample, name: str) -> None:
    model = _fit(WIN_CANDIDATES[name], sample)
    effects, _ = model.contributions(sample.rows)
    rest = model.score(sample.rows) - effects.sum(axis=1)
    np.testing.assert_allclose(rest, rest[0], atol=1e-9)


def test_occlusion_of_a_column_without_effect_is_zero(sample: Sample) -> None:
    model = _fit(WIN_CANDIDATES["rbf_svm"], sample)
    mean = Encoded(np.tile(sample.x.mean(axis=0), (2, 1)), sample.rows.keys.iloc[:2], sample.rows.groups)
    np.testing.assert_allclose(model.contributions(mean)[0], 0.0, atol=1e-12)


@pytest.mark.parametrize("name", sorted(AMOUNT_CANDIDATES))
def test_every_amount_family_fits(sample: Sample, name: str) -> None:
    target = Sample(sample.rows, np.log(sample.rows.keys["amount"].to_numpy()))
    scores = _fit(AMOUNT_CANDIDATES[name], target).score(sample.rows)
    assert scores.shape == (N,)
    assert np.isfinite(scores).all()


def test_rates_of_noise_stay_at_the_base_rate() -> None:
    random = np.random.default_rng(0)
    n = 4000
    keys = pd.DataFrame(
        {"opportunity_id": [str(i) for i in range(n)], "owner_id": random.choice([f"o{i}" for i in range(20)], n)}
    ).astype(object)
    noise = shrunken_rates(
        Sample(Encoded(np.zeros((n, 0)), keys, np.zeros(0, dtype=np.int64)), (random.uniform(size=n) < 0.3) * 1.0),
        ("owner_id",),
        20.0,
    )
    skill = (keys["owner_id"].isin([f"o{i}" for i in range(10)])).to_numpy()
    won = (random.uniform(size=n) < np.where(skill, 0.6, 0.2)) * 1.0
    real = shrunken_rates(
        Sample(Encoded(np.zeros((n, 0)), keys, np.zeros(0, dtype=np.int64)), won), ("owner_id",), 20.0
    )
    assert max(abs(v) for v in noise.fields["owner_id"].values()) < 0.2
    assert real.fields["owner_id"]["o3"] > 0.5
    assert real.fields["owner_id"]["o15"] < -0.3
