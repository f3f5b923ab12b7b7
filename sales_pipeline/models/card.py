"""What a training says of itself: counts, the untouched window's figures, the ledger in short, honest sentences.

Belongs here: turning a training's results into JSON-able parts. Does not belong here: training (`train`), the published model card (`model_card`).
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
from sales_pipeline.models.timing import Timing


@dataclass(frozen=True)
class JudgedWindow:
    """Rows of the test window: where they stand in the training matrix, their outcome, the model's probability, their censoring weight (None: all alike)."""

    rows: Indices
    opportunity: npt.NDArray[Any]
    won: Floats
    probability: Floats
    weight: Floats | None = None


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
    figures: dict[str, Any] = dict(win_metrics(judged.won, judged.probability, judged.opportunity, judged.weight))
    intervals = bootstrap_interval(
        judged.won,
        judged.probability,
        judged.opportunity,
        weight=judged.weight,
        rounds=params.bootstrap_rounds,
        seed=params.seed,
    )
    figures["intervals"] = {name: list(bounds) for name, bounds in intervals.items()}
    figures["calibration_table"] = calibration_table(judged.won, judged.probability, weight=judged.weight)
    return figures


def timing_facts(timing: Timing | None) -> dict[str, Any]:
    """What predicted dates rest on."""
    if timing is None:
        return {"method": "no closing times known: no dates are predicted"}
    return {"method": "mixture of the times to win and to lose, weighted by the win probability", **timing.facts}


def ledger_summary(verdicts: list[dict[str, Any]]) -> dict[str, Any]:
    """Columns used, and those left out with verdict, basis, reason and every figure the ledger has of them (absent: not measured)."""
    return {
        "used": sorted(row["column"] for row in verdicts if row["is_used"]),
        "left_out": [
            {name: value for name, value in row.items() if name != "is_used" and value is not None}
            for row in sorted(verdicts, key=lambda row: str(row["column"]))
            if not row["is_used"]
        ],
    }


def sample_statement(sample: Mapping[str, Any]) -> str:
    """A plain sentence on the sample a training rests on (facts of `sampling.Sample`)."""
    return (
        f"Trained on a sample: {sample['opportunities']:,} of {sample['of_opportunities']:,} opportunities ({sample['landmark_rows']:,} of "
        f"{sample['of_landmark_rows']:,} landmarks), {sample['fitted_rows']:,} landmarks to a fit: {sample['why']}."
    )


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
    elif still_open := win.get("open_share"):
        said.append(
            f"{still_open:.0%} of the last window's rows are still open: its figures are those of the others, which closed sooner."
        )
    return said
