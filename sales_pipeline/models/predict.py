"""From a bundle and a feature set to predictions: probability, timing, amount, reasons, each with its interval.

Belongs here: applying a bundle's parts to rows. Does not belong here: fitting them, grades and trends (scoring).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sales_pipeline.contracts.derive import REASON_TYPE
from sales_pipeline.contracts.internal import PREDICTIONS
from sales_pipeline.lake.tables import conform
from sales_pipeline.models.bundle import Bundle, WinModel, read_bundle
from sales_pipeline.models.estimators import Rates
from sales_pipeline.models.matrix import DAY, FeatureTables, Floats, Matrix, SourceColumn, align, load_matrix
from sales_pipeline.models.reasons import Reason, rank_reasons, rate_columns
from sales_pipeline.models.timing import Timing

WIN_COLUMNS = ("win_probability", "win_probability_low", "win_probability_high")
NO_CREATION = "no creation date: unlike every opportunity the model has learnt from"


def predict(bundle: Path, features: FeatureTables) -> pa.Table:
    """PREDICTIONS of every row of the feature set's spine, by the bundle in that folder."""
    model = read_bundle(bundle)
    return predict_matrix(model, load_matrix(features, [column.name for column in needed_columns(model)]))


def needed_columns(bundle: Bundle) -> tuple[SourceColumn, ...]:
    """Source columns the bundle looks at, each once."""
    found: dict[str, SourceColumn] = {}
    for encoding in (bundle.win.encoding if bundle.win else None, bundle.amount.encoding if bundle.amount else None):
        for column in encoding.columns if encoding else ():
            found.setdefault(column.name, column)
    return tuple(found.values())


def win_probabilities(win: WinModel, matrix: Matrix) -> Floats:
    """Calibrated probabilities of rows whose frame holds the model's columns."""
    return win.calibrator.apply(win.estimator.score(win.encoding.encode(matrix)))


def predict_matrix(bundle: Bundle, matrix: Matrix) -> pa.Table:
    """PREDICTIONS of a matrix's rows."""
    matrix = align(matrix, needed_columns(bundle))
    rows = len(matrix)
    keys = matrix.keys
    abstains = np.zeros(rows, dtype=bool)
    reasons: list[str | None] = [None] * rows
    missing = np.full(rows, np.nan)
    columns: dict[str, Any] = dict.fromkeys(WIN_COLUMNS, missing)
    up: list[list[Reason]] = [[] for _ in range(rows)]
    down: list[list[Reason]] = [[] for _ in range(rows)]
    unseen = ~keys["kind"].isin(bundle.card["data"]["kinds"]).to_numpy()
    if bundle.win is None:
        abstains[:] = True
        reasons = [bundle.abstain_reason] * rows
    else:
        reasons = [
            f"no {kind} is known to have closed: nothing to learn from" if flag else None
            for kind, flag in zip(keys["kind"], unseen, strict=True)
        ]
        abstains = unseen.copy()
        if bundle.win.needs_created_at:
            undated = np.isnan(keys["created_us"].to_numpy(dtype=np.float64)) & ~unseen
            abstains |= undated
            reasons = [NO_CREATION if flag else reason for flag, reason in zip(undated, reasons, strict=True)]
        p = win_probabilities(bundle.win, matrix)
        low, high = bundle.win.intervals.bounds(p)
        columns = {"win_probability": p, "win_probability_low": low, "win_probability_high": high}
        up, down = explain(bundle.win, matrix)
        for row in np.flatnonzero(abstains):
            up[row], down[row] = [], []
    columns |= _timing(bundle.timing, matrix, columns["win_probability"])
    for name, values in columns.items():
        columns[name] = np.where(abstains, np.nan, values)
    columns |= {name: np.where(unseen, np.nan, values) for name, values in _amounts(bundle, matrix).items()}
    level = bundle.win.evidence_level if bundle.win else "rules"
    days = ("predicted_close_date", "predicted_close_date_low", "predicted_close_date_high")
    data = {
        "opportunity_id": pa.array(keys["opportunity_id"].to_numpy(dtype=object), pa.string()),
        "as_of": pa.array(keys["as_of_us"].to_numpy(dtype=np.float64).astype(np.int64), pa.int64()).cast(
            pa.timestamp("us", tz="UTC")
        ),
        **{name: _numbers(values) for name, values in columns.items() if name not in days},
        **{name: _dates(columns[name]) for name in days},
        "reasons_up": pa.array(up, pa.list_(REASON_TYPE)),
        "reasons_down": pa.array(down, pa.list_(REASON_TYPE)),
        "evidence_level": pa.array(["rules" if flag else level for flag in abstains], pa.string()),
        "abstain_reason": pa.array(reasons, pa.string()),
    }
    return conform(pa.table(data), PREDICTIONS)


