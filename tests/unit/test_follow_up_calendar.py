from __future__ import annotations

from datetime import UTC, date, datetime, time

import pytest

from sales_pipeline.domain.time import AsOf
from sales_pipeline.errors import ConfigurationError
from sales_pipeline.follow_up.calendar import WorkingCalendar


@pytest.mark.parametrize(
    ("day", "number", "end"),
    [
        (date(2026, 6, 30), 1, date(2026, 7, 2)),  # Tuesday: due at the end of Wednesday
        (date(2026, 7, 3), 1, date(2026, 7, 7)),  # Friday: due at the end of Monday
        (date(2026, 7, 4), 1, date(2026, 7, 7)),
        (date(2026, 7, 5), 1, date(2026, 7, 7)),
        (date(2026, 6, 30), 5, date(2026, 7, 8)),
    ],
)
def test_week_ends_are_skipped(day: date, number: int, end: date) -> None:
    found = WorkingCalendar(None, "UTC").end_of_working_day(AsOf.end_of_day(day), number)
    assert found == datetime(end.year, end.month, end.day, tzinfo=UTC)


def test_public_holidays_of_the_country_are_skipped() -> None:
    german = WorkingCalendar("DE", "Europe/Berlin")
    assert not german.is_working_day(date(2026, 12, 25))
    assert WorkingCalendar(None, "UTC").is_working_day(date(2026, 12, 25))
    eve = AsOf.end_of_day(date(2026, 12, 31), "Europe/Berlin")
    assert german.end_of_working_day(eve, 1) == datetime(2027, 1, 4, 23, tzinfo=UTC)  # Monday 4 January, Berlin


def test_days_end_in_the_zone_across_the_change_of_the_clock() -> None:
    calendar = WorkingCalendar(None, "Europe/Berlin")
    friday = AsOf.end_of_day(date(2026, 3, 27), "Europe/Berlin")
    assert friday.instant == datetime(2026, 3, 27, 23, tzinfo=UTC)
    assert calendar.end_of_working_day(friday, 1) == datetime(2026, 3, 30, 22, tzinfo=UTC)


def test_follow_ups_are_due_at_the_end_of_working_hours() -> None:
    berlin = WorkingCalendar("DE", "Europe/Berlin", work_to=time(16, 30))
    tuesday = AsOf.end_of_day(date(2026, 6, 30), "Europe/Berlin")
    assert berlin.due_at(tuesday) == datetime(2026, 7, 1, 14, 30, tzinfo=UTC)
    assert berlin.due_at(AsOf(datetime(2026, 7, 1, 8, tzinfo=UTC))) == datetime(2026, 7, 2, 14, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("work", "quiet", "hours"),
    [
        ((9, 17), (20, 8), (9, 17)),
        ((6, 23), (20, 8), (8, 20)),
        ((9, 17), (12, 13), (9, 17)),  # a quiet lunch leaves the ends alone
        ((9, 17), (16, 22), (9, 16)),
        ((9, 17), (5, 10), (10, 17)),
    ],
)
def test_quiet_hours_shorten_the_day(work: tuple[int, int], quiet: tuple[int, int], hours: tuple[int, int]) -> None:
    found = WorkingCalendar(
        None, "UTC", work_from=time(work[0]), work_to=time(work[1]), quiet_from=time(quiet[0]), quiet_to=time(quiet[1])
    )
    assert (found.opens, found.closes) == (time(hours[0]), time(hours[1]))


def test_a_day_of_quiet_hours_alone_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match=r"no working hours are left[\s\S]*quiet 08:00 to 18:00"):
        WorkingCalendar(None, "UTC", quiet_from=time(8), quiet_to=time(18))


def test_holidays_all_week_lead_to_the_next_working_day() -> None:
    chinese = WorkingCalendar("CN", "Asia/Shanghai")
    eve = AsOf.end_of_day(date(2026, 9, 30), "Asia/Shanghai")  # the National Day holidays
    first = chinese.first_day(eve)
    assert first > date(2026, 10, 6)
    assert chinese.holidays_before(eve) >= 4
    assert chinese.due_at(eve).date() == first
    assert WorkingCalendar(None, "UTC").holidays_before(eve) == 0


def test_the_week_end_is_the_country_s() -> None:
    saudi = WorkingCalendar("SA", "Asia/Riyadh")
    assert [saudi.is_working_day(date(2026, 7, day)) for day in (3, 4, 5)] == [False, False, True]  # Friday to Sunday


def test_no_working_day_in_sight_is_an_error() -> None:
    class Idle(WorkingCalendar):
        def is_working_day(self, day: date) -> bool:
            return day.year < 1900

    with pytest.raises(ConfigurationError, match="no working day is in sight"):
        Idle(None, "UTC").due_at(AsOf(datetime(2026, 7, 1, tzinfo=UTC)))
