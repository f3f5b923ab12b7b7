"""How a delimited text is laid out: delimiter, header, one record at a time.

Belongs here: what is found from the first records, and the rule by which one record is read. Does not belong here: whole files (`records`).
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

MAX_RECORD_BYTES = 16_000_000
DELIMITERS = (",", ";", "\t", "|")
Bytes: TypeAlias = bytes | mmap.mmap

_NEWLINE, _QUOTE = 10, 34
_FOOTER_WORDS = re.compile(
    r"(?i)^\W*((grand\s+|sub)?totals?|sum(me)?|count|records?|rows?|copyright|confidential|generated|exported|end of)\b|^(合计|总计|小计|共)"
)


@dataclass(frozen=True)
class Layout:
    """How a text is laid out: delimiter, the header's cells, and the byte its record starts at."""

    delimiter: str
    header: tuple[str, ...]
    header_start: int


def read_record(data: Bytes, start: int, delimiter: bytes) -> tuple[list[bytes], int, bool] | None:
    """The cells of the record at `start`, the byte after it, and whether a quote stands for itself in it.

    A quote inside a cell that does not begin with one stands for itself, as in `24" screen`, only where no cell of the record is
    quoted. None where the quoting is broken. `data` ends with a line end.
    """
    cells: list[bytes] = []
    at, is_quoted, is_stray = start, False, False
    while True:
        if data[at] == _QUOTE:
            is_quoted = True
            close = data.find(b'"', at + 1, start + MAX_RECORD_BYTES)
            while close >= 0 and data[close + 1] == _QUOTE:
                close = data.find(b'"', close + 2, start + MAX_RECORD_BYTES)
            if close < 0:
                return None
            cells.append(data[at + 1 : close].replace(b'""', b'"'))
            end = close + 1
        else:
            line_end = data.find(b"\n", at)
            end = data.find(delimiter, at, line_end)
            end = line_end if end < 0 else end
            cells.append(data[at:end])
            is_stray = is_stray or b'"' in cells[-1]
        if is_stray and is_quoted:
            return None
        if data[end] == _NEWLINE:
            return cells, end + 1, is_stray
        if data[end : end + 1] != delimiter:
            return None
        at = end + 1


def find_layout(head: bytes) -> Layout | None:
    """Delimiter and header from the first lines of a text; None for a text without any value.

    The delimiter is the one under which most of the first records agree with the header; the header is the first record that fills
    more than half as many cells as records usually have, so that titles above it are passed over.
    """
    best: tuple[tuple[int, int], Layout] | None = None
    for delimiter in DELIMITERS:
        parsed = _first_records(head, delimiter.encode())
        filled = [(start, cells) for start, cells in parsed if any(cell.strip() for cell in cells)]
        if not filled:
            return None
        counts = [len(cells) for _, cells in filled]
        usual = max(set(counts), key=lambda count: (counts.count(count), count))
        enough = max(1.0, usual * 0.6)
        start, header = next(
            (found for found in filled if sum(bool(cell.strip()) for cell in found[1]) >= enough), filled[0]
        )
        agreeing = sum(count == len(header) for count in counts)
        score = (agreeing if len(header) > 1 else 0, len(header))
        if best is None or score > best[0]:
            names = tuple(cell.decode("utf-8", "replace").strip().strip("\ufeff").strip() for cell in header)
            best = score, Layout(delimiter, names, start)
    assert best is not None
    return best[1]


def _first_records(head: bytes, delimiter: bytes, limit: int = 200) -> list[tuple[int, list[bytes]]]:
    records: list[tuple[int, list[bytes]]] = []
    at = 0
    while at < len(head) and len(records) < limit:
        line_end = head.find(b"\n", at)
        if head[at:line_end].strip():
            parsed = read_record(head, at, delimiter)
            if parsed is None or parsed[1] - at > 100_000:
                records.append((at, head[at:line_end].split(delimiter)))
            else:
                records.append((at, parsed[0]))
                at = parsed[1]
                continue
        at = line_end + 1
    return records


def sounds_like_footer(cell: str) -> bool:
    """Whether a text begins as totals and closing notes do."""
    return bool(_FOOTER_WORDS.search(cell))


def is_footer(cells: Sequence[str], width: int) -> bool:
    """Whether the filled cells of a record at the end of a table of `width` columns are a total or a note, not data."""
    return bool(cells) and sounds_like_footer(cells[0]) and len(cells) <= width / 2
