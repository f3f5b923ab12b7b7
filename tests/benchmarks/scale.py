"""From raw files to features at growing sizes: CPU and wall seconds, peak memory, the ratio to a floor, the exponent of growth.

Clean files (`exports.py`); every stage in a fresh process on a lake in which the stages before it are done. The start of a process (imports), the row ledger and
Great Expectations are shown apart from the work the target is about: ingest, clean and features. The floor reads the same files once and
writes Parquet, before and after the stages of a size; its mean is what ratios refer to. CPU seconds are what to compare: wall depends on who else runs.

    python -m tests.benchmarks.scale --sizes 100000 [--kind parquet] [--stages all] [--peers] [--polars-python PYTHON] [--keep FOLDER] [--json FILE]

Belongs here: the run and its table. Does not belong here: what a stage is (`bench`), the files (`exports`), peers (`scale_peers`).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import resource
import shutil
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.benchmarks.bench import CONFIG, STAGES, Figure, measured
from tests.benchmarks.exports import Kind

DATA_STAGES = ("ingest", "clean", "validation", "scoring features", "training features")
COUNTED = ("ingest", "clean", "training features")
"""The stages the target is about. Training features, because the prototype the target comes from built monthly snapshots too."""
CSV_SIZES_UP_TO = 1_000_000


@dataclass(frozen=True)
class Line:
    """One measured stage of one size; `work` is its CPU without start and row ledger."""

    size: int
    stage: str
    wall: float
    cpu: float
    start: float
    ledger: float
    peak_mb: float

    @property
    def work(self) -> float:
        """CPU seconds of the work itself."""
        return self.cpu - self.start - self.ledger


def run_size(size: int, kind: Kind, stages: tuple[str, ...], folder: Path, *, peers: dict[str, str]) -> list[Line]:
    """Every figure of one size, each printed when it is known. `peers`: by name, the Python that has them."""
    # In a process of its own: a child's peak memory starts at what its parent holds.
    measured([sys.executable, "-m", "tests.benchmarks.exports", str(folder / "export"), str(size), kind], folder)
    size_bytes = sum(path.stat().st_size for path in (folder / "export").iterdir())
    (folder / "csv").symlink_to(folder / "export")
    (folder / "pipeline.yaml").write_text(CONFIG, encoding="utf-8")
    python = [sys.executable, "-m", "tests.benchmarks.bench"]
    lines: list[Line] = []

    def note(stage: str, figure: Figure) -> None:
        noted = folder / "parts.json"
        parts = json.loads(noted.read_text(encoding="utf-8")) if noted.exists() else {"start": 0.0, "row ledger": 0.0}
        noted.unlink(missing_ok=True)
        line = Line(size, stage, figure.wall, figure.cpu, parts["start"], parts["row ledger"], figure.peak_mb)
        lines.append(line)
        _show(line)

    print(f"{size:,} opportunities, {size_bytes / 1e9:.2f} GB of {kind}", flush=True)
    note("floor", measured([*python, "--floor"], folder))
    for stage in stages:
        note(stage, measured([*python, "--stage", stage], folder))
    note("floor again", measured([*python, "--floor"], folder))
    for peer, interpreter in peers.items():
        note(peer, measured([interpreter, "tests/benchmarks/scale_peers.py", peer], folder))
    return lines


def _show(line: Line) -> None:
    cells = (line.wall, line.cpu, line.start, line.ledger, line.work)
    print(
        f"{line.size:>12,}  {line.stage:<18}" + "".join(f"{cell:>9.1f}" for cell in cells) + f"{line.peak_mb:>9.0f}",
        flush=True,
    )


def floor_cpu(lines: list[Line]) -> float:
    """Mean CPU seconds of the floor runs of one size."""
    found = [line.cpu for line in lines if line.stage.startswith("floor")]
    return sum(found) / len(found)


def counted_cpu(lines: list[Line]) -> float:
    """CPU seconds of ingest, clean and features without start, ledger and validation."""
    return sum(line.work for line in lines if line.stage in COUNTED)


def growth(small: list[Line], large: list[Line]) -> dict[str, float]:
    """Per stage the exponent of growth of its CPU between two sizes: 1 is linear."""
    before = {line.stage: line for line in small}
    times = math.log(large[0].size / small[0].size)
    return {line.stage: math.log(line.work / before[line.stage].work) / times for line in large if line.stage in before}


def summary(sizes: dict[int, list[Line]]) -> None:
    """Ratios to the floor and exponents of growth."""
    for size, lines in sizes.items():
        floor = floor_cpu(lines)
        print(f"\n{size:,}: floor {floor:.1f} CPU s; CPU seconds as multiples of it")
        for line in lines:
            if not line.stage.startswith("floor"):
                print(f"    {line.stage:<18}{line.work / floor:>7.2f}   with start and ledger {line.cpu / floor:.2f}")
        if all(any(line.stage == stage for line in lines) for stage in COUNTED):
            print(f"    {' + '.join(COUNTED)}: {counted_cpu(lines) / floor:.2f} x the floor (target 2.5 at 1,000,000)")
    for small, large in zip(list(sizes), list(sizes)[1:], strict=False):
        print(f"\nexponent of growth in CPU from {small:,} to {large:,} (1 is linear)")
        for stage, exponent in growth(sizes[small], sizes[large]).items():
            print(f"    {stage:<18}{exponent:>7.2f}")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="100000")
    parser.add_argument("--kind", choices=("csv", "parquet"), help=f"csv up to {CSV_SIZES_UP_TO:,}, else parquet")
    parser.add_argument("--stages", choices=("data", "all"), default="data", help="all: training and prediction too")
    parser.add_argument("--peers", action="store_true", help="pandas on the same CSV files")
    parser.add_argument(
        "--polars-python", default="", help="the Python of an environment with Polars: peers, Polars too"
    )
    parser.add_argument("--keep", type=Path, help="work in this folder and leave the lakes there")
    parser.add_argument("--json", type=Path, help="write the figures here")
    given = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    machine = f"{os.cpu_count()} cores, {memory:.0f} GB, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f} at the start"
    print(machine)
    heads = ("wall s", "CPU s", "start", "ledger", "work", "peak MB")
    print(f"{'opportunities':>12}  {'stage':<17}" + "".join(f"{head:>9}" for head in heads))
    peers = {"pandas": sys.executable} if given.peers or given.polars_python else {}
    if given.polars_python:
        peers["polars"] = given.polars_python
    found: dict[int, list[Line]] = {}
    for size in (int(part) for part in given.sizes.split(",")):
        folder = Path(tempfile.mkdtemp(prefix=f"scale-{size}-", dir=given.keep))
        kind: Kind = given.kind or ("csv" if size <= CSV_SIZES_UP_TO else "parquet")
        try:
            found[size] = run_size(size, kind, DATA_STAGES if given.stages == "data" else STAGES, folder, peers=peers if kind == "csv" else {})  # fmt: skip
        finally:
            if given.keep is None:
                shutil.rmtree(folder)
    summary(found)
    if given.json:
        measured_lines = [asdict(line) for lines in found.values() for line in lines]
        given.json.write_text(json.dumps({"machine": machine, "lines": measured_lines}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
