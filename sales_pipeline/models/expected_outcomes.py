"""What becomes of opportunities that are still open: chances of winning learnt step by step, and the expected outcomes they give.

A landmark row that has not closed is censored, not lost. Leaving such rows out makes recent cohorts look like fast outcomes; weighting the closed ones
by inverse probability of censoring goes wrong where covariates move with the calendar (records grow, seasons turn), because follow-up is then no
longer independent of them; hazards that are carried on from an old landmark do not know that the customer has fallen silent since. So time is cut into steps, and
in each an opportunity is won, lost, or still open (discrete-time competing risks with states that are brought up to date: Allison, "Discrete-time methods for the
analysis of event histories", 1982). Who is still open at the end of a step goes on from the state of that day:

    chance(row) = P(won within the step) + sum over later states of P(still open, in that state) x chance(state)

(first-step analysis; Kemeny & Snell, "Finite Markov Chains", 1960, ch. 3). The chance is a logistic function of the row; the function that agrees with
itself one step later is found from pairs (row, what became of it after a step), which are seen in full however recent the opportunity: the fixed point of temporal
differences (Sutton, "Learning to predict by the methods of temporal differences", 1988; solved at once, as Bradtke & Barto, 1996, do for least squares, here by Newton's method).

An open opportunity's chance is that of its newest landmark, and stands in for the outcome not yet seen in all of its rows: they share one outcome. Rows
still open teach with it and set the level (the expectation step of Dempster, Laird & Rubin, 1977; regression imputation of a censored outcome), so every
family stays a classifier of won against lost.

Belongs here: that model and the expected outcomes. Does not belong here: dates (`timing`), the families (`candidates`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from sales_pipeline.features.catalogue import FEATURES
from sales_pipeline.models.encoding import Encoding, learn_encoding
from sales_pipeline.models.estimators import expit
from sales_pipeline.models.matrix import DAY, Floats, Indices, Matrix, align, codes, known_kinds
from sales_pipeline.models.params import TrainingParams
from sales_pipeline.models.selection import keep_columns
from sales_pipeline.models.splits import time_stratified

STEP_DAYS = 91.0
"""Length of a step, at most a quarter of the history. Shorter ones lean harder on the columns telling all there is to know of a state; longer ones have fewer rows."""
MIN_EVENTS = 20
"""Wins and losses within a step that are needed to say anything."""
PENALTY = 100.0
"""Ridge penalty on the squared coefficients of standardised columns; the intercept has none."""
STATE = frozenset(
    {
        "stage",
        "age_days",
        "days_in_stage",
        "days_since_last_inbound",
        "days_since_last_activity",
        "crm_probability",
        "days_to_crm_close_date",
    }
)
"""Source columns always looked at: which closed rows were won need not tell which open ones have come to a standstill."""
MOST_COLUMNS = 20
"""Further source columns: the level of what is to be expected needs the most telling ones only."""
SELECTION_ROWS = 8_000
MOVING_WITH_TIME = frozenset(feature.name for feature in FEATURES if feature.is_dated or feature.family == "season") | {
    "created_month"
}
"""Columns that move with the calendar by themselves: a short history cannot tell their effect from that of being watched for less long."""
_MOST_ROUNDS = 60
_LONGEST_STEP = 3.0


def outcomes_known(keys: pd.DataFrame, as_of_us: float) -> Floats:
    """1 won, 0 lost, NaN where that was not known strictly before the instant. Outcomes without a closing time count as known."""
    won = keys["is_won"].to_numpy(dtype=np.float64)
    closed = keys["closed_us"].to_numpy(dtype=np.float64)
    return np.where(closed >= as_of_us, np.nan, won)


@dataclass(frozen=True)
class Steps:
    """What became of opportunities one step later. At each end a state is a matrix row and the days passed since its landmark.

    `later` and `later_days` are those of the end of the step; where it had closed by then (`is_closed`, `won` 1 or 0) they are not looked at.
    """

    row: Indices
    days: Floats
    later: Indices
    later_days: Floats
    is_closed: npt.NDArray[np.bool_]
    won: Floats

    def take(self, positions: Indices) -> Steps:
        """Those steps, in that order."""
        return Steps(*(getattr(self, name)[positions] for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class Expectations:
    """What is expected of rows still open at an instant, from what was known strictly before it. `coefficients` (of the encoded columns, of the days
    passed, then the intercept) are None where too little had closed."""

    as_of_us: float
    kinds: tuple[str, ...]
    encoding: Encoding
    coefficients: Floats | None

    def chance(self, rows: Matrix, days: Floats) -> Floats:
        """Chance that an opportunity is won in the end (0–1), given its row and that it is still open so many days after. ValueError without a model."""
        if self.coefficients is None:
            raise ValueError("expected a model of open opportunities, found none: too little had closed")
        return expit(_design(self.encoding, rows, days) @ self.coefficients)

    def outcomes(self, matrix: Matrix) -> Floats:
        """Per row 1 won, 0 lost, or the chance of winning of an opportunity open at the instant; NaN where nothing can be said.

        Give all rows: an open opportunity's chance is that of its newest row before the instant. Nothing can be said of rows at or after the
        instant, of kinds of which nothing had closed, and of any open row without a model.
        """
        keys = matrix.keys
        landmark = keys["as_of_us"].to_numpy(dtype=np.float64)
        result = np.where(landmark < self.as_of_us, outcomes_known(keys, self.as_of_us), np.nan)
        if self.coefficients is None:
            return result
        usable = (landmark < self.as_of_us) & keys["kind"].isin(self.kinds).to_numpy()
        still_open = np.flatnonzero(usable & np.isnan(result)).astype(np.int64)
        if len(still_open):
            opportunity = codes(keys["opportunity_id"].iloc[still_open])
            order = np.lexsort((landmark[still_open], opportunity))
            is_newest = np.append(np.diff(opportunity[order]) != 0, True)
            newest = still_open[order[is_newest]]
            passed = (self.as_of_us - landmark[newest]) / DAY
            result[still_open] = self.chance(matrix.take(newest), passed)[opportunity]
        return result


def learn_expectations(matrix: Matrix, as_of_us: float, params: TrainingParams) -> Expectations:
    """Learn from what was known of the matrix's rows strictly before the instant; at most `max_expectation_rows` steps of them, evenly spaced."""
    keys = matrix.keys
    landmark = keys["as_of_us"].to_numpy(dtype=np.float64)
    known = outcomes_known(keys, as_of_us)
    kinds = known_kinds(keys[np.isfinite(known) & (landmark < as_of_us)])
    nothing = Expectations(as_of_us, kinds, Encoding((), ()), None)
    if not np.isfinite(as_of_us):
        return nothing
    timed = np.isnan(known) | np.isfinite(keys["closed_us"].to_numpy(dtype=np.float64))
    usable = (landmark < as_of_us) & keys["kind"].isin(kinds).to_numpy() & timed
    steps = steps_of(keys, known, np.flatnonzero(usable).astype(np.int64), as_of_us)
    wins = float(steps.won[steps.is_closed].sum())
    if min(wins, float(steps.is_closed.sum()) - wins) < MIN_EVENTS:
        return nothing
    # Rows of one opportunity resemble each other: few of each say more than all of a few.
    steps = steps.take(time_stratified(len(steps.row), params.max_expectation_rows))
    seen = np.flatnonzero(usable & np.isfinite(known)).astype(np.int64)
    seen = seen[time_stratified(len(seen), SELECTION_ROWS)]
    still = align(matrix, [column for column in matrix.columns if column.name not in MOVING_WITH_TIME])
    few = params.model_copy(update={"max_columns": min(params.max_columns, MOST_COLUMNS)})
    names = STATE | {column.name for column in keep_columns(still.take(seen), known[seen], "win", few)}
    rows, later = matrix.take(steps.row), matrix.take(steps.later)
    encoding = learn_encoding(
        pd.concat([rows.frame, later.frame], ignore_index=True),
        [column for column in still.columns if column.name in names],
        max_categories=params.max_categories,
        min_category_rows=params.min_category_rows,
    )
    start = float(known[seen].mean())
    ends = _design(encoding, rows, steps.days), _design(encoding, later, steps.later_days)
    return Expectations(as_of_us, kinds, encoding, fixed_point(*ends, steps, start))


