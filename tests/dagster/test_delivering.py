"""Deliveries in Dagster: their own job, without the lake's lock, for the current run alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest

from dagster_project.arrivals import RUN_KEY_TAG
from dagster_project.assets import deliver as delivery_assets
from dagster_project.definitions import build_definitions
from dagster_project.instance import open_instance
from dagster_project.jobs import DELIVERY_JOB, SCORING_JOB
from dagster_project.schedules import build_delivery_schedules
from sales_pipeline.errors import DeliveryFailed
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.lock import lake_lock
from sales_pipeline.lake.runs import current_run, publish_run
from sales_pipeline.lake.tables import write_table
from sales_pipeline.settings import Settings
from tests.support.kit_runs import publish_rows, scored_row

DAY = "2026-06-30"
SIX = datetime(2026, 7, 1, 6, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery_assets, "SECONDS_BETWEEN_RETRIES", 0.0)


@pytest.fixture
def delivering(settings: Settings, tmp_path: Path) -> Settings:
    """One run is published; a folder is delivered to every day, and a kit only when somebody asks for it."""
    targets = {
        "drop": {"like": "csv", "channel": {"kind": "folder", "path": tmp_path / "drop"}, "scheduled": True},
        "hubspot": {},
    }
    (tmp_path / "drop").mkdir()
    lake = Lake(settings.lake)
    publish_rows(lake, "run-1", [scored_row(name) for name in "abc"])
    publish_run(lake, "run-1")
    return Settings(**{**settings.model_dump(), "delivery": {"targets": targets}})


def run_job(settings: Settings, day: str = DAY) -> dg.ExecuteInProcessResult:
    failures: list[BaseException] = []
    definitions = build_definitions(settings, failures=failures)
    job = definitions.resolve_job_def(DELIVERY_JOB)
    with dg.DagsterInstance.ephemeral() as instance:
        return job.execute_in_process(instance=instance, partition_key=day, raise_on_error=False)


def test_targets_are_assets_and_only_scheduled_ones_are_in_the_job(delivering: Settings) -> None:
    definitions = build_definitions(delivering)
    graph = definitions.resolve_asset_graph()
    names = {key.to_user_string() for key in graph.get_all_asset_keys()}
    assert names >= {"delivery_drop", "delivery_hubspot"}
    assert graph.get(dg.AssetKey("delivery_drop")).parent_keys == {dg.AssetKey("published")}
    job = definitions.resolve_job_def(DELIVERY_JOB)
    assert {key.to_user_string() for key in job.asset_layer.executable_asset_keys} == {"delivery_drop"}
    scoring = definitions.resolve_job_def(SCORING_JOB).asset_layer.executable_asset_keys
    assert dg.AssetKey("delivery_drop") not in scoring


def test_without_a_scheduled_target_there_is_no_job_and_no_schedule(settings: Settings) -> None:
    definitions = build_definitions(settings)
    assert DELIVERY_JOB not in {job.name for job in definitions.resolve_all_job_defs()}
    assert definitions.schedules is not None
    assert "daily_delivery" not in {schedule.name for schedule in definitions.schedules}


def test_a_delivery_goes_on_while_a_run_holds_the_lake(delivering: Settings, tmp_path: Path) -> None:
    with lake_lock(delivering.lake):
        result = run_job(delivering)
    assert result.success
    (check,) = result.get_asset_check_evaluations()
    assert check.passed
    assert len(list((tmp_path / "drop").iterdir())) == 1
    again = run_job(delivering)
    (event,) = again.get_asset_materialization_events()
    assert event.materialization.metadata["ended"].value == "nothing_to_deliver"


def test_refused_rows_are_a_warning_that_says_how_many(delivering: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from dagster_project import delivering as application

    refusing = application.DeliveryReport("drop", "run-1", "x", "settled", outcomes={"succeeded": 1, "failed": 2})
    monkeypatch.setattr(application, "deliver_day", lambda *_: refusing)
    result = run_job(delivering)
    assert result.success
    (check,) = result.get_asset_check_evaluations()
    assert not check.passed
    assert check.severity == dg.AssetCheckSeverity.WARN
    assert check.description is not None
    assert "2 rows were not taken" in check.description


def test_a_delivery_that_fails_leaves_what_is_published(delivering: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from dagster_project import delivering as application

    asked: list[str] = []

    def refuse(_: Settings, target: str, __: str) -> Any:
        asked.append(target)
        raise DeliveryFailed("the target does not answer")

    monkeypatch.setattr(application, "deliver_day", refuse)
    assert not run_job(delivering).success
    assert asked == ["drop"] * (1 + delivery_assets.RETRIES)
    run = current_run(Lake(delivering.lake))
    assert run is not None
    assert run.run_id == "run-1"


def test_a_day_that_is_not_the_current_run_s_is_not_delivered(delivering: Settings, tmp_path: Path) -> None:
    result = run_job(delivering, "2026-06-29")
    assert not result.success
    assert "only the current run is delivered" in str(result.all_node_events[-1]) + str(result.all_events)
    assert list((tmp_path / "drop").iterdir()) == []


def test_the_schedule_asks_once_for_each_run(delivering: Settings, settings: Settings, tmp_path: Path) -> None:
    def ask(of: Settings, instance: dg.DagsterInstance) -> Any:
        repository = build_definitions(delivering).get_repository_def()
        (schedule,) = build_delivery_schedules(lambda: of, "UTC")
        with dg.build_schedule_context(
            instance=instance, scheduled_execution_time=SIX, repository_def=repository
        ) as context:
            return schedule.evaluate_tick(context)

    with open_instance(Lake(settings.lake)) as instance:
        (request,) = ask(delivering, instance).run_requests
        assert (request.partition_key, request.run_key) == (DAY, "delivery_job:run-1")
        job = dg.job(name=DELIVERY_JOB)(lambda: None)
        instance.create_run_for_job(job, tags={RUN_KEY_TAG: request.run_key})
        assert "asked for already" in str(ask(delivering, instance).skip_message)
        empty = Settings(**{**settings.model_dump(), "lake": tmp_path / "empty"})
        assert "nothing is published yet" in str(ask(empty, instance).skip_message)


def test_owners_who_are_not_active_are_not_handed_follow_ups(settings: Settings) -> None:
    from dagster_project.delivering import active_owners

    lake = Lake(settings.lake)
    publish_rows(lake, "run-1", [scored_row("a")])
    publish_run(lake, "run-1")
    run = current_run(lake)
    assert run is not None
    assert active_owners(lake, run) is None
    made = replace(run, manifest={**run.manifest, "canonical_key": "key"})
    path = lake.step_path("canonical", "key") / "owners.parquet"
    write_table(pa.table({"owner_id": ["on", "off", "silent"], "is_active": [True, False, None]}), path)
    assert active_owners(lake, made) == {"on", "silent"}
