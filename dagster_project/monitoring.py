"""A run's monitoring as a table at rest, computed once per run.

Belongs here: finding inputs and keeping results. Does not belong here: figures and verdicts (monitoring).
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagster_project.plan import RunPlan
from sales_pipeline.contracts.published import MODEL_MONITORING
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.tables import TableRef, read_table, table_ref, write_table

if TYPE_CHECKING:
    from sales_pipeline.features.build import FeatureSet
    from sales_pipeline.monitoring.params import MonitoringParams
    from sales_pipeline.monitoring.verdicts import Verdict


@dataclass(frozen=True)
class MonitoringTable:
    """MODEL_MONITORING of a run, its verdicts, and by column the values that are new or have vanished (shown, never published)."""

    ref: TableRef
    verdicts: "list[Verdict]"
    values: dict[str, dict[str, list[str]]]


def monitoring_table(
    lake: Lake,
    params: "MonitoringParams",
    features: "FeatureSet",
    scored: TableRef,
    plan: RunPlan,
    *,
    sensitive: Collection[str],
) -> MonitoringTable:
    """The monitoring of the plan's run. Values of columns named sensitive are neither kept nor shown."""
    from sales_pipeline.monitoring.kept import FEATURES_KEY, STEP, step_key
    from sales_pipeline.monitoring.verdicts import verdicts

    def build(folder: Path) -> dict[str, Any]:
        from sales_pipeline.monitoring.monitor import monitor

        found = monitor(
            lake,
            features,
            scored,
            params,
            model_version=plan.model_version,
            code_version=plan.code_version,
            previous_run_id=plan.previous_run_id,
            run_id=plan.run_id,
        )
        write_table(found.table, folder / f"{MODEL_MONITORING.name}.parquet", MODEL_MONITORING)
        values = {column: named for column, named in found.values.items() if column not in sensitive}
        return {FEATURES_KEY: features.key, "values": values}

    folder, facts = lake.step(STEP, step_key(plan.run_id), build)
    ref = table_ref(MODEL_MONITORING.name, folder / f"{MODEL_MONITORING.name}.parquet")
    return MonitoringTable(ref, verdicts(read_table(ref)), facts["values"])
