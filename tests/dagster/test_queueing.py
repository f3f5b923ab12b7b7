"""Feedback put together: the lake's ledger and the CRM's own tasks; the plan's digest; the cohort along the chain of runs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dagster_project.plan import plan_run
from dagster_project.queueing import _cohort, _feedback, known_feedback, take_feedback
from sales_pipeline.contracts.canonical import ACTIVITIES
from sales_pipeline.contracts.published import FOLLOW_UP_QUEUE, LEFT_OUT, SCORED_OPPORTUNITIES
from sales_pipeline.delivery.publish import publish, write_and_audit
from sales_pipeline.domain.time import AsOf
from sales_pipeline.engines.duckdb import DuckDBEngine
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.tables import read_table, write_table
from tests.dagster.conftest import CHAMPION
from tests.support.published_run import run_tables
from tests.support.scored_rows import AS_OF, rows_of

NEXT = AsOf(AS_OF.instant + timedelta(days=1))


@pytest.fixture(scope="module")
def engine() -> Iterator[DuckDBEngine]:
    with DuckDBEngine(threads=1) as running:
        yield running


@pytest.fixture
def lake(settings: Any) -> Lake:
    """A lake with one published run."""
    found = Lake(settings.lake)
    manifest = {"as_of": AS_OF.isoformat(), "previous_run_id": None, "model": {"name": "m", "version": "v"}}
    write_and_audit(found, "run-1", run_tables(), manifest, {})
    publish(found, "run-1", log={})
    return found


def canonical(folder: Path, rows: list[dict[str, Any]]) -> Any:
    lineage = {
        "source_system": "crm",
        "source_file": "f",
        "source_record": 1,
        "kind": "task",
        "logged_at": AS_OF.instant,
    }
    ref = write_table(rows_of(ACTIVITIES, [lineage | row for row in rows]), folder / "activities.parquet", ACTIVITIES)
    return SimpleNamespace(key=ref.sha256, tables={"activities": ref})


def plan(previous: str | None = "run-1", run_id: str = "run-2") -> Any:
    return SimpleNamespace(run_id=run_id, previous_run_id=previous)


def feedback(settings: Any, text: str) -> Any:
    file = Path(settings.lake).parent / "feedback.csv"
    file.write_text("queue_id,outcome,dealt_with_at,reason\n" + text, encoding="utf-8")
    return take_feedback(settings, file)


def test_ledger_and_tasks_are_one_table(lake: Lake, settings: Any, engine: DuckDBEngine, tmp_path: Path) -> None:
    at = AS_OF.instant + timedelta(hours=9)
    assert (
        feedback(settings, "fu-a,skipped,2026-07-01T08:00:00Z,busy\nfu-x,done,2026-07-01,\n").file.quarantined[0].line
        == 3
    )
    tasks = [
        {"activity_id": "t1", "opportunity_id": "a", "queue_id": "fu-a", "occurred_at": at},
        {"activity_id": "t2", "opportunity_id": "a", "queue_id": "fu-typed", "occurred_at": at},
        {"activity_id": "t3", "opportunity_id": "a", "queue_id": "fu-a", "occurred_at": NEXT.instant},
    ]
    found = known_feedback(lake, canonical(tmp_path, tasks), NEXT, plan(), engine)
    assert found is not None
    assert [(row["outcome"], row["origin"], row["opportunity_id"]) for row in found.to_pylist()] == [
        ("skipped", "file", "a"),
        ("done", "crm", "a"),
    ]
    assert _feedback(lake, canonical(tmp_path, tasks), NEXT, plan(), engine)[1] == {
        "statements": 2,
        "done tasks": 1,
        "done tasks of unknown ids": 1,
    }
    assert known_feedback(lake, canonical(tmp_path, []), AS_OF, plan(None, "run-0"), engine) is None


def test_feedback_changes_the_run_s_id_and_a_day_without_news_repeats(lake: Lake, settings: Any) -> None:
    def planned() -> Any:
        return plan_run(lake, settings, NEXT, ["export-1"], lambda: CHAMPION)

    before = planned()
    assert before.feedback_digest is None
    feedback(settings, "fu-a,done,2026-07-01,\n")
    after = planned()
    assert after.feedback_digest is not None
    assert after.run_id != before.run_id
    assert after.manifest()["feedback_digest"] == after.feedback_digest
    feedback(settings, "fu-a,wrong,2026-07-05,\n")  # not known on that day
    assert planned() == after


def test_the_cohort_follows_the_chain_and_is_kept(lake: Lake) -> None:
    folder = lake.runs / "run-1"
    from sales_pipeline.lake.tables import table_ref

    refs = [table_ref(t.name, folder / f"{t.name}.parquet") for t in (SCORED_OPPORTUNITIES, FOLLOW_UP_QUEUE, LEFT_OUT)]
    cohort = _cohort(lake, plan(), *refs)
    assert cohort.column("opportunity_id").to_pylist() == ["a", "b"]
    kept = lake.step_path("cohorts", "run-1") / "queue_cohort.parquet"
    assert read_table(kept).equals(read_table(lake.step_path("cohorts", "run-2") / "queue_cohort.parquet"))
