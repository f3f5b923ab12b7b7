"""The weeks of opportunities: who was in touch when, as a table (CONTACT_WEEKS) and as arrays.

Belongs here: making that table by the engine, and looking a few weeks back or ahead in it. Does not belong here: what is made of it (`signs`,
`effects`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from sales_pipeline.contracts.internal import CONTACT_WEEKS
from sales_pipeline.domain.time import AsOf
from sales_pipeline.engines.base import Engine, Source
from sales_pipeline.features.sql_models import model
from sales_pipeline.lake.tables import TableRef, read_table

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
_SQL = Path(__file__).parent / "sql"
_WEEK = timedelta(days=7)
LAGS = 12
"""Weeks looked back at: older contacts say nothing that the stage does not say."""


def contact_weeks(
    tables: Mapping[str, Source],
    outcomes: Source,
    chosen: Sequence[str],
    as_of: AsOf,
    weeks: int,
    folder: Path,
    engine: Engine,
) -> TableRef:
    """CONTACT_WEEKS of the chosen opportunities, from so many weeks before `as_of` up to the row that starts at it.

    `tables` are canonical ones and `features.preparation.prepared`, or `features.standing.scoring_inputs` of the same as-of; `outcomes` is OUTCOMES as known before `as_of`. Intermediate tables are left in `folder`, as is the result.
    """
    known: dict[str, Source] = dict(tables)
    parameters: dict[str, Any] = {
        "as_of": as_of.instant,
        "mode": "grid",
        "is_thinned": False,
        "max_landmarks": weeks + 1,
    }
    starts = [as_of.instant - _WEEK * number for number in range(weeks, -1, -1)]
    known["grid"] = pa.table({"as_of": pa.array(starts, pa.timestamp("us", tz="UTC"))})
    known["chosen"] = pa.table({"opportunity_id": pa.array(sorted(set(chosen)), pa.string())})
    known["outcomes"] = outcomes

    def run(tree: Any, *names: str, output: str) -> TableRef:
        sources = {name: known[name] for name in names}
        ref = engine.run(tree, sources, folder / f"{output}.parquet", parameters=parameters)
        known[output] = ref
        return ref

    known["current_facts"] = run(_SQL / "chosen_facts.sql", "current_facts", "chosen", output="chosen_facts")
    run(model("spine"), "current_facts", "timeline", "grid", output="week_starts")
    names = ("week_starts", "activities", "opportunities", "accounts", "outcomes")
    return engine.run(
        _SQL / "contact_weeks.sql",
        {name: known[name] for name in names},
        folder / "contact_weeks.parquet",
        contract=CONTACT_WEEKS,
        parameters=parameters,
    )


def choose(opportunities: TableRef, at_most: int) -> list[str]:
    """Opportunities to learn from, whole accounts: all where there are few, else a share drawn by a digest of the account."""
    table = read_table(opportunities, ["opportunity_id", "account_id"])
    ids: list[str] = table.column("opportunity_id").to_pylist()
    if len(ids) <= at_most:
        return ids
    share = at_most / len(ids)
    units = [account or name for account, name in zip(table.column("account_id").to_pylist(), ids, strict=True)]
    drawn = {unit: int(hashlib.md5(unit.encode()).hexdigest()[:12], 16) / 16**12 for unit in set(units)}
    return [name for name, unit in zip(ids, units, strict=True) if drawn[unit] < share]


@dataclass(frozen=True)
class Weeks:
    """CONTACT_WEEKS as arrays, ordered by (opportunity, week). `week` counts from the as-of: 0 starts at it, -1 is the last one before.

    `replies` and `contacts` (by kind: call, e-mail, meeting) are counts of the week; `won` is NaN and `closed_week` (the week it closed in) far
    ahead where it has not closed before the as-of.
    """

    names: npt.NDArray[Any]
    opportunity: Indices
    account: Indices
    owner: Indices
    week: Indices
    age: Floats
    stage_age: Floats
    texts: Mapping[str, npt.NDArray[Any]]
    employees: Floats
    replies: Floats
    contacts: Floats
    won: Floats
    closed_week: Floats
    _found: dict[int, Indices] = field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.week)

    def at(self, weeks: int) -> Indices:
        """For each row the row of the same opportunity so many weeks later (negative: earlier); -1 where it was not open then."""
        if weeks in self._found:
            return self._found[weeks]
        span = int(self.week.max(initial=0) - self.week.min(initial=0)) + 2 * LAGS + 64
        key = self.opportunity * span + (self.week - int(self.week.min(initial=0)))
        wanted = key + weeks
        found = np.minimum(np.searchsorted(key, wanted), max(len(key) - 1, 0))
        same = (key[found] == wanted) & (self.opportunity[found] == self.opportunity) if len(key) else found == 0
        self._found[weeks] = np.where(same, found, -1).astype(np.int64)
        return self._found[weeks]

    def look(self, values: Floats, weeks: int) -> Floats:
        """`values` of the same opportunity so many weeks later (negative: earlier); 0 where it was not open then."""
        found = self.at(weeks)
        return np.where(found >= 0, values[np.maximum(found, 0)], 0.0)

    @property
    def is_contacted(self) -> Floats:
        """1 where we were in touch in the week, else 0."""
        return np.asarray(self.contacts.sum(axis=1) > 0, dtype=np.float64)


TEXTS = ("stage", "lead_source", "industry")
KINDS = ("call", "email", "meeting")


def to_weeks(table: pa.Table, as_of: AsOf, kinds: Sequence[str] | None = None) -> Weeks:
    """The arrays of CONTACT_WEEKS made for that as-of; `kinds` (opportunity, lead) leaves others out."""
    frame = table.to_pandas()
    if kinds is not None:
        frame = frame[frame["kind"].isin(list(kinds))]
    frame = frame.sort_values(["opportunity_id", "as_of"], kind="stable").reset_index(drop=True)
    end = pd.Timestamp(as_of.instant)
    week = _weeks(frame["as_of"], end)
    opportunity = pd.factorize(frame["opportunity_id"])[0].astype(np.int64)
    unit = frame["account_id"].fillna("o:" + frame["opportunity_id"])
    stage = frame["stage"].astype(object).where(frame["stage"].notna(), None).to_numpy(dtype=object)
    first = np.ones(len(frame), dtype=bool)
    first[1:] = (opportunity[1:] != opportunity[:-1]) | (stage[1:] != stage[:-1])
    run_start = np.maximum.accumulate(np.where(first, np.arange(len(frame)), 0)) if len(frame) else np.zeros(0, int)
    created = _weeks(frame["created_at"], end)
    texts = {name: frame[name].astype(object).where(frame[name].notna(), None).to_numpy(dtype=object) for name in TEXTS}
    return Weeks(
        names=frame["opportunity_id"].to_numpy(dtype=object),
        opportunity=opportunity,
        account=pd.factorize(unit)[0].astype(np.int64),
        owner=pd.factorize(frame["owner_id"].fillna(""))[0].astype(np.int64),
        week=np.round(week).astype(np.int64),
        age=np.maximum(week - np.where(np.isfinite(created), created, week), 0.0),
        stage_age=week - week[run_start] if len(frame) else np.zeros(0),
        texts=texts,
        employees=frame["employees"].astype("float64").to_numpy(),
        replies=frame["inbound_count"].to_numpy(dtype=np.float64),
        contacts=frame[[f"{kind}_count" for kind in KINDS]].to_numpy(dtype=np.float64),
        won=frame["is_won"].astype("float64").to_numpy(),
        closed_week=np.nan_to_num(np.floor(_weeks(frame["closed_at"], end)), nan=1e9),
    )


def _weeks(instants: pd.Series, end: pd.Timestamp) -> Floats:
    """Weeks from the end to each instant: negative before it, NaN where there is none."""
    return np.asarray((pd.to_datetime(instants, utc=True) - end) / pd.Timedelta(_WEEK), dtype=np.float64)
