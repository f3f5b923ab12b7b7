"""What a data set has, and so which features it can have and which landmarks it allows.

Belongs here: counting what was known strictly before the as-of, and reasons for absence. Does not belong here: whether a feature that is
there may be used (`leaks`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlglot import exp

from sales_pipeline.engines.base import Engine, Source
from sales_pipeline.engines.compiler import literal
from sales_pipeline.features.catalogue import FEATURES

Purpose = Literal["scoring", "training"]
Mode = Literal["scoring", "grid", "creation", "undated"]

_HISTORY = "history."
# Rows of these count where they were known strictly before the as-of, so that what came later makes no feature appear.
_DATED = {
    "opportunities.created_at": "created_at",
    "closings.closed_at": "closed_at",
    "planned_activities.logged_at": "logged_at",
    "accounts.created_at": "created_at",
}
_REASONS = {
    "activities": "no activities: engagement features absent",
    "planned_activities.logged_at": "no planned activities with the day they were planned",
    "opportunities.created_at": "no creation instants",
    "closings.closed_at": "no closing instants",
}


@dataclass(frozen=True)
class Availability:
    """Counts by need: rows of a table, filled cells of a column, 1 for a versioned field (`history.<field>`)."""

    counts: Mapping[str, int]

    @property
    def versioned(self) -> tuple[str, ...]:
        """Fields whose past values are known, by name."""
        return tuple(sorted(name.removeprefix(_HISTORY) for name in self.counts if name.startswith(_HISTORY)))

    @property
    def is_dated(self) -> bool:
        """Some opportunity's creation is known."""
        return self.counts["opportunities.created_at"] > 0

    @property
    def is_followed(self) -> bool:
        """Something shows how opportunities moved between creation and closing: versioned fields or activities."""
        return bool(self.versioned) or self.counts["activities"] > 0

    def mode(self, purpose: Purpose) -> Mode:
        """How the spine is made (see `build.build`)."""
        if purpose == "scoring":
            return "scoring"
        if not self.is_dated:
            return "undated"
        return "grid" if self.is_followed else "creation"

    def absent(self) -> dict[str, str]:
        """Reason by feature for those this data set cannot have."""
        absent: dict[str, str] = {}
        for feature in FEATURES:
            missing = next((need for need in feature.needs if not self.counts.get(need)), None)
            if missing is not None:
                is_history = missing.startswith(_HISTORY)
                default = f"no history of {missing.removeprefix(_HISTORY)}" if is_history else f"no value in {missing}"
                absent[feature.name] = _REASONS.get(missing, default)
            elif not feature.at_creation and not (self.is_dated and self.is_followed):
                absent[feature.name] = "no history and no activities: only what is known at creation remains"
        return absent


def look(engine: Engine, tables: Mapping[str, Source], as_of: datetime) -> Availability:
    """Count what the catalogue's features need, in the canonical tables and `closings`."""
    needs = {need for feature in FEATURES for need in feature.needs if not need.startswith(_HISTORY)}
    by_table: dict[str, list[str]] = {}
    for need in sorted(needs | set(_DATED) | {"activities"}):
        table, _, column = need.partition(".")
        by_table.setdefault(table, []).append(column)
    counts: dict[str, int] = {}
    for table, columns in by_table.items():
        tree = exp.select(*(exp.alias_(_count(table, column, as_of), column or "rows") for column in columns)).from_(
            table
        )
        row = engine.query(tree, {table: tables[table]}).to_pylist()[0]
        counts |= {f"{table}.{name}" if name != "rows" else table: int(count) for name, count in row.items()}
    changes = engine.query(
        exp.select(exp.alias_(exp.Count(this=exp.Star()), "rows")).from_("opportunity_changes"),
        {"opportunity_changes": tables["opportunity_changes"]},
    )
    if changes["rows"][0].as_py():
        history = engine.query(
            exp.select("field", "is_versioned").from_("field_history"), {"field_history": tables["field_history"]}
        )
        counts |= {f"{_HISTORY}{row['field']}": 1 for row in history.to_pylist() if row["is_versioned"]}
    return Availability(counts)


def _count(table: str, column: str, as_of: datetime) -> exp.Expression:
    known: exp.Expr | None = None
    if table == "activities":
        known = exp.and_(*(exp.column(name) < literal(as_of) for name in ("occurred_at", "logged_at")))
    elif f"{table}.{column}" in _DATED:
        known = exp.column(column) < literal(as_of)
    counted = exp.column(column) if known is None else exp.Case().when(known, exp.Literal.number(1))
    return exp.Count(this=counted)
