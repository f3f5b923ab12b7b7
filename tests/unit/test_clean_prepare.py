"""Cleaning one small world in which every rule has something to do."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from sales_pipeline.clean import merged
from sales_pipeline.clean.params import CleanParams
from sales_pipeline.clean.prepare import Canonical, prepare
from sales_pipeline.contracts.canonical import CANONICAL_TABLES
from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.engines.base import Engine
from sales_pipeline.engines.duckdb import DuckDBEngine
from sales_pipeline.errors import AuditBlocked
from sales_pipeline.ingest.params import OutcomeRule, SourceMapping, StageMapping
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.tables import read_table
from tests.support.ledger import ledger_rows
from tests.support.raw import ingested

STAGES = StageMapping(won=("Won",), lost=("Lost",), open=("New", "Offer"))
MAPPING = SourceMapping(stages=STAGES, synonyms={"product_id": {"GTXPro": "GTX Pro"}})

WORLD: dict[str, list[dict[str, Any]]] = {
    "accounts": [
        {"account_id": "a1", "industry": "Retail", "employees": "1,200"},
        {"account_id": "a2", "industry": " retail ", "employees": "-5"},
        {"account_id": "a1", "industry": "Retail", "modified_at": "2025-01-01", "country": "Chile"},
        {"account_id": None},
        {"account_id": "a3", "industry": "Retail", "is_deleted": "true"},
    ],
    "products": [{"product_id": "GTX Pro", "family": "GTX", "list_price": "4,821"}],
    "opportunities": [
        {"opportunity_id": "o1", "account_id": "a1", "stage": "won", "amount": "$1,000.50", "created_at": "2026-01-01T00:00:00Z",
         "crm_close_date": "2026-03-01", "crm_probability": "100", "owner_id": "u1", "modified_at": "2026-03-01 10:00:00", "product_id": "GTXPro"},
        {"opportunity_id": "o2", "account_id": "gone", "stage": "Offer", "amount": "abc", "created_at": "2026-02-01T00:00:00Z",
         "crm_close_date": "2026-02-31", "crm_probability": "20", "owner_id": "u1"},
        {"opportunity_id": "o3", "stage": "Weird", "created_at": "2026-02-01"},
        {"opportunity_id": "o1", "stage": "New", "created_at": "2026-01-01", "modified_at": "2026-02-01"},
        {"opportunity_id": "o4", "stage": "Lost", "created_at": "2026-01-05", "closed_at": "2026-01-01", "crm_close_date": "2026-02-01", "amount": "-3"},
        {"opportunity_id": "o5", "stage": "New", "created_at": "2026-01-05", "is_deleted": "1"},
        {"opportunity_id": "l1", "kind": "lead", "stage": "Qualified", "is_won": "1", "converted_to_opportunity_id": "o2", "created_at": "2026-01-20"},
        {"opportunity_id": "l2", "kind": "lead", "stage": "Closed - Not Converted", "created_at": "2026-01-20"},
        {"opportunity_id": "o6", "created_at": "2026-01-05"},
    ],
    "opportunity_attributes": [
        {"source_record": 1, "attribute": "Pilot", "value": "Yes"},
        {"source_record": 2, "attribute": "Pilot", "value": "no"},
        {"source_record": 1, "attribute": "Rival", "value": "None"},
        {"source_record": 2, "attribute": "Rival", "value": "none"},
        {"source_record": 5, "attribute": "Rival", "value": "None"},
        {"source_record": 1, "attribute": "Since", "value": "2020-01-02"},
        {"source_record": 1, "attribute": "Size", "value": "1,5"},
        {"source_record": 2, "attribute": "Size", "value": "7"},
        {"source_record": 4, "attribute": "Pilot", "value": "of a record that was not kept"},
    ],
    "field_history": [
        {"opportunity_id": "o1", "changed_at": "2026-02-01T00:00:00Z", "field": "stage", "old_value": "New", "new_value": "Won", "change_id": "1"},
        {"opportunity_id": "o9", "changed_at": "2026-02-01T00:00:00Z", "field": "stage", "new_value": "New"},
        {"opportunity_id": "o1", "changed_at": "2026-01-10T00:00:00Z", "field": "amount", "old_value": "5", "new_value": None, "change_id": "2"},
        {"opportunity_id": "o1", "changed_at": "2026-01-20T00:00:00Z", "field": "amount", "old_value": None, "new_value": "1000.5", "change_id": "3"},
        {"opportunity_id": "o1", "changed_at": "2026-01-20T00:00:00Z", "field": "Next_Step__c", "new_value": "x", "change_id": "4"},
        {"opportunity_id": "o1", "changed_at": "not a date", "field": "amount", "new_value": "1", "change_id": "5"},
        {"opportunity_id": "o1", "changed_at": "2026-02-01T00:00:00Z", "field": "stage", "old_value": "New", "new_value": "Won", "change_id": "1"},
    ],
    "activities": [
        {"activity_id": "t1", "opportunity_id": "o1", "kind": "Call", "is_done": "true", "occurred_at": "2026-01-05T10:00:00Z", "direction": "Inbound", "queue_id": " fu-1 "},
        {"activity_id": "t2", "opportunity_id": "o77", "kind": "Email", "is_done": "false", "due_at": "2026-09-05"},
        {"activity_id": "t3", "opportunity_id": "a1", "kind": "Meeting", "is_done": "true"},
        {"activity_id": "t4", "opportunity_id": "a2", "kind": "Visit", "is_done": "Completed", "occurred_at": "2026-01-06"},
        {"activity_id": "t5", "contact_id": "l1", "kind": "", "is_done": "yes", "occurred_at": "2026-01-21"},
    ],
    "quotas": [{"owner_id": "u1", "period_start": "2026-01-01", "period_end": "2026-04-01", "amount": "1e6"}],
}  # fmt: skip


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with DuckDBEngine(threads=1) as one:
        yield one


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> Canonical:
    folder = tmp_path_factory.mktemp("clean")
    export = ingested(folder / "raw", WORLD)
    return prepare(Lake(folder / "lake"), [export], MAPPING, CleanParams(), engine)


def _rows(canonical: Canonical, table: str, key: str = "opportunity_id") -> dict[str, dict[str, Any]]:
    return {row[key]: row for row in read_table(canonical.tables[table]).to_pylist()}


def _changes(canonical: Canonical, opportunity: str) -> list[dict[str, Any]]:
    rows = read_table(canonical.tables["opportunity_changes"]).to_pylist()
    return [row for row in rows if row["opportunity_id"] == opportunity]


def _verdicts(canonical: Canonical, file: str) -> list[tuple[int, str, str]]:
    rows = ledger_rows(canonical.ledger)
    return [(r["source_record"], r["outcome"], r["reason"]) for r in rows if r["file"] == f"{file}.csv"]


def test_every_canonical_table_is_there_under_its_contract(world: Canonical) -> None:
    assert list(world.tables) == list(CANONICAL_TABLES)
    for name, ref in world.tables.items():
        stored, declared = read_table(ref).schema, arrow_schema(CANONICAL_TABLES[name])
        assert stored.names == declared.names
        assert [f.type for f in stored] == [f.type for f in declared], name


def test_no_column_outside_the_contract_and_no_null_where_one_is_required(world: Canonical) -> None:
    for name, ref in world.tables.items():
        data = read_table(ref)
        for column in CANONICAL_TABLES[name].columns:
            assert not (column.required and data.column(column.name).null_count), f"{name}.{column.name}"


def test_opportunities(world: Canonical) -> None:
    rows = _rows(world, "opportunities")
    assert set(rows) == {"o1", "o2", "o4", "o5", "o6", "l2"}
    o1 = rows["o1"]
    assert (o1["state"], o1["stage"], o1["amount"]) == ("won", "won", Decimal("1000.50"))
    assert (o1["product_id"], o1["account_id"], o1["crm_probability"]) == ("GTX Pro", "a1", 1.0)
    assert o1["closed_at"] == datetime(2026, 2, 1, tzinfo=UTC)
    o2 = rows["o2"]
    assert (o2["account_id"], o2["amount"], o2["crm_close_date"], o2["converted_from_lead_id"]) == (
        None,
        None,
        None,
        "l1",
    )
    assert rows["l2"]["state"] == "lost"
    assert rows["l2"]["closed_at"] is None
    assert rows["o6"]["state"] == "open"


def test_a_closing_before_the_creation_is_not_believed(world: Canonical) -> None:
    assert _rows(world, "opportunities")["o4"]["closed_at"] == datetime(2026, 2, 1, 23, 59, 59, tzinfo=UTC)


def test_a_deleted_opportunity_is_removed_not_dropped(world: Canonical) -> None:
    rows = _rows(world, "opportunities")
    assert rows["o5"]["removed_at"] == datetime(2026, 6, 30, 12, tzinfo=UTC)
    assert rows["o1"]["removed_at"] is None


def test_changes_are_whole_states_in_order(world: Canonical) -> None:
    seen = [
        (c["changed_at"].date(), c["is_creation"], c["state"], c["stage"], c["amount"]) for c in _changes(world, "o1")
    ]
    assert seen == [
        (date(2026, 1, 1), True, "open", "New", Decimal("5.00")),
        (date(2026, 1, 10), False, "open", "New", None),
        (date(2026, 1, 20), False, "open", "New", Decimal("1000.50")),
        (date(2026, 2, 1), False, "won", "won", Decimal("1000.50")),
    ]


def test_changes_at_one_instant_are_numbered_by_their_ids_and_those_that_change_nothing_take_no_number(
    tmp_path: Path, engine: Engine
) -> None:
    created, later = "2026-01-01T00:00:00Z", "2026-01-05T00:00:00Z"

    def change(number: str, at: str, field: str, old: str | None, new: str) -> dict[str, Any]:
        return {"opportunity_id": "o1", "changed_at": at, "field": field, "old_value": old, "new_value": new, "change_id": number}  # fmt: skip

    history = [
        change("5", later, "amount", "7", "9"),
        change("4", later, "stage", "Offer", "Offer"),
        change("3", later, "stage", "New", "Offer"),
        change("6", "2026-01-06T00:00:00Z", "amount", "9", "11"),
        change("7", "2026-01-06T00:00:00Z", "stage", "Offer", "Offer"),
        change("2", created, "amount", "3", "7"),
        change("8", "2026-01-07T00:00:00Z", "amount", "11", "12"),
    ]
    opportunity = {"opportunity_id": "o1", "stage": "Offer", "amount": "12", "created_at": created, "modified_at": "2026-01-08T00:00:00Z"}  # fmt: skip
    export = ingested(tmp_path / "raw", {"opportunities": [opportunity], "field_history": history})
    found = prepare(Lake(tmp_path / "lake"), [export], MAPPING, CleanParams(), engine)
    assert [(row["changed_at"].day, row["sequence"], row["stage"], row["amount"]) for row in _changes(found, "o1")] == [
        (1, 0, "New", 3),
        (1, 1, "New", 7),
        (5, 0, "Offer", 7),
        (5, 1, "Offer", 9),
        (6, 0, "Offer", 11),
        (7, 0, "Offer", 12),
    ]


def test_a_field_nobody_versions_carries_the_last_seen_value_and_says_so(world: Canonical) -> None:
    history = _rows(world, "field_history", "field")
    assert {f: r["is_versioned"] for f, r in history.items()} == {
        "stage": True, "amount": True, "crm_close_date": False, "crm_probability": False, "owner_id": False,
    }  # fmt: skip
    assert {c["crm_close_date"] for c in _changes(world, "o1")} == {date(2026, 3, 1)}


def test_an_opportunity_closed_without_history_is_open_until_its_closing(world: Canonical) -> None:
    assert [(c["state"], c["is_creation"]) for c in _changes(world, "o4")] == [("open", True), ("lost", False)]


def test_accounts_are_spelled_alike_and_the_latest_wins(world: Canonical) -> None:
    rows = _rows(world, "accounts", "account_id")
    assert {key: row["industry"] for key, row in rows.items()} == {"a1": "Retail", "a2": "Retail"}
    assert rows["a1"]["country"] == "Chile"
    assert rows["a2"]["employees"] is None


def test_attributes_are_typed_by_the_whole_column(world: Canonical) -> None:
    rows = read_table(world.tables["opportunity_attributes"]).to_pylist()
    seen = {(r["opportunity_id"], r["attribute"]): (r["kind"], r["text_value"], r["number_value"]) for r in rows}
    assert seen[("o1", "Pilot")] == ("boolean", "Yes", 1.0)
    assert seen[("o2", "Rival")] == ("category", "None", None)
    assert seen[("o1", "Since")] == ("date", "2020-01-02", 18263.0)
    assert seen[("o1", "Size")] == ("number", "1,5", 1.5)
    assert len(seen) == 8


def test_activities_find_their_place(world: Canonical) -> None:
    done = _rows(world, "activities", "activity_id")
    assert set(done) == {"t1", "t4", "t5"}
    assert (done["t1"]["account_id"], done["t1"]["direction"], done["t1"]["kind"]) == ("a1", "inbound", "call")
    assert (done["t4"]["account_id"], done["t4"]["opportunity_id"], done["t4"]["kind"]) == ("a2", None, "meeting")
    assert done["t5"]["opportunity_id"] == "o2", "an activity with a converted lead belongs to its opportunity"
    assert (done["t1"]["queue_id"], done["t4"]["queue_id"]) == ("fu-1", None)
    assert set(_rows(world, "planned_activities", "activity_id")) == {"t2"}


def test_the_ledger_says_what_became_of_every_record(world: Canonical) -> None:
    assert _verdicts(world, "opportunities") == [
        (0, "structural", "header"), (1, "accepted", ""), (2, "accepted", ""), (3, "quarantined", "unknown stage"), (4, "duplicate_of", "same key"),
        (5, "accepted", ""), (6, "accepted", ""), (7, "duplicate_of", "converted lead"), (8, "accepted", ""), (9, "accepted", ""),
    ]  # fmt: skip
    assert [v[1:] for v in _verdicts(world, "accounts")[1:]] == [
        ("duplicate_of", "same key"), ("accepted", ""), ("accepted", ""), ("quarantined", "missing key"), ("structural", "deleted"),
    ]  # fmt: skip
    assert sorted(v[1:] for v in _verdicts(world, "field_history")) == [
        ("accepted", ""), ("accepted", ""), ("accepted", ""), ("duplicate_of", "same key"), ("quarantined", "no instant"),
        ("quarantined", "orphan"), ("structural", "header"), ("structural", "other field"),
    ]  # fmt: skip
    assert (
        world.ledger.lines
        == len(ledger_rows(world.ledger))
        == sum(len(rows) + 1 for name, rows in WORLD.items() if name != "opportunity_attributes")
    )


def test_what_could_not_be_used_is_named_cell_by_cell(world: Canonical) -> None:
    rows = read_table(world.cell_issues).to_pylist()
    assert {(r["canonical_table"], r["column"], r["value"]) for r in rows} == {
        ("accounts", "employees", "-5"),
        ("activities", "opportunity_id", "o77"),
        ("opportunities", "account_id", "gone"),
        ("opportunities", "amount", "abc"),
        ("opportunities", "amount", "-3"),
        ("opportunities", "closed_at", "2026-01-01"),
        ("opportunities", "crm_close_date", "2026-02-31"),
    }


def test_rules_count_what_they_touched(world: Canonical) -> None:
    counted = {(r.rule, r.table, r.column): r.records for r in world.rules}
    assert counted[("spelling", "accounts", "")] == 1
    assert counted[("spelling", "opportunities", "")] == 1
    assert counted[("duplicate", "opportunities", "")] == 1
    assert counted[("unknown stage", "opportunities", "")] == 1
    assert counted[("bad", "opportunities", "amount")] == 1
    assert counted[("negative", "opportunities", "amount")] == 1
    assert counted[("no_stage", "opportunities", "")] == 1


def test_the_same_inputs_give_the_same_bytes(world: Canonical, tmp_path: Path, engine: Engine) -> None:
    again = prepare(Lake(tmp_path / "lake"), [ingested(tmp_path / "raw", WORLD)], MAPPING, CleanParams(), engine)
    assert again.key == world.key
    assert {n: r.sha256 for n, r in again.tables.items()} == {n: r.sha256 for n, r in world.tables.items()}
    assert (again.ledger.verdicts.sha256, again.cell_issues.sha256) == (
        world.ledger.verdicts.sha256,
        world.cell_issues.sha256,
    )


def _deal(number: int, stage: str, **more: Any) -> dict[str, Any]:
    return {"opportunity_id": f"o{number}", "stage": stage, "created_at": "2026-01-01", **more}


def test_what_does_not_fit_gives_the_same_bytes(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With room for one row, states are met record by record, and what lies between two models lies in files."""
    monkeypatch.setattr(merged, "MIN_RECORDS", 0)
    found = []
    exports = [ingested(tmp_path / "raw", WORLD)]
    delta = MAPPING.model_copy(update={"extract": {"opportunities": "delta"}})
    with DuckDBEngine(threads=1, rows_at_once=1, spill_directory=tmp_path / "spill") as small:
        for number, one in enumerate((engine, small)):
            found.append(prepare(Lake(tmp_path / f"lake{number}"), exports, delta, CleanParams(), one))
    whole, cut = found
    assert {n: r.sha256 for n, r in cut.tables.items()} == {n: r.sha256 for n, r in whole.tables.items()}
    assert (cut.ledger.verdicts.sha256, cut.cell_issues.sha256) == (
        whole.ledger.verdicts.sha256,
        whole.cell_issues.sha256,
    )
    assert cut.tables["opportunity_changes"].rows > 3


