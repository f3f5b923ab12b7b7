"""The one partitioning: calendar days in the configured zone. Partition D's as-of is the end of D.

Belongs here: what a day is to Dagster. Does not belong here: which day a run is for (`run`, `sensors`).
"""

from datetime import date

import dagster as dg

from sales_pipeline.errors import ConfigurationError


def daily(start_date: date, time_zone: str) -> dg.DailyPartitionsDefinition:
    """Days from `start_date` up to and with the running one (`end_offset=1`)."""
    return dg.DailyPartitionsDefinition(
        start_date=start_date.isoformat(), timezone=time_zone, end_offset=1, fmt="%Y-%m-%d"
    )


def require_partition(days: dg.DailyPartitionsDefinition, day: date) -> str:
    """The partition key of a day; ConfigurationError when the day lies before the first or after the running one."""
    first = days.get_first_partition_key()
    last = days.get_last_partition_key()
    key = day.isoformat()
    if first is None or last is None or not first <= key <= last:
        raise ConfigurationError(
            "there is no such day to run",
            expected=f"a day from {first} (start_date) to {last} (today in {days.timezone})",
            found=key,
            where="--as-of, or start_date and time_zone in the configuration",
            fix="name a day within, or set start_date earlier"
            if first and key < first
            else "name a day that has begun",
        )
    return key
