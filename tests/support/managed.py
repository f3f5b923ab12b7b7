"""A small company for tests of the team table and the account table: canonical rows in, what is seen of them at an as-of out."""

from __future__ import annotations

import functools
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa

from sales_pipeline.contracts.internal import SPINE
from sales_pipeline.contracts.published import SCORED_OPPORTUNITIES
from sales_pipeline.domain.time import AsOf
from sales_pipeline.engines.base import Source
from sales_pipeline.engines.duckdb import DuckDBEngine
from sales_pipeline.features.build import FeatureSet
from sales_pipeline.features.preparation import prepare_into
from sales_pipeline.features.sql_models import inputs_of, model
from sales_pipeline.lake.tables import TableRef, read_table, write_table
from sales_pipeline.sales_management.accounts import build_accounts
from sales_pipeline.sales_management.params import AccountParams, TeamParams
from sales_pipeline.sales_management.seen import Seen, look
from sales_pipeline.sales_management.team import Beside, TeamTables, build_team
from tests.support.histories import field_history, write_rows
from tests.support.scored_rows import prediction_row, rows_of, scored_table

AS_OF = AsOf(datetime(2026, 7, 1, tzinfo=UTC))
Rows = list[dict[str, Any]]


def ago(days: float) -> datetime:
    """The instant so many days before the as-of."""
    return AS_OF.instant - timedelta(days=days)


def opportunity(
    name: str, created: float = 100, closed: float | None = None, state: str = "open", **more: Any
) -> dict[str, Any]:
    """An opportunity of account a and owner u, created and closed so many days ago, for 100."""
    return {
        "opportunity_id": name,
        "account_id": "a",
        "owner_id": "u",
        "created_at": ago(created),
        "closed_at": None if closed is None else ago(closed),
        "state": state,
        "stage": state,
        "amount": Decimal("100.00"),
    } | more


def change(name: str, at: float, stage: str, state: str = "open", **more: Any) -> dict[str, Any]:
    """The whole state of an opportunity right after a change so many days ago."""
    return {
        "opportunity_id": name,
        "changed_at": ago(at),
        "stage": stage,
        "state": state,
        "owner_id": "u",
        "amount": Decimal("100.00"),
    } | more


def activity(name: str, at: float, direction: str | None = "outbound", **more: Any) -> dict[str, Any]:
    """An e-mail with opportunity o, so many days ago."""
    return {
        "activity_id": name,
        "opportunity_id": "o",
        "kind": "email",
        "direction": direction,
        "occurred_at": ago(at),
        "logged_at": ago(at),
    } | more


def light_features(
    folder: Path, canonical: dict[str, TableRef], engine: DuckDBEngine, as_of: AsOf = AS_OF
) -> FeatureSet:
    """The scoring features as far as sales management reads them: spine, state and engagement, by the models of the features stage."""
    prepared = prepare_into(folder, canonical, engine)
    known: dict[str, Source] = {**canonical, **prepared}
    known["grid"] = pa.table({"as_of": pa.array([as_of.instant], pa.timestamp("us", tz="UTC"))})
    parameters: dict[str, Any] = {"as_of": as_of.instant, "mode": "scoring", "is_thinned": False, "max_landmarks": 40}
    made: dict[str, TableRef] = {}
    for name in ("spine", "state", "engagement"):
        tree = model(name)
        known[name] = made[name] = engine.run(
            tree, inputs_of(tree, known), folder / f"{name}.parquet", parameters=parameters
        )
    state, engagement = read_table(made["state"]), read_table(made["engagement"])
    wide = write_table(state.join(engagement.drop_columns(["as_of"]), "opportunity_id"), folder / "features.parquet")
    versioned = tuple(row["field"] for row in read_table(canonical["field_history"]).to_pylist() if row["is_versioned"])
    return FeatureSet(
        key="light",
        as_of=as_of,
        purpose="scoring",
        mode="scoring",
        spine=write_table(read_table(made["spine"]), folder / "spine.parquet", SPINE),
        features=wide,
        attributes=wide,
        outcomes=wide,
        absent={} if canonical["activities"].rows else {"activity_count": "no activities"},
        has_history="stage" in versioned,
        versioned=versioned,
    )


class Company:
    """Canonical rows by table, what is open at the as-of scored at one half each, and the tables made of it."""

    def __init__(
        self,
        folder: Path,
        engine: DuckDBEngine,
        *,
        as_of: AsOf = AS_OF,
        versioned: tuple[str, ...] = (),
        **rows: Rows,
    ) -> None:
        rows.setdefault("field_history", field_history(versioned))
        canonical = write_rows(folder / "canonical", rows)
        features = light_features(folder / "features", canonical.tables, engine, as_of)
        spine = read_table(features.spine).to_pylist()
        said = [prediction_row(row["opportunity_id"], 0.5, as_of=as_of.instant) for row in spine]
        self.scored = (
            scored_table([{name: row[name] for name in SPINE.column_names} for row in spine], said)
            if spine
            else rows_of(SCORED_OPPORTUNITIES, [])
        )
        self.seen: Seen = look(
            write_table(self.scored, folder / "scored_opportunities.parquet", SCORED_OPPORTUNITIES),
            features,
            canonical.tables,
            prepare_into(folder / "prepared", canonical.tables, engine),
            as_of=as_of,
            time_zone="UTC",
            currency=None,
            spoken_for="USD",
            engine=engine,
        )

    @functools.cached_property
    def tables(self) -> TeamTables:
        """The team's tables with the usual parameters, without a run before."""
        return self.team()

    def team(self, beside: Beside | None = None, **params: Any) -> TeamTables:
        return build_team(self.seen, beside or Beside(), TeamParams(**params), run_id="run-1")

    def team_row(
        self, level: str = "company", key: str = "company", beside: Beside | None = None, **params: Any
    ) -> dict[str, Any]:
        tables = self.team(beside, **params) if params or beside is not None else self.tables
        rows = tables.performance.to_pylist()
        return next(row for row in rows if (row["level"], row["key"]) == (level, key))

    def account_table(self, language: Any = "en", **params: Any) -> pa.Table:
        return build_accounts(
            self.seen, AccountParams(**params), source_system="crm", language=language, run_id="run-1"
        )
