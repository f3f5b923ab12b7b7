"""`sales-pipeline feature-rows`: the rows the champion scored in the current run, as the CSV that `mlflow models predict` takes.

Belongs here: finding model and features of the run in the lake. Does not belong here: the columns and how they are written (models.serving).
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sales_pipeline.domain.time import AsOf
from sales_pipeline.lake.layout import Lake

if TYPE_CHECKING:
    from sales_pipeline.settings import Settings


@dataclass(frozen=True)
class FeatureRows:
    """The CSV, what it holds, and where the registry is that a model server must be told of."""

    content: bytes
    rows: int
    columns: int
    model_name: str
    model_version: str
    tracking_uri: str

    def usage(self, path: Path) -> list[str]:
        """How to have them scored."""
        return [
            f"MLFLOW_TRACKING_URI={self.tracking_uri} \\",
            f"  mlflow models predict -m models:/{self.model_name}@champion -i {path} -t csv --env-manager local",
        ]


def feature_rows(settings: "Settings", limit: int | None = None) -> FeatureRows:
    """Feature rows of the current run's opportunities, at most `limit`. ConfigurationError when nothing is published yet."""
    import dagster as dg

    from dagster_project.io_managers import RefIOManager
    from dagster_project.opening import LakeResource
    from sales_pipeline.adapters.mlflow_store import tracking_uri
    from sales_pipeline.lake.runs import require_current_run
    from sales_pipeline.models.bundle import read_bundle
    from sales_pipeline.models.matrix import load_matrix
    from sales_pipeline.models.predict import needed_columns
    from sales_pipeline.models.serving import to_csv, to_frame

    lake = Lake(settings.lake)
    current = require_current_run(lake)
    day = AsOf(datetime.fromisoformat(current.as_of)).day(settings.time_zone).isoformat()
    features = RefIOManager(LakeResource(settings).refs).read(dg.AssetKey("scoring_features"), day)
    model = current.manifest["model"]
    bundle = read_bundle(lake.models / model["version"])
    matrix = load_matrix(features, [column.name for column in needed_columns(bundle)])
    frame = to_frame(bundle, matrix).head(limit if limit is not None else len(matrix))
    uri = settings.tracking.uri or tracking_uri(lake)
    return FeatureRows(to_csv(frame), len(frame), frame.shape[1], model["name"], model["version"], uri)