def steps_of(keys: pd.DataFrame, known: Floats, usable: Indices, as_of_us: float) -> Steps:
    """The steps that ended before the as-of, in the order of the usable rows: one from each row, and where its opportunity has no other row for more than a step, from the days on which one ends."""
    landmark = keys["as_of_us"].to_numpy(dtype=np.float64)[usable]
    closed = np.where(np.isfinite(known), keys["closed_us"].to_numpy(dtype=np.float64), np.inf)[usable]
    if not len(usable):
        none = np.zeros(0)
        return Steps(usable, none, usable, none, none.astype(bool), none)
    width = min(STEP_DAYS, (as_of_us - float(landmark.min())) / DAY / 4) * DAY
    instants, rank = np.unique(landmark, return_inverse=True)
    number = codes(keys["opportunity_id"].iloc[usable]) * (len(instants) + 1)
    order = np.argsort(number + rank, kind="stable")
    ranked = (number + rank)[order]
    following = np.full(len(usable), np.inf)
    has_next = np.diff(number[order]) == 0
    following[order[:-1][has_next]] = landmark[order[1:][has_next]]
    # A closing at the very end of a step is not known by then: it ends the next one.
    begun = np.minimum(np.ceil((following - landmark) / width), np.floor((closed - landmark) / width) + 1)
    ended = np.floor((as_of_us - landmark) / width)
    count = np.maximum(np.minimum(begun, ended), 0.0).astype(np.int64)
    row = np.repeat(np.arange(len(usable), dtype=np.int64), count)
    place = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    until = landmark[row] + (place + 1) * width
    wanted = number[row] + np.searchsorted(instants, until, side="right") - 1
    later = order[np.searchsorted(ranked, wanted, side="right") - 1]
    is_closed = closed[row] < until
    return Steps(
        row=usable[row],
        days=place * width / DAY,
        later=usable[later],
        later_days=(until - landmark[later]) / DAY,
        is_closed=is_closed,
        won=np.where(is_closed, known[usable[row]], 0.0),
    )


