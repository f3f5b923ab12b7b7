"""Rows of a result file as a CRM or a spreadsheet wrote it: with or without BOM, LF or CRLF, quoted line breaks, comma, semicolon or tab; or a workbook.

Belongs here: from bytes to rows with the line they begin at. Does not belong here: what the columns mean (`forms`).
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile, is_zipfile

from sales_pipeline.errors import InputRejected
from sales_pipeline.ingest.tabular import workbook_rows

_DELIMITERS = (",", ";", "\t", "|", "^", "`")
_WORKBOOK = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")


@dataclass(frozen=True)
class ResultRows:
    """A file's header, and its rows with the line (of a workbook: the row) each ends at; empty ones are left out."""

    header: tuple[str, ...]
    rows: Iterator[tuple[int, list[str]]]


@contextmanager
def result_rows(path: Path, delimiter: str = ",") -> Iterator[ResultRows]:
    """The rows of a result file, read as they are asked for. `delimiter` is tried first.

    Raises InputRejected, when opened or while rows are read, for a file that is neither CSV text in UTF-8 nor a workbook, and for a row with more
    or fewer cells than the header, with its line.
    """
    try:
        with path.open("rb") as raw:
            is_workbook = raw.read(4) in _WORKBOOK
    except OSError as error:
        raise InputRejected("the result file cannot be read", found=str(error.strerror), where=str(path)) from error
    if is_workbook:
        yield _begun(path, _filled(path))
        return
    with path.open(encoding="utf-8-sig", newline="") as handle:
        try:
            first = handle.readline()
        except UnicodeDecodeError:
            raise _not_text(path) from None
        handle.seek(0)
        used = next((found for found in (delimiter, *_DELIMITERS) if found in first), delimiter)
        reader = csv.reader(handle, delimiter=used, strict=True)
        yield _begun(path, _checked(path, reader))


def _begun(path: Path, rows: Iterator[tuple[int, list[str]]]) -> ResultRows:
    _, header = next(rows, (0, []))
    if not any(header):
        raise _rejected(path, 1, "the result file has no header", "give the file as the CRM wrote it")
    return ResultRows(tuple(header), _even(path, len(header), rows))


def _filled(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Rows of a workbook's first sheet."""
    if is_zipfile(path):
        with ZipFile(path) as archive:
            if not any(name.startswith("xl/") for name in archive.namelist()):
                raise _rejected(path, 1, "the result file is a ZIP archive", "unpack it, and give the file in it")
    for number, row in enumerate(workbook_rows(path, None, label=str(path)), start=1):
        if any(cell.strip() for cell in row):
            yield number, row


def _checked(path: Path, reader: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except UnicodeDecodeError:
            raise _not_text(path) from None
        except csv.Error as error:
            line = reader.line_num  # type: ignore[attr-defined]
            raise _rejected(
                path, line, f"the result file is not CSV: {error}", "give the file as it was written"
            ) from None
        if row:
            yield reader.line_num, row  # type: ignore[attr-defined]


def _even(path: Path, width: int, rows: Iterator[tuple[int, list[str]]]) -> Iterator[tuple[int, list[str]]]:
    for line, row in rows:
        if len(row) != width:
            raise InputRejected(
                "a row of the result file has another number of cells than its header",
                expected=str(width),
                found=str(len(row)),
                where=f"{path}:{line}",
                fix="give the file as the CRM wrote it, not as a spreadsheet saved it",
            )
        yield line, row


def _not_text(path: Path) -> InputRejected:
    line = 0
    with path.open("rb") as raw:  # text is decoded in blocks, so the place is looked for anew
        for line, data in enumerate(raw, start=1):  # noqa: B007
            try:
                data.decode("utf-8")
            except UnicodeDecodeError:
                break
    return _rejected(path, line, "the result file is not UTF-8 text", "save it as CSV UTF-8")


def _rejected(path: Path, line: int, summary: str, fix: str) -> InputRejected:
    return InputRejected(summary, where=f"{path}:{line}", fix=fix)
