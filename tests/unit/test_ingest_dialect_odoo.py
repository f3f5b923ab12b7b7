"""Odoo: external ids and database numbers, lost leads that are archived, text guarded by an apostrophe, activities on other models."""

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
from sales_pipeline.ingest.exports import collect
from sales_pipeline.ingest.guess import guess_mapping
from sales_pipeline.ingest.params import SourceMapping
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.tables import read_table
from tests.support.crm_files import Read, Table, raw_rows, read_all, write_csv, write_xlsx

LEAD, PARTNER, USER = (
    "__export__.crm_lead_{}_d478be1a",
    "__export__.res_partner_{}_0a1b2c3d",
    "__export__.res_users_{}_9f8e7d6c",
)
LEADS: Table = (
    ("id", ".id", "name", "type", "stage_id", "stage_id/id", "user_id/id", "partner_id/id", "expected_revenue", "probability", "date_deadline",
     "create_date", "write_date", "date_closed", "active", "won_status", "team_id", "source_id", "priority", "email_from", "lost_reason_id"),
    [
        (LEAD.format(400), "400", "'=1+1 desk", "Opportunity", "Qualified", "crm.stage_lead2", USER.format(6), PARTNER.format(11), "1200.5", "35.0",
         "2026-07-31", "2026-05-13 09:00:00", "2026-06-20 10:15:00", "", "True", "Pending", "Europe", "Web", "2", "a@b.example", ""),
        (LEAD.format(401), "401", "@sign", "Opportunity", "Won", "crm.stage_lead4", USER.format(6), PARTNER.format(12), "500.0", "100.0",
         "2026-06-15", "2026-05-14 09:00:00", "2026-06-14 10:15:00", "2026-06-14 10:15:00", "True", "Won", "Europe", "Web", "1", "", ""),
        (LEAD.format(402), "402", "Third", "Opportunity", "Qualified", "crm.stage_lead2", "", PARTNER.format(11), "700.0", "0.0",
         "", "2026-05-15 09:00:00", "2026-06-13 10:15:00", "2026-06-13 10:15:00", "False", "Lost", "Europe", "", "0", "", "Too expensive"),
        (LEAD.format(403), "403", "A lead", "Lead", "New", "crm.stage_lead1", "", "", "0.0", "12.5",
         "", "2026-06-15 09:00:00", "2026-06-15 09:00:00", "", "True", "Pending", "Europe", "", "0", "", ""),
    ],
)  # fmt: skip
STAGES: Table = (
    ("id", "name", "is_won", "sequence"),
    [
        ("crm.stage_lead1", "New", "False", "0"),
        ("crm.stage_lead2", "Qualified", "False", "1"),
        ("crm.stage_lead4", "Won", "True", "70"),
    ],
)
PARTNERS: Table = (
    (
        "id",
        ".id",
        "name",
        "is_company",
        "parent_id/id",
        "industry_id",
        "country_id",
        "user_id/id",
        "is_blacklisted",
        "create_date",
    ),
    [
        (
            PARTNER.format(11),
            "11",
            "Acme",
            "True",
            "",
            "Retail",
            "France",
            USER.format(6),
            "False",
            "2026-01-02 08:00:00",
        ),
        (
            PARTNER.format(12),
            "12",
            "Acme, Con Tact",
            "False",
            PARTNER.format(11),
            "",
            "France",
            "",
            "True",
            "2026-01-03 08:00:00",
        ),
    ],
)
USERS: Table = (
    ("id", "name", "login", "sale_team_id", "tz", "active"),
    [(USER.format(6), "Ada Owner", "ada@odoo.example", "Europe", "Europe/Paris", "True")],
)
ACTIVITIES: Table = (
    ("id", "activity_type_id", "res_model", "res_id", "date_deadline", "user_id/id", "state", "create_date"),
    [
        ("__export__.mail_activity_1_aa", "Call", "crm.lead", "400", "2026-07-02", USER.format(6), "Planned", "2026-06-20 08:00:00"),
        ("__export__.mail_activity_2_aa", "Email", "crm.lead", "402", "2026-06-02", USER.format(6), "Done", "2026-06-01 08:00:00"),
        ("__export__.mail_activity_3_aa", "Meeting", "res.partner", "11", "2026-07-03", USER.format(6), "Planned", "2026-06-20 08:00:00"),
        ("__export__.mail_activity_4_aa", "To-Do", "project.task", "400", "2026-07-03", USER.format(6), "Overdue", "2026-06-20 08:00:00"),
    ],
)  # fmt: skip

