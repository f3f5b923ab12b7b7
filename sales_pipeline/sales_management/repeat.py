"""Whether accounts that have bought will buy again: the BG/NBD model.

Purchases of an account come at random at a rate of its own until it drops out, which it may do after each purchase, with a chance of its own; rates are
spread as a gamma, chances as a beta distribution over accounts. Source of every formula unless said otherwise: Fader, Hardie & Lee, "'Counting Your
Customers' the Easy Way: An Alternative to the Pareto/NBD Model", Marketing Science 24 (2), 2005. Time is in weeks; an account's clock starts with its
first purchase, and purchases of one day are one.

Belongs here: estimation and the formulas. Does not belong here: whose purchases these are, and what is done where the model cannot be had (`accounts`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from sales_pipeline.models.matrix import Floats, Indices

WEEKS_PER_YEAR = 365.25 / 7
_BOUNDS = (1e-4, 1e4)
"""Of every parameter in the search. An estimate at an end is the limit the data speak for, such as no drop-out at all, and can be used as it is."""


@dataclass(frozen=True)
class Purchases:
    """Per account: `repeats` after the first purchase, `recency` (weeks from the first to the last), `age` (weeks from the first to the as-of)."""

    repeats: Floats
    recency: Floats
    age: Floats

    @cached_property
    def has_repeat(self) -> npt.NDArray[np.bool_]:
        """Who has bought again."""
        return np.asarray(self.repeats > 0)

    @cached_property
    def by_repeats(self) -> tuple[Floats, Indices]:
        """The different numbers of repeats, and how many accounts have each."""
        return np.unique(self.repeats, return_counts=True)


@dataclass(frozen=True)
class BgNbd:
    """The four parameters: purchase rates are Gamma(r, alpha) per week, drop-out chances Beta(a, b)."""

    r: float
    alpha: float
    a: float
    b: float

    def log_likelihood(self, seen: Purchases) -> tuple[float, Floats]:
        """Mean over the accounts, and its gradient by r, alpha, a and b (equation 6, in the form that neither over- nor underflows of the authors' note on
        implementing it, 2005; the gradient is its derivative)."""
        from scipy.special import gammaln, psi

        r, alpha, a, b = self.r, self.alpha, self.a, self.b
        # What repeats alone decide is the same for all accounts of as many.
        x, count = seen.by_repeats
        value = count @ (
            gammaln(r + x) - gammaln(r) + gammaln(a + b) + gammaln(b + x) - gammaln(b) - gammaln(a + b + x)
        )
        value += count.sum() * r * np.log(alpha)
        by_r = count @ (psi(r + x) - psi(r)) + count.sum() * np.log(alpha)
        by_alpha = count.sum() * r / alpha
        by_a = count @ (psi(a + b) - psi(a + b + x))
        by_b = by_a + count @ (psi(b + x) - psi(b))
        has_repeat = seen.has_repeat
        aged = alpha + seen.age[~has_repeat]
        log_aged = np.log(aged).sum()
        value -= r * log_aged
        by_r -= log_aged
        by_alpha -= r * (1 / aged).sum()
        x = seen.repeats[has_repeat]
        aged, last = alpha + seen.age[has_repeat], alpha + seen.recency[has_repeat]
        log_aged, log_last = np.log(aged), np.log(last)
        dropped = np.log(a) - np.log(b + x - 1) - (r + x) * log_last
        either = np.logaddexp(-(r + x) * log_aged, dropped)
        p_dropped = np.exp(dropped - either)
        value += either.sum()
        by_r -= (log_aged + p_dropped * (log_last - log_aged)).sum()
        by_alpha -= ((r + x) * ((1 - p_dropped) / aged + p_dropped / last)).sum()
        by_a += p_dropped.sum() / a
        by_b -= (p_dropped / (b + x - 1)).sum()
        return float(value) / len(seen.age), np.array([by_r, by_alpha, by_a, by_b]) / len(seen.age)

    def p_alive(self, seen: Purchases) -> Floats:
        """Probability that an account has not dropped out (Fader, Hardie & Lee, "Computing P(alive) Using the BG/NBD Model", 2008); 1 for one that has
        bought once, as drop-out comes after a repeat purchase alone."""
        x, has_repeat = seen.repeats, seen.has_repeat
        growth = (self.r + x) * (np.log(self.alpha + seen.age) - np.log(self.alpha + seen.recency))
        odds = self.a / np.where(has_repeat, self.b + x - 1, 1.0) * np.exp(np.minimum(growth, 700.0))
        return np.asarray(1.0 / (1.0 + np.where(has_repeat, odds, 0.0)))

    def expected_purchases(self, seen: Purchases, weeks: float) -> Floats:
        """Expected number of purchases in the weeks after the as-of (equation 10). Its pole at a = 1 is stepped over."""
        from scipy.special import hyp2f1

        x, r, b = seen.repeats, self.r, self.b
        a = self.a if abs(self.a - 1.0) > 1e-6 else 1.0 + 1e-6
        aged = self.alpha + seen.age
        z = weeks / (aged + weeks)
        shrinking = np.exp((r + x) * (np.log(aged) - np.log(aged + weeks)))
        number = (a + b + x - 1) / (a - 1) * (1.0 - shrinking * hyp2f1(r + x, b + x, a + b + x - 1, z))
        return np.asarray(np.maximum(number, 0.0) * self.p_alive(seen))

    def p_silent(self, seen: Purchases, weeks: float) -> Floats:
        """Probability of no purchase in the weeks after the as-of: it has dropped out, or its rate, Gamma(r + x, alpha + age) given that it has not,
        brings none. Until the next purchase nothing drops out, so the second part is the plain gamma–Poisson one."""
        quiet = np.exp(
            (self.r + seen.repeats) * (np.log(self.alpha + seen.age) - np.log(self.alpha + seen.age + weeks))
        )
        return np.asarray(1.0 - self.p_alive(seen) * (1.0 - quiet))


def fit(seen: Purchases) -> BgNbd | None:
    """The parameters of greatest likelihood, None where the search does not converge.

    L-BFGS-B (scipy) on the logarithms of the four parameters, started at one each with alpha at the mean age. The gradient is exact: by differences its noise is
    larger than what the search stops at, so that it ended on one processor and failed on another.
    """
    from scipy.optimize import minimize

    low, high = np.log(_BOUNDS[0]), np.log(_BOUNDS[1])

    def loss(logs: Floats) -> tuple[float, Floats]:
        parameters = np.exp(logs)
        value, gradient = BgNbd(*parameters).log_likelihood(seen)
        return -value, -gradient * parameters

    start = np.array([0.0, np.log(max(float(seen.age.mean()), 1.0)), 0.0, 0.0])
    found = minimize(
        loss,
        start,
        method="L-BFGS-B",
        jac=True,
        bounds=[(low, high)] * 4,
        options={"maxiter": 1000, "ftol": 1e-11, "gtol": 1e-7},
    )
    if not found.success or not np.isfinite(found.fun):
        return None
    return BgNbd(*(float(value) for value in np.exp(found.x)))
