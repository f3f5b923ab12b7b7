"""Files of a kit: rows as CSV (RFC 4180, quotes only where needed) or typed Parquet, split where the target's limits want it.

Belongs here: bytes and their bounds. Does not belong here: which rows and cells (`rows`, `variants`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sales_pipeline.delivery.targets.spec import FieldSpec, FileFormat
from sales_pipeline.errors import ConfigurationError
from sales_pipeline.lake.tables import PARQUET_OPTIONS, file_sha256

_BATCH = 65_536
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Written:
    """One file: its name, its rows, its size and digest."""

    name: str
    rows: int
    bytes: int
    sha256: str


class Names:
    """Names of one object's files in order: `name.csv`, then `name__2.csv`, `name__3.csv` …"""

    def __init__(self, stem: str, suffix: str) -> None:
        self._stem, self._suffix, self._given = stem, suffix, 0

    def next(self) -> str:
        """The next name."""
        self._given += 1
        return f"{self._stem}{'' if self._given == 1 else f'__{self._given}'}.{self._suffix}"


def write_files(
    folder: Path, names: Names, columns: dict[str, pa.Array], fields: Sequence[FieldSpec], form: FileFormat
) -> list[Written]:
    """Write texts (NULL: a blank cell) in one or more files, rows in their order. No file for no rows.

    `columns` are the texts by header, in order; `fields` say their types where the format has any.
    """
    rows = len(next(iter(columns.values())))
    if not rows:
        return []
    if form.kind == "parquet":
        return _write_parquet(folder, names, columns, fields, form)
    header = _line([pa.array([name]) for name in columns], form)[0].as_py().encode("utf-8")
    writer = _Splitter(folder, names, (_BOM if form.has_bom else b"") + header, form)
    try:
        for start in range(0, rows, _BATCH):
            writer.add(_line([column.slice(start, _BATCH) for column in columns.values()], form))
    finally:
        writer.close()
    return writer.written


def _line(columns: Sequence[pa.Array], form: FileFormat) -> pa.Array:
    """Whole lines, line ends included."""
    cells = [_quoted(pc.fill_null(column, ""), form) for column in columns]
    joined = cells[0] if len(cells) == 1 else pc.binary_join_element_wise(*cells, form.delimiter)
    return pc.binary_join_element_wise(joined, form.line_end, "")


def _quoted(texts: pa.Array, form: FileFormat) -> pa.Array:
    needs = pc.match_substring_regex(texts, f'[{_escaped(form.delimiter)}"\\r\\n]')
    if not pc.any(needs).as_py():
        return texts
    doubled = pc.replace_substring(texts.filter(needs), '"', '""')
    return pc.replace_with_mask(texts, needs, pc.binary_join_element_wise('"', doubled, '"', ""))


def _escaped(delimiter: str) -> str:
    return "".join(f"\\x{{{ord(character):x}}}" for character in delimiter)


class _Splitter:
    """Writes lines into files below the format's limits, each with the header."""

    def __init__(self, folder: Path, names: Names, header: bytes, form: FileFormat) -> None:
        self._folder, self._names, self._header = folder, names, header
        self._most_bytes = form.max_bytes
        self._most_rows = None if form.max_rows is None else form.max_rows - 1
        self._handle: BinaryIO | None = None
        self._digest = hashlib.sha256()
        self._name, self._bytes, self._rows = "", 0, 0
        self.written: list[Written] = []

    def add(self, lines: pa.Array) -> None:
        """Write lines, beginning another file where the next one would pass a limit."""
        offsets = np.frombuffer(lines.buffers()[1], dtype=np.int32)[lines.offset : lines.offset + len(lines) + 1]
        data = memoryview(lines.buffers()[2])
        start = 0
        while start < len(lines):
            if self._handle is None:
                self._open()
            end = self._fitting(offsets, start)
            if end == start:
                if self._rows == 0:
                    raise ConfigurationError(
                        "max_bytes is too small for a single row",
                        expected=f"at least {len(self._header) + int(offsets[start + 1] - offsets[start])} bytes",
                        found=str(self._most_bytes),
                        where=self._name,
                        fix="raise format.max_bytes in the target's mapping",
                    )
                self.close()
                continue
            self._write(data[offsets[start] : offsets[end]])
            self._rows += end - start
            start = end

    def _fitting(self, offsets: npt.NDArray[np.int32], start: int) -> int:
        end = len(offsets) - 1
        if self._most_rows is not None:
            end = min(end, start + self._most_rows - self._rows)
        if self._most_bytes is not None:
            room = self._most_bytes - self._bytes
            end = min(end, int(np.searchsorted(offsets, int(offsets[start]) + room, side="right")) - 1)
        return max(end, start)

    def _open(self) -> None:
        self._name = self._names.next()
        self._handle = (self._folder / self._name).open("wb")
        self._digest, self._bytes, self._rows = hashlib.sha256(), 0, 0
        self._write(self._header)

    def _write(self, data: bytes | memoryview) -> None:
        assert self._handle is not None
        self._handle.write(data)
        self._digest.update(data)
        self._bytes += len(data)

    def close(self) -> None:
        """Finish the file that is open."""
        if self._handle is None:
            return
        self._handle.close()
        self._handle = None
        self.written.append(Written(self._name, self._rows, self._bytes, self._digest.hexdigest()))


def _write_parquet(
    folder: Path, names: Names, columns: dict[str, pa.Array], fields: Sequence[FieldSpec], form: FileFormat
) -> list[Written]:
    typed = pa.table({name: _typed(texts, field) for (name, texts), field in zip(columns.items(), fields, strict=True)})
    written = []
    for start, length in _blocks(typed.num_rows, form.max_rows):
        name = names.next()
        pq.write_table(typed.slice(start, length), folder / name, **PARQUET_OPTIONS)
        size = (folder / name).stat().st_size
        written.append(Written(name, length, size, file_sha256(folder / name)))
    return written


def _blocks(rows: int, most: int | None) -> Iterator[tuple[int, int]]:
    step = most or rows
    return ((start, min(step, rows - start)) for start in range(0, rows, step))


def _typed(texts: pa.Array, field: FieldSpec) -> pa.Array:
    if field.constant is not None or field.codes:
        return texts
    if field.notation == "decimal":
        return texts.cast(pa.decimal128(38, field.decimals))
    types = {"integer": pa.int64(), "date": pa.date32(), "instant": pa.timestamp("us", tz="UTC"), "flag": pa.bool_()}
    return texts.cast(types.get(field.notation, pa.string()))
