"""A first mapping from the files themselves: recognised dialect, columns, outcome, dates, each guess with its reason.

What cannot be answered from the files is asked as a question. Nothing is decided from the clock or from outside the files.
Belongs here: recognising a CRM, and rendering as YAML. Does not belong here: how a plain table is guessed
(`guess_table`), what a recognised CRM's files leave open (`guess_crm`).
"""

from __future__ import annotations

import io
import os
import re
import tempfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from sales_pipeline.errors import InputRejected
from sales_pipeline.ingest.columns import fold
from sales_pipeline.ingest.dialects.spec import DialectSpec, TableSpec, built_in, choose
from sales_pipeline.ingest.guess_crm import guess_details
from sales_pipeline.ingest.guess_table import GuessedMapping, guess_after_closings, guess_tables
from sales_pipeline.ingest.landing import landed_exports, unpacked
from sales_pipeline.ingest.params import SourceMapping
from sales_pipeline.ingest.profile import FileProfile, profile_file
from sales_pipeline.lake.tables import file_sha256

_CRM = ("salesforce", "hubspot", "pipedrive", "dynamics", "odoo", "tryton", "chinese")


def guess_mapping(landing: Path) -> GuessedMapping:
    """The mapping the newest export in `landing` suggests; InputRejected where it has no table to start from."""
    export = landed_exports(landing)[-1]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        landed = [(path.name, path, file_sha256(path), path.stat().st_size) for path in export.files]
        files = [
            profile_file(file, folder / f"{number:05d}")
            for number, file in enumerate(unpacked(landed, SourceMapping().limits, folder / "unpacked"))
        ]
    files = [file for file in files if file.header]
    if not files:
        raise InputRejected("no file with a header was found", where=str(landing), fix="put the CRM's export there")
    dialect = _dialect(files)
    guessed = GuessedMapping(dialect, {"dialect": dialect})
    if dialect == "table":
        guess_tables(files, guessed)
    else:
        _guess_crm(files, dialect, guessed)
    _guess_encoding(files, guessed)
    _guess_instant(export.label, [path.name for path in export.files], guessed)
    if dialect == "table":
        guess_after_closings(files, guessed)
    return guessed


def render(guessed: GuessedMapping, exports: Path, output: Path) -> str:
    """The whole configuration as YAML, to be written to `output`: exports relative to it, a comment on every guess, `# QUESTION:` lines."""
    from ruamel.yaml import YAML
    from ruamel.yaml.comments import CommentedMap, CommentedSeq

    def commented(value: Any, path: str) -> Any:
        if isinstance(value, dict):
            mapping = CommentedMap()
            for key, part in value.items():
                place = f"{path}.{key}" if path else str(key)
                mapping[key] = commented(part, place)
            for key in value:
                place = f"{path}.{key}" if path else str(key)
                notes = [guessed.comments[place]] if place in guessed.comments else []
                notes += [f"QUESTION: {guessed.asked[place]}"] if place in guessed.asked else []
                if notes:
                    mapping.yaml_set_comment_before_after_key(
                        key, before="\n".join(notes), indent=2 * (place.count(".") + 1)
                    )
            return mapping
        if isinstance(value, list | tuple):
            sequence = CommentedSeq(commented(part, path) for part in value)
            if all(isinstance(part, str) for part in value):
                sequence.fa.set_flow_style()
            return sequence
        return value

    where = os.path.relpath(exports.resolve(), output.resolve().parent)
    top = CommentedMap(
        {
            "source_system": "crm",
            "exports": Path(where).as_posix(),
            "lake": "data/lake",
            "time_zone": "UTC",
            "start_date": date(2000, 1, 1),
        }
    )
    top.yaml_set_comment_before_after_key("start_date", before="no day before this one can be run")
    top.yaml_set_comment_before_after_key(
        "source_system", before="a name for this CRM; it stands in every published table"
    )
    top.yaml_set_comment_before_after_key(
        "time_zone", before="QUESTION: in which zone are times without an offset written, and days counted?"
    )
    top["mapping"] = commented(guessed.mapping, "")
    loose = [question for path, question in guessed.asked.items() if not _stands(guessed.mapping, path)]
    if loose:
        top.yaml_set_comment_before_after_key(
            "mapping", before="\n".join(f"QUESTION: {question}" for question in loose)
        )
    yaml = YAML()
    yaml.width = 110
    yaml.indent(mapping=2, sequence=4, offset=2)
    stream = io.StringIO()
    yaml.dump(top, stream)
    return stream.getvalue()


def _stands(mapping: dict[str, Any], path: str) -> bool:
    part: Any = mapping
    for name in path.split("."):
        if not isinstance(part, dict) or name not in part:
            return False
        part = part[name]
    return True


def _dialect(files: Sequence[FileProfile]) -> str:
    """The CRM whose own headers are found and whose specs read an opportunities table and the most files; `table` where there is none."""
    scores: dict[str, int] = {}
    for dialect in _CRM:
        spec = built_in(dialect)
        read = [
            chosen for file in files for chosen in choose(spec, file.name, file.header) if _has_required(chosen, file)
        ]
        sources = {"opportunities", *(derived.source for derived in spec.derived)}
        is_marked = any(
            {fold(cell) for cell in file.header} >= {fold(name) for name in mark}
            for file in files
            for mark in spec.hallmarks
        )
        if is_marked and any(chosen.table in sources for chosen in read):
            scores[dialect] = len(read)
    return max(scores, key=lambda name: scores[name]) if scores else "table"


def _has_required(spec: TableSpec, file: FileProfile) -> bool:
    return all(spec.has(column, file.header) for column in spec.required_columns)


def _guess_crm(files: Sequence[FileProfile], dialect: str, guessed: GuessedMapping) -> None:
    spec: DialectSpec = built_in(dialect)
    tables = {file.name: [chosen.table for chosen in choose(spec, file.name, file.header)] for file in files}
    read = ", ".join(f"{name} ({', '.join(found)})" for name, found in sorted(tables.items()) if found)
    guessed.comments["dialect"] = f"recognised by file names and headers: {read}"[:600]
    guess_details(files, dialect, guessed)


def _guess_encoding(files: Sequence[FileProfile], guessed: GuessedMapping) -> None:
    unread = sorted(file.name for file in files if file.is_undecided)
    if unread:
        guessed.mapping["encoding"] = "cp1252"
        guessed.comments["encoding"] = f"neither UTF-8 nor GB18030: {', '.join(unread)}"
        guessed.ask("encoding", "which encoding are these files written in?")


def _guess_instant(label: str, names: Sequence[str], guessed: GuessedMapping) -> None:
    has_day = any(re.search(r"20\d\d[-_.]?[01]\d[-_.]?[0-3]\d(?!\d)", name) for name in (label, *names))
    recorded = guessed.dialect != "table" or any(
        column in part["columns"]
        for part in guessed.mapping.get("tables", {}).values()
        for column in ("created_at", "modified_at", "logged_at")
    )
    guessed.mapping["exported_at"] = "file_name" if has_day else "newest"
    guessed.comments["exported_at"] = (
        "by the day in the file name" if has_day else "just after the newest recorded instant"
    )
    if not has_day and not recorded:
        guessed.comments["exported_at"] = "must be answered before a run"
        guessed.ask(
            "exported_at",
            "nothing in the files says when they were written: put an instant such as 2026-06-30T00:00:00Z",
        )
