"""Which states of the disk a power loss may leave, from a recorded run of real writes (after ALICE, OSDI 2014).

`record` runs a piece of code in a folder and notes its operations: file contents, directory entries, fsync, and when the
code acknowledged. `states_after` lists what POSIX allows to be on the disk after a crash at any moment: a directory
entry is certain only after its directory was synced, a file's bytes only after the file was; what is not certain may be
there, be missing, or (bytes) be there in part. Later operations may reach the disk before earlier ones. The disk itself is believed
when it says that something is synced.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

ROOT = 0


@dataclass(frozen=True)
class Entry:
    """A change of directory entries: `added` and `removed` are (directory, name); `inode` is what the added one names."""

    inode: int
    is_directory: bool
    added: tuple[int, str] | None = None
    removed: tuple[int, str] | None = None

    @property
    def directories(self) -> set[int]:
        return {place[0] for place in (self.added, self.removed) if place is not None}


@dataclass(frozen=True)
class Bytes:
    inode: int
    content: bytes


@dataclass(frozen=True)
class Sync:
    inode: int


@dataclass(frozen=True)
class Acknowledged:
    pass


Operation = Entry | Bytes | Sync | Acknowledged


@dataclass
class Recording:
    before: dict[str, bytes | None]
    operations: list[Operation] = field(default_factory=list)


class _Recorder:
    """Compares the folder with what it knows before every call that orders writes, so that writes from anywhere are seen."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.inodes: dict[str, int] = {"": ROOT}
        self.contents: dict[str, bytes] = {}
        self.operations: list[Operation] = []
        self._next = 1
        self.notice()
        self.operations.clear()

    def notice(self) -> None:
        found = _tree(self.root)
        for name in sorted(set(self.inodes) - set(found) - {""}, reverse=True):
            is_directory = self.contents.pop(name, None) is None
            self._emit(Entry(self.inodes.pop(name), is_directory, removed=self._place(name)))
        for name in sorted(found):
            if name not in self.inodes:
                self.inodes[name] = self._next
                self._next += 1
                self._emit(Entry(self.inodes[name], found[name] is None, added=self._place(name)))
            content = found[name]
            if content is not None and self.contents.get(name) != content:
                self.contents[name] = content
                self._emit(Bytes(self.inodes[name], content))

    def sync(self, path: Path) -> None:
        self.notice()
        if path == self.root or self.root in path.parents:
            self._emit(Sync(self.inodes[_name(self.root, path)]))

    def move(self, source: Path, target: Path) -> None:
        old, new = _name(self.root, source), _name(self.root, target)
        is_directory = old not in self.contents
        self._emit(Entry(self.inodes[old], is_directory, added=self._place(new), removed=self._place(old)))
        for names in (self.inodes, self.contents):
            for name in [n for n in names if n == old or n.startswith(old + "/")]:
                names[new + name[len(old) :]] = names.pop(name)  # type: ignore[index]

    def _place(self, name: str) -> tuple[int, str]:
        parent, _, base = name.rpartition("/")
        return self.inodes[parent], base

    def _emit(self, operation: Operation) -> None:
        self.operations.append(operation)


def record(
    root: Path, work: Callable[[], object], *, ignore_sync: Callable[[Path], bool] = lambda _: False
) -> Recording:
    """Run `work`, which writes below `root`, and note its operations; `ignore_sync` takes syncs away (a mutant)."""
    before = _tree(root)
    recorder = _Recorder(root)
    real: dict[str, Callable[..., Any]] = {"fsync": os.fsync, "rename": os.rename, "replace": os.replace}

    def fsync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if not ignore_sync(path):
            recorder.sync(path)

    def moving(name: str) -> Callable[..., None]:
        def move(source: str | Path, target: str | Path, **_: Any) -> None:
            recorder.notice()
            real[name](source, target)
            recorder.move(Path(source), Path(target))

        return move

    with patch("os.fsync", fsync), patch("os.rename", moving("rename")), patch("os.replace", moving("replace")):
        work()
    recorder.notice()
    return Recording(before, [*recorder.operations, Acknowledged()])


