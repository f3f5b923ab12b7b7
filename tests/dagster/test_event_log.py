"""Runs of the command line write Dagster's own event log, by connections that are kept; everybody else reads it as Dagster does."""

import subprocess
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._serdes import ConfigurableClassData

from dagster_project.event_log import KeptEventLog, kept
from dagster_project.instance import open_instance
from sales_pipeline.lake.layout import Lake


@dg.asset(check_specs=[dg.AssetCheckSpec("is_there", asset="thing")])
def thing() -> dg.MaterializeResult:
    return dg.MaterializeResult(check_results=[dg.AssetCheckResult(passed=True)])


def events(instance: dg.DagsterInstance, run_id: str) -> list[str]:
    found = instance.get_records_for_run(run_id, limit=1000).records
    return [str(record.event_log_entry.dagster_event_type) for record in found]


def test_dagster_reads_what_kept_connections_wrote(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    with open_instance(lake) as instance:
        assert isinstance(instance.event_log_storage, KeptEventLog)
        run_id = dg.materialize([thing], instance=instance).run_id
        written = events(instance, run_id)
    with dg.DagsterInstance.from_config(str(lake.dagster_home)) as instance:
        assert type(instance.event_log_storage) is SqliteEventLogStorage
        assert events(instance, run_id) == written
        assert "DagsterEventType.ASSET_CHECK_EVALUATION" in written
        materialization = instance.get_latest_materialization_event(dg.AssetKey("thing"))
        assert materialization is not None
        assert materialization.run_id == run_id


def test_a_file_is_opened_once_and_closed_at_the_end(tmp_path: Path) -> None:
    with open_instance(Lake(tmp_path)) as instance:
        dg.materialize([thing], instance=instance)
        storage = instance.event_log_storage
        assert isinstance(storage, KeptEventLog)
        engines = dict(storage._engines)
        dg.materialize([thing], instance=instance)
        assert {name: storage._engines[name] for name in engines} == engines
    assert storage._engines == {}
    assert not list(Lake(tmp_path).dagster_home.rglob("*.db-wal"))


def test_a_storage_that_is_not_dagsters_sqlite_is_left_alone(tmp_path: Path) -> None:
    ref = InstanceRef.from_dir(str(tmp_path))
    other = ref._replace(storage_data=ConfigurableClassData("dagster_postgres", "DagsterPostgresStorage", "{}"))
    assert kept(other) is other
    assert kept(ref) != ref


def test_a_run_starts_no_process_to_copy_its_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **named: object) -> None:
        raise AssertionError(arguments)

    with open_instance(Lake(tmp_path)) as instance:
        monkeypatch.setattr(subprocess, "Popen", refuse)
        assert dg.materialize([thing], instance=instance).success