def explain(win: WinModel, matrix: Matrix) -> tuple[list[list[Reason]], list[list[Reason]]]:
    """Three reasons up and three down per row, in calibrated log-odds against the training mean."""
    rows = win.encoding.encode(matrix)
    effects, names = win.estimator.contributions(rows)
    score = win.estimator.score(rows)
    # Effects add up to score - reference (all families but kernel machines), so each row gives the reference.
    reference = float(np.median(score - effects.sum(axis=1))) if len(score) else 0.0
    effects = effects * win.calibrator.secant(score, reference)[:, None]
    if isinstance(win.estimator, Rates):
        columns = rate_columns(names)
        values = {name: matrix.keys[name].to_numpy(dtype=object) for name in names}
        return rank_reasons(effects, columns, values)
    values = {column.name: matrix.frame[column.name].to_numpy() for column in win.encoding.columns}
    return rank_reasons(effects, win.encoding.columns, values, win.encoding)


def _timing(timing: Timing | None, matrix: Matrix, p: Floats) -> dict[str, Floats]:
    names = ("win_probability_30d", "win_probability_90d", "predicted_close_date", "predicted_close_date_low")
    columns = {name: np.full(len(matrix), np.nan) for name in (*names, "predicted_close_date_high", "slip_probability")}
    if timing is None:
        return columns
    stage = matrix.keys["stage"].to_numpy(dtype=object)
    as_of = matrix.keys["as_of_us"].to_numpy(dtype=np.float64)
    if timing.winning is not None:
        for days in (30, 90):
            columns[f"win_probability_{days}d"] = p * timing.winning.shares(stage, np.full(len(p), float(days)))
    for name, level in (("", 0.5), ("_low", 0.1), ("_high", 0.9)):
        columns[f"predicted_close_date{name}"] = as_of + timing.closing.quantiles(stage, level) * DAY
    until = (matrix.keys["crm_close_us"].to_numpy(dtype=np.float64) - as_of) / DAY
    known = np.isfinite(until)
    slip = 1.0 - timing.closing.shares(stage, np.where(known, until, 0.0))
    columns["slip_probability"] = np.where(known, slip, np.nan)
    return columns


def _amounts(bundle: Bundle, matrix: Matrix) -> dict[str, Floats]:
    names = ("expected_amount", "expected_amount_low", "expected_amount_high")
    if bundle.amount is None:
        return {name: np.full(len(matrix), np.nan) for name in names}
    return dict(zip(names, bundle.amount.predict(matrix), strict=True))


def _numbers(values: npt.NDArray[Any]) -> pa.Array:
    return pa.array(np.asarray(values, dtype=np.float64), pa.float64(), from_pandas=True)


def _dates(instants: Floats) -> pa.Array:
    """Days (UTC) of instants in microseconds; NaN gives NULL."""
    days = np.floor(np.where(np.isfinite(instants), instants, 0.0) / DAY).astype(np.int32)
    return pa.array(days, pa.int32(), mask=~np.isfinite(instants)).cast(pa.date32())
