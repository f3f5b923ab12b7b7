"""The row ledger of an export, and what its files hold twice."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.contracts.internal import ROW_LEDGER
from sales_pipeline.contracts.raw import RAW_TABLES
from sales_pipeline.errors import LedgerUnbalanced
from sales_pipeline.ingest.assemble import PARQUET_WRITER, ReadFile
from sales_pipeline.ingest.dialects.spec import object_name
from sales_pipeline.lake.tables import PARQUET_OPTIONS

NOT_MAPPED = "file is not mapped to a table"


def write_ledger(read: Sequence[ReadFile], path: Path, *, export_id: str) -> None:
    """One row per record of every file; LedgerUnbalanced where a file's outcomes do not add up to its records.

    Written one row group at a time: what is the same in every row of a file (its digest alone is 64 characters) is never spelt out for all of them.
    """
    schema = arrow_schema(ROW_LEDGER)
    size = PARQUET_OPTIONS["row_group_size"]
    with pq.ParquetWriter(path, schema, **PARQUET_WRITER) as writer:
        for one in read:
            _hold_count(one, bool(one.specs) or one.is_lookup)
            for start in range(0, one.reading.ledger.num_rows, size):
                rows = _final_rows(one, one.reading.ledger.slice(start, size), export_id, schema)
                writer.write_table(rows, row_group_size=size)


def _final_rows(one: ReadFile, ledger: pa.Table, export_id: str, schema: pa.Schema) -> pa.Table:
    """Some of a file's ledger under the contract ROW_LEDGER."""
    count = ledger.num_rows
    outcome, reason = ledger.column("outcome"), ledger.column("reason")
    if not one.specs and not one.is_lookup:
        accepted = pc.equal(outcome, "accepted")
        outcome = pc.if_else(accepted, "structural", outcome)
        reason = pc.if_else(accepted, NOT_MAPPED, reason)
    table = one.specs[0].table if one.specs else None
    nothing = pa.nulls(count, pa.string())
    columns = {
        "source_file": pa.repeat(pa.scalar(one.file.sha256, pa.string()), count),
        "source_record": ledger.column("source_record"),
        "line": ledger.column("line"),
        "file": pa.repeat(pa.scalar(one.file.name, pa.string()), count),
        "export_id": pa.repeat(pa.scalar(export_id, pa.string()), count),
        "canonical_table": pa.repeat(pa.scalar(table, pa.string()), count),
        "outcome": outcome,
        "reason": reason,
        "column": nothing,
        "value": ledger.column("value"),
        "duplicate_of": nothing,
    }
    return pa.table(columns, schema=schema)


def _hold_count(one: ReadFile, is_used: bool) -> None:
    ledger = one.reading.ledger
    accepted = pc.sum(pc.equal(ledger.column("outcome"), "accepted"), min_count=0).as_py() or 0
    records, readable = one.reading.facts["records"], one.reading.facts["accepted"]
    numbered = len(one.reading.numbers) if is_used else readable
    if ledger.num_rows != records or accepted != readable or numbered != readable:
        raise LedgerUnbalanced(
            "the ledger of a file does not add up to its records",
            expected=f"{records} records, {readable} of them accepted",
            found=f"{ledger.num_rows} in the ledger, {accepted} accepted, {numbered} handed on",
            where=one.file.name,
        )


def overlaps(parts: dict[str, list[Path]], read: Sequence[ReadFile]) -> list[str]:
    """Warnings about files of one object that hold records of the same key: their records are united, and the latest wins in cleaning."""
    by_number = {f"{number:05d}": one for number, one in enumerate(read)}
    told: list[str] = []
    for name, paths in sorted(parts.items()):
        key = RAW_TABLES[name].column_names[4]
        objects: dict[str, list[Path]] = {}
        for path in paths if len(paths) > 1 and name != "raw_opportunity_attributes" else ():
            objects.setdefault(object_name(by_number[path.stem].file.base_name), []).append(path)
        for same in objects.values():
            keys = (
                [pq.read_table(path, columns=[key]).column(0).combine_chunks() for path in same]
                if len(same) > 1
                else []
            )
            for (left, ours), (right, theirs) in combinations(zip(same, keys, strict=False), 2):
                both = pc.sum(pc.is_in(theirs, value_set=ours, skip_nulls=True), min_count=0).as_py() or 0
                if both:
                    names = sorted(by_number[path.stem].file.name for path in (left, right))
                    told.append(
                        f"{names[0]} and {names[1]} overlap: {both} records of one have a {key} of the other; the latest wins"
                    )
    return told
