"""A mapping of plain tables guessed from their headers and values.

Belongs here: what a header or a column's values suggest. Does not belong here: word lists (`synonyms`), recognising a CRM (`guess`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sales_pipeline.ingest import synonyms as words
from sales_pipeline.ingest.profile import FileProfile

_PEOPLE = ("owner_id", "manager_id", "contact_id")


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


def guess_tables(files: Sequence[FileProfile], guessed: GuessedMapping) -> None:
    """Tables, columns, outcome and notations of an export that no CRM's spec reads."""
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
    if "stage" in columns and guess_stages(file, columns["stage"], guessed):
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


def guess_stages(file: FileProfile, header: str, guessed: GuessedMapping) -> bool:
    """Sort the values of a column of stages into won, lost and open; False, with a question, where none says won."""
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
    guess_notation(orders, decimals, guessed)
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


def guess_after_closings(files: Sequence[FileProfile], guessed: GuessedMapping) -> None:
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


def guess_notation(orders: Set[str], decimals: Set[str], guessed: GuessedMapping) -> None:
    """The order of a date's parts and the decimal sign, from what each date and number column allows ("open": more than one order fits)."""
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
