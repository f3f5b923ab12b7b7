"""Training, bundle and predictions on a small world whose true probabilities are known."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.contracts.internal import LEAK_LEDGER, PREDICTIONS
from sales_pipeline.errors import EnvironmentProblem
from sales_pipeline.lake.tables import TableRef, conform, read_table, write_table
from sales_pipeline.models.bundle import read_bundle, write_bundle
from sales_pipeline.models.candidates import WIN_CANDIDATES
from sales_pipeline.models.estimators import logit
from sales_pipeline.models.matrix import Matrix, load_matrix
from sales_pipeline.models.params import WIN_FAMILIES, TrainingParams
from sales_pipeline.models.predict import NO_CREATION, needed_columns, predict, predict_matrix, win_probabilities
from sales_pipeline.models.promotion import decide
from sales_pipeline.models.store import NullRecorder
from sales_pipeline.models.train import TrainedModel, train
from sales_pipeline.models.win import Recipe
from tests.support.frames import Frames, make_frames

QUICK = TrainingParams(
    win_families=("base_rate", "stage_rate", "logistic_regression", "decision_tree"),
    amount_families=("median", "crm_amount", "linear_regression"),
    bootstrap_rounds=30,
)


def _train(frames: Frames, folder: Path, params: TrainingParams = QUICK) -> TrainedModel:
    return train(frames, frames.ledger, params, models=folder / "models", recorder=NullRecorder())


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Frames, Frames, Path]:
    folder = tmp_path_factory.mktemp("world")
    training = make_frames(folder / "t", opportunities=900)
    return training, make_frames(folder / "s", opportunities=900, purpose="scoring"), folder


@pytest.fixture(scope="module")
def trained(world: tuple[Frames, Frames, Path]) -> TrainedModel:
    return _train(world[0], world[2])


@pytest.fixture(scope="module")
def predictions(world: tuple[Frames, Frames, Path], trained: TrainedModel) -> pa.Table:
    return predict(trained.path, world[1])


def _column(table: pa.Table, name: str) -> np.ndarray:
    return table.column(name).to_numpy(zero_copy_only=False)


class TestTraining:
    def test_it_finds_the_signal_out_of_time(self, trained: TrainedModel) -> None:
        win = trained.card["win"]
        assert win["has_skill"]
        assert win["evidence_level"] == "full_model"
        assert win["test"]["auc"] > 0.7
        base = next(row for row in win["candidates"] if row["name"] == "base_rate")
        assert win["test"]["log_loss"] < base["test"]["log_loss"]
        low, high = win["test"]["intervals"]["log_loss"]
        assert low < win["test"]["log_loss"] < high

    def test_probabilities_come_near_the_truth(self, world, predictions: pa.Table) -> None:
        p = _column(predictions, "win_probability")
        assert np.corrcoef(p, world[1].true)[0, 1] > 0.85
        assert abs(p.mean() - world[1].true.mean()) < 0.1

    def test_every_family_reports_the_same_keys(self, trained: TrainedModel) -> None:
        rows = trained.card["win"]["candidates"]
        assert [row["name"] for row in rows] == list(QUICK.win_families)
        assert len({tuple(sorted(row["validation"])) for row in rows}) == 1
        assert sum(row["is_chosen"] for row in rows) == 1

    def test_the_crm_amount_is_the_baseline_to_beat(self, trained: TrainedModel) -> None:
        amount = trained.card["amount"]
        assert amount["choice"] in ("crm_amount", "linear_regression")
        assert {"mae", "mse", "rmse", "r2"} <= set(amount["candidates"][1]["test"])

    def test_the_same_training_gives_the_same_bytes(self, world, trained: TrainedModel, tmp_path: Path) -> None:
        again = _train(world[0], tmp_path)
        assert again.version == trained.version
        for name in sorted(item.name for item in trained.path.iterdir()):
            assert (again.path / name).read_bytes() == (trained.path / name).read_bytes()

    def test_nothing_after_the_as_of_is_in_the_card(self, trained: TrainedModel, world) -> None:
        assert trained.card["trained_through"] == world[0].as_of.isoformat()
        assert all(window["from"] < world[0].as_of.isoformat() for window in trained.card["splits"]["windows"])

    def test_columns_the_ledger_forbids_are_not_seen(self, world, tmp_path: Path) -> None:
        rows = read_table(world[0].ledger).to_pylist()
        for row in rows:
            row["is_used"] = row["column"] in ("amount", "days_in_stage")
        ledger = write_table(
            conform(pa.Table.from_pylist(rows, schema=arrow_schema(LEAK_LEDGER)), LEAK_LEDGER), tmp_path / "l.parquet"
        )
        model = train(world[0], ledger, QUICK, models=tmp_path, recorder=NullRecorder())
        seen = {column.name for column in needed_columns(read_bundle(model.path))}
        assert seen <= {"amount", "days_in_stage"}


BLENDED = ("logistic_regression", "decision_tree")


@pytest.mark.parametrize("family", [name for name in WIN_FAMILIES if name != "base_rate"])
def test_every_family_can_be_the_model(world, tmp_path: Path, family: str) -> None:
    params = QUICK.model_copy(update={"boosting_rounds": 30, "amount_families": ("median",)})
    settings = WIN_CANDIDATES[family].settings
    blended = {
        "members": [{"family": name, "setting": WIN_CANDIDATES[name].settings[0], "weight": 0.5} for name in BLENDED],
        "intercept": 0.0,
    }
    recipe = Recipe(family, settings[0] if settings else blended)
    model = train(world[0], world[0].ledger, params, models=tmp_path / "models", recorder=NullRecorder(), recipe=recipe)
    table = predict(model.path, world[1])
    assert model.card["win"]["choice"] == family
    assert table.num_rows == world[1].spine.rows
    assert model.card["win"]["test"] is not None
    again = read_bundle(model.path)
    assert again.win is not None
    assert (
        write_bundle(
            tmp_path / "again",
            win=again.win,
            abstain_reason=again.abstain_reason,
            timing=again.timing,
            amount=again.amount,
            card=again.card,
        ).version
        == model.version
    )


class TestPredictions:
    def test_they_keep_the_contract(self, predictions: pa.Table, world) -> None:
        assert predictions.schema.equals(arrow_schema(PREDICTIONS))
        assert predictions.num_rows == world[1].spine.rows

    def test_probabilities_do_not_contradict(self, predictions: pa.Table) -> None:
        p = _column(predictions, "win_probability")
        p30, p90 = (_column(predictions, f"win_probability_{days}d") for days in (30, 90))
        assert (p30 <= p90).all()
        assert (p90 <= p).all()
        assert (_column(predictions, "win_probability_low") <= p).all()
        assert (p <= _column(predictions, "win_probability_high")).all()

    def test_amounts_lie_in_their_interval(self, predictions: pa.Table) -> None:
        low, mid, high = (_column(predictions, f"expected_amount{end}") for end in ("_low", "", "_high"))
        assert (low <= mid).all()
        assert (mid <= high).all()
        assert (low > 0).all()

    def test_dates_are_ordered_and_not_before_the_as_of(self, predictions: pa.Table, world) -> None:
        low, mid, high = (
            _column(predictions, f"predicted_close_date{end}").astype("datetime64[D]") for end in ("_low", "", "_high")
        )
        assert (low <= mid).all()
        assert (mid <= high).all()
        assert (low >= np.datetime64(world[1].as_of.instant.date())).all()

    def test_slip_is_sure_once_the_close_date_is_past(self, predictions: pa.Table, world) -> None:
        spine = read_table(world[1].spine)
        past = _column(spine, "crm_close_date").astype("datetime64[D]") < np.datetime64(world[1].as_of.instant.date())
        slip = _column(predictions, "slip_probability")
        assert past.any()
        assert (slip[past] == 1).all()
        assert (slip[~past] < 1).all()

    def test_reasons_point_where_their_weight_points(self, predictions: pa.Table) -> None:
        count = 0
        for row in predictions.select(["reasons_up", "reasons_down"]).to_pylist():
            up, down = [[reason["weight"] for reason in row[name]] for name in ("reasons_up", "reasons_down")]
            assert len(up) <= 3
            assert len(down) <= 3
            assert all(weight > 0 for weight in up)
            assert all(weight < 0 for weight in down)
            assert up == sorted(up, reverse=True)
            assert down == sorted(down)
            count += len(up) + len(down)
        assert count > predictions.num_rows

    def test_a_reason_agrees_with_what_the_model_does(self, world, trained: TrainedModel) -> None:
        """Setting a column to another row's value moves the probability the way the difference of their reasons says."""
        bundle = read_bundle(trained.path)
        assert bundle.win is not None
        assert bundle.win.family == "logistic_regression"
        matrix = load_matrix(world[1], [column.name for column in needed_columns(bundle)])
        rows = bundle.win.encoding.encode(matrix)
        effects, _ = bundle.win.estimator.contributions(rows)
        column = [c.name for c in bundle.win.encoding.columns].index("age_days")
        frame = matrix.frame.copy()
        frame["age_days"] = np.roll(frame["age_days"].to_numpy(), 1)
        changed = logit(win_probabilities(bundle.win, Matrix(frame, matrix.keys, matrix.columns)))
        before = logit(win_probabilities(bundle.win, matrix))
        promised = (np.roll(effects[:, column], 1) - effects[:, column]) * bundle.win.calibrator.slope
        np.testing.assert_allclose(changed - before, promised, atol=1e-9)

    def test_texts_say_the_value(self, predictions: pa.Table) -> None:
        texts = {
            reason["code"]: reason["text"]
            for row in predictions.to_pylist()
            for reason in (*row["reasons_up"], *row["reasons_down"])
        }
        assert texts["attribute:Segment__c"].startswith("Segment: ")
        assert all("{value}" not in text for text in texts.values())

    def test_a_row_without_creation_date_abstains(self, world, trained: TrainedModel) -> None:
        bundle = read_bundle(trained.path)
        matrix = load_matrix(world[1], [column.name for column in needed_columns(bundle)])
        keys = matrix.keys.copy()
        keys.loc[0, "created_us"] = np.nan
        rows = predict_matrix(bundle, Matrix(matrix.frame, keys, matrix.columns)).to_pylist()
        assert rows[0]["win_probability"] is None
        assert rows[0]["abstain_reason"] == NO_CREATION
        assert rows[0]["evidence_level"] == "rules"
        assert rows[0]["reasons_up"] == []
        assert rows[1]["win_probability"] is not None

    def test_no_rows_give_no_predictions(self, world, trained: TrainedModel) -> None:
        bundle = read_bundle(trained.path)
        matrix = load_matrix(world[1], [column.name for column in needed_columns(bundle)])
        assert predict_matrix(bundle, matrix.take(np.zeros(0, dtype=np.int64))).num_rows == 0


