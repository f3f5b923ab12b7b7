"""How fast open opportunities of one outcome close: a hazard that is constant on pieces of the remaining time, log-linear in what is known.

The pieces are fixed intervals of days after the as-of, split once more around the close date the CRM states, because closings gather there. On
each piece the rate is exp(x · b) per day, fitted by ridge-penalised Poisson regression on the exposure of every (row, piece): Holford, "The
analysis of rates and of survivorship using log-linear models", 1980; it is Allison's discrete-time model ("Discrete-time methods for the
analysis of event histories", 1982) for intervals of unequal width, which need no interpolation.

Tail: beyond the last interval's start the rate of that interval goes on for ever (an exponential tail).

Belongs here: pieces, their columns, rates and survival. Does not belong here: mixing outcomes, dates (`timing`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from sales_pipeline.models.matrix import DAY, Floats

EDGES = (0.0, 7.0, 14.0, 21.0, 30.0, 45.0, 60.0, 90.0, 120.0, 180.0, 270.0, 365.0, 545.0, 730.0)
"""Starts of the intervals, in days after the as-of."""
MIN_EVENTS = 15
"""Closings an interval needs, else it is joined to the one before it."""
FEW = 100
"""Closed opportunities below which only interval and stage speak."""
RIDGE = 2.0
"""Precision of the normal prior on every effect; one unit is one closing."""
LEVEL_STRENGTH = 20.0
"""Closings the pace learnt so far is worth when later rows correct it."""
AFTER_DAYS = 14.0
"""Days after the stated close date that are a piece of their own."""
_CENTER = float(np.log1p(60.0))
_RATES = (1e-6, 5.0)
_STAGES = 12


@dataclass(frozen=True)
class Clock:
    """What a row's pace may depend on, one element per row: all known at its as-of.

    `until` are the days to the end of the stated close date (negative: past; NaN: none), `age` those since creation (NaN: unknown),
    `as_of` the as-of in days since 1970-01-01, `amount` the CRM's amount.
    """

    stage: npt.NDArray[Any]
    kind: npt.NDArray[Any]
    as_of: Floats
    age: Floats
    until: Floats
    amount: Floats

    @classmethod
    def of(cls, keys: pd.DataFrame) -> Clock:
        """From a matrix's keys."""
        as_of = keys["as_of_us"].to_numpy(dtype=np.float64)
        until = (keys["crm_close_us"].to_numpy(dtype=np.float64) - as_of) / DAY
        age = (as_of - keys["created_us"].to_numpy(dtype=np.float64)) / DAY
        return cls(
            _text(keys["stage"]),
            _text(keys["kind"]),
            as_of / DAY,
            np.where(np.isfinite(age), np.maximum(age, 0.0), np.nan),
            np.where(np.isfinite(until), np.clip(until, -3650.0, 3650.0), np.nan),
            keys["amount"].to_numpy(dtype=np.float64),
        )

    def take(self, rows: Any) -> Clock:
        """Those rows."""
        return Clock(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    def __len__(self) -> int:
        return len(self.as_of)


def pieces(edges: Floats, until: Floats) -> Floats:
    """Starts of each row's pieces, ascending, (rows, pieces): the intervals', the stated close day's start and end, and some days on.

    Starts may coincide: such a piece is empty. The last piece has no end.
    """
    known = np.where(np.isfinite(until), until, 0.0)
    own = np.column_stack([known - 1.0, known, known + AFTER_DAYS])
    # Beyond the last interval's start nothing is split: the tail has one rate.
    own = np.clip(own, 0.0, edges[-1])
    starts = np.concatenate([np.broadcast_to(edges, (len(until), len(edges))), own], axis=1)
    return np.sort(starts, axis=1)


@dataclass(frozen=True)
class Hazard:
    """Rates of closing with one outcome. `level` is a logarithm added to all of them (`levelled`)."""

    edges: tuple[float, ...]
    stages: tuple[str, ...]
    kinds: tuple[str, ...]
    scales: Mapping[str, tuple[float, float]]
    is_small: bool
    intercept: float
    coefficients: Floats
    level: float = 0.0

    def rates(self, clock: Clock, starts: Floats) -> Floats:
        """Closings per day on each piece, (rows, pieces)."""
        eta = self._design(clock, starts) @ self.coefficients + self.intercept + self.level
        return np.clip(np.exp(np.clip(eta, -20.0, 20.0)), *_RATES).reshape(starts.shape)

    def _design(self, clock: Clock, starts: Floats) -> Floats:
        """Columns of each (row, piece), as (rows x pieces, columns)."""
        rows, count = starts.shape
        late = _late(starts)
        interval = np.searchsorted(np.asarray(self.edges), starts + 1e-9, side="right") - 1
        columns: list[Floats] = [(interval == j).astype(np.float64) for j in range(1, len(self.edges))]

        def row(values: Floats) -> Floats:
            return np.broadcast_to(values[:, None], (rows, count))

        for stage in self.stages:
            here = row((clock.stage == stage).astype(np.float64))
            columns += [here] if self.is_small else [here, here * late]
        if not self.is_small:
            columns += [row((clock.kind == kind).astype(np.float64)) for kind in self.kinds]
            for name, values in _numbers(clock).items():
                center, scale = self.scales[name]
                standard = row(np.clip(np.where(np.isfinite(values), (values - center) / scale, 0.0), -4.0, 4.0))
                columns += [standard, standard * late]
            columns += _around_close_date(clock.until, starts)
            columns += _around_quarter_end(clock.as_of, starts)
        return np.stack(columns, axis=-1).reshape(rows * count, len(columns))

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data."""
        return {
            "edges": list(self.edges),
            "stages": list(self.stages),
            "kinds": list(self.kinds),
            "scales": {name: list(pair) for name, pair in self.scales.items()},
            "is_small": self.is_small,
            "intercept": self.intercept,
            "coefficients": self.coefficients.tolist(),
            "level": self.level,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Hazard:
        """The inverse of `to_dict`."""
        return cls(
            tuple(data["edges"]),
            tuple(data["stages"]),
            tuple(data["kinds"]),
            {name: (float(center), float(scale)) for name, (center, scale) in data["scales"].items()},
            bool(data["is_small"]),
            float(data["intercept"]),
            np.asarray(data["coefficients"], dtype=np.float64),
            float(data["level"]),
        )


def fit_hazard(clock: Clock, days: Floats, event: Floats, weight: Floats, opportunity_count: int) -> Hazard:
    """Fit on rows watched for `days`; `event` is 1 where the row closed then, else 0 (still open). Rows weigh `weight`.

    `opportunity_count` closed opportunities stand behind the events: rows of one opportunity resemble each other, so evidence is counted in them.
    """
    closed = event > 0
    edges = _edges(days[closed])
    small = opportunity_count < FEW
    blank = Hazard(
        edges,
        _common(clock.stage[closed], 1 if small else MIN_EVENTS),
        () if small else _common(clock.kind[closed], MIN_EVENTS)[1:],
        {name: _scale(values[closed]) for name, values in _numbers(clock).items()},
        small,
        0.0,
        np.zeros(0),
    )
    starts = pieces(np.asarray(edges), clock.until)
    exposure, hits = exposures(starts, days, event)
    scale = opportunity_count / max(float((weight * event).sum()), 1e-12)
    intercept, coefficients = _poisson(
        blank._design(clock, starts), exposure, hits, np.repeat(weight * scale, starts.shape[1])
    )
    return replace(blank, intercept=intercept, coefficients=coefficients)


def levelled(
    hazard: Hazard, clock: Clock, days: Floats, event: Floats, weight: Floats, opportunity_count: int
) -> Hazard:
    """The hazard moved by one factor, so that on these (later) rows as many close as it says; little evidence moves it little.

    The factor is closings over expected closings, with a gamma prior of mean 1 worth `LEVEL_STRENGTH` closings.
    """
    starts = pieces(np.asarray(hazard.edges), clock.until)
    expected = float((weight * cumulative(starts, hazard.rates(clock, starts), days)).sum())
    scale = opportunity_count / max(float((weight * event).sum()), 1e-12)
    factor = (opportunity_count + LEVEL_STRENGTH) / (expected * scale + LEVEL_STRENGTH)
    return replace(hazard, level=hazard.level + float(np.log(factor)))


def exposures(starts: Floats, days: Floats, event: Floats) -> tuple[Floats, Floats]:
    """Days each row spent in each of its pieces, and 1 in the piece in which it closed; both flat, (rows x pieces)."""
    ends = np.column_stack([starts[:, 1:], np.full(len(starts), np.inf)])
    exposure = np.clip(np.minimum(days[:, None], ends) - starts, 0.0, None)
    last = np.maximum((starts < np.maximum(days, 1e-9)[:, None]).sum(axis=1) - 1, 0)
    hits = np.zeros(starts.shape)
    hits[np.arange(len(starts)), last] = event
    # A closing needs some exposure: half an hour stands for none.
    exposure = np.where(hits > 0, np.maximum(exposure, 0.02), exposure)
    return exposure.ravel(), hits.ravel()


def cumulative(starts: Floats, rates: Floats, days: Floats) -> Floats:
    """Integrated rate from the as-of to each row's number of days; 0 at and below 0 days."""
    ends = np.column_stack([starts[:, 1:], np.full(len(starts), np.inf)])
    return np.asarray((rates * np.clip(np.minimum(days[:, None], ends) - starts, 0.0, None)).sum(axis=1))


def _poisson(x: Floats, exposure: Floats, hits: Floats, weight: Floats) -> tuple[float, Floats]:
    from sklearn.linear_model import PoissonRegressor

    use = (exposure > 0) & (weight > 0)
    total = weight[use] * exposure[use]
    model = PoissonRegressor(alpha=RIDGE / float(total.sum()), solver="newton-cholesky", max_iter=100, tol=1e-7)
    model.fit(x[use], hits[use] / exposure[use], sample_weight=total)
    return float(model.intercept_), np.asarray(model.coef_, dtype=np.float64)


def _edges(days: Floats) -> tuple[float, ...]:
    """Interval starts with enough closings in each interval."""
    counts = np.histogram(days, bins=[*EDGES, np.inf])[0]
    kept = [EDGES[0]]
    seen = int(counts[0])
    for start, count in zip(EDGES[1:], counts[1:], strict=True):
        if seen >= MIN_EVENTS:
            kept.append(start)
            seen = 0
        seen += int(count)
    if seen < MIN_EVENTS and len(kept) > 1:
        kept.pop()
    return tuple(kept)


def _late(starts: Floats) -> Floats:
    """Logarithm of the piece's start, about 0 at 60 days: lets an effect grow or fade."""
    return np.log1p(starts) - _CENTER


def _numbers(clock: Clock) -> dict[str, Floats]:
    amount = np.where(np.isfinite(clock.amount) & (clock.amount > 0), clock.amount, np.nan)
    return {"age": np.log1p(clock.age), "amount": np.log1p(amount)}


def _scale(values: Floats) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    if len(known) < 2:
        return 0.0, 1.0
    return float(known.mean()), max(float(known.std()), 0.1)


def _common(values: npt.NDArray[Any], least: int) -> tuple[str, ...]:
    names, counts = np.unique(values.astype(str), return_counts=True)
    ordered = sorted(zip(counts.tolist(), names.tolist(), strict=True), key=lambda pair: (-pair[0], pair[1]))
    return tuple(name for count, name in ordered[:_STAGES] if count >= least)


def _text(values: pd.Series) -> npt.NDArray[Any]:
    """Texts; the empty text for none."""
    return np.asarray(values.astype(object).where(values.notna(), "").astype(str), dtype=object)


def _around_close_date(until: Floats, starts: Floats) -> list[Floats]:
    known = np.isfinite(until)[:, None]
    distance = np.where(np.isfinite(until), until, 0.0)[:, None] - starts
    overdue = known & (until <= 0)[:, None]
    ahead = known & ~overdue
    return [
        (~known & np.ones(starts.shape, dtype=bool)).astype(np.float64),
        (overdue & np.ones(starts.shape, dtype=bool)).astype(np.float64),
        np.where(overdue, np.log1p(np.maximum(-distance, 0.0)) / 2.0, 0.0),
        (ahead & (distance > 0.0) & (distance <= 1.0 + 1e-9)).astype(np.float64),
        np.where(ahead & (distance > 0.0), np.log1p(np.maximum(distance, 0.0)) / 2.0, 0.0),
        (ahead & (distance <= 0.0) & (distance > -AFTER_DAYS)).astype(np.float64),
        (ahead & (distance <= -AFTER_DAYS)).astype(np.float64),
    ]


def _around_quarter_end(as_of: Floats, starts: Floats) -> list[Floats]:
    """Shares of each piece's days within the last three weeks, and within the first ten days, of a calendar quarter."""
    first = np.floor(as_of)[:, None] + starts
    ends = np.column_stack([starts[:, 1:], starts[:, -1] + 91.0])
    last = np.floor(as_of)[:, None] + np.maximum(ends, starts + 1.0)
    lowest, highest = int(np.floor(first.min(initial=0.0))), int(np.ceil(last.max(initial=1.0))) + 1
    days = np.arange(lowest, highest, dtype=np.int64).astype("datetime64[D]")
    month = days.astype("datetime64[M]").astype(np.int64)
    begin = (month - month % 3).astype("datetime64[M]").astype("datetime64[D]")
    following = (month - month % 3 + 3).astype("datetime64[M]").astype("datetime64[D]")
    shares: list[Floats] = []
    for inside in ((following - days).astype(np.int64) <= 21, (days - begin).astype(np.int64) < 10):
        running = np.concatenate([[0.0], np.cumsum(inside)])
        position = np.arange(lowest, highest + 1, dtype=np.float64)
        covered = np.interp(last, position, running) - np.interp(first, position, running)
        shares.append(covered / (last - first))
    return shares
