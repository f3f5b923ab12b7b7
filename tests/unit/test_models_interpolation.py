"""Curves: as close as promised, at kinks and where the function turns sharply, and an error for what is not smooth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta

from sales_pipeline.models.calibration import SHARE, IntervalTable
from sales_pipeline.models.estimators import expit, logit
from sales_pipeline.models.interpolation import Curve


def test_a_curve_is_within_its_tolerance_and_keeps_kinks() -> None:
    def bent(x: np.ndarray) -> np.ndarray:
        return np.where(x < 1.0, np.exp(x), np.e + 1.0 / (x - 1.0 + 1e-3) - 1e3)

    curve = Curve.through(bent, np.array([-2.0, 1.0, 3.0]), tolerance=1e-9)
    x = np.linspace(-2.0, 3.0, 20_001)
    np.testing.assert_allclose(curve(x), bent(x), atol=1e-8)
    assert len(curve.ends) > 4
    assert curve(np.zeros(0)).shape == (0,)


def test_what_is_not_smooth_is_refused() -> None:
    random = np.random.default_rng(1)
    with pytest.raises(ValueError, match="smooth between 0 and 1"):
        Curve.through(lambda x: random.normal(size=x.shape), np.array([0.0, 1.0]), tolerance=1e-9)


GRID = tuple(np.arange(-6.0, 6.01, 0.25).tolist())


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([2.0, 60.0, 3e3, 5e4]))
def test_intervals_are_those_of_the_beta_distribution(seed: int, most: float) -> None:
    """However suddenly the number of opportunities nearby changes."""
    random = np.random.default_rng(seed)
    counts = np.where(random.uniform(size=len(GRID)) < 0.5, 2.0, np.ceil(random.uniform(2.0, most, len(GRID))))
    table = IntervalTable(GRID, tuple(counts.tolist()))
    p = np.clip(expit(random.uniform(-15.0, 15.0, 2_000)), 1e-6, 1 - 1e-6)
    n = np.interp(logit(p), table.grid, table.counts)
    low, high = (beta.ppf(share, p * n + 0.5, (1 - p) * n + 0.5) for share in ((1 - SHARE) / 2, (1 + SHARE) / 2))
    found = table.bounds(p)
    np.testing.assert_allclose(found[0], np.minimum(low, p), rtol=1e-9)
    np.testing.assert_allclose(found[1], np.maximum(high, p), rtol=1e-9)
    assert ((found[0] <= p) & (p <= found[1])).all()
