"""`sales-pipeline queue` and `feedback` over a small published lake."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from sales_pipeline.contracts.published import FOLLOW_UP_QUEUE, LEFT_OUT, OWNER_WORKLOAD, QUEUE_EFFECT
from sales_pipeline.delivery.publish import publish, write_and_audit
from sales_pipeline.lake.layout import Lake
from tests.support.cli import call
from tests.support.published_run import left_row, queue_row, run_tables
from tests.support.scored_rows import AS_OF, rows_of

WORKLOAD = {
    "owner_id": "seller-1", "as_of": AS_OF.instant, "capacity_minutes": 60, "capacity_basis": "owners_table", "planned_minutes": 15,
    "queue_rows": 1, "exploration_rows": 1, "reassigned_rows": 0, "open_count": 2, "eligible_count": 2, "capacity_left_out_count": 1,
    "due_at": AS_OF.instant + timedelta(hours=17), "run_id": "run-1",
}  # fmt: skip
EFFECT = {
    "figure": "win_rate", "method": "adjusted", "queue_rows": 3, "hold_out_rows": 1, "maturing_rows": 5, "horizon_days": 90,
    "detail": "no causal evidence yet: too few", "as_of": AS_OF.instant, "run_id": "run-1",
}  # fmt: skip


@pytest.fixture
def place(tmp_path: Path) -> tuple[str, ...]:
    """-c and --lake of a lake with one run: one follow-up of seller-1, one of her opportunities left out."""
    config = tmp_path / "pipeline.yaml"
    config.write_text("lake: lake\nmapping: {dialect: salesforce}\n", encoding="utf-8")
    lake = Lake(tmp_path / "lake")
    row = queue_row("a", contact_id="p", expected_gain=Decimal("1234.50"), chosen_by="exploration")
    tables = run_tables() | {
        FOLLOW_UP_QUEUE.name: rows_of(FOLLOW_UP_QUEUE, [row]),
        OWNER_WORKLOAD.name: rows_of(OWNER_WORKLOAD, [WORKLOAD]),
        QUEUE_EFFECT.name: rows_of(QUEUE_EFFECT, [EFFECT]),
        LEFT_OUT.name: rows_of(LEFT_OUT, [left_row("b", owner_id="seller-1"), left_row("c", reason="abstained")]),
    }
    write_and_audit(lake, "run-1", tables, {"as_of": AS_OF.isoformat(), "previous_run_id": None}, {})
    publish(lake, "run-1", log={})
    return "-c", str(config), "--lake", str(lake.root)


def test_one_owner_s_day(place: tuple[str, ...]) -> None:
    told = call("queue", "--owner", "seller-1", *place).done()
    header, line = told.out.splitlines()
    assert header.split() == ["rank", "due", "action", "opportunity_id", "contact_id", "minutes", "gain", "why"]
    assert "1,234.50" in line
    assert line.endswith("The last contact was 35 days ago. (drawn at random, to learn from)")
    assert "15 of 60 minutes (owners table), 2 open opportunities" in told.err
    assert "left out: capacity 1" in told.err
    facts = call("queue", "--owner", "seller-1", "--json", *place).done().json
    assert ([row["queue_id"] for row in facts["rows"]], facts["workload"]["capacity_minutes"]) == (["fu-a"], 60)


def test_everybody_s_day_and_what_the_queue_is_worth(place: tuple[str, ...]) -> None:
    told = call("queue", "--day", "2026-06-30", *place).done()
    assert told.out.splitlines()[1].split() == ["seller-1", "1", "15", "60", "owners", "table", "1", "0", "1", "2"]
    assert "win rate: no causal evidence yet: too few" in told.err
    assert "left out: abstained 1, capacity 1" in told.err


def test_unknown_owners_and_days_are_told_what_there_is(place: tuple[str, ...]) -> None:
    call("queue", "--owner", "nobody", *place).refused(2, "seller-1", "nobody")
    call("queue", "--day", "2026-01-01", *place).refused(2, "2026-07-01T00:00:00Z", "run the day")
    call("queue", "--day", "yesterday", *place).refused(2, "YYYY-MM-DD")


def test_feedback_is_taken_and_what_cannot_be_used_is_listed(place: tuple[str, ...], tmp_path: Path) -> None:
    file = tmp_path / "feedback.csv"
    file.write_text("queue_id,outcome,dealt_with_at,reason\nfu-a,done,2026-07-01,\nfu-z,done,2026-07-01,\n")
    told = call("feedback", file, *place).done()
    assert told.out.splitlines()[0] == "2 lines: 1 accepted (1 done), 0 known already, 1 quarantined"
    assert told.out.splitlines()[2].split(maxsplit=3) == ["3", "queue_id", "fu-z", "no published queue has this id"]
    again = call("feedback", file, "--json", *place).done().json
    assert (again["accepted"], again["duplicates"], again["folder"]) == (0, [2], None)
    file.write_text("queue_id,outcome,dealt_with_at\nfu-z,done,2026-07-01\n")
    assert call("feedback", file, *place).code == 5
    call("feedback", tmp_path / "none.csv", *place).refused(2, "the feedback file is not there")
    file.write_text("id,what\n1,2\n")
    call("feedback", file, *place).refused(5, "lacks its columns", "id, what", "feedback.csv, line 1")
