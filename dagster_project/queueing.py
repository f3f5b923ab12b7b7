"""The queue's tables at rest, checked against each other; computed once per run.

Belongs here: finding inputs and keeping results. Does not belong here: rules, allocation, feedback (follow_up).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dagster_project.applying import previous_table, with_owner_free
from dagster_project.plan import RunPlan
from sales_pipeline.contracts.published import FOLLOW_UP_QUEUE, LEFT_OUT, OWNER_WORKLOAD
from sales_pipeline.domain.identifiers import digest_of
from sales_pipeline.domain.time import AsOf
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.tables import TableRef, read_table, table_ref, write_table

if TYPE_CHECKING:
    from sales_pipeline.clean.prepare import Canonical
    from sales_pipeline.engines.base import Engine
    from sales_pipeline.features.build import FeatureSet
    from sales_pipeline.follow_up.checks import QueueCheck
    from sales_pipeline.follow_up.feedback_ledger import Taken
    from sales_pipeline.follow_up.params import FollowUpParams
    from sales_pipeline.settings import Settings

QUEUE_TABLES = (FOLLOW_UP_QUEUE, LEFT_OUT, OWNER_WORKLOAD)


@dataclass(frozen=True)
class QueueTables:
    """The queue's tables at rest, how the day was solved, and the verdicts on them."""

    queue: TableRef
    left_out: TableRef
    workload: TableRef
    facts: dict[str, Any]
    checks: "list[QueueCheck]"


def queue_tables(
    lake: Lake,
    params: "FollowUpParams",
    scored: TableRef,
    predicted: TableRef,
    features: "FeatureSet",
    canonical: "Canonical",
    as_of: AsOf,
    plan: RunPlan,
    engine: "Engine",
) -> QueueTables:
    """FOLLOW_UP_QUEUE, LEFT_OUT and OWNER_WORKLOAD of the plan's run."""
    from sales_pipeline.follow_up.checks import check_queue

    feedback = known_feedback(lake, as_of)

    def build(folder: Path) -> dict[str, Any]:
        from sales_pipeline.follow_up.queue import build_queue

        queue = build_queue(
            with_owner_free(read_table(scored), read_table(predicted)),
            activities=canonical.tables["activities"],
            planned=canonical.tables["planned_activities"],
            contacts=canonical.tables["contacts"],
            owners=canonical.tables["owners"],
            previous_queue=previous_table(lake, plan, FOLLOW_UP_QUEUE),
            feedback=feedback,
            as_of=as_of,
            params=params,
            run_id=plan.run_id,
            engine=engine,
            spine=read_table(features.spine),
            exchange_rates=canonical.tables["exchange_rates"],
        )
        for contract, data in zip(QUEUE_TABLES, (queue.rows, queue.left_out, queue.workload), strict=True):
            write_table(data, folder / f"{contract.name}.parquet", contract)
        return {"facts": queue.facts}

    key = digest_of("queue", plan.run_id, scored.sha256, canonical.key)
    folder, kept = lake.step("queue", key, build)
    refs = [table_ref(contract.name, folder / f"{contract.name}.parquet") for contract in QUEUE_TABLES]
    checks = check_queue(*map(read_table, refs), read_table(scored), feedback, as_of=as_of, params=params)
    return QueueTables(*refs, kept["facts"], checks)


def known_feedback(lake: Lake, as_of: AsOf) -> pa.Table | None:
    """FEEDBACK known before as_of, None where there is none."""
    from sales_pipeline.follow_up.feedback import visible
    from sales_pipeline.follow_up.feedback_ledger import read_ledger

    ledger = visible(read_ledger(lake), as_of)
    return ledger if ledger.num_rows else None


def take_feedback(settings: "Settings", file: Path) -> "Taken":
    """Take a file of feedback into the lake's ledger, under the lake's lock; what it may speak of are all follow-ups published so far."""
    from sales_pipeline.follow_up.feedback import issued
    from sales_pipeline.follow_up.feedback_ledger import take
    from sales_pipeline.lake.lock import lake_lock
    from sales_pipeline.lake.runs import published_runs

    lake = Lake(settings.lake)
    with lake_lock(lake.root):
        known = issued(run.path for run in published_runs(lake))
        return take(lake, file.read_bytes(), name=file.name, issued=known, time_zone=settings.time_zone)
