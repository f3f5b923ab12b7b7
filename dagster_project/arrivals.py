"""What has arrived in the landing folder: which day it is for, and which runs it calls for.

Sensor and schedule ask the same question and use the same run key (day and export ids), so that whichever comes second does nothing.
Belongs here: that question. Does not belong here: when it is asked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import dagster as dg

from dagster_project.freshness import recorded_day
from dagster_project.jobs import SCORING_JOB, TRAINING_JOB
from dagster_project.opening import open_engine, open_store
from sales_pipeline.domain.identifiers import digest_of
from sales_pipeline.domain.time import AsOf
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.lock import lake_lock

if TYPE_CHECKING:
    from sales_pipeline.engines.base import Engine
    from sales_pipeline.settings import Settings

RUN_KEY_TAG = "dagster/run_key"
SETTLED = (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


@dataclass(frozen=True)
class Arrival:
    """The exports that are there: the day of the newest recorded instant, and the ids of the exports visible at its end."""

    day: date
    export_ids: tuple[str, ...]

    def run_key(self, job: str) -> str:
        """Equal for equal day, exports and job."""
        return f"{job}:{self.day.isoformat()}:{digest_of(sorted(self.export_ids))}"


def find_arrival(settings: "Settings", engine: "Engine | None" = None) -> Arrival:
    """Keep what has landed and say which day it is for. The caller holds the lake's lock.

    Raises InputRejected when the landing folder holds nothing that can be read.
    """
    from sales_pipeline.ingest.exports import collect, newest_recorded_instant, visible

    if engine is None:
        with open_engine(settings) as opened:
            return find_arrival(settings, opened)
    kept = collect(Lake(settings.lake), settings.exports, settings.mapping, engine)
    day = recorded_day(newest_recorded_instant(kept), settings)
    seen = visible(kept, AsOf.end_of_day(day, settings.time_zone))
    return Arrival(day, tuple(one.export.export_id for one in seen))


def look(settings: "Settings") -> Arrival:
    """`find_arrival` under the lake's lock; LakeLocked when a run holds it."""
    with lake_lock(settings.lake):
        return find_arrival(settings)


def has_champion(settings: "Settings", day: date) -> bool:
    """Whether a model may be used for that day: one whose files are gone, or which was trained on other features than the code builds, may not."""
    from dagster_project.promoting import present_champion

    return present_champion(open_store(settings), AsOf.end_of_day(day, settings.time_zone)).ref is not None


def run_requests(
    instance: dg.DagsterInstance, settings: "Settings", arrival: Arrival, jobs: Sequence[str] = (SCORING_JOB,)
) -> list[dg.RunRequest]:
    """The runs an arrival calls for that were not asked for before; training first where no champion may be used.

    A run that failed or was cancelled may be asked for again.
    """
    wanted = list(jobs)
    if SCORING_JOB in wanted and TRAINING_JOB not in wanted and not has_champion(settings, arrival.day):
        wanted.insert(0, TRAINING_JOB)
    return [
        dg.RunRequest(
            run_key=arrival.run_key(job),
            job_name=job,
            partition_key=arrival.day.isoformat(),
            tags={"export_ids": digest_of(sorted(arrival.export_ids))},
        )
        for job in wanted
        if not was_requested(instance, arrival.run_key(job))
    ]


def was_requested(instance: dg.DagsterInstance, run_key: str) -> bool:
    """Whether a run of that key waits, goes on or is done; one that failed or was cancelled may be asked for again."""
    runs = instance.get_runs(dg.RunsFilter(tags={RUN_KEY_TAG: run_key}))
    return any(run.status not in SETTLED for run in runs)
