"""Evaluate: out-of-time figures of all candidates, and the decision whether the new model takes the champion's place."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import dagster as dg

from dagster_project.build import asset_spec, check_specs, figures_metadata, markdown_table
from dagster_project.checks import BASE_RATE_CHECK
from dagster_project.opening import LakeResource
from dagster_project.resources import ModelStoreResource

if TYPE_CHECKING:
    from sales_pipeline.models.promotion import Decision
    from sales_pipeline.models.store import ModelRef

GROUP = "evaluate"
CHAMPION = "champion"
CANDIDATE_COLUMNS = (
    "task",
    "name",
    "setting",
    "chosen",
    "log_loss",
    "brier",
    "auc",
    "calibration_error",
    "mae",
    "rmse",
    "r2",
)
"""Figures are those of the untouched test window where there is one, else of the validation windows."""
SEGMENT_COLUMNS = (
    "kind",
    "segment",
    "rows",
    "win_rate",
    "predicted",
    "log_loss",
    "champion_log_loss",
    "gain",
    "is_main",
    "is_worse",
)


def build(days: dg.PartitionsDefinition) -> list[dg.AssetsDefinition]:
    """The champion after the day's training."""

    spec = asset_spec(
        CHAMPION,
        "The model in force after this training: the new one where it is better on the same untouched window, else the old.",
        group=GROUP,
        days=days,
        deps=("training_features", "trained_model"),
        kinds=("mlflow",),
    )
    checks = check_specs(
        CHAMPION,
        (BASE_RATE_CHECK,),
        days=days,
        descriptions={
            BASE_RATE_CHECK: "the chosen model beats the base rate beyond noise; otherwise rates are used and said to be"
        },
    )

    @dg.multi_asset(
        name=CHAMPION,
        specs=[spec],
        check_specs=checks,
        ins={"features": dg.AssetIn("training_features"), "trained": dg.AssetIn("trained_model")},
    )
    def champion(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[LakeResource],
        model_store: dg.ResourceParam[ModelStoreResource],
        features: Any,
        trained: Any,
    ) -> Iterator[dg.MaterializeResult[Any]]:
        from dagster_project.promoting import judgement_of, present_champion
        from dagster_project.training import restore, trained_on
        from sales_pipeline.models.promotion import decide

        store = model_store.store
        as_of = lake.as_of(context.partition_key)
        model = restore(trained)
        present = present_champion(store, as_of)
        before = present.ref
        seen, params = trained_on(lake.lake, model.card, features, lake.settings.training)
        decision = decide(model, before.path if before else None, seen, params)
        if present.problem:
            decision = replace(decision, reason=f"{present.problem}; {decision.reason}")
        after = store.register(model.path, model.card, as_of=as_of, run_id=model.run_id)
        if before is None or before.registry_version != after.registry_version:
            store.note(after, judgement_of(decision, before))
        if decision.is_promoted:
            store.promote(after, as_of=as_of, reason=decision.reason)
        if model.run_id is not None:
            _record(lake, model_store, model.run_id, after, decision)
        in_force = after if decision.is_promoted or before is None else before
        win = model.card["win"]
        yield dg.MaterializeResult(
            asset_key=CHAMPION,
            value=in_force,
            metadata=figures_metadata(
                {
                    "model version": in_force.version,
                    "is promoted": decision.is_promoted,
                    "why": decision.reason,
                    "compared": decision.verdict.figures if decision.verdict else {},
                    "out of time": win.get("test") or {},
                }
            )
            | {
                "candidates": markdown_table(_candidates(model.card), CANDIDATE_COLUMNS),
                "segments": markdown_table(decision.verdict.segments if decision.verdict else (), SEGMENT_COLUMNS),
            }
            | model_store.link(model.run_id),
            check_results=[
                dg.AssetCheckResult(
                    asset_key=CHAMPION,
                    check_name=BASE_RATE_CHECK,
                    passed=win["has_skill"],
                    severity=dg.AssetCheckSeverity.WARN,
                    description=str(win["why"]),
                )
            ],
        )

    return [champion]


def _record(
    lake: LakeResource, model_store: ModelStoreResource, run_id: str, ref: "ModelRef", decision: "Decision"
) -> None:
    """The decision and the model card into the training's run."""
    from dagster_project.cards import card_documents, card_of
    from sales_pipeline.models.recording import record_decision

    card = card_of(lake.lake, ref.name, ref.version, None, lake.settings.training)
    documents = {name: content.decode() for name, content in card_documents(card).items()}
    record_decision(model_store.store.recorded(run_id), decision, documents)


def _candidates(card: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"task": task, "name": row["name"], "setting": row["setting"], "chosen": "yes" if row.get("is_chosen") else ""}
        | (row.get("test") or row.get("validation") or {})
        for task in ("win", "amount")
        for row in card[task].get("candidates", ())
    ]
