"""Monitoring as Dagster shows it: warnings beside the run, never in its way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from datetime import date
from typing import Any

import dagster as dg
import pytest

from dagster_project.run import execute
from sales_pipeline.monitoring.watches import WATCHES
from tests.dagster.conftest import CHAMPION, DAY, Library

ASSET = dg.AssetKey("model_monitoring")


@pytest.fixture
def instance(monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """Runs recorded in memory, to be asked afterwards."""
    from dagster_project import run

    with dg.DagsterInstance.ephemeral() as kept:
        monkeypatch.setattr(run, "open_instance", lambda _: nullcontext(kept))
        yield kept


def evaluations(instance: dg.DagsterInstance, run_id: str) -> dict[str, Any]:
    logs = instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    found = [entry.dagster_event.asset_check_evaluation_data for entry in logs if entry.dagster_event]
    return {one.check_name: one for one in found if one.asset_key == ASSET}


def test_checks_fail_as_warnings_and_of_their_own_day_only(library: Library, instance: dg.DagsterInstance) -> None:
    names = {watch.name for watch in WATCHES}
    library.champion = CHAMPION
    library.failing_watches = set(names)
    outcome = execute(library.settings, DAY)
    assert outcome.is_new
    failed = evaluations(instance, outcome.dagster_run_id)
    assert {name for name, one in failed.items() if not one.passed} == names
    assert {one.severity for one in failed.values()} == {dg.AssetCheckSeverity.WARN}
    assert {one.metadata["alerts"].value for one in failed.values()} == {1}
    assert {one.description for one in failed.values()} == {"What to do: look."}

    library.failing_watches = {"scores_are_stable"}
    earlier = execute(library.settings, date(2026, 6, 29))
    found = evaluations(instance, earlier.dagster_run_id)
    assert {name for name, one in found.items() if not one.passed} == {"scores_are_stable"}
    assert {one.partition for one in found.values()} == {"2026-06-29"}


def test_new_values_are_shown_beside_the_check_and_not_published(
    library: Library, instance: dg.DagsterInstance
) -> None:
    library.champion = CHAMPION
    outcome = execute(library.settings, DAY)
    found = evaluations(instance, outcome.dagster_run_id)
    assert found["inputs_are_stable"].metadata["values"].value == {"stage": {"new": ["Pilot"]}}
    assert "values" not in found["scores_are_stable"].metadata
