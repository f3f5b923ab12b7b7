"""Raw tables as ingest hands them over, from a few rows in a test: every row is an accepted record of one file per table and export."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from sales_pipeline.contracts.internal import ROW_LEDGER
from sales_pipeline.contracts.raw import RAW_TABLES
from sales_pipeline.domain.identifiers import digest_bytes
from sales_pipeline.lake.tables import TableRef, write_table

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class File:
    """What cleaning reads of an export's file."""

    name: str
    sha256: str
    bytes: int = 1
    member: str | None = None


@dataclass(frozen=True)
class Export:
    """What cleaning reads of an export."""

    export_id: str
    exported_at: datetime
    files: tuple[File, ...]


@dataclass(frozen=True)
class Ingested:
    """What cleaning reads of an ingested export."""

    export: Export
    tables: dict[str, tuple[TableRef, ...]]
    ledger: TableRef
    facts: dict[str, Any]


def ingested(
    folder: Path,
    tables: Mapping[str, Rows],
    *,
    exported_at: datetime = datetime(2026, 6, 30, 12, tzinfo=UTC),
    export_id: str = "e1",
    content: str | None = None,
    contents: Mapping[str, str] | None = None,
) -> Any:
    """One export: `tables` by raw table name without `raw_`; a row may lack columns. Attributes take `source_record` from the row.

    Exports of one `content` (default: their id) hold the very same files; `contents` names that of single tables.
    """
    content = content or export_id
    contents = contents or {}
    files: list[File] = []
    refs: dict[str, tuple[TableRef, ...]] = {}
    ledger: list[dict[str, Any]] = []
    opportunities = digest_bytes(f"{contents.get('opportunities', content)}/opportunities".encode())
    for name, rows in tables.items():
        contract = RAW_TABLES[f"raw_{name}"]
        digest = (
            opportunities
            if name == "opportunity_attributes"
            else digest_bytes(f"{contents.get(name, content)}/{name}".encode())
        )
        records = [
            {
                **dict.fromkeys(contract.column_names),
                "source_file": digest,
                "source_record": number,
                "export_id": export_id,
                **row,
            }
            for number, row in enumerate(rows, start=1)
        ]
        from sales_pipeline.contracts.derive import arrow_schema

        data = pa.Table.from_pylist(records, schema=arrow_schema(contract))
        path = folder / export_id / f"raw_{name}.parquet"
        refs[f"raw_{name}"] = (write_table(data, path, contract),)
        if name == "opportunity_attributes":
            continue
        files.append(File(f"{name}.csv", digest))
        for number in range(len(rows) + 1):
            ledger.append(
                {
                    **dict.fromkeys(ROW_LEDGER.column_names),
                    "source_file": digest,
                    "source_record": number,
                    "line": number + 1,
                    "file": f"{name}.csv",
                    "export_id": export_id,
                    "canonical_table": name,
                    "outcome": "accepted" if number else "structural",
                    "reason": "" if number else "header",
                }
            )
    from sales_pipeline.contracts.derive import arrow_schema

    ref = write_table(
        pa.Table.from_pylist(ledger, schema=arrow_schema(ROW_LEDGER)), folder / export_id / "ledger.parquet", ROW_LEDGER
    )
    return Ingested(Export(export_id, exported_at, tuple(files)), refs, ref, {})
