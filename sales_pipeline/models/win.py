"""The win model: which recipe, how calibrated, how judged, and what its card says.

Belongs here: from a plan to a `WinModel`. Does not belong here: amounts and dates (`amounts`, `timing`), writing (`bundle`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from sales_pipeline.models.bundle import WinModel
from sales_pipeline.models.calibration import Calibrator, fit_logistic, interval_table
from sales_pipeline.models.candidates import WIN_CANDIDATES, Candidate, Fitting, Setting, shrunken_rates
from sales_pipeline.models.card import JudgedWindow, judged_figures
from sales_pipeline.models.encoding import Encoding
from sales_pipeline.models.estimators import Estimator, Rates, Tree, logit
from sales_pipeline.models.evaluation import (
    Choice,
    Prepared,
    candidates_of,
    choose,
    clusters,
    fit,
    is_possible,
    prepare,
    search,
    setting_text,
)
from sales_pipeline.models.expected_outcomes import Expectations, learn_expectations
from sales_pipeline.models.ladder import RULES_TEXT, few_model, rules_model
from sales_pipeline.models.matrix import Floats, Indices, Matrix
from sales_pipeline.models.params import TrainingParams
from sales_pipeline.models.recording import CandidateRecord
from sales_pipeline.models.splits import Plan, plan_windows
from sales_pipeline.models.stability import importance
from sales_pipeline.models.tree_rules import rules
from sales_pipeline.models.windows import RATES, LastWindows, Scored, can_be_fitted, last_windows

BASELINES = ("base_rate", "stage_rate")
SMALL_FAMILIES = ("base_rate", "stage_rate", "logistic_regression")
MIN_MINORITY = 5
"""Opportunities of the rarer outcome below which nothing but rates is learnt."""
MIN_CALIBRATION = 30
CENSORING = "opportunities still open count with the chance of winning of the state they are in, learnt step by step (won, lost or still open after each)"
CLOSED_ONLY = "too little has closed to say what is to be expected of opportunities still open: they are left out"


@dataclass(frozen=True)
class Recipe:
    """A family with its setting: what a search finds, and what can be fitted again without one. `amount`: those of the amount (None: search)."""

    family: str
    setting: Setting = field(default_factory=dict)
    amount: tuple[str, Setting] | None = None


@dataclass(frozen=True)
class Rivals:
    """Whom to fit beside the model, on the same rows: the baselines, and a challenger (None: the best family but the chosen one)."""

    challenger: Recipe | None = None


@dataclass(frozen=True)
class WinTraining:
    """The model, what its card says, a record per candidate family, the predictions of the untouched window whose outcome is seen (None: there is no window), all its rows with their
    probabilities, and rivals by name."""

    model: WinModel
    card: dict[str, Any]
    records: tuple[CandidateRecord, ...] = ()
    judged: JudgedWindow | None = None
    later: tuple[Indices, Floats] | None = None
    rivals: Mapping[str, WinModel] = field(default_factory=dict)


@dataclass(frozen=True)
class _Fits:
    """What every recipe is fitted, calibrated and judged on."""

    matrix: Matrix
    plan: Plan
    params: TrainingParams
    final: Prepared
    windows: LastWindows | None
    closed: int

    def model(
        self, candidate: Candidate, setting: Setting, choice: Choice | None = None
    ) -> tuple[WinModel, str, Scored | None]:
        """A recipe ready for use, how it was calibrated, and its scores of the last windows."""
        estimator = fit(candidate, setting, self.final.sample, self.params)
        is_rates = candidate.name in (*BASELINES, RATES)
        level = (
            "rates" if is_rates else "small_model" if self.closed < self.params.min_closed_for_full else "full_model"
        )
        opportunity = self.matrix.keys["opportunity_id"].to_numpy(dtype=object)
        scored = None
        if self.windows is not None:
            scored = self.windows.scored(candidate, setting)
            calibrator, note = self.windows.calibrator(candidate, scored, estimator, self.final, self.plan.as_of_us)
            p, ids = calibrator.apply(scored.scores), opportunity[self.windows.rows]
        else:
            calibrator, note, p, ids = _calibrated_otherwise(choice, estimator, self.final)
        created = self.matrix.keys["created_us"].to_numpy(dtype=np.float64)[self.plan.final]
        needs_created_at = bool(np.isfinite(created).all())
        encoding = Encoding((), ()) if is_rates else self.final.encoding
        model = WinModel(
            candidate.name, level, encoding, estimator, calibrator, interval_table(p, ids), needs_created_at
        )
        return model, note, scored

    def rivals(self, rivals: Rivals, choice: Choice | None, has_history: bool) -> dict[str, WinModel]:
        """`base_rate`, `stage_rate` and, where there is one, `challenger`."""
        challenger = rivals.challenger or _challenger(choice)
        wanted = {name: Recipe(name) for name in BASELINES if has_history or name != "stage_rate"}
        wanted |= {"challenger": challenger} if challenger is not None else {}
        found = {}
        for name, recipe in wanted.items():
            candidate = candidate_of(recipe, has_history)
            if can_be_fitted(candidate, self.windows, self.final):
                found[name] = self.model(candidate, recipe.setting)[0]
        return found


def train_win(
    matrix: Matrix,
    plan: Plan,
    params: TrainingParams,
    facts: Mapping[str, Any],
    now: Expectations,
    *,
    has_history: bool,
    recipe: Recipe | None,
    rivals: Rivals | None = None,
) -> WinTraining:
    """Train the win model.

    `facts` are `card.count_rows`, `now` what is to be expected of rows open at the plan's as-of. Few closed opportunities give rates; without
    a `recipe` the candidates are searched, and rates are used where none beats the base rate.
    """
    rates = rates_candidate(has_history)
    closed = int(facts["closed_opportunities"])
    choice: Choice | None = None
    minority = min(int(facts["won_opportunities"]), int(facts["lost_opportunities"]))
    if closed < params.min_closed_for_model or minority < MIN_MINORITY:
        model, card = _few(matrix, plan, params, facts, rates)
        return WinTraining(model, card)
    if recipe is not None:
        why = "the recipe was given"
    elif not plan.folds:
        why = "the history is too short for a validation window: shrunken rates"
    else:
        results = search(matrix, plan.folds, "win", _candidates(params, closed, has_history), params)
        choice = choose(results, clusters(matrix.keys), "base_rate", params)
        why = choice.why
    chosen = rates
    setting: Setting = {}
    if recipe is not None:
        chosen, setting = candidate_of(recipe, has_history), recipe.setting
    elif choice is not None and choice.has_skill:
        chosen, setting = choice.chosen.candidate, choice.chosen.setting
    windows = last_windows(matrix, plan, params)
    final = prepare(matrix, plan.final, "win", params, plan.as_of_us, now)
    if not can_be_fitted(chosen, windows, final):
        why = f"{chosen.name} cannot be fitted, as no column tells the rows of a window apart, or one has a single outcome: shrunken rates"
        chosen, setting, choice = rates, {}, replace(choice, has_skill=False, why=why) if choice else None
    fits = _Fits(matrix, plan, params, final, windows, closed)
    model, note, scored = fits.model(chosen, setting, choice)
    records = _records(matrix, choice, windows)
    judged: JudgedWindow | None = None
    later: tuple[Indices, Floats] | None = None
    if windows is not None and scored is not None and len(windows.test):
        seen = windows.seen
        rows = windows.test[seen]
        judged = JudgedWindow(rows, clusters(matrix.keys)[rows], windows.test_won[seen], scored.test[seen])
        later = (windows.test, scored.test)
    challenger = _challenger(choice)
    card = {
        "choice": chosen.name,
        "setting": setting_text(setting),
        "recipe": {"family": chosen.name, "setting": dict(setting)},
        "challenger": challenger and {"family": challenger.family, "setting": dict(challenger.setting)},
        "why": why,
        "has_skill": model.evidence_level != "rates",
        "evidence_level": model.evidence_level,
        "note": chosen.note,
        "calibration": note,
        "interval": "80 %: Jeffreys' interval of a rate seen on as many out-of-time opportunities as were scored nearby",
        "columns_used": [column.name for column in model.encoding.columns],
        "owner_free": "the queue ranks by the probability without the owner's own record (win_probability_owner_free)",
        "tree_rules": _tree_rules(matrix, plan, params, choice, windows),
        "importance": importance(model.encoding, model.estimator, matrix.take(plan.final)),
        "candidates": [record.row() for record in records],
        "test": judged_figures(judged, params),
        "censoring": CENSORING if now.coefficients is not None else CLOSED_ONLY,
        "open_share": open_share(windows),
    }
    beside = fits.rivals(rivals, choice, has_history) if rivals is not None else {}
    return WinTraining(model, card, tuple(records), judged, later, beside)


def _few(
    matrix: Matrix, plan: Plan, params: TrainingParams, facts: Mapping[str, Any], rates: Candidate
) -> tuple[WinModel, dict[str, Any]]:
    """The model where little or nothing has closed (`ladder`), and what its card says."""
    closed, won = int(facts["closed_opportunities"]), int(facts["won_opportunities"])
    if not closed:
        model, why = rules_model(matrix), RULES_TEXT
    else:
        final = prepare(matrix, plan.final, "win", params, plan.as_of_us)
        fitted = rates.fit(Fitting(final.sample, {}, params)) if 0 < won < closed else Rates(0.0, {})
        assert isinstance(fitted, Rates)
        model = few_model(facts, fitted)
        minority = min(won, closed - won)
        why = (
            f"all {closed} closed opportunities were {'won' if won else 'lost'}: the rate seen, with a prior"
            if not minority
            else f"{closed} closed opportunities ({minority} of the rarer outcome): too few for more than shrunken rates"
        )
    return model, {
        "choice": model.family,
        "setting": setting_text({}),
        "recipe": None,
        "challenger": None,
        "why": why,
        "has_skill": False,
        "evidence_level": model.evidence_level,
        "note": "",
        "calibration": "none: too little has closed",
        "interval": "80 %: Jeffreys' interval of a rate seen on the closed opportunities and the four the prior is worth",
        "columns_used": [],
        "importance": [],
        "candidates": [],
        "test": None,
        "censoring": CLOSED_ONLY,
        "open_share": None,
    }


def _tree_rules(
    matrix: Matrix, plan: Plan, params: TrainingParams, choice: Choice | None, windows: LastWindows | None
) -> list[dict[str, Any]]:
    """The decision tree's best setting, fitted before the test window, as rules that the test window confirms or not."""
    trees = [result for result in choice.best_of if result.candidate.name == "decision_tree"] if choice else []
    if not trees or windows is None or not is_possible(trees[0].candidate, windows.before_test.sample):
        return []
    taught = windows.before_test
    tree = fit(trees[0].candidate, trees[0].setting, taught.sample, params)
    assert isinstance(tree, Tree)
    return rules(tree, taught.encoding, matrix.take(plan.before_test), matrix.take(plan.test))


