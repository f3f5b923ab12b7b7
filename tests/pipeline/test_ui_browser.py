"""The two UIs in headless Chromium, over the state a run of the command line left in the lake."""

import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dagster_project.run import execute
from dagster_project.servers import dagster_command, mlflow_command
from sales_pipeline.settings import Settings, load_settings
from tests.support.cli import IGNORED_WARNINGS

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=25000",
]

pytestmark = [
    pytest.mark.browser,
    *(pytest.mark.filterwarnings(text) for text in IGNORED_WARNINGS),
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (Debian: apt-get install chromium)"),
]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("ui")
    text = (
        f"source_system: sample\nexports: {ROOT / 'data/sample/export'}\nlake: lake\nmapping:\n  dialect: salesforce\n"
    )
    (folder / "pipeline.yaml").write_text(text, encoding="utf-8")
    found = load_settings(folder / "pipeline.yaml")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries; the command line's own tests hold them narrowly
        execute(found)
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(command: list[str], environment: dict[str, str], url: str, log: Path) -> Iterator[str]:
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, env={**os.environ, **environment}, stdout=out, stderr=out, start_new_session=True, cwd=ROOT
        )
        try:
            for _ in range(180):
                assert process.poll() is None, log.read_text(errors="replace")[-2000:]
                try:
                    with urllib.request.urlopen(url, timeout=2) as answer:
                        assert answer.status == 200
                        break
                except OSError:
                    time.sleep(0.5)
            else:
                pytest.fail(f"no answer from {url}: {log.read_text(errors='replace')[-2000:]}")
            yield url
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(15)


def page_text(url: str, profile: Path) -> str:
    assert CHROMIUM is not None
    result = subprocess.run(
        [CHROMIUM, *QUIET, f"--user-data-dir={profile}", "--dump-dom", url],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return result.stdout


def test_dagster_shows_the_assets_their_checks_and_the_run(settings: Settings, tmp_path: Path) -> None:
    port = free_port()
    command, environment = dagster_command(settings, port)
    with served(command, environment, f"http://127.0.0.1:{port}/server_info", tmp_path / "dagster.log"):
        groups = page_text(f"http://127.0.0.1:{port}/asset-groups/", tmp_path / "one")
        assert all(group in groups for group in ("collect", "prepare", "select", "train", "evaluate", "apply"))
        checks = page_text(f"http://127.0.0.1:{port}/assets/opportunities?view=checks", tmp_path / "two")
        assert "opportunity_id_not_null" in checks
        runs = page_text(f"http://127.0.0.1:{port}/runs", tmp_path / "three")
        assert "scoring_job" in runs
        assert "Success" in runs


def test_mlflow_shows_the_training_and_its_candidates(settings: Settings, tmp_path: Path) -> None:
    port = free_port()
    command, environment = mlflow_command(settings, port)
    with served(command, environment, f"http://127.0.0.1:{port}/health", tmp_path / "mlflow.log"):
        page = page_text(f"http://127.0.0.1:{port}/#/experiments/1/runs", tmp_path / "one")
        assert "sales-pipeline" in page
        assert "train " in page
        models = page_text(f"http://127.0.0.1:{port}/#/models", tmp_path / "two")
        assert "win-probability" in models


def test_a_stranger_on_the_network_finds_no_door(settings: Settings) -> None:
    for command, _ in (dagster_command(settings, 3000), mlflow_command(settings, 5000)):
        assert "127.0.0.1" in command
        assert "0.0.0.0" not in " ".join(command)
