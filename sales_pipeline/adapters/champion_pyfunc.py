"""The model MLflow serves, as code: it reads the bundle among the model's artifacts.

MLflow runs this file when it loads a logged model (models from code: no pickle). Belongs here: nothing else.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

from sales_pipeline.models.bundle import Bundle, read_bundle
from sales_pipeline.models.serving import predict_frame


class BundleModel(PythonModel):  # type: ignore[misc]
    """Predictions of data frames by a bundle (see models.serving for the columns)."""

    bundle: Bundle

    def load_context(self, context: Any) -> None:
        """Read the bundle."""
        self.bundle = read_bundle(Path(context.artifacts["bundle"]))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """One row of predictions per input row."""
        del context, params
        return predict_frame(self.bundle, model_input)


set_model(BundleModel())
