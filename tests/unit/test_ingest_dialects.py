"""What becomes of each CRM's own exports."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sales_pipeline.clean.params import CleanParams
from sales_pipeline.clean.prepare import prepare
from sales_pipeline.engines.duckdb import DuckDBEngine
from sales_pipeline.ingest.cells import DelimitedCells
from sales_pipeline.ingest.dialects.spec import attribute_positions, built_in, object_name
from sales_pipeline.ingest.exports import IngestedExport, collect
from sales_pipeline.ingest.params import SourceMapping, TableMapping
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.tables import read_table

OPPORTUNITY = (
    "ID,STAGENAME,AMOUNT,CLOSEDATE,ISWON,ISCLOSED,CREATEDDATE,OWNERID,NAME,FISCALYEAR,REGION__C,LASTACTIVITYDATE\n"
)


@pytest.fixture(scope="module")
def engine():
    with DuckDBEngine(threads=1) as engine:
        yield engine


@pytest.fixture
def ingest(engine, tmp_path: Path):
    def of(dialect: str, files: dict[str, str], **mapping) -> IngestedExport:
        for name, text in files.items():
            (tmp_path / "landing").mkdir(exist_ok=True)
            (tmp_path / "landing" / name).write_text(text)
        [one] = collect(
            Lake(tmp_path / "lake"), tmp_path / "landing", SourceMapping(dialect=dialect, **mapping), engine
        )
        return one

    return of


def rows(one: IngestedExport, name: str) -> list[dict]:
    found = [row for part in one.tables[name] for row in pq.read_table(part.path).to_pylist()]
    return [{key: value for key, value in row.items() if value is not None} for row in found]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Opportunity.csv", "opportunity"),
        ("sf_opportunity_history_data.csv", "opportunityhistory"),
        ("opportunityData.csv", "opportunity"),
        ("Product2.csv", "product2"),
        ("hubspot-crm-exports-all-deals-2024-08-27.csv", "deals"),
        ("deals-12345-1.csv", "deals"),
        ("deal_changes.csv", "dealchanges"),
    ],
)
def test_files_are_named_after_objects(name: str, expected: str) -> None:
    assert object_name(name) == expected


@pytest.mark.parametrize("dialect", ["salesforce", "hubspot", "pipedrive"])
def test_built_in_specs_fill_columns_that_exist(dialect: str) -> None:
    from sales_pipeline.contracts.raw import RAW_TABLES

    for spec in built_in(dialect).tables:
        assert set(spec.columns) <= set(RAW_TABLES[f"raw_{spec.table}"].column_names[3:])
        assert set(spec.required_columns) <= set(spec.columns)


def test_salesforce_opportunities_in_capitals(ingest) -> None:
    one = ingest(
        "salesforce",
        {
            "Opportunity.csv": OPPORTUNITY
            + "006A,Won,5,2024-05-01,true,true,2024-01-01T00:00:00.000Z,005A,Deal,2024,North,2024-05-02\n"
        },
    )
    [row] = rows(one, "raw_opportunities")
    assert (row["opportunity_id"], row["stage"], row["is_won"], row["crm_close_date"], row["kind"]) == (
        "006A",
        "Won",
        "true",
        "2024-05-01",
        "opportunity",
    )
    assert [(r["attribute"], r["value"]) for r in rows(one, "raw_opportunity_attributes")] == [("REGION__C", "North")]
    assert one.facts["files"]["Opportunity.csv"]["not_taken"] == {
        "NAME": "about people, or free text",
        "FISCALYEAR": "system column, as of the export",
        "LASTACTIVITYDATE": "system column, as of the export",
    }


def test_salesforce_history_roles_and_activities(ingest) -> None:
    one = ingest(
        "salesforce",
        {
            "Opportunity.csv": OPPORTUNITY + "006A,Open,5,2024-05-01,0,0,2024-01-01,005A,Deal,2024,North,\n",
            "OpportunityFieldHistory.csv": "Id,OpportunityId,CreatedDate,Field,OldValue,NewValue\n017A,006A,2024-02-01 00:00:00,StageName,Open,Won\n"
            "017B,006A,2024-02-02 00:00:00,Owner,005A,005B\n017C,006A,2024-02-03 00:00:00,Budget__c,false,true\n",
            "User.csv": "Id,UserRoleId,Department,IsActive,TimeZoneSidKey,CountryCode\n005A,00EA,Dept,1,Europe/Berlin,DE\n005B,,Dept,0,,\n",
            "UserRole.csv": "Id,Name\n00EA,North team\n",
            "Task.csv": "Id,WhatId,Subject,TaskSubtype,CallType,Status,IsClosed,ActivityDate,CompletedDateTime,CreatedDate,Queue_Id__c\n"
            "00T1,006A,Call,Call,Inbound,Completed,1,2024-02-04,2024-02-04 10:00:00,2024-02-04 09:00:00,fu-1\n"
            "00T2,006A,Email: outbound,,,Not Started,0,2024-09-01,,2024-02-04 09:00:00,\n"
            "00T3,006A,Check papers,Task,,Completed,,2024-02-01,,2024-02-04 09:00:00,\n",
            "Event.csv": "Id,WhatId,Subject,StartDateTime,CreatedDate\n00U1,006A,Meeting,2024-02-01 10:00:00,2024-01-30 10:00:00\n"
            "00U2,006A,Meeting,2024-12-01 10:00:00,2024-01-30 10:00:00\n",
        },
    )
    assert [row["field"] for row in rows(one, "raw_field_history")] == ["stage", "owner_id", "Budget__c"]
    assert {row["owner_id"]: row["team"] for row in rows(one, "raw_owners")} == {"005A": "North team", "005B": "Dept"}
    activities = {row["activity_id"]: row for row in rows(one, "raw_activities")}
    assert {key: (row["kind"], row.get("direction"), row["is_done"]) for key, row in activities.items()} == {
        "00T1": ("call", "inbound", "true"),
        "00T2": ("email", "outbound", "false"),
        "00T3": ("task", None, "true"),
        "00U1": ("meeting", None, "true"),
        "00U2": ("meeting", None, "false"),
    }
    assert activities["00T1"]["occurred_at"] == "2024-02-04 10:00:00"
    assert {key for key, row in activities.items() if row.get("queue_id")} == {"00T1"}
    assert [(row.get("time_zone"), row.get("country")) for row in rows(one, "raw_owners")] == [
        ("Europe/Berlin", "DE"),
        (None, None),
    ]
    assert activities["00T3"]["occurred_at"] == "2024-02-01"
    assert one.export.exported_at.isoformat() == "2024-02-04T09:00:00.000001+00:00"


def test_a_file_is_read_once_but_where_its_columns_ask_when_the_export_was_written(ingest, monkeypatch) -> None:
    read: list[str] = []
    batches = DelimitedCells.batches

    def counted(cells: DelimitedCells, positions: Sequence[int]) -> Iterator[pa.RecordBatch]:
        read.append(cells.label)
        return batches(cells, positions)

    monkeypatch.setattr(DelimitedCells, "batches", counted)
    one = ingest(
        "salesforce",
        {
            "Opportunity.csv": "Id,StageName,CloseDate,IsClosed,IsWon,CreatedDate\n006A,Open,2024-05-01,0,0,2024-01-01 00:00:00\n",
            "Event.csv": "Id,WhatId,StartDateTime,CreatedDate\n00U1,006A,2024-01-31 10:00:00,2024-01-30 10:00:00\n00U2,006A,2024-02-01 10:00:00,\n",
            "Task.csv": "Id,WhatId,Status,CreatedDate\n00T1,006A,Completed,2024-02-01 10:00:00\n",
        },
    )
    assert sorted(read) == ["Event.csv", "Event.csv", "Opportunity.csv", "Task.csv"]
    assert one.export.exported_at.isoformat() == "2024-02-01T10:00:00.000001+00:00"
    assert one.facts["files"]["Event.csv"]["newest_recorded_at"] == "2024-01-30T10:00:00+00:00"
    done = {row["activity_id"]: row["is_done"] for row in rows(one, "raw_activities")}
    assert done == {"00U1": "true", "00U2": "false", "00T1": "true"}


def test_salesforce_leads_are_opportunities_of_kind_lead(ingest) -> None:
    one = ingest(
        "salesforce",
        {
            "Opportunity.csv": OPPORTUNITY + "006A,Open,5,2024-05-01,0,0,2024-01-01,005A,Deal,2024,North,\n",
            "Lead.csv": "Id,Status,IsConverted,ConvertedOpportunityId,CreatedDate,Company,Industry\n00Q1,Closed - Converted,1,006A,2023-12-01,Acme,Retail\n",
        },
    )
    lead = next(row for row in rows(one, "raw_opportunities") if row["kind"] == "lead")
    assert (lead["opportunity_id"], lead["converted_to_opportunity_id"], lead["is_won"]) == ("00Q1", "006A", "1")
    assert {row["attribute"] for row in rows(one, "raw_opportunity_attributes")} == {"REGION__C", "Industry"}


@pytest.mark.parametrize("column", ["CSAT__c", "Satisfaction_Score__c"])
def test_salesforce_cases_bring_their_survey_score(ingest, column: str) -> None:
    one = ingest(
        "salesforce",
        {
            "Opportunity.csv": OPPORTUNITY + "006A,Open,5,2024-05-01,0,0,2024-01-01,005A,Deal,2024,North,\n",
            "Case.csv": f"Id,AccountId,CreatedDate,ClosedDate,{column}\n500A,001A,2024-01-02,2024-01-05,4\n500B,001A,2024-01-03,,\n",
        },
    )
    first, second = rows(one, "raw_cases")
    assert (first["case_id"], first["account_id"], first["closed_at"], first["score"]) == (
        "500A",
        "001A",
        "2024-01-05",
        "4",
    )
    assert second.get("score") is None


def test_a_users_table_replaces_the_built_in_one(ingest) -> None:
    one = ingest(
        "salesforce",
        {"my deals.csv": "Key,Phase,When\n1,Open,2024-01-01\n"},
        tables={
            "opportunities": (
                TableMapping(files=("my*",), columns={"opportunity_id": "Key", "stage": "Phase", "created_at": "When"}),
            )
        },
    )
    assert rows(one, "raw_opportunities")[0]["opportunity_id"] == "1"


def test_hubspot_labels_and_associations(ingest) -> None:
    one = ingest(
        "hubspot",
        {
            "hubspot-crm-exports-all-deals-2024-08-27.csv": "Record ID,Deal Name,Deal Stage,Close Date,Deal owner,Amount,Pipeline,Create Date,"
            "Associated Company IDs,Priority\n7,Big,Closed Won,2024-08-01,Owner 1,10,Sales,2024-07-01 08:00,11;12,High\n",
            "engagement_call_data.csv": "engagement_id,property_hs_createdate,property_hs_timestamp\n1,2024-07-02 00:00:00,2024-07-02 00:00:00\n",
            "engagement_deal_data.csv": "deal_id,engagement_id\n9,1\n7,1\n",
        },
        exported_at="file_name",
    )
    [deal] = rows(one, "raw_opportunities")
    assert (deal["opportunity_id"], deal["stage"], deal["account_id"], deal["pipeline"]) == (
        "7",
        "Closed Won",
        "11",
        "Sales",
    )
    [call] = rows(one, "raw_activities")
    assert (call["kind"], call["opportunity_id"], call["is_done"]) == ("call", "7", "true")
    assert [row["attribute"] for row in rows(one, "raw_opportunity_attributes")] == ["Priority"]
    assert one.export.exported_at.isoformat() == "2024-08-28T00:00:00+00:00"


def test_hubspot_stage_versions_and_property_history(ingest) -> None:
    one = ingest(
        "hubspot",
        {
            "deal_data.csv": "deal_id,deal_pipeline_stage_id,owner_id,property_amount,property_createdate\n7,s2,1,10,2024-01-01 00:00:00\n",
            "deal_stage_data.csv": "_fivetran_start,deal_id,date_entered,value\n2024-01-02,7,2024-01-02 00:00:00,s2\n",
            "deal_property_history_data.csv": "deal_id,timestamp,name,value\n7,2024-01-03 00:00:00,closedate,2024-05-05\n",
            "deal_pipeline_stage_data.csv": "stage_id,label,is_closed,closed_won,display_order,probability,pipeline_id\ns2,Won,TRUE,TRUE,2,1.0,p\n",
        },
    )
    assert rows(one, "raw_state_history")[0]["stage"] == "s2"
    assert rows(one, "raw_field_history")[0]["field"] == "crm_close_date"
    assert (rows(one, "raw_stages")[0]["is_won"], rows(one, "raw_stages")[0]["pipeline"]) == ("TRUE", "p")


def test_pipedrive_deals_are_what_their_log_says_last(ingest) -> None:
    log = [
        "1,2024-01-01 09:00:00,add_time,2024-01-01T09:00:00",
        "1,2024-01-02 09:00:00,stage_id,1",
        "1,2024-01-05 09:00:00,stage_id,3",
        "1,2024-01-04 09:00:00,stage_id,2",
        "1,2024-01-06 09:00:00,lost_reason,2",
        "2,2024-01-03 09:00:00,stage_id,1",
        "2,2024-01-03 08:00:00,add_time,2024-01-03T08:00:00",
        "2,2024-01-03 09:00:00,user_id,55",
    ]
    one = ingest(
        "pipedrive",
        {
            "deal_changes.csv": "deal_id,change_time,changed_field_key,new_value\n" + "\n".join(log) + "\n",
            "stages.csv": "stage_id,stage_name\n1,First\n",
            "activity.csv": "activity_id,type,assigned_to_user,deal_id,done,due_to\n8,follow_up,55,1,True,2024-01-07T06:47:10\n",
        },
    )
    first, second = sorted(rows(one, "raw_opportunities"), key=lambda row: row["opportunity_id"])
    assert (first["stage"], first["outcome"], first["is_won"], first["is_closed"]) == ("3", "lost", "false", "true")
    assert (first["closed_at"], first["source_record"]) == ("2024-01-06 09:00:00", 1)
    assert (second["owner_id"], second["is_closed"], second["source_record"]) == ("55", "false", 7)
    assert len(rows(one, "raw_field_history")) == len(log)
    assert rows(one, "raw_activities")[0]["kind"] == "call"


@pytest.mark.parametrize("name", ["salesforce", "hubspot", "pipedrive", "dynamics", "odoo", "tryton"])
def test_what_our_deliveries_write_does_not_come_back_as_evidence(name: str) -> None:
    from sales_pipeline.delivery.targets.spec import load_target

    target = load_target(name)
    fields = [f.field for one in target.objects if one.source == "scores" and not one.is_off for f in one.fields]
    spec = next(spec for spec in built_in(name).tables if spec.table == "opportunities")
    taken, left = attribute_positions(spec, fields, set())
    assert fields and not taken
    assert set(left) == set(fields)


@pytest.mark.parametrize("name", ["salesforce", "hubspot", "pipedrive", "dynamics"])
def test_a_delivered_task_is_known_again_by_its_key(name: str) -> None:
    from sales_pipeline.delivery.targets.spec import load_target

    target = load_target(name)
    keys = [one.key.field for one in target.objects if one.source == "follow_ups" and not one.is_off]
    specs = [spec for spec in built_in(name).tables if spec.table == "activities"]
    assert keys and all(spec.has("queue_id", (key,)) for spec in specs for key in keys if "Events" not in spec.objects)


def test_labels_that_users_renamed_are_learned(ingest) -> None:
    one = ingest(
        "hubspot",
        {"deals.csv": "Record ID,Phase,Create Date,Worth\n7,Won,2024-07-01,10\n"},
        header_synonyms={"stage": ["Phase"], "amount": "Worth", "accounts.owner_id": ["Worth"]},
    )
    [deal] = rows(one, "raw_opportunities")
    assert (deal["stage"], deal["amount"]) == ("Won", "10")


def test_a_status_goes_before_an_open_stage(ingest, engine, tmp_path: Path) -> None:
    mapping = SourceMapping(dialect="pipedrive", stages={"open": ["Talks"]})
    one = ingest(
        "pipedrive",
        {
            "deals.csv": "Deal - ID,Deal - Stage,Deal - Status,Deal - Deal created,Deal - Win Probability\n"
            "1,Talks,Open,2024-01-01,0.4\n2,Talks,Lost,2024-01-01,0.2\n3,Talks,Won,2024-01-01,0.3\n"
        },
        stages={"open": ["Talks"]},
    )
    canonical = prepare(Lake(tmp_path / "lake"), [one], mapping, CleanParams(), engine)
    states = {row["opportunity_id"]: row["state"] for row in read_table(canonical.tables["opportunities"]).to_pylist()}
    assert states == {"1": "open", "2": "lost", "3": "won"}
    assert "raw_opportunity_attributes" not in one.tables
