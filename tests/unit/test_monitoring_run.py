"""A run's monitoring: what it reads of the lake, its table under contract, and its verdicts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from sales_pipeline.contracts.published import MODEL_MONITORING, SCORED_OPPORTUNITIES
from sales_pipeline.delivery.audit import audit
from sales_pipeline.domain.time import AsOf
from sales_pipeline.features.build import FeatureSet, find
from sales_pipeline.lake.layout import STEP_FILE, Lake
from sales_pipeline.lake.runs import publish_run, write_run
from sales_pipeline.lake.tables import TableRef, read_table, write_table
from sales_pipeline.models.matrix import SourceColumn
from sales_pipeline.monitoring import monitor as module
from sales_pipeline.monitoring.figure import Figure, figure_table
from sales_pipeline.monitoring.history import one_in, past_runs, said
from sales_pipeline.monitoring.kept import FEATURES_KEY, STEP, step_key
from sales_pipeline.monitoring.monitor import Monitored, monitor
from sales_pipeline.monitoring.params import MonitoringParams
from sales_pipeline.monitoring.verdicts import verdicts
from sales_pipeline.monitoring.watches import WATCHES
from tests.support.frames import START, make_frames
from tests.support.scored_rows import prediction_row, rows_of

PARAMS = MonitoringParams()
COLUMNS = (SourceColumn("amount", "number", "amount"), SourceColumn("stage", "category", "stage"))
CARD = {"data": {"kinds": ["opportunity"]}, "data_digest": "training-key", "trained_through": "2025-07-24T00:00:00Z"}
DAYS = 600


def day(number: int) -> datetime:
    return START + timedelta(days=number)


def keep_features(lake: Lake, key: str, days: int, purpose: str, mode: str) -> FeatureSet:
    """A feature set of the small world, in the lake as the features step leaves it."""
    folder = lake.step_path("features", key)
    frames = make_frames(folder, days=days, horizon=720, purpose=purpose, opportunities=900)
    names = ("spine", "features", "attributes", "outcomes")
    tables = {name: getattr(frames, name).to_dict() for name in names}
    for name in names:
        tables[name]["path"] = Path(tables[name]["path"]).name
    facts = {"mode": mode, "absent": {}, "versioned": ["stage"], "tables": tables}
    (folder / STEP_FILE).write_text(json.dumps(facts), encoding="utf-8")
    found = find(lake, key, AsOf(day(days)), "scoring" if purpose == "scoring" else "training")
    assert found is not None
    return found


def scored(features: FeatureSet, run_id: str, probability: float = 0.3) -> pa.Table:
    """Every open opportunity with its probability; four in ten are indeed won within 90 days or so."""
    rows = []
    for row in read_table(features.spine).to_pylist():
        given = prediction_row(row["opportunity_id"], probability)
        rows.append(
            {**given, **row, "expected_amount_low": Decimal(1), "expected_amount_high": Decimal(10**9), "expected_amount": Decimal(9)}
            | {"model_name": "win", "model_version": "m1", "run_id": run_id, "predicted_close_date_low": None, "predicted_close_date_high": None}
        )  # fmt: skip
    return rows_of(SCORED_OPPORTUNITIES, rows)


def publish(lake: Lake, run_id: str, features: FeatureSet, previous: str | None) -> None:
    def build(folder: Path) -> dict[str, Any]:
        write_table(scored(features, run_id), folder / "scored_opportunities.parquet")
        return {"as_of": features.as_of.isoformat(), "previous_run_id": previous, "model": {"version": "m1"}}

    write_run(lake, run_id, build)
    publish_run(lake, run_id)
    lake.step(STEP, step_key(run_id), lambda _: {FEATURES_KEY: features.key})


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lake, FeatureSet]:
    """A training, five weekly published runs, and the features of the day after."""
    lake = Lake(tmp_path_factory.mktemp("lake"))
    keep_features(lake, "training-key", DAYS - 100, "training", "grid")
    previous: str | None = None
    for number, age in enumerate((42, 35, 28, 7, 1)):
        run_id = f"run-{number}"
        publish(lake, run_id, keep_features(lake, f"key-{number}", DAYS - age, "scoring", "scoring"), previous)
        previous = run_id
    return lake, keep_features(lake, "today", DAYS, "scoring", "scoring")


@pytest.fixture(autouse=True)
def champion(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    bundle = SimpleNamespace(
        version="m1", card=dict(CARD), win=SimpleNamespace(encoding=SimpleNamespace(columns=COLUMNS))
    )
    monkeypatch.setattr(module, "read_bundle", lambda _: bundle)
    monkeypatch.setattr(module, "needed_columns", lambda _: COLUMNS)
    return bundle


def monitored(
    lake: Lake, features: FeatureSet, *, previous: str | None = "run-4", run_id: str = "run-today"
) -> Monitored:
    path = lake.root / "scored_today.parquet"
    ref: TableRef = write_table(scored(features, run_id), path)
    return monitor(
        lake, features, ref, PARAMS, model_version="m1", code_version="1", previous_run_id=previous, run_id=run_id
    )  # fmt: skip


def details(found: Monitored) -> Mapping[tuple[str, str, str], dict[str, Any]]:
    return {(row["subject"], row["figure"], row["reference"]): row for row in found.table.to_pylist()}


def test_the_chain_is_followed_by_manifest_and_not_by_what_was_published_since(world: tuple[Lake, FeatureSet]) -> None:
    lake, features = world
    publish(lake, "run-late", features, "run-1")
    runs = past_runs(lake, "run-4", day(0))
    assert [run.run_id for run in runs] == ["run-4", "run-3", "run-2", "run-1", "run-0"]
    assert [run.run_id for run in past_runs(lake, "run-4", day(DAYS - 30))] == ["run-4", "run-3", "run-2"]
    assert past_runs(lake, None, day(0)) == ()
    assert past_runs(lake, "run-gone", day(0)) == ()
    frame = said(runs)
    assert frame["as_of_us"].is_monotonic_increasing
    assert frame["as_of_us"].nunique() == 5
    assert said(()).empty


def test_one_run_in_so_many_days_and_the_same_one_tomorrow(world: tuple[Lake, FeatureSet]) -> None:
    lake, _ = world
    runs = past_runs(lake, "run-4", day(0))
    daily = [replace(runs[0], run_id=f"run-{number}", as_of=day(number)) for number in range(20, -1, -1)]
    weekly = one_in(daily, 7)
    assert len(weekly) == 3 or len(weekly) == 4
    assert one_in(daily[1:], 7) == weekly or one_in(daily[1:], 7) == weekly[1:]
    assert one_in(daily, 1) == tuple(daily)


def test_a_stable_world_has_figures_of_every_kind_and_no_alarm(world: tuple[Lake, FeatureSet]) -> None:
    lake, features = world
    found = monitored(lake, features)
    rows = found.table.to_pylist()
    assert {row["kind"] for row in rows} == {"input_drift", "score_drift", "abstention", "calibration", "coverage"}
    assert [row for row in rows if row["is_alert"] and row["kind"] not in ("calibration", "coverage")] == []
    of = details(found)
    assert of["amount", "psi", "training"]["value"] is not None
    assert of["amount", "psi", "previous_run"]["value"] < 0.05
    assert of["win_probability_30d", "observed_expected", "past_runs"]["rows"] > 100
    assert "too young" in of["win_probability_90d", "observed_expected", "past_runs"]["detail"]
    assert audit({MODEL_MONITORING.name: found.table}, "run-today") == []


def test_equal_inputs_give_equal_tables_whatever_was_published_since(world: tuple[Lake, FeatureSet]) -> None:
    lake, features = world
    first = monitored(lake, features)
    publish(lake, "run-between", keep_features(lake, "key-between", DAYS - 3, "scoring", "scoring"), "run-3")
    shutil.rmtree(lake.root / "references")
    again = monitored(lake, features)
    assert again.table.equals(first.table)
    assert again.values == first.values


def test_the_first_run_says_that_there_is_nothing_to_compare_with(world: tuple[Lake, FeatureSet]) -> None:
    lake, features = world
    of = details(monitored(lake, features, previous=None))
    assert "no run was published before" in of["features", "psi", "previous_run"]["detail"]
    assert "no run was published before" in of["win_probability", "psi", "previous_run"]["detail"]
    assert (
        "no published run has given this score" in of["win_probability_30d", "observed_expected", "past_runs"]["detail"]
    )


@pytest.mark.parametrize(
    ("digest", "said_so"), [("gone", "no longer kept"), ("key-0", "without a history")], ids=["gone", "no history"]
)
def test_without_a_training_to_compare_with_it_is_said(
    world: tuple[Lake, FeatureSet], champion: SimpleNamespace, digest: str, said_so: str
) -> None:
    lake, features = world
    champion.card["data_digest"] = digest
    row = details(monitored(lake, features))["features", "psi", "training"]
    assert row["value"] is None
    assert said_so in row["detail"]
    passed = {verdict.name: verdict for verdict in verdicts(monitored(lake, features).table)}["inputs_are_stable"]
    assert passed.passed
    assert said_so in passed.message


def test_rates_are_watched_by_stage_and_a_column_the_data_lacks_has_vanished(
    world: tuple[Lake, FeatureSet], monkeypatch: pytest.MonkeyPatch, champion: SimpleNamespace
) -> None:
    lake, features = world
    lacking = SourceColumn("attribute:Gone__c", "category", "Gone")
    monkeypatch.setattr(module, "needed_columns", lambda _: (lacking,))
    champion.win = None
    champion.card["data"] = {"kinds": []}
    found = details(monitored(lake, features))
    assert found["stage", "psi", "training"]["value"] is not None
    assert found["attribute:Gone__c", "missing_share", "training"]["value"] == 1.0


def test_a_sensitive_columns_values_are_not_kept_and_a_run_is_monitored_once(
    world: tuple[Lake, FeatureSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    from dagster_project.monitoring import monitoring_table

    lake, features = world
    table = figure_table([FAILING["inputs_are_stable"]], features.as_of, "run-kept")
    calls: list[str] = []

    def found(*_: Any, run_id: str, **__: Any) -> Monitored:
        calls.append(run_id)
        return Monitored(
            table, {"stage": {"new against training": ["Pilot"]}, "attribute:Salutation": {"vanished": ["x"]}}
        )

    monkeypatch.setattr(module, "monitor", found)
    plan = SimpleNamespace(run_id="run-kept", model_version="m1", code_version="1", previous_run_id=None)
    ref = TableRef("scored_opportunities", "", 0, "")
    for _ in range(2):
        kept = monitoring_table(lake, PARAMS, features, ref, plan, sensitive=("attribute:Salutation",))  # type: ignore[arg-type]
        assert kept.values == {"stage": {"new against training": ["Pilot"]}}
        assert [verdict.passed for verdict in kept.verdicts] == [False, True, True, True]
        assert read_table(kept.ref).equals(table)
    assert calls == ["run-kept"]


FAILING = {
    "inputs_are_stable": Figure("input_drift", "stage", "new_value_share", "training", 0.4, "1 values", limit_high=0.05),
    "scores_are_stable": Figure("score_drift", "win_probability", "mean_change", "previous_run", 0.2, "news", limit_low=-0.05, limit_high=0.05),
    "abstains_as_usual": Figure("abstention", "win_probability", "abstaining_share", "previous_run", 0.5, "10 % before", limit_high=0.2),
    "past_scores_hold": Figure("coverage", "expected_amount", "coverage_80", "past_runs", 0.5, "of 99", limit_low=0.7),
}  # fmt: skip


@pytest.mark.parametrize("name", [watch.name for watch in WATCHES])
def test_each_watch_fails_alone_and_says_what_to_do(name: str) -> None:
    table = figure_table([FAILING[name]], AsOf(day(0)), "run-1")
    found = {verdict.name: verdict for verdict in verdicts(table)}
    assert [verdict.name for verdict in found.values() if not verdict.passed] == [name]
    figure = FAILING[name]
    assert figure.subject in found[name].message
    assert "expected" in found[name].message
    assert "What to do" in found[name].message
    assert found[name].figures["alerts"] == 1


def test_many_alerts_are_shortened() -> None:
    many = [replace(FAILING["inputs_are_stable"], subject=f"feature_{number}") for number in range(9)]
    message = verdicts(figure_table(many, AsOf(day(0)), "run-1"))[0].message
    assert "and 4 more" in message


def test_a_value_that_is_not_finite_is_empty_and_no_alert() -> None:
    table = figure_table([replace(FAILING["past_scores_hold"], value=float("nan"))], AsOf(day(0)), "run-1")
    assert table.column("value").null_count == 1
    assert not pc.any(table.column("is_alert")).as_py()
    assert np.isnan(float("nan"))
