"""Kits as they are built, through the channels, and back into the state."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import SecretStr

from sales_pipeline.delivery.channels.folder import Folder
from sales_pipeline.delivery.channels.object_store import ObjectStore
from sales_pipeline.delivery.channels.salesforce import Salesforce
from sales_pipeline.delivery.journal import Journal
from sales_pipeline.delivery.kits.build import build_rollback
from sales_pipeline.delivery.kits.facts import Kit
from sales_pipeline.delivery.params import FolderChannel, ObjectStoreChannel, SalesforceChannel
from sales_pipeline.delivery.state.settle import KitStatus, settle
from sales_pipeline.delivery.targets.spec import load_target
from sales_pipeline.lake.layout import Lake
from tests.support.kit_runs import follow_up, kit_of, publish_rows, reason, scored_row, sfid
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
