"""Whether a new model takes the champion's place: both judged on the same rows, and a verdict with its reasons.

A champion that was trained before the window began is scored as it is. One that has seen the window's outcomes would be flattered, so
its recipe (family and setting) is fitted on what was known before the window instead.

Belongs here: which rows, whose probabilities, what follows. Does not belong here: the rule itself (`verdict`), the registry (`store`, `registry`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sales_pipeline.engines.machine import one_core
from sales_pipeline.errors import EnvironmentProblem
from sales_pipeline.models.bundle import Bundle, read_bundle
from sales_pipeline.models.card import JudgedWindow
from sales_pipeline.models.evaluation import clusters
from sales_pipeline.models.feature_contract import require_contract
from sales_pipeline.models.matrix import FeatureTables, Floats, Matrix, align, load_matrix
from sales_pipeline.models.paired_replay import Contestant, paired_replay
from sales_pipeline.models.params import TrainingParams
from sales_pipeline.models.predict import needed_columns, win_probabilities
from sales_pipeline.models.segments import segments
from sales_pipeline.models.splits import plan_windows
from sales_pipeline.models.train import TrainedModel
from sales_pipeline.models.verdict import MIN_SPREAD, Verdict, verdict
from sales_pipeline.models.win import Recipe, recipe_on_last_window
from sales_pipeline.models.windows import last_windows

RANK = {"rules": 0, "rates": 1, "small_model": 2, "full_model": 3}
MAIN_SEGMENTS = ("stage", "owner_team", "lead_source", "amount_band")
_SEGMENT_FEATURES = ("owner_team", "lead_source")


@dataclass(frozen=True)
class Decision:
    """Whether to promote and why. `verdict` is the comparison it rests on; None: nothing could be compared."""

    is_promoted: bool
    reason: str
    verdict: Verdict | None = None

    @property
    def gain(self) -> float | None:
        """The champion's log loss less the new model's; None where they were not compared."""
        return self.verdict.figures.get("gain") if self.verdict else None

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data."""
        return {
            "is_promoted": self.is_promoted,
            "reason": self.reason,
            "verdict": self.verdict.to_dict() if self.verdict else None,
        }


@dataclass(frozen=True)
class Comparison:
    """Two models on the same rows. `how` says per model whether it was scored as it is or its recipe was fitted before the window."""

    rows_from: str
    rows_to: str
    how: tuple[str, str]
    verdict: Verdict


@one_core()
def decide(trained: TrainedModel, champion: Path | None, features: FeatureTables, params: TrainingParams) -> Decision:
    """Compare a newly trained model with the champion's bundle. `features` is the feature set the new model was trained on.

    Nothing stands against the first model, nor against one whose champion cannot be read or was trained on other features than this
    version builds: a pipeline without a usable model could not score. Rates give way to rates from newer data, and nothing else gives way to rates.
    """
    if champion is None:
        return Decision(True, "first model: there is no champion to compare with", _alone(trained, features, params))
    try:
        old = read_bundle(champion)
        require_contract(old)
    except EnvironmentProblem as problem:
        reason = f"the champion cannot be used any more ({problem.summary}: {problem.found or problem.where})"
        return Decision(True, reason, _alone(trained, features, params))
    if old.version == trained.version:
        return Decision(True, "the same model")
    new_level, old_level = trained.card["win"]["evidence_level"], old.card["win"]["evidence_level"]
    if RANK[new_level] <= RANK["rates"] and RANK[old_level] <= RANK["rates"]:
        is_promoted = RANK[new_level] >= RANK[old_level]
        return Decision(is_promoted, f"no model yet on either side: {new_level} from newer data against {old_level}")
    if trained.judged is None or old.win is None:
        is_promoted = RANK[new_level] >= RANK[old_level]
        return Decision(
            is_promoted, f"no window to compare on; evidence {new_level} from newer data against {old_level}"
        )
    matrix = _matrix(features, old, read_bundle(trained.path))
    p, _ = _on_window(old, matrix, trained.judged, features, params)
    is_refit = _same_family(old.card, trained.card)
    found = _judged(
        matrix, trained.judged, p, params, must_gain=not is_refit and RANK[old_level] > RANK["rates"]
    )  # fmt: skip
    found = _as_it_stands(found, read_bundle(trained.path), matrix, trained.judged)
    start = "the same family on newer data: " if is_refit else ""
    return Decision(found.is_promoted, start + found.reason, found)


