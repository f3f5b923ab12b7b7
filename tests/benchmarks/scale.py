"""From raw files to features at growing sizes: CPU and wall seconds, peak memory, disk, the ratio to a floor, the exponent of growth.

Clean files (`exports.py`); every stage in a fresh process on a lake in which the stages before it are done. The start of a process (imports), the row ledger and
Great Expectations are shown apart from the work the target is about: ingest, clean and features. The floor reads the same files once and
writes Parquet, before and after the stages of a size; its mean is what ratios refer to. CPU seconds are what to compare: wall depends on who else runs.

    python -m tests.benchmarks.scale --sizes 100000 [--kind parquet] [--stages all] [--days] [--peers] [--polars-python PYTHON] [--keep FOLDER] [--results FILE]

Ten million opportunities: `--sizes 10000000 --keep FOLDER --results FILE`; called again after an interruption it goes on where it was.
Belongs here: the run of the stages and its table. Does not belong here: what a stage is (`bench`), days (`days`), the files (`exports`), peers (`scale_peers`).
"""

from __future__ import annotations

import argparse
import math
import resource
import shutil
import sys
from collections.abc import Collection, Iterable
from itertools import pairwise
from pathlib import Path

from sales_pipeline.lake.tables import file_sha256
from tests.benchmarks.bench import CONFIG, STAGES, measured
from tests.benchmarks.days import run_days, shares
from tests.benchmarks.exports import Kind
from tests.benchmarks.lines import Line, Results, by_size, machine, show_heads, take, working_folder

DATA_STAGES = ("ingest", "clean", "validation", "training features", "scoring features")
"""In their order: what features of both kinds share is made, and counted, with those the target is about."""
COUNTED = ("ingest", "clean", "training features")
"""The stages the target is about. Training features, because the prototype the target comes from built monthly snapshots too."""
TOGETHER = " + ".join(COUNTED)
CSV_SIZES_UP_TO = 1_000_000


def run_size(
    size: int, kind: Kind, stages: tuple[str, ...], folder: Path, results: Results, *, peers: dict[str, str], is_kept: bool
) -> None:  # fmt: skip
    """Every figure of one size. `peers`: by name, the Python that has them. In a kept folder what was measured before is not measured again."""
    python = [sys.executable, "-m", "tests.benchmarks.bench"]

    def note(stage: str, *command: str) -> None:
        take(results, size, kind, stage, folder, lambda: measured(list(command), folder), again=not is_kept)

    # In a process of its own: a child's peak memory starts at what its parent holds.
    note("export", sys.executable, "-m", "tests.benchmarks.exports", str(folder / "export"), str(size), kind)
    if not (folder / "pipeline.yaml").exists():
        (folder / "csv").symlink_to(folder / "export")
        (folder / "pipeline.yaml").write_text(CONFIG, encoding="utf-8")
    note("floor", *python, "--floor")
    shutil.rmtree(folder / "floor", ignore_errors=True)
    for stage in stages:
        note(stage, *python, "--stage", stage)
        if stage == "ingest":
            link_to_kept(folder / "export", folder / "lake" / "exports" / "files")
            # The links are new to the lake, which reads them through once: no later stage's work.
            measured([*python, "--stage", stage], folder)
    note("floor again", *python, "--floor")
    shutil.rmtree(folder / "floor", ignore_errors=True)
    for peer, interpreter in peers.items():
        note(peer, interpreter, "tests/benchmarks/scale_peers.py", peer)


def link_to_kept(landing: Path, kept: Path) -> None:
    """Put links in place of landed files that the lake keeps: the same bytes once on disk, which is what lets large sizes fit."""
    by_digest = {path.name: path for path in kept.iterdir()}
    for path in sorted(path for path in landing.iterdir() if path.is_file() and not path.is_symlink()):
        same = by_digest.get(file_sha256(path))
        if same is not None:
            path.unlink()
            path.symlink_to(same)


def floor_cpu(lines: list[Line]) -> float:
    """Mean CPU seconds of the floor runs of one size."""
    found = [line.cpu for line in lines if line.stage.startswith("floor")]
    return sum(found) / len(found)


def counted_cpu(lines: list[Line]) -> float:
    """CPU seconds of ingest, clean and features without start, ledger and validation."""
    return sum(line.work for line in lines if line.stage in COUNTED)


