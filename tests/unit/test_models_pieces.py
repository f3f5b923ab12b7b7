"""Pieces of the remaining time: integrals, quantiles and rates by state are those of every row on its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from sales_pipeline.models.hazards import Hazard
from sales_pipeline.models.matrix import Texts
from sales_pipeline.models.pieces import Clock, Course, Pieces
from sales_pipeline.models.timing import MAX_DAYS, Mixture

EDGES = np.array([0.0, 7.0, 30.0, 90.0, 365.0])


def clock_of(as_of: Any, until: Any, *, stage: Any = "a", kind: Any = "opportunity") -> Clock:
    rows = len(as_of)
    random = np.random.default_rng(rows)
    return Clock(
        Texts.of(pd.Series(stage, index=range(rows), dtype=object)),
        Texts.of(pd.Series(kind, index=range(rows), dtype=object)),
        np.asarray(as_of, dtype=np.float64),
        np.where(random.uniform(size=rows) < 0.2, np.nan, random.uniform(0, 500, rows)),
        np.asarray(until, dtype=np.float64),
        np.where(random.uniform(size=rows) < 0.2, np.nan, random.uniform(0, 1e5, rows)),
    )


untils = st.one_of(st.just(float("nan")), st.integers(-40, 500).map(float), st.floats(-3650, 3650))
rows_of_time = st.lists(st.tuples(st.sampled_from([20_000.0, 20_031.25, 20_089.0]), untils), min_size=1, max_size=30)


def test_a_missing_stage_is_the_empty_text() -> None:
    clock = clock_of(np.zeros(4), np.zeros(4), stage=["b", None, "", np.nan])
    pieces = Pieces.of(EDGES, clock)
    hazard = Hazard(tuple(EDGES), ("",), (), {}, True, 0.0, np.array([0.0, 0.0, 0.0, 0.0, -2.0]))
    np.testing.assert_allclose(hazard.course(clock, pieces).rates[0], [1.0, *np.exp([-2.0] * 3)])


@settings(deadline=None)
@given(rows_of_time)
def test_rows_of_one_state_have_the_pieces_each_has_alone(rows: list[tuple[float, float]]) -> None:
    as_of, until = np.array(rows).T
    clock = clock_of(as_of, until)
    together = Pieces.of(EDGES, clock)
    np.testing.assert_array_equal(together.until[together.state], until)
    np.testing.assert_array_equal(together.as_of[together.state], as_of)
    assert (together.widths >= 0).all()
    for row in range(len(rows)):
        alone = Pieces.of(EDGES, clock.take(np.array([row])))
        state = together.state[row]
        np.testing.assert_array_equal(alone.starts[:, 0], together.starts[:, state])
        for one, all_ in zip(
            (*alone.around_close_date, *alone.around_quarter_end),
            (*together.around_close_date, *together.around_quarter_end),
            strict=True,
        ):
            np.testing.assert_allclose(one[:, 0], all_[:, state], atol=1e-9)


@settings(deadline=None)
@given(rows_of_time, st.integers(0, 1000))
def test_integrals_are_sums_over_the_pieces(rows: list[tuple[float, float]], seed: int) -> None:
    random = np.random.default_rng(seed)
    pieces = Pieces.of(EDGES, clock_of(*np.array(rows).T))
    rates = random.uniform(0, 2, (len(pieces.starts), len(rows)))
    days = np.where(random.uniform(size=len(rows)) < 0.3, pieces.starts[3, pieces.state], random.uniform(-50, 900, len(rows)))  # fmt: skip
    starts = pieces.starts[:, pieces.state]
    ends = np.vstack([starts[1:], np.full(len(rows), np.inf)])
    expected = (rates * np.clip(np.minimum(days, ends) - starts, 0.0, None)).sum(axis=0)
    np.testing.assert_allclose(Course(pieces, rates).by(days), expected, rtol=1e-12, atol=1e-12)


@settings(deadline=None)
@given(
    rows_of_time,
    st.sampled_from([0.005, 0.1, 0.5, 0.9, 0.995]),
    st.sampled_from([0.0, 1e-6, 0.2, 0.999, 1.0]),
    st.integers(0, 10_000),
)
def test_quantiles_are_where_the_mixture_reaches_the_level(
    rows: list[tuple[float, float]], level: float, p: float, seed: int
) -> None:
    """Whatever the rates: from one closing in a million days to five a day, and both in one row."""
    random = np.random.default_rng(seed)
    clock = clock_of(*np.array(rows).T)
    pieces = Pieces.of(EDGES, clock)
    won, lost = (
        Course(pieces, np.exp(random.uniform(np.log(1e-6), np.log(5.0), (len(pieces.starts), len(rows)))))
        for _ in range(2)
    )
    mixture = Mixture(clock, np.full(len(rows), p), won, lost)
    found = mixture.quantiles(level)
    assert ((found >= 0) & (found <= MAX_DAYS)).all()
    inside = found < MAX_DAYS
    assert (mixture.closed_within(found + 1e-6)[inside] >= level).all()
    assert (mixture.closed_within(found - 1e-6) <= level).all()
    for row in range(len(rows)):
        one = np.array([row])
        at = Pieces.of(EDGES, clock.take(one))
        alone = Mixture(clock.take(one), mixture.p[one], Course(at, won.rates[:, one]), Course(at, lost.rates[:, one]))
        assert alone.quantiles(level)[0] == found[row]


@settings(deadline=None)
@given(rows_of_time, st.booleans(), st.integers(0, 1000))
def test_rates_are_those_of_the_design_they_are_fitted_with(
    rows: list[tuple[float, float]], is_small: bool, seed: int
) -> None:
    random = np.random.default_rng(seed)
    names = [random.choice(["a", "b", "c", None]) for _ in rows]
    clock = clock_of(*np.array(rows).T, stage=names, kind=[random.choice(["lead", "opportunity"]) for _ in rows])
    pieces = Pieces.of(EDGES, clock)
    scales = {"age": (3.0, 1.5), "amount": (8.0, 2.0)}
    blank = Hazard(tuple(EDGES), ("b", "a", ""), ("lead",), scales, is_small, -4.0, np.zeros(0), level=0.3)
    width = blank.design(clock, pieces).shape[1]
    hazard = Hazard.from_dict(blank.to_dict() | {"coefficients": random.normal(0, 0.3, width).tolist()})
    eta = (hazard.design(clock, pieces) @ hazard.coefficients).reshape(len(rows), -1).T - 4.0 + 0.3
    np.testing.assert_allclose(hazard.course(clock, pieces).rates, np.clip(np.exp(eta), 1e-6, 5.0), rtol=1e-9)
