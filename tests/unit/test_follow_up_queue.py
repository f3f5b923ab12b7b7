from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.contracts.internal import TOUCHES
from sales_pipeline.contracts.published import FOLLOW_UP_QUEUE, LEFT_OUT
from sales_pipeline.domain.time import AsOf
from sales_pipeline.engines.duckdb import DuckDBEngine
from sales_pipeline.errors import ConfigurationError, SalesPipelineError
from sales_pipeline.follow_up.params import AssignmentParams, FollowUpParams
from sales_pipeline.follow_up.queue import build_queue
from sales_pipeline.lake.tables import write_table
from tests.support.follow_up_desk import NO_HOLD_OUT, TABLES, Desk, activity, left, only, opportunity, queued, said
from tests.support.scored_rows import AS_OF, prediction_row, rows_of, scored_table, spine_row


@pytest.fixture(scope="module")
def engine() -> Iterator[DuckDBEngine]:
    with DuckDBEngine(threads=1) as running:
        yield running


@pytest.fixture
def desk(tmp_path: Path, engine: DuckDBEngine) -> Desk:
    return Desk(tmp_path, engine)


LONG_AGO = activity(200, opportunity_id="another")  # activities are exported, but tell nothing about o


@pytest.mark.parametrize(
    ("found", "activities", "action", "channel", "reason"),
    [
        (opportunity(), [activity(3, "inbound")], "call", "phone", "The customer was last in touch 3 days ago and nobody has answered."),
        (opportunity(), [activity(4), activity(3, "inbound")], "call", "phone", "The customer was last in touch 3 days ago and nobody has answered."),
        (opportunity("o", 0.05), [activity(120)], "close_as_lost", "crm", "Nobody has been in touch for 120 days and the chance of winning is 5%."),
        (opportunity("o", 0.05, crm_close_date=date(2026, 3, 2)), [], "close_as_lost", "crm", "The close date passed 120 days ago and the chance of winning is 5%."),
        (opportunity(crm_close_date=date(2026, 6, 29)), [], "update_close_date", "crm", "The close date in the CRM passed 1 day ago and the opportunity is still open."),
        (opportunity(crm_close_date=date(2026, 7, 4)), [activity(10)], "ask_decision", "phone", "The close date is in 4 days and the chance of winning is 50%."),
        (opportunity(stage="NEGOTIATE"), [activity(10)], "ask_decision", "phone", "The opportunity is in the late stage NEGOTIATE: ask for the decision."),
        (opportunity(), [LONG_AGO], "call", "phone", "Nobody has contacted the customer about it since it was created 30 days ago."),
        (opportunity("o", 0.3), [LONG_AGO], "email", "email", "Nobody has contacted the customer about it since it was created 30 days ago."),
        (opportunity("o", 0.3, created_at=None), [LONG_AGO], "email", "email", "Nobody has contacted the customer about it yet."),
        (opportunity(), [activity(35)], "re_engage", "email", "The last contact was 35 days ago."),
        (opportunity(), [activity(6)], "email", "email", "No next step is planned."),
        (opportunity(), [], "email", "email", "No next step is planned."),
    ],
)  # fmt: skip
def test_each_rule_proposes_its_action(
    desk: Desk, found: Any, activities: list[dict[str, Any]], action: str, channel: str, reason: str
) -> None:
    greedy = AssignmentParams(method="greedy")  # with time to spare, the assignment takes the action that gains most
    params = NO_HOLD_OUT.model_copy(update={"late_stages": ("Negotiate",), "assignment": greedy})
    row = only(desk.queue([found], activities=activities, params=params))
    assert (row["action"], row["channel"], row["reason"]) == (action, channel, reason)


def test_the_tables_follow_their_contracts_even_when_empty(desk: Desk) -> None:
    full = desk.queue([opportunity()])
    empty = desk.queue([])
    for queue in (full, empty):
        assert queue.rows.schema == arrow_schema(FOLLOW_UP_QUEUE)
        assert queue.left_out.schema == arrow_schema(LEFT_OUT)


def test_a_row_says_what_it_rests_on(desk: Desk) -> None:
    row = only(desk.queue([opportunity()], activities=[activity(35)]))
    assert row["expected_gain"] == Decimal("50.00")  # 0.5 x 1000 x 0.10
    assert row["evidence"] == (
        "win probability 0.50; expected value 500.00 EUR, of which 10% at risk; close date 2026-09-30; last contact 2026-05-27"
    )
    assert row["last_touch_at"] == AS_OF.instant - timedelta(days=35)
    assert (row["propensity"], row["policy"], row["gain_basis"]) == (
        1.0,
        "expected_gain_assignment/1",
        "value_at_risk_rules",
    )


