"""Exports: kept in the lake for ever as they came, ingested once per mapping, and chosen by as-of.

`exports/files/<sha256>` holds every landed file once, `exports/<export_id>.json` says which of them make an export. What is read out
of them lies in `ingested/<key>/`, and depends on the export, the mapping and this package's version of reading.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import IO, Any

from sales_pipeline.domain.identifiers import digest_of
from sales_pipeline.domain.time import AsOf
from sales_pipeline.engines.base import Engine
from sales_pipeline.errors import ConfigurationError, InputRejected
from sales_pipeline.ingest.assemble import RawTables, ReadFile, drop_staged, read_files, write_derived
from sales_pipeline.ingest.dialects.spec import DialectSpec, resolve
from sales_pipeline.ingest.digests import Digests
from sales_pipeline.ingest.landing import LandedExport, SourceFile, landed_exports, open_archive, unpacked
from sales_pipeline.ingest.params import SourceMapping
from sales_pipeline.ingest.row_ledger import overlaps, write_ledger
from sales_pipeline.lake.durable import fsync_directory, fsync_file, write_bytes
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.tables import TableRef, table_ref

READING_VERSION = 7
"""Raised whenever the same bytes and mapping would be read differently."""

_LEDGER = "row_ledger.parquet"
_BLOCK = 1 << 18
_NAMED_DAY = re.compile(r"(20\d\d|19[7-9]\d)[-_.]?(0[1-9]|1[0-2])[-_.]?(0[1-9]|[12]\d|3[01])(?!\d)")


@dataclass(frozen=True)
class ExportFile:
    """A table file of an export: the landed file's name, its own sha256 and size, and its name inside the ZIP where it came in one."""

    name: str
    sha256: str
    bytes: int
    member: str | None = None


@dataclass(frozen=True)
class Export:
    """What a CRM wrote at one moment. `exported_at` lies strictly after everything recorded in it."""

    export_id: str
    exported_at: datetime
    files: tuple[ExportFile, ...]


@dataclass(frozen=True)
class IngestedExport:
    """An export as raw tables (by raw table name, in parts of one file each), its ledger and its facts.

    `facts["files"]` has, per file: records, accepted, encoding, delimiter, lane, header, tables, mapped_columns, attributes, not_taken, warnings,
    newest_recorded_at. `facts["warnings"]` speaks of the export as a whole.
    """

    export: Export
    tables: dict[str, tuple[TableRef, ...]]
    ledger: TableRef
    facts: dict[str, Any]


def collect(lake: Lake, landing: Path, mapping: SourceMapping, engine: Engine) -> list[IngestedExport]:
    """Keep the landing folder's exports, ingest what is new, and return every kept export of this source, oldest first.

    Raises InputRejected where an export is not complete, not safe or does not fit the mapping, LedgerUnbalanced where records are not
    all accounted for. Such an export is not kept, so that a mended one in its place is not refused for it. Files never change in the
    lake, and a second call with nothing new reads what the first one wrote.
    """
    specs = resolve(mapping)
    store = lake.exports / "files"
    digests = Digests(lake.exports / ".digests", lambda path: _keep(path, store))
    for landed in landed_exports(landing):
        entry = _entry(landed, mapping.source_system, digests)
        target = lake.exports / f"{entry['export_id']}.json"
        if not target.exists():
            _copy_files(store, landed, entry)
            _ingest(lake, entry, mapping, specs, engine)
            write_bytes(target, (json.dumps(entry, sort_keys=True, indent=1) + "\n").encode())
    digests.keep()
    ingested = [_ingest(lake, kept, mapping, specs, engine) for kept in _kept(lake, mapping.source_system)]
    return sorted(ingested, key=lambda one: (one.export.exported_at, one.export.export_id))


def visible(exports: Sequence[IngestedExport], as_of: AsOf) -> list[IngestedExport]:
    """The exports a run sees: those exported up to its as-of; where there is none, the earliest one (cut by what it recorded before)."""
    seen = [one for one in exports if one.export.exported_at <= as_of.instant]
    return seen or list(exports[:1])


def newest_recorded_instant(exports: Sequence[IngestedExport]) -> datetime:
    """The newest instant any of the exports speaks for: the newest recorded in it, or the end of an export whose instant the mapping states.

    A stated instant counts because it is the user's word that everything before it is in the export, also where its newest events
    (closings) are days of a kind that is not trusted as recorded. Where nothing is recorded or stated, the newest `exported_at`.
    """
    recorded = [
        datetime.fromisoformat(text) for one in exports if (text := one.facts.get("newest_recorded_at")) is not None
    ]
    ends = [one.export.exported_at - timedelta(microseconds=1) for one in exports]
    stated = [end for end, one in zip(ends, exports, strict=True) if one.facts.get("is_instant_stated")]
    return max([*recorded, *stated] or ends)