def test_mostly_unknown_stages_stop_the_run_and_are_named(tmp_path: Path, engine: Engine) -> None:
    export = ingested(tmp_path / "raw", {"opportunities": [_deal(1, "Won"), _deal(2, "Odd"), _deal(3, "Odd")]})
    with pytest.raises(AuditBlocked, match=r"Odd \(2\)"):
        prepare(Lake(tmp_path / "lake"), [export], MAPPING, CleanParams(), engine)


def test_two_full_exports_show_history_and_removals(tmp_path: Path, engine: Engine) -> None:
    first = [_deal(1, "New", modified_at="2026-01-01"), _deal(2, "New")]
    second = [
        _deal(1, "Won", modified_at="2026-02-03"),
        *(_deal(n, "New", created_at="2026-02-02", modified_at="2026-02-02") for n in range(3, 9)),
    ]
    exports = [
        ingested(
            tmp_path / "raw", {"opportunities": first}, export_id="e1", exported_at=datetime(2026, 2, 1, tzinfo=UTC)
        ),
        ingested(
            tmp_path / "raw", {"opportunities": second}, export_id="e2", exported_at=datetime(2026, 2, 8, tzinfo=UTC)
        ),
    ]
    world = prepare(Lake(tmp_path / "lake"), exports, MAPPING, CleanParams(max_absent_share=0.5), engine)
    assert _rows(world, "opportunities")["o2"]["removed_at"] == datetime(2026, 2, 8, tzinfo=UTC)
    assert {r["basis"] for r in read_table(world.tables["field_history"]).to_pylist() if r["is_versioned"]} == {
        "exports"
    }
    assert [(c["stage"], c["state"], c["changed_at"].day) for c in _changes(world, "o1")] == [
        ("New", "open", 1),
        ("Won", "won", 3),
    ]
    assert [(c["stage"], c["changed_at"].day) for c in _changes(world, "o2")] == [(None, 1), ("New", 1)]
    outcomes = [outcome for _, outcome, _ in _verdicts(world, "opportunities")]
    assert {o: outcomes.count(o) for o in outcomes} == {"structural": 2, "accepted": 8, "duplicate_of": 1}
    with pytest.raises(AuditBlocked, match="lacks many opportunities"):
        prepare(Lake(tmp_path / "lake"), exports, MAPPING, CleanParams(max_absent_share=0.05), engine)


