"""Fills a Tryton CRM with parties and opportunities that live through several past months, through its own API and workflow.

Run by the Python of `.venv-tryton`: `python load.py FOLDER OPPORTUNITIES PARTIES`, after `set_up`. Records are created and written through
proteus; transitions go through the workflow. What happens is the same every time: a coin per opportunity (a digest of its number) decides.

Tryton takes the time of a change from the database's `now()` and closing days from `ir.date`. Both are set to the day that is lived through
before the first connection is opened, so that its histories (`_datetime`) hold months, not the seconds that loading takes. Every opportunity
changes at most once at an instant. Prints the days it lived through, as `first last`.
"""

import hashlib
import os
import sqlite3
import sys
from collections import defaultdict
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path

FIRST, LAST = date(2024, 10, 1), date(2025, 3, 31)
PREFIX_FROM, PREFIX = date(2025, 1, 1), "OP-"
SELLERS = 5
HOURS = {"create": 8, "opportunity": 10, "amend": 12, "convert": 14, "won": 16, "lost": 17, "cancel": 18}
# Text as people type it: a formula, a delimiter, a quote, a line break, letters beyond ASCII.
DESCRIPTIONS = ("=1+1", "Renewal, 24 months", 'Screen 24"', "Überholung", "续约 100 台", "-5 % asked")
COMMENT = 'First line\nsecond "line", with a comma'


class Clock:
    """The instant that Tryton believes it is. Microseconds are never zero: its own reading of revisions expects them."""

    moment = datetime.combine(FIRST, time(7, 0, 0, 1))

    @classmethod
    def set(cls, day: date, hour: int) -> None:
        cls.moment = datetime.combine(day, time(hour, 30, 0, 123456))

    @classmethod
    def install(cls) -> None:
        from trytond.backend.sqlite import database
        from trytond.ir.date import Date

        database.now = lambda: cls.moment.isoformat(" ")
        Date.today = staticmethod(lambda timezone=None: cls.moment.date())


def coin(*words: object) -> bytes:
    return hashlib.sha256(" ".join(map(str, words)).encode()).digest()


def life(number: int, count: int) -> list[tuple[date, str]]:
    """What becomes of an opportunity, in order; what lies after LAST has not happened yet."""
    toss = coin("life", number)
    day = FIRST + timedelta(days=number * (LAST - FIRST).days // count)
    events = [(day, "create")]
    if toss[0] < 210:
        day += timedelta(days=1 + toss[1] % 9)
        events.append((day, "opportunity"))
    for place in (2, 3):
        if toss[place] < 110:
            day += timedelta(days=2 + toss[place] % 20)
            events.append((day, "amend"))
    day += timedelta(days=3 + toss[4] % 45)
    if events[1:2] and events[1][1] == "opportunity" and toss[5] < 100:
        events += [(day, "convert"), (day + timedelta(days=1 + toss[6] % 4), "won")]
    elif toss[5] < 190:
        events.append((day, "lost"))
    elif toss[5] < 205:
        events.append((day, "cancel"))
    return [(when, what) for when, what in events if when <= LAST]


def main() -> None:
    folder, count, parties = Path(sys.argv[1]).resolve(), int(sys.argv[2]), int(sys.argv[3])
    os.environ["TZ"] = "UTC"
    Clock.install()
    from proteus import config
    from trytond.modules.company.tests.tools import create_company

    # Tryton closes its connection after each of some hundred transactions, and the last one to close has the disk written through.
    is_open = sqlite3.connect(folder / "db" / "crm.sqlite")
    is_open.execute("SELECT COUNT(*) FROM ir_module").fetchone()
    session = config.set_trytond("sqlite:///crm", config_file=str(folder / "trytond.conf"))
    create_company()
    ids = _people(session, parties)
    days: dict[date, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for number in range(count):
        for day, what in life(number, count):
            days[day][what].append(number)
    found: dict[int, int] = {}
    has_prefix = False
    for day in sorted(days):
        if day >= PREFIX_FROM and not has_prefix:
            _number(session, prefix=PREFIX)
            has_prefix = True
        for what in HOURS:
            if numbers := days[day][what]:
                Clock.set(day, HOURS[what])
                _happen(session, what, numbers, day, ids, found)
    is_open.close()
    print(FIRST, LAST)


def _people(session, count: int) -> dict[str, list[int]]:
    """Parties and sellers."""
    context = session.context
    party, employee = (session.get_proxy(name) for name in ("party.party", "company.employee"))
    customers = party.create(
        [{"name": f"Customer {number:03d}", "addresses": [("create", [{"city": "Town"}])]} for number in range(count)],
        context,
    )
    sellers = party.create([{"name": f"Seller {number}"} for number in range(SELLERS)], context)
    employees = employee.create([{"party": one, "company": context["company"]} for one in sellers], context)
    # Plain numbers that are other records' database ids: the trap of every import by number. Later ones have a prefix.
    _number(session, number_next=101)
    return {"parties": customers, "employees": employees}


def _number(session, **settings: object) -> None:
    """How opportunities are numbered from now on."""
    sequence = session.get_proxy("ir.sequence")
    [found] = sequence.search([("name", "=", "Sale Opportunity")], session.context)
    sequence.write([found], settings, session.context)


def _happen(
    session, what: str, numbers: list[int], day: date, ids: dict[str, list[int]], found: dict[int, int]
) -> None:
    opportunity, context = session.get_proxy("sale.opportunity"), session.context
    if what == "create":
        values = []
        for number in numbers:
            toss = coin("values", number)
            values.append(
                {
                    "description": DESCRIPTIONS[number % len(DESCRIPTIONS)],
                    "comment": COMMENT if number % 5 == 0 else None,
                    "reference": f"SF-{number:06d}" if number % 4 == 0 else None,
                    "party": ids["parties"][(toss[0] * 256 + toss[1]) % len(ids["parties"])],
                    "employee": ids["employees"][toss[2] % SELLERS],
                    "amount": Decimal(500 + 37 * toss[3]) + Decimal(toss[4] % 100) / 100,
                    "start_date": day,
                    "end_date": day + timedelta(days=30 + toss[5] % 60),
                    "conversion_probability": (25 + toss[6] % 50) / 100,
                }
            )
        found.update(zip(numbers, opportunity.create(values, context), strict=True))
    elif what == "amend":
        changes: list[object] = []
        for number in numbers:
            toss = coin("amend", number, day)
            amended: dict[str, object] = {"amount": Decimal(400 + 41 * toss[0])}
            if toss[1] < 128:
                amended["end_date"] = day + timedelta(days=20 + toss[2] % 60)
            changes += [[found[number]], amended]
        opportunity.write(*changes, context)
    elif what == "won":
        _win(session, [found[number] for number in numbers])
    else:
        getattr(opportunity, what)([found[number] for number in numbers], context)


def _win(session, numbers: list[int]) -> None:
    """The transition that a confirmed sale triggers; it has no button of its own."""
    from trytond.transaction import Transaction

    with Transaction().start(session.database_name, session.user, context=session.context) as transaction:
        opportunity = session.pool.get("sale.opportunity")
        opportunity.won(opportunity.browse(numbers))
        transaction.commit()


if __name__ == "__main__":
    main()
