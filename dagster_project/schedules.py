"""The schedules: scoring every morning and training every Sunday, both for the day of the newest record that has arrived; delivery
after the scoring, for the run that is current.

Belongs here: when. Does not belong here: what has arrived (`arrivals`).
"""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

import dagster as dg

from dagster_project.arrivals import look, run_requests, was_requested
from dagster_project.hooks import alert
from dagster_project.jobs import DELIVERY_JOB, SCORING_JOB, TRAINING_JOB
from sales_pipeline.domain.time import AsOf, zone
from sales_pipeline.errors import LakeLocked, SalesPipelineError

if TYPE_CHECKING:
    from sales_pipeline.settings import Settings

SCORING_CRON = "0 6 * * *"
TRAINING_CRON = "0 4 * * 0"
DELIVERY_CRON = "0,30 6-9 * * *"
"""Every half hour until the run of the morning is there; each run is delivered once."""


def build_schedules(load: "Callable[[], Settings]", time_zone: str) -> list[dg.ScheduleDefinition]:
    """Both schedules in the configured zone; off until switched on in the UI."""
    return [
        _schedule("daily_scoring", SCORING_JOB, SCORING_CRON, load, time_zone),
        _schedule("weekly_training", TRAINING_JOB, TRAINING_CRON, load, time_zone),
    ]


def _schedule(name: str, job: str, cron: str, load: "Callable[[], Settings]", time_zone: str) -> dg.ScheduleDefinition:
    # A schedule starts one job; where no champion may be used yet, the sensor or the command line trains first.
    @dg.schedule(
        name=name,
        job_name=job,
        cron_schedule=cron,
        execution_timezone=time_zone,
        description="Runs the day of the newest record that has arrived, once per day and set of exports.",
    )
    def schedule(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        settings = load()
        today = context.scheduled_execution_time.astimezone(zone(settings.time_zone)).date()
        try:
            arrival = look(settings)
        except LakeLocked:
            return dg.SkipReason("a run is under way")
        except SalesPipelineError as error:
            alert(settings, "sales pipeline: the export was refused", {"message": str(error)})
            return dg.SkipReason(str(error))
        stale_days = (today - arrival.day).days
        if stale_days > settings.max_staleness_days:
            reason = f"the newest record is of {arrival.day}, {stale_days} days ago"
            alert(settings, "sales pipeline: no new data arrives", {"message": reason, "day": arrival.day.isoformat()})
            return dg.SkipReason(reason)
        requests = run_requests(context.instance, settings, arrival, (job,))
        return requests or dg.SkipReason(f"{arrival.day} was asked for with these exports already")

    return schedule


def build_delivery_schedules(load: "Callable[[], Settings]", time_zone: str) -> list[dg.ScheduleDefinition]:
    """The delivery of the current run in the configured zone; off until switched on in the UI."""

    @dg.schedule(
        name="daily_delivery",
        job_name=DELIVERY_JOB,
        cron_schedule=DELIVERY_CRON,
        execution_timezone=time_zone,
        description="Delivers the current run to every scheduled target, once per run.",
    )
    def schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        from sales_pipeline.lake.layout import Lake
        from sales_pipeline.lake.runs import current_run

        settings = load()
        run = current_run(Lake(settings.lake))
        if run is None:
            return dg.SkipReason("nothing is published yet")
        run_key = f"{DELIVERY_JOB}:{run.run_id}"
        if was_requested(context.instance, run_key):
            return dg.SkipReason(f"{run.run_id} was asked for already")
        day = AsOf(datetime.fromisoformat(run.as_of)).day(settings.time_zone)
        return dg.RunRequest(run_key=run_key, partition_key=day.isoformat())

    return [schedule]
