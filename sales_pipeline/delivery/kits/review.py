"""review.xlsx: a delivery to look at before it is imported. For people; it is never imported.

Text cells are string cells, and text that a spreadsheet would take for a formula gets an apostrophe in front (OWASP ASVS 1.2.10). The bytes depend on
the delivery alone: the document's properties and the archive's times are fixed.

Belongs here: sheets and cells. Does not belong here: the figures themselves (`kit`).
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from sales_pipeline.delivery.kit import NEW, PREVIOUS, ObjectFacts
from sales_pipeline.delivery.kits.documents import counted
from sales_pipeline.delivery.kits.rows import Judged
from sales_pipeline.delivery.parcel import Parcel

SHOWN_ROWS = 5_000
"""Rows a sheet shows; the others are counted in words."""

_FIRST_DAY = (1980, 1, 1, 0, 0, 0)
_TRIGGER = re.compile(r"[=+\-@\t\r\x00＝＋－＠]")
_NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,9})?")
_NOT_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_STAMP = re.compile(rb"(<dcterms:(created|modified)[^>]*>)[^<]*(</dcterms:)")
_LONGEST_CELL = 32_000


class Review:
    """Collects what the workbook shows, an object at a time, so that no table is kept whole."""

    def __init__(self, shown_rows: int = SHOWN_ROWS) -> None:
        self._shown = shown_rows
        self._rows: list[tuple[str, pa.Table]] = []

    def add(self, judged: Judged) -> None:
        """Keep the first rows of an object."""
        rows = judged.rows.slice(0, self._shown)
        copied = rows.take(pa.array(range(rows.num_rows), pa.int64()))
        self._rows.append((judged.facts.name, copied))

    def workbook(self, parcel: Parcel, facts: Sequence[ObjectFacts], left_out: pa.Table) -> bytes:
        """The workbook: summary, largest moves, changed rows by object, rows not delivered."""
        from openpyxl import Workbook

        book = Workbook(write_only=True)
        _sheet(book, "summary", _summary(parcel, facts))
        _sheet(book, "largest moves", _moves(facts))
        for (name, rows), item in zip(self._rows, facts, strict=True):
            total = item.new + item.changed + item.cleared + item.withdrawn
            _sheet(book, name[:31], _changes(rows, max(total, rows.num_rows)))
        _sheet(book, "not delivered", _left_out(left_out, self._shown))
        buffer = io.BytesIO()
        book.save(buffer)
        return _stilled(buffer.getvalue(), parcel.as_of)


def _summary(parcel: Parcel, facts: Sequence[ObjectFacts]) -> list[list[Any]]:
    rows: list[list[Any]] = [
        ["delivery", parcel.delivery_id],
        ["target", parcel.target],
        ["run", parcel.run_id],
        ["holds for", parcel.as_of],
        [],
        [
            "object",
            "rows",
            "new",
            "changed",
            "unchanged",
            "cleared",
            "withdrawn",
            "gone",
            "not delivered",
            "known",
            "moved",
            "too many moved",
        ],
    ]
    return rows + [
        [
            item.name,
            item.source_rows,
            item.new,
            item.changed,
            item.unchanged,
            item.cleared,
            item.withdrawn,
            item.gone,
            item.not_delivered,
            item.known,
            item.moved,
            "yes" if item.is_over_limit else "no",
        ]
        for item in facts
    ]


def _moves(facts: Sequence[ObjectFacts]) -> list[list[Any]]:
    rows: list[list[Any]] = [["object", "key", "previous", "new", "difference"]]
    return rows + [
        [item.name, move.key, move.previous, move.new, round(move.new - move.previous, 9)]
        for item in facts
        for move in item.moves
    ]


def _changes(rows: pa.Table, total: int) -> list[list[Any]]:
    fields = [name.removeprefix(NEW) for name in rows.column_names if name.startswith(NEW)]
    header: list[Any] = ["key", "change"]
    for field in fields:
        header += [field, f"{field} (before)"]
    columns = [rows["key"].to_pylist(), rows["change"].to_pylist()]
    for field in fields:
        columns += [_numbered(rows[NEW + field]), _numbered(rows[PREVIOUS + field])]
    cells = [header, *([*row] for row in zip(*columns, strict=True))]
    return cells + _rest(total - rows.num_rows)


def _left_out(left_out: pa.Table, shown: int) -> list[list[Any]]:
    names = left_out.column_names
    rows = left_out.slice(0, shown)
    cells: list[list[Any]] = [list(names), *([row[name] for name in names] for row in rows.to_pylist())]
    return cells + _rest(left_out.num_rows - rows.num_rows)


def _rest(count: int) -> list[list[Any]]:
    return [[f"and {counted(count)} more, in the files beside this workbook"]] if count > 0 else []


def _numbered(texts: pa.ChunkedArray) -> list[Any]:
    """Columns of figures as numbers, all others as text: ids of digits alone keep their zeros and their length."""
    values: list[str | None] = texts.to_pylist()
    found = [value for value in values if value is not None]
    if found and all("." in value and _NUMBER.fullmatch(value) for value in found):
        return [None if value is None else float(value) for value in values]
    return values


def _sheet(book: Any, title: str, rows: list[list[Any]]) -> None:
    from openpyxl.cell import WriteOnlyCell

    sheet = book.create_sheet(re.sub(r"[\\/*?:\[\]]", " ", title))
    for row in rows:
        cells = []
        for value in row:
            if isinstance(value, str):
                cell = WriteOnlyCell(sheet, disarmed(value))
                cell.data_type = "s"
                cells.append(cell)
            else:
                cells.append(value)
        sheet.append(cells)


def disarmed(text: str) -> str:
    """Text no spreadsheet runs: an apostrophe before what looks like a formula, and no characters that XML has not."""
    plain = _NOT_XML.sub("\ufffd", text[:_LONGEST_CELL])
    return f"'{plain}" if _TRIGGER.match(text) else plain


def _stilled(data: bytes, as_of: str) -> bytes:
    """The same archive with fixed times."""
    stamp = as_of[:19].encode() + b"Z"
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        for name in sorted(old.namelist()):
            content = old.read(name)
            if name == "docProps/core.xml":
                content = _STAMP.sub(rb"\g<1>" + stamp + rb"\g<3>", content)
            entry = zipfile.ZipInfo(name, _FIRST_DAY)
            entry.compress_type = zipfile.ZIP_DEFLATED
            new.writestr(entry, content)
    return buffer.getvalue()
