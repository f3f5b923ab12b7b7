"""From the files of one export to its raw tables, its ledger and its facts.

Belongs here: the order of work over one export's files. Does not belong here: reading a file (`reader`), a column's rule (`columns`).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.contracts.raw import RAW_TABLES
from sales_pipeline.engines.base import Engine
from sales_pipeline.errors import InputRejected
from sales_pipeline.ingest.columns import (
    Columns,
    Lookup,
    LookupTable,
    Rule,
    When,
    clean,
    evaluate,
    fold,
    missing_tokens,
    squash,
)
from sales_pipeline.ingest.columns import FirstOf as _FirstOf
from sales_pipeline.ingest.dialects.spec import (
    DialectSpec,
    TableSpec,
    attribute_positions,
    choose,
    hold_header,
    object_name,
    positions,
    used_positions,
)
from sales_pipeline.ingest.landing import TEXT_SUFFIXES, SourceFile
from sales_pipeline.ingest.params import SourceMapping
from sales_pipeline.ingest.reader import (
    FileReading,
    column_name,
    read_file,
    read_header,
    settle,
    staged_batches,
    strict_reader,
)
from sales_pipeline.ingest.recorded import newest_instant, recorded_positions
from sales_pipeline.ingest.text import Encoding
from sales_pipeline.lake.tables import PARQUET_OPTIONS

_FREE_TEXT_LENGTH = 80
PARQUET_WRITER = {name: value for name, value in PARQUET_OPTIONS.items() if name != "row_group_size"}


@dataclass
class ReadFile:
    """A file, how it is to be read, and what was read."""

    file: SourceFile
    specs: tuple[TableSpec, ...]
    is_lookup: bool
    reading: FileReading
    newest: datetime | None = None
    facts: dict[str, Any] = field(default_factory=dict)


def read_files(
    files: Iterable[SourceFile], mapping: SourceMapping, specs: DialectSpec, *, engine: Engine, work: Path
) -> list[ReadFile]:
    """Every file read once, in order of its digest; staged columns lie below `work`."""
    read: list[ReadFile] = []
    for number, file in enumerate(sorted(files, key=lambda file: (file.sha256, file.name))):
        folder = work / f"{number:05d}"
        folder.mkdir(parents=True)
        read.append(read_one(file, mapping, specs, engine, folder))
    return read


def read_one(file: SourceFile, mapping: SourceMapping, specs: DialectSpec, engine: Engine, folder: Path) -> ReadFile:
    """One file, read whole by the specs that fit it; InputRejected where it does not fit the mapping."""
    sheet = next((spec.sheet for spec in specs.tables if spec.sheet and spec.fits(file.base_name, ())), None)
    is_lookup = object_name(file.base_name) in specs.lookups
    encoding: Encoding | None
    try:
        encoding = settle(file.path, mapping.encoding, label=file.name)
        header = read_header(file.path, encoding, label=file.name, sheet=sheet)
    except InputRejected:
        is_text = file.path.suffix.lower() in TEXT_SUFFIXES
        if is_lookup or not is_text or any(spec.may_be(file.base_name) for spec in specs.tables):
            raise
        encoding, header = Encoding("latin-1", "only counted: the encoding is not known and the file is not used"), ()
    chosen = choose(specs, file.base_name, header)
    warnings = [warning for spec in chosen if header for warning in hold_header(spec, header, file.name)]
    reading = read_file(
        file.path,
        encoding,
        label=file.name,
        sheet=sheet,
        engine=strict_reader(engine),
        folder=folder,
        wanted=(lambda found: _wanted(chosen, found, is_lookup, specs)) if chosen or is_lookup else None,
    )
    one = ReadFile(file, chosen, is_lookup, reading)
    if chosen and (others := reading.facts.get("sheets_not_read")):
        warnings.append(
            f"the workbook has other sheets, which are not read: {', '.join(others)}; save each as a file of its own"
        )
    one.facts = {"warnings": sorted(set(warnings)), "header": list(reading.header)}
    if chosen and reading.facts["records"] > 20 and reading.facts["accepted"] * 2 < reading.facts["records"]:
        raise _unreadable(one)
    if reading.staged is not None:
        for spec in chosen:
            columns = Columns(positions(spec, reading.header), spec.is_squashed, {})
            newest = newest_instant(
                reading.staged,
                recorded_positions(spec, columns),
                date_order=mapping.date_order,
                zone_name=mapping.time_zone,
                engine=engine,
            )
            one.newest = max(filter(None, (one.newest, newest)), default=None)
    return one


def _wanted(chosen: Sequence[TableSpec], header: tuple[str, ...], is_lookup: bool, specs: DialectSpec) -> set[int]:
    if is_lookup:
        return set(range(len(header)))
    wanted: set[int] = set()
    for rule in _lookup_rules(rule for spec in specs.tables for rule in spec.columns.values()):
        if any(spec.table == rule.object for spec in chosen):
            names = {squash(name) for name in (*rule.key, *rule.value)}
            wanted |= {position for position, cell in enumerate(header) if squash(cell) in names}
    for spec in chosen:
        used = used_positions(spec, Columns(positions(spec, header), spec.is_squashed, {}))
        wanted |= used | set(attribute_positions(spec, header, used)[0].values())
    return wanted


def _unreadable(one: ReadFile) -> InputRejected:
    ledger = one.reading.ledger
    bad = ledger.filter(pc.equal(ledger.column("outcome"), "quarantined"))
    first = bad.slice(0, 1).to_pylist()
    return InputRejected(
        "most records of a file cannot be read",
        expected=f"records of {len(one.reading.header)} fields like the header, set apart by {one.reading.facts.get('delimiter')!r}",
        found=f"{bad.num_rows} of {ledger.num_rows} records are not; the first: {first[0]['reason'] if first else 'blank'}",
        where=f"{one.file.name}, line {first[0]['line'] if first else 1}",
        fix="see whether the delimiter or the header line is another than it seems, and export again",
    )


def write_raw(
    read: Sequence[ReadFile], mapping: SourceMapping, folder: Path, *, export_id: str, exported_at: datetime
) -> dict[str, list[Path]]:
    """The raw tables of the export, one part per file and table; paths by raw table name. Adds to the files' facts."""
    lookups = _lookups(read)
    missing = missing_tokens(mapping.missing)
    parts: dict[str, list[Path]] = {}
    for number, one in enumerate(read):
        for spec in one.specs:
            if one.reading.staged is None:
                continue
            columns = Columns(
                positions(spec, one.reading.header),
                spec.is_squashed,
                {rule: lookups.get(rule, _NO_LOOKUP) for rule in _lookup_rules(spec.columns.values())},
                exported_at.strftime("%Y-%m-%d %H:%M:%S"),
            )
            lineage = (one.file.sha256, export_id, exported_at)
            path = folder / f"raw_{spec.table}" / f"{number:05d}.parquet"
            path.parent.mkdir(exist_ok=True)
            _write_table(one, spec, columns, missing, lineage, path)
            parts.setdefault(f"raw_{spec.table}", []).append(path)
            used = used_positions(spec, columns)
            taken, left = attribute_positions(spec, one.reading.header, used)
            if taken:
                path = folder / "raw_opportunity_attributes" / f"{number:05d}.parquet"
                path.parent.mkdir(exist_ok=True)
                left |= _write_attributes(one, spec, columns, taken, missing, lineage, path)
                parts.setdefault("raw_opportunity_attributes", []).append(path)
            one.facts.setdefault("tables", []).append(spec.table)
            one.facts["mapped_columns"] = sorted(
                {column for column, rule in spec.columns.items() if _is_there(rule, columns)}
                | set(one.facts.get("mapped_columns", ()))
            )
            one.facts["attributes"] = sorted(set(taken) - set(left))
            one.facts["not_taken"] = dict(sorted(left.items()))
    return parts


