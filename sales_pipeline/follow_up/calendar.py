"""Working days and hours: when a follow-up is due and when it expires.

Belongs here: one calendar of a country, a zone and working hours. Does not belong here: whose calendar it is (`capacity`).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from functools import cache
from typing import Any

from sales_pipeline.domain.time import AsOf, zone
from sales_pipeline.errors import ConfigurationError

_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_OFFICE_DAYS = frozenset(_WEEKDAYS[:5])
_LONGEST_PAUSE_DAYS = 366


class WorkingCalendar:
    """The working days and hours of somebody, in one time zone.

    Parameters
    ----------
    country
        ISO 3166 code: its week-end and public holidays are free, its make-up days are worked (source: the `holidays` library). None:
        Monday to Friday without holidays.
    time_zone
        IANA name.
    work_from, work_to
        Working hours, local time.
    quiet_from, quiet_to
        Nobody is contacted from the one to the other, across midnight where the first is the later one.
    working_days
        Days of the week that are worked, instead of the country's.

    Raises ConfigurationError for an unknown country or zone, and where quiet hours leave nothing of the working hours.
    """

    def __init__(
        self,
        country: str | None,
        time_zone: str,
        *,
        work_from: time = time(9),
        work_to: time = time(17),
        quiet_from: time = time(20),
        quiet_to: time = time(8),
        working_days: tuple[str, ...] | None = None,
    ) -> None:
        self.country = country
        self.time_zone = time_zone
        self._zone = zone(time_zone)
        self._working_days = None if working_days is None else frozenset(working_days)
        self._country_days = None if country is None else _days_of(country)
        self.opens, self.closes = _contact_hours(work_from, work_to, quiet_from, quiet_to)

    def is_working_day(self, day: date) -> bool:
        """Whether people work on that day."""
        weekday = _WEEKDAYS[day.weekday()]
        if self._working_days is not None:
            return weekday in self._working_days and (self._country_days is None or day not in self._country_days)
        if self._country_days is not None:
            return bool(self._country_days.is_working_day(day))
        return weekday in _OFFICE_DAYS

    def due_at(self, as_of: AsOf) -> datetime:
        """The end (UTC) of the contact hours of the first working day that begins at or after `as_of`."""
        return self._instant(self.first_day(as_of), self.closes)

    def first_day(self, as_of: AsOf) -> date:
        """The first working day whose hours begin at or after `as_of`."""
        return next(self._days_from(as_of))

    def end_of_working_day(self, as_of: AsOf, number: int) -> datetime:
        """The end (UTC) of the number-th working day that begins at or after `as_of`; 1 is the next one."""
        days = self._days_from(as_of)
        for _ in range(number - 1):
            next(days)
        return AsOf.end_of_day(next(days), self.time_zone).instant

    def holidays_before(self, as_of: AsOf) -> int:
        """Days from `as_of` to the first working day that would be worked were they no public holidays."""
        first = self.first_day(as_of)
        if self._country_days is None:
            return 0
        days = [day for day in self._calendar_days(as_of) if day < first]
        return sum(1 for day in days if self._would_be_worked(day))

    def _would_be_worked(self, day: date) -> bool:
        if self._working_days is not None:
            return _WEEKDAYS[day.weekday()] in self._working_days
        return self._country_days is not None and day.weekday() not in self._country_days.weekend

    def _days_from(self, as_of: AsOf) -> Iterator[date]:
        pause = 0
        for day in self._calendar_days(as_of, most=100 * _LONGEST_PAUSE_DAYS):
            pause += 1
            if self.is_working_day(day):
                pause = 0
                yield day
            elif pause > _LONGEST_PAUSE_DAYS:
                break
        raise ConfigurationError(
            "no working day is in sight",
            expected=f"a working day within {_LONGEST_PAUSE_DAYS} days",
            found=f"none from {as_of.isoformat()} on in {self.country or 'no country'}",
            where="follow_up.owners, working_days",
        )

    def _calendar_days(self, as_of: AsOf, most: int = 2 * _LONGEST_PAUSE_DAYS) -> Iterator[date]:
        """Days whose contact hours begin at or after `as_of`."""
        today = as_of.instant.astimezone(self._zone).date()
        for number in range(most):
            day = today + timedelta(days=number)
            if number or self._instant(day, self.opens) >= as_of.instant:
                yield day

    def _instant(self, day: date, clock: time) -> datetime:
        return AsOf(datetime.combine(day, clock, tzinfo=self._zone)).instant


def _contact_hours(work_from: time, work_to: time, quiet_from: time, quiet_to: time) -> tuple[time, time]:
    """Working hours without the quiet ones at their ends."""
    opens, closes = work_from, work_to
    if quiet_from > quiet_to:
        opens, closes = max(opens, quiet_to), min(closes, quiet_from)
    elif quiet_from < quiet_to and quiet_from < closes and opens < quiet_to:
        if quiet_from <= opens:
            opens = quiet_to
        elif quiet_to >= closes:
            closes = quiet_from
    if opens >= closes:
        raise ConfigurationError(
            "no working hours are left",
            expected="working hours that end after they begin, outside the quiet hours",
            found=f"work {work_from:%H:%M} to {work_to:%H:%M}, quiet {quiet_from:%H:%M} to {quiet_to:%H:%M}",
            where="follow_up.work_from, work_to, quiet_from, quiet_to",
        )
    return opens, closes


@cache
def _days_of(country: str) -> Any:
    """The library's calendar of a country; it adds years as they are asked for."""
    import holidays

    try:
        return holidays.country_holidays(country)
    except NotImplementedError as error:
        raise ConfigurationError(
            "unknown country of the public holidays",
            expected="an ISO 3166 code such as DE, US or CN, or none",
            found=country,
            where="follow_up.country",
        ) from error
