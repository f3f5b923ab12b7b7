"""What was created and what was won, as known at an as-of: the past the forecast rests on, and what past forecasts are held against.

Belongs here: reading that, cutting it in time. Does not belong here: what is open now (`pipeline`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from sqlglot import exp

from sales_pipeline.domain.money import AMOUNT_PRECISION, AMOUNT_SCALE, CENT
from sales_pipeline.engines.base import Engine, Source
from sales_pipeline.engines.compiler import parse_model
from sales_pipeline.features.sql_models import written_out
from sales_pipeline.models.matrix import Floats
from sales_pipeline.sales_management.currency import Exchange

_SQL = Path(__file__).parent / "sql"
DEAL_TABLES = ("opportunities", "opportunity_changes", "field_history")
"""Canonical tables the deals come from."""
Flags = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Deals:
    """Deals as `deals.sql` gives them, one element per row: instants in microseconds since 1970-01-01 UTC (NaN: none), amounts in cents of the
    corporate currency (NaN: no amount; `has_rate` False: no rate). `is_won` is 1, 0, or NaN where it never closed. `number` counts the opportunities: rows of
    one have one number, rows are sorted by it."""

    opportunity_id: pa.ChunkedArray
    number: Ints
    owner: pa.ChunkedArray
    created: Floats
    removed: Floats
    is_won: Floats
    closed: Floats
    reopened: Floats
    cents: Floats
    has_rate: Flags

    def __len__(self) -> int:
        return len(self.opportunity_id)

    @cached_property
    def is_first(self) -> Flags:
        """The first row of each opportunity: a reopened one has several, and was created once."""
        return np.diff(self.number, prepend=-1) > 0

    def numbers_of(self, ids: npt.NDArray[np.object_]) -> Ints:
        """The number of each opportunity by its id, no id twice; -1 where there is no deal of it."""
        # The deals are looked for among the ids, not the ids among the deals: what is looked among is made an index of, and deals are many more.
        place = pc.index_in(self.opportunity_id, value_set=pa.array(ids, pa.string()))
        numbers = np.full(len(ids), -1, dtype=np.int64)
        is_asked = pc.is_valid(place).to_numpy(zero_copy_only=False)
        numbers[place.drop_null().to_numpy()] = self.number[is_asked]
        return numbers

    def known_at(self, instant_us: float) -> Known:
        """What was known of them strictly before an instant."""
        closed = (self.closed < instant_us) & ~(self.reopened < instant_us)
        is_there = ~(self.removed < instant_us)
        return Known(self, instant_us, np.asarray(closed), np.asarray(is_there))


@dataclass(frozen=True)
class Known:
    """Deals at an instant: `closed` rows were won or lost before it and not reopened; those `is_there` were not removed."""

    deals: Deals
    instant_us: float
    closed: Flags
    is_there: Flags

    @property
    def latest(self) -> Flags:
        """One row per opportunity created before the instant: its closing where it is closed, else any."""
        deals = self.deals
        closed = np.zeros(deals.number.max(initial=-1) + 1, dtype=bool)
        closed[deals.number[self.closed]] = True
        return np.asarray((deals.created < self.instant_us) & (self.closed | (~closed[deals.number] & deals.is_first)))

    @property
    def won(self) -> Flags:
        """Rows won before the instant."""
        return np.asarray(self.closed & self.is_there & (self.deals.is_won == 1))

    @property
    def countable(self) -> Flags:
        """Rows won before the instant that bring a known amount."""
        return np.asarray(self.won & np.isfinite(self.deals.cents))


def read_deals(past: Mapping[str, Source | exp.Query], engine: Engine) -> pa.Table:
    """The deals, sorted. `past` is `features.standing.stays_of_all` with the canonical tables it names, or `features.preparation.prepared`."""
    found = engine.query(*written_out(parse_model(_SQL / "deals.sql"), past))
    return found.sort_by([("opportunity_id", "ascending"), ("closed_at", "ascending")])


def deals_of(data: pa.Table, exchange: Exchange) -> Deals:
    """The deals with their amounts in the corporate currency, at the rates of the day the exchange is of."""
    factors = exchange.factors(data.column("currency"))
    amounts = np.asarray(pc.cast(data.column("amount"), pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
    won = pc.cast(data.column("is_won"), pa.float64()).to_numpy(zero_copy_only=False)
    ids = data.column("opportunity_id")
    is_new = np.ones(len(ids), dtype=bool)
    is_new[1:] = pc.not_equal(ids.slice(1), ids.slice(0, max(len(ids) - 1, 0))).to_numpy()
    return Deals(
        opportunity_id=ids,
        number=(np.cumsum(is_new) - 1).astype(np.int64),
        owner=data.column("owner_id"),
        created=_instants(data, "created_at"),
        removed=_instants(data, "removed_at"),
        is_won=np.asarray(won, dtype=np.float64),
        closed=_instants(data, "closed_at"),
        reopened=_instants(data, "reopened_at"),
        cents=whole(amounts * factors * 100.0),
        has_rate=np.isfinite(factors),
    )


def whole(cents: Floats) -> Floats:
    """Rounded half up to whole cents; NaN stays."""
    return np.asarray(np.floor(cents + 0.5))


def whole_cents(cents: Floats) -> Ints:
    """The same as integers: sums of them are exact."""
    return whole(cents).astype(np.int64)


def amounts(cents: pa.Array) -> pa.Array:
    """Whole cents (int64) as amounts; NULL stays."""
    decimals = pc.multiply(cents.cast(pa.decimal128(AMOUNT_PRECISION + 1, 0)), pa.scalar(CENT))
    return decimals.cast(pa.decimal128(AMOUNT_PRECISION, AMOUNT_SCALE))


def cents_of(amounts: pa.ChunkedArray) -> Ints:
    """Amounts, none of them NULL, as whole cents."""
    return np.asarray(pc.multiply(amounts, pa.scalar(1 / CENT)).cast(pa.int64()).to_numpy(), dtype=np.int64)


def _instants(data: pa.Table, name: str) -> Floats:
    column = data.column(name).cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()).cast(pa.float64())
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)
