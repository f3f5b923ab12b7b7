"""What importing the library may load, seen in a fresh interpreter (import-linter does not see `importlib`)."""

import json
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import sales_pipeline

ROOT = Path(__file__).parents[2]
HEAVY = ("dagster", "mlflow", "great_expectations", "pyspark")
ADAPTERS = ("sales_pipeline.adapters", "sales_pipeline.engines.spark")


def modules() -> list[str]:
    found = pkgutil.walk_packages(sales_pipeline.__path__, "sales_pipeline.")
    return [name for _, name, _ in found if not name.startswith(ADAPTERS)]


def loaded_after(code: str) -> set[str]:
    script = f"{code}\nimport sys, json\nprint(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(json.loads(result.stdout.splitlines()[-1]))


def test_importing_every_library_module_loads_no_heavy_framework() -> None:
    loaded = loaded_after("\n".join(f"import {name}" for name in modules()))
    assert loaded.isdisjoint(HEAVY)


def test_the_check_above_can_fail() -> None:
    assert "dagster" in loaded_after("import dagster")


def test_help_and_settings_load_neither_pandas_nor_sklearn() -> None:
    light = loaded_after("import dagster_project.cli, sales_pipeline.settings")
    assert light.isdisjoint({*HEAVY, "pandas", "sklearn", "duckdb", "matplotlib", "lightgbm"})


def test_commands_that_run_no_job_do_without_dagster() -> None:
    names = [
        "backtesting",
        "comparing",
        "explaining",
        "feature_rows",
        "fitting",
        "promoting",
        "quarantining",
        "replaying",
    ]
    loaded = loaded_after("\n".join(f"import dagster_project.{name}" for name in names))
    assert loaded.isdisjoint(HEAVY)


def test_mlflow_folder_shadows_nothing() -> None:
    import mlflow

    assert mlflow.__file__ is not None
    assert "site-packages" in mlflow.__file__
    assert not list((ROOT / "mlflow").rglob("*.py"))


def test_only_engines_import_an_engine() -> None:
    offenders = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "sales_pipeline").rglob("*.py")
        if "engines" not in path.parts
        and any(
            line.strip().startswith(("import duckdb", "from duckdb", "import pyspark", "from pyspark"))
            for line in path.read_text().splitlines()
        )
    ]
    assert offenders == []


def test_the_core_reads_no_clock_and_no_environment() -> None:
    # Setting a variable (telemetry off, before a library is imported) is not reading one.
    banned = re.compile(
        r"datetime\.now\(|datetime\.utcnow\(|date\.today\(|time\.time(?:_ns)?\(|os\.getenv|os\.environ(?!\[\"\w+\"\] = |\.setdefault\()"
    )
    allowed = {"settings.py", "spark.py"}
    offenders = [
        (str(path.relative_to(ROOT)), line.strip())
        for path in (ROOT / "sales_pipeline").rglob("*.py")
        if path.name not in allowed
        for line in path.read_text().splitlines()
        if banned.search(line)
    ]
    assert offenders == []
