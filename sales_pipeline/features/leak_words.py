"""The semantic rule of the leak ledger: names that speak of something known only late.

Where no snapshots show when a value appeared, a statistic cannot tell a column written at the close from one written at the start. A
column is then suspected by its name when it speaks of (1) durations, (2) ratios of them, (3) counts of stages, changes or touches,
(4) the last activity, (5) what sales fills in while it works, or (6) the closing itself. A suspect is not used unless the configuration
says so. The words are those of the pitfalls known for CRM fields: values rewritten at close, last activity, next step, loss reason,
contract and order ids, lead status, scores.

Belongs here: words. Does not belong here: statistics (`leak_statistics`) and verdicts (`leaks`).
"""

from __future__ import annotations

import re

_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")

_DURATIONS = frozenset({"days", "duration", "durations", "elapsed"})
_RATIOS = frozenset({"ratio", "ratios"})
_COUNTS = frozenset({"count", "counts", "number", "num", "times", "total", "changes"})
_COUNTED = frozenset(
    [
        "stage",
        "stages",
        "change",
        "changes",
        "push",
        "pushes",
        "reschedules",
        "activity",
        "activities",
        "call",
        "calls",
        "meeting",
        "meetings",
        "email",
        "emails",
        "touches",
    ]
)
_LAST = frozenset({"last", "latest", "recent"})
_DONE = frozenset(
    [
        "activity",
        "contact",
        "contacted",
        "modified",
        "touch",
        "touched",
        "call",
        "email",
        "meeting",
        "notable",
        "change",
        "changed",
        "update",
        "updated",
        "stage",
        "step",
        "login",
    ]
)
_WORKED = frozenset(
    [
        "tag",
        "tags",
        "quality",
        "profile",
        "rating",
        "score",
        "scores",
        "index",
        "grade",
        "status",
        "substatus",
        "disposition",
        "forecast",
        "notable",
        "confirmed",
        "approved",
        "verified",
        "completed",
    ]
)
_CLOSING = frozenset(
    [
        "closed",
        "close",
        "closing",
        "won",
        "win",
        "lost",
        "loss",
        "contract",
        "signed",
        "signature",
        "invoice",
        "final",
        "discount",
        "actual",
        "booked",
        "booking",
        "outcome",
        "result",
        "converted",
        "conversion",
    ]
)
_ENDING = frozenset(
    [
        "reject",
        "rejected",
        "rejection",
        "disqualified",
        "disqualification",
        "churn",
        "cancel",
        "cancelled",
        "cancellation",
    ]
)
_ORDER = frozenset({"order", "po"})
_IDENTIFIER = frozenset({"id", "ids", "number", "no", "num", "key", "code", "uuid", "guid", "reference"})


def words(name: str) -> tuple[str, ...]:
    """The words of a column name, in lower case: `Days_To_Close__c` and `daysToClose` both give days, to, close.

    >>> words("Days_To_Close__c")
    ('days', 'to', 'close')
    """
    return tuple(part.lower() for part in _PARTS.findall(re.sub(r"__c$", "", name, flags=re.IGNORECASE)))


def suspicion(name: str) -> str | None:
    """Why the name makes a column suspect, or None.

    >>> suspicion("Client Size By Employee Count") is None
    True
    """
    found = set(words(name))
    if found & _DURATIONS or ({"time", "age"} & found and {"stage", "close"} & found):
        return "a duration, complete only when the sale is over"
    if found & _RATIOS:
        return "a ratio of durations or stages, complete only when the sale is over"
    if found & _COUNTS and found & _COUNTED:
        return "a count of stages, changes or touches, which grows until the sale is over"
    if found & _LAST and found & _DONE:
        return "the last activity, which a closing rewrites"
    if found & _CLOSING or found & _ENDING or (found & _ORDER and found & _IDENTIFIER):
        return "a fact of the closing"
    if found & _WORKED or {"next", "step"} <= found:
        return "filled in or scored while sales works on it"
    return None


def is_identifier_name(name: str) -> bool:
    """Whether the name speaks of an identifier."""
    return bool(set(words(name)) & _IDENTIFIER)
