"""What features would be at a later as-of had nothing happened since an earlier one: the passing of time alone.

Most features that move with time grow or fall by a day a day (`Feature.clock`), which needs no events. Those that look at the days just before or
after the as-of (window) lose events at one end as it moves on; they are computed here by their own SQL models, from what was known before the earlier
as-of. Belongs here: those. Does not belong here: the arithmetic of days (`models.explanation`).
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc
from sqlglot import exp

from sales_pipeline.domain.time import AsOf
from sales_pipeline.engines.base import Engine
from sales_pipeline.features.catalogue import FEATURES
from sales_pipeline.features.sql_models import model
from sales_pipeline.lake.tables import TableRef

WINDOWED: dict[str, tuple[str, ...]] = {
    family: tuple(feature.name for feature in FEATURES if feature.family == family and feature.clock == "window")
    for family in dict.fromkeys(feature.family for feature in FEATURES if feature.clock == "window")
}
"""Features with a window, by family."""
_EVENTS = ("activities", "planned_activities")


def windows_without_events(
    tables: Mapping[str, TableRef], opportunity_id: str, *, known_before: AsOf, as_of: AsOf, engine: Engine
) -> dict[str, float | None]:
    """Every feature with a window for one opportunity at `as_of`, from the events known strictly before `known_before`.

    `tables` are canonical tables (activities and planned_activities) of any state of the exports at or after `known_before`; None is a NULL.
    """
    mine = {name: events_of(tables[name], opportunity_id, engine) for name in _EVENTS}
    limit = pa.scalar(known_before.instant, pa.timestamp("us", tz="UTC"))
    activities, planned = (mine[name] for name in _EVENTS)
    known_at = known_at_of(activities)
    spine = pa.table(
        {
            "opportunity_id": pa.array([opportunity_id], pa.string()),
            "as_of": pa.array([as_of.instant], pa.timestamp("us", tz="UTC")),
        }
    )
    inputs: dict[str, dict[str, pa.Table]] = {
        "engagement": {"activities": activities.filter(pc.less(known_at, limit))},
        "planned": {
            "activities": activities.filter(pc.less(activities["logged_at"], limit)),
            "planned_activities": planned.filter(pc.less(planned["logged_at"], limit)),
        },
    }
    values: dict[str, float | None] = {}
    for family, names in WINDOWED.items():
        row = engine.query(model(family), {"spine": spine, **inputs[family]}).select(list(names)).to_pylist()[0]
        values |= {name: None if value is None else float(value) for name, value in row.items()}
    return values


def known_at_of(activities: pa.Table) -> pa.ChunkedArray:
    """The instant from which each activity counts: the later of when it happened and when the CRM knew of it."""
    happened, logged = activities["occurred_at"], activities["logged_at"]
    return pc.if_else(pc.greater(happened, logged), happened, logged)


def events_of(table: TableRef, opportunity_id: str, engine: Engine) -> pa.Table:
    """The rows of a canonical table that belong to one opportunity."""
    wanted = exp.column("opportunity_id").eq(exp.Literal.string(opportunity_id))
    return engine.query(exp.select("*").from_(exp.to_table(table.name)).where(wanted), {table.name: table})
