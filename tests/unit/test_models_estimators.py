"""Own scorers against scikit-learn and LightGBM, and what contributions promise."""

import numpy as np
import pandas as pd
import pytest

from sales_pipeline.models.blend import fit_weights
from sales_pipeline.models.boosting import fit_boosting
from sales_pipeline.models.candidates import AMOUNT_CANDIDATES, WIN_CANDIDATES, Fitting, Sample, shrunken_rates
from sales_pipeline.models.estimators import Blend, Boosting, Linear, Nystroem, estimator_from_dict, expit
from sales_pipeline.models.matrix import Encoded
from sales_pipeline.models.params import TrainingParams
from sales_pipeline.models.teaching import TeachingRows, split_by_opportunity
from sales_pipeline.models.texts import put_texts, take_texts

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
    category = random.integers(0, 3, N)
    x = np.hstack([x, np.eye(3)[category]])
    return Sample(Encoded(x, keys, np.array([0, 0, 1, 2, 3, 3, 3])), won)


BLEND = {
    "members": [
        {"family": "logistic_regression", "setting": {"C": 0.1}, "weight": 0.5},
        {"family": "rbf_svm", "setting": {"C": 1.0, "gamma": 0.1}, "weight": 0.2},
        {"family": "gradient_boosting", "setting": {"start": "linear", "leaves": 4, "rate": 0.05}, "weight": 0.4},
    ],
    "intercept": -0.1,
}


def _fit(candidate, sample, number=0):
    setting = candidate.settings[number] if candidate.settings else BLEND
    return candidate.fit(Fitting(sample, setting, PARAMS))


ADDITIVE = [(name, number) for name, c in sorted(WIN_CANDIDATES.items()) for number in range(max(1, len(c.settings)))]


def test_logistic_regression_scores_like_scikit_learn(sample: Sample) -> None:
    from sklearn.linear_model import LogisticRegression

    ours = _fit(WIN_CANDIDATES["logistic_regression"], sample).score(sample.rows)
    theirs = LogisticRegression(C=0.001, max_iter=2000, tol=1e-4).fit(sample.x, sample.y).decision_function(sample.x)
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
    mapped = mapping.transform(sample.x)
    theirs = LinearSVC(C=1.0, dual=False, random_state=PARAMS.seed, max_iter=5000, tol=1e-3).fit(mapped, sample.y)
    ours, decision = model.score(sample.rows), theirs.decision_function(mapped)
    slope, level = np.polyfit(decision, ours, 1)
    assert slope > 0
    np.testing.assert_allclose(ours, slope * decision + level, atol=1e-8)  # the same machine, in log-odds


