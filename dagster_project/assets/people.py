"""People, a part of apply: the team table with its stage times, and the account table."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from dagster_project.assets.prepare import INDEX
from dagster_project.build import check_specs, figures_metadata, table_metadata, table_spec
from dagster_project.opening import LakeResource
from dagster_project.resources import EngineResource
from sales_pipeline.contracts.forecast import REVENUE_FORECAST
from sales_pipeline.contracts.management import ACCOUNT_INSIGHTS, STAGE_TIMES, TEAM_PERFORMANCE
from sales_pipeline.sales_management.checks import ACCOUNT_CHECKS, STAGE_CHECKS, TEAM_CHECKS

GROUP = "apply"
PEOPLE_INPUTS = (
    "opportunities",
    "opportunity_changes",
    "field_history",
    "opportunity_products",
    "accounts",
    "owners",
    "activities",
    "quotas",
    "cases",
    "exchange_rates",
)
PEOPLE_CHECKS = {
    TEAM_PERFORMANCE.name: TEAM_CHECKS,
    STAGE_TIMES.name: STAGE_CHECKS,
    ACCOUNT_INSIGHTS.name: ACCOUNT_CHECKS,
}
FIGURES = {
    TEAM_PERFORMANCE.name: ("win_rate_verdict",),
    STAGE_TIMES.name: (),
    ACCOUNT_INSIGHTS.name: ("segment", "care_action", "repeat_basis"),
}
"""Columns whose values are counted for the asset's metadata."""


def build(days: dg.PartitionsDefinition) -> list[dg.AssetsDefinition]:
    """Team table, stage times and account table of a run, before it is published with them."""

    @dg.multi_asset(
        name="people",
        specs=[
            table_spec(
                table,
                group=GROUP,
                days=days,
                deps=[
                    "scored_opportunities",
                    "scoring_features",
                    REVENUE_FORECAST.name,
                    "run_plan",
                    INDEX,
                    *PEOPLE_INPUTS,
                ],
            )
            for table in (TEAM_PERFORMANCE, STAGE_TIMES, ACCOUNT_INSIGHTS)
        ],
        check_specs=[
            spec
            for name, checks in PEOPLE_CHECKS.items()
            for spec in check_specs(name, checks, days=days, descriptions=checks)
        ],
        ins={
            "scored": dg.AssetIn("scored_opportunities"),
            "features": dg.AssetIn("scoring_features"),
            "forecast": dg.AssetIn(REVENUE_FORECAST.name),
            "plan": dg.AssetIn("run_plan"),
            "canonical": dg.AssetIn(INDEX),
        },
    )
    def people(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[LakeResource],
        engine: dg.ResourceParam[EngineResource],
        scored: Any,
        features: Any,
        forecast: Any,
        plan: Any,
        canonical: Any,
    ) -> Iterator[dg.MaterializeResult[Any]]:
        from dagster_project.applying import count_by
        from dagster_project.people import people_tables, people_verdicts

        as_of = lake.as_of(context.partition_key)
        tables = people_tables(
            lake.lake, lake.settings, scored, features, forecast, canonical, as_of, plan, engine.get()
        )
        verdicts = people_verdicts(tables, scored)
        for name, ref in tables.items():
            yield dg.MaterializeResult(
                asset_key=name,
                value=ref,
                metadata=table_metadata(ref)
                | figures_metadata({f"by {column}": count_by(ref, column) for column in FIGURES[name]}),
                check_results=[
                    dg.AssetCheckResult(
                        asset_key=name,
                        check_name=verdict.name,
                        passed=verdict.passed,
                        description=verdict.message or None,
                        metadata=figures_metadata(verdict.figures),
                    )
                    for verdict in verdicts[name]
                ],
            )

    return [people]
