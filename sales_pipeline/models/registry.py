"""Which model was in force when: the registry's story, and what follows from it.

Every time a version comes into force one line is written, never changed and never removed: a past day finds the champion it had, and a
rollback is one more line. Belongs here: reading that story. Does not belong here: where it is kept (adapters).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sales_pipeline.domain.time import AsOf

Action = Literal["training", "promote", "rollback"]


@dataclass(frozen=True)
class Promotion:
    """A version came into force for days from `as_of` on.

    `number` counts the lines of a registry from 1, in the order they were written; 0 in registries written before lines were counted.
    `action` says what wrote it, `reason` why.
    """

    version: str
    as_of: AsOf
    number: int
    action: Action
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data, without the version, which keeps it."""
        return {"as_of": self.as_of.isoformat(), "number": self.number, "action": self.action, "reason": self.reason}

    @classmethod
    def from_data(cls, version: str, data: Mapping[str, Any] | str) -> Promotion:
        """The inverse of `to_dict`; a bare instant is a promotion by a training that was written before lines were counted."""
        if isinstance(data, str):
            return cls(version, AsOf(datetime.fromisoformat(data)), 0, "training", "")
        return cls(version, AsOf(datetime.fromisoformat(data["as_of"])), data["number"], data["action"], data["reason"])


def in_order(story: Sequence[Promotion]) -> list[Promotion]:
    """By the day they hold from, then as written."""
    return sorted(story, key=lambda line: (line.as_of.instant, line.number, int(line.version)))


def in_force(
    story: Sequence[Promotion], as_of: AsOf | None = None, is_eligible: Callable[[str], bool] = lambda _: True
) -> Promotion | None:
    """The line that holds at `as_of` (None: now, after every line), among versions that are eligible; None when there is none."""
    known = [line for line in in_order(story) if (as_of is None or line.as_of <= as_of) and is_eligible(line.version)]
    return known[-1] if known else None


def before_the_last(story: Sequence[Promotion]) -> Promotion | None:
    """The line a rollback goes back to: the version in force before the present one came; None when there was none.

    Versions that were rolled back from do not count: two rollbacks in a row go back two versions, not back and forth.
    """
    standing: list[Promotion] = []
    for line in in_order(story):
        if line.action == "rollback":
            while standing and standing[-1].version != line.version:
                standing.pop()
        if not standing or standing[-1].version != line.version:
            standing.append(line)
    return standing[-2] if len(standing) > 1 else None
