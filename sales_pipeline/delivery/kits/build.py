"""A kit from a published run: the difference to what the target holds, as files that import.

    <object>.csv …            the rows to import, by file
    rows/<object>.parquet     the same for machines: key, change, new and previous text of every field
    rollback/                 the same keys with the previous values, and what to take back by hand
    not_delivered.csv         rows left out, and why
    diff.json, diff_summary.txt, review.xlsx, README.txt, manifest.json

Belongs here: the order of the steps. Does not belong here: any one of them.
"""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path

from sales_pipeline.delivery.kits.facts import Kit
from sales_pipeline.delivery.params import MoveLimit
from sales_pipeline.delivery.targets.spec import TargetSpec
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.runs import PublishedRun


def build_kit(
    lake: Lake,
    run: PublishedRun,
    spec: TargetSpec,
    *,
    target: str,
    moves: MoveLimit,
    only_changed: bool = True,
    time_zone: str = "UTC",
    known_owners: Set[str] | None = None,
) -> Kit:
    """Write the kit of a run for a target (or find it written), under `deliveries/<target>/kits/<delivery_id>/`.

    Parameters
    ----------
    target
        The target's name in the settings (`spec.name` is the mapping's).
    only_changed
        Rows the target holds already, unchanged, are left out; False sends all rows but those of insert-only objects that were sent.
    time_zone
        The zone in which an instant's day is taken.
    known_owners
        Owners' ids the target knows, as the published tables write them; None where nobody says.

    Nothing is sent, and the state is not touched. The caller holds the target's lock. Raises ConfigurationError when the mapping names a
    column that is not there, EnvironmentProblem when a published file was changed, and DeliveryBlocked when the bytes written fail the last check. Moves
    above the limit are facts of the kit: the caller stops the delivery.
    """
    raise NotImplementedError


def build_rollback(lake: Lake, target: str, folder: Path) -> Kit:
    """Write the kit that takes a settled delivery back: previous values of the rows that succeeded, to be sent by any channel.

    Records a delivery created are marked withdrawn where the mapping has such fields, else they are listed in `delete.csv`. Settling it returns
    the state to what it was. Raises ConfigurationError when nothing of that delivery is known to have succeeded.
    """
    raise NotImplementedError
