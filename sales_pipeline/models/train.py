"""Steps 4 and 5: train, choose, calibrate, judge once, fit for use, write the bundle.

The order, all by time: candidates are tuned and chosen on rolling validation windows; the choice is calibrated on the next window and
reported once on the untouched last one; then the chosen recipe is fitted on all matured rows, and its calibrator on the out-of-time scores of both
the calibration and the test window, the newest matured outcomes there are (the reported figures come from before that).

Belongs here: that order. Does not belong here: the parts (their own modules) and what a tracker does with them (`recording`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sales_pipeline.domain.identifiers import digest_of
from sales_pipeline.lake.tables import TableRef, read_table
from sales_pipeline.models.amounts import train_amount
from sales_pipeline.models.bundle import WinModel, write_bundle
from sales_pipeline.models.calibration import Calibrator, choose_calibrator, fit_logistic, fit_shrinking, interval_table
from sales_pipeline.models.candidates import WIN_CANDIDATES, Candidate, Fitting, Setting, shrunken_rates
from sales_pipeline.models.card import (
    JudgedWindow,
    count_rows,
    judged_figures,
    ledger_summary,
    reason_to_abstain,
    statements,
    timing_facts,
)
from sales_pipeline.models.encoding import Encoding
from sales_pipeline.models.estimators import Estimator, logit
from sales_pipeline.models.evaluation import (
    Choice,
    Result,
    candidates_of,
    choose,
    fit,
    is_possible,
    prepare,
    search,
    setting_text,
)
from sales_pipeline.models.matrix import DAY, FeatureTables, Floats, Indices, Matrix, load_matrix, of_known_kinds
from sales_pipeline.models.params import TrainingParams
from sales_pipeline.models.recording import CandidateRecord, record_training
from sales_pipeline.models.splits import Plan, plan_windows
from sales_pipeline.models.store import Recorder
from sales_pipeline.models.timing import learn_timing

SMALL_FAMILIES = ("base_rate", "stage_rate", "logistic_regression")
RATES = "shrunken_rates"
MIN_MINORITY = 5


@dataclass(frozen=True)
class TrainedModel:
    """A trained model at rest. `card` holds everything the model card prints; `run_id` is the tracker's (None: not recorded).

    `judged` are the out-of-time predictions on the untouched test window, for a paired comparison with another model.
    """

    version: str
    path: Path
    card: dict[str, Any]
    run_id: str | None
    judged: JudgedWindow | None


def train(
    features: FeatureTables,
    ledger: TableRef,
    params: TrainingParams,
    *,
    models: Path,
    recorder: Recorder,
    tags: Mapping[str, str] | None = None,
) -> TrainedModel:
    """Train on a feature set of purpose `training`; the bundle goes below `models` (the lake's folder of that name).

    `ledger` (LEAK_LEDGER) says which columns may be used. `tags` go to the tracker only. Works with any amount of data: with too little of it the
    model abstains or rests on rates, and its card says so.
    """
    verdicts = read_table(ledger).to_pylist()
    matrix = load_matrix(features, [row["column"] for row in verdicts if row["is_used"]])
    as_of_us = features.as_of.instant.timestamp() * 1e6
    trained = train_matrix(matrix, as_of_us, params, has_history=features.has_history)
    card = {
        "trained_through": features.as_of.isoformat(),
        "data_digest": features.key,
        "feature_contract": digest_of([column.to_dict() for column in matrix.columns]),
        "absent_features": dict(sorted(features.absent.items())),
        "ledger": ledger_summary(verdicts),
        "params": params.model_dump(),
        **trained.card,
    }
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
    return TrainedModel(bundle.version, bundle.path, card, run_id, trained.judged)


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


def train_matrix(matrix: Matrix, as_of_us: float, params: TrainingParams, *, has_history: bool) -> Parts:
    """Train on landmark rows; `has_history` says that their stages are those of the landmark, not the last seen ones."""
    plan = plan_windows(matrix.keys, as_of_us, params)
    won = matrix.keys["is_won"].to_numpy(dtype=np.float64)
    opportunity = matrix.keys["opportunity_id"].to_numpy(dtype=object)
    plan = _with_enough(plan, won)
    facts = count_rows(matrix, plan, won, opportunity)
    amount = train_amount(matrix, plan, params)
    timing = None
    if plan.is_time_ordered:
        mature_us = as_of_us - plan.maturity_days * DAY
        timing = learn_timing(
            of_known_kinds(matrix.keys), as_of_us, mature_before_us=mature_us, strength=params.prior_strength
        )
    card: dict[str, Any] = {
        "data": facts,
        "splits": plan.facts,
        "amount": {**amount.facts, "candidates": amount.candidates},
        "timing": timing_facts(timing is not None),
    }
    reason = reason_to_abstain(facts)
    records = tuple(CandidateRecord.of_amount(row, row["name"] == amount.facts["choice"]) for row in amount.candidates)
    if reason is not None:
        card["win"] = {"choice": None, "why": reason, "evidence_level": "rules", "has_skill": False, "candidates": []}
        return Parts(None, reason, timing, amount.model, card, records, None)
    win, win_card, win_records, judged = _train_win(matrix, plan, params, facts, has_history)
    card["win"] = win_card
    card["statements"] = statements(card)
    return Parts(win, None, timing, amount.model, card, (*win_records, *records), judged)


def _with_enough(plan: Plan, won: Floats) -> Plan:
    """With so young a history that matured rows lack a class, the maturity is waived, and said so."""
    labelled = np.flatnonzero(np.isfinite(won)).astype(np.int64)
    if len(set(won[plan.final].tolist())) == 2 or len(set(won[labelled].tolist())) < 2:
        return plan
    facts = {
        **plan.facts,
        "maturity_rule": "waived: matured landmarks alone hold too few outcomes",
        "maturity_days": 0.0,
    }
    return replace(plan, final=labelled, folds=(), calibration=None, maturity_days=0.0, facts=facts)


def _train_win(
    matrix: Matrix, plan: Plan, params: TrainingParams, facts: Mapping[str, Any], has_history: bool
) -> tuple[WinModel, dict[str, Any], tuple[CandidateRecord, ...], JudgedWindow | None]:
    opportunity = matrix.keys["opportunity_id"].to_numpy(dtype=object)
    rates = _rates_candidate(has_history)
    closed = int(facts["closed_opportunities"])
    families = [name for name in params.win_families if has_history or name != "stage_rate"]
    if closed < params.min_closed_for_full:
        families = [name for name in families if name in SMALL_FAMILIES]
    candidates = candidates_of("win", families)
    if plan.calibration is None:
        candidates = [candidate for candidate in candidates if candidate.is_probability]
    choice: Choice | None = None
    minority = min(int(facts["won_opportunities"]), int(facts["lost_opportunities"]))
    if closed < params.min_closed_for_model or minority < MIN_MINORITY:
        why = f"{closed} closed opportunities ({minority} of the rarer outcome): too few for more than shrunken rates"
    elif not plan.folds:
        why = "the history is too short for a validation window: shrunken rates"
    else:
        choice = choose(search(matrix, plan.folds, "win", candidates, params), opportunity, "base_rate", params)
        why = choice.why
    if choice is not None and choice.has_skill:
        recipe, setting = choice.chosen.candidate, choice.chosen.setting
    else:
        recipe, setting = rates, {}
    is_rates = recipe.name in ("base_rate", "stage_rate", rates.name)
    level = "rates" if is_rates else "small_model" if closed < params.min_closed_for_full else "full_model"
    records, judged, calibrator, calibration_note, later = _judge(matrix, plan, params, choice, recipe, setting)
    final = prepare(matrix, plan.final, "win", params)
    estimator = fit(recipe, setting, final.sample, params)
    encoding = Encoding((), ()) if is_rates else final.encoding
    if later is not None:
        rows, scores = later
        nearby = interval_table(calibrator.apply(scores), opportunity[rows])
    else:
        scores = estimator.score(final.sample.rows)
        nearby = interval_table(
            calibrator.apply(scores), final.sample.rows.keys["opportunity_id"].to_numpy(dtype=object)
        )
    created = matrix.keys["created_us"].to_numpy(dtype=np.float64)[plan.final]
    model = WinModel(recipe.name, level, encoding, estimator, calibrator, nearby, bool(np.isfinite(created).all()))
    test = judged_figures(judged, params)
    card = {
        "choice": recipe.name,
        "setting": setting_text(setting),
        "recipe": {"family": recipe.name, "setting": dict(setting)},
        "why": why,
        "has_skill": bool(choice is not None and choice.has_skill),
        "evidence_level": level,
        "note": recipe.note,
        "calibration": calibration_note,
        "interval": "80 %: Jeffreys' interval of a rate seen on as many out-of-time opportunities as were scored nearby",
        "columns_used": [column.name for column in encoding.columns],
        "candidates": [record.row() for record in records],
        "test": test,
    }
    return model, card, tuple(records), judged


def _rates_candidate(has_history: bool) -> Candidate:
    fields = ("stage",) if has_history else ("product_id", "owner_id")

    def fit_rates(task: Fitting) -> Estimator:
        return shrunken_rates(task.sample, fields, task.params.prior_strength)

    return Candidate(RATES, ({},), fit_rates, note="rates of " + ", ".join(fields) + ", shrunken to the base rate")


def _judge(
    matrix: Matrix, plan: Plan, params: TrainingParams, choice: Choice | None, recipe: Candidate, setting: Setting
) -> tuple[list[CandidateRecord], JudgedWindow | None, Calibrator, str, tuple[Indices, Floats] | None]:
    """Calibrate and report every family on the last two windows, and the calibrator of the recipe that will be used."""
    won = matrix.keys["is_won"].to_numpy(dtype=np.float64)
    opportunity = matrix.keys["opportunity_id"].to_numpy(dtype=object)
    best_of = list(choice.best_of) if choice is not None else []
    records: list[CandidateRecord] = []
    for result in best_of:
        is_chosen = choice is not None and choice.has_skill and result is choice.chosen
        records.append(CandidateRecord.of_win(result, won[result.rows], opportunity[result.rows], is_chosen))
    if plan.calibration is None:
        calibrator, note, later = _calibrator_from_validation(choice, won)
        return records, None, calibrator, note, later
    taught = prepare(matrix, plan.calibration.train, "win", params)
    parts = {"calibration": plan.calibration.judge, "test": plan.test}
    encoded = {name: taught.encoding.encode(matrix.take(rows)) for name, rows in parts.items()}

    def out_of_time(candidate: Candidate, chosen_setting: Setting) -> tuple[Floats, Floats]:
        model = fit(candidate, chosen_setting, taught.sample, params)
        return model.score(encoded["calibration"]), model.score(encoded["test"])

    calibration_won = won[plan.calibration.judge]
    for index, result in enumerate(best_of):
        if not len(plan.test) or not is_possible(result.candidate, taught.sample):
            continue
        earlier, last = out_of_time(result.candidate, result.setting)
        p = fit_logistic(earlier, calibration_won).apply(last)
        records[index] = records[index].with_test(won[plan.test], p, opportunity[plan.test])
    earlier, last = out_of_time(recipe, setting)
    first, _ = _calibrate(recipe, earlier, calibration_won, params)
    judged = None
    if len(plan.test):
        judged = JudgedWindow(plan.test, opportunity[plan.test], won[plan.test], first.apply(last))
    rows = np.concatenate([plan.calibration.judge, plan.test])
    scores = np.concatenate([earlier, last])
    calibrator, note = _calibrate(recipe, scores, won[rows], params)
    return (
        records,
        judged,
        calibrator,
        f"{note}; fitted on the calibration and test windows' out-of-time scores",
        (rows, scores),
    )


def _calibrate(recipe: Candidate, scores: Floats, won: Floats, params: TrainingParams) -> tuple[Calibrator, str]:
    if recipe.name == RATES:
        return fit_shrinking(scores, won), "logistic with a slope of at most 1, as rates are shrunken already"
    return choose_calibrator(scores, won, min_isotonic_rows=params.min_isotonic_rows)


def recipe_on_last_window(
    matrix: Matrix, as_of_us: float, params: TrainingParams, *, family: str, setting: Setting, has_history: bool
) -> Floats | None:
    """Probabilities of a recipe on the test window, fitted and calibrated on what was known before it; None without such windows."""
    won = matrix.keys["is_won"].to_numpy(dtype=np.float64)
    plan = _with_enough(plan_windows(matrix.keys, as_of_us, params), won)
    if plan.calibration is None or not len(plan.test):
        return None
    rates = _rates_candidate(has_history)
    candidate = rates if family == rates.name else WIN_CANDIDATES[family]
    _, judged, _, _, _ = _judge(matrix, plan, params, None, candidate, setting)
    return judged.probability if judged is not None else None


def _calibrator_from_validation(
    choice: Choice | None, won: Floats
) -> tuple[Calibrator, str, tuple[Indices, Floats] | None]:
    result: Result | None = choice.chosen if choice is not None and choice.has_skill else None
    if result is None or len(result.rows) < 30:
        return Calibrator(), "none: too few later rows", None
    scores = logit(result.predicted)
    return (
        fit_logistic(scores, won[result.rows]),
        "logistic, on the validation windows' predictions",
        (result.rows, scores),
    )
