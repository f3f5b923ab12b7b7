"""What the canonical tables say over time is made once for all as-ofs, knows none of them, and has equal bytes for equal tables."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from sqlglot import exp

from sales_pipeline.domain.time import AsOf
from sales_pipeline.engines.duckdb import DuckDBEngine
from sales_pipeline.features.build import build
from sales_pipeline.features.params import FeatureParams
from sales_pipeline.features.preparation import PREPARED, prepared
from sales_pipeline.features.sql_models import model
from sales_pipeline.lake.layout import Lake
from tests.support.histories import field_history, write_rows

DAY = datetime(2025, 1, 1, tzinfo=UTC)
ROWS = {
    "opportunities": [
        {
            "opportunity_id": name,
            "created_at": DAY,
            "state": "won",
            "stage": "Won",
            "closed_at": DAY + timedelta(days=9),
        }
        for name in ("b", "a")
    ],
    "opportunity_changes": [
        {"opportunity_id": name, "changed_at": DAY + timedelta(days=day), "stage": stage, "state": stage.lower()}
        for name in ("b", "a")
        for day, stage in ((9, "Won"), (0, "Open"))
    ],
    "field_history": field_history(("stage",)),
}


@pytest.fixture(scope="module")
def engine() -> Iterator[DuckDBEngine]:
    with DuckDBEngine(threads=2) as engine:
        yield engine


def folders(lake: Lake) -> set[str]:
    return {path.name for path in (lake.root / "features").iterdir() if (path / "timeline.parquet").is_file()}


def test_all_as_ofs_and_purposes_share_one(tmp_path: Path, engine: DuckDBEngine) -> None:
    canonical, lake = write_rows(tmp_path / "canonical", ROWS), Lake(tmp_path / "lake")
    for days in (5, 30):
        for purpose in ("scoring", "training"):
            as_of = AsOf(DAY + timedelta(days=days))
            build(lake, canonical, as_of, purpose=purpose, params=FeatureParams(), engine=engine)
    assert len(folders(lake)) == 1
    found = prepared(lake, canonical.tables, engine)
    assert {Path(ref.path).parent.name for ref in found.values()} == folders(lake)


def test_other_changes_make_another_and_equal_ones_equal_bytes(tmp_path: Path, engine: DuckDBEngine) -> None:
    lake = Lake(tmp_path / "lake")
    first = prepared(lake, write_rows(tmp_path / "a", ROWS).tables, engine)
    again = prepared(Lake(tmp_path / "other"), write_rows(tmp_path / "b", ROWS).tables, engine)
    fewer = ROWS | {"opportunity_changes": ROWS["opportunity_changes"][:-1]}
    prepared(lake, write_rows(tmp_path / "c", fewer).tables, engine)
    assert {name: ref.sha256 for name, ref in first.items()} == {name: ref.sha256 for name, ref in again.items()}
    assert len(folders(lake)) == 2


@pytest.mark.parametrize("name", PREPARED)
def test_none_takes_a_parameter_and_each_is_ordered(name: str, tmp_path: Path, engine: DuckDBEngine) -> None:
    assert not list(model(name).find_all(exp.Placeholder))
    ref = prepared(Lake(tmp_path / "lake"), write_rows(tmp_path / "canonical", ROWS).tables, engine)[name]
    keys = [tuple(row[part] for part in PREPARED[name][0]) for row in pq.read_table(ref.path).to_pylist()]
    assert keys == sorted(set(keys))
    assert keys