def write_derived(parts: dict[str, list[Path]], specs: DialectSpec, folder: Path, engine: Engine) -> None:
    """Raw tables that the export holds only inside another one; adds them to `parts`."""
    for derived in specs.derived:
        name, source = f"raw_{derived.table}", f"raw_{derived.source}"
        if name not in parts and source in parts:
            path = folder / name / "derived.parquet"
            engine.run(derived.model, {derived.source: parts[source]}, path, contract=RAW_TABLES[name])
            parts[name] = [path]


def _is_there(rule: Rule, columns: Columns) -> bool:
    return bool(columns.used(rule)) or not getattr(rule, "headers", ())


def _write_table(
    one: ReadFile, spec: TableSpec, columns: Columns, missing: pa.Array, lineage: tuple[str, str, datetime], path: Path
) -> None:
    contract = RAW_TABLES[f"raw_{spec.table}"]
    schema = arrow_schema(contract)
    needed = sorted(used_positions(spec, columns))
    with pq.ParquetWriter(path, schema, **PARQUET_WRITER) as writer:
        for numbers, staged in staged_batches(one.reading, needed):
            count = len(numbers)
            values = {position: clean(column, missing) for position, column in staged.items()}
            arrays = [*_lineage(numbers, lineage, count)]
            for name in contract.column_names[4:]:
                rule = spec.columns.get(name)
                array = pa.nulls(count, pa.string()) if rule is None else evaluate(rule, columns, values, count)
                arrays.append(array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array)
            writer.write_batch(pa.record_batch(arrays, schema=schema))


