"""Checks of the environment, the lake and the configuration; each finding says what to do.

Belongs here: looking, without changing anything. Does not belong here: mending.
"""

import ctypes
import importlib.metadata
import importlib.util
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sales_pipeline.errors import EnvironmentProblem, LakeLocked, SalesPipelineError
from sales_pipeline.lake.layout import Lake

if TYPE_CHECKING:
    from sales_pipeline.settings import Settings

Level = Literal["ok", "warning", "error"]
PYTHON = ((3, 11), (3, 13))
"""First version supported, and the first that is not."""
LIBRARIES = ("dagster", "mlflow", "great_expectations", "pandas", "pyarrow", "sklearn", "lightgbm", "duckdb", "sqlglot")
DISTRIBUTIONS = {"sklearn": "scikit-learn", "great_expectations": "great-expectations"}
MIN_FREE_BYTES = 2_000_000_000


@dataclass(frozen=True)
class Finding:
    """One finding: how bad, and one line that says what and what to do."""

    level: Level
    message: str

    def to_dict(self) -> dict[str, str]:
        """As JSON-able data."""
        return asdict(self)


def examine(config: Path | None = None, lake: Path | None = None) -> list[Finding]:
    """All findings, environment first. Without a readable configuration the lake is examined only when it is named."""
    findings = environment()
    settings: Settings | None = None
    try:
        from sales_pipeline.settings import load_settings

        settings = load_settings(config)
        findings.append(Finding("ok", f"configuration: {settings.path}"))
        findings += configuration(settings)
    except SalesPipelineError as error:
        findings.append(Finding("error", f"configuration: {error}"))
    root = lake.resolve() if lake is not None else settings.lake if settings is not None else None
    if root is not None:
        findings += examine_lake(Lake(root))
    return findings


def environment() -> list[Finding]:
    """Python, libraries, OpenMP."""
    version = sys.version_info[:2]
    name = f"Python {version[0]}.{version[1]}"
    findings = [
        Finding("ok", name)
        if PYTHON[0] <= version < PYTHON[1]
        else Finding("error", f"{name}: needs 3.11 or 3.12; make the environment anew with one of them")
    ]
    for library in LIBRARIES:
        spec = importlib.util.find_spec(library)
        if spec is None or spec.origin is None:
            findings.append(Finding("error", f"{library} is missing: run `make setup`"))
        else:
            findings.append(
                Finding("ok", f"{library} {importlib.metadata.version(DISTRIBUTIONS.get(library, library))}")
            )
    try:
        ctypes.CDLL("libgomp.so.1" if sys.platform.startswith("linux") else _openmp())
        findings.append(Finding("ok", "OpenMP is there (LightGBM needs it)"))
    except OSError:
        findings.append(
            Finding(
                "error",
                "OpenMP is missing, which LightGBM needs: `apt-get install libgomp1` (macOS: `brew install libomp`)",
            )
        )
    if sys.flags.dont_write_bytecode:
        findings.append(
            Finding(
                "warning",
                "PYTHONDONTWRITEBYTECODE is set: every start is seconds slower where bytecode is not compiled yet",
            )
        )
    return findings


def _openmp() -> str:
    import ctypes.util

    return ctypes.util.find_library("omp") or ctypes.util.find_library("gomp") or "libomp.dylib"


def configuration(settings: "Settings") -> list[Finding]:
    """The exports folder, the time zone, the export's fit to the mapping."""
    from sales_pipeline.domain.time import zone

    findings = [_tried("time zone", lambda: zone(settings.time_zone).key)]
    if settings.engine.kind == "spark":
        findings.append(_tried("Spark", partial(_spark, settings)))
    if not settings.exports.exists():
        return [
            *findings,
            Finding("error", f"exports: there is no {settings.exports}; put the CRM's export there, or set `exports`"),
        ]
    from sales_pipeline.ingest.landing import landed_exports

    return [
        *findings,
        _tried("exports", lambda: f"{len(landed_exports(settings.exports))} export(s) in {settings.exports}"),
    ]


def _spark(settings: "Settings") -> str:
    """What the Spark engine would start, without starting it."""
    from sales_pipeline.engines.java import choose_java, packaged_java

    if importlib.util.find_spec("pyspark") is None:
        raise EnvironmentProblem(
            "the Spark engine needs pyspark", fix="install the extra: pip install 'sales-pipeline[spark]'"
        )
    told = f"pyspark {importlib.metadata.version('pyspark')}, master {settings.engine.master}"
    if settings.engine.master.startswith("sc://"):
        return told
    with tempfile.TemporaryDirectory() as work:
        java = choose_java(settings.engine.java_home, shutil.which("java"), packaged_java(), Path(work))
    return f"{told}, Java {java.version} of {java.basis}"


def examine_lake(lake: Lake) -> list[Finding]:
    """Folder, free space, lock, instance, and whether the published files are those of their manifest."""
    from sales_pipeline.lake.lock import lake_lock
    from sales_pipeline.lake.runs import current_run, published_runs

    if not lake.root.exists():
        return [Finding("ok", f"lake: {lake.root} is not there yet; the first run makes it")]
    findings = []
    free = shutil.disk_usage(lake.root).free
    level: Level = "ok" if free >= MIN_FREE_BYTES else "warning"
    findings.append(Finding(level, f"lake: {lake.root}, {free / 1e9:.1f} GB free"))
    try:
        with lake_lock(lake.root):
            findings.append(Finding("ok", "lake: no run holds the lock"))
    except LakeLocked:
        findings.append(Finding("warning", "lake: a run holds the lock; one run at a time"))
    except OSError as error:
        findings.append(Finding("error", f"lake: cannot be written ({error}); mend its permissions"))

    def current() -> str:
        run = current_run(lake)
        return f"{run.run_id}, as of {run.as_of}" if run else "nothing is published yet"

    findings.append(_tried("current run", current))
    for run in published_runs(lake):
        findings.append(_tried(f"published run {run.run_id}", partial(_verified, run.path)))
    if not (lake.dagster_home / "dagster.yaml").is_file():
        findings.append(Finding("ok", "Dagster's state: not there yet; the first run makes it"))
    return findings


def _verified(folder: Path) -> str:
    from sales_pipeline.lake.runs import verify_run

    return f"{len(verify_run(folder)['files'])} files as published"


def _tried(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding("ok", f"{what}: {look()}")
    except SalesPipelineError as error:
        return Finding("error", f"{what}: {error}")
