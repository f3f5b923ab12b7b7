"""Whatever is open, whoever owns it: owners and teams add up to the company, months to quarters, intervals hold what is expected, bridges close."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sales_pipeline.domain.time import AsOf
from sales_pipeline.sales_management.changes import Earlier, changes
from sales_pipeline.sales_management.params import ForecastParams
from sales_pipeline.sales_management.soundness import ADDED, broken_bridges, broken_intervals, broken_sums
from tests.support.forecast_rows import days_before, deal, history, make_forecast, owner, past, quota, rows_by, scored
from tests.support.scored_rows import AS_OF

PARAMS = ForecastParams(draws=100, months=3, quarters=2)
OWNERS = st.sampled_from([None, "seller-1", "seller-2", "seller-3", "gone"])
CHANCE = st.one_of(st.none(), st.floats(0.0, 1.0).map(lambda p: round(p, 6)))
THEN = AsOf(AS_OF.instant - timedelta(days=7))


@st.composite
def open_row(draw: st.DrawFn, name: str) -> tuple[str, float | None, dict[str, Any]]:
    p = draw(CHANCE)
    values: dict[str, Any] = {"owner_id": draw(OWNERS), "currency": draw(st.sampled_from(["EUR", "EUR", "GBP"]))}
    if p is not None:
        p90 = round(p * draw(st.floats(0, 1)), 6)
        amount = draw(st.one_of(st.none(), st.floats(0.0, 1e7).map(lambda x: round(x, 2))))
        values |= {"win_probability_90d": p90, "win_probability_30d": round(p90 * draw(st.floats(0, 1)), 6)}
        values |= {
            "expected_amount": amount,
            "expected_amount_low": amount and amount / 2,
            "expected_amount_high": amount and amount * 2,
        }
        values |= {"predicted_close_date": draw(st.dates(date(2026, 7, 1), date(2027, 6, 1)))}
    return name, p, values


def rows(draw: st.DrawFn) -> list[tuple[str, float | None, dict[str, Any]]]:
    names = draw(st.sets(st.integers(0, 12), max_size=8))
    return [draw(open_row(f"o{number:02d}")) for number in sorted(names)]


@st.composite
def stories(draw: st.DrawFn) -> dict[str, Any]:
    deals = history(
        weeks=draw(st.sampled_from([0, 40])),
        per_week=2,
        seed=draw(st.integers(0, 5)),
        owners=["seller-1", "seller-3", None],
    )
    for number in range(13):
        closed = draw(st.one_of(st.none(), st.floats(0.1, 60).map(days_before)))
        amount = draw(st.one_of(st.none(), st.integers(-500, 5000).map(Decimal)))
        deals.append(
            deal(
                f"o{number:02d}",
                days_before(draw(st.floats(61, 300))),
                closed,
                amount=amount,
                is_won=closed and draw(st.booleans()),
                owner_id=draw(OWNERS),
            )
        )
    return {"then": rows(draw), "now": rows(draw), "deals": deals, "quota": draw(st.integers(0, 10_000))}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(stories())
def test_a_forecast_adds_up_and_so_does_its_bridge(story: dict[str, Any]) -> None:
    people = [owner("seller-1", "North"), owner("seller-2"), owner("seller-3", "South", is_active=False)]
    of = past(
        story["deals"], owners=people, quotas=[quota("seller-1", date(2026, 7, 1), date(2026, 8, 1), story["quota"])]
    )
    now = make_forecast(scored(*story["now"]), of, params=PARAMS)
    assert broken_sums(now.table) == []
    assert broken_intervals(now.table) == []
    told = rows_by(now.table)
    for level, key, period in told:
        if period == "2026-Q3":
            months = [told[level, key, f"2026-0{number}"] for number in (7, 8, 9)]
            for name in set(ADDED) - {"left_out_count"}:
                assert sum(row[name] for row in months) == told[level, key, period][name], (level, key, name)
    before = make_forecast(scored(*story["then"], as_of=THEN), of, as_of=THEN, params=PARAMS)
    earlier = Earlier("run-0", THEN.instant, scored(*story["then"], as_of=THEN), before.table)
    table = changes(now, earlier, of.owners, PARAMS)
    assert broken_bridges(table) == []
    bridged = rows_by(table)
    assert set(told) <= set(bridged)
    for place, row in told.items():
        assert bridged[place]["expected"] == row["expected"]