def _challenger(choice: Choice | None) -> Recipe | None:
    """The best family but the chosen one and the baselines."""
    others = (
        [r for r in choice.best_of if r is not choice.chosen and r.candidate.name not in BASELINES] if choice else []
    )
    best = min(others, key=lambda result: result.mean_loss, default=None)
    return Recipe(best.candidate.name, best.setting) if best is not None else None


def _candidates(params: TrainingParams, closed: int, has_history: bool) -> list[Candidate]:
    families = [name for name in params.win_families if has_history or name != "stage_rate"]
    if closed < params.min_closed_for_full:
        families = [name for name in families if name in SMALL_FAMILIES]
    return candidates_of("win", families)


def rates_candidate(has_history: bool) -> Candidate:
    """Shrunken rates of what can honestly be told apart: stages where history shows them before closing, else products and owners."""
    fields = ("stage",) if has_history else ("product_id", "owner_id")

    def fit_rates(task: Fitting) -> Estimator:
        return shrunken_rates(task.sample, fields, task.params.prior_strength)

    return Candidate(RATES, ({},), fit_rates, note="rates of " + ", ".join(fields) + ", shrunken to the base rate")


def candidate_of(recipe: Recipe, has_history: bool) -> Candidate:
    """The candidate a recipe names. KeyError for a family that is not known."""
    return rates_candidate(has_history) if recipe.family == RATES else WIN_CANDIDATES[recipe.family]


