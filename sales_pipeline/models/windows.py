"""The last two windows, and the calibrator: how a recipe is made fit for use, and how it is judged once as if that had been done earlier.

Fitted on what was known before the calibration window, a recipe's scores of that window show how steep its log-odds should be; fitted on what was known
before the test window, it is judged there. For use it is fitted on everything, its slope learnt on both windows' scores, the newest matured ones
there are. Outcomes that are judged and
calibrated by are seen ones, never expected ones: a model would be held against another model. The level is another matter: it moves (a shifted base rate), and windows that have matured are old. So each fit is set to the level of its own
newest landmarks, rows still open counted with what is to be expected of them (for the correction of a shifted base rate in general: Saerens, Latinne &
Decaestecker, Neural Computation 2002; here the shift is seen, not inferred).

Belongs here: that order for a recipe over the windows of a plan. Does not belong here: which recipe (`evaluation`), what is reported (`card`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sales_pipeline.models.calibration import Calibrator, anchored, choose_calibrator, fit_shrinking
from sales_pipeline.models.candidates import Candidate, Setting
from sales_pipeline.models.estimators import Estimator
from sales_pipeline.models.evaluation import Prepared, fit, is_possible, prepare, probabilities
from sales_pipeline.models.expected_outcomes import outcomes_known
from sales_pipeline.models.matrix import DAY, Encoded, Floats, Indices, Matrix
from sales_pipeline.models.params import TrainingParams
from sales_pipeline.models.splits import Plan, time_stratified

RATES = "shrunken_rates"
NEWEST_DAYS = 365.0
"""Landmarks at most this old set the level, so that each season weighs as much as it does in a year; where the as-of is known, those of the same month of a quarter alone:
quarters end in a push and begin with a clean-up, and what is open right after is worth less."""
MIN_LEVEL_ROWS = 200
"""Landmark rows of the same month of a quarter below which all of the year set the level."""


@dataclass(frozen=True)
class LastWindows:
    """Both windows' rows and outcomes, and the training rows before each.

    `calibration` and `test` are matrix rows; `calibration_won` is what was known of the former before the test window, `won` what is known by now of
    both, in that order: 1, 0, or NaN for rows still open then.
    """

    before_calibration: Prepared
    before_test: Prepared
    calibration: Indices
    calibration_won: Floats
    test: Indices
    won: Floats
    encoded: tuple[Encoded, Encoded]
    params: TrainingParams

    @property
    def rows(self) -> Indices:
        """Both windows' rows."""
        return np.concatenate([self.calibration, self.test])

    @property
    def test_won(self) -> Floats:
        """What became of the test rows; NaN: still open."""
        return self.won[len(self.calibration) :]

    @property
    def seen(self) -> Indices:
        """Positions of the test rows whose outcome is known by now."""
        return np.flatnonzero(np.isfinite(self.test_won)).astype(np.int64)

    def scored(self, candidate: Candidate, setting: Setting) -> Scored:
        """A recipe's raw scores of both windows, each by a fit on the rows before it."""
        earlier = fit(candidate, setting, self.before_calibration.sample, self.params).score(self.encoded[0])
        model = fit(candidate, setting, self.before_test.sample, self.params)
        then = np.isfinite(self.calibration_won)
        calibrator, _ = calibrate(candidate, earlier[then], self.calibration_won[then], self.params)
        level = set_level(calibrator, model, self.before_test)
        last = model.score(self.encoded[1])
        return Scored(np.concatenate([earlier, last]), level.apply(last))

    def compared(self, candidate: Candidate, setting: Setting) -> Floats | None:
        """Probabilities of the test rows as on the validation windows, for comparing families; None where it cannot be fitted."""
        if not is_possible(candidate, self.before_test.sample):
            return None
        sample = self.before_test.sample
        sample = sample.take(time_stratified(len(sample.y), self.params.max_search_rows))
        return probabilities(candidate, setting, sample, self.encoded[1], self.params)

    def calibrator(
        self, candidate: Candidate, scored: Scored, estimator: Estimator, final: Prepared, as_of_us: float
    ) -> tuple[Calibrator, str]:
        """The calibrator of the fit for use at and after the as-of, and how it was made."""
        known = np.isfinite(self.won)
        slope, note = calibrate(candidate, scored.scores[known], self.won[known], self.params)
        text = f"{note}; slope by the calibration and test windows' out-of-time scores, level by the last {NEWEST_DAYS:.0f} days' landmarks in the same month of a quarter"
        return set_level(slope, estimator, final, as_of_us), text


