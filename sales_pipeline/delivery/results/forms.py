"""The forms in which CRMs say what became of imported rows, told apart by the columns a file has beside those that were sent.

    Data Loader success    ID, STATUS ("Item Created", "Item Updated"), the columns sent
    Data Loader error      ID, ERROR, the columns sent
    Bulk 2.0 successful    sf__Id, sf__Created, the columns sent (Data Loader on Bulk 2.0 writes ID for sf__Id)
    Bulk 2.0 failed        sf__Id, sf__Error, the columns sent
    Bulk 2.0 unprocessed   the columns sent, in a file that has `unprocessed` in its name
    error file             the columns sent, and one with the error, as HubSpot and others give it back
    plain                  key and outcome; message, code and remote_id where known

Sources: forcedotcom/dataloader (success and error files), developer.salesforce.com "Get Job Successful/Failed/Unprocessed Record Results",
knowledge.hubspot.com on import errors. The forms of Dynamics 365 and Pipedrive are not documented; what they give back fits "error file" or is
brought into the plain form.

Belongs here: recognising a header. Does not belong here: reading rows (`files`), matching them to what was sent (`read`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Outcome = Literal["succeeded", "failed", "unprocessed", "unknown"]

_IDS = frozenset({"id", "sf__id"})
_SUCCESS = frozenset({"STATUS", "sf__Created"})  # spelt so: a task's own field is called Status
_SALESFORCE_ERROR = frozenset({"error", "sf__error"})
ERROR_COLUMNS = frozenset(
    {
        "error",
        "errors",
        "error message",
        "error messages",
        "error description",
        "error details",
        "error reason",
        "import error",
        "import errors",
        "reason",
        "failure reason",
    }
)
_ERROR_CODES = frozenset({"error code", "error type"})
_ROW_NUMBERS = frozenset({"row", "row number", "line", "line number", "original row number"})
_PLAIN = frozenset({"key", "outcome", "message", "code", "remote_id"})


@dataclass(frozen=True)
class Form:
    """Where things stand in a file's rows, by position. Where `told` is given, the outcome stands in that column."""

    name: str
    outcome: Outcome
    key: int
    remote_id: int | None = None
    error: int | None = None
    code: int | None = None
    told: int | None = None


def plain_form(header: Sequence[str]) -> Form | None:
    """The plain form, or None."""
    names = [name.strip().lower() for name in header]
    if not {"key", "outcome"} <= set(names) <= _PLAIN or len(set(names)) != len(names):
        return None
    at = {name: place for place, name in enumerate(names)}
    return Form("plain", "unknown", at["key"], at.get("remote_id"), at.get("message"), at.get("code"), at["outcome"])


def form_of(header: Sequence[str], fields: Sequence[str], key_field: str, *, is_unprocessed: bool) -> Form | None:
    """The form of a file that gives back rows of these fields, or None where it gives back other rows or says nothing of them.

    Fields are found whatever their case, an exact match first: a task has a field `Status` beside Data Loader's `STATUS`. Not all fields need be there,
    but the key must, or for Salesforce ids the column that holds them.
    """
    left = dict(enumerate(header))
    echoed: dict[str, int] = {}
    for is_same in (str.__eq__, lambda one, other: one.strip().lower() == other.strip().lower()):
        for field in fields:
            place = next((place for place, name in left.items() if is_same(name, field)), None)
            if field not in echoed and place is not None:
                echoed[field] = place
                del left[place]
    more = {name.strip().lower(): place for place, name in left.items()}
    if len(more) != len(left):
        return None
    remote_id = next((more[name] for name in sorted(_IDS, reverse=True) if name in more), None)
    key = echoed.get(key_field, remote_id if key_field.lower() == "id" else None)
    # Data Loader puts its ID first, in the place of an Id that was sent.
    if key is None or not (len(echoed) > 1 or len(fields) == 1):
        return None
    names = set(more) - _IDS
    if len(names) == 1 and header[more[next(iter(names))]] in _SUCCESS:
        return Form("Salesforce success file", "succeeded", key, remote_id)
    if len(names) == 1 and names <= _SALESFORCE_ERROR:
        return Form("error file", "failed", key, remote_id, more[names.pop()])
    errors = names & ERROR_COLUMNS
    if len(errors) == 1 and not names - errors - _ERROR_CODES - _ROW_NUMBERS:
        code = next((more[name] for name in sorted(names & _ERROR_CODES)), None)
        return Form("error file", "failed", key, None, more[errors.pop()], code)
    if not more and len(echoed) == len(fields) and is_unprocessed:
        return Form("unprocessed rows", "unprocessed", key)
    return None
