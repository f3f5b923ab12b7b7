"""A first mapping from the files themselves: recognised dialect, columns, outcome, dates, each guess with its reason.

What cannot be answered from the files is asked as a question. Nothing is decided from the clock or from outside the files.
Belongs here: guessing and its rendering as YAML. Does not belong here: word lists (`synonyms`).
"""

from __future__ import annotations

import io
import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sales_pipeline.engines.duckdb import DuckDBEngine
from sales_pipeline.errors import InputRejected
from sales_pipeline.ingest import synonyms as words
from sales_pipeline.ingest.columns import Constant, squash
from sales_pipeline.ingest.dialects.spec import DialectSpec, TableSpec, built_in, choose
from sales_pipeline.ingest.landing import landed_exports, unpacked
from sales_pipeline.ingest.params import SourceMapping
from sales_pipeline.ingest.profile import FileProfile, profile_file
from sales_pipeline.lake.tables import file_sha256

_PEOPLE = ("owner_id", "manager_id", "contact_id")
_CRM = ("salesforce", "hubspot", "pipedrive")


@dataclass
class GuessedMapping:
    """A mapping as it would be written, with its comments and open questions.

    `mapping` holds `SourceMapping`'s fields that differ from their defaults; `comments` is by path of the field, such as
    `tables.opportunities.columns.amount`; `questions` are the things the files do not tell.
    """

    dialect: str
    mapping: dict[str, Any]
    comments: dict[str, str] = field(default_factory=dict)
    questions: list[str] = field(default_factory=list)
    asked: dict[str, str] = field(default_factory=dict)

    def ask(self, path: str, question: str) -> None:
        """A question at a field of the mapping."""
        self.questions.append(question)
        self.asked[path] = question


def guess_mapping(landing: Path) -> GuessedMapping:
    """The mapping the newest export in `landing` suggests; InputRejected where it has no table to start from."""
    export = landed_exports(landing)[-1]
    with tempfile.TemporaryDirectory() as name, DuckDBEngine() as engine:
        folder = Path(name)
        landed = [(path.name, path, file_sha256(path), path.stat().st_size) for path in export.files]
        files = [
            profile_file(file, engine, folder / f"{number:05d}")
            for number, file in enumerate(unpacked(landed, SourceMapping().limits, folder / "unpacked"))
        ]
    files = [file for file in files if file.header]
    if not files:
        raise InputRejected("no file with a header was found", where=str(landing), fix="put the CRM's export there")
    dialect = _dialect(files)
    guessed = GuessedMapping(dialect, {"dialect": dialect})
    if dialect == "table":
        _guess_tables(files, guessed)
    else:
        _guess_crm(files, dialect, guessed)
    _guess_encoding(files, guessed)
    _guess_instant(export.label, [path.name for path in export.files], guessed)
    if dialect == "table":
        _guess_after_closings(files, guessed)
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
        {"source_system": "crm", "exports": Path(where).as_posix(), "lake": "data/lake", "time_zone": "UTC"}
    )
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
    """The CRM whose built-in specs read an opportunities table and the most files; `table` where none does."""
    scores: dict[str, int] = {}
    for dialect in _CRM:
        spec = built_in(dialect)
        read = [
            chosen for file in files for chosen in choose(spec, file.name, file.header) if _has_required(chosen, file)
        ]
        sources = {"opportunities", *(derived.source for derived in spec.derived)}
        if any(chosen.table in sources for chosen in read):
            scores[dialect] = len(read)
    return max(scores, key=lambda name: scores[name]) if scores else "table"


def _has_required(spec: TableSpec, file: FileProfile) -> bool:
    present = {squash(cell) for cell in file.header}
    return all(
        any(squash(header) in present for header in getattr(spec.columns[column], "headers", ()))
        or not hasattr(spec.columns[column], "headers")
        for column in spec.required_columns
    )


