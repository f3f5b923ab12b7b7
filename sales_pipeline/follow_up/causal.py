"""The statistics behind the effect of a contact: cross-fitted residuals, instruments, doubly robust means, shrinkage.

Belongs here: formulas on plain arrays, each with its source. Does not belong here: what the arrays mean (`effects`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sales_pipeline.follow_up.weeks import Floats, Indices

Z90 = 1.6448536269514722
"""Half width of a 90 % interval in standard errors."""
_RIDGE = 1.0
TRIM = 0.02
"""Propensities are held within [0.02, 0.98]; rows beyond are counted."""


@dataclass(frozen=True)
class Estimates:
    """Coefficients with their covariance, robust to rows of one account hanging together."""

    value: Floats
    covariance: Floats

    @property
    def error(self) -> Floats:
        """Standard errors."""
        return np.sqrt(np.maximum(np.diag(self.covariance), 0.0))

    def take(self, count: int) -> Estimates:
        """The first so many coefficients."""
        return Estimates(self.value[:count], self.covariance[:count, :count])


def folds_of(groups: Indices, count: int, seed: int) -> Indices:
    """A fold per row; rows of one group share it."""
    number = np.unique(groups, return_inverse=True)[1]
    drawn = np.random.default_rng(seed).permutation(int(number.max(initial=-1)) + 1) % count
    return drawn[number].astype(np.int64)


def residuals(values: Floats, controls: Floats, folds: Indices) -> Floats:
    """`values` less what `controls` say of them, each fold by a ridge regression of the others.

    Cross-fitted partialling out (Chernozhukov, Chetverikov, Demirer, Duflo, Hansen, Newey & Robins, "Double/debiased machine learning for treatment
    and structural parameters", 2018, section 4).
    """
    wide = values if values.ndim == 2 else values[:, None]
    out = np.empty_like(wide)
    parts = [np.flatnonzero(folds == fold) for fold in np.unique(folds)]
    grams = [controls[rows].T @ controls[rows] for rows in parts]
    crosses = [controls[rows].T @ wide[rows] for rows in parts]
    gram, cross = sum(grams) + _RIDGE * np.eye(controls.shape[1]), sum(crosses)
    for rows, own, own_cross in zip(parts, grams, crosses, strict=True):
        out[rows] = wide[rows] - controls[rows] @ np.linalg.solve(gram - own, cross - own_cross)
    return out if values.ndim == 2 else out[:, 0]


def instrumented(y: Floats, regressors: Floats, instruments: Floats, groups: Indices) -> tuple[Estimates, float, int]:
    """Two-stage least squares, with the over-identification statistic and its degrees of freedom.

    With instruments equal to regressors it is least squares. The statistic is Hansen's J with a covariance by group (Wooldridge, "Econometric
    Analysis of Cross Section and Panel Data", 2nd ed., sections 5.2 and 8.5); 0 degrees where there is nothing to test.
    """
    fitted = instruments @ _solve(instruments.T @ instruments, instruments.T @ regressors)
    bread = np.linalg.pinv(fitted.T @ regressors)
    value = bread @ (fitted.T @ y)
    error = y - regressors @ value
    covariance = bread @ _by_group(fitted * error[:, None], groups) @ bread.T
    spare = instruments.shape[1] - regressors.shape[1]
    statistic = 0.0
    if spare > 0:
        # The two-step form: the moments at the efficient estimate, weighted by their own covariance.
        weight = np.linalg.pinv(_by_group(instruments * error[:, None], groups))
        cross = instruments.T @ regressors
        efficient = np.linalg.pinv(cross.T @ weight @ cross) @ (cross.T @ weight @ (instruments.T @ y))
        moments = instruments.T @ (y - regressors @ efficient)
        statistic = float(moments @ weight @ moments)
    return Estimates(value, covariance), statistic, spare


def strength(endogenous: Floats, exogenous: Floats, instruments: Floats, groups: Indices) -> float:
    """The weakest first-stage F of the columns of `endogenous`: above 10 instruments are not weak (Staiger & Stock, 1997)."""
    both = np.hstack([exogenous, instruments])
    weakest = np.inf
    for column in endogenous.T:
        found, _, _ = instrumented(column, both, both, groups)
        start = exogenous.shape[1]
        weakest = min(weakest, wald(Estimates(found.value[start:], found.covariance[start:, start:]))[0])
    return float(weakest / max(instruments.shape[1], 1))


def wald(found: Estimates) -> tuple[float, float]:
    """Chi-square statistic of all coefficients being nil, and its p-value."""
    from scipy.stats import chi2

    statistic = float(found.value @ np.linalg.pinv(found.covariance) @ found.value)
    return statistic, float(chi2.sf(statistic, len(found.value)))


def doubly_robust(
    y: Floats, treated: Floats, controls: Floats, groups: Indices, folds: Indices
) -> tuple[Estimates, Mapping[str, Any]]:
    """The mean effect of a treatment by augmented inverse propensity weighting, and what overlap and balance look like.

    Cross-fitted (Robins, Rotnitzky & Zhao, 1994; Chernozhukov et al., 2018; the pseudo-outcome of Kennedy, "Towards optimal doubly robust estimation of
    heterogeneous causal effects", 2023). Right where either the outcome regressions or the propensities are, and nothing unmeasured
    moves both. Propensities are trimmed at TRIM. Balance: standardised mean differences, in standard deviations, before and after weighting (Austin, 2009).
    """
    from sklearn.linear_model import LogisticRegression

    count = len(y)
    propensity, if_treated, if_not = np.empty(count), np.empty(count), np.empty(count)
    eye = _RIDGE * np.eye(controls.shape[1])
    for fold in np.unique(folds):
        taught, held = folds != fold, folds == fold
        fitted = LogisticRegression(C=1.0, solver="newton-cholesky").fit(controls[taught], treated[taught])
        propensity[held] = fitted.predict_proba(controls[held])[:, 1]
        for arm, out in ((1, if_treated), (0, if_not)):
            rows = taught & (treated == arm)
            x = controls[rows]
            out[held] = controls[held] @ np.linalg.solve(x.T @ x + eye, x.T @ y[rows])
    beyond = float(np.mean((propensity < TRIM) | (propensity > 1 - TRIM)))
    e = np.clip(propensity, TRIM, 1 - TRIM)
    score = if_treated - if_not + treated * (y - if_treated) / e - (1 - treated) * (y - if_not) / (1 - e)
    one = np.ones((count, 1))
    found, _, _ = instrumented(score, one, one, groups)
    before = _differences(controls, treated, treated, 1 - treated)
    after = _differences(controls, treated, treated / e, (1 - treated) / (1 - e))
    facts = {
        "treated_share": round(float(treated.mean()), 4),
        "propensity_quantiles": [round(float(q), 4) for q in np.quantile(propensity, [0.01, 0.1, 0.5, 0.9, 0.99])],
        "beyond_trim_share": round(beyond, 4),
        "largest_difference_before": round(float(before.max(initial=0.0)), 3),
        "largest_difference_after": round(float(after.max(initial=0.0)), 3),
    }
    return found, facts


def shrink(found: Estimates, scale: float, needed: float = 2.0) -> tuple[Estimates, float]:
    """Differences drawn towards nil as far as the data do not speak against it.

    Empirical Bayes: they are normal about 0 with one variance, the one of greatest marginal likelihood, at most `scale` squared (Efron & Morris, 1975;
    Morris, "Parametric empirical Bayes inference", 1983); 0 unless it gains `needed` in log-likelihood over none. Their covariance is the expected
    squared error about them with every variance up to `scale` squared weighed by its likelihood: that none was found does not mean that there is
    none (Gelman et al., "Bayesian Data Analysis", 3rd ed., section 5.4). Returns both, and the standard deviation found.
    """
    count = len(found.value)
    if not count or scale <= 0:
        return Estimates(np.zeros(count), np.zeros((count, count))), 0.0
    spreads = np.concatenate([[0.0], scale * np.geomspace(0.05, 1.0, 24)])
    likelihoods = [_log_likelihood(found, spread) for spread in spreads]
    best = int(np.argmax(likelihoods))
    spread = float(spreads[best]) if likelihoods[best] - likelihoods[0] > needed else 0.0
    point = _posterior(found, spread).value
    weights = np.exp(np.array(likelihoods) - max(likelihoods))
    covariance = np.zeros((count, count))
    for weight, each in zip(weights / weights.sum(), spreads, strict=True):
        one = _posterior(found, float(each))
        covariance += weight * (one.covariance + np.outer(one.value - point, one.value - point))
    return Estimates(point, covariance), spread


def _posterior(found: Estimates, spread: float) -> Estimates:
    prior = spread**2 * np.eye(len(found.value))
    gain = prior @ np.linalg.pinv(found.covariance + prior)
    return Estimates(gain @ found.value, prior - gain @ prior)


def _log_likelihood(found: Estimates, spread: float) -> float:
    total = found.covariance + (spread**2 + 1e-15) * np.eye(len(found.value))
    sign, logarithm = np.linalg.slogdet(total)
    return float(-0.5 * (logarithm + found.value @ np.linalg.solve(total, found.value))) if sign > 0 else -np.inf


def _differences(x: Floats, treated: Floats, one: Floats, other: Floats) -> Floats:
    """Absolute standardised mean differences of each column between two weightings."""
    spread = np.sqrt(0.5 * (x[treated == 1].var(axis=0) + x[treated == 0].var(axis=0)))
    gap = (one @ x) / one.sum() - (other @ x) / other.sum()
    return np.asarray(np.abs(gap)[spread > 1e-9] / spread[spread > 1e-9], dtype=np.float64)


def _by_group(scores: Floats, groups: Indices) -> Floats:
    number = np.unique(groups, return_inverse=True)[1]
    sums = np.column_stack([np.bincount(number, weights=column) for column in scores.T])
    return np.asarray(sums.T @ sums, dtype=np.float64)


def _solve(a: Floats, b: Floats) -> Floats:
    return np.asarray(np.linalg.lstsq(a, b, rcond=None)[0], dtype=np.float64)
