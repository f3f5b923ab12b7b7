from datetime import UTC, date, datetime
from itertools import pairwise

import pytest

from sales_pipeline.domain.time import AsOf
from sales_pipeline.sales_management.params import ForecastParams
from sales_pipeline.sales_management.periods import Month, before, horizon, quarter, quarter_start

END_OF_JUNE = AsOf.end_of_day(date(2026, 6, 30))


def names(as_of: AsOf, zone: str = "UTC", **params: int) -> list[str]:
    return [period.name for period in horizon(as_of, ForecastParams(**params), zone).periods]


def test_at_the_end_of_a_quarter_the_next_one_is_the_current_one() -> None:
    assert names(END_OF_JUNE) == ["2026-07", "2026-08", "2026-09", "2026-10", "2026-Q3", "2026-Q4", "2027-Q1"]


def test_within_a_day_the_period_is_the_one_the_instant_lies_in() -> None:
    afternoon = AsOf(datetime(2026, 6, 30, 15, tzinfo=UTC))
    assert names(afternoon, months=1, quarters=1) == ["2026-06", "2026-Q2"]
    assert names(afternoon, "Asia/Shanghai", months=1, quarters=1) == ["2026-06", "2026-Q2"]
    late = AsOf(datetime(2026, 6, 30, 17, tzinfo=UTC))
    assert names(late, "Asia/Shanghai", months=1, quarters=1) == ["2026-07", "2026-Q3"]


def test_quarters_are_made_of_whole_months_past_ones_too() -> None:
    found = horizon(AsOf.end_of_day(date(2026, 8, 14)), ForecastParams(months=2, quarters=2), "UTC")
    assert found.months == tuple(Month(2026, number) for number in range(7, 13))
    current = next(period for period in found.periods if period.kind == "quarter")
    assert found.positions(current) == [0, 1, 2]
    assert (current.start, current.end, current.ahead) == (date(2026, 7, 1), date(2026, 10, 1), 0)
    assert [period.name for period in found.periods if period.kind == "month"] == ["2026-08", "2026-09"]


@pytest.mark.parametrize(
    ("month", "starts", "name"),
    [
        (Month(2026, 2), 1, "2026-Q1"),
        (Month(2026, 12), 1, "2026-Q4"),
        (Month(2026, 2), 2, "FY2027-Q1"),
        (Month(2026, 1), 2, "FY2026-Q4"),
        (Month(2026, 9), 4, "FY2027-Q2"),
        (Month(2026, 3), 4, "FY2026-Q4"),
    ],
)
def test_quarters_follow_the_fiscal_year(month: Month, starts: int, name: str) -> None:
    assert quarter(quarter_start(month, starts), starts, 0).name == name


def test_the_period_before() -> None:
    month, first = horizon(END_OF_JUNE, ForecastParams(months=1, quarters=1), "UTC").periods
    assert before(month, 1, 1).name == "2026-06"
    assert before(first, 3, 1).name == "2025-Q4"


def test_best_case_cannot_ask_for_more_than_commit() -> None:
    with pytest.raises(ValueError, match="expected best_case_probability at most commit_probability"):
        ForecastParams(best_case_probability=0.8)


def test_months_that_no_period_tells_apart_are_one_span() -> None:
    for params in (ForecastParams(), ForecastParams(months=1, quarters=3), ForecastParams(months=7, quarters=2)):
        for day in (date(2026, 6, 30), date(2026, 8, 14), date(2026, 12, 1)):
            found = horizon(AsOf.end_of_day(day), params, "UTC")
            edges = [*found.spans, len(found.months)]
            assert edges[0] == 0
            for begin, end in pairwise(edges):
                told = [
                    [period for period in found.periods if found.months[place] in period.months]
                    for place in range(begin, end)
                ]
                assert all(one == told[0] for one in told)
    assert horizon(AsOf.end_of_day(date(2026, 6, 30)), ForecastParams(), "UTC").spans == (0, 1, 2, 3, 4, 6)