def test_a_file_that_two_exports_share_is_read_once(tmp_path: Path, engine: Engine) -> None:
    """The next day's export often holds files that have not changed by a byte."""
    tables = {
        "opportunities": [_deal(1, "New"), _deal(2, "Won")],
        "opportunity_attributes": [
            {"source_record": 1, "opportunity_id": "o1", "attribute": "Region__c", "value": "North"},
            {"source_record": 2, "opportunity_id": "o2", "attribute": "Region__c", "value": "South"},
        ],
    }
    first, second = (
        ingested(
            tmp_path / "raw",
            tables,
            export_id=f"e{day}",
            content="same",
            exported_at=datetime(2026, 2, day, tzinfo=UTC),
        )
        for day in (1, 2)
    )
    alone = prepare(Lake(tmp_path / "one"), [first], MAPPING, CleanParams(), engine)
    world = prepare(Lake(tmp_path / "lake"), [second, first], MAPPING, CleanParams(), engine)
    for name in ("opportunities", "opportunity_attributes"):
        assert world.tables[name].rows == alone.tables[name].rows == 2
    assert [r["text_value"] for r in read_table(world.tables["opportunity_attributes"]).to_pylist()] == [
        "North",
        "South",
    ]
    assert _rows(world, "opportunities")["o1"]["removed_at"] is None
    outcomes = [outcome for _, outcome, _ in _verdicts(world, "opportunities")]
    assert {o: outcomes.count(o) for o in outcomes} == {"structural": 1, "accepted": 2}


