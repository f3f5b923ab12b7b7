"""A run's report as a document of the run, and finding it again.

Belongs here: which run, which folder. Does not belong here: gathering and writing the page (delivery.report).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dagster_project.plan import RunPlan
from sales_pipeline.domain.time import AsOf
from sales_pipeline.errors import ConfigurationError
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.runs import read_manifest, require_run

if TYPE_CHECKING:
    from sales_pipeline.clean.prepare import Canonical
    from sales_pipeline.engines.base import Engine
    from sales_pipeline.settings import Settings

REPORT = "report.html"


@dataclass(frozen=True)
class ReportFacts:
    """The report in a run's folder: its path, its size, and what leads out of it (nothing, else the audit blocks the run)."""

    path: str
    bytes: int
    most_bytes: int
    references: tuple[str, ...]

    @property
    def is_small(self) -> bool:
        """Whether it is no larger than promised."""
        return self.bytes <= self.most_bytes


def report_document(
    lake: Lake,
    settings: "Settings",
    plan: RunPlan,
    tables: Mapping[str, pa.Table],
    card: Mapping[str, Any],
    canonical: "Canonical",
    engine: "Engine",
) -> dict[str, bytes]:
    """The plan's report by its file name."""
    from sales_pipeline.delivery.report.page import report_page
    from sales_pipeline.delivery.report.sources import report_inputs

    previous = None
    if plan.previous_run_id is not None:
        folder = lake.runs / plan.previous_run_id
        previous = (folder, _instant(read_manifest(folder)["as_of"]))
    inputs = report_inputs(
        tables,
        card,
        canonical.tables,
        engine,
        run_id=plan.run_id,
        as_of=_instant(plan.as_of),
        previous=previous,
        source_system=settings.source_system,
        language=settings.scoring.language,
        time_zone=settings.time_zone,
    )
    return {REPORT: report_page(inputs).encode()}


def report_facts(folder: Path) -> ReportFacts | None:
    """The facts of the report in a run's folder; None where the run was published without one."""
    from sales_pipeline.delivery.report.guard import outside_references
    from sales_pipeline.delivery.report.limits import MOST_BYTES

    path = folder / REPORT
    if not path.is_file():
        return None
    page = path.read_bytes()
    references = outside_references(page.decode(), {file.name for file in folder.iterdir()})
    return ReportFacts(str(path), len(page), MOST_BYTES, tuple(references))


def find_report(lake: Lake, run_id: str | None) -> Path:
    """The report of a published run, without an id of the current one.

    Raises ConfigurationError when there is no such run, nothing is published, or the run was published without a report.
    """
    run = require_run(lake, run_id)
    path = run.path / REPORT
    if not path.is_file():
        raise ConfigurationError(
            "the run was published without a report",
            expected=REPORT,
            found="no such file",
            where=str(run.path),
            fix="run a newer day, or the same day with this version: `sales-pipeline run`",
        )
    return path


def _instant(text: str) -> AsOf:
    return AsOf(datetime.fromisoformat(text))
