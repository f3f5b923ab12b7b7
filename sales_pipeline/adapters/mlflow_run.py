"""MLflow itself, and one run in it: what is logged where.

Belongs here: importing MLflow with telemetry and pickles off, its database and address, a run's calls. Does not belong here: models (`mlflow_model`), the
registry (`mlflow_store`), what is recorded (models.recording).
"""

from __future__ import annotations

import json
import math
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Unpack

from sales_pipeline.errors import EnvironmentProblem
from sales_pipeline.lake.durable import write_bytes
from sales_pipeline.models.store import Notes, Run


def load_mlflow() -> Any:
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


def make_database(path: Path) -> None:
    """MLflow's tables in a new SQLite file, made in memory and written in one go; nothing where there is a file.

    Left to itself MLflow brings an empty file through some seventy migrations, each of which waits for the disk several times. The file
    has a write-ahead log: a commit waits once, and the UI may read while a run writes.
    """
    if path.exists():
        return
    load_mlflow()
    from mlflow.store.db.utils import _initialize_tables, create_sqlalchemy_engine

    engine = create_sqlalchemy_engine("sqlite://")
    _initialize_tables(engine)
    with engine.connect() as connection:
        data = connection.connection.driver_connection.serialize()
    engine.dispose()
    write_bytes(path, data)
    with closing(sqlite3.connect(path)) as file:
        file.execute("PRAGMA journal_mode = WAL")


@contextmanager
def address(mlflow: Any, uri: str) -> Iterator[None]:
    """MLflow logs and loads models through its global address only: set it, and put it back."""
    before = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)


class MlflowRun:
    """One run, written through the client."""

    def __init__(self, client: Any, run_id: str, experiment_id: str) -> None:
        self._client = client
        self._experiment_id = experiment_id
        self.run_id = run_id

    def log(self, **notes: Unpack[Notes]) -> None:
        """One batch for parameters, metrics and tags; artifacts one by one. Figures that are not numbers are left out."""
        from mlflow.entities import Metric, Param, RunTag

        finite = {name: float(value) for name, value in notes.get("metrics", {}).items() if math.isfinite(value)}
        self._client.log_batch(
            self.run_id,
            metrics=[Metric(name, value, 0, 0) for name, value in sorted(finite.items())],
            params=[Param(name, str(value)[:500]) for name, value in sorted(notes.get("params", {}).items())],
            tags=[RunTag(name, str(value)[:5000]) for name, value in sorted(notes.get("tags", {}).items())],
        )
        self._log_tables(notes.get("tables", {}))
        for name, picture in notes.get("figures", {}).items():
            self._log_bytes(name, picture)
        for name, document in notes.get("documents", {}).items():
            text = (
                document
                if isinstance(document, str)
                else json.dumps(document, sort_keys=True, indent=1, default=str) + "\n"
            )
            self._log_bytes(name, text.encode())

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
        with started(self._client, self._experiment_id, name, {"mlflow.parentRunId": self.run_id}) as run:
            yield run

    def _log_tables(self, tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        """In the form the UI shows as tables: column names and rows of cells, and a tag that lists the files. An empty table is left out."""
        shown: list[dict[str, str]] = []
        for name, rows in tables.items():
            if not rows:
                continue
            columns = list(dict.fromkeys(column for row in rows for column in row))
            table = {"columns": columns, "data": [[row.get(column) for column in columns] for row in rows]}
            self._log_bytes(f"{name}.json", json.dumps(table, default=str).encode())
            shown.append({"path": f"{name}.json", "type": "table"})
        if shown:
            known = self._client.get_run(self.run_id).data.tags.get("mlflow.loggedArtifacts")
            every = [*(json.loads(known) if known else []), *shown]
            unique = list({item["path"]: item for item in every}.values())
            self._client.set_tag(self.run_id, "mlflow.loggedArtifacts", json.dumps(unique))

    def _log_bytes(self, name: str, data: bytes) -> None:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            path.write_bytes(data)
            self._client.log_artifact(self.run_id, str(path))


@contextmanager
def started(client: Any, experiment_id: str, name: str, tags: Mapping[str, str]) -> Iterator[MlflowRun]:
    """A new run, ended with the block; marked failed when the block raises."""
    run = client.create_run(experiment_id, run_name=name, tags=dict(tags))
    try:
        yield MlflowRun(client, str(run.info.run_id), experiment_id)
    except BaseException:
        client.set_terminated(run.info.run_id, "FAILED")
        raise
    client.set_terminated(run.info.run_id, "FINISHED")
