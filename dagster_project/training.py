"""A trained model between training and promotion, at rest: the bundle and the table of its untouched window.

Belongs here: keeping and finding it. Does not belong here: training or comparing (models).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from sales_pipeline.domain.identifiers import digest_of
from sales_pipeline.errors import EnvironmentProblem
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.tables import TableRef, read_table, table_ref, write_table

if TYPE_CHECKING:
    from sales_pipeline.features.build import FeatureSet
    from sales_pipeline.models.card import JudgedWindow
    from sales_pipeline.models.params import TrainingParams
    from sales_pipeline.models.train import TrainedModel

JUDGED = "judged_window"


@dataclass(frozen=True)
class TrainedRef:
    """A trained model by its bundle. `judged` holds one row per row of the untouched window; None where there was none."""

    version: str
    path: Path
    run_id: str | None
    judged: TableRef | None


def keep(lake: Lake, features_key: str, trained: "TrainedModel") -> TrainedRef:
    """Write what the comparison with a champion needs, once per data set and model."""
    judged = trained.judged
    if judged is None:
        return TrainedRef(trained.version, trained.path, trained.run_id, None)

    def build(folder: Path) -> dict[str, Any]:
        return {"rows": write_table(_table(judged), folder / f"{JUDGED}.parquet").rows}

    folder, _ = lake.step("judged", digest_of(features_key, trained.version), build)
    return TrainedRef(trained.version, trained.path, trained.run_id, table_ref(JUDGED, folder / f"{JUDGED}.parquet"))


def trained_on(
    lake: Lake, card: Mapping[str, Any], features: "FeatureSet", params: "TrainingParams"
) -> tuple["FeatureSet", "TrainingParams"]:
    """The features a model was trained on, of a day's training features the sample where one was drawn, and the parameters with as many rows to fit.

    EnvironmentProblem where the lake no longer keeps the sample.
    """
    from sales_pipeline.features.build import find
    from sales_pipeline.models.sampling import fitting

    sample = card["data"].get("sample")
    if sample is None:
        return features, params
    found = find(lake, str(card["data_digest"]), features.as_of, "training")
    if found is None:
        raise EnvironmentProblem(
            "the sample the model was trained on is gone", found=str(card["data_digest"]), fix="train again"
        )
    return found, fitting(params, sample)


def restore(ref: TrainedRef) -> "TrainedModel":
    """The trained model again, as `promotion.decide` needs it."""
    import numpy as np

    from sales_pipeline.models.bundle import read_bundle
    from sales_pipeline.models.card import JudgedWindow
    from sales_pipeline.models.train import TrainedModel

    judged = None
    if ref.judged is not None:
        data = read_table(ref.judged)
        judged = JudgedWindow(
            rows=data["row"].to_numpy(),
            opportunity=np.array(data["opportunity_id"].to_pylist(), dtype=object),
            won=data["won"].to_numpy(),
            probability=data["probability"].to_numpy(),
            weight=data["weight"].to_numpy() if "weight" in data.column_names else None,
        )
    return TrainedModel(ref.version, ref.path, read_bundle(ref.path).card, ref.run_id, judged)


def _table(judged: "JudgedWindow") -> pa.Table:
    columns = {
        "row": pa.array(judged.rows, pa.int64()),
        "opportunity_id": pa.array([str(value) for value in judged.opportunity], pa.string()),
        "won": pa.array(judged.won, pa.float64()),
        "probability": pa.array(judged.probability, pa.float64()),
    }
    return pa.table(columns if judged.weight is None else columns | {"weight": pa.array(judged.weight, pa.float64())})
