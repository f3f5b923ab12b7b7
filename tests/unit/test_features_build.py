"""Which spine a data set allows, what is absent in it, and that equal inputs give equal bytes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from sales_pipeline.domain.time import AsOf
from sales_pipeline.engines.duckdb import DuckDBEngine
from sales_pipeline.features.availability import Purpose
from sales_pipeline.features.build import FeatureSet, build
from sales_pipeline.features.catalogue import FEATURES
from sales_pipeline.features.params import FeatureParams
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.tables import read_table
from tests.support.histories import field_history, write_rows

START = datetime(2025, 1, 1, tzinfo=UTC)
AS_OF = START + timedelta(days=100)
Rows = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def engine() -> Iterator[DuckDBEngine]:
    with DuckDBEngine(threads=1) as engine:
        yield engine


def features(
    folder: Path, engine: DuckDBEngine, rows: Rows, purpose: Purpose = "training", **params: Any
) -> FeatureSet:
    tables = write_rows(folder / "canonical", rows)
    return build(
        Lake(folder / "lake"), tables, AsOf(AS_OF), purpose=purpose, params=FeatureParams(**params), engine=engine
    )


def spine(found: FeatureSet) -> set[tuple[str, datetime]]:
    return {(row["opportunity_id"], row["as_of"]) for row in read_table(found.spine).to_pylist()}


def day(number: int) -> datetime:
    return START + timedelta(days=number)


def opportunity(
    name: str, created: int | None, closed: int | None = None, state: str = "open", **more: Any
) -> dict[str, Any]:
    return {
        "opportunity_id": name,
        "created_at": None if created is None else day(created),
        "closed_at": None if closed is None else day(closed),
        "state": state,
        "stage": state,
    } | more


UNTRACKED: Rows = {
    "opportunities": [
        opportunity("open", 10, amount=Decimal("5.00")),
        opportunity("won", 20, 40, "won", amount=Decimal("7.00"), owner_id="U1"),
        opportunity("undated win", 30, None, "won"),
        opportunity("unknown creation", None),
        opportunity("at the as-of", 100),
    ],
    "field_history": field_history(()),
}


def test_without_history_and_activities_the_landmark_is_the_creation(tmp_path: Path, engine: DuckDBEngine) -> None:
    found = features(tmp_path, engine, UNTRACKED)
    tick = timedelta(microseconds=1)
    assert found.mode == "creation"
    assert spine(found) == {("open", day(10) + tick), ("won", day(20) + tick), ("undated win", day(30) + tick)}
    assert found.absent["age_days"] == "no history and no activities: only what is known at creation remains"
    assert found.absent["activity_count"] == "no activities: engagement features absent"
    assert found.absent["stage_move_count"] == "no history of stage"
    assert "amount" not in found.absent
    assert not found.has_history


def test_outcomes_are_those_known_before_the_as_of(tmp_path: Path, engine: DuckDBEngine) -> None:
    found = features(tmp_path, engine, UNTRACKED)
    outcomes = {row["opportunity_id"]: row for row in read_table(found.outcomes).to_pylist()}
    assert {name: row["is_won"] for name, row in outcomes.items()} == {
        "open": None,
        "won": True,
        "undated win": True,
        "unknown creation": None,
    }
    assert outcomes["won"]["closed_at"] == day(40)
    assert outcomes["won"]["won_amount"] == Decimal("7.00")


def test_scoring_takes_the_open_ones_with_an_unknown_creation_too(tmp_path: Path, engine: DuckDBEngine) -> None:
    found = features(tmp_path, engine, UNTRACKED, "scoring")
    assert spine(found) == {("open", AS_OF), ("unknown creation", AS_OF)}


def test_without_any_dates_every_opportunity_stands_at_the_as_of(tmp_path: Path, engine: DuckDBEngine) -> None:
    rows = {
        "opportunities": [opportunity("a", None, None, "won", lead_source="web"), opportunity("b", None, None, "lost")],
        "field_history": field_history(()),
    }
    found = features(tmp_path, engine, rows)
    assert found.mode == "undated"
    assert spine(found) == {("a", AS_OF), ("b", AS_OF)}
    static = {"kind", "currency", "lead_source", "stage"}
    assert set(found.usable) & static == static - {"stage"}
    assert [row["lead_source"] for row in read_table(found.features).to_pylist()] == ["web", None]


def tracked(days: int = 0) -> Rows:
    changes = [
        {"opportunity_id": "long", "changed_at": day(days), "stage": "Open", "state": "open", "owner_id": "U1"},
        {"opportunity_id": "gone", "changed_at": day(0), "stage": "Open", "state": "open", "owner_id": "U1"},
    ]
    return {
        "opportunities": [opportunity("long", days), opportunity("gone", 0, removed_at=day(50))],
        "opportunity_changes": changes,
        "field_history": field_history(("stage", "owner_id")),
        "opportunity_attributes": [
            {"opportunity_id": name, "attribute": "Region", "kind": "category", "text_value": "x"}
            for name in ("long", "gone")
        ],
    }


def test_landmarks_are_counted_back_from_the_as_of_and_stop_at_removal(tmp_path: Path, engine: DuckDBEngine) -> None:
    found = features(tmp_path, engine, tracked(), landmark_every_days=20, random_landmark_dates=0)
    assert found.mode == "grid"
    assert found.has_history
    assert {as_of for name, as_of in spine(found) if name == "long"} == {day(20), day(40), day(60), day(80)}
    assert {as_of for name, as_of in spine(found) if name == "gone"} == {day(20), day(40)}
    assert found.absent["amount_change_count"] == "no history of amount"


def test_landmarks_are_met_on_days_drawn_at_random_too(tmp_path: Path, engine: DuckDBEngine) -> None:
    grid = features(tmp_path / "a", engine, tracked(), landmark_every_days=40, random_landmark_dates=0)
    both = features(tmp_path / "b", engine, tracked(), landmark_every_days=40, random_landmark_dates=9)
    again = features(tmp_path / "c", engine, tracked(), landmark_every_days=40, random_landmark_dates=9)
    other = features(
        tmp_path / "d", engine, tracked(), landmark_every_days=40, random_landmark_dates=9, landmark_seed=8
    )
    drawn = {as_of for name, as_of in spine(both) if name == "long"} - {as_of for name, as_of in spine(grid)}
    assert 5 <= len(drawn) <= 9
    assert all(day(0) < as_of < both.as_of.instant for as_of in drawn)
    assert spine(again) == spine(both) != spine(other)


def test_many_landmarks_are_thinned_evenly_and_keep_the_first(tmp_path: Path, engine: DuckDBEngine) -> None:
    found = features(
        tmp_path, engine, tracked(), landmark_every_days=10, max_landmarks_per_opportunity=3, random_landmark_dates=0
    )
    assert sorted(as_of for name, as_of in spine(found) if name == "long") == [day(10), day(40), day(70)]


def test_attributes_are_those_of_the_spine(tmp_path: Path, engine: DuckDBEngine) -> None:
    found = features(tmp_path, engine, tracked(), "scoring")
    assert [row["opportunity_id"] for row in read_table(found.attributes).to_pylist()] == ["long"]


def test_the_rows_of_features_are_the_rows_of_the_spine(tmp_path: Path, engine: DuckDBEngine) -> None:
    found = features(tmp_path, engine, tracked())
    keys = [(row["opportunity_id"], row["as_of"]) for row in read_table(found.features).to_pylist()]
    assert keys == sorted(spine(found))
    assert found.features.rows == found.spine.rows


def test_equal_inputs_give_equal_bytes_and_are_built_once(tmp_path: Path, engine: DuckDBEngine) -> None:
    one = features(tmp_path / "one", engine, tracked())
    again = features(tmp_path / "one", engine, tracked())
    other = features(tmp_path / "two", engine, tracked())
    assert one == again
    assert (one.key, one.features.sha256, one.spine.sha256) == (other.key, other.features.sha256, other.spine.sha256)
    assert features(tmp_path / "one", engine, tracked(), landmark_every_days=7).key != one.key
    assert sorted(path.name for path in Path(one.spine.path).parent.iterdir()) == [
        "_step.json",
        "attributes.parquet",
        "features.parquet",
        "outcomes.parquet",
        "spine.parquet",
    ]


def test_no_opportunities_give_empty_tables(tmp_path: Path, engine: DuckDBEngine) -> None:
    found = features(tmp_path, engine, {"field_history": field_history(())}, "scoring")
    assert (found.spine.rows, found.features.rows, found.outcomes.rows) == (0, 0, 0)
    assert set(found.absent) > {feature.name for feature in FEATURES if feature.family == "engagement"}
