"""How old the newest record is, seen from a day.

Belongs here: the day a run is for when none is named, and the limit beyond which a day is refused. Does not belong here: telling
people (`hooks`).
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from sales_pipeline.domain.time import AsOf
from sales_pipeline.errors import InputRejected

if TYPE_CHECKING:
    from sales_pipeline.settings import Settings


@dataclass(frozen=True)
class Freshness:
    """The newest recorded day, how many days the as-of's day lies after it (0 when it does not), and a warning or nothing."""

    newest_day: date
    stale_days: int
    message: str


def recorded_day(newest: datetime, settings: "Settings") -> date:
    """The calendar day, in the configured zone, of the newest recorded instant: the day a run is for by default."""
    return AsOf(newest + timedelta(microseconds=1)).day(settings.time_zone)


def judge(newest: datetime, as_of: AsOf, settings: "Settings") -> Freshness:
    """The verdict for one as-of; InputRejected when the newest record is more than `max_staleness_days` older."""
    day = as_of.day(settings.time_zone)
    newest_day = recorded_day(newest, settings)
    stale_days = max(0, (day - newest_day).days)
    if stale_days > settings.max_staleness_days:
        raise InputRejected(
            f"the export is too old for {day.isoformat()}",
            expected=f"records up to {settings.max_staleness_days} days before (max_staleness_days)",
            found=f"the newest record is of {newest_day.isoformat()}, {stale_days} days before",
            where=str(settings.exports),
            fix=f"bring a newer export, run for {newest_day.isoformat()}, or raise max_staleness_days",
        )
    message = (
        f"the export is {stale_days} day(s) older than {day.isoformat()}: its newest record is of {newest_day.isoformat()}"
        if stale_days
        else ""
    )
    return Freshness(newest_day, stale_days, message)
