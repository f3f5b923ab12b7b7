"""A landing folder of a Tryton CRM's own exports: whole ones of chosen days, as an administrator would keep them, and the change history of every day."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from tests.support.tryton.crm import OPPORTUNITY_FIELDS, PARTY_FIELDS, TrytonCrm

OPPORTUNITY = "sale.opportunity"


def end_of(day: date) -> datetime:
    """The last instant of a day, UTC."""
    return datetime.combine(day, time.max)


def days(first: date, last: date) -> Iterator[date]:
    """Both ends included."""
    for number in range((last - first).days + 1):
        yield first + timedelta(days=number)


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def land_days(crm: TrytonCrm, landing: Path, chosen: Sequence[date]) -> None:
    """One whole export per day, in a folder named after it. Parties have no history: they are as they are now."""
    parties = crm.export("party.party", PARTY_FIELDS)
    for day in chosen:
        folder = landing / day.isoformat()
        folder.mkdir(parents=True)
        text = crm.export(OPPORTUNITY, OPPORTUNITY_FIELDS, at=end_of(day))
        (folder / "Sale-Opportunity.csv").write_bytes(text.encode())
        (folder / "Party.csv").write_bytes(parties.encode())


def land_history(crm: TrytonCrm, landing: Path, first: date, last: date) -> None:
    """The newest whole export, and beside it the states of the first day and of whatever was edited on each day after it."""
    land_days(crm, landing, [last])
    parts = [crm.export(OPPORTUNITY, OPPORTUNITY_FIELDS, at=end_of(first))]
    for day in days(first + timedelta(days=1), last):
        begin = datetime.combine(day, time.min).strftime("%Y-%m-%d %H:%M:%S")
        edited: list[Any] = ["OR", ["write_date", ">=", begin], ["create_date", ">=", begin]]
        parts.append(crm.export(OPPORTUNITY, OPPORTUNITY_FIELDS, at=end_of(day), domain=[edited], header=False))
    (landing / last.isoformat() / "Sale-Opportunity-History.csv").write_bytes("".join(parts).encode())
