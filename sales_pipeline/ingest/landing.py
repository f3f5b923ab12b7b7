"""The landing folder: which files make an export, whether they are complete, and what lies in their archives.

Files directly in the folder are one export, each sub-folder with files is one, and so is each set of ZIPs of one stem (`WE_…_1.ZIP`,
`WE_…_2.ZIP`). Folders named `truth` and hidden ones are no part. Belongs here: finding and unpacking. Does not belong here: reading records.
"""

from __future__ import annotations

import hashlib
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sales_pipeline.errors import InputRejected
from sales_pipeline.ingest.params import REPAIR_NAME, ArchiveLimits

TEXT_SUFFIXES = (".csv", ".tsv", ".tab")
WORKBOOK_SUFFIXES = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
TABLE_SUFFIXES = (*TEXT_SUFFIXES, *WORKBOOK_SUFFIXES, ".parquet")
MARKER = "_COMPLETE"
_UNFINISHED = (".part", ".partial", ".tmp", ".crdownload", ".filepart", ".download")
_ARCHIVES = (".zip", ".gz", ".tgz", ".tar", ".7z", ".rar", ".bz2", ".xz")
_NOT_EXPORTS = {"truth"}
_WEEKLY = re.compile(r"(?i)^(WE_.+?)(_\d+)?\.zip$")
_BLOCK = 1 << 20


@dataclass(frozen=True)
class LandedExport:
    """An export as it lies in the landing folder: its label (folder or ZIP stem) and its files in order of their names."""

    label: str
    files: tuple[Path, ...]


@dataclass(frozen=True)
class SourceFile:
    """A table file as it lies unpacked. Where it came in an archive, `container` names that, `member` the file in it, and `name` both."""

    name: str
    sha256: str
    bytes: int
    path: Path
    member: str | None = None
    container: str = ""

    @property
    def base_name(self) -> str:
        """The file's own name, without folders."""
        return self.name.rsplit("/", 1)[-1]


def landed_exports(landing: Path) -> list[LandedExport]:
    """Every export in the landing folder, by label. A single file may be given instead of a folder. InputRejected where there is none."""
    if landing.is_file():
        return [LandedExport(landing.stem, (landing,))]
    if not landing.is_dir():
        raise InputRejected("there is no such folder of exports", where=str(landing), fix="name it with --exports")
    found: dict[str, list[Path]] = {}
    for folder in _folders(landing):
        for path in sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith(".")):
            if path.suffix.lower() in _UNFINISHED:
                raise InputRejected(
                    "a file is still being written",
                    found=path.name,
                    where=str(folder),
                    fix="wait until the transfer is done, or remove the file",
                )
            if path.suffix.lower() not in (*TABLE_SUFFIXES, ".zip"):
                continue
            label = folder.relative_to(landing).as_posix()
            weekly = _WEEKLY.match(path.name)
            if weekly:
                label = f"{label}/{weekly[1]}"
            found.setdefault(label, []).append(path)
    if not found:
        raise InputRejected(
            "no export was found",
            expected="CSV, TSV, Excel, Parquet or ZIP files, directly or in sub-folders",
            found="none",
            where=str(landing),
            fix="put the CRM's export there, or name another folder with --exports",
        )
    _join_repairs(found)
    return [LandedExport(label, tuple(files)) for label, files in sorted(found.items())]


def _join_repairs(found: dict[str, list[Path]]) -> None:
    """Repaired records that lie beside the one weekly export of their folder belong to it; they are no export of their own."""
    for label in [name for name in found if all(REPAIR_NAME in path.name.lower() for path in found[name])]:
        beside = [other for other in found if other.startswith(f"{label}/") and _WEEKLY.match(found[other][0].name)]
        if len(beside) == 1:
            found[beside[0]] += found.pop(label)


def _folders(root: Path) -> Iterator[Path]:
    yield root
    for child in sorted(root.iterdir()):
        if child.is_dir() and not child.name.startswith(".") and child.name.lower() not in _NOT_EXPORTS:
            yield from _folders(child)


def sizes(landing: Path) -> dict[str, int]:
    """One look at the landing folder: the size of every file in it, in bytes, by path."""
    return {
        path.relative_to(landing).as_posix(): path.stat().st_size
        for folder in _folders(landing)
        for path in sorted(folder.iterdir())
        if path.is_file()
    }


def is_complete(landing: Path, earlier: Mapping[str, int] | None) -> bool:
    """Whether the folder is done being written: a marker file `_COMPLETE` says so, or sizes are those of an earlier look and ZIPs open."""
    if (landing / MARKER).is_file():
        return True
    if earlier is None or dict(earlier) != sizes(landing):
        return False
    try:
        archives = [
            path for export in landed_exports(landing) for path in export.files if path.suffix.lower() == ".zip"
        ]
    except InputRejected:
        return False
    return all(zipfile.is_zipfile(path) for path in archives)


