"""A bundle as an MLflow model: a pyfunc from code that reads the bundle among its artifacts, with a written-out signature and no pickle.

Belongs here: logging it, and getting its bundle back. Does not belong here: the registry (`mlflow_store`), the frame's columns (models.serving).
"""

from __future__ import annotations

import warnings
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

from sales_pipeline.adapters.mlflow_run import address, load_mlflow
from sales_pipeline.contracts.internal import PREDICTIONS
from sales_pipeline.errors import EnvironmentProblem

REQUIRED = ("numpy", "pandas", "pyarrow", "scipy", "scikit-learn", "lightgbm", "pydantic", "filelock")


def log_bundle(mlflow: Any, bundle: Path, registered_name: str) -> Any:
    """Log a bundle in the active run and register it; LightGBM parts also as Boosters of their own. MLflow's model info."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema
    from mlflow.types.schema import AnyType

    from sales_pipeline import __version__
    from sales_pipeline.models.bundle import read_bundle
    from sales_pipeline.models.serving import REQUIRED_KEYS, input_columns

    model = read_bundle(bundle)
    inputs = [
        # An instant may come as text (a CSV has nothing else) or as a datetime.
        ColSpec(AnyType() if kind == "instant" else kind, name, required=name in REQUIRED_KEYS)
        for name, kind in input_columns(model).items()
    ]
    outputs = [ColSpec(_output_type(column.type), column.name) for column in PREDICTIONS.columns]
    for file in sorted(bundle.glob("*_boosting.txt")):
        log_booster(mlflow, file.read_text(encoding="utf-8"), file.stem)
    with warnings.catch_warnings():
        # The signature is written out above; an example would only repeat it.
        warnings.filterwarnings("ignore", message=".*input example.*", category=UserWarning)
        return mlflow.pyfunc.log_model(
            name="model",
            python_model=str(Path(__file__).with_name("champion_pyfunc.py")),
            artifacts={"bundle": str(bundle)},
            signature=ModelSignature(inputs=Schema(inputs), outputs=Schema(outputs)),
            pip_requirements=[
                *(f"{name}=={installed_version(name)}" for name in REQUIRED),
                f"sales-pipeline=={__version__}",
            ],
            registered_model_name=registered_name,
        )


def log_booster(mlflow: Any, text: str, name: str) -> None:
    """Log a LightGBM model by its text, as a Booster, in the active run."""
    import lightgbm

    booster = lightgbm.Booster(model_str=text)
    requirements = [f"lightgbm=={installed_version('lightgbm')}", f"numpy=={installed_version('numpy')}"]
    mlflow.lightgbm.log_model(booster, name=name, pip_requirements=requirements)


def download_bundle(tracking_uri: str, source: str, content: str, target: Path) -> None:
    """A registered model's bundle, into a folder of the lake. EnvironmentProblem when the registry has lost its files."""
    import shutil

    mlflow = load_mlflow()
    from mlflow.exceptions import MlflowException

    with address(mlflow, tracking_uri):
        try:
            local = Path(mlflow.artifacts.download_artifacts(artifact_uri=source)) / "artifacts" / content
            files = sorted(local.iterdir())
        except (MlflowException, OSError) as error:
            raise EnvironmentProblem(
                "a registered model's files are gone",
                expected=f"the bundle {content} in the lake's models, or among the artifacts of {source}",
                found=str(error).splitlines()[0],
                where=str(target),
                fix="train again with `sales-pipeline train`, or restore the files; `sales-pipeline rollback` goes back to an earlier model",
            ) from error
    for item in files:
        shutil.copy(item, target / item.name)


def _output_type(kind: str) -> str:
    return {"timestamp": "datetime", "date": "string", "float64": "double"}.get(kind, "string")
