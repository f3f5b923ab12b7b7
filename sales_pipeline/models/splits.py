"""Which rows may teach and which may judge: time-ordered windows over landmarks.

For a split instant S a training row has its landmark before S, and teaches with what was known strictly before S: its outcome, or, where it was still
open, what was to be expected of it then (`expected_outcomes`). A row that is judged has its landmark at or after S. An opportunity open at S may
stand on both sides: as a training row it holds nothing of what came after S, and leaving such rows out would leave the slow ones out.
The same rule holds between the calibration window and the test window: everything used before the test starts was known before it starts.
Rows that judge or calibrate are matured at the end of their window (their landmark is older than the stated maturity: the embargo), so that most
of their outcomes are seen, not expected.

    |  training | validation 1 | validation 2 | validation 3 | calibration ·maturity· | test ·maturity· | as-of

Belongs here: row indices. Does not belong here: models, figures.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from sales_pipeline.models.matrix import DAY, Floats, Indices, codes, known_kinds, of_known_kinds
from sales_pipeline.models.params import TrainingParams

MIN_CLASS_ROWS = 5
"""Rows of each class a side of a split needs to teach or judge anything."""


@dataclass(frozen=True)
class Fold:
    """Row indices of one train-and-judge pair.

    Training rows teach with what was known strictly before `from_us`; the judged rows' outcomes are those known strictly before `known_us`.
    """

    name: str
    train: Indices
    judge: Indices
    from_us: float
    known_us: float


@dataclass(frozen=True)
class Plan:
    """All windows of a training.

    `folds` are the validation folds; `calibration` is trained on before the calibration window and judged in it; `test`
    holds the untouched last window and `before_test` all rows before it. `final` are the rows the chosen recipe is fitted on in the end, with what is known before `as_of_us`.
    `facts` goes into the model card.
    """

    folds: tuple[Fold, ...]
    calibration: Fold | None
    before_test: Indices
    test: Indices
    final: Indices
    is_time_ordered: bool
    maturity_days: float
    as_of_us: float
    facts: dict[str, Any] = field(default_factory=dict)


def maturity_days(keys: pd.DataFrame, as_of_us: float, params: TrainingParams) -> float:
    """How old a landmark must be to count: the stated quantile of its time to close, by Kaplan and Meier.

    Landmarks younger than that would show their fast outcomes only. Never more than a stated share of the history. 0 when no closing times are known.
    """
    days, closed = remaining_days(keys, as_of_us)
    if not closed.any():
        return 0.0
    times, survival = kaplan_meier(days, closed)
    reached = np.flatnonzero(survival <= 1 - params.maturity_quantile)
    quantile = float(times[reached[0]]) if len(reached) else float(times[-1])
    span = (as_of_us - float(keys["as_of_us"].min())) / DAY
    return float(min(quantile, params.max_maturity_share * span))


def remaining_days(keys: pd.DataFrame, as_of_us: float) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Days from each landmark to its closing, or to the as-of where it has not closed (second value False: censored).

    Rows that closed at an unknown instant are left out.
    """
    landmark = keys["as_of_us"].to_numpy(dtype=np.float64)
    closed_us = keys["closed_us"].to_numpy(dtype=np.float64)
    closed = np.isfinite(closed_us)
    use = closed | keys["is_won"].isna().to_numpy()
    end = np.where(closed, closed_us, as_of_us)
    return np.maximum((end - landmark) / DAY, 0.0)[use], closed[use]


