"""Wall and CPU seconds and peak memory of every step of a run, in this process (Linux).

    python -m tests.benchmarks.steps PIPELINE_YAML

The same as `sales-pipeline run -c PIPELINE_YAML`; a step's peak is the largest resident set since it began, whatever was resident before it.
Belongs here: the measurement. Does not belong here: the stages without the application (`bench`, `scale`), a day against another (`days`).
"""

from __future__ import annotations

import argparse
import resource
import time
from dataclasses import dataclass, field
from pathlib import Path

BETWEEN = "between steps"


@dataclass
class Steps:
    """What was spent by step: wall seconds, CPU seconds, peak MB."""

    found: dict[str, list[float]] = field(default_factory=dict)
    name: str = "start"
    since: tuple[float, float] = (0.0, 0.0)

    def begin(self, name: str) -> None:
        """What is spent from now on is that step's."""
        now = (time.perf_counter(), _cpu())
        spent = self.found.setdefault(self.name, [0.0, 0.0, 0.0])
        spent[0] += now[0] - self.since[0]
        spent[1] += now[1] - self.since[1]
        spent[2] = max(spent[2], _peak_mb())
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        self.name, self.since = name, now

    def say(self, line: str) -> None:
        """A line of a run's progress: a step begins, or is done."""
        if line.endswith(" ..."):
            self.begin(line.removesuffix(" ..."))
        elif not line.startswith(" "):
            self.begin(line)
        elif line.startswith("  done"):
            self.begin(BETWEEN)


def _cpu() -> float:
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def _peak_mb() -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def main() -> None:
    """Run, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    given = parser.parse_args()
    steps = Steps(since=(time.perf_counter(), 0.0))
    from dagster_project.run import execute
    from sales_pipeline.settings import load_settings

    outcome = execute(load_settings(given.config), progress=steps.say)
    steps.begin("end")
    print(f"{'step':<52}{'wall s':>9}{'CPU s':>9}{'peak MB':>9}")
    for name, (wall, cpu, peak) in steps.found.items():
        print(f"{name:<52}{wall:>9.1f}{cpu:>9.1f}{peak:>9.0f}")
    totals = [sum(spent[place] for spent in steps.found.values()) for place in (0, 1)]
    print(f"{'together':<52}{totals[0]:>9.1f}{totals[1]:>9.1f}{max(spent[2] for spent in steps.found.values()):>9.0f}")
    print("\n".join(outcome.summary()))


if __name__ == "__main__":
    main()