def test_nothing_from_as_of_on_is_seen(desk: Desk) -> None:
    late = [activity(0), activity(10, logged_at=AS_OF.instant), activity(40)]
    row = only(desk.queue([opportunity()], activities=late))
    assert row["last_touch_at"] == AS_OF.instant - timedelta(days=40)


def test_tasks_and_notes_are_no_contact(desk: Desk) -> None:
    row = only(desk.queue([opportunity()], activities=[activity(1, kind="note"), activity(40)]))
    assert row["action"] == "re_engage"


@pytest.mark.parametrize("direction", ["outbound", None])
def test_nobody_is_contacted_within_the_cool_down(desk: Desk, direction: str | None) -> None:
    queue = desk.queue([opportunity()], activities=[activity(4.9, direction)])
    assert left(queue) == {"o": "cool_down"}
    assert only(desk.queue([opportunity()], activities=[activity(5, direction)]))["action"] == "email"


def test_the_cool_down_of_a_person_holds_across_opportunities(desk: Desk) -> None:
    queue = desk.queue(
        [opportunity(contact_id="c")], activities=[activity(2, opportunity_id="another", contact_id="c")]
    )
    assert left(queue) == {"o": "cool_down"}


def test_housekeeping_is_proposed_while_the_customer_is_left_in_peace(desk: Desk) -> None:
    row = only(desk.queue([opportunity(crm_close_date=date(2026, 6, 1))], activities=[activity(1)]))
    assert row["action"] == "update_close_date"


@pytest.mark.parametrize(
    ("consent", "expected"),
    [
        ({"email_allowed": None, "call_allowed": None}, ("re_engage", "email")),
        ({"email_allowed": False, "call_allowed": None}, ("re_engage", "phone")),
        ({"email_allowed": False, "call_allowed": False}, "do_not_contact"),
    ],
)
def test_consent_by_channel(desk: Desk, consent: dict[str, Any], expected: Any) -> None:
    contact = {"contact_id": "c", "account_id": "account-o"} | consent
    queue = desk.queue([opportunity(contact_id="c")], activities=[activity(35)], contacts=[contact])
    if isinstance(expected, str):
        assert left(queue) == {"o": expected}
    else:
        assert (only(queue)["action"], only(queue)["channel"]) == expected


def test_a_refused_call_becomes_an_email(desk: Desk) -> None:
    contact = {"contact_id": "c", "account_id": "account-o", "call_allowed": False}
    queue = desk.queue([opportunity(contact_id="c")], activities=[activity(3, "inbound")], contacts=[contact])
    assert (only(queue)["action"], only(queue)["channel"]) == ("email", "email")


def test_consent_may_be_required_on_record(desk: Desk) -> None:
    strict = NO_HOLD_OUT.model_copy(update={"requires_recorded_consent": True})
    assert left(desk.queue([opportunity()], params=strict)) == {"o": "do_not_contact"}


def test_the_contact_is_the_main_one_else_the_last_in_touch_else_the_only_one(desk: Desk) -> None:
    people = [{"contact_id": name, "account_id": "account-o"} for name in ("c1", "c2")]
    touch = [activity(30, contact_id="c1"), activity(40, contact_id="c2")]
    assert only(desk.queue([opportunity(contact_id="c2")], contacts=people, activities=touch))["contact_id"] == "c2"
    assert only(desk.queue([opportunity()], contacts=people, activities=touch))["contact_id"] == "c1"
    assert only(desk.queue([opportunity()], contacts=people))["contact_id"] is None
    assert only(desk.queue([opportunity()], contacts=people[:1]))["contact_id"] == "c1"


@pytest.mark.parametrize(
    ("due_in_days", "is_next_step"), [(2, True), (None, True), (-2, True), (-4, False), (31, False)]
)
def test_a_planned_activity_is_respected(desk: Desk, due_in_days: int | None, is_next_step: bool) -> None:
    due_at = None if due_in_days is None else AS_OF.instant + timedelta(days=due_in_days)
    planned = [{"activity_id": "p", "opportunity_id": "o", "kind": "call", "due_at": due_at}]
    queue = desk.queue([opportunity()], planned=planned, activities=[activity(35)])
    assert left(queue) == ({"o": "already_planned"} if is_next_step else {})


