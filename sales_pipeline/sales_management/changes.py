"""The bridge from an earlier published forecast to this one: which part of the difference is new, won, lost, slipped, pulled in, re-valued, re-scored…

Per opportunity and month the amount expected then (or won by then) and the amount expected (or won) now are held against each other. What is still open moves in
three steps whose order is fixed: first the amount, then the chance of winning ever, then the timing; each step is rounded to whole cents as the forecast itself is, so
that the parts add up to the change exactly. What was said then is read from that run's published tables; where today's data tells another
story of that day (a corrected record, another rate, other settings) the difference stands under `restated`.

Belongs here: that comparison. Does not belong here: which run is compared with (`published`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sales_pipeline.contracts.forecast import FORECAST_CHANGES
from sales_pipeline.domain.time import AsOf
from sales_pipeline.sales_management.deals import Deals, Known, amounts, cents_of, whole_cents
from sales_pipeline.sales_management.figures import Key, Sums, keys
from sales_pipeline.sales_management.forecast import Forecast, forecast_table
from sales_pipeline.sales_management.params import ForecastParams
from sales_pipeline.sales_management.people import People, gather_people
from sales_pipeline.sales_management.periods import Horizon, as_of_us
from sales_pipeline.sales_management.pipeline import PastWins, Pipeline, read_pipeline

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Texts = npt.NDArray[np.object_]
MOVES = ("new", "won", "lost", "slipped", "pulled_in", "revalued", "rescored", "reassigned", "removed")
PARTS = (*MOVES, "not_yet_created", "restated")
"""Columns that add up, with `previous_expected`, to `expected`."""
BEFORE = "before"
NO_EARLIER = "No earlier published forecast to compare with"
NOT_FORECAST_THEN = "The earlier run did not forecast this period"


@dataclass(frozen=True)
class Earlier:
    """A published run: its id, its as-of, and of its SCORED_OPPORTUNITIES what the forecast reads, and its REVENUE_FORECAST."""

    run_id: str
    as_of: datetime
    scored: pa.Table
    forecast: pa.Table


def changes(now: Forecast, earlier: Earlier | None, owners: pa.Table, params: ForecastParams) -> pa.Table:
    """FORECAST_CHANGES: one row per row of the forecast now, and per key that only the earlier one had."""
    horizon = now.figures.horizon
    shared = {
        "as_of": horizon.as_of.instant,
        "currency": now.exchange.currency,
        "run_id": now.table.column("run_id")[0].as_py(),
        "previous_run_id": earlier.run_id if earlier else None,
        "previous_as_of": earlier.as_of if earlier else None,
    }
    note = _no_bridge(now, earlier)
    bridge = _Bridge.of(now, earlier, owners, params) if earlier is not None and note is None else None
    told = list(keys(bridge.people if bridge else now.figures.people))
    today = _Said.of(now.table, told, horizon)
    columns = {"expected": amounts(pa.array(today.expected.ravel()))}
    if earlier is None or bridge is None:
        columns["note"] = pa.array([note] * today.expected.size, pa.string())
        return forecast_table(FORECAST_CHANGES, told, horizon, columns, shared, is_told=today.is_there)
    then = _Said.of(earlier.forecast, told, horizon)
    is_told = today.is_there | then.is_there
    # The company is told of in every period that is told of at all.
    is_bridged = np.broadcast_to(then.is_there[0], is_told.shape)
    parts = bridge.parts(today, then)
    left = today.expected - sum(parts.values())
    assert not left[is_told & is_bridged].any(), "the parts of the bridge do not add up"
    for name, cents in parts.items():
        columns[name] = amounts(pa.array(cents.ravel(), mask=~is_bridged.ravel()))
    notes = [None if bridged else NOT_FORECAST_THEN for bridged in is_bridged.ravel().tolist()]
    columns["note"] = pa.array(notes, pa.string())
    return forecast_table(FORECAST_CHANGES, told, horizon, columns, shared, is_told=is_told)


def _no_bridge(now: Forecast, earlier: Earlier | None) -> str | None:
    if earlier is None or not earlier.forecast.num_rows:
        return NO_EARLIER
    currency = earlier.forecast.column("currency")[0].as_py()
    if currency != now.exchange.currency:
        return f"The earlier forecast is in {currency}: not comparable"
    return None


@dataclass(frozen=True)
class _Said:
    """What a forecast says of keys and periods, (keys, periods), cents; nothing, 0, where it has no row (`is_there`)."""

    is_there: Flags
    expected: Ints
    from_new: Ints

    @classmethod
    def of(cls, forecast: pa.Table, told: Sequence[Key], horizon: Horizon) -> _Said:
        """Of rows of REVENUE_FORECAST; those of other keys and periods are passed over."""
        places = {(key.level, key.name): key.place for key in told}
        columns = {period.name: column for column, period in enumerate(horizon.periods)}
        levels, names, periods = (forecast.column(name).to_pylist() for name in ("level", "key", "period"))
        place = np.array([places.get(key, -1) for key in zip(levels, names, strict=True)], dtype=np.int64)
        column = np.array([columns.get(period, -1) for period in periods], dtype=np.int64)
        inside = (place >= 0) & (column >= 0)
        cells = (place[inside], column[inside])
        is_there = np.zeros((len(told), len(columns)), dtype=bool)
        is_there[cells] = True
        found = cls(is_there, np.zeros(is_there.shape, dtype=np.int64), np.zeros(is_there.shape, dtype=np.int64))
        found.expected[cells] = cents_of(forecast.column("expected"))[inside]
        found.from_new[cells] = cents_of(forecast.column("from_new"))[inside]
        return found


@dataclass(frozen=True)
class _Bridge:
    """`sums`: by part what moved, and `before`: what today's data says was closed or expected from open opportunities then, in cents by key and period."""

    people: People
    sums: Sums

    @classmethod
    def of(cls, now: Forecast, earlier: Earlier, owners: pa.Table, params: ForecastParams) -> _Bridge:
        figures = now.figures
        horizon = figures.horizon
        then = AsOf(earlier.as_of)
        past = Horizon(then, horizon.zone, horizon.months, horizon.periods)
        known = now.deals.known_at(as_of_us(then))
        old = read_pipeline(earlier.scored, past, now.exchange, PastWins.of(known, params))
        named = [np.array(figures.people.owners, dtype=object), old.owner]
        people = gather_people(owners, named)
        numbers = _Numbers(now.deals)
        of_old, of_new = numbers.of(old.opportunity_id), numbers.of(figures.pipeline.opportunity_id)
        sides = (
            _Side.of(old, of_old, known, people, len(numbers)),
            _Side.of(figures.pipeline, of_new, figures.known, people, len(numbers)),
        )
        deals = _Placed.of(now.deals, people, horizon)
        moves, before = _moves(*sides, deals, (len(people.owners), len(horizon.months)))
        return cls(people, Sums.of(moves | {BEFORE: before}, people, horizon))

    def parts(self, today: _Said, then: _Said) -> dict[str, Ints]:
        """What was expected, and by part what moved, (keys, periods): together what is expected now."""
        moves = {name: self.sums.by_name[name] for name in MOVES}
        return {
            "previous_expected": then.expected,
            **moves,
            "not_yet_created": today.from_new - then.from_new,
            "restated": self.sums.by_name[BEFORE] - (then.expected - then.from_new),
        }


