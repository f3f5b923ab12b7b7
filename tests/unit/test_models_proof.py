"""Proof from replay rows of a world whose truth is known in closed form."""

import json
from datetime import timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from sales_pipeline.models.clustered import deviation, mean, quantile, ratio
from sales_pipeline.models.matrix import Matrix
from sales_pipeline.models.metrics import log_losses, win_metrics
from sales_pipeline.models.proof import proof
from sales_pipeline.models.proof_text import dates_table, text_table
from sales_pipeline.models.proof_values import coverage, date_coverage
from sales_pipeline.models.segments import BANDS, NO_AMOUNT, OTHER, amount_bands, segments, shown
from sales_pipeline.models.stability import DatedRows, dated_rows, meaning_drift, selection_stability
from tests.support.replay_rows import expit, logit, make_replay, replay_facts

ROUNDS = 20


def _proof(rows: pa.Table, end) -> dict:
    return proof(rows, rounds=ROUNDS, seed=1, end=end)


@pytest.fixture(scope="module")
def right() -> dict:
    """What is said is the truth."""
    return _proof(*make_replay(opportunities=12_000))


@pytest.fixture(scope="module")
def wrong() -> dict:
    """Too hopeful about one stage."""

    def says(p: np.ndarray, stage: np.ndarray) -> np.ndarray:
        return expit(logit(p) + 0.9 * (stage == "Proposal"))

    return _proof(*make_replay(opportunities=12_000, says=says))


def _set(rows: pa.Table, column: str, values) -> pa.Table:
    index = rows.schema.get_field_index(column)
    return rows.set_column(index, rows.schema.field(index), pa.array(values, rows.schema.field(index).type))


def test_it_is_json_and_the_same_each_time() -> None:
    rows, end = make_replay(opportunities=300)
    first, again = _proof(rows, end), _proof(rows, end)
    assert json.dumps(first, allow_nan=False) == json.dumps(again, allow_nan=False)
    assert first["counts"]["rows"] == rows.num_rows
    assert first["counts"]["still_open"] + first["counts"]["closed"] == rows.num_rows


def test_true_probabilities_are_found_to_be_right(right: dict) -> None:
    model = right["win"]["model"]
    assert model["observed_expected_low"] < 1.0 < model["observed_expected_high"]
    assert model["calibration_error"] <= right["win"]["model"]["calibration_error_if_right"]["high"] * 1.3
    assert not any(row["is_off"] or row["is_worse_than_base_rate"] for row in right["segments"])
    assert all(abs(row["won"] - row["predicted"]) < 0.07 for row in right["reliability"]["model"])


def test_rows_still_open_count_with_what_is_to_be_expected_of_them() -> None:
    # Lost deals last longer: of those seen to close too many are won.
    rows, end = make_replay(opportunities=15_000, follow_up_days=100, dates=3, every=7)
    rows = _set(rows, "weight", [1.0] * rows.num_rows)
    seen = [None if won is None else float(won) for won in rows.column("is_won").to_pylist()]
    found, left_out = _proof(rows, end), _proof(_set(rows, "outcome", seen), end)
    assert 0.2 < found["counts"]["expected_share"] < 0.4
    assert left_out["counts"]["expected_share"] == 0.0
    assert abs(found["win"]["model"]["observed_expected"] - 1) < 0.05
    assert left_out["win"]["model"]["observed_expected"] > 1.1


def test_dates_too_young_count_in_no_figure_of_winning_ever() -> None:
    rows, end = make_replay(opportunities=2000, follow_up_days=10)
    found = _proof(rows, end)
    young = [row for row in found["dates"] if row["rows"] == 0]
    assert young
    assert "log_loss" not in young[0]
    assert found["counts"]["too_young"] == sum(row["scored"] for row in young)
    assert found["counts"]["judged"] + found["counts"]["too_young"] == rows.num_rows


def test_baselines_stand_beside_the_model_on_the_same_rows(right: dict) -> None:
    for name in ("base_rate", "stage_rate", "crm_probability", "challenger"):
        other = right["win"][name]
        assert other["gain"]["is_clear"]
        assert other["gain"]["log_loss"] == pytest.approx(other["log_loss"] - other["gain"]["model_log_loss"], abs=2e-6)
    assert right["win"]["base_rate"]["auc"] == 0.5


