"""What becomes of Tryton's own exports: CRLF, labels or field names, microseconds, 0 and 1, states as codes."""

from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from sales_pipeline.engines.duckdb import DuckDBEngine
from sales_pipeline.ingest.dialects.spec import built_in
from sales_pipeline.ingest.exports import IngestedExport, collect
from sales_pipeline.ingest.guess import guess_mapping
from sales_pipeline.ingest.params import SourceMapping
from sales_pipeline.lake.layout import Lake

LABELS = (
    "Number,Reference,Party/Code,Employee/Party/Code,State,Start Date,End Date,Amount,Currency/Code,Conversion Probability,"
    "Description,Comment,Win Probability,Region,Created at,Edited at"
)
NAMES = (
    "number,reference,party/code,employee/party/code,state,start_date,end_date,amount,currency/code,conversion_probability,"
    "description,comment,win_probability,region,create_date,write_date"
)
ROWS = (
    "101,,21,102,lead,2025-03-30,2025-05-16,4422.46,EUR,0.74,=1+1,,0.500000,North,2025-03-30 08:30:00.123456,\r\n"
    '102,SF-000004,4,106,won,2025-03-01,2025-03-29,8825.08,EUR,0.36,"Screen 24""","First line\nsecond ""line"", x",,South,'
    "2025-03-01 08:30:00.123456,2025-03-29 16:30:00.000001\r\n"
    "103,,,102,cancelled,2025-03-02,,,EUR,0.5,,,,,2025-03-02 08:30:00.123456,2025-03-09 18:30:00.123456\r\n"
    "104,,4,102,converted,2025-03-02,2025-06-01,10,EUR,0.5,,,,,2025-03-02 08:30:00.123456,2025-03-05 18:30:00.123456\r\n"
)
PARTIES = (
    "Code,Name,Active,Created at,Edited at\r\n4,Somebody,1,2024-10-01 07:00:00.000001,2024-10-01 07:00:00.000001\r\n"
)


@pytest.fixture(scope="module")
def engine():
    with DuckDBEngine(threads=1) as engine:
        yield engine


def land(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text.encode())
    return folder


def ingest(engine, folder: Path, files: dict[str, str], **mapping) -> IngestedExport:
    landing = land(folder / "landing", files)
    [one] = collect(Lake(folder / "lake"), landing, SourceMapping(dialect="tryton", **mapping), engine)
    return one


def rows(one: IngestedExport, name: str) -> list[dict]:
    found = [row for part in one.tables[name] for row in pq.read_table(part.path).to_pylist()]
    return [{key: value for key, value in row.items() if value is not None} for row in found]


@pytest.mark.parametrize("header", [LABELS, NAMES], ids=["labels", "field names"])
def test_opportunities_are_read_under_labels_and_under_field_names(engine, tmp_path: Path, header: str) -> None:
    one = ingest(engine, tmp_path, {"Sale-Opportunity.csv": f"{header}\r\n{ROWS}", "Party.csv": PARTIES})
    lead, won, cancelled, converted = rows(one, "raw_opportunities")
    assert (lead["opportunity_id"], lead["kind"], lead["stage"], lead["account_id"], lead["owner_id"]) == (
        "101",
        "opportunity",
        "lead",
        "21",
        "102",
    )
    assert (lead["amount"], lead["currency"], lead["crm_probability"], lead["crm_close_date"]) == (
        "4422.46",
        "EUR",
        "0.74",
        "2025-05-16",
    )
    assert [(row["is_won"], row["is_closed"]) for row in (lead, won, cancelled, converted)] == [
        ("false", "false"),
        ("true", "true"),
        ("false", "true"),
        ("false", "false"),
    ]
    assert won["modified_at"] == "2025-03-29 16:30:00.000001"
    assert "amount" not in cancelled
    assert "account_id" not in cancelled
    assert one.export.exported_at == datetime(2025, 3, 30, 8, 30, 0, 123457, tzinfo=UTC)
    assert rows(one, "raw_accounts")[0]["account_id"] == "4"


