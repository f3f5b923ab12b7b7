"""Small pasts and pipelines for tests of the forecast: deals as `deals.sql` gives them, owners, quotas, rates, and scored rows."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from sales_pipeline.contracts.canonical import EXCHANGE_RATES, OWNERS, QUOTAS
from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.domain.time import AsOf
from sales_pipeline.sales_management.forecast import Forecast, Past, forecast
from sales_pipeline.sales_management.params import ForecastParams
from sales_pipeline.sales_management.shocks import Shocks, stated
from tests.support.scored_rows import AS_OF, prediction_row, scored_table, spine_row

PARAMS = ForecastParams(draws=200)
STAMP = pa.timestamp("us", tz="UTC")
DEALS = pa.schema(
    [
        ("opportunity_id", pa.string()),
        ("owner_id", pa.string()),
        ("currency", pa.string()),
        ("amount", pa.decimal128(18, 2)),
        ("created_at", STAMP),
        ("removed_at", STAMP),
        ("is_won", pa.bool_()),
        ("closed_at", STAMP),
        ("reopened_at", STAMP),
    ]
)
_LINEAGE = {"source_system": "crm", "source_file": "f", "source_record": 1}


def deal(opportunity_id: str, created: datetime, closed: datetime | None = None, **values: Any) -> dict[str, Any]:
    """A deal; with `closed` one that was won for 1,000."""
    row = {
        "opportunity_id": opportunity_id,
        "owner_id": "seller-1",
        "currency": "EUR",
        "amount": Decimal(1000),
        "created_at": created,
        "closed_at": closed,
        "is_won": None if closed is None else True,
    }
    return dict.fromkeys(DEALS.names) | row | values


def days_before(days: float, as_of: AsOf = AS_OF) -> datetime:
    return as_of.instant - timedelta(days=days)


def history(
    *,
    weeks: int = 100,
    per_week: int = 4,
    win_share: float = 0.3,
    days_to_close: float = 60.0,
    seed: int = 3,
    as_of: AsOf = AS_OF,
    owners: Iterable[str | None] = ("seller-1", "seller-2", "seller-3"),
) -> list[dict[str, Any]]:
    """A steady business: deals created evenly, closed after exponential times, a share of them won, amounts lognormal."""
    random = np.random.default_rng(seed)
    names = list(owners)
    rows = []
    for number in range(weeks * per_week):
        created = as_of.instant - timedelta(days=7.0 * (number + 0.5) / per_week)
        closed = created + timedelta(days=float(random.exponential(days_to_close)))
        won = bool(random.uniform() < win_share)
        amount = Decimal(round(float(np.exp(random.normal(8.0, 0.8)))))
        row = deal(
            f"past-{number:04d}", created, closed, is_won=won, amount=amount, owner_id=names[number % len(names)]
        )
        if closed >= as_of.instant:
            row |= {"closed_at": None, "is_won": None}
        rows.append(row)
    return rows


def past(
    deals: list[dict[str, Any]],
    *,
    owners: list[dict[str, Any]] | None = None,
    quotas: list[dict[str, Any]] | None = None,
    rates: list[dict[str, Any]] | None = None,
) -> Past:
    """A past; without `owners` three sellers in two teams."""
    if owners is None:
        owners = [owner("seller-1", "North"), owner("seller-2", "North"), owner("seller-3", "South")]
    table = pa.Table.from_pylist(deals, schema=DEALS).sort_by(
        [("opportunity_id", "ascending"), ("closed_at", "ascending")]
    )
    return Past(table, _table(OWNERS, owners), _table(QUOTAS, quotas or []), _table(EXCHANGE_RATES, rates or []))


def _table(contract: Any, rows: list[dict[str, Any]]) -> pa.Table:
    complete = [{name: (_LINEAGE | row).get(name) for name in contract.column_names} for row in rows]
    return pa.Table.from_pylist(complete, schema=arrow_schema(contract))


def owner(owner_id: str, team: str | None = None, **values: Any) -> dict[str, Any]:
    return {"owner_id": owner_id, "team": team, "manager_id": None, "is_active": True} | values


def quota(owner_id: str, start: date, end: date, amount: int, currency: str = "EUR") -> dict[str, Any]:
    return {
        "owner_id": owner_id,
        "period_start": start,
        "period_end": end,
        "amount": Decimal(amount),
        "currency": currency,
    }


def rate(currency: str, value: float, valid_from: date = date(1970, 1, 1)) -> dict[str, Any]:
    return {"currency": currency, "valid_from": valid_from, "rate": value}


def scored(*rows: tuple[str, float | None, dict[str, Any]], as_of: AsOf = AS_OF) -> pa.Table:
    """SCORED_OPPORTUNITIES of (id, probability, values); values go to the state or to the prediction, wherever they belong."""
    spine_names = set(spine_row("x"))
    at = {"as_of": as_of.instant}
    spine = [spine_row(name, **at, **{k: v for k, v in values.items() if k in spine_names}) for name, _, values in rows]
    predictions = [
        prediction_row(name, p, **at, **{k: v for k, v in values.items() if k not in spine_names})
        for name, p, values in rows
    ]
    return scored_table(spine, predictions)


def make_forecast(
    open_ones: pa.Table,
    of: Past,
    *,
    as_of: AsOf = AS_OF,
    params: ForecastParams = PARAMS,
    shocks: Shocks | None = None,
    zone: str = "UTC",
) -> Forecast:
    return forecast(
        open_ones,
        of,
        as_of=as_of,
        zone=zone,
        params=params,
        shocks=shocks or stated(params.shocks),
        run_id="run-1",
        currency="EUR",
    )


def rows_by(table: pa.Table) -> dict[tuple[str, str, str], dict[str, Any]]:
    return {(row["level"], row["key"], row["period"]): row for row in table.to_pylist()}
