"""Experiments and registry in MLflow, on a database in a temporary folder."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

from sales_pipeline.adapters.mlflow_run import address, load_mlflow, make_database
from sales_pipeline.adapters.mlflow_store import MlflowStore
from sales_pipeline.domain.time import AsOf
from sales_pipeline.models.flat import fit_flat
from sales_pipeline.models.metrics import WIN_KEYS
from sales_pipeline.models.params import TrainingParams
from sales_pipeline.models.predict import predict
from sales_pipeline.models.promotion import decide
from sales_pipeline.models.recording import record_decision
from sales_pipeline.models.train import TrainedModel, train
from tests.support.frames import Frames, make_frames

# MLflow and the libraries under it warn of their own future; nothing here can mend that.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred:UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

PARAMS = TrainingParams(
    win_families=("base_rate", "gradient_boosting"),
    amount_families=("median", "crm_amount"),
    noise_z=0.0,
    boosting_rounds=40,
    bootstrap_rounds=20,
)


@pytest.fixture(scope="module")
def recorded(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[MlflowStore, Frames, TrainedModel, Path]]:
    folder = tmp_path_factory.mktemp("mlflow")
    store = MlflowStore(folder / "_mlflow", folder / "models", tags={"team": "sales"})
    frames = make_frames(folder / "t", opportunities=900, signal=2.5)
    trained = train(
        frames, frames.ledger, PARAMS, models=folder / "models", recorder=store, tags={"dagster/run_id": "run-1"}
    )
    yield store, frames, trained, folder


def test_the_database_is_the_one_mlflow_makes_itself(tmp_path: Path) -> None:
    def tables(path: Path) -> dict[str, list[str]]:
        """By name its columns and constraints in order of their text: migrations keep constraints in a set, whose order differs."""
        with closing(sqlite3.connect(path)) as file:
            made = file.execute("SELECT name, sql FROM sqlite_master").fetchall()
        return {name: sorted(line.strip(" \t,") for line in (sql or "").splitlines()) for name, sql in made}

    make_database(tmp_path / "ours.db")
    load_mlflow().MlflowClient(f"sqlite:///{tmp_path / 'theirs.db'}").search_experiments()
    assert tables(tmp_path / "ours.db") == tables(tmp_path / "theirs.db")
    written = (tmp_path / "ours.db").read_bytes()
    make_database(tmp_path / "ours.db")
    assert (tmp_path / "ours.db").read_bytes() == written


def _children(store: MlflowStore, parent: str) -> list:
    return store._client.search_runs([store._experiment_id], f"tags.`mlflow.parentRunId` = '{parent}'")


def test_one_parent_with_one_child_per_candidate(recorded) -> None:
    store, _, trained, _ = recorded
    parent = store._client.get_run(trained.run_id)
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["dagster/run_id"] == "run-1"
    assert parent.data.tags["team"] == "sales"
    assert parent.data.tags["model_version"] == trained.version
    children = _children(store, trained.run_id)
    assert {run.info.run_name for run in children} == {
        *("win base_rate", "win gradient_boosting", "amount median", "amount crm_amount")
    }
    for run in children:
        keys = set(WIN_KEYS) if run.data.tags["task"] == "win" else {"mae", "mse", "rmse", "r2"}
        assert keys <= set(run.data.metrics)
        assert {f"validation_{key}" for key in keys} <= set(run.data.metrics)


def test_figures_of_the_parent_are_those_of_the_card(recorded) -> None:
    store, _, trained, _ = recorded
    metrics = store._client.get_run(trained.run_id).data.metrics
    assert metrics["log_loss"] == pytest.approx(trained.card["win"]["test"]["log_loss"])


def test_the_data_set_is_logged_with_its_digest(recorded) -> None:
    store, frames, trained, _ = recorded
    inputs = store._client.get_run(trained.run_id).inputs.dataset_inputs
    assert [item.dataset.digest for item in inputs] == [frames.key]


def test_tables_pictures_and_card_are_artifacts(recorded) -> None:
    store, _, trained, _ = recorded
    names = {item.path for item in store._client.list_artifacts(trained.run_id)}
    assert {"candidates.json", "leak_ledger.json", "model_card.json", "curves_candidates.png"} <= names
    path = Path(store._client.download_artifacts(trained.run_id, "model_card.json"))
    assert json.loads(path.read_text())["win"]["choice"] == trained.card["win"]["choice"]


def test_every_run_names_the_data_set_and_shows_its_curves(recorded) -> None:
    store, frames, trained, _ = recorded
    for run in _children(store, trained.run_id):
        full = store._client.get_run(run.info.run_id)
        assert [item.dataset.digest for item in full.inputs.dataset_inputs] == [frames.key]
        names = {item.path for item in store._client.list_artifacts(run.info.run_id)}
        assert ({"curves.png", "calibration.json"} <= names) == (run.data.tags["task"] == "win")


def test_parent_and_children_can_be_compared(recorded) -> None:
    store, _, trained, _ = recorded
    parent = set(store._client.get_run(trained.run_id).data.metrics)
    for run in _children(store, trained.run_id):
        keys = WIN_KEYS if run.data.tags["task"] == "win" else ("mae", "mse", "rmse", "r2")
        assert set(keys) <= parent
    assert {"log_loss_low", "log_loss_high", "validation_log_loss"} <= parent


def test_a_decision_is_added_to_the_training(recorded) -> None:
    store, frames, trained, _ = recorded
    decision = decide(trained, None, frames, PARAMS)
    record_decision(store.recorded(trained.run_id), decision, {"model_card.html": "<html></html>"})
    run = store._client.get_run(trained.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["is_promoted"] == "true"
    names = {item.path for item in store._client.list_artifacts(trained.run_id)}
    assert {"verdict.json", "segments.json", "comparison.json", "model_card.html", "candidates.json"} <= names
    listed = [item["path"] for item in json.loads(run.data.tags["mlflow.loggedArtifacts"])]
    assert len(listed) == len(set(listed))
    path = Path(store._client.download_artifacts(trained.run_id, "segments.json"))
    assert {"kind", "segment", "win_rate", "log_loss"} <= set(json.loads(path.read_text())["columns"])


def test_the_signature_says_types_and_what_may_be_missing(recorded) -> None:
    store, frames, trained, _ = recorded
    store = replace(store, model_name="signed")
    store.register(trained.path, trained.card, as_of=frames.as_of, run_id=trained.run_id)
    source = store._client.get_model_version("signed", "1").source
    with address(load_mlflow(), store.tracking_uri):
        schema = load_mlflow().models.get_model_info(source).signature.inputs
    kinds = {column.name: str(column.type) for column in schema.inputs}
    assert kinds["attribute:Segment__c"] == kinds["stage"] == "DataType.string"
    assert kinds["age_days"] == "DataType.double"
    assert {column.name for column in schema.inputs if column.required} == {"opportunity_id", "as_of"}


def test_registry_champion_by_day_and_rollback(recorded, tmp_path: Path) -> None:
    store, frames, trained, _ = recorded
    store = replace(store, model_name="by-day")
    as_of = frames.as_of
    later, before = AsOf(as_of.instant + timedelta(days=7)), AsOf(as_of.instant - timedelta(days=1))
    assert store.champion(later) is None
    ref = store.register(trained.path, trained.card, as_of=as_of, run_id=trained.run_id)
    assert store.register(trained.path, trained.card, as_of=as_of, run_id=trained.run_id) == ref
    assert store.champion(later) is None
    assert store.challenger() == ref
    store.promote(ref, as_of=as_of, reason="first model")
    assert store.challenger() is None
    assert store.champion(before) is None
    assert store.champion(as_of) == ref
    second = store.register(trained.path, trained.card, as_of=later, run_id=trained.run_id)
    store.promote(second, as_of=later, reason="newer")
    assert store.champion(as_of) == ref
    assert store.champion(later) == second
    version = store._client.get_model_version_by_alias("by-day", "champion")
    assert str(version.version) == second.registry_version
    assert version.tags["trained_through"] == later.isoformat()
    assert version.tags["content_version"] == trained.version
    assert {"feature_contract", "data_digest", "promotion_reason"} <= set(version.tags)


def test_the_champion_is_told_from_memory_until_the_registry_changes(recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    store, frames, trained, _ = recorded
    store = replace(store, model_name="remembered")
    ref = store.register(trained.path, trained.card, as_of=frames.as_of, run_id=trained.run_id)
    store.promote(ref, as_of=frames.as_of, reason="first model")
    assert store.champion(frames.as_of) == ref
    later = AsOf(frames.as_of.instant + timedelta(days=7))
    with monkeypatch.context() as patched:
        patched.setattr("sales_pipeline.adapters.mlflow_store.load_mlflow", lambda: pytest.fail("MLflow was opened"))
        again = replace(store)
        assert (again.champion(frames.as_of), again.champion(later)) == (ref, ref)
    second = store.register(trained.path, trained.card, as_of=later, run_id=trained.run_id)
    store.promote(second, as_of=later, reason="newer")
    assert replace(store).champion(later) == second


def test_the_served_model_predicts_what_the_bundle_does(recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    store, frames, trained, folder = recorded
    assert trained.card["win"]["choice"] == "gradient_boosting"
    store = replace(store, model_name="served")
    ref = store.register(trained.path, trained.card, as_of=frames.as_of, run_id=trained.run_id)
    store.promote(ref, as_of=frames.as_of, reason="first model")
    scoring = make_frames(folder / "s", opportunities=900, signal=2.5, purpose="scoring")
    expected = predict(trained.path, scoring).to_pylist()
    source = store._client.get_model_version("served", ref.registry_version).source
    mlflow.set_tracking_uri(store.tracking_uri)
    try:
        model = mlflow.pyfunc.load_model("models:/served@champion")
        spine, features = pd.read_parquet(scoring.spine.path), pd.read_parquet(scoring.features.path)
        segment = pd.read_parquet(scoring.attributes.path).set_index("opportunity_id")["text_value"]
        frame = features.merge(spine.drop(columns=["stage", "amount"]), on=["opportunity_id", "as_of"])
        frame["attribute:Segment__c"] = frame["opportunity_id"].map(segment)
        known = [column.name for column in model.metadata.get_input_schema().inputs]
        frame = frame[[name for name in known if name in frame and frame[name].notna().any()]]
        frame["crm_close_date"] = pd.to_datetime(frame["crm_close_date"])
        frame["as_of"], frame["created_at"] = (
            frame["as_of"].dt.tz_localize(None),
            frame["created_at"].dt.tz_localize(None),
        )
        got = model.predict(frame)
    finally:
        mlflow.set_tracking_uri(None)
    assert source.startswith("models:/")
    assert got["win_probability"].tolist() == pytest.approx([row["win_probability"] for row in expected])
    assert got["expected_amount"].tolist() == pytest.approx([row["expected_amount"] for row in expected], rel=1e-4)


def test_a_lost_bundle_comes_back_from_the_registry(recorded, tmp_path: Path) -> None:
    store, frames, trained, _ = recorded
    store = replace(store, model_name="elsewhere")
    ref = store.register(trained.path, trained.card, as_of=frames.as_of, run_id=trained.run_id)
    store.promote(ref, as_of=frames.as_of, reason="first model")
    other = replace(store, models=tmp_path / "models").champion(frames.as_of)
    assert other is not None
    assert (other.path / "model.json").read_bytes() == (trained.path / "model.json").read_bytes()


def test_no_pickle_is_written(recorded) -> None:
    _, _, _, folder = recorded
    assert not [path for path in folder.rglob("*") if path.suffix in (".pkl", ".pickle", ".skops", ".joblib")]


def test_a_failed_training_is_marked(recorded) -> None:
    store, _, _, _ = recorded
    with pytest.raises(RuntimeError, match="boom"), store.training("fails", {}) as run:
        raise RuntimeError("boom")
    assert store._client.get_run(run.run_id).info.status == "FAILED"


def test_under_mlflow_run_the_given_run_is_the_parent(recorded) -> None:
    store, _, _, _ = recorded
    given = store._client.create_run(store._experiment_id).info.run_id
    with replace(store, parent_run_id=given).training("train", {"stage": "training"}) as run, run.child("one"):
        pass
    assert run.run_id == given
    assert store._client.get_run(given).info.status == "RUNNING"
    assert len(_children(store, given)) == 1


def test_fit_of_a_flat_table_is_recorded(recorded, tmp_path: Path) -> None:
    store, _, _, _ = recorded
    path = tmp_path / "sales_data.csv"
    path.write_text("x,target\n" + "".join(f"{i},{2 * i + 9 * (i % 3)}\n" for i in range(60)), encoding="utf-8")
    params = PARAMS.model_copy(update={"amount_families": ("median", "linear_regression")})
    found = fit_flat(path, target="target", params=params, recorder=store)
    children = _children(store, found.run_id)
    assert {run.data.params["family"] for run in children} == {"median", "linear_regression"}
    assert all("mse" in run.data.metrics for run in children)


def test_the_mlflow_folder_holds_no_python() -> None:
    import mlflow

    assert "site-packages" in str(mlflow.__file__)
    assert not list((Path(__file__).parents[2] / "mlflow").rglob("*.py"))
