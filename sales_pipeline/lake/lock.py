"""One run at a time holds the lake's lock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from sales_pipeline.errors import LakeLocked


@contextmanager
def lake_lock(root: Path, *, wait_seconds: float = 0.0) -> Iterator[None]:
    """Hold the lake for one run. The operating system frees the lock when the holder dies.

    Raises LakeLocked when another process holds it after `wait_seconds`.
    """
    root.mkdir(parents=True, exist_ok=True)
    lock = FileLock(root / ".lock")
    try:
        lock.acquire(timeout=wait_seconds)
    except Timeout as error:
        raise LakeLocked(
            "another run holds the lake",
            where=str(root),
            fix="wait until it is done; one run at a time may write to a lake",
        ) from error
    try:
        yield
    finally:
        lock.release()
