"""Apply: the follow-up queue, what it leaves out, each owner's day, and the checks that hold of every queue, its effect."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from dagster_project.assets.prepare import INDEX
from dagster_project.build import check_specs, figures_metadata, table_metadata, table_spec
from dagster_project.opening import LakeResource
from dagster_project.resources import EngineResource
from sales_pipeline.contracts.published import FOLLOW_UP_QUEUE, LEFT_OUT, OWNER_WORKLOAD, QUEUE_EFFECT
from sales_pipeline.follow_up.check_names import EFFECT_CHECKS, QUEUE_CHECKS

GROUP = "apply"
QUEUE_INPUTS = ("activities", "planned_activities", "contacts", "owners", "exchange_rates")


def build(days: dg.PartitionsDefinition) -> list[dg.AssetsDefinition]:
    """The queue of a run."""

    @dg.multi_asset(
        name="follow_up",
        specs=[
            table_spec(
                table,
                group=GROUP,
                days=days,
                deps=["scored_opportunities", "predictions", "scoring_features", "run_plan", INDEX, *QUEUE_INPUTS],
            )
            for table in (FOLLOW_UP_QUEUE, LEFT_OUT, OWNER_WORKLOAD)
        ],
        check_specs=check_specs(FOLLOW_UP_QUEUE.name, QUEUE_CHECKS, days=days, descriptions=QUEUE_CHECKS),
        ins={
            "scored": dg.AssetIn("scored_opportunities"),
            "predicted": dg.AssetIn("predictions"),
            "features": dg.AssetIn("scoring_features"),
            "plan": dg.AssetIn("run_plan"),
            "canonical": dg.AssetIn(INDEX),
        },
    )
    def follow_up(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[LakeResource],
        engine: dg.ResourceParam[EngineResource],
        scored: Any,
        predicted: Any,
        features: Any,
        plan: Any,
        canonical: Any,
    ) -> Iterator[dg.MaterializeResult[Any]]:
        from dagster_project.applying import count_by
        from dagster_project.queueing import queue_tables

        as_of = lake.as_of(context.partition_key)
        found = queue_tables(
            lake.lake, lake.settings.follow_up, scored, predicted, features, canonical, as_of, plan, engine.get()
        )
        yield dg.MaterializeResult(
            asset_key=FOLLOW_UP_QUEUE.name,
            value=found.queue,
            metadata=table_metadata(found.queue)
            | figures_metadata({"by action": count_by(found.queue, "action"), **found.facts}),
            check_results=[
                dg.AssetCheckResult(
                    asset_key=FOLLOW_UP_QUEUE.name,
                    check_name=check.name,
                    passed=check.passed,
                    description=check.message or None,
                    metadata=figures_metadata(check.figures),
                )
                for check in found.checks
            ],
        )
        yield dg.MaterializeResult(
            asset_key=LEFT_OUT.name,
            value=found.left_out,
            metadata=table_metadata(found.left_out)
            | figures_metadata({"by reason": count_by(found.left_out, "reason")}),
        )
        yield dg.MaterializeResult(
            asset_key=OWNER_WORKLOAD.name,
            value=found.workload,
            metadata=table_metadata(found.workload)
            | figures_metadata({"by capacity basis": count_by(found.workload, "capacity_basis")}),
        )

    @dg.multi_asset(
        name=QUEUE_EFFECT.name,
        specs=[
            table_spec(
                QUEUE_EFFECT,
                group=GROUP,
                days=days,
                deps=[
                    FOLLOW_UP_QUEUE.name,
                    LEFT_OUT.name,
                    "scored_opportunities",
                    "scoring_features",
                    "run_plan",
                    INDEX,
                ],
            )
        ],
        check_specs=check_specs(QUEUE_EFFECT.name, EFFECT_CHECKS, days=days, descriptions=EFFECT_CHECKS),
        ins={
            "scored": dg.AssetIn("scored_opportunities"),
            "queue": dg.AssetIn(FOLLOW_UP_QUEUE.name),
            "left_out": dg.AssetIn(LEFT_OUT.name),
            "features": dg.AssetIn("scoring_features"),
            "plan": dg.AssetIn("run_plan"),
            "canonical": dg.AssetIn(INDEX),
        },
    )
    def queue_effect(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[LakeResource],
        engine: dg.ResourceParam[EngineResource],
        scored: Any,
        queue: Any,
        left_out: Any,
        features: Any,
        plan: Any,
        canonical: Any,
    ) -> Iterator[dg.MaterializeResult[Any]]:
        from dagster_project.queueing import effect_checks, effect_table

        as_of = lake.as_of(context.partition_key)
        params = lake.settings.follow_up
        effect = effect_table(
            lake.lake, params, scored, queue, left_out, features, canonical, as_of, plan, engine.get()
        )
        checks = effect_checks(effect)
        yield dg.MaterializeResult(
            asset_key=QUEUE_EFFECT.name,
            value=effect,
            metadata=table_metadata(effect) | figures_metadata(checks[0].figures),
            check_results=[
                dg.AssetCheckResult(
                    asset_key=QUEUE_EFFECT.name,
                    check_name=check.name,
                    passed=check.passed,
                    severity=dg.AssetCheckSeverity.WARN,
                    description=check.message or None,
                    metadata=figures_metadata(check.figures),
                )
                for check in checks
            ],
        )

    return [follow_up, queue_effect]
