"""The same stages on both engines: CPU seconds of Spark on this machine (`local[2]`, Java counted) against DuckDB, on the same files.

    python -m tests.benchmarks.engines --sizes 100000 --spark-python .venv-spark/bin/python [--java-options=-XX:TieredStopAtLevel=1] [--results FILE]

Collecting, cleaning, scoring and training features, in one process an engine: Spark's start and its compilers are paid once, as in a run.
Belongs here: that comparison. Does not belong here: stages alone (`scale`), what the engines answer (tests/engines).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks.bench import CONFIG, Figure, measured
from tests.benchmarks.lines import Results, machine, show_heads, take, working_folder

ON_SPARK, ON_DUCKDB = "on Spark", "on DuckDB"
SPARK = "engine: {kind: spark, master: 'local[2]', driver_memory: 4g, conf: {%s}}\n"
JAVA = "Java"


def run_engines(size: int, spark_python: str, java_options: str, folder: Path, results: Results) -> None:
    """A line for each engine: Spark's CPU is that of Python and of Java together. Java's options, where there are other ones than the engine's own, are named in the line."""
    export = folder / "export"
    measured([sys.executable, "-m", "tests.benchmarks.exports", str(export), str(size), "csv"], folder)
    on_spark = f"{ON_SPARK}, {java_options}" if java_options else ON_SPARK
    conf = f"spark.driver.extraJavaOptions: '{java_options}'" if java_options else ""
    ways = {ON_DUCKDB: (sys.executable, ""), on_spark: (spark_python, SPARK % conf)}
    for stage, (python, settings) in ways.items():
        place = folder / ("duckdb" if stage == ON_DUCKDB else "spark")
        place.mkdir()
        text = CONFIG.replace("exports: export", f"exports: {export}") + settings
        (place / "pipeline.yaml").write_text(text, encoding="utf-8")

        def measure(python: str = python, place: Path = place) -> Figure:
            figure = measured([python, "-m", "tests.benchmarks.engines", "--stages"], place)
            java = json.loads((place / "parts.json").read_text(encoding="utf-8"))[JAVA]
            return Figure(figure.wall, figure.cpu + java, figure.peak_mb)

        take(results, size, "csv", stage, place, measure)


def stages(folder: Path) -> None:
    """Collect, clean and build both kinds of features; leaves the CPU seconds of each in `parts.json`, and those of child processes as Java's."""
    from dagster_project.opening import open_engine
    from sales_pipeline.clean.prepare import prepare
    from sales_pipeline.domain.time import AsOf
    from sales_pipeline.features.build import build
    from sales_pipeline.ingest.exports import collect, newest_recorded_instant, visible
    from sales_pipeline.lake.layout import Lake
    from sales_pipeline.settings import load_settings

    spent = {"start": time.process_time()}

    @contextmanager
    def part(name: str) -> Iterator[None]:
        before = time.process_time() + cpu_below(os.getpid())
        yield
        spent[name] = time.process_time() + cpu_below(os.getpid()) - before

    settings = load_settings(folder / "pipeline.yaml")
    lake = Lake(settings.lake)
    with part("engine"):
        engine = open_engine(settings)
    with engine:
        with part("collect"):
            exports = collect(lake, settings.exports, settings.mapping, engine)
            as_of = AsOf.end_of_day(AsOf(newest_recorded_instant(exports)).day())
        with part("clean"):
            canonical = prepare(lake, visible(exports, as_of), settings.mapping, settings.clean, engine)
        for purpose in ("scoring", "training"):
            with part(f"{purpose} features"):
                build(lake, canonical, as_of, purpose=purpose, params=settings.features, engine=engine)
        spent[JAVA] = cpu_below(os.getpid())
    (folder / "parts.json").write_text(json.dumps(spent), encoding="utf-8")


def cpu_below(parent: int) -> float:
    """CPU seconds so far of the processes a process started and that are still there, and of those they started (Linux)."""
    found: dict[int, tuple[int, float]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            cells = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        found[int(path.parent.name)] = int(cells[1]), sum(int(cells[place]) for place in (11, 12, 13, 14)) / os.sysconf("SC_CLK_TCK")  # fmt: skip
    below, total = [parent], 0.0
    while below:
        above = below.pop()
        for process, (started_by, seconds) in found.items():
            if started_by == above:
                below.append(process)
                total += seconds
    return total


def main() -> None:
    """Print the lines and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="20000")
    parser.add_argument("--spark-python", default=".venv-spark/bin/python", help="the Python of an environment with pyspark")  # fmt: skip
    parser.add_argument(
        "--java-options", default="", help="options for Spark's Java in place of the engine's own, to see what they do"
    )
    parser.add_argument("--results", type=Path, help="append the figures to this file")
    parser.add_argument("--stages", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.stages:
        stages(Path(os.environ["BENCH_FOLDER"]))
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    results = Results(given.results)
    print(machine())
    show_heads()
    for size in (int(part) for part in given.sizes.split(",")):
        with working_folder(None, f"engines-{size}") as folder:
            run_engines(size, given.spark_python, given.java_options, folder, results)
    for line in results.lines:
        parts = ", ".join(f"{name} {seconds:.1f}" for name, seconds in line.parts.items())
        print(f"{line.size:,} {line.stage}: {line.cpu:.1f} CPU s ({parts})")


if __name__ == "__main__":
    main()
