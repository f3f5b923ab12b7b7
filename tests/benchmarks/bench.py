"""`make bench`: wall and CPU seconds, peak memory, and the CPU ratio to a floor measured in the same run.

The floor is DuckDB reading the export's files once, as text, and writing Parquet. Every stage runs in a fresh process on a
lake in which the stages before it are done, so that a figure is that stage's alone plus its imports.

    python -m tests.benchmarks.bench [--sizes 5000,100000] [--seed 7] [--keep FOLDER]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CONFIG = """source_system: bench
exports: export
lake: lake
start_date: 2024-01-01
mapping:
  dialect: salesforce
  currency: USD
  extract: {opportunities: delta, accounts: delta, state_history: delta, activities: delta}
"""
"""Of one export the tables are the same in full or delta extracts; of later days (`exports`, DAY) only what happened is exported."""


@dataclass(frozen=True)
class Figure:
    """One measured process."""

    wall: float
    cpu: float
    peak_mb: float


def measured(arguments: list[str], folder: Path) -> Figure:
    """Run a process to its end; its own and its children's CPU, and the largest resident set among them."""
    started = time.perf_counter()
    process = subprocess.Popen(
        arguments,
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "BENCH_FOLDER": str(folder)},
    )
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 3):
        sys.stderr.write(output.decode(errors="replace"))
        raise SystemExit(f"{' '.join(arguments)} ended with {process.returncode}")
    return Figure(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def floor(folder: Path) -> None:
    """Read every file once as text, write Parquet."""
    import duckdb

    connection = duckdb.connect(config={"threads": 2})
    connection.execute("SET enable_progress_bar = false")
    (folder / "floor").mkdir(exist_ok=True)
    for path in sorted(path for path in (folder / "csv").iterdir() if path.is_file()):
        source = (
            f"read_parquet('{path}')"
            if path.suffix == ".parquet"
            else f"read_csv('{path}', all_varchar = true, ignore_errors = true, quote = '\"', strict_mode = false)"
        )
        connection.execute(
            f"COPY (SELECT * FROM {source}) TO '{folder / 'floor' / path.stem}.parquet' (FORMAT parquet, COMPRESSION zstd)"
        )


@contextmanager
def parts(path: Path) -> Iterator[None]:
    """Note which CPU seconds of this process were the start and which the row ledger's: finding every record, and saying what became of it."""
    from sales_pipeline.clean.build import Build
    from sales_pipeline.ingest import exports, reader

    spent = {"start": time.process_time(), "row ledger": 0.0}

    def timed(owner: Any, name: str) -> None:
        inner = getattr(owner, name)

        def wrapped(*given: Any, **named: Any) -> Any:
            before = time.process_time()
            try:
                return inner(*given, **named)
            finally:
                spent["row ledger"] += time.process_time() - before

        setattr(owner, name, wrapped)

    for owner, name in ((reader.rec, "find_records"), (reader, "_ledger"), (exports, "write_ledger"), (Build, "_account_for")):  # fmt: skip
        timed(owner, name)
    yield
    path.write_text(json.dumps(spent), encoding="utf-8")


def stage(name: str, folder: Path) -> None:
    """One stage on the lake of the folder, everything before it taken from the lake.

    Leaves `parts.json` in the folder: the CPU seconds before the work began (imports) and of the row ledger within it.
    """
    from dagster_project.opening import open_engine
    from sales_pipeline.clean.prepare import prepare
    from sales_pipeline.domain.time import AsOf
    from sales_pipeline.features.build import build
    from sales_pipeline.features.leaks import leak_ledger
    from sales_pipeline.ingest.exports import collect, newest_recorded_instant, visible
    from sales_pipeline.lake.layout import Lake
    from sales_pipeline.settings import load_settings

    settings = load_settings(folder / "pipeline.yaml")
    lake = Lake(settings.lake)
    with open_engine(settings) as engine, parts(folder / "parts.json"):
        exports = collect(lake, settings.exports, settings.mapping, engine)
        if name == "ingest":
            return
        as_of = AsOf.end_of_day(AsOf(newest_recorded_instant(exports)).day())
        canonical = prepare(lake, visible(exports, as_of), settings.mapping, settings.clean, engine)
        if name == "clean":
            return
        if name == "validation":
            from sales_pipeline.clean.validate import validate

            for table in canonical.tables:
                validate(canonical, table)
            return
        if name == "scoring features":
            build(lake, canonical, as_of, purpose="scoring", params=settings.features, engine=engine)
            return
        training = build(lake, canonical, as_of, purpose="training", params=settings.features, engine=engine)
        if name == "training features":
            return
        if name == "training":
            from sales_pipeline.models.store import NullRecorder
            from sales_pipeline.models.train import train

            ledger = leak_ledger(lake, canonical, training, settings.mapping, engine)
            train(training, ledger, settings.training, models=lake.models, recorder=NullRecorder())
            return
        from sales_pipeline.models.predict import write_predictions

        scoring = build(lake, canonical, as_of, purpose="scoring", params=settings.features, engine=engine)
        write_predictions(next(lake.models.iterdir()), scoring, folder / "predicted", engine)


STAGES = ("ingest", "clean", "validation", "training features", "scoring features", "training", "prediction")


def bench(size: int, seed: int, folder: Path) -> None:
    """All figures of one size, each printed when it is known."""
    python = [sys.executable, "-m", "tests.benchmarks.bench"]
    command = str(Path(sys.executable).parent / "sales-pipeline")
    simulated = measured([command, "simulate", str(folder), "--opportunities", str(size), "--seed", str(seed)], folder)
    (folder / "csv").mkdir()
    for archive in sorted((folder / "export").glob("*.ZIP")):
        with zipfile.ZipFile(archive) as opened:
            for member in opened.namelist():
                (folder / "csv" / f"{archive.stem}_{member}").write_bytes(opened.read(member))
    (folder / "pipeline.yaml").write_text(CONFIG, encoding="utf-8")
    base = measured([*python, "--floor"], folder)

    def show(label: str, figure: Figure) -> None:
        cells = f"{figure.wall:>7.1f}  {figure.cpu:>7.1f}  {figure.peak_mb:>8.0f}  {figure.cpu / base.cpu:>9.1f}"
        print(f"{size:>13,}  {label:<18}  {cells}", flush=True)

    show("simulate", simulated)
    show("floor", base)
    for name in STAGES:
        show(name, measured([*python, "--stage", name], folder))
    whole = [command, "run", "-c", str(folder / "pipeline.yaml"), "--lake", str(folder / "lake2")]
    show("whole job", measured(whole, folder))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="5000,100000")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--floor", action="store_true")
    parser.add_argument("--stage")
    given = parser.parse_args()
    if given.floor or given.stage:
        folder = Path(os.environ["BENCH_FOLDER"])
        floor(folder) if given.floor else stage(given.stage, folder)
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    print(f"{'opportunities':>13}  {'stage':<18}  {'wall s':>7}  {'CPU s':>7}  {'peak MB':>8}  {'CPU/floor':>9}")
    for size in (int(part) for part in given.sizes.split(",")):
        with tempfile.TemporaryDirectory(dir=given.keep) as name:
            bench(size, given.seed, Path(name))
    help_figure = measured([str(Path(sys.executable).parent / "sales-pipeline"), "--help"], Path.cwd())
    print(f"{'':>13}  {'--help':<18}  {help_figure.wall:>7.2f}  {help_figure.cpu:>7.2f}  {help_figure.peak_mb:>8.0f}")


if __name__ == "__main__":
    main()
