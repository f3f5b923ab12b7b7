"""DAGSTER_HOME of a lake: where runs of the command line, the schedules and the UI are all recorded.

Belongs here: the instance's configuration. Does not belong here: definitions.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from sales_pipeline.lake.durable import write_bytes
from sales_pipeline.lake.layout import Lake

if TYPE_CHECKING:
    from dagster._core.instance.ref import InstanceRef

DAGSTER_YAML = """\
# Written by sales-pipeline. One run at a time: backfills keep the order of their days.
telemetry:
  enabled: false
nux:
  enabled: false
concurrency:
  runs:
    max_concurrent_runs: 1
run_monitoring:
  enabled: true
retention:
  schedule:
    purge_after_days: 90
  sensor:
    purge_after_days:
      skipped: 7
      failure: 30
      success: 90
"""


def ensure_dagster_home(lake: Lake) -> Path:
    """The lake's DAGSTER_HOME, made with its dagster.yaml where it is not there; a file already there is left alone."""
    home = lake.dagster_home
    path = home / "dagster.yaml"
    if not path.is_file():
        write_bytes(path, DAGSTER_YAML.encode())
    return home


@contextmanager
def open_instance(lake: Lake) -> Iterator[dg.DagsterInstance]:
    """The lake's instance, without a look at the environment, for a run in this process.

    Its event log is written by kept connections and without a sync per event; what steps print goes to the terminal alone.
    """
    from dagster._core.instance.ref import InstanceRef

    from dagster_project.event_log import kept

    home = ensure_dagster_home(lake)
    ref = _without_copies(kept(InstanceRef.from_dir(str(home))))
    with _one_sync_per_checkpoint(home), dg.DagsterInstance.from_ref(ref) as instance:
        yield instance


def _without_copies(ref: "InstanceRef") -> "InstanceRef":
    """No copy of what steps print, where Dagster would keep one on this machine.

    For a copy it starts four processes per run that pass the output on to the terminal, now and then without its last lines; all they find is the progress.
    """
    if ref.compute_logs_data.class_name != "LocalComputeLogManager":
        return ref
    from dagster._serdes import ConfigurableClassData

    none = ConfigurableClassData("dagster._core.storage.noop_compute_log_manager", "NoOpComputeLogManager", "{}")
    return ref._replace(compute_logs_data=none)


@contextmanager
def _one_sync_per_checkpoint(home: Path) -> Iterator[None]:
    """Write the instance's SQLite files with `synchronous=NORMAL`, and keep each open until the end.

    Dagster opens and closes a connection per event; every commit then waits for the disk, and every last close folds the
    write-ahead log back: with some hundred checks on a busy disk that is most of a run's time. A power cut may cost the last
    events, never the file's consistency (SQLite, "Write-Ahead Logging"); what is published is synced by the lake itself.
    """
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    keepers: dict[str, sqlite3.Connection] = {}
    prefix = str(home.resolve())

    def relax(connection: Any, _: Any) -> None:
        if not isinstance(connection, sqlite3.Connection):
            return
        path = connection.execute("PRAGMA database_list").fetchone()[2]
        if not path.startswith(prefix):
            return
        connection.execute("PRAGMA synchronous = NORMAL")
        # A file that is not in this mode yet is about to be brought into it by the connection at hand.
        if path not in keepers and connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
            keeper = keepers[path] = sqlite3.connect(path, check_same_thread=False)
            keeper.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()

    event.listen(Engine, "connect", relax)
    try:
        yield
    finally:
        event.remove(Engine, "connect", relax)
        for keeper in keepers.values():
            keeper.close()
