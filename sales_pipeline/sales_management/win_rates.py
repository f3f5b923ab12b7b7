"""Win rates of owners and teams as they would be on the same mix of opportunities, shrunken, with intervals.

Two steps. What a typical seller would have won of each closed opportunity is estimated from the opportunity alone: kind, source, type, product, first
amount, and the account's industry and size. Nothing a seller brings about is among these (stage history, activity), or the adjustment would take away
what it is to show; nor is the country, by which opportunities are given to teams. Then each group's distance from that is a random effect.

Belongs here: the two estimators. Does not belong here: which opportunities count (`sql/closed_mix.sql`), and whose rate is shown (`team`).
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sales_pipeline.models.matrix import Floats, Indices
from sales_pipeline.sales_management.params import TeamParams

CATEGORIES = ("lead_source", "opportunity_type", "product_id", "industry")
LOW, HIGH = 0.1, 0.9
"""Ends of the 80 % interval."""
_EFFECTS = np.linspace(-3.0, 3.0, 121)
_SPREADS = np.linspace(0.02, 1.6, 40)
_CENTRES = np.linspace(-0.6, 0.6, 13)
_CHUNK = 4096


@dataclass(frozen=True)
class Expected:
    """Log-odds of winning for each closed opportunity in a typical seller's hands; they add up to the wins there were. `basis`: see RATE_BASES."""

    log_odds: Floats
    basis: str


@dataclass(frozen=True)
class AdjustedRate:
    """A group's win rate on the company's mix: posterior median and 80 % interval (0–1); `expected` is the typical seller's on the group's own mix."""

    value: float
    low: float
    high: float
    expected: float


def expected_log_odds(mix: pd.DataFrame, params: TeamParams) -> Expected:
    """What a typical seller would have won.

    `mix`: one row per closed opportunity with `is_won` (0/1), `fold_key` (opportunities of one account stay together), the CATEGORIES, `amount` (one
    currency, NaN: none) and `employees` (NaN: not recorded).

    A ridge-penalised logistic regression, cross-fitted, so that no opportunity speaks for its own expectation; then moved on the log-odds scale until
    expected wins equal observed ones. With fewer than `min_closed` rows, or one outcome alone, every opportunity is expected at the overall rate.
    """
    won = mix["is_won"].to_numpy(dtype=np.float64)
    count = len(won)
    if count < params.min_closed or won.sum() < params.min_wins or (1 - won).sum() < params.min_wins:
        # Where there is one outcome alone, half a win more on either side: so the log-odds are finite.
        rate = won.mean() if 0 < won.sum() < count else (won.sum() + 0.5) / (count + 1.0)
        return Expected(np.full(count, np.log(rate / (1 - rate))), "company_rate")
    features, pattern = _features(mix, params)
    place, keys = pd.factorize(mix["fold_key"])
    fold = np.array([zlib.crc32(str(key).encode()) % params.folds for key in keys.tolist()])[place]
    log_odds = np.empty(count)
    for number in range(params.folds):
        held = fold == number
        if held.any():
            wins, losses = (
                np.bincount(pattern[~held & (won == outcome)], minlength=len(features)) for outcome in (1, 0)
            )
            log_odds[held] = fitted_log_odds(features, wins, losses, params)[pattern[held]]
    return Expected(log_odds + _shift(log_odds, float(won.sum())), "mix_model")


def adjusted_rates(
    groups: Indices, count: int, won: Floats, expected: Expected, params: TeamParams
) -> list[AdjustedRate | None]:
    """The adjusted rate of each of `count` groups; None for a group without a row.

    A random-effects logistic model with the expected log-odds as offset: logit P(win) = expected + u, u ~ N(m, s²) over groups (Normand, Glickman &
    Gatsonis, "Statistical methods for profiling providers of medical care", 1997), so that a group with few rows is drawn towards the company. m and
    s are not fixed at their best values but integrated over, s with a half-normal prior of `spread_prior` (Gelman, "Prior distributions for variance
    parameters in hierarchical models", 2006): with few groups best values alone would make intervals too short. All integrals are sums over a grid.
    A value of u is told as a rate by standardisation: the mean, over all closed opportunities of the company, of the chance at expected + u (Lane &
    Nelder, "Analysis of covariance and standardization as instances of prediction", 1982).
    """
    sizes = np.bincount(groups, minlength=count)
    likelihood = _log_likelihood(groups, count, won, expected.log_odds)[sizes > 0]
    centre, spread = (grid.ravel() for grid in np.meshgrid(_CENTRES, _SPREADS))
    prior = -0.5 * ((_EFFECTS[None, :] - centre[:, None]) / spread[:, None]) ** 2
    prior = np.exp(prior - _log_sum(prior)[:, None])
    # Sums over the grid are matrix products of likelihoods and priors; where one is too small for a number, the centre and spread it stands for have no weight.
    highest = likelihood.max(axis=1, keepdims=True)
    likelihood = np.exp(likelihood - highest)
    joint = likelihood @ prior.T
    with np.errstate(divide="ignore"):
        marginal = (np.log(joint) + highest).sum(axis=0)
    weights = _normalised(marginal - 0.5 * (spread / params.spread_prior) ** 2)
    posteriors = likelihood * (np.divide(weights, joint, out=np.zeros_like(joint), where=joint > 0) @ prior)
    chance = _standardised(expected.log_odds)
    own = np.bincount(groups, weights=1 / (1 + np.exp(-expected.log_odds)), minlength=count)
    found: list[AdjustedRate | None] = [None] * count
    for group, posterior in zip(np.flatnonzero(sizes > 0), posteriors, strict=True):
        low, middle, high = (_quantile(posterior, chance, share) for share in (LOW, 0.5, HIGH))
        found[group] = AdjustedRate(middle, low, high, float(own[group] / sizes[group]))
    return found


