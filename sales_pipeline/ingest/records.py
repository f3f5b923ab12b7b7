"""The physical records of a delimited text: every byte of the file belongs to exactly one of them.

A record is what RFC 4180 says it is, where it can be read so with as many fields as the header; it may span lines inside quotes.
Where a record that starts at a line cannot be read so, that one line is the record, it is quarantined, and reading goes on at the
next line: one broken quote costs one line and never the rest of the file.

Lines that are records by themselves, nearly all of them, are found in bulk; only the others are looked at one by one.
Belongs here: where records start and end and whether they are readable. Does not belong here: encodings, values, meaning.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from sales_pipeline.ingest.layout import MAX_RECORD_BYTES, Bytes, Layout, is_footer, read_record, sounds_like_footer

BLANK = "blank line"
EMPTY = "record without a value"
HEADER = "header"
REPEATED_HEADER = "repeated header"
PREAMBLE = "text before the header"
FOOTER = "footer"
TOO_FEW = "too few fields"
TOO_MANY = "too many fields"
BROKEN_QUOTE = "broken quote"
NUL = "NUL byte"
TOO_LONG = "record longer than 16 MB"

_CHUNK = 1 << 20
_NEWLINE, _QUOTE = 10, 34
_FOOTER_REACH = 12

Positions = NDArray[np.int64]


@dataclass(frozen=True)
class Exceptional:
    """A record that is not accepted; `text` as it stands in the file, without its line end."""

    start: int
    end: int
    outcome: str
    reason: str
    text: str


@dataclass(frozen=True)
class Records:
    """All records of a text in order: `starts` and `ends` (bytes), `lines` (1 for the first), `numbers` (0 is the header).

    `accepted` marks the readable ones; `exceptional` holds the others by index; `rewritten` the accepted ones that must be quoted
    anew before a strict reader takes them. `is_header_sound` says whether the header's own quoting is in order.
    """

    starts: Positions
    ends: Positions
    lines: Positions
    numbers: Positions
    accepted: NDArray[np.bool_]
    exceptional: dict[int, Exceptional]
    rewritten: dict[int, tuple[bytes, ...]]
    is_header_sound: bool

    @property
    def is_plain(self) -> bool:
        """Whether a strict reader can take the text as it is: a header and readable records, nothing else."""
        return self.is_header_sound and not self.rewritten and len(self.exceptional) == 1 and int(self.numbers[0]) == 0


def find_records(data: Bytes, layout: Layout) -> Records:
    """Every record of the text. `data` is UTF-8, its line ends are LF, and it ends with one."""
    width = len(layout.header)
    delimiter = layout.delimiter.encode()
    parsed_header = read_record(data, layout.header_start, delimiter)
    is_sound = parsed_header is not None and len(parsed_header[0]) == width
    header_end = parsed_header[1] if parsed_header and is_sound else data.find(b"\n", layout.header_start) + 1
    is_sound = is_sound and parsed_header is not None and not parsed_header[2]
    exceptional = [
        *_preamble(data, layout.header_start),
        _exception(data, layout.header_start, header_end, "structural", HEADER),
    ]
    header_bytes = data[layout.header_start : header_end - 1]
    line_starts, line_ends, simple = _lines(data, header_end, delimiter[0], width, header_bytes)
    keep = simple.copy()
    odd: list[tuple[int, int, tuple[bytes, ...] | None]] = []
    covered = -1
    for index in np.flatnonzero(~simple).tolist():
        start, end = int(line_starts[index]), int(line_ends[index])
        if start < covered:
            continue
        reason, cells, end, is_stray = _judge(data, start, end, delimiter, width, header_bytes)
        if reason:
            outcome = "structural" if reason in (BLANK, EMPTY, REPEATED_HEADER) else "quarantined"
            exceptional.append(_exception(data, start, end, outcome, reason))
        else:
            odd.append((start, end, tuple(cells) if is_stray else None))
        covered = end
        keep[index : int(np.searchsorted(line_starts, end))] = False
    return _in_order(data, layout, line_starts[keep], line_ends[keep], odd, exceptional, is_sound)


def _judge(
    data: Bytes, start: int, line_end: int, delimiter: bytes, width: int, header: bytes
) -> tuple[str, list[bytes], int, bool]:
    """Why the record at `start` is not accepted (empty where it is), its cells, its end, and whether quotes in it stand for themselves."""
    line = data[start : line_end - 1]
    if not line.strip():
        return BLANK, [], line_end, False
    if line == header:
        return REPEATED_HEADER, [], line_end, False
    if line_end - start > MAX_RECORD_BYTES:
        return TOO_LONG, [], line_end, False
    if b"\0" in line:
        return NUL, [], line_end, False
    parsed = read_record(data, start, delimiter)
    if parsed is None:
        return BROKEN_QUOTE, [], line_end, False
    cells, end, is_stray = parsed
    if len(cells) != width:
        reason = TOO_FEW if len(cells) < width else TOO_MANY
        return (reason if end == line_end else BROKEN_QUOTE), [], line_end, False
    if not any(cell.strip() for cell in cells):
        return EMPTY, [], end, False
    if b"\0" in data[start:end]:
        return NUL, [], end, False
    return "", cells, end, is_stray


def _lines(
    data: Bytes, begin: int, delimiter: int, width: int, header: bytes
) -> tuple[Positions, Positions, NDArray[np.bool_]]:
    """Starts and ends (after the line end) of all lines from `begin` on, and which of them are readable records by themselves."""
    starts, ends, simple = [], [], []
    for chunk_start, chunk_end in _chunks(data, begin):
        chunk = np.frombuffer(data, dtype=np.uint8, count=chunk_end - chunk_start, offset=chunk_start)
        line_ends, is_simple = _simple_lines(chunk, delimiter, width, header)
        line_starts = np.concatenate(([0], line_ends[:-1] + 1)) if len(line_ends) else line_ends
        starts.append(line_starts + chunk_start)
        ends.append(line_ends + 1 + chunk_start)
        simple.append(is_simple)
    if not starts:
        nothing = np.zeros(0, dtype=np.int64)
        return nothing, nothing, np.zeros(0, dtype=np.bool_)
    return np.concatenate(starts), np.concatenate(ends), np.concatenate(simple)


def _chunks(data: Bytes, begin: int) -> list[tuple[int, int]]:
    cuts = [begin]
    while cuts[-1] < len(data):
        reach = cuts[-1] + _CHUNK
        cuts.append(len(data) if reach >= len(data) else data.find(b"\n", reach) + 1)
    return list(pairwise(cuts))


def _simple_lines(
    chunk: NDArray[np.uint8], delimiter: int, width: int, header: bytes
) -> tuple[Positions, NDArray[np.bool_]]:
    """Line ends of a chunk of whole lines, and per line whether it is a record of `width` cells with sound quoting, some text in it,
    no NUL byte, and not the header again. Quoting is judged line by line, as if each began outside quotes."""
    line_ends = np.flatnonzero(chunk == _NEWLINE)
    line_starts = np.concatenate(([0], line_ends[:-1] + 1))
    lengths = line_ends - line_starts
    quotes = chunk == _QUOTE
    is_delimiter = chunk == delimiter
    bad = chunk == 0
    simple = lengths > 0
    simple &= lengths < MAX_RECORD_BYTES
    if quotes.any():
        inside = np.bitwise_xor.accumulate(quotes.view(np.uint8))
        at_end = inside[line_ends]
        at_start = np.concatenate((np.zeros(1, dtype=np.uint8), at_end[:-1]))
        simple &= at_end == at_start
        if at_start.any():
            inside ^= np.repeat(at_start, lengths + 1)
        is_inside = inside.view(np.bool_)
        is_delimiter &= ~is_inside
        edge = quotes | (chunk == _NEWLINE) | (chunk == delimiter)
        before = np.concatenate((np.ones(1, dtype=np.bool_), edge[:-1]))
        after = np.concatenate((edge[1:], np.ones(1, dtype=np.bool_)))
        bad |= quotes & is_inside & ~before
        bad |= quotes & ~is_inside & ~after
    positions = np.flatnonzero(is_delimiter)
    counts = np.diff(np.searchsorted(positions, line_ends), prepend=0)
    simple &= counts == width - 1
    simple[np.searchsorted(line_ends, np.flatnonzero(bad))] = False
    simple &= (lengths != width - 1) | (width == 1)
    hollow = np.flatnonzero(lengths == 3 * width - 1)
    simple[hollow[quotes[line_starts[hollow]] & quotes[line_starts[hollow] + 1]]] = False
    simple[_equal_lines(chunk, line_starts, lengths, header)] = False
    return line_ends, simple


def _equal_lines(chunk: NDArray[np.uint8], starts: Positions, lengths: Positions, text: bytes) -> Positions:
    """Indices of the lines that equal `text`."""
    candidates = np.flatnonzero(lengths == len(text))
    for offset in np.linspace(0, max(len(text) - 1, 0), num=min(len(text), 12), dtype=np.int64).tolist():
        candidates = candidates[chunk[starts[candidates] + offset] == text[offset]]
    same = [i for i in candidates.tolist() if chunk[starts[i] : starts[i] + len(text)].tobytes() == text]
    return np.array(same, dtype=np.int64)


def _preamble(data: Bytes, header_start: int) -> list[Exceptional]:
    found, at = [], 0
    while at < header_start:
        end = data.find(b"\n", at) + 1
        found.append(_exception(data, at, end, "structural", PREAMBLE if data[at:end].strip() else BLANK))
        at = end
    return found


def _exception(data: Bytes, start: int, end: int, outcome: str, reason: str) -> Exceptional:
    return Exceptional(start, end, outcome, reason, data[start : end - 1].decode("utf-8", "replace"))


def _in_order(
    data: Bytes,
    layout: Layout,
    starts: Positions,
    ends: Positions,
    odd: list[tuple[int, int, tuple[bytes, ...] | None]],
    exceptional: list[Exceptional],
    is_header_sound: bool,
) -> Records:
    all_starts = np.concatenate(
        (starts, np.array([o[0] for o in odd] + [e.start for e in exceptional], dtype=np.int64))
    )
    all_ends = np.concatenate((ends, np.array([o[1] for o in odd] + [e.end for e in exceptional], dtype=np.int64)))
    accepted = np.ones(len(all_starts), dtype=np.bool_)
    accepted[len(starts) + len(odd) :] = False
    order = np.argsort(all_starts, kind="stable")
    all_starts, all_ends, accepted = all_starts[order], all_ends[order], accepted[order]
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    by_index = {int(place[len(starts) + len(odd) + i]): e for i, e in enumerate(exceptional)}
    rewritten = {int(place[len(starts) + i]): o[2] for i, o in enumerate(odd) if o[2] is not None}
    for index, footer in _footers(data, layout, all_starts, all_ends, by_index, len(layout.header)).items():
        by_index[index] = footer
        accepted[index] = False
        rewritten.pop(index, None)
    header_index = int(np.searchsorted(all_starts, layout.header_start))
    numbers = np.arange(len(all_starts), dtype=np.int64) - header_index
    return Records(
        all_starts, all_ends, _line_numbers(data, all_starts), numbers, accepted, by_index, rewritten, is_header_sound
    )


def _line_numbers(data: Bytes, starts: Positions) -> Positions:
    """Line each record starts at."""
    lines = np.empty(len(starts), dtype=np.int64)
    base = 1
    for chunk_start, chunk_end in _chunks(data, 0):
        chunk = np.frombuffer(data, dtype=np.uint8, count=chunk_end - chunk_start, offset=chunk_start)
        newlines = np.flatnonzero(chunk == _NEWLINE) + chunk_start
        first, last = np.searchsorted(starts, (chunk_start, chunk_end))
        lines[first:last] = base + np.searchsorted(newlines, starts[first:last])
        base += len(newlines)
    return lines


def _footers(
    data: Bytes, layout: Layout, starts: Positions, ends: Positions, known: dict[int, Exceptional], width: int
) -> dict[int, Exceptional]:
    """The records at the end that are no data: totals, and lines of text set off by a blank line or by a word that says so."""
    if width < 3:
        return {}
    delimiter = layout.delimiter.encode()
    tail: list[tuple[int, list[str]]] = []
    for index in range(len(starts) - 1, max(len(starts) - _FOOTER_REACH, 1) - 1, -1):
        parsed = read_record(data, int(starts[index]), delimiter)
        if parsed is None:
            break
        cells = [cell.decode("utf-8", "replace").strip() for cell in parsed[0] if cell.strip()]
        if len(cells) > 1 and not is_footer(cells, width):
            break
        if starts[index] <= layout.header_start:
            break
        tail.append((index, cells))
    tail.reverse()
    for position, (_, cells) in enumerate(tail):
        after_blank = position > 0 and not tail[position - 1][1]
        if cells and (after_blank or sounds_like_footer(cells[0])):
            return {
                index: Exceptional(
                    int(starts[index]),
                    int(ends[index]),
                    "structural",
                    FOOTER,
                    data[int(starts[index]) : int(ends[index]) - 1].decode("utf-8", "replace"),
                )
                for index, words in tail[position:]
                if words and (index not in known or known[index].reason in (TOO_FEW, TOO_MANY))
            }
    return {}