def open_archive(path: Path) -> zipfile.ZipFile:
    """The archive; InputRejected where its directory cannot be read, as while it is being written."""
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, EOFError, OSError) as error:
        raise InputRejected(
            "a ZIP cannot be opened: it is damaged or still being written",
            expected="a readable directory at its end",
            found=str(error),
            where=path.name,
            fix="wait until the transfer is done, or export again",
        ) from error


def members(archive: zipfile.ZipFile, name: str, limits: ArchiveLimits) -> list[zipfile.ZipInfo]:
    """The table files in an archive, in its order; InputRejected for an archive that is not safe to unpack."""
    entries = archive.infolist()
    if len(entries) > limits.max_members:
        raise _unsafe(name, "too many members", f"at most {limits.max_members}", str(len(entries)))
    if sum(entry.file_size for entry in entries) > limits.max_bytes:
        total = sum(entry.file_size for entry in entries)
        raise _unsafe(name, "it unfolds to too much", f"at most {limits.max_bytes} bytes", f"{total} bytes")
    tables = []
    for entry in entries:
        inner = PurePosixPath(entry.filename.replace("\\", "/"))
        if inner.is_absolute() or ".." in inner.parts or re.match(r"^[A-Za-z]:", entry.filename):
            raise _unsafe(name, "a member lies outside the archive", "plain relative paths", entry.filename)
        if entry.is_dir() or inner.name.startswith(".") or "__MACOSX" in inner.parts or "truth" in inner.parts[:-1]:
            continue
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise _unsafe(name, "a member is a link", "files only", entry.filename)
        if entry.flag_bits & 1:
            raise _unsafe(name, "a member is encrypted", "no password", entry.filename)
        if inner.suffix.lower() in _ARCHIVES:
            raise _unsafe(name, "an archive lies in the archive", "table files only", entry.filename)
        if entry.file_size > 1_000_000 and entry.file_size > limits.max_ratio * max(entry.compress_size, 1):
            ratio = entry.file_size / max(entry.compress_size, 1)
            raise _unsafe(name, "a member unfolds suspiciously", f"at most {limits.max_ratio:g}:1", f"{ratio:.0f}:1")
        if inner.suffix.lower() in TABLE_SUFFIXES:
            tables.append(entry)
    return tables


def unpack(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, *, name: str, limit: int) -> tuple[str, int]:
    """Write one member to `target`; its sha256 and its true size, counted while it unfolds and not taken from the directory."""
    digest, size = hashlib.sha256(), 0
    try:
        with archive.open(entry) as source, target.open("wb") as out:
            while block := source.read(_BLOCK):
                size += len(block)
                if size > limit:
                    raise _unsafe(name, "it unfolds to too much", f"at most {limit} bytes", "more")
                digest.update(block)
                out.write(block)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise InputRejected(
            "a member of a ZIP cannot be read",
            found=str(error),
            where=f"{name}: {entry.filename}",
            fix="the file is damaged or was not fully written; export again",
        ) from error
    return digest.hexdigest(), size


def unpacked(files: Sequence[tuple[str, Path, str, int]], limits: ArchiveLimits, folder: Path) -> Iterator[SourceFile]:
    """Every table file among these (name, path, sha256, size), out of its archive where it lies in one; unpacked below `folder`."""
    folder.mkdir(parents=True)
    for number, (name, path, sha256, size) in enumerate(files):
        suffix = Path(name).suffix.lower()
        if suffix != ".zip":
            linked = folder / f"{number:05d}{suffix}"
            linked.symlink_to(path.resolve())
            yield SourceFile(name, sha256, size, linked)
            continue
        left = limits.max_bytes
        with open_archive(path) as archive:
            for place, entry in enumerate(members(archive, name, limits)):
                target = folder / f"{number:05d}_{place:05d}{Path(entry.filename).suffix.lower()}"
                digest, true_size = unpack(archive, entry, target, name=name, limit=left)
                left -= true_size
                yield SourceFile(f"{name}/{entry.filename}", digest, true_size, target, entry.filename, name)


def _unsafe(name: str, what: str, expected: str, found: str) -> InputRejected:
    return InputRejected(
        f"the ZIP is not safe to unpack: {what}",
        expected=expected,
        found=found,
        where=name,
        fix="unpack it yourself if you trust it and put the files into the folder, or raise mapping.limits",
    )
