"""Past forecasts: replayed from what the replay of scores said, published ones from the runs, and judged against what came."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from sales_pipeline.contracts.forecast import FORECAST_ACCURACY, FORECAST_HISTORY, REVENUE_FORECAST
from sales_pipeline.delivery.audit import audit
from sales_pipeline.domain.time import AsOf
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.tables import write_table
from sales_pipeline.sales_management.accuracy import Came, accuracy_table, history_table, said_by_runs
from sales_pipeline.sales_management.currency import Exchange
from sales_pipeline.sales_management.deals import deals_of
from sales_pipeline.sales_management.forecast import Past
from sales_pipeline.sales_management.people import gather_people
from sales_pipeline.sales_management.published import bridge_start, past_forecasts
from sales_pipeline.sales_management.replaying import replay_forecasts
from tests.support.forecast_rows import PARAMS, days_before, deal, make_forecast, owner, past, scored
from tests.support.replay_rows import make_replay
from tests.support.scored_rows import AS_OF

DOLLAR = Exchange("USD", {})


@pytest.fixture(scope="module")
def replayed() -> tuple[list[dict[str, Any]], pa.Table, Past, datetime]:
    """A world in which the scores are exact; its deals are those the replay saw, and no others are created."""
    rows, end = make_replay(opportunities=1200, dates=8)
    first: dict[str, dict[str, Any]] = {}
    for row in rows.to_pylist():
        first.setdefault(row["opportunity_id"], row)
    deals = [
        deal(
            name, row["as_of"] - timedelta(days=10), row["closed_at"], is_won=row["is_won"], amount=row["won_amount"],
            owner_id=row["owner_id"], currency="USD",
        )
        for name, row in first.items()
    ]  # fmt: skip
    owners = {row["owner_id"]: owner(row["owner_id"], row["owner_team"]) for row in first.values() if row["owner_id"]}
    of = past(deals, owners=list(owners.values()))
    params = PARAMS.model_copy(update={"history_days": 182})
    return replay_forecasts(rows, of, DOLLAR, end=end, zone="UTC", params=params), rows, of, end


def test_a_replay_tells_every_date_and_what_came(replayed: Any) -> None:
    told, rows, _, end = replayed
    assert {row["said_at"] for row in told} == set(rows.column("as_of").unique().to_pylist())
    assert {row["level"] for row in told} == {"company", "team"}
    for row in told:
        is_over = row["period_end"] <= end.date()
        assert (row["came"] is not None) == is_over
        assert row["periods_ahead"] >= 0
        assert row["said_at"].date() < row["period_end"]
        if row["is_inside"] is not None:
            assert row["is_inside"] == (row["low"] <= row["came"] <= row["high"])


def test_teams_add_up_to_what_came_to_the_company(replayed: Any) -> None:
    told = replayed[0]
    for row in (one for one in told if one["level"] == "company"):
        teams = [
            one
            for one in told
            if one["level"] == "team" and (one["said_at"], one["period"]) == (row["said_at"], row["period"])
        ]
        for name in ("came", "expected", "closed"):
            if row[name] is not None:
                assert sum(one[name] for one in teams) == row[name]


def test_nothing_after_a_date_changes_what_was_said_at_it(replayed: Any) -> None:
    told, rows, of, _ = replayed
    cut = sorted(rows.column("as_of").unique().to_pylist())[3]
    early = rows.filter(pc.less_equal(rows.column("as_of"), pa.scalar(cut, rows.schema.field("as_of").type)))
    known = of.deals.to_pylist()
    for row in known:
        if row["closed_at"] is not None and row["closed_at"] >= cut:
            row |= {"closed_at": None, "is_won": None}
    kept = [row for row in known if row["created_at"] < cut]
    shorter = Past(pa.Table.from_pylist(kept, schema=of.deals.schema), of.owners, of.quotas, of.exchange_rates)
    params = PARAMS.model_copy(update={"history_days": 182})
    again = replay_forecasts(early, shorter, DOLLAR, end=cut, zone="UTC", params=params)
    said = ("level", "key", "period", "closed", "expected", "low", "high", "stage_weighted")

    def at_cut(found: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
        return sorted(tuple(row[name] for name in said) for row in found if row["said_at"] == cut and row["expected"])

    assert at_cut(again) == at_cut(told)


def test_the_tables_keep_their_contracts_and_judge_all_methods_alike(replayed: Any) -> None:
    told = replayed[0]
    history = history_table(told, AS_OF.instant, "USD", "run-1")
    accuracy = accuracy_table(history, AS_OF.instant, "USD", "run-1")
    assert audit({FORECAST_HISTORY.name: history, FORECAST_ACCURACY.name: accuracy}, "run-1") == []
    rows = [row for row in accuracy.to_pylist() if row["periods_ahead"] == -1]
    assert {row["method"] for row in rows} == {"forecast", "stage_weighted", "last_period"}
    for kind in ("month", "quarter"):
        counts = {row["forecasts"] for row in rows if row["period_kind"] == kind and row["level"] == "company"}
        assert len(counts) == 1
    mine = next(
        row for row in rows if (row["level"], row["period_kind"], row["method"]) == ("company", "month", "forecast")
    )
    judged = [
        row
        for row in told
        if row["level"] == "company"
        and row["period_kind"] == "month"
        and row["came"] is not None
        and row["last_period"] is not None
    ]
    assert mine["forecasts"] == len(judged)
    error = np.mean([abs(float(row["expected"] - row["came"])) for row in judged])
    assert float(mine["mean_absolute_error"]) == pytest.approx(error, abs=0.01)
    assert mine["covered_share"] == pytest.approx(np.mean([row["is_inside"] for row in judged]), abs=1e-4)


def test_exact_scores_make_an_honest_forecast_of_what_is_open(replayed: Any) -> None:
    """The current month rests on open opportunities alone; what they bring is what the exact scores say, within luck."""
    told = replayed[0]
    now = [
        row for row in told if row["level"] == "company" and row["period_kind"] == "month" and row["periods_ahead"] == 0
    ]
    said, came = (sum(float(row[name]) for row in now) for name in ("expected", "came"))
    assert said == pytest.approx(came, rel=0.25)
    assert sum(row["is_inside"] for row in now) >= 5


def _published(lake: Lake, run_id: str, as_of: AsOf, previous: str | None, forecast: pa.Table | None) -> None:
    folder = lake.runs / run_id
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps({"as_of": as_of.isoformat(), "previous_run_id": previous}))
    if forecast is not None:
        write_table(forecast, folder / f"{REVENUE_FORECAST.name}.parquet", REVENUE_FORECAST)
        write_table(scored(("a", 0.5, {}), as_of=as_of), folder / "scored_opportunities.parquet")


def test_published_forecasts_are_found_back_and_the_bridge_starts_a_week_before(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    of = past([deal("a", days_before(100)), deal("w", days_before(200), days_before(4))])
    previous = None
    for days in (40, 20, 9, 6, 5, 1):
        as_of = AsOf(AS_OF.instant - timedelta(days=days))
        table = make_forecast(scored(("a", 0.5, {}), as_of=as_of), of, as_of=as_of).table if days != 20 else None
        _published(lake, f"run-{days}", as_of, previous, table)
        previous = f"run-{days}"
    found = past_forecasts(lake, previous, AS_OF.instant)
    assert [run.run_id for run in found] == ["run-1", "run-5", "run-6", "run-9", "run-40"]
    start = bridge_start(found, AS_OF.instant)
    assert start is not None
    assert start.run_id == "run-6"
    assert bridge_start(found[-1:], AS_OF.instant).run_id == "run-40"  # type: ignore[union-attr]
    assert bridge_start((), AS_OF.instant) is None
    assert past_forecasts(lake, None, AS_OF.instant) == ()
    deals = deals_of(of.deals, Exchange("EUR", {}))
    people = gather_people(of.owners, [deals.owner])
    came = Came(deals.known_at(AS_OF.instant.timestamp() * 1e6), people, "UTC")
    rows = said_by_runs(found, came, "EUR", 1)
    june = {row["said_at"]: row for row in rows if (row["level"], row["period"]) == ("company", "2026-06")}
    assert {row["came"] for row in june.values()} == {Decimal(1000)}
    assert all(row["stage_weighted"] is None and row["source"] == "run" for row in rows)
    ahead = {(row["period"], row["said_at"].date()): row["periods_ahead"] for row in rows if row["level"] == "company"}
    assert ahead["2026-06", date(2026, 5, 22)] == 1
    assert ahead["2026-Q3", date(2026, 5, 22)] == 1
    assert said_by_runs(found, came, "USD", 1) == []
