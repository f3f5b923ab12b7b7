"""Simulated futures: what each owner, team and the company will have won, from the same draws, with shocks they share.

Winning and its time are decided by one hidden normal variable per opportunity: it is won by the end of a month when the variable lies below the quantile of
its chance of that. The variables have common factors, one of the company and one of each team: the one-factor model of Vasicek, "The distribution of loan
portfolio value" (Risk, 2002), with Gordy's reading of it for many names ("A risk-factor model foundation for ratings-based bank capital rules", 2003), and
for times Li's ("On default correlation: a copula function approach", 2000). So every single chance stays exactly what the score said, and only the
totals spread. Amounts are lognormal about the expected amount with factors of their own. New pipeline is a compound Poisson count with a shared factor.

Draws are keyed by seed and id: an opportunity's luck is the same whatever else is open, and equal inputs give equal bytes.

Belongs here: drawing. Does not belong here: the sizes of the shocks (`shocks`), expectations (they are exact, not drawn).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from sales_pipeline.models.matrix import Floats
from sales_pipeline.sales_management.new_pipeline import NewPipeline
from sales_pipeline.sales_management.people import People
from sales_pipeline.sales_management.pipeline import Pipeline
from sales_pipeline.sales_management.shocks import Shocks

Ints = npt.NDArray[np.int64]
_ROWS = 256
_MANY = 200.0
"""Expected wins in a cell from which on their sum is drawn as normal."""


def keyed(seed: int, *parts: str) -> np.random.Generator:
    """A generator of its own for a key: the same whatever was drawn before it."""
    digest = hashlib.sha256("\x1f".join((str(seed), *parts)).encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))


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
) -> Iterator[tuple[int, Floats]]:
    """Per owner (in the order of `people`) the cents won after as_of, (months, draws). `places` gives the owner of each row of the pipeline."""
    from scipy.special import ndtri

    months = pipeline.wins.shape[1] - 1
    company = keyed(seed, "company").standard_normal((3, draws))
    teams = [keyed(seed, "team", team).standard_normal((2, draws)) for team in people.teams]
    own = np.sqrt(max(1.0 - shocks.company - shocks.team, 0.0))
    limits = ndtri(np.clip(pipeline.wins, 0.0, 1.0))
    order = np.argsort(places, kind="stable")
    edges = np.searchsorted(places[order], np.arange(len(people.owners) + 1))
    factor = np.exp(new.spread * company[2] - 0.5 * new.spread**2)
    pool = _Pool(new)
    for number, owner in enumerate(people.owners):
        team = teams[people.team_of[number]]
        common = np.sqrt(shocks.company) * company[0] + np.sqrt(shocks.team) * team[0]
        amount_spread = shocks.company_amount * company[1] + shocks.team_amount * team[1]
        amounts = np.exp(amount_spread - 0.5 * (shocks.company_amount**2 + shocks.team_amount**2))
        total = np.zeros((months, draws))
        mine = order[edges[number] : edges[number + 1]]
        mine = mine[pipeline.counted[mine] & (pipeline.wins[mine, -1] > 0)]
        for start in range(0, len(mine), _ROWS):
            _add_open(total, pipeline, mine[start : start + _ROWS], limits, common, own, amounts, seed)
        if shares[number] > 0:
            total += pool.draw(shares[number] * factor, keyed(seed, "new", owner)) * amounts
        yield number, total


def _add_open(
    total: Floats,
    pipeline: Pipeline,
    rows: Ints,
    limits: Floats,
    common: Floats,
    own: float,
    amounts: Floats,
    seed: int,
) -> None:
    """Add what the opportunities of some rows bring."""
    draws = total.shape[1]
    luck = np.empty((len(rows), 2, draws))
    for position, row in enumerate(rows):
        luck[position] = keyed(seed, "opportunity", pipeline.opportunity_id[row]).standard_normal((2, draws))
    hidden = common + own * luck[:, 0]
    # Most draws are not won within the horizon: only the others are looked at.
    row, draw = np.nonzero((hidden < limits[rows, -1][:, None]) & (hidden >= limits[rows, 0][:, None]))
    variable, spread = hidden[row, draw], pipeline.log_spread[rows][row]
    month = np.zeros(len(row), dtype=np.int64)
    for number in range(1, total.shape[0]):
        month += variable >= limits[rows[row], number]
    value = pipeline.cents[rows][row] * np.exp(spread * luck[row, 1, draw] - 0.5 * spread**2) * amounts[draw]
    total += np.bincount(month * draws + draw, weights=value, minlength=total.size).reshape(total.shape)


class _Pool:
    """Past wins to draw from, month by month, in proportion to their weights."""

    def __init__(self, new: NewPipeline) -> None:
        self._cents = new.cents
        self._counts = new.counts()
        # A month's steps lie together: every owner searches each of them, and what is scattered would be copied for each search.
        self._steps = np.ascontiguousarray(new.weights.cumsum(axis=0).T)
        self._means = new.expected()
        self._squares = new.weights.T @ new.cents**2

    def draw(self, factor: Floats, generator: np.random.Generator) -> Floats:
        """Cents, (months, draws); the expected counts are multiplied by `factor` (one per draw)."""
        total = np.zeros((len(self._counts), len(factor)))
        for month, count in enumerate(self._counts):
            if count <= 0:
                continue
            if count * float(factor.mean()) > _MANY:
                noise = generator.standard_normal(len(factor)) * np.sqrt(self._squares[month] * factor)
                total[month] = np.maximum(self._means[month] * factor + noise, 0.0)
                continue
            wins = generator.poisson(count * factor)
            chosen = np.searchsorted(self._steps[month], generator.random(int(wins.sum())) * count, side="right")
            cents = self._cents[np.minimum(chosen, len(self._cents) - 1)]
            total[month] = np.bincount(np.repeat(np.arange(len(factor)), wins), weights=cents, minlength=len(factor))
        return total
