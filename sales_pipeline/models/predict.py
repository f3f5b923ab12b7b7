"""From a bundle and a feature set to predictions: probability, timing, amount, reasons, each with its interval.

Every row is predicted from what it holds alone, so that a table of any size can be done a few rows at a time (`write_predictions`).

Belongs here: applying a bundle's parts to rows. Does not belong here: fitting them, grades and trends (scoring).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sales_pipeline.contracts.derive import REASON_TYPE
from sales_pipeline.contracts.internal import PREDICTIONS
from sales_pipeline.engines.base import Engine
from sales_pipeline.engines.machine import one_core
from sales_pipeline.lake.tables import TableRef, conform
from sales_pipeline.models.bundle import Bundle, WinModel, read_bundle
from sales_pipeline.models.contributions import Contributions, contributions, score
from sales_pipeline.models.estimators import expit, logit
from sales_pipeline.models.matrix import (
    DAY,
    FeatureTables,
    Floats,
    Matrix,
    SourceColumn,
    Texts,
    align,
    joined_matrix,
    load_matrix,
)
from sales_pipeline.models.reasons import rank_reasons
from sales_pipeline.models.scoring_rows import CUT, found_columns, joined, scoring_inputs
from sales_pipeline.models.stability import owner_columns
from sales_pipeline.models.timing import TIMING_COLUMNS, Timing
from sales_pipeline.models.wording import ENGLISH, Wording

WIN_COLUMNS = ("win_probability", "win_probability_low", "win_probability_high", "win_probability_owner_free")
BATCH_ROWS = 10_000
"""Rows predicted at a time: enough that numpy is busy with them, few enough that they take some 100 MB."""
LEAST_FAR = 3
MOST_FAR_SHARE = 0.25
FAR_OUTSIDE = "its figures lie far outside those of every opportunity the model has learnt from"
NO_CREATION = "no creation date: unlike every opportunity the model has learnt from"


@one_core()
def predict(bundle: Path, features: FeatureTables, wording: Wording = ENGLISH) -> pa.Table:
    """PREDICTIONS of every row of the feature set's spine, by the bundle in that folder; reasons as `wording` says."""
    model = read_bundle(bundle)
    return predict_matrix(model, load_matrix(features, [column.name for column in needed_columns(model)]), wording)


def write_predictions(
    bundle: Path,
    features: FeatureTables,
    folder: Path,
    engine: Engine,
    wording: Wording = ENGLISH,
    *,
    batch_rows: int = BATCH_ROWS,
) -> TableRef:
    """PREDICTIONS of every row of the feature set's spine as one file in `folder`: the same as `predict`, in memory that does not grow with the rows.

    The engine joins what the bundle looks at and hands it over in batches; where it works in several processes, each reads the bundle from its folder.
    """
    columns = needed_columns(_bundle(str(bundle)))
    found = found_columns(features, [column.name for column in columns], engine)
    return engine.apply_batches(
        joined(found),
        scoring_inputs(features),
        _predict_batch,
        _Shared(str(bundle), columns, found, wording),
        folder / f"{PREDICTIONS.name}.parquet",
        PREDICTIONS,
        batch_rows=batch_rows,
        cut=CUT,
    )


@dataclass(frozen=True)
class _Shared:
    """What every batch needs: the bundle's folder, the columns it looks at, those the rows hold, and the wording."""

    bundle: str
    columns: tuple[SourceColumn, ...]
    found: tuple[SourceColumn, ...]
    wording: Wording


@one_core()
def _predict_batch(rows: pa.Table, shared: _Shared) -> pa.Table:
    return predict_matrix(_bundle(shared.bundle), joined_matrix(rows, shared.found, shared.columns), shared.wording)


@lru_cache(maxsize=1)
def _bundle(path: str) -> Bundle:
    """The bundle, read once per process; a version's folder never changes."""
    return read_bundle(Path(path))


def needed_columns(bundle: Bundle) -> tuple[SourceColumn, ...]:
    """Source columns the bundle looks at, each once."""
    found: dict[str, SourceColumn] = {}
    for encoding in (bundle.win.encoding if bundle.win else None, bundle.amount.encoding if bundle.amount else None):
        for column in encoding.columns if encoding else ():
            found.setdefault(column.name, column)
    return tuple(found.values())


def win_probabilities(win: WinModel, matrix: Matrix) -> Floats:
    """Calibrated probabilities of rows whose frame holds the model's columns."""
    return win.calibrator.apply(score(win, matrix).score)


