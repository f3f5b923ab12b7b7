"""What must hold of every forecast: levels add up, months make quarters, intervals hold what is expected, bridges close.

Belongs here: checks of the tables as written. Does not belong here: the contracts' own checks (`delivery.audit`).
"""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from typing import Any

import pyarrow as pa

from sales_pipeline.sales_management.changes import PARTS

ADDED = (
    "closed",
    "commit",
    "best_case",
    "expected",
    "from_open",
    "from_new",
    "open_value",
    "open_count",
    "left_out_count",
)


def broken_sums(forecast: pa.Table) -> list[str]:
    """Periods in which teams or owners do not add up to the company, or parts to what is expected: one sentence each."""
    rows = forecast.to_pylist()
    totals: dict[tuple[str, str], dict[str, Any]] = defaultdict(lambda: defaultdict(Decimal))
    for row in rows:
        for name in ADDED:
            totals[row["level"], row["period"]][name] += row[name]
    found = []
    for level, period in sorted(totals):
        for name in ADDED:
            company, total = totals["company", period][name], totals[level, period][name]
            if total != company:
                found.append(f"{period}: {name} of level {level} adds up to {total}, the company's is {company}")
    for row in rows:
        if row["closed"] + row["from_open"] + row["from_new"] != row["expected"]:
            found.append(
                f"{row['period']} {row['level']} {row['key']}: closed, from_open and from_new are not expected"
            )
    return found


def broken_intervals(forecast: pa.Table) -> list[str]:
    """Rows whose interval does not hold what is expected: one sentence each."""
    return [
        f"{row['period']} {row['level']} {row['key']}: {row['low']} to {row['high']} does not hold {row['expected']}"
        for row in forecast.select(["level", "key", "period", "expected", "low", "high"]).to_pylist()
        if row["low"] is not None and not row["low"] <= row["expected"] <= row["high"]
    ]


def broken_bridges(changes: pa.Table) -> list[str]:
    """Rows whose parts do not add up to the change: one sentence each."""
    return [
        f"{row['period']} {row['level']} {row['key']}: the parts leave {row['expected'] - total} unexplained"
        for row in changes.to_pylist()
        if row["previous_expected"] is not None
        and (total := row["previous_expected"] + sum((row[name] for name in PARTS), Decimal(0))) != row["expected"]
    ]
