"""The queue's tables at rest, checked against each other; computed once per run.

Belongs here: finding inputs and keeping results. Does not belong here: rules, allocation, feedback (follow_up).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dagster_project.applying import previous_table, with_owner_free
from dagster_project.plan import RunPlan
from sales_pipeline.contracts.internal import COHORT, FEEDBACK
from sales_pipeline.contracts.published import (
    FOLLOW_UP_QUEUE,
    LEFT_OUT,
    OWNER_WORKLOAD,
    QUEUE_EFFECT,
    SCORED_OPPORTUNITIES,
)
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

    feedback, said = _feedback(lake, canonical, as_of, plan, engine)

    def build(folder: Path) -> dict[str, Any]:
        from dagster_project.contact_effects import effects_now
        from sales_pipeline.follow_up.queue import build_queue
        from sales_pipeline.follow_up.situation import OWNER_FREE, SCORED_COLUMNS

        open_now = read_table(scored, ["opportunity_id"])
        effects = effects_now(lake, plan.effect_key, open_now, canonical, features, folder / "weeks", engine)
        queue = build_queue(
            with_owner_free(
                read_table(scored, list(SCORED_COLUMNS)), read_table(predicted, ["opportunity_id", OWNER_FREE])
            ),
            touches=read_table(_touches(features)),
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
            spine=read_table(features.spine, ["opportunity_id", "created_at", "contact_id"]),
            exchange_rates=canonical.tables["exchange_rates"],
            effects=effects,
        )
        for contract, data in zip(QUEUE_TABLES, (queue.rows, queue.left_out, queue.workload), strict=True):
            write_table(data, folder / f"{contract.name}.parquet", contract)
        return {"facts": queue.facts}

    key = digest_of("queue", plan.run_id, scored.sha256, canonical.key)
    folder, kept = lake.step("queue", key, build)
    queued, left_out, workload = (
        table_ref(contract.name, folder / f"{contract.name}.parquet") for contract in QUEUE_TABLES
    )
    checks = check_queue(
        read_table(queued),
        read_table(left_out),
        read_table(workload),
        read_table(scored, ["source_system", "opportunity_id"]),
        feedback,
        as_of=as_of,
        params=params,
    )
    return QueueTables(queued, left_out, workload, kept["facts"] | {"feedback": said}, checks)


def _touches(features: "FeatureSet") -> TableRef:
    if features.touches is None:
        raise ValueError(f"features for {features.purpose} do not say when opportunities were last touched")
    return features.touches


def known_feedback(lake: Lake, canonical: "Canonical", as_of: AsOf, plan: RunPlan, engine: "Engine") -> pa.Table | None:
    """FEEDBACK known before as_of, None where there is none: the lake's ledger, and done tasks of the CRM that carry a follow-up's id.

    What the ids mean is read from the chain of previous runs, so it does not depend on what was published in the meantime.
    """
    return _feedback(lake, canonical, as_of, plan, engine)[0]


def _feedback(
    lake: Lake, canonical: "Canonical", as_of: AsOf, plan: RunPlan, engine: "Engine"
) -> tuple[pa.Table | None, dict[str, Any]]:
    """`known_feedback`, and how many statements and done tasks there are, those of unknown ids too."""

    def build(folder: Path) -> dict[str, Any]:
        from sales_pipeline.follow_up.feedback import done_tasks, from_tasks, issued, visible
        from sales_pipeline.follow_up.feedback_ledger import read_ledger

        tasks = done_tasks(canonical.tables["activities"], as_of, engine)
        known = issued(lake.runs / run_id for run_id in reversed(list(_chain(lake, plan)))) if tasks else {}
        by_task = from_tasks(tasks, known)
        found = pa.concat_tables([visible(read_ledger(lake), as_of), by_task])
        rows = write_table(found, folder / f"{FEEDBACK.name}.parquet", FEEDBACK).rows
        return {
            "statements": rows,
            "done tasks": by_task.num_rows,
            "done tasks of unknown ids": len(tasks) - by_task.num_rows,
        }

    key = digest_of("feedback", plan.run_id, canonical.key)
    folder, facts = lake.step("feedback_known", key, build)
    return (read_table(folder / f"{FEEDBACK.name}.parquet") if facts["statements"] else None), facts


def _chain(lake: Lake, plan: RunPlan) -> Iterator[str]:
    """The previous runs that are kept, youngest first."""
    from sales_pipeline.lake.runs import MANIFEST, read_manifest

    run_id = plan.previous_run_id
    while run_id is not None and (lake.runs / run_id / MANIFEST).is_file():
        yield run_id
        run_id = read_manifest(lake.runs / run_id)["previous_run_id"]


def effect_table(
    lake: Lake,
    params: "FollowUpParams",
    scored: TableRef,
    queue: TableRef,
    left_out: TableRef,
    features: "FeatureSet",
    canonical: "Canonical",
    as_of: AsOf,
    plan: RunPlan,
    engine: "Engine",
) -> TableRef:
    """QUEUE_EFFECT of the plan's run."""

    def build(folder: Path) -> dict[str, Any]:
        from sales_pipeline.follow_up.queue import rates_at
        from sales_pipeline.follow_up.queue_effect import OUTCOME_COLUMNS, queue_effect

        cohort = _cohort(lake, plan, scored, queue, left_out)
        found = queue_effect(
            cohort,
            read_table(features.outcomes, list(OUTCOME_COLUMNS)),
            known_feedback(lake, canonical, as_of, plan, engine),
            rates=rates_at(canonical.tables["exchange_rates"], as_of, params),
            params=params,
            as_of=as_of,
            run_id=plan.run_id,
        )
        write_table(found, folder / f"{QUEUE_EFFECT.name}.parquet", QUEUE_EFFECT)
        return {"cohort": cohort.num_rows}

    key = digest_of("queue_effect", plan.run_id, queue.sha256, left_out.sha256, features.key)
    folder, _ = lake.step("queue_effect", key, build)
    return table_ref(QUEUE_EFFECT.name, folder / f"{QUEUE_EFFECT.name}.parquet")


