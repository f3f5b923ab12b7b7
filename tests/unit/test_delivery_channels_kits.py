"""Kits as they are built, through the channels, and back into the state."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import SecretStr

from sales_pipeline.delivery.channels.folder import Folder
from sales_pipeline.delivery.channels.object_store import ObjectStore
from sales_pipeline.delivery.channels.salesforce import Salesforce
from sales_pipeline.delivery.deliver import refusals
from sales_pipeline.delivery.journal import Journal
from sales_pipeline.delivery.kit import Kit
from sales_pipeline.delivery.kits.build import build_rollback
from sales_pipeline.delivery.params import FolderChannel, ObjectStoreChannel, SalesforceChannel
from sales_pipeline.delivery.results.read import read_results
from sales_pipeline.delivery.results.sent import sent_keys
from sales_pipeline.delivery.results.tables import results_table
from sales_pipeline.delivery.state.settle import KitStatus, confirm_all, hand_over, settle
from sales_pipeline.delivery.state.store import read_state
from sales_pipeline.delivery.targets.spec import load_target
from sales_pipeline.lake.layout import Lake
from tests.support.kit_runs import follow_up, kit_of, left_out, publish_rows, reason, scored_row, sfid
from tests.support.salesforce_org import Faults, Org, org_for
from tests.support.salesforce_stub import SalesforceStub

SPEC = load_target("salesforce")
DEALS = [sfid("006", number) for number in range(1, 5)]


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda _: None)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path)


@pytest.fixture
def org() -> Org:
    org = org_for(SPEC)
    org.add("Opportunity", ids=DEALS)
    org.add("User", ids=[sfid("005", 1)])
    return org


def day(lake: Lake, name: str, probability: float) -> Kit:
    scored = [scored_row(deal, probability, reasons_up=reason("Two calls, this week")) for deal in DEALS]
    queue = [follow_up(f"key-{number}", deal) for number, deal in enumerate(DEALS)]
    return kit_of(lake, publish_rows(lake, name, scored, queue), SPEC)


def deliver(lake: Lake, kit: Kit, org: Org, **faults: Any) -> KitStatus:
    with SalesforceStub("t", org, faults=Faults(**faults)) as stub:
        params = SalesforceChannel(url=stub.url, token=SecretStr("t"), requests_per_second=1e9)
        journal = Journal(lake.root / "journals" / kit.parcel.delivery_id)
        results = Salesforce(params, sleep=lambda _: None).send(kit.parcel, journal)
    return settle(lake, "crm", kit.folder, results)


def test_a_kit_is_delivered_the_next_day_sends_the_changes_and_a_rollback_takes_it_back(lake: Lake, org: Org) -> None:
    first = deliver(lake, day(lake, "run-1", 0.5), org)
    assert (first.rows, first.succeeded, first.is_settled) == (8, 8, True)
    held = org.records["Opportunity"][DEALS[0]]
    assert (held["Win_Probability__c"], held["Score_Band__c"]) == ("0.5000", "B")
    assert held["Score_Reason_Up__c"] == "Two calls, this week"
    before = {key: dict(record) for key, record in org.records["Opportunity"].items()}

    assert day(lake, "run-1b", 0.5).rows == 0

    second = day(lake, "run-2", 0.75)
    assert (second.rows, deliver(lake, second, org).succeeded) == (4, 4)
    assert org.records["Opportunity"][DEALS[0]]["Win_Probability__c"] == "0.7500"
    assert len(org.records["Task"]) == 4

    back = build_rollback(lake, "crm", second.folder)
    assert deliver(lake, back, org).succeeded == 4
    assert org.records["Opportunity"] == before


def follow_ups(lake: Lake, name: str, *keys: str) -> Kit:
    scored = [scored_row(deal, 0.5) for deal in DEALS]
    queue = [follow_up(key, deal) for key, deal in zip(keys, DEALS, strict=False)]
    return kit_of(lake, publish_rows(lake, name, scored, queue), SPEC)


def task(org: Org, number: int) -> str:
    """The id of the task that was made as that follow-up's."""
    return list(org.records["Task"])[number]


def test_a_task_somebody_deleted_is_not_made_again_by_its_withdrawal(lake: Lake, org: Org) -> None:
    deliver(lake, follow_ups(lake, "run-1", "key-0", "key-1"), org)
    org.delete("Task", task(org, 0))
    away = follow_ups(lake, "run-2")
    assert [(part.name, part.operation, part.key_field) for part in away.parcel.parts if part.object == "Task"] == [
        ("follow_up_tasks_withdrawn_by_id.csv", "update", "Id")
    ]
    status = deliver(lake, away, org)
    assert (status.failed, status.deleted, status.is_settled) == (0, 1, True)
    assert [one["Follow_Up_State__c"] for one in org.records["Task"].values()] == ["withdrawn"]
    assert read_state(lake, "crm").held("follow_up_tasks")["key"].to_pylist() == ["key-1"]
    assert follow_ups(lake, "run-3").rows == 0
    assert refusals(lake, "crm") == []


