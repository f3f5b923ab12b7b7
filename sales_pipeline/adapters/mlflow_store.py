"""Experiments and the model registry in MLflow: the only module that imports it (with `champion_pyfunc`, which MLflow runs).

A training is a parent run with one child per candidate. A registered version carries the tags `content_version`, `trained_through`,
`feature_contract`, `data_digest` and `promotions` (the as-ofs it was promoted at), from which the champion of any past day follows; the aliases
`champion` and `challenger` show the newest state in the UI.

Belongs here: MLflow's calls. Does not belong here: what is recorded (models.recording) and when to promote (models.promotion).
"""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

from sales_pipeline.domain.time import AsOf
from sales_pipeline.errors import EnvironmentProblem
from sales_pipeline.lake.durable import write_directory
from sales_pipeline.lake.layout import Lake
from sales_pipeline.models.store import ModelRef, Run

REQUIRED = ("numpy", "pandas", "pyarrow", "scipy", "scikit-learn", "lightgbm", "pydantic", "filelock")
DATABASE = "mlflow.db"
LOCAL_UI = "http://127.0.0.1:5000"


def tracking_uri(lake: Lake) -> str:
    """Absolute address of the lake's own database."""
    return _database(lake.mlflow_home)


def _database(home: Path) -> str:
    return f"sqlite:///{(home / DATABASE).resolve()}"


