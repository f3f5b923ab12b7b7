"""What a training tells the tracker: one parent run, one child per candidate, the same keys everywhere.

Belongs here: turning a training's results into calls of a `Recorder`. Does not belong here: the tracker (adapters) and the pictures (`curves`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from sales_pipeline.models.curves import win_curves
from sales_pipeline.models.evaluation import Result, setting_text
from sales_pipeline.models.matrix import Floats
from sales_pipeline.models.metrics import WIN_KEYS, calibration_table, win_metrics
from sales_pipeline.models.store import Recorder, Run

if TYPE_CHECKING:
    # `promotion` stands on `train`, which stands on this module.
    from sales_pipeline.models.promotion import Decision
    from sales_pipeline.models.verdict import Verdict

SAMPLE_FACTS = ("opportunities", "landmark_rows", "of_opportunities", "of_landmark_rows", "fitted_rows", "why")
"""What a run's parameters say of the sample it was trained on, where there is one."""
NOTE_TAG = "mlflow.note.content"
"""The tag a tracker shows as the run's description."""


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
    sample = card["data"].get("sample") or {}
    chosen = next((c for c in candidates if c.task == "win" and c.is_chosen), None)
    all_tags = {
        "stage": "training",
        "trained_through": str(card["trained_through"]),
        "feature_contract": str(card["feature_contract"]),
        "data_digest": str(card["data_digest"]),
        "model_version": version,
        "evidence_level": str(win["evidence_level"]),
        NOTE_TAG: _note(card),
        **tags,
    }

    def data(run: Run) -> None:
        run.dataset(name="landmarks", digest=str(card["data_digest"]), rows=rows, columns=list(columns))

    with recorder.training(f"train {card['trained_through'][:10]}", all_tags) as run:
        data(run)
        for candidate in candidates:
            with run.child(f"{candidate.task} {candidate.name}") as child:
                data(child)
                _record_candidate(child, candidate, recorder.wants_figures)
        run.log(
            params={
                "win_family": win["choice"],
                "win_setting": win.get("setting", ""),
                "amount_family": amount["choice"],
                **{name: value for name, value in card["params"].items() if not isinstance(value, (list, tuple, dict))},
                **{f"sample_{name}": sample[name] for name in SAMPLE_FACTS if name in sample},
            },
            metrics={
                **({f"validation_{name}": value for name, value in chosen.validation.items()} if chosen else {}),
                **_test_figures(win.get("test") or {}),
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
                "calibration": (win.get("test") or {}).get("calibration_table", []),
                "tree_rules": win.get("tree_rules") or win.get("rules") or [],
                "feature_selection": card.get("selection") or [],
                **({"learning_curve": sample["curve"]} if sample else {}),
            },
            figures=_figures(candidates) if recorder.wants_figures else {},
            documents={"model_card.json": dict(card)},
        )
        return run.run_id


def record_decision(run: Run, decision: Decision, documents: Mapping[str, Any]) -> None:
    """Add the decision on a trained model to its run: the verdict with its figures, both models side by side, every segment; and the given documents."""
    found = decision.verdict
    tables: dict[str, Any] = {}
    metrics: dict[str, float] = {}
    if found is not None:
        tables = {"comparison": comparison_rows(found), "segments": found.segments}
        metrics = {name: value for name, value in found.figures.items() if isinstance(value, float)}
    run.log(
        metrics=metrics,
        tags={"is_promoted": str(decision.is_promoted).lower(), "decision": decision.reason},
        tables=tables,
        documents={"verdict.json": decision.to_dict(), **documents},
    )


def comparison_rows(verdict: Verdict) -> list[dict[str, Any]]:
    """One row per figure: the champion's (None without one) and the challenger's."""
    challenger = verdict.figures.get("challenger", {})
    champion = verdict.figures.get("champion", {})
    return [
        {"figure": name, "champion": champion.get(name), "challenger": value}
        for name, value in challenger.items()
        if name in (*WIN_KEYS, "win_rate", "rows")
    ]


def _note(card: Mapping[str, Any]) -> str:
    """The run's description in the tracker: the choice, why, and what a reader of the figures must know."""
    win = card["win"]
    lines = [f"**{win['choice'] or 'no model'}** ({win['evidence_level']}): {win['why']}"]
    return "\n".join([*lines, "", *(f"- {statement}" for statement in card.get("statements", ()))])


def _test_figures(test: Mapping[str, Any]) -> dict[str, float]:
    """Figures of the untouched window, and the ends of their 80 % intervals as `…_low`, `…_high`."""
    figures = {name: value for name, value in test.items() if isinstance(value, float)}
    for name, (low, high) in (test.get("intervals") or {}).items():
        figures |= {f"{name}_low": low, f"{name}_high": high}
    return figures


def _figures(candidates: Sequence[CandidateRecord]) -> dict[str, bytes]:
    """All win candidates in one picture, and the chosen one in its own."""
    known = {c.name: curve for c in candidates if (curve := _curve(c)) is not None}
    if not known:
        return {}
    chosen = {c.name: known[c.name] for c in candidates if c.is_chosen and c.name in known}
    pictures = {"curves_candidates.png": win_curves(known)}
    return pictures | ({"curves_chosen.png": win_curves(chosen)} if chosen else {})


def _curve(candidate: CandidateRecord) -> tuple[Floats, Floats] | None:
    """Outcomes and probabilities, where both outcomes occur."""
    won, p = candidate.won, candidate.probability
    return (won, p) if won is not None and p is not None and 0 < won.sum() < len(won) else None


def _best_amount(candidates: Sequence[CandidateRecord]) -> dict[str, float]:
    for candidate in candidates:
        if candidate.task == "amount" and candidate.is_chosen:
            return {name: value for name, value in candidate.test.items() if name != "rows"}
    return {}


def _record_candidate(run: Run, candidate: CandidateRecord, wants_figures: bool) -> None:
    curve = _curve(candidate)
    run.log(
        params={"family": candidate.name, "task": candidate.task, "setting": candidate.setting},
        metrics={
            **{f"validation_{name}": value for name, value in candidate.validation.items()},
            **dict(candidate.test or candidate.validation),
        },
        tags={"candidate": candidate.name, "task": candidate.task, "chosen": str(candidate.is_chosen).lower()},
        tables={"calibration": calibration_table(*curve)} if curve else {},
        figures={"curves.png": win_curves({candidate.name: curve})} if curve and wants_figures else {},
    )