def _guess_crm(files: Sequence[FileProfile], dialect: str, guessed: GuessedMapping) -> None:
    spec: DialectSpec = built_in(dialect)
    tables = {file.name: [chosen.table for chosen in choose(spec, file.name, file.header)] for file in files}
    read = ", ".join(f"{name} ({', '.join(found)})" for name, found in sorted(tables.items()) if found)
    guessed.comments["dialect"] = f"recognised by file names and headers: {read}"[:600]
    for file in files:
        for chosen in choose(spec, file.name, file.header):
            if chosen.table == "stages" and _header_of(chosen, "is_won", file):
                guessed.comments["dialect"] += (
                    "\nwhich stages are won or lost is taken from the export's own list of stages"
                )
                return
    for file in files:
        for chosen in choose(spec, file.name, file.header):
            if chosen.table != "opportunities" or chosen.columns.get("kind") == Constant("lead"):
                continue
            won, stage = _header_of(chosen, "is_won", file), _header_of(chosen, "stage", file)
            if won is not None:
                guessed.comments["dialect"] += f"\nwhat is won is told by {won!r} of {file.name}"
            elif stage is not None:
                _guess_stages(file, stage, guessed)


def _header_of(spec: TableSpec, column: str, file: FileProfile) -> str | None:
    wanted = {squash(name) for name in getattr(spec.columns.get(column), "headers", ())}
    return next((header for header in file.header if squash(header) in wanted), None)


def _guess_tables(files: Sequence[FileProfile], guessed: GuessedMapping) -> None:
    guessed.comments["dialect"] = "no CRM's own file names and headers were recognised: a plain table, mapped below"
    by_table = _tables_of(files)
    main = by_table["opportunities"]
    tables: dict[str, Any] = {}
    guessed.mapping["kind"] = "lead" if _is_of_leads(main) else "opportunity"
    guessed.comments["kind"] = "by the headers"
    if not _is_of_leads(main):
        del guessed.mapping["kind"], guessed.comments["kind"]
    for table, file in by_table.items():
        columns = _columns_of(table, file, guessed)
        tables[table] = {"files": [file.name], "columns": columns}
    _guess_outcome(main, tables["opportunities"]["columns"], guessed)
    _guess_notation(by_table, tables, guessed)
    _guess_missing(by_table, guessed)
    _guess_synonyms(by_table, tables, guessed)
    guessed.mapping["tables"] = tables
    left = sorted({file.name for file in files} - {file.name for file in by_table.values()})
    guessed.comments["tables"] = "every other column of the opportunities becomes an attribute" + (
        f"; files left out: {', '.join(left)}" if left else ""
    )


def _tables_of(files: Sequence[FileProfile]) -> dict[str, FileProfile]:
    """One file per table: by the words in its name, and the opportunities by the most columns recognised."""
    named: dict[str, list[FileProfile]] = {}
    for file in files:
        stem = file.name.rsplit(".", 1)[0].lower()
        table = next(
            (table for table, parts in words.FILE_WORDS if any(part in stem for part in parts)), "opportunities"
        )
        named.setdefault(table, []).append(file)
    candidates = named.get("opportunities") or [file for file in files if file not in named.get("", [])] or list(files)
    main = max(candidates, key=lambda file: (len(_matches("opportunities", file)), file.rows))
    found = {"opportunities": main}
    for table, of_table in named.items():
        best = max(of_table, key=lambda file: (len(_matches(table, file)) if table else 0, file.rows))
        if table and table != "opportunities" and best is not main and words.KEYS[table] in _matches(table, best):
            found[table] = best
    return found


def _is_of_leads(file: FileProfile) -> bool:
    text = " ".join((file.name, *file.header)).lower()
    return bool(re.search(r"\bleads?\b", text)) and not re.search(r"opportunit|\bdeals?\b", text)


def _matches(table: str, file: FileProfile) -> dict[str, tuple[str, float]]:
    """Per column of a table the header that means it best, and how near it is (100: the very words)."""
    from rapidfuzz import fuzz

    scored: list[tuple[float, int, str, str]] = []
    for column, known in words.HEADERS[table].items():
        for header in file.header:
            plain = re.sub(r"[\W_]+", " ", header).strip().lower()
            for rank, name in enumerate(known):
                near = 100.0 if plain == name else fuzz.ratio(plain, name)
                if near >= 88 and file.fits(header, column, is_key=column == words.KEYS[table]):
                    scored.append((near, -rank, column, header))
    chosen: dict[str, tuple[str, float]] = {}
    for near, _, column, header in sorted(scored, key=lambda one: (-one[0], -one[1], one[2], one[3])):
        if column not in chosen and header not in {taken for taken, _ in chosen.values()}:
            chosen[column] = header, near
    return chosen


