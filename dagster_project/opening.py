"""The lake with its settings, the engine and the model store, opened as the settings say.

Belongs here: which class with which arguments. Does not belong here: how long a run keeps them (`resources`). Nothing here imports Dagster: commands that
run no job do without it.
"""

from datetime import date
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from sales_pipeline.domain.time import AsOf
from sales_pipeline.lake.layout import Lake

if TYPE_CHECKING:
    from sales_pipeline.adapters.mlflow_store import MlflowStore
    from sales_pipeline.engines.base import Engine
    from sales_pipeline.settings import Settings


class LakeResource:
    """The settings in force and the lake they name.

    Parameters
    ----------
    settings
        Given by the command line; None reads the configuration file at first use.
    make_current
        Whether publishing may move CURRENT back to an older day.
    failures
        Where the failure hook notes what steps raised, so that the command line can give the exit code; None for runs of the daemon.
    """

    def __init__(
        self,
        settings: "Settings | None" = None,
        *,
        make_current: bool = False,
        failures: list[BaseException] | None = None,
    ) -> None:
        self._settings = settings
        self.make_current = make_current
        self.failures = failures

    @cached_property
    def settings(self) -> "Settings":
        """The settings tree."""
        if self._settings is not None:
            return self._settings
        from sales_pipeline.settings import load_settings

        return load_settings()

    @cached_property
    def lake(self) -> Lake:
        """The lake."""
        return Lake(self.settings.lake)

    @property
    def refs(self) -> Path:
        """Where handed-over references are kept."""
        return self.lake.dagster_home / "refs"

    def as_of(self, partition_key: str) -> AsOf:
        """The as-of of a partition: the end of that day."""
        return AsOf.end_of_day(date.fromisoformat(partition_key), self.settings.time_zone)


def open_engine(settings: "Settings") -> "Engine":
    """The engine the settings choose, within the limits they give."""
    from sales_pipeline.engines.machine import memory_limit

    chosen = settings.engine
    memory = chosen.memory_limit or memory_limit()
    if chosen.kind == "spark":
        from sales_pipeline.engines.spark import SparkEngine

        return SparkEngine(
            chosen.folder or settings.lake / "_spark",
            master=chosen.master,
            token=chosen.token.get_secret_value() if chosen.token is not None else None,
            shuffle_partitions=chosen.shuffle_partitions,
            driver_memory=chosen.driver_memory,
            conf=chosen.conf,
            java_home=chosen.java_home,
            threads=chosen.threads,
            memory_limit=memory,
        )
    from sales_pipeline.engines.duckdb import DuckDBEngine

    return DuckDBEngine(threads=chosen.threads, memory_limit=memory, spill_directory=settings.lake / "_spill")


def open_store(settings: "Settings") -> "MlflowStore":
    """The MLflow store the settings name."""
    from sales_pipeline.adapters.mlflow_store import MlflowStore

    lake = Lake(settings.lake)
    return MlflowStore(
        home=lake.mlflow_home,
        models=lake.models,
        experiment=settings.tracking.experiment,
        model_name=settings.tracking.model_name,
        uri=settings.tracking.uri,
        parent_run_id=settings.tracking.parent_run_id,
    )
