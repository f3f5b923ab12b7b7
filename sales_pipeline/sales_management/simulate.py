"""Simulated futures: what each owner, team and the company will have won, from the same draws, with shocks they share.

Winning and its time are decided by one hidden normal variable per opportunity: it is won by the end of a month when the variable lies below the quantile of
its chance of that. The variables have common factors, one of the company and one of each team: the one-factor model of Vasicek, "The distribution of loan
portfolio value" (Risk, 2002), with Gordy's reading of it for many names ("A risk-factor model foundation for ratings-based bank capital rules", 2003), and
for times Li's ("On default correlation: a copula function approach", 2000). So every single chance stays exactly what the score said, and only the
totals spread. Amounts are lognormal about the expected amount with factors of their own. New pipeline is a compound Poisson count with a shared factor.

Draws are keyed by seed and id: an opportunity's luck is the same whatever else is open, and equal inputs give equal bytes. An opportunity's numbers are a stretch
of one long row of random numbers, which starts where a hash of its id says (random starting points: L'Ecuyer, Munger, Oreshkin and Simard, "Random numbers for
parallel computers", Mathematics and Computers in Simulation 2017): two of them share their luck only if they start at the same one of two million
places, and as many such pairs have it with the other sign, so that totals are not spread by them. A draw from a distribution is one
of so many equally likely parts of it, which stands for their mean: `CELLS` of the hidden variable, as chances may be small, `AMOUNT_CELLS` of an amount; that takes a look into a
table, and is as fine as thousands of draws can tell. What an opportunity brings, before what all amounts share, is whole cents, so that totals are exact in any order.

Belongs here: drawing. Does not belong here: the sizes of the shocks (`shocks`), expectations (they are exact, not drawn).
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from sales_pipeline.models.matrix import Floats
from sales_pipeline.sales_management.new_pipeline import NewPipeline
from sales_pipeline.sales_management.people import People
from sales_pipeline.sales_management.pipeline import Pipeline
from sales_pipeline.sales_management.shocks import Shocks

Ints = npt.NDArray[np.int64]
Floats32 = npt.NDArray[np.float32]
CELLS = 1 << 16
"""Equally likely parts the hidden variable, and which past win comes again, are drawn by."""
AMOUNT_CELLS = 1 << 8
"""The same of an amount."""
LEAST_REPEATS = 16
"""How often each cell is met in the row of random numbers, at least."""
_ROWS = 64
_KEY = struct.Struct("<2Q")
_ZEROS = (0, 0, 0, 0)
_WORD, _PLACES = np.dtype("<u8"), np.dtype("<u4")
_MANY = 200.0
"""Expected wins in a month (or months that are taken together) from which on their sum is drawn as normal."""


class Luck:
    """Random numbers that belong to a key: the same whatever was drawn for others before.

    One generator is set to the start of the key's numbers each time, as making a new one costs as much as a thousand draws. Philox: its numbers are a function of key and counter
    (Salmon, Moraes, Dror & Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
    """

    def __init__(self, seed: int) -> None:
        self._seed = str(seed)
        self._bits = np.random.Philox(key=0)
        self._generator = np.random.Generator(self._bits)
        # Plain numbers: set from arrays a state takes three times as long.
        self._start: Any = {**self._bits.state, "buffer": _ZEROS, "state": {"counter": _ZEROS, "key": _ZEROS[:2]}}

    def of(self, *parts: str) -> np.random.Generator:
        """The generator at the start of a key's numbers; valid until the next call."""
        self._start["state"]["key"] = _KEY.unpack_from(self.digest(*parts))
        self._bits.state = self._start
        return self._generator

    def digest(self, *parts: str) -> bytes:
        """The 32 bytes a key's numbers start from."""
        return hashlib.sha256("\x1f".join((self._seed, *parts)).encode()).digest()


class Stretches:
    """What opportunities draw their numbers from: `hidden` (standard normal, each cell as often as any other) and `lots` (whole numbers below `AMOUNT_CELLS`), two long rows.

    Of each an opportunity has `draws` numbers from a place on that is its own (`places`), so that any number of the row is as likely at any draw. The second half of `hidden` is
    the first with the other sign. Both rows go on with their beginning, so that no stretch ends before its time.
    """

    def __init__(self, luck: Luck, draws: int) -> None:
        repeats = max(LEAST_REPEATS, -(-LEAST_REPEATS * draws // CELLS))
        self._luck = luck
        self._count = repeats * CELLS
        cells = np.tile(np.arange(CELLS, dtype=np.uint16), repeats)
        luck.of("hidden").shuffle(cells)
        half = _continued(normal_cells().astype(np.float32).take(cells), draws)
        self.hidden = np.concatenate([half, -half])
        self.lots = _continued(luck.of("amounts").integers(0, AMOUNT_CELLS, self._count, dtype=np.uint8), draws)
        self._half = len(half)

    def places(self, ids: Iterable[str]) -> tuple[Ints, Ints]:
        """Where the stretches of opportunities begin in `hidden` and in `lots`."""
        digests = b"".join(self._luck.digest("opportunity", name)[:12] for name in ids)
        sign, hidden, lots = np.frombuffer(digests, _PLACES).reshape(-1, 3).T.astype(np.int64)
        return sign % 2 * self._half + hidden % self._count, lots % self._count


def _continued(row: npt.NDArray[Any], count: int) -> npt.NDArray[Any]:
    return np.concatenate([row, row[:count]])


def simulate(
    pipeline: Pipeline,
    places: Ints,
    people: People,
    new: NewPipeline,
    shares: Floats,
    shocks: Shocks,
    *,
    draws: int,
    seed: int,
    block: int = _ROWS,
) -> Iterator[tuple[int, Floats]]:
    """Per owner (in the order of `people`) the cents won after as_of, (months, draws). `places` gives the owner of each row of the pipeline; `block` is how
    many opportunities are drawn at a time, which changes no figure."""
    months = pipeline.wins.shape[1] - 1
    luck = Luck(seed)
    company = luck.of("company").standard_normal((3, draws))
    teams = [luck.of("team", team).standard_normal((2, draws)) for team in people.teams]
    open_rows = np.flatnonzero(pipeline.counted & (pipeline.wins[:, -1] > 0))
    order = open_rows[np.argsort(places[open_rows], kind="stable")]
    edges = np.searchsorted(places[order], np.arange(len(people.owners) + 1))
    own = _Own(pipeline, order, Stretches(luck, draws), np.sqrt(max(1.0 - shocks.company - shocks.team, 0.0)), draws)
    factor = np.exp(new.spread * company[2] - 0.5 * new.spread**2)
    pool = _Pool(new, shares.max(initial=0.0) * factor, luck)
    for number, owner in enumerate(people.owners):
        team = teams[people.team_of[number]]
        common = (np.sqrt(shocks.company) * company[0] + np.sqrt(shocks.team) * team[0]).astype(np.float32)
        amount_spread = shocks.company_amount * company[1] + shocks.team_amount * team[1]
        total = np.zeros(months * draws)
        for start in range(edges[number], edges[number + 1], block):
            own.add(total, slice(start, min(start + block, edges[number + 1])), common)
        total = total.reshape(months, draws)
        if shares[number] > 0:
            total += pool.draw(shares[number] * factor, luck.of("new", owner))
        total *= np.exp(amount_spread - 0.5 * (shocks.company_amount**2 + shocks.team_amount**2))
        yield number, total


class _Own:
    """What open opportunities (`order`: rows of the pipeline) bring by their own luck, before what all amounts share. `scale`: standard deviation of their own part of the hidden variable."""

    def __init__(self, pipeline: Pipeline, order: Ints, stretches: Stretches, scale: float, draws: int) -> None:
        from scipy.special import ndtri

        self._draws = draws
        self._hidden_at, self._lots_at = stretches.places(pipeline.opportunity_id[order])
        # A view of all stretches there could be, a row for each place.
        self._hidden = sliding_window_view(np.float32(scale) * stretches.hidden, draws)
        self._lots = stretches.lots
        limits = ndtri(np.clip(pipeline.wins[order], 0.0, 1.0)).astype(np.float32)
        # Months that nothing is won before need not be told apart by comparing: those of the current quarter that are over.
        self._first = int(np.argmax((limits > -np.inf).any(axis=0))) if len(limits) else 0
        self._limits = np.ascontiguousarray(limits.T)
        self._cents = pipeline.cents[order]
        self._log_spread = pipeline.log_spread[order].astype(np.float32)
        self._normal = normal_cells(AMOUNT_CELLS).astype(np.float32)

    def add(self, total: Floats, rows: slice, common: Floats32) -> None:
        """Adds whole cents to `total` (months * draws), of some rows whose hidden variables share `common` (draws)."""
        draws, limits = self._draws, self._limits[:, rows]
        hidden = self._hidden[self._hidden_at[rows]]
        hidden += common
        # Most draws are not won within the horizon: only the others have a month and an amount.
        won = np.flatnonzero(hidden < limits[-1][:, None])
        count = np.diff(np.searchsorted(won, np.arange(1, hidden.shape[0] + 1) * draws), prepend=0)
        variable = hidden.ravel().take(won, mode="wrap")
        # 0: won before the horizon, then the months of it.
        month = np.full(len(won), self._first, dtype=np.uint8)
        for limit in limits[self._first : -1]:
            month += (variable >= np.repeat(limit, count)).view(np.uint8)
        begins = np.arange(hidden.shape[0]) * draws
        lot = won + np.repeat(self._lots_at[rows] - begins, count)
        cell = np.repeat(np.arange(hidden.shape[0]) * AMOUNT_CELLS, count)
        cell += self._lots.take(lot, mode="wrap")
        cents = self._amounts(rows).ravel().take(cell, mode="wrap")
        won -= np.repeat(begins + draws, count)
        won += month * np.intp(draws)
        if self._first == 0:
            inside = won >= 0
            won, cents = won[inside], cents[inside]
        total += np.bincount(won, weights=cents, minlength=len(total))

    def _amounts(self, rows: slice) -> Floats:
        """Whole cents each opportunity may bring, (rows, AMOUNT_CELLS), all equally likely: lognormal about what is expected, which is their mean."""
        found = np.exp(self._log_spread[rows, None] * self._normal)
        return np.asarray(np.rint(found * (self._cents[rows] / found.mean(axis=1, dtype=np.float64))[:, None]))


class _Pool:
    """Past wins to draw from, in proportion to their weights in each month. `factors`: on the expected counts, (draws,), of the owner with most of them."""

    def __init__(self, new: NewPipeline, factors: Floats, luck: Luck) -> None:
        self._new = new
        self._draws = len(factors)
        self._counts = new.counts()
        self._means = new.expected()
        self._squares = new.weights.T @ new.cents**2
        self._order = np.argsort(new.cents, kind="stable")
        most = np.minimum(self._counts * float(factors.mean()), _MANY).sum() * self._draws
        self._count = max(CELLS, int(LEAST_REPEATS * most))
        self._chosen = luck.of("new").integers(0, CELLS, self._count, dtype=np.uint16)
        self._rows: dict[bytes, tuple[Ints, Floats]] = {}

    def draw(self, factor: Floats, generator: np.random.Generator) -> Floats:
        """Cents, (months, draws); the expected counts are multiplied by `factor` (one per draw). The wins are a stretch of one long row of them."""
        draws = self._draws
        many = self._counts * float(factor.mean()) > _MANY
        few = self._counts[~many].sum()
        total = np.zeros((len(many), draws))
        if few > 0:
            wins = generator.poisson(few * factor)
            begin = int(generator.integers(0, self._count))
            stretch = slice(begin, begin + int(wins.sum()))
            month_begins, cents = self._row_of(~many)
            place = month_begins[stretch] + np.repeat(np.arange(draws), wins)
            brought = np.bincount(place, weights=cents[stretch], minlength=total.size)
            total += brought.reshape(total.shape)
        for number in np.flatnonzero(many):
            noise = generator.standard_normal(draws) * np.sqrt(self._squares[number] * factor)
            total[number] = np.maximum(self._means[number] * factor + noise, 0.0)
        return total

    def _row_of(self, months: npt.NDArray[np.bool_]) -> tuple[Ints, Floats]:
        """A long row of wins of some months, twice end to end: where the month of each begins among all draws of all months, and its cents."""
        if months.tobytes() not in self._rows:
            month, cents = self._cells_of(months)
            twice = np.concatenate([self._chosen, self._chosen])
            self._rows[months.tobytes()] = ((month * self._draws).take(twice), cents.take(twice))
        return self._rows[months.tobytes()]

    def _cells_of(self, months: npt.NDArray[np.bool_]) -> tuple[Ints, Floats]:
        """Month and cents of each cell of what some months are to bring together: in order of the months, and within a month of the amounts."""
        weights = np.where(months, self._new.weights[self._order], 0.0).T.ravel()
        cents = np.tile(self._new.cents[self._order], len(months))
        reached = np.concatenate([[0.0], np.cumsum(weights)])
        middle = (np.arange(CELLS) + 0.5) / CELLS * reached[-1]
        place = np.searchsorted(reached, middle, side="right") - 1
        return place // len(self._order), _means(reached, weights * cents)


def normal_cells(count: int = CELLS) -> Floats:
    """The means of the cells of the standard normal distribution, rising."""
    from scipy.special import ndtri

    edges = ndtri(np.linspace(0.0, 1.0, count + 1))
    density = np.exp(-0.5 * edges**2) / np.sqrt(2.0 * np.pi)
    return np.asarray(-np.diff(density) * count)


def _means(reached: Floats, values: Floats) -> Floats:
    """The mean of each cell of a distribution, given in order by the weight reached before and after each value, and weight times value."""
    cells = np.linspace(0.0, reached[-1], CELLS + 1)
    sums = np.interp(cells, reached, np.concatenate([[0.0], np.cumsum(values)]))
    return np.asarray(np.diff(sums) * CELLS / reached[-1])