def test_a_follow_up_whose_task_somebody_deleted_stays_out_while_the_queue_asks_for_it(lake: Lake, org: Org) -> None:
    deliver(lake, follow_ups(lake, "run-1", "key-0", "key-1"), org)
    deliver(lake, follow_ups(lake, "run-2"), org)
    org.delete("Task", task(org, 0))
    back = follow_ups(lake, "run-3", "key-0", "key-1")
    assert deliver(lake, back, org).deleted == 1
    assert [one["Follow_Up_State__c"] for one in org.records["Task"].values()] == ["proposed"]
    still = follow_ups(lake, "run-4", "key-0", "key-1")
    assert still.rows == 0
    assert left_out(still) == {"key-0": "deleted_there"}
    every = kit_of(lake, publish_rows(lake, "run-5", [], [follow_up("key-0", DEALS[0])]), SPEC, only_changed=False)
    assert "key-0" not in {key for part in every.parcel.parts for key in sent_keys(every.parcel, part)}
    assert left_out(follow_ups(lake, "run-6")) == {}


def test_a_rollback_does_not_make_a_deleted_task_again_whether_that_is_known_or_not(lake: Lake, org: Org) -> None:
    first = follow_ups(lake, "run-1", "key-0", "key-1", "key-2")
    deliver(lake, first, org)
    known, unknown = task(org, 0), task(org, 1)
    org.delete("Task", known)
    deliver(lake, follow_ups(lake, "run-2", "key-1", "key-2"), org)
    org.delete("Task", unknown)
    back = build_rollback(lake, "crm", first.folder)
    tasks = [part for part in back.parcel.parts if part.object == "Task"]
    assert [(part.name, part.rows) for part in tasks] == [("follow_up_tasks_withdrawn_by_id.csv", 2)]
    status = deliver(lake, back, org)
    assert (status.failed, status.deleted) == (0, 1)
    assert [one["Follow_Up_State__c"] for one in org.records["Task"].values()] == ["withdrawn"]


def test_an_opportunity_that_was_deleted_and_restored_gets_its_score_again(lake: Lake, org: Org) -> None:
    deliver(lake, day(lake, "run-1", 0.5), org)
    org.delete("Opportunity", DEALS[0])
    assert deliver(lake, day(lake, "run-2", 0.75), org).deleted == 1
    org.deleted.clear()
    org.add("Opportunity", ids=[DEALS[0]])
    again = day(lake, "run-3", 0.75)
    assert again.rows == deliver(lake, again, org).succeeded == 1
    assert org.records["Opportunity"][DEALS[0]]["Win_Probability__c"] == "0.7500"


def test_where_the_pipeline_abstains_the_org_holds_no_score_of_ours_until_it_is_rolled_back(
    lake: Lake, org: Org
) -> None:
    deliver(lake, day(lake, "run-1", 0.5), org)
    before = {key: dict(record) for key, record in org.records["Opportunity"].items()}
    scored = [scored_row(deal, None if deal == DEALS[0] else 0.5) for deal in DEALS]
    queue = [follow_up(f"key-{number}", deal) for number, deal in enumerate(DEALS)]
    silent = kit_of(lake, publish_rows(lake, "run-2", scored, queue), SPEC)
    assert [(part.name, part.rows) for part in silent.parcel.parts] == [("opportunity_scores_cleared.csv", 1)]
    deliver(lake, silent, org)
    assert org.records["Opportunity"] == {**before, DEALS[0]: {}}
    deliver(lake, build_rollback(lake, "crm", silent.folder), org)
    assert org.records["Opportunity"] == before


def test_a_new_task_about_a_deleted_opportunity_is_refused_and_comes_again(lake: Lake, org: Org) -> None:
    org.delete("Opportunity", DEALS[0])
    status = deliver(lake, follow_ups(lake, "run-1", "key-0"), org)
    assert (status.failed, status.deleted) == (1, 1)  # the task; the opportunity's score
    assert [(row["key"], row["code"]) for row in refusals(lake, "crm")] == [("key-0", "ENTITY_IS_DELETED")]
    assert "follow_up_tasks_new.csv" in [part.name for part in follow_ups(lake, "run-2", "key-0").parcel.parts]


def test_a_refusal_of_a_row_that_went_by_id_is_told_by_the_follow_ups_own_key(lake: Lake, org: Org) -> None:
    deliver(lake, follow_ups(lake, "run-1", "key-0"), org)
    deliver(lake, follow_ups(lake, "run-2"), org, errors={task(org, 0): "UNABLE_TO_LOCK_ROW:busy:--"})
    assert [(row["object"], row["key"], row["code"]) for row in refusals(lake, "crm")] == [
        ("follow_up_tasks", "key-0", "UNABLE_TO_LOCK_ROW")
    ]
    deliver(lake, follow_ups(lake, "run-3"), org)
    assert refusals(lake, "crm") == []
    assert org.records["Task"][task(org, 0)]["Follow_Up_State__c"] == "withdrawn"


