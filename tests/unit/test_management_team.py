"""The team table on companies small enough to count by hand, and on bad input."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from sales_pipeline.contracts.forecast import REVENUE_FORECAST
from sales_pipeline.contracts.internal import FEEDBACK
from sales_pipeline.contracts.published import FOLLOW_UP_QUEUE
from sales_pipeline.engines.duckdb import DuckDBEngine
from sales_pipeline.sales_management.checks import check_stage_times, check_team
from sales_pipeline.sales_management.team import Beside
from tests.support.managed import Company, Rows, activity, ago, change, opportunity
from tests.support.published_run import queue_row
from tests.support.scored_rows import rows_of

Found = Callable[..., Company]


@pytest.fixture(scope="module")
def engine() -> Iterator[DuckDBEngine]:
    with DuckDBEngine(threads=1) as running:
        yield running


@pytest.fixture
def found(tmp_path: Path, engine: DuckDBEngine) -> Found:
    places = itertools.count()

    def company(**rows: Any) -> Company:
        made = Company(tmp_path / str(next(places)), engine, **rows)
        tables = made.tables
        for verdict in (*check_team(tables.performance, made.scored), *check_stage_times(tables.stage_times)):
            assert verdict.passed, verdict.message
        return made

    return company


OWNERS: Rows = [
    {"owner_id": "u", "team": "North", "is_active": True},
    {"owner_id": "v", "team": "North", "is_active": False},
    {"owner_id": "w", "team": None},
]


def test_owners_add_up_to_teams_and_to_the_company(found: Found) -> None:
    company = found(
        owners=OWNERS,
        opportunities=[
            opportunity("o1"),
            opportunity("o2", owner_id="v", amount=Decimal("30.50")),
            opportunity("o3", owner_id="w", amount=None),
            opportunity("o4", owner_id=None),
            opportunity("gone", removed_at=ago(5)),
            opportunity("won", 90, 10, "won", owner_id="v"),
            opportunity("lost", 90, 20, "lost", owner_id="v"),
            opportunity("old", 900, 800, "won", owner_id="v"),
        ],
    )
    rows = {(row["level"], row["key"]): row for row in company.tables.performance.to_pylist()}
    assert set(rows) == {("company", "company"), ("team", "North"), ("team", "unassigned")} | {
        ("owner", key) for key in ("u", "v", "w", "unassigned")
    }
    whole = rows["company", "company"]
    assert (whole["open_count"], whole["open_value"], whole["unvalued_count"]) == (4, Decimal("230.50"), 1)
    assert (whole["closed_count"], whole["won_count"], whole["win_rate"], whole["owner_count"]) == (2, 1, 0.5, 3)
    north = rows["team", "North"]
    assert (north["open_count"], north["open_value"], north["closed_count"]) == (2, Decimal("130.50"), 2)
    assert rows["owner", "v"]["team"] == "North"
    assert rows["owner", "v"]["is_active"] is False
    assert (
        rows["owner", "u"]["win_rate"]
        is rows["owner", "u"]["adjusted_win_rate"]
        is rows["owner", "u"]["win_rate_verdict"]
        is None
    )
    assert rows["owner", "v"]["win_rate_basis"] == "company_rate"


def test_times_count_what_goes_on(found: Found) -> None:
    closed = [opportunity(f"c{days}", 100, 100 - days, "lost") for days in (10, 20, 30)]
    company = found(opportunities=[*closed, opportunity("open", 40), opportunity("young", 5)])
    row = company.team_row()
    # Of five the young one leaves unseen at 5 days; then 3/4 are left at 10 days, and one half at 20.
    assert (row["cycle_days"], row["cycle_count"]) == (20.0, 5)
    assert found(opportunities=[*closed[:1], opportunity("open", 40)]).team_row()["cycle_days"] == 10.0


def test_an_owner_known_by_times_alone_has_a_row(found: Found) -> None:
    row = found(opportunities=[opportunity("o"), opportunity("old", 700, 500, "lost", owner_id="v")]).team_row(
        "owner", "v"
    )
    assert (row["open_count"], row["closed_count"], row["cycle_count"], row["cycle_days"]) == (0, 0, 1, 200.0)


def test_stays_in_stages_end_with_the_stage_and_belong_to_who_held_them(found: Found) -> None:
    company = found(
        versioned=("stage", "owner_id"),
        opportunities=[opportunity("o", 60, stage="B", owner_id="v"), opportunity("p", 50, 20, "won", stage="W")],
        opportunity_changes=[
            change("o", 60, "A", is_creation=True),
            change("o", 55, "A", owner_id="v"),
            change("o", 40, "B", owner_id="v"),
            change("p", 50, "A", is_creation=True),
            change("p", 20, "W", "won"),
        ],
    )
    rows = {(row["level"], row["key"], row["stage"]): row for row in company.tables.stage_times.to_pylist()}
    assert {key[2] for key in rows} == {"A", "B"}
    assert [rows["owner", owner, "A"]["median_days"] for owner in ("v", "u")] == [20.0, 30.0]
    assert (rows["company", "company", "A"]["stay_count"], rows["company", "company", "A"]["median_days"]) == (2, 20.0)
    assert (rows["owner", "v", "B"]["left_count"], rows["owner", "v", "B"]["median_days"]) == (0, None)


def test_slipped_is_moved_later_or_passed_and_stale_is_untouched(found: Found) -> None:
    later, sooner = date(2026, 9, 1), date(2026, 8, 1)
    company = found(
        versioned=("stage", "crm_close_date"),
        opportunities=[
            opportunity(name, 200, crm_close_date=day)
            for name, day in (("moved", later), ("kept", later), ("past", date(2026, 6, 1)))
        ]
        + [opportunity("undated", 200)],
        opportunity_changes=[
            *(
                change(name, 200, "open", is_creation=True, crm_close_date=day)
                for name, day in (("moved", sooner), ("kept", later))
            ),
            change("past", 200, "open", is_creation=True, crm_close_date=date(2026, 6, 1)),
            change("moved", 10, "open", crm_close_date=later),
        ],
        activities=[activity("a1", 70, opportunity_id="kept"), activity("a2", 30, opportunity_id="past")],
    )
    row = company.team_row()
    assert (row["slipped_count"], row["slipped_share"]) == (2, pytest.approx(2 / 3, abs=1e-6))
    assert (row["stale_count"], row["stale_share"]) == (2, 0.5)
    assert company.team_row(stale_days=80)["stale_count"] == 1
    assert row["activities_per_open"] == 0.25


def test_a_turn_of_the_customer_is_answered_once(found: Found) -> None:
    talks = [
        ("a1", 20.0, "inbound"),
        ("a2", 19.5, "inbound"),
        ("a3", 18.0, "outbound"),
        ("a4", 17.0, "inbound"),
        ("a5", 16.5, None),
    ]
    company = found(
        opportunities=[opportunity("o"), opportunity("shut", 50, 1, "lost")],
        activities=[activity(name, at, direction) for name, at, direction in talks]
        + [
            activity("b1", 2, "inbound"),
            activity("c1", 9, "inbound", opportunity_id="shut"),
            activity("d1", 200, "inbound"),
            activity("d2", 199, "outbound"),
        ],
    )
    row = company.team_row()
    assert (row["inbound_count"], row["unanswered_count"], row["response_hours"]) == (3, 1, 48.0)
    assert row["activities_per_open"] == 6.0


def test_quota_and_what_covers_the_rest_of_it(found: Found) -> None:
    quota = {
        "owner_id": "u",
        "period_start": date(2026, 4, 1),
        "period_end": date(2026, 7, 1),
        "amount": Decimal("400.00"),
        "currency": "USD",
    }
    company = found(
        opportunities=[
            opportunity("o"),
            opportunity("other", owner_id="v"),
            opportunity("won", 90, 10, "won"),
            opportunity("earlier", 300, 120, "won"),
        ],
        quotas=[
            quota,
            quota | {"period_start": date(2026, 1, 1), "period_end": date(2027, 1, 1), "amount": Decimal("9000.00")},
            quota | {"owner_id": "v", "currency": "JPY"},
            quota | {"owner_id": "w", "period_start": date(2026, 7, 1), "period_end": date(2026, 10, 1)},
        ],
    )
    row = company.team_row()
    assert (row["quota"], row["quota_won"]) == (Decimal("400.00"), Decimal("100.00"))
    assert row["coverage"] == pytest.approx(100 / 300, abs=1e-4)
    assert company.team_row("owner", "v")["quota"] is company.team_row("owner", "v")["coverage"] is None


def test_a_quota_reached_needs_no_cover(found: Found) -> None:
    quota = {
        "owner_id": "u",
        "period_start": date(2026, 4, 1),
        "period_end": date(2026, 7, 1),
        "amount": Decimal("50.00"),
        "currency": "USD",
    }
    row = found(opportunities=[opportunity("o"), opportunity("won", 90, 10, "won")], quotas=[quota]).team_row()
    assert (row["quota_won"], row["coverage"]) == (Decimal("100.00"), None)


def test_amounts_of_several_currencies_are_told_in_one(found: Found) -> None:
    rates = [
        {"currency": "USD", "valid_from": date(2026, 1, 1), "rate": 1.0},
        {"currency": "EUR", "valid_from": date(2026, 1, 1), "rate": 0.8},
    ]
    company = found(
        opportunities=[opportunity("o"), opportunity("e", currency="EUR"), opportunity("j", currency="JPY")],
        exchange_rates=rates,
    )
    row = company.team_row()
    assert (row["currency"], row["open_value"], row["unvalued_count"]) == ("USD", Decimal("225.00"), 1)


def test_the_queue_of_the_run_before_was_worked_where_something_followed(found: Found) -> None:
    company = found(
        opportunities=[opportunity("o"), opportunity("p"), opportunity("q", owner_id="v")],
        activities=[activity("a1", 0.5), activity("a2", 3, opportunity_id="p")],
    )
    before = {"as_of": ago(1), "due_at": ago(0), "expires_at": ago(-4)}
    queue = rows_of(
        FOLLOW_UP_QUEUE,
        [queue_row(name, owner_id=owner, **before) for name, owner in (("o", "u"), ("p", "u"), ("q", "v"))],
    )
    row = company.team_row(beside=Beside(previous_queue=queue))
    assert (row["queue_count"], row["queue_worked_count"]) == (3, 1)
    assert company.team_row("owner", "u", beside=Beside(previous_queue=queue))["queue_worked_share"] == 0.5
    done = {"queue_id": "fu-q", "dealt_with_at": ago(0.2), "outcome": "done"}
    done |= {"source_system": "crm", "opportunity_id": "q", "action": "call", "origin": "file"}
    other = {"queue_id": "fu-p", "opportunity_id": "p"}
    said = rows_of(FEEDBACK, [done, done | other | {"outcome": "skipped"}, done | other | {"dealt_with_at": ago(-1)}])
    assert company.team_row(beside=Beside(previous_queue=queue, feedback=said))["queue_worked_count"] == 2
    first = company.team_row()
    assert first["queue_count"] is first["queue_worked_count"] is first["queue_worked_share"] is None


def test_the_forecast_of_the_current_quarter_stands_beside_its_quota(found: Found) -> None:
    said = {
        "level": "owner",
        "key": "u",
        "period": "2026-Q3",
        "period_kind": "quarter",
        "period_start": date(2026, 7, 1),
    }
    said |= {
        "expected": Decimal("80.00"),
        "low": Decimal("50.00"),
        "high": Decimal("120.00"),
        "quota": Decimal("160.00"),
        "attainment": 0.5,
    }
    rows = [
        said,
        said | {"period": "2026-Q4", "period_start": date(2026, 10, 1)},
        said | {"period": "2026-07", "period_kind": "month"},
        said | {"level": "company", "key": "company", "quota": None, "attainment": None},
    ]
    names = REVENUE_FORECAST.column_names
    forecast = pa.table({name: [row.get(name) for row in rows] for name in names})
    company = found(opportunities=[opportunity("o")])
    owner, whole, team = (
        company.team_row(level, key, beside=Beside(forecast=forecast))
        for level, key in (("owner", "u"), ("company", "company"), ("team", "unassigned"))
    )
    assert (owner["forecast_period"], owner["forecast_expected"], owner["forecast_attainment"]) == (
        "2026-Q3",
        Decimal("80.00"),
        0.5,
    )
    assert (whole["forecast_high"], whole["forecast_quota"]) == (Decimal("120.00"), None)
    assert team["forecast_period"] is team["forecast_expected"] is None


def test_nothing_from_the_as_of_on_is_seen(found: Found) -> None:
    before = [opportunity("o"), opportunity("p", 50, 10, "won")]
    known = found(opportunities=before, activities=[activity("a", 3, "inbound")])
    later = found(
        opportunities=[*before, opportunity("new", -1), opportunity("q", 20, -3, "won")],
        activities=[activity("a", 3, "inbound"), activity("b", -1), activity("c", 2, logged_at=ago(-2))],
    )
    row, also = known.team_row(), later.team_row()
    assert also["open_count"] == row["open_count"] + 1
    for name in ("closed_count", "inbound_count", "unanswered_count", "response_hours"):
        assert also[name] == row[name]
    assert also["activities_per_open"] == 0.5


def test_without_activities_nothing_is_said_of_contacts(found: Found) -> None:
    row = found(opportunities=[opportunity("o")]).team_row()
    for name in (
        "activities_per_open",
        "inbound_count",
        "response_hours",
        "unanswered_count",
        "stale_count",
        "stale_share",
    ):
        assert row[name] is None


def test_without_owners_everything_stands_under_unassigned(found: Found) -> None:
    company = found(opportunities=[opportunity("o", owner_id=None), opportunity("p", 50, 10, "won", owner_id=None)])
    rows = company.tables.performance.to_pylist()
    assert [(row["level"], row["key"]) for row in rows] == [
        ("company", "company"),
        ("owner", "unassigned"),
        ("team", "unassigned"),
    ]
    assert all(row["owner_count"] == 0 for row in rows)
    assert rows[1]["win_rate_verdict"] == "not_told_apart"


def test_one_owner_with_everything_is_not_told_apart_from_the_company(found: Found) -> None:
    closed = [
        opportunity(f"c{number}", 90, 10 + number / 10, "won" if number % 3 == 0 else "lost") for number in range(120)
    ]
    company = found(owners=OWNERS[:1], opportunities=[opportunity("o"), *closed])
    row = company.team_row("owner", "u")
    assert (row["closed_count"], row["win_rate_verdict"]) == (120, "not_told_apart")
    assert row["adjusted_win_rate_low"] <= row["win_rate"] <= row["adjusted_win_rate_high"]


def test_no_history_at_all_still_gives_the_company_its_row(found: Found) -> None:
    company = found(opportunities=[])
    (row, *rest) = company.tables.performance.to_pylist()
    assert (row["level"], row["open_count"], row["open_value"], row["win_rate"]) == (
        "company",
        0,
        Decimal("0.00"),
        None,
    )
    assert [(one["level"], one["key"]) for one in rest] == [("owner", "unassigned"), ("team", "unassigned")]
    assert company.tables.stage_times.num_rows == 0


def test_opportunities_without_dates_count_as_closed_and_have_no_time(found: Found) -> None:
    undated = {"created_at": None, "closed_at": None}
    company = found(
        opportunities=[
            opportunity("a", **undated),
            opportunity("b", state="won", **undated),
            opportunity("c", state="lost", **undated),
        ]
    )
    row = company.team_row()
    assert (row["closed_count"], row["won_count"], row["cycle_days"], row["cycle_count"]) == (2, 1, None, 0)


def test_leads_count_where_there_is_nothing_else(found: Found) -> None:
    leads = [
        opportunity("a", kind="lead"),
        opportunity("b", 50, 10, "won", kind="lead"),
        opportunity("c", 50, 10, "lost", kind="lead"),
    ]
    assert found(opportunities=leads).team_row()["win_rate"] == 0.5
    row = found(opportunities=[*leads, opportunity("o")]).team_row()
    assert (row["counted_kind"], row["closed_count"], row["open_count"]) == ("opportunity", 0, 2)


def test_there_is_no_rank_without_an_interval() -> None:
    from sales_pipeline.contracts.management import TEAM_PERFORMANCE

    names = TEAM_PERFORMANCE.column_names
    assert not [name for name in names if "rank" in name]
    assert {"adjusted_win_rate_low", "adjusted_win_rate_high", "win_rate_verdict"} <= set(names)