def _columns_of(table: str, file: FileProfile, guessed: GuessedMapping) -> dict[str, str]:
    matches = _matches(table, file)
    if table == "opportunities" and "crm_close_date" in matches and "closed_at" not in matches:
        matches["closed_at"] = matches["crm_close_date"]
    columns = {column: matches[column][0] for column in words.HEADERS[table] if column in matches}
    place = f"tables.{table}.columns"
    for column, (header, near) in matches.items():
        reason = "same words" if near == 100.0 else f"{near:.0f} % alike"
        guessed.comments[f"{place}.{column}"] = f"{reason}; {file.describe(header, with_values=column not in _PEOPLE)}"
    key = words.KEYS[table]
    if key not in columns:
        unique = [header for header in file.header if file.is_unique(header)]
        if unique:
            columns = {key: unique[0], **columns}
            guessed.comments[f"{place}.{key}"] = f"its values are distinct; {file.describe(unique[0])}"
        else:
            guessed.ask(f"{place}.{key}", f"which column of {file.name} identifies a record ({key})?")
    if table == "opportunities":
        for column, what in (
            ("created_at", "when an opportunity was created"),
            ("owner_id", "who owns an opportunity"),
        ):
            if column not in columns:
                guessed.ask(
                    f"{place}.{column}",
                    f"does a column of {file.name} say {what}? None was recognised; add it as {column}",
                )
    return columns


def _guess_outcome(file: FileProfile, columns: dict[str, str], guessed: GuessedMapping) -> None:
    if "stage" in columns and _guess_stages(file, columns["stage"], guessed):
        return
    names = {re.sub(r"[\W_]+", " ", header).strip().lower(): header for header in file.header}
    for name in words.OUTCOME_HEADERS:
        header = names.get(name)
        values = file.values(header) if header is not None and header not in columns.values() else []
        won = [value for value in values if re.search(words.WON, value.strip(), re.IGNORECASE)]
        lost = [value for value in values if re.search(words.LOST, value.strip(), re.IGNORECASE)]
        if not won and {value.strip().lower() for value in values} <= {*words.YES, *words.NO}:
            won = [value for value in values if value.strip().lower() in words.YES]
            lost = [value for value in values if value.strip().lower() in words.NO]
        if header is not None and won:
            guessed.mapping["outcome"] = {"column": header, "won": sorted(won), "lost": sorted(lost)}
            guessed.comments["outcome"] = f"by the header and its values: {file.describe(header)}"
            return
    guessed.ask("outcome", "which column and values say that an opportunity was won or lost? Add `outcome` or `stages`")


def _guess_stages(file: FileProfile, header: str, guessed: GuessedMapping) -> bool:
    values = file.values(header)
    won = sorted(value for value in values if re.search(words.WON, value.strip(), re.IGNORECASE))
    lost = sorted(value for value in values if re.search(words.LOST, value.strip(), re.IGNORECASE))
    still = sorted(value for value in values if value not in won and value not in lost)
    if not won:
        guessed.ask(
            "stages", f"which values of {header!r} mean won, and which lost? Found: {', '.join(sorted(values)[:20])}"
        )
        return False
    guessed.mapping["stages"] = {"open": still, "won": won, "lost": lost}
    guessed.comments["stages"] = f"from the values of {header!r}"
    if len(still) > 1:
        guessed.ask("stages.open", "put the open stages in the order of your process; they stand in alphabetical order")
    return True


