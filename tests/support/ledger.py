"""The row ledger read row by row, as SQL never does: an independent reading of its two tables."""

from __future__ import annotations

from typing import Any

from sales_pipeline.clean.ledger import RowLedger
from sales_pipeline.lake.tables import read_table


def ledger_rows(ledger: RowLedger) -> list[dict[str, Any]]:
    """One row per physical record, sorted by file and record; a file of several exports as the one that sorts first has it."""
    rows = [row for ref in ledger.ingested for row in read_table(ref).to_pylist()]
    first = {row["source_file"]: row["export_id"] for row in sorted(rows, key=lambda row: row["export_id"], reverse=True)}  # fmt: skip
    verdicts = {(row["source_file"], row["source_record"]): row for row in read_table(ledger.verdicts).to_pylist()}
    counted = {
        (row["source_file"], row["source_record"]): row for row in rows if row["export_id"] == first[row["source_file"]]
    }
    assert verdicts.keys() <= {key for key, row in counted.items() if row["outcome"] == "accepted"}
    return [row | verdicts.get(key, {}) for key, row in sorted(counted.items())]
