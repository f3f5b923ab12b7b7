"""Hypothesis strategies for small worlds in plain rows, full of ties, gaps and instants that fall right on an as-of."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from tests.support.histories import FIELDS, field_history

START = datetime(2025, 1, 1, tzinfo=UTC)
AS_OF = START + timedelta(days=112)
STEP_DAYS = 28
STATES = {"Discovery": "open", "Proposal": "open", "Closed Won": "won", "Closed Lost": "lost"}

# Whole days dominate, so that instants meet the grid; the rest lies a microsecond beside it or in the middle of a day.
_OFFSETS = (timedelta(), timedelta(), timedelta(hours=11), timedelta(microseconds=1), -timedelta(microseconds=1))
instants = st.builds(
    lambda day, offset: START + timedelta(days=day) + offset,
    st.one_of(st.integers(1, 140), st.sampled_from([28, 56, 84, 112])),
    st.sampled_from(_OFFSETS),
)
amounts = st.one_of(
    st.none(), st.sampled_from([Decimal("0.00"), Decimal("100.00"), Decimal("99.99"), Decimal("1234567.89")])
)
dates = st.one_of(st.none(), st.integers(0, 200).map(lambda day: date(2025, 1, 1) + timedelta(days=day)))
accounts = st.sampled_from([None, "A1", "A2"])
owners = st.sampled_from([None, "U1", "U2"])
products = st.sampled_from([None, "P1", "P2"])


@st.composite
def _changes(draw: st.DrawFn, opportunity_id: str, created_at: datetime) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    later = draw(st.lists(instants, max_size=6))
    stages = st.sampled_from(["Discovery", "Proposal", "Proposal", "Closed Won", "Closed Lost"])
    for number, changed_at in enumerate([created_at, *sorted(instant for instant in later if instant >= created_at)]):
        stage = "Discovery" if number == 0 else draw(stages)
        rows.append(
            {
                "opportunity_id": opportunity_id,
                "changed_at": changed_at,
                "sequence": number,
                "is_creation": number == 0,
                "stage": stage,
                "state": STATES[stage],
                "amount": draw(amounts),
                "crm_close_date": draw(dates),
                "crm_probability": draw(st.sampled_from([None, 0.1, 0.5])),
                "owner_id": draw(owners),
            }
        )
    return rows


def _last_seen(opportunity_id: str, changes: list[dict[str, Any]]) -> dict[str, Any]:
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


@st.composite
def worlds(draw: st.DrawFn, *, versioned: tuple[str, ...] | None = None) -> dict[str, list[dict[str, Any]]]:
    """Rows by canonical table: four to ten opportunities with changes, activities and plans."""
    known = (
        draw(st.sampled_from([FIELDS, FIELDS, ("stage",), ("stage", "amount", "owner_id"), ()]))
        if versioned is None
        else versioned
    )
    opportunities, changes, activities, plans = [], [], [], []
    for number in range(draw(st.integers(4, 10))):
        opportunity_id = f"O{number}"
        created_at = draw(instants)
        mine = draw(_changes(opportunity_id, created_at))
        row = {
            "opportunity_id": opportunity_id,
            "account_id": draw(accounts),
            "product_id": draw(products),
            "currency": draw(st.sampled_from(["USD", "USD", "EUR"])),
            "lead_source": draw(st.sampled_from([None, "web", "event"])),
            "created_at": created_at,
            "removed_at": draw(st.one_of(st.none(), st.none(), instants)),
            **_last_seen(opportunity_id, mine),
        }
        if draw(st.integers(0, 9)) == 0:
            row |= {"created_at": None}
            mine = []
        for change in mine:
            change |= {field: row[field] for field in FIELDS if field not in known}
        opportunities.append(row)
        changes.extend(mine)
    ids = st.sampled_from([None, *(row["opportunity_id"] for row in opportunities)])
    kinds = st.sampled_from(["call", "email", "meeting", "task"])
    directions = st.sampled_from([None, "inbound", "outbound"])
    for number in range(draw(st.integers(0, 25))):
        activities.append(
            {
                "activity_id": f"T{number}",
                "opportunity_id": draw(ids),
                "contact_id": draw(st.sampled_from([None, "C1", "C2"])),
                "kind": draw(kinds),
                "direction": draw(directions),
                "occurred_at": draw(instants),
                "logged_at": draw(instants),
            }
        )
    for number in range(draw(st.integers(0, 5))):
        plans.append(
            {
                "activity_id": f"N{number}",
                "opportunity_id": draw(ids),
                "kind": draw(kinds),
                "due_at": draw(st.one_of(st.none(), instants)),
                "logged_at": draw(st.one_of(st.none(), instants)),
            }
        )
    return {
        "opportunities": opportunities,
        "opportunity_changes": changes,
        "field_history": field_history(known),
        "activities": activities,
        "planned_activities": plans,
        "accounts": [
            {"account_id": "A1", "industry": "retail", "employees": 10, "annual_revenue": 1e6, "created_at": START},
            {"account_id": "A2", "country": "DE", "parent_account_id": "A1", "created_at": START + timedelta(days=56)},
        ],
        "owners": [{"owner_id": "U1", "team": "north"}, {"owner_id": "U2"}],
        "products": [{"product_id": "P1", "family": "F", "list_price": Decimal("10.00")}, {"product_id": "P2"}],
    }
