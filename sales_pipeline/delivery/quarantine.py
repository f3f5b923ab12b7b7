"""The quarantine for people: what could not be used, where it stands, and a file to mend and drop back in.

Belongs here: tables and files about refused records. Does not belong here: deciding what is refused (ingest, clean).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from sales_pipeline.clean.ledger import RowLedger
from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.contracts.model import Column, Table
from sales_pipeline.contracts.published import ROW_LEDGER_SUMMARY
from sales_pipeline.engines.base import Engine
from sales_pipeline.errors import LedgerUnbalanced
from sales_pipeline.ingest.params import REPAIR_REASON
from sales_pipeline.ingest.reader import FileReading, read_file, settle
from sales_pipeline.lake.tables import TableRef, conform

_SQL = Path(__file__).parent / "sql"

QUARANTINE = Table(
    "quarantine",
    "one row per quarantined record, and one per unusable cell of an accepted record",
    ("source_file", "source_record", "scope", "column"),
    (
        Column("file", "string", "file name within its export", required=True),
        Column("source_file", "string", "sha256 of the file", required=True),
        Column("source_record", "int64", "number of the physical record, 1 for the first data record", required=True),
        Column(
            "line", "int64", "line the record starts at", null_means="the format has no lines, or one line per record"
        ),
        Column("canonical_table", "string", "table the file is mapped to", null_means="not mapped"),
        Column("column", "string", "column at fault", null_means="the record as a whole"),
        Column("value", "string", "value at fault", null_means="empty, or the record as a whole"),
        Column("reason", "string", "why it could not be used", required=True),
        Column(
            "scope",
            "string",
            "record: the whole record is left out; cell: the record is used with that cell empty",
            required=True,
            allowed=("record", "cell"),
        ),
    ),
)
"""Not published: it shows values of the export as they stand."""


def quarantine_table(ledger: RowLedger, cell_issues: TableRef, engine: Engine) -> pa.Table:
    """QUARANTINE from the row ledger and the cell issues, sorted by file, record and column."""
    found = engine.query(_SQL / "quarantine.sql", {**ledger.inputs, "cell_issues": cell_issues})
    return conform(found.select(QUARANTINE.column_names).cast(_nullable(QUARANTINE)), QUARANTINE)


def row_ledger_summary(ledger: RowLedger, run_id: str, engine: Engine) -> pa.Table:
    """The published ROW_LEDGER_SUMMARY; its records add up to the records of the files. LedgerUnbalanced where cleaning judged records that ingest had not accepted."""
    found = engine.query(_SQL / "row_ledger_summary.sql", ledger.inputs, parameters={"run_id": run_id})
    summary = conform(found, ROW_LEDGER_SUMMARY)
    judged = sum(row["records"] for row in summary.to_pylist() if row["records"] < 0)
    if judged:
        raise LedgerUnbalanced(
            "the row ledger does not add up",
            expected="a verdict of cleaning on records that were accepted when they were read",
            found=f"{-judged} more than there are",
            where=ledger.verdicts.path,
            fix="this is a fault of the program: keep the export and report it",
        )
    return summary


def repairable_file(
    path: Path,
    reasons: Mapping[int, str],
    *,
    label: str,
    encoding: str | None,
    sheet: str | None,
    folder: Path,
) -> bytes:
    """The quarantined records of one kept export file, to mend and drop back into the landing folder.

    Parameters
    ----------
    path
        The file as kept in the lake.
    reasons
        Why, by record number (`source_record` of QUARANTINE).
    label, encoding, sheet
        As ingest read the file: its name in messages, and what the mapping says about it.
    folder
        An empty folder for what is read, removed by the caller.

    Records ingest could not split into the header's columns are split at the file's delimiter as well as they can be. Raises
    what `ingest.reader.read_file` raises.
    """
    reading = read_file(
        path,
        settle(path, encoding, label=label),
        label=label,
        sheet=sheet,
        folder=folder,
    )
    records = [(number, cells) for number, cells in _accepted(reading) if number in reasons]
    delimiter = reading.facts.get("delimiter", "\t")
    for row in reading.ledger.quarantined():
        if row["source_record"] in reasons:
            cells = next(csv.reader(io.StringIO(row["value"] or ""), delimiter=delimiter), [])
            records.append((row["source_record"], cells))
    return repairable_csv(reading.header, sorted(records), reasons)


def _accepted(reading: FileReading) -> Iterator[tuple[int, list[str]]]:
    positions = range(len(reading.header))
    for numbers, columns in reading.batches(positions):
        rows = zip(*(columns[position].to_pylist() for position in positions), strict=True)
        yield from ((number, list(cells)) for number, cells in zip(numbers.to_pylist(), rows, strict=True))


def repairable_csv(
    header: Sequence[str], records: Iterable[tuple[int, Sequence[str]]], reasons: Mapping[int, str]
) -> bytes:
    """Records with their original columns and, after those, why each was refused.

    `records` are (record number, cells as they stand); only those in `reasons` are written. A record with more cells than the
    header keeps them all, after the reason, so that nothing is lost; one with fewer is filled with empty cells. UTF-8, LF.
    """
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*header, REPAIR_REASON])
    for number, cells in records:
        if number in reasons:
            padded = [*cells[: len(header)], *[""] * (len(header) - len(cells))]
            writer.writerow([*padded, reasons[number], *cells[len(header) :]])
    return buffer.getvalue().encode("utf-8")


def _nullable(contract: Table) -> pa.Schema:
    """The contract's types without its nullability, which engines do not declare."""
    return pa.schema([field.with_nullable(True) for field in arrow_schema(contract)])
