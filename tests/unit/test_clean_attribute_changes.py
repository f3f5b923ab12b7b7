"""Changes of custom columns: what a history export records, what comparing exports shows, and what neither can show."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from sales_pipeline.clean.params import CleanParams
from sales_pipeline.clean.prepare import Canonical, prepare
from sales_pipeline.engines.duckdb import DuckDBEngine
from sales_pipeline.ingest.params import SourceMapping, StageMapping
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.tables import read_table
from tests.support.ledger import ledger_rows
from tests.support.raw import ingested

MAPPING = SourceMapping(stages=StageMapping(won=("Won",), lost=("Lost",), open=("New",)))
DAYS = (datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 2, 8, tzinfo=UTC), datetime(2026, 2, 15, tzinfo=UTC))
# Cells by export, opportunity and column. Pilot is not in the second export at all; Recorded has a history of its own.
CELLS: tuple[dict[str, dict[str, str]], ...] = (
    {
        "o1": {"Desk": "north", "Pilot": "yes", "Recorded_By__c": "a"},
        "o2": {"Pilot": "yes", "Note": "x"},
        "o3": {"Desk": "south"},
    },
    {"o1": {"Desk": "North", "Recorded_By__c": "b"}, "o2": {"Desk": "west"}, "o3": {}, "o4": {"Desk": "east"}},
    {"o1": {"Desk": "east", "Pilot": "no"}, "o2": {"Desk": "west", "Pilot": "yes"}, "o3": {"Desk": "south"}, "o4": {}},
)
MODIFIED = ({}, {"o2": "2026-02-05"}, {"o1": "2026-02-16", "o4": "2026-02-02"})
HISTORY = [
    {"opportunity_id": "o1", "changed_at": "2026-02-03T00:00:00Z", "field": "recorded_by__c", "old_value": "a", "new_value": "b", "change_id": "1"},
    {"opportunity_id": "o2", "changed_at": "2026-02-04T00:00:00Z", "field": "Recorded By C", "new_value": "c", "change_id": "2"},
    {"opportunity_id": "o1", "changed_at": "2026-02-04T00:00:00Z", "field": "Elsewhere__c", "new_value": "c", "change_id": "3"},
]  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Canonical:
    folder = tmp_path_factory.mktemp("attributes")
    exports = []
    for number, (day, deals) in enumerate(zip(DAYS, CELLS, strict=True)):
        rows = [
            {
                "opportunity_id": deal,
                "stage": "New",
                "created_at": "2026-01-01",
                "modified_at": MODIFIED[number].get(deal),
            }
            for deal in deals
        ]
        cells = [
            {"source_record": record, "attribute": name, "value": value}
            for record, values in enumerate(deals.values(), start=1)
            for name, value in values.items()
        ]
        tables: dict[str, list[dict[str, Any]]] = {"opportunities": rows, "opportunity_attributes": cells}
        if number == len(DAYS) - 1:
            tables["field_history"] = HISTORY
        exports.append(ingested(folder / "raw", tables, export_id=f"e{number}", exported_at=day))
    with DuckDBEngine(threads=1) as engine:
        return prepare(Lake(folder / "lake"), exports, MAPPING, CleanParams(), engine)


def changes(world: Canonical, attribute: str) -> list[tuple[str, int, str | None, str | None]]:
    rows = read_table(world.tables["attribute_changes"]).to_pylist()
    return [
        (row["opportunity_id"], row["changed_at"].day, row["old_value"], row["new_value"])
        for row in rows
        if row["attribute"] == attribute
    ]


def test_exports_in_a_row_show_what_was_written_cleared_and_filled(world: Canonical) -> None:
    # o1: another spelling is no change; its modification on the 16th lies after the export. o2: filled on the day of its modification.
    assert changes(world, "Desk") == [
        ("o1", 15, "North", "east"),
        ("o2", 5, None, "west"),
        ("o3", 8, "south", None),
        ("o3", 15, None, "south"),
        ("o4", 15, "east", None),
    ]


def test_a_column_that_an_export_lacks_shows_no_change(world: Canonical) -> None:
    assert changes(world, "Pilot") == []
    assert changes(world, "Note") == []


def test_a_tracked_column_changes_as_its_history_says_and_not_as_exports_show(world: Canonical) -> None:
    assert changes(world, "Recorded_By__c") == [("o1", 3, "a", "b"), ("o2", 4, None, "c")]
    verdicts = [row for row in ledger_rows(world.ledger) if row["file"] == "field_history.csv"]
    assert [(row["outcome"], row["reason"]) for row in verdicts[1:]] == [
        ("accepted", ""), ("accepted", ""), ("structural", "other field"),
    ]  # fmt: skip


def test_attributes_say_since_when_their_changes_are_known(world: Canonical) -> None:
    rows = read_table(world.tables["opportunity_attributes"]).to_pylist()
    assert {(row["attribute"], row["tracked_from"]) for row in rows} == {("Desk", DAYS[0]), ("Pilot", DAYS[0])}


def test_a_history_of_custom_columns_versions_no_canonical_field(world: Canonical) -> None:
    assert not [row for row in read_table(world.tables["field_history"]).to_pylist() if row["basis"] == "history"]
