"""Steps 4 and 5: train, choose, calibrate, judge once, fit for use, write the bundle.

The order, all by time: candidates are tuned and chosen on rolling validation windows; the choice is calibrated on the next window and
reported once on the untouched last one; then the chosen recipe is fitted on all rows, and its calibrator on the out-of-time scores of both
the calibration and the test window, the newest matured ones there are (the reported figures come from before that). Rows still open count with
what is to be expected of them (`expected_outcomes`), as known at each step's instant.

Belongs here: that order. Does not belong here: the parts (their own modules) and what a tracker does with them (`recording`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sales_pipeline.domain.identifiers import digest_of
from sales_pipeline.engines.machine import one_core
from sales_pipeline.lake.tables import TableRef, read_table
from sales_pipeline.models.amounts import train_amount
from sales_pipeline.models.bundle import WinModel, write_bundle
from sales_pipeline.models.card import (
    JudgedWindow,
    count_rows,
    ledger_summary,
    sample_statement,
    statements,
    timing_facts,
)
from sales_pipeline.models.expected_outcomes import learn_expectations
from sales_pipeline.models.matrix import FeatureTables, Matrix, load_matrix
from sales_pipeline.models.params import SAMPLE_PARAMS, TrainingParams
from sales_pipeline.models.recording import CandidateRecord, record_training
from sales_pipeline.models.splits import plan_windows
from sales_pipeline.models.store import Recorder
from sales_pipeline.models.timing import calibrate, learn_timing
from sales_pipeline.models.win import Recipe, Rivals, train_win


@dataclass(frozen=True)
class TrainedModel:
    """A trained model at rest. `card` holds everything the model card prints; `run_id` is the tracker's (None: not recorded).

    `judged` are the out-of-time predictions on the untouched test window, for a paired comparison with another model; `rivals` models fitted on the same rows, where asked for.
    """

    version: str
    path: Path
    card: dict[str, Any]
    run_id: str | None
    judged: JudgedWindow | None
    rivals: Mapping[str, WinModel] = field(default_factory=dict)


def train(
    features: FeatureTables,
    ledger: TableRef,
    params: TrainingParams,
    *,
    models: Path,
    recorder: Recorder,
    tags: Mapping[str, str] | None = None,
    recipe: Recipe | None = None,
    rivals: Rivals | None = None,
    sample: Mapping[str, Any] | None = None,
) -> TrainedModel:
    """Train on a feature set of purpose `training`; the bundle goes below `models` (the lake's folder of that name).

    `ledger` (LEAK_LEDGER) says which columns may be used. `tags` go to the tracker only. Works with any amount of data: with too little of it the
    model abstains or rests on rates, and its card says so. With a `recipe` nothing is searched: that family and setting is fitted and calibrated.
    With `rivals` the baselines and a challenger are fitted beside it. `sample`: what the card says of the draw where the feature set is one (`sampling`).
    """
    verdicts = read_table(ledger).to_pylist()
    matrix = load_matrix(features, [row["column"] for row in verdicts if row["is_used"]])
    as_of_us = features.as_of.instant.timestamp() * 1e6
    trained = train_matrix(matrix, as_of_us, params, has_history=features.has_history, recipe=recipe, rivals=rivals)
    card = {
        "trained_through": features.as_of.isoformat(),
        "data_digest": features.key,
        "feature_contract": digest_of([column.to_dict() for column in matrix.columns]),
        "absent_features": dict(sorted(features.absent.items())),
        "ledger": ledger_summary(verdicts),
        "params": params.model_dump(exclude=set(SAMPLE_PARAMS) if sample is None else None),
        **trained.card,
    }
    if sample is not None:
        card["data"]["sample"] = dict(sample)
        card["statements"] = [sample_statement(sample), *card["statements"]]
    bundle = write_bundle(
        models,
        win=trained.win,
        abstain_reason=trained.abstain_reason,
        timing=trained.timing,
        amount=trained.amount,
        card=card,
    )
    run_id = record_training(
        recorder,
        card=card,
        version=bundle.version,
        candidates=trained.records,
        ledger=verdicts,
        columns=[column.name for column in matrix.columns],
        rows=len(matrix),
        tags=tags or {},
    )
    return TrainedModel(bundle.version, bundle.path, card, run_id, trained.judged, trained.rivals)


@dataclass(frozen=True)
class Parts:
    """What a training of a matrix gives, before it is written."""

    win: WinModel | None
    abstain_reason: str | None
    timing: Any
    amount: Any
    card: dict[str, Any]
    records: tuple[CandidateRecord, ...]
    judged: JudgedWindow | None
    rivals: Mapping[str, WinModel]


@one_core()
def train_matrix(
    matrix: Matrix,
    as_of_us: float,
    params: TrainingParams,
    *,
    has_history: bool,
    recipe: Recipe | None = None,
    rivals: Rivals | None = None,
) -> Parts:
    """Train on landmark rows; `has_history` says that their stages are those of the landmark, not the last seen ones."""
    plan = plan_windows(matrix.keys, as_of_us, params)
    won = matrix.keys["is_won"].to_numpy(dtype=np.float64)
    opportunity = matrix.keys["opportunity_id"].to_numpy(dtype=object)
    facts = count_rows(matrix, plan, won, opportunity)
    # Last seen stages of closed opportunities say nothing about the stages open ones stand in.
    facts["stages"] = sorted(set(matrix.keys["stage"].iloc[plan.final].dropna().astype(str))) if has_history else []
    amount = train_amount(matrix, plan, params, recipe=recipe.amount if recipe else None)
    now = learn_expectations(matrix, plan.as_of_us, params)
    card: dict[str, Any] = {
        "data": facts,
        "splits": plan.facts,
        "amount": {**amount.facts, "candidates": amount.candidates},
    }
    records = tuple(CandidateRecord.of_amount(row, row["name"] == amount.facts["choice"]) for row in amount.candidates)
    win = train_win(matrix, plan, params, facts, now, has_history=has_history, recipe=recipe, rivals=rivals)
    card["win"] = win.card
    timing = None
    if plan.is_time_ordered:
        timing = learn_timing(matrix, now.outcomes(matrix), params, as_of_us=as_of_us)
        if timing is not None and win.later is not None:
            rows, p = win.later
            timing = calibrate(timing, matrix.take(rows), p, as_of_us=as_of_us)
    card["timing"] = timing_facts(timing)
    card["statements"] = statements(card)
    return Parts(win.model, None, timing, amount.model, card, (*win.records, *records), win.judged, win.rivals)
