"""What the first run of the sample costs, from an empty lake to the published queue, and how much of it is the frameworks' own.

    python -m tests.benchmarks.cold [--opportunities 5000] [--seed 7] [--stacks FILE] [--results FILE]

One process does the whole job (`sales-pipeline run`: ingest, cleaning, checks, features, leak ledger, training, prediction, queue, management, publish);
within it a thread looks every few milliseconds at what the main thread is doing. The wall and CPU seconds since the look before are put
down to the innermost frame that is ours or a framework's: numpy called by us is ours, SQLAlchemy called by MLflow is MLflow's, a module that Dagster
is the first to ask for is Dagster's import. What a framework is there for (a check that Great Expectations runs) counts as the framework's too.
Beside them stands the part of the wall in which the main thread could have run but other work had the cores: on a quiet machine it is not there.

`--stacks` keeps the sums per call stack, one a line, for a flame graph.
Belongs here: the measurement. Does not belong here: what the stages cost at size (bench, scale).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import threading
import time
from collections import defaultdict
from functools import cache
from pathlib import Path
from types import FrameType

from tests.benchmarks.bench import Figure, measured
from tests.benchmarks.lines import Line, Results, machine

SAMPLE = Path(__file__).parents[2] / "data" / "pipeline.yaml"
INTERVAL_SECONDS = 0.004
FRAMEWORKS = {"dagster": "Dagster", "mlflow": "MLflow", "great_expectations": "Great Expectations"}
PIECES = {"dagster_shared": "dagster", "dagster_pipes": "dagster", "mlflow_skinny": "mlflow"}
OURS = ("sales_pipeline", "dagster_project")
CARRIERS = ("lake", "settings", "errors")
"""Packages that only carry what another one does."""
COLD = "the sample, whole job, cold"
IMPORT = "<frozen importlib._bootstrap>"
LIBRARIES = "other libraries' imports"
SMALL = (["--help"], ["tables"], ["show", "follow_up_queue"], ["config", "show"], ["doctor"])
BENCHMARK = ("<benchmark>", "write")
Spent = tuple[float, float, float]
"""Wall and CPU seconds, and those of the wall in which the main thread could have run but other work had the cores."""


class Sampler(threading.Thread):
    """Sums what this process spends per call stack of the main thread; stacks are tuples of (file, function), outermost first."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.spent: dict[tuple[tuple[str, str], ...], list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
        self._main = threading.main_thread().ident
        self._done = threading.Event()

    def run(self) -> None:
        """Look until told to stop."""
        before = clocks()
        while not self._done.wait(INTERVAL_SECONDS):
            # A frame is not kept until the next look: its variables would outlive it.
            spent = self.spent[stack_of(sys._current_frames().get(self._main or 0))]
            now = clocks()
            for place, (earlier, later) in enumerate(zip(before, now, strict=True)):
                spent[place] += later - earlier
            before = now

    def stop(self) -> None:
        """Stop looking."""
        self._done.set()
        self.join()


def clocks() -> Spent:
    """What this process has spent; waiting as Linux counts it, 0 elsewhere."""
    path = Path("/proc/self/schedstat")
    waited = int(path.read_bytes().split()[1]) / 1e9 if path.is_file() else 0.0
    return time.perf_counter(), time.process_time(), waited


def stack_of(frame: FrameType | None) -> tuple[tuple[str, str], ...]:
    """The calls of a frame, outermost first."""
    calls = []
    while frame is not None:
        calls.append((frame.f_code.co_filename, frame.f_code.co_name))
        frame = frame.f_back
    return tuple(reversed(calls))


@cache
def package_of(file: str) -> str | None:
    """The package of ours or of a framework that a file belongs to; None for any other."""
    parts = Path(file).parts
    for position, part in enumerate(parts):
        package = PIECES.get(part, part)
        if package in OURS or (package in FRAMEWORKS and parts[position - 1] == "site-packages"):
            return package
    return None


def category_of(stack: tuple[tuple[str, str], ...]) -> tuple[str, str]:
    """Whose a stack is, and what it does: (framework, part) or ("ours", package or imports); the benchmark's own notes as they are."""
    if stack == (BENCHMARK,):
        return BENCHMARK
    is_import = False
    for file, _ in reversed(stack):
        is_import = is_import or file == IMPORT
        package = package_of(file)
        if package in FRAMEWORKS:
            if is_import:
                return FRAMEWORKS[package], "imports"
            is_database = any("alembic" in file or "/mlflow/store/db" in file for file, _ in stack)
            return FRAMEWORKS[package], "database set-up" if is_database else "calls"
        if package is not None:
            return ("ours", LIBRARIES) if is_import else ("ours", stage_of(stack))
    return "ours", "start of the interpreter" if is_import else "the rest"