@dataclass(frozen=True)
class Scored:
    """Raw scores of the calibration and test rows, and the test rows' probabilities as they would have been published then."""

    scores: Floats
    test: Floats


def last_windows(matrix: Matrix, plan: Plan, params: TrainingParams) -> LastWindows | None:
    """The windows of a plan; None where it has none."""
    fold = plan.calibration
    if fold is None:
        return None
    before_calibration = prepare(matrix, fold.train, "win", params, fold.from_us)
    before_test = prepare(matrix, plan.before_test, "win", params, fold.known_us)
    now = outcomes_known(matrix.keys, plan.as_of_us)
    return LastWindows(
        before_calibration,
        before_test,
        fold.judge,
        outcomes_known(matrix.keys, fold.known_us)[fold.judge],
        plan.test,
        now[np.concatenate([fold.judge, plan.test])],
        (
            before_calibration.encoding.encode(matrix.take(fold.judge)),
            before_test.encoding.encode(matrix.take(plan.test)),
        ),
        params,
    )


def can_be_fitted(candidate: Candidate, windows: LastWindows | None, final: Prepared | None = None) -> bool:
    """Whether a family can be fitted wherever its model needs a fit: but for rates each needs a column and both outcomes.

    Columns that were empty until lately, or are constant, leave earlier windows without any.
    """
    if candidate.name in ("base_rate", "stage_rate", RATES):
        return True
    fits = [final] if final is not None else []
    fits += [windows.before_calibration, windows.before_test] if windows is not None else []
    return all(is_possible(candidate, one.sample) and len(np.unique(one.sample.y)) == 2 for one in fits)


def calibrate(candidate: Candidate, scores: Floats, won: Floats, params: TrainingParams) -> tuple[Calibrator, str]:
    """The calibrator of a candidate's raw scores, and how it was chosen."""
    if candidate.name == RATES:
        return fit_shrinking(scores, won), "logistic with a slope of at most 1, as rates are shrunken already"
    return choose_calibrator(scores, won, min_isotonic_rows=params.min_isotonic_rows)


def set_level(
    calibrator: Calibrator, estimator: Estimator, taught: Prepared, as_of_us: float | None = None
) -> Calibrator:
    """The calibrator moved so that the newest of the rows the estimator was fitted on have the mean probability their outcomes have.

    With an as-of, the newest rows are those of the month of a quarter it stands in (where there are enough of them); without one, all of them.
    """
    sample = taught.sample
    landmark = sample.rows.keys["as_of_us"].to_numpy(dtype=np.float64)
    newest = landmark >= landmark.max() - NEWEST_DAYS * DAY
    if as_of_us is not None and np.isfinite(as_of_us):
        alike = newest & (_month_of_quarter(landmark) == _month_of_quarter(np.array([as_of_us])))
        newest = alike if alike.sum() >= MIN_LEVEL_ROWS else newest
    part = sample.take(np.flatnonzero(newest).astype(np.int64))
    return anchored(calibrator, estimator.score(part.rows), part.y, part.weight)


def _month_of_quarter(instants: Floats) -> Indices:
    """0, 1 or 2: of the day (UTC) that holds the noon after each instant, so that the end of a day counts as the next one in every zone."""
    months = (instants + 0.5 * DAY).astype("datetime64[us]").astype("datetime64[M]").astype(np.int64)
    return np.asarray(months % 3, dtype=np.int64)
