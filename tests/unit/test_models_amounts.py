"""Amounts: chosen honestly against the CRM's own, with intervals that cover, whatever was typed."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sales_pipeline.models.amounts import AmountModel, AmountTraining, train_amount
from sales_pipeline.models.estimators import estimator_from_dict
from sales_pipeline.models.matrix import DAY, Matrix, SourceColumn
from sales_pipeline.models.params import TrainingParams
from sales_pipeline.models.splits import plan_windows
from sales_pipeline.models.spreads import MIN_GROUP, STATED, UNSTATED, amounts_of, learn_spreads
from sales_pipeline.models.timing import interval_coverage

PARAMS = TrainingParams(amount_families=("median", "crm_amount", "linear_regression"))
AS_OF = 900.0
COLUMNS = (SourceColumn("amount", "number", "amount", "currency"), SourceColumn("size", "number", "size"))
NOISE = {"early": 0.5, "late": 0.1}


def _matrix(count: int = 900, *, bias: float = 0.0, unknown: float = 0.1, seed: int = 2) -> Matrix:
    """Landmark rows; the won amount is the CRM's amount times exp(bias x size) and a noise that is large in the early stage."""
    random = np.random.default_rng(seed)
    created = random.uniform(0, AS_OF, count)
    closed = created + random.gamma(2, 40, count)
    amount = np.exp(random.normal(9, 1, count))
    size = random.normal(size=count)
    stated = random.uniform(size=count) >= unknown
    pairs = [(i, t) for t in np.arange(28.0, AS_OF, 28.0) for i in np.flatnonzero((created < t) & (closed > t))]
    who, when = np.array([i for i, _ in pairs]), np.array([t for _, t in pairs])
    stage = np.where((when - created[who]) / (closed - created)[who] < 0.5, "early", "late")
    seen = amount[who] * np.exp(np.array([NOISE[name] for name in stage]) * random.normal(size=len(who)))
    known = (closed < AS_OF)[who]
    won = (random.uniform(size=count) < 0.5)[who] & known
    final = np.where(won, amount[who] * np.exp(bias * size[who]), np.nan)
    keys = pd.DataFrame(
        {
            "opportunity_id": [f"O{i}" for i in who],
            "account_id": None,
            "kind": "opportunity",
            "stage": stage,
            "amount": np.where(stated[who], seen, np.nan),
            "as_of_us": when * DAY,
            "created_us": created[who] * DAY,
            "crm_close_us": np.nan,
            "is_won": np.where(known, won.astype(float), np.nan),
            "closed_us": np.where(known, closed[who] * DAY, np.nan),
            "won_amount": final,
        }
    )
    frame = pd.DataFrame({"amount": keys["amount"], "size": size[who]})
    return Matrix(frame, keys, COLUMNS)


def _train(matrix: Matrix, params: TrainingParams = PARAMS, **more: Any) -> AmountTraining:
    return train_amount(matrix, plan_windows(matrix.keys, AS_OF * DAY, params), params, **more)


def _with_amounts(matrix: Matrix, change: Callable[[pd.Series], pd.Series], column: str = "amount") -> Matrix:
    keys = matrix.keys.assign(**{column: change(matrix.keys[column])})
    return replace(matrix, keys=keys, frame=matrix.frame.assign(amount=keys["amount"]))


@pytest.fixture(scope="module")
def biased() -> tuple[Matrix, AmountTraining]:
    matrix = _matrix(bias=0.6)
    return matrix, _train(matrix)


@pytest.fixture(scope="module")
def plain() -> tuple[Matrix, AmountTraining]:
    matrix = _matrix()
    return matrix, _train(matrix)


