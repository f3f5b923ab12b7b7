"""How fast open opportunities of one outcome close: a hazard that is constant on pieces of the remaining time (`pieces`), log-linear in what is known.

On each piece the rate is exp(x · b) per day, fitted by ridge-penalised Poisson regression on the exposure of every (row, piece): Holford, "The
analysis of rates and of survivorship using log-linear models", 1980; it is Allison's discrete-time model ("Discrete-time methods for the
analysis of event histories", 1982) for intervals of unequal width, which need no interpolation. What x · b says of a row alone, and of a state's pieces, is
added up apart: only the sum is one per row and piece.

Tail: beyond the last interval's start the rate of that interval goes on for ever (an exponential tail).

Belongs here: what rates rest on, fitting them. Does not belong here: pieces and integrals (`pieces`), mixing outcomes, dates (`timing`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sales_pipeline.models.matrix import Floats, Texts
from sales_pipeline.models.pieces import Clock, Course, Pieces

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
_CENTER = float(np.log1p(60.0))
_RATES = (1e-6, 5.0)
_STAGES = 12


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

    def course(self, clock: Clock, pieces: Pieces) -> Course:
        """Closings per day on each piece."""
        weights = iter(self.coefficients)
        level, slope = np.full(len(clock), self.intercept + self.level), np.zeros(len(clock))
        by_state = np.zeros(pieces.starts.shape)
        intervals, others = self._of_time(pieces)
        for values in intervals:
            by_state += next(weights) * values
        for text, names, grows in self._of_texts(clock):
            found = [(name, next(weights), next(weights) if grows else 0.0) for name in names]
            level += _by_name(text, {name: weight for name, weight, _ in found})
            slope += _by_name(text, {name: growth for name, _, growth in found})
        for standard in self._of_numbers(clock):
            level += next(weights) * standard
            slope += next(weights) * standard
        for values in others:
            by_state += next(weights) * values
        late = _late(pieces.starts)
        rates = np.empty((len(late), len(clock)))
        for piece, eta in enumerate(rates):
            np.multiply(late[piece][pieces.state], slope, out=eta)
            eta += by_state[piece][pieces.state]
            eta += level
        np.exp(np.clip(rates, -20.0, 20.0, out=rates), out=rates)
        return Course(pieces, np.clip(rates, *_RATES, out=rates))

    def design(self, clock: Clock, pieces: Pieces) -> Floats:
        """What `coefficients` weigh: the columns of each (row, piece), as (rows x pieces, columns)."""
        intervals, others = self._of_time(pieces)
        late = _late(pieces.starts)[:, pieces.state].T

        def of_state(values: Floats) -> Floats:
            return values[:, pieces.state].T

        def of_row(values: Floats) -> Floats:
            return np.broadcast_to(values[:, None], late.shape)

        columns = [of_state(values) for values in intervals]
        for text, names, grows in self._of_texts(clock):
            for name in names:
                here = of_row(_by_name(text, {name: 1.0}))
                columns += [here, here * late] if grows else [here]
        for values in self._of_numbers(clock):
            columns += [of_row(values), of_row(values) * late]
        columns += [of_state(values) for values in others]
        return np.stack(columns, axis=-1).reshape(late.size, len(columns))

    def _of_time(self, pieces: Pieces) -> tuple[list[Floats], list[Floats]]:
        """Columns of each (piece, state): the interval, and where the piece lies to the stated close date and to the quarter's end."""
        interval = np.searchsorted(np.asarray(self.edges), pieces.starts + 1e-9, side="right") - 1
        intervals = [(interval == j).astype(np.float64) for j in range(1, len(self.edges))]
        if self.is_small:
            return intervals, []
        return intervals, [*pieces.around_close_date, *pieces.around_quarter_end]

    def _of_texts(self, clock: Clock) -> list[tuple[Texts, tuple[str, ...], bool]]:
        """A column of each row per name, and whether its effect may grow or fade with time."""
        stages = (clock.stage, self.stages, not self.is_small)
        return [stages] if self.is_small else [stages, (clock.kind, self.kinds, False)]

    def _of_numbers(self, clock: Clock) -> list[Floats]:
        """Columns of each row whose effect may grow or fade."""
        found: list[Floats] = []
        for name, values in _numbers(clock).items() if not self.is_small else ():
            center, scale = self.scales[name]
            found.append(np.clip(np.where(np.isfinite(values), (values - center) / scale, 0.0), -4.0, 4.0))
        return found

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
        _common(clock.stage.take(closed), 1 if small else MIN_EVENTS),
        () if small else _common(clock.kind.take(closed), MIN_EVENTS)[1:],
        {name: _scale(values[closed]) for name, values in _numbers(clock).items()},
        small,
        0.0,
        np.zeros(0),
    )
    pieces = Pieces.of(np.asarray(edges), clock)
    exposure, hits = exposures(pieces, days, event)
    scale = opportunity_count / max(float((weight * event).sum()), 1e-12)
    intercept, coefficients = _poisson(
        blank.design(clock, pieces), exposure, hits, np.repeat(weight * scale, len(pieces.starts))
    )
    return replace(blank, intercept=intercept, coefficients=coefficients)


def levelled(
    hazard: Hazard, clock: Clock, days: Floats, event: Floats, weight: Floats, opportunity_count: int
) -> Hazard:
    """The hazard moved by one factor, so that on these (later) rows as many close as it says; little evidence moves it little.

    The factor is closings over expected closings, with a gamma prior of mean 1 worth `LEVEL_STRENGTH` closings.
    """
    expected = float((weight * hazard.course(clock, Pieces.of(np.asarray(hazard.edges), clock)).by(days)).sum())
    scale = opportunity_count / max(float((weight * event).sum()), 1e-12)
    factor = (opportunity_count + LEVEL_STRENGTH) / (expected * scale + LEVEL_STRENGTH)
    return replace(hazard, level=hazard.level + float(np.log(factor)))


def exposures(pieces: Pieces, days: Floats, event: Floats) -> tuple[Floats, Floats]:
    """Days each row spent in each of its pieces, and 1 in the piece in which it closed; both flat, (rows x pieces)."""
    starts = pieces.starts[:, pieces.state].T
    ends = np.column_stack([starts[:, 1:], np.full(len(starts), np.inf)])
    exposure = np.clip(np.minimum(days[:, None], ends) - starts, 0.0, None)
    last = np.maximum((starts < np.maximum(days, 1e-9)[:, None]).sum(axis=1) - 1, 0)
    hits = np.zeros(starts.shape)
    hits[np.arange(len(starts)), last] = event
    # A closing needs some exposure: half an hour stands for none.
    exposure = np.where(hits > 0, np.maximum(exposure, 0.02), exposure)
    return exposure.ravel(), hits.ravel()


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


def _by_name(texts: Texts, values: Mapping[str, float]) -> Floats:
    """The value of each row's text; 0 where it has none. Missing texts go by the empty one."""
    return texts.mapped(lambda name: values.get(name or "", 0.0))


def _common(texts: Texts, least: int) -> tuple[str, ...]:
    counts: Counter[str] = Counter()
    for name, count in zip(texts.names, np.bincount(texts.number, minlength=len(texts.names)).tolist(), strict=True):
        counts[name or ""] += count
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return tuple(name for name, count in ordered[:_STAGES] if count >= least)
