"""Features of generated histories are the same bytes whether the opportunities are met at once or in three ranges and more."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sales_pipeline.domain.time import AsOf
from sales_pipeline.engines.duckdb import DuckDBEngine
from sales_pipeline.engines.ranges import how_many
from sales_pipeline.features.build import CUTS, build
from sales_pipeline.features.params import FeatureParams
from sales_pipeline.features.preparation import PREPARED, prepared
from sales_pipeline.lake.layout import Lake
from tests.support.histories import FIELDS, Tables, write_rows
from tests.support.worlds import AS_OF, STEP_DAYS, make_world

FEW = 25
"""Rows of input met at once: of a world of thirty opportunities, some hundreds in all."""
COMMON = settings(
    max_examples=4,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ranges") / "world"


@pytest.fixture(scope="module")
def at_once() -> Iterator[DuckDBEngine]:
    with DuckDBEngine(threads=1) as engine:
        yield engine


@pytest.fixture(scope="module")
def in_ranges() -> Iterator[DuckDBEngine]:
    with DuckDBEngine(threads=1, rows_at_once=FEW) as engine:
        yield engine


def digests(canonical: Tables, lake: Lake, engine: DuckDBEngine) -> dict[str, str]:
    """The digest of every table a build leaves, by its name."""
    found = {name: ref.sha256 for name, ref in prepared(lake, canonical.tables, engine).items()}
    params = FeatureParams(landmark_every_days=STEP_DAYS)
    for purpose in ("scoring", "training"):
        features = build(lake, canonical, AsOf(AS_OF), purpose=purpose, params=params, engine=engine)
        refs = (features.spine, features.features, features.attributes, features.outcomes)
        found |= {f"{purpose} {ref.name}": ref.sha256 for ref in refs}
    return found


@COMMON
@given(seed=st.integers(0, 1_000_000), versioned=st.sampled_from([FIELDS, ("amount",), ()]))
def test_three_ranges_give_what_one_gives(
    seed: int, versioned: tuple[str, ...], folder: Path, at_once: DuckDBEngine, in_ranges: DuckDBEngine
) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    canonical = write_rows(folder / "canonical", make_world(seed, versioned=versioned))
    one = digests(canonical, Lake(folder / "one"), at_once)
    parts = digests(canonical, Lake(folder / "parts"), in_ranges)
    assert parts == one
    assert how_many(canonical.tables["opportunity_changes"].rows, FEW) >= 3


def test_every_model_that_grows_with_the_opportunities_may_be_cut() -> None:
    results = {"spine", "outcomes", "attributes", "features", "touches"}
    assert results | {"account_counts"} == set(CUTS)
    assert all(cut for _, cut in PREPARED.values())
