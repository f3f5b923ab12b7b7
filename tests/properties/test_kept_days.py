"""What is kept of where opportunities stood, taken over from the day before and added to, says what making all of it says."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlglot import exp

from sales_pipeline.clean import incremental, merged
from sales_pipeline.clean.params import CleanParams
from sales_pipeline.clean.prepare import Canonical, prepare
from sales_pipeline.engines.duckdb import DuckDBEngine
from sales_pipeline.features import kept as keeping
from sales_pipeline.features.kept import kept
from sales_pipeline.features.preparation import prepared
from sales_pipeline.features.sql_models import written_out
from sales_pipeline.features.standing import STAY_COLUMNS, stays_of_all
from sales_pipeline.ingest.params import SourceMapping
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.tables import read_table, write_table
from tests.support.days import Days
from tests.support.histories import FIELDS, Tables, write_rows
from tests.support.worlds import make_world

COLUMNS = {
    "timeline": STAY_COLUMNS,
    "current_facts": ("opportunity_id", "account_id", "state", "has_timeline", "has_owner_history"),
    "closings": ("opportunity_id", "account_id", "owner_id", "amount", "is_won", "closed_at", "reopened_at"),
}
Rows = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def engine() -> Iterator[DuckDBEngine]:
    with DuckDBEngine(threads=1) as one:
        yield one


@pytest.fixture(autouse=True)
def _however_much_is_affected(monkeypatch: pytest.MonkeyPatch) -> None:
    """A world of thirty opportunities is small, and a day changes most of it."""
    monkeypatch.setattr(incremental, "MAX_SHARE", 10.0)
    monkeypatch.setattr(merged, "MIN_RECORDS", 0)
    monkeypatch.setattr(keeping, "MAX_SHARE", 1.0)


def seen(lake: Lake, canonical: Canonical | Tables, engine: DuckDBEngine) -> Rows:
    found = {**canonical.tables, **stays_of_all(lake, canonical, engine)}
    trees = {name: exp.select(*columns).from_(name).order_by(*columns) for name, columns in COLUMNS.items()}
    return {name: engine.query(*written_out(tree, found)).to_pylist() for name, tree in trees.items()}


def test_a_day_put_on_the_one_before_says_what_all_made_anew_says(engine: DuckDBEngine) -> None:
    were_added_to: list[bool] = []

    @settings(
        max_examples=3,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(seed=st.integers(0, 1_000_000), is_salesforce=st.booleans(), is_prepared=st.booleans())
    def compare(seed: int, is_salesforce: bool, is_prepared: bool) -> None:
        world = Days(seed, is_salesforce=is_salesforce)
        mapping = SourceMapping(dialect="salesforce" if is_salesforce else "table", extract={"opportunities": "delta"})
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            lake = Lake(folder / "lake")
            exports: list[Any] = []
            for day in range(3):
                exports.append(world.export(folder / "raw"))
                canonical = prepare(lake, exports, mapping, CleanParams(), engine)
                if is_prepared and not day:
                    prepared(lake, canonical.tables, engine)
                assert seen(lake, canonical, engine) == seen(Lake(folder / f"anew {day}"), canonical, engine)
                if day:
                    were_added_to.append(kept(lake, canonical, engine).changed.rows > 0)

    compare()
    assert sum(were_added_to) * 2 >= len(were_added_to), (
        "most days must be put on the one before, or little is compared"
    )


def day_after(folder: Path, *, hides_one: bool = False) -> tuple[Tables, Tables]:
    """Canonical tables and those of a day on which two opportunities lost their last change, which the later ones say of both, or of one alone."""
    rows = make_world(3, versioned=FIELDS)
    before = write_rows(folder / "before", rows)
    changes = rows["opportunity_changes"]
    last = {row["opportunity_id"]: number for number, row in enumerate(changes)}
    changed = sorted(last)[1:3]
    gone = {last[name] for name in changed}
    now = write_rows(
        folder / "now",
        rows | {"opportunity_changes": [row for number, row in enumerate(changes) if number not in gone]},
    )
    told = changed[:1] if hides_one else changed
    came = {}
    for name in ("opportunities", "opportunity_changes"):
        data = read_table(now.tables[name])
        keep = [value in told for value in data.column("opportunity_id").to_pylist()]
        came[name] = write_table(data.filter(keep), folder / "came" / f"{name}.parquet")
    return before, Tables(now.tables, base=before.key, came=came)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    shutil.rmtree(tmp_path, ignore_errors=True)


def test_tables_of_all_are_taken_over_as_they_lie(folder: Path, engine: DuckDBEngine) -> None:
    before, now = day_after(folder)
    lake = Lake(folder / "lake")
    first = kept(lake, before, engine)
    second = kept(lake, now, engine)
    assert {name: ref.sha256 for name, ref in second.of_all.items()} == {
        name: ref.sha256 for name, ref in first.of_all.items()
    }
    assert second.changed.rows == 2
    assert seen(lake, now, engine) == seen(Lake(folder / "anew"), now, engine)


@pytest.mark.parametrize("reason", ["rows do not add up", "too many", "nothing kept"])
def test_all_is_made_anew_where_it_must_be(
    reason: str, folder: Path, engine: DuckDBEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, now = day_after(folder, hides_one=reason == "rows do not add up")
    lake = Lake(folder / "lake")
    if reason != "nothing kept":
        kept(lake, before, engine)
    if reason == "too many":
        monkeypatch.setattr(keeping, "MAX_SHARE", 0.0)
    assert kept(lake, now, engine).changed.rows == 0
    assert seen(lake, now, engine) == seen(Lake(folder / "anew"), now, engine)
