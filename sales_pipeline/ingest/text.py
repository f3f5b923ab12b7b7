"""From the bytes of a text file to UTF-8 with LF line ends, by a strict ladder of encodings.

Byte order mark, strict UTF-8, the configured encoding, strict GB18030 (only where what comes out is plausible Chinese), in this order;
else the file is rejected. Nothing is decided by guessing alone, and no byte is replaced.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from sales_pipeline.errors import ConfigurationError, InputRejected

_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_BLOCK = 1 << 16
_PLAUSIBLE_SHARE = 0.8
_LONGEST_LINE = 1 << 24


@dataclass(frozen=True)
class Encoding:
    """An encoding and how it was settled: `bom`, `strict`, `configured`. `skip` is the length of the byte order mark."""

    name: str
    basis: str
    skip: int = 0


def settle_encoding(path: Path, configured: str | None, *, label: str) -> Encoding:
    """The encoding of a file by the ladder; InputRejected, naming the line, where none fits."""
    with path.open("rb") as handle:
        start = handle.read(6)
    for name, unit in (("utf-32-le", start[3:6]), ("utf-32-be", start[2:5])):
        # Some writers put UTF-16's mark before UTF-32: units of four bytes tell, as text never begins with a NUL.
        mixed = Encoding(name, "byte order mark", 2)
        if (
            start[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
            and unit == b"\0\0\0"
            and _first_fault(path, mixed) is None
        ):
            return mixed
    for mark, name in _BOMS:
        if start.startswith(mark):
            encoding = Encoding(name, "byte order mark", len(mark))
            offset = _first_fault(path, encoding)
            if offset is None:
                return encoding
            raise InputRejected(
                "the file's bytes do not fit its byte order mark",
                expected=name,
                found=f"a byte that is none of it at byte {offset}",
                where=f"{label}, line {_line_of(path, offset)}",
                fix="export the file again, or save it anew as UTF-8",
            )
    fault = _first_fault(path, Encoding("utf-8", "strict"))
    if fault is None:
        return Encoding("utf-8", "strict")
    tried = ["UTF-8"]
    if configured:
        try:
            codecs.lookup(configured)
        except LookupError as error:
            raise ConfigurationError(
                "unknown encoding", expected="a name such as cp1252", found=configured, where="mapping.encoding"
            ) from error
        tried.append(configured)
        if _first_fault(path, Encoding(configured, "configured")) is None:
            return Encoding(configured, "configured")
    tried.append("GB18030")
    if _is_plausible_chinese(path):
        return Encoding("gb18030", "strict")
    is_mixed = _holds_utf8(path)
    raise InputRejected(
        "the file mixes encodings" if is_mixed else "the file's encoding is not known",
        expected=", ".join(tried) + " throughout",
        found=("UTF-8 letters, and then " if is_mixed else "")
        + f"the byte 0x{_byte_at(path, fault):02x} that is none of UTF-8",
        where=f"{label}, line {_line_of(path, fault)}",
        fix="export the file again as UTF-8"
        if is_mixed
        else "export the file again as UTF-8, or name its encoding in mapping.encoding (often cp1252)",
    )


def write_text(source: Path, target: Path, encoding: Encoding) -> Path:
    """The file as UTF-8 without byte order mark, every line end LF, the last line ended; `source` itself where it is that already."""
    if encoding.name == "utf-8" and not encoding.skip and _is_ready(source):
        return source
    decoder = codecs.getincrementaldecoder(encoding.name)("strict")
    is_utf8 = encoding.name == "utf-8"
    last = b""
    with target.open("wb") as out:
        held = b""
        for block in (*_blocks_after(source, encoding.skip), b""):
            data = block if is_utf8 else decoder.decode(block, final=not block).encode()
            data = held + data
            held = b"\r" if block and data.endswith(b"\r") else b""
            if held:
                data = data[:-1]
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
            out.write(data)
            last = data[-1:] or last
        if last not in (b"\n", b""):
            out.write(b"\n")
    return target


def _blocks_after(path: Path, skip: int) -> Iterator[bytes]:
    with path.open("rb") as handle:
        handle.seek(skip)
        while block := handle.read(_BLOCK):
            yield block


def _is_ready(path: Path) -> bool:
    last = b""
    for block in _blocks_after(path, 0):
        if b"\r" in block:
            return False
        last = block[-1:]
    return last in (b"\n", b"")


def _first_fault(path: Path, encoding: Encoding) -> int | None:
    """Offset of the first byte the encoding cannot read, None where it reads all."""
    if encoding.name == "utf-8" and _is_utf8(path, encoding.skip):
        return None
    decoder = codecs.getincrementaldecoder(encoding.name)("strict")
    at = encoding.skip
    for block in (*_blocks_after(path, encoding.skip), b""):
        pending = len(decoder.getstate()[0])
        try:
            decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            return at - pending + error.start
        at += len(block)
    return None


def _is_utf8(path: Path, skip: int) -> bool:
    """Whether all is UTF-8, a few lines at a time: a tenth of the cost of decoding."""
    held = b""
    for block in _blocks_after(path, skip):
        cut = block.rfind(b"\n") + 1
        if cut and not _is_utf8_text(held + block[:cut]):
            return False
        held = block[cut:] if cut else held + block
        if len(held) > _LONGEST_LINE:
            return False
    return _is_utf8_text(held)


def _is_utf8_text(data: bytes) -> bool:
    bounds = pa.py_buffer(np.array([0, len(data)], dtype=np.int64))
    try:
        pa.Array.from_buffers(pa.large_string(), 1, [None, bounds, pa.py_buffer(data)]).validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _is_plausible_chinese(path: Path) -> bool:
    """Whether the file is strict GB18030 and most that is not ASCII in it is among the usual characters and signs of GB 2312.

    GB18030 reads nearly any pair of bytes. Western accents before a plain letter fall outside GB 2312, and two of them in a row
    (as in "Größe") among its rare characters (lead bytes from D8 on), which real text holds few of.
    """
    decoder = codecs.getincrementaldecoder("gb18030")("strict")
    foreign = common = 0
    for block in (*_blocks_after(path, 0), b""):
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeDecodeError:
            return False
        letters = "".join(character for character in text if character > "\x7f") if not text.isascii() else ""
        foreign += len(letters)
        common += sum(lead < 0xD8 for lead in letters.encode("gb2312", "ignore")[::2])
    return foreign > 0 and common >= _PLAUSIBLE_SHARE * foreign


def _holds_utf8(path: Path) -> bool:
    """Whether some line that is not ASCII is UTF-8 nevertheless."""
    with path.open("rb") as handle:
        for line in handle:
            if not line.isascii():
                try:
                    line.decode("utf-8")
                except UnicodeDecodeError:
                    continue
                return True
    return False


def _line_of(path: Path, offset: int) -> int:
    with path.open("rb") as handle:
        return handle.read(offset).count(b"\n") + 1


def _byte_at(path: Path, offset: int) -> int:
    with path.open("rb") as handle:
        handle.seek(offset)
        return (handle.read(1) or b"\0")[0]