def overall_rate(won: float, closed: float) -> AdjustedRate:
    """The company's own rate with its 80 % interval, equal-tailed under Jeffreys' prior (Brown, Cai & DasGupta, "Interval estimation for a binomial
    proportion", 2001)."""
    from scipy.stats import beta

    rate = won / closed
    low, high = beta.ppf([LOW, HIGH], won + 0.5, closed - won + 0.5)
    return AdjustedRate(rate, min(float(low), rate), max(float(high), rate), rate)


def verdict(rate: AdjustedRate, company: float) -> str:
    """Whether the interval lies above or below the company's rate, or holds it; where the company won all or nothing, so did everybody."""
    if rate.low > company > 0:
        return "above"
    return "below" if rate.high < company < 1 else "not_told_apart"


def _features(mix: pd.DataFrame, params: TeamParams) -> tuple[Floats, Indices]:
    """The different patterns of features (patterns, features), and the pattern of each row: many opportunities share theirs.

    One column per category met often enough, and per fifth of amount and of size; what is missing is a category of its own.
    """
    values = [mix[name].fillna("") for name in CATEGORIES]
    values += [pd.Series(_fifths(mix[name].to_numpy(dtype=np.float64))) for name in ("amount", "employees")]
    codes = [pd.factorize(column, sort=True)[0].astype(np.int64) for column in values]
    pattern, first = np.zeros(len(mix), dtype=np.int64), np.zeros(1, dtype=np.int64)
    for places in codes:
        _, first, pattern = np.unique(
            pattern * (places.max(initial=0) + 1) + places, return_index=True, return_inverse=True
        )
    found = [
        (places[first] == place).astype(np.float64)
        for places in codes
        for place in np.flatnonzero(np.bincount(places) >= params.min_category)
    ]
    return (np.column_stack(found) if found else np.zeros((len(first), 1))), pattern


def _fifths(values: Floats) -> Indices:
    """0–4, -1 where there is no value."""
    known = np.isfinite(values)
    fifth = np.full(len(values), -1, dtype=np.int64)
    if known.any():
        edges = np.quantile(values[known], [0.2, 0.4, 0.6, 0.8])
        fifth[known] = np.searchsorted(edges, values[known], side="left")
    return fifth


def fitted_log_odds(features: Floats, wins: Indices, losses: Indices, params: TeamParams) -> Floats:
    """The log-odds of every pattern, from how many opportunities of each were won and lost."""
    from sklearn.linear_model import LogisticRegression

    won, lost = wins.sum(), losses.sum()
    if not won or not lost:
        rate = (won + 0.5) / (won + lost + 1.0)
        return np.full(len(features), np.log(rate / (1 - rate)))
    outcome = np.repeat([1.0, 0.0], len(features))
    weight = np.concatenate([wins, losses]).astype(np.float64)
    met = weight > 0
    model = LogisticRegression(C=params.mix_strength, solver="newton-cholesky", tol=1e-8)
    model.fit(np.concatenate([features, features])[met], outcome[met], sample_weight=weight[met])
    return np.asarray(model.decision_function(features), dtype=np.float64)


def _shift(log_odds: Floats, wins: float) -> float:
    """What is to be added to all log-odds so that the chances add up to the wins."""
    from scipy.optimize import brentq

    return float(
        brentq(lambda step: float((1 / (1 + np.exp(-(log_odds + step)))).sum()) - wins, -30.0, 30.0, xtol=1e-10)
    )


def _log_likelihood(groups: Indices, count: int, won: Floats, log_odds: Floats) -> Floats:
    """Per group and effect of the grid: opportunities of equal log-odds are looked at once."""
    from scipy.sparse import csc_array

    values, place = np.unique(log_odds, return_inverse=True)
    met = csc_array((np.ones(len(groups)), (groups, place)), shape=(count, len(values)))
    wins = np.bincount(groups, weights=won, minlength=count)
    found = np.bincount(groups, weights=won * log_odds, minlength=count)[:, None] + wins[:, None] * _EFFECTS[None, :]
    for start in range(0, len(values), _CHUNK):
        moved = values[start : start + _CHUNK, None] + _EFFECTS[None, :]
        found -= met[:, start : start + _CHUNK] @ np.logaddexp(0.0, moved)
    return np.asarray(found)


def _standardised(log_odds: Floats) -> Floats:
    """Per effect of the grid: the mean chance of all opportunities."""
    values, counts = np.unique(log_odds, return_counts=True)
    total = np.zeros(len(_EFFECTS))
    for start in range(0, len(values), _CHUNK):
        moved = values[start : start + _CHUNK, None] + _EFFECTS[None, :]
        total += counts[start : start + _CHUNK] @ (1 / (1 + np.exp(-moved)))
    return np.asarray(total / max(len(log_odds), 1))


def _log_sum(values: Floats) -> Floats:
    highest = values.max(axis=-1)
    return np.asarray(highest + np.log(np.exp(values - highest[..., None]).sum(axis=-1)))


def _normalised(log_weights: Floats) -> Floats:
    weights = np.exp(log_weights - log_weights.max())
    return np.asarray(weights / weights.sum())


def _quantile(posterior: Floats, chance: Floats, share: float) -> float:
    """The rate at a share of the posterior, linear between the grid's values (each weight spread evenly around its value)."""
    return float(np.interp(share, posterior.cumsum() - posterior / 2, chance))