def _mlflow() -> Any:
    """MLflow, with telemetry off and pickled models refused (both are read when it is imported)."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ["DO_NOT_TRACK"] = "true"
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    os.environ["MLFLOW_LOGGING_LEVEL"] = "WARNING"
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    import logging

    import mlflow

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    if getattr(mlflow, "__file__", None) is None:
        raise EnvironmentProblem(
            "MLflow is not installed",
            expected="the mlflow library",
            found="a folder of that name",
            fix="run `make setup`",
        )
    return mlflow


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
            self.home.mkdir(parents=True, exist_ok=True)
        return _mlflow().MlflowClient(tracking_uri=self.tracking_uri, registry_uri=self.tracking_uri)

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
            run = MlflowRun(
                self._client, self.parent_run_id, self._client.get_run(self.parent_run_id).info.experiment_id
            )
            run.log(tags=every)
            yield run
            return
        with _started(self._client, self._experiment_id, name, every) as run:
            yield run

    def register(self, bundle: Path, card: Mapping[str, Any], *, as_of: AsOf, run_id: str | None) -> ModelRef:
        """Log the bundle as a model of its training run, register it, and make it the challenger."""
        for version in self._versions():
            if (
                version.tags.get("content_version") == bundle.name
                and version.tags["trained_through"] == as_of.isoformat()
            ):
                return self._ref(version)
        mlflow = _mlflow()
        with self._active_run(mlflow, run_id or self._run_for(bundle)):
            info = self._log_model(mlflow, bundle)
        created = str(info.registered_model_version)
        tags = {
            "content_version": bundle.name,
            "trained_through": as_of.isoformat(),
            "feature_contract": str(card["feature_contract"]),
            "data_digest": str(card["data_digest"]),
            "evidence_level": str(card["win"]["evidence_level"]),
            "promotions": "[]",
        }
        for key, value in tags.items():
            self._client.set_model_version_tag(self.model_name, created, key, value)
        self._client.set_registered_model_alias(self.model_name, "challenger", created)
        return self._ref(self._client.get_model_version(self.model_name, created))

    def promote(self, ref: ModelRef, *, as_of: AsOf, reason: str) -> None:
        """Note the promotion; the alias `champion` moves unless a later promotion stands."""
        latest = max((instant for version in self._versions() for instant in _promotions(version)), default="")
        version = self._client.get_model_version(self.model_name, ref.registry_version)
        instants = sorted({*_promotions(version), as_of.isoformat()})
        self._client.set_model_version_tag(self.model_name, ref.registry_version, "promotions", json.dumps(instants))
        self._client.set_model_version_tag(self.model_name, ref.registry_version, "promotion_reason", reason)
        if as_of.isoformat() >= latest:
            self._client.set_registered_model_alias(self.model_name, "champion", ref.registry_version)
            challenger = self._alias("challenger")
            if challenger == ref.registry_version:
                self._client.delete_registered_model_alias(self.model_name, "challenger")

    def champion(self, as_of: AsOf) -> ModelRef | None:
        """The model promoted last at or before `as_of`, among those trained through it or earlier."""
        best: tuple[str, int] | None = None
        chosen: Any = None
        for version in self._versions():
            instants = [i for i in _promotions(version) if _instant(i) <= as_of]
            if not instants or _instant(version.tags["trained_through"]) > as_of:
                continue
            rank = (_instant(max(instants)).instant.isoformat(), int(version.version))
            if best is None or rank > best:
                best, chosen = rank, version
        return None if chosen is None else self._ref(chosen)

    def challenger(self) -> ModelRef | None:
        """The model registered last that was not promoted; None when there is none."""
        version = self._alias("challenger")
        return None if version is None else self._ref(self._client.get_model_version(self.model_name, version))

    @property
    def recorder(self) -> MlflowStore:
        """The same store, where only a recorder is asked for."""
        return self

    def link(self, run_id: str) -> str:
        """The run's address in the UI."""
        run = self._client.get_run(run_id)
        base = self.uri if self.uri is not None and self.uri.startswith("http") else LOCAL_UI
        return f"{base.rstrip('/')}/#/experiments/{run.info.experiment_id}/runs/{run_id}"

    def _alias(self, alias: str) -> str | None:
        known = self._client.search_registered_models(f"name = '{self.model_name}'")
        found = known[0].aliases.get(alias) if known else None
        return None if found is None else str(found)

    def _versions(self) -> list[Any]:
        return [v for v in self._client.search_model_versions(f"name = '{self.model_name}'") if "promotions" in v.tags]

    def _ref(self, version: Any) -> ModelRef:
        content = version.tags["content_version"]
        path = self.models / content
        if not path.exists():
            source = version.source
            write_directory(path, lambda target: _download(self.tracking_uri, source, content, target))
        return ModelRef(
            name=self.model_name,
            version=content,
            path=path,
            trained_through=_instant(version.tags["trained_through"]),
            registry_version=str(version.version),
            run_id=version.run_id,
            link=self.link(version.run_id) if version.run_id else None,
        )

    def _run_for(self, bundle: Path) -> str:
        with _started(self._client, self._experiment_id, f"register {bundle.name}", dict(self.tags)) as run:
            return run.run_id

    @contextmanager
    def _active_run(self, mlflow: Any, run_id: str) -> Iterator[None]:
        """A run as MLflow's active one, and afterwards in the state it was in."""
        status = self._client.get_run(run_id).info.status
        with _address(mlflow, self.tracking_uri):
            with mlflow.start_run(run_id=run_id, nested=mlflow.active_run() is not None):
                yield
            self._client.set_terminated(run_id, status if status != "RUNNING" else "FINISHED")

    def _log_model(self, mlflow: Any, bundle: Path) -> Any:
        from mlflow.models import ModelSignature
        from mlflow.types import ColSpec, Schema

        from sales_pipeline.contracts.internal import PREDICTIONS
        from sales_pipeline.models.bundle import read_bundle
        from sales_pipeline.models.estimators import Boosting
        from sales_pipeline.models.serving import input_columns

        model = read_bundle(bundle)
        required = ("opportunity_id", "as_of")
        inputs = [ColSpec(kind, name, required=name in required) for name, kind in input_columns(model).items()]
        outputs = [ColSpec(_output_type(column.type), column.name) for column in PREDICTIONS.columns]
        signature = ModelSignature(inputs=Schema(inputs), outputs=Schema(outputs))
        requirements = [f"{name}=={installed_version(name)}" for name in REQUIRED]
        for task, part in (("win", model.win), ("amount", model.amount)):
            if part is not None and isinstance(part.estimator, Boosting):
                log_booster(mlflow, part.estimator.text, f"{task}_boosting")
        with warnings.catch_warnings():
            # The signature is written out above; an example would only repeat it.
            warnings.filterwarnings("ignore", message=".*input example.*", category=UserWarning)
            return mlflow.pyfunc.log_model(
                name="model",
                python_model=str(Path(__file__).with_name("champion_pyfunc.py")),
                artifacts={"bundle": str(bundle)},
                signature=signature,
                pip_requirements=[*requirements, f"sales-pipeline=={_own_version()}"],
                registered_model_name=self.model_name,
            )


def log_booster(mlflow: Any, text: str, name: str) -> None:
    """Log a LightGBM model by its text, as a Booster, in the active run."""
    import lightgbm

    booster = lightgbm.Booster(model_str=text)
    requirements = [f"lightgbm=={installed_version('lightgbm')}", f"numpy=={installed_version('numpy')}"]
    mlflow.lightgbm.log_model(booster, name=name, pip_requirements=requirements)


