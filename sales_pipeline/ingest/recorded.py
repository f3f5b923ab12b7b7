"""The newest instant an export recorded: over created, modified, changed and logged columns, never over due or close dates."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlglot
from sqlglot import exp

from sales_pipeline.domain.time import zone
from sales_pipeline.engines.base import Engine
from sales_pipeline.engines.compiler import DIALECT
from sales_pipeline.ingest.columns import Columns, FirstOf, Take
from sales_pipeline.ingest.dialects.spec import TableSpec
from sales_pipeline.ingest.reader import FileReading

RECORDED = ("created_at", "modified_at", "changed_at", "logged_at", "opened_at")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_TEXTS = 500_000

# ISO texts of one length and one ending sort as their instants do, so of the usual forms only the greatest need be parsed.
_USUAL = r"^(?:[01]\d{3}|20\d{2})-\d{2}-\d{2}(?:[ T]\d{2}:\d{2}:\d{2}(?:\.\d{3})?Z?)?$"
_PLAIN = ("0000-00-00 00:00:00", "0000-00-00T00:00:00")
_PARSED = "SELECT MAX(parse_instant(text, $date_order, $zone)) AS instant FROM texts"


def recorded_positions(spec: TableSpec, columns: Columns) -> list[int]:
    """Positions of the columns of a file that record when something happened.

    Where a table of activities records nothing else, when they happened counts: they are done, unless the file says which are.
    """
    rules = [rule for name in RECORDED if isinstance(rule := spec.columns.get(name), Take | FirstOf)]
    found = [position for rule in rules for position in columns.used(rule)]
    if not found and spec.table == "activities" and "is_done" not in spec.columns:
        found = columns.used(spec.columns["occurred_at"]) if "occurred_at" in spec.columns else []
    return sorted(set(found))


class NewestInstant:
    """The greatest instant among texts as they are met, by the columns of one file they stand in."""

    def __init__(self, *, date_order: str, zone_name: str, engine: Engine) -> None:
        self._zone_name = zone_name
        self._odd = _OddTexts(date_order, zone_name, engine)
        self._greatest: dict[tuple[int, int], str] = {}

    def add(self, position: int, texts: pa.Array) -> None:
        """More texts of the column at that place."""
        if not _are_plain(texts):
            is_usual = pc.fill_null(pc.match_substring_regex(texts, _USUAL), False)
            self._odd.add(texts.filter(pc.invert(is_usual)))
            texts = texts.filter(is_usual)
        for length, text in _greatest_by_length(texts):
            self._greatest[position, length] = max(text, self._greatest.get((position, length), text))

    def found(self, reading: FileReading) -> datetime | None:
        """UTC; None where no text is an instant. The file's columns are read again where the greatest text of one is none."""
        found: list[datetime | None] = []
        unsure: set[int] = set()
        for (position, _), text in self._greatest.items():
            try:
                found.append(_iso_instant(text, self._zone_name))
            except ValueError:
                # The greatest text is no instant, such as the 31st of a shorter month: all have to be parsed.
                unsure.add(position)
        for _, columns in reading.batches(sorted(unsure)) if unsure else ():
            for texts in columns.values():
                self._odd.add(texts)
        return max((instant for instant in (*found, self._odd.greatest()) if instant is not None), default=None)


def _are_plain(texts: pa.Array) -> bool:
    """Whether all have one usual form of a day and time to the second, at a glance: the least and the greatest character of each place tell, at a sixth of what
    a pattern costs. False where that does not tell."""
    size = len(_PLAIN[0])
    if not len(texts) or texts.null_count or texts.type != pa.string():
        return False
    _, offsets, letters = texts.buffers()
    ends = np.frombuffer(offsets, dtype=np.int32)[texts.offset : texts.offset + len(texts) + 1]
    if bool((np.diff(ends) != size).any()):
        return False
    text = np.frombuffer(letters, dtype=np.uint8)[ends[0] : ends[-1]]
    places = [text[place::size] for place in range(size)]
    least, greatest = (bytes(int(of(place)) for place in places) for of in (np.min, np.max))
    is_in_range = greatest < b"2" or (least[:2] == greatest[:2] == b"20")
    return is_in_range and any(
        all(
            low == high == ord(sign) if sign != "0" else b"0"[0] <= low and high <= b"9"[0]
            for low, high, sign in zip(least, greatest, form, strict=True)
        )
        for form in _PLAIN
    )


class _OddTexts:
    """Texts of unusual forms: the engine parses them, so many distinct ones at a time that they take little memory."""

    def __init__(self, date_order: str, zone_name: str, engine: Engine) -> None:
        self._parameters = {"date_order": date_order, "zone": zone_name}
        self._engine = engine
        self._texts = pa.array([], pa.string())
        self._found: list[datetime | None] = []

    def add(self, texts: pa.Array) -> None:
        """More of them; empty ones and NULL do not count."""
        filled = texts.filter(pc.fill_null(pc.not_equal(texts, ""), False))
        if len(filled):
            self._texts = pc.unique(pa.concat_arrays([self._texts, filled]))
        if len(self._texts) > _MOST_TEXTS:
            self._parse()

    def greatest(self) -> datetime | None:
        """The greatest instant among all; None where none is one."""
        if len(self._texts):
            self._parse()
        return max((instant for instant in self._found if instant is not None), default=None)

    def _parse(self) -> None:
        inputs = {"texts": pa.table({"text": self._texts})}
        self._found += _instants(self._engine.query(_model(_PARSED), inputs, parameters=self._parameters))
        self._texts = self._texts.slice(0, 0)


def _greatest_by_length(texts: pa.Array) -> Iterator[tuple[int, str]]:
    lengths = pc.binary_length(texts)
    bounds = pc.min_max(lengths)
    if bounds["min"] == bounds["max"]:
        if len(texts):
            yield bounds["max"].as_py(), pc.max(texts).as_py()
        return
    for length in pc.unique(lengths).to_pylist():
        yield length, pc.max(texts.filter(pc.equal(lengths, length))).as_py()


def _iso_instant(text: str, zone_name: str) -> datetime:
    instant = datetime.fromisoformat(text)
    return (instant if instant.tzinfo else instant.replace(tzinfo=zone(zone_name))).astimezone(UTC)


def _model(text: str) -> exp.Query:
    tree = sqlglot.parse_one(text, read=DIALECT)
    assert isinstance(tree, exp.Query)
    return tree


def _instants(table: pa.Table) -> list[datetime | None]:
    """The column `instant` in UTC, through whole microseconds: no time zone library is needed."""
    micros = table.column("instant").cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_pylist()
    return [None if value is None else _EPOCH + timedelta(microseconds=value) for value in micros]
