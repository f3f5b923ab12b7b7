"""One run at a time holds the lake's lock; one delivery at a time that of its target."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from sales_pipeline.errors import DeliveryUnderWay, LakeLocked

_NAME = ".lock"


@contextmanager
def lake_lock(root: Path, *, wait_seconds: float = 0.0) -> Iterator[None]:
    """Hold the lake for one run. The operating system frees the lock when the holder dies.

    Raises LakeLocked when another process holds it after `wait_seconds`.
    """
    held = LakeLocked(
        "another run holds the lake",
        where=str(root),
        fix="wait until it is done; one run at a time may write to a lake",
    )
    with _hold(root, wait_seconds, held):
        yield


@contextmanager
def delivery_lock(folder: Path) -> Iterator[None]:
    """Hold one target's folder for one delivery; runs and deliveries to other targets go on. Raises DeliveryUnderWay."""
    held = DeliveryUnderWay(
        "another delivery to this target is under way",
        where=str(folder),
        fix="wait until it is done; `sales-pipeline deliver status` tells how far it is",
    )
    with _hold(folder, 0.0, held):
        yield


@contextmanager
def _hold(folder: Path, wait_seconds: float, held: LakeLocked) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / _NAME)
    try:
        lock.acquire(timeout=wait_seconds)
    except Timeout as error:
        raise held from error
    try:
        yield
    finally:
        lock.release()
