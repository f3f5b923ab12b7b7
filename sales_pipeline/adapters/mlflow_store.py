"""Experiments and the model registry in MLflow.

A training is a parent run with one child per candidate. A registered version carries the tags `content_version`, `trained_through`,
`feature_contract`, `data_digest`, its lines of the story in `promotions` (models.registry), from which the champion of any past day follows, and
`verdict…`: what the last comparison said. Its description says both in words. The aliases `champion` and `challenger` show the newest state in the UI.

Belongs here: the store's calls. Does not belong here: a run's (`mlflow_run`), a model's (`mlflow_model`), what is recorded (models.recording),
when to promote (models.promotion). Only these modules, and `champion_pyfunc`, which MLflow runs, import it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from sales_pipeline.adapters.mlflow_model import download_bundle, log_bundle
from sales_pipeline.adapters.mlflow_run import MlflowRun, address, load_mlflow, make_database, started
from sales_pipeline.adapters.registry_memory import remembered
from sales_pipeline.domain.time import AsOf
from sales_pipeline.errors import ConfigurationError
from sales_pipeline.lake.durable import write_directory
from sales_pipeline.lake.layout import Lake
from sales_pipeline.models.registry import Action, Promotion, in_force, in_order
from sales_pipeline.models.store import Judgement, ModelRef, Run

DATABASE = "mlflow.db"
LOCAL_UI = "http://127.0.0.1:5000"
MIN_PREFIX = 4
"""Characters of a content version that name a model."""


def tracking_uri(lake: Lake) -> str:
    """Absolute address of the lake's own database."""
    return _database(lake.mlflow_home)


def _database(home: Path) -> str:
    return f"sqlite:///{(home / DATABASE).resolve()}"


