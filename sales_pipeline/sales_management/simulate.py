"""Simulated futures: what each owner, team and the company will have won, from the same draws, with shocks they share.

Winning and its time are decided by one hidden normal variable per opportunity: it is won by the end of a month when the variable lies below the quantile of
its chance of that. The variables have common factors, one of the company and one of each team: the one-factor model of Vasicek, "The distribution of loan
portfolio value" (Risk, 2002), with Gordy's reading of it for many names ("A risk-factor model foundation for ratings-based bank capital rules", 2003), and
for times Li's ("On default correlation: a copula function approach", 2000). So every single chance stays exactly what the score said, and only the
totals spread. Amounts are lognormal about the expected amount with factors of their own. New pipeline is a compound Poisson count with a shared factor.

Draws are keyed by seed and id: an opportunity's luck is the same whatever else is open, and equal inputs give equal bytes. What an opportunity brings is
whole cents, so that totals are exact in any order. A draw from a distribution is one of `CELLS` equally likely parts of it, which stands for their mean:
that takes 16 random bits and a look into a table, and is as fine as thousands of draws can tell.

Belongs here: drawing. Does not belong here: the sizes of the shocks (`shocks`), expectations (they are exact, not drawn).
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from sales_pipeline.models.matrix import Floats
from sales_pipeline.sales_management.new_pipeline import NewPipeline
from sales_pipeline.sales_management.people import People
from sales_pipeline.sales_management.pipeline import Pipeline
from sales_pipeline.sales_management.shocks import Shocks

Ints = npt.NDArray[np.int64]
Lots = npt.NDArray[np.uint16]
Floats32 = npt.NDArray[np.float32]
CELLS = 1 << 16
"""Equally likely parts a distribution is drawn by."""
_ROWS = 128
_KEY = struct.Struct("<2Q")
_ZEROS = (0, 0, 0, 0)
_WORD, _LOT = np.dtype("<u8"), np.dtype("<u2")
_MANY = 200.0
"""Expected wins in a month from which on their sum is drawn as normal."""


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
        digest = hashlib.sha256("\x1f".join((self._seed, *parts)).encode()).digest()
        self._start["state"]["key"] = _KEY.unpack_from(digest)
        self._bits.state = self._start
        return self._generator

    def lots(self, count: int, *parts: str) -> Lots:
        """The first `count` whole numbers below `CELLS` of a key."""
        self.of(*parts)
        return np.asarray(self._bits.random_raw(-(-count // 4)), _WORD).view(_LOT)[:count]


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
    from scipy.special import ndtri

    months = pipeline.wins.shape[1] - 1
    luck = Luck(seed)
    normal = normal_cells().astype(np.float32)
    company = luck.of("company").standard_normal((3, draws))
    teams = [luck.of("team", team).standard_normal((2, draws)) for team in people.teams]
    own = np.float32(np.sqrt(max(1.0 - shocks.company - shocks.team, 0.0))) * normal
    limits = ndtri(np.clip(pipeline.wins, 0.0, 1.0)).astype(np.float32)
    open_rows = np.flatnonzero(pipeline.counted & (pipeline.wins[:, -1] > 0))
    order = open_rows[np.argsort(places[open_rows], kind="stable")]
    edges = np.searchsorted(places[order], np.arange(len(people.owners) + 1))
    factor = np.exp(new.spread * company[2] - 0.5 * new.spread**2)
    pool = _Pool(new)
    for number, owner in enumerate(people.owners):
        team = teams[people.team_of[number]]
        common = (np.sqrt(shocks.company) * company[0] + np.sqrt(shocks.team) * team[0]).astype(np.float32)
        amount_spread = shocks.company_amount * company[1] + shocks.team_amount * team[1]
        amounts = np.exp(amount_spread - 0.5 * (shocks.company_amount**2 + shocks.team_amount**2))
        total = np.zeros((months, draws))
        for start in range(edges[number], edges[number + 1], block):
            rows = order[start : min(start + block, edges[number + 1])]
            lots = np.empty((len(rows), 2 * draws), dtype=np.uint16)
            for place, name in enumerate(pipeline.opportunity_id[rows]):
                lots[place] = luck.lots(2 * draws, "opportunity", name)
            hidden = own.take(lots[:, :draws], mode="wrap")
            hidden += common
            total += _brought(pipeline, rows, limits, hidden, normal, lots, amounts)
        if shares[number] > 0:
            total += pool.draw(shares[number] * factor, luck.of("new", owner)) * amounts
        yield number, total


def _brought(
    pipeline: Pipeline, rows: Ints, limits: Floats32, hidden: Floats32, normal: Floats32, lots: Lots, amounts: Floats
) -> Floats:
    """Whole cents the opportunities of some rows bring, (months, draws), by their hidden variables (rows, draws) and their lots (rows, 2 * draws),
    of which the second half spreads their amounts."""
    months, draws = limits.shape[1] - 1, len(amounts)
    # 0: won before the horizon, then the months of it, then not within it.
    month = np.zeros(hidden.shape, dtype=np.uint8)
    is_later = np.empty(hidden.shape, dtype=bool)
    for limit in limits[rows].T:
        np.greater_equal(hidden, limit[:, None], out=is_later)
        month += is_later.view(np.uint8)
    # Most draws are not won within the horizon: only the others have an amount.
    won = np.flatnonzero((month - np.uint8(1)) < months)
    # A won draw's place among the draws, and among the lots, follow from where its row ends.
    ends = np.arange(1, len(rows) + 1) * draws
    count = np.diff(np.searchsorted(won, ends), prepend=0)
    end = np.repeat(ends, count)
    log_spread = pipeline.log_spread[rows]
    scaled = np.repeat(log_spread, count) * normal.take(lots.ravel().take(won + end), mode="wrap")
    scaled -= np.repeat(0.5 * log_spread**2, count)
    cents = np.repeat(pipeline.cents[rows], count) * np.exp(scaled, out=scaled)
    cell = won - end
    cents *= amounts.take(cell, mode="wrap")
    np.rint(cents, out=cents)
    cell += month.ravel().take(won) * np.intp(draws)
    return np.asarray(np.bincount(cell, weights=cents, minlength=months * draws), dtype=np.float64).reshape(
        months, draws
    )


class _Pool:
    """Past wins to draw from, in proportion to their weights in each month."""

    def __init__(self, new: NewPipeline) -> None:
        self._new = new
        self._counts = new.counts()
        self._means = new.expected()
        self._squares = new.weights.T @ new.cents**2
        self._order = np.argsort(new.cents, kind="stable")
        self._cells: dict[bytes, tuple[Ints, Floats]] = {}

    def draw(self, factor: Floats, generator: np.random.Generator) -> Floats:
        """Cents, (months, draws); the expected counts are multiplied by `factor` (one per draw)."""
        draws = len(factor)
        many = self._counts * float(factor.mean()) > _MANY
        few = self._counts[~many].sum()
        total = np.zeros((len(many), draws))
        if few > 0:
            month, cents = self._cells_of(~many)
            wins = generator.poisson(few * factor)
            chosen = generator.integers(0, CELLS, int(wins.sum()), dtype=np.uint16).astype(np.intp)
            cell = month.take(chosen, mode="wrap")
            cell *= draws
            cell += np.repeat(np.arange(draws), wins)
            brought = np.bincount(cell, weights=cents.take(chosen, mode="wrap"), minlength=total.size)
            total += brought.reshape(total.shape)
        for number in np.flatnonzero(many):
            noise = generator.standard_normal(draws) * np.sqrt(self._squares[number] * factor)
            total[number] = np.maximum(self._means[number] * factor + noise, 0.0)
        return total

    def _cells_of(self, months: npt.NDArray[np.bool_]) -> tuple[Ints, Floats]:
        """Month and cents of each cell of what some months are to bring together: in order of the months, and within a month of the amounts."""
        if months.tobytes() not in self._cells:
            weights = np.where(months, self._new.weights[self._order], 0.0).T.ravel()
            cents = np.tile(self._new.cents[self._order], len(months))
            reached = np.concatenate([[0.0], np.cumsum(weights)])
            middle = (np.arange(CELLS) + 0.5) / CELLS * reached[-1]
            place = np.searchsorted(reached, middle, side="right") - 1
            self._cells[months.tobytes()] = (place // len(self._order), _means(reached, weights * cents))
        return self._cells[months.tobytes()]


def normal_cells() -> Floats:
    """The means of the cells of the standard normal distribution, rising."""
    from scipy.special import ndtri

    edges = ndtri(np.linspace(0.0, 1.0, CELLS + 1))
    density = np.exp(-0.5 * edges**2) / np.sqrt(2.0 * np.pi)
    return np.asarray(-np.diff(density) * CELLS)


def _means(reached: Floats, values: Floats) -> Floats:
    """The mean of each cell of a distribution, given in order by the weight reached before and after each value, and weight times value."""
    cells = np.linspace(0.0, reached[-1], CELLS + 1)
    sums = np.interp(cells, reached, np.concatenate([[0.0], np.cumsum(values)]))
    return np.asarray(np.diff(sums) * CELLS / reached[-1])
