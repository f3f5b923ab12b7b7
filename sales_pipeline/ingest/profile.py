"""What can be seen of a file's columns before anything is mapped: values, uniqueness, notations. For `guess` alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sales_pipeline.errors import InputRejected
from sales_pipeline.ingest import synonyms as words
from sales_pipeline.ingest.columns import clean, missing_tokens
from sales_pipeline.ingest.landing import SourceFile
from sales_pipeline.ingest.reader import read_file, settle

_ISO = re.compile(r"^\d{4}[-/.]\d{1,2}[-/.]\d{1,2}([T ]|$)|^(19|20)\d{6}$")
_OTHER_DATE = re.compile(r"^(\d{1,2})([/.-])(\d{1,2})[/.-]((19|20)\d{2})([T ,]|$)")
_NUMBER = re.compile(r"^[(\-+]?\s*([A-Z]{3}|[$€£¥])?\s*-?\d[\d.,' \u00a0]*\s*([A-Z]{3}|[$€£¥%])?\)?-?$")
_SEEN = 2_000


@dataclass(frozen=True)
class FileProfile:
    """A file's header and, per header, its most frequent values with their counts (at most 2,000), distinct and filled counts, and
    the greatest text."""

    name: str
    header: tuple[str, ...]
    rows: int
    seen: dict[str, dict[str, int]]
    distinct: dict[str, int]
    filled: dict[str, int]
    greatest: dict[str, str]
    is_undecided: bool = False

    def values(self, header: str) -> list[str]:
        """The distinct filled values seen under a header."""
        return list(self.seen.get(header, {}))

    def is_unique(self, header: str) -> bool:
        """Whether nearly every record has a value of its own there."""
        return self.rows > 0 and self.filled.get(header, 0) == self.rows and self.distinct[header] >= 0.95 * self.rows

    def fits(self, header: str, column: str, *, is_key: bool) -> bool:
        """Whether the values can be what the column wants: dates, numbers, keys; an empty column can be anything."""
        values = self.values(header)
        if not values:
            return True
        if is_key:
            return self.is_unique(header)
        if column in words.DATES:
            return _share(values, lambda text: bool(_ISO.match(text) or _OTHER_DATE.match(text))) >= 0.9
        if column in words.NUMBERS:
            return _share(values, lambda text: bool(_NUMBER.match(text))) >= 0.9
        if column == "stage":
            return len(values) <= 60
        return True

    def date_orders(self, header: str) -> set[str]:
        """`ymd`, `mdy` or `dmy` as whole values prove them; `open` where dates with two leading numbers prove neither."""
        orders: set[str] = set()
        is_open = False
        for text in self.values(header):
            match = _OTHER_DATE.match(text.strip())
            if match is None:
                orders.add("ymd")
            elif int(match[1]) > 12 or match[2] == ".":
                orders.add("dmy")
            elif int(match[3]) > 12:
                orders.add("mdy")
            else:
                is_open = True
        return orders | ({"open"} if is_open and not orders & {"dmy", "mdy"} else set())

    def decimal_signs(self, header: str) -> set[str]:
        """The decimal signs that values prove: the last of two different signs, or one followed by one or two digits."""
        signs: set[str] = set()
        for text in self.values(header):
            match = re.search(r"([.,])\d{1,2}\D*$", text.strip())
            if match:
                signs.add(match[1])
        return signs

    def describe(self, header: str, *, with_values: bool = True) -> str:
        """A few words on a column for a comment; without values where they may name people."""
        counts = (
            f"{self.distinct.get(header, 0)} distinct values in {self.filled.get(header, 0)} of {self.rows} records"
        )
        shown = [value for value in self.values(header)[:4] if len(value) <= 30] if with_values else []
        return f"{counts}, such as {', '.join(shown)}" if shown else counts

    def newest_day(self, header: str) -> str:
        """The greatest text of a column of ISO days or instants as a day; empty where it holds anything else."""
        values = self.values(header)
        is_iso = bool(values) and all(re.match(r"^\d{4}-\d{2}-\d{2}([T ]|$)", value) for value in values)
        return self.greatest[header][:10] if is_iso else ""


def profile_file(file: SourceFile, folder: Path) -> FileProfile:
    """Read a file and look at its columns; one of unknown encoding is read as cp1252 and marked."""
    folder.mkdir(parents=True)
    is_undecided = False
    options: dict[str, Any] = {"label": file.name, "sheet": None, "folder": folder}
    try:
        encoding = settle(file.path, None, label=file.name)
    except InputRejected:
        encoding, is_undecided = settle(file.path, "cp1252", label=file.name), True
    reading = read_file(file.path, encoding, **options)
    seen: dict[str, dict[str, int]] = {}
    greatest: dict[str, str] = {}
    distinct: dict[str, int] = {}
    filled: dict[str, int] = {}
    empty = missing_tokens(())
    for position, header in enumerate(reading.header):
        if header in seen or reading.cells is None:
            continue
        values = clean(reading.column(position), empty).drop_null()
        counts = pc.value_counts(values)
        table = pa.table({"value": counts.field("values"), "count": counts.field("counts")})
        table = table.sort_by([("count", "descending"), ("value", "ascending")])
        first = table.slice(0, _SEEN)
        seen[header] = dict(zip(first.column("value").to_pylist(), first.column("count").to_pylist(), strict=True))
        greatest[header] = pc.max(values).as_py() or ""
        distinct[header], filled[header] = table.num_rows, len(values)
    return FileProfile(
        file.base_name, reading.header, reading.facts["accepted"], seen, distinct, filled, greatest, is_undecided
    )


def _share(values: list[str], test: Callable[[str], bool]) -> float:
    return sum(test(value.strip()) for value in values) / len(values)