def test_a_persons_result_files_tell_ids_and_deletions_too(lake: Lake, tmp_path: Path) -> None:
    first = follow_ups(lake, "run-1", "key-0", "key-1")
    ids = [sfid("00T", number) for number in range(2)]
    made = "".join(f"{one},true,key-{number}\n" for number, one in enumerate(ids))
    (tmp_path / "success.csv").write_text("sf__Id,sf__Created,Follow_Up_Key__c\n" + made, encoding="utf-8")
    settle(lake, "crm", first.folder, read_results(tmp_path / "success.csv", first.parcel))
    away = follow_ups(lake, "run-2")
    gone = f"{ids[0]},withdrawn,ENTITY_IS_DELETED:entity is deleted:--\n"
    (tmp_path / "error.csv").write_text("ID,FOLLOW_UP_STATE__C,ERROR\n" + gone, encoding="utf-8")
    status = settle(lake, "crm", away.folder, read_results(tmp_path / "error.csv", away.parcel))
    assert (status.deleted, status.failed, status.unknown) == (1, 0, status.rows - 1)
    assert confirm_all(lake, "crm", away.folder).succeeded == status.rows - 1
    held = read_state(lake, "crm").held("follow_up_tasks").to_pylist()
    assert [(row["key"], row["remote_id"], row["held.Follow_Up_State__c"]) for row in held] == [
        ("key-1", ids[1], "withdrawn")
    ]


@pytest.mark.parametrize("told", [[None, None], ["00T1", None], [sfid("00T", 1)] * 2], ids=["unknown", "bad", "twice"])
def test_a_record_whose_id_is_not_known_for_sure_goes_by_its_key(lake: Lake, told: list[str | None]) -> None:
    first = follow_ups(lake, "run-1", "key-0", "key-1")
    part = next(part for part in first.parcel.parts if part.object == "Task")
    settle(lake, "crm", first.folder, results_table(part, ["key-0", "key-1"], "succeeded", remote_ids=told))
    away = follow_ups(lake, "run-2")
    assert [(part.name, part.operation, part.key_field, part.rows) for part in away.parcel.parts][-1] == (
        "follow_up_tasks_withdrawn.csv", "upsert", "Follow_Up_Key__c", 2,
    )  # fmt: skip


def test_a_late_answer_that_a_record_was_deleted_does_not_undo_what_a_later_kit_set(lake: Lake, org: Org) -> None:
    deliver(lake, follow_ups(lake, "run-1", "key-0"), org)
    away = follow_ups(lake, "run-2")
    hand_over(lake, "crm", away.folder)
    again = kit_of(lake, publish_rows(lake, "run-3", [], [follow_up("key-0", DEALS[0])]), SPEC, only_changed=False)
    deliver(lake, again, org)
    part = away.parcel.parts[-1]
    settle(lake, "crm", away.folder, results_table(part, [task(org, 0)], "failed", codes=["ENTITY_IS_DELETED"]))
    state = read_state(lake, "crm")
    assert (state.held("follow_up_tasks")["key"].to_pylist(), len(state.deleted("follow_up_tasks"))) == (["key-0"], 0)


def test_an_answer_that_a_deleted_record_was_taken_after_all_counts(lake: Lake, org: Org) -> None:
    deliver(lake, follow_ups(lake, "run-1", "key-0"), org)
    away = follow_ups(lake, "run-2")
    part, gone = away.parcel.parts[-1], [task(org, 0)]
    settle(lake, "crm", away.folder, results_table(part, gone, "failed", codes=["ENTITY_IS_DELETED"]))
    assert read_state(lake, "crm").deleted("follow_up_tasks").to_pylist() == ["key-0"]
    settle(lake, "crm", away.folder, results_table(part, gone, "succeeded"))
    state = read_state(lake, "crm")
    assert (state.held("follow_up_tasks")["key"].to_pylist(), len(state.deleted("follow_up_tasks"))) == (["key-0"], 0)


def test_rows_the_target_refused_come_again_and_nothing_else_does(lake: Lake, org: Org) -> None:
    first = deliver(lake, day(lake, "run-1", 0.5), org, refuse_half=True)
    assert (first.succeeded, first.failed) == (4, 4)
    again = day(lake, "run-2", 0.5)
    assert again.rows == 4
    assert deliver(lake, again, org).succeeded == 4
    assert set(org.writes.values()) == {1}
    assert len(org.writes) == 8


@pytest.mark.parametrize("kind", ["salesforce", "folder", "object_store"])
def test_a_kit_without_rows_is_delivered_by_every_channel(lake: Lake, org: Org, tmp_path: Path, kind: str) -> None:
    deliver(lake, day(lake, "run-1", 0.5), org)
    empty = day(lake, "run-2", 0.5)
    (tmp_path / "share").mkdir()
    channels: dict[str, Any] = {
        "salesforce": Salesforce(SalesforceChannel(url="http://127.0.0.1:9", token=SecretStr("t"))),
        "folder": Folder(FolderChannel(path=tmp_path / "share")),
        "object_store": ObjectStore(ObjectStoreChannel(url="memory://")),
    }
    results: pa.Table = channels[kind].send(empty.parcel, Journal(tmp_path / "journal"))
    assert results.num_rows == 0
    assert settle(lake, "crm", empty.folder, results).is_settled
