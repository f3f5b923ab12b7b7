"""The code location: assets, checks, jobs, schedules and the sensor, put together. Only targets the settings name have a delivery.

Belongs here: composition. Does not belong here: anything with a body of its own.
"""

from datetime import date
from typing import TYPE_CHECKING

import dagster as dg

from dagster_project import partitions
from dagster_project.assets import (
    apply,
    collect,
    deliver,
    evaluate,
    follow_up,
    manage,
    monitor,
    people,
    prepare,
    select,
    train,
)
from dagster_project.io_managers import ref_io_manager
from dagster_project.jobs import build_delivery_jobs, build_jobs
from dagster_project.resources import engine_resource, lake_resource, model_store_resource, published_lake_resource
from dagster_project.schedules import build_delivery_schedules, build_schedules
from dagster_project.sensors import build_sensor
from sales_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from sales_pipeline.settings import Settings

WITHOUT_CONFIGURATION = (date(2020, 1, 1), "UTC")
"""First day and zone where there is no configuration yet: the graph can be looked at, and a run says what is missing."""


def build_definitions(
    settings: "Settings | None" = None,
    *,
    make_current: bool = False,
    is_locked: bool = False,
    failures: list[BaseException] | None = None,
) -> dg.Definitions:
    """Everything, for the settings given; without them each run reads the configuration file.

    `is_locked` says that the caller holds the lake's lock for the runs it starts; `failures` collects what their steps raise.
    """
    start_date, time_zone = (settings.start_date, settings.time_zone) if settings else WITHOUT_CONFIGURATION
    days = partitions.daily(start_date, time_zone)

    def load() -> "Settings":
        from sales_pipeline.settings import load_settings

        return settings if settings is not None else load_settings()

    targets = settings.delivery.targets if settings is not None else {}
    jobs = build_jobs()
    delivery_jobs = build_delivery_jobs([deliver.asset_name(name) for name, to in targets.items() if to.scheduled])
    return dg.Definitions(
        assets=[
            *(
                asset
                for step in (collect, prepare, select, train, evaluate, apply, follow_up, monitor, manage, people)
                for asset in step.build(days)
            ),
            *deliver.build(days, targets),
        ],
        jobs=[*jobs, *delivery_jobs],
        schedules=[
            *build_schedules(load, time_zone),
            *(build_delivery_schedules(load, time_zone) if delivery_jobs else ()),
        ],
        sensors=[build_sensor(load, jobs)],
        resources={
            "lake": lake_resource(settings, make_current=make_current, is_locked=is_locked, failures=failures),
            "published_lake": published_lake_resource(settings, failures=failures),
            "engine": engine_resource,
            "model_store": model_store_resource,
            "refs": ref_io_manager,
        },
        executor=dg.in_process_executor,
    )


def configured() -> "Settings | None":
    """The settings of the configuration in force, or None where there is no configuration file; a wrong one raises."""
    from sales_pipeline.settings import find_config, load_settings

    try:
        path = find_config()
    except ConfigurationError:
        return None
    return load_settings(path)


@dg.definitions
def defs() -> dg.Definitions:
    """What `workspace.yaml` loads."""
    return build_definitions(configured())
