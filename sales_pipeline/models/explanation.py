"""Why a probability changed from one run to the next: passing of time, new data, a new model, its recalibration.

One thing is exchanged after the other, in this order, and each step's change in log-odds is that part (a waterfall):

1. the old row under the old model, as published;
2. time: the same row at the new as-of had nothing happened (ages grow, days to a date fall, windows empty; `pass_time`);
3. data: the new row;
4. model: the new model, under the old calibrator;
5. recalibration: the new calibrator, which gives the new published probability.

So the parts add up exactly to the change of the published log-odds. A part depends on the order where effects are not additive; averaging over all orders
(Shapley, 1953; Lundberg and Lee, 2017) would hide nothing, but has no reading as a story: time passes before news arrives, and a model is exchanged on the
newest data. Models of two families have raw scores of different scales, so step 4 takes both and step 5 is 0.

Belongs here: that arithmetic. Does not belong here: contributions (`contributions`), windows over events (`features.elapsed`), finding runs (the application).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from sales_pipeline.engines.machine import one_core
from sales_pipeline.models.bundle import Bundle, WinModel
from sales_pipeline.models.contributions import Contributions, contributions
from sales_pipeline.models.estimators import logit
from sales_pipeline.models.matrix import DAY, Matrix
from sales_pipeline.models.predict import win_probabilities
from sales_pipeline.models.reasons import LEAST_WEIGHT, Reason, add_up, loudest
from sales_pipeline.models.wording import CATALOGUE, ENGLISH, Wording, is_missing

PUBLISHED_DECIMALS = 6
"""Places a published probability has."""


@dataclass(frozen=True)
class Change:
    """The change of one opportunity's published log-odds of being won; the four parts add up to `total`.

    `details` are the terms that moved by time or data, largest first: {part, code, label, text, weight}. `is_split` is False where the
    model's part holds the recalibration too, because the family changed.
    """

    time: float
    data: float
    model: float
    recalibration: float
    total: float
    details: tuple[Reason, ...]
    is_split: bool = True

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data."""
        parts = {name: getattr(self, name) for name in ("total", "time", "data", "model", "recalibration")}
        return {**parts, "is_split": self.is_split, "details": list(self.details)}


@one_core()
def why_changed(
    old: Bundle,
    old_row: Matrix,
    new: Bundle,
    new_row: Matrix,
    *,
    moved: Matrix | None = None,
    wording: Wording = ENGLISH,
) -> Change:
    """Split the change between two runs of one opportunity.

    Parameters
    ----------
    old, new
        The models of the runs; both give probabilities. The same version twice has no part of its own.
    old_row, new_row
        One row each, with the columns of both models, of the same opportunity at two as-ofs.
    moved
        `pass_time` of the two with windows; None does without them, so that what leaves a window counts as data.
    """
    if old.win is None or new.win is None:
        raise ValueError("a change needs a probability in both runs")
    moved = pass_time(old_row, new_row) if moved is None else moved
    steps = stack((old_row, moved, new_row))
    before, aged, refreshed = (float(value) for value in published_log_odds(old.win, steps))
    if old.version == new.version:
        retrained = recalibrated = refreshed
    else:
        recalibrated = float(published_log_odds(new.win, new_row)[0])
        # The family says what a raw score means; a calibrator of another one cannot read it.
        is_alike = old.win.family == new.win.family
        halfway = replace(new.win, calibrator=old.win.calibrator)
        retrained = float(published_log_odds(halfway, new_row)[0]) if is_alike else recalibrated
    # What documented rules say was not learnt from anything: there is nothing to word.
    parts = contributions(old.win, steps) if old.win.evidence_level != "rules" else None
    details = (*_moves(parts, 0, 1, "time", wording), *_moves(parts, 1, 2, "data", wording)) if parts else ()
    return Change(
        time=aged - before,
        data=refreshed - aged,
        model=retrained - refreshed,
        recalibration=recalibrated - retrained,
        total=recalibrated - before,
        details=tuple(sorted(details, key=lambda move: -abs(move["weight"]))),
        is_split=old.win.family == new.win.family,
    )


