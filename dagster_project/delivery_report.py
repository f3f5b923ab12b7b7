"""What is told of a delivery: on the command line, as JSON, and in Dagster's metadata.

Belongs here: deliveries as rows and sentences. Does not belong here: delivering (`delivering`).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from sales_pipeline.lake.layout import Lake

if TYPE_CHECKING:
    from sales_pipeline.delivery.state.store import KitStatus

STATUS_COLUMNS = (
    "target",
    "delivery_id",
    "run_id",
    "as_of",
    "rows",
    "succeeded",
    "failed",
    "unprocessed",
    "deleted",
    "unknown",
    "state",
)
_OUTCOMES = ("succeeded", "failed", "unprocessed", "deleted", "unknown")
"""`deleted`: refused since somebody had deleted the record in the target; it does not come again."""

REFUSED_COLUMNS = ("delivery_id", "object", "key", "outcome", "code", "message")
_NEXT = {
    "dry_run": "a dry run: nothing was sent",
    "nothing_to_deliver": "nothing to deliver: the target holds it all already",
    "handed_over": "waits for the target's answer",
    "settled": "done",
    "discarded": "discarded: its rows come again with the next kit",
    "published": "published: the views show this run",
    "nothing_new": "nothing new: the views show this run already",
    "kept": "in schema runs; the views show a newer run",
}


@dataclass(frozen=True)
class DeliveryReport:
    """What came of a delivery, to be told: counts per object, rows by outcome, where the kit lies, what to do next."""

    target: str
    run_id: str
    as_of: str
    ended: str
    delivery_id: str | None = None
    folder: Path | None = None
    objects: tuple[dict[str, Any], ...] = ()
    outcomes: dict[str, int] | None = None
    by_hand: bool = False

    OBJECT_COLUMNS: ClassVar[tuple[str, ...]] = (
        "object",
        "rows",
        "new",
        "changed",
        "unchanged",
        "cleared",
        "withdrawn",
        "gone",
        "not_delivered",
        "moved",
    )

    @property
    def refused(self) -> int:
        """Rows the target refused or never came to."""
        found = self.outcomes or {}
        return found.get("failed", 0) + found.get("unprocessed", 0)

    def refusal(self) -> str:
        """What to do about refused rows."""
        return (
            f"{self.refused:,} rows were not taken; they come again with the next delivery. "
            f"`sales-pipeline deliver refused {self.target}` lists them with the target's own words"
        )

    def object_rows(self) -> list[dict[str, Any]]:
        """One row per object of the mapping."""
        return list(self.objects)

    def figures(self) -> dict[str, Any]:
        """For Dagster's metadata."""
        return {"run": self.run_id, "ended": self.ended, **(self.outcomes or {})}

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data."""
        return {
            "schema_version": 1,
            "target": self.target,
            "run_id": self.run_id,
            "as_of": self.as_of,
            "delivery_id": self.delivery_id,
            "ended": self.ended,
            "kit": str(self.folder) if self.folder else None,
            "objects": list(self.objects),
            "outcomes": self.outcomes,
        }

    def summary(self) -> list[str]:
        """A few lines for people."""
        lines = [f"{self.target}: {_NEXT.get(self.ended, self.ended)} ({self.run_id}, as of {self.as_of})"]
        if self.outcomes:
            lines.append("  " + ", ".join(f"{name} {count:,}" for name, count in self.outcomes.items()))
        if self.folder is not None and self.ended != "nothing_to_deliver":
            lines.append(f"  kit: {self.folder} (README.txt tells how to import it, review.xlsx what changes)")
        if self.by_hand and self.ended == "handed_over":
            lines.append(
                f"  next: import it, then `sales-pipeline deliver results {self.target} FILES`, or --all-taken, or --discard"
            )
        return lines


def outcomes_of(status: "KitStatus") -> dict[str, int]:
    """Rows by outcome; outcomes without rows are left out, but for succeeded."""
    counts = {name: getattr(status, name) for name in _OUTCOMES}
    return {name: count for name, count in counts.items() if count or name == "succeeded"}


def status_row(target: str, status: "KitStatus") -> dict[str, Any]:
    """A delivery as a row of STATUS_COLUMNS."""
    state = "discarded" if status.is_discarded else "done" if status.is_settled else "waits for answers"
    if status.is_rollback_of is not None:
        state = f"{state}, rollback of {status.is_rollback_of}"
    if status.is_dropped:
        state = f"{state}; its kit was dropped"
    return {
        "target": target,
        "delivery_id": status.delivery_id,
        "run_id": status.run_id,
        "as_of": status.as_of,
        "rows": status.rows,
        **{name: getattr(status, name) for name in _OUTCOMES},
        "state": state,
    }


def publication_rows(lake: Lake, target: str) -> list[dict[str, Any]]:
    """Whole runs, which are published rather than settled: in the order of their as-of."""
    from sales_pipeline.delivery.deliver import publications

    rows = []
    for delivery_id, said in publications(lake, target):
        state = "published" if said["is_current"] else "kept, a newer run was shown"
        counts = {**dict.fromkeys(_OUTCOMES, 0), "succeeded": said["rows"]}
        facts = {name: said[name] for name in ("run_id", "as_of", "rows")}
        rows.append({"target": target, "delivery_id": delivery_id, **facts, **counts, "state": state})
    return rows
