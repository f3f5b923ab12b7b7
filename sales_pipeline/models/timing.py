"""When open opportunities close: distributions of the remaining time, per stage, shrunken to all.

Closing at all: Kaplan and Meier's estimate (rows still open are censored). Closing given that it is won: the empirical distribution among
won rows. So a probability of winning within h days is p x F_won(h), which can never exceed p nor fall with h.

Belongs here: tables of remaining time. Does not belong here: probabilities of winning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from sales_pipeline.models.matrix import DAY, Floats
from sales_pipeline.models.splits import kaplan_meier

ALL = "\x00all"
MIN_ROWS = 20
_LEVELS = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True)
class TimingTable:
    """Distribution functions of remaining days by stage: `days` ascending, one row of values per stage; `rows` counts behind them."""

    days: Floats
    values: Mapping[str, Floats]

    def shares(self, stages: npt.NDArray[Any], days: Floats) -> Floats:
        """Share closed within each row's number of days; 0 at and below 0 days."""
        result = np.zeros(len(days))
        for stage, rows in _by_stage(stages, self.values):
            result[rows] = np.interp(days[rows], self.days, self.values[stage], left=0.0)
        return np.where(days <= 0, 0.0, result)

    def quantiles(self, stages: npt.NDArray[Any], level: float) -> Floats:
        """Days until the level is reached; the last known day where it never is."""
        result = np.zeros(len(stages))
        for stage, rows in _by_stage(stages, self.values):
            reached = int(np.searchsorted(self.values[stage], level - 1e-12))
            result[rows] = self.days[min(reached, len(self.days) - 1)]
        return result

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data."""
        return {"days": self.days.tolist(), "values": {name: row.tolist() for name, row in self.values.items()}}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TimingTable:
        """The inverse of `to_dict`."""
        return cls(np.asarray(data["days"]), {name: np.asarray(row) for name, row in data["values"].items()})


@dataclass(frozen=True)
class Timing:
    """Closing at all, and closing given that it is won."""

    closing: TimingTable
    winning: TimingTable | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data."""
        return {"closing": self.closing.to_dict(), "winning": self.winning.to_dict() if self.winning else None}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Timing:
        """The inverse of `to_dict`."""
        winning = data["winning"]
        return cls(TimingTable.from_dict(data["closing"]), TimingTable.from_dict(winning) if winning else None)


def learn_timing(keys: pd.DataFrame, as_of_us: float, *, mature_before_us: float, strength: float) -> Timing | None:
    """The tables from landmark rows old enough to have shown slow outcomes; None with fewer than 20 known closing times."""
    landmark = keys["as_of_us"].to_numpy(dtype=np.float64)
    closed_us = keys["closed_us"].to_numpy(dtype=np.float64)
    won = keys["is_won"].to_numpy(dtype=np.float64)
    closed = np.isfinite(closed_us)
    use = (closed | np.isnan(won)) & (landmark <= mature_before_us) & ~(closed & (closed_us < landmark))
    if int((use & closed).sum()) < MIN_ROWS:
        return None
    days = np.where(closed, closed_us - landmark, as_of_us - landmark) / DAY
    stage = keys["stage"].astype(object).to_numpy()
    closing = _table(days[use], closed[use], stage[use], strength)
    is_win = use & closed & (won == 1)
    winning = _table(days[is_win], closed[is_win], stage[is_win], strength) if int(is_win.sum()) >= MIN_ROWS else None
    return Timing(closing, winning)


def _table(days: Floats, closed: npt.NDArray[np.bool_], stage: npt.NDArray[Any], strength: float) -> TimingTable:
    grid = np.unique(np.concatenate([[0.0], np.quantile(days[closed], _LEVELS), np.arange(0.0, 121.0, 5.0)]))
    grid = grid[grid <= days[closed].max() + 1e-9]
    everyone = _distribution(days, closed, grid)
    values = {ALL: everyone}
    names = stage.astype(str)
    for name in sorted(set(names[~pd.isna(stage)].tolist())):
        rows = names == name
        weight = float(rows.sum()) / (float(rows.sum()) + strength)
        own = _distribution(days[rows], closed[rows], grid)
        values[name] = weight * own + (1 - weight) * everyone
    return TimingTable(grid, values)


def _distribution(days: Floats, closed: npt.NDArray[np.bool_], grid: Floats) -> Floats:
    times, survival = kaplan_meier(days, closed)
    if not len(times):
        return np.zeros(len(grid))
    position = np.searchsorted(times, grid, side="right")
    return 1.0 - np.concatenate([[1.0], survival])[position]


def _by_stage(stages: npt.NDArray[Any], values: Mapping[str, Floats]) -> list[tuple[str, npt.NDArray[np.int64]]]:
    known = np.array([str(s) if isinstance(s, str) and s in values else ALL for s in stages], dtype=object)
    return [(name, np.flatnonzero(known == name)) for name in sorted(set(known.tolist()))]
