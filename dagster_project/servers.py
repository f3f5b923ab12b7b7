"""The two UIs, on loopback, over the lake's own state.

Belongs here: the command line and environment of each server. Does not belong here: what they show.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from sales_pipeline.lake.layout import Lake
from sales_pipeline.settings import CONFIG_VARIABLE, Settings

LOOPBACK = "127.0.0.1"
QUIET = {
    "DAGSTER_DISABLE_TELEMETRY": "yes",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "GX_ANALYTICS_ENABLED": "false",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}


def dagster_command(settings: Settings, port: int) -> tuple[list[str], dict[str, str]]:
    """`dagster dev` (web server and daemon) for the lake's instance."""
    from dagster_project.instance import ensure_dagster_home

    home = ensure_dagster_home(Lake(settings.lake))
    workspace = Path(__file__).parents[1] / "workspace.yaml"
    command = [sys.executable, "-m", "dagster", "dev", "-w", str(workspace), "-h", LOOPBACK, "-p", str(port)]
    return command, {**QUIET, "DAGSTER_HOME": str(home), CONFIG_VARIABLE: str(settings.path)}


def mlflow_command(settings: Settings, port: int) -> tuple[list[str], dict[str, str]]:
    """`mlflow server` for the lake's database and artifacts."""
    from sales_pipeline.adapters.mlflow_store import tracking_uri

    home = Lake(settings.lake).mlflow_home
    home.mkdir(parents=True, exist_ok=True)
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", LOOPBACK, "--port", str(port), "--workers", "1"),
        *("--backend-store-uri", settings.tracking.uri or tracking_uri(Lake(settings.lake))),
        *("--default-artifact-root", (home / "artifacts").as_uri()),
    ]
    return command, dict(QUIET)


def serve_dagster(settings: Settings, port: int, say: Callable[[str], None]) -> int:
    """Become the Dagster UI; does not return."""
    command, environment = dagster_command(settings, port)
    say(f"Dagster: http://{LOOPBACK}:{port} (Ctrl-C ends it)")
    return _become(command, environment)


def serve_mlflow(settings: Settings, port: int, say: Callable[[str], None]) -> int:
    """Become the MLflow UI; does not return."""
    command, environment = mlflow_command(settings, port)
    say(f"MLflow: http://{LOOPBACK}:{port} (Ctrl-C ends it)")
    return _become(command, environment)


def _become(command: list[str], environment: dict[str, str]) -> int:
    os.execve(command[0], command, {**os.environ, **environment})
