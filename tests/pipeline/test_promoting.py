"""`compare`, `promote`, `rollback` and `feature-rows` on a lake with three registered models, and the champion behind a model server."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest

from dagster_project.arrivals import has_champion
from dagster_project.io_managers import RefIOManager, to_data
from dagster_project.opening import LakeResource, open_store
from dagster_project.promoting import present_champion, usable_champion
from sales_pipeline.adapters.mlflow_store import MlflowStore
from sales_pipeline.errors import EnvironmentProblem
from sales_pipeline.features.build import FeatureSet
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.lock import lake_lock
from sales_pipeline.lake.runs import publish_run, write_run
from sales_pipeline.lake.tables import TableRef, read_table, write_table
from sales_pipeline.models import feature_contract
from sales_pipeline.models.bundle import Bundle, read_bundle, write_bundle
from sales_pipeline.models.calibration import Calibrator
from sales_pipeline.models.params import TrainingParams
from sales_pipeline.models.predict import predict
from sales_pipeline.models.train import TrainedModel, train
from sales_pipeline.models.win import Recipe
from sales_pipeline.settings import Settings, load_settings
from tests.support.cli import IGNORED_WARNINGS, Outcome, call, write_config
from tests.support.frames import Frames, make_frames

pytestmark = [pytest.mark.filterwarnings(text) for text in IGNORED_WARNINGS]

TRAINING: dict[str, Any] = {
    "win_families": ["base_rate", "stage_rate", "logistic_regression"],
    "amount_families": ["median"],
    "bootstrap_rounds": 30,
}
RATES, MODEL, WEAK, FLAT = "1", "2", "3", "4"
"""Registry versions: stage rates, a logistic regression, one of two columns, and the first with a calibrator that gives all one probability."""


WEAK_COLUMNS = ("days_since_last_activity", "attribute:Segment__c")


@dataclass(frozen=True)
class Place:
    """The lake under test."""

    config: Path
    settings: Settings
    frames: Frames
    scoring: FeatureSet

    def run(self, *arguments: str) -> Outcome:
        return call(arguments[0], "-c", self.config, *arguments[1:])

    @property
    def store(self) -> MlflowStore:
        return open_store(self.settings)

    @property
    def champion(self) -> str:
        found = self.store.champion(self.frames.as_of)
        assert found is not None
        return found.registry_version


def feature_set(frames: Frames, purpose: Any) -> FeatureSet:
    return FeatureSet(
        key=frames.key,
        as_of=frames.as_of,
        purpose=purpose,
        mode="grid" if purpose == "training" else "scoring",
        spine=frames.spine,
        features=frames.features,
        attributes=frames.attributes,
        outcomes=frames.outcomes,
        absent={},
        has_history=True,
        versioned=("stage",),
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("promoting")
    config = write_config(folder, mapping={"dialect": "salesforce"}, training=TRAINING)
    settings = load_settings(config)
    lake = Lake(settings.lake)
    frames = make_frames(lake.root / "training", opportunities=500, signal=2.5)
    scoring = feature_set(
        make_frames(lake.root / "scoring", opportunities=500, signal=2.5, purpose="scoring"), "scoring"
    )
    day = frames.as_of.day(settings.time_zone).isoformat()
    refs = RefIOManager(LakeResource(settings).refs)
    for name, value in (("training_features", feature_set(frames, "training")), ("scoring_features", scoring)):
        path = refs.path(dg.AssetKey(name), day)
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(to_data(value)), encoding="utf-8")
    store = replace(open_store(settings), wants_figures=False)

    def fitted(ledger: TableRef, recipe: Recipe | None = None) -> TrainedModel:
        params = TrainingParams(**TRAINING)
        return train(feature_set(frames, "training"), ledger, params, models=lake.models, recorder=store, recipe=recipe)

    model = fitted(frames.ledger)
    rates = fitted(frames.ledger, Recipe("stage_rate"))
    used = [row | {"is_used": row["column"] in WEAK_COLUMNS} for row in read_table(frames.ledger).to_pylist()]
    weak = fitted(
        write_table(pa.Table.from_pylist(used), lake.root / "weak.parquet"), Recipe("logistic_regression", {"C": 1.0})
    )
    flat = flattened(read_bundle(model.path), lake.models)
    for bundle, card, run_id in (
        (rates.path, rates.card, rates.run_id),
        (model.path, model.card, model.run_id),
        (weak.path, weak.card, weak.run_id),
        (flat.path, flat.card, None),
    ):
        store.register(bundle, card, as_of=frames.as_of, run_id=run_id)
    entries = {"as_of": frames.as_of.isoformat(), "model": {"name": store.model_name, "version": model.version}}
    write_run(lake, "run-1", lambda _: entries)
    publish_run(lake, "run-1")
    return Place(config, settings, frames, scoring)


def flattened(bundle: Bundle, models: Path) -> Bundle:
    assert bundle.win is not None
    win = replace(bundle.win, calibrator=Calibrator(slope=0.0, intercept=-0.4))
    parts = {"abstain_reason": None, "timing": bundle.timing, "amount": bundle.amount, "card": bundle.card}
    return write_bundle(models, win=win, **parts)


@pytest.fixture
def place(built: Place) -> Iterator[Place]:
    """The lake with the rates as champion and no other line in the story."""
    store = built.store
    for version in (RATES, MODEL, WEAK, FLAT):
        store._client.set_model_version_tag(store.model_name, version, "promotions", "[]")
    store.promote(store.find(RATES), as_of=built.frames.as_of, reason="first model")
    store._client.set_registered_model_alias(store.model_name, "challenger", MODEL)
    return built


def test_compare_puts_both_side_by_side_and_changes_nothing(place: Place) -> None:
    shown = place.run("compare").done()
    for words in (
        "stage_rate",
        "logistic_regression",
        "log_loss",
        "calibration_error",
        "stage",
        "the challenger passes",
    ):
        assert words in shown.out
    found = place.run("compare", "--json").done().json
    assert found["champion"]["registry_version"] == RATES
    assert found["challenger"]["registry_version"] == MODEL
    assert found["figures"]["challenger"]["rows"] == found["figures"]["champion"]["rows"]
    assert found["figures"]["gain_low"] > 0
    assert {row["kind"] for row in found["segments"]} >= {"stage", "amount_band"}
    assert place.champion == RATES


def test_compare_the_other_way_round_does_not_pass(place: Place) -> None:
    assert "does not pass" in place.run("compare", MODEL, RATES).done().out


def test_compare_on_past_dates_fits_both_recipes_again(place: Place) -> None:
    found = place.run("compare", "--dates", "2", "--json").done().json
    assert "fitted at 2 past dates" in found["champion"]["scored"]
    assert found["figures"]["gain"] > 0
    assert found["rows_from"] < found["rows_to"] < place.frames.as_of.isoformat()


def test_promote_says_what_changed_and_the_registry_keeps_why(place: Place) -> None:
    shown = place.run("promote", "challenger", "--reason", "asked for by the sales office").done()
    for words in (f"version {MODEL}", f"version {RATES}", "asked for by the sales office", "mlflow.db", "/#/models/"):
        assert words in shown.out
    assert place.champion == MODEL
    entry = place.store._client.get_model_version("win-probability", MODEL)
    assert entry.tags["verdict"] == "promoted"
    assert entry.tags["compared_with"] == RATES
    assert json.loads(entry.tags["verdict_figures"])["gain"] > 0
    assert "better: log loss lower by" in entry.description
    assert "(promote): asked for by the sales office" in entry.description
    assert place.store._client.get_model_version_by_alias("win-probability", "champion").version == int(MODEL)


def test_promoting_the_champion_again_changes_nothing(place: Place) -> None:
    assert "nothing changed" in place.run("promote", RATES).done().out
    assert len(place.store.story()) == 1


def test_a_worse_model_is_refused_and_promoted_only_by_force(place: Place) -> None:
    place.run("promote", MODEL).done()
    place.run("promote", WEAK).refused(4, "was not promoted", "worse: log loss higher by", "--force")
    assert place.champion == MODEL
    forced = place.run("promote", WEAK, "--force", "--reason", "the others are under review", "--json").done().json
    assert forced["verdict"]["is_promoted"] is False
    assert forced["reason"] == "forced: the others are under review"
    assert place.champion == WEAK


@pytest.mark.parametrize("force", [(), ("--force",)])
def test_a_constant_model_is_refused_even_by_force(place: Place, force: tuple[str, ...]) -> None:
    place.run("promote", FLAT, *force).refused(4, "was not promoted", "one probability")
    assert place.champion == RATES


def test_rollback_goes_back_and_the_story_stays(place: Place) -> None:
    place.run("promote", MODEL).done()
    shown = place.run("rollback", "--reason", "complaints").done()
    assert f"champion: version {RATES}" in shown.out
    assert place.champion == RATES
    assert [(line.version, line.action) for line in place.store.story()] == [
        (RATES, "training"),
        (MODEL, "promote"),
        (RATES, "rollback"),
    ]
    assert place.store.story()[-1].reason == "complaints"
    place.run("rollback").refused(2, "no earlier champion")


def test_a_day_before_the_change_keeps_its_champion(place: Place) -> None:
    from datetime import timedelta

    from sales_pipeline.domain.time import AsOf

    later = AsOf(place.frames.as_of.instant + timedelta(days=7))
    place.store.promote(place.store.find(MODEL), as_of=later, reason="next week")
    assert place.champion == RATES
    found = place.store.champion(later)
    assert found is not None
    assert found.registry_version == MODEL


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("compare", "champion", "champion"), "one model, not two"),
        (("compare", "champion", "9"), "no model is called 9"),
        (("promote", "abcdef"), "no model is called abcdef"),
    ],
)
def test_unknown_models_are_told_with_those_there_are(place: Place, arguments: tuple[str, ...], words: str) -> None:
    place.run(*arguments).refused(2, words)


def test_a_content_versions_beginning_names_a_model(place: Place) -> None:
    content = place.store.find(MODEL).version
    assert place.store.find(content[:8]).registry_version == MODEL


def test_while_a_run_holds_the_lake_nothing_is_promoted(place: Place) -> None:
    with lake_lock(place.settings.lake):
        place.run("promote", MODEL).refused(7, "another run holds the lake")
        place.run("rollback").refused(7, "another run holds the lake")
    assert place.champion == RATES


def test_an_empty_registry_is_told(place: Place, tmp_path: Path) -> None:
    other = {"lake": str(place.settings.lake), "tracking": {"model_name": "nothing-yet"}}
    config = write_config(tmp_path, mapping={"dialect": "salesforce"}, **other)
    call("compare", "-c", config).refused(2, "no model was promoted yet", "sales-pipeline train")
    call("promote", "1", "-c", config).refused(2, "none is registered yet")
    call("rollback", "-c", config).refused(2, "no champion")


def test_feature_rows_need_a_published_run(tmp_path: Path) -> None:
    call("feature-rows", "-c", write_config(tmp_path, mapping={"dialect": "salesforce"})).refused(2)


def test_without_the_days_features_a_comparison_says_what_to_do(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RefIOManager, "path", lambda *_: place.settings.lake / "nowhere.json")
    place.run("compare").refused(2, "training_features has not been made")
    place.run("promote", MODEL).refused(4, "cannot be compared", "--force")
    forced = place.run("promote", MODEL, "--force").done()
    assert "forced" in forced.out
    assert place.champion == MODEL


class TestChampionThatCannotBeUsed:
    """Scoring then trains first, as with no champion at all; commands say what is wrong."""

    @pytest.fixture
    def day(self, place: Place) -> date:
        return place.frames.as_of.day(place.settings.time_zone)

    def test_one_that_can_be_used_is_used(self, place: Place, day: date) -> None:
        assert has_champion(place.settings, day)
        assert present_champion(place.store, place.frames.as_of).problem == ""

    def test_features_that_are_no_more(self, place: Place, day: date, monkeypatch: pytest.MonkeyPatch) -> None:
        place.run("promote", MODEL).done()
        kept = tuple(feature for feature in feature_contract.FEATURES if feature.name != "age_days")
        monkeypatch.setattr(feature_contract, "FEATURES", kept)
        assert not has_champion(place.settings, day)
        assert "age_days is no feature any more" in present_champion(place.store, place.frames.as_of).problem
        place.run("compare", RATES, MODEL).refused(6, "age_days is no feature any more", "sales-pipeline train")
        with pytest.raises(EnvironmentProblem, match="train again"):
            usable_champion(place.store, place.frames.as_of)

    def test_files_that_are_gone_from_lake_and_registry(
        self, place: Place, day: date, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import mlflow

        def gone(*_: Any, **__: Any) -> str:
            raise mlflow.exceptions.MlflowException("No such artifact: model")

        monkeypatch.setattr(mlflow.artifacts, "download_artifacts", gone)
        store = replace(place.store, models=tmp_path / "models")
        assert present_champion(store, place.frames.as_of).ref is None
        assert "files are gone" in present_champion(store, place.frames.as_of).problem
        place.settings.lake.joinpath("models").rename(place.settings.lake / "elsewhere")
        try:
            assert not has_champion(place.settings, day)
            place.run("compare").refused(6, "files are gone", "train again")
        finally:
            place.settings.lake.joinpath("elsewhere").rename(place.settings.lake / "models")


@pytest.mark.slow
def test_a_model_server_scores_the_written_feature_rows_as_the_run_did(place: Place, tmp_path: Path) -> None:
    """In a fresh process that knows the registry's address alone: `mlflow models predict` on our CSV."""
    place.run("promote", MODEL).done()
    rows, answer = tmp_path / "rows.csv", tmp_path / "answer.json"
    shown = place.run("feature-rows", "-o", str(rows)).done()
    assert "models:/win-probability@champion" in shown.out
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    environment |= {"MLFLOW_TRACKING_URI": place.store.tracking_uri, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    command = ("models", "predict", "-m", "models:/win-probability@champion", "-i", str(rows), "-t", "csv")
    done = subprocess.run(
        [sys.executable, "-m", "mlflow", *command, "-o", str(answer), "--env-manager", "local"],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    got = json.loads(answer.read_text(encoding="utf-8"))
    got = got["predictions"] if isinstance(got, dict) else got
    model = place.store.find(MODEL)
    expected = predict(model.path, place.scoring).to_pylist()
    assert [row["opportunity_id"] for row in got] == [row["opportunity_id"] for row in expected]
    for name in ("win_probability", "win_probability_low", "expected_amount", "slip_probability"):
        assert [row[name] for row in got] == pytest.approx([row[name] for row in expected], rel=1e-6, nan_ok=True)
