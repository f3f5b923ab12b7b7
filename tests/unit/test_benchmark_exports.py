"""The benchmark's generated exports: the same bytes for the same size and seed, and readable as a Salesforce export."""

from __future__ import annotations

import csv
from pathlib import Path

import pyarrow.parquet as pq

from tests.benchmarks.exports import CHANGES, EVENTS, TASKS, write_export


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def test_the_same_size_and_seed_give_the_same_bytes(tmp_path: Path) -> None:
    write_export(tmp_path / "a", 300)
    write_export(tmp_path / "b", 300)
    write_export(tmp_path / "c", 300, seed=8)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == [f"{name}.csv" for name in ("Account", "Event", "Opportunity", "OpportunityHistory", "OpportunityStage", "Task", "User")]  # fmt: skip
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in names)
    assert (tmp_path / "a" / "Task.csv").read_bytes() != (tmp_path / "c" / "Task.csv").read_bytes()


def test_every_opportunity_has_its_changes_and_activities_and_last_state(tmp_path: Path) -> None:
    write_export(tmp_path, 300)
    deals = {row["Id"]: row for row in _rows(tmp_path / "Opportunity.csv")}
    changes = _rows(tmp_path / "OpportunityHistory.csv")
    activities = _rows(tmp_path / "Task.csv") + _rows(tmp_path / "Event.csv")
    assert len(deals) == 300
    assert len(changes) == 300 * CHANGES
    assert len({row["Id"] for row in activities}) == 300 * (TASKS + EVENTS)
    assert {row["OpportunityId"] for row in changes} == {row["WhatId"] for row in activities} == set(deals)
    last = max((row["CreatedDate"], row["StageName"]) for row in changes if row["OpportunityId"] == min(deals))
    assert deals[min(deals)]["StageName"] == last[1]
    assert {"Closed Won", "Closed Lost"} < {row["StageName"] for row in deals.values()}


def test_parquet_holds_what_the_csv_files_hold(tmp_path: Path) -> None:
    write_export(tmp_path / "csv", 100)
    write_export(tmp_path / "parquet", 100, kind="parquet")
    for name in ("Opportunity", "Event"):
        assert pq.read_table(tmp_path / "parquet" / f"{name}.parquet").to_pylist() == _rows(
            tmp_path / "csv" / f"{name}.csv"
        )