class _Numbers:
    """Opportunities as whole numbers from 0: those of the deals as they are counted there, others after them."""

    def __init__(self, deals: Deals) -> None:
        self._deals = deals
        self._count = int(deals.number.max(initial=-1)) + 1
        self._others: dict[str, int] = {}

    def __len__(self) -> int:
        return self._count + len(self._others)

    def of(self, ids: Texts) -> Ints:
        """The number of each id."""
        numbers = self._deals.numbers_of(ids)
        for row in np.flatnonzero(numbers < 0).tolist():
            numbers[row] = self._others.setdefault(ids[row], len(self))
        return numbers


@dataclass(frozen=True)
class _Placed:
    """Deals by row: place of the owner, month of the closing (-1: in none of the horizon), cents (0: no amount)."""

    place: Ints
    month: Ints
    cents: Ints

    @classmethod
    def of(cls, deals: Deals, people: People, horizon: Horizon) -> _Placed:
        edges = horizon.edges_us
        month = np.searchsorted(edges, deals.closed, side="right") - 1
        cents = np.where(np.isfinite(deals.cents), deals.cents, 0.0)
        return cls(people.places(deals.owner), np.where(month < len(edges) - 1, month, -1), cents.astype(np.int64))


@dataclass(frozen=True)
class _Side:
    """One of the two dates. Rows of the pipeline: `number` of the opportunity, `places` of its owner, `cents` expected by month. By number of the opportunity: `open`, its row
    in the pipeline, and `won`, its row in the deals, -1 where there is none; `lost`, whether it was lost."""

    pipeline: Pipeline
    number: Ints
    places: Ints
    cents: Ints
    open: Ints
    won: Ints
    lost: Flags

    @classmethod
    def of(cls, pipeline: Pipeline, number: Ints, known: Known, people: People, count: int) -> _Side:
        deals = known.deals
        rows = np.flatnonzero(known.countable)
        is_open, won = np.full(count, -1), np.full(count, -1)
        is_open[number] = np.arange(len(number))
        # Of an opportunity that was won more than once the last row stands.
        won[deals.number[rows]] = rows
        lost = np.zeros(count, dtype=bool)
        lost[deals.number[known.closed & (deals.is_won == 0)]] = True
        return cls(pipeline, number, people.places(pipeline.owner), pipeline.expected_cents(), is_open, won, lost)