def test_a_baseline_known_for_some_rows_is_compared_on_those_alone() -> None:
    rows, end = make_replay(opportunities=600)
    crm = [value if number % 2 else None for number, value in enumerate(rows.column("crm_probability").to_pylist())]
    found = _proof(_set(rows, "crm_probability", crm), end)
    assert found["win"]["crm_probability"]["rows"] < found["win"]["model"]["rows"]
    assert found["win"]["crm_probability"]["gain"]["model_log_loss"] != found["win"]["model"]["log_loss"]
    # A log loss on half of the rows would not be comparable with its neighbours.
    assert all("crm_probability_log_loss" not in row for row in found["segments"])
    assert all("base_rate_log_loss" in row for row in found["segments"])


def test_only_the_segments_that_are_off_are_named(wrong: dict) -> None:
    stages = {row["value"]: row for row in wrong["segments"] if row["segment"] == "stage"}
    assert {name: row["is_off"] for name, row in stages.items()} == {
        "Qualification": False,
        "Proposal": True,
        "Negotiation": False,
    }
    assert stages["Proposal"]["observed_expected_high"] < 1


def test_horizons_look_only_at_what_was_fully_seen() -> None:
    rows, _ = make_replay(opportunities=600)
    last = max(rows.column("as_of").to_pylist())
    early = _proof(rows, last + timedelta(days=31))
    assert early["horizons"]["30d"]["rows"] == rows.num_rows
    assert 0 < early["horizons"]["90d"]["rows"] < rows.num_rows
    first = min(rows.column("as_of").to_pylist())
    assert _proof(rows, first + timedelta(days=29))["horizons"] == {"30d": None, "90d": None}


def test_horizon_probabilities_of_the_truth_are_right(right: dict) -> None:
    for figures in right["horizons"].values():
        assert 0.93 < figures["observed_expected"] < 1.07
        assert figures["log_loss"] < figures["constant_log_loss"]


def test_a_win_on_the_horizon_s_last_instant_is_too_late() -> None:
    rows, end = make_replay(opportunities=300)
    exactly = [instant + timedelta(days=30) for instant in rows.column("as_of").to_pylist()]
    won = _set(_set(rows, "closed_at", exactly), "is_won", [True] * rows.num_rows)
    assert _proof(won, end)["horizons"]["30d"]["win_rate"] == 0.0
    earlier = _set(won, "closed_at", [instant - timedelta(microseconds=1) for instant in exactly])
    assert _proof(earlier, end)["horizons"]["30d"]["win_rate"] == 1.0


