"""Quotas of a simulated world's sellers, a quarter at a time, as Salesforce's ForecastingQuota; managers carry the sum of their people's.

Drawn from a generator of their own, so that every other draw of a world stays as it is.
"""

from __future__ import annotations

from datetime import date

import numpy as np
import pyarrow as pa

from sales_pipeline.simulation import columns as col
from sales_pipeline.simulation.dynamics import CLOSED_WON, Floats, Ints
from sales_pipeline.simulation.ids import make_ids
from sales_pipeline.simulation.salesforce_records import Keys
from sales_pipeline.simulation.world import World

STRETCH = 1.1
"""Quotas together, over what sellers win together."""
SPREAD = 0.3
WITHOUT_SHARE = 0.05
"""Share of sellers nobody has given a quota."""
QUARTERS_AHEAD = 4
STEP = 1_000.0
"""Quotas are round numbers."""


def quotas(world: World, keys: Keys) -> pa.Table:
    """One row per user with a quota and calendar quarter, from the first whole one to a year after the export's as-of. Sellers who have left have none."""
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence((world.params.seed, 4))))
    sellers = world.population.sellers
    starts = _quarters(world.params.start_on, world.params.end_on)
    has_quota = sellers.is_active[: sellers.seller_count] & (rng.random(sellers.seller_count) >= WITHOUT_SHARE)
    size = np.exp(rng.normal(0.0, SPREAD, sellers.seller_count)) * has_quota
    growth = np.linspace(1.0, 1.0 + world.params.growth, len(starts)) / (1.0 + 0.5 * world.params.growth)
    mean = STRETCH * _won_per_quarter(world) / max(float(size.sum()), 1.0)
    amount: Floats = np.zeros((len(sellers.team), len(starts)))
    amount[: sellers.seller_count] = np.ceil(mean * size[:, None] * growth[None, :] / STEP) * STEP
    # Managers stand behind the sellers, the director behind the managers: each sum is complete when it is passed on.
    for number in range(len(sellers.team)):
        if sellers.manager[number] >= 0:
            amount[sellers.manager[number]] += amount[number]
    owner, period = np.nonzero(amount > 0)
    count = len(owner)
    since = np.full(count, world.calendar.first_day * 86_400)
    days: Ints = np.array([(start - date(1970, 1, 1)).days for start in starts])
    return col.table(
        {
            "Id": make_ids("ForecastingQuota", np.arange(count)),
            "QuotaOwnerId": col.pick(keys.users, owner),
            "StartDate": col.dates(days[period]),
            "IsAmount": col.constant("1", count),
            "IsQuantity": col.constant("0", count),
            "QuotaAmount": col.amounts(amount[owner, period]),
            "CreatedDate": col.instants(since),
            "LastModifiedDate": col.instants(since),
            "SystemModstamp": col.instants(since),
        }
    )


def _quarters(start_on: date, end_on: date) -> list[date]:
    """First days of calendar quarters: those begun on or after the first day, until a year after the last."""
    first = -(-(start_on.year * 12 + start_on.month - 1 + (start_on.day > 1)) // 3)
    last = (end_on.year * 12 + end_on.month - 1) // 3 + QUARTERS_AHEAD
    return [date(number // 4, number % 4 * 3 + 1, 1) for number in range(first, last + 1)]


def _won_per_quarter(world: World) -> float:
    """What the world wins in a quarter on average, before the discount at signing."""
    won = world.is_closed & (world.final_stage == CLOSED_WON)
    quarters = max(world.calendar.week_count / 13.0, 1.0)
    return float(world.population.opportunities.budget[won].sum()) / quarters