def fitted_recipe(
    matrix: Matrix, as_of_us: float, params: TrainingParams, recipe: Recipe, *, has_history: bool
) -> WinModel | None:
    """A recipe fitted and calibrated on what was known of a matrix before the instant; None where it cannot be (one outcome, no column)."""
    plan = plan_windows(matrix.keys, as_of_us, params)
    now = learn_expectations(matrix, plan.as_of_us, params)
    final = prepare(matrix, plan.final, "win", params, plan.as_of_us, now)
    candidate = candidate_of(recipe, has_history)
    windows = last_windows(matrix, plan, params)
    if len(np.unique(final.sample.y)) < 2 or not can_be_fitted(candidate, windows, final):
        return None
    fits = _Fits(matrix, plan, params, final, windows, params.min_closed_for_full)
    return fits.model(candidate, recipe.setting)[0]


def open_share(windows: LastWindows | None) -> float | None:
    """Share of the test window's rows still open, which are not in its figures; None without a window."""
    if windows is None or not len(windows.test):
        return None
    return float(np.isnan(windows.test_won).mean())


def _records(matrix: Matrix, choice: Choice | None, windows: LastWindows | None) -> list[CandidateRecord]:
    """Every family's best setting: figures of the validation windows, and of the test window where there is one."""
    if choice is None:
        return []
    groups = clusters(matrix.keys)
    records: list[CandidateRecord] = []
    for result in choice.best_of:
        is_chosen = choice.has_skill and result is choice.chosen
        record = CandidateRecord.of_win(result, result.actual, groups[result.rows], is_chosen)
        if windows is not None and len(windows.test):
            p = windows.compared(result.candidate, result.setting)
            if p is not None:
                seen = windows.seen
                record = record.with_test(windows.test_won[seen], p[seen], groups[windows.test[seen]])
        records.append(record)
    return records


