"""The sensor and the schedules: complete, incomplete, repeated, stale and refused exports."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pytest

from dagster_project import schedules as schedules_module
from dagster_project import sensors as sensors_module
from dagster_project.arrivals import RUN_KEY_TAG, find_arrival
from dagster_project.definitions import build_definitions
from dagster_project.instance import open_instance
from dagster_project.jobs import SCORING_JOB, TRAINING_JOB, build_jobs
from dagster_project.sensors import build_sensor
from sales_pipeline.errors import InputRejected
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.lock import lake_lock
from tests.dagster.conftest import CHAMPION, DAY, Library

Instance = dg.DagsterInstance


@pytest.fixture
def instance() -> Any:
    with dg.DagsterInstance.ephemeral() as found:
        yield found


@pytest.fixture
def kept_instance(library: Library) -> Iterator[Instance]:
    """The lake's own instance: a schedule's context takes no other."""
    with open_instance(Lake(library.settings.lake)) as found:
        yield found


@pytest.fixture
def with_champion(library: Library) -> Library:
    library.champion = CHAMPION
    return library


def look(library: Library, instance: Instance, cursor: str | None) -> Any:
    sensor = build_sensor(lambda: library.settings, build_jobs())
    with dg.build_sensor_context(instance=instance, cursor=cursor) as context:
        return sensor(context)


def drop(library: Library, name: str, text: str) -> None:
    (library.settings.exports / name).write_text(text)


def skipped(result: Any) -> str:
    assert not result.run_requests
    return str(result.skip_reason.skip_message)


def test_an_export_is_taken_when_two_looks_see_the_same_sizes(with_champion: Library, instance: Instance) -> None:
    library = with_champion
    assert "empty" in skipped(look(library, instance, None))
    drop(library, "opportunities.csv", "Id\n1")
    first = look(library, instance, None)
    assert "arriving" in skipped(first)
    drop(library, "opportunities.csv", "Id\n1\n2")
    growing = look(library, instance, first.cursor)
    assert "arriving" in skipped(growing)
    done = look(library, instance, growing.cursor)
    assert [(request.job_name, request.partition_key) for request in done.run_requests] == [
        (SCORING_JOB, DAY.isoformat())
    ]
    assert "nothing new" in skipped(look(library, instance, done.cursor))


def test_a_marker_says_complete_at_the_first_look(with_champion: Library, instance: Instance) -> None:
    drop(with_champion, "opportunities.csv", "Id\n1")
    drop(with_champion, "_COMPLETE", "")
    assert look(with_champion, instance, None).run_requests


def test_a_zip_that_does_not_open_is_not_complete(with_champion: Library, instance: Instance) -> None:
    path = with_champion.settings.exports / "WE_1.ZIP"
    path.write_bytes(b"PK half of it")
    first = look(with_champion, instance, None)
    second = look(with_champion, instance, first.cursor)
    assert "arriving" in skipped(second)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("Opportunity.csv", "Id\n1")
    third = look(with_champion, instance, second.cursor)
    assert look(with_champion, instance, third.cursor).run_requests


def test_training_is_asked_for_first_where_no_model_may_be_used(library: Library, instance: Instance) -> None:
    drop(library, "opportunities.csv", "Id\n1")
    drop(library, "_COMPLETE", "")
    requests = look(library, instance, None).run_requests
    assert [request.job_name for request in requests] == [TRAINING_JOB, SCORING_JOB]
    assert len({request.run_key for request in requests}) == 2


def test_day_and_exports_that_were_asked_for_are_not_asked_for_again(
    with_champion: Library, instance: Instance
) -> None:
    arrival = find_arrival(with_champion.settings, object())  # type: ignore[arg-type]
    job = dg.job(name=SCORING_JOB)(lambda: None)
    instance.create_run_for_job(job, tags={RUN_KEY_TAG: arrival.run_key(SCORING_JOB)})
    drop(with_champion, "opportunities.csv", "Id\n1")
    drop(with_champion, "_COMPLETE", "")
    result = look(with_champion, instance, None)
    assert "asked for" in skipped(result)
    with_champion.export_ids.append("export-2")
    drop(with_champion, "more.csv", "Id\n2")
    assert look(with_champion, instance, result.cursor).run_requests


def test_a_refused_export_is_told_once(library: Library, instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(sensors_module, "alert", lambda _, subject, facts: told.append(facts["message"]))

    def refused(_: Any) -> Any:
        raise InputRejected("no export was found")

    monkeypatch.setattr(sensors_module, "look", refused)
    drop(library, "notes.csv", "x")
    drop(library, "_COMPLETE", "")
    first = look(library, instance, None)
    assert "no export was found" in skipped(first)
    assert "nothing new" in skipped(look(library, instance, first.cursor))
    assert told == ["no export was found"]


def test_an_export_waits_while_a_run_holds_the_lake(with_champion: Library, instance: Instance) -> None:
    drop(with_champion, "opportunities.csv", "Id\n1")
    drop(with_champion, "_COMPLETE", "")
    with lake_lock(with_champion.settings.lake):
        waiting = look(with_champion, instance, None)
    assert "under way" in skipped(waiting)
    assert look(with_champion, instance, waiting.cursor).run_requests


def tick(library: Library, instance: Instance, name: str, at: datetime) -> Any:
    repository = build_definitions(library.settings).get_repository_def()
    with dg.build_schedule_context(
        instance=instance, scheduled_execution_time=at, repository_def=repository
    ) as context:
        return repository.get_schedule_def(name).evaluate_tick(context)


def test_schedules_run_the_day_of_the_newest_record(with_champion: Library, kept_instance: Instance) -> None:
    morning = datetime(2026, 7, 1, 6, tzinfo=UTC)
    (scoring,) = tick(with_champion, kept_instance, "daily_scoring", morning).run_requests
    assert (scoring.job_name, scoring.partition_key) == (SCORING_JOB, "2026-06-30")
    (training,) = tick(with_champion, kept_instance, "weekly_training", morning).run_requests
    assert (training.job_name, training.partition_key) == (TRAINING_JOB, "2026-06-30")
    drop(with_champion, "opportunities.csv", "Id\n1")
    drop(with_champion, "_COMPLETE", "")
    (sensed,) = look(with_champion, kept_instance, None).run_requests
    assert sensed.run_key == scoring.run_key


def test_data_that_no_longer_arrives_is_told(
    with_champion: Library, kept_instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(schedules_module, "alert", lambda _, subject, facts: told.append(subject))
    result = tick(with_champion, kept_instance, "daily_scoring", datetime(2026, 7, 9, 6, tzinfo=UTC))
    assert not result.run_requests
    assert "9 days ago" in result.skip_message
    assert told == ["sales pipeline: no new data arrives"]