def _with_outcomes(frames: Frames, won: int, lost: int, folder: Path) -> Frames:
    """Only so many of the closed opportunities, the first ones of either outcome; the others never were."""
    outcomes = read_table(frames.outcomes)
    is_won = outcomes.column("is_won").to_pylist()
    kept: list[int] = []
    left = {True: won, False: lost}
    for row, outcome in enumerate(is_won):
        if outcome is None or left[outcome] > 0:
            kept.append(row)
            left |= {} if outcome is None else {outcome: left[outcome] - 1}
    chosen = outcomes.take(kept)
    keep = pa.compute.is_in(read_table(frames.spine).column("opportunity_id"), chosen.column("opportunity_id"))

    def less(ref: TableRef, table: pa.Table) -> TableRef:
        return write_table(table, folder / "less" / Path(ref.path).name)

    return replace(
        frames,
        key=f"{frames.key}-{won}-{lost}",
        outcomes=less(frames.outcomes, chosen),
        spine=less(frames.spine, read_table(frames.spine).filter(keep)),
        features=less(frames.features, read_table(frames.features).filter(keep)),
    )


class TestLittleData:
    @pytest.mark.parametrize(
        ("won", "lost", "level"),
        [
            (0, 0, "rules"),
            (1, 0, "rates"),
            (0, 1, "rates"),
            (4, 6, "rates"),
            (40, 40, "small_model"),
            (200, 200, "full_model"),
            (60, 0, "rates"),
            (0, 60, "rates"),
        ],
    )
    def test_the_evidence_ladder(self, tmp_path: Path, won: int, lost: int, level: str) -> None:
        """Every rung gives probabilities with an interval that narrows with the evidence, and says what it rests on."""
        frames = _with_outcomes(make_frames(tmp_path / "t", opportunities=700, signal=3.0, seed=4), won, lost, tmp_path)
        model = _train(frames, tmp_path)
        table = predict(model.path, make_frames(tmp_path / "s", opportunities=60, purpose="scoring", seed=5))
        rows = table.to_pylist()
        allowed = {level, "rates"} if level.endswith("model") else {level}
        assert {row["evidence_level"] for row in rows} <= allowed
        assert model.card["win"]["evidence_level"] in allowed
        for row in rows:
            assert row["abstain_reason"] is None
            assert 0 < row["win_probability_low"] < row["win_probability"] < row["win_probability_high"] < 1
        width = np.mean([row["win_probability_high"] - row["win_probability_low"] for row in rows])
        assert (width > 0.3) == (won + lost <= 10)

    def test_one_outcome_only_pulls_the_rate_towards_it(self, tmp_path: Path) -> None:
        means = []
        for won, lost in ((0, 30), (0, 0), (30, 0)):
            folder = tmp_path / f"{won}-{lost}"
            frames = _with_outcomes(make_frames(folder / "t", opportunities=200, seed=4), won, lost, folder)
            model = _train(frames, folder)
            rows = predict(model.path, make_frames(folder / "s", opportunities=60, purpose="scoring")).to_pylist()
            means.append(np.mean([row["win_probability"] for row in rows]))
        assert means[0] < 0.1 < means[1] < 0.5 < means[2]

    def test_rules_give_no_reasons(self, tmp_path: Path) -> None:
        frames = _with_outcomes(make_frames(tmp_path / "t", opportunities=60), 0, 0, tmp_path)
        model = _train(frames, tmp_path)
        rows = predict(model.path, make_frames(tmp_path / "s", opportunities=60, purpose="scoring")).to_pylist()
        assert "documented rules" in model.card["win"]["why"]
        assert not any(row["reasons_up"] or row["reasons_down"] for row in rows)

    def test_without_signal_it_says_no_skill(self, tmp_path: Path) -> None:
        frames = make_frames(tmp_path / "t", opportunities=700, signal=0.0, seed=9)
        model = _train(frames, tmp_path)
        assert model.card["win"]["has_skill"] is False
        assert model.card["win"]["evidence_level"] == "rates"
        assert any("No skill" in statement for statement in model.card["statements"])
        p = _column(
            predict(model.path, make_frames(tmp_path / "s", opportunities=700, signal=0.0, seed=9, purpose="scoring")),
            "win_probability",
        )
        assert p.std() < 0.1

    def test_creation_landmarks_alone_are_enough(self, tmp_path: Path) -> None:
        frames = make_frames(tmp_path / "t", opportunities=700, has_history=False)
        model = _train(frames, tmp_path)
        assert model.card["win"]["choice"] != "stage_rate"
        assert model.card["splits"]["time_ordered"]

    def test_without_dates_the_random_folds_are_said_loudly(self, tmp_path: Path) -> None:
        frames = make_frames(tmp_path / "t", opportunities=500, has_history=False, dated=False)
        model = _train(frames, tmp_path)
        assert "RANDOM" in model.card["statements"][0]
        rows = predict(
            model.path,
            make_frames(tmp_path / "s", opportunities=500, has_history=False, dated=False, purpose="scoring"),
        ).to_pylist()
        assert rows[0]["win_probability"] is not None
        assert rows[0]["predicted_close_date"] is None
        assert rows[0]["win_probability_30d"] is None


