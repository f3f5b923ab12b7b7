"""The report of a run as Dagster shows it: metadata and checks of the asset `published`.

Belongs here: translation. Does not belong here: judging the page (delivery.report.guard).
"""

from typing import Any

import dagster as dg

from dagster_project.checks import REPORT_ALONE_CHECK, REPORT_SIZE_CHECK
from dagster_project.reporting import ReportFacts


def report_metadata(report: ReportFacts | None) -> dict[str, Any]:
    """Where the report lies and how large it is; nothing of a run without one."""
    if report is None:
        return {}
    return {"report": dg.MetadataValue.path(report.path), "report bytes": report.bytes}


def report_checks(asset: str, report: ReportFacts | None) -> list[dg.AssetCheckResult]:
    """Both checks. The size is a warning: a page too large is no reason to hold back tables."""
    references = report.references if report else ()
    size = f"{report.bytes:,} of at most {report.most_bytes:,} bytes" if report else "published without a report"
    return [
        dg.AssetCheckResult(
            asset_key=asset,
            check_name=REPORT_ALONE_CHECK,
            passed=not references,
            severity=dg.AssetCheckSeverity.ERROR,
            description=f"leads out of the page: {', '.join(references[:5])}" if references else None,
        ),
        dg.AssetCheckResult(
            asset_key=asset,
            check_name=REPORT_SIZE_CHECK,
            passed=report is None or report.is_small,
            severity=dg.AssetCheckSeverity.WARN,
            description=size,
        ),
    ]
