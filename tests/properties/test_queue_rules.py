"""The queue on generated days: what must hold whatever the opportunities, contacts and parameters are."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sales_pipeline.contracts.canonical import ACTIVITIES, CONTACTS, OWNERS, PLANNED_ACTIVITIES
from sales_pipeline.contracts.internal import FEEDBACK, SPINE
from sales_pipeline.delivery.audit import audit
from sales_pipeline.domain.time import AsOf
from sales_pipeline.engines.duckdb import DuckDBEngine
from sales_pipeline.follow_up.checks import check_queue
from sales_pipeline.follow_up.feedback import ISSUED_COLUMNS
from sales_pipeline.follow_up.params import AssignmentParams, FollowUpParams, OwnerSetting
from sales_pipeline.follow_up.queue import Queue, build_queue
from sales_pipeline.follow_up.rules import CRM_ACTIONS
from sales_pipeline.lake.tables import TableRef, write_table
from tests.support.follow_up_desk import touches_of
from tests.support.scored_rows import AS_OF, prediction_row, rows_of, scored_table, spine_row

LINEAGE = {"source_system": "crm", "source_file": "f", "source_record": 1}
EXAMPLES = settings(max_examples=30, deadline=None, database=None, derandomize=True)
FEWER = settings(EXAMPLES, max_examples=15)  # two queues each


@dataclass(frozen=True)
class Day:
    """One generated day, as rows."""

    spine: list[dict[str, Any]]
    predictions: list[dict[str, Any]]
    activities: list[dict[str, Any]]
    planned: list[dict[str, Any]]
    contacts: list[dict[str, Any]]
    owners: list[dict[str, Any]]
    params: FollowUpParams


def some(*values: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from([None, *values])


@st.composite
def days(draw: st.DrawFn) -> Day:
    names = [f"o{number}" for number in range(draw(st.integers(0, 12)))]
    spine, predictions = [], []
    for name in names:
        close_in = draw(some(-200, -1, 0, 5, 90))
        spine.append(
            spine_row(
                name,
                account_id=draw(some("x", "y", "z")),
                contact_id=draw(some("p", "q")),
                owner_id=draw(some("s1", "s2", "gone")),
                stage=draw(some("Qualify", "Negotiate")),
                currency=draw(st.sampled_from(["EUR", "USD"])),
                crm_close_date=None if close_in is None else AS_OF.day() + timedelta(days=close_in),
                created_at=draw(some(AS_OF.instant - timedelta(days=100))),
            )
        )
        amount = draw(some(0.0, 10.0, 1e6))
        amounts = dict.fromkeys(("expected_amount", "expected_amount_low", "expected_amount_high"), amount)
        predictions.append(prediction_row(name, draw(some(0.0, 0.04, 0.3, 0.8, 1.0)), **amounts))
    activities = [
        {
            **LINEAGE,
            "activity_id": f"a{number}",
            "opportunity_id": draw(some(*names) if names else st.none()),
            "contact_id": draw(some("p", "q")),
            "kind": draw(st.sampled_from(["call", "email", "meeting", "note"])),
            "direction": draw(some("inbound", "outbound")),
            "occurred_at": AS_OF.instant + timedelta(days=draw(st.sampled_from([-150, -30, -6, -5, -4, -1, 0, 1]))),
            "logged_at": AS_OF.instant + timedelta(days=draw(st.sampled_from([-200, -1, 1]))),
        }
        for number in range(draw(st.integers(0, 12)))
    ]
    planned = [
        {
            **LINEAGE,
            "activity_id": f"p{number}",
            "opportunity_id": draw(some(*names) if names else st.none()),
            "kind": "task",
            "due_at": draw(some(AS_OF.instant, AS_OF.instant + timedelta(days=400))),
        }
        for number in range(draw(st.integers(0, 3)))
    ]
    contacts = [
        {
            **LINEAGE,
            "contact_id": name,
            "account_id": draw(some("x", "y")),
            "email_allowed": draw(some(True, False)),
            "call_allowed": draw(some(True, False)),
        }
        for name in draw(st.sampled_from([[], ["p"], ["p", "q"]]))
    ]
    gone = {**LINEAGE, "owner_id": "gone", "is_active": False}
    team = [
        gone | {"team": "t", "manager_id": "s2"},
        {**LINEAGE, "owner_id": "s1", "team": "t"},
        {**LINEAGE, "owner_id": "s2"},
    ]
    owners = draw(st.sampled_from([[], [gone], team[:2], team]))
    params = FollowUpParams(
        capacity_minutes_per_day=draw(st.sampled_from([None, 0, 14, 40, 240])),
        owners=draw(st.sampled_from([{}, {"s1": OwnerSetting(capacity_minutes=20, time_zone="Asia/Tokyo")}])),
        exploration_share=draw(st.sampled_from([0.0, 0.5])),
        exploration_seed=draw(st.integers(0, 3)),
        min_capacity_share=draw(st.sampled_from([0.0, 0.1, 1.0])),
        assignment=AssignmentParams(largest=draw(st.sampled_from([0, 2000]))),
        max_rows_per_owner=draw(st.sampled_from([0, 2, 20])),
        hold_out_share=draw(st.sampled_from([0.0, 0.3])),
        requires_recorded_consent=draw(st.booleans()),
        late_stages=("negotiate",),
    )
    return Day(spine, predictions, activities, planned, contacts, owners, params)


class Builder:
    def __init__(self, folder: Path, engine: DuckDBEngine) -> None:
        self.folder = folder
        self.engine = engine

    def __call__(
        self, day: Day, previous: Queue | None = None, as_of: AsOf = AS_OF, feedback: pa.Table | None = None
    ) -> Queue:
        def at_rest(name: str, contract: Any, rows: list[dict[str, Any]]) -> TableRef:
            return write_table(rows_of(contract, rows), self.folder / f"{name}.parquet", contract)

        spine = [row | {"as_of": as_of.instant} for row in day.spine]
        activities, opportunities_now = at_rest("activities", ACTIVITIES, day.activities), rows_of(SPINE, spine)
        return build_queue(
            scored_table(spine, [row | {"as_of": as_of.instant} for row in day.predictions]),
            touches=touches_of(opportunities_now, activities, as_of, self.engine),
            activities=activities,
            planned=at_rest("planned", PLANNED_ACTIVITIES, day.planned),
            contacts=at_rest("contacts", CONTACTS, day.contacts),
            owners=at_rest("owners", OWNERS, day.owners),
            previous_queue=None if previous is None else previous.rows,
            feedback=feedback,
            as_of=as_of,
            params=day.params,
            run_id="run-1",
            engine=self.engine,
            spine=opportunities_now,
        )


@pytest.fixture(scope="module")
def build() -> Iterator[Builder]:
    with DuckDBEngine(threads=1) as engine, tempfile.TemporaryDirectory() as folder:
        yield Builder(Path(folder), engine)


@EXAMPLES
@given(day=days())
def test_every_day_keeps_the_rules(build: Builder, day: Day) -> None:
    queue = build(day)
    every_open_opportunity_is_in_one_of_the_two(day, queue)
    nobody_gets_more_than_a_day_and_nothing_twice(day, queue)
    nobody_is_contacted_against_their_will_or_too_soon(day, queue)
    every_check_passes(day, queue)
    rows_are_due_in_working_hours_and_propensities_are_chances(day, queue)


def every_open_opportunity_is_in_one_of_the_two(day: Day, queue: Queue) -> None:
    names = queue.rows.column("opportunity_id").to_pylist() + queue.left_out.column("opportunity_id").to_pylist()
    assert sorted(names) == sorted(row["opportunity_id"] for row in day.spine)
    scored = scored_table(day.spine, day.predictions)
    assert (
        audit({"scored_opportunities": scored, "follow_up_queue": queue.rows, "left_out": queue.left_out}, "run-1")
        == []
    )


def every_check_passes(day: Day, queue: Queue, feedback: pa.Table | None = None, as_of: AsOf = AS_OF) -> None:
    spine = [row | {"as_of": as_of.instant} for row in day.spine]
    scored = scored_table(spine, [row | {"as_of": as_of.instant} for row in day.predictions])
    checks = check_queue(queue.rows, queue.left_out, queue.workload, scored, feedback, as_of=as_of, params=day.params)
    assert [check.message for check in checks if not check.passed] == []


def rows_are_due_in_working_hours_and_propensities_are_chances(day: Day, queue: Queue) -> None:
    keep = 1 - day.params.hold_out_share
    for row in queue.rows.to_pylist():
        assert row["due_at"] in (
            datetime(2026, 7, 1, 17, tzinfo=UTC),
            datetime(2026, 7, 1, 8, tzinfo=UTC),
        )  # here, in Tokyo
        assert AS_OF.instant < row["due_at"] < row["expires_at"]
        if row["chosen_by"] == "gain":
            assert row["propensity"] == keep
        else:
            assert day.params.exploration_share > 0
            assert round(keep / row["propensity"]) == pytest.approx(keep / row["propensity"], abs=0.01)


def nobody_gets_more_than_a_day_and_nothing_twice(day: Day, queue: Queue) -> None:
    rows = queue.rows.to_pylist()
    for column in ("account_id", "contact_id", "opportunity_id", "queue_id"):
        counts = Counter(row[column] for row in rows if row[column] is not None)
        assert not counts or max(counts.values()) == 1
    for owner in {row["owner_id"] for row in rows}:
        own = [row for row in rows if row["owner_id"] == owner]
        setting = day.params.owners.get(owner)
        capacity = day.params.capacity_minutes_per_day
        most = setting.capacity_minutes if setting else 360 if capacity is None else capacity
        assert sum(row["estimated_minutes"] for row in own) <= most
        assert sorted(row["rank"] for row in own) == list(range(1, len(own) + 1))
        assert len(own) <= day.params.max_rows_per_owner
        assert owner != "gone" or not day.owners


def nobody_is_contacted_against_their_will_or_too_soon(day: Day, queue: Queue) -> None:
    people = {row["contact_id"]: row for row in day.contacts}
    planned = {row["opportunity_id"] for row in day.planned if row["due_at"] in (None, AS_OF.instant)}
    for row in queue.rows.to_pylist():
        if row["action"] in CRM_ACTIONS:
            assert row["channel"] == "crm"
            continue
        field = {"email": "email_allowed", "phone": "call_allowed"}[row["channel"]]
        consent = people.get(row["contact_id"], {}).get(field)
        assert consent is True or (consent is None and not day.params.requires_recorded_consent)
        assert row["opportunity_id"] not in planned
        touches = [
            (activity["occurred_at"], activity["direction"] or "outbound")
            for activity in day.activities
            if activity["opportunity_id"] == row["opportunity_id"]
            and activity["kind"] != "note"
            and max(activity["occurred_at"], activity["logged_at"]) < AS_OF.instant
        ]
        latest = max((at for at, _ in touches), default=None)
        assert row["last_touch_at"] == latest
        ours = max((at for at, direction in touches if direction == "outbound"), default=None)
        is_answer = latest is not None and (latest, "inbound") in touches and "nobody has answered" in row["reason"]
        if ours is not None and not is_answer:
            assert AS_OF.instant - ours >= timedelta(days=day.params.cool_down_days)


@FEWER
@given(day=days())
def test_the_queue_does_not_depend_on_the_order_of_its_inputs(build: Builder, day: Day) -> None:
    turned = Day(
        day.spine[::-1],
        day.predictions[::-1],
        day.activities[::-1],
        day.planned[::-1],
        day.contacts[::-1],
        day.owners,
        day.params,
    )
    assert build(day) == build(turned)


@FEWER
@given(day=days(), later=st.integers(1, 9))
def test_a_follow_up_still_alive_keeps_its_id_and_its_expiry(build: Builder, day: Day, later: int) -> None:
    first = build(day)
    as_of = AsOf(AS_OF.instant + timedelta(days=later))
    before = {(row["opportunity_id"], row["action"]): row for row in first.rows.to_pylist()}
    known = [a for a in day.activities if max(a["occurred_at"], a["logged_at"]) < AS_OF.instant]
    quiet_day = Day(day.spine, day.predictions, known, day.planned, day.contacts, day.owners, day.params)
    for row in build(quiet_day, previous=first, as_of=as_of).rows.to_pylist():
        old = before.get((row["opportunity_id"], row["action"]))
        if old is None:
            assert row["attempt"] == 1
        elif old["expires_at"] > as_of.instant:
            assert (row["queue_id"], row["expires_at"]) == (old["queue_id"], old["expires_at"])
            assert row["attempt"] == 1 + (old["due_at"] <= as_of.instant)
        else:
            assert row["queue_id"] != old["queue_id"]
            assert row["attempt"] == 1


@FEWER
@given(
    day=days(),
    said=st.lists(st.sampled_from(["done", "skipped", "wrong", None]), min_size=12, max_size=12),
    later=st.integers(1, 9),
)
def test_nothing_dealt_with_is_proposed_again(build: Builder, day: Day, said: list[str | None], later: int) -> None:
    first = build(day)
    at = AS_OF.instant + timedelta(hours=9)
    statements = [
        {name: row[name] for name in ISSUED_COLUMNS} | {"outcome": outcome, "dealt_with_at": at, "origin": "file"}
        for row, outcome in zip(first.rows.to_pylist(), said, strict=False)
        if outcome is not None
    ]
    feedback = rows_of(FEEDBACK, statements)
    as_of = AsOf(AS_OF.instant + timedelta(days=later))
    second = build(day, previous=first, as_of=as_of, feedback=feedback)
    every_check_passes(day, second, feedback, as_of)
    again = {row["queue_id"] for row in second.rows.to_pylist()}
    assert not again & {row["queue_id"] for row in statements}
    if not statements:
        assert second == build(day, previous=first, as_of=as_of)
