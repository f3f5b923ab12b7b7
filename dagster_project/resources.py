"""What assets need from outside: the lake with its settings, the engine, the model store.

Each is opened once per run and closed after it; nothing is read or imported before the first step asks for it.
Belongs here: opening and closing. Does not belong here: anything computed with them.
"""

from collections.abc import Iterator
from contextlib import closing, nullcontext
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from sales_pipeline.domain.time import AsOf
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.lock import lake_lock

if TYPE_CHECKING:
    from sales_pipeline.adapters.mlflow_store import MlflowStore
    from sales_pipeline.engines.base import Engine
    from sales_pipeline.settings import Settings

LOCK_WAIT_SECONDS = 900.0
"""How long a run started by the daemon waits for one started on the command line."""


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


class EngineResource:
    """The engine, opened at first use."""

    def __init__(self, lake: LakeResource) -> None:
        self._lake = lake
        self._engine: Engine | None = None

    def get(self) -> "Engine":
        """The engine of this run."""
        if self._engine is None:
            self._engine = open_engine(self._lake.settings)
        return self._engine

    def close(self) -> None:
        """Free what the engine holds."""
        if self._engine is not None:
            self._engine.close()


class ModelStoreResource:
    """The model store and experiment recorder, opened at first use (importing MLflow takes seconds)."""

    def __init__(self, lake: LakeResource) -> None:
        self._lake = lake

    @cached_property
    def store(self) -> "MlflowStore":
        """The store of this run."""
        return open_store(self._lake.settings)

    def link(self, run_id: str | None) -> dict[str, dg.UrlMetadataValue]:
        """The MLflow page of a run as metadata; nothing where nothing was recorded."""
        return {"MLflow run": dg.MetadataValue.url(self.store.link(run_id))} if run_id is not None else {}


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


def lake_resource(
    settings: "Settings | None" = None,
    *,
    make_current: bool = False,
    is_locked: bool = False,
    failures: list[BaseException] | None = None,
) -> dg.ResourceDefinition:
    """The lake, held by its lock for the length of the run (unless the caller holds it already: `is_locked`)."""

    def open_lake(_: dg.InitResourceContext) -> Iterator[LakeResource]:
        resource = LakeResource(settings, make_current=make_current, failures=failures)
        with nullcontext() if is_locked else lake_lock(resource.lake.root, wait_seconds=LOCK_WAIT_SECONDS):
            yield resource

    return dg.ResourceDefinition(resource_fn=open_lake, description="settings and lake; holds the lake's lock")


def published_lake_resource(
    settings: "Settings | None" = None, *, failures: list[BaseException] | None = None
) -> dg.ResourceDefinition:
    """The lake for those who only read what is published: its lock is not taken, so that a slow target never holds up a run."""
    return dg.ResourceDefinition(
        resource_fn=lambda _: LakeResource(settings, failures=failures),
        description="settings and lake, without the lake's lock",
    )


@dg.resource(required_resource_keys={"lake"}, description="the SQL engine")
def engine_resource(context: dg.InitResourceContext) -> Iterator[EngineResource]:
    """The engine of a run."""
    with closing(EngineResource(context.resources.lake)) as resource:
        yield resource


@dg.resource(required_resource_keys={"lake"}, description="MLflow: experiments and model registry")
def model_store_resource(context: dg.InitResourceContext) -> ModelStoreResource:
    """The model store of a run."""
    return ModelStoreResource(context.resources.lake)
