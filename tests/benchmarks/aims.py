"""What was aimed at and what was reached: a table from the measured lines, figure by figure, none typed by hand.

A figure counts as reached only where it was measured at the size the aim names; what a smaller size gave is shown, and said to be that.

    python -m tests.benchmarks.aims FILE.jsonl …

Belongs here: the aims and their judgement. Does not belong here: measuring (`scale`, `days`, `cold`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.cold import COLD
from tests.benchmarks.days import NEW_DAY, UNCHANGED, shares
from tests.benchmarks.engines import ON_DUCKDB, ON_SPARK
from tests.benchmarks.lines import Line, by_size, read_lines
from tests.benchmarks.scale import COUNTED, DATA_STAGES, TOGETHER, counted_cpu, floor_cpu, growth, is_whole

MILLION = 1_000_000
SAMPLE = 5_000
Sizes = dict[tuple[int, str], list[Line]]
Found = dict[int, float]
"""A figure by the size it was measured at."""


@dataclass(frozen=True)
class Aim:
    """A figure, the bound it should keep, the size it is meant for (None: any), and how it follows from the lines. `unit` is how a value is written."""

    name: str
    bound: float
    size: int | None
    found: Callable[[Sizes], Found]
    unit: str = "{:.2f}"
    is_least: bool = False

    def is_reached(self, value: float) -> bool:
        """Whether a value keeps the bound."""
        return value >= self.bound if self.is_least else value <= self.bound


@dataclass(frozen=True)
class Judged:
    """An aim with the figure nearest to the size it names; `reached` is None where that is another size or nothing was measured."""

    aim: Aim
    size: int | None
    value: float | None
    reached: bool | None

    def cells(self) -> tuple[str, str, str, str, str]:
        """Figure, aim, what was measured, at which size, reached."""
        bound = ("at least " if self.aim.is_least else "at most ") + self.aim.unit.format(self.aim.bound)
        if self.value is None:
            return self.aim.name, bound, "–", "–", "not measured"
        verdict = {True: "yes", False: "no", None: f"not measured at {self.aim.size or 0:,}"}[self.reached]
        return self.aim.name, bound, self.aim.unit.format(self.value), f"{self.size:,}", verdict


def _floor_ratio(sizes: Sizes) -> Found:
    return {size: counted_cpu(lines) / floor_cpu(lines) for (size, kind), lines in sizes.items() if kind == "csv" and is_whole(lines)}  # fmt: skip


def _exponent(sizes: Sizes) -> Found:
    """Between a size and ten times it, of the same kind of files; the larger one is the size it counts for."""
    found = {}
    for (size, kind), lines in sizes.items():
        small = sizes.get((size // 10, kind))
        if small is not None and is_whole(small) and is_whole(lines):
            found[size] = growth(small, lines)[TOGETHER]
    return found


def _peak(sizes: Sizes) -> Found:
    return {size: max(line.peak_mb for line in lines if line.stage in DATA_STAGES) / 1000 for (size, _), lines in sizes.items() if is_whole(lines)}  # fmt: skip


def _share(stage: str) -> Callable[[Sizes], Found]:
    def found(sizes: Sizes) -> Found:
        return {size: 100 * known[stage] for (size, _), lines in sizes.items() if stage in (known := shares(lines))}

    return found


def _ratio(over: str, under: str, value: Callable[[Line], float]) -> Callable[[Sizes], Found]:
    """One line against another of the same size."""

    def found(sizes: Sizes) -> Found:
        pairs = [(size, {line.stage: line for line in lines}) for (size, _), lines in sizes.items()]
        return {size: value(by[over]) / value(by[under]) for size, by in pairs if over in by and under in by}

    return found


def _value(stage: str, value: Callable[[Line], float]) -> Callable[[Sizes], Found]:
    def found(sizes: Sizes) -> Found:
        return {line.size: value(line) for lines in sizes.values() for line in lines if line.stage == stage}

    return found


SCORING, BARE = "scoring", "bare prediction"
"""Lines whose parts have the `rows` predicted and the CPU `seconds` that took; their size is the rows, not opportunities."""

AIMS = (
    Aim(f"{', '.join(COUNTED)} against the floor, CPU, clean files (row ledger and GX apart)", 2.5, MILLION, _floor_ratio, "{:.1f} x"),
    Aim("growth over ten times the rows: exponent of CPU", 1.1, 10 * MILLION, _exponent),
    Aim("growth over ten times the rows: peak memory", 8.0, 10 * MILLION, _peak, "{:.1f} GB"),
    Aim("scoring: rows per second against bare prediction by the same model", 0.8, None, _ratio(SCORING, BARE, lambda line: line.parts["rows"] / line.parts["seconds"]), is_least=True),
    Aim("an unchanged day, rerun, against a full run, CPU", 5.0, MILLION, _share(UNCHANGED), "{:.1f} %"),
    Aim("a new day against a full run, CPU", 20.0, MILLION, _share(NEW_DAY), "{:.1f} %"),
    Aim("Spark local[2] against DuckDB, CPU", 5.0, MILLION, _ratio(ON_SPARK, ON_DUCKDB, lambda line: line.cpu), "{:.1f} x"),
    Aim(COLD, 60.0, SAMPLE, _value(COLD, lambda line: line.wall), "{:.0f} s"),
    Aim(f"{COLD}: frameworks", 15.0, SAMPLE, _value(COLD, lambda line: line.parts["frameworks"]), "{:.0f} s"),
)  # fmt: skip


def judge(lines: Iterable[Line]) -> list[Judged]:
    """Every aim with what the lines show of it: at its own size, else at the largest one measured."""
    sizes = by_size(lines)
    judged = []
    for aim in AIMS:
        found = aim.found(sizes)
        size = aim.size if aim.size in found else max(found, default=None)
        value = None if size is None else found[size]
        reached = aim.is_reached(value) if value is not None and aim.size in (size, None) else None
        judged.append(Judged(aim, size, value, reached))
    return judged


HEADS = ("figure", "aim", "measured", "at", "reached")


def text_table(judged: Iterable[Judged]) -> str:
    """The table for a terminal."""
    rows = [HEADS, *(one.cells() for one in judged)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(HEADS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def markdown_table(judged: Iterable[Judged]) -> str:
    """The table for a page."""
    rows = [HEADS, ("---", "---", "---:", "---:", "---"), *(one.cells() for one in judged)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> None:
    """Print a table for each file given, with the machines it was measured on."""
    for name in sys.argv[1:]:
        lines = read_lines([Path(name)])
        print(
            f"\n{name}, measured on: {'; '.join(sorted({line.machine for line in lines}))}\n{text_table(judge(lines))}"
        )


if __name__ == "__main__":
    main()
