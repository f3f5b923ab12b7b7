"""Monitor, a part of apply: drift of the model's inputs and scores, and how past published scores turned out, as warnings."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from dagster_project.build import check_specs, figures_metadata, markdown_table, table_metadata, table_spec
from dagster_project.opening import LakeResource
from sales_pipeline.contracts.published import MODEL_MONITORING
from sales_pipeline.monitoring.watches import WATCHES

GROUP = "apply"
SHOWN_COLUMNS = (
    "subject",
    "figure",
    "reference",
    "value",
    "low",
    "high",
    "limit_low",
    "limit_high",
    "is_alert",
    "rows",
    "detail",
)


def build(days: dg.PartitionsDefinition) -> list[dg.AssetsDefinition]:
    """The monitoring of a run, before it is published with it."""

    @dg.multi_asset(
        name=MODEL_MONITORING.name,
        specs=[
            table_spec(
                MODEL_MONITORING, group=GROUP, days=days, deps=["scored_opportunities", "scoring_features", "run_plan"]
            )
        ],
        check_specs=check_specs(
            MODEL_MONITORING.name,
            [watch.name for watch in WATCHES],
            days=days,
            descriptions={watch.name: watch.meaning for watch in WATCHES},
        ),
        ins={
            "scored": dg.AssetIn("scored_opportunities"),
            "features": dg.AssetIn("scoring_features"),
            "plan": dg.AssetIn("run_plan"),
        },
    )
    def model_monitoring(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[LakeResource],
        scored: Any,
        features: Any,
        plan: Any,
    ) -> Iterator[dg.MaterializeResult[Any]]:
        from dagster_project.monitoring import monitoring_table

        settings = lake.settings
        monitored = monitoring_table(
            lake.lake, settings.monitoring, features, scored, plan, sensitive=settings.scoring.sensitive
        )
        for verdict in monitored.verdicts:
            if not verdict.passed:
                context.log.warning(f"{verdict.name}: {verdict.message}")
        yield dg.MaterializeResult(
            asset_key=MODEL_MONITORING.name,
            value=monitored.ref,
            metadata=table_metadata(monitored.ref)
            | figures_metadata({"alerts": sum(verdict.figures["alerts"] for verdict in monitored.verdicts)}),
            check_results=[
                dg.AssetCheckResult(
                    asset_key=MODEL_MONITORING.name,
                    check_name=verdict.name,
                    passed=verdict.passed,
                    severity=dg.AssetCheckSeverity.WARN,
                    description=verdict.message or None,
                    metadata=figures_metadata(verdict.figures)
                    | {"rows": markdown_table(verdict.rows, SHOWN_COLUMNS)}
                    | figures_metadata({"values": monitored.values} if verdict.name == WATCHES[0].name else {}),
                )
                for verdict in monitored.verdicts
            ],
        )

    return [model_monitoring]
