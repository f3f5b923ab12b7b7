"""Manage, a part of apply: what planning and supervision read: the revenue forecast with its changes, history and accuracy."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from dagster_project.assets.prepare import INDEX
from dagster_project.build import check_specs, figures_metadata, table_metadata, table_spec
from dagster_project.opening import LakeResource
from dagster_project.resources import EngineResource
from sales_pipeline.contracts.forecast import FORECAST_TABLES, REVENUE_FORECAST

GROUP = "apply"
FORECAST = "forecast"
FORECAST_CANONICAL = ("opportunities", "opportunity_changes", "field_history", "owners", "quotas", "exchange_rates")
FORECAST_CHECKS = {
    "levels_add_up": "owners and teams each add up to the company, and closed, from_open and from_new to expected, to the cent",
    "interval_holds_expected": "low <= expected <= high wherever there is an interval",
    "bridge_adds_up": "previous_expected and the parts of the bridge add up to expected, to the cent",
}


def build(days: dg.PartitionsDefinition) -> list[dg.AssetsDefinition]:
    """The tables of sales management of a run, before it is published with them."""

    @dg.multi_asset(
        name=FORECAST,
        specs=[
            table_spec(
                table, group=GROUP, days=days, deps=["scored_opportunities", "run_plan", INDEX, *FORECAST_CANONICAL]
            )
            for table in FORECAST_TABLES
        ],
        check_specs=check_specs(REVENUE_FORECAST.name, FORECAST_CHECKS, days=days, descriptions=FORECAST_CHECKS),
        ins={
            "scored": dg.AssetIn("scored_opportunities"),
            "plan": dg.AssetIn("run_plan"),
            "canonical": dg.AssetIn(INDEX),
        },
    )
    def forecast(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[LakeResource],
        engine: dg.ResourceParam[EngineResource],
        scored: Any,
        plan: Any,
        canonical: Any,
    ) -> Iterator[dg.MaterializeResult[Any]]:
        from dagster_project.managing import forecast_figures, forecast_tables, forecast_verdicts

        as_of = lake.as_of(context.partition_key)
        refs = forecast_tables(lake.lake, lake.settings, scored, canonical, as_of, plan, engine.get())
        verdicts = forecast_verdicts(refs[0], refs[1])
        for ref in refs:
            is_first = ref.name == REVENUE_FORECAST.name
            yield dg.MaterializeResult(
                asset_key=ref.name,
                value=ref,
                metadata=table_metadata(ref)
                | (figures_metadata({"company": forecast_figures(ref)}) if is_first else {}),
                check_results=[
                    dg.AssetCheckResult(
                        asset_key=ref.name,
                        check_name=verdict.name,
                        passed=verdict.passed,
                        severity=dg.AssetCheckSeverity.ERROR,
                        description=verdict.message or None,
                    )
                    for verdict in verdicts
                    if is_first
                ],
            )

    return [forecast]