class TestBundle:
    def test_changed_files_are_refused(self, trained: TrainedModel, tmp_path: Path) -> None:
        copy = tmp_path / trained.version
        copy.mkdir()
        content = json.loads((trained.path / "model.json").read_text())
        content["win"]["estimator"]["intercept"] += 1
        (copy / "model.json").write_text(json.dumps(content))
        with pytest.raises(EnvironmentProblem, match="changed"):
            read_bundle(copy)

    def test_a_missing_bundle_says_so(self, tmp_path: Path) -> None:
        with pytest.raises(EnvironmentProblem, match="no model there"):
            read_bundle(tmp_path)


class TestPromotion:
    def test_the_first_model_is_promoted(self, trained: TrainedModel, world) -> None:
        assert decide(trained, None, world[0], QUICK).is_promoted

    def test_a_better_recipe_takes_the_place_of_a_worse_one(self, trained: TrainedModel, world, tmp_path: Path) -> None:
        worse = _train(world[0], tmp_path, QUICK.model_copy(update={"win_families": ("base_rate", "stage_rate")}))
        up = decide(trained, worse.path, world[0], QUICK)
        assert up.is_promoted
        assert up.gain is not None
        assert up.gain > 0
        down = decide(worse, trained.path, world[0], QUICK)
        assert not down.is_promoted
        assert down.gain == pytest.approx(-up.gain, abs=0.02)

    def test_the_same_recipe_on_newer_data_is_promoted(self, trained: TrainedModel, world) -> None:
        assert decide(replace(trained, version="other"), trained.path, world[0], QUICK).is_promoted


def test_importing_the_models_loads_no_tracker() -> None:
    modules = "train, predict, promotion, backtest, store, params"
    code = (
        "import importlib, sys\n"
        f"for name in '{modules}'.split(', '): importlib.import_module('sales_pipeline.models.' + name)\n"
        "print([m for m in ('mlflow', 'dagster', 'great_expectations', 'pyspark', 'matplotlib', 'lightgbm') if m in sys.modules])"
    )
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert result.stdout.strip() == "[]"
