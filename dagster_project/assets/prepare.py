"""Prepare: raw tables cleaned into the canonical ones by named, counted rules, and validated."""

from collections.abc import Iterator
from graphlib import TopologicalSorter
from typing import Any

import dagster as dg

from dagster_project.build import asset_spec, check_specs, column_lineage, figures_metadata, table_metadata, table_spec
from dagster_project.checks import LEDGER_CHECK, asset_check_results, canonical_check_specs
from dagster_project.opening import LakeResource
from dagster_project.resources import EngineResource
from sales_pipeline.contracts.canonical import CANONICAL_TABLES
from sales_pipeline.contracts.internal import CELL_ISSUES, ROW_LEDGER
from sales_pipeline.contracts.raw import RAW_TABLES

GROUP = "prepare"
STAGED_OPPORTUNITIES = ("raw_opportunities", "raw_stages")
STATES = (*STAGED_OPPORTUNITIES, "raw_state_history", "raw_field_history", "raw_opportunity_attributes")
INPUTS: dict[str, tuple[str, ...]] = {
    "opportunities": (*STATES, "accounts"),
    "opportunity_attributes": (
        *STAGED_OPPORTUNITIES,
        "raw_opportunity_attributes",
        "raw_field_history",
        "opportunities",
    ),
    "attribute_changes": (*STAGED_OPPORTUNITIES, "raw_opportunity_attributes", "raw_field_history"),
    "opportunity_changes": STATES,
    "field_history": ("raw_state_history", "raw_field_history", "raw_opportunity_attributes"),
    "activities": (*STAGED_OPPORTUNITIES, "raw_activities", "accounts"),
    "planned_activities": (*STAGED_OPPORTUNITIES, "raw_activities", "accounts"),
    "opportunity_products": (*STAGED_OPPORTUNITIES, "raw_opportunity_products"),
    "cases": ("raw_cases", "accounts"),
}
"""What a canonical table is made from, where that is not just the raw table of its own name. A test holds it against the SQL."""
INDEX = "canonical_tables"


def inputs_of(table: str) -> tuple[str, ...]:
    """The raw and canonical tables a canonical table is made from."""
    return INPUTS.get(table, (f"raw_{table}",))


def in_order() -> list[str]:
    """The canonical tables, each after those it is made from."""
    graph = {name: [source for source in inputs_of(name) if source in CANONICAL_TABLES] for name in CANONICAL_TABLES}
    return list(TopologicalSorter(graph).static_order())


def build(days: dg.PartitionsDefinition) -> list[dg.AssetsDefinition]:
    """Every canonical table as an asset of its own, the final ledger, the cell issues, and the index of them all."""
    tables = [
        table_spec(table, group=GROUP, days=days, deps=inputs_of(name)) for name, table in CANONICAL_TABLES.items()
    ]
    records = [table_spec(table, group=GROUP, days=days, deps=tuple(RAW_TABLES)) for table in (ROW_LEDGER, CELL_ISSUES)]
    index = asset_spec(
        INDEX,
        "One consistent set of canonical tables: its key, the references to all of them, and the cleaning rules with their counts.",
        group=GROUP,
        days=days,
        deps=["exports"],
    )
    checks = [
        *canonical_check_specs(days),
        *check_specs(
            ROW_LEDGER.name,
            (LEDGER_CHECK,),
            days=days,
            descriptions={
                LEDGER_CHECK: "every physical record ends with one outcome, and the outcomes add up to the files"
            },
        ),
    ]

    @dg.multi_asset(
        name="prepare", specs=[*tables, *records, index], check_specs=checks, ins={"exports": dg.AssetIn("exports")}
    )
    def prepare(
        lake: dg.ResourceParam[LakeResource], engine: dg.ResourceParam[EngineResource], exports: list[Any]
    ) -> Iterator[dg.MaterializeResult[Any]]:
        from dagster_project.lineage import canonical_lineage
        from dagster_project.validation import validated
        from sales_pipeline.clean.prepare import prepare as clean

        settings = lake.settings
        canonical = clean(lake.lake, exports, settings.mapping, settings.clean, engine.get())
        verdicts, docs = validated(lake.lake, canonical)
        lineage = canonical_lineage(lake.lake)
        for name in in_order():
            yield dg.MaterializeResult(
                asset_key=name,
                value=canonical.tables[name],
                metadata=table_metadata(canonical.tables[name])
                | ({"dagster/column_lineage": column_lineage(lineage[name])} if name in lineage else {}),
                check_results=asset_check_results(name, verdicts[name]),
            )
        yield dg.MaterializeResult(
            asset_key=ROW_LEDGER.name,
            value=canonical.ledger,
            metadata=table_metadata(canonical.ledger.verdicts) | {"dagster/row_count": canonical.ledger.lines},
            check_results=[
                # `clean` raises LedgerUnbalanced where the outcomes do not add up, so reaching this line is the proof.
                dg.AssetCheckResult(
                    asset_key=ROW_LEDGER.name,
                    check_name=LEDGER_CHECK,
                    passed=True,
                    metadata={"records": canonical.ledger.lines},
                )
            ],
        )
        yield dg.MaterializeResult(
            asset_key=CELL_ISSUES.name, value=canonical.cell_issues, metadata=table_metadata(canonical.cell_issues)
        )
        yield dg.MaterializeResult(
            asset_key=INDEX,
            value=canonical,
            metadata=figures_metadata(canonical.facts)
            | {"key": canonical.key, "data docs": dg.MetadataValue.url((docs / "index.html").as_uri())},
        )

    return [prepare]
