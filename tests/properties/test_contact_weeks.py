"""The weeks of contacts on generated histories: each count against brute force, and nothing from at or after the as-of."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sales_pipeline.domain.time import AsOf
from sales_pipeline.engines.duckdb import DuckDBEngine
from sales_pipeline.features.build import build
from sales_pipeline.features.params import FeatureParams
from sales_pipeline.features.preparation import prepare_into
from sales_pipeline.follow_up.weeks import choose, contact_weeks, to_weeks
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.tables import read_table
from tests.support.histories import write_rows
from tests.support.worlds import AS_OF, Rows, make_world, with_future

WEEK = timedelta(days=7)
WEEKS = 10
COMMON = settings(
    max_examples=3,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.fixture(scope="module")
def engine() -> Iterator[DuckDBEngine]:
    with DuckDBEngine(threads=1) as engine:
        yield engine


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("weeks") / "world"


def weeks_of(rows: Rows, folder: Path, engine: DuckDBEngine) -> list[dict[str, Any]]:
    shutil.rmtree(folder, ignore_errors=True)
    canonical = write_rows(folder / "canonical", rows)
    features = build(
        Lake(folder / "lake"), canonical, AsOf(AS_OF), purpose="scoring", params=FeatureParams(), engine=engine
    )
    chosen = choose(canonical.tables["opportunities"], 10**6)
    known = {**canonical.tables, **prepare_into(folder / "prepared", canonical.tables, engine)}
    ref = contact_weeks(known, features.outcomes, chosen, AsOf(AS_OF), WEEKS, folder / "weeks", engine)
    found: list[dict[str, Any]] = read_table(ref).to_pylist()
    return found


@COMMON
@given(seed=st.integers(0, 1_000_000))
def test_each_week_counts_its_own_contacts(seed: int, folder: Path, engine: DuckDBEngine) -> None:
    rows = make_world(seed, with_unknown_creation=False)
    found = weeks_of(rows, folder, engine)
    assert found
    for row in found:
        mine = [
            activity
            for activity in rows["activities"]
            if activity["opportunity_id"] == row["opportunity_id"]
            and row["as_of"] <= max(activity["occurred_at"], activity["logged_at"]) < min(row["as_of"] + WEEK, AS_OF)
        ]
        ours = [a["kind"] for a in mine if (a["direction"] or "outbound") == "outbound"]
        assert [row[f"{kind}_count"] for kind in ("call", "email", "meeting")] == [
            ours.count(kind) for kind in ("call", "email", "meeting")
        ]
        assert row["inbound_count"] == sum(a["direction"] == "inbound" and a["kind"] != "task" for a in mine)
        assert (AS_OF - row["as_of"]) % WEEK == timedelta()
        assert row["created_at"] < row["as_of"]
    weeks = to_weeks(read_table_of(folder), AsOf(AS_OF))
    later = weeks.at(1)
    assert all(weeks.week[later[k]] == weeks.week[k] + 1 for k in range(len(weeks)) if later[k] >= 0)


def read_table_of(folder: Path) -> Any:
    import pyarrow.parquet as pq

    return pq.read_table(folder / "weeks" / "contact_weeks.parquet")


@COMMON
@given(seed=st.integers(0, 1_000_000))
def test_what_happens_at_or_after_the_as_of_changes_nothing(seed: int, folder: Path, engine: DuckDBEngine) -> None:
    rows = make_world(seed, with_unknown_creation=False)
    before = weeks_of(rows, folder, engine)
    assert weeks_of(with_future(rows, AS_OF, timedelta()), folder, engine) == before
    just_before = weeks_of(with_future(rows, AS_OF, -timedelta(microseconds=1)), folder, engine)
    assert just_before != before, "a change just before the as-of must show"


def test_of_many_opportunities_whole_accounts_are_drawn(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    rows = make_world(5, count=200)
    for number, row in enumerate(rows["opportunities"]):
        row["account_id"] = f"A{number % 60}"
    ref = write_rows(folder / "canonical", rows).tables["opportunities"]
    chosen = set(choose(ref, 80))
    assert 30 < len(chosen) < 140
    accounts = {row["opportunity_id"]: row["account_id"] for row in rows["opportunities"]}
    drawn = {accounts[name] for name in chosen}
    assert chosen == {name for name, account in accounts.items() if account in drawn}
    assert set(choose(ref, 80)) == chosen