@dataclass(frozen=True)
class MlflowStore:
    """Recorder and model store in one.

    Parameters
    ----------
    home
        Folder of the database and the artifacts (the lake's `_mlflow`); made when it is missing.
    models
        Folder of the bundles (the lake's `models`).
    uri
        A tracking server instead of the local database.
    parent_run_id
        A run that is there already (under `mlflow run`) and becomes the parent of the training.
    tags
        Put on every parent run, such as the Dagster run's id.
    """

    home: Path
    models: Path
    experiment: str = "sales-pipeline"
    model_name: str = "win-probability"
    uri: str | None = None
    parent_run_id: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    wants_figures: bool = True

    @property
    def tracking_uri(self) -> str:
        """Absolute address of the tracking store."""
        return self.uri or _database(self.home)

    @cached_property
    def _client(self) -> Any:
        if self.uri is None:
            make_database(self.home / DATABASE)
        return load_mlflow().MlflowClient(tracking_uri=self.tracking_uri, registry_uri=self.tracking_uri)

    @cached_property
    def _experiment_id(self) -> str:
        found = self._client.get_experiment_by_name(self.experiment)
        if found is not None:
            return str(found.experiment_id)
        location = (self.home / "artifacts").resolve().as_uri() if self.uri is None else None
        return str(self._client.create_experiment(self.experiment, artifact_location=location))

    @contextmanager
    def training(self, name: str, tags: Mapping[str, str]) -> Iterator[Run]:
        """The parent run; it is marked failed when the block raises. A given parent run is left for its owner to end."""
        every = {**self.tags, **tags}
        if self.parent_run_id is not None:
            run = self.recorded(self.parent_run_id)
            run.log(tags=every)
            yield run
            return
        with started(self._client, self._experiment_id, name, every) as run:
            yield run

    def recorded(self, run_id: str) -> Run:
        """A run that is there already, to record more in it."""
        return MlflowRun(self._client, run_id, self._client.get_run(run_id).info.experiment_id)

    def register(self, bundle: Path, card: Mapping[str, Any], *, as_of: AsOf, run_id: str | None) -> ModelRef:
        """Log the bundle as a model of its training run, register it, and make it the challenger."""
        for version in self._versions():
            if (
                version.tags.get("content_version") == bundle.name
                and version.tags["trained_through"] == as_of.isoformat()
            ):
                return self._ref(version)
        mlflow = load_mlflow()
        with self._active_run(mlflow, run_id or self._run_for(bundle)):
            info = log_bundle(mlflow, bundle, self.model_name)
        created = str(info.registered_model_version)
        tags = {
            "content_version": bundle.name,
            "trained_through": as_of.isoformat(),
            "feature_contract": str(card["feature_contract"]),
            "data_digest": str(card["data_digest"]),
            "evidence_level": str(card["win"]["evidence_level"]),
            "family": str(card["win"]["choice"]),
            "promotions": "[]",
        }
        self._tag(created, tags)
        self._client.set_registered_model_alias(self.model_name, "challenger", created)
        return self._ref(self._version(created))

    def promote(self, ref: ModelRef, *, as_of: AsOf, reason: str, action: Action = "training") -> None:
        """One more line of the story, from `as_of` on (never before the model was trained through). Nothing where it is in force by then.

        The alias `champion` follows the story's last line, so a training of an older day does not move it.
        """
        as_of = max(as_of, ref.trained_through)
        story = self.story()
        present = in_force(story, as_of, _eligible(self._versions(), as_of))
        if present is None or present.version != ref.registry_version:
            line = Promotion(ref.registry_version, as_of, len(story) + 1, action, reason)
            own = [one.to_dict() for one in story if one.version == ref.registry_version]
            lines = json.dumps([*own, line.to_dict()])
            self._tag(ref.registry_version, {"promotions": lines, "promotion_reason": reason})
            story = [*story, line]
        newest = in_force(story)
        if newest is not None and newest.version != self._alias("champion"):
            self._client.set_registered_model_alias(self.model_name, "champion", newest.version)
        if newest is not None and self._alias("challenger") == newest.version:
            self._client.delete_registered_model_alias(self.model_name, "challenger")

    def note(self, ref: ModelRef, judgement: Judgement) -> None:
        """The judgement as tags, for search, and in the entry's description, for people."""
        tags = {
            "verdict": "promoted" if judgement.is_promoted else "refused",
            "verdict_reasons": "\n".join(judgement.reasons),
            "verdict_figures": json.dumps(judgement.figures, sort_keys=True),
            "compared_with": judgement.against or "none",
        }
        self._tag(ref.registry_version, tags)

    def champion(self, as_of: AsOf) -> ModelRef | None:
        """The model in force at `as_of`, among those trained through it or earlier. EnvironmentProblem when its files are gone."""
        versions = {version.version: version for version in self._told()}
        line = in_force(_story(versions.values()), as_of, _eligible(versions.values(), as_of))
        return None if line is None else self._ref(versions[line.version])

    def challenger(self) -> ModelRef | None:
        """The model registered last that was not promoted; None when there is none."""
        version = self._alias("challenger")
        return None if version is None else self._ref(self._version(version))

    def story(self) -> list[Promotion]:
        """Every line of the registry, in the order of the days they hold from."""
        return _story(self._versions())

    def find(self, name: str) -> ModelRef:
        """The model of an alias, a registry version, or a content version (or its beginning). ConfigurationError when it is none or several."""
        versions = {str(version.version): version for version in self._versions()}
        number = self._alias(name) if name in ("champion", "challenger") else name
        found = [versions[number]] if number in versions else []
        if not found and len(name) >= MIN_PREFIX:
            found = [v for v in versions.values() if v.tags["content_version"].startswith(name)]
            # The same content may be registered for several days: the newest stands for all.
            if len({v.tags["content_version"] for v in found}) == 1:
                found = [max(found, key=lambda v: int(v.version))]
        if len(found) != 1:
            known = ", ".join(
                f"{number} ({v.tags['content_version'][:8]}, trained through {v.tags['trained_through'][:10]})"
                for number, v in sorted(versions.items(), key=lambda item: int(item[0]))
            )
            raise ConfigurationError(
                f"{'several models are' if found else 'no model is'} called {name}",
                expected=f"champion, challenger, or a version: {known or 'none is registered yet'}",
                found=name,
                where=f"{self.model_name} in {self.tracking_uri}",
                fix="name one of them" if known else "train first with `sales-pipeline train`",
            )
        return self._ref(found[0])

    @property
    def recorder(self) -> MlflowStore:
        """The same store, where only a recorder is asked for."""
        return self

    def link(self, run_id: str) -> str:
        """The run's address in the UI."""
        run = self._client.get_run(run_id)
        return f"{self._ui}/#/experiments/{run.info.experiment_id}/runs/{run_id}"

    def entry_link(self, ref: ModelRef) -> str:
        """The registry entry's address in the UI."""
        return f"{self._ui}/#/models/{ref.name}/versions/{ref.registry_version}"

    @property
    def _ui(self) -> str:
        return (self.uri if self.uri is not None and self.uri.startswith("http") else LOCAL_UI).rstrip("/")

    def _tag(self, version: str, tags: Mapping[str, str]) -> None:
        for key, value in tags.items():
            self._client.set_model_version_tag(self.model_name, version, key, value)
        self._client.update_model_version(self.model_name, version, _description(self._version(version).tags))

    def _alias(self, alias: str) -> str | None:
        known = self._client.search_registered_models(f"name = '{self.model_name}'")
        found = known[0].aliases.get(alias) if known else None
        return None if found is None else str(found)

    def _version(self, version: str) -> Any:
        return self._client.get_model_version(self.model_name, version)

    def _versions(self) -> list[Any]:
        return [v for v in self._client.search_model_versions(f"name = '{self.model_name}'") if "promotions" in v.tags]

    def _told(self) -> list[_Version]:
        """The same, of the lake's own registry from memory where nothing has changed in it."""

        def ask() -> list[dict[str, Any]]:
            return [
                {"version": str(v.version), "tags": dict(v.tags), "source": v.source, "run_id": v.run_id}
                for v in self._versions()
            ]

        return [_Version(**facts) for facts in self._remembered(f"versions of {self.model_name}", ask)]

    def _remembered(self, question: str, ask: Callable[[], Any]) -> Any:
        return ask() if self.uri is not None else remembered(self.home / DATABASE, question, ask)

    def _ref(self, version: Any) -> ModelRef:
        content = version.tags["content_version"]
        path = self.models / content
        if not path.exists():
            source = version.source
            write_directory(path, lambda target: download_bundle(self.tracking_uri, source, content, target))
        return ModelRef(
            name=self.model_name,
            version=content,
            path=path,
            trained_through=_instant(version.tags["trained_through"]),
            registry_version=str(version.version),
            run_id=version.run_id,
            link=self._remembered(f"link {version.run_id}", lambda: self.link(version.run_id))
            if version.run_id
            else None,
        )

    def _run_for(self, bundle: Path) -> str:
        with started(self._client, self._experiment_id, f"register {bundle.name}", dict(self.tags)) as run:
            return run.run_id

    @contextmanager
    def _active_run(self, mlflow: Any, run_id: str) -> Iterator[None]:
        """A run as MLflow's active one, and afterwards in the state it was in."""
        status = self._client.get_run(run_id).info.status
        with address(mlflow, self.tracking_uri):
            with mlflow.start_run(run_id=run_id, nested=mlflow.active_run() is not None):
                yield
            self._client.set_terminated(run_id, status if status != "RUNNING" else "FINISHED")


