"""Measured lines: one JSON object a line in a file that is appended to as figures become known, so that a long run can be taken up again.

Belongs here: the line, the file, the machine it was measured on. Does not belong here: measuring (`bench`, `scale`, `days`), judging (`aims`).
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.benchmarks.bench import Figure

HEADS = ("wall s", "CPU s", "start", "ledger", "work", "peak MB", "disk GB")


@dataclass(frozen=True)
class Line:
    """One measured process.

    `parts` are CPU seconds within it by what they were for (`start`: before the work began; `row ledger`; stages), or counts by name (`rows`).
    `disk_gb` is what the benchmark's folder held afterwards; 0 where it was not looked at. `load` is the machine's average before it.
    """

    size: int
    stage: str
    wall: float
    cpu: float
    peak_mb: float
    kind: str = "csv"
    parts: dict[str, float] = field(default_factory=dict)
    disk_gb: float = 0.0
    machine: str = ""
    load: float = 0.0

    @property
    def start(self) -> float:
        """CPU seconds before the work began: imports."""
        return self.parts.get("start", 0.0)

    @property
    def ledger(self) -> float:
        """CPU seconds of the row ledger."""
        return self.parts.get("row ledger", 0.0)

    @property
    def work(self) -> float:
        """CPU seconds of the work itself: without start and row ledger."""
        return self.cpu - self.start - self.ledger


class Results:
    """The lines of a file (or of none), the last one of each size, kind and stage; each new one is printed and appended at once."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._lines = {key_of(line): line for line in read_lines([path] if path is not None and path.exists() else [])}

    def find(self, size: int, kind: str, stage: str) -> Line | None:
        """What was measured before."""
        return self._lines.get((size, kind, stage))

    def add(self, line: Line) -> Line:
        """Keep a line, print it, append it to the file."""
        show(line)
        return self.keep(line)

    def keep(self, line: Line) -> Line:
        """The same without printing."""
        self._lines[key_of(line)] = line
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as handle:
                handle.write(json.dumps(asdict(line), sort_keys=True) + "\n")
        return line

    @property
    def lines(self) -> list[Line]:
        """All lines, in the order in which they were first met."""
        return list(self._lines.values())


def take(
    results: Results,
    size: int,
    kind: str,
    stage: str,
    folder: Path,
    measure: Callable[[], Figure],
    *,
    again: bool = True,
) -> Line:
    """Measure a stage and keep the line, with what the process left in the folder's `parts.json`; unless `again`, a line that is there stands."""
    known = results.find(size, kind, stage)
    if known is not None and not again:
        show(known)
        return known
    load, noted = os.getloadavg()[0], folder / "parts.json"
    noted.unlink(missing_ok=True)
    figure = measure()
    parts = json.loads(noted.read_text(encoding="utf-8")) if noted.exists() else {}
    return results.add(
        Line(size, stage, figure.wall, figure.cpu, figure.peak_mb, kind, parts, disk_gb(folder), machine(), load)
    )


def key_of(line: Line) -> tuple[int, str, str]:
    """What a line is about; a later one about the same takes its place."""
    return line.size, line.kind, line.stage


def read_lines(paths: Iterable[Path]) -> list[Line]:
    """The lines of several files, a later one about the same in place of an earlier."""
    found = {}
    for path in paths:
        for text in path.read_text(encoding="utf-8").splitlines():
            line = Line(**json.loads(text))
            found[key_of(line)] = line
    return list(found.values())


def by_size(lines: Iterable[Line]) -> dict[tuple[int, str], list[Line]]:
    """Lines by size and kind of files, small sizes first."""
    found: dict[tuple[int, str], list[Line]] = {}
    for line in lines:
        found.setdefault((line.size, line.kind), []).append(line)
    return dict(sorted(found.items()))


def show_heads() -> None:
    """The heads of what `show` prints."""
    print(f"{'opportunities':>13}  {'stage':<28}" + "".join(f"{head:>9}" for head in HEADS), flush=True)


def show(line: Line) -> None:
    """One line of the table, as soon as it is known."""
    cells = (line.wall, line.cpu, line.start, line.ledger, line.work)
    text = "".join(f"{cell:>9.1f}" for cell in cells)
    print(f"{line.size:>13,}  {line.stage:<28}{text}{line.peak_mb:>9.0f}{line.disk_gb:>9.1f}", flush=True)


def machine() -> str:
    """The machine this runs on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return f"{os.cpu_count()} cores, {memory:.0f} GB, Python {platform.python_version()}"


def disk_gb(folder: Path) -> float:
    """What a folder holds, in GB, links not followed."""
    return sum(path.lstat().st_size for path in folder.rglob("*")) / 1e9


@contextmanager
def working_folder(kept: Path | None, name: str) -> Iterator[Path]:
    """A folder of that name to come back to, or one that is removed at the end."""
    if kept is not None:
        (kept / name).mkdir(parents=True, exist_ok=True)
        yield kept / name
        return
    with tempfile.TemporaryDirectory(prefix=f"{name}-") as folder:
        yield Path(folder)