def predict_matrix(bundle: Bundle, matrix: Matrix, wording: Wording = ENGLISH) -> pa.Table:
    """PREDICTIONS of a matrix's rows; reasons as `wording` says."""
    matrix = align(matrix, needed_columns(bundle))
    rows = len(matrix)
    keys = matrix.keys
    missing = np.full(rows, np.nan)
    columns: dict[str, Any] = dict.fromkeys(WIN_COLUMNS, missing)
    up = down = pa.ListArray.from_arrays(pa.array(np.zeros(rows + 1, dtype=np.int32)), pa.array([], REASON_TYPE))
    reasons = reasons_to_abstain(bundle, matrix)
    abstains = reasons.mapped(lambda reason: reason is not None, bool)
    unseen = _of_unseen_kind(bundle, matrix)
    if bundle.win is not None:
        scored = score(bundle.win, matrix)
        p = bundle.win.calibrator.apply(scored.score)
        low, high = bundle.win.intervals.bounds(p)
        columns = {"win_probability": p, "win_probability_low": low, "win_probability_high": high}
        if bundle.win.evidence_level != "rules":
            parts = contributions(bundle.win, matrix, scored)
            up, down = rank_reasons(parts, wording, silent=abstains)
            owner_free = expit(logit(p) - _of_owners(parts))
        else:
            owner_free = p
        columns["win_probability_owner_free"] = owner_free
    columns |= _timing(bundle.timing, matrix, columns["win_probability"])
    for name, values in columns.items():
        columns[name] = np.where(abstains, np.nan, values)
    columns |= {name: np.where(unseen, np.nan, values) for name, values in _amounts(bundle, matrix).items()}
    level = bundle.win.evidence_level if bundle.win else "rules"
    days = ("predicted_close_date", "predicted_close_date_low", "predicted_close_date_high")
    data = {
        "opportunity_id": pa.array(keys["opportunity_id"], pa.string()),
        "as_of": pa.array(keys["as_of_us"].to_numpy(dtype=np.float64).astype(np.int64), pa.int64()).cast(
            pa.timestamp("us", tz="UTC")
        ),
        **{name: _numbers(values) for name, values in columns.items() if name not in days},
        **{name: _dates(columns[name]) for name in days},
        "reasons_up": up,
        "reasons_down": down,
        "evidence_level": _texts(reasons, lambda reason: level if reason is None else "rules"),
        "abstain_reason": _texts(reasons, wording.abstention),
    }
    return conform(pa.table(data), PREDICTIONS)


def reasons_to_abstain(bundle: Bundle, matrix: Matrix) -> Texts:
    """Per row why no probability is given: the record is outside what the model has seen; None where one is given.

    Outside are: kinds of which nothing has closed (unless nothing has closed at all: then rules speak), no creation date where all had one, a stage no
    landmark stood in (rates need none), and more than `MOST_FAR_SHARE` of the numbers the model looks at far outside their training range (beyond it by more than its own width).
    """
    number = np.zeros(len(matrix), dtype=np.int64)
    if bundle.win is None:
        return Texts(number, (bundle.abstain_reason,))
    names: list[str | None] = [None]

    def say(reason: str, rows: npt.NDArray[np.bool_]) -> None:
        number[rows] = len(names)
        names.append(reason)

    say(FAR_OUTSIDE, _far_outside(bundle.win, matrix))
    stages = bundle.card["data"].get("stages", [])
    if stages and bundle.win.evidence_level.endswith("model"):
        held = Texts.of(matrix.keys["stage"])
        for place, stage in enumerate(held.names):
            if stage is not None and stage not in stages:
                say(f"stage {stage} was not met before: nothing to learn from", held.number == place)
    if bundle.win.needs_created_at:
        say(NO_CREATION, matrix.keys["created_us"].isna().to_numpy())
    kinds = bundle.card["data"]["kinds"]
    held = Texts.of(matrix.keys["kind"])
    for place, kind in enumerate(held.names if kinds else ()):
        if kind not in kinds:
            say(f"no {kind} is known to have closed: nothing to learn from", held.number == place)
    return Texts(number, tuple(names))


def _of_unseen_kind(bundle: Bundle, matrix: Matrix) -> npt.NDArray[np.bool_]:
    kinds = bundle.card["data"]["kinds"]
    return Texts.of(matrix.keys["kind"]).mapped(lambda kind: bool(kinds) and kind not in kinds, bool)


def _far_outside(win: WinModel, matrix: Matrix) -> npt.NDArray[np.bool_]:
    """Whether many of the numbers a row has lie far outside."""
    blocks = {
        column.name: block
        for column, block in zip(win.encoding.columns, win.encoding.blocks, strict=True)
        if "low" in block and column.kind == "number"
    }
    low, high = (np.array([block[end] for block in blocks.values()]) for end in ("low", "high"))
    values = matrix.frame[list(blocks)].to_numpy(dtype=np.float64)
    far = ((values > high + (high - low)) | (values < low - (high - low))).sum(axis=1)
    return np.asarray((far >= LEAST_FAR) & (far > MOST_FAR_SHARE * len(blocks)), dtype=bool)


def _of_owners(parts: Contributions) -> Floats:
    """What a row's log-odds owe to who owns it and what the owner has done, against the training mean."""
    about = owner_columns()
    chosen = np.array([column.name in about for column in parts.columns], dtype=bool)
    return np.asarray(parts.effects[:, : len(chosen)][:, chosen].sum(axis=1), dtype=np.float64)


def _timing(timing: Timing | None, matrix: Matrix, p: Floats) -> dict[str, Floats]:
    if timing is None:
        return {name: np.full(len(matrix), np.nan) for name in TIMING_COLUMNS}
    return timing.predict(matrix, p)


def _amounts(bundle: Bundle, matrix: Matrix) -> dict[str, Floats]:
    names = ("expected_amount", "expected_amount_low", "expected_amount_high")
    if bundle.amount is None:
        return {name: np.full(len(matrix), np.nan) for name in names}
    return dict(zip(names, bundle.amount.predict(matrix), strict=True))


def _texts(texts: Texts, told: Callable[[str | None], str | None]) -> pa.Array:
    """What is told of each row's text."""
    return pa.array([told(name) for name in texts.names], pa.string()).take(pa.array(texts.number))


def _numbers(values: npt.NDArray[Any]) -> pa.Array:
    return pa.array(np.asarray(values, dtype=np.float64), pa.float64(), from_pandas=True)


def _dates(instants: Floats) -> pa.Array:
    """Days (UTC) of instants in microseconds; NaN gives NULL."""
    days = np.floor(np.where(np.isfinite(instants), instants, 0.0) / DAY).astype(np.int32)
    return pa.array(days, pa.int32(), mask=~np.isfinite(instants)).cast(pa.date32())
