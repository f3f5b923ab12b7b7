"""What is known about each open opportunity when the queue is made: the scored row, its contacts, its next step.

Belongs here: gathering, by the engine where tables are large. Does not belong here: judging (rules, allocation).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa

from sales_pipeline.domain.money import to_amount
from sales_pipeline.domain.time import AsOf
from sales_pipeline.engines.base import Engine
from sales_pipeline.follow_up.params import FollowUpParams
from sales_pipeline.lake.tables import TableRef, read_table

_SQL = Path(__file__).parent / "sql"


OWNER_FREE = "win_probability_owner_free"
"""Column that the scored table may carry into the queue: PREDICTIONS has it, the published table does not."""


@dataclass(frozen=True)
class Situation:
    """One open opportunity as the rules see it. None means not known; instants are UTC and before as_of.

    `owner_free_probability` is the win probability without the owner's own record, and `value_at_stake` the expected value at it: what rows are
    ranked by. `has_activities` says whether the exports hold activities at all: without them nothing is known about contacts, which is
    not the same as never having been contacted.
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
    value_at_stake: Decimal | None
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


def gather(
    scored: pa.Table,
    *,
    activities: TableRef,
    planned: TableRef,
    contacts: TableRef,
    owners: TableRef,
    spine: pa.Table | None,
    as_of: AsOf,
    params: FollowUpParams,
    engine: Engine,
) -> list[Situation]:
    """One situation per scored opportunity, in the order of `scored`.

    The contact of an opportunity is its main contact (from `spine`), else the person last in touch about it, else the only
    contact of its account, else nobody.
    """
    at_creation = (
        _by_id(spine.select(["opportunity_id", "contact_id", "created_at"]), "opportunity_id") if spine else {}
    )
    ids = scored.select(["opportunity_id"])
    instant = as_of.instant
    touches: dict[str, dict[str, Any]] = {}
    recent: dict[str, dict[str, Any]] = {}
    if activities.rows:
        touches = _by_id(
            engine.query(
                _SQL / "last_touch.sql",
                {"activities": activities, "open_opportunities": ids},
                parameters={"as_of": instant},
            ),
            "opportunity_id",
        )
        recent = _by_id(
            engine.query(
                _SQL / "last_touch_by_contact.sql",
                {"activities": activities},
                parameters={"as_of": instant, "since": instant - timedelta(days=params.cool_down_days)},
            ),
            "contact_id",
        )
    steps: dict[str, dict[str, Any]] = {}
    if planned.rows:
        window = {
            "as_of": instant,
            "due_from": instant - timedelta(days=params.planned_overdue_days),
            "due_before": instant + timedelta(days=params.planned_horizon_days),
        }
        inputs = {"planned_activities": planned, "open_opportunities": ids}
        steps = _by_id(engine.query(_SQL / "next_step.sql", inputs, parameters=window), "opportunity_id")
    inactive = {
        row["owner_id"]
        for row in read_table(owners, ["owner_id", "is_active"]).to_pylist()
        if row["is_active"] is False
    }

    situations = []
    for row in scored.to_pylist():
        opportunity_id = row["opportunity_id"]
        known = at_creation.get(opportunity_id, {})
        touch = touches.get(opportunity_id, {})
        step = steps.get(opportunity_id, {})
        situations.append(
            Situation(
                source_system=row["source_system"],
                opportunity_id=opportunity_id,
                account_id=row["account_id"],
                owner_id=row["owner_id"],
                is_owner_active=row["owner_id"] not in inactive,
                stage=row["stage"],
                currency=row["currency"],
                crm_close_date=row["crm_close_date"],
                created_at=known.get("created_at"),
                win_probability=row["win_probability"],
                expected_value=row["expected_value"],
                abstain_reason=row["abstain_reason"],
                owner_free_probability=row.get(OWNER_FREE, row["win_probability"]),
                value_at_stake=_at_stake(row),
                contact_id=known.get("contact_id") or touch.get("contact_id"),
                has_activities=activities.rows > 0,
                last_touch_at=touch.get("last_touch_at"),
                last_inbound_at=touch.get("last_inbound_at"),
                last_outbound_at=touch.get("last_outbound_at"),
                next_step_id=step.get("activity_id"),
                next_step_due_at=step.get("due_at"),
            )
        )
    return _with_people(situations, contacts, recent, engine)


def _with_people(
    situations: list[Situation], contacts: TableRef, recent: dict[str, dict[str, Any]], engine: Engine
) -> list[Situation]:
    """The same situations with the contact settled, its consents and our last contact with that person."""
    people: dict[str, dict[str, Any]] = {}
    if contacts.rows and situations:
        wanted = pa.table(
            {
                "account_id": pa.array([s.account_id for s in situations], pa.string()),
                "contact_id": pa.array([s.contact_id for s in situations], pa.string()),
            }
        )
        found = engine.query(_SQL / "reachable_contacts.sql", {"contacts": contacts, "open_opportunities": wanted})
        people = _by_id(found, "contact_id")
    contacts_of_account = Counter(
        person["account_id"] for person in people.values() if person["account_id"] is not None
    )
    only_contact = {
        person["account_id"]: contact_id
        for contact_id, person in people.items()
        if contacts_of_account[person["account_id"]] == 1
    }
    settled = []
    for situation in situations:
        contact_id = situation.contact_id or (only_contact.get(situation.account_id) if situation.account_id else None)
        person = people.get(contact_id, {}) if contact_id is not None else {}
        settled.append(
            replace(
                situation,
                contact_id=contact_id,
                email_allowed=person.get("email_allowed"),
                call_allowed=person.get("call_allowed"),
                person_last_outbound_at=recent.get(contact_id or "", {}).get("last_outbound_at"),
            )
        )
    return settled


def _at_stake(row: dict[str, Any]) -> Decimal | None:
    """The expected value at the owner-free probability, where there is one."""
    value: Decimal | None = row["expected_value"]
    p, fair = row["win_probability"], row.get(OWNER_FREE)
    if value is None or fair is None or not p:
        return value
    return to_amount(value * Decimal(str(round(fair / p, 6))))


def _by_id(table: pa.Table, key: str) -> dict[str, dict[str, Any]]:
    return {row[key]: row for row in table.to_pylist()}
