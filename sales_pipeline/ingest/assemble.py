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

from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.contracts.raw import RAW_TABLES
from sales_pipeline.engines.base import Engine
from sales_pipeline.errors import InputRejected
from sales_pipeline.ingest.columns import (
    Columns,
    Lookup,
    LookupTable,
    Past,
    Rule,
    When,
    clean,
    evaluate,
    fold,
    missing_tokens,
    squash,
)
from sales_pipeline.ingest.columns import FirstOf as _FirstOf
from sales_pipeline.ingest.columns import parts as rule_parts
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
from sales_pipeline.ingest.file_ledger import Repeated
from sales_pipeline.ingest.landing import TEXT_SUFFIXES, SourceFile
from sales_pipeline.ingest.params import SourceMapping
from sales_pipeline.ingest.reader import FileReading, read_file, read_header, settle
from sales_pipeline.ingest.recorded import NewestInstant, recorded_positions
from sales_pipeline.ingest.text import Encoding
from sales_pipeline.lake.tables import write_pieces

_FREE_TEXT_LENGTH = 80


@dataclass
class ReadFile:
    """A file, how it is to be read, and what was read. `newest` is the newest instant it recorded, once its cells were read; None where it has none."""

    file: SourceFile
    specs: tuple[TableSpec, ...]
    is_lookup: bool
    reading: FileReading
    newest: datetime | None = None
    facts: dict[str, Any] = field(default_factory=dict)


def read_files(
    files: Iterable[SourceFile], mapping: SourceMapping, specs: DialectSpec, *, work: Path
) -> list[ReadFile]:
    """The records of every file found, in order of its digest; what must lie there as long as cells are read lies below `work`."""
    read: list[ReadFile] = []
    for number, file in enumerate(sorted(files, key=lambda file: (file.sha256, file.name))):
        folder = work / f"{number:05d}"
        folder.mkdir(parents=True)
        read.append(read_one(file, mapping, specs, folder))
    return read


def read_one(file: SourceFile, mapping: SourceMapping, specs: DialectSpec, folder: Path) -> ReadFile:
    """The records of one file and the specs that fit it; InputRejected where it does not fit the mapping."""
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
        folder=folder,
        is_used=bool(chosen) or is_lookup,
    )
    one = ReadFile(file, chosen, is_lookup, reading)
    if chosen and (others := reading.facts.get("sheets_not_read")):
        warnings.append(
            f"the workbook has other sheets, which are not read: {', '.join(others)}; save each as a file of its own"
        )
    one.facts = {"warnings": sorted(set(warnings)), "header": list(reading.header)}
    if chosen and reading.facts["records"] > 20 and reading.facts["accepted"] * 2 < reading.facts["records"]:
        raise _unreadable(one)
    return one


def look_for_newest(one: ReadFile, mapping: SourceMapping, engine: Engine) -> None:
    """Note the newest instant a file recorded, and nothing else of it. Reads its cells to the end in any case.

    Raises as reading them does: InputRejected, LedgerUnbalanced.
    """
    recorded: set[int] = set()
    for spec in one.specs:
        recorded.update(recorded_positions(spec, _columns(one, spec)))
    newest = _newest(mapping, engine)
    for _, found in one.reading.batches(sorted(recorded)):
        for position, texts in found.items():
            newest.add(position, texts)
    one.newest = newest.found(one.reading)


def _newest(mapping: SourceMapping, engine: Engine) -> NewestInstant:
    return NewestInstant(date_order=mapping.date_order, zone_name=mapping.time_zone, engine=engine)


def _columns(one: ReadFile, spec: TableSpec) -> Columns:
    return Columns(positions(spec, one.reading.header), spec.is_squashed, {})


def _unreadable(one: ReadFile) -> InputRejected:
    ledger = one.reading.ledger
    bad = ledger.quarantined()
    return InputRejected(
        "most records of a file cannot be read",
        expected=f"records of {len(one.reading.header)} fields like the header, set apart by {one.reading.facts.get('delimiter')!r}",
        found=f"{len(bad)} of {ledger.count} records are not; the first: {bad[0]['reason'] if bad else 'blank'}",
        where=f"{one.file.name}, line {bad[0]['line'] if bad else 1}",
        fix="see whether the delimiter or the header line is another than it seems, and export again",
    )


