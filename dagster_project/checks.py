"""Asset checks: their names at definition time, the library's results as Dagster shows them.

Belongs here: translation. Does not belong here: judging data (clean, delivery, models).
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import dagster as dg

from dagster_project.build import check_specs, expectation_descriptions, figures_metadata
from sales_pipeline.contracts.canonical import CANONICAL_TABLES

if TYPE_CHECKING:
    from sales_pipeline.clean.validate import CheckResult

LEDGER_CHECK = "every_record_accounted_for"
FRESHNESS_CHECK = "is_fresh"
AUDIT_CHECK = "audit"
REPORT_ALONE_CHECK = "report_stands_alone"
REPORT_SIZE_CHECK = "report_size"
BASE_RATE_CHECK = "beats_base_rate"


def canonical_check_specs(days: dg.PartitionsDefinition) -> list[dg.AssetCheckSpec]:
    """One check per expectation of a canonical table; mapped attributes share one aggregate check."""
    from sales_pipeline.clean.validate import check_names

    return [
        spec
        for name, table in CANONICAL_TABLES.items()
        for spec in check_specs(name, check_names(name), days=days, descriptions=expectation_descriptions(table))
    ]


def asset_check_results(table: str, results: "Iterable[CheckResult]") -> list[dg.AssetCheckResult]:
    """The library's verdicts on a table; one that does not block is a warning."""
    return [
        dg.AssetCheckResult(
            asset_key=table,
            check_name=result.name,
            passed=result.passed,
            severity=dg.AssetCheckSeverity.ERROR if result.is_blocking else dg.AssetCheckSeverity.WARN,
            description=result.message or None,
            metadata=figures_metadata(result.figures),
        )
        for result in results
    ]
