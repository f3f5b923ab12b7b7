"""What becomes of opportunities that are still open: a discrete-time competing-risks model, and the expected outcomes it gives.

A landmark row that has not closed is censored, not lost. Leaving such rows out makes recent cohorts look like fast outcomes; weighting the closed ones
by inverse probability of censoring goes wrong where covariates move with the calendar (records grow, seasons turn), because follow-up is then no
longer independent of them. Hazards condition on being still open, so they do not mind: in each interval of days after the landmark a row is won, lost
or goes on, by a multinomial logit of its features and the interval (Allison, "Discrete-time methods for the analysis of event histories", 1982; Tutz
& Schmid, "Modeling Discrete Time-to-Event Data", 2016, ch. 8). From it comes the chance that a row still open after d days is won in
the end. That chance stands in for the outcome not yet seen: rows still open teach, calibrate and are judged with it (the expectation step of
Dempster, Laird & Rubin, 1977; regression imputation of a censored outcome), so every family stays a classifier of won against lost.

Belongs here: that model and the expected outcomes. Does not belong here: dates (`timing`), the families (`candidates`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from sales_pipeline.features.catalogue import FEATURES
from sales_pipeline.models.encoding import Encoding, learn_encoding
from sales_pipeline.models.matrix import DAY, Encoded, Floats, Indices, Matrix, align, known_kinds
from sales_pipeline.models.params import TrainingParams
from sales_pipeline.models.selection import keep_columns
from sales_pipeline.models.splits import time_stratified

EDGES = (0.0, 14.0, 28.0, 56.0, 91.0, 140.0, 210.0, 300.0, 420.0, 600.0, 900.0)
"""Starts of the intervals, in days after the landmark."""
MIN_EVENTS = 20
"""Closings an interval needs, else it is joined to the one before it; and each outcome needs to be counted on at all."""
STRENGTH = 0.05
"""C of the multinomial logit: the inverse of the penalty on squared coefficients."""
CHANGING = ("stage", "days_to_crm_close_date", "age_days", "days_since_last_inbound", "crm_probability")
"""Source columns whose effect may fade or grow with the interval: where a row stands now says less about later intervals."""
MOST_COLUMNS = 10
"""Source columns the hazards look at: the level of what is to be expected needs the most telling ones only."""
MOVING_WITH_TIME = frozenset(feature.name for feature in FEATURES if feature.is_dated or feature.family == "season") | {
    "created_month"
}
"""Columns that move with the calendar by themselves: a short history cannot tell their effect from that of being watched for less long."""
FREE = 3.0
"""Scale of the intervals' columns: their effects are hardly penalised, as the baseline hazards are what the data are asked for."""
WON, LOST = 1, 2


def outcomes_known(keys: pd.DataFrame, as_of_us: float) -> Floats:
    """1 won, 0 lost, NaN where that was not known strictly before the instant. Outcomes without a closing time count as known."""
    won = keys["is_won"].to_numpy(dtype=np.float64)
    closed = keys["closed_us"].to_numpy(dtype=np.float64)
    return np.where(closed >= as_of_us, np.nan, won)


@dataclass(frozen=True)
class CompetingRisks:
    """The fitted logit: `edges` are the intervals' starts; the last one has no end."""

    edges: Floats
    model: Any
    changing: Indices

    def chance_of_winning(self, rows: Encoded, open_days: Floats) -> Floats:
        """Chance that a row is won in the end, given that it is still open `open_days` after its landmark.

        Within an interval its hazard is spread evenly over the days; the last interval's hazards go on for ever.
        """
        count = len(self.edges)
        ends = np.append(self.edges[1:], np.inf)
        surviving, chance = np.ones(len(rows)), np.zeros(len(rows))
        for number in range(count):
            hazard = self.model.predict_proba(_design(rows.x, np.full(len(rows), number), count, self.changing))
            win, lose = hazard[:, WON], hazard[:, LOST]
            if number == count - 1:
                chance += surviving * win / np.maximum(win + lose, 1e-12)
                break
            width = ends[number] - self.edges[number]
            left = np.clip((ends[number] - open_days) / width, 0.0, 1.0)
            chance += surviving * left * win
            surviving = surviving * (1.0 - left * (win + lose))
        return np.clip(chance, 0.0, 1.0)


@dataclass(frozen=True)
class Expectations:
    """What is expected of rows still open at an instant: a model of what was known strictly before it. `model` None: too little had closed."""

    as_of_us: float
    kinds: tuple[str, ...]
    encoding: Encoding
    model: CompetingRisks | None

    def outcomes(self, matrix: Matrix) -> Floats:
        """Per row 1 won, 0 lost, or the chance of winning of a row open at the instant; NaN where nothing can be said.

        Nothing can be said of rows at or after the instant, of kinds of which nothing had closed, and of any open row without a model.
        """
        keys = matrix.keys
        landmark = keys["as_of_us"].to_numpy(dtype=np.float64)
        result = np.where(landmark < self.as_of_us, outcomes_known(keys, self.as_of_us), np.nan)
        if self.model is None:
            return result
        usable = (landmark < self.as_of_us) & keys["kind"].isin(self.kinds).to_numpy()
        still_open = np.flatnonzero(usable & np.isnan(result)).astype(np.int64)
        if len(still_open):
            days = (self.as_of_us - landmark[still_open]) / DAY
            rows = self.encoding.encode(matrix.take(still_open))
            result[still_open] = self.model.chance_of_winning(rows, days)
        return result