def _moves(then: _Side, now: _Side, deals: _Placed, shape: tuple[int, int]) -> tuple[dict[str, Ints], Ints]:
    moves = {name: np.zeros(shape, dtype=np.int64) for name in MOVES}
    before = np.zeros(shape, dtype=np.int64)
    np.add.at(before, then.places, then.cents)
    stayed = np.flatnonzero(now.open[then.number] >= 0)
    _add_stayed(moves, then, now, stayed, now.open[then.number[stayed]])
    _add_gone(moves, then, now, deals, np.flatnonzero(now.open[then.number] < 0))
    # An opportunity that had been won and was reopened is one of its own; what it had brought is taken back below.
    come = np.flatnonzero(then.open[now.number] < 0)
    np.add.at(moves["new"], now.places[come], now.cents[come])
    _add_restated(moves, before, then, now, deals)
    return moves, before


def _add_gone(moves: dict[str, Ints], then: _Side, now: _Side, deals: _Placed, rows: Ints) -> None:
    """Opportunities open then (`rows`) and no more: won, which is its owner's at the end, lost, or gone without a closing."""
    won, lost = now.won[then.number[rows]], now.lost[then.number[rows]]
    for name, chosen in (("lost", (won < 0) & lost), ("removed", (won < 0) & ~lost)):
        np.subtract.at(moves[name], then.places[rows[chosen]], then.cents[rows[chosen]])
    rows, won = rows[won >= 0], won[won >= 0]
    target, cents = deals.place[won], then.cents[rows]
    np.subtract.at(moves["reassigned"], then.places[rows], cents)
    np.add.at(moves["reassigned"], target, cents)
    np.subtract.at(moves["won"], target, cents)
    _add_deals(moves["won"], deals, won)


def _add_restated(moves: dict[str, Ints], before: Ints, then: _Side, now: _Side, deals: _Placed) -> None:
    """Opportunities won at either date and not open then: won anew, or said to have been won then and now otherwise."""
    chosen = ((then.won >= 0) | (now.won >= 0)) & (then.open < 0)
    old, new = then.won[chosen], now.won[chosen]
    had, has = old >= 0, new >= 0
    _add_deals(before, deals, old[had])
    stays = has | (now.open[chosen] >= 0)
    _add_deals(moves["revalued"], deals, old[had & stays], sign=-1)
    _add_deals(moves["removed"], deals, old[had & ~stays], sign=-1)
    _add_deals(moves["revalued"], deals, new[has & had])
    _add_deals(moves["new"], deals, new[has & ~had])


def _add_deals(total: Ints, deals: _Placed, rows: Ints, *, sign: int = 1) -> None:
    """What deals brought, as far as they closed within the horizon."""
    inside = rows[deals.month[rows] >= 0]
    np.add.at(total, (deals.place[inside], deals.month[inside]), sign * deals.cents[inside])


def _add_stayed(moves: dict[str, Ints], then: _Side, now: _Side, old: Ints, new: Ints) -> None:
    """Opportunities open at both dates (rows `old` and `new`): re-assigned, then re-valued, re-scored and moved in time."""
    start, end = then.cents[old], now.cents[new]
    place, target = then.places[old], now.places[new]
    went = place != target
    np.subtract.at(moves["reassigned"], place[went], start[went])
    np.add.at(moves["reassigned"], target[went], start[went])
    within = np.diff(then.pipeline.wins[old], axis=1)
    amount = now.pipeline.cents[new][:, None]
    p_then, p_now = then.pipeline.p[old], now.pipeline.p[new]
    scale = np.where(p_then > 0, p_now / np.where(p_then > 0, p_then, 1.0), 1.0)[:, None]
    was, still = then.pipeline.counted[old][:, None], now.pipeline.counted[new][:, None]
    valued = np.where(was & still, whole_cents(within * amount), start)
    rescored = np.where(was & still, whole_cents(within * scale * amount), np.where(still, end, start))
    timed = np.where(still, end - rescored, 0)
    parts = {
        "revalued": valued - start,
        "rescored": rescored - valued,
        "slipped": np.minimum(timed, 0),
        "pulled_in": np.maximum(timed, 0),
        "removed": np.where(still, 0, -start),
    }
    for name, values in parts.items():
        np.add.at(moves[name], target, values)