def stored_files(lake: Lake, one: IngestedExport, mapping: SourceMapping, folder: Path) -> Iterator[SourceFile]:
    """The table files of a kept export as they came, out of their archives; unpacked into `folder`, which must not be there yet."""
    entry = json.loads((lake.exports / f"{one.export.export_id}.json").read_text(encoding="utf-8"))
    return _stored(entry, lake.exports / "files", mapping, folder)


def _entry(landed: LandedExport, source_system: str, digests: Digests) -> dict[str, Any]:
    found = [(path.name, *digests.of(path)) for path in landed.files]
    files = [{"name": name, "sha256": sha256, "bytes": size} for name, sha256, size in found]
    export_id = digest_of(source_system, [[file["name"], file["sha256"]] for file in files])
    return {"export_id": export_id, "source_system": source_system, "label": landed.label, "files": files}


def _copy_files(store: Path, landed: LandedExport, entry: dict[str, Any]) -> None:
    """Put files into the store whose digests were remembered; InputRejected where the bytes of one are others by now."""
    for path, file in zip(landed.files, entry["files"], strict=True):
        if not (store / file["sha256"]).exists() and _keep(path, store) != file["sha256"]:
            raise _unfinished(path)


def _keep(path: Path, store: Path) -> str:
    """Copy a landed file into the store under the digest of the bytes that are copied, which it gives: they are read once for both.

    Raises InputRejected where the file changes meanwhile.
    """
    if path.suffix.lower() == ".zip":
        open_archive(path).close()
    store.mkdir(parents=True, exist_ok=True)
    temporary = store / f".{path.name}.tmp"
    digest, block = hashlib.sha256(), memoryview(bytearray(_BLOCK))
    with path.open("rb", buffering=0) as source, temporary.open("wb") as target:
        before = _stamp(source)
        while count := source.readinto(block):
            digest.update(block[:count])
            target.write(block[:count])
        is_same = _stamp(source) == before
    kept = store / digest.hexdigest()
    if kept.exists() or not is_same:
        temporary.unlink()
    else:
        fsync_file(temporary)
        temporary.replace(kept)
        fsync_directory(store)
    if not is_same:
        raise _unfinished(path)
    return kept.name


def _stamp(opened: IO[bytes]) -> tuple[int, int]:
    status = os.fstat(opened.fileno())
    return status.st_size, status.st_mtime_ns


def _unfinished(path: Path) -> InputRejected:
    return InputRejected("a file is still being written", where=str(path), fix="run again when the transfer is done")


def _kept(lake: Lake, source_system: str) -> list[dict[str, Any]]:
    entries = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(lake.exports.glob("*.json"))]
    return [entry for entry in entries if entry["source_system"] == source_system]


def _ingest(
    lake: Lake, kept: dict[str, Any], mapping: SourceMapping, specs: DialectSpec, engine: Engine
) -> IngestedExport:
    key = digest_of(READING_VERSION, kept["export_id"], mapping.model_dump(mode="json"))
    folder, facts = lake.step(
        "ingested", key, lambda target: _build(target, kept, lake.exports / "files", mapping, specs, engine)
    )
    export = Export(
        kept["export_id"],
        datetime.fromisoformat(facts["exported_at"]),
        tuple(ExportFile(**file) for file in facts["export_files"]),
    )
    tables = {name: tuple(_ref(name, folder, part, facts) for part in parts) for name, parts in facts["tables"].items()}
    return IngestedExport(export, tables, _ref("row_ledger", folder, _LEDGER, facts), facts)


def _ref(name: str, folder: Path, file: str, facts: dict[str, Any]) -> TableRef:
    """A table of an ingested export, as noted when it was written; one that an earlier version wrote without a note is read for its digest."""
    noted = facts.get("written", {}).get(file)
    return table_ref(name, folder / file) if noted is None else TableRef(name, str(folder / file), **noted)


