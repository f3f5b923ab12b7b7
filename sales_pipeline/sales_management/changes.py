"""The bridge from an earlier published forecast to this one: which part of the difference is new, won, lost, slipped, pulled in, re-valued, re-scored…

Per opportunity and month the amount expected then (or won by then) and the amount expected (or won) now are held against each other. What is still open moves in
three steps whose order is fixed: first the amount, then the chance of winning ever, then the timing; each step is rounded to whole cents as the forecast itself is, so
that the parts add up to the change exactly. What was said then is read from that run's published tables; where today's data tells another
story of that day (a corrected record, another rate, other settings) the difference stands under `restated`.

Belongs here: that comparison. Does not belong here: which run is compared with (`published`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.contracts.forecast import FORECAST_CHANGES
from sales_pipeline.domain.time import AsOf
from sales_pipeline.lake.tables import conform
from sales_pipeline.models.matrix import Floats
from sales_pipeline.sales_management.deals import Deals, Known, whole_cents
from sales_pipeline.sales_management.figures import Key, keys
from sales_pipeline.sales_management.forecast import Forecast, money
from sales_pipeline.sales_management.params import ForecastParams
from sales_pipeline.sales_management.people import People, gather_people
from sales_pipeline.sales_management.periods import Horizon, Period, as_of_us
from sales_pipeline.sales_management.pipeline import PastWins, Pipeline, read_pipeline

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
MOVES = ("new", "won", "lost", "slipped", "pulled_in", "revalued", "rescored", "reassigned", "removed")
PARTS = (*MOVES, "not_yet_created", "restated")
"""Columns that add up, with `previous_expected`, to `expected`."""
NO_EARLIER = "No earlier published forecast to compare with"
NOT_FORECAST_THEN = "The earlier run did not forecast this period"


@dataclass(frozen=True)
class Earlier:
    """A published run: its id, its as-of, and its SCORED_OPPORTUNITIES and REVENUE_FORECAST."""

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
    today = {(row["level"], row["key"], row["period"]): row for row in now.table.to_pylist()}
    note = _no_bridge(now, earlier)
    if earlier is None or note is not None:
        rows = [_unbridged(row, note or NO_EARLIER) | shared for row in today.values()]
        return conform(pa.Table.from_pylist(rows, schema=arrow_schema(FORECAST_CHANGES)), FORECAST_CHANGES)
    then = {(row["level"], row["key"], row["period"]): row for row in earlier.forecast.to_pylist()}
    bridge = _Bridge.of(now, earlier, owners, params)
    known = {name for level, name, period in then if level == "company" for name in [period]}
    rows = []
    for key in keys(bridge.people):
        for period in horizon.periods:
            place = (key.level, key.name, period.name)
            if place not in today and place not in then:
                continue
            row = today.get(place)
            expected = _cents(row["expected"]) if row else 0
            base = {"level": key.level, "key": key.name, "period": period.name, "period_kind": period.kind}
            if period.name not in known:
                rows.append(_unbridged(base | {"expected": money(expected)}, NOT_FORECAST_THEN) | shared)
                continue
            rows.append(base | bridge.parts(key, period, row, then.get(place), expected) | shared)
    return conform(pa.Table.from_pylist(rows, schema=arrow_schema(FORECAST_CHANGES)), FORECAST_CHANGES)


def _no_bridge(now: Forecast, earlier: Earlier | None) -> str | None:
    if earlier is None or not earlier.forecast.num_rows:
        return NO_EARLIER
    currency = earlier.forecast.column("currency")[0].as_py()
    if currency != now.exchange.currency:
        return f"The earlier forecast is in {currency}: not comparable"
    return None


def _unbridged(row: dict[str, Any], note: str) -> dict[str, Any]:
    return {name: row[name] for name in ("level", "key", "period", "period_kind", "expected")} | {"note": note}


def _cents(amount: Any) -> int:
    return int(amount.scaleb(2))


@dataclass(frozen=True)
class _Bridge:
    """`moves`: cents by part, owner and month. `before`: cents that today's data says were closed or expected from open opportunities then."""

    horizon: Horizon
    people: People
    moves: dict[str, Ints]
    before: Ints

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
        sides = (
            _Side.of(old, known, now.deals, people, horizon),
            _Side.of(figures.pipeline, figures.known, now.deals, people, horizon),
        )
        return cls(horizon, people, *_moves(*sides, people, len(horizon.months)))

    def parts(
        self, key: Key, period: Period, row: dict[str, Any] | None, then: dict[str, Any] | None, expected: int
    ) -> dict[str, Any]:
        months = self.horizon.positions(period)
        found = {name: int(self.moves[name][key.owners][:, months].sum()) for name in MOVES}
        previous, previous_new = (_cents(then["expected"]), _cents(then["from_new"])) if then else (0, 0)
        found["not_yet_created"] = (_cents(row["from_new"]) if row else 0) - previous_new
        found["restated"] = int(self.before[key.owners][:, months].sum()) - (previous - previous_new)
        assert previous + sum(found.values()) == expected, "the parts of the bridge do not add up"
        return {
            "previous_expected": money(previous),
            **{name: money(found[name]) for name in PARTS},
            "expected": money(expected),
        }


