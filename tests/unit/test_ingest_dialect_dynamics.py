"""Dynamics 365: hidden key columns, display names where ids should be, statuses apart from phases, dates as the user writes them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from sales_pipeline.engines.base import Engine
from sales_pipeline.engines.duckdb import DuckDBEngine
from sales_pipeline.ingest.check import check
from sales_pipeline.ingest.dialects.spec import built_in
from sales_pipeline.ingest.guess import guess_mapping
from sales_pipeline.ingest.params import SourceMapping
from tests.support.crm_files import Read, Table, guid, read_all, write_csv, write_xlsx

HIDDEN = ("(Do Not Modify) Row Checksum", "(Do Not Modify) Modified On")
SUM = "3mFKpC6LAEb1SDb6+aBQ/w=="
OPPORTUNITIES: Table = (
    ("(Do Not Modify) Opportunity", *HIDDEN, "Topic", "Potential Customer", "Est. Close Date", "Est. Revenue", "Status", "Status Reason",
     "Pipeline Phase", "Rating", "Probability", "Owner", "Created On", "Actual Close Date", "Actual Revenue", "Originating Lead", "Currency", "Contact"),
    [
        ("{" + guid(1).upper() + "}", SUM, "6/20/2026 10:15 AM", "=1+1 offer", "Acme", "7/31/2026", "1,200.50", "Open", "In Progress",
         "2-Develop", "Hot", "40", "Ada Owner", "5/13/2026 9:00 AM", "", "", "", "US Dollar", "Con Tact"),
        (guid(2), SUM, "6/21/2026 10:15 AM", "Second", "Acme", "6/15/2026", "500.00", "Won", "Won",
         "4-Close", "Warm", "100", "Ada Owner", "5/14/2026 9:00 AM", "6/14/2026", "450.00", "Lea D", "US Dollar", ""),
        (guid(3), SUM, "6/22/2026 10:15 AM", "Third", "Twin", "6/16/2026", "700.00", "Lost", "Out-Sold",
         "2-Develop", "Cold", "0", "Same Name", "5/15/2026 9:00 AM", "6/13/2026", "0.00", "", "Galleons", ""),
    ],
)  # fmt: skip
LEADS: Table = (
    ("(Do Not Modify) Lead", *HIDDEN, "Full Name", "Topic", "Status", "Lead Source", "Owner", "Created On", "Est. Close Date"),
    [
        (guid(1, "b"), SUM, "6/1/2026 8:00 AM", "Lea D", "Second", "Qualified", "Web", "Ada Owner", "5/1/2026 8:00 AM", ""),
        (guid(2, "b"), SUM, "6/1/2026 8:00 AM", "Noah D", "Try", "Disqualified", "Fair", "Ada Owner", "5/2/2026 8:00 AM", ""),
    ],
)  # fmt: skip
ACCOUNTS: Table = (
    ("(Do Not Modify) Account", *HIDDEN, "Account Name", "Industry", "No. of Employees", "Owner", "Parent Account", "Created On"),
    [
        (guid(1, "c"), SUM, "6/1/2026 8:00 AM", "Acme", "Retail", "1,200", "Ada Owner", "", "1/2/2026 8:00 AM"),
        (guid(2, "c"), SUM, "6/1/2026 8:00 AM", "Twin", "Retail", "20", "Ada Owner", "Acme", "1/2/2026 8:00 AM"),
        (guid(3, "c"), SUM, "6/1/2026 8:00 AM", "Twin", "Mining", "30", "Ada Owner", "", "1/2/2026 8:00 AM"),
    ],
)  # fmt: skip
CONTACTS: Table = (
    (
        "(Do Not Modify) Contact",
        *HIDDEN,
        "Full Name",
        "Company Name",
        "Do not allow Emails",
        "Do not allow Phone Calls",
        "Created On",
    ),
    [(guid(1, "d"), SUM, "6/1/2026 8:00 AM", "Con Tact", "Acme", "Do Not Allow", "Allow", "1/3/2026 8:00 AM")],
)
USERS: Table = (
    ("(Do Not Modify) User", *HIDDEN, "Full Name", "Business Unit", "Manager", "Status"),
    [
        (guid(1, "e"), SUM, "6/1/2026 8:00 AM", "Ada Owner", "North", "", "Enabled"),
        (guid(2, "e"), SUM, "6/1/2026 8:00 AM", "Same Name", "North", "Ada Owner", "Enabled"),
        (guid(3, "e"), SUM, "6/1/2026 8:00 AM", "Same Name", "South", "Ada Owner", "Disabled"),
    ],
)
ACTIVITIES: Table = (
    ("(Do Not Modify) Activity", *HIDDEN, "Activity Type", "Subject", "Regarding", "Activity Status", "Start Date", "Due Date", "Owner", "Created On"),
    [
        (guid(1, "f"), SUM, "6/3/2026 8:00 AM", "Phone Call", "x", "=1+1 offer", "Completed", "6/2/2026 9:00 AM", "6/2/2026 9:30 AM", "Ada Owner", "6/1/2026 8:00 AM"),
        (guid(2, "f"), SUM, "6/3/2026 8:00 AM", "Appointment", "x", "Acme", "Scheduled", "7/2/2026 9:00 AM", "7/2/2026 9:30 AM", "Ada Owner", "6/1/2026 8:00 AM"),
        (guid(3, "f"), SUM, "6/3/2026 8:00 AM", "Task", "x", "Third", "Canceled", "", "6/4/2026", "Ada Owner", "6/1/2026 8:00 AM"),
        (guid(4, "f"), SUM, "6/3/2026 8:00 AM", "Letter", "x", "nobody knows it", "Completed", "", "6/5/2026", "Ada Owner", "6/1/2026 8:00 AM"),
    ],
)  # fmt: skip
AUDIT: Table = (
    ("Record Id", "Changed Date", "Changed By", "Event", "Entity", "Record", "Changed Field", "Old Value", "New Value"),
    [
        (guid(1, "9"), "5/20/2026 8:00 AM", "Ada Owner", "Update", "Opportunity", "=1+1 offer", "Pipeline Phase", "1-Qualify", "2-Develop"),
        (guid(2, "9"), "5/21/2026 8:00 AM", "Ada Owner", "Update", "Opportunity", "=1+1 offer", "Est. Revenue", "1,000.00", "1,200.50"),
        (guid(3, "9"), "5/22/2026 8:00 AM", "Ada Owner", "Assign", "Opportunity", "Second", "Owner", "Same Name", "Ada Owner"),
        (guid(4, "9"), "5/23/2026 8:00 AM", "Ada Owner", "Update", "Opportunity", "Second", "Description", "a", "b"),
    ],
)  # fmt: skip


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with DuckDBEngine(threads=1) as one:
        yield one


@pytest.fixture(scope="module")
def crm(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> Read:
    folder = tmp_path_factory.mktemp("dynamics")
    landing = folder / "exports"
    write_csv(landing / "All Opportunities 6-30-2026 10-15-42 AM.csv", OPPORTUNITIES, encoding="utf-8-sig")
    write_csv(landing / "All Leads 6-30-2026 10-15-42 AM.csv", LEADS)
    write_xlsx(landing / "Active Accounts.xlsx", ACCOUNTS)
    write_csv(landing / "People we know.csv", CONTACTS)
    write_csv(landing / "Enabled Users.csv", USERS)
    write_csv(landing / "All Activities.csv", ACTIVITIES)
    write_csv(landing / "Audit.csv", AUDIT)
    return read_all(landing, folder, engine, lambda values: {**values, "time_zone": "UTC"})


def test_it_is_recognised_by_its_hidden_columns_whatever_the_files_are_called(crm: Read) -> None:
    assert crm.mapping.dialect == "dynamics"
    tables = {name: facts["tables"] for name, facts in crm.ingested.facts["files"].items()}
    assert sorted(table for found in tables.values() for table in found) == [
        "accounts", "activities", "contacts", "field_history", "opportunities", "opportunities", "owners",
    ]  # fmt: skip


def test_init_tells_what_is_won_lists_the_phases_and_settles_the_dates(crm: Read) -> None:
    assert "what is won is told by 'Status' of All Opportunities" in crm.text
    assert crm.mapping.stages.open == ("2-Develop", "4-Close")
    assert crm.mapping.date_order == "mdy"
    assert any("order of your process" in question for question in crm.guessed.questions)
    assert not any("display name" in question for question in crm.guessed.questions)
    assert "Ada" not in crm.text and "Acme" not in crm.text


def test_the_check_has_nothing_to_say_against_it(crm: Read) -> None:
    assert [finding for finding in crm.findings if finding.level == "error"] == []


def test_guids_have_one_spelling(crm: Read) -> None:
    found = crm.rows("opportunities", "opportunity_id")
    assert set(found) == {guid(1), guid(2), guid(3), guid(2, "b")}
    assert crm.touched("id") == 1


def test_a_phase_is_no_outcome(crm: Read) -> None:
    found = crm.rows("opportunities", "opportunity_id")
    assert {key: (row["stage"], row["state"]) for key, row in found.items() if row["kind"] == "opportunity"} == {
        guid(1): ("2-Develop", "open"),
        guid(2): ("4-Close", "won"),
        guid(3): ("2-Develop", "lost"),
    }


def test_amounts_are_the_estimated_revenue_and_dates_follow_the_order(crm: Read) -> None:
    found = crm.rows("opportunities", "opportunity_id")
    assert [found[guid(n)]["amount"] for n in (1, 2, 3)] == [Decimal("1200.50"), Decimal(500), Decimal(700)]
    assert found[guid(1)]["crm_close_date"] == date(2026, 7, 31)
    assert found[guid(1)]["created_at"] == datetime(2026, 5, 13, 9, tzinfo=UTC)
    assert found[guid(1)]["crm_probability"] == 0.4


def test_a_name_that_one_record_bears_becomes_its_id_and_another_stays_a_name(crm: Read) -> None:
    found = crm.rows("opportunities", "opportunity_id")
    assert [found[guid(n)]["owner_id"] for n in (1, 3)] == [guid(1, "e"), "Same Name"]
    raw = {row["opportunity_id"].strip("{}").lower(): row for row in crm.raw("opportunities")}
    assert [raw[guid(n)]["account_id"] for n in (1, 3)] == [guid(1, "c"), "Twin"]
    assert raw[guid(1)]["contact_id"] == guid(1, "d")
    assert {row["manager_id"] for row in crm.raw("owners") if "manager_id" in row} == {guid(1, "e")}


def test_a_qualified_lead_and_its_opportunity_are_one(crm: Read) -> None:
    found = crm.rows("opportunities", "opportunity_id")
    assert found[guid(2, "b")]["state"] == "lost"
    [converted] = [reason for _, _, reason in crm.verdicts("duplicate_of")]
    assert converted == "converted lead"


def test_activities_find_what_they_regard_by_name_and_cancelled_ones_stay_out(crm: Read) -> None:
    done, planned = crm.rows("activities", "activity_id"), crm.rows("planned_activities", "activity_id")
    assert (done[guid(1, "f")]["opportunity_id"], done[guid(1, "f")]["kind"]) == (guid(1), "call")
    assert done[guid(4, "f")]["opportunity_id"] is None
    assert (planned[guid(2, "f")]["account_id"], planned[guid(2, "f")]["kind"]) == (guid(1, "c"), "meeting")
    assert guid(3, "f") not in {*done, *planned}


def test_an_audit_history_is_a_history_of_fields(crm: Read) -> None:
    found = [(row["field"], row.get("old_value"), row["new_value"]) for row in crm.raw("field_history")]
    assert found == [
        ("stage", "1-Qualify", "2-Develop"),
        ("amount", "1,000.00", "1,200.50"),
        ("owner_id", "Same Name", guid(1, "e")),
        ("Description", "a", "b"),
    ]


def test_names_and_what_is_known_only_at_the_end_are_no_attributes(crm: Read) -> None:
    assert {row["attribute"] for row in crm.raw("opportunity_attributes")} == {"Rating"}
    [facts] = [facts for name, facts in crm.ingested.facts["files"].items() if name.startswith("All Opp")]
    assert facts["not_taken"]["Topic"] == "about people, or free text"
    assert facts["not_taken"]["Actual Revenue"] == "system column, as of the export"


def test_every_record_has_its_place_and_an_unknown_currency_is_told(crm: Read) -> None:
    crm.hold_that_every_record_has_its_place()
    assert ("currency", "GALLEONS") in [(column, value) for column, _, value in crm.issues()]


def test_a_deleted_key_column_is_told_with_what_to_do(tmp_path: Path) -> None:
    header, rows = OPPORTUNITIES
    write_csv(tmp_path / "Deals.csv", (header[3:], [row[3:] for row in rows]))
    [error] = [
        finding.message for finding in check(tmp_path, SourceMapping(dialect="dynamics")) if finding.level == "error"
    ]
    assert "a mapped column is missing: opportunities.opportunity_id" in error
    assert "'(Do Not Modify) Opportunity'" in error
    assert "header_synonyms" in error


def test_a_file_of_unknown_encoding_is_refused_since_its_name_says_nothing(tmp_path: Path) -> None:
    write_csv(tmp_path / "Deals.csv", OPPORTUNITIES)
    header, rows = OPPORTUNITIES
    write_csv(tmp_path / "More.csv", (header, [(*rows[0][:3], "Größe", *rows[0][4:])]), encoding="cp1252")
    [error] = [
        finding.message
        for finding in check(tmp_path, SourceMapping(dialect="dynamics", date_order="mdy"))
        if finding.level == "error"
    ]
    assert "the file's encoding is not known" in error
    assert "More.csv, line 2" in error


def test_names_for_ids_are_asked_where_no_table_holds_the_ids(tmp_path: Path) -> None:
    write_csv(tmp_path / "Deals.csv", OPPORTUNITIES)
    questions = guess_mapping(tmp_path).questions
    assert any("owners are named in 'Owner'" in question for question in questions)
    assert any("accounts are named in 'Potential Customer'" in question for question in questions)


def test_single_kinds_of_activities_are_known_by_their_key_column(tmp_path: Path, engine: Engine) -> None:
    from sales_pipeline.ingest.exports import collect
    from sales_pipeline.lake.layout import Lake
    from tests.support.crm_files import raw_rows

    landing = tmp_path / "exports"
    write_csv(landing / "Deals.csv", OPPORTUNITIES)
    for entity in ("Phone Call", "Email", "Appointment", "Task"):
        table = (
            (f"(Do Not Modify) {entity}", *HIDDEN, "Regarding", "Activity Status", "Due Date"),
            [(entity, SUM, "6/1/2026", "Third", "Open", "7/1/2026")],
        )
        write_csv(landing / f"My {entity}s 6-30-2026.csv", table)
    [one] = collect(Lake(tmp_path / "lake"), landing, SourceMapping(dialect="dynamics", date_order="mdy"), engine)
    assert {row["activity_id"]: (row["kind"], row["opportunity_id"]) for row in raw_rows(one, "activities")} == {
        "Phone Call": ("call", guid(3)),
        "Email": ("email", guid(3)),
        "Appointment": ("meeting", guid(3)),
        "Task": ("task", guid(3)),
    }


def test_built_in_specs_fill_columns_that_exist() -> None:
    from sales_pipeline.contracts.raw import RAW_TABLES

    for spec in built_in("dynamics").tables:
        assert set(spec.columns) <= set(RAW_TABLES[f"raw_{spec.table}"].column_names[3:])
        assert set(spec.required_columns) <= set(spec.columns)
