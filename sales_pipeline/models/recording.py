"""What a training tells the tracker: one parent run, one child per candidate, the same keys everywhere.

Belongs here: turning a training's results into calls of a `Recorder`. Does not belong here: the tracker (adapters) and the pictures (`curves`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from sales_pipeline.models.curves import win_curves
from sales_pipeline.models.evaluation import Result, setting_text
from sales_pipeline.models.matrix import Floats
from sales_pipeline.models.metrics import calibration_table, win_metrics
from sales_pipeline.models.store import Recorder, Run


@dataclass(frozen=True)
class CandidateRecord:
    """One candidate's best setting: figures on validation and (where there is one) on the test window."""

    task: str
    name: str
    setting: str
    note: str
    is_chosen: bool
    validation: Mapping[str, float]
    test: Mapping[str, float]
    won: Floats | None = None
    probability: Floats | None = None

    @classmethod
    def of_win(cls, result: Result, won: Floats, opportunity: npt.NDArray[Any], is_chosen: bool) -> CandidateRecord:
        """From validation results."""
        candidate = result.candidate
        figures = win_metrics(won, result.predicted, opportunity)
        return cls(
            "win",
            candidate.name,
            setting_text(result.setting),
            candidate.note,
            is_chosen,
            figures,
            {},
            won,
            result.predicted,
        )

    @classmethod
    def of_amount(cls, row: Mapping[str, Any], is_chosen: bool) -> CandidateRecord:
        """From a row of the amount model's candidates."""
        return cls(
            "amount",
            row["name"],
            row["setting"],
            row.get("note", ""),
            is_chosen,
            row["validation"],
            row.get("test", {}),
        )

    def with_test(self, won: Floats, p: Floats, opportunity: npt.NDArray[Any]) -> CandidateRecord:
        """With figures of the test window."""
        return replace(self, test=win_metrics(won, p, opportunity), won=won, probability=p)

    def row(self) -> dict[str, Any]:
        """For the model card."""
        return {
            "name": self.name,
            "setting": self.setting,
            "note": self.note,
            "is_chosen": self.is_chosen,
            "validation": dict(self.validation),
            "test": dict(self.test),
        }


def record_training(
    recorder: Recorder,
    *,
    card: Mapping[str, Any],
    version: str,
    candidates: Sequence[CandidateRecord],
    ledger: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    rows: int,
    tags: Mapping[str, str],
) -> str | None:
    """Record a training and its candidates; returns the parent run's id (None where nothing is recorded)."""
    win, amount = card["win"], card["amount"]
    all_tags = {
        "stage": "training",
        "trained_through": str(card["trained_through"]),
        "feature_contract": str(card["feature_contract"]),
        "data_digest": str(card["data_digest"]),
        "model_version": version,
        "evidence_level": str(win["evidence_level"]),
        **tags,
    }
    with recorder.training(f"train {card['trained_through'][:10]}", all_tags) as run:
        run.dataset(name="landmarks", digest=str(card["data_digest"]), rows=rows, columns=list(columns))
        for candidate in candidates:
            with run.child(f"{candidate.task} {candidate.name}") as child:
                _record_candidate(child, candidate)
        run.log(
            params={
                "win_family": win["choice"],
                "win_setting": win.get("setting", ""),
                "amount_family": amount["choice"],
                **{name: value for name, value in card["params"].items() if not isinstance(value, (list, tuple, dict))},
            },
            metrics={
                **{name: value for name, value in (win.get("test") or {}).items() if isinstance(value, float)},
                **_best_amount(candidates),
            },
            tables={
                "candidates": [
                    {
                        "task": c.task,
                        "name": c.name,
                        "setting": c.setting,
                        "chosen": c.is_chosen,
                        **{f"validation_{key}": value for key, value in c.validation.items()},
                        **{f"test_{key}": value for key, value in c.test.items()},
                    }
                    for c in candidates
                ],
                "leak_ledger": list(ledger),
            },
            figures=_figures(candidates) if recorder.wants_figures else {},
            documents={"model_card.json": dict(card)},
        )
        return run.run_id


def _figures(candidates: Sequence[CandidateRecord]) -> dict[str, bytes]:
    """All win candidates in one picture, and the chosen one in its own."""
    known = {
        c.name: (c.won, c.probability)
        for c in candidates
        if c.won is not None and c.probability is not None and len(np.unique(c.won)) == 2
    }
    if not known:
        return {}
    chosen = {c.name: known[c.name] for c in candidates if c.is_chosen and c.name in known}
    pictures = {"curves_candidates.png": win_curves(known)}
    return pictures | ({"curves_chosen.png": win_curves(chosen)} if chosen else {})


def _best_amount(candidates: Sequence[CandidateRecord]) -> dict[str, float]:
    for candidate in candidates:
        if candidate.task == "amount" and candidate.is_chosen:
            return {name: value for name, value in candidate.test.items() if name != "rows"}
    return {}


def _record_candidate(run: Run, candidate: CandidateRecord) -> None:
    tables: dict[str, Any] = {}
    if candidate.won is not None and candidate.probability is not None:
        tables["calibration"] = calibration_table(candidate.won, candidate.probability)
    run.log(
        params={"family": candidate.name, "task": candidate.task, "setting": candidate.setting},
        metrics={
            **{f"validation_{name}": value for name, value in candidate.validation.items()},
            **dict(candidate.test or candidate.validation),
        },
        tags={"candidate": candidate.name, "task": candidate.task, "chosen": str(candidate.is_chosen).lower()},
        tables=tables,
    )
