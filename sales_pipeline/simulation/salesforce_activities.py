"""The activities of a simulated world as Salesforce Task and Event rows: done ones, planned ones and forgotten ones.

Calls and e-mails are Tasks, meetings are Events. An activity is usually logged when it happens; some are planned ahead, some
logged days later: `CreatedDate` and `CompletedDateTime` say when the record knew, `ActivityDate` when it was.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.random import Generator

from sales_pipeline.simulation import columns as col
from sales_pipeline.simulation.columns import Bools
from sales_pipeline.simulation.dynamics import Ints
from sales_pipeline.simulation.ids import make_ids
from sales_pipeline.simulation.journal import CALL, EMAIL, MEETING
from sales_pipeline.simulation.salesforce_records import Keys
from sales_pipeline.simulation.world import World

_LOGGED_LATE, _PLANNED_AHEAD = 0.05, 0.10
_HAS_PLAN, _HAS_FORGOTTEN = 0.35, 0.06
_SUBJECTS = ("Call", "Email: outbound", "Meeting", "Call: inbound", "Email: inbound")


@dataclass(frozen=True)
class ActivityRows:
    """One element per activity record, ordered by when it was written down. Seconds since 1970-01-01 UTC; `is_done` false: planned."""

    opportunity: Ints
    at: Ints
    logged_at: Ints
    kind: Ints
    is_inbound: Bools
    is_done: Bools

    def take(self, index: Ints) -> ActivityRows:
        """The rows at these positions."""
        return ActivityRows(
            self.opportunity[index],
            self.at[index],
            self.logged_at[index],
            self.kind[index],
            self.is_inbound[index],
            self.is_done[index],
        )


def draw_activity_rows(world: World, rng: Generator) -> ActivityRows:
    """The trace's activities as people logged them, plus plans: for open opportunities ahead of the export's end and forgotten
    ones behind it. Records written after the export's end do not exist."""
    trace, created_at = world.trace, world.population.opportunities.created_at
    count = len(trace.activity_at)
    draw, wait = rng.random(count), rng.integers(0, 600, count)
    late = trace.activity_at + 86_400 * rng.integers(1, 6, count) + wait
    ahead = np.maximum(
        trace.activity_at - 86_400 * rng.integers(1, 8, count), created_at[trace.activity_opportunity] + 60
    )
    logged_at = np.where(draw < _LOGGED_LATE, late, trace.activity_at + wait)
    planned = (draw >= _LOGGED_LATE) & (draw < _LOGGED_LATE + _PLANNED_AHEAD) & ~trace.activity_is_inbound
    logged_at = np.where(planned | (trace.activity_kind == MEETING), ahead, logged_at)
    still_open = np.flatnonzero(~world.is_closed)
    plan = still_open[rng.random(len(still_open)) < _HAS_PLAN]
    forgotten = still_open[rng.random(len(still_open)) < _HAS_FORGOTTEN]
    opportunity = np.concatenate((plan, forgotten))
    shift = np.concatenate((rng.integers(1, 22, len(plan)), rng.integers(-20, -1, len(forgotten))))
    workday = np.busday_offset((world.end_at // 86_400 + shift).astype("datetime64[D]"), 0, roll="forward")
    due = 86_400 * workday.astype(np.int64) + 1_800 * rng.integers(17, 35, len(opportunity))
    planned_at = np.minimum(due, world.end_at) - 86_400 * rng.integers(1, 6, len(opportunity)) + 40_000
    planned_at = np.minimum(planned_at, np.minimum(due, world.end_at) - 60)
    planned_at = np.maximum(planned_at, created_at[opportunity] + 60)
    kind = rng.choice([CALL, EMAIL, MEETING], size=len(opportunity), p=[0.5, 0.25, 0.25])
    rows = ActivityRows(
        opportunity=np.concatenate((trace.activity_opportunity, opportunity)),
        at=np.concatenate((trace.activity_at, due)),
        logged_at=np.concatenate((logged_at, planned_at)),
        kind=np.concatenate((trace.activity_kind, kind)),
        is_inbound=np.concatenate((trace.activity_is_inbound, np.zeros(len(opportunity), dtype=np.bool_))),
        is_done=np.arange(count + len(opportunity)) < count,
    )
    order = np.lexsort((rows.opportunity, rows.at, rows.logged_at))
    exists = (rows.logged_at < world.end_at) & (rows.at > created_at[rows.opportunity])
    return rows.take(order[exists[order]])


def last_activity_days(world: World, rows: ActivityRows) -> Ints:
    """Per opportunity, the day of the last activity done and logged; -1 for none. Days since 1970-01-01."""
    last = np.full(world.params.opportunities, -1, dtype=np.int64)
    done = rows.is_done
    np.maximum.at(last, rows.opportunity[done], rows.at[done] // 86_400)
    return last


def tasks(world: World, keys: Keys, rows: ActivityRows, rng: Generator) -> pa.Table:
    """Calls and e-mails, one row each."""
    rows = rows.take(np.flatnonzero(rows.kind != MEETING))
    data, count = world.population.opportunities, len(rows.at)
    is_call = rows.kind == CALL
    known_at = np.where(rows.is_done, np.maximum(rows.at, rows.logged_at), rows.logged_at)
    call_type = np.where(is_call, rows.is_inbound.astype(np.int64), -1)
    length = np.where(is_call & rows.is_done, 60 * rng.integers(1, 35, count), -1)
    return col.table(
        {
            "Id": make_ids("Task", np.arange(count)),
            "IsDeleted": col.constant("0", count),
            "WhoId": col.pick(keys.contacts, data.contact[rows.opportunity]),
            "WhatId": col.pick(keys.opportunities, rows.opportunity),
            "AccountId": col.pick(keys.accounts, data.account[rows.opportunity]),
            "Subject": col.labels(_SUBJECTS, np.where(rows.is_inbound, 3 + (rows.kind == EMAIL), rows.kind)),
            "TaskSubtype": col.labels(("Call", "Email"), rows.kind),
            "CallType": col.labels(("Outbound", "Inbound"), call_type),
            "CallDurationInSeconds": col.integers(length),
            "Status": col.labels(("Not Started", "Completed"), rows.is_done.astype(np.int64)),
            "Priority": col.constant("Normal", count),
            "IsClosed": col.flags(rows.is_done),
            "OwnerId": col.pick(keys.users, data.owner[rows.opportunity]),
            "ActivityDate": col.dates(rows.at // 86_400),
            "CompletedDateTime": col.instants(np.where(rows.is_done, known_at, -1)),
            "Description": col.constant("", count),
            "CreatedDate": col.instants(rows.logged_at),
            "LastModifiedDate": col.instants(known_at),
            "SystemModstamp": col.instants(known_at),
        }
    )


def events(world: World, keys: Keys, rows: ActivityRows, rng: Generator) -> pa.Table:
    """Meetings, one row each; those after the export's end are planned."""
    rows = rows.take(np.flatnonzero(rows.kind == MEETING))
    data, count = world.population.opportunities, len(rows.at)
    minutes = 30 * rng.integers(1, 4, count)
    start = rows.at // 1_800 * 1_800
    logged_at = np.minimum(rows.logged_at, start)
    return col.table(
        {
            "Id": make_ids("Event", np.arange(count)),
            "IsDeleted": col.constant("0", count),
            "WhoId": col.pick(keys.contacts, data.contact[rows.opportunity]),
            "WhatId": col.pick(keys.opportunities, rows.opportunity),
            "AccountId": col.pick(keys.accounts, data.account[rows.opportunity]),
            "Subject": col.constant("Meeting", count),
            "OwnerId": col.pick(keys.users, data.owner[rows.opportunity]),
            "ActivityDate": col.dates(start // 86_400),
            "ActivityDateTime": col.instants(start),
            "StartDateTime": col.instants(start),
            "EndDateTime": col.instants(start + 60 * minutes),
            "DurationInMinutes": col.integers(minutes),
            "Description": col.constant("", count),
            "CreatedDate": col.instants(logged_at),
            "LastModifiedDate": col.instants(logged_at),
            "SystemModstamp": col.instants(logged_at),
        }
    )
