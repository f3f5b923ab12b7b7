"""Select: features as known strictly before an as-of, and the ledger of what may not be used."""

from typing import Any

import dagster as dg

from dagster_project.assets.prepare import INDEX
from dagster_project.build import REFS, column_lineage, column_schema, markdown_table, table_metadata
from dagster_project.opening import LakeResource
from dagster_project.resources import EngineResource
from sales_pipeline.contracts.internal import LEAK_LEDGER
from sales_pipeline.features.catalogue import FEATURE_TABLE

GROUP = "select"
CANONICAL_INPUTS = (
    "opportunities",
    "opportunity_changes",
    "field_history",
    "activities",
    "planned_activities",
    "accounts",
    "owners",
    "products",
    "opportunity_attributes",
)
"""The canonical tables features are made from."""
LEDGER_COLUMNS = (
    "column",
    "verdict",
    "is_used",
    "basis",
    "reason",
    "figure",
    "filled_open_share",
    "filled_closed_share",
    "auc_alone",
    "first_filled_days_before_close",
    "filled_at_close_share",
    "changed_since_landmark_share",
    "psi",
    "jensen_shannon",
    "auc_with",
    "auc_without",
)


def _features_metadata(lake: LakeResource, features: Any) -> dict[str, Any]:
    from dagster_project.lineage import feature_lineage

    return table_metadata(features.features) | {
        "mode": features.mode,
        "has history": features.has_history,
        "features present": len(features.usable),
        "absent": markdown_table(
            [{"feature": name, "reason": reason} for name, reason in sorted(features.absent.items())],
            ("feature", "reason"),
        ),
        "dagster/column_lineage": column_lineage(feature_lineage(lake.lake)),
    }


def build(days: dg.PartitionsDefinition) -> list[dg.AssetsDefinition]:
    """Scoring features, training features and the leak ledger."""
    common: dict[str, Any] = {
        "group_name": GROUP,
        "partitions_def": days,
        "io_manager_key": REFS,
        "kinds": {"duckdb", "parquet"},
    }
    featured = {"dagster/column_schema": column_schema(FEATURE_TABLE)}

    @dg.asset(
        description="One row per opportunity open at the end of the day, as known strictly before it.",
        deps=list(CANONICAL_INPUTS),
        ins={"canonical": dg.AssetIn(INDEX)},
        metadata=featured,
        **common,
    )
    def scoring_features(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[LakeResource],
        engine: dg.ResourceParam[EngineResource],
        canonical: Any,
    ) -> dg.MaterializeResult[Any]:
        from sales_pipeline.features.build import build as build_features

        features = build_features(
            lake.lake,
            canonical,
            lake.as_of(context.partition_key),
            purpose="scoring",
            params=lake.settings.features,
            engine=engine.get(),
        )
        return dg.MaterializeResult(value=features, metadata=_features_metadata(lake, features))

    @dg.asset(
        description="One row per landmark: a past as-of at which a then-open opportunity becomes a training example.",
        deps=list(CANONICAL_INPUTS),
        ins={"canonical": dg.AssetIn(INDEX)},
        metadata=featured,
        **common,
    )
    def training_features(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[LakeResource],
        engine: dg.ResourceParam[EngineResource],
        canonical: Any,
    ) -> dg.MaterializeResult[Any]:
        from sales_pipeline.features.build import build as build_features

        features = build_features(
            lake.lake,
            canonical,
            lake.as_of(context.partition_key),
            purpose="training",
            params=lake.settings.features,
            engine=engine.get(),
        )
        return dg.MaterializeResult(value=features, metadata=_features_metadata(lake, features))

    @dg.asset(
        description=f"{LEAK_LEDGER.grain[0].upper()}{LEAK_LEDGER.grain[1:]}.",
        ins={"canonical": dg.AssetIn(INDEX), "training_features": dg.AssetIn("training_features")},
        metadata={"dagster/column_schema": column_schema(LEAK_LEDGER)},
        **common,
    )
    def leak_ledger(
        lake: dg.ResourceParam[LakeResource],
        engine: dg.ResourceParam[EngineResource],
        canonical: Any,
        training_features: Any,
    ) -> dg.MaterializeResult[Any]:
        from sales_pipeline.features.leaks import leak_ledger as judge
        from sales_pipeline.lake.tables import read_table

        ledger = judge(lake.lake, canonical, training_features, lake.settings.mapping, engine.get())
        rows = sorted(read_table(ledger).to_pylist(), key=lambda row: (row["is_used"], row["verdict"], row["column"]))
        return dg.MaterializeResult(
            value=ledger,
            metadata=table_metadata(ledger)
            | {"left out": sum(not row["is_used"] for row in rows), "ledger": markdown_table(rows, LEDGER_COLUMNS)},
        )

    return [scoring_features, training_features, leak_ledger]
