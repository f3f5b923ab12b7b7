"""Validation: names from the declarations, every kind of check passes on clean tables and fails on spoiled ones; docs stay offline."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from sales_pipeline.clean import validate as clean_validate
from sales_pipeline.clean.business import BUSINESS_RULES
from sales_pipeline.clean.docs import render_data_docs, strip_external
from sales_pipeline.clean.prepare import Canonical
from sales_pipeline.clean.validate import CheckResult, check_names, validate
from sales_pipeline.contracts.canonical import CANONICAL_TABLES
from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.lake.tables import TableRef, write_table

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
"""Great Expectations' own imports warn; nothing of ours is silenced by it, as warnings of cleaning are tested elsewhere."""

START = datetime(2026, 1, 1, tzinfo=UTC)


def _opportunity(number: int, **more: Any) -> dict[str, Any]:
    table = CANONICAL_TABLES["opportunities"]
    return {
        **dict.fromkeys(table.column_names), "source_system": "crm", "opportunity_id": f"o{number}", "kind": "opportunity", "state": "won",
        "currency": "USD", "created_at": START, "closed_at": START + timedelta(days=3), "source_file": "f", "source_record": number, **more,
    }  # fmt: skip


def _canonical(folder: Path, rows: list[dict[str, Any]], **facts: float) -> Canonical:
    refs: dict[str, TableRef] = {}
    for name, contract in CANONICAL_TABLES.items():
        schema = pa.schema([field.with_nullable(True) for field in arrow_schema(contract)])
        data = pa.Table.from_pylist(rows if name == "opportunities" else [], schema=schema)
        refs[name] = replace(write_table(data, folder / f"{name}.parquet"), name=name)
    figures: dict[str, dict[str, float]] = {
        name: {"row_count": ref.rows, "duplicate_key_count": 0} for name, ref in refs.items()
    }
    figures["opportunities"] |= {
        "closed_count": 1,
        "open_count": 1,
        "orphan_account_share": 0.0,
        "quarantined_share": 0.0,
        **facts,
    }
    return Canonical(
        "k", folder, refs, refs["quotas"], refs["quotas"], (), {"tables": figures, "limits": {"quarantined_share": 0.1}, "batch_rows": 1_000}
    )  # fmt: skip


def _failed(results: list[CheckResult]) -> set[str]:
    return {result.name for result in results if not result.passed}


def test_every_table_has_uniquely_named_checks() -> None:
    for table in CANONICAL_TABLES:
        names = check_names(table)
        assert "key_unique" in names
        assert len(set(names)) == len(names)
    assert {rule.table for rule in BUSINESS_RULES} <= set(CANONICAL_TABLES)


def test_clean_rows_pass_and_results_are_json(tmp_path: Path) -> None:
    results = validate(_canonical(tmp_path, [_opportunity(n) for n in range(1, 2_501)]), "opportunities")
    assert tuple(r.name for r in results) == check_names("opportunities")
    assert not _failed(results)
    assert {r.figures["rows"] for r in results if r.row_level} == {2_500}, "all batches are counted"
    json.dumps([r.figures for r in results])


def test_spoiled_rows_fail_by_name_with_their_number(tmp_path: Path) -> None:
    rows = [
        _opportunity(1, state="maybe"),
        _opportunity(2, currency=None),
        _opportunity(3, crm_probability=1.5),
        _opportunity(4, closed_at=START - timedelta(days=1)),
        _opportunity(5, amount=-1),
        _opportunity(6, state="open"),
        *(_opportunity(n) for n in range(7, 1_500)),
    ]
    results = validate(_canonical(tmp_path, rows), "opportunities")
    assert _failed(results) == {
        "state_allowed", "currency_not_null", "crm_probability_range", "closed_after_creation", "amount_not_negative", "open_has_no_closing",
    }  # fmt: skip
    assert {r.figures["rows_at_fault"] for r in results if not r.passed} == {1}
    assert next(r for r in results if r.name == "state_allowed").figures["examples"] == ["maybe"]


def test_facts_of_the_whole_table_fail_by_their_limits(tmp_path: Path) -> None:
    facts = {"duplicate_key_count": 2, "closed_count": 0, "quarantined_share": 0.2}
    results = validate(_canonical(tmp_path, [_opportunity(1)], **facts), "opportunities")
    assert _failed(results) == {"key_unique", "closed_count", "quarantined_share"}
    blocking = {r.name: r.is_blocking for r in results}
    assert (blocking["key_unique"], blocking["closed_count"]) == (True, False)
    assert next(r for r in results if r.name == "quarantined_share").figures["max_value"] == 0.1


def test_an_empty_required_table_fails_and_an_empty_optional_one_passes(tmp_path: Path) -> None:
    canonical = _canonical(tmp_path, [])
    assert "row_count" in _failed(validate(canonical, "opportunities"))
    assert not _failed(validate(canonical, "contacts"))


def test_a_crashed_check_is_an_error_not_a_plain_failure(tmp_path: Path) -> None:
    canonical = _canonical(tmp_path, [_opportunity(1)])
    del canonical.facts["tables"]["opportunities"]["closed_count"]
    crashed = next(r for r in validate(canonical, "opportunities") if r.name == "closed_count")
    assert not crashed.passed
    assert "could not be run" in crashed.message


def test_data_docs_load_nothing_from_elsewhere(tmp_path: Path) -> None:
    canonical = _canonical(tmp_path / "c", [_opportunity(1), _opportunity(2, state="maybe")])
    index = render_data_docs({t: validate(canonical, t) for t in ("opportunities", "quotas")}, tmp_path / "docs")
    pages = [path.read_text(encoding="utf-8") for path in index.parent.glob("*.html")]
    assert len(pages) == 3
    for page in pages:
        assert not re.search(r"""(src|href|url)\s*[=(]\s*["']?(https?:)?//""", page)
        assert "Content-Security-Policy" in page
    assert "maybe" in (index.parent / "opportunities.html").read_text(encoding="utf-8")


def test_stripping_keeps_the_words() -> None:
    page = '<head></head><script src="https://x/y.js"></script><a href="https://x/">read</a><img src="//x/i.png"><p>kept</p>'
    stripped = strip_external(page)
    assert "//x" not in stripped
    assert "kept" in stripped
    assert "read" in stripped


def test_only_rows_that_came_are_checked_where_none_was_at_fault_before(tmp_path: Path) -> None:
    rows = [_opportunity(number) for number in range(1, 6)]
    base = _canonical(tmp_path / "base", rows)
    before = validate(base, "opportunities")
    whole = _canonical(tmp_path / "whole", [*rows, _opportunity(6, amount=-1)])
    came = _canonical(tmp_path / "came", [_opportunity(6, amount=-1)]).tables
    onto = replace(whole, base="k", came=came)
    assert validate(onto, "opportunities", before) == validate(whole, "opportunities")
    # Of rows that were not looked at nothing is said: here one at fault that the base is said not to have.
    spoiled = replace(
        _canonical(tmp_path / "spoiled", [_opportunity(1, amount=-1), *rows[1:]]), base="k", came=base.tables
    )
    assert not _failed(validate(spoiled, "opportunities", before))
    assert _failed(validate(spoiled, "opportunities", validate(spoiled, "opportunities")))


def test_attributes_are_not_all_looked_at_again_because_they_are_tracked_from_another_instant() -> None:
    by_row = [check for check in clean_validate._checks("opportunity_attributes", {}) if check.row_level]
    assert by_row
    assert "tracked_from" not in clean_validate._needed(by_row)
