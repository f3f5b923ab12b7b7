"""The queue's policy on small days: who works what, exploration, feedback, and inputs that lack something."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sales_pipeline.domain.time import AsOf
from sales_pipeline.engines.duckdb import DuckDBEngine
from sales_pipeline.follow_up.checks import check_queue
from sales_pipeline.follow_up.params import FollowUpParams, OwnerSetting
from sales_pipeline.follow_up.queue import Queue
from tests.support.follow_up_desk import NO_HOLD_OUT, Desk, activity, left, only, opportunity, queued, said
from tests.support.scored_rows import AS_OF, scored_table

TOMORROW = AsOf(AS_OF.instant + timedelta(days=1))


@pytest.fixture(scope="module")
def engine() -> Iterator[DuckDBEngine]:
    with DuckDBEngine(threads=1) as running:
        yield running


@pytest.fixture
def desk(tmp_path: Path, engine: DuckDBEngine) -> Desk:
    return Desk(tmp_path, engine)


def params(**values: Any) -> FollowUpParams:
    return NO_HOLD_OUT.model_copy(update=values)


def owner(name: str, **values: Any) -> dict[str, Any]:
    return {"owner_id": name, "is_active": True} | values


GONE = owner("gone", is_active=False, team="t", manager_id="boss")


# Who works what


def test_opportunities_of_an_inactive_owner_go_to_his_manager(desk: Desk) -> None:
    row = only(desk.queue([opportunity(owner_id="gone")], owners=[GONE, owner("boss"), owner("mate", team="t")]))
    assert (row["owner_id"], row["reassigned_from"]) == ("boss", "gone")
    assert row["reason"] == "No next step is planned. Owner gone is not active: reassigned to boss, the manager."


@pytest.mark.parametrize("boss", [[], [owner("boss", is_active=False)], [owner("boss")]])
def test_without_a_manager_they_go_to_the_team_member_with_most_time(desk: Desk, boss: list[dict[str, Any]]) -> None:
    owners = [GONE, *boss, owner("busy", team="t"), owner("free", team="t"), owner("other", team="u")]
    idle = {"boss": OwnerSetting(capacity_minutes=0)}
    found = [opportunity("o", owner_id="gone"), *(opportunity(f"b{n}", owner_id="busy") for n in range(3))]
    rows = {
        row["opportunity_id"]: row
        for row in desk.queue(found, owners=owners, params=params(owners=idle)).rows.to_pylist()
    }
    assert (rows["o"]["owner_id"], rows["o"]["reassigned_from"]) == ("free", "gone")
    assert rows["o"]["reason"].endswith("reassigned to free, the member of the same team with most time.")
    assert rows["b0"]["reassigned_from"] is None


def test_reassigned_opportunities_are_spread_over_the_team(desk: Desk) -> None:
    owners = [GONE | {"manager_id": None}, owner("m1", team="t"), owner("m2", team="t")]
    queue = desk.queue([opportunity(f"o{n}", owner_id="gone") for n in range(6)], owners=owners)
    assert Counter(row["owner_id"] for row in queue.rows.to_pylist()) == {"m1": 3, "m2": 3}
    workload = {row["owner_id"]: row for row in queue.workload.to_pylist()}
    assert (workload["m1"]["reassigned_rows"], workload["m1"]["open_count"]) == (3, 0)
    assert (workload["gone"]["capacity_minutes"], workload["gone"]["open_count"]) == (0, 6)


def test_without_anybody_to_stand_in_they_are_left_out(desk: Desk) -> None:
    assert left(desk.queue([opportunity(owner_id="gone")], owners=[GONE])) == {"o": "inactive_owner"}


def test_an_owner_with_nothing_else_keeps_a_contested_account(desk: Desk) -> None:
    rich = {"expected_amount": 9000.0, "expected_amount_high": 99999.0}
    found = [
        *(opportunity(f"a{n}", owner_id="many") for n in range(30)),
        opportunity("shared-many", owner_id="many", account_id="x", predicted=rich),
        opportunity("shared-few", owner_id="few", account_id="x"),
    ]
    assert left(desk.queue(found))["shared-many"] == "duplicate_account"
    assert left(desk.queue(found, params=params(min_capacity_share=0.0)))["shared-few"] == "duplicate_account"


# Exploration


def test_exploration_takes_its_share_of_the_time_and_logs_exact_propensities(desk: Desk) -> None:
    found = [opportunity(f"o{n:03d}", owner_id=f"s{n % 40:02d}") for n in range(400)]
    some = FollowUpParams(
        capacity_minutes_per_day=60,
        exploration_share=0.1,
        exploration_minutes=10,
        hold_out_share=0.2,
        min_capacity_share=0.0,
    )
    queue = desk.queue(found, params=some)
    explored = [row for row in queue.rows.to_pylist() if row["chosen_by"] == "exploration"]
    assert 13 <= len(explored) <= 35  # 0.6 of 40 owners expected
    chosen = Counter(row["owner_id"] for row in queue.rows.to_pylist() if row["chosen_by"] == "gain")
    reasons = Counter((row["owner_id"], row["reason"]) for row in queue.left_out.to_pylist())
    for row in explored:
        candidates = reasons[row["owner_id"], "capacity"] + 1
        assert row["propensity"] == round(0.8 / candidates, 6)
        assert chosen[row["owner_id"]] == 5
    assert {row["propensity"] for row in queue.rows.to_pylist() if row["chosen_by"] == "gain"} == {0.8}


def test_what_is_drawn_follows_the_logged_propensity(desk: Desk) -> None:
    found = [opportunity(f"o{n}") for n in range(6)]
    always = FollowUpParams(
        capacity_minutes_per_day=30, exploration_share=0.4, exploration_minutes=10, hold_out_share=0.0
    )
    drawn: Counter[str] = Counter()
    for seed in range(60):
        queue = desk.queue(found, params=always.model_copy(update={"exploration_seed": seed}))
        (row,) = (row for row in queue.rows.to_pylist() if row["chosen_by"] == "exploration")
        assert row["propensity"] == 0.25
        drawn[row["opportunity_id"]] += 1
    assert set(drawn) == {"o2", "o3", "o4", "o5"}  # the two best by gain are in the queue anyhow
    assert min(drawn.values()) >= 6  # 15 expected


def test_an_account_two_explorers_could_draw_is_drawn_once(desk: Desk) -> None:
    found = [opportunity(f"o{n}", owner_id=f"s{n % 2}", account_id="x" if n > 3 else f"a{n}") for n in range(6)]
    always = FollowUpParams(
        capacity_minutes_per_day=20, exploration_share=0.9, exploration_minutes=10, hold_out_share=0.0
    )
    for seed in range(10):
        rows = desk.queue(found, params=always.model_copy(update={"exploration_seed": seed})).rows.to_pylist()
        assert max(Counter(row["account_id"] for row in rows).values()) == 1


# Feedback


def test_done_is_a_contact(desk: Desk) -> None:
    row = only(desk.queue([opportunity()], activities=[activity(35)]))
    done = said(row, "done", hours=9)
    assert left(desk.queue([opportunity()], activities=[activity(35)], feedback=done, as_of=TOMORROW)) == {
        "o": "cool_down"
    }
    later = AsOf(AS_OF.instant + timedelta(days=40))
    again = only(desk.queue([opportunity()], activities=[activity(35)], feedback=done, as_of=later))
    assert again["last_touch_at"] == AS_OF.instant + timedelta(hours=9)
    assert again["episode_id"] != row["episode_id"]


def test_done_housekeeping_is_not_proposed_again_in_its_episode(desk: Desk) -> None:
    late = opportunity(crm_close_date=AS_OF.day() - timedelta(days=20))
    row = only(desk.queue([late], activities=[activity(1)]))
    assert row["action"] == "update_close_date"
    done = said(row, "done", hours=9)
    assert left(desk.queue([late], activities=[activity(1)], feedback=done, as_of=TOMORROW)) == {"o": "dealt_with"}
    later = AsOf(AS_OF.instant + timedelta(days=10))
    assert only(desk.queue([late], activities=[activity(1)], feedback=done, as_of=later))["action"] == "email"


def test_skipped_holds_for_some_days_or_until_the_stage_changes(desk: Desk) -> None:
    row = only(desk.queue([opportunity()]))
    skipped = said(row, "skipped", hours=9, reason="on holiday")
    queue = desk.queue([opportunity()], feedback=skipped, as_of=TOMORROW)
    assert left(queue) == {"o": "dealt_with"}
    assert (
        queue.left_out.to_pylist()[0]["detail"]
        == "The follow-up proposed for it was skipped on 2026-07-01, until 2026-07-15"
    )
    assert only(desk.queue([opportunity(stage="Proposal")], feedback=skipped, as_of=TOMORROW))["stage"] == "Proposal"
    later = AsOf(AS_OF.instant + timedelta(days=15))
    assert only(desk.queue([opportunity()], feedback=skipped, as_of=later))["action"] == row["action"]


def test_wrong_holds_for_the_episode(desk: Desk) -> None:
    row = only(desk.queue([opportunity()], activities=[activity(35)]))
    wrong = said(row, "wrong", hours=9)
    later = AsOf(AS_OF.instant + timedelta(days=50))
    assert left(desk.queue([opportunity()], activities=[activity(35)], feedback=wrong, as_of=later)) == {
        "o": "dealt_with"
    }
    touched = [activity(35), activity(-20)]
    assert (
        only(desk.queue([opportunity()], activities=touched, feedback=wrong, as_of=later))["episode_id"]
        != row["episode_id"]
    )


def test_rows_published_before_episodes_were_named_are_known_by_their_id(desk: Desk) -> None:
    row = only(desk.queue([opportunity()])) | {"episode_id": None}
    later = AsOf(AS_OF.instant + timedelta(days=30))
    assert left(desk.queue([opportunity()], feedback=said(row, "wrong", hours=9), as_of=later)) == {"o": "dealt_with"}


def test_the_latest_statement_holds(desk: Desk) -> None:
    import pyarrow as pa

    row = only(desk.queue([opportunity()]))
    both = pa.concat_tables([said(row, "wrong", hours=9), said(row, "skipped", hours=10, reason="later")])
    later = AsOf(AS_OF.instant + timedelta(days=16))
    assert only(desk.queue([opportunity()], feedback=both, as_of=later))["opportunity_id"] == "o"


def test_a_task_made_from_the_queue_is_no_other_step(desk: Desk) -> None:
    row = only(desk.queue([opportunity()], activities=[activity(35)]))
    task = {"activity_id": "p", "opportunity_id": "o", "kind": "task", "due_at": row["due_at"]}
    again = only(desk.queue([opportunity()], activities=[activity(35)], planned=[task | {"queue_id": row["queue_id"]}]))
    assert again["queue_id"] == row["queue_id"]
    assert left(desk.queue([opportunity()], activities=[activity(35)], planned=[task])) == {"o": "already_planned"}


# Inputs that lack something


def is_sound(queue: Queue, found: list[Any], some: FollowUpParams) -> None:
    scored = scored_table([row for row, _ in found], [row for _, row in found])
    checks = check_queue(queue.rows, queue.left_out, queue.workload, scored, None, as_of=AS_OF, params=some)
    assert [check.message for check in checks if not check.passed] == []


def test_without_activities_and_owners_everybody_has_the_default_day(desk: Desk) -> None:
    found = [opportunity(f"o{n:02d}") for n in range(40)]
    queue = desk.queue(found)
    is_sound(queue, found, NO_HOLD_OUT)
    (line,) = queue.workload.to_pylist()
    assert (line["capacity_minutes"], line["capacity_basis"], line["queue_rows"]) == (240, "default", 20)
    assert set(left(queue).values()) == {"capacity"}


def test_one_owner_with_everything_gets_one_day(desk: Desk) -> None:
    found = [opportunity(f"o{n:03d}", 0.1 + n / 1000) for n in range(300)]
    queue = desk.queue(found, owners=[owner("seller-1"), owner("idle")])
    is_sound(queue, found, NO_HOLD_OUT)
    assert queue.rows.num_rows == 20
    assert queued(queue)[0] == "o299"


def test_zero_capacity_is_honoured(desk: Desk) -> None:
    found = [opportunity("a"), opportunity("b", owner_id="away")]
    some = params(owners={"away": OwnerSetting(capacity_minutes=0)})
    queue = desk.queue(found, params=some)
    is_sound(queue, found, some)
    assert left(queue) == {"b": "capacity"}
    assert (
        queue.left_out.to_pylist()[0]["detail"]
        == "The owner has no selling time: capacity is 0 minutes (owner_setting)"
    )
    nobody = params(capacity_minutes_per_day=0, exploration_share=0.5)
    assert left(desk.queue(found, params=nobody)) == {"a": "capacity", "b": "capacity"}


def test_an_account_with_thousands_of_opportunities_gives_one_row(desk: Desk) -> None:
    found = [opportunity(f"o{n:04d}", account_id="x") for n in range(5000)]
    queue = desk.queue(found)
    is_sound(queue, found, NO_HOLD_OUT)
    assert queued(queue) == ["o0000"]
    assert Counter(left(queue).values()) == {"duplicate_account": 4999}


def test_holidays_all_week_move_the_day_and_say_so(desk: Desk) -> None:
    eve = AsOf(datetime(2026, 9, 30, 16, tzinfo=UTC))  # the end of the day in Shanghai
    row = only(desk.queue([opportunity()], params=params(country="CN", time_zone="Asia/Shanghai"), as_of=eve))
    assert row["due_at"] > datetime(2026, 10, 7, tzinfo=UTC)
    assert "; due on the next working day, 2026-10-0" in row["evidence"]
    assert row["evidence"].endswith("public holidays")
    assert row["expires_at"] >= row["due_at"]


def test_capacity_is_learned_from_the_owner_s_days(desk: Desk) -> None:
    days = [
        activity(20 + n, owner_id="seller-1", opportunity_id="x", activity_id=f"{n}-{k}")
        for n in range(12)
        for k in range(6)
    ]
    line = desk.queue([opportunity()], activities=days).workload.to_pylist()[0]
    assert (line["capacity_minutes"], line["capacity_basis"]) == (90, "learned")  # six calls of 15 minutes
