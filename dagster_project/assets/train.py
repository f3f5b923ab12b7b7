"""Train: every candidate family on the training features, tuned and chosen on later windows; and the effect of a contact."""

from typing import Any

import dagster as dg

from dagster_project.assets.prepare import INDEX
from dagster_project.build import REFS, figures_metadata
from dagster_project.opening import LakeResource
from dagster_project.resources import EngineResource, ModelStoreResource

GROUP = "train"
EFFECT_INPUTS = ("opportunities", "opportunity_changes", "field_history", "activities", "accounts")


def build(days: dg.PartitionsDefinition) -> list[dg.AssetsDefinition]:
    """The trained model of a day, and the effect of a contact."""

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
        engine: dg.ResourceParam[EngineResource],
        model_store: dg.ResourceParam[ModelStoreResource],
        features: Any,
        ledger: Any,
    ) -> dg.MaterializeResult[Any]:
        from dagster_project.training import keep
        from sales_pipeline.models.sampling import training_sample
        from sales_pipeline.models.train import train

        sample = training_sample(lake.lake, features, ledger, lake.settings.training, engine.get())
        trained = train(
            sample.features,
            ledger,
            sample.params(lake.settings.training),
            sample=sample.facts,
            models=lake.lake.models,
            recorder=model_store.store,
            tags={"dagster/run_id": context.run.run_id, "dagster/partition": context.partition_key},
        )
        win = trained.card["win"]
        return dg.MaterializeResult(
            value=keep(lake.lake, sample.features.key, trained),
            metadata=figures_metadata(
                {
                    "model version": trained.version,
                    "choice": win["choice"],
                    "evidence level": win["evidence_level"],
                    "trained through": trained.card["trained_through"],
                    **({"sample": sample.facts} if sample.facts else {}),
                }
            )
            | model_store.link(trained.run_id),
        )

    @dg.asset(
        description="What a contact now changes in the chance of winning, learnt from past weeks; or why that cannot be said. The queue reckons with it.",
        group_name=GROUP,
        partitions_def=days,
        io_manager_key=REFS,
        kinds={"mlflow"},
        deps=list(EFFECT_INPUTS),
        ins={"features": dg.AssetIn("training_features"), "canonical": dg.AssetIn(INDEX)},
    )
    def contact_effect(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[LakeResource],
        engine: dg.ResourceParam[EngineResource],
        model_store: dg.ResourceParam[ModelStoreResource],
        features: Any,
        canonical: Any,
    ) -> dg.MaterializeResult[Any]:
        from dagster_project.contact_effects import EffectRef, figures, learn, record

        key, model = learn(lake.lake, canonical, features, lake.settings.contact_effect, engine.get())
        tags = {"dagster/run_id": context.run.run_id, "dagster/partition": context.partition_key}
        run_id = record(model_store.store, model, tags)
        return dg.MaterializeResult(
            value=EffectRef(key, model.method, model.why, model.trained_through),
            metadata=figures_metadata(figures(model)) | model_store.link(run_id),
        )

    return [trained_model, contact_effect]
