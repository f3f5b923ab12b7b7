"""What must hold of every queue, checked on the tables themselves before anything is published.

Belongs here: checks that read the queue's tables, the scored table and feedback, and trust none of the code that made them. Does not belong
here: contract and agreement of published tables (delivery's audit).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sales_pipeline.domain.time import AsOf
from sales_pipeline.follow_up.check_names import CAPACITY, COMPLETE, DEALT_WITH, DUPLICATES, NO_HARM, REASONS
from sales_pipeline.follow_up.feedback import Feedback
from sales_pipeline.follow_up.params import FollowUpParams


@dataclass(frozen=True)
class QueueCheck:
    """The verdict of one check; `message` names the first offenders, empty when it passed."""

    name: str
    passed: bool
    message: str
    figures: dict[str, Any] = field(default_factory=dict)


def check_queue(
    rows: pa.Table,
    left_out: pa.Table,
    workload: pa.Table,
    scored: pa.Table,
    feedback: pa.Table | None,
    *,
    as_of: AsOf,
    params: FollowUpParams,
) -> list[QueueCheck]:
    """All of QUEUE_CHECKS over FOLLOW_UP_QUEUE, LEFT_OUT, OWNER_WORKLOAD, SCORED_OPPORTUNITIES and FEEDBACK."""
    queue = rows.to_pylist()
    said = Feedback.of(feedback, as_of, params)
    return [
        _check(CAPACITY, _over_capacity(queue, workload.to_pylist(), params), {"owners": workload.num_rows}),
        _check(DUPLICATES, _duplicates(queue), {"rows": len(queue)}),
        _check(REASONS, _without_reason(rows, left_out), {"rows": rows.num_rows + left_out.num_rows}),
        _check(COMPLETE, _incomplete(rows, left_out, scored), {"open": scored.num_rows}),
        _check(DEALT_WITH, _again(queue, said, as_of, params), {"dealt with": len(said.by_opportunity)}),
    ]


def check_effect(effect: pa.Table) -> list[QueueCheck]:
    """EFFECT_CHECKS over QUEUE_EFFECT; they pass where there is no evidence yet."""
    rows = [row for row in effect.to_pylist() if row["method"] == "adjusted"]
    harm = (f"{row['figure']}: {row['detail']}" for row in rows if row["high_90"] is not None and row["high_90"] < 0)
    return [_check(NO_HARM, iter(harm), {row["figure"]: row["detail"] for row in rows})]


def _check(name: str, offenders: Iterator[str], figures: dict[str, Any]) -> QueueCheck:
    found = list(offenders)
    message = f"{len(found)} at fault, first: {'; '.join(found[:3])}" if found else ""
    return QueueCheck(name, not found, message, {**figures, "at fault": len(found)})


def _over_capacity(
    queue: Sequence[dict[str, Any]], workload: Sequence[dict[str, Any]], params: FollowUpParams
) -> Iterator[str]:
    minutes: Counter[str] = Counter()
    count: Counter[str] = Counter()
    for row in queue:
        minutes[row["owner_id"]] += row["estimated_minutes"]
        count[row["owner_id"]] += 1
    capacity = {row["owner_id"]: row["capacity_minutes"] for row in workload}
    for owner in sorted(minutes):
        if minutes[owner] > capacity.get(owner, 0):
            yield f"owner {owner} has {minutes[owner]} minutes of {capacity.get(owner, 0)}"
        if count[owner] > params.max_rows_per_owner:
            yield f"owner {owner} has {count[owner]} rows of {params.max_rows_per_owner}"


def _duplicates(queue: Sequence[dict[str, Any]]) -> Iterator[str]:
    for columns in (("source_system", "opportunity_id"), ("account_id",), ("contact_id",), ("queue_id",)):
        keys = Counter(tuple(row[name] for name in columns) for row in queue if row[columns[-1]] is not None)
        for key, count in sorted(keys.items()):
            if count > 1:
                yield f"{columns[-1]} {key[-1]} is in {count} rows"


def _without_reason(rows: pa.Table, left_out: pa.Table) -> Iterator[str]:
    for table, columns in ((rows, ("reason", "evidence")), (left_out, ("reason", "detail"))):
        for name in columns:
            text = pc.utf8_trim_whitespace(pc.fill_null(table.column(name), ""))
            for opportunity_id in table.filter(pc.equal(text, "")).column("opportunity_id").to_pylist():
                yield f"opportunity {opportunity_id} has no {name}"


def _incomplete(rows: pa.Table, left_out: pa.Table, scored: pa.Table) -> Iterator[str]:
    seen = [_seen(table, places=1, is_open=False) for table in (rows, left_out)]
    told = pa.concat_tables([*seen, _seen(scored, places=0, is_open=True)]).group_by(_KEYS)
    found = told.aggregate([("places", "sum"), ("is_open", "max")])
    is_at_fault = pc.or_(pc.not_equal(found["places_sum"], 1), pc.invert(found["is_open_max"]))
    for row in found.filter(is_at_fault).sort_by([(name, "ascending") for name in _KEYS]).to_pylist():
        where = f"in {row['places_sum']} places" if row["is_open_max"] else "not open"
        yield f"opportunity {row['opportunity_id']} is {where}"


_KEYS = ["source_system", "opportunity_id"]


def _seen(table: pa.Table, *, places: int, is_open: bool) -> pa.Table:
    """The opportunities of a table, with whether each row of it is a place that an open opportunity must be in once, and whether it says that it is open."""
    told = {"places": pa.repeat(pa.scalar(places, pa.int64()), len(table)), "is_open": pa.repeat(is_open, len(table))}
    return pa.table({name: table[name] for name in _KEYS} | told)


def _again(queue: Sequence[dict[str, Any]], said: Feedback, as_of: AsOf, params: FollowUpParams) -> Iterator[str]:
    for row in queue:
        for statement in said.by_opportunity.get((row["source_system"], row["opportunity_id"]), ()):
            same_action = statement["action"] == row["action"]
            same_episode = statement["episode_id"] == row["episode_id"]
            skipped_until = statement["dealt_with_at"] + timedelta(days=params.skip_days)
            is_skipped = statement["outcome"] == "skipped" and as_of.instant < skipped_until
            is_same = statement["queue_id"] == row["queue_id"] or (same_action and same_episode)
            if is_same and (statement["outcome"] in ("done", "wrong") or is_skipped):
                yield f"{row['queue_id']} was {statement['outcome']} on {statement['dealt_with_at'].date()}"
                break
