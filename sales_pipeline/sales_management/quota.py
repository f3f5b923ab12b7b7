"""Quotas by owner and month, in the corporate currency.

A quota of several whole months is spread evenly over them (the cents left over go to the last), one of other days by days. Where several hold for a month, the one of
the shortest period does. A manager's quota is taken for that of the team and not added to those of the people who report to the manager.

Belongs here: reading the canonical quotas. Does not belong here: what is held against them (`forecast`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sales_pipeline.sales_management.currency import Exchange
from sales_pipeline.sales_management.deals import whole
from sales_pipeline.sales_management.people import People
from sales_pipeline.sales_management.periods import Month

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Quotas:
    """`cents` (owners, months): NaN where none is recorded. `adds_up`: owners whose quota counts towards team and company. `notes`: per owner position what
    to mind; `is_empty`: the exports hold no quotas at all."""

    cents: Floats
    adds_up: npt.NDArray[np.bool_]
    notes: dict[int, str]
    is_empty: bool

    def of(self, owners: Ints, months: Sequence[int], *, is_one: bool) -> int | None:
        """Quota of some owners in some months; None where nobody has one for each of the months. `is_one`: of a single owner, roll-ups included."""
        if self.is_empty:
            return None
        chosen = owners if is_one else owners[self.adds_up[owners]]
        rows = self.cents[chosen][:, list(months)].sum(axis=1)
        known = rows[np.isfinite(rows)]
        return int(known.sum()) if len(known) else None


def read_quotas(
    quotas: pa.Table, owners: pa.Table, people: People, months: Sequence[Month], exchange: Exchange
) -> Quotas:
    """The quotas of the owners in `people`, who must hold every owner with a quota."""
    cents = np.full((len(people.owners), len(months)), np.nan)
    length = np.full(cents.shape, np.inf)
    place = {owner: number for number, owner in enumerate(people.owners)}
    problems: dict[int, list[str]] = defaultdict(list)
    factor = dict(
        zip(
            names := sorted(set(quotas.column("currency").to_pylist())),
            exchange.factors(np.array(names, dtype=object)),
            strict=True,
        )
    )
    for row in sorted(quotas.to_pylist(), key=lambda row: (row["owner_id"], row["period_start"])):
        owner = place[row["owner_id"]]
        if not np.isfinite(factor[row["currency"]]):
            problems[owner].append(
                f"its quota from {row['period_start']} on is in {row['currency']}, which has no exchange rate"
            )
            continue
        days = (row["period_end"] - row["period_start"]).days
        for position, part in _spread(row, months, float(factor[row["currency"]])):
            if days < length[owner, position]:
                cents[owner, position], length[owner, position] = part, days
    managers = rolled_up(owners, {people.owners[row] for row in np.flatnonzero(np.isfinite(cents).any(axis=1))})
    return Quotas(
        cents,
        np.array([owner not in managers for owner in people.owners], dtype=bool),
        {owner: "; ".join(sorted(set(found))) for owner, found in problems.items()},
        quotas.num_rows == 0,
    )


def _spread(row: dict[str, Any], months: Sequence[Month], factor: float) -> list[tuple[int, float]]:
    """Cents of a quota by position of the month."""
    start, end = row["period_start"], row["period_end"]
    total = float(whole(np.array([float(row["amount"]) * factor * 100.0]))[0])
    first, last = Month.of(start), Month.of(end)
    count = last.minus(first) if start.day == 1 and end.day == 1 else 0
    found = []
    for position, month in enumerate(months):
        if count:
            number = month.minus(first)
            if 0 <= number < count:
                even = float(np.floor(total / count))
                found.append((position, even if number < count - 1 else total - even * (count - 1)))
        elif (overlap := _overlap(start, end, month)) > 0:
            found.append((position, float(np.floor(total * overlap / (end - start).days + 0.5))))
    return found


def _overlap(start: date, end: date, month: Month) -> int:
    return (min(end, month.end) - max(start, month.start)).days


def rolled_up(owners: pa.Table, with_quota: Collection[str]) -> set[str]:
    """Owners whose quota holds those of others: somebody who has one reports to them."""
    return {
        row["manager_id"]
        for row in owners.select(["owner_id", "manager_id"]).to_pylist()
        if row["owner_id"] in with_quota and row["manager_id"] not in (None, row["owner_id"])
    }
