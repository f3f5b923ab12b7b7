"""Quotas as the team table counts them: one period per owner, in the company's currency.

Belongs here: which period an owner's quota is taken from, and what was won in it. Does not belong here: quotas of the forecast's periods.
"""

from __future__ import annotations

from datetime import date
from typing import Any

import pandas as pd
import pyarrow as pa

from sales_pipeline.lake.tables import TableRef, read_table
from sales_pipeline.sales_management.quota import rolled_up
from sales_pipeline.sales_management.seen import Seen, to_cents

_SCHEMA = pa.schema([("owner_id", pa.string()), ("period_start", pa.date32())])


def owner_quotas(seen: Seen) -> pd.DataFrame:
    """By owner with a quota for the last day before the as-of: `quota_cents`, `quota_won_cents`, `has_quota` (1).

    Of several periods that hold the day the shortest counts, of equal ones the last begun. A quota in a currency without a rate is none. The quota
    of a manager, which holds those of the people who report to them, is left out, or it would be counted twice.
    """
    table, people = seen.tables["quotas"], seen.tables["owners"]
    rows = read_table(table).to_pylist() if isinstance(table, TableRef) else []
    chosen = _chosen(rows, seen.as_of.day(seen.time_zone))
    if isinstance(people, TableRef):
        managers = rolled_up(read_table(people), {row["owner_id"] for row in chosen})
        chosen = [row for row in chosen if row["owner_id"] not in managers]
    factors = seen.exchange.factors(pd.Series([row["currency"] for row in chosen], dtype=object).to_numpy())
    quotas = [(row, factor) for row, factor in zip(chosen, factors, strict=True) if factor == factor]
    if not quotas:
        return pd.DataFrame()
    periods = [{"owner_id": row["owner_id"], "period_start": row["period_start"]} for row, _ in quotas]
    wins = seen.with_table("quota_periods", pa.Table.from_pylist(periods, schema=_SCHEMA)).read("quota_wins")
    won = pd.Series(seen.cents(wins, "won_value")).groupby(wins.column("owner_id").to_pandas()).sum()
    found = pd.DataFrame(
        {"quota_cents": [to_cents(row["amount"], factor) for row, factor in quotas], "has_quota": 1},
        index=pd.Index([row["owner_id"] for row, _ in quotas], dtype=object),
    )
    return found.assign(quota_won_cents=won.reindex(found.index).fillna(0).astype("int64"))


def _chosen(rows: list[dict[str, Any]], day: date) -> list[dict[str, Any]]:
    holding = [row for row in rows if row["period_start"] <= day < row["period_end"]]
    holding.sort(
        key=lambda row: (row["owner_id"], row["period_end"] - row["period_start"], -row["period_start"].toordinal())
    )
    first: dict[str, dict[str, Any]] = {}
    for row in holding:
        first.setdefault(row["owner_id"], row)
    return list(first.values())
