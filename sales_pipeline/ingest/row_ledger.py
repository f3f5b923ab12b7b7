"""The row ledger of an export, and what its files hold twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.contracts.internal import ROW_LEDGER
from sales_pipeline.contracts.raw import RAW_TABLES
from sales_pipeline.errors import LedgerUnbalanced
from sales_pipeline.ingest.assemble import ReadFile
from sales_pipeline.ingest.cells import BATCH
from sales_pipeline.ingest.dialects.spec import object_name
from sales_pipeline.ingest.file_ledger import ACCEPTED, Repeated
from sales_pipeline.lake.tables import write_pieces

NOT_MAPPED = "file is not mapped to a table"


def write_ledger(read: Sequence[ReadFile], path: Path, *, export_id: str) -> None:
    """One row per record of every file; LedgerUnbalanced where a file's outcomes do not add up to its records.

    Written one row group at a time: what is the same in every row of a file (its digest alone is 64 characters) is never spelt out for all of them.
    """
    schema = arrow_schema(ROW_LEDGER)

    def pieces() -> Iterator[pa.Table]:
        for one in read:
            _hold_count(one)
            yield from _final_rows(one, export_id, schema)

    write_pieces(pieces(), path, schema, is_encoded_by_look=True)


def _final_rows(one: ReadFile, export_id: str, schema: pa.Schema) -> Iterator[pa.Table]:
    """A file's ledger under the contract ROW_LEDGER, so many rows at a time."""
    usual = ACCEPTED if one.specs or one.is_lookup else ("structural", NOT_MAPPED, None)
    text = pa.string()
    constants = {
        "source_file": Repeated(one.file.sha256, text),
        "file": Repeated(one.file.name, text),
        "export_id": Repeated(export_id, text),
        "canonical_table": Repeated(one.specs[0].table if one.specs else None, text),
        "column": Repeated(None, text),
        "duplicate_of": Repeated(None, text),
    }
    for start in range(0, one.reading.ledger.count, BATCH):
        found = one.reading.ledger.rows(start, BATCH, usual)
        columns = {
            name: constants[name].column(found.num_rows) if name in constants else found.column(name)
            for name in schema.names
        }
        yield pa.table(columns, schema=schema)


def _hold_count(one: ReadFile) -> None:
    ledger = one.reading.ledger
    records, readable = one.reading.facts["records"], one.reading.facts["accepted"]
    if ledger.count != records or ledger.accepted != readable:
        raise LedgerUnbalanced(
            "the ledger of a file does not add up to its records",
            expected=f"{records} records, {readable} of them accepted",
            found=f"{ledger.count} in the ledger, {ledger.accepted} accepted",
            where=one.file.name,
        )


def overlaps(parts: dict[str, list[Path]], read: Sequence[ReadFile]) -> list[str]:
    """Warnings about files of one object that hold records of the same key: their records are united, and the latest wins in cleaning."""
    by_number = {f"{number:05d}": one for number, one in enumerate(read)}
    told: list[str] = []
    for name, paths in sorted(parts.items()):
        key = RAW_TABLES[name].column_names[3]
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