def compare(
    first: Bundle, second: Bundle, features: FeatureTables, params: TrainingParams, *, dates: int = 0
) -> Comparison:
    """Two models (the champion first) on a training feature set: on its last window, or with `dates` on as many past dates, where both
    recipes are fitted again on what was known then.

    EnvironmentProblem when a model gives no probability, its features are not those of the code, or the set has no such rows.
    """
    for bundle in (first, second):
        require_contract(bundle)
        if bundle.win is None:
            raise EnvironmentProblem(
                "a model without probabilities cannot be compared",
                found=str(bundle.abstain_reason),
                where=bundle.version,
                fix="train when more opportunities have closed",
            )
    matrix = _matrix(features, first, second)
    if dates:
        window, p, how = _replayed(first, second, matrix, features, params, dates)
    else:
        window = _last_window(matrix, features, params)
        (p, one), (q, two) = (_on_window(bundle, matrix, window, features, params) for bundle in (first, second))
        window, how = replace(window, probability=q), (one, two)
    found = _judged(matrix, window, p, params, must_gain=not _same_family(first.card, second.card))
    found = _as_it_stands(found, second, matrix, window)
    instants = matrix.keys["as_of_us"].to_numpy(dtype=np.float64)[window.rows]
    return Comparison(_day(float(instants.min())), _day(float(instants.max())), how, found)


def _same_family(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Whether one is the other's refit: its setting (a penalty, a blend's weights) may have moved."""
    return bool(first["win"]["choice"] == second["win"]["choice"])


def _replayed(
    first: Bundle, second: Bundle, matrix: Matrix, features: FeatureTables, params: TrainingParams, dates: int
) -> tuple[JudgedWindow, Floats, tuple[str, str]]:
    """The rows of past dates with the second model's probabilities, those of the first, and how they came about."""
    one, two = (
        Contestant(
            Recipe(bundle.card["win"]["recipe"]["family"], bundle.card["win"]["recipe"]["setting"]),
            _own(bundle, matrix).columns,
        )
        for bundle in (first, second)
    )
    found = paired_replay(matrix, features.as_of.instant.timestamp() * 1e6, (one, two), params, dates=dates)
    if found is None:
        raise _nothing_to_compare_on(features, "no past date on which both recipes can be fitted")
    groups = clusters(matrix.keys)[found.rows]
    how = f"its recipe, fitted at {len(found.dates)} past dates on what was known then"
    return JudgedWindow(found.rows, groups, found.won, found.probabilities[1]), found.probabilities[0], (how, how)


def _alone(trained: TrainedModel, features: FeatureTables, params: TrainingParams) -> Verdict | None:
    """What can be said of a model without another."""
    if trained.judged is None:
        return None
    return _judged(_matrix(features), trained.judged, None, params, must_gain=False)


def _judged(
    matrix: Matrix, window: JudgedWindow, champion: Floats | None, params: TrainingParams, *, must_gain: bool
) -> Verdict:
    """The window's own probabilities are the challenger's."""
    return verdict(
        champion,
        window.probability,
        window.won,
        np.ones(len(window.won)) if window.weight is None else window.weight,
        window.opportunity,
        _segments(matrix.take(window.rows)),
        params,
        must_gain=must_gain,
    )


def _as_it_stands(found: Verdict, bundle: Bundle, matrix: Matrix, window: JudgedWindow) -> Verdict:
    """The verdict rests on probabilities from before the window; the model to be used must tell the same rows apart, too."""
    assert bundle.win is not None
    p = win_probabilities(bundle.win, align(matrix, needed_columns(bundle)).take(window.rows))
    if float(p.std()) >= MIN_SPREAD:
        return found
    text = f"the model as it stands gives all rows one probability (standard deviation {p.std():.1g})"
    return replace(found, objections=(text, *found.objections), reasons=(text, *found.reasons), is_constant=True)