def effect_checks(effect: TableRef) -> "list[QueueCheck]":
    """What a warning should be given of."""
    from sales_pipeline.follow_up.checks import check_effect

    return check_effect(read_table(effect))


def _cohort(lake: Lake, plan: RunPlan, scored: TableRef, queue: TableRef, left_out: TableRef) -> pa.Table:
    """COHORT of the plan's run: that of the chain of previous runs, computed where it is not kept, and this run's."""
    from sales_pipeline.follow_up.cohort import join_cohort

    chain: list[str] = []
    cohort = None
    for run_id in _chain(lake, plan):
        if _cohort_path(lake, run_id).is_file():
            cohort = read_table(_cohort_path(lake, run_id))
            break
        chain.append(run_id)
    for earlier in reversed(chain):
        names = (FOLLOW_UP_QUEUE.name, LEFT_OUT.name, SCORED_OPPORTUNITIES.name)
        tables = (read_table(lake.runs / earlier / f"{name}.parquet") for name in names)
        cohort = _kept_cohort(lake, earlier, join_cohort(cohort, *tables))
    return _kept_cohort(lake, plan.run_id, join_cohort(cohort, *map(read_table, (queue, left_out, scored))))


def _cohort_path(lake: Lake, run_id: str) -> Path:
    return lake.step_path("cohorts", run_id) / f"{COHORT.name}.parquet"


def _kept_cohort(lake: Lake, run_id: str, cohort: pa.Table) -> pa.Table:
    def build(folder: Path) -> dict[str, Any]:
        return {"rows": write_table(cohort, folder / f"{COHORT.name}.parquet", COHORT).rows}

    lake.step("cohorts", run_id, build)
    return cohort


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
