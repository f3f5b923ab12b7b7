"""What the weeks of an opportunity tell: columns for the estimate, learnt as a small specification that is stored as JSON.

`warmth` is the chance of winning that the customer's own signs speak of (stage, replies, age, where it came from), our contacts left out on
purpose: it may stand in for the outcome weeks later (a surrogate index) without counting the contact itself as its effect.

Belongs here: columns and that index. Does not belong here: effects.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sales_pipeline.follow_up.weeks import LAGS, TEXTS, Floats, Indices, Weeks

MOST_LEVELS = 8
MIN_LEVEL_SHARE = 0.02
RECENT = 4
"""Weeks that count as recent."""
_STRENGTH = 1.0
_MOST_REPLIES = 2.0


@dataclass(frozen=True)
class Signs:
    """`levels` per text column, size cuts of accounts, and the index: coefficients of a logit of winning on `columns_now`."""

    levels: Mapping[str, tuple[str, ...]]
    size_cuts: tuple[float, ...]
    intercept: float
    coefficients: tuple[float, ...]

    def warmth(self, weeks: Weeks) -> Floats:
        """The index of each row, 0-1."""
        return self.chance(columns_now(weeks, self.levels, self.size_cuts))

    def chance(self, columns: Floats) -> Floats:
        """The index of rows whose `columns_now` are given."""
        return np.asarray(
            1.0 / (1.0 + np.exp(-self.intercept - columns @ np.array(self.coefficients))), dtype=np.float64
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data."""
        return {
            "levels": {name: list(levels) for name, levels in self.levels.items()},
            "size_cuts": list(self.size_cuts),
            "intercept": self.intercept,
            "coefficients": list(self.coefficients),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Signs:
        """The inverse of `to_dict`."""
        levels = {name: tuple(found) for name, found in data["levels"].items()}
        return cls(levels, tuple(data["size_cuts"]), data["intercept"], tuple(data["coefficients"]))


def learn_levels(weeks: Weeks) -> tuple[dict[str, tuple[str, ...]], tuple[float, ...]]:
    """Frequent values of each text column, by frequency, and the terciles of account size (none where it is not recorded)."""
    levels: dict[str, tuple[str, ...]] = {}
    for name in TEXTS:
        values = weeks.texts[name]
        found, counts = np.unique(np.array([v for v in values if v is not None], dtype=str), return_counts=True)
        order = np.lexsort((found, -counts))
        kept = [str(found[k]) for k in order[:MOST_LEVELS] if counts[k] >= MIN_LEVEL_SHARE * len(values)]
        levels[name] = tuple(kept) if len(found) > 1 else ()
    sizes = weeks.employees[np.isfinite(weeks.employees)]
    if len(sizes) < 0.2 * len(weeks) or len(np.unique(sizes)) < 6:
        return levels, ()
    return levels, tuple(float(cut) for cut in np.quantile(sizes, [1 / 3, 2 / 3]))


def learn_signs(
    columns: Floats, outcome: Floats, rows: Indices, levels: Mapping[str, tuple[str, ...]], cuts: tuple[float, ...]
) -> Signs:
    """The index fitted on `rows` of `columns_now`; the outcome is the chance (0-1) of having been won in the end."""
    from sklearn.linear_model import LogisticRegression

    x, y = columns[rows], outcome[rows]
    twice = np.vstack([x, x])
    label = np.repeat([1, 0], len(rows))
    weight = np.concatenate([y, 1.0 - y])
    used = weight > 0
    fitted = LogisticRegression(C=_STRENGTH, solver="newton-cholesky").fit(twice[used], label[used], weight[used])
    return Signs(
        levels,
        cuts,
        round(float(fitted.intercept_[0]), 10),
        tuple(round(float(value), 10) for value in fitted.coef_[0]),
    )


def columns_now(weeks: Weeks, levels: Mapping[str, tuple[str, ...]], cuts: tuple[float, ...]) -> Floats:
    """The index's columns at the start of each week."""
    recent = replies(weeks, 0, 1), replies(weeks, 0, RECENT), replies(weeks, 1, RECENT)
    logs = np.column_stack([np.log1p(count) for count in recent])
    stages = one_hot(weeks, "stage", levels)
    by_stage = [logs * stages[:, [k]] for k in range(stages.shape[1])]
    return np.hstack([logs, *by_stage, standing(weeks, levels, cuts)])


def standing(weeks: Weeks, levels: Mapping[str, tuple[str, ...]], cuts: tuple[float, ...]) -> Floats:
    """What is known without looking at contacts: stage, ages, account size, where it came from, industry."""
    parts = [
        np.column_stack([np.log1p(weeks.age), np.log1p(weeks.stage_age), weeks.age <= RECENT]),
        *(one_hot(weeks, name, levels) for name in TEXTS),
        sizes(weeks, cuts),
    ]
    return np.hstack(parts).astype(np.float64)


def replies(weeks: Weeks, newest: int, oldest: int) -> Floats:
    """Replies in the weeks [oldest, newest) before each row's start, at most two of each week."""
    held = np.minimum(weeks.replies, _MOST_REPLIES)
    total = np.zeros(len(weeks))
    for lag in range(newest + 1, oldest + 1):
        total += weeks.look(held, -lag)
    return total


def one_hot(weeks: Weeks, name: str, levels: Mapping[str, tuple[str, ...]]) -> Floats:
    """One column per frequent value."""
    values = weeks.texts[name]
    found = np.array(["" if value is None else str(value) for value in values], dtype=object)
    columns = [(found == level).astype(np.float64) for level in levels[name]]
    return np.column_stack(columns) if columns else np.zeros((len(weeks), 0))


def sizes(weeks: Weeks, cuts: tuple[float, ...]) -> Floats:
    """Small, middle-sized and large accounts; no column where sizes are not recorded."""
    if not cuts:
        return np.zeros((len(weeks), 0))
    known = np.isfinite(weeks.employees)
    group = np.searchsorted(cuts, np.where(known, weeks.employees, 0.0), side="left")
    return np.column_stack([known & (group == k) for k in range(len(cuts) + 1)]).astype(np.float64)


def modifiers(weeks: Weeks, levels: Mapping[str, tuple[str, ...]], cuts: tuple[float, ...]) -> tuple[Floats, list[str]]:
    """Few columns (0 or 1) by which effects may differ, and what they are called."""
    parts = [
        (replies(weeks, 0, RECENT) > 0).astype(np.float64)[:, None],
        (replies(weeks, RECENT, LAGS) > 0).astype(np.float64)[:, None],
        sizes(weeks, cuts),
        one_hot(weeks, "lead_source", levels),
        one_hot(weeks, "stage", levels),
    ]
    names = [f"replied in {RECENT} weeks", f"replied in {RECENT + 1} to {LAGS} weeks"]
    names += ["small account", "middle-sized account", "large account"] if cuts else []
    names += [f"{name} {level}" for name in ("lead_source", "stage") for level in levels[name]]
    return np.hstack(parts), names
