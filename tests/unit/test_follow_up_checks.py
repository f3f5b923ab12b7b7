"""Each check of the queue, seen to fail."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest

from sales_pipeline.contracts.internal import FEEDBACK
from sales_pipeline.contracts.published import FOLLOW_UP_QUEUE, LEFT_OUT, OWNER_WORKLOAD
from sales_pipeline.domain.time import AsOf
from sales_pipeline.follow_up.check_names import CAPACITY, COMPLETE, DEALT_WITH, DUPLICATES, QUEUE_CHECKS, REASONS
from sales_pipeline.follow_up.checks import check_queue
from sales_pipeline.follow_up.params import FollowUpParams
from tests.support.published_run import left_row, queue_row, run_tables
from tests.support.scored_rows import AS_OF, rows_of

DAY = {
    "owner_id": "seller-1", "as_of": AS_OF.instant, "capacity_minutes": 60, "capacity_basis": "learned", "planned_minutes": 15, "queue_rows": 1,
    "exploration_rows": 0, "reassigned_rows": 0, "open_count": 3, "eligible_count": 2, "capacity_left_out_count": 1,
    "due_at": AS_OF.instant + timedelta(hours=17), "run_id": "run-1",
}  # fmt: skip
ROWS = [queue_row("a", account_id="x", contact_id="p")]
LEFT = [left_row("b"), left_row("c", reason="abstained")]


def failed(
    rows: list[dict[str, Any]] = ROWS,
    left: list[dict[str, Any]] = LEFT,
    *,
    said: list[dict[str, Any]] | None = None,
    as_of: AsOf = AS_OF,
    **params: Any,
) -> dict[str, str]:
    feedback = None if said is None else rows_of(FEEDBACK, said)
    tables = rows_of(FOLLOW_UP_QUEUE, rows), rows_of(LEFT_OUT, left), rows_of(OWNER_WORKLOAD, [DAY])
    scored: pa.Table = run_tables()["scored_opportunities"]
    checks = check_queue(*tables, scored, feedback, as_of=as_of, params=FollowUpParams(**params))
    assert {check.name for check in checks} == set(QUEUE_CHECKS)
    return {check.name: check.message for check in checks if not check.passed}


def test_a_sound_queue_passes() -> None:
    assert failed() == {}


@pytest.mark.parametrize(
    ("found", "name", "message"),
    [
        (failed([queue_row("a", estimated_minutes=61)]), CAPACITY, "owner seller-1 has 61 minutes of 60"),
        (failed([queue_row("a", owner_id="nobody")]), CAPACITY, "owner nobody has 15 minutes of 0"),
        (failed(max_rows_per_owner=0), CAPACITY, "owner seller-1 has 1 rows of 0"),
        (failed([*ROWS, queue_row("b", account_id="x")], LEFT[1:]), DUPLICATES, "account_id x is in 2 rows"),
        (failed([*ROWS, queue_row("b", contact_id="p")], LEFT[1:]), DUPLICATES, "contact_id p is in 2 rows"),
        (failed([*ROWS, queue_row("b", queue_id="fu-a")], LEFT[1:]), DUPLICATES, "queue_id fu-a is in 2 rows"),
        (failed([queue_row("a", reason=" ")]), REASONS, "opportunity a has no reason"),
        (failed(left=[left_row("b", detail=""), LEFT[1]]), REASONS, "opportunity b has no detail"),
        (failed(left=LEFT[:1]), COMPLETE, "opportunity c is in 0 places"),
        (failed(left=[*LEFT, left_row("a")]), COMPLETE, "opportunity a is in 2 places"),
        (failed(left=[*LEFT, left_row("z")]), COMPLETE, "opportunity z is not open"),
    ],
)
def test_a_broken_rule_is_seen(found: dict[str, str], name: str, message: str) -> None:
    assert found[name] == f"1 at fault, first: {message}"


@pytest.mark.parametrize(
    ("outcome", "days_ago", "changes", "is_seen"),
    [
        ("done", 40, {}, True),
        ("wrong", 40, {"queue_id": "fu-before"}, True),
        ("wrong", 40, {"queue_id": "fu-before", "episode_id": "ep-before"}, False),
        ("skipped", 13, {}, True),
        ("skipped", 14, {}, False),
        ("done", -1, {}, False),
    ],
)
def test_what_was_dealt_with_is_seen_again(outcome: str, days_ago: int, changes: dict[str, Any], is_seen: bool) -> None:
    at = AS_OF.instant - timedelta(days=days_ago)
    known = {
        name: ROWS[0].get(name)
        for name in ("queue_id", "source_system", "opportunity_id", "action", "stage", "episode_id")
    }
    said = known | {"outcome": outcome, "dealt_with_at": at, "origin": "file"} | changes
    message = f"1 at fault, first: fu-a was {outcome} on {at.date()}"
    assert failed(said=[said]) == ({DEALT_WITH: message} if is_seen else {})
