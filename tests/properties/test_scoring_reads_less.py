"""What a day that only scores makes of the past gives the same bytes as the whole preparation, at the end of a history and within it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlglot import exp

from sales_pipeline.domain.time import AsOf
from sales_pipeline.engines.base import WorkTable
from sales_pipeline.engines.duckdb import DuckDBEngine
from sales_pipeline.features.build import RECORDS, build
from sales_pipeline.features.params import FeatureParams
from sales_pipeline.features.preparation import is_prepared, prepared
from sales_pipeline.features.sql_models import inputs_of, model, written_out
from sales_pipeline.features.standing import stays_of_all
from sales_pipeline.lake.layout import Lake
from tests.support.histories import FIELDS, Tables, write_rows
from tests.support.worlds import START, make_world

READ_OF_ALL = {
    "timeline": ("opportunity_id", "changed_at", "position", "next_changed_at", "stage", "state", "amount", "owner_id", "first_amount", "stage_entered_at"),
    "current_facts": ("opportunity_id", "has_timeline", "has_owner_history", "has_amount_history"),
    "closings": ("opportunity_id", "closed_at", "reopened_at", "is_won", "amount", "owner_id"),
}  # fmt: skip
COMMON = settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("less") / "world"


@pytest.fixture(scope="module")
def engine() -> Iterator[DuckDBEngine]:
    with DuckDBEngine(threads=1) as engine:
        yield engine


@pytest.fixture(scope="module")
def in_ranges() -> Iterator[DuckDBEngine]:
    with DuckDBEngine(threads=1, rows_at_once=25) as engine:
        yield engine


def digests(canonical: Tables, lake: Lake, as_of: AsOf, engine: DuckDBEngine) -> dict[str, str]:
    features = build(lake, canonical, as_of, purpose="scoring", params=FeatureParams(), engine=engine)
    assert features.touches is not None
    refs = (features.spine, features.features, features.attributes, features.outcomes, features.touches)
    return {ref.name: ref.sha256 for ref in refs} | features.absent


@COMMON
@given(
    seed=st.integers(0, 1_000_000),
    versioned=st.sampled_from([FIELDS, FIELDS, ("stage",), ("stage", "owner_id"), ("amount",), ()]),
    day=st.sampled_from([28, 56, 84, 90, 112]),
)
def test_reading_less_changes_no_byte(
    seed: int, versioned: tuple[str, ...], day: int, folder: Path, engine: DuckDBEngine, in_ranges: DuckDBEngine
) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    canonical = write_rows(folder / "canonical", make_world(seed, versioned=versioned))
    as_of, whole = AsOf(START + timedelta(days=day)), Lake(folder / "whole")
    prepared(whole, canonical.tables, engine)
    wanted = digests(canonical, whole, as_of, engine)
    for name, one in (("less", engine), ("parts", in_ranges)):
        assert digests(canonical, Lake(folder / name), as_of, one) == wanted
        assert not is_prepared(Lake(folder / name), canonical.tables, one)


@COMMON
@given(
    seed=st.integers(0, 1_000_000),
    versioned=st.sampled_from([FIELDS, ("stage",), ()]),
    day=st.sampled_from([28, 56, 84, 112]),
)
def test_what_is_added_up_at_one_as_of_is_what_running_sums_give(
    seed: int, versioned: tuple[str, ...], day: int, folder: Path, engine: DuckDBEngine
) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    canonical = write_rows(folder / "canonical", make_world(seed, versioned=versioned))
    lake, as_of = Lake(folder / "lake"), AsOf(START + timedelta(days=day))
    known = prepared(lake, canonical.tables, engine)
    spine = build(lake, canonical, as_of, purpose="scoring", params=FeatureParams(), engine=engine).spine
    for name in RECORDS:
        running, at_once = (
            engine.query(tree, inputs_of(tree, {**known, "spine": spine}), parameters={"as_of": as_of.instant})
            for tree in (model(name), model(f"{name}_now"))
        )
        if spine.rows:
            assert at_once.schema == running.schema
            assert sorted(map(str, at_once.to_pylist())) == sorted(map(str, running.to_pylist())), name


@COMMON
@given(seed=st.integers(0, 1_000_000), versioned=st.sampled_from([FIELDS, ("stage",), ("amount",), ()]))
def test_stays_are_those_of_the_timeline(
    seed: int, versioned: tuple[str, ...], folder: Path, engine: DuckDBEngine
) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    canonical = write_rows(folder / "canonical", make_world(seed, versioned=versioned))
    lake = Lake(folder / "lake")

    def rows() -> dict[str, list[Any]]:
        found = {**canonical.tables, **stays_of_all(lake, canonical, engine)}
        trees = {name: exp.select(*columns).from_(name).order_by(*columns) for name, columns in READ_OF_ALL.items()}
        return {name: engine.query(*written_out(tree, found)).to_pylist() for name, tree in trees.items()}

    held = rows()
    prepared(lake, canonical.tables, engine)
    assert rows() == held


def test_what_is_held_is_released(folder: Path, engine: DuckDBEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    canonical = write_rows(folder / "canonical", make_world(1, versioned=FIELDS))
    held: list[WorkTable] = []
    hold, release = engine.hold, engine.release

    def held_too(*given: Any, **named: Any) -> WorkTable:
        held.append(hold(*given, **named))
        return held[-1]

    def released(table: WorkTable) -> None:
        held.remove(table)
        release(table)

    monkeypatch.setattr(engine, "hold", held_too)
    monkeypatch.setattr(engine, "release", released)
    digests(canonical, Lake(folder / "lake"), AsOf(START + timedelta(days=90)), engine)
    assert held == []
