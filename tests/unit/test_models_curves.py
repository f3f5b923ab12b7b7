"""Pictures of probabilities."""

from __future__ import annotations

import numpy as np

from sales_pipeline.models.curves import _paper, win_curves
from sales_pipeline.models.matrix import Floats


def outcomes(seed: int, rows: int = 60) -> tuple[Floats, Floats]:
    draw = np.random.default_rng(seed)
    p = draw.random(rows)
    return (draw.random(rows) < p).astype(np.float64), p


def test_a_picture_does_not_show_the_one_before() -> None:
    first = win_curves({"a": outcomes(1)})
    win_curves({name: outcomes(seed) for seed, name in enumerate("bcd")})
    assert win_curves({"a": outcomes(1)}) == first
    _paper.cache_clear()
    assert win_curves({"a": outcomes(1)}) == first
    assert win_curves({"a": outcomes(2)}) != first
