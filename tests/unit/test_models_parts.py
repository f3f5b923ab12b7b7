"""Encoding, splits, calibration, metrics: what each promises."""

import json

import numpy as np
import pandas as pd
import pytest

from sales_pipeline.models.calibration import (
    Calibrator,
    IntervalTable,
    anchored,
    choose_calibrator,
    fit_isotonic,
    fit_logistic,
    fit_shrinking,
    interval_table,
)
from sales_pipeline.models.encoding import Encoding, learn_encoding
from sales_pipeline.models.matrix import DAY, SourceColumn
from sales_pipeline.models.metrics import (
    auc,
    average_precision,
    bootstrap_interval,
    calibration_error,
    lift,
    paired_difference,
    win_metrics,
)
from sales_pipeline.models.params import TrainingParams
from sales_pipeline.models.splits import grouped_folds, kaplan_meier, plan_windows, thin_by_opportunity

COLUMNS = (
    SourceColumn("size", "number", "size"),
    SourceColumn("money", "number", "money", "currency"),
    SourceColumn("kind", "category", "kind"),
    SourceColumn("same", "number", "constant"),
)


def _frame(n: int = 200) -> pd.DataFrame:
    random = np.random.default_rng(0)
    size = random.normal(size=n)
    size[:20] = np.nan
    kinds = np.array(["a"] * (n - 60) + ["b"] * 50 + ["rare"] * 10, dtype=object)
    kinds[5] = None
    return pd.DataFrame({"size": size, "money": np.exp(random.normal(8, 2, n)), "kind": kinds, "same": 1.0})


@pytest.fixture(scope="module")
def planned():
    keys = _keys()
    return keys, plan_windows(keys, 900 * DAY, TrainingParams())


@pytest.fixture(scope="module")
def data():
    random = np.random.default_rng(1)
    score = random.normal(size=3000)
    won = (random.uniform(size=3000) < 1 / (1 + np.exp(-(2 * score - 1)))).astype(float)
    return score, won


class TestEncoding:
    def test_standardises_flags_and_limits(self) -> None:
        encoding = learn_encoding(_frame(), COLUMNS, min_category_rows=20)
        x = encoding.apply(_frame())
        assert encoding.names == ["size", "size missing", "money", "kind=a", "kind=b", "kind=other", "kind=missing"]
        assert encoding.groups.tolist() == [0, 0, 1, 2, 2, 2, 2]
        np.testing.assert_allclose(x[:, [0, 2]].mean(axis=0), 0, atol=1e-9)
        assert x[:, 1].sum() == 20
        assert x[:, 3:].sum(axis=1).tolist() == [1.0] * 200

    def test_what_is_learnt_does_not_move_with_the_rows_scored(self) -> None:
        encoding = learn_encoding(_frame(), COLUMNS)
        whole = encoding.apply(_frame())
        np.testing.assert_array_equal(encoding.apply(_frame().iloc[7:9]), whole[7:9])

    def test_unseen_values_count_as_other(self) -> None:
        encoding = learn_encoding(_frame(), COLUMNS)
        row = pd.DataFrame({"size": [np.nan], "money": [1e30], "kind": ["new"], "same": [1.0]})
        x = encoding.apply(row)
        assert np.isfinite(x).all()
        assert x[0, encoding.names.index("kind=other")] == 1

    def test_json_round_trip(self) -> None:
        encoding = learn_encoding(_frame(), COLUMNS)
        again = Encoding.from_dict(json.loads(json.dumps(encoding.to_dict())))
        np.testing.assert_array_equal(again.apply(_frame()), encoding.apply(_frame()))


def _keys(n: int = 400, seed: int = 0, end: float = 900.0) -> pd.DataFrame:
    """Landmarks every 30 days of opportunities created over `end` days, living up to 150."""
    random = np.random.default_rng(seed)
    rows = []
    for number in range(n):
        created, life, is_won = random.uniform(0, end), random.uniform(5, 150), random.uniform() < 0.4
        closed = created + life
        for landmark in np.arange(30.0, end, 30.0):
            if created < landmark < closed:
                is_known = closed < end
                rows.append(
                    {
                        "kind": "opportunity",
                        "opportunity_id": f"o{number}",
                        "account_id": f"a{number % 50}",
                        "stage": "early" if landmark - created < life / 2 else "late",
                        "as_of_us": landmark * DAY,
                        "closed_us": closed * DAY if is_known else np.nan,
                        "is_won": float(is_won) if is_known else np.nan,
                        "created_us": created * DAY,
                    }
                )
    return pd.DataFrame(rows)