def _lineage(numbers: pa.Array, lineage: tuple[str, str, datetime], count: int) -> Iterator[pa.Array]:
    sha256, export_id, exported_at = lineage
    yield pa.repeat(pa.scalar(sha256, pa.string()), count)
    yield numbers
    yield pa.repeat(pa.scalar(export_id, pa.string()), count)
    yield pa.repeat(pa.scalar(exported_at, pa.timestamp("us", "UTC")), count)


def _write_attributes(
    one: ReadFile,
    spec: TableSpec,
    columns: Columns,
    taken: dict[str, int],
    missing: pa.Array,
    lineage: tuple[str, str, datetime],
    path: Path,
) -> dict[str, str]:
    """The filled cells of the unmapped columns, column by column; returns the columns left out because they hold free text."""
    schema = arrow_schema(RAW_TABLES["raw_opportunity_attributes"])
    assert one.reading.staged is not None
    staged = pq.ParquetFile(one.reading.staged)
    rule = spec.columns["opportunity_id"]
    ids = pa.chunked_array(
        [
            pa.concat_arrays([evaluate(rule, columns, {p: clean(c, missing) for p, c in values.items()}, len(numbers))])
            for numbers, values in staged_batches(one.reading, columns.used(rule))
        ],
        pa.string(),
    ).combine_chunks()
    left: dict[str, str] = {}
    with pq.ParquetWriter(path, schema, **PARQUET_WRITER) as writer:
        for name, position in taken.items():
            values = clean(staged.read([column_name(position)]).column(0).combine_chunks(), missing)
            length = pc.mean(pc.utf8_length(values)).as_py()
            if length is not None and length > _FREE_TEXT_LENGTH:
                left[name] = "free text: long on average"
                continue
            filled = pc.is_valid(values)
            values = values.filter(filled)
            count = len(values)
            arrays = [*_lineage(one.reading.numbers.filter(filled), lineage, count)]
            arrays += [ids.filter(filled), pa.repeat(pa.scalar(name, pa.string()), count), values]
            if count:
                writer.write_batch(pa.record_batch(arrays, schema=schema))
    return left


_NO_LOOKUP: LookupTable = (pa.array([], pa.string()), pa.array([], pa.string()))


def _lookup_rules(rules: Iterable[Rule]) -> list[Lookup]:
    found: list[Lookup] = []
    for rule in rules:
        if isinstance(rule, Lookup):
            found.append(rule)
        elif isinstance(rule, _FirstOf):
            found += _lookup_rules(rule.rules)
        elif isinstance(rule, When):
            found += _lookup_rules((rule.rule,))
    return found


def _lookups(read: Sequence[ReadFile]) -> dict[Lookup, LookupTable]:
    """Keys and values of every lookup the files' specs need, from the files of the object or raw table named."""
    needed = {rule for one in read for spec in one.specs for rule in _lookup_rules(spec.columns.values())}
    tables: dict[Lookup, LookupTable] = {}
    for rule in needed:
        pieces = [piece for one in read if (piece := _lookup_piece(one, rule)) is not None]
        if pieces:
            found = pa.concat_tables(pieces).group_by("key").aggregate([("value", "min"), ("value", "max")])
            found = found.filter(pc.is_valid(found.column("key"))).sort_by("key")
            if rule.is_unique:
                found = found.filter(pc.equal(found.column("value_min"), found.column("value_max")))
            tables[rule] = (found.column("key").combine_chunks(), found.column("value_min").combine_chunks())
    return tables


def _lookup_piece(one: ReadFile, rule: Lookup) -> pa.Table | None:
    """Keys and values that one file holds for a lookup; None where it is of another object or lacks the columns."""
    is_meant = object_name(one.file.base_name) == rule.object or any(spec.table == rule.object for spec in one.specs)
    if not is_meant or one.reading.staged is None:
        return None
    # The words of a CRM's own dialect tell `id` from `.id`; elsewhere all spellings of a header are one.
    form = fold if one.specs and not all(spec.is_squashed for spec in one.specs) else squash
    places = {form(cell): position for position, cell in reversed(list(enumerate(one.reading.header)))}
    key = next((places[form(name)] for name in rule.key if form(name) in places), None)
    value = next((places[form(name)] for name in rule.value if form(name) in places), None)
    if key is None or value is None:
        return None
    staged = pq.read_table(one.reading.staged, columns=list({column_name(key), column_name(value)}))
    empty = missing_tokens(())
    return pa.table(
        {
            "key": clean(staged.column(column_name(key)).combine_chunks(), empty),
            "value": clean(staged.column(column_name(value)).combine_chunks(), empty),
        }
    )


def drop_staged(work: Path) -> None:
    """Remove the files read between; only raw tables and the ledger stay."""
    shutil.rmtree(work, ignore_errors=True)
