"""What must hold of every forecast: levels add up, months make quarters, intervals hold what is expected, bridges close.

Belongs here: checks of the tables as written. Does not belong here: the contracts' own checks (`delivery.audit`).
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

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
    added = forecast.group_by(["level", "period"]).aggregate([(name, "sum") for name in ADDED]).to_pylist()
    totals = {(row["level"], row["period"]): row for row in added}
    found = []
    for level, period in sorted(totals):
        for name in ADDED:
            company = totals.get(("company", period), {}).get(f"{name}_sum", 0)
            total = totals[level, period][f"{name}_sum"]
            if total != company:
                found.append(f"{period}: {name} of level {level} adds up to {total}, the company's is {company}")
    parts = pc.add(pc.add(forecast.column("closed"), forecast.column("from_open")), forecast.column("from_new"))
    return found + [
        f"{row['period']} {row['level']} {row['key']}: closed, from_open and from_new are not expected"
        for row in forecast.filter(pc.not_equal(parts, forecast.column("expected"))).to_pylist()
    ]


def broken_intervals(forecast: pa.Table) -> list[str]:
    """Rows whose interval does not hold what is expected: one sentence each."""
    low, expected, high = (forecast.column(name) for name in ("low", "expected", "high"))
    outside = pc.or_(pc.less(expected, low), pc.greater(expected, high))
    return [
        f"{row['period']} {row['level']} {row['key']}: {row['low']} to {row['high']} does not hold {row['expected']}"
        for row in forecast.filter(outside).to_pylist()
    ]


def broken_bridges(changes: pa.Table) -> list[str]:
    """Rows whose parts do not add up to the change: one sentence each."""
    left = changes.column("expected")
    for name in ("previous_expected", *PARTS):
        left = pc.subtract(left, changes.column(name)).cast(left.type)
    is_open = pc.not_equal(left, pa.scalar(0, left.type))
    return [
        f"{row['period']} {row['level']} {row['key']}: the parts leave {unexplained} unexplained"
        for row, unexplained in zip(changes.filter(is_open).to_pylist(), left.filter(is_open).to_pylist(), strict=True)
    ]
