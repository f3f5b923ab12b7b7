"""What assets need from outside: the lake with its settings, the engine, the model store.

Each is opened once per run and closed after it; nothing is read or imported before the first step asks for it.
Belongs here: opening and closing. Does not belong here: anything computed with them.
"""

from collections.abc import Iterator
from contextlib import closing, nullcontext
from functools import cached_property
from typing import TYPE_CHECKING

import dagster as dg

from dagster_project.opening import LakeResource, open_engine, open_store
from sales_pipeline.lake.lock import lake_lock

if TYPE_CHECKING:
    from sales_pipeline.adapters.mlflow_store import MlflowStore
    from sales_pipeline.engines.base import Engine
    from sales_pipeline.settings import Settings

LOCK_WAIT_SECONDS = 900.0
"""How long a run started by the daemon waits for one started on the command line."""


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
