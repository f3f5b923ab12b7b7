from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from sales_pipeline.clean.ledger import RowLedger
from sales_pipeline.contracts.internal import CELL_ISSUES, ROW_LEDGER, ROW_VERDICTS
from sales_pipeline.delivery.quarantine import quarantine_table, repairable_csv, repairable_file, row_ledger_summary
from sales_pipeline.engines.duckdb import DuckDBEngine
from sales_pipeline.errors import LedgerUnbalanced
from sales_pipeline.lake.tables import TableRef, write_table
from tests.support.ledger import ledger_rows
from tests.support.scored_rows import rows_of


def ledger_row(record: int, outcome: str = "accepted", reason: str = "", **values: Any) -> dict[str, Any]:
    return {
        "source_file": "f1",
        "source_record": record,
        "line": record + 1,
        "file": "Opportunity.csv",
        "export_id": "e1",
        "canonical_table": "opportunities",
        "outcome": outcome,
        "reason": reason,
    } | values


def written(folder: Path, lines: list[list[dict[str, Any]]], verdicts: list[dict[str, Any]]) -> RowLedger:
    """A ledger of exports with these lines, and what cleaning said."""
    ingested = [
        write_table(rows_of(ROW_LEDGER, rows), folder / f"{number}.parquet", ROW_LEDGER)
        for number, rows in enumerate(lines)
    ]
    found = write_table(rows_of(ROW_VERDICTS, verdicts), folder / "verdicts.parquet", ROW_VERDICTS)
    return RowLedger(tuple(ingested), found)


def verdict(record: int, outcome: str, reason: str, **values: Any) -> dict[str, Any]:
    return {"source_file": "f1", "source_record": record, "outcome": outcome, "reason": reason} | values


@pytest.fixture
def tables(tmp_path: Path) -> tuple[RowLedger, TableRef]:
    lines = [
        ledger_row(0, "structural", "header"),
        ledger_row(1),
        ledger_row(2),
        ledger_row(3),
        ledger_row(4, "quarantined", "too many cells"),
        ledger_row(5),
    ]
    sent_again = [{**row, "export_id": "e2", "file": "Again.csv"} for row in lines]
    verdicts = [
        verdict(2, "quarantined", "amount cannot be read", column="amount", value="12,3,4"),
        verdict(3, "duplicate_of", "same id", duplicate_of="f1:1"),
    ]
    cells = [
        {
            "source_file": "f1",
            "source_record": 5,
            "file": "Opportunity.csv",
            "canonical_table": "opportunities",
            "column": "crm_close_date",
            "value": "31.31.2026",
            "reason": "no such date",
        }
    ]
    return (
        written(tmp_path, [sent_again, lines], verdicts),
        write_table(rows_of(CELL_ISSUES, cells), tmp_path / "cells.parquet", CELL_ISSUES),
    )


def test_the_quarantine_names_file_line_column_value_and_reason(tables: tuple[RowLedger, TableRef]) -> None:
    with DuckDBEngine(threads=1) as engine:
        rows = quarantine_table(*tables, engine).to_pylist()
    shown = [(row["file"], row["line"], row["column"], row["value"], row["reason"], row["scope"]) for row in rows]
    assert shown == [
        ("Opportunity.csv", 3, "amount", "12,3,4", "amount cannot be read", "record"),
        ("Opportunity.csv", 5, None, None, "too many cells", "record"),
        ("Opportunity.csv", 6, "crm_close_date", "31.31.2026", "no such date", "cell"),
    ]


def test_the_summary_counts_every_record_of_a_file_once_with_what_became_of_it(
    tables: tuple[RowLedger, TableRef],
) -> None:
    with DuckDBEngine(threads=1) as engine:
        summary = row_ledger_summary(tables[0], "run-1", engine).to_pylist()
    assert {(row["file"], row["sha256"], row["export_id"], row["run_id"]) for row in summary} == {
        ("Opportunity.csv", "f1", "e1", "run-1")
    }
    counted = Counter((row["outcome"], row["reason"]) for row in ledger_rows(tables[0]))
    assert {(row["outcome"], row["reason"]): row["records"] for row in summary} == counted
    assert counted[("accepted", "")] == 2


def test_a_file_of_which_no_record_is_taken_shows_no_accepted_ones(tmp_path: Path) -> None:
    ledger = written(tmp_path, [[ledger_row(1)]], [verdict(1, "structural", "deleted")])
    with DuckDBEngine(threads=1) as engine:
        summary = row_ledger_summary(ledger, "run-1", engine).to_pylist()
    assert [(row["outcome"], row["records"]) for row in summary] == [("structural", 1)]


def test_more_verdicts_than_accepted_records_are_a_fault(tmp_path: Path) -> None:
    ledger = written(
        tmp_path, [[ledger_row(1)]], [verdict(1, "structural", "deleted"), verdict(2, "structural", "deleted")]
    )
    with (
        DuckDBEngine(threads=1) as engine,
        pytest.raises(LedgerUnbalanced, match=r"(?s)the row ledger does not add up.*1 more than there are"),
    ):
        row_ledger_summary(ledger, "run-1", engine)


def test_the_repairable_file_keeps_every_cell_and_says_why() -> None:
    records = [(1, ["a", "1"]), (2, ["b"]), (3, ["c", "3", "extra"]), (4, ["d", "4"])]
    text = repairable_csv(["id", "amount"], records, {2: "too few cells", 3: "too many cells", 4: 'odd "quote", comma'})
    assert text.decode() == (
        'id,amount,quarantine_reason\nb,,too few cells\nc,3,too many cells,extra\nd,4,"odd ""quote"", comma"\n'
    )


def test_a_kept_file_gives_back_its_quarantined_records_as_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    path.write_bytes(b'id;name;amount\n1;"a;b";5\n2;c;12,3,4\n3;too;many;cells\n4;d;6\n')
    (tmp_path / "work").mkdir()
    text = repairable_file(
        path,
        {1: "why not", 2: "amount cannot be read", 3: "too many fields"},
        label="deals.csv",
        encoding=None,
        sheet=None,
        folder=tmp_path / "work",
    )
    assert text.decode().splitlines() == [
        "id,name,amount,quarantine_reason",
        "1,a;b,5,why not",
        '2,c,"12,3,4",amount cannot be read',
        "3,too,many,too many fields,cells",
    ]
