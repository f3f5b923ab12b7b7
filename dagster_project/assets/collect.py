"""Collect: exports kept for ever and read into raw tables, every physical record in the ledger."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from dagster_project.build import asset_spec, check_specs, markdown_table, table_spec
from dagster_project.checks import FRESHNESS_CHECK, LEDGER_CHECK
from dagster_project.hooks import alert
from dagster_project.opening import LakeResource
from dagster_project.resources import EngineResource
from sales_pipeline.contracts.raw import RAW_TABLES

GROUP = "collect"
FILE_COLUMNS = (
    "export",
    "file",
    "tables",
    "records",
    "accepted",
    "encoding",
    "delimiter",
    "lane",
    "newest_recorded_at",
)


def build(days: dg.PartitionsDefinition) -> list[dg.AssetsDefinition]:
    """The exports visible on a day, and their raw tables."""
    exports = asset_spec(
        "exports",
        "The exports visible at the end of the day, oldest first; each is kept in the lake once and never changed.",
        group=GROUP,
        days=days,
        kinds=("file",),
    )
    raw = [table_spec(table, group=GROUP, days=days) for table in RAW_TABLES.values()]
    checks = check_specs(
        "exports",
        (LEDGER_CHECK, FRESHNESS_CHECK),
        days=days,
        descriptions={
            LEDGER_CHECK: "the ledger has one line per physical record of every file",
            FRESHNESS_CHECK: "the newest recorded instant lies on the day itself; older is a warning, and refused beyond max_staleness_days",
        },
    )

    @dg.multi_asset(name="collect", specs=[exports, *raw], check_specs=checks)
    def collect(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[LakeResource],
        engine: dg.ResourceParam[EngineResource],
    ) -> Iterator[dg.MaterializeResult[Any]]:
        from dagster_project.freshness import judge
        from sales_pipeline.ingest.exports import collect as collect_exports
        from sales_pipeline.ingest.exports import newest_recorded_instant, visible

        settings = lake.settings
        as_of = lake.as_of(context.partition_key)
        kept = collect_exports(lake.lake, settings.exports, settings.mapping, engine.get())
        seen = visible(kept, as_of)
        freshness = judge(newest_recorded_instant(seen), as_of, settings)
        if freshness.message:
            context.log.warning(freshness.message)
            alert(
                settings,
                "sales pipeline: the export is stale",
                {"day": context.partition_key, "message": freshness.message},
            )
        files = [
            facts | {"export": one.export.export_id, "file": name, "tables": ", ".join(facts.get("tables", ()))}
            for one in seen
            for name, facts in one.facts["files"].items()
        ]
        warnings = [f"{one.export.export_id}: {text}" for one in seen for text in one.facts["warnings"]]
        for text in warnings:
            context.log.warning(text)
        yield dg.MaterializeResult(
            asset_key="exports",
            value=seen,
            metadata={
                "exports visible": len(seen),
                "exports kept": len(kept),
                "newest recorded day": freshness.newest_day.isoformat(),
                "dagster/row_count": sum(row["records"] for row in files),
                "files": markdown_table(files, FILE_COLUMNS),
                "warnings": len(warnings),
            },
            check_results=[
                # Collecting raises LedgerUnbalanced where a record is missing, so reaching this line is the proof.
                dg.AssetCheckResult(
                    asset_key="exports",
                    check_name=LEDGER_CHECK,
                    passed=True,
                    metadata={"ledger lines": sum(one.ledger.rows for one in seen), "files": len(files)},
                ),
                dg.AssetCheckResult(
                    asset_key="exports",
                    check_name=FRESHNESS_CHECK,
                    passed=freshness.stale_days == 0,
                    severity=dg.AssetCheckSeverity.WARN,
                    metadata={"stale_days": freshness.stale_days, "max_staleness_days": settings.max_staleness_days},
                    description=freshness.message or None,
                ),
            ],
        )
        for name in RAW_TABLES:
            parts = [part for one in seen for part in one.tables.get(name, ())]
            yield dg.MaterializeResult(
                asset_key=name,
                value=parts,
                metadata={"dagster/row_count": sum(part.rows for part in parts), "files": len(parts)},
            )

    return [collect]