def stage_of(stack: tuple[tuple[str, str], ...]) -> str:
    """The package of the library that was called first, those that carry others aside."""
    called = ["dagster_project"]
    for file, _ in stack:
        parts = Path(file).parts
        if "sales_pipeline" in parts and (rest := parts[parts.index("sales_pipeline") + 1 :]):
            called.append(rest[0].removesuffix(".py"))
    return next((name for name in called[1:] if name not in CARRIERS), called[-1])


def run_sampled(target: Path, arguments: list[str]) -> None:
    """The command line in this process, sampled; the sums go to `target`, one JSON line per stack."""
    sampler = Sampler()
    sampler.start()
    try:
        from dagster_project.cli import main as command

        command(arguments)
    finally:
        sampler.stop()
        before = clocks()
        with target.open("w", encoding="utf-8") as out:
            for stack, spent in sampler.spent.items():
                out.write(json.dumps([stack, spent]) + "\n")
            wrote = [later - earlier for earlier, later in zip(before, clocks(), strict=True)]
            out.write(json.dumps([[BENCHMARK], wrote]) + "\n")


def read_sums(path: Path) -> dict[tuple[str, str], Spent]:
    """What was spent by category."""
    sums: dict[tuple[str, str], list[Spent]] = defaultdict(list)
    for line in path.read_text(encoding="utf-8").splitlines():
        stack, spent = json.loads(line)
        sums[category_of(tuple((file, name) for file, name in stack))].append(spent)
    return {category: added(parts) for category, parts in sums.items()}


def added(parts: list[Spent]) -> Spent:
    """Sums of each."""
    wall, cpu, waited = (sum(column) for column in zip(*parts, strict=True)) if parts else (0.0, 0.0, 0.0)
    return wall, cpu, waited


def show(whole: Figure, sums: dict[tuple[str, str], Spent]) -> dict[str, float]:
    """The table: the whole job, the frameworks by part, ours by package. Returns the seconds of the frameworks, of waiting and of the benchmark itself."""

    def row(label: str, spent: Spent) -> None:
        print(f"{label:<44}  {spent[0]:>7.2f}  {spent[1]:>7.2f}  {spent[2]:>7.2f}")

    wrote = sums.pop(BENCHMARK, (0.0, 0.0, 0.0))
    seen = added(list(sums.values()))
    wall, cpu = whole.wall - wrote[0], whole.cpu - wrote[1]
    print(f"{'':<44}  {'wall s':>7}  {'CPU s':>7}  {'waited*':>7}")
    row(COLD, (wall, cpu, seen[2]))
    frameworks = {key: spent for key, spent in sums.items() if key[0] in FRAMEWORKS.values()}
    row("of which frameworks", added(list(frameworks.values())))
    for (owner, part), spent in sorted(frameworks.items()):
        row(f"  {owner}: {part}", spent)
    own = {key: spent for key, spent in sums.items() if key not in frameworks}
    row("of which ours", added(list(own.values())))
    for (_, part), spent in sorted(own.items(), key=lambda item: -item[1][1]):
        row(f"  {part}", spent)
    row("not seen (child processes, start and end)", (max(0.0, wall - seen[0]), max(0.0, cpu - seen[1]), 0.0))
    print("* part of the wall in which other work had the cores")
    spent = added(list(frameworks.values()))
    return {
        "frameworks": spent[0],
        "frameworks CPU": spent[1],
        "frameworks waiting": spent[2],
        "waiting": seen[2],
        "benchmark": wrote[0],
    }


def bench(folder: Path, opportunities: int, seed: int, stacks: Path, results: Results) -> None:
    """Simulate, run, print. The kept line's parts are wall seconds."""
    command = str(Path(sys.executable).parent / "sales-pipeline")
    landing = str(folder / "landing")
    measured([command, "simulate", landing, "--opportunities", str(opportunities), "--seed", str(seed)], folder)
    config = folder / SAMPLE.name
    config.write_bytes(SAMPLE.read_bytes())
    load = os.getloadavg()[0]
    child = [sys.executable, "-m", "tests.benchmarks.cold", "--sampled", str(stacks), "--"]
    whole = measured([*child, "run", "-c", str(config)], folder)
    parts = show(whole, read_sums(stacks))
    print()
    wall = whole.wall - parts["benchmark"]
    results.add(Line(opportunities, COLD, wall, whole.cpu, whole.peak_mb, "sample", parts, 0.0, machine(), load))
    for arguments in SMALL:
        named = [] if arguments == ["--help"] else ["-c", str(config)]
        figure = measured([command, *arguments, *named], folder)
        print(f"{'sales-pipeline ' + ' '.join(arguments):<44}  {figure.wall:>7.2f}  {figure.cpu:>7.2f}")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--opportunities", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--stacks", type=Path)
    parser.add_argument("--results", type=Path, help="append the figure to this file")
    parser.add_argument("--sampled", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("command", nargs="*", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.sampled:
        run_sampled(given.sampled, given.command)
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bench(folder, given.opportunities, given.seed, given.stacks or folder / "stacks.jsonl", Results(given.results))


if __name__ == "__main__":
    main()
