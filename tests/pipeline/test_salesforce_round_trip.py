"""Salesforce as source and as target: a weekly Data Export in several ZIPs is read, scored and delivered, and what the org answers is settled.

The export is simulated; the org is a stub on this machine that keeps the documented rules of Bulk API 2.0.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from sales_pipeline.domain.identifiers import to_sfid18
from sales_pipeline.simulation.params import WorldParams
from sales_pipeline.simulation.salesforce_export import write_export
from sales_pipeline.simulation.world import simulate
from tests.support.cli import IGNORED_WARNINGS, Outcome, call
from tests.support.salesforce_org import OPPORTUNITY, TASK, Faults, Fields, Org
from tests.support.salesforce_stub import SalesforceStub

pytestmark = [pytest.mark.slow, *(pytest.mark.filterwarnings(line) for line in IGNORED_WARNINGS)]

TOKEN_VARIABLE = "SALES_PIPELINE_DELIVERY__TARGETS__SALESFORCE__CHANNEL__TOKEN"
TOKEN = "canary-of-the-round-trip"
WEEK_BEFORE = "2026-06-23"
DRIFT = 0.01
"""By how much a win probability may age before the built-in mapping sends it again."""
SCORES: Fields = {
    "Win_Probability__c": "number",
    "Score_Band__c": "text",
    "Expected_Amount__c": "number",
    "Predicted_Close_Date__c": "date",
    "Next_Follow_Up__c": "date",
    "Score_Reason_Up__c": "text",
    "Score_Reason_Down__c": "text",
    "Score_Model__c": "text",
    "Scored_At__c": "instant",
}


class Place:
    """A configuration over an export, its lake, and calls of the command line on it."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "pipeline.yaml"
        self.lake = folder / "data" / "lake"
        self.export = folder / "landing" / "export"
        write_export(simulate(WorldParams(opportunities=400, seed=11)), folder / "landing", rows_per_zip=900)
        call("init", self.export, "-o", self.config).done()

    def call(self, *arguments: str | Path) -> Outcome:
        return call(*arguments, "-c", self.config)

    def deliver_to(self, url: str) -> None:
        """Let the configuration send to this instance."""
        settings = yaml.safe_load(self.config.read_text(encoding="utf-8"))
        channel = {"kind": "salesforce", "url": url, "poll_seconds": 0.05, "requests_per_second": 1000.0}
        settings["delivery"] = {"targets": {"salesforce": {"channel": channel}}}
        self.config.write_text(yaml.safe_dump(settings), encoding="utf-8")

    def scored(self) -> dict[str, dict[str, Any]]:
        """Scored opportunities of the current run by id."""
        run = (self.lake / "CURRENT").read_text().strip()
        rows = pq.read_table(self.lake / "runs" / run / "scored_opportunities.parquet").to_pylist()
        return {row["opportunity_id"]: row for row in rows if row["kind"] == "opportunity"}

    def org(self) -> Org:
        """The org the export came from: its records by the ids in the ZIPs, without our values."""
        ids: dict[str, set[str]] = defaultdict(set)
        for archive in sorted(self.export.glob("WE_*.ZIP")):
            with zipfile.ZipFile(archive) as opened:
                for member in opened.namelist():
                    text = io.StringIO(opened.read(member).decode("utf-8"))
                    for row in csv.DictReader(text):
                        ids[member.removesuffix(".csv")].add(to_sfid18((row["Id"] or "").strip()))
        objects: dict[str, Fields] = {
            "Opportunity": {**OPPORTUNITY, **SCORES},
            "Lead": dict(SCORES),
            "Task": {**TASK, "Follow_Up_State__c": "text"},
            "User": {},
            "Contact": {},
        }
        org = Org(objects, {"Task": "Follow_Up_Key__c"})
        for name in objects:
            org.add(name, ids=sorted(one for one in ids[name] if len(one) == 18))
        return org


def held(org: Org) -> dict[str, str]:
    """Win probabilities the org holds, by opportunity."""
    records = org.records["Opportunity"]
    return {key: values["Win_Probability__c"] for key, values in records.items() if "Win_Probability__c" in values}


def test_an_export_in_several_zips_is_scored_delivered_reconciled_and_rolled_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path)
    assert len(list(place.export.glob("WE_*.ZIP"))) > 3
    org = place.org()
    place.call("run", "--as-of", WEEK_BEFORE).done()
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    before = place.scored()

    # One opportunity was changed in the CRM since the export: its row is refused, all others are taken.
    locked = sorted(key for key, row in before.items() if row["win_probability"] is not None)[0]
    faults = Faults(errors={locked: "UNABLE_TO_LOCK_ROW:unable to obtain exclusive access:--"})
    with SalesforceStub(TOKEN, org, faults=faults) as server:
        place.deliver_to(server.url)
        place.call("deliver", "salesforce", "--dry-run").done()
        assert server.requests == []
        first = place.call("deliver", "salesforce")
    assert first.code == 3
    assert "1 rows were not taken" in first.err
    refused = place.call("deliver", "refused", "salesforce", "--json").done().json["rows"]
    assert [(row["key"], row["code"]) for row in refused] == [(locked, "UNABLE_TO_LOCK_ROW")]
    expected = {
        key: f"{row['win_probability']:.4f}" for key, row in before.items() if row["win_probability"] is not None
    }
    assert held(org) == {key: value for key, value in expected.items() if key != locked}

    # The same day again: only the refused row is left, and it is taken now.
    with SalesforceStub(TOKEN, org) as server:
        place.deliver_to(server.url)
        again = place.call("deliver", "salesforce", "--json").done().json
        assert again["outcomes"] == {"succeeded": 1}
        assert held(org) == expected
        nothing = place.call("deliver", "salesforce", "--json").done().json
        assert nothing["ended"] == "nothing_to_deliver"
        asked = len(server.requests)
        assert place.call("deliver", "salesforce").code == 0
        assert len(server.requests) == asked

        # A week later: what changed goes, what people typed stays, tasks are not made twice.
        for task in org.records["Task"].values():
            task["Status"] = "In Progress"
        tasks = len(org.records["Task"])
        place.call("run").done()
        after = place.scored()
        done = place.call("deliver", "salesforce", "--accept-moves", "--json").done().json
        changed = {line["object"]: line for line in done["objects"]}["follow_up_tasks"]
        assert len(org.records["Task"]) == tasks + changed["new"]
        assert sum(task["Status"] == "In Progress" for task in org.records["Task"].values()) == tasks
        now = {key: row["win_probability"] for key, row in after.items() if row["win_probability"] is not None}
        values = held(org)
        assert len(now) > 10
        assert {key for key, figure in now.items() if abs(figure - float(values[key])) > DRIFT + 0.0001} == set()

        # And back: the values of the week before stand again, new ones are empty.
        place.call("deliver", "rollback", done["run_id"], "--target", "salesforce").done()
        assert held(org) == expected
        states = [row["state"] for row in place.call("deliver", "status", "--json").done().json["deliveries"]]
        assert states[-1].startswith("done, rollback of")

    told = "".join(
        path.read_text(errors="replace") for path in place.lake.rglob("*") if path.suffix in (".json", ".jsonl")
    )
    assert TOKEN not in told