def test_owners_and_abstentions(desk: Desk) -> None:
    found = [
        opportunity("a", owner_id=None),
        opportunity("b", owner_id="gone"),
        opportunity("c", None),
        opportunity("d"),
    ]
    queue = desk.queue(found, owners=[{"owner_id": "gone", "is_active": False}, {"owner_id": "seller-1"}])
    assert left(queue) == {"a": "no_owner", "b": "inactive_owner", "c": "abstained"}
    assert queued(queue) == ["d"]
    details = {row["opportunity_id"]: row["detail"] for row in queue.left_out.to_pylist()}
    assert details["c"] == "no creation date is recorded"


def test_nothing_to_gain(desk: Desk) -> None:
    assert left(desk.queue([opportunity("o", 0.0, predicted={"win_probability_low": 0.0})])) == {"o": "no_gain"}


def test_without_amounts_the_probability_ranks(desk: Desk) -> None:
    none = {"expected_amount": None, "expected_amount_low": None, "expected_amount_high": None}
    queue = desk.queue([opportunity(name, p, predicted=none) for name, p in (("a", 0.2), ("b", 0.9), ("c", 0.5))])
    assert queued(queue) == ["b", "c", "a"]
    assert queue.rows.column("expected_gain").null_count == 3


def test_capacity_goes_to_the_greatest_gain_per_minute(desk: Desk) -> None:
    found = [
        opportunity(f"o{n}", predicted={"expected_amount": 1000.0 * n, "expected_amount_high": 99999.0})
        for n in range(1, 6)
    ]
    queue = desk.queue(found, params=NO_HOLD_OUT.model_copy(update={"capacity_minutes_per_day": 25}))
    assert queued(queue) == ["o5", "o4"]
    assert set(left(queue).values()) == {"capacity"}
    queue = desk.queue(found, params=NO_HOLD_OUT.model_copy(update={"max_rows_per_owner": 1}))
    assert queued(queue) == ["o5"]


def test_each_owner_has_a_day_of_their_own_and_ranks_from_one(desk: Desk) -> None:
    found = [opportunity(f"o{n}", owner_id=f"seller-{n % 2}") for n in range(4)]
    queue = desk.queue(found, params=NO_HOLD_OUT.model_copy(update={"capacity_minutes_per_day": 20}))
    ranks = sorted((row["owner_id"], row["rank"]) for row in queue.rows.to_pylist())
    assert ranks == [("seller-0", 1), ("seller-0", 2), ("seller-1", 1), ("seller-1", 2)]


def test_one_row_per_account_and_per_contact(desk: Desk) -> None:
    found = [
        opportunity("a", 0.9, account_id="x"),
        opportunity("b", 0.8, account_id="x"),
        opportunity("c", 0.7, account_id=None, contact_id="p"),
        opportunity("d", 0.6, account_id=None, contact_id="p"),
        opportunity("e", 0.5, account_id=None),
    ]
    queue = desk.queue(found)
    assert queued(queue) == ["a", "c", "e"]
    assert left(queue) == {"b": "duplicate_account", "d": "duplicate_account"}


def test_currencies_are_compared_by_rate_and_without_one_come_last(desk: Desk) -> None:
    found = [
        opportunity("dollar", currency="USD"),
        opportunity("yen", 0.9, currency="JPY"),
        opportunity("franc", currency="CHF"),
    ]
    rates = [
        {"currency": "USD", "valid_from": date(2026, 1, 1), "rate": 1.0},
        {"currency": "JPY", "valid_from": date(2026, 1, 1), "rate": 0.001},
        {"currency": "JPY", "valid_from": date(2026, 6, 30), "rate": 150.0},
        {"currency": "JPY", "valid_from": date(2026, 7, 1), "rate": 0.001},
    ]
    assert queued(desk.queue(found, rates=rates)) == ["dollar", "yen", "franc"]


def test_the_hold_out_is_random_by_id_and_stable(desk: Desk) -> None:
    found = [opportunity(f"o{n}", owner_id=f"s{n}") for n in range(400)]
    params = FollowUpParams(hold_out_share=0.25, exploration_share=0.0)
    today = left(desk.queue(found, params=params))
    tomorrow = left(desk.queue(found, params=params, as_of=AsOf(AS_OF.instant + timedelta(days=1))))
    other = left(desk.queue(found, params=params.model_copy(update={"hold_out_seed": 1})))
    assert set(today.values()) == {"hold_out"}
    assert 70 <= len(today) <= 130  # 100 expected, standard deviation 8.7
    assert today == tomorrow
    assert today != other


