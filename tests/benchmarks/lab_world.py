"""A simulated world as the follow-up sees it, week by week, also after its end: the tables without the way through an export.

Belongs here: turning the world's trace and what is shown after it into CONTACT_WEEKS, and keeping count of what was seen. Does not belong here:
policies and figures (`policy_lab`).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.contracts.internal import CONTACT_WEEKS
from sales_pipeline.domain.time import AsOf
from sales_pipeline.simulation.dynamics import CLOSED_WON, OPEN_STAGES
from sales_pipeline.simulation.forward import State
from sales_pipeline.simulation.vocabulary import INDUSTRIES, LEAD_SOURCES
from sales_pipeline.simulation.world import World

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class SeenWeeks:
    """What the CRM shows of every opportunity by week: stage at the start, amount, replies and contacts in it; grows when the world runs on."""

    def __init__(self, world: World, weeks_ahead: int) -> None:
        trace, calendar = world.trace, world.calendar
        self.world, self.end = world, calendar.week_count
        count, width = world.params.opportunities, calendar.week_count + weeks_ahead + 1
        self.replies = np.zeros((count, width), dtype=np.int16)
        self.contacts = np.zeros((count, width, 3), dtype=np.int16)
        week = (trace.activity_at // 86_400 - calendar.first_day) // 7
        inbound = trace.activity_is_inbound
        np.add.at(self.replies, (trace.activity_opportunity[inbound], week[inbound]), 1)
        ours = ~inbound
        np.add.at(self.contacts, (trace.activity_opportunity[ours], week[ours], trace.activity_kind[ours]), 1)
        self.stage = np.full((count, width), -1, dtype=np.int8)
        self.amount = np.full(count, np.nan)
        change = (trace.history_at // 86_400 - calendar.first_day) // 7 + 1
        # Ordered by (opportunity, instant): of several changes within a week the last one stays.
        self.stage[trace.history_opportunity, change] = trace.history_stage
        self.amount[trace.history_opportunity] = trace.history_amount
        for t in range(1, self.end + 1):
            unknown = self.stage[:, t] < 0
            self.stage[unknown, t] = self.stage[unknown, t - 1]
        last = np.full(count, -1, dtype=np.int64)
        np.maximum.at(last, trace.activity_opportunity[ours], week[ours])
        self.last_contact = last

    def copy(self) -> SeenWeeks:
        """The same past, to be run on by another policy."""
        other = object.__new__(SeenWeeks)
        other.__dict__.update(self.__dict__)
        for name in ("replies", "contacts", "stage", "last_contact"):
            setattr(other, name, getattr(self, name).copy())
        return other

    def show(
        self, before: State, after: State, contacted: npt.NDArray[np.bool_], replied: npt.NDArray[np.bool_]
    ) -> None:
        """Write down a week that was run on."""
        members = before.opportunity
        self.contacts[members, before.week, 0] += contacted & before.is_open
        self.replies[members, before.week] += replied
        self.stage[members, after.week] = after.stage
        self.last_contact[members[contacted & before.is_open]] = before.week

    def as_of(self, week: int) -> AsOf:
        """The start of a week of the grid."""
        return AsOf(EPOCH + timedelta(days=int(self.world.calendar.day_of(week))))

    def table(self, members: Ints, week: int, weeks: int) -> pa.Table:
        """CONTACT_WEEKS of those opportunities as of the start of `week`, so many weeks back."""
        data, accounts = self.world.population.opportunities, self.world.population.accounts
        first = max(week - weeks, 1)
        stage = self.stage[members, first : week + 1]
        row, column = np.nonzero((stage >= 0) & (stage < CLOSED_WON))
        who, when = members[row], column + first
        now = self.stage[members, week]
        closed_at = np.argmax(self.stage[members, : week + 1] >= CLOSED_WON, axis=1) - 1
        is_closed = now >= CLOSED_WON
        won = np.where(is_closed, (now == CLOSED_WON).astype(float), np.nan)[row]
        in_past = when < week
        counts = self.contacts[who, when] * in_past[:, None]
        start = self.world.calendar.first_day * 86_400

        def instants(weeks_of_grid: Any) -> pa.Array:
            return pa.array(np.asarray(weeks_of_grid, dtype=np.int64) * 7 * 86_400 + start).cast(
                pa.timestamp("s", tz="UTC")
            )

        def texts(values: Any, names: Any) -> pa.Array:
            return pa.array([str(name) for name in names]).take(pa.array(np.asarray(values, dtype=np.int64)))

        columns = {
            "opportunity_id": pa.array(np.char.add("o", np.char.zfill(who.astype(str), 7))),
            "as_of": instants(when),
            "kind": pa.array(["opportunity"] * len(who)),
            "account_id": pa.array(np.char.add("a", data.account[who].astype(str))),
            "owner_id": pa.array(np.char.add("u", data.owner[who].astype(str))),
            "stage": texts(stage[row, column], OPEN_STAGES),
            "created_at": pa.array(data.created_at[who]).cast(pa.timestamp("s", tz="UTC")),
            "lead_source": texts(data.source[who], [level.label for level in LEAD_SOURCES]),
            "industry": texts(accounts.industry[data.account[who]], [level.label for level in INDUSTRIES]),
            "employees": pa.array(accounts.employees[data.account[who]]),
            "inbound_count": pa.array(self.replies[who, when] * in_past),
            "call_count": pa.array(counts[:, 0]),
            "email_count": pa.array(counts[:, 1]),
            "meeting_count": pa.array(counts[:, 2]),
            "is_won": pa.array(won == 1, mask=np.isnan(won)),
            "closed_at": pa.array(
                instants(np.maximum(closed_at[row], 0)).to_numpy(zero_copy_only=False), mask=np.isnan(won)
            ),
        }
        schema = arrow_schema(CONTACT_WEEKS)
        return pa.table({name: columns[name].cast(schema.field(name).type) for name in schema.names})
