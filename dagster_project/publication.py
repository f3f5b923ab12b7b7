"""Publishing a day: the tables, documents and manifest put together, and what came of it.

Belongs here: gathering what a run consists of. Does not belong here: the audit and the protocol (delivery, lake).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from dagster_project.cards import card_documents, card_of, stored_replay
from dagster_project.plan import RunPlan
from dagster_project.reporting import ReportFacts, report_document, report_facts
from sales_pipeline.contracts.published import ROW_LEDGER_SUMMARY
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.runs import MANIFEST, read_manifest
from sales_pipeline.lake.tables import TableRef, read_table

if TYPE_CHECKING:
    from sales_pipeline.clean.ledger import RowLedger
    from sales_pipeline.clean.prepare import Canonical
    from sales_pipeline.engines.base import Engine
    from sales_pipeline.settings import Settings

OUTCOMES = ("accepted", "duplicate_of", "quarantined", "structural")


@dataclass(frozen=True)
class Publication:
    """What publishing did.

    `records` are physical records of the visible exports by outcome, `rows` published rows by table, `quarantined_share` the share (0–1) of
    quarantined records in the table that has the largest, `report` the facts of the report, None of a run published before there was one.
    """

    run_id: str
    as_of: str
    path: str
    is_new: bool
    is_current: bool
    model_name: str
    model_version: str
    records: dict[str, int]
    rows: dict[str, int]
    quarantined_share: float
    max_quarantined_share: float
    report: ReportFacts | None = None

    @property
    def too_much_quarantine(self) -> bool:
        """Whether more is quarantined than the settings allow."""
        return self.quarantined_share > self.max_quarantined_share


def publish_tables(
    lake: Lake,
    settings: "Settings",
    plan: RunPlan,
    tables: Mapping[str, TableRef],
    ledger: "RowLedger",
    canonical: "Canonical",
    engine: "Engine",
    *,
    log: Mapping[str, Any],
    make_current: bool,
) -> Publication:
    """Write, audit and publish the plan's run; a run id that is published already changes nothing, and nothing of it is made again."""
    from sales_pipeline.delivery.publish import publish, write_and_audit
    from sales_pipeline.delivery.quarantine import row_ledger_summary

    is_new = not (lake.runs / f"{plan.run_id}.published").is_file()
    path = lake.runs / plan.run_id
    if not (path / MANIFEST).is_file():
        replay = stored_replay(lake, plan.replay_key) if plan.replay_key else None
        card = card_of(lake, plan.model_name, plan.model_version, replay, settings.training)
        data = {name: read_table(ref) for name, ref in tables.items()}
        data[ROW_LEDGER_SUMMARY.name] = row_ledger_summary(ledger, plan.run_id, engine)
        path = write_and_audit(
            lake,
            plan.run_id,
            data,
            plan.manifest() | {"canonical_key": canonical.key},
            card_documents(card) | report_document(lake, settings, plan, data, card, canonical, engine),
            at_rest=tables,
        )
    is_current = publish(lake, plan.run_id, log=log, make_current=make_current)
    rows = read_manifest(path)["rows"]
    summary = read_table(path / f"{ROW_LEDGER_SUMMARY.name}.parquet")
    return Publication(
        run_id=plan.run_id,
        as_of=plan.as_of,
        path=str(path),
        is_new=is_new,
        is_current=is_current,
        model_name=plan.model_name,
        model_version=plan.model_version,
        records=records_by_outcome(summary),
        rows={name: rows[name] for name in (*tables, ROW_LEDGER_SUMMARY.name)},
        quarantined_share=largest_quarantined_share(summary),
        max_quarantined_share=settings.clean.max_quarantined_share,
        report=report_facts(path),
    )


def largest_quarantined_share(summary: pa.Table) -> float:
    """Share (0–1) of quarantined data records in the table that has the largest, from the ledger's summary."""
    counts: dict[str | None, list[int]] = {}
    for row in summary.to_pylist():
        if row["outcome"] != "structural":
            count = counts.setdefault(row["canonical_table"], [0, 0])
            count[0] += row["records"] if row["outcome"] == "quarantined" else 0
            count[1] += row["records"]
    return max((bad / every for bad, every in counts.values() if every), default=0.0)


def records_by_outcome(summary: pa.Table) -> dict[str, int]:
    """Physical records by outcome, from the ledger's summary; every outcome is named."""
    return {
        outcome: pc.sum(summary.filter(pc.field("outcome") == outcome).column("records")).as_py() or 0
        for outcome in OUTCOMES
    }
