"""The figures of a forecast by owner and month, in whole cents, and the interval of every key and period: what the tables are written from.

All sums are of integers by owner and month, so owners add up to teams, teams to the company, and months to quarters, exactly.

Belongs here: putting pipeline, past and draws together. Does not belong here: rows and words (`forecast`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sales_pipeline.contracts.management import COMPANY
from sales_pipeline.models.matrix import Floats
from sales_pipeline.sales_management.deals import Deals, Known
from sales_pipeline.sales_management.new_pipeline import NewPipeline, learn_new_pipeline, shares_of_new
from sales_pipeline.sales_management.params import ForecastParams
from sales_pipeline.sales_management.people import People, gather_people
from sales_pipeline.sales_management.periods import Horizon, Period, as_of_us
from sales_pipeline.sales_management.pipeline import Pipeline
from sales_pipeline.sales_management.shocks import Shocks
from sales_pipeline.sales_management.simulate import simulate

Ints = npt.NDArray[np.int64]
LOW, HIGH = 0.1, 0.9
EXPECTED = "expected"
AMOUNTS = ("closed", "from_open", "from_new", EXPECTED, "commit", "best_case", "open_value", "open_count")
"""Figures by owner and month; `commit` and `best_case` here without what is closed, which is in `EXPECTED` with `from_open` and `from_new`."""


@dataclass(frozen=True)
class Key:
    """A level and a key with its owners (positions in `people`); `place` is its own position among all keys."""

    place: int
    level: str
    name: str
    owners: Ints


@dataclass(frozen=True)
class Sums:
    """Whole numbers per name added up by key and period: (keys, periods), in the order of `keys` and of the horizon."""

    by_name: dict[str, Ints]
    columns: dict[str, int]

    @classmethod
    def of(cls, by_month: dict[str, Ints], people: People, horizon: Horizon) -> Sums:
        """From numbers by owner and month, (owners, months)."""
        columns = {period.name: column for column, period in enumerate(horizon.periods)}
        members = np.zeros((len(horizon.months), len(columns)), dtype=np.int64)
        for period in horizon.periods:
            members[horizon.positions(period), columns[period.name]] = 1
        return cls({name: _by_key(values @ members, people) for name, values in by_month.items()}, columns)

    def at(self, name: str, key: Key, period: Period) -> int:
        """One number."""
        return int(self.by_name[name][key.place, self.columns[period.name]])


def _by_key(by_owner: Ints, people: People) -> Ints:
    teams = np.zeros((len(people.teams), by_owner.shape[1]), dtype=np.int64)
    np.add.at(teams, people.team_of, by_owner)
    return np.concatenate([by_owner.sum(axis=0, keepdims=True), teams, by_owner])


@dataclass(frozen=True)
class Figures:
    """`by_month`: per name of `AMOUNTS` whole cents (or a count), (owners, months). `sums`: the same by key and period. `low`, `high`: the 80 % interval of the
    total, whole cents, (keys, periods), of keys that were drawn for (`is_drawn`); none was where there is nothing to simulate from."""

    horizon: Horizon
    people: People
    pipeline: Pipeline
    places: Ints
    known: Known
    new: NewPipeline
    shocks: Shocks
    by_month: dict[str, Ints]
    sums: Sums
    low: Ints
    high: Ints
    is_drawn: npt.NDArray[np.bool_]

    def of(self, name: str, key: Key, period: Period) -> int:
        """A figure of a key and a period."""
        return self.sums.at(name, key, period)

    def interval(self, key: Key, period: Period) -> tuple[int | None, int | None]:
        """The 80 % interval of a key and a period."""
        if not self.is_drawn[key.place]:
            return None, None
        column = self.sums.columns[period.name]
        return int(self.low[key.place, column]), int(self.high[key.place, column])


def keys(people: People) -> Iterator[Key]:
    """The company, the teams, the owners, in that order."""
    yield Key(0, "company", COMPANY, np.arange(len(people.owners)))
    for number, team in enumerate(people.teams):
        yield Key(1 + number, "team", team, np.flatnonzero(people.team_of == number))
    for number, owner in enumerate(people.owners):
        yield Key(1 + len(people.teams) + number, "owner", owner, np.array([number]))


def compute(
    pipeline: Pipeline,
    deals: Deals,
    owners: pa.Table,
    horizon: Horizon,
    shocks: Shocks,
    params: ForecastParams,
    *,
    with_owners: bool = True,
    also: tuple[str, ...] = (),
) -> Figures:
    """The figures at the horizon's as-of, from what was known strictly before it. `also` names owners who get a place whatever they own; without
    `with_owners` no intervals of single owners."""
    instant = as_of_us(horizon.as_of)
    known = deals.known_at(instant)
    people = gather_people(
        owners,
        [pipeline.owner, deals.owner.filter(pa.array(known.closed | deals.is_first)), np.array(also, dtype=object)],
    )
    places = people.places(pipeline.owner)
    deal_places = people.places(deals.owner)
    edges = horizon.edges_us
    new = learn_new_pipeline(deals, edges[:-1], edges[1:], instant, params)
    shares = shares_of_new(deals, deal_places, people.is_active, instant, params)
    by_month = _open_figures(pipeline, places, len(people.owners), params)
    by_month["closed"] = closed_cents(known, deal_places, len(people.owners), edges)
    by_month["from_new"] = _allocated(new, shares)
    by_month[EXPECTED] = by_month["closed"] + by_month["from_open"] + by_month["from_new"]
    sums = Sums.of(by_month, people, horizon)
    expected = sums.by_name[EXPECTED]
    low, high, is_drawn = expected.copy(), expected.copy(), np.zeros(len(expected), dtype=bool)
    if pipeline.counted.any() or len(new.cents):
        spans = [_spans_of(period, horizon) for period in horizon.periods]
        for key, cents in _totals(
            pipeline.by_span(horizon.spans),
            places,
            people,
            new.by_span(horizon.spans),
            shares,
            shocks,
            params,
            with_owners,
        ):
            quantiles = _quantiles(spans, cents) + sums.by_name["closed"][key.place]
            # Widened where it does not hold the expected value: one large unlikely opportunity lies above its 90 % quantile.
            low[key.place] = np.minimum(quantiles[0], expected[key.place])
            high[key.place] = np.maximum(quantiles[1], expected[key.place])
            is_drawn[key.place] = True
    return Figures(horizon, people, pipeline, places, known, new, shocks, by_month, sums, low, high, is_drawn)


def closed_cents(known: Known, places: Ints, owners: int, edges: Floats) -> Ints:
    """Won before the as-of, by owner and month."""
    rows = np.flatnonzero(known.countable)
    month = np.searchsorted(edges, known.deals.closed[rows], side="right") - 1
    inside = (month >= 0) & (month < len(edges) - 1)
    return _summed(
        places[rows[inside]], month[inside], known.deals.cents[rows[inside]].astype(np.int64), owners, len(edges) - 1
    )


def _open_figures(pipeline: Pipeline, places: Ints, owners: int, params: ForecastParams) -> dict[str, Ints]:
    months = pipeline.wins.shape[1] - 1
    expected = np.zeros((owners, months), dtype=np.int64)
    np.add.at(expected, places, pipeline.expected_cents())
    placed = pipeline.counted & (pipeline.close_month >= 0)
    cents = pipeline.cents.astype(np.int64)

    def chosen(rows: npt.NDArray[np.bool_], values: Ints) -> Ints:
        return _summed(places[rows], pipeline.close_month[rows], values[rows], owners, months)

    return {
        "from_open": expected,
        "commit": chosen(placed & (pipeline.p >= params.commit_probability), cents),
        "best_case": chosen(placed & (pipeline.p >= params.best_case_probability), cents),
        "open_value": chosen(placed, cents),
        "open_count": chosen(placed, np.ones(len(pipeline), dtype=np.int64)),
    }


def _summed(places: Ints, months: Ints, values: Ints, owners: int, count: int) -> Ints:
    """Integers added up by owner and month."""
    total = np.zeros((owners, count), dtype=np.int64)
    np.add.at(total, (places, months), values)
    return total


def _allocated(new: NewPipeline, shares: Floats) -> Ints:
    """Whole cents of new pipeline by owner and month: shares rounded down, what is left goes to the largest remainders (Hamilton's method)."""
    totals = np.floor(new.expected() + 0.5).astype(np.int64)
    exact = shares[:, None] * totals[None, :]
    cents = np.floor(exact).astype(np.int64)
    for month, left in enumerate(totals - cents.sum(axis=0)):
        order = np.argsort(-(exact[:, month] - cents[:, month]), kind="stable")
        cents[order[: int(left)], month] += 1
    return cents


def _totals(
    pipeline: Pipeline,
    places: Ints,
    people: People,
    new: NewPipeline,
    shares: Floats,
    shocks: Shocks,
    params: ForecastParams,
    with_owners: bool,
) -> Iterator[tuple[Key, Floats]]:
    """What every key will have won after the as-of, (spans, draws), from one set of draws."""
    company, *rest = keys(people)
    of_teams, of_owners = rest[: len(people.teams)], rest[len(people.teams) :]
    teams = np.zeros((len(people.teams), pipeline.wins.shape[1] - 1, params.draws))
    drawn = simulate(pipeline, places, people, new, shares, shocks, draws=params.draws, seed=params.seed)
    for number, cents in drawn:
        teams[people.team_of[number]] += cents
        if with_owners:
            yield of_owners[number], cents
    yield company, teams.sum(axis=0)
    yield from zip(of_teams, teams, strict=True)


def _spans_of(period: Period, horizon: Horizon) -> slice:
    """The positions of a period's spans: its months follow one another."""
    months = horizon.positions(period)
    within = [number for number, month in enumerate(horizon.spans) if month in months]
    return slice(within[0], within[-1] + 1)


def _quantiles(periods: list[slice], cents: Floats) -> Ints:
    """Low and high of the totals of each period (given by its spans), whole cents, (2, periods)."""
    rising = np.sort([cents[spans].sum(axis=0) for spans in periods], axis=1)
    return np.stack([np.floor(_quantile(rising, share) + 0.5).astype(np.int64) for share in (LOW, HIGH)])


def _quantile(rising: Floats, share: float) -> Floats:
    """The quantile of each row, whose values rise, linear between two of them: what `np.quantile` says, which is slower on values in order."""
    place = share * (rising.shape[1] - 1)
    below = int(place)
    above = min(below + 1, rising.shape[1] - 1)
    return np.asarray(rising[:, below] + (place - below) * (rising[:, above] - rising[:, below]))
