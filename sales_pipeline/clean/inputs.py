"""The raw tables of the visible exports as inputs of SQL models.

Belongs here: which parts of which export are read, and what is empty. Does not belong here: what cleaning does with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
from sqlglot import exp

from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.contracts.raw import RAW_TABLES
from sales_pipeline.engines.base import Engine, Source
from sales_pipeline.lake.tables import TableRef, only_value

if TYPE_CHECKING:
    from sales_pipeline.ingest.exports import IngestedExport

_RAW_FILES = Path(__file__).parent / "sql" / "raw_files.sql"
_INSTANT = pa.timestamp("us", tz="UTC")
_TEXT, _AMOUNT = pa.string(), pa.decimal128(18, 2)
_OF_A_CHANGE = {
    "opportunity_id": _TEXT, "changed_at": _INSTANT, "change_id": _TEXT, "source_record": pa.int64(), "problem": _TEXT, "version": pa.int64(),
}  # fmt: skip
NO_HISTORY: dict[str, pa.Schema] = {
    "state_history": pa.schema({
        **_OF_A_CHANGE, "stage": _TEXT, "state": _TEXT, "amount": _AMOUNT, "crm_close_date": pa.date32(), "crm_probability": pa.float64(), "owner_id": _TEXT,
    }),
    "field_history": pa.schema({
        **_OF_A_CHANGE, "field": _TEXT, "attribute": _TEXT, "old_text": _TEXT, "new_text": _TEXT,
        **{f"{age}_{name}": kind for age in ("old", "new") for name, kind in (
            ("stage", _TEXT), ("state", _TEXT), ("amount", _AMOUNT), ("close_date", pa.date32()), ("probability", pa.float64()), ("owner_id", _TEXT),
        )},
    }),
}  # fmt: skip
"""What models read of a staged history, which stands in its place where there is none."""


@dataclass(frozen=True)
class RawInputs:
    """Inputs by raw table name (all of RAW_TABLES, empty ones in memory), and what is known about files.

    `sightings`: source_file, exported_at: the last export each file was part of. `files`: source_file, file.
    `ledger`: what ingest said of every record, by export.
    `holding`: raw table name to the instants of the exports that hold it, oldest first.
    `held`: raw tables of which an export holds records, also where `tables` is only a part of them. `file_of`: by part its file; None where it has several.
    """

    tables: dict[str, Source]
    rows: dict[str, int]
    sightings: pa.Table
    files: pa.Table
    ledger: list[Path]
    holding: dict[str, tuple[datetime, ...]]
    held: frozenset[str]
    file_of: dict[Path, str | None]

    def has(self, name: str) -> bool:
        """Whether any export holds records of that raw table."""
        return name in self.held

    def has_history(self) -> bool:
        """Whether any export holds a history of opportunities."""
        return self.has("raw_state_history") or self.has("raw_field_history")


def raw_inputs(exports: Sequence[IngestedExport]) -> RawInputs:
    """Collect the parts; a file that several exports share is read once and counts as seen in the last of them.

    Parts name their file in `source_file`; those of several files (tables derived from others) are told apart by their bytes.
    """
    exports = sorted(exports, key=lambda export: export.export.exported_at)
    tables: dict[str, Source] = {}
    rows: dict[str, int] = {}
    holding: dict[str, tuple[datetime, ...]] = {}
    file_of: dict[Path, str | None] = {}
    for name, contract in RAW_TABLES.items():
        parts: dict[str, TableRef] = {}
        for part in (part for export in exports for part in export.tables.get(name, ()) if part.rows):
            only = only_value(part, "source_file")
            file_of[Path(part.path)] = only
            parts[only or part.sha256] = part
        holding[name] = tuple(sorted({e.export.exported_at for e in exports if e.tables.get(name)}))
        rows[name] = sum(part.rows for part in parts.values())
        tables[name] = [Path(part.path) for part in parts.values()] or arrow_schema(contract).empty_table()
    last_seen: dict[str, datetime] = {}
    names: dict[str, str] = {}
    for export in exports:
        for file in export.export.files:
            last_seen[file.sha256] = max(
                export.export.exported_at, last_seen.get(file.sha256, export.export.exported_at)
            )
            names.setdefault(file.sha256, file.member or file.name)
    digests = sorted(last_seen)
    return RawInputs(
        tables=tables,
        rows=rows,
        sightings=pa.table(
            {
                "source_file": pa.array(digests, pa.string()),
                "exported_at": pa.array([last_seen[d] for d in digests], _INSTANT),
            }
        ),
        files=pa.table(
            {"source_file": pa.array(digests, pa.string()), "file": pa.array([names[d] for d in digests], pa.string())}
        ),
        ledger=[Path(export.ledger.path) for export in exports],
        holding=holding,
        held=frozenset(name for name, count in rows.items() if count),
        file_of=file_of,
    )


def feed_several_tables(raw: RawInputs, engine: Engine) -> bool:
    """Whether records of one file went into several raw tables."""
    seen: set[str] = set()
    for name, source in raw.tables.items():
        if raw.has(name) and name != "raw_opportunity_attributes":
            files = set(engine.query(_RAW_FILES, {"raw": source}).column("source_file").to_pylist())
            if seen & files:
                return True
            seen |= files
    return False


def attributes_of(raw: RawInputs, engine: Engine) -> list[str]:
    """Names of the unmapped columns, in order."""
    query = exp.select("attribute").distinct().from_("raw")
    found = engine.query(query, {"raw": raw.tables["raw_opportunity_attributes"]})
    return sorted(found.column("attribute").to_pylist())