class RawTables:
    """The raw tables of an export, one part per file and table, as they are written. Adds to the files' facts.

    Each file is read once: what is written of it does not depend on when the export was written, and its newest instant is noted on the way. Where a
    column does depend on it (`Past`), only the newest instant is looked for at first. `parts` are the paths by raw table name.

    Raises as reading the cells does: InputRejected, LedgerUnbalanced.
    """

    def __init__(
        self, read: Sequence[ReadFile], mapping: SourceMapping, folder: Path, *, export_id: str, engine: Engine
    ) -> None:
        self.parts: dict[str, list[Path]] = {}
        self._read = read
        self._mapping = mapping
        self._folder = folder
        self._export_id = export_id
        self._engine = engine
        self._lookups = _lookups(read)
        self._missing = missing_tokens(mapping.missing)
        self._waiting: list[tuple[int, ReadFile]] = []

    def write_what_is_known(self) -> datetime | None:
        """Every file whose columns can be told; returns the newest instant that any file recorded, None where none did."""
        for number, one in enumerate(self._read):
            if any(_asks_for_instant(spec, _columns(one, spec)) for spec in one.specs):
                self._waiting.append((number, one))
                look_for_newest(one, self._mapping, self._engine)
            elif one.specs:
                self._write(number, one, None)
            elif one.is_lookup:
                look_for_newest(one, self._mapping, self._engine)
        return max(filter(None, (one.newest for one in self._read)), default=None)

    def write_the_rest(self, exported_at: datetime) -> None:
        """The files whose columns ask when the export was written."""
        for number, one in self._waiting:
            self._write(number, one, exported_at)
        for paths in self.parts.values():
            paths.sort()

    def _write(self, number: int, one: ReadFile, exported_at: datetime | None) -> None:
        newest = _newest(self._mapping, self._engine)
        lineage = _Lineage(one.file.sha256, self._export_id)
        for spec in one.specs if one.reading.cells is not None else ():
            columns = Columns(
                positions(spec, one.reading.header),
                spec.is_squashed,
                {rule: self._lookups.get(rule, _NO_LOOKUP) for rule in _lookup_rules(spec.columns.values())},
                exported_at.strftime("%Y-%m-%d %H:%M:%S") if exported_at else "",
            )
            taken, left = attribute_positions(spec, one.reading.header, used_positions(spec, columns))
            texts = _FreeTexts(taken)
            _write_table(one, spec, columns, self._missing, lineage, newest, texts, self._part(number, spec.table))
            if taken:
                left |= texts.left()
                kept = {name: position for name, position in taken.items() if name not in left}
                path = self._part(number, "opportunity_attributes")
                _write_attributes(one, spec, columns, kept, self._missing, lineage, path)
            one.facts.setdefault("tables", []).append(spec.table)
            one.facts["mapped_columns"] = sorted(
                {column for column, rule in spec.columns.items() if _is_there(rule, columns)}
                | set(one.facts.get("mapped_columns", ()))
            )
            one.facts["attributes"] = sorted(set(taken) - set(left))
            one.facts["not_taken"] = dict(sorted(left.items()))
        one.newest = newest.found(one.reading)

    def _part(self, number: int, table: str) -> Path:
        path = self._folder / f"raw_{table}" / f"{number:05d}.parquet"
        path.parent.mkdir(exist_ok=True)
        self.parts.setdefault(f"raw_{table}", []).append(path)
        return path


def _asks_for_instant(spec: TableSpec, columns: Columns) -> bool:
    return any(
        isinstance(part, Past) and bool(columns.used(part))
        for rule in spec.columns.values()
        for part in rule_parts(rule)
    )


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


class _Lineage:
    """The first columns of every raw table."""

    def __init__(self, sha256: str, export_id: str) -> None:
        self._file = Repeated(sha256, pa.string())
        self._export = Repeated(export_id, pa.string())

    def of(self, numbers: pa.Array) -> tuple[pa.Array, ...]:
        """For the records of these numbers."""
        count = len(numbers)
        return self._file.column(count), numbers, self._export.column(count)


