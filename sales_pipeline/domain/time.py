"""Instants, days and half-open windows.

Belongs here: how an as-of is made from a day and which instants it sees. Does not belong here: a clock; the as-of is
always an argument.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sales_pipeline.errors import ConfigurationError


def zone(name: str) -> ZoneInfo:
    """The IANA time zone of that name; ConfigurationError when there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ConfigurationError(
            "unknown time zone", expected="an IANA name such as Europe/Berlin", found=name, where="time_zone"
        ) from error


@lru_cache(maxsize=1024)
def _last_day_before(instant: datetime, zone_name: str) -> date:
    return (instant - timedelta(microseconds=1)).astimezone(zone(zone_name)).date()


@dataclass(frozen=True, order=True)
class AsOf:
    """The instant a statement holds for. A feature at an as-of sees only what was known strictly before it."""

    instant: datetime

    def __post_init__(self) -> None:
        if self.instant.tzinfo is None:
            raise ValueError("an as-of needs a time zone")
        object.__setattr__(self, "instant", self.instant.astimezone(UTC))

    @classmethod
    def end_of_day(cls, day: date, zone_name: str = "UTC") -> AsOf:
        """The end of a calendar day, which is the start of the next one, in the zone given."""
        return cls(datetime.combine(day + timedelta(days=1), time(), tzinfo=zone(zone_name)).astimezone(UTC))

    def day(self, zone_name: str = "UTC") -> date:
        """The calendar day whose end this is (the last day this as-of sees something of)."""
        return _last_day_before(self.instant, zone_name)

    def isoformat(self) -> str:
        """`2026-06-30T22:00:00Z`: always UTC, to the second (microseconds only where there are any)."""
        return self.instant.isoformat().replace("+00:00", "Z")


@dataclass(frozen=True)
class Window:
    """Half-open: an instant belongs to it when start <= instant < end."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise ValueError("a window needs a time zone")
        if self.end < self.start:
            raise ValueError("a window ends before it starts")

    def __contains__(self, instant: datetime) -> bool:
        return self.start <= instant < self.end
