"""The benchmark's generated exports: the same bytes for the same size and seed, and readable as a Salesforce export."""

from __future__ import annotations

import csv
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.benchmarks.exports import CHANGE_DAYS, CHANGES, EVENTS, TASKS, write_export


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


def test_a_day_holds_what_happened_on_it_and_nothing_else(tmp_path: Path) -> None:
    write_export(tmp_path / "base", 3000)
    before = {row["Id"]: row for row in _rows(tmp_path / "base" / "Opportunity.csv")}
    tasks = {row["Id"]: row for row in _rows(tmp_path / "base" / "Task.csv")}
    for day in (1, 2):
        folder = tmp_path / f"day-{day}"
        write_export(folder, 3000, day=day)
        assert sorted(path.stem for path in folder.iterdir()) == ["Account", "Event", "Opportunity", "OpportunityHistory", "Task"]  # fmt: skip
        deals = {row["Id"]: row for row in _rows(folder / "Opportunity.csv")}
        changed = [row for row in deals.values() if row["Id"] in before]
        assert all(
            before[row["Id"]]["IsClosed"] == "0" and row["Amount"] != before[row["Id"]]["Amount"] for row in changed
        )
        assert {row["IsClosed"] for row in changed} == {"0", "1"}
        assert len(deals) - len(changed) == 3
        history = _rows(folder / "OpportunityHistory.csv")
        assert {row["OpportunityId"]: row["StageName"] for row in history} == {row["Id"]: row["StageName"] for row in deals.values()}  # fmt: skip
        done = {row["Id"]: row for row in _rows(folder / "Task.csv")}
        again = set(done) & set(tasks)
        assert len(again) == len(changed)
        assert all(
            tasks[name]["Status"] == "Not Started" and done[name]["CreatedDate"] == tasks[name]["CreatedDate"]
            for name in again
        )
        for name in ("Account", "Event", "Opportunity", "OpportunityHistory", "Task"):
            assert {row["SystemModstamp"][:10] for row in _rows(folder / f"{name}.csv")} <= {f"2026-07-0{day}"}
    assert max(row["SystemModstamp"] for row in tasks.values()) < "2026-07-01"


def test_an_opportunity_changes_on_one_day_and_a_closed_one_is_never_met_again(tmp_path: Path) -> None:
    days = (1, 2, 3, CHANGE_DAYS - 1)
    for day in days:
        write_export(tmp_path / str(day), 1000, day=day)
    changed = [row["Id"] for day in days for row in _rows(tmp_path / str(day) / "Opportunity.csv")]
    assert len(changed) == len(set(changed))
    closed: set[str] = set()
    for day in days:
        assert not closed & {row["WhatId"] for row in _rows(tmp_path / str(day) / "Task.csv")}
        closed |= {row["Id"] for row in _rows(tmp_path / str(day) / "Opportunity.csv") if row["IsClosed"] == "1"}
    assert closed
    with pytest.raises(ValueError, match="is not one of"):
        write_export(tmp_path / "late", 1000, day=CHANGE_DAYS)
