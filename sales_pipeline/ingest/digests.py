"""Digests of landed files, remembered in the lake: a file is read through again only where the file system says that it may have changed.

What is remembered of a file holds while its size, inode and both instants of change stay; writing to it, or putting another in its place, changes one of
them. Only a write in the same tick of the file system's clock would not, so a file that changed a moment before it was read is not remembered. What is
kept in the lake bears the digest of the bytes that were copied, not this one. Losing the memory costs time and nothing else.

Belongs here: that. Does not belong here: what an export is (`exports`).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

from sales_pipeline.lake.durable import write_bytes

_SETTLED = 5_000_000_000
"""Nanoseconds after its last change from which a file is remembered; file systems tick every two seconds or more often."""


class Digests:
    """The memory that lies at a path; `read` gives the sha256 of a file that it does not know.

    Examples
    --------
    >>> digests = Digests(lake.exports / ".digests", file_sha256)  # doctest: +SKIP
    >>> sha256, size = digests.of(landed)  # doctest: +SKIP
    >>> digests.keep()  # doctest: +SKIP
    """

    def __init__(self, path: Path, read: Callable[[Path], str]) -> None:
        self._path = path
        self._read = read
        self._known = _remembered(path)
        self._has_new = False

    def of(self, file: Path) -> tuple[str, int]:
        """sha256 and size of a file."""
        name, status = str(file.absolute()), file.stat()
        stamp = [status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns]
        known = self._known.get(name)
        if isinstance(known, list) and known[:-1] == stamp:
            return str(known[-1]), status.st_size
        started = self._now()
        sha256 = self._read(file)
        if max(status.st_mtime_ns, status.st_ctime_ns) + _SETTLED < started:
            self._known[name] = [*stamp, sha256]
            self._has_new = True
        return sha256, status.st_size

    def _now(self) -> int:
        """By the clock of the lake's file system, in nanoseconds: what it gives a file that is made now."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self._path.parent, prefix=".now_") as made:
            return Path(made.name).stat().st_mtime_ns

    def keep(self) -> None:
        """Write down what is new, without files that are gone."""
        if self._has_new:
            there = {name: known for name, known in self._known.items() if Path(name).exists()}
            write_bytes(self._path, json.dumps(there, sort_keys=True).encode())
            self._has_new = False


def _remembered(path: Path) -> dict[str, object]:
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
