"""Every feature of every spine row against the brute-force reference, and: what happens at or after an as-of changes nothing."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from sales_pipeline.domain.time import AsOf
from sales_pipeline.engines.duckdb import DuckDBEngine
from sales_pipeline.features.availability import Purpose
from sales_pipeline.features.build import FeatureSet, build
from sales_pipeline.features.catalogue import FEATURES
from sales_pipeline.features.params import FeatureParams
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.tables import read_table
from tests.support.histories import FIELDS, write_rows
from tests.support.reference_features import World
from tests.support.worlds import AS_OF, START, STEP_DAYS, Rows, last_seen, make_world, with_future

PARAMS = FeatureParams(landmark_every_days=STEP_DAYS, max_landmarks_per_opportunity=100, random_landmark_dates=0)
WEIGHTS = {
    "owner": PARAMS.owner_prior_weight,
    "account": PARAMS.account_prior_weight,
    "product": PARAMS.product_prior_weight,
}
# Each example builds whole feature sets, so failing ones are not shrunk: the assertion names the cell.
COMMON = settings(
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
seeds = st.integers(0, 1_000_000)
histories = st.sampled_from([FIELDS, FIELDS, ("stage",), ("stage", "amount", "owner_id"), ("amount",), ()])
Key = tuple[str, datetime]


@pytest.fixture(scope="module")
def engine() -> Iterator[DuckDBEngine]:
    with DuckDBEngine(threads=1) as engine:
        yield engine


class Bench:
    """Builds feature sets of small worlds in a folder that is emptied each time."""

    def __init__(self, folder: Path, engine: DuckDBEngine) -> None:
        self.folder, self.engine = folder, engine

    def build(self, rows: Rows, purpose: Purpose, as_of: datetime = AS_OF) -> FeatureSet:
        shutil.rmtree(self.folder, ignore_errors=True)
        tables = write_rows(self.folder / "canonical", rows)
        return build(
            Lake(self.folder / "lake"), tables, AsOf(as_of), purpose=purpose, params=PARAMS, engine=self.engine
        )

    def cells(self, rows: Rows, purpose: Purpose, as_of: datetime = AS_OF) -> dict[Key, dict[str, Any]]:
        found = self.build(rows, purpose, as_of)
        return {(row.pop("opportunity_id"), row.pop("as_of")): row for row in read_table(found.features).to_pylist()}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, engine: DuckDBEngine) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench") / "world", engine)


def equal(found: Any, expected: Any) -> bool:
    if isinstance(expected, int | float | Decimal) and not isinstance(expected, bool) and found is not None:
        return float(found) == pytest.approx(float(expected), rel=1e-9, abs=1e-9)
    return bool(found == expected)


def compare(found: FeatureSet, world: World) -> None:
    for row in read_table(found.features).to_pylist():
        expected = world.features(row["opportunity_id"], row["as_of"])
        for feature in FEATURES:
            wanted = None if feature.name in found.absent else expected[feature.name]
            assert equal(row[feature.name], wanted), (
                f"{row['opportunity_id']} at {row['as_of']}: {feature.name} is {row[feature.name]!r}, expected {wanted!r}"
            )


def test_the_reference_knows_every_feature() -> None:
    rows: Rows = {"opportunities": [{"opportunity_id": "O0", "created_at": START}]}
    assert set(World(rows, WEIGHTS).features("O0", AS_OF)) == {feature.name for feature in FEATURES}


@settings(COMMON, max_examples=6)
@given(seed=seeds, versioned=histories)
def test_training_rows_equal_the_reference(seed: int, versioned: tuple[str, ...], bench: Bench) -> None:
    rows = make_world(seed, versioned=versioned)
    found = bench.build(rows, "training")
    world = World(rows, WEIGHTS)
    if found.mode == "grid":
        spine = {(row["opportunity_id"], row["as_of"]) for row in read_table(found.spine).to_pylist()}
        assert spine == world.landmarks(AS_OF, STEP_DAYS)
    compare(found, world)
    for row in read_table(found.outcomes).to_pylist():
        assert (row["is_won"], row["closed_at"]) == world.outcome(row["opportunity_id"], AS_OF)


@settings(COMMON, max_examples=6)
@given(seed=seeds, versioned=histories, day=st.sampled_from([28, 56, 84, 90, 90, 112]))
def test_scoring_rows_equal_the_reference(seed: int, versioned: tuple[str, ...], day: int, bench: Bench) -> None:
    rows = make_world(seed, versioned=versioned)
    as_of = START + timedelta(days=day)
    found = bench.build(rows, "scoring", as_of)
    world = World(rows, WEIGHTS)
    spine = {row["opportunity_id"] for row in read_table(found.spine).to_pylist()}
    assert spine == {name for name in world.opportunities if world.is_open(name, as_of)}
    compare(found, world)


@settings(COMMON, max_examples=3)
@given(seed=seeds)
def test_what_happens_at_or_after_the_as_of_changes_nothing(seed: int, bench: Bench) -> None:
    rows = make_world(seed, with_unknown_creation=False)
    before = bench.cells(rows, "scoring")
    assert before
    at_the_instant = bench.cells(with_future(rows, AS_OF, timedelta()), "scoring")
    assert at_the_instant == before
    just_before = bench.cells(with_future(rows, AS_OF, -timedelta(microseconds=1)), "scoring")
    assert just_before != before, "a change just before the as-of must show"


def without_future(rows: Rows, as_of: datetime) -> Rows:
    """Only what was recorded strictly before `as_of`; last seen values are those of then."""
    rows = copy.deepcopy(rows)
    kept = [row for row in rows["opportunity_changes"] if row["changed_at"] < as_of]
    opportunities = []
    for row in rows["opportunities"]:
        mine = [change for change in kept if change["opportunity_id"] == row["opportunity_id"]]
        if mine:
            is_removed = row["removed_at"] is not None and row["removed_at"] < as_of
            opportunities.append(row | last_seen(mine) | {"removed_at": row["removed_at"] if is_removed else None})
    return rows | {
        "opportunities": opportunities,
        "opportunity_changes": kept,
        "activities": [row for row in rows["activities"] if max(row["occurred_at"], row["logged_at"]) < as_of],
        "planned_activities": [
            *(row for row in rows["planned_activities"] if row["logged_at"] is not None and row["logged_at"] < as_of),
            *(
                {"activity_id": f"D{row['activity_id']}", "opportunity_id": row["opportunity_id"], "kind": row["kind"]}
                | {"due_at": row["occurred_at"], "logged_at": row["logged_at"]}
                for row in rows["activities"]
                if row["logged_at"] < as_of <= row["occurred_at"]
            ),
        ],
    }


@settings(COMMON, max_examples=3)
@given(seed=seeds)
def test_removing_the_future_changes_nothing(seed: int, bench: Bench) -> None:
    rows = make_world(seed, with_unknown_creation=False)
    as_of = START + timedelta(days=84)
    past = without_future(rows, as_of)
    found = bench.build(rows, "scoring", as_of)
    whole = {(row["opportunity_id"]): row for row in read_table(found.features).to_pylist()}
    absent = set(found.absent)
    found = bench.build(past, "scoring", as_of)
    expected = {(row["opportunity_id"]): row for row in read_table(found.features).to_pylist()}
    assert whole.keys() == expected.keys()
    present = [feature.name for feature in FEATURES if feature.name not in absent | set(found.absent)]
    for opportunity_id, row in whole.items():
        assert {name: row[name] for name in present} == {name: expected[opportunity_id][name] for name in present}
