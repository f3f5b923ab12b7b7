"""From results to state: what a target is known to hold after its answers.

Belongs here: how answers move the state. Does not belong here: how answers are read (`results`, `channels`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from sales_pipeline.lake.layout import Lake


@dataclass(frozen=True)
class KitStatus:
    """What is known of one kit that was handed over: rows by outcome.

    `order` numbers the hand-overs of a target; `unknown` rows have no answer yet. `is_discarded`: somebody threw the kit away before it was
    imported.
    """

    delivery_id: str
    order: int
    run_id: str
    as_of: str
    rows: int
    succeeded: int
    failed: int
    unprocessed: int
    unknown: int
    is_discarded: bool = False
    is_rollback_of: str | None = None

    @property
    def is_settled(self) -> bool:
        """Whether the end of every row is known."""
        return self.is_discarded or self.unknown == 0


def hand_over(lake: Lake, target: str, folder: Path) -> KitStatus:
    """Note that a kit leaves the house, before its first row does: rows that may be sent only once count as sent from now on. Repeatable."""
    raise NotImplementedError


def settle(lake: Lake, target: str, folder: Path, results: pa.Table) -> KitStatus:
    """Take DELIVERY_RESULTS of a kit, whole or in pieces, into the state. Repeatable; hands the kit over where that was not noted.

    Rows that succeeded are held by the target from now on; failed and unprocessed rows are not, and come again with the next kit. A row that
    succeeded once has succeeded, whatever a later piece says. Raises InputRejected when results name parts or keys that
    the kit has not.
    """
    raise NotImplementedError


def confirm_all(lake: Lake, target: str, folder: Path) -> KitStatus:
    """Somebody says that the kit was imported whole: every row without an answer has succeeded."""
    raise NotImplementedError


def discard(lake: Lake, target: str, folder: Path) -> KitStatus:
    """Somebody says that the kit was thrown away: rows without an answer were never sent. Raises ConfigurationError when rows of it succeeded."""
    raise NotImplementedError


def delivery_status(lake: Lake, target: str) -> tuple[KitStatus, ...]:
    """Kits that were handed over, the latest last."""
    raise NotImplementedError
