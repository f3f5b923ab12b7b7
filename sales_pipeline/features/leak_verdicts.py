"""The verdict on one column of the leak ledger.

Belongs here: the order in which configuration, statistics, shape and semantics decide. Does not belong here: where the columns come
from (`leaks`), figures (`leak_statistics`), words (`leak_words`). Loaded only where a ledger is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from sales_pipeline.features.leak_statistics import Figures, Rows, figures, kind_of
from sales_pipeline.features.leak_words import is_identifier_name
from sales_pipeline.features.params import LeakParams

ATTRIBUTE_PREFIX = "attribute:"


@dataclass(frozen=True)
class Candidate:
    """One column to judge.

    `suspicion` is the semantic rule's reason, if any. `shape` is what the column is known to be, where that excludes it. `may_drift`:
    its values are dated and change with time by themselves, so that a different distribution among the (newer) open rows proves
    nothing; only its missingness is compared.
    """

    name: str
    suspicion: str | None
    shape: Literal["text", "identifier"] | None = None
    may_drift: bool = False


@dataclass(frozen=True)
class Rules:
    """What the configuration says about columns."""

    never_use: Sequence[str]
    use_anyway: Sequence[str]

    def verdict(self, name: str) -> str | None:
        """`never_use`, `use_anyway` or None."""
        wanted = plain(name)
        if wanted in {plain(entry) for entry in self.never_use}:
            return "never_use"
        return "use_anyway" if wanted in {plain(entry) for entry in self.use_anyway} else None


def plain(name: str) -> str:
    """A column name as it is compared: without the attribute prefix and regard to case."""
    return name.removeprefix(ATTRIBUTE_PREFIX).strip().lower()


def is_free_text(values: pd.Series) -> bool:
    """Text of more than 80 characters on average."""
    if kind_of(values) == "number":
        return False
    return bool(values.astype("string").str.len().mean() > 80)


def _is_identifier(name: str, values: pd.Series, figures: Figures) -> bool:
    """As many values as rows: nearly so for text, and for whole numbers whose name speaks of an identifier."""
    if figures.filled < 50:
        return False
    share = figures.distinct / figures.filled
    if kind_of(values) == "category":
        return share > 0.9
    numbers = values.dropna()
    return share > 0.95 and is_identifier_name(name) and bool((numbers % 1 == 0).all())


def judge(candidate: Candidate, values: pd.Series, rows: Rows, rules: Rules, params: LeakParams) -> dict[str, Any]:
    """One row of the ledger, by column name of LEAK_LEDGER."""
    found = figures(values, rows, min_rows=params.min_rows)

    def row(verdict: str, basis: str, reason: str, figure: float | None = None) -> dict[str, Any]:
        return {
            "column": candidate.name,
            "verdict": verdict,
            "is_used": verdict in ("use", "use_anyway"),
            "basis": basis,
            "reason": reason,
            "figure": None if figure is None else round(figure, 6),
            "filled_open_share": _rounded(found.filled_open_share),
            "filled_closed_share": _rounded(found.filled_closed_share),
            "auc_alone": _rounded(found.auc_alone),
        }

    configured = rules.verdict(candidate.name)
    leak, leak_figure = _leak(found, params)
    if configured is not None:
        said = (
            "the configuration says never to use it"
            if configured == "never_use"
            else "the configuration says to use it"
        )
        note = leak or (f"suspect by its name: {candidate.suspicion}" if candidate.suspicion else "")
        return row(configured, "configuration", f"{said}; {note}" if note else said, leak_figure)
    if leak is not None:
        return row("leak", "statistics", leak, leak_figure)
    if found.distinct == 0 or (found.distinct == 1 and found.filled == len(values)):
        return row(
            "constant", "shape", "one value only" if found.distinct else "no value at all", float(found.distinct)
        )
    if candidate.shape == "text":
        return row("identifier", "shape", "free text: as good as one value per row", float(found.distinct))
    if candidate.shape == "identifier" or _is_identifier(candidate.name, values, found):
        share = found.distinct / max(found.filled, 1)
        return row("identifier", "shape", f"{found.distinct} different values in {found.filled} rows", share)
    if candidate.suspicion is not None:
        return row("suspect", "semantics", f"cannot be shown early: {candidate.suspicion}", found.auc_alone)
    return _difference(candidate, found, params, row)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _leak(found: Figures, params: LeakParams) -> tuple[str | None, float | None]:
    """The statistical proof of a leak, with its figure."""
    opened, closed = found.filled_open_share, found.filled_closed_share
    if (
        opened is not None
        and closed is not None
        and found.missing_z is not None
        and found.missing_z >= params.min_z
        and closed >= params.min_closed_fill
        and opened <= params.open_fill_ratio * closed
    ):
        return f"filled only at close: {opened:.1%} of open, {closed:.1%} of closed", closed - opened
    if found.auc_alone is not None and found.auc_alone >= params.auc_alone:
        return f"too good alone: AUC {found.auc_alone:.3f} (limit {params.auc_alone:g})", found.auc_alone
    if found.r2_alone is not None and found.r2_alone >= params.r2_alone:
        return f"too good alone: R2 {found.r2_alone:.4f} (limit {params.r2_alone:g})", found.r2_alone
    return None, None


def _difference(candidate: Candidate, found: Figures, params: LeakParams, row: Any) -> dict[str, Any]:
    """Suspect where open and closed differ too much, else use."""
    opened, closed = found.filled_open_share, found.filled_closed_share
    judged: dict[str, Any]
    if found.one_sided is not None:
        side = found.one_sided
        judged = row(
            "suspect",
            "statistics",
            f"the value {side.value!r} is {'always' if side.is_won else 'never'} won ({side.rows} closed rows), as if the outcome wrote it",
            float(side.rows),
        )
        return judged
    if opened is not None and closed is not None and found.missing_z is not None:
        difference = abs(opened - closed)
        if difference >= params.missingness_difference and found.missing_z >= params.min_z:
            judged = row(
                "suspect",
                "statistics",
                f"missingness differs: {opened:.1%} filled of open, {closed:.1%} of closed",
                difference,
            )
            return judged
    if found.psi is not None and found.psi > params.psi and not candidate.may_drift:
        judged = row(
            "suspect",
            "statistics",
            f"distribution differs between open and closed: PSI {found.psi:.2f} beyond chance (limit {params.psi:g}), "
            f"Jensen–Shannon distance {found.divergence:.2f}",
            found.psi,
        )
        return judged
    judged = row(
        "use",
        "statistics",
        "nothing found against it",
        found.auc_alone if found.auc_alone is not None else found.r2_alone,
    )
    return judged
