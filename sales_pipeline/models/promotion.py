"""Whether a new model takes the champion's place: compared on the same untouched window, opportunity by opportunity.

A champion that was trained before the window began is scored as it is. One that has seen the window's outcomes would be flattered, so
its recipe (family and setting) is fitted on what was known before the window instead.

Belongs here: the comparison and the rule. Does not belong here: the registry (`store`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from sales_pipeline.models.bundle import Bundle, read_bundle
from sales_pipeline.models.card import JudgedWindow
from sales_pipeline.models.matrix import FeatureTables, Floats, align, load_matrix
from sales_pipeline.models.metrics import log_losses, paired_difference
from sales_pipeline.models.params import TrainingParams
from sales_pipeline.models.predict import needed_columns, win_probabilities
from sales_pipeline.models.train import TrainedModel, recipe_on_last_window

_RANK = {"rules": 0, "rates": 1, "small_model": 2, "full_model": 3}


@dataclass(frozen=True)
class Decision:
    """Whether to promote and why. `gain` is the champion's log loss less the new model's, `standard_error` its error; None: not compared."""

    is_promoted: bool
    reason: str
    gain: float | None = None
    standard_error: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data."""
        return dict(self.__dict__)


def decide(trained: TrainedModel, champion: Path | None, features: FeatureTables, params: TrainingParams) -> Decision:
    """Compare a newly trained model with the champion's bundle. `features` is the feature set the new model was trained on."""
    if champion is None:
        return Decision(True, "first model")
    old = read_bundle(champion)
    if old.version == trained.version:
        return Decision(True, "the same model")
    new_level, old_level = trained.card["win"]["evidence_level"], old.card["win"]["evidence_level"]
    if trained.judged is None or old.win is None:
        is_promoted = _RANK[new_level] >= _RANK[old_level]
        return Decision(
            is_promoted, f"no window to compare on; evidence {new_level} from newer data against {old_level}"
        )
    if trained.card["win"].get("recipe") == old.card["win"].get("recipe"):
        return Decision(True, "the same recipe on newer data", 0.0, 0.0)
    p = _champion_on_window(old, trained.judged, features, params)
    window = trained.judged
    gain, error = paired_difference(
        log_losses(window.won, p), log_losses(window.won, window.probability), window.opportunity
    )
    verdict = "better" if gain > 0 else "not better"
    reason = f"{verdict} on the same last window: log loss lower by {gain:.4f} (standard error {error:.4f})"
    return Decision(gain > 0, reason, gain, error)


def _champion_on_window(old: Bundle, window: JudgedWindow, features: FeatureTables, params: TrainingParams) -> Floats:
    assert old.win is not None
    matrix = load_matrix(features, [column.name for column in needed_columns(old)])
    part = matrix.take(window.rows)
    through = datetime.fromisoformat(str(old.card["trained_through"])).timestamp() * 1e6
    if through <= float(part.keys["as_of_us"].min()):
        return win_probabilities(old.win, align(part, needed_columns(old)))
    recipe = old.card["win"]["recipe"]
    as_of_us = features.as_of.instant.timestamp() * 1e6
    p = recipe_on_last_window(
        matrix, as_of_us, params, family=recipe["family"], setting=recipe["setting"], has_history=features.has_history
    )
    return p if p is not None else np.full(len(window.won), float(window.won.mean()))
