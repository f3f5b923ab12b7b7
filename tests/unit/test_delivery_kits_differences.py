from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

from sales_pipeline.delivery.kits.differences import diff_runs
from sales_pipeline.lake.layout import Lake
from tests.support.kit_runs import follow_up, publish_rows, reason, scored_row


def test_two_runs_differ_by_key_and_by_value(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    before = publish_rows(
        lake,
        "run-1",
        [scored_row("a"), scored_row("b"), scored_row("c"), scored_row("e", reasons_up=reason("x"))],
        [follow_up("f1", "a")],
    )
    after = publish_rows(
        lake,
        "run-2",
        [
            scored_row("a"),
            scored_row("b", 0.75, expected_value=Decimal("750.00")),
            scored_row("d"),
            scored_row("e", None, reasons_up=reason("x")),
        ],
        [],
    )
    found = diff_runs(before.path, after.path)
    tables = {row["table"]: row for row in found.table_rows()}
    assert tables["scored_opportunities"] == {
        "table": "scored_opportunities", "before": 4, "after": 4, "added": 1, "removed": 1, "changed": 2, "unchanged": 1,
    }  # fmt: skip
    assert (tables["follow_up_queue"]["removed"], tables["follow_up_queue"]["after"]) == (1, 0)
    assert found.move_rows() == [
        {"opportunity_id": "b", "figure": "win_probability", "before": 0.5, "after": 0.75, "difference": 0.25}
    ]
    assert set(found.move_rows()[0]) == set(found.MOVE_COLUMNS)
    assert set(found.table_rows()[0]) == set(found.TABLE_COLUMNS)
    assert json.loads(json.dumps(found.to_dict()))["before"] == "run-1"


def test_other_reasons_are_a_difference_and_another_run_is_none(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    before = publish_rows(lake, "run-1", [scored_row("a"), scored_row("b")])
    after = publish_rows(lake, "run-2", [scored_row("a"), scored_row("b", reasons_up=reason("Why"))])
    (table, *_) = diff_runs(before.path, after.path).tables
    assert (table.changed, table.unchanged) == (1, 1)


def test_a_table_only_one_run_has_counts_as_added_or_removed(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    before = publish_rows(lake, "run-1", [scored_row("a")], [follow_up("f1", "a")])
    after = publish_rows(lake, "run-2", [scored_row("a")])
    (after.path / "follow_up_queue.parquet").unlink()
    tables = {row.table: row for row in diff_runs(before.path, after.path).tables}
    assert (tables["follow_up_queue"].removed, tables["follow_up_queue"].changed) == (1, 0)
    tables = {row.table: row for row in diff_runs(after.path, before.path).tables}
    assert tables["follow_up_queue"].added == 1