def kaplan_meier(days: Floats, observed: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Event times and the share still open right after each (Kaplan and Meier, 1958)."""
    times, first = np.unique(days[observed], return_inverse=True)
    if not len(times):
        return np.zeros(0), np.zeros(0)
    events = np.bincount(first, minlength=len(times)).astype(np.float64)
    at_risk = len(days) - np.searchsorted(np.sort(days), times, side="left")
    survival: Floats = np.cumprod(1.0 - events / at_risk).astype(np.float64)
    return times, survival


def plan_windows(keys: pd.DataFrame, as_of_us: float, params: TrainingParams) -> Plan:
    """The windows of a training over all landmark rows of `keys` (labelled and still open ones)."""
    landmark = keys["as_of_us"].to_numpy(dtype=np.float64)
    labelled = keys["is_won"].notna().to_numpy()
    if len(np.unique(landmark[labelled])) < 4:
        return _without_time(keys, labelled, params)
    age = maturity_days(of_known_kinds(keys), as_of_us, params)
    closed_us = keys["closed_us"].to_numpy(dtype=np.float64)
    win = keys["is_won"].to_numpy(dtype=np.float64)
    opportunity = codes(keys["opportunity_id"])
    kinds = known_kinds(keys)
    usable = (landmark < as_of_us) & (keys["kind"].isin(kinds).to_numpy() if kinds else True)

    def rows(chosen: npt.NDArray[np.bool_]) -> Indices:
        found = np.flatnonzero(chosen)
        return found[np.lexsort((opportunity[found], landmark[found]))].astype(np.int64)

    def both_classes(part: Indices, known_us: float, least: int = MIN_CLASS_ROWS) -> bool:
        known = part[labelled[part] & ~(closed_us[part] >= known_us)]
        won = float(win[known].sum())
        return won >= least and len(known) - won >= least

    final = rows(usable)
    facts: dict[str, Any] = {
        "time_ordered": True,
        "maturity_days": round(age, 1),
        "maturity_rule": (
            f"windows that judge or calibrate end {age:.0f} days early (the {params.maturity_quantile:.0%} quantile of the time to close, at most "
            f"{params.max_maturity_share:.0%} of the history), so that most of their outcomes are known"
        ),
        "immature_rows": int((usable & (landmark > as_of_us - age * DAY)).sum()),
        "censored_rows": int((usable & ~labelled).sum()),
    }
    mature = usable & (landmark <= as_of_us - age * DAY)
    if mature.sum() < 4:
        nothing = np.zeros(0, dtype=np.int64)
        return Plan((), None, nothing, nothing, final, True, age, as_of_us, facts)
    test_from = _snap(landmark[mature], 1 - params.test_share)
    test = rows(mature & (landmark >= test_from))
    before = rows(usable & (landmark <= test_from - age * DAY) & (landmark < test_from))
    windows: list[dict[str, Any]] = [_window("test", test_from, None, test)]
    folds: list[Fold] = []
    calibration: Fold | None = None
    if len(before) >= 4:
        calibration_from = _snap(landmark[before], 1 - params.calibration_share)
        judged = before[landmark[before] >= calibration_from]
        taught = rows(usable & (landmark < calibration_from))
        if both_classes(taught, calibration_from) and both_classes(judged, test_from):
            calibration = Fold("calibration", taught, judged, calibration_from, test_from)
            windows.append(_window("calibration", calibration_from, test_from - age * DAY, judged))
        shares = np.linspace(
            1 - params.calibration_share - params.validation_share,
            1 - params.calibration_share,
            params.validation_windows + 1,
        )
        edges = [_snap(landmark[before], share) for share in shares]
        for number, (start, end) in enumerate(pairwise(edges), start=1):
            judged = before[(landmark[before] >= start) & (landmark[before] < end)]
            taught = rows(usable & (landmark < start))
            if both_classes(taught, start) and both_classes(judged, test_from, 2):
                folds.append(Fold(f"validation {number}", taught, judged, start, test_from))
                windows.append(_window(f"validation {number}", start, end, judged))
    facts["windows"] = sorted(windows, key=lambda window: str(window["from"]))
    if not both_classes(test, as_of_us, 2):
        test = np.zeros(0, dtype=np.int64)
    before_test = rows(usable & (landmark < test_from))
    return Plan(tuple(folds), calibration, before_test, test, final, True, age, as_of_us, facts)


def _snap(instants: Floats, share: float) -> float:
    """The landmark instant at that share of the rows: windows begin at landmarks."""
    ordered = np.sort(instants)
    return float(ordered[min(len(ordered) - 1, int(share * len(ordered)))])


def _window(name: str, start: float, end: float | None, rows: Indices) -> dict[str, Any]:
    def iso(instant: float | None) -> str | None:
        return None if instant is None else datetime.fromtimestamp(instant / 1e6, UTC).isoformat(timespec="seconds")

    return {"name": name, "from": iso(start), "to": iso(end), "rows": len(rows)}


def grouped_folds(groups: npt.NDArray[Any], folds: int, seed: int) -> Indices:
    """A fold number per row; rows of one group share it. Only for tables that have no time at all."""
    number = codes(groups)
    folded = np.random.default_rng(seed).permutation(int(number.max(initial=-1)) + 1) % folds
    return folded[number].astype(np.int64)


def _without_time(keys: pd.DataFrame, labelled: npt.NDArray[np.bool_], params: TrainingParams) -> Plan:
    """Grouped random folds (by account, else by opportunity): the only honest split where nothing has a date."""
    rows = np.flatnonzero(labelled).astype(np.int64)
    account = keys["account_id"].to_numpy(dtype=object)[rows]
    opportunity = keys["opportunity_id"].to_numpy(dtype=object)[rows]
    groups = np.where(pd.isna(account), opportunity, account)
    number = grouped_folds(groups, 5, params.seed)
    win = keys["is_won"].to_numpy(dtype=np.float64)

    def usable(part: Indices) -> bool:
        return 2 <= float(win[part].sum()) <= len(part) - 2

    validation = Fold("random fold 1", rows[number >= 3], rows[number == 2], np.inf, np.inf)
    calibration = Fold("calibration fold", rows[number >= 2], rows[number == 1], np.inf, np.inf)
    test = rows[number == 0]
    facts = {
        "time_ordered": False,
        "warning": "no dates: grouped RANDOM folds were used instead of time; the figures flatter the model",
        "maturity_days": 0.0,
        "maturity_rule": "none: no dates",
        "immature_rows": 0,
        "censored_rows": int((~labelled).sum()),
    }
    return Plan(
        tuple(fold for fold in (validation,) if usable(fold.train) and usable(fold.judge)),
        calibration if usable(calibration.train) and usable(calibration.judge) else None,
        rows[number >= 1],
        test if usable(test) else np.zeros(0, dtype=np.int64),
        rows,
        False,
        0.0,
        np.inf,
        facts,
    )


def thin_by_opportunity(rows: Indices, opportunity: npt.NDArray[Any], most: int, seed: int) -> Indices:
    """At most about `most` rows, by leaving out whole opportunities at random (seeded); order is kept."""
    if len(rows) <= most:
        return rows
    number = codes(opportunity[rows])
    size = np.bincount(number)
    order = np.random.default_rng(seed).permutation(len(size))
    kept = np.zeros(len(size), dtype=bool)
    kept[order[np.cumsum(size[order]) <= most]] = True
    return rows[kept[number]]


def time_stratified(rows: int, most: int) -> Indices:
    """At most so many evenly spaced positions: of rows in time order every period keeps its share, of rows by opportunity every opportunity."""
    if rows <= most:
        return np.arange(rows, dtype=np.int64)
    return np.unique(np.linspace(0, rows - 1, most).round().astype(np.int64))
