"""Months and quarters: which are forecast at an as-of, where they begin and end, and how they are called.

A quarter is made of three whole months, counted from the month the fiscal year starts with. Everything is computed by month and added up, so that
months add up to their quarters to the cent.

Belongs here: the calendar of the forecast. Does not belong here: what happens in a period.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from sales_pipeline.domain.time import AsOf
from sales_pipeline.domain.time import zone as time_zone
from sales_pipeline.models.matrix import DAY, Floats
from sales_pipeline.sales_management.params import ForecastParams


@dataclass(frozen=True, order=True)
class Month:
    """A calendar month."""

    year: int
    number: int

    @classmethod
    def of(cls, day: date) -> Month:
        """The month a day lies in."""
        return cls(day.year, day.month)

    def plus(self, months: int) -> Month:
        """So many months later."""
        position = self.year * 12 + self.number - 1 + months
        return Month(position // 12, position % 12 + 1)

    def minus(self, other: Month) -> int:
        """Months from the other one to this."""
        return (self.year - other.year) * 12 + self.number - other.number

    @property
    def start(self) -> date:
        """Its first day."""
        return date(self.year, self.number, 1)

    @property
    def end(self) -> date:
        """The day after its last."""
        return self.plus(1).start


@dataclass(frozen=True)
class Period:
    """A month or quarter: its name, its months, and how many periods of its kind lie between it and the current one."""

    kind: str
    name: str
    months: tuple[Month, ...]
    ahead: int

    @property
    def start(self) -> date:
        """Its first day."""
        return self.months[0].start

    @property
    def end(self) -> date:
        """The day after its last."""
        return self.months[-1].end


@dataclass(frozen=True)
class Horizon:
    """The periods forecast at an as-of, and the months they are made of: consecutive ones, past months of the current quarter among them."""

    as_of: AsOf
    zone: str
    months: tuple[Month, ...]
    periods: tuple[Period, ...]

    @property
    def edges(self) -> tuple[date, ...]:
        """The first day of the first month, then the day after the last of each."""
        return (self.months[0].start, *(month.end for month in self.months))

    @property
    def edges_us(self) -> Floats:
        """The first instants of `edges`, microseconds since 1970-01-01 UTC."""
        return np.array([instant_us(day, self.zone) for day in self.edges])

    @property
    def spans(self) -> tuple[int, ...]:
        """Positions in `months` at which the months begin that lie in the same periods as those after them: nothing tells such months apart."""
        told = [[period for period in self.periods if month in period.months] for month in self.months]
        return tuple(place for place in range(len(told)) if place == 0 or told[place] != told[place - 1])

    def positions(self, period: Period) -> list[int]:
        """Positions of a period's months in `months`."""
        return [month.minus(self.months[0]) for month in period.months]


def instant_us(day: date, zone: str) -> float:
    """The first instant of a day in a zone, microseconds since 1970-01-01 UTC."""
    return AsOf.end_of_day(day - timedelta(days=1), zone).instant.timestamp() * 1e6


def as_of_us(as_of: AsOf) -> float:
    """An as-of in microseconds since 1970-01-01 UTC."""
    return as_of.instant.timestamp() * 1e6


def horizon(as_of: AsOf, params: ForecastParams, zone: str) -> Horizon:
    """What is forecast at an as-of. The current period is the one as_of lies in: at the end of June, July."""
    now = Month.of(as_of.instant.astimezone(time_zone(zone)).date())
    first = quarter_start(now, params.fiscal_year_starts)
    count = max(3 * params.quarters, now.minus(first) + params.months)
    months = tuple(first.plus(number) for number in range(count))
    periods = [
        Period("month", month_name(now.plus(number)), (now.plus(number),), number) for number in range(params.months)
    ]
    for number in range(params.quarters):
        start = first.plus(3 * number)
        periods.append(quarter(start, params.fiscal_year_starts, number))
    return Horizon(as_of, zone, months, tuple(periods))


def quarter_start(month: Month, fiscal_year_starts: int) -> Month:
    """The first month of the quarter a month lies in."""
    return month.plus(-((month.number - fiscal_year_starts) % 3))


def quarter(start: Month, fiscal_year_starts: int, ahead: int) -> Period:
    """The quarter that starts with a month."""
    number = (start.number - fiscal_year_starts) % 12 // 3 + 1
    if fiscal_year_starts == 1:
        name = f"{start.year}-Q{number}"
    else:
        # A fiscal year is called by the calendar year it ends in.
        year = start.year + (start.number >= fiscal_year_starts)
        name = f"FY{year}-Q{number}"
    return Period("quarter", name, tuple(start.plus(step) for step in range(3)), ahead)


def month_name(month: Month) -> str:
    """As `2026-07`."""
    return f"{month.year}-{month.number:02d}"


def before(period: Period, steps: int, fiscal_year_starts: int) -> Period:
    """The period of the same kind so many earlier."""
    if period.kind == "month":
        month = period.months[0].plus(-steps)
        return Period("month", month_name(month), (month,), period.ahead - steps)
    return quarter(period.months[0].plus(-3 * steps), fiscal_year_starts, period.ahead - steps)


def days_until(instants_us: Floats, as_of: AsOf) -> Floats:
    """Days (of 24 hours) from an as-of to instants, 0 for past ones."""
    return np.maximum(instants_us - as_of_us(as_of), 0.0) / DAY