TRACKED: Table = (
    ("id", "field_id/name", "old_value_char", "new_value_char", "old_value_float", "new_value_float", "old_value_datetime", "new_value_datetime",
     "mail_message_id/model", "mail_message_id/res_id", "mail_message_id/date"),
    [
        ("__export__.t_1_aa", "stage_id", "New", "Qualified", "0.0", "0.0", "", "", "crm.lead", "400", "2026-05-20 08:00:00"),
        ("__export__.t_2_aa", "expected_revenue", "", "", "0.0", "1200.5", "", "", "crm.lead", "400", "2026-05-21 08:00:00"),
        ("__export__.t_3_aa", "date_deadline", "", "", "0.0", "0.0", "", "2026-07-31 00:00:00", "crm.lead", "400", "2026-05-22 08:00:00"),
        ("__export__.t_4_aa", "user_id", "", "Ada Owner", "0.0", "0.0", "", "", "crm.lead", "400", "2026-05-23 08:00:00"),
        ("__export__.t_5_aa", "email", "a", "b", "0.0", "0.0", "", "", "res.partner", "400", "2026-05-23 08:00:00"),
    ],
)  # fmt: skip


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with DuckDBEngine(threads=1) as one:
        yield one


@pytest.fixture(scope="module")
def crm(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> Read:
    folder = tmp_path_factory.mktemp("odoo")
    landing = folder / "exports"
    write_csv(landing / "Lead_Opportunity (crm.lead).csv", LEADS)
    write_xlsx(landing / "Stages.xlsx", STAGES)
    write_csv(landing / "res.partner.csv", PARTNERS)
    write_csv(landing / "User (res.users).csv", USERS)
    write_csv(landing / "Activity (mail.activity) (1).csv", ACTIVITIES)
    write_csv(landing / "mail.tracking.value.csv", TRACKED)
    return read_all(landing, folder, engine)


def test_it_is_recognised_and_stages_come_from_its_own_list(crm: Read) -> None:
    assert crm.mapping.dialect == "odoo"
    assert "taken from the export's own list of stages" in crm.text
    assert [finding for finding in crm.findings if finding.level == "error"] == []
    assert not any("no lost record" in question for question in crm.guessed.questions)
    tables = [table for facts in crm.ingested.facts["files"].values() for table in facts["tables"]]
    assert sorted(tables) == [
        "accounts", "activities", "contacts", "field_history", "opportunities", "owners", "stages",
    ]  # fmt: skip


def test_the_external_id_is_the_key_and_is_not_taken_for_the_number(crm: Read) -> None:
    found = crm.rows("opportunities", "opportunity_id")
    assert set(found) == {LEAD.format(number) for number in (400, 401, 402, 403)}
    first = found[LEAD.format(400)]
    assert (first["account_id"], first["owner_id"]) == (PARTNER.format(11), USER.format(6))
    assert (first["amount"], first["crm_probability"], first["crm_close_date"]) == (
        Decimal("1200.50"),
        0.35,
        date(2026, 7, 31),
    )
    assert first["created_at"] == datetime(2026, 5, 13, 9, tzinfo=UTC)


def test_an_archived_lead_is_lost_in_the_stage_it_had(crm: Read) -> None:
    found = crm.rows("opportunities", "opportunity_id")
    assert {key[-12:-9]: (row["stage"], row["state"], row["kind"]) for key, row in found.items()} == {
        "400": ("Qualified", "open", "opportunity"),
        "401": ("Won", "won", "opportunity"),
        "402": ("Qualified", "lost", "opportunity"),
        "403": ("New", "open", "lead"),
    }


def test_activities_belong_to_the_model_they_name(crm: Read) -> None:
    done, planned = crm.rows("activities", "activity_id"), crm.rows("planned_activities", "activity_id")
    assert {key[-4:-3]: (row["opportunity_id"], row["kind"]) for key, row in done.items()} == {
        "2": (LEAD.format(402), "email")
    }
    assert {key[-4:-3]: (row["opportunity_id"], row["account_id"], row["kind"]) for key, row in planned.items()} == {
        "1": (LEAD.format(400), PARTNER.format(11), "call"),
        "3": (None, PARTNER.format(11), "meeting"),
        "4": (None, None, "task"),
    }


def test_tracked_values_are_a_history_of_fields(crm: Read) -> None:
    found = [
        (row["field"], row.get("old_value"), row["new_value"], row.get("opportunity_id"))
        for row in crm.raw("field_history")
    ]
    lead = LEAD.format(400)
    assert found == [
        ("stage", "New", "Qualified", lead),
        ("amount", "0.0", "1200.5", lead),
        ("crm_close_date", None, "2026-07-31 00:00:00", lead),
        ("owner_id", None, USER.format(6), lead),
        ("email", "a", "b", None),
    ]
    [stage] = [
        row
        for row in read_table(crm.canonical.tables["opportunity_changes"]).to_pylist()
        if row["stage"] == "Qualified" and row["changed_at"].day == 20
    ]
    assert (stage["opportunity_id"], stage["state"]) == (lead, "open")


def test_a_partner_is_account_and_contact(crm: Read) -> None:
    accounts, contacts = crm.rows("accounts", "account_id"), crm.rows("contacts", "contact_id")
    assert accounts[PARTNER.format(12)]["parent_account_id"] == PARTNER.format(11)
    assert contacts[PARTNER.format(12)]["account_id"] == PARTNER.format(11)
    assert (accounts[PARTNER.format(11)]["industry"], accounts[PARTNER.format(11)]["country"]) == ("Retail", "France")
    [opted_out] = [key for key, row in contacts.items() if row["email_allowed"] is False]
    assert opted_out == PARTNER.format(12)


def test_names_and_what_is_filled_at_the_end_are_no_attributes(crm: Read) -> None:
    assert {row["attribute"] for row in crm.raw("opportunity_attributes")} == {"priority"}
    facts = crm.ingested.facts["files"]["Lead_Opportunity (crm.lead).csv"]
    assert facts["not_taken"]["lost_reason_id"] == "system column, as of the export"
    assert facts["not_taken"]["email_from"] == "about people, or free text"


def test_every_record_has_its_place(crm: Read) -> None:
    crm.hold_that_every_record_has_its_place()


def test_labels_and_display_names_are_read_and_a_guard_is_not_stripped(tmp_path: Path, engine: Engine) -> None:
    table: Table = (
        ("External ID", "Opportunity", "Stage", "Salesperson", "Customer", "Expected Revenue", "Probability", "Expected Closing", "Created on", "Active"),
        [
            (LEAD.format(1), "One", "'- On hold", "Ada Owner", "Acme", "10.0", "5.0", "2026-07-31", "2026-05-13 09:00:00", "True"),
            (LEAD.format(2), "Two", "Won", "Ada Owner", "Acme", "10.0", "100.0", "2026-07-31", "2026-05-13 09:00:00", "True"),
            (LEAD.format(3), "Two", "New", "Ada Owner", "Acme", "-5", "0.0", "2026-07-31", "2026-05-13 09:00:00", "False"),
        ],
    )  # fmt: skip
    landing = tmp_path / "exports"
    write_csv(landing / "my pipeline.csv", table)
    one = read_all(landing, tmp_path, engine)
    assert one.mapping.dialect == "odoo"
    assert one.mapping.stages.won == ("Won",)
    rows = one.rows("opportunities", "opportunity_id")
    assert {key[-10:-9]: (row["stage"], row["state"]) for key, row in rows.items()} == {
        "1": ("'- On hold", "open"),
        "2": ("Won", "won"),
        "3": ("New", "lost"),
    }
    assert {row["owner_id"] for row in rows.values()} == {"Ada Owner"}
    assert any("owners are named in 'Salesperson'" in question for question in one.guessed.questions)
    assert ("amount", "-5") in [(column, value) for column, _, value in one.issues()]


def test_numbers_lead_to_external_ids_where_the_records_are_there(tmp_path: Path, engine: Engine) -> None:
    leads: Table = (
        (".id", "name", "stage_id", "expected_revenue", "user_id/.id", "partner_id/.id", "create_date", "won_status"),
        [("7", "x", "New", "1.0", "2", "11", "2026-05-13 09:00:00", "Pending")],
    )
    write_csv(tmp_path / "landing" / "crm.lead.csv", leads)
    write_csv(tmp_path / "landing" / "res.partner.csv", PARTNERS)
    [one] = collect(Lake(tmp_path / "lake"), tmp_path / "landing", SourceMapping(dialect="odoo"), engine)
    [row] = raw_rows(one, "opportunities")
    assert (row["opportunity_id"], row["account_id"], row["owner_id"]) == ("7", PARTNER.format(11), "2")


def test_an_export_without_lost_leads_is_asked_about(tmp_path: Path) -> None:
    header, rows = LEADS
    write_csv(tmp_path / "crm.lead.csv", (header, [row for row in rows if "Lost" not in row]))
    assert any("filter for lost or archived" in question for question in guess_mapping(tmp_path).questions)


def test_a_missing_key_is_told(tmp_path: Path) -> None:
    header, rows = LEADS
    write_csv(tmp_path / "Lead_Opportunity (crm.lead).csv", (header[2:], [row[2:] for row in rows]))
    [error] = [
        finding.message for finding in check(tmp_path, SourceMapping(dialect="odoo")) if finding.level == "error"
    ]
    assert "a mapped column is missing: opportunities.opportunity_id" in error
    assert "'id' or 'External ID'" in error


def test_built_in_specs_fill_columns_that_exist() -> None:
    from sales_pipeline.contracts.raw import RAW_TABLES

    for spec in built_in("odoo").tables:
        assert set(spec.columns) <= set(RAW_TABLES[f"raw_{spec.table}"].column_names[3:])
        assert set(spec.required_columns) <= set(spec.columns)
