"""Writes that survive a crash: fsync the file, fsync the directory, rename, fsync the parent.

Belongs here: the order of system calls that makes a write durable and atomic. Does not belong here: what is written.
POSIX promises neither that a renamed file's bytes are on disk nor that the rename is, unless both are synced
(Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014).
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sales_pipeline.errors import EnvironmentProblem

_BUILDING = ".building"
_TEMPORARY = ".tmp"

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG})
_REFUSED = frozenset({errno.EACCES, errno.EPERM, errno.EIO})


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


def make_directory(path: Path) -> None:
    """Make a directory and its parents where they are missing, each entered durably in its parent."""
    if path.is_dir():
        return
    make_directory(path.parent)
    path.mkdir(exist_ok=True)
    fsync_directory(path.parent)


def write_bytes(path: Path, data: bytes) -> None:
    """Replace a file atomically and durably; a reader sees all of the old bytes or all of the new.

    Raises EnvironmentProblem when the disk is full or refuses; the old bytes stand then.
    """
    with disk_problems(path):
        make_directory(path.parent)
        temporary = path.with_name(f".{path.name}.{os.getpid()}{_TEMPORARY}")
        try:
            with temporary.open("wb") as handle:
                handle.write(data)
                handle.flush()
                os.fsync(handle.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        fsync_directory(path.parent)


def write_directory(final: Path, build: Callable[[Path], None]) -> bool:
    """Build a directory aside and make it appear whole at `final`.

    Returns False, having built nothing, when `final` is there already: a directory once written never changes. When
    `build` raises, nothing is left; what an attempt that was killed left behind is removed first. Raises
    EnvironmentProblem when the disk is full or refuses.
    """
    if final.exists():
        return False
    staging = final.with_name(f".{final.name}{_BUILDING}")
    with disk_problems(final):
        make_directory(final.parent)
        if staging.exists():
            shutil.rmtree(staging)
        staging.mkdir()
        try:
            build(staging)
            fsync_tree(staging)
            staging.rename(final)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        fsync_directory(final.parent)
    return True


def remove_leftovers(root: Path, *, but: Path | None = None) -> list[Path]:
    """Remove what killed writers left below `root` (unfinished directories and files), and return what was removed.

    Only safe while no other process writes below `root`: hold its lock. `but` is a folder that has a lock of its own: nothing below it
    is touched.
    """
    found: list[Path] = []
    for directory, names, files in os.walk(root):
        names[:] = [name for name in names if Path(directory) / name != but]
        unfinished = [name for name in names if name.startswith(".") and name.endswith(_BUILDING)]
        names[:] = [name for name in names if name not in unfinished]
        temporary = [name for name in files if name.startswith(".") and name.endswith(_TEMPORARY)]
        found += [Path(directory) / name for name in (*unfinished, *temporary)]
    for path in sorted(found):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    return sorted(found)


@contextmanager
def disk_problems(path: Path) -> Iterator[None]:
    """Turn a full disk, or one that refuses to be written at `path`, into EnvironmentProblem; other errors pass."""
    try:
        yield
    except OSError as error:
        is_here = str(error.filename or "").startswith(str(path.parent))
        if error.errno not in _FULL and not (error.errno in _REFUSED and is_here):
            raise
        raise EnvironmentProblem(
            "the lake cannot be written",
            expected="free space and permission to write",
            found=os.strerror(error.errno),
            where=str(error.filename or path),
            fix="free some space or mend the permissions, then run again; what was published before still stands",
        ) from error
