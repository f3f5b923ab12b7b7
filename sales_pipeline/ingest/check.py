"""Exports against the mapping, before any run: every problem at once, and nothing written.

Files are read whole, into a folder that is gone afterwards. Belongs here: what to tell. Does not belong here: how files are read.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sales_pipeline.engines.base import Engine
from sales_pipeline.engines.duckdb import DuckDBEngine
from sales_pipeline.errors import SalesPipelineError
from sales_pipeline.ingest.assemble import ReadFile, look_for_newest, read_one
from sales_pipeline.ingest.columns import Columns, FirstOf, Take, clean, missing_tokens
from sales_pipeline.ingest.dialects.spec import DialectSpec, TableSpec, positions, resolve
from sales_pipeline.ingest.exports import hold_export, state_instant
from sales_pipeline.ingest.landing import LandedExport, SourceFile, landed_exports, unpacked
from sales_pipeline.ingest.params import SourceMapping
from sales_pipeline.lake.tables import file_sha256

Level = Literal["ok", "warning", "error"]
_SHOWN = 12


@dataclass(frozen=True)
class Finding:
    """One thing the check found; `message` says, where it is a problem, what was expected and found, where, and what to do."""

    level: Level
    message: str


def check(landing: Path, mapping: SourceMapping) -> list[Finding]:
    """What a run would meet: unreadable or unfinished files, columns the mapping misses, stages it does not know, files it leaves out.

    Writes nothing to the lake. An `error` is what would make a run stop; a `warning` is what it would leave out or quarantine.
    """
    specs = resolve(mapping)
    try:
        exports = landed_exports(landing)
    except SalesPipelineError as error:
        return [Finding("error", str(error))]
    findings: list[Finding] = []
    with DuckDBEngine() as engine:
        for export in exports:
            with tempfile.TemporaryDirectory() as folder:
                findings += _check_export(export, mapping, specs, engine, Path(folder))
    return findings


def _check_export(
    export: LandedExport, mapping: SourceMapping, specs: DialectSpec, engine: Engine, folder: Path
) -> list[Finding]:
    findings: list[Finding] = []
    read: list[ReadFile] = []
    try:
        landed = [(path.name, path, file_sha256(path), path.stat().st_size) for path in export.files]
        files: list[SourceFile] = list(unpacked(landed, mapping.limits, folder / "unpacked"))
    except SalesPipelineError as error:
        return [Finding("error", str(error))]
    for number, file in enumerate(files):
        work = folder / f"{number:05d}"
        work.mkdir()
        try:
            one = read_one(file, mapping, specs, work)
            look_for_newest(one, mapping, engine)
        except SalesPipelineError as error:
            findings.append(Finding("error", str(error)))
            continue
        read.append(one)
        findings += _of_file(one)
    findings += _of_unmapped(read)
    if not any(finding.level == "error" for finding in findings):
        newest = max(filter(None, (one.newest for one in read)), default=None)
        try:
            hold_export(read, mapping, specs)
            state_instant(export.label, [path.name for path in export.files], mapping, newest)
        except SalesPipelineError as error:
            findings.append(Finding("error", str(error)))
    return [*findings, *_of_stages(read, mapping)]


def _of_file(one: ReadFile) -> list[Finding]:
    facts, ledger = one.reading.facts, one.reading.ledger
    if not one.specs:
        return []
    tables = " and ".join(spec.table for spec in one.specs)
    layout = ", ".join(str(facts[name]) for name in ("encoding", "lane") if name in facts)
    bad = ledger.quarantined()
    other = facts["records"] - facts["accepted"] - len(bad)
    counts = f"{facts['accepted']} records, {len(bad)} unreadable, {other} header, blank or closing lines"
    findings = [Finding("ok", f"{one.file.name}: {tables}: {counts} ({layout})")]
    findings += [Finding("warning", f"{one.file.name}: {warning}") for warning in one.facts["warnings"]]
    if bad:
        lines = ", ".join(f"line {row['line']}: {row['reason']}" for row in bad[:3])
        findings.append(Finding("warning", f"{one.file.name}: {len(bad)} records would be quarantined ({lines})"))
    if not facts["accepted"]:
        findings.append(Finding("warning", f"{one.file.name}: no record to read"))
    return findings


def _of_unmapped(read: Sequence[ReadFile]) -> list[Finding]:
    names = sorted(one.file.name for one in read if not one.specs and not one.is_lookup)
    if not names:
        return []
    shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    return [Finding("warning", f"{len(names)} files are not mapped to a table and would be left out: {shown}")]


def _of_stages(read: Sequence[ReadFile], mapping: SourceMapping) -> list[Finding]:
    """Stages the mapping does not name, where it names any; and an export that does not say at all what was won."""
    known = {stage.strip().casefold() for stages in mapping.stages.model_dump().values() for stage in stages}
    has_list = any(spec.table == "stages" and one.reading.cells is not None for one in read for spec in one.specs)
    findings: list[Finding] = []
    for one in read:
        for spec in one.specs:
            if spec.table != "opportunities" or one.reading.cells is None:
                continue
            columns = Columns(positions(spec, one.reading.header), spec.is_squashed, {})
            says = any(columns.used(spec.columns[name]) for name in ("is_won", "outcome") if name in spec.columns)
            if not known and not has_list and not says:
                findings.append(
                    Finding(
                        "error",
                        f"{one.file.name}: nothing says which opportunities were won\n"
                        "  expected: mapping.stages (won, lost, open), a list of stages, or mapping.outcome\n"
                        "  what to do: name the won and lost stages in the mapping",
                    )
                )
            unknown = sorted(value for value in _values(one, spec, columns) if value.strip().casefold() not in known)
            if known and unknown:
                findings.append(
                    Finding(
                        "warning",
                        f"{one.file.name}: stages the mapping does not name: {', '.join(unknown[:_SHOWN])}\n"
                        "  what to do: put them under mapping.stages; their records would be quarantined",
                    )
                )
    return findings


def _values(one: ReadFile, spec: TableSpec, columns: Columns) -> list[str]:
    rule = spec.columns.get("stage")
    used = columns.used(rule) if isinstance(rule, Take | FirstOf) else []
    if not used:
        return []
    values: list[str] = clean(one.reading.column(used[0]), missing_tokens(())).unique().drop_null().to_pylist()
    return values
