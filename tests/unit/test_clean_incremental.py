"""What a later export is cleaned onto, and when all records are cleaned anew."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from sqlglot import exp

from sales_pipeline.clean import incremental, merged
from sales_pipeline.clean.affected import _differs, _id
from sales_pipeline.clean.audits import _duplicate_keys, duplicate_keys_merged
from sales_pipeline.clean.merged import Base, find_base
from sales_pipeline.clean.params import CleanParams
from sales_pipeline.clean.prepare import STAGE, prepare
from sales_pipeline.contracts.canonical import CANONICAL_TABLES
from sales_pipeline.engines.base import Engine
from sales_pipeline.engines.duckdb import DuckDBEngine
from sales_pipeline.ingest.params import SourceMapping
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.tables import TableRef, read_table, table_ref, write_table
from tests.support.days import START
from tests.support.raw import ingested

MAPPING = SourceMapping(extract={"opportunities": "delta"})
STAGES = [{"stage": "New", "is_closed": "no"}, {"stage": "Won", "is_closed": "yes", "is_won": "yes"}]
FIRST: dict[str, list[dict[str, Any]]] = {
    "stages": STAGES,
    "accounts": [{"account_id": f"a{n}", "industry": "Retail"} for n in range(9)],
    "opportunities": [{"opportunity_id": f"o{n}", "stage": "New", "account_id": "a1", "crm_probability": "0.1"} for n in range(9)],
    "opportunity_attributes": [{"source_record": 1, "attribute": "Desk", "value": "north"}],
    "state_history": [{"opportunity_id": f"o{n}", "changed_at": "2026-02-01", "stage": "New"} for n in range(9)],
}  # fmt: skip
NEXT: dict[str, list[dict[str, Any]]] = {
    "opportunities": [{"opportunity_id": "o1", "stage": "Won", "account_id": "a1"}]
}


class _NotReached(Exception):
    """Records would be cleaned onto what is there."""


def _refuse(*_: Any) -> Any:
    raise _NotReached


@pytest.fixture
def _nothing_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incremental, "Build", _refuse)


@pytest.fixture(autouse=True, scope="module")
def _however_few_records() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merged, "MIN_RECORDS", 0)
        yield


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with DuckDBEngine(threads=1) as one:
        yield one


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> tuple[Path, Any, Base]:
    """A folder, its first export, and that cleaned."""
    folder = tmp_path_factory.mktemp("days")
    first = ingested(folder / "raw", FIRST, exported_at=START)
    canonical = prepare(Lake(folder / "lake"), [first], MAPPING, CleanParams(), engine)
    step = json.loads((canonical.path / "_step.json").read_text())
    assert "base" not in step
    return folder, first, Base(canonical.path, step)


def _day(folder: Path, tables: dict[str, list[dict[str, Any]]], days: int = 1, **named: Any) -> Any:
    return ingested(folder, tables, exported_at=START + timedelta(days=days), export_id="e2", **named)


def test_a_later_export_is_cleaned_onto_the_exports_before_it(
    tmp_path: Path, world: tuple[Path, Any, Base], engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, first, base = world
    monkeypatch.setattr(incremental, "MAX_SHARE", 10.0)
    day = _day(tmp_path, NEXT)
    onto = prepare(Lake(folder / "lake"), [first, day], MAPPING, CleanParams(), engine)
    anew = prepare(Lake(tmp_path / "lake"), [first, day], MAPPING, CleanParams(), engine)
    assert json.loads((onto.path / "_step.json").read_text())["base"] == base.folder.name
    assert "base" not in json.loads((anew.path / "_step.json").read_text())
    assert {n: ref.sha256 for n, ref in onto.tables.items()} == {n: ref.sha256 for n, ref in anew.tables.items()}
    assert {path.name for path in onto.path.iterdir()} == {path.name for path in anew.path.iterdir()} | {"came"}
    assert (onto.base, anew.base) == (base.folder.name, None)
    assert read_table(onto.came["opportunities"]).column("opportunity_id").to_pylist() == ["o1"]


def test_what_looks_up_an_opportunity_goes_with_it_only_where_another_or_another_account_is_found(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incremental, "MAX_SHARE", 10.0)
    activities = [
        {"activity_id": f"t{n}", "opportunity_id": f"o{n}", "occurred_at": "2026-02-02", "is_done": "true"}
        for n in range(12)
    ]
    first = ingested(tmp_path / "raw", {**FIRST, "activities": activities}, exported_at=START)
    changes = [
        ("o1", "a1"),
        ("o2", "a2"),
        ("o3", None),
        ("o4", "a1"),
        ("o4", "a3"),
        ("o5", "gone"),
        ("o10", "a1"),
        ("o0", " a1 "),
    ]
    rows = [{"opportunity_id": one, "stage": "New", "account_id": account} for one, account in changes]
    day = _day(tmp_path, {"opportunities": [*rows, {"opportunity_id": "o11", "converted_from_lead_id": "o6"}]})
    prepare(Lake(tmp_path / "lake"), [first], MAPPING, CleanParams(), engine)
    onto = prepare(Lake(tmp_path / "lake"), [first, day], MAPPING, CleanParams(), engine)
    anew = prepare(Lake(tmp_path / "other"), [first, day], MAPPING, CleanParams(), engine)
    assert onto.base is not None
    assert {n: ref.sha256 for n, ref in onto.tables.items()} == {n: ref.sha256 for n, ref in anew.tables.items()}
    came = read_table(onto.came["activities"]).column("activity_id").to_pylist()
    assert came == ["t10", "t11", "t2", "t3", "t4", "t5", "t6"]


CELL = {"opportunities": NEXT["opportunities"], "opportunity_attributes": [{"source_record": 1, "attribute": "New one", "value": "x"}]}  # fmt: skip
SPELLED = {"accounts": [{"account_id": f"b{n}", "industry": "RETAIL"} for n in range(20)]}


@pytest.mark.usefixtures("_nothing_is_built")
@pytest.mark.parametrize(
    ("why", "tables", "mapping", "days"),
    [
        ("full extracts", NEXT, {"extract": {}}, 1),
        ("lies not after", NEXT, {}, 0),
        ("for the first time", {"cases": [{"case_id": "c1"}]}, {}, 1),
        ("account ids", NEXT, {"synonyms": {"account_id": {"a1": "a2"}}}, 1),
        ("percentages", {"opportunities": [{"opportunity_id": "o1", "crm_probability": "50"}]}, {}, 1),
        ("another way", {**NEXT, **SPELLED}, {}, 1),
        ("other stages", {"opportunities": [{"opportunity_id": "o1", "stage": "Odd"}]}, {}, 1),
        ("other unmapped columns", CELL, {}, 1),
        ("are affected", {"opportunities": FIRST["opportunities"]}, {}, 1),
    ],
)
def test_all_records_are_cleaned_anew_where_it_is_not_certain(
    tmp_path: Path,
    world: tuple[Path, Any, Base],
    engine: Engine,
    caplog: pytest.LogCaptureFixture,
    why: str,
    tables: dict[str, list[dict[str, Any]]],
    mapping: dict[str, Any],
    days: int,
) -> None:
    _, first, base = world
    exports = [first, _day(tmp_path / "raw", tables, days)]
    changed = SourceMapping(**{"extract": {"opportunities": "delta"}, **mapping})
    (tmp_path / "target").mkdir()
    with caplog.at_level("INFO"):
        found = incremental.build_on(base, tmp_path / "target", exports, changed, CleanParams(), engine)
    assert found is None
    assert why in caplog.text


@pytest.mark.usefixtures("_nothing_is_built")
def test_a_day_that_changes_nothing_of_this_goes_on(
    tmp_path: Path, world: tuple[Path, Any, Base], engine: Engine
) -> None:
    _, first, base = world
    (tmp_path / "target").mkdir()
    exports = [first, _day(tmp_path / "raw", NEXT)]
    with pytest.raises(_NotReached):
        incremental.build_on(base, tmp_path / "target", exports, MAPPING, CleanParams(), engine)


@pytest.mark.usefixtures("_nothing_is_built")
@pytest.mark.parametrize(("more", "why"), [(1, "few records"), (0, "there were few records")])
def test_where_there_are_few_records_all_are_cleaned_anew(
    tmp_path: Path,
    world: tuple[Path, Any, Base],
    engine: Engine,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    more: int,
    why: str,
) -> None:
    _, first, base = world
    exports = [first, _day(tmp_path / "raw", NEXT)]
    records = sum(sum(part.rows for parts in export.tables.values() for part in parts) for export in exports)
    monkeypatch.setattr(merged, "MIN_RECORDS", records + more)
    (tmp_path / "target").mkdir()
    with caplog.at_level("INFO"):
        found = incremental.build_on(base, tmp_path / "target", exports, MAPPING, CleanParams(), engine)
    assert found is None
    assert f"anew: {why}" in caplog.text


@pytest.mark.usefixtures("_nothing_is_built")
def test_a_file_of_opportunities_that_is_sent_again_is_no_new_day(
    tmp_path: Path, world: tuple[Path, Any, Base], engine: Engine
) -> None:
    _, first, base = world
    (tmp_path / "target").mkdir()
    again = _day(tmp_path / "raw", FIRST, contents={"opportunities": "e1", "stages": "e1"})
    assert incremental.build_on(base, tmp_path / "target", [first, again], MAPPING, CleanParams(), engine) is None


def test_the_base_with_the_most_exports_is_taken_and_only_of_the_same_settings(tmp_path: Path) -> None:
    def note(name: str, settings: str, exports: list[str]) -> None:
        (tmp_path / STAGE / name).mkdir(parents=True)
        step = {"settings": settings, "exports": exports}
        (tmp_path / STAGE / name / "_step.json").write_text(json.dumps(step))

    for name, settings, exports in (
        ("one", "s", ["a"]), ("two", "s", ["a", "b"]), ("all", "s", ["a", "b", "c"]), ("other", "s", ["b"]), ("else", "t", ["a", "b"]),
        (".three.building", "s", ["a", "b"]),
    ):  # fmt: skip
        note(name, settings, exports)
    (tmp_path / STAGE / "before").mkdir()
    (tmp_path / STAGE / "before" / "_step.json").write_text('{"tables": {}}')
    found = find_base(tmp_path / STAGE, "s", ["a", "b", "c"])
    assert found is not None
    assert found.folder.name == "two"
    assert find_base(tmp_path / STAGE, "s", ["x", "a"]) is None


def test_few_records_are_cleaned_anew(
    tmp_path: Path,
    world: tuple[Path, Any, Base],
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    _, first, base = world
    monkeypatch.setattr(merged, "MIN_RECORDS", 1_000)
    (tmp_path / "target").mkdir()
    with caplog.at_level("INFO"):
        exports = [first, _day(tmp_path / "raw", NEXT)]
        assert incremental.build_on(base, tmp_path / "target", exports, MAPPING, CleanParams(), engine) is None
    assert "few records" in caplog.text


@pytest.mark.parametrize("style", ["text", "salesforce", "salesforce_folded", "guid"])
def test_an_id_that_was_read_is_read_as_it_is(engine: Engine, style: str) -> None:
    """So that a record whose id stands in the file as it is read is found by its text alone, and is no other's."""
    short = "006Dx00000Ab1cD"
    ids = [
        short, f" {short}", short.lower(), short.upper(), "006Dx0000000026IAA", "006DX0000000026IAA", "006dx0000000026iaa", "006Dx0000000026 AA", "x",
        "\u00a0o1 \u3000", "o  1", " ", "", "{0F8FAD5B-D9CB-469F-A165-70867728950E}", "0f8fad5b-d9cb-469f-a165-70867728950e", "{x}", "zzzzzzzzzzzzzzzzzz",
    ]  # fmt: skip
    read = exp.alias_(exp.func("parse_id", exp.column("id"), exp.Literal.string(style), dialect="duckdb"), "id")
    once = engine.query(exp.select(read).from_("raw"), {"raw": pa.table({"id": ids})})
    assert engine.query(exp.select(read).from_("raw"), {"raw": once}).equals(once)


