"""What is known about each open opportunity when the queue is made: the scored row, its contacts, its next step.

Belongs here: gathering, by the engine where tables are large. Does not belong here: judging (rules, allocation).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sales_pipeline.domain.money import to_amount
from sales_pipeline.domain.time import AsOf
from sales_pipeline.engines.base import Engine
from sales_pipeline.follow_up.params import FollowUpParams
from sales_pipeline.lake.tables import TableRef

_SQL = Path(__file__).parent / "sql"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

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


def gather(
    scored: pa.Table,
    *,
    activities: TableRef,
    planned: TableRef,
    contacts: TableRef,
    inactive: Collection[str],
    spine: pa.Table | None,
    as_of: AsOf,
    params: FollowUpParams,
    engine: Engine,
    done_contacts: Mapping[str, datetime] | None = None,
) -> list[Situation]:
    """One situation per scored opportunity, in the order of `scored`.

    The contact of an opportunity is its main contact (from `spine`), else the person last in touch about it, else the only
    contact of its account, else nobody. `inactive` are owners who are gone. `done_contacts` are contacts that feedback tells of, by
    opportunity: they count as ours at that instant, beside those of `activities`.
    """
    done_contacts = done_contacts or {}
    has_activities = activities.rows > 0 or bool(done_contacts)
    ids = scored.column("opportunity_id")
    created, main_contacts = _looked_up(ids, spine, "opportunity_id", ("created_at", "contact_id"))
    touches, recent = _touches(scored, activities, as_of, params, engine)
    touched = _looked_up(
        ids, touches, "opportunity_id", ("contact_id", "last_touch_at", "last_inbound_at", "last_outbound_at")
    )
    steps = _looked_up(
        ids, _next_steps(scored, planned, as_of, params, engine), "opportunity_id", ("activity_id", "due_at")
    )
    account_ids = scored.column("account_id").to_pylist()
    contact_ids = [main or last for main, last in zip(main_contacts, touched[0], strict=True)]
    people, only_contact = _people(account_ids, contact_ids, contacts, engine)
    fair_name = OWNER_FREE if OWNER_FREE in scored.column_names else "win_probability"
    names = ("source_system", "owner_id", "stage", "currency", "crm_close_date", "win_probability", "expected_value")
    columns = (scored.column(name).to_pylist() for name in ("opportunity_id", *names, "abstain_reason", fair_name))
    situations = []
    for row, account_id, contact_id, created_at, last_at, inbound_at, outbound_at, step_id, step_due_at in zip(
        zip(*columns, strict=True), account_ids, contact_ids, created, *touched[1:], *steps, strict=True
    ):
        opportunity_id, source_system, owner_id, stage, currency, close_date, probability, value, abstained, fair = row
        contact_id = contact_id or (only_contact.get(account_id) if account_id else None)
        person_at = recent.get(contact_id) if contact_id is not None else None
        if done_contacts and (done_at := done_contacts.get(opportunity_id)) is not None:
            last_at, outbound_at, person_at = (_later(at, done_at) for at in (last_at, outbound_at, person_at))
        email_allowed, call_allowed = people.get(contact_id, _NOT_SAID)
        situations.append(
            Situation(
                source_system=source_system,
                opportunity_id=opportunity_id,
                account_id=account_id,
                owner_id=owner_id,
                is_owner_active=owner_id not in inactive,
                stage=stage,
                currency=currency,
                crm_close_date=close_date,
                created_at=created_at,
                win_probability=probability,
                expected_value=value,
                abstain_reason=abstained,
                owner_free_probability=fair,
                contact_id=contact_id,
                email_allowed=email_allowed,
                call_allowed=call_allowed,
                has_activities=has_activities,
                last_touch_at=last_at,
                last_inbound_at=inbound_at,
                last_outbound_at=outbound_at,
                person_last_outbound_at=person_at,
                next_step_id=step_id,
                next_step_due_at=step_due_at,
            )
        )
    return situations


_NOT_SAID = (None, None)
"""Consents of a contact that nobody recorded."""


def _looked_up(ids: pa.ChunkedArray, table: pa.Table | None, key: str, names: Sequence[str]) -> list[list[Any]]:
    """Those columns of a table as Python values, one for each id; None where the table has no row of that key."""
    if table is None:
        return [[None] * len(ids) for _ in names]
    place = pc.index_in(ids, value_set=table.column(key).combine_chunks())
    return [_values(table.column(name).take(place)) for name in names]


def _touches(
    scored: pa.Table, activities: TableRef, as_of: AsOf, params: FollowUpParams, engine: Engine
) -> tuple[pa.Table | None, dict[str, datetime]]:
    """By opportunity person, last touch, last of theirs and last of ours, and by person our last contact within the cool-down."""
    if not activities.rows:
        return None, {}
    instant = as_of.instant
    touches = engine.query(
        _SQL / "last_touch.sql",
        {"activities": activities, "open_opportunities": scored.select(["opportunity_id"])},
        parameters={"as_of": instant},
    )
    recent = engine.query(
        _SQL / "last_touch_by_contact.sql",
        {"activities": activities},
        parameters={"as_of": instant, "since": instant - timedelta(days=params.cool_down_days)},
    )
    return touches, dict(_rows(recent, ("contact_id", "last_outbound_at")))


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
    return engine.query(_SQL / "next_step.sql", inputs, parameters=window)


def _people(
    account_ids: list[str | None], contact_ids: list[str | None], contacts: TableRef, engine: Engine
) -> tuple[dict[str | None, tuple[bool | None, bool | None]], dict[str, str]]:
    """Consents (e-mail, call) by contact, and the only contact of each account that has one."""
    if not contacts.rows or not account_ids:
        return {}, {}
    wanted = pa.table(
        {"account_id": pa.array(account_ids, pa.string()), "contact_id": pa.array(contact_ids, pa.string())}
    )
    found = engine.query(_SQL / "reachable_contacts.sql", {"contacts": contacts, "open_opportunities": wanted})
    people: dict[str | None, tuple[bool | None, bool | None]] = {}
    of_account: dict[str, list[str]] = {}
    columns = ("contact_id", "account_id", "email_allowed", "call_allowed")
    for contact_id, account_id, email_allowed, call_allowed in _rows(found, columns):
        people[contact_id] = (email_allowed, call_allowed)
        if account_id is not None:
            of_account.setdefault(account_id, []).append(contact_id)
    return people, {account: names[0] for account, names in of_account.items() if len(names) == 1}


def _later(one: datetime | None, other: datetime) -> datetime:
    return other if one is None else max(one, other)


def _rows(table: pa.Table, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    return zip(*(_values(table.column(name)) for name in columns), strict=True)


def _values(column: pa.ChunkedArray) -> list[Any]:
    """The column as Python values; instants from their microseconds, which is several times quicker than Arrow's own way."""
    if not pa.types.is_timestamp(column.type):
        return list(column.to_pylist())
    micros = column.cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()).to_pylist()
    return [None if value is None else _EPOCH + timedelta(microseconds=value) for value in micros]
