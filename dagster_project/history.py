"""What happened to one opportunity before an as-of, from the canonical tables: tracked changes, activities by kind, what is planned.

Ids, kinds, counts and days only: no names, no notes. Belongs here: reading and shaping. Does not belong here: text (`explaining_text`).
"""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from sales_pipeline.domain.time import AsOf
from sales_pipeline.lake.tables import TableRef

if TYPE_CHECKING:
    from sales_pipeline.engines.base import Engine
    from sales_pipeline.models.wording import Wording

TRACKED = ("stage", "amount", "crm_close_date", "crm_probability", "owner_id")


def history_of(
    tables: Mapping[str, TableRef], opportunity_id: str, as_of: AsOf, wording: "Wording", engine: "Engine"
) -> dict[str, Any]:
    """`changes` ({on, field, before, after}), `activities` (by kind and direction) and `planned`, as known strictly before the as-of.

    Tracked fields that features marked sensitive rest on are left out; activities and plans are, where any feature of them is.
    """
    from sales_pipeline.features.elapsed import events_of, known_at_of
    from sales_pipeline.models.wording import CATALOGUE

    limit = pa.scalar(as_of.instant, pa.timestamp("us", tz="UTC"))
    hidden = [feature for name, feature in CATALOGUE.items() if wording.hides(name)]
    hidden_fields = {feature.state_field for feature in hidden}
    changes = events_of(tables["opportunity_changes"], opportunity_id, engine)
    changes = changes.filter(pc.less(changes["changed_at"], limit))
    fields = tuple(name for name in TRACKED if name not in hidden_fields)
    history: dict[str, Any] = {
        "changes": _moves(changes.sort_by([("changed_at", "ascending"), ("sequence", "ascending")]), fields)
    }
    if any(feature.family in ("engagement", "planned") for feature in hidden):
        return history
    done = events_of(tables["activities"], opportunity_id, engine)
    known_at = known_at_of(done)
    history["activities"] = _activities(done.append_column("known_at", known_at).filter(pc.less(known_at, limit)))
    planned = events_of(tables["planned_activities"], opportunity_id, engine)
    planned = planned.filter(pc.less(planned["logged_at"], limit)).sort_by([("due_at", "ascending")])
    history["planned"] = [
        {"kind": row["kind"], "due_on": _day(row["due_at"])} for row in planned.select(["kind", "due_at"]).to_pylist()
    ]
    return history


def _moves(changes: pa.Table, fields: tuple[str, ...]) -> list[dict[str, Any]]:
    """Each field that changed, with the day (UTC); the first known state as changes from nothing."""
    moves: list[dict[str, Any]] = []
    before: Mapping[str, Any] = dict.fromkeys(fields)
    for row in changes.to_pylist():
        moves += [
            {"on": _day(row["changed_at"]), "field": name, "before": _plain(before[name]), "after": _plain(row[name])}
            for name in fields
            if row[name] != before[name]
        ]
        before = row
    return moves


def _activities(done: pa.Table) -> list[dict[str, Any]]:
    """Counts by kind and direction, with the first and the last day (UTC)."""
    grouped = done.group_by(["kind", "direction"]).aggregate(
        [("known_at", "count"), ("known_at", "min"), ("known_at", "max")]
    )
    rows = [
        {
            "kind": row["kind"],
            "direction": row["direction"],
            "count": row["known_at_count"],
            "first_on": _day(row["known_at_min"]),
            "last_on": _day(row["known_at_max"]),
        }
        for row in grouped.to_pylist()
    ]
    return sorted(rows, key=lambda row: (row["kind"], row["direction"] or ""))


def _day(instant: datetime | None) -> str | None:
    return instant.date().isoformat() if instant is not None else None


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, str | float) else str(value)
