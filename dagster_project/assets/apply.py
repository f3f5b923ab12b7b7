"""Apply: open opportunities scored with the day's champion, the run audited and published. The queue is in `follow_up`."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from dagster_project.assets.prepare import INDEX
from dagster_project.build import (
    REFS,
    asset_spec,
    check_specs,
    column_schema,
    figures_metadata,
    table_metadata,
)
from dagster_project.checks import AUDIT_CHECK, REPORT_ALONE_CHECK, REPORT_SIZE_CHECK
from dagster_project.opening import LakeResource
from dagster_project.publication import Publication
from dagster_project.report_checks import report_checks, report_metadata
from dagster_project.resources import EngineResource, ModelStoreResource
from sales_pipeline.contracts.forecast import FORECAST_TABLES
from sales_pipeline.contracts.internal import PREDICTIONS, ROW_LEDGER
from sales_pipeline.contracts.management import ACCOUNT_INSIGHTS, STAGE_TIMES, TEAM_PERFORMANCE
from sales_pipeline.contracts.published import (
    FOLLOW_UP_QUEUE,
    LEFT_OUT,
    MODEL_MONITORING,
    OWNER_WORKLOAD,
    QUEUE_EFFECT,
    SCORED_OPPORTUNITIES,
)
from sales_pipeline.errors import AuditBlocked

GROUP = "apply"
PUBLISHED = "published"
MANAGED = (OWNER_WORKLOAD, QUEUE_EFFECT, *FORECAST_TABLES, TEAM_PERFORMANCE, STAGE_TIMES, ACCOUNT_INSIGHTS)
"""Tables of `follow_up`, `manage` and `people` that are published with the others."""
PUBLISH_RETRIES = 3
PUBLISH_RETRY_SECONDS = 5


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def build(days: dg.PartitionsDefinition) -> list[dg.AssetsDefinition]:
    """From the run's plan to its publication."""
    common: dict[str, Any] = {"group_name": GROUP, "partitions_def": days, "io_manager_key": REFS}

    @dg.asset(
        description="The run's id and everything it is a digest of: exports, settings, code, champion, previous run.",
        ins={"exports": dg.AssetIn("exports")},
        deps=["champion"],
        **common,
    )
    def run_plan(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[LakeResource],
        model_store: dg.ResourceParam[ModelStoreResource],
        exports: list[Any],
    ) -> dg.MaterializeResult[Any]:
        from dagster_project.plan import plan_run
        from dagster_project.promoting import usable_champion

        as_of = lake.as_of(context.partition_key)
        plan = plan_run(
            lake.lake,
            lake.settings,
            as_of,
            [one.export.export_id for one in exports],
            lambda: usable_champion(model_store.store, as_of),
        )
        return dg.MaterializeResult(
            value=plan,
            metadata=figures_metadata({"run": plan.run_id, "is a repeat": plan.is_repeat, **plan.manifest()}),
        )

    @dg.asset(
        description=_sentence(PREDICTIONS.grain),
        ins={"features": dg.AssetIn("scoring_features"), "plan": dg.AssetIn("run_plan")},
        metadata={"dagster/column_schema": column_schema(PREDICTIONS)},
        kinds={"parquet"},
        **common,
    )
    def predictions(
        lake: dg.ResourceParam[LakeResource], engine: dg.ResourceParam[EngineResource], features: Any, plan: Any
    ) -> dg.MaterializeResult[Any]:
        from dagster_project.applying import predict_table

        ref = predict_table(lake.lake, lake.settings.scoring, features, plan, engine.get())
        return dg.MaterializeResult(value=ref, metadata=table_metadata(ref) | {"model version": plan.model_version})

    @dg.asset(
        description=f"{_sentence(SCORED_OPPORTUNITIES.grain)} Key: {', '.join(SCORED_OPPORTUNITIES.key)}.",
        ins={
            "features": dg.AssetIn("scoring_features"),
            "predicted": dg.AssetIn("predictions"),
            "plan": dg.AssetIn("run_plan"),
        },
        metadata={"dagster/column_schema": column_schema(SCORED_OPPORTUNITIES)},
        kinds={"parquet"},
        **common,
    )
    def scored_opportunities(
        lake: dg.ResourceParam[LakeResource], features: Any, predicted: Any, plan: Any
    ) -> dg.MaterializeResult[Any]:
        from dagster_project.applying import scored_figures, scored_table

        ref = scored_table(lake.lake, lake.settings.scoring, features, predicted, plan)
        return dg.MaterializeResult(value=ref, metadata=table_metadata(ref) | figures_metadata(scored_figures(ref)))

    inputs = {
        "scored": SCORED_OPPORTUNITIES.name,
        "queue": FOLLOW_UP_QUEUE.name,
        "left_out": LEFT_OUT.name,
        "monitoring": MODEL_MONITORING.name,
        **{table.name: table.name for table in MANAGED},
        "ledger": ROW_LEDGER.name,
        "canonical": INDEX,
        "plan": "run_plan",
    }

    @dg.multi_asset(
        name=PUBLISHED,
        specs=[
            asset_spec(
                PUBLISHED,
                "The run made visible at once: every published table as Parquet and as CSV, dictionary, model card, report and manifest.",
                group=GROUP,
                days=days,
                deps=tuple(inputs.values()),
                kinds=("parquet", "csv"),
            )
        ],
        check_specs=check_specs(
            PUBLISHED,
            (AUDIT_CHECK, REPORT_ALONE_CHECK, REPORT_SIZE_CHECK),
            days=days,
            descriptions={
                AUDIT_CHECK: "the bytes written keep contract v1 and agree with each other; else nothing is published",
                REPORT_ALONE_CHECK: "the report fetches nothing, runs nothing and links only to files beside it",
                REPORT_SIZE_CHECK: "the report is no larger than 600 kB",
            },
        ),
        ins={argument: dg.AssetIn(asset) for argument, asset in inputs.items()},
    )
    def published(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[LakeResource],
        engine: dg.ResourceParam[EngineResource],
        scored: Any,
        queue: Any,
        left_out: Any,
        monitoring: Any,
        ledger: Any,
        canonical: Any,
        plan: Any,
        **managed: Any,
    ) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
        from dagster_project.publication import publish_tables

        refs = {
            SCORED_OPPORTUNITIES.name: scored,
            FOLLOW_UP_QUEUE.name: queue,
            LEFT_OUT.name: left_out,
            MODEL_MONITORING.name: monitoring,
            **managed,
        }
        try:
            publication: Publication = publish_tables(
                lake.lake,
                lake.settings,
                plan,
                refs,
                ledger,
                canonical,
                engine.get(),
                log={"dagster_run_id": context.run.run_id, "partition": context.partition_key},
                make_current=lake.make_current,
            )
        except AuditBlocked as error:
            yield dg.AssetCheckResult(asset_key=PUBLISHED, check_name=AUDIT_CHECK, passed=False, description=str(error))
            raise
        except OSError as error:
            # A full or busy disk may pass; nothing else in publishing gets better by trying again.
            raise dg.RetryRequested(max_retries=PUBLISH_RETRIES, seconds_to_wait=PUBLISH_RETRY_SECONDS) from error
        yield dg.MaterializeResult(
            asset_key=PUBLISHED,
            value=publication,
            metadata=figures_metadata(
                {
                    "run": publication.run_id,
                    "is new": publication.is_new,
                    "is current": publication.is_current,
                    "tables": publication.rows,
                    "records": publication.records,
                }
            )
            | {"folder": dg.MetadataValue.path(publication.path)}
            | report_metadata(publication.report),
            check_results=[
                dg.AssetCheckResult(asset_key=PUBLISHED, check_name=AUDIT_CHECK, passed=True),
                *report_checks(PUBLISHED, publication.report),
            ],
        )

    return [run_plan, predictions, scored_opportunities, published]
