"""What the model card says: counts, the untouched window's figures, the ledger in short, honest sentences.

Belongs here: turning results into the card's JSON-able parts. Does not belong here: training (`train`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sales_pipeline.models.matrix import Floats, Indices, Matrix, known_kinds
from sales_pipeline.models.metrics import bootstrap_interval, calibration_table, win_metrics
from sales_pipeline.models.params import TrainingParams
from sales_pipeline.models.splits import Plan


@dataclass(frozen=True)
class JudgedWindow:
    """Rows of the test window: where they stand in the training matrix, their outcome, and the model's probability."""

    rows: Indices
    opportunity: npt.NDArray[Any]
    won: Floats
    probability: Floats


def count_rows(matrix: Matrix, plan: Plan, won: Floats, opportunity: npt.NDArray[Any]) -> dict[str, Any]:
    """Rows and opportunities a training rests on."""
    labelled = np.isfinite(won)
    winners = set(opportunity[labelled & (won == 1)].tolist())
    losers = set(opportunity[labelled & (won == 0)].tolist())
    return {
        "landmark_rows": len(matrix),
        "opportunities": len(set(opportunity.tolist())),
        "closed_opportunities": len(winners | losers),
        "won_opportunities": len(winners),
        "lost_opportunities": len(losers),
        "training_rows": len(plan.final),
        "training_opportunities": len(set(opportunity[plan.final].tolist())),
        "columns": len(matrix.columns),
        "kinds": list(known_kinds(matrix.keys)),
    }


def reason_to_abstain(facts: Mapping[str, Any]) -> str | None:
    """Why no probability can be learnt from those counts; None when one can."""
    won, lost = facts["won_opportunities"], facts["lost_opportunities"]
    if not won and not lost:
        return "no closed opportunity is known: there is nothing to learn a probability from"
    if not won or not lost:
        kind = "won" if won else "lost"
        return f"all {won + lost} closed opportunities were {kind}: a probability needs both outcomes"
    return None


def judged_figures(judged: JudgedWindow | None, params: TrainingParams) -> dict[str, Any] | None:
    """Figures of the untouched window with 80 % intervals; None where there is no such window."""
    if judged is None:
        return None
    figures: dict[str, Any] = dict(win_metrics(judged.won, judged.probability, judged.opportunity))
    intervals = bootstrap_interval(
        judged.won, judged.probability, judged.opportunity, rounds=params.bootstrap_rounds, seed=params.seed
    )
    figures["intervals"] = {name: list(bounds) for name, bounds in intervals.items()}
    figures["calibration_table"] = calibration_table(judged.won, judged.probability)
    return figures


def timing_facts(is_known: bool) -> str:
    """What predicted dates rest on."""
    if not is_known:
        return "no closing times known: no dates are predicted"
    return "time to close by stage (Kaplan and Meier, shrunken to all stages); time to win among won landmarks"


def ledger_summary(verdicts: list[dict[str, Any]]) -> dict[str, Any]:
    """Columns used, and those left out with the reason."""
    return {
        "used": sorted(row["column"] for row in verdicts if row["is_used"]),
        "left_out": [
            {"column": row["column"], "verdict": row["verdict"], "reason": row["reason"]}
            for row in sorted(verdicts, key=lambda row: str(row["column"]))
            if not row["is_used"]
        ],
    }


def statements(card: Mapping[str, Any]) -> list[str]:
    """Plain sentences the reader of the figures must know."""
    win, splits = card["win"], card["splits"]
    said: list[str] = []
    if not splits["time_ordered"]:
        said.append(str(splits["warning"]))
    if not win["has_skill"]:
        said.append(f"{win['why'][0].upper()}{win['why'][1:]}. Scores rest on shrunken rates.")
    if win.get("test") is None:
        said.append("No untouched last window could be formed: the figures come from validation alone.")
    said.append(str(splits["maturity_rule"]))
    if splits["censored_rows"] and splits["time_ordered"]:
        said.append(
            "Landmarks whose opportunity is still open are left out, matured ones too: the level of the probabilities leans towards "
            "opportunities that close soon."
        )
    said.append("Landmarks are not weighted: their grid of days is how opportunities are met when they are scored.")
    return said