class TestChoice:
    def test_a_model_that_knows_more_is_chosen(self, biased: tuple[Matrix, AmountTraining]) -> None:
        facts = biased[1].facts
        assert facts["choice"] == "linear_regression"
        against = facts["against_crm_amount"]
        assert against["verdict"].startswith("better than the CRM's own amount")
        for name in ("log_mse", "mae"):
            figure = against[name]
            assert figure["difference"] == pytest.approx(figure["model"] - figure["crm_amount"])
            assert figure["difference"] < -figure["standard_error"] < 0

    def test_the_crm_amount_is_kept_where_nothing_is_better(self, plain: tuple[Matrix, AmountTraining]) -> None:
        matrix, trained = plain
        crm_only = _train(matrix, PARAMS.model_copy(update={"amount_families": ("median", "crm_amount")}))
        assert crm_only.facts["choice"] == "crm_amount"
        validation = {row["name"]: row["validation"]["log_mse"] for row in trained.candidates}
        assert validation[trained.facts["choice"]] <= validation["crm_amount"] * 1.1

    def test_a_family_clearly_worse_than_the_crm_amount_is_never_chosen(
        self, plain: tuple[Matrix, AmountTraining]
    ) -> None:
        # With so high a bar for skill the median would be the choice.
        params = PARAMS.model_copy(update={"noise_z": 1000.0, "amount_families": ("median", "crm_amount")})
        facts = _train(plain[0], params).facts
        assert facts["choice"] == "crm_amount"
        assert facts["why"].startswith("the CRM's own amount: median is worse by")

    def test_a_recipe_is_refitted_beside_the_crm_amount_alone(self, biased: tuple[Matrix, AmountTraining]) -> None:
        matrix, trained = biased
        recipe = trained.facts["recipe"]
        again = _train(matrix, recipe=(recipe["family"], recipe["setting"]))
        assert {row["name"] for row in again.candidates} == {"linear_regression", "crm_amount"}
        assert again.model is not None
        assert trained.model is not None
        assert again.model.to_dict() == trained.model.to_dict()

    def test_without_stated_amounts_there_is_no_comparison(self) -> None:
        trained = _train(_with_amounts(_matrix(), lambda amount: amount * np.nan))
        assert trained.facts["against_crm_amount"] is None
        assert trained.facts["choice"] == "median"

    @pytest.mark.parametrize(("won", "choice"), [(0, None), (1, "crm_amount"), (10, "crm_amount")])
    def test_few_won_amounts(self, won: int, choice: str | None) -> None:
        matrix = _matrix(unknown=0.0)
        winners = matrix.keys.loc[matrix.keys["is_won"] == 1, "opportunity_id"].unique()[:won]
        kept = matrix.keys["opportunity_id"].isin(winners)
        trained = _train(_with_amounts(matrix, lambda amount: amount.where(kept), "won_amount"))
        assert trained.facts["choice"] == choice
        assert trained.facts["won_amounts"] == won
        if trained.model is not None:
            for values in trained.model.predict(matrix):
                assert np.isfinite(values).all()


class TestInterval:
    def test_it_covers_rows_that_were_not_there(self, biased: tuple[Matrix, AmountTraining]) -> None:
        assert biased[1].model is not None
        fresh = _matrix(bias=0.6, seed=9)
        expected, low, high = biased[1].model.predict(fresh)
        actual = fresh.keys["won_amount"].to_numpy()
        assert 0.75 <= interval_coverage(actual, low, high)["share"] <= 0.85
        for name in NOISE:
            here = ((fresh.keys["stage"] == name) & fresh.keys["amount"].notna()).to_numpy()
            assert 0.72 <= interval_coverage(actual[here], low[here], high[here])["share"] <= 0.88, name
        won = np.isfinite(actual)
        assert actual[won].sum() / expected[won].sum() == pytest.approx(1.0, abs=0.15)

    def test_its_coverage_on_the_test_window_is_told(self, biased: tuple[Matrix, AmountTraining]) -> None:
        coverage = biased[1].facts["coverage"]
        assert 0.7 <= coverage["share"] <= 0.9
        assert set(coverage["groups"]) == {STATED, UNSTATED, f"{STATED}/early", f"{STATED}/late"}
        groups = coverage["groups"]
        assert groups[STATED]["rows"] + groups[UNSTATED]["rows"] == coverage["rows"]

    def test_early_stages_and_unknown_amounts_are_less_certain(self, plain: tuple[Matrix, AmountTraining]) -> None:
        assert plain[1].model is not None
        spreads = plain[1].model.spreads
        width = {name: spread.high - spread.low for name, spread in spreads.items()}
        assert width[f"{STATED}/late"] < width[f"{STATED}/early"] < width[UNSTATED]

    def test_few_rows_without_an_amount_know_only_what_amounts_there_are(self) -> None:
        random = np.random.default_rng(0)
        n = 200
        keys = pd.DataFrame({"amount": [1000.0] * (n - 5) + [np.nan] * 5, "stage": ["s"] * n})
        taught = random.normal(9, 1, 500)
        spreads = learn_spreads(random.normal(0, 0.1, n), np.arange(n), keys, taught)
        assert spreads[UNSTATED].high - spreads[UNSTATED].low > 2.0
        assert spreads[STATED].high - spreads[STATED].low < 0.4
        few = learn_spreads(np.zeros(MIN_GROUP - 1), np.arange(MIN_GROUP - 1), keys.head(MIN_GROUP - 1), taught)
        assert set(few) == {STATED, UNSTATED}

    def test_unseen_stages_take_the_spread_of_all(self, plain: tuple[Matrix, AmountTraining]) -> None:
        assert plain[1].model is not None
        spreads = plain[1].model.spreads
        keys = pd.DataFrame({"amount": [10.0, 10.0, np.nan], "stage": ["never seen", None, "late"]})
        expected, _, _ = amounts_of(np.zeros(3), keys, spreads)
        assert expected.tolist() == [spreads[name].smearing for name in (STATED, STATED, UNSTATED)]