@dataclass(frozen=True)
class _Version:
    """What is asked of a registered version."""

    version: str
    tags: dict[str, str]
    source: str
    run_id: str | None


def _story(versions: Iterable[Any]) -> list[Promotion]:
    return in_order(
        [Promotion.from_data(str(v.version), data) for v in versions for data in json.loads(v.tags["promotions"])]
    )


def _eligible(versions: Iterable[Any], as_of: AsOf) -> Callable[[str], bool]:
    """Whether a version was trained through `as_of` or earlier."""
    through = {str(version.version): _instant(version.tags["trained_through"]) for version in versions}
    return lambda version: through[version] <= as_of


def _description(tags: Mapping[str, str]) -> str:
    """The entry in words: what it is, what the last comparison said, when it was in force and why."""
    lines = [
        f"{tags.get('family', 'model')} ({tags.get('evidence_level', '')}), trained through {tags['trained_through']}."
    ]
    if "verdict" in tags:
        against = tags["compared_with"]
        whom = "no champion to compare with" if against == "none" else f"compared with version {against}"
        lines += ["", f"**Verdict: {tags['verdict']}** ({whom})", ""]
        lines += [f"- {reason}" for reason in tags["verdict_reasons"].split("\n")]
    if own := [Promotion.from_data("0", data) for data in json.loads(tags.get("promotions", "[]"))]:
        lines += ["", "**In force**", ""]
        lines += [f"- from {line.as_of.isoformat()} ({line.action}): {line.reason}" for line in own]
    return "\n".join(lines)


def _instant(text: str) -> AsOf:
    return AsOf(datetime.fromisoformat(text))
