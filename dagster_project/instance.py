"""DAGSTER_HOME of a lake: where runs of the command line, the schedules and the UI are all recorded.

Belongs here: the instance's configuration. Does not belong here: definitions.
"""

from pathlib import Path

import dagster as dg

from sales_pipeline.lake.durable import write_bytes
from sales_pipeline.lake.layout import Lake

DAGSTER_YAML = """\
# Written by sales-pipeline. One run at a time: backfills keep the order of their days.
telemetry:
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


def open_instance(lake: Lake) -> dg.DagsterInstance:
    """The lake's instance, without a look at the environment. Close it by `with`."""
    return dg.DagsterInstance.from_config(str(ensure_dagster_home(lake)))
