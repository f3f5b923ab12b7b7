"""Working days: when a follow-up is due and when it expires."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from sales_pipeline.domain.time import AsOf
from sales_pipeline.errors import ConfigurationError

_SATURDAY = 5


class WorkingCalendar:
    """Monday to Friday without a country's public holidays, in one time zone.

    `country` is an ISO 3166 code (source of the holidays: the `holidays` library) or None for none. Raises
    ConfigurationError for a country the library does not know.
    """

    def __init__(self, country: str | None, time_zone: str) -> None:
        self.time_zone = time_zone
        self._country = country
        self._free_days: dict[int, frozenset[date]] = {}
        if country is not None:
            self._holidays_of(2026)

    def is_working_day(self, day: date) -> bool:
        """Whether people work on that day."""
        return day.weekday() < _SATURDAY and day not in self._holidays_of(day.year)

    def end_of_working_day(self, as_of: AsOf, number: int) -> datetime:
        """The end (UTC) of the number-th working day that begins at or after `as_of`; 1 is the next one."""
        day = as_of.day(self.time_zone)
        for _ in range(number):
            day += timedelta(days=1)
            while not self.is_working_day(day):
                day += timedelta(days=1)
        return AsOf.end_of_day(day, self.time_zone).instant

    def _holidays_of(self, year: int) -> frozenset[date]:
        if self._country is None:
            return frozenset()
        if year not in self._free_days:
            import holidays

            try:
                days = holidays.country_holidays(self._country, years=year)
            except NotImplementedError as error:
                raise ConfigurationError(
                    "unknown country of the public holidays",
                    expected="an ISO 3166 code such as DE, US or CN, or none",
                    found=self._country,
                    where="follow_up.country",
                ) from error
            self._free_days[year] = frozenset(days)
        return self._free_days[year]
