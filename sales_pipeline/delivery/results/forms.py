"""The forms in which CRMs say what became of imported rows, told apart by the columns a file has beside those that were sent.

    Data Loader success    ID, STATUS ("Item Created", "Item Updated"), the columns sent
    Data Loader error      ID, ERROR, the columns sent
    Bulk 2.0 successful    sf__Id, sf__Created, the columns sent (Data Loader on Bulk 2.0 writes ID for sf__Id)
    Bulk 2.0 failed        sf__Id, sf__Error, the columns sent
    Pipedrive skip file    Skip reason, the columns sent
    error file             the columns sent, and one with the error, as HubSpot gives it back (Error code, Object type, Reason)
    rows only              the columns sent, in a file that has `unprocessed`, `failed` or `error` in its name (Bulk 2.0's unprocessed records; the error
                           rows Dynamics 365 exports)
    plain                  key and outcome; message, code and remote_id where known

Sources: forcedotcom/dataloader (success and error files), developer.salesforce.com "Get Job Successful/Failed/Unprocessed Record Results",
support.pipedrive.com "Importing: errors and skip files", knowledge.hubspot.com "Troubleshoot import errors" (read in translations, so the English
names of its columns are taken in several forms), learn.microsoft.com "Import data" (failed rows can be exported). Nothing but Salesforce's forms was
seen in a vendor's code.

Belongs here: recognising a header. Does not belong here: reading rows (`files`), matching them to what was sent (`read`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Outcome = Literal["succeeded", "failed", "unprocessed", "unknown"]

_IDS = frozenset({"id", "sf__id"})
# Spelt so: a task's own field is called Status, and an Error is HubSpot's.
_SUCCESS = frozenset({"STATUS", "sf__Created"})
_SALESFORCE_ERROR = frozenset({"ERROR", "sf__Error"})
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
        "cause",
        "failure reason",
    }
)
_ERROR_CODES = frozenset({"error code", "error type"})
_SKIP_REASON = "skip reason"
_ASIDE = frozenset({"object type", "row", "row number", "line", "line number", "original row number"})
_PLAIN = frozenset({"key", "outcome", "message", "code", "remote_id"})


@dataclass(frozen=True)
class Form:
    """Where things stand in a file's rows, by position. Where `told` is given, the outcome stands in that column.

    `is_certain`: a row with an error was not imported. HubSpot imports some of those, so a row that may be sent only once ends as unknown.
    """

    name: str
    outcome: Outcome
    key: int
    remote_id: int | None = None
    error: int | None = None
    code: int | None = None
    told: int | None = None
    is_certain: bool = True


def plain_form(header: Sequence[str]) -> Form | None:
    """The plain form, or None."""
    names = [name.strip().lower() for name in header]
    if not {"key", "outcome"} <= set(names) <= _PLAIN or len(set(names)) != len(names):
        return None
    at = {name: place for place, name in enumerate(names)}
    return Form("plain", "unknown", at["key"], at.get("remote_id"), at.get("message"), at.get("code"), at["outcome"])


def form_of(file_name: str, header: Sequence[str], fields: Sequence[str], key_field: str) -> Form | None:
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
    if key is None:
        return None
    names = set(more) - _IDS
    only = header[more[next(iter(names))]] if len(names) == 1 else ""
    if only in _SUCCESS:
        return Form("Salesforce success file", "succeeded", key, remote_id)
    if only in _SALESFORCE_ERROR:
        return Form("error file", "failed", key, remote_id, more[names.pop()])
    if names == {_SKIP_REASON}:
        return Form("skip file", "failed", key, None, more[_SKIP_REASON])
    errors, codes = sorted(names & ERROR_COLUMNS), sorted(names & _ERROR_CODES)
    if len(errors) <= 1 and len(codes) <= 1 and (errors or codes) and names <= {*errors, *codes, *_ASIDE}:
        error, code = more[(errors or codes)[0]], more[codes[0]] if codes else None
        return Form("error file", "failed", key, None, error, code, is_certain=False)
    if not more and len(echoed) == len(fields):
        if "unprocessed" in file_name.lower():
            return Form("rows only", "unprocessed", key)
        if "failed" in file_name.lower() or "error" in file_name.lower():
            return Form("rows only", "failed", key)
    return None