def test_neither_our_own_scores_nor_free_text_become_attributes(engine, tmp_path: Path) -> None:
    one = ingest(engine, tmp_path, {"Sale-Opportunity.csv": f"{LABELS}\r\n{ROWS}"})
    assert {row["attribute"] for row in rows(one, "raw_opportunity_attributes")} == {"Region"}
    not_taken = one.facts["files"]["Sale-Opportunity.csv"]["not_taken"]
    assert not_taken["Win Probability"] == "system column, as of the export"
    assert {name for name, reason in not_taken.items() if "people" in reason} == {"Reference", "Description", "Comment"}


def test_where_no_instant_was_exported_the_start_date_is_the_beginning(engine, tmp_path: Path) -> None:
    text = "Number,State,Start Date,Edited at\r\n7,lead,2025-03-01,2025-03-02 10:00:00.000001\r\n"
    [row] = rows(ingest(engine, tmp_path, {"opportunities.csv": text}), "raw_opportunities")
    assert row["created_at"] == "2025-03-01"


def test_a_start_date_that_lies_ahead_does_not_date_the_export(engine, tmp_path: Path) -> None:
    text = "Number,State,Start Date,Created at,Edited at\r\n7,lead,2031-01-01,2025-03-01 10:00:00.000001,2025-03-02 10:00:00.000001\r\n"
    one = ingest(engine, tmp_path, {"opportunities.csv": text})
    assert one.export.exported_at == datetime(2025, 3, 2, 10, 0, 0, 2, tzinfo=UTC)


def test_exports_of_several_days_in_one_file_are_states_since_their_last_edit(engine, tmp_path: Path) -> None:
    history = (
        "Number,State,Amount,End Date,Created at,Edited at\r\n"
        "101,lead,10,2025-05-16,2025-03-30 08:30:00.123456,\r\n"
        "101,opportunity,12,2025-05-20,2025-03-30 08:30:00.123456,2025-04-02 10:00:00.000001\r\n"
    )
    one = ingest(
        engine,
        tmp_path,
        {"Sale-Opportunity.csv": f"{LABELS}\r\n{ROWS}", "sale-opportunity-history.csv": history},
    )
    assert [(row["changed_at"], row["stage"], row["amount"]) for row in rows(one, "raw_state_history")] == [
        ("2025-03-30 08:30:00.123456", "lead", "10"),
        ("2025-04-02 10:00:00.000001", "opportunity", "12"),
    ]


@pytest.mark.parametrize("header", [LABELS, NAMES], ids=["labels", "field names"])
def test_init_recognises_the_export(tmp_path: Path, header: str) -> None:
    landing = land(
        tmp_path, {"2025-03-31/Sale-Opportunity.csv": f"{header}\r\n{ROWS}", "2025-03-31/Party.csv": PARTIES}
    )
    guessed = guess_mapping(landing)
    assert guessed.dialect == "tryton"
    assert guessed.mapping["exported_at"] == "file_name"
    assert "what is won is told by" in guessed.comments["dialect"]


def test_a_table_of_other_numbers_and_states_is_no_tryton_export(tmp_path: Path) -> None:
    landing = land(tmp_path, {"opportunities.csv": "number,state,value\n1,Bayern,3\n2,Hessen,4\n"})
    assert guess_mapping(landing).dialect == "table"


def test_built_in_specs_fill_columns_that_exist() -> None:
    from sales_pipeline.contracts.raw import RAW_TABLES

    for spec in built_in("tryton").tables:
        assert set(spec.columns) <= set(RAW_TABLES[f"raw_{spec.table}"].column_names[3:])
        assert set(spec.required_columns) <= set(spec.columns)


def test_an_employee_is_an_owner_by_the_code_of_its_party(engine, tmp_path: Path) -> None:
    employees = "Party/Code,Party/Name,Supervisor/Party/Code,Active\r\n102,Somebody,106,1\r\n106,Another,,0\r\n"
    one = ingest(engine, tmp_path, {"Sale-Opportunity.csv": f"{LABELS}\r\n{ROWS}", "Employee.csv": employees})
    assert [(row["owner_id"], row.get("manager_id"), row["is_active"]) for row in rows(one, "raw_owners")] == [
        ("102", "106", "1"),
        ("106", None, "0"),
    ]