def _guess_notation(by_table: dict[str, FileProfile], tables: dict[str, Any], guessed: GuessedMapping) -> None:
    orders: set[str] = set()
    decimals: set[str] = set()
    currencies: set[str] = set()
    for table, file in by_table.items():
        for column, header in tables[table]["columns"].items():
            if column in words.DATES:
                orders |= file.date_orders(header)
            if column in words.NUMBERS:
                decimals |= file.decimal_signs(header)
            if column in ("amount", "list_price"):
                shown = " ".join((header, *file.values(header)[:200]))
                currencies |= {code for code, pattern in words.CURRENCIES if re.search(pattern, shown, re.IGNORECASE)}
    if orders - {"ymd"}:
        settled = orders - {"ymd", "open"}
        guessed.mapping["date_order"] = next(iter(settled)) if len(settled) == 1 else "mdy"
        guessed.comments["date_order"] = (
            "from whole columns: no other order fits every date" if len(settled) == 1 else "a guess"
        )
        if len(settled) != 1:
            guessed.ask(
                "date_order", "is 03/04/2024 the 4th of March (mdy) or the 3rd of April (dmy)? The dates allow both"
            )
    if decimals == {","}:
        guessed.mapping["decimal"] = ","
        guessed.comments["decimal"] = "amounts are written with a decimal comma"
    guessed.mapping["currency"] = next(iter(currencies)) if len(currencies) == 1 else "USD"
    guessed.comments["currency"] = "from the amounts or their header" if len(currencies) == 1 else "a guess"
    if len(currencies) != 1:
        guessed.ask("currency", "in which currency are amounts without one?")


def _guess_missing(by_table: dict[str, FileProfile], guessed: GuessedMapping) -> None:
    found: set[str] = set()
    doubtful: set[str] = set()
    for file in by_table.values():
        for header in file.header:
            for value in file.values(header):
                plain = value.strip().lower()
                if plain in words.PLACEHOLDERS:
                    found.add(value.strip())
                elif plain in words.DOUBTFUL[:1]:
                    doubtful.add(value.strip())
    guessed.mapping["missing"] = sorted(found)
    guessed.comments["missing"] = 'texts that stand for "nothing entered"; the text "None" stays a value'
    if doubtful:
        guessed.ask(
            "missing",
            f"is {' or '.join(sorted(doubtful))} a value of its own, or missing? It stays a value unless listed",
        )


def _guess_synonyms(by_table: dict[str, FileProfile], tables: dict[str, Any], guessed: GuessedMapping) -> None:
    """Values that name another table's record but for a small difference in spelling."""
    from rapidfuzz import fuzz, process

    synonyms: dict[str, dict[str, str]] = {}
    for table, key in words.KEYS.items():
        header = tables["opportunities"]["columns"].get(key)
        if table == "opportunities" or table not in by_table or header is None:
            continue
        known = by_table[table].values(tables[table]["columns"][key])
        for value in sorted(set(by_table["opportunities"].values(header)) - set(known)):
            near = process.extractOne(value, known, scorer=fuzz.ratio, score_cutoff=85)
            if near:
                synonyms.setdefault(key, {})[value] = near[0]
    if synonyms:
        guessed.mapping["synonyms"] = synonyms
        guessed.comments["synonyms"] = "values that name no record of their table, but nearly do"


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


def _guess_after_closings(files: Sequence[FileProfile], guessed: GuessedMapping) -> None:
    """Where deals were closed after anything was recorded as created or changed, the export is no older than the last closing.

    Only where closing days are filled for closed opportunities alone: else they are plans.
    """
    part = guessed.mapping["tables"]["opportunities"]
    columns, file = part["columns"], next(file for file in files if file.name == part["files"][0])
    stages = guessed.mapping.get("stages")
    if not stages or "closed_at" not in columns or guessed.mapping["exported_at"] != "newest":
        return
    counts = file.seen[columns["stage"]]
    closed = sum(counts[stage] for stage in (*stages["won"], *stages["lost"]))
    last = file.newest_day(columns["closed_at"])
    recorded = max(
        (file.newest_day(columns[name]) for name in ("created_at", "modified_at") if name in columns), default=""
    )
    if last > recorded and file.filled[columns["closed_at"]] <= closed:
        instant = datetime.fromisoformat(last).replace(tzinfo=UTC) + timedelta(days=1)
        guessed.mapping["exported_at"] = instant.isoformat().replace("+00:00", "Z")
        guessed.comments["exported_at"] = (
            f"the last deals were closed on {last}, after the newest was created: the end of that day"
        )