def _last_window(matrix: Matrix, features: FeatureTables, params: TrainingParams) -> JudgedWindow:
    """The last window of a training feature set, without probabilities (NaN)."""
    plan = plan_windows(matrix.keys, features.as_of.instant.timestamp() * 1e6, params)
    windows = last_windows(matrix, plan, params)
    if windows is None or not len(windows.seen):
        raise _nothing_to_compare_on(features, f"{len(plan.final)} landmarks")
    rows = windows.test[windows.seen]
    return JudgedWindow(rows, clusters(matrix.keys)[rows], windows.test_won[windows.seen], np.full(len(rows), np.nan))


def _nothing_to_compare_on(features: FeatureTables, found: str) -> EnvironmentProblem:
    return EnvironmentProblem(
        "there are no later outcomes to compare models on",
        expected="landmarks at several instants, with outcomes of both kinds after the last split",
        found=found,
        where=features.as_of.isoformat(),
        fix="wait until more opportunities have closed, or name an export with change history",
    )


def _matrix(features: FeatureTables, *bundles: Bundle) -> Matrix:
    columns = [name for bundle in bundles for name in _choice_of(bundle)]
    return load_matrix(features, sorted({*columns, *_SEGMENT_FEATURES}))


def _choice_of(bundle: Bundle) -> list[str]:
    """The columns a bundle's recipe chose from: those its training's ledger let through."""
    return sorted({*bundle.card["ledger"]["used"], *(column.name for column in needed_columns(bundle))})


def _own(bundle: Bundle, matrix: Matrix) -> Matrix:
    """The matrix with the columns a bundle's recipe chooses from, as the training had it."""
    names = set(_choice_of(bundle))
    known = {column.name: column for column in needed_columns(bundle)}
    return align(matrix, [known.get(column.name, column) for column in matrix.columns if column.name in names])


def _on_window(
    bundle: Bundle, matrix: Matrix, window: JudgedWindow, features: FeatureTables, params: TrainingParams
) -> tuple[Floats, str]:
    """The bundle's probabilities of the last window's rows, and how they came about."""
    assert bundle.win is not None
    own = _own(bundle, matrix)
    through = datetime.fromisoformat(str(bundle.card["trained_through"])).timestamp() * 1e6
    if through <= float(matrix.keys["as_of_us"].to_numpy(dtype=np.float64)[window.rows].min()):
        as_it_is = win_probabilities(bundle.win, align(own.take(window.rows), bundle.win.encoding.columns))
        return as_it_is, "as it is: trained before the window"
    recipe = bundle.card["win"]["recipe"]
    as_of_us = features.as_of.instant.timestamp() * 1e6
    p = recipe_on_last_window(
        own, as_of_us, params, family=recipe["family"], setting=recipe["setting"], has_history=features.has_history
    )
    if p is not None and len(p) == len(window.rows):
        return p, "its recipe, fitted on what was known before the window: the model itself has seen these outcomes"
    rate = float(window.won.mean())
    return np.full(
        len(window.rows), rate
    ), "the window's own win rate: its recipe cannot be fitted on what was known before"


def _segments(part: Matrix) -> dict[str, npt.NDArray[Any]]:
    keys = part.keys

    def text(values: Any) -> pa.Array:
        return pa.array([value if isinstance(value, str) else None for value in values], pa.string())

    rows = pa.table(
        {
            "opportunity_id": text(keys["opportunity_id"]),
            "as_of": pa.array(keys["as_of_us"].to_numpy(dtype=np.float64).astype(np.int64), pa.int64()).cast(
                pa.timestamp("us", tz="UTC")
            ),
            "stage": text(keys["stage"]),
            "currency": text(keys["currency"]),
            "amount": pa.array(keys["amount"].to_numpy(dtype=np.float64), from_pandas=True),
            "evidence_level": pa.nulls(len(part), pa.string()),
            **{name: text(part.frame[name]) for name in _SEGMENT_FEATURES},
        }
    )
    found = segments(rows)
    return {name: found[name] for name in MAIN_SEGMENTS if name in found}


def _day(micros: float) -> str:
    return str(np.datetime64(int(micros), "us").astype("datetime64[D]"))