def _build(
    folder: Path, kept: dict[str, Any], store: Path, mapping: SourceMapping, specs: DialectSpec, engine: Engine
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        work = Path(temporary)
        files, also_named = _distinct(_stored(kept, store, mapping, work / "unpacked"))
        read = read_files(files, mapping, specs, work=work / "staged")
        hold_export(read, mapping, specs)
        raw = RawTables(read, mapping, folder, export_id=kept["export_id"], engine=engine)
        newest = raw.write_what_is_known()
        names = [file["name"] for file in kept["files"]]
        exported_at, warnings = state_instant(kept["label"], names, mapping, newest)
        raw.write_the_rest(exported_at)
        parts = raw.parts
        write_derived(parts, specs, folder, engine)
        write_ledger(read, folder / _LEDGER, export_id=kept["export_id"])
        drop_staged(work / "staged")
    tables = {name: [str(path.relative_to(folder)) for path in paths] for name, paths in sorted(parts.items())}
    return {
        "exported_at": exported_at.isoformat(),
        "newest_recorded_at": newest.isoformat() if newest else None,
        "is_instant_stated": mapping.exported_at not in ("newest", "file_name"),
        "label": kept["label"],
        "export_files": [
            asdict(ExportFile(one.file.container or one.file.name, one.file.sha256, one.file.bytes, one.file.member))
            for one in read
        ],
        "tables": tables,
        "written": {file: _written(folder / file) for file in (*itertools.chain(*tables.values()), _LEDGER)},
        "files": {one.file.name: _file_facts(one) for one in read},
        "warnings": [*warnings, *also_named, *overlaps(parts, read)],
    }


def _written(path: Path) -> dict[str, Any]:
    ref = table_ref(path.stem, path)
    return {"rows": ref.rows, "sha256": ref.sha256}


def _file_facts(one: ReadFile) -> dict[str, Any]:
    newest = one.newest.isoformat() if one.newest else None
    return {**one.reading.facts, **one.facts, "sha256": one.file.sha256, "newest_recorded_at": newest}


def _stored(kept: dict[str, Any], store: Path, mapping: SourceMapping, folder: Path) -> Iterator[SourceFile]:
    files = [(file["name"], store / file["sha256"], file["sha256"], file["bytes"]) for file in kept["files"]]
    return unpacked(files, mapping.limits, folder)


def _distinct(files: Iterator[SourceFile]) -> tuple[list[SourceFile], list[str]]:
    """Files of equal bytes are one file under several names: it is read once, and the names are told."""
    first: dict[str, SourceFile] = {}
    told: list[str] = []
    for file in files:
        if file.sha256 in first:
            told.append(f"{file.name} has the same bytes as {first[file.sha256].name}: read once")
        else:
            first[file.sha256] = file
    return list(first.values()), told


def hold_export(read: Sequence[ReadFile], mapping: SourceMapping, specs: DialectSpec) -> None:
    """InputRejected where an export has no opportunities: the one table that must be there."""
    wanted = {"opportunities"}
    if not any(spec.table == "opportunities" for one in read for spec in one.specs):
        wanted |= {derived.source for derived in specs.derived if derived.table == "opportunities"}
    mapped = [one for one in read if any(spec.table in wanted for spec in one.specs)]
    delta = mapping.extract.get("opportunities") == "delta"
    if mapped and (delta or any(one.reading.facts["accepted"] for one in mapped)):
        return
    if not mapped:
        raise InputRejected(
            "the export has no file with opportunities",
            expected=", ".join(glob for part in mapping.tables.get("opportunities", ()) for glob in part.files)
            or f"a file of opportunities as {mapping.dialect} writes it",
            found=", ".join(sorted(one.file.base_name for one in read)[:30]) or "no table file",
            where=mapping.source_system,
            fix="name the file under mapping.tables.opportunities.files, or choose another dialect",
        )
    records = sum(one.reading.facts["records"] for one in mapped)
    raise InputRejected(
        "the file of opportunities holds none",
        expected="a header and at least one record",
        found="an empty file" if not records else f"{records} records, none of them readable data (header only?)",
        where=", ".join(one.file.name for one in mapped),
        fix="export again; an empty export would remove every opportunity",
    )


def state_instant(
    label: str, names: Sequence[str], mapping: SourceMapping, newest: datetime | None
) -> tuple[datetime, list[str]]:
    """When an export of these file names counts as exported, and warnings; InputRejected where nothing says it.

    `newest` is the newest recorded instant. The result lies after it in any case.
    """
    just_after = newest + timedelta(microseconds=1) if newest else None
    if mapping.exported_at == "newest":
        if just_after is None:
            raise InputRejected(
                "the export does not say when it was written",
                expected="a mapped column that records instants (created, modified, changed, logged)",
                found="none with a readable instant",
                where=", ".join(names[:10]),
                fix="set mapping.exported_at to `file_name` or to an instant such as 2026-06-30T00:00:00Z",
            )
        return just_after, []
    if mapping.exported_at == "file_name":
        stated = _named_instant(label, names, mapping)
    else:
        try:
            stated = datetime.fromisoformat(mapping.exported_at)
        except ValueError as error:
            raise ConfigurationError(
                "exported_at cannot be read",
                expected="newest, file_name or an ISO instant",
                found=mapping.exported_at,
                where="mapping.exported_at",
            ) from error
        stated = (stated if stated.tzinfo else stated.replace(tzinfo=UTC)).astimezone(UTC)
    if just_after is not None and just_after > stated:
        return just_after, [
            f"the export records {newest}, later than its stated instant {stated}: it counts as exported just after that"
        ]
    return stated, []


def _named_instant(label: str, names: Sequence[str], mapping: SourceMapping) -> datetime:
    """The end of the latest day named by the files or their folder, in the mapping's zone."""
    days: list[date] = []
    for name in (label, *names):
        for match in _NAMED_DAY.finditer(name):
            try:
                days.append(date(int(match[1]), int(match[2]), int(match[3])))
            except ValueError:
                continue
    if not days:
        raise InputRejected(
            "no file name says when the export was written",
            expected="a day such as 2026-06-30 or 20260630 in a name",
            found=", ".join(names[:10]),
            where=label,
            fix="rename the file, or set mapping.exported_at to `newest` or an instant",
        )
    return AsOf.end_of_day(max(days), mapping.time_zone).instant
