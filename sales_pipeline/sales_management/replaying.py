"""The forecast at past dates, from what the replay of scores said then: nothing is fitted again, and nothing from at or after a date is used for it.

Belongs here: walking over the dates. Does not belong here: the scores (`models.replay`), the judgement (`accuracy`).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sales_pipeline.domain.time import AsOf
from sales_pipeline.models.matrix import Floats
from sales_pipeline.sales_management.accuracy import TOLD_LEVELS, Came, judged, last_complete
from sales_pipeline.sales_management.currency import Exchange
from sales_pipeline.sales_management.deals import deals_of
from sales_pipeline.sales_management.figures import EXPECTED, Figures, Key, compute, keys
from sales_pipeline.sales_management.forecast import Past, money
from sales_pipeline.sales_management.params import ForecastParams
from sales_pipeline.sales_management.people import gather_people
from sales_pipeline.sales_management.periods import as_of_us, horizon
from sales_pipeline.sales_management.pipeline import PastWins, month_positions, read_pipeline
from sales_pipeline.sales_management.shocks import estimate_shocks


def replay_forecasts(
    replayed: pa.Table, past: Past, exchange: Exchange, *, end: datetime, zone: str, params: ForecastParams
) -> list[dict[str, Any]]:
    """Rows of FORECAST_HISTORY (without as-of, currency and run) for every date of REPLAY rows; what came is what was known at `end`.

    Amounts of all dates are at the exchange's rates, so that their movement is not taken for a forecast's error.
    """
    deals = deals_of(past.deals, exchange)
    told = replayed.column("owner_id").to_numpy(zero_copy_only=False)
    people = gather_people(past.owners, [deals.owner, np.asarray(told, dtype=object)])
    came = Came(deals.known_at(end.timestamp() * 1e6), people, zone)
    first_us = float(np.nanmin(deals.created)) if np.isfinite(deals.created).any() else float("inf")
    rows: list[dict[str, Any]] = []
    for instant in sorted(replayed.column("as_of").unique().to_pylist()):
        periods = horizon(AsOf(instant), params, zone)
        here = replayed.filter(
            pc.equal(replayed.column("as_of"), pa.scalar(instant, replayed.schema.field("as_of").type))
        )
        shocks = estimate_shocks(replayed, as_of_us(AsOf(instant)), params.shocks)
        figures = compute(
            read_pipeline(here, periods, exchange, PastWins.of(deals.known_at(as_of_us(AsOf(instant))), params)), deals, past.owners, periods, shocks, params,
            with_owners=False, also=people.owners[:-1],
        )  # fmt: skip
        weighted = _stage_weighted(here, figures, exchange)
        for key in keys(figures.people):
            if key.level in TOLD_LEVELS:
                rows += list(_rows(figures, key, weighted, came, first_us, params.fiscal_year_starts, zone))
    return rows


def _rows(
    figures: Figures, key: Key, weighted: Floats, came: Came, first_us: float, fiscal_year_starts: int, zone: str
) -> Iterator[dict[str, Any]]:
    for period in figures.horizon.periods:
        low, high = figures.interval(key, period)
        closed = figures.of("closed", key, period)
        months = figures.horizon.positions(period)
        row = {
            "level": key.level,
            "key": key.name,
            "period": period.name,
            "period_kind": period.kind,
            "period_start": period.start,
            "period_end": period.end,
            "source": "replay",
            "said_at": figures.horizon.as_of.instant,
            "periods_ahead": period.ahead,
            "closed": money(closed),
            "expected": money(figures.of(EXPECTED, key, period)),
            "low": money(low),
            "high": money(high),
            "stage_weighted": money(closed + round(float(weighted[key.owners][:, months].sum()))),
            "last_period": money(last_complete(came, key, period, first_us, zone, fiscal_year_starts)),
        }
        yield judged(row, came.cents(key, period.start, period.end))


def _stage_weighted(rows: pa.Table, figures: Figures, exchange: Exchange) -> Floats:
    """The CRM's probability times the amount, cents by owner and month of the CRM's close date. Where the CRM's past values are not known nothing stands there."""
    rows = rows.filter(pc.equal(rows.column("kind"), "opportunity")).sort_by([("opportunity_id", "ascending")])
    amount, p = (
        np.asarray(rows.column(name).cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
        for name in ("amount", "crm_probability")
    )
    factors = exchange.factors(rows.column("currency"))
    month = month_positions(rows.column("crm_close_date"), figures.horizon)
    cents = amount * p * factors * 100.0
    use = (month >= 0) & np.isfinite(cents)
    total = np.zeros((len(figures.people.owners), len(figures.horizon.months)))
    np.add.at(total, (figures.places[use], month[use]), cents[use])
    return total