def published_log_odds(win: WinModel, matrix: Matrix) -> Any:
    """Log-odds of the probabilities as they are published, one per row."""
    return logit(np.round(win_probabilities(win, matrix), PUBLISHED_DECIMALS))


def pass_time(old: Matrix, new: Matrix, windows: Mapping[str, float | None] | None = None) -> Matrix:
    """The old rows at the new rows' as-of, had nothing happened.

    `windows` are the values of features that look at the days around the as-of (`features.elapsed`), for matrices of one row; without them these
    stay as they were. Features that follow from the as-of alone are taken from the new rows.
    """
    frame, keys = old.frame.copy(), old.keys.copy()
    keys["as_of_us"] = new.keys["as_of_us"].to_numpy()
    was, now = (_last_day(matrix) for matrix in (old, new))
    elapsed = now - was
    exactly = (new.keys["as_of_us"].to_numpy(dtype=np.float64) - old.keys["as_of_us"].to_numpy(dtype=np.float64)) / DAY
    for column in old.columns:
        values = frame[column.name].to_numpy()
        clock = CATALOGUE[column.name].clock if column.name in CATALOGUE else ""
        if column.is_date:
            frame[column.name] = values + exactly
        elif clock == "grows":
            frame[column.name] = values + elapsed
        elif clock == "falls":
            frame[column.name] = values - elapsed
        elif clock == "calendar" and column.name in new.frame:
            frame[column.name] = new.frame[column.name].to_numpy()
        elif clock == "overdue":
            # The key is the end of the close date; it has passed once the last day seen begins after it.
            close = old.keys["crm_close_us"].to_numpy(dtype=np.float64)
            frame[column.name] = np.where(np.isnan(values.astype(np.float64)), np.nan, close <= now * DAY)
        elif clock == "window" and windows is not None and column.name in windows and not np.isnan(values).all():
            value = windows[column.name]
            frame[column.name] = np.full(len(values), np.nan if value is None else value)
    return Matrix(frame, keys, old.columns)


def stack(parts: tuple[Matrix, ...]) -> Matrix:
    """Rows of matrices with the same columns, one below the other."""
    return Matrix(
        pd.concat([part.frame for part in parts], ignore_index=True),
        pd.concat([part.keys for part in parts], ignore_index=True),
        parts[0].columns,
    )


def _last_day(matrix: Matrix) -> Any:
    """The last day (UTC, since 1970-01-01) an as-of sees something of."""
    return np.floor((matrix.keys["as_of_us"].to_numpy(dtype=np.float64) - 1) / DAY)


def _moves(parts: Contributions, start: int, end: int, part: str, wording: Wording) -> list[Reason]:
    """What each term's contribution moved by between two rows, told by the member that moved most its way, if there is one with another value."""
    terms = add_up(parts, wording)
    moved = parts.effects[end] - parts.effects[start]
    found = []
    for number, code in enumerate(terms.codes):
        weight = float(terms.weights[end, number] - terms.weights[start, number])
        if abs(weight) < LEAST_WEIGHT:
            continue
        members = [int(member) for member in terms.members[number]]
        pulling = [i for i in members if moved[i] * weight > 0 and _is_another(parts, i, start, end)]
        column = parts.columns[loudest(moved, pulling or members, weight)]
        text = wording.sentence(
            column,
            parts.values[column.name][end],
            weight,
            known=parts.known.get(column.name),
            usual=parts.usual.get(column.name),
            is_rate=parts.is_rate,
        )
        if pulling and not wording.hides(column.name):
            was = wording.value(parts.values[column.name][start], column, parts.known.get(column.name))
            text = wording.phrase("before", text=text, value=was or wording.phrase("none"))
        elif not pulling:
            text = wording.phrase("unchanged", text=text)
        found.append(
            {"part": part, "code": code, "label": wording.term_label(code, column), "text": text, "weight": weight}
        )
    return found


def _is_another(parts: Contributions, column: int, start: int, end: int) -> bool:
    """Whether the column's value differs between two rows; missing equals missing."""
    was, now = (parts.values[parts.columns[column].name][row] for row in (start, end))
    return is_missing(was) != is_missing(now) if is_missing(was) or is_missing(now) else bool(was != now)