class TestSplits:
    def test_all_windows_are_there(self, planned) -> None:
        _, plan = planned
        assert len(plan.folds) == 3
        assert plan.calibration is not None
        assert len(plan.test) > 50
        assert plan.is_time_ordered

    def test_training_landmarks_lie_before_the_judged_window(self, planned) -> None:
        keys, plan = planned
        for fold in (*plan.folds, plan.calibration):
            begin = keys["as_of_us"].iloc[fold.judge].min()
            assert fold.from_us <= begin
            assert (keys["as_of_us"].iloc[fold.train] < fold.from_us).all()

    def test_rows_open_at_the_split_teach_too(self, planned) -> None:
        keys, plan = planned
        for fold in (*plan.folds, plan.calibration):
            open_then = (keys["as_of_us"] < fold.from_us) & ~(keys["closed_us"] < fold.from_us)
            assert open_then.any()
            assert set(np.flatnonzero(open_then)) <= set(fold.train.tolist())

    def test_outcomes_of_windows_before_the_test_are_those_known_before_it(self, planned) -> None:
        keys, plan = planned
        begin = keys["as_of_us"].iloc[plan.test].min()
        for fold in (plan.calibration, *plan.folds):
            assert fold.known_us == begin
            assert (keys["as_of_us"].iloc[fold.judge] <= begin - plan.maturity_days * DAY).all()
        assert (keys["as_of_us"].iloc[plan.before_test] < begin).all()

    def test_windows_that_judge_have_matured_and_the_final_fit_sees_all(self, planned) -> None:
        keys, plan = planned
        assert plan.maturity_days > 10
        assert keys["as_of_us"].iloc[plan.test].max() <= (900 - plan.maturity_days) * DAY
        assert len(plan.final) == len(keys)

    def test_without_dates_folds_are_random_by_account_and_say_so(self) -> None:
        keys = _keys().drop_duplicates("opportunity_id").reset_index(drop=True)
        keys["as_of_us"], keys["closed_us"] = 900.0 * DAY, np.nan
        plan = plan_windows(keys, 900 * DAY, TrainingParams())
        assert not plan.is_time_ordered
        assert "RANDOM" in plan.facts["warning"]
        fold = plan.folds[0]
        assert not set(keys["account_id"].iloc[fold.train]) & set(keys["account_id"].iloc[fold.judge])

    def test_grouped_folds_keep_groups_together(self) -> None:
        groups = np.repeat(np.arange(30), 3)
        folds = grouped_folds(groups, 5, 1)
        assert all(len(set(folds[groups == g])) == 1 for g in range(30))

    def test_thinning_leaves_whole_opportunities(self) -> None:
        ids = np.repeat(np.arange(100).astype(str), 4)
        kept = thin_by_opportunity(np.arange(400), ids, 100, 1)
        assert len(kept) == 100
        assert all(np.isin(np.flatnonzero(ids == i), kept).all() for i in set(ids[kept]))


def test_kaplan_meier_by_hand() -> None:
    times, survival = kaplan_meier(np.array([1.0, 2.0, 2.0, 3.0]), np.array([True, True, False, True]))
    assert times.tolist() == [1.0, 2.0, 3.0]
    np.testing.assert_allclose(survival, [0.75, 0.5, 0.0])


