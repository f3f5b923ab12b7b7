"""A simulated world on disk: the vendor's form, the same bytes every time, every kind of dirt where the log says it is."""

import csv
import io
import re
import zipfile
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sales_pipeline.domain.identifiers import to_sfid18
from sales_pipeline.simulation.params import DirtParams, WorldParams
from sales_pipeline.simulation.salesforce_export import export_tables, write_export
from sales_pipeline.simulation.world import World, simulate

PARAMS = WorldParams(opportunities=400, seed=7)
CLEAN = DirtParams(**dict.fromkeys(DirtParams.model_fields, 0.0))
Rows = list[dict[str, str]]


@pytest.fixture(scope="module")
def world() -> World:
    return simulate(PARAMS)


@pytest.fixture(scope="module")
def out(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simulated")
    write_export(world, folder)
    return folder


@pytest.fixture(scope="module")
def texts(out: Path) -> dict[str, str]:
    (path,) = (out / "export").glob("*.ZIP")
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


@pytest.fixture(scope="module")
def dirt(out: Path) -> Rows:
    return pq.read_table(out / "truth" / "dirt.parquet").to_pylist()


@pytest.fixture(scope="module")
def clean() -> dict[str, Rows]:
    tables, _ = export_tables(simulate(PARAMS.model_copy(update={"dirt": CLEAN})))
    return {file: table.to_pylist() for file, table in tables.items()}


def records(text: str) -> Rows:
    """Whole records of a CSV text; ragged and empty lines are left out."""
    lines = list(csv.reader(io.StringIO(text)))
    return [dict(zip(lines[0], line, strict=True)) for line in lines[1:] if len(line) == len(lines[0])]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_same_world_gives_the_same_bytes_and_replaces_an_earlier_export(
    world: World, out: Path, tmp_path: Path
) -> None:
    write_export(world, tmp_path, rows_per_zip=2_000)
    write_export(simulate(PARAMS), tmp_path)
    assert contents(tmp_path) == contents(out)


def test_another_seed_gives_other_bytes(out: Path, tmp_path: Path) -> None:
    write_export(simulate(PARAMS.model_copy(update={"seed": 8})), tmp_path)
    assert {name for name, data in contents(tmp_path).items() if contents(out).get(name) == data} == set()


def test_the_files_are_named_as_the_vendor_names_them(out: Path, texts: dict[str, str]) -> None:
    assert [path.name for path in (out / "export").iterdir()] == ["WE_00D000000000001AAA_1.ZIP"]
    assert {path.name for path in (out / "truth").iterdir()} == {
        "dirt.parquet", "landmarks.parquet", "opportunities.parquet", "sellers.parquet",
    }  # fmt: skip
    objects = (
        "Account Contact User Product2 Opportunity OpportunityHistory OpportunityFieldHistory OpportunityLineItem "
        "OpportunityStage Task Event Lead Case ForecastingQuota"
    )
    assert sorted(texts) == sorted(f"{name}.csv" for name in objects.split())


def test_an_object_may_continue_in_the_next_zip_and_nothing_is_lost(
    world: World, texts: dict[str, str], tmp_path: Path
) -> None:
    write_export(world, tmp_path, rows_per_zip=3_000)
    joined: dict[str, list[str]] = {}
    paths = sorted((tmp_path / "export").glob("*.ZIP"))
    for path in paths:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                header, _, body = archive.read(name).decode().partition("\n")
                joined.setdefault(name, [header]).append(body)
    assert len(paths) > 1
    assert any(len(parts) > 2 for parts in joined.values())
    assert {name: f"{parts[0]}\n{''.join(parts[1:])}" for name, parts in joined.items()} == texts


def test_every_value_is_quoted(texts: dict[str, str]) -> None:
    for text in texts.values():
        without_values = re.sub(r'"(?:[^"]|"")*"', "", text)
        assert set(without_values) <= {",", "\n"}


def test_instants_flags_and_ids_have_the_export_s_form(clean: dict[str, Rows]) -> None:
    instant = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
    for file, rows in clean.items():
        for row in rows:
            for column, value in row.items():
                where = f"{file} {column}: {value}"
                if column in ("CreatedDate", "LastModifiedDate", "SystemModstamp"):
                    assert instant.fullmatch(value), where
                elif column.startswith("Is") or column in ("DoNotCall", "HasOptedOutOfEmail"):
                    assert value in ("0", "1"), where
                elif column.endswith("Id") and column != "ManagerId" and value:
                    assert len(value) == 18, where
                    assert value == to_sfid18(value[:15]), where


def test_references_resolve_before_the_dirt(clean: dict[str, Rows]) -> None:
    ids = {file: {row["Id"] for row in rows} for file, rows in clean.items() if file != "OpportunityStage.csv"}
    assert all(len(ids[file]) == len(clean[file]) for file in ids)
    links = {
        "Opportunity.csv": {"AccountId": "Account", "OwnerId": "User", "ContactId": "Contact"},
        "Task.csv": {"WhatId": "Opportunity", "WhoId": "Contact", "OwnerId": "User"},
        "Event.csv": {"WhatId": "Opportunity"},
        "OpportunityHistory.csv": {"OpportunityId": "Opportunity"},
        "OpportunityFieldHistory.csv": {"OpportunityId": "Opportunity"},
        "OpportunityLineItem.csv": {"OpportunityId": "Opportunity", "Product2Id": "Product2"},
        "Contact.csv": {"AccountId": "Account"},
        "Case.csv": {"AccountId": "Account", "ContactId": "Contact"},
        "ForecastingQuota.csv": {"QuotaOwnerId": "User"},
    }
    for file, columns in links.items():
        for column, target in columns.items():
            assert {row[column] for row in clean[file]} <= ids[f"{target}.csv"], f"{file} {column}"
    converted = [row["ConvertedOpportunityId"] for row in clean["Lead.csv"] if row["IsConverted"] == "1"]
    assert converted
    assert set(converted) <= ids["Opportunity.csv"]


def test_the_current_row_is_the_last_of_its_history(clean: dict[str, Rows]) -> None:
    last: dict[str, dict[str, str]] = {}
    for row in sorted(clean["OpportunityHistory.csv"], key=lambda row: row["CreatedDate"]):
        last[row["OpportunityId"]] = row
    for row in clean["Opportunity.csv"]:
        for column in ("StageName", "Amount", "Probability", "CloseDate"):
            assert row[column] == last[row["Id"]][column]


def test_planted_leaks_are_filled_at_closing_alone(clean: dict[str, Rows]) -> None:
    rows = clean["Opportunity.csv"]
    state = {row["Id"]: "open" if row["IsClosed"] == "0" else "won" if row["IsWon"] == "1" else "lost" for row in rows}
    assert set(state.values()) == {"open", "won", "lost"}
    filled = {
        "Loss_Reason__c": {"lost"},
        "Contract_Number__c": {"won"},
        "Final_Discount__c": {"won"},
        "Days_To_Close__c": {"won", "lost"},
    }
    for column, when in filled.items():
        assert {state[row["Id"]] for row in rows if row[column]} == when
    assert {row["Competitor__c"] for row in rows} >= {"None", "Competitor A"}
    assert len({row["Business_Unit__c"] for row in rows}) == 1
    assert len({row["External_Ref__c"] for row in rows}) == len(rows)


def test_planned_activities_lie_ahead_and_were_known_before(clean: dict[str, Rows]) -> None:
    planned = [row for row in clean["Task.csv"] if row["Status"] == "Not Started"]
    assert any(row["ActivityDate"] > "2026-06-30" for row in planned)
    assert all(row["CompletedDateTime"] == "" for row in planned)
    assert any(row["ActivityDate"] > "2026-06-30" for row in clean["Event.csv"])
    for row in clean["Task.csv"] + clean["Event.csv"]:
        assert row["CreatedDate"] < "2026-07-01"
    done = [row for row in clean["Task.csv"] if row["Status"] == "Completed"]
    assert all(row["CompletedDateTime"][:10] >= row["ActivityDate"] for row in done)
    assert any(row["CreatedDate"][:10] > row["ActivityDate"] for row in done), "some are logged late"
    assert any(row["CreatedDate"][:10] < row["ActivityDate"] for row in done), "some are planned ahead"


def test_mail_goes_both_ways(clean: dict[str, Rows]) -> None:
    subjects = Counter(row["Subject"] for row in clean["Task.csv"])
    assert set(subjects) == {"Call", "Call: inbound", "Email: outbound", "Email: inbound"}
    assert {row["CallType"] for row in clean["Task.csv"] if row["TaskSubtype"] == "Call"} == {"Inbound", "Outbound"}


def test_cases_come_after_a_win_and_are_scored_once_closed(clean: dict[str, Rows]) -> None:
    first_win: dict[str, str] = {}
    for row in clean["Opportunity.csv"]:
        if row["IsWon"] == "1":
            first_win[row["AccountId"]] = min(row["CloseDate"], first_win.get(row["AccountId"], "9999"))
    cases = clean["Case.csv"]
    assert len(cases) > 20
    assert all(row["CreatedDate"][:10] >= first_win[row["AccountId"]] for row in cases)
    assert {row["CSAT__c"] for row in cases} <= {"", "1", "2", "3", "4", "5"}
    for row in cases:
        assert row["CreatedDate"] < "2026-07-01"
        assert (row["ClosedDate"] != "") == (row["IsClosed"] == "1")
        assert row["CSAT__c"] == "" or row["IsClosed"] == "1"
    assert {row["CSAT__c"] for row in cases if row["IsClosed"] == "1"} > {"", "4"}


def test_quotas_are_set_by_quarter_and_managers_carry_the_sum_of_their_people(clean: dict[str, Rows]) -> None:
    manager = {row["Id"]: row["ManagerId"] for row in clean["User.csv"]}
    quota = {
        (row["QuotaOwnerId"], row["StartDate"]): float(row["QuotaAmount"]) for row in clean["ForecastingQuota.csv"]
    }
    starts = sorted({start for _, start in quota})
    assert starts[0] == "2024-01-01"
    assert "2026-07-01" in starts
    assert all(start[5:] in {"01-01", "04-01", "07-01", "10-01"} for start in starts)
    reports: dict[tuple[str, str], float] = {}
    for (owner, start), amount in quota.items():
        if manager[owner]:
            reports[manager[owner], start] = reports.get((manager[owner], start), 0.0) + amount
    assert reports
    assert all(quota[place] == amount for place, amount in reports.items())
    without = [row["Id"] for row in clean["User.csv"] if (row["Id"], "2026-04-01") not in quota]
    assert without, "somebody has no quota"


def test_every_kind_of_dirt_is_there(dirt: Rows) -> None:
    expected = set(DirtParams.model_fields) - {"amount_notation", "date_notation"}
    assert {row["kind"] for row in dirt} == expected | {"amount_dollar", "amount_european", "date_us"}


def test_the_log_says_where_the_dirt_lies(texts: dict[str, str], clean: dict[str, Rows], dirt: Rows) -> None:
    dirty = {file: records(text) for file, text in texts.items()}
    before = {(file, row["Id"]): row for file, rows in clean.items() for row in rows}
    for entry in dirt:
        file, key, column = entry["file"], entry["key"], entry["column"]
        here = [row for row in dirty[file] if row["Id"] == key]
        if column:
            assert before[file, key][column] == entry["original"] != entry["written"]
            assert entry["written"] in [row[column] for row in here], entry
        elif entry["kind"] == "deleted":
            assert here
            assert {row["IsDeleted"] for row in here} == {"1"}
            assert (file, key) not in before
        elif entry["kind"] == "duplicate_row":
            assert max(Counter(tuple(row.values()) for row in here).values()) > 1
        elif entry["kind"] == "stale_duplicate":
            assert len({row["LastModifiedDate"] for row in here}) > 1
        elif entry["kind"] == "ragged_line":
            assert f"\n{entry['written']}\n" in texts[file]
    for file in ("Account.csv", "Opportunity.csv", "Task.csv"):
        assert "\n\n" in texts[file]


def test_dirt_touches_nothing_it_does_not_log(texts: dict[str, str], clean: dict[str, Rows], dirt: Rows) -> None:
    cells = {(entry["file"], entry["key"], entry["column"]) for entry in dirt}
    added = {(entry["file"], entry["key"]) for entry in dirt if not entry["column"]}
    for file, rows in clean.items():
        written = {row["Id"]: row for row in records(texts[file])}
        for row in rows:
            if (file, row["Id"]) not in added:
                changed = {column for column in row if written[row["Id"]][column] != row[column]}
                assert all((file, row["Id"], column) in cells for column in changed)


def test_dirt_at_its_default_spoils_few_records() -> None:
    """Of what a cleaner may have to give up: unreadable or missing values and orphans, as a share of the file's records."""
    tables, soiler = export_tables(simulate(WorldParams(opportunities=3_000)))
    lost = Counter(
        file
        for file, kind in zip(soiler.log.entries["file"], soiler.log.entries["kind"], strict=True)
        if kind
        in ("amount_unparsable", "close_before_created", "orphan", "missing_owner", "amount_negative", "ragged_line")
    )
    assert all(count < 0.02 * tables[file].num_rows for file, count in lost.items())


def test_without_dirt_the_log_is_empty() -> None:
    tables, soiler = export_tables(simulate(WorldParams(opportunities=30, dirt=CLEAN)))
    assert soiler.log.to_table().num_rows == 0
    assert not any(soiler.raw_lines.values())
    assert tables["Opportunity.csv"].num_rows == 30


def test_the_truth_lists_every_opportunity_of_the_export(out: Path, clean: dict[str, Rows]) -> None:
    truth: pa.Table = pq.read_table(out / "truth" / "opportunities.parquet")
    rows = {row["Id"]: row for row in clean["Opportunity.csv"]}
    assert set(truth["opportunity_id"].to_pylist()) == set(rows)
    for entry in truth.to_pylist():
        row = rows[entry["opportunity_id"]]
        assert entry["is_open"] == (row["IsClosed"] == "0")
        if not entry["is_open"]:
            assert entry["eventual_stage"] == row["StageName"]
            assert str(entry["eventually_closed_on"]) == row["CloseDate"]
    landmarks = pq.read_table(out / "truth" / "landmarks.parquet").to_pylist()
    at_end = {entry["opportunity_id"] for entry in landmarks if entry["is_world_end"]}
    assert at_end == {key for key, row in rows.items() if row["IsClosed"] == "0"}


def test_the_committed_sample_is_what_the_simulation_writes_today(texts: dict[str, str], out: Path) -> None:
    sample = Path(__file__).parents[2] / "data" / "sample"
    (path,) = (sample / "export").glob("*.ZIP")
    with zipfile.ZipFile(path) as archive:
        assert {name: archive.read(name).decode() for name in archive.namelist()} == texts
    assert pq.read_table(sample / "truth" / "dirt.parquet").equals(pq.read_table(out / "truth" / "dirt.parquet"))
    assert sum(file.stat().st_size for file in sample.rglob("*") if file.is_file()) < 1_000_000