@pytest.mark.parametrize("name", ["linear_svm", "rbf_svm", "frequency_naive_bayes"])
def test_decision_scores_become_log_odds(name: str) -> None:
    random = np.random.default_rng(4)
    x = random.normal(size=(3000, 2))
    block = np.eye(2)[(x[:, 0] > 0).astype(int)]
    keys = pd.DataFrame({"opportunity_id": np.array([str(i // 2) for i in range(3000)], dtype=object)})
    won = (random.uniform(size=3000) < 1 / (1 + np.exp(-2 * x[:, 0] + 1))).astype(float)
    rows = Encoded(np.hstack([x, block]), keys, np.array([0, 1, 2, 2]))
    half = np.arange(0, 3000, 2)
    model = _fit(WIN_CANDIDATES[name], Sample(rows, won).take(half))
    other = Sample(rows, won).take(half + 1)
    slope, level = fit_weights(model.score(other.rows)[:, None], other.y, other.weight)
    assert slope[0] == pytest.approx(1.0, abs=0.2)
    assert level == pytest.approx(0.0, abs=0.2)
    assert expit(model.score(rows)).mean() == pytest.approx(won.mean(), abs=0.03)


@pytest.mark.parametrize("name", sorted(WIN_CANDIDATES))
def test_json_round_trip_scores_the_same(sample: Sample, name: str) -> None:
    model = _fit(WIN_CANDIDATES[name], sample)
    again = estimator_from_dict(model.to_dict())
    np.testing.assert_array_equal(again.score(sample.rows), model.score(sample.rows))


@pytest.mark.parametrize(("name", "number"), ADDITIVE)
def test_contributions_add_up_to_the_score(sample: Sample, name: str, number: int) -> None:
    model = _fit(WIN_CANDIDATES[name], sample, number)
    effects, _ = model.contributions(sample.rows)
    rest = model.score(sample.rows) - effects.sum(axis=1)
    np.testing.assert_allclose(rest, rest[0], atol=1e-9)
    assert name == "base_rate" or np.abs(effects).max() > 0


def test_kernel_contributions_before_the_rest_is_spread_are_close_already(sample: Sample) -> None:
    model = _fit(WIN_CANDIDATES["rbf_svm"], sample, 1)
    assert isinstance(model, Nystroem)
    effects, _ = model.contributions(sample.rows)
    # A column's share is that of the path from the mean: moving that column alone from the mean gives its own effect.
    alone = np.tile(model.mean, (N, 1))
    alone[:, 2] = sample.x[:, 2]
    moved = Encoded(alone, sample.rows.keys, sample.rows.groups)
    base = model.score(Encoded(model.mean[None, :], sample.rows.keys.iloc[:1], sample.rows.groups))[0]
    own, _ = model.contributions(moved)
    np.testing.assert_allclose(own[:, 1], model.score(moved) - base, atol=1e-9)
    np.testing.assert_allclose(own[:, [0, 2, 3]], 0.0, atol=1e-12)
    assert np.corrcoef(effects[:, 1], own[:, 1])[0, 1] > 0.5


def test_kernel_contributions_of_a_row_at_the_mean_are_zero(sample: Sample) -> None:
    model = _fit(WIN_CANDIDATES["rbf_svm"], sample)
    mean = Encoded(np.tile(sample.x.mean(axis=0), (2, 1)), sample.rows.keys.iloc[:2], sample.rows.groups)
    np.testing.assert_allclose(model.contributions(mean)[0], 0.0, atol=1e-12)


def test_a_blend_is_the_weighted_sum_of_its_members(sample: Sample) -> None:
    model = _fit(WIN_CANDIDATES["blend"], sample)
    assert isinstance(model, Blend)
    total = model.intercept + sum(w * m.score(sample.rows) for m, w in zip(model.members, model.weights, strict=True))
    np.testing.assert_allclose(model.score(sample.rows), total, atol=1e-12)
    assert model.weights.tolist() == [0.5, 0.2, 0.4]


def test_texts_of_nested_boosted_trees_are_taken_out_and_put_back(sample: Sample) -> None:
    model = _fit(WIN_CANDIDATES["blend"], sample)
    texts: dict[str, str] = {}
    data = take_texts(model.to_dict(), "win", texts)
    assert list(texts) == ["win_3_2_boosting.txt"]
    assert "text" not in data["members"][2]["members"][1]
    again = estimator_from_dict(put_texts(data, texts))
    np.testing.assert_array_equal(again.score(sample.rows), model.score(sample.rows))
    assert model.to_dict() == put_texts(data, texts)


DRAWN = ("decision_tree", "rbf_svm", "gradient_boosting", "blend")
"""Families in which the number of rows matters beside their weights: rows a leaf needs, rows drawn."""


@pytest.mark.parametrize("name", [name for name in sorted(WIN_CANDIDATES) if name not in DRAWN])
def test_a_weight_of_two_is_a_row_twice_and_zero_is_no_row(sample: Sample, name: str) -> None:
    half = np.arange(0, N, 2)
    twice = np.sort(np.concatenate([half, half]))
    weighted = Sample(sample.rows, sample.y, np.where(np.arange(N) % 2 == 0, 2.0, 0.0))
    if name in ("stage_rate", "base_rate", "frequency_naive_bayes"):  # votes: rows of one opportunity share theirs
        doubled = Sample(sample.rows.take(half), sample.y[half], np.full(len(half), 2.0))
    else:
        doubled = sample.take(twice)
    one, other = _fit(WIN_CANDIDATES[name], weighted), _fit(WIN_CANDIDATES[name], doubled)
    np.testing.assert_allclose(one.score(sample.rows), other.score(sample.rows), rtol=0.01, atol=0.01)


@pytest.mark.parametrize("name", DRAWN)
def test_weights_move_the_level(sample: Sample, name: str) -> None:
    heavy = Sample(sample.rows, sample.y, np.where(sample.y == 1, 3.0, 0.5))
    plain = _fit(WIN_CANDIDATES[name], sample).score(sample.rows).mean()
    assert _fit(WIN_CANDIDATES[name], heavy).score(sample.rows).mean() > plain + 0.1


@pytest.mark.parametrize("name", sorted(AMOUNT_CANDIDATES))
def test_weights_move_amounts(sample: Sample, name: str) -> None:
    amount = np.log(sample.rows.keys["amount"].to_numpy())
    heavy = Sample(sample.rows, amount, np.where(amount > 8, 5.0, 0.2))
    plain = _fit(AMOUNT_CANDIDATES[name], Sample(sample.rows, amount))
    weighted = _fit(AMOUNT_CANDIDATES[name], heavy)
    if name == "crm_amount":
        assert weighted.fallback > plain.fallback  # type: ignore[attr-defined]
    else:
        assert weighted.score(sample.rows).mean() > plain.score(sample.rows).mean() + 0.1


def _teaching(n: int, seed: int = 0) -> TeachingRows:
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, 3))
    y = (random.uniform(size=n) < 1 / (1 + np.exp(-1.5 * x[:, 0]))).astype(float)
    return TeachingRows(x, y, np.ones(n), np.arange(n, dtype=np.int64) // 2)


def _grown(rows: TeachingRows, start=None) -> Boosting | Blend:
    setting = {"leaves": 4, "rate": 0.2}
    return fit_boosting(rows, "binary", setting, most_rounds=200, threads=1, seed=3, start=start)  # type: ignore[return-value]


def test_boosting_chooses_its_rounds_and_repeats_itself() -> None:
    rows = _teaching(2000)
    first, again = _grown(rows), _grown(rows)
    assert isinstance(first, Boosting)
    assert first.text == again.text
    assert 5 <= first.text.count("Tree=") < 150


def test_boosting_from_the_truth_hardly_grows() -> None:
    rows = _teaching(2000)
    plain = _grown(rows)
    started = _grown(rows, lambda part: Linear(np.array([1.5, 0.0, 0.0]), 0.0, part.x.mean(axis=0)))
    assert isinstance(started, Blend)
    assert isinstance(plain, Boosting)
    trees = started.members[1]
    assert isinstance(trees, Boosting)
    assert trees.text.count("Tree=") < plain.text.count("Tree=")


def test_held_opportunities_are_on_one_side_only() -> None:
    rows = _teaching(3000)
    split = split_by_opportunity(rows, 1)
    assert split is not None
    taught, held = split
    assert not set(rows.opportunity[taught]) & set(rows.opportunity[held])
    assert len(taught) + len(held) == 3000
    assert split_by_opportunity(rows.take(np.arange(500)), 1) is None  # too few rows to hold any out


def test_an_open_landmark_that_stands_twice_is_one_vote(sample: Sample) -> None:
    keys = pd.DataFrame(
        {"opportunity_id": ["a", "b", "c", "c"], "as_of_us": [1.0, 1.0, 1.0, 1.0], "stage": ["s", "s", "t", "t"]}
    ).astype({"opportunity_id": object, "stage": object})
    rows = Encoded(np.zeros((4, 0)), keys, np.zeros(0, dtype=np.int64))
    split = shrunken_rates(Sample(rows, np.array([1.0, 0, 1, 0]), np.array([1.0, 1, 0.5, 0.5])), ("stage",), 20.0)
    certain = Encoded(np.zeros((4, 0)), keys.assign(opportunity_id=["a", "b", "c", "d"]), rows.groups)
    other = shrunken_rates(Sample(certain, np.array([1.0, 0, 1, 0]), np.array([1.0, 1, 0.5, 0.5])), ("stage",), 20.0)
    assert split.base == other.base
    assert split.fields == other.fields


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
