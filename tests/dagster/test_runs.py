"""Runs in process: what the jobs do with failures, repeats, retries and order."""

from __future__ import annotations

from datetime import date
from typing import Any

import dagster as dg
import pytest

from dagster_project.instance import open_instance
from dagster_project.run import backfill, execute
from sales_pipeline.errors import AuditBlocked, InputRejected, LakeLocked
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.lock import lake_lock
from tests.dagster.conftest import CHAMPION, DAY, Library


@pytest.fixture
def in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs recorded in memory: what is written to disk is the concern of one test."""
    from dagster_project import run

    monkeypatch.setattr(run, "open_instance", lambda _: dg.DagsterInstance.ephemeral())


def runs_of(library: Library) -> list[dg.DagsterRun]:
    with open_instance(Lake(library.settings.lake)) as instance:
        return list(instance.get_runs())


def test_scoring_trains_first_publishes_and_repeats(library: Library) -> None:
    said: list[str] = []
    first = execute(library.settings, progress=said.append)
    assert first.has_trained
    assert first.is_new
    assert first.day == DAY
    assert first.as_of == "2026-07-01T00:00:00Z"
    assert first.rows == {"scored_opportunities": 3}
    assert library.trained == ["2026-07-01T00:00:00Z"]
    assert any(line.startswith("prepare") for line in said)
    assert any("opportunities 3" in line for line in said)

    again = execute(library.settings, DAY)
    assert not again.has_trained
    assert not again.is_new
    assert again.run_id == first.run_id
    assert "nothing new" in "\n".join(again.summary())
    assert [run.status for run in runs_of(library)] == [dg.DagsterRunStatus.SUCCESS] * 3
    assert first.to_dict()["path"] == str(first.path)


@pytest.mark.usefixtures("in_memory")
def test_failing_blocking_check_prevents_the_publish(library: Library) -> None:
    library.champion = CHAMPION
    library.failing_check = ("accounts", "key_unique")
    with pytest.raises(AuditBlocked, match="accounts: key_unique") as caught:
        execute(library.settings, DAY)
    assert caught.value.exit_code == 4
    assert library.published == []


@pytest.mark.usefixtures("in_memory")
def test_a_queue_that_breaks_a_rule_is_not_published(library: Library) -> None:
    library.champion = CHAMPION
    library.failing_queue_checks = {"capacity_never_exceeded"}
    with pytest.raises(AuditBlocked, match=r"(?s)capacity_never_exceeded.*owner s has 20 minutes of 0"):
        execute(library.settings, DAY)
    assert library.published == []


@pytest.mark.usefixtures("in_memory")
def test_training_hands_over_the_champion(library: Library) -> None:
    outcome = execute(library.settings, DAY, job="training")
    assert outcome.run_id is None
    assert outcome.has_trained
    assert outcome.model["evidence_level"] == "rates"
    assert library.champion.version == "version-1"
    assert library.published == []


@pytest.mark.usefixtures("in_memory")
def test_an_error_of_a_step_keeps_its_exit_code_and_is_told(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    from pydantic import SecretStr

    from dagster_project import hooks
    from sales_pipeline.ingest import exports
    from sales_pipeline.settings import AlertSettings

    told: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(hooks, "alert", lambda _, subject, facts: told.append((subject, dict(facts))))

    def refused(*_: Any) -> Any:
        raise InputRejected("the file is empty", where="opportunities.csv")

    monkeypatch.setattr(exports, "collect", refused)
    alerting = library.settings.model_copy(
        update={"alerts": AlertSettings(webhook_url=SecretStr("https://alerts.invalid"))}
    )
    with pytest.raises(InputRejected, match="the file is empty") as caught:
        execute(alerting, DAY, job="training")
    assert caught.value.exit_code == 5
    assert [facts["step"] for _, facts in told] == ["collect"]
    assert "the file is empty" in told[0][1]["message"]


@pytest.mark.usefixtures("in_memory")
def test_a_stale_day_is_warned_of_and_refused_beyond_the_limit(library: Library) -> None:
    library.champion = CHAMPION
    outcome = execute(library.settings, date(2026, 7, 3))
    assert outcome.is_new
    with pytest.raises(InputRejected, match="max_staleness_days"):
        execute(library.settings, date(2026, 7, 8))


@pytest.mark.usefixtures("in_memory")
def test_publishing_is_tried_again_on_a_disk_error_only(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    from dagster_project.assets import apply

    monkeypatch.setattr(apply, "PUBLISH_RETRY_SECONDS", 0)
    library.champion = CHAMPION
    library.publish_errors = [OSError("no space left"), OSError("no space left")]
    assert execute(library.settings, DAY).is_new
    assert library.publish_errors == []

    library.publish_errors = [AuditBlocked("the audit failed"), OSError("not reached: an audit is not tried again")]
    with pytest.raises(AuditBlocked, match="the audit failed"):
        execute(library.settings, DAY)
    assert len(library.publish_errors) == 1


@pytest.mark.usefixtures("in_memory")
def test_backfill_runs_the_days_in_order(library: Library) -> None:
    library.champion = CHAMPION
    outcomes = backfill(library.settings, date(2026, 6, 26), date(2026, 6, 28))
    assert [outcome.day for outcome in outcomes] == [date(2026, 6, 26), date(2026, 6, 27), date(2026, 6, 28)]
    assert library.published == [outcome.run_id for outcome in outcomes]
    assert len(set(library.published)) == 3


def test_a_second_run_is_refused_while_one_holds_the_lake(library: Library) -> None:
    with lake_lock(library.settings.lake), pytest.raises(LakeLocked):
        execute(library.settings, DAY)


def test_the_instance_is_quiet_and_runs_one_at_a_time(library: Library) -> None:
    import yaml

    with open_instance(Lake(library.settings.lake)) as instance:
        assert instance.is_persistent
        assert not instance.telemetry_enabled
    written = yaml.safe_load((library.settings.lake / "_dagster" / "dagster.yaml").read_text())
    assert written["concurrency"]["runs"]["max_concurrent_runs"] == 1
