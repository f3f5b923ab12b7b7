from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.contracts.internal import FEEDBACK
from sales_pipeline.contracts.published import FOLLOW_UP_QUEUE
from sales_pipeline.domain.time import AsOf
from sales_pipeline.errors import InputRejected
from sales_pipeline.follow_up.feedback import feedback_digest, from_tasks, issued, visible
from sales_pipeline.follow_up.feedback_file import FeedbackFile, read_feedback
from sales_pipeline.follow_up.feedback_ledger import quarantined_feedback, read_ledger, take
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.tables import write_table
from tests.support.published_run import queue_row
from tests.support.scored_rows import AS_OF, rows_of

ISSUED = {
    name: {
        "queue_id": name, "source_system": "crm", "opportunity_id": f"o-{name}", "contact_id": None, "action": "call",
        "stage": "Qualify", "episode_id": f"ep-{name}", "proposed_at": AS_OF.instant,
    }
    for name in ("fu-1", "fu-2", "fu-3")
}  # fmt: skip
HEADER = "queue_id,outcome,dealt_with_at,reason\n"


def read(text: str | bytes, known: set[Any] = frozenset(), time_zone: str = "UTC") -> FeedbackFile:  # type: ignore[assignment]
    data = text.encode() if isinstance(text, str) else text
    return read_feedback(data, name="f.csv", issued=ISSUED, known=known, time_zone=time_zone)


def test_a_line_becomes_a_statement_about_what_was_proposed() -> None:
    found = read(HEADER + "fu-1,Done,2026-07-01T09:30:00+02:00,\nfu-2,skipped,2026-07-02,busy\n")
    assert (found.records, found.duplicates, found.quarantined) == (2, [], [])
    one, two = found.accepted
    assert (one["outcome"], one["dealt_with_at"]) == ("done", datetime(2026, 7, 1, 7, 30, tzinfo=UTC))
    assert (one["opportunity_id"], one["action"], one["episode_id"], one["origin"]) == (
        "o-fu-1",
        "call",
        "ep-fu-1",
        "file",
    )
    assert (two["dealt_with_at"], two["reason"]) == (datetime(2026, 7, 2, 23, 59, 59, 999999, tzinfo=UTC), "busy")


def test_instants_without_a_zone_and_days_are_read_in_the_configured_one() -> None:
    found = read(HEADER + "fu-1,done,2026-07-01T09:30:00,\nfu-2,done,2026-07-01,\n", time_zone="Europe/Berlin")
    assert [row["dealt_with_at"].hour for row in found.accepted] == [7, 21]


def test_column_order_case_byte_order_mark_semicolons_and_quotes_do_not_matter() -> None:
    text = '﻿Reason;Extra;DEALT_WITH_AT;Outcome;queue_id\r\n"not now; later";x;2026-07-01;SKIPPED;fu-1\r\n\r\n'
    (row,) = read(text).accepted
    assert (row["reason"], row["outcome"]) == ("not now; later", "skipped")


@pytest.mark.parametrize(
    ("line", "column", "reason"),
    [
        (",done,2026-07-01,", "queue_id", "is empty"),
        ("fu-9,done,2026-07-01,", "queue_id", "no published queue has this id"),
        ("fu-1,lost,2026-07-01,", "outcome", "expected one of done, skipped, wrong"),
        ("fu-1,skipped,2026-07-01,", "reason", "skipped needs a reason"),
        ("fu-1,done,1.7.2026,", "dealt_with_at", "expected an ISO 8601 day or instant"),
        ("fu-1,done", "dealt_with_at", "expected an ISO 8601 day or instant"),
        ("fu-1,done,2026-06-29,", "dealt_with_at", "lies before the follow-up was proposed (2026-07-01T00:00:00Z)"),
        ("fu-1,done,2099-07-01,", "dealt_with_at", "lies more than 366 days after the follow-up was proposed"),
    ],
)
def test_what_cannot_be_used_is_quarantined_with_its_line(line: str, column: str, reason: str) -> None:
    found = read(f"{HEADER}fu-2,done,2026-07-01,\n{line}\n")
    assert len(found.accepted) == 1
    (entry,) = found.quarantined
    assert (entry.line, entry.column) == (3, column)
    assert entry.reason.startswith(reason)


def test_every_line_is_in_one_of_three_places() -> None:
    lines = [
        "fu-1,done,2026-07-01,",
        "fu-1,done,2026-07-01,",
        "fu-1,wrong,2026-07-01,",
        "fu-2,wrong,2026-07-03,",
        "fu-2,done,2026-07-04,",
    ]
    known = {("fu-2", "wrong", datetime(2026, 7, 3, 23, 59, 59, 999999, tzinfo=UTC))}
    found = read(HEADER + "\n".join(lines), known)
    assert (len(found.accepted), found.duplicates) == (2, [3, 5])
    (entry,) = found.quarantined
    assert (entry.line, entry.reason) == (4, "contradicts line 2, which says done at the same instant")
    against_ledger = read(HEADER + "fu-2,done,2026-07-03,", known).quarantined[0]
    assert against_ledger.reason == "contradicts the ledger, which says wrong at the same instant"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "lacks its columns[\\s\\S]*an empty file"),
        (b"queue_id,outcome\n", "lacks its columns[\\s\\S]*found: queue_id, outcome[\\s\\S]*f.csv, line 1"),
        (b"queue_id,outcome,dealt_with_at,outcome\n", "repeats a column"),
        (b"queue_id,outcome,dealt_with_at\n\xff\xfe", "not UTF-8"),
        (b"queue_id,outcome,dealt_with_at\n" + b"x" * 200_000, "not readable CSV[\\s\\S]*line 2"),
    ],
)
def test_a_file_that_cannot_be_read_is_rejected(data: bytes, message: str) -> None:
    with pytest.raises(InputRejected, match=message):
        read(data)