class TestOddAmounts:
    def test_typing_errors_do_not_decide(self, biased: tuple[Matrix, AmountTraining]) -> None:
        matrix, trained = biased
        winners = matrix.keys.loc[matrix.keys["is_won"] == 1, "opportunity_id"].unique()
        odd = {winners[0]: 1e12, winners[1]: 0.0, winners[2]: -500.0, winners[3]: 1e300, winners[4]: 0.01}
        typed = matrix.keys["opportunity_id"].map(odd)
        broken = _train(_with_amounts(matrix, lambda amount: typed.fillna(amount), "won_amount"))
        assert broken.facts["choice"] == "linear_regression"
        assert broken.model is not None
        assert trained.model is not None
        before, after = (model.predict(matrix)[0] for model in (trained.model, broken.model))
        assert abs(np.median(after / before) - 1) < 0.1

    def test_predictions_are_finite_and_in_order_whatever_the_crm_states(
        self, biased: tuple[Matrix, AmountTraining], plain: tuple[Matrix, AmountTraining]
    ) -> None:
        values = np.array([1e12, 1e300, 0.0, -1e9, np.nan, np.inf, -np.inf, 1e-9, 1000.0])
        for matrix, trained in (biased, plain):
            assert trained.model is not None
            rows = matrix.take(np.arange(len(values)))
            rows = _with_amounts(rows, lambda _: pd.Series(values))
            expected, low, high = trained.model.predict(rows)
            for part in (expected, low, high):
                assert np.isfinite(part).all()
            assert (low >= 0).all()
            assert (low <= expected).all()
            assert (expected <= high).all()
            ceiling = trained.facts["held_within"][1]
            assert (expected <= ceiling * max(spread.smearing for spread in trained.model.spreads.values())).all()

    def test_all_amounts_alike(self) -> None:
        trained = _train(_with_amounts(_matrix(), lambda amount: amount.where(amount.isna(), 500.0), "won_amount"))
        assert trained.model is not None
        expected, low, high = trained.model.predict(_matrix())
        for part in (expected, low, high):
            np.testing.assert_allclose(part, 500.0, rtol=0.3)


def test_round_trip(biased: tuple[Matrix, AmountTraining]) -> None:
    matrix, trained = biased
    assert trained.model is not None
    data = json.loads(json.dumps(trained.model.to_dict(), allow_nan=False))
    estimator = estimator_from_dict(json.loads(json.dumps(trained.model.estimator.to_dict())))
    again = AmountModel.from_dict(data, estimator)
    for first, second in zip(trained.model.predict(matrix), again.predict(matrix), strict=True):
        assert np.array_equal(first, second)
    assert json.dumps(trained.facts, allow_nan=False)


def test_no_row_gives_no_amount(biased: tuple[Matrix, AmountTraining]) -> None:
    matrix, trained = biased
    assert trained.model is not None
    assert [len(part) for part in trained.model.predict(matrix.take(np.zeros(0, dtype=np.int64)))] == [0, 0, 0]