class TestCalibration:
    def test_logistic_finds_slope_and_intercept(self, data) -> None:
        calibrator = fit_logistic(*data)
        assert calibrator.slope == pytest.approx(2, abs=0.2)
        assert calibrator.intercept == pytest.approx(-1, abs=0.15)

    def test_it_never_turns_the_order_round(self, data) -> None:
        score, won = data
        assert fit_logistic(-score, won).slope == 0.0

    def test_outcomes_in_between_count_in_parts(self, data) -> None:
        score, won = data
        soft = fit_logistic(np.append(score, score[:50]), np.append(won, np.full(50, 0.5)))
        doubled = fit_logistic(
            np.concatenate([score, score[:50], score[:50]]),
            np.concatenate([won, np.ones(50), np.zeros(50)]),
            np.concatenate([np.ones(len(won)), np.full(100, 0.5)]),
        )
        assert soft.slope == pytest.approx(doubled.slope, rel=1e-3)
        assert soft.intercept == pytest.approx(doubled.intercept, abs=1e-3)

    def test_an_anchor_moves_the_level_and_keeps_the_order(self, data) -> None:
        score, won = data
        for calibrator in (fit_logistic(score, won), fit_isotonic(score, won)):
            moved = anchored(calibrator, score, won * 0.5, np.ones(len(won)))
            assert moved.apply(score).mean() == pytest.approx(0.5 * won.mean(), abs=1e-3)
            assert (np.diff(moved.apply(np.sort(score))) >= 0).all()

    def test_equal_scores_get_the_base_rate(self) -> None:
        calibrator = fit_logistic(np.full(100, 3.0), np.array([1.0] * 30 + [0.0] * 70))
        assert calibrator.apply(np.array([3.0]))[0] == pytest.approx(0.3, abs=0.02)

    def test_rates_that_hardly_differ_stay_where_they_are(self) -> None:
        """A later fit, whose base rate is a little another, must not be thrown to 0 or 1."""
        score = 0.5 + 1e-4 * np.tile([-1.0, 1.0], 500)
        won = np.concatenate([np.tile([0.0, 1.0], 300), np.tile([1.0, 1.0, 1.0, 0.0], 100)])
        assert fit_logistic(score, won).slope > 1_000
        calibrator = fit_shrinking(score, won)
        assert calibrator.slope == 1.0
        assert calibrator.apply(score).mean() == pytest.approx(won.mean(), abs=0.01)
        assert calibrator.apply(score - 0.04).mean() == pytest.approx(won.mean(), abs=0.02)

    def test_rates_that_differ_too_much_are_shrunken_further(self, data) -> None:
        score, won = data
        assert fit_shrinking(score * 5, won) == fit_logistic(score * 5, won)

    def test_isotonic_is_monotone_and_off_the_edges(self, data) -> None:
        p = fit_isotonic(*data).apply(np.linspace(-5, 5, 200))
        assert (np.diff(p) >= 0).all()
        assert p.min() > 0
        assert p.max() < 1

    def test_few_rows_stay_logistic(self, data) -> None:
        assert choose_calibrator(data[0][:500], data[1][:500], min_isotonic_rows=2000)[0].kind == "logistic"

    @pytest.mark.parametrize("fit", [fit_logistic, fit_isotonic])
    def test_secant_adds_up(self, data, fit) -> None:
        calibrator = fit(*data)
        score = np.linspace(-2, 2, 9)
        logit = np.log(calibrator.apply(score) / (1 - calibrator.apply(score)))
        start = calibrator.apply(np.array([0.3]))[0]
        np.testing.assert_allclose(
            calibrator.secant(score, 0.3) * (score - 0.3), logit - np.log(start / (1 - start)), atol=1e-6
        )
        assert (calibrator.secant(score, 0.3) >= 0).all()

    def test_round_trip(self, data) -> None:
        calibrator = fit_isotonic(*data)
        assert Calibrator.from_dict(json.loads(json.dumps(calibrator.to_dict()))) == calibrator

    def test_interval_narrows_with_opportunities_and_holds_p(self) -> None:
        p = np.random.default_rng(0).uniform(0.05, 0.95, 4000)
        many = interval_table(p, np.arange(4000))
        few = interval_table(p, np.arange(4000) % 40)
        q = np.array([0.2, 0.5, 0.9])
        (low, high), (wide_low, wide_high) = many.bounds(q), few.bounds(q)
        assert ((low <= q) & (q <= high)).all()
        assert ((wide_high - wide_low) > 2 * (high - low)).all()
        assert IntervalTable.from_dict(many.to_dict()) == many


class TestMetrics:
    def test_against_scikit_learn(self) -> None:
        from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

        random = np.random.default_rng(2)
        p = random.uniform(size=500).round(2) * 0.98 + 0.01
        won = (random.uniform(size=500) < p).astype(float)
        figures = win_metrics(won, p)
        assert figures["log_loss"] == pytest.approx(log_loss(won, p))
        assert figures["brier"] == pytest.approx(brier_score_loss(won, p))
        assert auc(won, p) == pytest.approx(roc_auc_score(won, p))
        assert average_precision(won, p) == pytest.approx(average_precision_score(won, p))

    def test_one_class_leaves_figures_out(self) -> None:
        figures = win_metrics(np.zeros(5), np.full(5, 0.2))
        assert "auc" not in figures
        assert figures["brier"] == pytest.approx(0.04)

    def test_lift_of_a_constant_is_one(self) -> None:
        won = np.array([1.0, 0.0] * 50)
        assert lift(won, np.full(100, 0.5), 0.1) == pytest.approx(1)
        assert lift(won, won, 0.1) == pytest.approx(2)

    def test_calibration_error_by_hand(self) -> None:
        assert calibration_error(np.array([1.0, 0.0]), np.array([0.9, 0.2])) == pytest.approx(0.15)

    def test_dependent_rows_widen_the_error(self) -> None:
        random = np.random.default_rng(0)
        difference = np.repeat(random.normal(size=50), 10)
        _, apart = paired_difference(difference, np.zeros(500), np.arange(500))
        _, together = paired_difference(difference, np.zeros(500), np.repeat(np.arange(50), 10))
        assert together > 2 * apart

    def test_bootstrap_is_seeded_and_holds_the_figure(self) -> None:
        random = np.random.default_rng(0)
        p = random.uniform(size=300)
        won = (random.uniform(size=300) < p).astype(float)
        first = bootstrap_interval(won, p, np.arange(300) // 3, rounds=50, seed=1)
        assert first == bootstrap_interval(won, p, np.arange(300) // 3, rounds=50, seed=1)
        assert first["auc"][0] < auc(won, p) < first["auc"][1]
