"""A folder of one process for what it keeps only until it ends.

Belongs here: that it is gone afterwards, also where the process was killed: then the next one removes it. Does not belong here: what lies in it.
"""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path

from filelock import FileLock, Timeout

_PREFIX, _LOCK = "held_", ".lock"


class Scratch:
    """A new folder below `parent`, which is there. Beside it lies a lock, which the operating system frees when the process dies."""

    def __init__(self, parent: Path) -> None:
        for lock in parent.glob(f"{_PREFIX}*{_LOCK}"):
            _remove_if_left(lock)
        name = f"{_PREFIX}{secrets.token_hex(8)}"
        self._lock = FileLock(parent / f"{name}{_LOCK}")
        self._lock.acquire()
        self.path = parent / name
        self.path.mkdir()

    def close(self) -> None:
        """Remove the folder and all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.release()
        Path(self._lock.lock_file).unlink(missing_ok=True)


def _remove_if_left(path: Path) -> None:
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return
    shutil.rmtree(path.with_suffix(""), ignore_errors=True)
    path.unlink(missing_ok=True)
    lock.release()