def test_an_outcome_column_closes_what_its_stage_leaves_open(tmp_path: Path, engine: Engine) -> None:
    mapping = MAPPING.model_copy(update={"outcome": OutcomeRule(column="outcome", won=("1",), lost=("0",))})
    deals = [_deal(1, "Offer", outcome="1"), _deal(2, "Offer", outcome="0"), _deal(3, "Offer")]
    world = prepare(
        Lake(tmp_path / "lake"), [ingested(tmp_path / "raw", {"opportunities": deals})], mapping, CleanParams(), engine
    )
    assert [r["state"] for r in _rows(world, "opportunities").values()] == ["won", "lost", "open"]
    assert all(r["closed_at"] is None for r in _rows(world, "opportunities").values()), (
        "a closing nobody recorded is not made up"
    )


def test_a_table_under_its_contract_takes_no_other_types(world: Canonical) -> None:
    assert read_table(world.tables["opportunities"]).schema.field("amount").type == pa.decimal128(18, 2)


@pytest.mark.parametrize(
    ("starts", "end"),
    [
        (["2026-01-01"], "2026-02-01"),
        (["2026-01-01", "2026-02-01"], "2026-02-01"),
        (["2026-01-01", "2026-04-01", "2026-10-01"], "2026-04-01"),
        (["2026-01-01", "2027-01-01"], "2027-01-01"),
    ],
)
def test_a_quota_without_an_end_is_as_long_as_the_steps_between_starts(
    tmp_path: Path, engine: Engine, starts: list[str], end: str
) -> None:
    raw = [{"owner_id": "u1", "period_start": start, "amount": "100"} for start in starts]
    export = ingested(tmp_path / "raw", {"opportunities": WORLD["opportunities"], "quotas": raw})
    quotas = read_table(prepare(Lake(tmp_path / "lake"), [export], MAPPING, CleanParams(), engine).tables["quotas"])
    assert quotas.num_rows == len(starts)
    assert quotas.column("period_end")[0].as_py().isoformat() == end