def fixed_point(rows: Floats, later: Floats, steps: Steps, start: float) -> Floats | None:
    """Coefficients of the logistic function that agrees with itself one step later; None where Newton's method does not settle.

    `rows` and `later` are the designs of both ends of the steps, `start` the share won to begin with.
    """
    penalty = np.full(rows.shape[1], PENALTY)
    penalty[-1] = 1e-6
    is_open = ~steps.is_closed

    def away(beta: Floats) -> tuple[Floats, Floats, Floats]:
        p, ahead = expit(rows @ beta), expit(later @ beta)
        return p, ahead, rows.T @ (np.where(is_open, ahead, steps.won) - p) - penalty * beta

    beta = np.zeros(rows.shape[1])
    beta[-1] = np.log(start / (1.0 - start))
    p, ahead, distance = away(beta)
    for _ in range(_MOST_ROUNDS):
        jacobian = (rows * (p * (1 - p))[:, None]).T @ rows + np.diag(penalty)
        jacobian -= (rows * np.where(is_open, ahead * (1 - ahead), 0.0)[:, None]).T @ later
        move = np.linalg.solve(jacobian, distance)
        move *= min(1.0, _LONGEST_STEP / max(1e-12, float(np.abs(move).max())))
        beta = beta + move
        p, ahead, distance = away(beta)
        if float(np.abs(move).max()) < 1e-7:
            return beta
    return None


def _design(encoding: Encoding, rows: Matrix, days: Floats) -> Floats:
    """The encoded columns, the days passed since (as they are and by their logarithm, in steps), the intercept."""
    passed = days / STEP_DAYS
    return np.hstack([encoding.apply(rows.frame), np.column_stack([passed, np.log1p(passed), np.ones(len(rows))])])
