"""The tables of sales management at rest: the forecast with its changes, its history and its accuracy, computed once per key.

Belongs here: finding inputs and keeping results. Does not belong here: figures (sales_management).
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from dagster_project.cards import REPLAY_ROWS, stored_replay
from dagster_project.plan import RunPlan
from sales_pipeline.contracts.forecast import (
    FORECAST_ACCURACY,
    FORECAST_CHANGES,
    FORECAST_HISTORY,
    FORECAST_TABLES,
    REVENUE_FORECAST,
)
from sales_pipeline.domain.identifiers import digest_of
from sales_pipeline.domain.time import AsOf
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.tables import TableRef, read_table, table_ref, write_table

if TYPE_CHECKING:
    from sales_pipeline.clean.prepare import Canonical
    from sales_pipeline.engines.base import Engine
    from sales_pipeline.settings import Settings

FORECAST_STAGE = "forecast"
REPLAYED_STAGE = "forecast_replays"
REPLAYED_ROWS = "rows.parquet"


def forecast_tables(
    lake: Lake,
    settings: "Settings",
    scored: TableRef,
    canonical: "Canonical",
    as_of: AsOf,
    plan: RunPlan,
    engine: "Engine",
) -> tuple[TableRef, ...]:
    """The tables of `FORECAST_TABLES` of the plan's run, in that order."""

    def build(folder: Path) -> dict[str, Any]:
        from sales_pipeline.features.standing import stays_of_all
        from sales_pipeline.sales_management.forecast import Past, forecast
        from sales_pipeline.sales_management.pipeline import SCORED_COLUMNS
        from sales_pipeline.sales_management.published import past_forecasts
        from sales_pipeline.sales_management.shocks import estimate_shocks

        params = settings.forecast
        past = Past.read(canonical.tables, stays_of_all(lake, canonical, engine), engine)
        replay = stored_replay(lake, plan.replay_key) if plan.replay_key else None
        replayed = read_table(replay.path / REPLAY_ROWS) if replay else None
        shocks = estimate_shocks(replayed, as_of.instant.timestamp() * 1e6, params.shocks)
        now = forecast(
            read_table(scored, SCORED_COLUMNS),
            past,
            as_of=as_of,
            zone=settings.time_zone,
            params=params,
            shocks=shocks,
            run_id=plan.run_id,
            currency=settings.mapping.currency,
        )
        runs = past_forecasts(lake, plan.previous_run_id, as_of.instant)
        tables = {REVENUE_FORECAST: now.table, FORECAST_CHANGES: _changes(now, runs, past, params)}
        rows = _said_by_runs(now, runs, settings)
        if replay is not None and replayed is not None:
            rows += _replayed(lake, replay.key, replayed, past, now, replay.end, settings, plan, canonical.key)
        tables[FORECAST_HISTORY] = _history(rows, as_of, now, plan)
        tables[FORECAST_ACCURACY] = _accuracy(tables[FORECAST_HISTORY], as_of, now, plan)
        return {
            table.name: write_table(data, folder / f"{table.name}.parquet", table).rows
            for table, data in tables.items()
        }

    key = digest_of(FORECAST_STAGE, plan.run_id, scored.sha256, canonical.key)
    folder, _ = lake.step(FORECAST_STAGE, key, build)
    return tuple(table_ref(table.name, folder / f"{table.name}.parquet") for table in FORECAST_TABLES)


def _changes(now: Any, runs: Any, past: Any, params: Any) -> pa.Table:
    from sales_pipeline.sales_management.changes import changes
    from sales_pipeline.sales_management.published import bridge_start

    return changes(now, bridge_start(runs, now.figures.horizon.as_of.instant), past.owners, params)


def _said_by_runs(now: Any, runs: Any, settings: "Settings") -> list[dict[str, Any]]:
    from sales_pipeline.sales_management.accuracy import Came, said_by_runs

    came = Came(now.figures.known, now.figures.people, settings.time_zone)
    return said_by_runs(runs, came, now.exchange.currency, settings.forecast.fiscal_year_starts)


def _replayed(
    lake: Lake,
    replay_key: str,
    replayed: pa.Table,
    past: Any,
    now: Any,
    end: datetime,
    settings: "Settings",
    plan: RunPlan,
    canonical_key: str,
) -> list[dict[str, Any]]:
    """What would have been forecast at the replay's dates; computed once per replay, data and parameters."""
    from sales_pipeline.sales_management.replaying import replay_forecasts

    def build(folder: Path) -> dict[str, Any]:
        rows = replay_forecasts(
            replayed, past, now.exchange, end=end, zone=settings.time_zone, params=settings.forecast
        )
        table = _history(rows, AsOf(end), now, plan)
        return {"rows": write_table(table, folder / REPLAYED_ROWS, FORECAST_HISTORY).rows}

    rates = [now.exchange.currency, sorted(now.exchange.rates.items())]
    params = [settings.forecast.model_dump(mode="json"), settings.time_zone, plan.code_version]
    folder, _ = lake.step(REPLAYED_STAGE, digest_of(replay_key, canonical_key, rates, params), build)
    found: list[dict[str, Any]] = read_table(folder / REPLAYED_ROWS).to_pylist()
    return found


def _history(rows: list[dict[str, Any]], as_of: AsOf, now: Any, plan: RunPlan) -> pa.Table:
    from sales_pipeline.sales_management.accuracy import history_table

    return history_table(rows, as_of.instant, now.exchange.currency, plan.run_id)


def _accuracy(history: pa.Table, as_of: AsOf, now: Any, plan: RunPlan) -> pa.Table:
    from sales_pipeline.sales_management.accuracy import accuracy_table

    return accuracy_table(history, as_of.instant, now.exchange.currency, plan.run_id)


@dataclass(frozen=True)
class ForecastVerdict:
    """One check of a forecast: its name, whether it holds, and the first rows that break it."""

    name: str
    passed: bool
    message: str


def forecast_verdicts(forecast: TableRef, changes: TableRef) -> list[ForecastVerdict]:
    """Whether levels add up, intervals hold what is expected, and the bridge's parts add up."""
    from sales_pipeline.sales_management.soundness import broken_bridges, broken_intervals, broken_sums

    said, moved = read_table(forecast), read_table(changes)
    found = {
        "levels_add_up": broken_sums(said),
        "interval_holds_expected": broken_intervals(said),
        "bridge_adds_up": broken_bridges(moved),
    }
    return [ForecastVerdict(name, not rows, "; ".join(rows[:5])) for name, rows in found.items()]


def forecast_figures(forecast: TableRef) -> dict[str, Any]:
    """The company's figures by period."""
    said = read_table(forecast)
    rows = said.filter(pc.equal(said.column("level"), "company")).to_pylist()
    return {
        row["period"]: {name: str(row[name]) for name in ("closed", "expected", "low", "high", "quota")} for row in rows
    }
