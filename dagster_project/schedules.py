"""The two schedules: scoring every morning, training every Sunday. Both run the day of the newest record that has arrived.

Belongs here: when. Does not belong here: what has arrived (`arrivals`).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import dagster as dg

from dagster_project.arrivals import look, run_requests
from dagster_project.hooks import alert
from dagster_project.jobs import SCORING_JOB, TRAINING_JOB
from sales_pipeline.domain.time import zone
from sales_pipeline.errors import LakeLocked, SalesPipelineError

if TYPE_CHECKING:
    from sales_pipeline.settings import Settings

SCORING_CRON = "0 6 * * *"
TRAINING_CRON = "0 4 * * 0"


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