class TestAmountsAndDates:
    def test_intervals_of_the_truth_cover_what_they_promise(self, right: dict) -> None:
        for part in ("amount", "close_date"):
            interval = right[part]["interval"]
            assert interval["is_as_promised"]
            assert interval["low"] - 0.02 < 0.8 < interval["high"] + 0.02
            outside = interval["below_share"] + interval["above_share"]
            assert outside == pytest.approx(1 - interval["covered_share"], abs=1e-5)

    def test_the_crm_s_own_amount_and_date_are_beaten(self, right: dict) -> None:
        assert right["amount"]["crm"]["verdict"] == "better"
        assert right["amount"]["log_mae"] == pytest.approx(0.3 * np.sqrt(2 / np.pi), abs=0.04)
        assert right["close_date"]["crm"]["verdict"] == "better"

    def test_amounts_are_never_added_across_currencies(self) -> None:
        rows, end = make_replay(opportunities=900, currencies=("USD", "JPY"))
        amount = _proof(rows, end)["amount"]
        assert [row["currency"] for row in amount["by_currency"]] == ["JPY", "USD"]
        assert sum(row["rows"] for row in amount["by_currency"]) == amount["rows"]

    def test_a_model_no_better_than_the_crm_is_called_so(self) -> None:
        rows, end = make_replay(opportunities=900)
        same = _set(rows, "expected_amount", rows.column("amount").cast(pa.float64()).to_pylist())
        assert _proof(same, end)["amount"]["crm"]["verdict"] == "not told apart"

    def test_slips_of_the_truth_are_right(self, right: dict) -> None:
        slip = right["slip"]
        assert 0.95 < slip["observed_expected"] < 1.05
        assert slip["brier"] < slip["constant_brier"]

    def test_close_dates_are_judged_though_few_intervals_have_passed(self) -> None:
        rows, end = make_replay(opportunities=6000, follow_up_days=40)
        found = _proof(rows, end)["close_date"]
        assert found["interval"]["watched_whole"] < 0.6 * found["interval"]["rows"]
        assert found["interval"]["low"] - 0.02 < 0.8 < found["interval"]["high"] + 0.02

    def test_without_a_whole_interval_seen_nothing_is_said_of_coverage(self) -> None:
        closed, low, middle, high = (np.array([a, b]) for a, b in ((5.0, np.inf), (1.0, 1.0), (4.0, 4.0), (9.0, 9.0)))
        assert date_coverage(closed, low, middle, high, 8.0, np.arange(2)) is None
        assert date_coverage(closed, low, middle, high, 10.0, np.arange(2)) is not None
        all_early = date_coverage(np.zeros(2), low, middle, high, 8.0, np.arange(2))
        assert all_early is not None
        assert all_early["below_share"] == 1.0

    def test_coverage_of_dates_all_watched_is_the_plain_share(self) -> None:
        random = np.random.default_rng(3)
        closed = np.floor(random.uniform(0, 100, 500))
        low, middle, high = np.full(500, 20.0), np.full(500, 50.0), np.full(500, 80.0)
        found = date_coverage(closed, low, middle, high, 1000.0, np.arange(500))
        assert found is not None
        plain = coverage(closed, low, high, np.ones(500), np.arange(500))
        for name in ("covered_share", "below_share", "above_share"):
            assert found[name] == pytest.approx(plain[name])
        assert found["low"] == pytest.approx(plain["low"], abs=2e-3)

    def test_close_dates_in_the_past_are_no_forecast(self) -> None:
        rows, end = make_replay(opportunities=300)
        past = _set(
            rows, "crm_close_date", [instant.date() - timedelta(days=2) for instant in rows.column("as_of").to_pylist()]
        )
        assert _proof(past, end)["slip"] is None


class TestLittleToJudge:
    def test_nothing_closed(self) -> None:
        rows, end = make_replay(opportunities=100)
        nulls = [None] * rows.num_rows
        rows = _set(_set(_set(rows, "is_won", nulls), "closed_at", nulls), "weight", [0.0] * rows.num_rows)
        rows = _set(rows, "outcome", nulls)
        found = _proof(rows, end)
        assert found["win"] is None
        assert found["reliability"] == {}
        assert found["segments"] == []
        assert found["amount"] is None
        assert text_table(found) == []
        json.dumps(found, allow_nan=False)

    def test_no_row_at_all(self) -> None:
        rows, end = make_replay(opportunities=100)
        found = _proof(rows.slice(0, 0), end)
        assert found["counts"]["rows"] == 0
        assert found["win"] is None

    @pytest.mark.parametrize("won", [True, False])
    def test_one_outcome_only(self, won: bool) -> None:
        rows, end = make_replay(opportunities=100)
        closed = [None if value is None else won for value in rows.column("is_won").to_pylist()]
        known = [None if value is None else float(value) for value in closed]
        found = _proof(_set(_set(rows, "is_won", closed), "outcome", known), end)
        assert "auc" not in found["win"]["model"]
        assert found["win"]["model"]["observed_expected"] == 0.0 or won
        json.dumps(found, allow_nan=False)

    def test_abstained_rows_are_counted_and_judged_in_nothing(self) -> None:
        rows, end = make_replay(opportunities=100)
        nulls = [None] * rows.num_rows
        rows = _set(_set(rows, "win_probability", nulls), "abstain_reason", ["no creation date"] * rows.num_rows)
        found = _proof(rows, end)
        assert found["counts"]["abstained"] == rows.num_rows
        assert found["counts"]["abstain_reasons"] == {"no creation date": rows.num_rows}
        assert found["win"] is None

    def test_closed_without_a_time_is_judged_but_in_no_horizon(self) -> None:
        rows, end = make_replay(opportunities=200)
        rows = _set(rows, "closed_at", [None] * rows.num_rows)
        rows = _set(rows, "is_won", [value is True for value in rows.column("is_won").to_pylist()])
        rows = _set(rows, "outcome", [float(value) for value in rows.column("is_won").to_pylist()])
        found = _proof(rows, end)
        assert found["win"]["model"]["rows"] == rows.num_rows
        assert found["horizons"] == {"30d": None, "90d": None}
        assert found["close_date"] is None


