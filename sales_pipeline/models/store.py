"""What training asks of an experiment tracker and a model registry. `adapters.mlflow_store` is one; `NullRecorder` records nothing.

Belongs here: protocols and the values they speak in. Does not belong here: any tracker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from sales_pipeline.domain.time import AsOf


class Run(Protocol):
    """One recorded run: a training (parent) or one of its candidates (child)."""

    @property
    def run_id(self) -> str | None:
        """The tracker's id; None where nothing is recorded."""
        ...

    def log(
        self,
        *,
        params: Mapping[str, Any] | None = None,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
        tables: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
        figures: Mapping[str, bytes] | None = None,
        documents: Mapping[str, Any] | None = None,
    ) -> None:
        """Record at once: parameters, figures by key, tags, tables (rows), pictures (PNG by file name), JSON documents (by file name)."""
        ...

    def dataset(self, *, name: str, digest: str, rows: int, columns: Sequence[str]) -> None:
        """The data set the run used, by its own digest."""
        ...

    def child(self, name: str) -> AbstractContextManager[Run]:
        """A nested run."""
        ...


class Recorder(Protocol):
    """Where trainings are recorded."""

    @property
    def wants_figures(self) -> bool:
        """Whether pictures are worth drawing."""
        ...

    def training(self, name: str, tags: Mapping[str, str]) -> AbstractContextManager[Run]:
        """The parent run of one training."""
        ...


@dataclass(frozen=True)
class ModelRef:
    """A registered model: its content version, its bundle, what it was trained through, and where it is recorded.

    `link` is the tracker's address of the training run; None where there is none.
    """

    name: str
    version: str
    path: Path
    trained_through: AsOf
    registry_version: str
    run_id: str | None = None
    link: str | None = None


class ModelStore(Protocol):
    """The registry."""

    def register(self, bundle: Path, card: Mapping[str, Any], *, as_of: AsOf, run_id: str | None) -> ModelRef:
        """Register a bundle; one with the same content and as-of is registered once. It becomes the challenger."""
        ...

    def promote(self, ref: ModelRef, *, as_of: AsOf, reason: str) -> None:
        """Make it champion from that as-of on."""
        ...

    def champion(self, as_of: AsOf) -> ModelRef | None:
        """The model promoted last among those trained through and promoted at or before `as_of`; None when there is none."""
        ...


@dataclass(frozen=True)
class NullRun:
    """Records nothing."""

    name: str
    tags: Mapping[str, str] | None = None
    run_id: str | None = None

    def log(
        self,
        *,
        params: Mapping[str, Any] | None = None,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
        tables: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
        figures: Mapping[str, bytes] | None = None,
        documents: Mapping[str, Any] | None = None,
    ) -> None:
        """Nothing."""

    def dataset(self, *, name: str, digest: str, rows: int, columns: Sequence[str]) -> None:
        """Nothing."""

    def child(self, name: str) -> AbstractContextManager[Run]:
        """A run that records nothing, whatever its name."""
        return nullcontext(NullRun(name))


class NullRecorder:
    """Records nothing: for backtests and tests."""

    wants_figures = False

    def training(self, name: str, tags: Mapping[str, str]) -> AbstractContextManager[Run]:
        """A run that records nothing, whatever its name and tags."""
        return nullcontext(NullRun(name, tags))
