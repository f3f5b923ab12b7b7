"""What training asks of an experiment tracker and a model registry. `adapters.mlflow_store` is one; `NullRecorder` records nothing.

Belongs here: protocols and the values they speak in. Does not belong here: any tracker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypedDict, Unpack

from sales_pipeline.domain.time import AsOf
from sales_pipeline.models.registry import Action


class Notes(TypedDict, total=False):
    """What a run records at once: parameters, figures by key, tags, tables (rows), pictures (PNG by file name), documents by file name.

    A document is JSON-able data, or text (a page), which is kept as it is.
    """

    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    tables: Mapping[str, Sequence[Mapping[str, Any]]]
    figures: Mapping[str, bytes]
    documents: Mapping[str, Any]


class Run(Protocol):
    """One recorded run: a training (parent) or one of its candidates (child)."""

    @property
    def run_id(self) -> str | None:
        """The tracker's id; None where nothing is recorded."""
        ...

    def log(self, **notes: Unpack[Notes]) -> None:
        """Record at once."""
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


@dataclass(frozen=True)
class Judgement:
    """What the registry's entry says of a comparison: whether the model passed, every reason, the figures, and whom it was compared with.

    `against` is the champion's registry version; None where there was none. `figures` are JSON-able (see `verdict.Verdict`).
    """

    is_promoted: bool
    reasons: tuple[str, ...]
    figures: Mapping[str, Any]
    against: str | None


class ModelStore(Protocol):
    """The registry."""

    def register(self, bundle: Path, card: Mapping[str, Any], *, as_of: AsOf, run_id: str | None) -> ModelRef:
        """Register a bundle; one with the same content and as-of is registered once. It becomes the challenger."""
        ...

    def promote(self, ref: ModelRef, *, as_of: AsOf, reason: str, action: Action = "training") -> None:
        """Make it champion for days from `as_of` on: one more line of the registry's story. Nothing where it is the champion of that line already."""
        ...

    def note(self, ref: ModelRef, judgement: Judgement) -> None:
        """Put a judgement on the entry of the model it is about."""
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

    def log(self, **notes: Unpack[Notes]) -> None:
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
