"""The first hand-overs of the apply step as tables at rest: predictions and scored opportunities.

Each is computed once per key and kept in the lake, so that a repeated day reads what it wrote.
Belongs here: finding inputs and keeping results. Does not belong here: scores (scoring), the queue (`queueing`).
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dagster_project.plan import RunPlan
from sales_pipeline.contracts.internal import PREDICTIONS
from sales_pipeline.contracts.model import Table
from sales_pipeline.contracts.published import SCORED_OPPORTUNITIES
from sales_pipeline.domain.identifiers import digest_of
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.tables import TableRef, read_table, table_ref, write_table

if TYPE_CHECKING:
    from sales_pipeline.engines.base import Engine
    from sales_pipeline.features.build import FeatureSet
    from sales_pipeline.scoring.params import ScoringParams

SCORED_STAGE = "scored"
RUN_ID, FEATURES_KEY = "run_id", "features_key"


def predict_table(
    lake: Lake, params: "ScoringParams", features: "FeatureSet", plan: RunPlan, engine: "Engine"
) -> TableRef:
    """PREDICTIONS of the scoring features by the plan's model, with reasons worded as the parameters say."""

    def build(folder: Path) -> dict[str, Any]:
        from sales_pipeline.models.predict import write_predictions
        from sales_pipeline.models.wording import Wording

        wording = Wording.of(params.language, params.sensitive)
        ref = write_predictions(lake.models / plan.model_version, features, folder, engine, wording)
        return {PREDICTIONS.name: ref.rows}

    wording_key = [params.language, sorted(params.sensitive)]
    key = digest_of("predictions", features.key, plan.model_version, plan.code_version, wording_key)
    return _kept(lake, "predictions", key, (PREDICTIONS,), build)[0]


def scored_table(
    lake: Lake, params: "ScoringParams", features: "FeatureSet", predicted: TableRef, plan: RunPlan
) -> TableRef:
    """SCORED_OPPORTUNITIES of the plan's run."""

    def build(folder: Path) -> dict[str, Any]:
        from sales_pipeline.scoring.score import score

        scored = score(
            read_table(predicted),
            read_table(features.spine),
            previous_table(lake, plan, SCORED_OPPORTUNITIES),
            params,
            model_name=plan.model_name,
            model_version=plan.model_version,
            run_id=plan.run_id,
        )
        # What `explain` needs to find its way back from a run to the features it was scored on.
        origin = {RUN_ID: plan.run_id, FEATURES_KEY: features.key}
        return _write(folder, SCORED_OPPORTUNITIES, scored) | origin

    key = digest_of("scored", plan.run_id, predicted.sha256, features.spine.sha256)
    return _kept(lake, SCORED_STAGE, key, (SCORED_OPPORTUNITIES,), build)[0]


def with_owner_free(scored: pa.Table, predicted: pa.Table) -> pa.Table:
    """The scored table with the probability the queue ranks by: that without the owner's own record."""
    from sales_pipeline.follow_up.situation import OWNER_FREE

    found = pa.compute.index_in(
        scored.column("opportunity_id"), value_set=predicted.column("opportunity_id").combine_chunks()
    )
    return scored.append_column(OWNER_FREE, predicted.column(OWNER_FREE).take(found))


def previous_table(lake: Lake, plan: RunPlan, table: Table) -> pa.Table | None:
    """A table of the plan's previous run, or None when there is no previous run."""
    if plan.previous_run_id is None:
        return None
    return read_table(lake.runs / plan.previous_run_id / f"{table.name}.parquet")


def scored_figures(ref: TableRef) -> dict[str, Any]:
    """Counts by grade and by evidence level."""
    return {"by grade": count_by(ref, "grade"), "by evidence level": count_by(ref, "evidence_level")}


def count_by(ref: TableRef, column: str) -> dict[str, int]:
    """Rows by value of a column, by value; NULL counts as `none`."""
    counts = read_table(ref, [column]).column(0).value_counts().to_pylist()
    return {str(row["values"]) if row["values"] is not None else "none": row["counts"] for row in _by_value(counts)}


def _by_value(counts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(counts, key=lambda row: str(row["values"]))


def _write(folder: Path, contract: Table, data: pa.Table) -> dict[str, Any]:
    return {contract.name: write_table(data, folder / f"{contract.name}.parquet", contract).rows}


def _kept(lake: Lake, stage: str, key: str, contracts: tuple[Table, ...], build: Any) -> list[TableRef]:
    folder, _ = lake.step(stage, key, build)
    return [table_ref(contract.name, folder / f"{contract.name}.parquet") for contract in contracts]
