"""How strongly opportunities hang together, estimated from what past scores said and what came.

At a past date the number of wins within 90 days differs from the sum of their chances by more than independent luck gives. Per pair of opportunities the excess is
the correlation of their hidden variables times the densities at their quantiles (first order of the bivariate normal; the moment estimator of Gordy, "A
comparative anatomy of credit risk models", Journal of Banking & Finance 2000). Pairs of one team share one factor more. The estimate is drawn towards the
stated size by the number of whole windows it rests on. Amounts alike: the spread between dates of the mean logarithm of won over expected amount beyond
what single deals give.

Belongs here: these sizes. Does not belong here: drawing with them (`simulate`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sales_pipeline.models.matrix import DAY, Floats
from sales_pipeline.sales_management.params import ShockParams

WINDOW_DAYS = 90.0
LEAST_ROWS = 30
MOST_CORRELATION = 0.3


@dataclass(frozen=True)
class Shocks:
    """`company` and `team`: correlations of the hidden variables; `company_amount`, `team_amount`: spreads of the logarithm. `windows`: whole windows the
    estimates rest on, 0 for stated sizes alone."""

    company: float
    team: float
    company_amount: float
    team_amount: float
    windows: float

    @property
    def basis(self) -> str:
        """What the sizes rest on, in words."""
        if self.windows <= 0:
            return "shared shocks of stated size"
        return f"shared shocks from {self.windows:.1f} past windows of {WINDOW_DAYS:.0f} days and stated sizes"


def stated(params: ShockParams) -> Shocks:
    """The sizes without any past."""
    return Shocks(params.company_correlation, params.team_correlation, params.company_amount, params.team_amount, 0.0)


def estimate_shocks(replayed: pa.Table | None, known_us: float, params: ShockParams) -> Shocks:
    """From REPLAY rows of dates whose window was over by `known_us` (exclusive: only what was known strictly before that instant is used)."""
    if replayed is None:
        return stated(params)
    rows = _Rows.of(replayed, known_us)
    dates = np.unique(rows.as_of)
    if not len(dates):
        return stated(params)
    step = float(np.diff(dates).min()) / DAY if len(dates) > 1 else WINDOW_DAYS
    windows = len(dates) * min(step / WINDOW_DAYS, 1.0)
    believed = windows / (windows + params.strength)
    company, team = _correlations(rows, dates)
    amount = _amount_spread(rows, dates)

    def mixed(found: float, said: float) -> float:
        return float(min(believed * max(found, 0.0) + (1.0 - believed) * said, MOST_CORRELATION))

    variance = mixed(amount, params.company_amount**2)
    return Shocks(
        mixed(company, params.company_correlation),
        mixed(team, params.team_correlation),
        float(np.sqrt(variance)),
        params.team_amount,
        windows,
    )


@dataclass(frozen=True)
class _Rows:
    """Scored rows of past dates: date, team, chance of winning within the window, whether it was won in it, log of won over expected amount (NaN: none)."""

    as_of: Floats
    team: npt.NDArray[np.int64]
    p: Floats
    won: Floats
    log_amount: Floats

    @classmethod
    def of(cls, replayed: pa.Table, known_us: float) -> _Rows:
        as_of = _instants(replayed, "as_of")
        p = _numbers(replayed, "win_probability_90d")
        closed = _instants(replayed, "closed_at")
        end = as_of + WINDOW_DAYS * DAY
        use = (end <= known_us) & np.isfinite(p) & (p > 0) & (p < 1)
        use &= np.asarray(pc.equal(replayed.column("kind"), "opportunity").to_numpy(zero_copy_only=False), dtype=bool)
        is_won = _numbers(replayed, "is_won")
        won = ((is_won == 1) & (closed < end)).astype(np.float64)
        amount, expected = _numbers(replayed, "won_amount"), _numbers(replayed, "expected_amount")
        paid = (won == 1) & (amount > 0) & (expected > 0)
        ratio = np.where(paid, amount, 1.0) / np.where(paid, expected, 1.0)
        teams = np.array([team or "" for team in replayed.column("owner_team").to_pylist()], dtype=object)
        number = np.unique(teams.astype(str), return_inverse=True)[1].astype(np.int64)
        return cls(as_of[use], number[use], p[use], won[use], np.where(paid, np.log(ratio), np.nan)[use])


def _correlations(rows: _Rows, dates: Floats) -> tuple[float, float]:
    """Of all pairs across teams, and what pairs within one have beyond that."""
    from scipy.special import ndtri

    across = within = across_pairs = within_pairs = 0.0
    density = np.exp(-0.5 * ndtri(rows.p) ** 2) / np.sqrt(2.0 * np.pi)
    for date in dates:
        here = rows.as_of == date
        if here.sum() < LEAST_ROWS:
            continue
        miss, d, team = (rows.won - rows.p)[here], density[here], rows.team[here]
        squares, weights = (miss**2).sum(), (d**2).sum()
        by_team = np.bincount(team, weights=miss) ** 2
        weight_by_team = np.bincount(team, weights=d) ** 2
        within += by_team.sum() - squares
        within_pairs += weight_by_team.sum() - weights
        across += miss.sum() ** 2 - by_team.sum()
        across_pairs += d.sum() ** 2 - weight_by_team.sum()
    if across_pairs <= 0:
        # One team alone: what its pairs share is the company's.
        return (within / within_pairs if within_pairs > 0 else 0.0), 0.0
    company = max(across / across_pairs, 0.0)
    return company, (within / within_pairs if within_pairs > 0 else company) - company


def _amount_spread(rows: _Rows, dates: Floats) -> float:
    """Variance between dates of the mean log ratio, beyond that of single deals."""
    means, errors = [], []
    for date in dates:
        values = rows.log_amount[(rows.as_of == date) & np.isfinite(rows.log_amount)]
        if len(values) > 4:
            means.append(float(values.mean()))
            errors.append(float(values.var(ddof=1)) / len(values))
    if len(means) < 2:
        return 0.0
    # About zero, not about their mean: a level that is off hits every total too.
    return float(np.mean(np.square(means)) - np.mean(errors))


def _numbers(data: pa.Table, name: str) -> Floats:
    return np.asarray(data.column(name).cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)


def _instants(data: pa.Table, name: str) -> Floats:
    return np.asarray(
        data.column(name).cast(pa.int64()).cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64
    )
