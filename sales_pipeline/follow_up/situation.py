"""What is known about each open opportunity when the queue is made: the scored row, its contacts, its next step.

Most open opportunities call for nothing today. So what is known is held by column, and a `Situation` is made only of those that are looked at one by one.

Belongs here: gathering, by the engine where tables are large. Does not belong here: judging (rules, allocation).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sales_pipeline.domain.money import AMOUNT_PRECISION, AMOUNT_SCALE, to_amount
from sales_pipeline.domain.time import AsOf
from sales_pipeline.engines.base import Engine
from sales_pipeline.follow_up.params import FollowUpParams
from sales_pipeline.lake.tables import TableRef

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
_SQL = Path(__file__).parent / "sql"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INSTANT = pa.timestamp("us", tz="UTC")
_DAY_MICROS = 86_400_000_000

OWNER_FREE = "win_probability_owner_free"
"""Column that the scored table may carry into the queue: PREDICTIONS has it, the published table does not."""
SCORED_COLUMNS = (
    "opportunity_id",
    "source_system",
    "account_id",
    "owner_id",
    "as_of",
    "stage",
    "currency",
    "crm_close_date",
    "win_probability",
    "expected_value",
    "abstain_reason",
)
"""Columns of SCORED_OPPORTUNITIES that the queue reads."""


@dataclass(frozen=True, slots=True)
class Situation:
    """One open opportunity as the rules see it. None means not known; instants are UTC and before as_of.

    `owner_free_probability` is the win probability without the owner's own record: what rows are ranked by. `has_activities` says whether the exports
    hold activities at all: without them nothing is known about contacts, which is not the same as never having been contacted. `reassigned_from` is the
    CRM's owner where somebody else stands in.
    """

    source_system: str
    opportunity_id: str
    account_id: str | None
    owner_id: str | None
    is_owner_active: bool
    stage: str | None
    currency: str
    crm_close_date: date | None
    created_at: datetime | None
    win_probability: float | None
    expected_value: Decimal | None
    abstain_reason: str | None
    owner_free_probability: float | None
    contact_id: str | None = None
    email_allowed: bool | None = None
    call_allowed: bool | None = None
    has_activities: bool = False
    last_touch_at: datetime | None = None
    last_inbound_at: datetime | None = None
    last_outbound_at: datetime | None = None
    person_last_outbound_at: datetime | None = None
    next_step_id: str | None = None
    next_step_due_at: datetime | None = None
    reassigned_from: str | None = None

    @property
    def value_at_stake(self) -> Decimal | None:
        """The expected value at the owner-free probability, where there is one. Worked out when asked for: most rows propose nothing."""
        value, probability, fair = self.expected_value, self.win_probability, self.owner_free_probability
        if value is None or fair is None or not probability or fair == probability:
            return value
        return to_amount(value * Decimal(str(round(fair / probability, 6))))


_TYPES: dict[str, pa.DataType] = {
    "is_owner_active": pa.bool_(),
    "crm_close_date": pa.date32(),
    "created_at": _INSTANT,
    "win_probability": pa.float64(),
    "expected_value": pa.decimal128(AMOUNT_PRECISION, AMOUNT_SCALE),
    "owner_free_probability": pa.float64(),
    "email_allowed": pa.bool_(),
    "call_allowed": pa.bool_(),
    "has_activities": pa.bool_(),
    "last_touch_at": _INSTANT,
    "last_inbound_at": _INSTANT,
    "last_outbound_at": _INSTANT,
    "person_last_outbound_at": _INSTANT,
    "next_step_due_at": _INSTANT,
}
_SCHEMA = pa.schema([(one.name, _TYPES.get(one.name, pa.string())) for one in fields(Situation)])


@dataclass(frozen=True)
class Situations:
    """Open opportunities by column: one row each, with the columns of `Situation`."""

    table: pa.Table

    @classmethod
    def of(cls, situations: Iterable[Situation]) -> Situations:
        """From single ones, in their order."""
        rows = list(situations)
        columns = [pa.array([getattr(one, field.name) for one in rows], field.type) for field in _SCHEMA]
        return cls(pa.Table.from_arrays(columns, schema=_SCHEMA))

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def where(self, is_chosen: Bools) -> Situations:
        """Those of them, in their order."""
        return Situations(self.table.take(pa.array(np.flatnonzero(is_chosen))))

    def rows(self) -> list[Situation]:
        """One by one, in their order."""
        return [Situation(*row) for row in zip(*(_values(column) for column in self.table.columns), strict=True)]

    def is_known(self, name: str) -> Bools:
        """Whether there is a value of that column."""
        return np.asarray(self.table[name].is_valid(), bool)

    def flags(self, name: str, *, unknown: bool = False) -> Bools:
        """A truth value; `unknown` where there is none."""
        return np.asarray(pc.fill_null(self.table[name], unknown), bool)

    def numbers(self, name: str) -> Floats:
        """A number; NaN where it is not known."""
        return np.asarray(pc.fill_null(self.table[name], np.nan), np.float64)

    def days_since(self, name: str, as_of: AsOf) -> Floats:
        """Whole days of 24 hours from an instant to as_of; NaN where it is not known."""
        known = self.is_known(name)
        micros = np.asarray(pc.fill_null(self.table[name].cast(pa.int64()), 0))
        return np.where(known, (_micros(as_of.instant) - micros) // _DAY_MICROS, np.nan)

    def days_ahead(self, name: str, day: date) -> Floats:
        """Calendar days from a day to the day of that column, negative where it has passed; NaN where it is not known."""
        known = self.is_known(name)
        days = np.asarray(pc.fill_null(self.table[name].cast(pa.int32()), 0))
        return np.where(known, days - (day - _EPOCH.date()).days, np.nan)

    def is_after(self, name: str, instant: datetime) -> Bools:
        """Whether an instant is known and lies after that one."""
        return np.asarray(pc.fill_null(pc.greater(self.table[name], pa.scalar(instant, _INSTANT)), False), bool)


def gather(
    scored: pa.Table,
    *,
    touches: pa.Table,
    activities: TableRef,
    planned: TableRef,
    contacts: TableRef,
    inactive: Collection[str],
    spine: pa.Table | None,
    as_of: AsOf,
    params: FollowUpParams,
    engine: Engine,
    done_contacts: Mapping[str, datetime] | None = None,
) -> Situations:
    """One situation per scored opportunity, in the order of `scored`.

    The contact of an opportunity is its main contact (from `spine`), else the person last in touch about it, else the only
    contact of its account, else nobody. `inactive` are owners who are gone. `done_contacts` are contacts that feedback tells of, by
    opportunity: they count as ours at that instant, beside those of `activities`.
    """
    done_contacts = done_contacts or {}
    ids = scored["opportunity_id"]
    created_at, main_contact = _looked_up(ids, spine, "opportunity_id", ("created_at", "contact_id"))
    names = ("contact_id", "last_touch_at", "last_inbound_at", "last_outbound_at")
    last_person, last_at, inbound_at, outbound_at = _looked_up(ids, touches, "opportunity_id", names)
    steps = _next_steps(scored, planned, as_of, params, engine)
    step_id, step_due_at = _looked_up(ids, steps, "opportunity_id", ("next_step_id", "next_step_due_at"))
    named = pc.coalesce(main_contact, last_person)
    people = _people(scored["account_id"], named, contacts, engine)
    (only,) = _looked_up(scored["account_id"], _only_contacts(people), "account_id", ("contact_id",))
    contact_id = pc.coalesce(named, only)
    email_allowed, call_allowed = _looked_up(contact_id, people, "contact_id", ("email_allowed", "call_allowed"))
    recent = _recent(activities, as_of, params, engine)
    (person_at,) = _looked_up(contact_id, recent, "contact_id", ("last_outbound_at",))
    if done_contacts:
        told = {
            "opportunity_id": pa.array(list(done_contacts), pa.string()),
            "at": pa.array(list(done_contacts.values()), _INSTANT),
        }
        (done_at,) = _looked_up(ids, pa.table(told), "opportunity_id", ("at",))
        last_at, outbound_at, person_at = (_later(at, done_at) for at in (last_at, outbound_at, person_at))
    is_gone = pc.is_in(scored["owner_id"], value_set=pa.array(sorted(inactive), pa.string()))
    has_activities = activities.rows > 0 or bool(done_contacts)
    found = {
        "is_owner_active": pc.invert(is_gone),
        "created_at": created_at,
        "owner_free_probability": scored[OWNER_FREE if OWNER_FREE in scored.column_names else "win_probability"],
        "contact_id": contact_id,
        "email_allowed": email_allowed,
        "call_allowed": call_allowed,
        "has_activities": pa.repeat(has_activities, len(ids)),
        "last_touch_at": last_at,
        "last_inbound_at": inbound_at,
        "last_outbound_at": outbound_at,
        "person_last_outbound_at": person_at,
        "next_step_id": step_id,
        "next_step_due_at": step_due_at,
        "reassigned_from": pa.nulls(len(ids), pa.string()),
    }
    columns = [(found[field.name] if field.name in found else scored[field.name]).cast(field.type) for field in _SCHEMA]
    return Situations(pa.Table.from_arrays(columns, schema=_SCHEMA))


def _looked_up(keys: pa.ChunkedArray, table: pa.Table | None, key: str, names: Sequence[str]) -> list[pa.ChunkedArray]:
    """Those columns of a table, named as in a situation, one value for each key; NULL where the table has no row of it."""
    if table is None:
        return [pa.chunked_array([pa.nulls(len(keys), _SCHEMA.field(name).type)]) for name in names]
    place = pc.index_in(keys, value_set=table[key].combine_chunks(), skip_nulls=True)
    return [table[name].take(place) for name in names]


def _recent(activities: TableRef, as_of: AsOf, params: FollowUpParams, engine: Engine) -> pa.Table | None:
    """By person our last contact within the cool-down, whatever it was about."""
    if not activities.rows:
        return None
    window = {"as_of": as_of.instant, "since": as_of.instant - timedelta(days=params.cool_down_days)}
    return engine.query(_SQL / "last_touch_by_contact.sql", {"activities": activities}, parameters=window)


def _next_steps(
    scored: pa.Table, planned: TableRef, as_of: AsOf, params: FollowUpParams, engine: Engine
) -> pa.Table | None:
    """Id and due date of the planned activity that counts as the next step, by opportunity."""
    if not planned.rows:
        return None
    window = {
        "as_of": as_of.instant,
        "due_from": as_of.instant - timedelta(days=params.planned_overdue_days),
        "due_before": as_of.instant + timedelta(days=params.planned_horizon_days),
    }
    inputs = {"planned_activities": planned, "open_opportunities": scored.select(["opportunity_id"])}
    found = engine.query(_SQL / "next_step.sql", inputs, parameters=window)
    return found.rename_columns(["opportunity_id", "next_step_id", "next_step_due_at"])


def _people(
    account_ids: pa.ChunkedArray, contact_ids: pa.ChunkedArray, contacts: TableRef, engine: Engine
) -> pa.Table | None:
    """Account and consents (e-mail, call) of every contact that could be addressed; None where there are none."""
    if not contacts.rows or not len(account_ids):
        return None
    wanted = pa.table({"account_id": account_ids, "contact_id": contact_ids})
    return engine.query(_SQL / "reachable_contacts.sql", {"contacts": contacts, "open_opportunities": wanted})


def _only_contacts(people: pa.Table | None) -> pa.Table | None:
    """The contact of each account that has one alone."""
    if people is None:
        return None
    found = people.group_by("account_id").aggregate([("contact_id", "count"), ("contact_id", "min")])
    found = found.filter(pc.equal(found["contact_id_count"], 1))
    return pa.table({"account_id": found["account_id"], "contact_id": found["contact_id_min"]})


def _later(one: pa.ChunkedArray, other: pa.ChunkedArray) -> pa.ChunkedArray:
    """The later of two instants, where both are known; else the one that is."""
    return pc.if_else(pc.fill_null(pc.greater(other, one), False), other, pc.coalesce(one, other))


def _micros(instant: datetime) -> int:
    return (instant - _EPOCH) // timedelta(microseconds=1)


def _values(column: pa.ChunkedArray) -> list[Any]:
    """The column as Python values; instants from their microseconds, which is several times quicker than Arrow's own way."""
    if not pa.types.is_timestamp(column.type):
        return list(column.to_pylist())
    micros = column.cast(pa.int64()).to_pylist()
    return [None if value is None else _EPOCH + timedelta(microseconds=value) for value in micros]