@dataclass(frozen=True)
class _Side:
    """One of the two dates: opportunities by id. `cents`: expected by row of the pipeline and month; `open`: row in the pipeline by id; `won`: row
    in the deals by id; `lost`: ids."""

    pipeline: Pipeline
    places: Ints
    cents: Ints
    open: dict[str, int]
    won: dict[str, int]
    lost: set[str]
    deals: Deals
    deal_places: Ints
    edges: Floats

    @classmethod
    def of(cls, pipeline: Pipeline, known: Known, deals: Deals, people: People, horizon: Horizon) -> _Side:
        won = np.flatnonzero(known.countable)
        return cls(
            pipeline,
            people.places(pipeline.owner),
            pipeline.expected_cents(),
            {name: row for row, name in enumerate(pipeline.opportunity_id)},
            dict(zip(deals.opportunity_id[won], won.tolist(), strict=True)),
            set(deals.opportunity_id[known.closed & (deals.is_won == 0)]),
            deals,
            people.places(deals.owner),
            horizon.edges_us,
        )

    def won_in(self, name: str) -> tuple[int, int, int] | None:
        """Owner, month and cents of a deal won within the horizon; month -1: won, but outside it."""
        row = self.won.get(name)
        if row is None:
            return None
        month = int(np.searchsorted(self.edges, self.deals.closed[row], side="right")) - 1
        inside = 0 <= month < len(self.edges) - 1
        return int(self.deal_places[row]), month if inside else -1, int(self.deals.cents[row])


def _moves(then: _Side, now: _Side, people: People, months: int) -> tuple[dict[str, Ints], Ints]:
    shape = (len(people.owners), months)
    moves = {name: np.zeros(shape, dtype=np.int64) for name in MOVES}
    before = np.zeros(shape, dtype=np.int64)
    np.add.at(before, then.places, then.cents)
    stayed = [(row, now.open[name]) for name, row in then.open.items() if name in now.open]
    _add_stayed(moves, then, now, *np.array(stayed, dtype=np.int64).reshape(-1, 2).T)
    for name in then.open.keys() - now.open.keys():
        row, won = then.open[name], now.won_in(name)
        place, cents = then.places[row], then.cents[row]
        if won is None:
            moves["lost" if name in now.lost else "removed"][place] -= cents
            continue
        moves["reassigned"][place] -= cents
        moves["reassigned"][won[0]] += cents
        moves["won"][won[0]] -= cents
        if won[1] >= 0:
            moves["won"][won[0], won[1]] += won[2]
    # An opportunity that had been won and was reopened is one of its own; what it had brought is taken back below.
    come = np.array([row for name, row in now.open.items() if name not in then.open], dtype=np.int64)
    np.add.at(moves["new"], now.places[come], now.cents[come])
    for name in (then.won.keys() | now.won.keys()) - then.open.keys():
        old, new = then.won_in(name), now.won_in(name)
        if old and old[1] >= 0:
            before[old[0], old[1]] += old[2]
            moves["revalued" if new or name in now.open else "removed"][old[0], old[1]] -= old[2]
        if new and new[1] >= 0:
            moves["revalued" if old else "new"][new[0], new[1]] += new[2]
    return moves, before


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
