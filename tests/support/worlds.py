"""Small worlds in plain rows for property tests, full of ties, gaps and instants that fall right on an as-of.

A world is a function of a seed: hypothesis draws the seed, and one world holds many opportunities, because each example costs a
whole feature set.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

from tests.support.histories import FIELDS, field_history

START = datetime(2025, 1, 1, tzinfo=UTC)
AS_OF = START + timedelta(days=112)
STEP_DAYS = 28
STATES = {"Discovery": "open", "Proposal": "open", "Negotiation": "open", "Closed Won": "won", "Closed Lost": "lost"}

# Whole days dominate, so that instants meet the grid; the rest lies a microsecond beside it or in the middle of a day.
_OFFSETS = (timedelta(), timedelta(), timedelta(hours=11), timedelta(microseconds=1), -timedelta(microseconds=1))
_AMOUNTS = (None, Decimal("0.00"), Decimal("100.00"), Decimal("99.99"), Decimal("1234567.89"))

Row = dict[str, Any]
Rows = dict[str, list[Row]]


def _instant(random: Random, last_day: int = 140) -> datetime:
    day = random.choice((28, 56, 84, 112)) if random.random() < 0.3 else random.randint(1, last_day)
    return START + timedelta(days=day) + random.choice(_OFFSETS)


def _maybe(random: Random, share: float, value: Any) -> Any:
    return value if random.random() < share else None


def _state_fields(random: Random) -> Row:
    return {
        "amount": random.choice(_AMOUNTS),
        "crm_close_date": _maybe(random, 0.8, date(2025, 1, 1) + timedelta(days=random.randint(0, 200))),
        "crm_probability": random.choice((None, 0.1, 0.5)),
        "owner_id": random.choice((None, "U1", "U1", "U2", "U3")),
    }


def _changes(random: Random, opportunity_id: str, created_at: datetime) -> list[Row]:
    later = sorted(instant for _ in range(random.randint(0, 7)) if (instant := _instant(random)) >= created_at)
    rows: list[Row] = []
    for number, changed_at in enumerate([created_at, *later]):
        stage = (
            "Discovery"
            if number == 0
            else random.choice(("Discovery", "Proposal", "Negotiation", "Closed Won", "Closed Lost"))
        )
        fields = _state_fields(random)
        # Often only one field changes, as in a CRM.
        if rows and random.random() < 0.6:
            kept = random.choice(list(fields))
            fields = {name: fields[name] if name == kept else rows[-1][name] for name in fields}
            stage = random.choice((rows[-1]["stage"], stage))
        rows.append(
            {"opportunity_id": opportunity_id, "changed_at": changed_at, "sequence": number, "is_creation": number == 0}
            | {"stage": stage, "state": STATES[stage]}
            | fields
        )
    return rows


def last_seen(changes: Sequence[Row]) -> Row:
    """The fields of an opportunity that its changes determine."""
    last = changes[-1]
    closed_at = None
    for row in reversed(changes):
        if row["state"] != last["state"] or last["state"] == "open":
            break
        closed_at = row["changed_at"]
    return {name: last[name] for name in (*FIELDS, "state")} | {
        "closed_at": closed_at,
        "modified_at": last["changed_at"],
    }


def make_world(
    seed: int, *, count: int = 30, versioned: Sequence[str] = FIELDS, with_unknown_creation: bool = True
) -> Rows:
    """Rows by canonical table; the first opportunity is open for certain and has an activity."""
    random = Random(seed)
    opportunities: list[Row] = []
    changes: list[Row] = []
    for number in range(count):
        opportunity_id = f"O{number:02d}"
        created_at = _instant(random, 90) if number else START
        mine = _changes(random, opportunity_id, created_at)
        mine = mine if number else mine[:1]
        row = {
            "opportunity_id": opportunity_id,
            "kind": random.choice(("opportunity", "lead")),
            "account_id": random.choice((None, "A1", "A2", "A3")),
            "product_id": random.choice((None, "P1", "P2")),
            "currency": random.choice(("USD", "USD", "EUR")),
            "lead_source": random.choice((None, "web", "event")),
            "converted_from_lead_id": _maybe(random, 0.1, "L1"),
            "created_at": created_at,
            "removed_at": _maybe(random, 0.2, _instant(random)) if number else None,
        } | last_seen(mine)
        if with_unknown_creation and number and random.random() < 0.1:
            row["created_at"] = None
            mine = []
        for change in mine:
            change |= {field: row[field] for field in FIELDS if field not in versioned}
        opportunities.append(row)
        changes.extend(mine)
    activities = [_activity(random, number, opportunities) for number in range(6 * count)]
    activities[0] |= {"opportunity_id": "O00", "occurred_at": START, "logged_at": START}
    plans = [_activity(random, number, opportunities) for number in range(count)]
    for number, plan in enumerate(plans):
        plan |= {"activity_id": f"N{number}", "due_at": _maybe(random, 0.9, plan.pop("occurred_at"))}
        plan["logged_at"] = _maybe(random, 0.9, plan["logged_at"])
    return {
        "opportunities": opportunities,
        "opportunity_changes": changes,
        "field_history": field_history(versioned),
        "activities": activities,
        "planned_activities": plans,
        "accounts": [
            {"account_id": "A1", "industry": "retail", "employees": 10, "annual_revenue": 1e6, "created_at": START},
            {"account_id": "A2", "country": "DE", "parent_account_id": "A1", "created_at": START + timedelta(days=56)},
        ],
        "owners": [{"owner_id": "U1", "team": "north"}, {"owner_id": "U2"}],
        "products": [{"product_id": "P1", "family": "F", "list_price": Decimal("10.00")}, {"product_id": "P2"}],
    }


def _activity(random: Random, number: int, opportunities: Sequence[Row]) -> Row:
    return {
        "activity_id": f"T{number}",
        "opportunity_id": _maybe(random, 0.9, random.choice(opportunities)["opportunity_id"]),
        "contact_id": random.choice((None, "C1", "C2")),
        "kind": random.choice(("call", "email", "meeting", "task")),
        "direction": random.choice((None, "inbound", "outbound")),
        "occurred_at": _instant(random),
        "logged_at": _instant(random),
    }


def with_future(rows: Rows, as_of: datetime, shift: timedelta) -> Rows:
    """The world with more of everything from `as_of + shift` on: each opportunity is reopened, moved and won, with activity."""
    rows, at = copy.deepcopy(rows), as_of + shift
    last = {row["opportunity_id"]: row for row in rows["opportunity_changes"]}
    for number, row in enumerate(rows["opportunities"]):
        before = last.get(row["opportunity_id"])
        if before is None or before["changed_at"] > at:
            continue
        for step, (stage, state) in enumerate((("Proposal", "open"), ("Closed Won", "won")), start=1):
            change = dict(before, changed_at=at, sequence=100 + step, stage=stage, state=state, is_creation=False)
            rows["opportunity_changes"].append(
                change | {"amount": Decimal("5.00"), "owner_id": "U2", "crm_close_date": at.date()}
            )
        row |= {
            "stage": "Closed Won",
            "state": "won",
            "closed_at": at,
            "modified_at": at,
            "amount": Decimal("5.00"),
            "owner_id": "U2",
        }
        row |= {"crm_close_date": at.date(), "crm_probability": 1.0}
        rows["activities"].append(
            {
                "activity_id": f"F{number}",
                "opportunity_id": row["opportunity_id"],
                "kind": "call",
                "direction": "inbound",
            }
            | {"occurred_at": as_of - timedelta(days=3), "logged_at": at, "contact_id": "C9"}
        )
    return rows