def test_the_ledger_only_grows_and_the_same_file_changes_nothing(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    first = (HEADER + "fu-1,done,2026-07-01,\nfu-9,done,2026-07-01,\n").encode()
    taken = take(lake, first, name="a.csv", issued=ISSUED, time_zone="UTC")
    assert taken.folder is not None
    assert taken.folder.name.startswith("000001-")
    assert (taken.folder / "source.csv").read_bytes() == first
    assert json.loads((taken.folder / "report.json").read_text())["records"] == 2
    again = take(lake, first, name="a.csv", issued=ISSUED, time_zone="UTC")
    assert (again.folder, again.file.duplicates) == (None, [2])
    second = (HEADER + "fu-1,wrong,2026-07-02,\n").encode()
    assert take(lake, second, name="b.csv", issued=ISSUED, time_zone="UTC").folder is not None
    assert read_ledger(lake).column("outcome").to_pylist() == ["done", "wrong"]
    (entry,) = quarantined_feedback(lake)
    assert (entry["line"], entry["value"]) == (3, "fu-9")
    # once a run has proposed it, the same file says something new
    later = ISSUED | {"fu-9": ISSUED["fu-1"] | {"queue_id": "fu-9"}}
    assert len(take(lake, first, name="a.csv", issued=later, time_zone="UTC").file.accepted) == 1


def test_a_file_without_lines_is_not_kept(tmp_path: Path) -> None:
    taken = take(Lake(tmp_path), HEADER.encode(), name="a.csv", issued=ISSUED, time_zone="UTC")
    assert (taken.folder, taken.file.records) == (None, 0)
    assert read_ledger(Lake(tmp_path)).num_rows == 0


def statements(*rows: tuple[str, str, datetime]) -> pa.Table:
    known = [{**ISSUED[name], "outcome": outcome, "dealt_with_at": at, "origin": "file"} for name, outcome, at in rows]
    return rows_of(FEEDBACK, known)


def test_the_digest_is_of_what_was_said_before_as_of_in_any_order() -> None:
    at = AS_OF.instant
    table = statements(
        ("fu-1", "done", at - timedelta(hours=2)), ("fu-2", "wrong", at - timedelta(hours=1)), ("fu-3", "done", at)
    )
    assert visible(table, AS_OF).num_rows == 2
    assert feedback_digest(table, AS_OF) == feedback_digest(table.take([2, 1, 0]), AS_OF)
    assert feedback_digest(table, AS_OF) != feedback_digest(table, AsOf(at + timedelta(days=1)))
    assert feedback_digest(table, AsOf(at - timedelta(days=1))) is None
    assert feedback_digest(arrow_schema(FEEDBACK).empty_table(), AS_OF) is None


def test_what_was_proposed_is_read_from_published_runs_old_ones_included(tmp_path: Path) -> None:
    old = rows_of(FOLLOW_UP_QUEUE, [queue_row("a")]).drop_columns(
        ["stage", "episode_id", "chosen_by", "reassigned_from"]
    )
    write_table(old, tmp_path / "one" / "follow_up_queue.parquet")
    later = AS_OF.instant + timedelta(days=1)
    new = [queue_row("a", as_of=later, stage="Proposal"), queue_row("b", as_of=later)]
    write_table(rows_of(FOLLOW_UP_QUEUE, new), tmp_path / "two" / "follow_up_queue.parquet", FOLLOW_UP_QUEUE)
    found = issued([tmp_path / "one", tmp_path / "two", tmp_path / "none"])
    assert (found["fu-a"]["proposed_at"], found["fu-a"]["stage"]) == (AS_OF.instant, "Proposal")
    assert found["fu-b"]["proposed_at"] == later
    assert issued([tmp_path / "one"])["fu-a"]["episode_id"] is None


def test_done_tasks_of_the_crm_are_statements_where_the_id_is_ours() -> None:
    tasks = [
        {"queue_id": "fu-1", "occurred_at": AS_OF.instant},
        {"queue_id": "typed by hand", "occurred_at": AS_OF.instant},
    ]
    (row,) = from_tasks(tasks, ISSUED).to_pylist()
    assert (row["queue_id"], row["outcome"], row["origin"], row["opportunity_id"]) == ("fu-1", "done", "crm", "o-fu-1")