class MlflowRun:
    """One run, written through the client."""

    def __init__(self, client: Any, run_id: str, experiment_id: str) -> None:
        self._client = client
        self._experiment_id = experiment_id
        self.run_id = run_id

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
        """One batch for parameters, metrics and tags; artifacts one by one. Figures that are not numbers are left out."""
        from mlflow.entities import Metric, Param, RunTag

        finite = {name: float(value) for name, value in (metrics or {}).items() if math.isfinite(value)}
        self._client.log_batch(
            self.run_id,
            metrics=[Metric(name, value, 0, 0) for name, value in sorted(finite.items())],
            params=[Param(name, str(value)[:500]) for name, value in sorted((params or {}).items())],
            tags=[RunTag(name, str(value)) for name, value in sorted((tags or {}).items())],
        )
        for name, rows in (tables or {}).items():
            self._log_table(name, rows)
        for name, picture in (figures or {}).items():
            self._log_bytes(name, picture)
        for name, document in (documents or {}).items():
            self._log_bytes(name, (json.dumps(document, sort_keys=True, indent=1, default=str) + "\n").encode())

    def dataset(self, *, name: str, digest: str, rows: int, columns: Sequence[str]) -> None:
        """The data set as an input of the run."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        schema = {"mlflow_colspec": [{"name": column, "type": "double", "required": False} for column in columns]}
        data = Dataset(
            name=name,
            digest=digest[:36],
            source_type="local",
            source=json.dumps({"features": digest}),
            schema=json.dumps(schema) if len(json.dumps(schema)) < 60_000 else None,
            profile=json.dumps({"num_rows": rows, "num_columns": len(columns)}),
        )
        context = InputTag(key="mlflow.data.context", value="training")
        self._client.log_inputs(self.run_id, datasets=[DatasetInput(dataset=data, tags=[context])])

    @contextmanager
    def child(self, name: str) -> Iterator[Run]:
        """A nested run."""
        with _started(self._client, self._experiment_id, name, {"mlflow.parentRunId": self.run_id}) as run:
            yield run

    def _log_table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """In the form the UI shows as a table: column names and rows of cells."""
        columns = list(dict.fromkeys(column for row in rows for column in row))
        table = {"columns": columns, "data": [[row.get(column) for column in columns] for row in rows]}
        self._log_bytes(f"{name}.json", json.dumps(table, default=str).encode())
        shown = json.dumps([{"path": f"{name}.json", "type": "table"}])
        known = self._client.get_run(self.run_id).data.tags.get("mlflow.loggedArtifacts")
        if known:
            shown = json.dumps([*json.loads(known), *json.loads(shown)])
        self._client.set_tag(self.run_id, "mlflow.loggedArtifacts", shown)

    def _log_bytes(self, name: str, data: bytes) -> None:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            path.write_bytes(data)
            self._client.log_artifact(self.run_id, str(path))


@contextmanager
def _address(mlflow: Any, uri: str) -> Iterator[None]:
    """MLflow logs and loads models through its global address only: set it, and put it back."""
    before = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)


@contextmanager
def _started(client: Any, experiment_id: str, name: str, tags: Mapping[str, str]) -> Iterator[MlflowRun]:
    run = client.create_run(experiment_id, run_name=name, tags=dict(tags))
    try:
        yield MlflowRun(client, str(run.info.run_id), experiment_id)
    except BaseException:
        client.set_terminated(run.info.run_id, "FAILED")
        raise
    client.set_terminated(run.info.run_id, "FINISHED")


def _promotions(version: Any) -> list[str]:
    return [str(instant) for instant in json.loads(version.tags["promotions"])]


def _instant(text: str) -> AsOf:
    return AsOf(datetime.fromisoformat(text))


def _own_version() -> str:
    from sales_pipeline import __version__

    return __version__


def _output_type(kind: str) -> str:
    return {"timestamp": "datetime", "date": "string", "float64": "double"}.get(kind, "string")


def _download(tracking_uri: str, source: str, content: str, target: Path) -> None:
    """A registered model's bundle, into a folder of the lake."""
    import shutil

    mlflow = _mlflow()
    with _address(mlflow, tracking_uri):
        local = mlflow.artifacts.download_artifacts(artifact_uri=source)
    for item in sorted((Path(local) / "artifacts" / content).iterdir()):
        shutil.copy(item, target / item.name)
