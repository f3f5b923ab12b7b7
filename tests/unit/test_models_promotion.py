"""The rule of promotion on arrays, the registry's story, the feature contract, and decisions on bundles."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from sales_pipeline.domain.time import AsOf
from sales_pipeline.errors import EnvironmentProblem
from sales_pipeline.models import feature_contract
from sales_pipeline.models.bundle import read_bundle, write_bundle
from sales_pipeline.models.calibration import Calibrator
from sales_pipeline.models.feature_contract import contract_differences, require_contract
from sales_pipeline.models.matrix import load_matrix
from sales_pipeline.models.paired_replay import Contestant, paired_replay
from sales_pipeline.models.params import TrainingParams
from sales_pipeline.models.predict import needed_columns
from sales_pipeline.models.promotion import Decision, compare, decide
from sales_pipeline.models.registry import Promotion, before_the_last, in_force
from sales_pipeline.models.store import NullRecorder
from sales_pipeline.models.train import TrainedModel, train
from sales_pipeline.models.verdict import Verdict, verdict
from sales_pipeline.models.win import Recipe
from tests.support.frames import Frames, make_frames

PARAMS = TrainingParams(bootstrap_rounds=60)
ROWS = 4000


def expit(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


@pytest.fixture(scope="module")
def rows() -> dict[str, np.ndarray]:
    random = np.random.default_rng(3)
    index = random.normal(size=ROWS)
    true = expit(1.5 * index - 0.4)
    return {
        "true": true,
        "blurred": expit(0.9 * (index + 0.9 * random.normal(size=ROWS)) - 0.4),
        "won": (random.uniform(size=ROWS) < true).astype(float),
        "groups": np.array([f"account {i % 800}" for i in range(ROWS)], dtype=object),
        "stage": np.array(["Proposal" if i % 3 else "Negotiation" for i in range(ROWS)], dtype=object),
    }


def judged(rows: dict[str, np.ndarray], champion: np.ndarray | None, challenger: np.ndarray, **more: object) -> Verdict:
    weight = more.pop("weight", np.ones(ROWS))
    return verdict(champion, challenger, rows["won"], weight, rows["groups"], {"stage": rows["stage"]}, PARAMS, **more)  # type: ignore[arg-type]


class TestVerdict:
    def test_a_better_model_passes_and_the_reverse_does_not(self, rows) -> None:
        up, down = judged(rows, rows["blurred"], rows["true"]), judged(rows, rows["true"], rows["blurred"])
        assert up.is_promoted
        assert up.objections == ()
        assert 0 < up.figures["gain_low"] < up.figures["gain"] < up.figures["gain_high"]
        assert not down.is_promoted
        assert down.figures["gain"] == pytest.approx(-up.figures["gain"])
        assert any(reason.startswith("worse:") for reason in down.objections)

    @pytest.mark.parametrize("must_gain", [True, False])
    @pytest.mark.parametrize("level", ["won", 0.01, 0.99])
    def test_a_constant_model_never_passes(self, rows, must_gain: bool, level: object) -> None:
        rate = float(rows["won"].mean()) if level == "won" else float(level)  # type: ignore[arg-type]
        for champion in (rows["blurred"], 1 - rows["true"], np.full(ROWS, 0.001), None):
            found = judged(rows, champion, np.full(ROWS, rate), must_gain=must_gain)
            assert not found.is_promoted
            assert found.is_constant

    def test_a_constant_with_a_little_noise_does_not_pass_either(self, rows) -> None:
        random = np.random.default_rng(5)
        noisy = expit(np.log(rows["won"].mean() / (1 - rows["won"].mean())) + 0.02 * random.normal(size=ROWS))
        found = judged(rows, np.full(ROWS, 0.05), noisy, must_gain=False)
        assert not found.is_promoted
        assert "does not tell opportunities apart" in found.objections[0]

    def test_equal_models_pass_only_where_none_must_be_better(self, rows) -> None:
        assert not judged(rows, rows["true"], rows["true"]).is_promoted
        assert judged(rows, rows["true"], rows["true"], must_gain=False).is_promoted

    def test_worse_calibration_is_an_objection_though_the_loss_is_lower(self, rows) -> None:
        over = expit(1.45 * np.log(rows["true"] / (1 - rows["true"])))
        found = judged(rows, rows["blurred"], over)
        assert found.figures["gain_low"] > 0
        assert [reason[:20] for reason in found.objections] == ["calibration is worse"]

    def test_a_main_segment_clearly_worse_is_an_objection(self, rows) -> None:
        is_hit = rows["stage"] == "Negotiation"
        hit = np.where(is_hit, rows["blurred"], rows["true"])
        champion = np.where(is_hit, rows["true"], 0.5 + 0.4 * (rows["blurred"] - 0.5))
        found = judged(rows, champion, hit)
        assert found.figures["gain_low"] > 0
        assert any("clearly worse in 1 of 2 main segments: stage Negotiation" in text for text in found.objections)
        assert [row["segment"] for row in found.segments if row["is_worse"]] == ["Negotiation"]

    def test_a_small_segment_is_shown_and_does_not_object(self, rows) -> None:
        stage = rows["stage"].copy()
        stage[:80] = "Rare"
        mixed = np.where(stage == "Rare", 1 - rows["true"], rows["true"])
        found = judged({**rows, "stage": stage}, rows["blurred"], mixed)
        rare = next(row for row in found.segments if row["segment"] == "Rare")
        assert rare["gain"] < -0.1
        assert not rare["is_main"]
        assert found.is_promoted

    def test_weights_count(self, rows) -> None:
        late = np.arange(ROWS) % 2 == 0
        mixed = np.where(late, rows["true"], 1 - rows["true"])
        assert judged(rows, rows["blurred"], mixed, weight=late.astype(float)).is_promoted
        assert not judged(rows, rows["blurred"], mixed, weight=(~late).astype(float)).is_promoted

    def test_abstentions_and_open_rows_are_left_out(self, rows) -> None:
        champion, won = rows["blurred"].copy(), rows["won"].copy()
        champion[:100], won[100:300] = np.nan, np.nan
        found = judged({**rows, "won": won}, champion, rows["true"])
        assert (found.figures["rows"], found.figures["rows_left_out"]) == (ROWS - 300, 300)
        assert np.isfinite(found.figures["gain"])

    @pytest.mark.parametrize("size", [0, 1, 9])
    def test_too_few_rows_are_not_judged(self, rows, size: int) -> None:
        part = {name: values[:size] for name, values in rows.items()}
        found = verdict(part["blurred"], part["true"], part["won"], np.ones(size), part["groups"], {}, PARAMS)
        assert not found.is_promoted
        assert "too little" in found.reason

    def test_one_kind_of_outcome_is_not_judged(self, rows) -> None:
        found = judged({**rows, "won": np.ones(ROWS)}, rows["blurred"], rows["true"])
        assert not found.is_promoted

    def test_equal_inputs_give_equal_verdicts_in_json(self, rows) -> None:
        first, second = (judged(rows, rows["blurred"], rows["true"]) for _ in range(2))
        assert json.dumps(first.to_dict(), sort_keys=True, allow_nan=False) == json.dumps(
            second.to_dict(), sort_keys=True, allow_nan=False
        )


def line(version: str, day: int, number: int, action: str = "training") -> Promotion:
    return Promotion(version, AsOf(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=day)), number, action, "")  # type: ignore[arg-type]


class TestStory:
    def test_a_past_day_finds_its_champion(self) -> None:
        story = [line("1", 0, 1), line("2", 7, 2)]
        assert in_force(story, line("", 3, 0).as_of).version == "1"  # type: ignore[union-attr]
        assert in_force(story, line("", 7, 0).as_of).version == "2"  # type: ignore[union-attr]
        assert in_force(story, line("", -1, 0).as_of) is None
        assert in_force(story, is_eligible=lambda version: version != "2").version == "1"  # type: ignore[union-attr]

    def test_a_rollback_of_the_same_day_holds(self) -> None:
        story = [line("1", 0, 1), line("2", 7, 2), line("1", 7, 3, "rollback")]
        assert in_force(story).version == "1"  # type: ignore[union-attr]

    def test_two_rollbacks_go_back_two_versions(self) -> None:
        story = [line("1", 0, 1), line("2", 1, 2), line("3", 2, 3)]
        assert before_the_last(story).version == "2"  # type: ignore[union-attr]
        story.append(line("2", 2, 4, "rollback"))
        assert before_the_last(story).version == "1"  # type: ignore[union-attr]
        story.append(line("1", 2, 5, "rollback"))
        assert before_the_last(story) is None

    def test_after_a_rollback_a_new_champion_goes_back_to_the_one_it_replaced(self) -> None:
        story = [line("1", 0, 1), line("2", 1, 2), line("1", 1, 3, "rollback"), line("3", 4, 4)]
        assert before_the_last(story).version == "1"  # type: ignore[union-attr]

    def test_a_version_promoted_again_counts_once(self) -> None:
        assert before_the_last([line("1", 0, 1), line("1", 7, 2)]) is None

    def test_a_training_of_an_older_day_does_not_take_the_newest_days_place(self) -> None:
        assert in_force([line("1", 9, 1), line("2", 3, 2)]).version == "1"  # type: ignore[union-attr]

    def test_lines_written_before_they_were_counted_are_read(self) -> None:
        old = Promotion.from_data("4", "2026-01-08T00:00:00Z")
        assert (old.version, old.as_of, old.number, old.action) == ("4", line("", 7, 0).as_of, 0, "training")
        assert Promotion.from_data("4", line("4", 7, 3, "rollback").to_dict()) == line("4", 7, 3, "rollback")


QUICK = TrainingParams(
    win_families=("base_rate", "stage_rate", "logistic_regression"),
    amount_families=("median",),
    bootstrap_rounds=30,
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Frames, TrainedModel, TrainedModel, Path]:
    """A world, its model, and a model of stage rates alone."""
    folder = tmp_path_factory.mktemp("world")
    frames = make_frames(folder / "t", opportunities=700, signal=2.0)

    def fitted(params: TrainingParams) -> TrainedModel:
        return train(frames, frames.ledger, params, models=folder / "models", recorder=NullRecorder())

    rates = QUICK.model_copy(update={"win_families": ("base_rate", "stage_rate")})
    return frames, fitted(QUICK), fitted(rates), folder


class TestDecisions:
    def test_the_first_model_is_promoted_with_what_can_be_said_of_it(self, world) -> None:
        frames, model, _, _ = world
        found = decide(model, None, frames, QUICK)
        assert found.is_promoted
        assert found.verdict is not None
        assert "champion" not in found.verdict.figures
        assert {row["kind"] for row in found.verdict.segments} == {"stage", "amount_band"}

    def test_a_better_recipe_is_promoted_and_a_worse_one_is_not(self, world) -> None:
        frames, model, worse, _ = world
        up, down = decide(model, worse.path, frames, QUICK), decide(worse, model.path, frames, QUICK)
        assert up.is_promoted
        assert not down.is_promoted
        assert up.gain is not None
        assert up.gain > 0 > down.gain  # type: ignore[operator]

    def test_a_constant_model_does_not_take_a_models_place(self, world) -> None:
        frames, model, _, _ = world
        assert model.judged is not None
        constant = replace(
            model, version="constant", judged=replace(model.judged, probability=np.full(len(model.judged.won), 0.4))
        )
        found = decide(constant, model.path, frames, QUICK)
        assert not found.is_promoted
        assert found.verdict is not None
        assert found.verdict.is_constant

    def test_a_model_that_became_constant_in_the_last_fit_is_found_out(self, world) -> None:
        """Its recipe did well on the window; the model to be used is what counts."""
        frames, model, worse, folder = world
        bundle = read_bundle(model.path)
        assert bundle.win is not None
        win = replace(bundle.win, calibrator=Calibrator(slope=0.0, intercept=-0.4))
        flat = write_bundle(
            folder / "flat",
            win=win,
            abstain_reason=None,
            timing=bundle.timing,
            amount=bundle.amount,
            card=bundle.card,
        )
        found = decide(replace(model, version=flat.version, path=flat.path), worse.path, frames, QUICK)
        assert not found.is_promoted
        assert found.verdict is not None
        assert found.verdict.is_constant
        assert "as it stands" in found.reason

    def test_the_same_family_on_newer_data_need_only_not_be_worse(self, world) -> None:
        frames, model, _, _ = world
        found = decide(replace(model, version="newer"), model.path, frames, QUICK)
        assert found.is_promoted
        assert found.reason.startswith("the same family on newer data")

    def test_a_champion_trained_before_the_window_is_judged_as_it_is(self, world) -> None:
        frames, model, _, folder = world
        young = make_frames(folder / "young", opportunities=700, signal=2.0, days=420, horizon=720)
        old = train(young, young.ledger, QUICK, models=folder / "models", recorder=NullRecorder())
        found = compare(read_bundle(old.path), read_bundle(model.path), frames, QUICK)
        assert found.how[0].startswith("as it is")
        assert found.how[1].startswith("its recipe")
        assert found.rows_from > old.card["trained_through"][:10]
        assert found.verdict.figures["champion"]["rows"] == found.verdict.figures["challenger"]["rows"]

    def test_on_past_dates_both_recipes_see_only_what_was_known_then(self, world) -> None:
        frames, model, worse, _ = world
        bundles = [read_bundle(one.path) for one in (worse, model)]
        found = compare(bundles[0], bundles[1], frames, QUICK, dates=3)
        assert all(how.startswith("its recipe, fitted at 3 past dates") for how in found.how)
        assert found.verdict.figures["gain_low"] > 0
        assert found.rows_to < frames.as_of.isoformat()

    def test_what_comes_after_a_date_does_not_move_what_is_said_at_it(self, world) -> None:
        frames, model, _, _ = world
        bundle = read_bundle(model.path)
        columns = needed_columns(bundle)
        matrix = load_matrix(frames, [column.name for column in columns])
        one = Contestant(Recipe("logistic_regression", {"C": 1.0}), columns)
        as_of_us = frames.as_of.instant.timestamp() * 1e6
        first = paired_replay(matrix, as_of_us, (one, one), QUICK, dates=1)
        assert first is not None
        keys = matrix.keys.copy()
        later = keys["closed_us"].to_numpy() >= first.dates[0]
        keys.loc[later, "is_won"] = 1 - keys.loc[later, "is_won"]
        again = paired_replay(replace(matrix, keys=keys), as_of_us, (one, one), QUICK, dates=1)
        assert again is not None
        shared, here, there = np.intersect1d(first.rows, again.rows, return_indices=True)
        assert len(shared) > 20
        np.testing.assert_array_equal(first.probabilities[0][here], again.probabilities[0][there])
        assert not np.array_equal(first.won[here], again.won[there])

    def test_a_champion_whose_files_are_gone_is_replaced_and_it_is_said(self, world, tmp_path: Path) -> None:
        frames, model, _, _ = world
        found = decide(model, tmp_path / "gone", frames, QUICK)
        assert found.is_promoted
        assert "cannot be used any more (no model there" in found.reason

    def test_a_champion_of_other_features_is_replaced_and_it_is_said(self, world, monkeypatch) -> None:
        frames, model, worse, _ = world
        _without(monkeypatch, "age_days")
        found = decide(worse, model.path, frames, QUICK)
        assert found.is_promoted
        assert "age_days is no feature any more" in found.reason

    def test_a_decision_is_json(self, world) -> None:
        frames, model, worse, _ = world
        data = decide(model, worse.path, frames, QUICK).to_dict()
        assert json.loads(json.dumps(data, allow_nan=False)) == data
        assert Decision(True, "first model").to_dict()["verdict"] is None


def _without(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    kept = tuple(feature for feature in feature_contract.FEATURES if feature.name != name)
    monkeypatch.setattr(feature_contract, "FEATURES", kept)


class TestFeatureContract:
    def test_a_new_model_agrees_with_the_code(self, world) -> None:
        assert contract_differences(read_bundle(world[1].path)) == []

    @pytest.mark.parametrize(
        ("change", "says"),
        [({"type": "category"}, "age_days is a category, the model has learnt a number"), ({"unit": "hours"}, "hours")],
    )
    def test_another_type_or_unit_is_told(self, world, monkeypatch, change: dict[str, str], says: str) -> None:
        changed = tuple(
            replace(feature, **change) if feature.name == "age_days" else feature  # type: ignore[arg-type]
            for feature in feature_contract.FEATURES
        )
        monkeypatch.setattr(feature_contract, "FEATURES", changed)
        assert any(says in text for text in contract_differences(read_bundle(world[1].path)))

    def test_the_error_says_what_to_do(self, world, monkeypatch) -> None:
        _without(monkeypatch, "age_days")
        with pytest.raises(EnvironmentProblem, match="train again") as problem:
            require_contract(read_bundle(world[1].path))
        assert "age_days is no feature any more" in str(problem.value)

    def test_models_of_other_features_are_not_compared(self, world, monkeypatch) -> None:
        frames, model, worse, _ = world
        _without(monkeypatch, "age_days")
        with pytest.raises(EnvironmentProblem, match="features are not those"):
            compare(read_bundle(model.path), read_bundle(worse.path), frames, QUICK)