def recipe_on_last_window(
    matrix: Matrix, as_of_us: float, params: TrainingParams, *, family: str, setting: Setting, has_history: bool
) -> Floats | None:
    """Probabilities of a recipe on the test window, fitted and calibrated on what was known before it; None without such windows."""
    plan = plan_windows(matrix.keys, as_of_us, params)
    windows = last_windows(matrix, plan, params)
    if windows is None or not len(windows.test):
        return None
    candidate = candidate_of(Recipe(family, setting), has_history)
    if not can_be_fitted(candidate, windows):
        return None
    return windows.scored(candidate, setting).test[windows.seen]


def _calibrated_otherwise(
    choice: Choice | None, estimator: Estimator, final: Prepared
) -> tuple[Calibrator, str, Floats, npt.NDArray[Any]]:
    """Without windows: by the validation predictions where there are any, else not at all. With probabilities and opportunities that stand for both."""
    ids = final.sample.rows.keys["opportunity_id"].to_numpy(dtype=object)
    scores = estimator.score(final.sample.rows)
    if choice is not None and choice.has_skill and len(choice.chosen.rows) >= MIN_CALIBRATION:
        calibrator = fit_logistic(logit(choice.chosen.predicted), choice.chosen.actual)
        return calibrator, "logistic, on the validation windows' predictions", calibrator.apply(scores), ids
    return Calibrator(), "none: too few later rows", Calibrator().apply(scores), ids
