"""Exports of several days as raw tables, full of what makes a later day hard: changes, late history, orphans that find their opportunity, leads that
are converted, records sent again, files sent again, odd spellings, deletions.

A sequence is a function of a seed.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from tests.support.raw import ingested

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
STAGES = (("New", "false", "false"), ("Offer", "false", "false"), ("Won", "true", "true"), ("Lost", "true", "false"))
Row = dict[str, Any]
Rows = dict[str, list[Row]]


class Days:
    """Draws one export after the other; every kind of id is drawn from a few, so that records meet. On the first `tidy_days` every id is written as it is read."""

    def __init__(
        self, seed: int, *, size: int = 30, lists_stages: bool = True, is_salesforce: bool = False, tidy_days: int = 0
    ) -> None:
        self._random = Random(seed)
        self._size = size
        self._lists_stages = lists_stages
        self._is_salesforce = is_salesforce
        self._tidy_days = tidy_days
        self._day = 0
        self._owners: tuple[str, list[Row]] | None = None

    def _id(self, kind: str, number: int) -> str | None:
        is_tidy = self._day < self._tidy_days
        if self._random.random() < 0.03 and not is_tidy:
            return None
        if not self._is_salesforce:
            return f"{kind}{number}" if self._random.random() < 0.9 or is_tidy else f" {kind}{number} "
        prefix = {"o": "006", "l": "00Q", "a": "001", "t": "00T", "u": "005", "c": "003"}[kind[0]]
        short = f"{prefix}Dx{number:010d}"
        return short if self._random.random() < 0.3 and not is_tidy else f"{short}IAA"

    def _some(self, share: float, value: Any) -> Any:
        return value if self._random.random() < share else None

    def _instant(self, spread: int = 40) -> str:
        at = START + timedelta(days=self._day, minutes=-self._random.randint(1, spread * 1440))
        return at.strftime(self._random.choice(("%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d")))

    def _opportunity_id(self) -> str | None:
        known = self._size + 3 * self._day
        number = self._random.randint(1, known + 4)
        return self._id("l" if number % 6 == 0 else "o", number)

    def _opportunity(self) -> Row:
        draw = self._random
        found = self._opportunity_id()
        is_lead = bool(found) and found.strip()[0] in "l0" and (found.strip().startswith(("l", "00Q")))
        stage = draw.choices(("New", "new ", "Offer", "Won", "Lost", "Odd", None), (6, 1, 6, 3, 3, 0.4, 0.3))[0]
        ends = {} if self._lists_stages else {"is_closed": str(stage in ("Won", "Lost")), "is_won": str(stage == "Won")}
        return ends | {
            "opportunity_id": found,
            "kind": "lead" if is_lead else "opportunity",
            "account_id": self._account_of(found),
            "owner_id": self._id("u", draw.randint(1, 3)),
            "stage": stage,
            "amount": draw.choice(("100", "$1,200.50", "abc", "-3", None)),
            "crm_close_date": self._some(0.8, self._instant()[:10]),
            "crm_probability": draw.choice(("10", "50%", "100", None)),
            "lead_source": draw.choice(("Web", "Web", "web", "Event", None)),
            "created_at": self._some(0.9, self._instant(80)),
            "modified_at": self._some(0.8, self._instant(3)),
            "converted_to_opportunity_id": self._some(0.4, self._opportunity_id()) if is_lead else None,
            "converted_from_lead_id": self._some(0.06, self._id("l", 6 * draw.randint(1, 6))),
            "is_deleted": draw.choice((None, "false", "false", "true")) if draw.random() < 0.3 else None,
        }

    def _account_of(self, opportunity: str | None) -> str | None:
        """The account of one in two opportunities is always the same, so that later records of it name the one it had."""
        number = sum(map(ord, (opportunity or "x").strip()[:15])) % 12 + 1
        if number % 2:
            return self._some(0.95, self._id("a", number))
        return self._some(0.8, self._id("a", self._random.randint(1, 12 + self._day)))

    def _state(self) -> Row:
        row = self._opportunity()
        kept = ("opportunity_id", "stage", "amount", "crm_close_date", "crm_probability", "is_deleted")
        change = str(self._random.randint(1, 400))
        return {name: row[name] for name in kept} | {
            "change_id": self._some(0.7, change),
            "changed_at": self._instant(),
        }

    def _field(self) -> Row:
        name, values = self._random.choice(
            (
                ("stage", ("New", "Offer", "Won")),
                ("amount", ("5", "7", None)),
                ("owner_id", ("u1", "u2")),
                ("Desk", ("north", "south")),
                ("Other", ("x",)),
            )
        )
        return {
            "opportunity_id": self._opportunity_id(),
            "field": name,
            "old_value": self._random.choice(values),
            "new_value": self._random.choice(values),
            "change_id": self._some(0.7, str(self._random.randint(1, 400))),
            "changed_at": self._some(0.97, self._instant()),
        }

    def _activity(self) -> Row:
        draw = self._random
        what = draw.choices((self._opportunity_id(), self._id("a", draw.randint(1, 14)), None), (8, 1, 1))[0]
        return {
            "activity_id": self._id("t", draw.randint(1, 5 * self._size + 10 * self._day)),
            "opportunity_id": what,
            "account_id": self._some(0.3, self._id("a", draw.randint(1, 14 + self._day))),
            "contact_id": self._some(0.3, draw.choice((self._id("c", 1), self._id("l", 6 * draw.randint(1, 6))))),
            "kind": draw.choice(("Call", "Email", "Meeting", "")),
            "is_done": draw.choice(("true", "true", "false", None)),
            "occurred_at": self._some(0.8, self._instant()),
            "due_at": self._some(0.3, self._instant()),
            "modified_at": self._some(0.8, self._instant(3)),
            "is_deleted": self._some(0.05, "true"),
        }

    def _account(self) -> Row:
        return {
            "account_id": self._id("a", self._random.randint(1, 12 + self._day)),
            "industry": self._random.choice(("Retail", "Retail", "retail", "Steel", f"New {self._day}")),
            "employees": self._random.choice(("10", "1,000", "-4", "x")),
            "modified_at": self._some(0.5, self._instant(3)),
            "is_deleted": self._some(0.15, "true"),
        }

    def _product(self) -> Row:
        return {
            "line_id": f"p{self._random.randint(1, 40)}",
            "opportunity_id": self._opportunity_id(),
            "product_id": "x",
            "quantity": self._random.choice(("1", "two")),
            "is_deleted": self._some(0.1, "true"),
        }

    def _case(self) -> Row:
        return {
            "case_id": f"c{self._random.randint(1, 20)}",
            "account_id": self._id("a", self._random.randint(1, 14)),
            "opened_at": self._instant(),
        }

    def _rows(self) -> Rows:
        first, draw = not self._day, self._random
        few = (lambda number: number) if first else (lambda number: draw.randint(0, max(1, number // 6)))
        opportunities = [self._opportunity() for _ in range(few(self._size))]
        cells = [
            {"source_record": record, "attribute": name, "value": draw.choice(values)}
            for record in range(1, len(opportunities) + 1)
            for name, values in (
                ("Desk", ("north", "North", "south")),
                ("Size", ("1", "2.5", "70")),
                ("Tag", ("a", "b", " ")),
            )
            if draw.random() < 0.6
        ]
        return {
            "accounts": [self._account() for _ in range(few(15))],
            "owners": [{"owner_id": self._id("u", n), "team": draw.choice(("North", "north"))} for n in range(1, 4)],
            "opportunities": opportunities,
            "opportunity_attributes": cells,
            "state_history": [self._state() for _ in range(few(4 * self._size))],
            "field_history": [self._field() for _ in range(few(2 * self._size))],
            "activities": [self._activity() for _ in range(few(4 * self._size))],
            "opportunity_products": [self._product() for _ in range(few(20))],
            "cases": [self._case() for _ in range(few(10))],
            "quotas": [{"owner_id": "u1", "period_start": f"2026-0{draw.randint(1, 9)}-01", "amount": "10"} for _ in range(few(4))],
            "stages": [dict(zip(("stage", "is_closed", "is_won"), stage, strict=True)) for stage in STAGES] if self._lists_stages else [],
        }  # fmt: skip

    def export(self, folder: Path) -> Any:
        """The next day's export."""
        rows = self._rows()
        number, contents = self._day, {"stages": "always"}
        if self._owners is not None and self._random.random() < 0.5:
            contents["owners"], rows["owners"] = self._owners
        else:
            self._owners = (f"owners of {number}", rows["owners"])
            contents["owners"] = self._owners[0]
        tables = {name: found for name, found in rows.items() if found}
        at = START + timedelta(days=number)
        self._day += 1
        return ingested(
            folder, tables, exported_at=at, export_id=self._random.choice("abc") + str(number), contents=contents
        )
