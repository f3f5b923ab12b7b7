"""Had nothing happened, the features of the later as-of are the old ones moved on: to the cell, for every feature."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from sales_pipeline.domain.time import AsOf
from sales_pipeline.engines.duckdb import DuckDBEngine
from sales_pipeline.features.build import FeatureSet, build
from sales_pipeline.features.catalogue import FEATURES
from sales_pipeline.features.elapsed import WINDOWED, known_at_of, windows_without_events
from sales_pipeline.features.params import FeatureParams
from sales_pipeline.lake.layout import Lake
from sales_pipeline.models.explanation import pass_time
from sales_pipeline.models.matrix import Matrix, load_matrix
from tests.support.histories import Tables, generate, rows_table, write_tables

NOW = AsOf(datetime(2026, 1, 1, tzinfo=UTC))
BEFORE = AsOf(NOW.instant - timedelta(days=19))
LATER = AsOf(NOW.instant + timedelta(days=23))


@pytest.fixture(scope="module")
def engine() -> Iterator[DuckDBEngine]:
    with DuckDBEngine(threads=1) as engine:
        yield engine


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    """A world in which nothing happens from NOW on."""
    world = generate(60, seed=2, activities_each=14)
    world["activities"] = known_before(world["activities"], NOW)
    plans = [
        {
            "activity_id": f"plan {number} {days}",
            "opportunity_id": f"O{number:08d}",
            "logged_at": NOW.instant - timedelta(days=3),
            "due_at": NOW.instant + timedelta(days=days),
        }
        for number in range(60)
        for days in ((number % 23, 40) if number % 2 else (number % 40,))
    ]
    world["planned_activities"] = rows_table("planned_activities", [{"kind": "call"} | plan for plan in plans])
    return write_tables(tmp_path_factory.mktemp("canonical"), world)


def known_before(activities: pa.Table, as_of: AsOf) -> pa.Table:
    return activities.filter(pc.less(known_at_of(activities), pa.scalar(as_of.instant, pa.timestamp("us", tz="UTC"))))


@pytest.fixture(scope="module")
def matrices(tables: Tables, tmp_path_factory: pytest.TempPathFactory, engine: DuckDBEngine) -> tuple[Matrix, Matrix]:
    """Of the last known instant, and of a later one before which nothing else happened."""
    lake = Lake(tmp_path_factory.mktemp("lake"))

    def at(as_of: AsOf) -> FeatureSet:
        return build(lake, tables, as_of, purpose="scoring", params=FeatureParams(), engine=engine)

    now, later = load_matrix(at(NOW)), load_matrix(at(LATER))
    assert list(now.keys["opportunity_id"]) == list(later.keys["opportunity_id"])
    assert len(now) > 8
    return now, later


def test_every_feature_moves_as_its_clock_says(
    tables: Tables, matrices: tuple[Matrix, Matrix], engine: DuckDBEngine
) -> None:
    now, later = matrices
    changed: set[str] = set()
    for number in range(8):
        row = np.array([number])
        old, new = now.take(row), later.take(row)
        name = str(old.keys["opportunity_id"][0])
        windows = windows_without_events(tables.tables, name, known_before=NOW, as_of=LATER, engine=engine)
        moved = pass_time(old, new, windows)
        for feature in FEATURES:
            found, expected = moved.frame[feature.name][0], new.frame[feature.name][0]
            same = found == expected or (isinstance(expected, float) and np.isnan(expected) and np.isnan(found))
            assert same, (name, feature.name, old.frame[feature.name][0], found, expected)
            if old.frame[feature.name][0] != expected and expected == expected:
                changed.add(feature.name)
    clocked = {feature.name for feature in FEATURES if feature.clock}
    assert changed <= clocked
    assert {"age_days", "days_to_crm_close_date", "activity_count_7d", "as_of_month"} <= changed
    assert {"planned_activity_count", "days_to_next_planned_activity"} <= changed


def test_events_after_the_earlier_as_of_are_not_seen(tables: Tables, engine: DuckDBEngine, tmp_path: Path) -> None:
    """The tables of today and those of the earlier as-of give the same windows."""
    activities = pa.parquet.read_table(tables.tables["activities"].path)
    early = known_before(activities, BEFORE)
    truncated = write_tables(tmp_path, {"activities": early})
    names = sorted(set(activities["opportunity_id"].to_pylist()) - {None})[:5]
    assert early.num_rows < activities.num_rows
    for name in names:
        found, expected = (
            windows_without_events(source.tables, name, known_before=BEFORE, as_of=NOW, engine=engine)
            for source in (tables, truncated)
        )
        done = set(WINDOWED["engagement"])
        assert {key: found[key] for key in done} == {key: expected[key] for key in done}


def test_every_window_is_computed() -> None:
    assert {name for names in WINDOWED.values() for name in names} == {
        feature.name for feature in FEATURES if feature.clock == "window"
    }
    assert set(WINDOWED) == {"engagement", "planned"}
