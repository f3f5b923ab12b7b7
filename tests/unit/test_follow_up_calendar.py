from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from sales_pipeline.domain.time import AsOf
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