class TestSegments:
    def test_amount_bands_are_quarters_within_a_currency(self) -> None:
        rows, _ = make_replay(opportunities=2000, currencies=("USD", "JPY"))
        yen = pa.array(
            [
                a * (150 if c == "JPY" else 1) if a else None
                for a, c in zip(rows.column("amount").to_pylist(), rows.column("currency").to_pylist(), strict=True)
            ]
        )
        bands = amount_bands(_set(rows, "amount", yen.to_pylist()))
        for currency in ("USD", "JPY"):
            own = bands[np.array(rows.column("currency").to_pylist()) == currency]
            shares = [float((own == band).mean()) for band in BANDS]
            assert all(0.15 < share < 0.32 for share in shares)
        assert set(bands[np.array([a is None for a in rows.column("amount").to_pylist()])]) == {NO_AMOUNT}

    def test_a_kind_that_tells_nothing_apart_is_left_out(self) -> None:
        rows, _ = make_replay(opportunities=200)
        assert "evidence_level" not in segments(rows)
        assert "stage" in segments(rows)

    def test_many_small_segments_are_taken_together(self) -> None:
        texts = np.array([f"team {number % 40:02d}" for number in range(1000)] + ["big"] * 50, dtype=object)
        own, order = shown("owner_team", texts, np.ones(len(texts)))
        assert order[0] == "big"
        assert order[-1] == OTHER
        assert len(order) == 12
        assert set(own) == set(order)

    def test_months_keep_their_order(self) -> None:
        texts = np.array(["2026-02", "2025-12", "2025-12"], dtype=object)
        assert shown("month", texts, np.ones(3))[1] == ["2025-12", "2026-02"]


class TestClustered:
    def test_repeated_rows_do_not_make_it_surer(self) -> None:
        random = np.random.default_rng(1)
        values, groups = random.normal(5, 1, 200), np.arange(200)
        once = mean(values, np.ones(200), groups)
        often = mean(np.repeat(values, 7), np.ones(1400), np.repeat(groups, 7))
        assert often.value == pytest.approx(once.value)
        assert often.error == pytest.approx(once.error)
        assert once.error == pytest.approx(values.std() / np.sqrt(200))

    def test_the_interval_of_a_ratio_covers_four_in_five(self) -> None:
        random = np.random.default_rng(2)
        covered = 0
        for _ in range(300):
            p = random.uniform(0.1, 0.6, 150)
            won = (random.uniform(size=150) < p).astype(float)
            low, high = ratio(won, p, np.ones(150), np.arange(150)).log_interval()
            covered += low <= 1 <= high
        assert 0.73 < covered / 300 < 0.87

    def test_nothing_expected_gives_nothing(self) -> None:
        assert np.isnan(ratio(np.zeros(3), np.zeros(3), np.ones(3), np.arange(3)).value)
        assert ratio(np.zeros(3), np.ones(3), np.ones(3), np.arange(3)).log_interval() is None
        assert deviation(np.ones(3), np.ones(3), np.ones(3), np.arange(3)) == 0.0

    def test_a_weighted_median(self) -> None:
        assert quantile(np.array([1.0, 2.0, 10.0]), np.array([1.0, 1.0, 3.0]), 0.5) == 10.0
        assert quantile(np.array([3.0, 1.0, 2.0]), np.ones(3), 0.5) == 2.0