@pytest.mark.parametrize(
    ("text", "id_"),
    [("006Dx0000000001IAA", "006Dx0000000001IAA"), ("006Dx0000000001", "006Dx0000000001IAA"), (" 006Dx0000000001IAA", "006Dx0000000001IAA"),
     ("o1 ", "o1"), ("o1", "o1"), ("123456789-12345", "123456789-12345"), ("", None), (" ", None)],
)  # fmt: skip
@pytest.mark.parametrize("style", ["salesforce", "salesforce_folded", "text"])
def test_a_text_differs_from_the_id_read_from_it_or_not(engine: Engine, text: str, id_: str | None, style: str) -> None:
    query = exp.select(exp.alias_(_differs("id", style), "d"), exp.alias_(_id("id", style), "read")).from_("raw")
    (row,) = engine.query(query, {"raw": pa.table({"id": [text]})}).to_pylist()
    assert row["d"] == (row["read"] != text)
    if style == "salesforce":
        assert row["read"] == id_


def test_duplicate_keys_of_a_merged_table_are_found(engine: Engine, tmp_path: Path) -> None:
    contract = CANONICAL_TABLES["exchange_rates"]

    def rates(name: str, days: dict[str, list[int]]) -> TableRef:
        rows = [
            {"currency": currency, "valid_from": date(2026, 1, day), "rate": 1.0}
            for currency, found in days.items()
            for day in found
        ]
        return write_table(pa.Table.from_pylist(rows), tmp_path / f"{name}.parquet")

    base, gone = rates("base", {"EUR": [1, 2], "USD": [1, 3]}), rates("gone", {"EUR": [1]})
    for days, duplicates in (({"EUR": [1, 3]}, 0), ({"EUR": [2, 3], "USD": [2]}, 1), ({"EUR": [1, 1], "USD": [3]}, 2)):
        come = rates("come", days)
        assert duplicate_keys_merged(contract, base, gone, come, engine) == duplicates


def test_keys_that_repeat_are_counted_over_a_whole_file_and_over_parts(engine: Engine, tmp_path: Path) -> None:
    contract = CANONICAL_TABLES["activities"]
    ids = sorted([f"a{n:06d}" for n in range(65_540)] + ["a065535", "a000000", "a000000"])
    write_table(pa.table({"activity_id": ids}), tmp_path / "one.parquet")
    for name, part in (("2026-Q1", ids[:9]), ("2026-Q2", ids[8:])):
        write_table(pa.table({"activity_id": part}), tmp_path / "parts" / f"{name}.parquet")
    one, parts = (table_ref("activities", tmp_path / name) for name in ("one.parquet", "parts"))
    assert [_duplicate_keys(contract, ref, engine) for ref in (one, parts)] == [3, 4]