@dataclass(frozen=True)
class State:
    """A disk after the crash: files by relative path (None for a directory), and whether the work was acknowledged before."""

    tree: tuple[tuple[str, bytes | None], ...]
    is_acknowledged: bool

    def restore(self, root: Path) -> None:
        root.mkdir()
        for name, content in self.tree:
            if content is None:
                (root / name).mkdir(parents=True, exist_ok=True)
            else:
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_bytes(content)


def states_after(recording: Recording) -> set[State]:
    """Every state, once."""
    return {
        State(tuple(sorted(tree.items())), acknowledged)
        for cut in range(len(recording.operations) + 1)
        for tree, acknowledged in _crash(recording, cut)
    }


def _crash(recording: Recording, cut: int) -> Iterator[tuple[dict[str, bytes | None], bool]]:
    done = recording.operations[:cut]
    acknowledged = any(isinstance(operation, Acknowledged) for operation in done)
    entries = [(at, op) for at, op in enumerate(done) if isinstance(op, Entry)]
    synced_at: dict[int, int] = {op.inode: at for at, op in enumerate(done) if isinstance(op, Sync)}
    unsure = [at for at, op in entries if any(synced_at.get(d, -1) < at for d in op.directories)]
    kept_sets: list[set[int]] = [set(), set(unsure)]
    kept_sets += [set(unsure[:n]) for n in range(1, len(unsure))]
    kept_sets += [set(unsure) - {at} for at in unsure] + [{at} for at in unsure]
    written: dict[int, tuple[bytes, bool]] = {}
    older = {number: recording.before[name] or b"" for number, name in enumerate(sorted(recording.before), start=1)}
    for at, op in enumerate(done):
        if isinstance(op, Bytes):
            is_sure = synced_at.get(op.inode, -1) > at
            written[op.inode] = (op.content, is_sure)
            if is_sure:
                older[op.inode] = op.content
    torn = [inode for inode, (_, is_sure) in written.items() if not is_sure]
    for kept in {frozenset(kept) for kept in kept_sets}:
        chosen = [op for at, op in entries if at in kept or at not in unsure]
        for damage in _damages(torn, older):
            contents = {inode: damage.get(inode, _whole)(content) for inode, (content, _) in written.items()}
            yield _replay(recording.before, chosen, contents), acknowledged


def _damages(torn: list[int], older: dict[int, bytes]) -> Iterator[dict[int, Callable[[bytes], bytes]]]:
    yield {}
    yield {inode: _always(older.get(inode, b"")) for inode in torn}
    for cut_off in (_nothing, _half):
        yield dict.fromkeys(torn, cut_off)
        for inode in torn:
            yield {inode: cut_off}


def _always(content: bytes) -> Callable[[bytes], bytes]:
    return lambda _: content


def _whole(content: bytes) -> bytes:
    return content


def _nothing(_: bytes) -> bytes:
    return b""


def _half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _replay(
    before: dict[str, bytes | None], entries: list[Entry], contents: dict[int, bytes]
) -> dict[str, bytes | None]:
    """The tree after some entry changes; `before` was on the disk for certain, its inodes numbered in sorted order."""
    directories: dict[int, dict[str, int]] = {ROOT: {}}
    numbers = {"": ROOT}
    known: dict[int, bytes | None] = {}
    for number, name in enumerate(sorted(before), start=1):
        parent, _, base = name.rpartition("/")
        numbers[name] = number
        directories.setdefault(numbers[parent], {})[base] = number
        known[number] = before[name]
    for entry in entries:
        if entry.removed is not None:
            at, base = entry.removed
            if directories.get(at, {}).get(base) == entry.inode:
                del directories[at][base]
        if entry.added is not None:
            at, base = entry.added
            directories.setdefault(at, {})[base] = entry.inode
            known.setdefault(entry.inode, None if entry.is_directory else b"")
    tree: dict[str, bytes | None] = {}

    def walk(inode: int, path: str) -> None:
        for base, child in directories.get(inode, {}).items():
            name = f"{path}/{base}" if path else base
            tree[name] = contents.get(child, known[child])
            if tree[name] is None:
                walk(child, name)

    walk(ROOT, "")
    return tree


def _tree(root: Path) -> dict[str, bytes | None]:
    return {
        _name(root, path): None if path.is_dir() else path.read_bytes()
        for path in root.rglob("*")
        if path.name != ".lock"
    }


def _name(root: Path, path: Path) -> str:
    return "" if path == root else str(path.relative_to(root))