class TestStability:
    def test_how_often_each_feature_was_kept(self) -> None:
        rows = {row["column"]: row for row in selection_stability(replay_facts(8)["dates"])}
        assert (rows["amount"]["kept"], rows["amount"]["dates"], rows["amount"]["share"]) == (8, 8, 1.0)
        assert (rows["age_days"]["kept"], rows["age_days"]["is_in_last"]) == (4, True)

    def test_dates_without_columns_do_not_count(self) -> None:
        dates = [{"columns_used": []}, {"columns_used": ["amount"]}]
        assert selection_stability(dates)[0]["share"] == 1.0
        assert selection_stability([{"columns_used": []}]) == []

    def _parts(self, turn: bool) -> list[DatedRows]:
        random = np.random.default_rng(5)
        parts = []
        for number in range(6):
            x, noise = random.normal(size=600), random.normal(size=600)
            sign = -1 if turn and number >= 3 else 1
            won = (random.uniform(size=600) < expit(sign * x)).astype(float)
            won[:50] = np.nan
            source = np.where(x > 0, "Web", "Fair").astype(object)
            source[::9] = None
            frame = pd.DataFrame({"x": x, "noise": noise, "constant": 1.0, "source": source})
            parts.append(DatedRows(f"2026-0{number + 1}-01", frame, won, np.ones(600)))
        return parts

    def test_a_feature_that_turns_is_named(self) -> None:
        found = {row["column"]: row for row in meaning_drift(self._parts(turn=True))}
        assert found["x"]["kind"] == "sign changed"
        assert "noise" not in found
        assert len(found["x"]["by_date"]) == 6

    def test_what_stays_is_not_named(self) -> None:
        assert meaning_drift(self._parts(turn=False)) == []
        assert meaning_drift([]) == []

    def test_rows_of_a_matrix_are_taken_apart_by_date(self) -> None:
        day = 86_400_000_000
        keys = pd.DataFrame({"as_of_us": [2.0 * day, 0.0, 2.0 * day], "is_won": [1.0, np.nan, 0.0]})
        matrix = Matrix(pd.DataFrame({"x": [1.0, 2.0, 3.0], "y": 0.0}), keys, ())
        first, second = dated_rows(matrix, {"x", "gone"})
        assert (first.as_of, second.as_of) == ("1970-01-01T00:00:00+00:00", "1970-01-03T00:00:00+00:00")
        assert second.frame["x"].tolist() == [1.0, 3.0]
        assert list(first.frame.columns) == ["x"]
        assert second.won.tolist() == [1.0, 0.0]

    def test_a_column_that_is_missing_at_a_date_is_measured_at_the_others(self) -> None:
        parts = self._parts(turn=True)
        parts[0] = DatedRows(parts[0].as_of, parts[0].frame.drop(columns="x"), parts[0].won, parts[0].weight)
        found = {row["column"]: row for row in meaning_drift(parts)}
        assert len(found["x"]["by_date"]) == 5


def test_a_chance_as_outcome_gives_what_is_to_be_expected_of_the_figures() -> None:
    random = np.random.default_rng(1)
    p, chance = random.uniform(size=50), random.uniform(size=50)
    expected = win_metrics(chance, p)
    # Each row twice: won with that chance, lost with the rest.
    both = win_metrics(np.repeat([1.0, 0.0], 50), np.tile(p, 2), None, np.concatenate([chance, 1 - chance]))
    for name in ("log_loss", "brier", "auc", "observed_expected"):
        assert expected[name] == pytest.approx(both[name])


def test_tables_of_text(right: dict) -> None:
    rows = text_table(right)
    assert rows[0]["who"] == "model"
    assert rows[0]["gain"] == ""
    assert all(row["gain"] for row in rows[1:])
    assert len(dates_table(right)) == right["counts"]["dates"]
    assert rows[0]["log_loss"] == f"{right['win']['model']['log_loss']:.3f}"


def test_log_loss_by_date_adds_up_to_the_whole() -> None:
    rows, end = make_replay(opportunities=400)
    found = _proof(rows, end)
    loss = log_losses(rows.column("outcome").to_numpy(), rows.column("win_probability").to_numpy())
    weight = rows.column("weight").to_numpy()
    at = np.array(rows.column("as_of").to_pylist())
    mass = [weight[at == instant].sum() for instant in sorted(set(at))]
    assert np.average([row["log_loss"] for row in found["dates"]], weights=mass) == pytest.approx(
        np.average(loss, weights=weight), abs=1e-5
    )
