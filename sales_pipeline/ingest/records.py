"""The physical records of a delimited text: every byte of the file belongs to exactly one of them.

A record is what RFC 4180 says it is, where it can be read so with as many fields as the header; it may span lines inside quotes.
Where a record that starts at a line cannot be read so, that one line is the record, it is quarantined, and reading goes on at the
next line: one broken quote costs one line and never the rest of the file.

Lines that are records by themselves, nearly all of them, are told in bulk, by where quotes and delimiters stand or by one regular expression, and
kept as stretches, so that a file of any length takes little memory; only the other lines are looked at one by one.
Belongs here: where records start and end and whether they are readable. Does not belong here: encodings, values, meaning.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
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
_MOST_REPEATS = 1_000
_WIDEST_PATTERN = 10_000
_LONGEST_COUNTED = np.iinfo(np.uint16).max

Positions = NDArray[np.int64]


@dataclass(frozen=True)
class Exceptional:
    """A record that is not accepted; `text` as it stands in the file, without its line end."""

    start: int
    end: int
    outcome: str
    reason: str
    text: str


class Stretch(NamedTuple):
    """Records end to end: any number of lines that are records by themselves, or one other record. `end` is the byte after it, `line` the
    line it starts at, 1 for the first of the file."""

    start: int
    end: int
    records: int
    line: int


@dataclass(frozen=True)
class Records:
    """All records of a text in order, as stretches; `firsts` is the index of each stretch's first record.

    `exceptional` holds the records that are not accepted by index; `rewritten` the accepted ones that must be quoted
    anew before a strict reader takes them. `longest` is the length in bytes of the longest among the header and the accepted ones.
    `is_header_sound` says whether the header's own quoting is in order.
    """

    stretches: list[Stretch]
    firsts: Positions
    count: int
    header_index: int
    exceptional: dict[int, Exceptional]
    rewritten: dict[int, tuple[bytes, ...]]
    longest: int
    is_header_sound: bool

    @property
    def is_plain(self) -> bool:
        """Whether a strict reader can take the text as it is: a header and readable records, nothing else."""
        return self.is_header_sound and not self.rewritten and len(self.exceptional) == 1 and self.header_index == 0

    def pieces(self) -> Iterator[tuple[int, int, tuple[bytes, ...] | None]]:
        """What a strict reader may take, in order: (start, end, None) for bytes as they stand, or the cells of a record to be quoted anew."""
        begin = end = -1
        for first, stretch in zip(self.firsts.tolist(), self.stretches, strict=True):
            cells = self.rewritten.get(first)
            if first in self.exceptional or cells is not None:
                if end > begin:
                    yield begin, end, None
                begin = end = -1
                if cells is not None:
                    yield stretch.start, stretch.end, cells
            else:
                begin, end = (stretch.start if begin < 0 else begin), stretch.end
        if end > begin:
            yield begin, end, None


def find_records(data: Bytes, layout: Layout) -> Records:
    """Every record of the text. `data` is UTF-8, its line ends are LF, and it ends with one."""
    width = len(layout.header)
    delimiter = layout.delimiter.encode()
    parsed_header = read_record(data, layout.header_start, delimiter)
    is_sound = parsed_header is not None and len(parsed_header[0]) == width
    header_end = parsed_header[1] if parsed_header and is_sound else data.find(b"\n", layout.header_start) + 1
    is_sound = is_sound and parsed_header is not None and not parsed_header[2]
    header = data[layout.header_start : header_end - 1]
    found = _Found(data)
    for start, end in _line_bounds(data, 0, layout.header_start):
        found.add(start, end, exception=("structural", PREAMBLE if data[start:end].strip() else BLANK))
    header_index = len(found.stretches)
    found.add(layout.header_start, header_end, exception=("structural", HEADER))
    found.longest = header_end - layout.header_start
    simple = _SimpleLines(delimiter, width, header)
    for chunk_start, chunk_end in _chunks(data, header_end):
        line_ends, is_simple = simple.of(data, chunk_start, chunk_end)
        line_starts = np.concatenate(([chunk_start], line_ends[:-1]))
        done = int(np.searchsorted(line_starts, found.covered))
        for index in np.flatnonzero(~is_simple).tolist():
            if index < done:
                continue
            found.add_lines(line_starts, done, index)
            start, line_end = int(line_starts[index]), int(line_ends[index])
            reason, cells, end, is_stray = _judge(data, start, line_end, delimiter, width, header)
            outcome = "structural" if reason in (BLANK, EMPTY, REPEATED_HEADER) else "quarantined"
            found.add(
                start, end, exception=(outcome, reason) if reason else None, rewritten=cells if is_stray else None
            )
            done = int(np.searchsorted(line_starts, end))
        found.add_lines(np.append(line_starts, chunk_end), done, len(line_starts))
        _forget(data, chunk_start, chunk_end)
    _settle_footers(found, layout)
    return found.records(header_index, is_sound)


class _Found:
    """The records found so far."""

    def __init__(self, data: Bytes) -> None:
        self.data = data
        self.stretches: list[Stretch] = []
        self.exceptional: dict[int, Exceptional] = {}
        self.rewritten: dict[int, tuple[bytes, ...]] = {}
        self.covered = 0
        self.longest = 0
        self._line = 1
        self._is_open = False

    def add_lines(self, starts: Positions, first: int, last: int) -> None:
        """The lines from `first` to before `last`, each a record by itself; `starts[last]` is where the last of them ends."""
        if last <= first:
            return
        start, count = int(starts[first]), last - first
        self.longest = max(self.longest, int(np.diff(starts[first : last + 1]).max()))
        self.covered = int(starts[last])
        if self._is_open:
            before = self.stretches.pop()
            self.stretches.append(before._replace(end=self.covered, records=before.records + count))
        else:
            self.stretches.append(Stretch(start, self.covered, count, self._line))
        self._line += count
        self._is_open = True

    def add(
        self, start: int, end: int, *, exception: tuple[str, str] | None, rewritten: list[bytes] | None = None
    ) -> None:
        """One record that is more than a readable line; what is said of it is kept by the byte it starts at."""
        if exception:
            self.exceptional[start] = _exception(self.data, start, end, *exception)
        else:
            self.longest = max(self.longest, end - start)
            if rewritten is not None:
                self.rewritten[start] = tuple(rewritten)
        self.stretches.append(Stretch(start, end, 1, self._line))
        self._line += self.data[start:end].count(b"\n")
        self.covered = end
        self._is_open = False

    def single_out(self, count: int) -> list[Stretch]:
        """The last records, each as a stretch of its own."""
        last: list[Stretch] = []
        while self.stretches and len(last) < count:
            stretch = self.stretches.pop()
            if stretch.records == 1:
                last.append(stretch)
                continue
            start = self.data.rfind(b"\n", stretch.start, stretch.end - 1) + 1
            last.append(Stretch(start, stretch.end, 1, stretch.line + stretch.records - 1))
            self.stretches.append(stretch._replace(end=start, records=stretch.records - 1))
        last.reverse()
        self.stretches += last
        return last

    def records(self, header_index: int, is_header_sound: bool) -> Records:
        """All of them; exceptional and rewritten ones by index."""
        counts = np.array([stretch.records for stretch in self.stretches], dtype=np.int64)
        ends = np.cumsum(counts)
        firsts = ends - counts
        starts = np.array([stretch.start for stretch in self.stretches], dtype=np.int64)

        def index(start: int) -> int:
            return int(firsts[np.searchsorted(starts, start)])

        return Records(
            self.stretches,
            firsts,
            int(ends[-1]),
            header_index,
            {index(start): found for start, found in self.exceptional.items()},
            {index(start): cells for start, cells in self.rewritten.items()},
            self.longest,
            is_header_sound,
        )


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


class _SimpleLines:
    """Which lines are records by themselves: so many cells with sound quoting, some text in them, no NUL byte, and not the header again."""

    def __init__(self, delimiter: bytes, width: int, header: bytes) -> None:
        self._width, self._header, self._delimiter = width, header, delimiter[0]
        # Room that is kept: the kernel clears each page of new room.
        self._room = np.empty((3, 0), dtype=np.bool_)
        self._pattern = _line_pattern(delimiter.decode(), width) if width <= _WIDEST_PATTERN else None

    def of(self, data: Bytes, start: int, end: int) -> tuple[Positions, NDArray[np.bool_]]:
        """Ends of the whole lines between two bytes (after their line ends), and for each whether it is such a record."""
        chunk = np.frombuffer(data, dtype=np.uint8, count=end - start, offset=start)
        if self._room.shape[1] < len(chunk):
            self._room = np.empty((3, len(chunk)), dtype=np.bool_)
        ends = np.flatnonzero(np.equal(chunk, _NEWLINE, out=self._room[0, : len(chunk)])) + 1
        if self._pattern is None:
            return ends + start, np.zeros(len(ends), dtype=np.bool_)
        offsets = np.concatenate((np.zeros(1, dtype=np.int64), ends))
        lines = pa.Array.from_buffers(pa.large_binary(), len(ends), [None, pa.py_buffer(offsets), pa.py_buffer(chunk)])
        if self._are_surely_cells(chunk, offsets):
            simple = np.ones(len(ends), dtype=np.bool_)
        else:
            simple = pc.match_substring_regex(lines, self._pattern).to_numpy(zero_copy_only=False)
        lengths = ends - offsets[:-1] - 1
        simple &= (lengths > 0) & (lengths < MAX_RECORD_BYTES)
        simple &= (lengths != self._width - 1) | (self._width == 1)
        hollow = np.flatnonzero(lengths == 3 * self._width - 1)
        if len(hollow):
            at = offsets[:-1][hollow]
            simple[hollow[(chunk[at] == _QUOTE) & (chunk[at + 1] == _QUOTE)]] = False
        same = np.flatnonzero(lengths == len(self._header))
        simple[same[pc.equal(lines.take(pa.array(same)), self._header + b"\n").to_numpy(zero_copy_only=False)]] = False
        return ends + start, simple

    def _are_surely_cells(self, chunk: NDArray[np.uint8], offsets: Positions) -> bool:
        """Whether every line is so many cells without a NUL byte, at half of what the pattern costs: no cell is quoted, or every one is and holds no quote.
        False where that does not tell.

        Where every cell is quoted a line begins and ends with a quote, each two cells are set apart by `","`, and these quotes, none of which is
        another's, are all it has.
        """
        starts, newlines = offsets[:-1], offsets[1:] - 1
        if not len(starts) or int((newlines - starts).max()) > _LONGEST_COUNTED or not chunk.min():
            return False
        is_quote = np.equal(chunk, _QUOTE, out=self._room[0, : len(chunk)])
        is_delimiter = np.equal(chunk, self._delimiter, out=self._room[1, : len(chunk)])
        if not is_quote.any():
            return bool((_count_by_line(is_delimiter, starts) == self._width - 1).all())
        if not (is_quote[starts].all() and is_quote[newlines - 1].all()):
            return False
        is_apart = is_delimiter
        is_apart[1:-1] &= is_quote[:-2]
        is_apart[1:-1] &= is_quote[2:]
        shares_a_quote = np.logical_and(is_apart[2:], is_apart[:-2], out=self._room[2, : len(chunk) - 2])
        return not bool(
            shares_a_quote.any()
            or is_apart[starts + 1].any()
            or is_apart[newlines - 2].any()
            or (_count_by_line(is_apart, starts) != self._width - 1).any()
            or (_count_by_line(is_quote, starts) != self._width * 2).any()
        )


def _count_by_line(marks: NDArray[np.bool_], starts: Positions) -> NDArray[np.uint16]:
    counts: NDArray[np.uint16] = np.add.reduceat(marks.view(np.uint8), starts, dtype=np.uint16)
    return counts


def _line_pattern(delimiter: str, width: int) -> str:
    """A regular expression (RE2) of one line with its line end that is a record of `width` cells, quoted or not, without a NUL byte."""
    separator = re.escape(delimiter)
    cell = rf'(?:"(?:[^"\x00]|"")*"|[^"{separator}\n\x00]*)'
    more = "".join(
        f"(?:{separator}{cell}){{{min(_MOST_REPEATS, width - 1 - done)}}}"
        for done in range(0, width - 1, _MOST_REPEATS)
    )
    return rf"\A{cell}{more}\n\z"


def _chunks(data: Bytes, begin: int) -> Iterator[tuple[int, int]]:
    while begin < len(data):
        reach = begin + _CHUNK
        end = len(data) if reach >= len(data) else data.find(b"\n", reach) + 1
        yield begin, end
        begin = end


def _forget(data: Bytes, start: int, end: int) -> None:
    """Mapped pages that are done with need not count as this process's memory."""
    if isinstance(data, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        start -= start % mmap.PAGESIZE
        data.madvise(mmap.MADV_DONTNEED, start, end - start)


def _line_bounds(data: Bytes, at: int, until: int) -> Iterator[tuple[int, int]]:
    while at < until:
        end = data.find(b"\n", at) + 1
        yield at, end
        at = end


def _exception(data: Bytes, start: int, end: int, outcome: str, reason: str) -> Exceptional:
    return Exceptional(start, end, outcome, reason, data[start : end - 1].decode("utf-8", "replace"))


def _settle_footers(found: _Found, layout: Layout) -> None:
    """The records at the end that are no data: totals, and lines of text set off by a blank line or by a word that says so."""
    width = len(layout.header)
    if width < 3:
        return
    delimiter = layout.delimiter.encode()
    tail: list[tuple[Stretch, list[str]]] = []
    for stretch in reversed(found.single_out(_FOOTER_REACH)):
        parsed = read_record(found.data, stretch.start, delimiter)
        if parsed is None:
            break
        cells = [cell.decode("utf-8", "replace").strip() for cell in parsed[0] if cell.strip()]
        if (len(cells) > 1 and not is_footer(cells, width)) or stretch.start <= layout.header_start:
            break
        tail.append((stretch, cells))
    tail.reverse()
    for position, (_, cells) in enumerate(tail):
        after_blank = position > 0 and not tail[position - 1][1]
        if cells and (after_blank or sounds_like_footer(cells[0])):
            for stretch, words in tail[position:]:
                known = found.exceptional.get(stretch.start)
                if words and (known is None or known.reason in (TOO_FEW, TOO_MANY)):
                    found.exceptional[stretch.start] = _exception(
                        found.data, stretch.start, stretch.end, "structural", FOOTER
                    )
                    found.rewritten.pop(stretch.start, None)
            return