def _write_table(
    one: ReadFile,
    spec: TableSpec,
    columns: Columns,
    missing: pa.Array,
    lineage: _Lineage,
    newest: NewestInstant,
    texts: _FreeTexts,
    path: Path,
) -> None:
    """The table of a file, in one reading of its cells, which notes the newest instant and how long the texts of unmapped columns are."""
    contract = RAW_TABLES[f"raw_{spec.table}"]
    schema = arrow_schema(contract)
    recorded = recorded_positions(spec, columns)

    def pieces() -> Iterator[pa.Table]:
        for numbers, found in one.reading.batches(sorted({*used_positions(spec, columns), *texts.positions})):
            count = len(numbers)
            for position in recorded:
                newest.add(position, found[position])
            values = {position: clean(column, missing) for position, column in found.items()}
            texts.add(values)
            arrays = [*lineage.of(numbers)]
            for name in contract.column_names[3:]:
                rule = spec.columns.get(name)
                arrays.append(pa.nulls(count, pa.string()) if rule is None else evaluate(rule, columns, values, count))
            yield pa.Table.from_arrays(arrays, schema=schema)

    write_pieces(pieces(), path, schema, is_encoded_by_look=True)


def _write_attributes(
    one: ReadFile,
    spec: TableSpec,
    columns: Columns,
    kept: dict[str, int],
    missing: pa.Array,
    lineage: _Lineage,
    path: Path,
) -> None:
    """The filled cells of these unmapped columns."""
    schema = arrow_schema(RAW_TABLES["raw_opportunity_attributes"])
    rule = spec.columns["opportunity_id"]

    def pieces() -> Iterator[pa.Table]:
        for numbers, found in one.reading.batches(sorted({*kept.values(), *columns.used(rule)})) if kept else ():
            values = {position: clean(column, missing) for position, column in found.items()}
            ids = evaluate(rule, columns, values, len(numbers))
            for name, position in kept.items():
                filled = pc.is_valid(values[position])
                texts = values[position].filter(filled)
                names = pa.repeat(pa.scalar(name, pa.string()), len(texts))
                arrays = [*lineage.of(numbers.filter(filled)), ids.filter(filled), names, texts]
                yield pa.Table.from_arrays(arrays, schema=schema)

    write_pieces(pieces(), path, schema, is_encoded_by_look=True)


class _FreeTexts:
    """Which of some columns, by their names, hold free text: those whose filled cells are long on average."""

    def __init__(self, taken: dict[str, int]) -> None:
        self._taken = taken
        self._letters, self._filled = dict.fromkeys(taken, 0), dict.fromkeys(taken, 0)

    @property
    def positions(self) -> Iterable[int]:
        """Where the columns stand."""
        return self._taken.values()

    def add(self, values: dict[int, pa.Array]) -> None:
        """More cells, cleaned, by position."""
        for name, position in self._taken.items():
            lengths = pc.utf8_length(values[position])
            self._letters[name] += pc.sum(lengths, min_count=0).as_py()
            self._filled[name] += len(lengths) - lengths.null_count

    def left(self) -> dict[str, str]:
        """The columns that do, with the reason why they are left out."""
        is_long = (name for name in self._taken if self._letters[name] > _FREE_TEXT_LENGTH * self._filled[name])
        return dict.fromkeys(is_long, "free text: long on average")


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
    if not is_meant or one.reading.cells is None:
        return None
    # The words of a CRM's own dialect tell `id` from `.id`; elsewhere all spellings of a header are one.
    form = fold if one.specs and not all(spec.is_squashed for spec in one.specs) else squash
    places = {form(cell): position for position, cell in reversed(list(enumerate(one.reading.header)))}
    key = next((places[form(name)] for name in rule.key if form(name) in places), None)
    value = next((places[form(name)] for name in rule.value if form(name) in places), None)
    if key is None or value is None:
        return None
    empty = missing_tokens(())
    return pa.table({"key": clean(one.reading.column(key), empty), "value": clean(one.reading.column(value), empty)})


def drop_staged(work: Path) -> None:
    """Remove the files read between; only raw tables and the ledger stay."""
    shutil.rmtree(work, ignore_errors=True)