def growth(small: list[Line], large: list[Line]) -> dict[str, float]:
    """Per stage, and for those that count together, the exponent of growth of the CPU of the work between two sizes: 1 is linear."""
    times = math.log(large[0].size / small[0].size)
    before = {line.stage: line.work for line in small}
    found = {line.stage: line.work for line in large if line.stage in before}
    if is_whole(small) and is_whole(large):
        before[TOGETHER], found[TOGETHER] = counted_cpu(small), counted_cpu(large)
    return {stage: math.log(work / before[stage]) / times for stage, work in found.items() if work > 0 < before[stage]}


def is_whole(lines: list[Line]) -> bool:
    """Whether a size has a floor and every stage the target is about."""
    return {line.stage for line in lines} >= {"floor", *COUNTED}


def pairs(sizes: Iterable[tuple[int, str]]) -> list[tuple[tuple[int, str], tuple[int, str]]]:
    """Neighbouring sizes of the same kind of files, between which growth can be told."""
    found = []
    for kind in ("csv", "parquet"):
        same = sorted(key for key in sizes if key[1] == kind)
        found += list(pairwise(same))
    return found


def summary(lines: Iterable[Line], peers: Collection[str]) -> None:
    """Ratios to the floor and exponents of growth."""
    sizes = by_size(lines)
    for (size, kind), found in sizes.items():
        if not any(line.stage == "floor" for line in found):
            continue
        floor = floor_cpu(found)
        print(f"\n{size:,} ({kind}): floor {floor:.1f} CPU s; CPU seconds as multiples of it")
        for line in found:
            if line.stage in STAGES or line.stage in peers:
                print(f"    {line.stage:<28}{line.work / floor:>7.2f}   with start and ledger {line.cpu / floor:.2f}")
        if is_whole(found):
            print(f"    {TOGETHER}: {counted_cpu(found) / floor:.2f} x the floor (target 2.5 at 1,000,000)")
    for (size, kind), found in sizes.items():
        for stage, share in shares(found).items():
            print(f"\n{size:,} ({kind}): {stage} {100 * share:.1f} % of the CPU of a full one")
    for small, large in pairs(sizes):
        print(f"\nexponent of growth in CPU from {small[0]:,} to {large[0]:,}, {small[1]} (1 is linear)")
        for stage, exponent in growth(sizes[small], sizes[large]).items():
            print(f"    {stage:<28}{exponent:>7.2f}")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="100000")
    parser.add_argument("--kind", choices=("csv", "parquet"), help=f"csv up to {CSV_SIZES_UP_TO:,}, else parquet")
    parser.add_argument("--stages", choices=("data", "all", "none"), default="data", help="all: training and prediction too")  # fmt: skip
    parser.add_argument("--days", action="store_true", help="whole runs too: all, an unchanged day, a new day")
    parser.add_argument("--peers", action="store_true", help="pandas on the same CSV files")
    for peer in ("polars", "featuretools"):
        parser.add_argument(f"--{peer}-python", help=f"the Python of an environment with {peer}: that peer too")
    parser.add_argument("--keep", type=Path, help="work in this folder, leave the lakes there, and take up what an earlier call began")  # fmt: skip
    parser.add_argument("--results", type=Path, help="append the figures to this file as they become known")
    given = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    peers = {"pandas": sys.executable} if given.peers else {}
    peers |= {name: python for name in ("polars", "featuretools") if (python := getattr(given, f"{name}_python"))}
    stages = {"data": DATA_STAGES, "all": STAGES, "none": ()}[given.stages]
    results = Results(given.results)
    print(machine())
    show_heads()
    for size in (int(part) for part in given.sizes.split(",")):
        kind: Kind = given.kind or ("csv" if size <= CSV_SIZES_UP_TO else "parquet")
        with working_folder(given.keep, f"{size}-{kind}") as folder:
            run_size(size, kind, stages, folder, results, peers=peers if kind == "csv" else {}, is_kept=given.keep is not None)  # fmt: skip
            if given.days:
                run_days(size, kind, folder, results, is_kept=given.keep is not None)
    summary(results.lines, peers)


if __name__ == "__main__":
    main()