def test_due_and_expiry_skip_week_ends_and_holidays(desk: Desk) -> None:
    friday = AsOf.end_of_day(date(2026, 7, 3), "America/New_York")
    params = NO_HOLD_OUT.model_copy(update={"time_zone": "America/New_York", "country": "US"})
    thursday = AsOf.end_of_day(date(2026, 7, 2), "America/New_York")
    row = only(desk.queue([opportunity()], params=params, as_of=thursday))
    # Friday 3 July 2026 is the observed Independence Day
    assert row["due_at"] == datetime(2026, 7, 6, 21, tzinfo=UTC)  # the end of working hours in New York
    assert row["evidence"].endswith("; due on the next working day, 2026-07-06, after 1 public holiday")
    assert row["expires_at"] == datetime(2026, 7, 11, 4, tzinfo=UTC)
    assert only(desk.queue([opportunity()], params=params, as_of=friday))["due_at"] == row["due_at"]


def test_an_unknown_country_is_a_configuration_error(desk: Desk) -> None:
    with pytest.raises(ConfigurationError, match="unknown country"):
        desk.queue([opportunity()], params=NO_HOLD_OUT.model_copy(update={"country": "XX"}))


def days_of_queues(desk: Desk, days: int, **changes: Any) -> list[dict[str, Any]]:
    previous = None
    rows = []
    for day in range(days):
        as_of = AsOf(AS_OF.instant + timedelta(days=day))
        queue = desk.queue([changes.get(f"day{day}", opportunity())], as_of=as_of, previous=previous)
        rows.append(only(queue))
        previous = queue.rows
    return rows


def test_an_unworked_follow_up_keeps_its_id_until_it_expires_and_counts_working_days(desk: Desk) -> None:
    rows = days_of_queues(desk, 9)  # proposed first on Wednesday 1 July, expires at the end of Tuesday 7 July
    ids = [row["queue_id"] for row in rows]
    assert len(set(ids[:7])) == 1
    assert ids[7] != ids[0]
    assert ids[8] == ids[7]
    # Wednesday, Thursday, Friday, then the week-end's runs are for Monday too
    assert [row["attempt"] for row in rows] == [1, 2, 3, 4, 4, 4, 5, 1, 2]
    assert {row["expires_at"] for row in rows[:7]} == {datetime(2026, 7, 8, tzinfo=UTC)}
    assert all(row["due_at"] <= row["expires_at"] for row in rows)


def test_a_change_of_stage_overtakes_a_follow_up(desk: Desk) -> None:
    rows = days_of_queues(desk, 2, day1=opportunity(stage="Proposal"))
    assert rows[0]["queue_id"] != rows[1]["queue_id"]
    assert rows[1]["attempt"] == 1


def test_a_contact_ends_the_episode(desk: Desk) -> None:
    first = only(desk.queue([opportunity()], activities=[activity(40)]))
    second = only(desk.queue([opportunity()], activities=[activity(40), activity(30)]))
    assert first["queue_id"] != second["queue_id"]


def test_feedback_closes_a_follow_up_for_its_episode(desk: Desk) -> None:
    row = only(desk.queue([opportunity()]))
    done = said(row, "done", hours=9)
    tomorrow = AsOf(AS_OF.instant + timedelta(days=1))
    assert left(desk.queue([opportunity()], feedback=done, as_of=tomorrow)) == {"o": "cool_down"}
    assert only(desk.queue([opportunity()], feedback=done))["queue_id"] == row["queue_id"]  # not known yet then


def test_a_scored_table_of_another_day_is_refused(desk: Desk, engine: DuckDBEngine) -> None:
    queue = desk.queue([opportunity()])
    assert queue.rows.num_rows == 1
    refs = {n: write_table(rows_of(c, []), desk.folder / f"{n}.parquet", c) for n, c in TABLES.items()}
    with pytest.raises(SalesPipelineError, match="another as-of"):
        build_queue(
            scored_table([spine_row("o")], [prediction_row("o")]),
            touches=arrow_schema(TOUCHES).empty_table(),
            **refs,
            previous_queue=None,
            feedback=None,
            as_of=AsOf(AS_OF.instant + timedelta(days=1)),
            params=NO_HOLD_OUT,
            run_id="run-1",
            engine=engine,
        )
