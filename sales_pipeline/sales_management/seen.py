"""What is known at an as-of of opportunities, owners and currencies: the ground the team table and the account table stand on.

Belongs here: running the models both tables share, and money of several currencies as cents of one. Does not belong here: figures (`team`, `accounts`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from sqlglot import exp

from sales_pipeline.domain.time import AsOf
from sales_pipeline.engines.base import Cut, Engine, Source, WorkTable
from sales_pipeline.engines.compiler import Scalar, parse_model
from sales_pipeline.features.build import FeatureSet
from sales_pipeline.features.sql_models import written_out
from sales_pipeline.lake.tables import TableRef, read_table
from sales_pipeline.sales_management.contacts import all_read
from sales_pipeline.sales_management.currency import Exchange, exchange_at

SQL = Path(__file__).parent / "sql"
WRITTEN_OUT = (
    "open_states",
    "known_contacts",
    "known_talks",
    "account_owners",
    "account_purchases",
    "account_contacts",
    "account_cases",
)
"""Models that others read in the place of their names."""
CANONICAL_INPUTS = (
    "opportunities",
    "opportunity_changes",
    "field_history",
    "opportunity_products",
    "accounts",
    "owners",
    "activities",
    "quotas",
    "cases",
    "exchange_rates",
)
"""Canonical tables the team table and the account table are made from."""


@dataclass(frozen=True)
class Seen:
    """The past as an as-of sees it.

    `tables` are named inputs of models (canonical tables, SCORED_OPPORTUNITIES, the scoring features, `opportunity_states`, which the engine holds:
    `states`), and queries that stand for one (`features.sql_models.written_out`).
    `counted_kind` is what rates and times count: opportunities, or leads where there is nothing else. `has_activities` and `has_changes` say
    whether any are known; without them nothing is known of contacts, or of moves, which is not the same as none.
    """

    tables: Mapping[str, Source | exp.Query]
    states: WorkTable
    as_of: AsOf
    time_zone: str
    engine: Engine
    exchange: Exchange
    owners: Mapping[str, tuple[str | None, bool | None]]
    counted_kind: str
    has_activities: bool
    has_changes: bool

    def read(self, name: str, **parameters: Scalar) -> pa.Table:
        """The result of one of this package's models, sorted by its columns."""
        tree, inputs = written_out(parse_model(SQL / f"{name}.sql"), self.tables)
        given = {"as_of": self.as_of.instant, "counted_kind": self.counted_kind, **parameters}
        found = self.engine.query(tree, inputs, parameters=given)
        return found.sort_by([(column, "ascending") for column in found.column_names])

    def query(self, name: str, **parameters: Scalar) -> pd.DataFrame:
        """The same as a frame; instants are UTC, NULL is None or NaN."""
        frame: pd.DataFrame = self.read(name, **parameters).to_pandas()
        return frame

    def release(self) -> None:
        """Free what the engine holds for it; nothing can be asked afterwards."""
        self.engine.release(self.states)

    def with_table(self, name: str, table: pa.Table) -> Seen:
        """The same with one more small input."""
        return Seen(**{**self.__dict__, "tables": {**self.tables, name: table}})

    def before(self, days: int) -> Scalar:
        """The instant so many days (of 24 hours) before the as-of."""
        return self.as_of.instant - timedelta(days=days)

    def team_of(self, owner: str | None) -> str | None:
        """The team of an owner, None where there is no owner or no team."""
        return self.owners.get(owner, (None, None))[0] if owner is not None else None

    def cents(self, table: pa.Table, name: str) -> npt.NDArray[np.int64]:
        """Amounts of a table with a column `currency` as cents of the company's currency; 0 where there is no rate."""
        factors = self.exchange.factors(table.column("currency"))
        values = table.column(name)
        cents = pc.multiply(values, pa.scalar(Decimal(100))).cast(pa.int64()).fill_null(0)
        found = np.where(np.isfinite(factors), cents.to_numpy(), 0)
        for row in np.flatnonzero(np.isfinite(factors) & (factors != 1.0)).tolist():
            found[row] = to_cents(values[row].as_py(), factors[row])
        return found

    def has_rate(self, table: pa.Table) -> npt.NDArray[np.bool_]:
        """Whether amounts of the row's currency can be counted."""
        return np.asarray(np.isfinite(self.exchange.factors(table.column("currency"))))


def look(
    scored: TableRef,
    features: FeatureSet,
    canonical: Mapping[str, TableRef],
    past: Mapping[str, Source | exp.Query],
    *,
    as_of: AsOf,
    time_zone: str,
    currency: str | None,
    spoken_for: str | None,
    engine: Engine,
    contacts: Mapping[str, Source] | None = None,
) -> Seen:
    """What is seen at `as_of`; to be released.

    `past` is `features.standing.stays_of_all` of the same canonical tables, or `features.preparation.prepared`.
    `currency` is the one the company reports in; None finds it, `spoken_for` is what it is where nothing tells it (see `exchange_at`).
    `contacts` is `contacts.kept_or_read` since two TREND_DAYS before the as-of; None reads all activities for them.
    """
    tables: dict[str, Source | exp.Query] = {name: canonical[name] for name in CANONICAL_INPUTS}
    tables |= {"scored_opportunities": scored, "features": features.features, **past}
    tables |= contacts if contacts is not None else all_read(canonical["activities"])
    tables |= {name: parse_model(SQL / f"{name}.sql") for name in WRITTEN_OUT}
    tree, inputs = written_out(parse_model(SQL / "opportunity_states.sql"), tables)
    cut = Cut("opportunity_id", tuple(name for name in inputs if name not in ("accounts", "field_history")))
    states = engine.hold(tree, inputs, parameters={"as_of": as_of.instant}, cut=cut)
    tables["opportunity_states"] = states
    kinds = engine.query(SQL / "kind_counts.sql", {"opportunity_states": states}).to_pylist()
    counted = {row["kind"]: row["row_count"] for row in kinds}
    currencies = read_table(scored, ["currency"]).column(0)
    return Seen(
        tables=tables,
        states=states,
        as_of=as_of,
        time_zone=time_zone,
        engine=engine,
        exchange=exchange_at(
            read_table(canonical["exchange_rates"], ["currency", "valid_from", "rate"]),
            currencies,
            as_of.day(time_zone),
            wanted=currency,
            spoken_for=spoken_for,
        ),
        owners={
            row["owner_id"]: (row["team"], row["is_active"])
            for row in read_table(canonical["owners"], ["owner_id", "team", "is_active"]).to_pylist()
        },
        counted_kind="lead" if counted.get("lead") and not counted.get("opportunity") else "opportunity",
        has_activities="activity_count" not in features.absent,
        has_changes=features.has_history or canonical["opportunity_changes"].rows > 0,
    )


def to_cents(value: Any, factor: float) -> int:
    """An amount times a factor in whole cents; 0 for no amount or no factor."""
    if value is None or not np.isfinite(factor):
        return 0
    times = Decimal(100) if factor == 1.0 else 100 * Decimal(repr(float(factor)))
    return int((Decimal(value) * times).to_integral_value(ROUND_HALF_UP))


def to_decimal(cents: int) -> Decimal:
    """Whole cents as an amount."""
    return Decimal(int(cents)).scaleb(-2)
