from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sales_pipeline.contracts.internal import CELL_ISSUES, ROW_LEDGER
from sales_pipeline.delivery.quarantine import quarantine_table, repairable_csv, repairable_file, row_ledger_summary
from sales_pipeline.engines.duckdb import DuckDBEngine
from sales_pipeline.lake.tables import TableRef, write_table
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


@pytest.fixture
def tables(tmp_path: Path) -> tuple[TableRef, TableRef]:
    ledger = [
        ledger_row(0, "structural", "header"),
        ledger_row(1),
        ledger_row(2, "quarantined", "amount cannot be read", column="amount", value="12,3,4"),
        ledger_row(3, "duplicate_of", "same id", duplicate_of="f1:1"),
        ledger_row(4, "quarantined", "too many cells"),
        ledger_row(5),
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
        write_table(rows_of(ROW_LEDGER, ledger), tmp_path / "ledger.parquet", ROW_LEDGER),
        write_table(rows_of(CELL_ISSUES, cells), tmp_path / "cells.parquet", CELL_ISSUES),
    )


def test_the_quarantine_names_file_line_column_value_and_reason(tables: tuple[TableRef, TableRef]) -> None:
    with DuckDBEngine(threads=1) as engine:
        rows = quarantine_table(*tables, engine).to_pylist()
    shown = [(row["file"], row["line"], row["column"], row["value"], row["reason"], row["scope"]) for row in rows]
    assert shown == [
        ("Opportunity.csv", 3, "amount", "12,3,4", "amount cannot be read", "record"),
        ("Opportunity.csv", 5, None, None, "too many cells", "record"),
        ("Opportunity.csv", 6, "crm_close_date", "31.31.2026", "no such date", "cell"),
    ]


def test_the_summary_adds_up_to_the_records(tables: tuple[TableRef, TableRef]) -> None:
    with DuckDBEngine(threads=1) as engine:
        summary = row_ledger_summary(tables[0], "run-1", engine)
    assert sum(summary.column("records").to_pylist()) == tables[0].rows
    accepted = [row for row in summary.to_pylist() if row["outcome"] == "accepted"]
    assert [(row["records"], row["reason"], row["run_id"]) for row in accepted] == [(2, "", "run-1")]


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
    with DuckDBEngine(threads=1) as engine:
        text = repairable_file(
            path,
            {1: "why not", 2: "amount cannot be read", 3: "too many fields"},
            label="deals.csv",
            encoding=None,
            sheet=None,
            engine=engine,
            folder=tmp_path / "work",
        )
    assert text.decode().splitlines() == [
        "id,name,amount,quarantine_reason",
        "1,a;b,5,why not",
        '2,c,"12,3,4",amount cannot be read',
        "3,too,many,too many fields,cells",
    ]
