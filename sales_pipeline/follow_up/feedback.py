"""What people said of follow-ups, and what follows for the next queue.

| outcome | means                       | so                                                                                        |
| ------- | --------------------------- | ----------------------------------------------------------------------------------------- |
| done    | it was done                 | a contact counts as our contact at that instant: the cool-down applies and a new episode begins; housekeeping is not proposed again in its episode |
| skipped | not now, for a reason       | not proposed again for `skip_days`, unless the stage changes                              |
| wrong   | it should not have been one | not proposed again in its episode, and counted in `wrong_share` (queue_effect)            |

An episode lasts until the next contact or change of stage. Where a contact was skipped or wrong, no other contact is proposed in its
place; housekeeping is judged by itself. Of one follow-up the latest statement before as_of holds.

Belongs here: what feedback means. Does not belong here: reading a file of it (`feedback_file`), keeping it (`feedback_ledger`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sales_pipeline.contracts.internal import FEEDBACK
from sales_pipeline.contracts.published import FOLLOW_UP_QUEUE
from sales_pipeline.domain.identifiers import digest_of
from sales_pipeline.domain.time import AsOf
from sales_pipeline.engines.base import Engine
from sales_pipeline.follow_up.params import FollowUpParams
from sales_pipeline.follow_up.rules import CRM_ACTIONS, Proposal
from sales_pipeline.lake.tables import TableRef, read_table

ISSUED_COLUMNS = ("queue_id", "source_system", "opportunity_id", "contact_id", "action", "stage", "episode_id")


@dataclass(frozen=True)
class Feedback:
    """The statements that hold at an as-of, by opportunity."""

    as_of: AsOf
    params: FollowUpParams
    by_opportunity: Mapping[tuple[str, str], Sequence[Mapping[str, Any]]]

    @classmethod
    def of(cls, table: pa.Table | None, as_of: AsOf, params: FollowUpParams) -> Feedback:
        """From FEEDBACK; statements from as_of on are not known yet."""
        latest = latest_statements(table, as_of)
        found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
        for row in latest.values():
            found.setdefault((row["source_system"], row["opportunity_id"]), []).append(row)
        return cls(as_of, params, found)

    def contacts(self) -> dict[str, datetime]:
        """When each opportunity was last contacted, as far as feedback tells."""
        latest: dict[str, datetime] = {}
        for (_, opportunity_id), rows in self.by_opportunity.items():
            instants = [row["dealt_with_at"] for row in rows if row["outcome"] == "done" and _is_contact(row["action"])]
            if instants:
                latest[opportunity_id] = max(instants)
        return latest

    def verdict(self, proposal: Proposal, episode_id: str, names: Iterable[str]) -> str | None:
        """Why this proposal must not be made again, or None when nothing was said against it. `names` are ids it may have had before."""
        situation = proposal.situation
        rows = self.by_opportunity.get((situation.source_system, situation.opportunity_id))
        if not rows:
            return None
        known = frozenset(names)
        for row in rows:
            same_action = row["action"] == proposal.action
            same_kind = same_action or (_is_contact(row["action"]) and _is_contact(proposal.action))
            same_episode = row["episode_id"] == episode_id or row["queue_id"] in known
            on = row["dealt_with_at"].date().isoformat()
            if row["outcome"] == "done" and same_action and same_episode:
                return f"This follow-up was done on {on}"
            if row["outcome"] == "wrong" and same_kind and same_episode:
                return f"The follow-up proposed for it was called wrong on {on}"
            if row["outcome"] == "skipped" and same_kind and row["stage"] == situation.stage:
                until = row["dealt_with_at"] + timedelta(days=self.params.skip_days)
                if self.as_of.instant < until:
                    return f"The follow-up proposed for it was skipped on {on}, until {until.date().isoformat()}"
        return None


def latest_statements(table: pa.Table | None, as_of: AsOf) -> dict[str, dict[str, Any]]:
    """The statement that holds of each follow-up, by queue_id: the latest before as_of."""
    rows = [] if table is None else [row for row in table.to_pylist() if row["dealt_with_at"] < as_of.instant]
    return {row["queue_id"]: row for row in sorted(rows, key=_when)}


def _is_contact(action: str) -> bool:
    return action not in CRM_ACTIONS


def _when(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["dealt_with_at"], row["outcome"], row["queue_id"]


def visible(table: pa.Table, as_of: AsOf) -> pa.Table:
    """The statements made before as_of."""
    return table.filter(pc.less(table.column("dealt_with_at"), pa.scalar(as_of.instant, pa.timestamp("us", tz="UTC"))))


def feedback_digest(table: pa.Table, as_of: AsOf) -> str | None:
    """A digest of the statements made before as_of, None where there are none; equal statements give equal digests in any order."""
    rows = visible(table, as_of).select(["queue_id", "dealt_with_at", "outcome"]).to_pylist()
    return (
        digest_of(sorted([row["queue_id"], str(row["dealt_with_at"]), row["outcome"]] for row in rows))
        if rows
        else None
    )


def issued(runs: Iterable[Path]) -> dict[str, dict[str, Any]]:
    """What published runs (their folders, oldest first) proposed: by queue_id the columns of ISSUED_COLUMNS as last published, and
    `proposed_at`, the as-of it was first proposed at."""
    found: dict[str, dict[str, Any]] = {}
    for folder in runs:
        path = folder / f"{FOLLOW_UP_QUEUE.name}.parquet"
        if not path.is_file():
            continue
        names = set(pq.read_schema(path).names)
        for row in read_table(path, [name for name in (*ISSUED_COLUMNS, "as_of") if name in names]).to_pylist():
            before = found.get(row["queue_id"])
            proposed_at = row.pop("as_of")
            found[row["queue_id"]] = {
                **dict.fromkeys(ISSUED_COLUMNS),
                **row,
                "proposed_at": proposed_at if before is None else before["proposed_at"],
            }
    return found


def done_tasks(activities: TableRef, as_of: AsOf, engine: Engine) -> list[dict[str, Any]]:
    """Follow-ups that the CRM's own tasks say were done before as_of: rows of {queue_id, occurred_at}."""
    if not activities.rows:
        return []
    model = Path(__file__).parent / "sql" / "done_tasks.sql"
    return list(engine.query(model, {"activities": activities}, parameters={"as_of": as_of.instant}).to_pylist())


def from_tasks(tasks: Iterable[Mapping[str, Any]], known: Mapping[str, Mapping[str, Any]]) -> pa.Table:
    """FEEDBACK of done CRM tasks that carry a follow-up's id: rows of {queue_id, occurred_at}. Ids no run proposed are left out: whoever
    typed them did not mean us."""
    from sales_pipeline.contracts.derive import arrow_schema

    rows = [
        {
            **{name: known[task["queue_id"]][name] for name in ISSUED_COLUMNS},
            "dealt_with_at": task["occurred_at"],
            "outcome": "done",
            "reason": None,
            "origin": "crm",
        }
        for task in tasks
        if task["queue_id"] in known
    ]
    return pa.Table.from_pylist(rows, schema=arrow_schema(FEEDBACK))
