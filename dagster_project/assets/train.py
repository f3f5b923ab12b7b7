"""Train: every candidate family on the training features, tuned and chosen on later windows."""

from typing import Any

import dagster as dg

from dagster_project.build import REFS, figures_metadata
from dagster_project.resources import LakeResource, ModelStoreResource

GROUP = "train"


def build(days: dg.PartitionsDefinition) -> list[dg.AssetsDefinition]:
    """The trained model of a day."""

    @dg.asset(
        description="All candidates trained and compared; the chosen recipe as a model bundle named by its content.",
        group_name=GROUP,
        partitions_def=days,
        io_manager_key=REFS,
        kinds={"scikitlearn", "mlflow"},
        ins={"features": dg.AssetIn("training_features"), "ledger": dg.AssetIn("leak_ledger")},
    )
    def trained_model(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[LakeResource],
        model_store: dg.ResourceParam[ModelStoreResource],
        features: Any,
        ledger: Any,
    ) -> dg.MaterializeResult[Any]:
        from dagster_project.training import keep
        from sales_pipeline.models.train import train

        trained = train(
            features,
            ledger,
            lake.settings.training,
            models=lake.lake.models,
            recorder=model_store.store,
            tags={"dagster/run_id": context.run.run_id, "dagster/partition": context.partition_key},
        )
        win = trained.card["win"]
        return dg.MaterializeResult(
            value=keep(lake.lake, features.key, trained),
            metadata=figures_metadata(
                {
                    "model version": trained.version,
                    "choice": win["choice"],
                    "evidence level": win["evidence_level"],
                    "trained through": trained.card["trained_through"],
                }
            )
            | model_store.link(trained.run_id),
        )

    return [trained_model]