def learn_expectations(
    matrix: Matrix, as_of_us: float, params: TrainingParams, most_rows: int | None = None
) -> Expectations:
    """Fit on what was known of the matrix's rows strictly before the instant; at most `most_rows` (default: `max_hazard_rows`) of them, evenly spaced."""
    keys = matrix.keys
    landmark = keys["as_of_us"].to_numpy(dtype=np.float64)
    closed = keys["closed_us"].to_numpy(dtype=np.float64)
    known = outcomes_known(keys, as_of_us)
    kinds = known_kinds(keys[np.isfinite(known) & (landmark < as_of_us)])
    timed = (landmark < as_of_us) & keys["kind"].isin(kinds).to_numpy() & (np.isnan(known) | np.isfinite(closed))
    found = np.flatnonzero(timed).astype(np.int64)
    # Rows of one opportunity resemble each other: few of each say more than all of a few.
    rows = found[time_stratified(len(found), most_rows or params.max_hazard_rows)]
    won = known[rows]
    nothing = Expectations(as_of_us, kinds, Encoding((), ()), None)
    if min(int((won == 1).sum()), int((won == 0).sum())) < MIN_EVENTS or not np.isfinite(as_of_us):
        return nothing
    part = matrix.take(rows)
    part = align(part, [column for column in part.columns if column.name not in MOVING_WITH_TIME])
    seen = np.isfinite(won)
    few = params.model_copy(update={"max_columns": min(params.max_columns, MOST_COLUMNS)})
    columns = keep_columns(part.take(np.flatnonzero(seen).astype(np.int64)), won[seen], "win", few)
    encoding = learn_encoding(
        part.frame, columns, max_categories=params.max_categories, min_category_rows=params.min_category_rows
    )
    days = np.where(seen, closed[rows], as_of_us)
    model = fit_competing_risks(
        encoding.encode(part),
        (days - landmark[rows]) / DAY,
        won,
        (as_of_us - landmark[rows]) / DAY,
        [column.name for column in encoding.columns],
    )
    return Expectations(as_of_us, kinds, encoding, model)


def fit_competing_risks(
    rows: Encoded, days: Floats, won: Floats, follow_up: Floats, columns: Sequence[str]
) -> CompetingRisks | None:
    """Fit on rows that closed after `days` (won 1 or 0) or were open for `days` so far (won NaN); None with too few of an outcome.

    `follow_up` are the days from landmark to as-of: a row speaks of an interval only where all of it lies within them, whether or not the row closed in it,
    or intervals cut by the as-of would count closings alone. `columns` names the source columns behind `rows.groups`.
    """
    closed = np.isfinite(won)
    if min(int((won == 1).sum()), int((won == 0).sum())) < MIN_EVENTS:
        return None
    edges = _edges(days[closed], float(follow_up.max()))
    ends = np.append(edges[1:], np.inf)
    last = np.searchsorted(edges, days, side="right") - 1
    picked: list[Indices] = []
    intervals: list[Indices] = []
    labels: list[Indices] = []
    for number in range(len(edges)):
        is_last = number == len(edges) - 1
        # The open-ended interval is watched for as long as it was seen; its rows are few and late.
        seen = follow_up >= (edges[number] if is_last else ends[number])
        here = np.flatnonzero(seen & (last >= number) & ((last > number) | closed | is_last)).astype(np.int64)
        event = np.where(closed & (last == number), np.where(won == 1, WON, LOST), 0)[here]
        picked.append(here)
        intervals.append(np.full(len(here), number, dtype=np.int64))
        labels.append(event.astype(np.int64))
    who, when, label = (np.concatenate(parts) for parts in (picked, intervals, labels))
    if min(int((label == WON).sum()), int((label == LOST).sum())) < MIN_EVENTS or not (label == 0).any():
        return None
    from sklearn.linear_model import LogisticRegression

    names = np.array(columns, dtype=object)
    changing = np.flatnonzero(np.isin(names[rows.groups], CHANGING)) if len(names) else np.zeros(0, dtype=np.int64)
    design = _design(rows.x[who], when, len(edges), changing)
    model = LogisticRegression(C=STRENGTH, max_iter=300, tol=1e-3).fit(design, label)
    return CompetingRisks(edges, model, changing.astype(np.int64))


def _edges(days: Floats, longest: float) -> Floats:
    """Interval starts with enough closings in each interval, none beyond the longest follow-up."""
    starts = [edge for edge in EDGES if edge < longest]
    counts = np.histogram(days, bins=[*starts, np.inf])[0]
    kept, seen = [0.0], int(counts[0])
    for start, count in zip(starts[1:], counts[1:], strict=True):
        if seen >= MIN_EVENTS:
            kept.append(start)
            seen = 0
        seen += int(count)
    if seen < MIN_EVENTS and len(kept) > 1:
        kept.pop()
    return np.array(kept)


def _design(x: Floats, interval: npt.NDArray[np.int64], count: int, changing: Indices) -> Floats:
    """Features, the interval, and the changing features in the first interval and fading over the later ones."""
    share = interval / max(count - 1, 1)
    moving = x[:, changing]
    return np.hstack(
        [
            x,
            FREE * np.eye(count)[interval],
            moving * share[:, None],
            moving * (interval == 0)[:, None].astype(np.float64),
        ]
    )
