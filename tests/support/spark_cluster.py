"""Spark's own servers on this machine, from pip's pyspark alone and on 127.0.0.1: a standalone cluster, a Spark Connect server."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sales_pipeline.engines.java import choose_java, packaged_java

WAIT_SECONDS = 120.0
_DEPLOY = "org.apache.spark.deploy"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Processes:
    """Programs of Spark on this machine, with a log each."""

    def __init__(self, folder: Path, memory: str = "256m") -> None:
        import pyspark

        self.folder = folder
        self._home = Path(pyspark.__file__).parent
        self._started: list[subprocess.Popen[bytes]] = []
        folder.mkdir(parents=True, exist_ok=True)
        java = choose_java(None, shutil.which("java"), packaged_java(), folder)
        self._environment = os.environ | {
            "SPARK_HOME": str(self._home), "JAVA_HOME": str(java.home), "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_NO_DAEMONIZE": "1", "SPARK_DAEMON_MEMORY": memory, "SPARK_DAEMON_JAVA_OPTS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
        }  # fmt: skip

    def start(self, name: str, program: str, *arguments: str) -> Path:
        """Start a program of pyspark's `bin`; its log."""
        log = self.folder / f"{name}.log"
        with log.open("wb") as handle:
            self._started.append(
                subprocess.Popen(
                    [str(self._home / "bin" / program), *arguments], env=self._environment, stdout=handle, stderr=subprocess.STDOUT, cwd=self.folder,
                    start_new_session=True,
                )
            )  # fmt: skip
        return log

    def stop(self) -> None:
        """Stop every process by its id."""
        for process in reversed(self._started):
            os.killpg(process.pid, signal.SIGTERM)
        for process in self._started:
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(timeout=30)


@contextmanager
def standalone_cluster(folder: Path, workers: int = 2) -> Iterator[str]:
    """The master's address; every process is stopped at the end."""
    processes = Processes(folder)
    port = free_port()
    address = f"spark://127.0.0.1:{port}"
    try:
        master = ("--host", "127.0.0.1", "--port", str(port), "--webui-port", "0")
        log = processes.start("master", "spark-class", f"{_DEPLOY}.master.Master", *master)
        _wait(log, "New state: ALIVE", 1)
        for number in range(workers):
            processes.start(
                f"worker{number}", "spark-class", f"{_DEPLOY}.worker.Worker", "--host", "127.0.0.1", "--cores", "1", "--memory", "1g", "--webui-port", "0",
                "--work-dir", str(folder / f"work{number}"), address,
            )  # fmt: skip
        _wait(log, "Registering worker", workers)
        yield address
    finally:
        processes.stop()


@contextmanager
def connect_server(folder: Path) -> Iterator[str]:
    """The address of a Spark Connect server in local mode; stopped at the end."""
    processes = Processes(folder, memory="1g")
    port = free_port()
    settings = {"spark.connect.grpc.binding.port": str(port), "spark.connect.grpc.binding.address": "127.0.0.1", "spark.ui.enabled": "false", "spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}  # fmt: skip
    options = [text for pair in settings.items() for text in ("--conf", "=".join(pair))]
    server = ("--class", "org.apache.spark.sql.connect.service.SparkConnectServer", "spark-internal")
    try:
        log = processes.start(
            "connect", "spark-submit", "--master", "local[1]", "--driver-memory", "1g", *options, *server
        )
        _wait(log, "Spark Connect server started", 1)
        yield f"sc://127.0.0.1:{port}"
    finally:
        processes.stop()


def _wait(log: Path, words: str, times: int) -> None:
    """Until the log tells so, so many times."""
    end = time.monotonic() + WAIT_SECONDS
    while log.read_text(encoding="utf-8", errors="replace").count(words) < times:
        if time.monotonic() > end:
            raise TimeoutError(f"{words!r} was not told {times} times:\n{log.read_text(errors='replace')[-2_000:]}")
        time.sleep(0.2)
