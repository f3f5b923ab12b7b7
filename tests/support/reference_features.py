"""A brute-force reference of every catalogue feature: plain Python over plain rows, one (opportunity, as_of) at a time.

It first throws away everything not known strictly before the as-of, then looks at what is left. It shares no code and no idea of
efficiency with the SQL models.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

Row = Mapping[str, Any]
Rows = Mapping[str, Sequence[Row]]

MICROSECOND = timedelta(microseconds=1)
VERSIONABLE = ("stage", "amount", "crm_close_date", "crm_probability", "owner_id")


def day(instant: datetime) -> date:
    return instant.astimezone(UTC).date()


def days(earlier: datetime | date | None, later: datetime | date | None) -> int | None:
    if earlier is None or later is None:
        return None
    a = day(earlier) if isinstance(earlier, datetime) else earlier
    b = day(later) if isinstance(later, datetime) else later
    return (b - a).days


def divide(a: Any, b: Any) -> float | None:
    return None if a is None or b is None or float(b) == 0 else float(a) / float(b)


class World:
    """Rows by canonical table, read point in time."""

    def __init__(self, rows: Rows, prior_weights: Mapping[str, float]) -> None:
        self.rows = rows
        self.weights = prior_weights
        self.versioned = {row["field"] for row in rows.get("field_history", ()) if row["is_versioned"]}
        self.opportunities = {row["opportunity_id"]: row for row in rows.get("opportunities", ())}
        self.changes: dict[str, list[Row]] = {}
        for row in sorted(
            rows.get("opportunity_changes", ()), key=lambda row: (row["changed_at"], row.get("sequence", 0))
        ):
            self.changes.setdefault(row["opportunity_id"], []).append(row)

    # What was known

    def past(self, opportunity_id: str, as_of: datetime) -> list[Row]:
        return [row for row in self.changes.get(opportunity_id, []) if row["changed_at"] < as_of]

    def has_past_of(self, opportunity_id: str, field: str) -> bool:
        return field in self.versioned and opportunity_id in self.changes

    def value(self, opportunity_id: str, field: str, as_of: datetime) -> Any:
        if not self.has_past_of(opportunity_id, field):
            return self.opportunities[opportunity_id].get(field)
        past = self.past(opportunity_id, as_of)
        return past[-1].get(field) if past else None

    def state(self, opportunity_id: str, as_of: datetime) -> str | None:
        """open, won or lost; None where it did not exist yet."""
        row = self.opportunities[opportunity_id]
        if self.has_past_of(opportunity_id, "stage"):
            past = self.past(opportunity_id, as_of)
            return past[-1].get("state", "open") if past else None
        if row.get("state", "open") == "open":
            return "open"
        closed_at = row.get("closed_at")
        if closed_at is None:
            return "unknown"
        return row["state"] if closed_at < as_of else "open"

    def is_open(self, opportunity_id: str, as_of: datetime, *, needs_creation: bool = False) -> bool:
        row = self.opportunities[opportunity_id]
        created_at, removed_at = row.get("created_at"), row.get("removed_at")
        if created_at is None and needs_creation:
            return False
        if created_at is not None and created_at >= as_of:
            return False
        if removed_at is not None and removed_at < as_of:
            return False
        return self.state(opportunity_id, as_of) == "open"

    def closing(self, opportunity_id: str, as_of: datetime) -> tuple[bool, datetime, Any, Any] | None:
        """(is_won, closed_at, amount, owner) where it stood closed at as_of."""
        row = self.opportunities[opportunity_id]
        if self.has_past_of(opportunity_id, "stage"):
            past = self.past(opportunity_id, as_of)
            if not past or past[-1].get("state", "open") == "open":
                return None
            final = past[-1]["state"]
            since = past[-1]["changed_at"]
            for earlier in reversed(past):
                if earlier.get("state", "open") != final:
                    break
                since = earlier["changed_at"]
            at_closing = [entry for entry in past if entry["changed_at"] <= since][-1]
            amount = at_closing.get("amount") if "amount" in self.versioned else row.get("amount")
            owner = at_closing.get("owner_id") if "owner_id" in self.versioned else row.get("owner_id")
            return final == "won", since, amount, owner
        if row.get("state", "open") == "open" or row.get("closed_at") is None or row["closed_at"] >= as_of:
            return None
        return row["state"] == "won", row["closed_at"], row.get("amount"), row.get("owner_id")

    def wins_ever(self, opportunity_id: str, as_of: datetime) -> list[datetime]:
        """Instants before as_of at which it was won, also where it was reopened later; runs of no length are none."""
        if not self.has_past_of(opportunity_id, "stage"):
            found = self.closing(opportunity_id, as_of)
            return [found[1]] if found and found[0] else []
        all_changes, wins = self.changes.get(opportunity_id, []), []
        for number, change in enumerate(all_changes):
            before = all_changes[number - 1].get("state", "open") if number else None
            if change.get("state", "open") != "won" or before == "won":
                continue
            ends = next(
                (later["changed_at"] for later in all_changes[number + 1 :] if later.get("state", "open") != "won"),
                None,
            )
            if change["changed_at"] < as_of and (ends is None or ends > change["changed_at"]):
                wins.append(change["changed_at"])
        return wins

    # Features

    def features(self, opportunity_id: str, as_of: datetime) -> dict[str, Any]:
        row = self.opportunities[opportunity_id]
        last_seen_day = as_of - MICROSECOND
        return {
            **self.state_features(opportunity_id, row, as_of, last_seen_day),
            **self.engagement(opportunity_id, as_of, last_seen_day),
            **self.planned(opportunity_id, as_of, last_seen_day),
            **self.owner(opportunity_id, as_of),
            **self.account(row, as_of, last_seen_day),
            **self.product(row, as_of),
            **self.season(opportunity_id, as_of, last_seen_day),
            "kind": row.get("kind", "opportunity"),
            "pipeline": row.get("pipeline"),
            "currency": row.get("currency", "USD"),
            "lead_source": row.get("lead_source"),
            "opportunity_type": row.get("opportunity_type"),
            "is_from_lead": row.get("converted_from_lead_id") is not None,
            "created_month": day(row["created_at"]).month if row.get("created_at") else None,
        }

    def state_features(self, opportunity_id: str, row: Row, as_of: datetime, last_day: datetime) -> dict[str, Any]:
        past = self.past(opportunity_id, as_of)
        moves = returns = reopened = amounts = owners = pushes = pushed = 0
        entered = past[0]["changed_at"] if past else None
        seen = {past[0].get("stage")} if past else set()
        for before, after in itertools.pairwise(past):
            if after.get("stage") != before.get("stage"):
                moves += 1
                entered = after["changed_at"]
                returns += after.get("stage") in seen
                seen.add(after.get("stage"))
            reopened += before.get("state", "open") != "open" and after.get("state", "open") == "open"
            a, b = before.get("amount"), after.get("amount")
            amounts += a is not None and b is not None and a != b
            a, b = before.get("owner_id"), after.get("owner_id")
            owners += a is not None and b is not None and a != b
            a, b = before.get("crm_close_date"), after.get("crm_close_date")
            if a is not None and b is not None and b > a:
                pushes += 1
                pushed += (b - a).days
        amount = self.value(opportunity_id, "amount", as_of)
        close_date = self.value(opportunity_id, "crm_close_date", as_of)
        first_amount = next((entry["amount"] for entry in past if entry.get("amount") is not None), None)

        def counted(number: int) -> int | None:
            return number if past else None

        return {
            "stage": self.value(opportunity_id, "stage", as_of),
            "days_in_stage": days(entered, last_day),
            "age_days": days(row.get("created_at"), last_day),
            "days_to_crm_close_date": days(last_day, close_date),
            "is_past_crm_close_date": None if close_date is None else close_date < day(last_day),
            "planned_cycle_days": days(row.get("created_at"), close_date),
            "stage_move_count": counted(moves),
            "stage_return_count": counted(returns),
            "stage_count": counted(len(seen)),
            "reopened_count": counted(reopened),
            "close_date_push_count": counted(pushes),
            "pushed_days_total": counted(pushed),
            "amount": None if amount is None else float(amount),
            "amount_change_count": counted(amounts),
            "amount_change_ratio": divide(amount, first_amount),
            "owner_change_count": counted(owners),
            "days_since_last_change": days(past[-1]["changed_at"], last_day) if past else None,
            "crm_probability": self.value(opportunity_id, "crm_probability", as_of),
        }

    def engagement(self, opportunity_id: str, as_of: datetime, last_day: datetime) -> dict[str, Any]:
        known = []
        for activity in self.rows.get("activities", ()):
            at = max(activity["occurred_at"], activity["logged_at"])
            if activity.get("opportunity_id") == opportunity_id and at < as_of:
                known.append((at, activity))

        def count(window: int | None, **wanted: str) -> int:
            start = None if window is None else as_of - timedelta(days=window)
            return sum(
                (start is None or at >= start) and all(activity.get(name) == value for name, value in wanted.items())
                for at, activity in known
            )

        def since(**wanted: str) -> int | None:
            instants = [
                at for at, activity in known if all(activity.get(name) == value for name, value in wanted.items())
            ]
            return days(max(instants), last_day) if instants else None

        features: dict[str, Any] = {f"activity_count_{window}d": count(window) for window in (7, 30, 90)}
        features |= {
            f"{kind}_count_{window}d": count(window, kind=kind)
            for kind in ("call", "email", "meeting")
            for window in (30, 90)
        }
        features |= {f"inbound_count_{window}d": count(window, direction="inbound") for window in (7, 30, 90)}
        features |= {f"outbound_count_{window}d": count(window, direction="outbound") for window in (30, 90)}
        return features | {
            "activity_count": count(None),
            "meeting_count": count(None, kind="meeting"),
            "inbound_count": count(None, direction="inbound"),
            "activity_trend_30d": 2 * count(30) - count(60),
            "inbound_response_ratio": divide(count(90, direction="inbound"), count(90, direction="outbound")),
            "contact_count": len(
                {activity["contact_id"] for _, activity in known if activity.get("contact_id") is not None}
            ),
            "days_since_last_activity": since(),
            "days_since_last_inbound": since(direction="inbound"),
            "days_since_last_outbound": since(direction="outbound"),
            "days_since_last_meeting": since(kind="meeting"),
        }

    def planned(self, opportunity_id: str, as_of: datetime, last_day: datetime) -> dict[str, Any]:
        due = [
            plan["due_at"]
            for plan in self.rows.get("planned_activities", ())
            if plan.get("opportunity_id") == opportunity_id
            and plan.get("logged_at") is not None
            and plan.get("due_at") is not None
            and plan["logged_at"] < as_of <= plan["due_at"]
        ]
        due += [
            done["occurred_at"]
            for done in self.rows.get("activities", ())
            if done.get("opportunity_id") == opportunity_id and done["logged_at"] < as_of <= done["occurred_at"]
        ]
        return {
            "planned_activity_count": len(due),
            "days_to_next_planned_activity": days(last_day, min(due)) if due else None,
        }

    def closings(self, as_of: datetime) -> list[tuple[Row, tuple[bool, datetime, Any, Any]]]:
        found = [(row, self.closing(opportunity_id, as_of)) for opportunity_id, row in self.opportunities.items()]
        return [(row, closing) for row, closing in found if closing is not None]

    def rate(self, won: int, closed: int, as_of: datetime, weight: float) -> float | None:
        everything = self.closings(as_of)
        if not everything:
            return None
        prior = sum(closing[0] for _, closing in everything) / len(everything)
        return (won + prior * weight) / (closed + weight)

    def owner(self, opportunity_id: str, as_of: datetime) -> dict[str, Any]:
        owner_id = self.value(opportunity_id, "owner_id", as_of)
        if owner_id is None:
            return dict.fromkeys(("owner_win_rate", "owner_closed_count", "owner_open_count", "owner_team"))
        closed = [closing for _, closing in self.closings(as_of) if closing[3] == owner_id]
        team = next((row.get("team") for row in self.rows.get("owners", ()) if row["owner_id"] == owner_id), None)
        return {
            "owner_win_rate": self.rate(sum(c[0] for c in closed), len(closed), as_of, self.weights["owner"]),
            "owner_closed_count": len(closed),
            "owner_open_count": sum(
                self.is_open(other, as_of, needs_creation=not self.has_past_of(other, "stage"))
                and self.value(other, "owner_id", as_of) == owner_id
                for other in self.opportunities
            ),
            "owner_team": team,
        }

    def account(self, row: Row, as_of: datetime, last_day: datetime) -> dict[str, Any]:
        account_id = row.get("account_id")
        account = next((entry for entry in self.rows.get("accounts", ()) if entry["account_id"] == account_id), None)
        facts: dict[str, Any] = {
            "account_industry": None,
            "account_employees_log": None,
            "account_revenue_log": None,
            "account_country": None,
            "account_type": None,
            "account_has_parent": None,
            "account_age_days": None,
        }
        if account_id is not None and account is not None:
            employees, revenue, created_at = (
                account.get("employees"),
                account.get("annual_revenue"),
                account.get("created_at"),
            )
            facts = {
                "account_industry": account.get("industry"),
                "account_employees_log": None if employees is None else math.log(1 + employees),
                "account_revenue_log": None if revenue is None or revenue < 0 else math.log(1 + revenue),
                "account_country": account.get("country"),
                "account_type": account.get("account_type"),
                "account_has_parent": account.get("parent_account_id") is not None,
                "account_age_days": days(created_at, last_day)
                if created_at is not None and created_at < as_of
                else None,
            }
        if account_id is None:
            names = ("win_rate", "closed_count", "won_count", "won_amount", "days_since_last_won", "open_count")
            return facts | {f"account_{name}": None for name in names}
        closed = [(other, closing) for other, closing in self.closings(as_of) if other.get("account_id") == account_id]
        currency = row.get("currency", "USD")
        wins = [
            instant
            for other in self.opportunities.values()
            if other.get("account_id") == account_id
            for instant in self.wins_ever(other["opportunity_id"], as_of)
        ]
        return facts | {
            "account_win_rate": self.rate(sum(c[0] for _, c in closed), len(closed), as_of, self.weights["account"]),
            "account_closed_count": len(closed),
            "account_won_count": sum(closing[0] for _, closing in closed),
            "account_won_amount": float(
                sum(
                    closing[2]
                    for other, closing in closed
                    if closing[0] and closing[2] is not None and other.get("currency", "USD") == currency
                )
            ),
            "account_days_since_last_won": days(max(wins), last_day) if wins else None,
            "account_open_count": sum(
                other.get("account_id") == account_id
                and self.is_open(name, as_of, needs_creation=not self.has_past_of(name, "stage"))
                for name, other in self.opportunities.items()
            ),
        }

    def product(self, row: Row, as_of: datetime) -> dict[str, Any]:
        product_id = row.get("product_id")
        product = next((entry for entry in self.rows.get("products", ()) if entry["product_id"] == product_id), {})
        closed = [closing for other, closing in self.closings(as_of) if other.get("product_id") == product_id]
        price = product.get("list_price")
        return {
            "product": product_id,
            "product_family": product.get("family"),
            "product_list_price": None if price is None else float(price),
            "product_win_rate": None
            if product_id is None
            else self.rate(sum(c[0] for c in closed), len(closed), as_of, self.weights["product"]),
        }

    def season(self, opportunity_id: str, as_of: datetime, last_day: datetime) -> dict[str, Any]:
        today, close_date = day(last_day), self.value(opportunity_id, "crm_close_date", as_of)

        def to_quarter_end(when: date) -> int:
            following = date(
                when.year + (when.month > 9), (when.month - 1) // 3 * 3 % 12 + 4 if when.month <= 9 else 1, 1
            )
            return (following - when).days - 1

        return {
            "as_of_month": today.month,
            "as_of_quarter": (today.month - 1) // 3 + 1,
            "days_to_quarter_end": to_quarter_end(today),
            "close_date_month": None if close_date is None else close_date.month,
            "close_date_days_to_quarter_end": None if close_date is None else to_quarter_end(close_date),
        }

    # Spine and outcomes

    def outcome(self, opportunity_id: str, as_of: datetime) -> tuple[bool | None, datetime | None]:
        closing = self.closing(opportunity_id, as_of)
        if closing is not None:
            return closing[0], closing[1]
        row = self.opportunities[opportunity_id]
        if (
            self.has_past_of(opportunity_id, "stage")
            or row.get("state", "open") == "open"
            or row.get("closed_at") is not None
        ):
            return None, None
        modified_at = row.get("modified_at")
        return (row["state"] == "won", None) if modified_at is None or modified_at < as_of else (None, None)

    def landmarks(self, as_of: datetime, every_days: int) -> set[tuple[str, datetime]]:
        found, instant = set(), as_of - timedelta(days=every_days)
        while instant > as_of - timedelta(days=4000):
            found |= {
                (name, instant) for name in self.opportunities if self.is_open(name, instant, needs_creation=True)
            }
            instant -= timedelta(days=every_days)
        return found
