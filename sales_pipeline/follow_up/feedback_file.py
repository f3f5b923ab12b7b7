"""A file of feedback: a CSV with a line per follow-up that somebody dealt with.

| column        | holds                                                                                                 |
| ------------- | ----------------------------------------------------------------------------------------------------- |
| queue_id      | the id from follow_up_queue                                                                           |
| outcome       | done, skipped or wrong (case does not matter)                                                         |
| dealt_with_at | an ISO 8601 instant, read in the configured zone where it names none, or a day: its end               |
| reason        | why; needed for skipped. Kept in the lake, never published: it may name people                        |

UTF-8 (a byte order mark is fine), comma or semicolon, the header in any order and case; further columns are not read. Every line is accepted,
a duplicate of what is known already, or quarantined with its reason.

Belongs here: from bytes to statements. Does not belong here: what they mean (`feedback`), keeping them (`feedback_ledger`).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sales_pipeline.contracts.internal import FEEDBACK_OUTCOMES
from sales_pipeline.domain.time import AsOf, zone
from sales_pipeline.errors import InputRejected
from sales_pipeline.follow_up.feedback import ISSUED_COLUMNS

COLUMNS = ("queue_id", "outcome", "dealt_with_at", "reason")
LATEST_DAYS = 366
_NEEDED = COLUMNS[:3]
Statement = tuple[str, str, datetime]
"""queue_id, outcome, dealt_with_at: two lines that agree on them say the same thing."""


@dataclass(frozen=True)
class Quarantined:
    """A line that could not be used: `line` counts from 1, the header included."""

    line: int
    column: str
    value: str
    reason: str


@dataclass(frozen=True)
class FeedbackFile:
    """What a file says: `accepted` rows of FEEDBACK; every data line is in exactly one of the three."""

    records: int
    accepted: list[dict[str, Any]]
    duplicates: list[int]
    quarantined: list[Quarantined]


def read_feedback(
    data: bytes,
    *,
    name: str,
    issued: Mapping[str, Mapping[str, Any]],
    known: Collection[Statement],
    time_zone: str,
) -> FeedbackFile:
    """The statements of a file. `issued` are the follow-ups published so far (`feedback.issued`), `known` the statements of the ledger.

    Raises InputRejected where the file as a whole cannot be read.
    """
    accepted: list[dict[str, Any]] = []
    duplicates: list[int] = []
    quarantined: list[Quarantined] = []
    seen = dict.fromkeys(known, 0)
    said: dict[tuple[str, datetime], tuple[str, int]] = {
        (queue_id, at): (outcome, 0) for queue_id, outcome, at in known
    }
    records = 0
    for line, cells in _lines(data, name):
        records += 1
        found = _statement(line, cells, issued, time_zone)
        if isinstance(found, Quarantined):
            quarantined.append(found)
            continue
        key: Statement = (found["queue_id"], found["outcome"], found["dealt_with_at"])
        other = said.get((found["queue_id"], found["dealt_with_at"]))
        if key in seen:
            duplicates.append(line)
        elif other is not None:
            where = f"line {other[1]}" if other[1] else "the ledger"
            reason = f"contradicts {where}, which says {other[0]} at the same instant"
            quarantined.append(Quarantined(line, "outcome", found["outcome"], reason))
        else:
            seen[key] = line
            said[(found["queue_id"], found["dealt_with_at"])] = (found["outcome"], line)
            accepted.append(found)
    return FeedbackFile(records, accepted, duplicates, quarantined)


def _lines(data: bytes, name: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Data lines with the number of the line they begin at; cells by column, `""` where the line is too short."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputRejected(
            "the feedback file is not UTF-8", expected="UTF-8 text", found=f"byte {error.start} is none", where=name
        ) from error
    first = text.split("\n", 1)[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=";" if first.count(";") > first.count(",") else ",")
    try:
        header = [cell.strip().casefold() for cell in next(reader, [])]
        missing = [column for column in _NEEDED if column not in header]
        repeated = sorted({column for column in COLUMNS if header.count(column) > 1})
        if missing or repeated:
            raise InputRejected(
                "the feedback file lacks its columns" if missing else "the feedback file repeats a column",
                expected=f"a header with {', '.join(_NEEDED)} once each (reason for skipped)",
                found=", ".join(header) or "an empty file",
                where=f"{name}, line 1",
            )
        place = {column: header.index(column) for column in COLUMNS if column in header}
        start = reader.line_num + 1
        for cells in reader:
            line, start = start, reader.line_num + 1
            if any(cell.strip() for cell in cells):
                yield (
                    line,
                    {c: cells[place[c]].strip() if c in place and place[c] < len(cells) else "" for c in COLUMNS},
                )
    except csv.Error as error:
        raise InputRejected(
            "the feedback file is not readable CSV", found=str(error), where=f"{name}, line {reader.line_num}"
        ) from error


def _statement(
    line: int, cells: Mapping[str, str], issued: Mapping[str, Mapping[str, Any]], time_zone: str
) -> dict[str, Any] | Quarantined:
    def refuse(column: str, reason: str) -> Quarantined:
        return Quarantined(line, column, cells[column][:80], reason)

    queue_id, outcome = cells["queue_id"], cells["outcome"].casefold()
    if not queue_id:
        return refuse("queue_id", "is empty")
    row = issued.get(queue_id)
    if row is None:
        return refuse("queue_id", "no published queue has this id")
    if outcome not in FEEDBACK_OUTCOMES:
        return refuse("outcome", f"expected one of {', '.join(FEEDBACK_OUTCOMES)}")
    if outcome == "skipped" and not cells["reason"]:
        return refuse("reason", "skipped needs a reason")
    instant = _instant(cells["dealt_with_at"], time_zone)
    if instant is None:
        return refuse(
            "dealt_with_at", "expected an ISO 8601 day or instant, such as 2026-06-30 or 2026-06-30T14:05:00Z"
        )
    if instant < row["proposed_at"]:
        return refuse(
            "dealt_with_at", f"lies before the follow-up was proposed ({AsOf(row['proposed_at']).isoformat()})"
        )
    if instant > row["proposed_at"] + timedelta(days=LATEST_DAYS):
        return refuse("dealt_with_at", f"lies more than {LATEST_DAYS} days after the follow-up was proposed")
    resolved = {name: row[name] for name in ISSUED_COLUMNS}
    return {
        **resolved,
        "dealt_with_at": instant,
        "outcome": outcome,
        "reason": cells["reason"] or None,
        "origin": "file",
    }


def _instant(text: str, time_zone: str) -> datetime | None:
    """The instant (UTC) a cell names; of a day the last microsecond."""
    try:
        if len(text) == len("2026-06-30"):
            return AsOf.end_of_day(date.fromisoformat(text), time_zone).instant - timedelta(microseconds=1)
        instant = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        return None
    return (instant if instant.tzinfo is not None else instant.replace(tzinfo=zone(time_zone))).astimezone(UTC)
