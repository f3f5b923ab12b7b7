"""Writes that survive a crash: fsync the file, fsync the directory, rename, fsync the parent.

Belongs here: the order of system calls that makes a write durable and atomic. Does not belong here: what is written.
POSIX promises neither that a renamed file's bytes are on disk nor that the rename is, unless both are synced
(Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path


def fsync_file(path: Path) -> None:
    """Force a file's bytes to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_directory(path: Path) -> None:
    """Force a directory's entries to the disk."""
    fsync_file(path)


def fsync_tree(root: Path) -> None:
    """Every file below `root`, then every directory from the leaves up, then `root`."""
    for directory, _, files in os.walk(root, topdown=False):
        for name in files:
            fsync_file(Path(directory) / name)
        fsync_directory(Path(directory))


def write_bytes(path: Path, data: bytes) -> None:
    """Replace a file atomically and durably; a reader sees all of the old bytes or all of the new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())
    temporary.replace(path)
    fsync_directory(path.parent)


def write_directory(final: Path, build: Callable[[Path], None]) -> bool:
    """Build a directory aside and make it appear whole at `final`.

    Returns False, having built nothing, when `final` is there already: a directory once written never changes. What an
    interrupted earlier attempt left behind is removed first.
    """
    if final.exists():
        return False
    final.parent.mkdir(parents=True, exist_ok=True)
    staging = final.with_name(f".{final.name}.building")
    if staging.exists():
        shutil.rmtree(staging)
    staging.mkdir()
    build(staging)
    fsync_tree(staging)
    staging.rename(final)
    fsync_directory(final.parent)
    return True
