"""Writes a simulated world as a Salesforce weekly Data Export, with the truth beside it.

The files follow what the vendor's export looks like: `WE_<org id>_<n>.ZIP` with `<Object>.csv`, every value double-quoted, API names as
header, GMT datetimes `YYYY-MM-DD HH:MM:SS`, booleans 0/1; an object may continue in the next ZIP. Nothing in the files depends on
when or where they are written.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from sales_pipeline.lake.tables import write_table
from sales_pipeline.simulation import salesforce_activities as activities
from sales_pipeline.simulation import salesforce_cases as service
from sales_pipeline.simulation import salesforce_opportunities as opportunities
from sales_pipeline.simulation import salesforce_quotas as targets
from sales_pipeline.simulation import salesforce_records as records
from sales_pipeline.simulation.dirt import RawLine, Soiler
from sales_pipeline.simulation.planted import plant, planted_table
from sales_pipeline.simulation.truth import truth_tables
from sales_pipeline.simulation.world import World

ORGANIZATION_ID = "00D000000000001AAA"
_FIXED_TIME = (2000, 1, 1, 0, 0, 0)
_CSV = pacsv.WriteOptions(include_header=False, quoting_style="all_valid")


def write_export(world: World, out: Path, *, rows_per_zip: int = 500_000) -> None:
    """Write `out/export/WE_…_<n>.ZIP` and `out/truth/*.parquet` (see `truth.truth_tables`, and `dirt.parquet` with one row per
    piece of dirt: file, key, kind, column, original, written; and `planted.parquet` where columns are planted: column, kind, is_leak).

    A new ZIP starts every `rows_per_zip` records, in the middle of an object if need be. Same world, same bytes.
    An earlier simulated export in `out` is replaced; a ZIP appears under its name only when it is whole. Raises OSError where
    `out` cannot be written.
    """
    tables, soiler = export_tables(world)
    export, truth = out / "export", out / "truth"
    export.mkdir(parents=True, exist_ok=True)
    for earlier in export.glob(f"WE_{ORGANIZATION_ID}_*.ZIP"):
        earlier.unlink()
    for number, parts in enumerate(_zip_parts(tables, rows_per_zip), start=1):
        partial = export / f".{number}.part"
        _write_zip(partial, parts, tables, soiler.raw_lines)
        partial.replace(export / f"WE_{ORGANIZATION_ID}_{number}.ZIP")
    kept = {**truth_tables(world), "dirt": soiler.log.to_table()}
    if world.params.planted_leaks or world.params.look_alikes:
        kept["planted"] = planted_table(world.params)
    for name, table in kept.items():
        write_table(table, truth / f"{name}.parquet")


def export_tables(world: World) -> tuple[dict[str, pa.Table], Soiler]:
    """The export's tables (file name -> text columns, dirt applied), and the soiler with its log and raw lines."""
    streams = [
        np.random.Generator(np.random.PCG64(child)) for child in np.random.SeedSequence((world.params.seed, 1)).spawn(7)
    ]
    keys = records.Keys(world)
    rows = activities.draw_activity_rows(world, streams[0])
    clean = {
        "Account.csv": records.accounts(world, keys),
        "Contact.csv": records.contacts(world, keys),
        "User.csv": records.users(world, keys),
        "Product2.csv": records.products(world, keys),
        "OpportunityStage.csv": opportunities.stages(),
        "Opportunity.csv": opportunities.opportunities(
            world, keys, activities.last_activity_days(world, rows), streams[1]
        ),
        "OpportunityLineItem.csv": opportunities.line_items(world, keys, streams[2]),
        "OpportunityHistory.csv": opportunities.opportunity_history(world, keys),
        "OpportunityFieldHistory.csv": opportunities.opportunity_field_history(world, keys),
        "Lead.csv": records.leads(world, keys, streams[3]),
        "Event.csv": activities.events(world, keys, rows, streams[4]),
        "Task.csv": activities.tasks(world, keys, rows, streams[5]),
        "Case.csv": service.cases(world, keys),
        "ForecastingQuota.csv": targets.quotas(world, keys),
    }
    if world.params.planted_leaks or world.params.look_alikes:
        clean |= plant(world, keys, clean["Opportunity.csv"], clean["OpportunityFieldHistory.csv"])
    soiler = Soiler(clean, world.params.dirt, streams[6])
    soiler.soil()
    return soiler.tables, soiler


def _zip_parts(tables: dict[str, pa.Table], rows_per_zip: int) -> Iterator[list[tuple[str, int, int]]]:
    """Lists of (file, first record, end record), one list per ZIP."""
    parts: list[tuple[str, int, int]] = []
    room = rows_per_zip
    for file, table in tables.items():
        start = 0
        while True:
            end = min(table.num_rows, start + room)
            parts.append((file, start, end))
            room -= end - start
            if end == table.num_rows:
                break
            yield parts
            parts, room, start = [], rows_per_zip, end
    yield parts


def _write_zip(
    path: Path, parts: list[tuple[str, int, int]], tables: dict[str, pa.Table], raw_lines: dict[str, list[RawLine]]
) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=4) as archive:
        for file, start, end in parts:
            entry = zipfile.ZipInfo(file, _FIXED_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            entry.create_system = 3
            with archive.open(entry, "w", force_zip64=True) as stream:
                for block in _blocks(tables[file], start, end, raw_lines.get(file, [])):
                    stream.write(block)


def _blocks(table: pa.Table, start: int, end: int, raw_lines: list[RawLine]) -> Iterator[bytes]:
    """The bytes of one CSV file: header, records, and raw lines before the record at their position (the last: at the end)."""
    yield (",".join(f'"{name}"' for name in table.column_names) + "\n").encode()
    at = start
    for line in raw_lines:
        if start < line.position <= end:
            yield _csv_bytes(table.slice(at, line.position - at))
            yield (line.text + "\n").encode()
            at = line.position
    yield _csv_bytes(table.slice(at, end - at))


def _csv_bytes(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pacsv.write_csv(table, sink, _CSV)
    return bytes(sink.getvalue())
