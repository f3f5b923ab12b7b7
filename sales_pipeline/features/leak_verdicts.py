"""The verdict on one column of the leak ledger.

Belongs here: the order in which configuration, statistics, shape and semantics decide. Does not belong here: where the columns come
from (`leaks`), figures (`leak_statistics`), words (`leak_words`). Loaded only where a ledger is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from sales_pipeline.features.leak_history import Past
from sales_pipeline.features.leak_statistics import Figures, Rows, figures, kind_of
from sales_pipeline.features.leak_words import is_identifier_name
from sales_pipeline.features.params import LeakParams

ATTRIBUTE_PREFIX = "attribute:"


@dataclass(frozen=True)
class Candidate:
    """One column to judge.

    `suspicion` is the semantic rule's reason, if any. `shape` is what the column is known to be, where that excludes it. `may_drift`:
    its values are dated and change with time by themselves, so that a different distribution among the (newer) open rows proves
    nothing; only its missingness is compared. `past`: what its changes show, where they are known. `is_last_seen`: models see it in
    its last seen value, so that a change after the landmark is a leak.
    """

    name: str
    suspicion: str | None
    shape: Literal["text", "identifier"] | None = None
    may_drift: bool = False
    past: Past | None = None
    is_last_seen: bool = True


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
    if kind_of(values) == "number" or not values.notna().any():
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
    past = candidate.past

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
            "first_filled_days_before_close": _rounded(past.first_filled_days_before_close if past else None),
            "filled_at_close_share": _rounded(past.filled_at_close_share if past else None),
            "changed_since_landmark_share": _rounded(past.changed_share if past else None),
            "psi": _rounded(found.psi),
            "jensen_shannon": _rounded(found.divergence),
            "auc_with": None,
            "auc_without": None,
        }

    configured = rules.verdict(candidate.name)
    leak, leak_figure = _late(candidate, params)
    if leak is None:
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
    unchanged = _shown_early(candidate, params)
    if unchanged is not None:
        reason = f"its changes are known: the value at {unchanged:.1%} of the landmarks is the one seen last"
        return row("use", "statistics", reason, unchanged)
    if candidate.suspicion is not None:
        return row("suspect", "semantics", f"cannot be shown early: {candidate.suspicion}", found.auc_alone)
    return _difference(candidate, found, params, row)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _late(candidate: Candidate, params: LeakParams) -> tuple[str | None, float | None]:
    """The proof by change history that the last seen value was not there at the landmark, with its figure."""
    past = candidate.past
    if past is None or not candidate.is_last_seen or past.known < params.min_rows:
        return None, None
    at_close, changed = past.filled_at_close_share, past.changed_share
    if at_close is not None and at_close >= params.filled_at_close:
        return (
            f"filled at close: {at_close:.1%} of closed got the first value within {params.at_close_days:g} day of closing, or later",
            at_close,
        )
    if changed is None or past.landmarks < params.min_rows:
        return None, None
    if changed >= params.changed_since_landmark:
        return f"the value changes later: another one stood at {changed:.1%} of the landmarks", changed
    if changed >= params.min_changed and past.changed_z is not None and past.changed_z >= params.min_z:
        return (
            f"the value changes with the outcome: another one stood at {changed:.1%} of the landmarks, {past.changed_z:.1f} standard errors apart in win share",
            changed,
        )
    return None, None


def _shown_early(candidate: Candidate, params: LeakParams) -> float | None:
    """The share of landmarks at which the last seen value stood, where enough closed opportunities show it: then neither the column's
    name nor a difference between open and closed is held against it. None where that is not known."""
    past = candidate.past
    if past is None or not candidate.is_last_seen or past.changed_share is None:
        return None
    return 1 - past.changed_share if min(past.known, past.landmarks) >= params.min_rows else None


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


def _rewritten(found: Figures, params: LeakParams) -> bool:
    """Whether a strong column spreads among open rows as no mixture of won and lost ones does."""
    if found.auc_alone is None or found.misfit is None or found.misfit_error is None:
        return False
    enough = max(params.mixture_psi, params.mixture_z * found.misfit_error)
    return found.auc_alone >= params.mixture_auc and found.misfit > enough


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
    if opened is not None and closed is not None and found.missing_matched_z is not None:
        difference = found.missing_difference or 0.0
        if difference >= params.missingness_difference and found.missing_matched_z >= params.min_z:
            judged = row(
                "suspect",
                "statistics",
                f"missingness differs: {opened:.1%} filled of open, {closed:.1%} of closed",
                difference,
            )
            return judged
    if _rewritten(found, params) and not candidate.may_drift:
        judged = row(
            "suspect",
            "statistics",
            f"open rows are no mixture of won and lost ones: PSI {found.misfit:.2f} beyond chance, AUC alone {found.auc_alone:.2f}, as if the outcome rewrote it",
            found.misfit,
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
