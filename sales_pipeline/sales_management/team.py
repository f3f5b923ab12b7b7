"""The team table and its stage times: owners, teams and the company by the same figures.

Figures that add up are counted per owner and added; medians are taken of all times of a level together; adjusted win rates are estimated per level.
There is no rank: a rate comes with its interval and with whether it can be told apart from the company's.

Belongs here: putting the rows together. Does not belong here: estimators (`win_rates`, `durations`), what counts (`sql/`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.contracts.internal import FEEDBACK
from sales_pipeline.contracts.management import (
    ACTIVE_DAYS,
    CLOSED_DAYS,
    COMPANY,
    INBOUND_DAYS,
    LEVELS,
    STAGE_TIMES,
    TEAM_PERFORMANCE,
    TIMES_DAYS,
    UNASSIGNED,
)
from sales_pipeline.contracts.model import Table
from sales_pipeline.engines.machine import one_core
from sales_pipeline.lake.tables import conform
from sales_pipeline.sales_management.durations import median_times
from sales_pipeline.sales_management.owner_quotas import owner_quotas
from sales_pipeline.sales_management.params import TeamParams
from sales_pipeline.sales_management.seen import Seen, to_decimal
from sales_pipeline.sales_management.win_rates import (
    AdjustedRate,
    adjusted_rates,
    expected_log_odds,
    overall_rate,
    verdict,
)

COUNTS = (
    "open_count",
    "open_cents",
    "expected_cents",
    "unvalued_count",
    "counted_count",
    "dated_count",
    "slipped_count",
    "stale_count",
    "activity_count",
    "closed_count",
    "won_count",
    "quota_cents",
    "quota_won_cents",
    "quota_open_cents",
    "has_quota",
    "queue_count",
    "worked_count",
    "is_owner",
)
"""What is counted per owner and adds up over levels; money in cents of the company's currency."""


@dataclass(frozen=True)
class TeamTables:
    """TEAM_PERFORMANCE and STAGE_TIMES."""

    performance: pa.Table
    stage_times: pa.Table


@dataclass(frozen=True)
class Beside:
    """Tables of other steps the team table looks at: FOLLOW_UP_QUEUE of the run before and REVENUE_FORECAST of this one, None where there is none,
    and FEEDBACK on follow-ups."""

    previous_queue: pa.Table | None = None
    feedback: pa.Table | None = None
    forecast: pa.Table | None = None


@one_core()
def build_team(seen: Seen, beside: Beside, params: TeamParams, *, run_id: str) -> TeamTables:
    """Both tables at an as-of."""
    forecasts = _forecasts(beside.forecast)
    mix = _closed(seen)
    cycles = _times(seen.query("cycle_times", created_from=seen.before(TIMES_DAYS)))
    stays = _times(seen.query("stage_stays", created_from=seen.before(TIMES_DAYS)))
    responses = _times(
        seen.query("responses", inbound_from=seen.before(INBOUND_DAYS)).rename(columns={"hours": "days"})
    )
    named = {owner for times in (cycles, stays, responses) for owner in times["owner_id"].unique()}
    counts = _counts(seen, mix, beside, params, named)
    rates = _Rates(mix, params)
    shared = {"as_of": seen.as_of.instant, "run_id": run_id}
    rows: list[dict[str, Any]] = []
    stage_rows: list[dict[str, Any]] = []
    for level in LEVELS:
        key_of = _keys(level, seen)
        totals = counts.groupby([key_of(owner) for owner in counts.index]).sum()
        cycle, response = _by_key(cycles, key_of), _by_key(responses, key_of)
        adjusted = rates.at(level, key_of)
        for key, total in zip(totals.index, totals.to_dict("records"), strict=True):
            rows.append(
                {"level": level, "key": key, "currency": seen.exchange.currency, "counted_kind": seen.counted_kind}
                | shared
                | _owner_facts(seen, level, key, total)
                | _pipeline(total)
                | _rate_facts(level, total, adjusted.get(key), rates)
                | _time_facts(cycle.get((key,)), response.get((key,)), seen)
                | _work_facts(total, seen, has_queue=beside.previous_queue is not None)
                | forecasts.get((level, key), {})
            )
        for (key, stage), times in _by_key(stays, key_of, "stage").items():
            stage_rows.append({"level": level, "key": key, "stage": stage} | shared | _stay(times))
    return TeamTables(_table(rows, TEAM_PERFORMANCE), _table(stage_rows, STAGE_TIMES))


def _keys(level: str, seen: Seen) -> Callable[[str], str]:
    """From an owner's key to the key of the level."""
    if level == "company":
        return lambda _: COMPANY
    if level == "team":
        return lambda owner: seen.team_of(owner) or UNASSIGNED
    return lambda owner: owner


def _named(owners: pd.Series) -> pd.Series:
    return owners.fillna(UNASSIGNED)


def _closed(seen: Seen) -> pd.DataFrame:
    mix = seen.query("closed_mix", closed_from=seen.before(CLOSED_DAYS))
    factors = seen.exchange.factors(np.asarray(mix["currency"], dtype=object))
    amount = pd.to_numeric(mix["first_amount"], errors="coerce").astype("float64")
    return mix.assign(
        owner_id=_named(mix["owner_id"]),
        amount=np.where(amount > 0, amount * factors, np.nan),
        employees=pd.to_numeric(mix["employees"], errors="coerce").astype("float64"),
        is_won=mix["is_won"].astype("float64"),
    )


def _times(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(owner_id=_named(frame["owner_id"]))


def _counts(seen: Seen, mix: pd.DataFrame, beside: Beside, params: TeamParams, named: Collection[str]) -> pd.DataFrame:
    """COUNTS, one row per owner with anything open, closed or to reach, and for those `named` by times alone."""
    found = seen.read("owner_pipeline", stale_days=params.stale_days)
    pipeline = found.to_pandas()
    pipeline = pipeline.assign(
        owner_id=_named(pipeline["owner_id"]),
        open_cents=seen.cents(found, "open_value"),
        expected_cents=seen.cents(found, "expected_value"),
        unvalued_count=pipeline["open_count"] - pipeline["valued_count"].where(seen.has_rate(found), 0),
    )
    closed = mix.assign(closed_count=1, won_count=mix["is_won"])[["owner_id", "closed_count", "won_count"]]
    parts = [pipeline.groupby("owner_id").sum(numeric_only=True), closed.groupby("owner_id").sum(), owner_quotas(seen)]
    parts.append(_indexed(seen.query("recent_activities", active_from=seen.before(ACTIVE_DAYS))))
    if beside.previous_queue is not None:
        parts.append(_worked(seen, beside.previous_queue, beside.feedback))
    parts.append(pd.DataFrame(index=pd.Index(sorted(named), dtype=object)))
    joined = pd.concat([part for part in parts if len(part)] or [pd.DataFrame()], axis=1)
    counts = joined.reindex(columns=COUNTS).fillna(0).astype("int64").sort_index()
    counts["quota_open_cents"] = counts["open_cents"].where(counts["has_quota"] > 0, 0)
    counts["is_owner"] = [int(owner != UNASSIGNED) for owner in counts.index]
    # The company has its row even where nothing is open, closed or asked for.
    return counts if len(counts) else pd.DataFrame(0, index=[UNASSIGNED], columns=COUNTS)


def _worked(seen: Seen, queue: pa.Table, feedback: pa.Table | None) -> pd.DataFrame:
    said = feedback if feedback is not None else arrow_schema(FEEDBACK).empty_table()
    return _indexed(seen.with_table("previous_queue", queue).with_table("feedback", said).query("queue_worked"))


def _forecasts(forecast: pa.Table | None) -> dict[tuple[str, str], dict[str, Any]]:
    """The columns on the current quarter, the first that is forecast, by level and key."""
    if forecast is None:
        return {}
    names = ("period", "expected", "low", "high", "quota", "attainment")
    quarters = forecast.filter(pc.field("period_kind") == "quarter").select(["level", "key", "period_start", *names])
    first = pc.min(quarters.column("period_start"))
    rows = quarters.filter(pc.equal(quarters.column("period_start"), first)).to_pylist()
    return {(row["level"], row["key"]): {f"forecast_{name}": row[name] for name in names} for row in rows}


def _indexed(frame: pd.DataFrame) -> pd.DataFrame:
    return _times(frame).groupby("owner_id").sum(numeric_only=True)


class _Rates:
    """Adjusted win rates, per level; the expectation is the same for all."""

    def __init__(self, mix: pd.DataFrame, params: TeamParams) -> None:
        self._params = params
        self._owners = pd.factorize(mix["owner_id"])
        self._won = mix["is_won"].to_numpy(dtype=np.float64)
        self._expected = expected_log_odds(mix, params)
        self.basis = self._expected.basis
        self.company = float(self._won.mean()) if len(mix) else None

    def at(self, level: str, key_of: Callable[[str], str]) -> dict[str, AdjustedRate]:
        if self.company is None:
            return {}
        if level == "company":
            return {COMPANY: overall_rate(float(self._won.sum()), float(len(self._won)))}
        owners, owner_names = self._owners
        keys = [key_of(owner) for owner in owner_names]
        names = sorted(set(keys))
        place = {name: number for number, name in enumerate(names)}
        group = np.array([place[key] for key in keys], dtype=np.int64)[owners]
        found = adjusted_rates(group, len(names), self._won, self._expected, self._params)
        return {name: rate for name, rate in zip(names, found, strict=True) if rate is not None}


def _owner_facts(seen: Seen, level: str, key: str, total: Mapping[Hashable, Any]) -> dict[str, Any]:
    team, is_active = seen.owners.get(key, (None, None)) if level == "owner" else (None, None)
    return {"team": team, "is_active": is_active, "owner_count": total["is_owner"]}


def _pipeline(total: Mapping[Hashable, Any]) -> dict[str, Any]:
    has_quota = total["has_quota"] > 0
    left = total["quota_cents"] - total["quota_won_cents"]
    return {
        "open_count": total["open_count"],
        "open_value": to_decimal(total["open_cents"]),
        "expected_value": to_decimal(total["expected_cents"]),
        "unvalued_count": total["unvalued_count"],
        "quota": to_decimal(total["quota_cents"]) if has_quota else None,
        "quota_won": to_decimal(total["quota_won_cents"]) if has_quota else None,
        "coverage": max(total["quota_open_cents"], 0) / left if has_quota and left > 0 else None,
    }


def _rate_facts(level: str, total: Mapping[Hashable, Any], rate: AdjustedRate | None, rates: _Rates) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "closed_count": total["closed_count"],
        "won_count": total["won_count"],
        "win_rate_basis": rates.basis,
    }
    if rate is None or rates.company is None:
        return facts
    return facts | {
        "win_rate": total["won_count"] / total["closed_count"],
        "expected_win_rate": rate.expected,
        "adjusted_win_rate": rate.value,
        "adjusted_win_rate_low": rate.low,
        "adjusted_win_rate_high": rate.high,
        "win_rate_verdict": None if level == "company" else verdict(rate, rates.company),
    }


def _time_facts(cycle: _Times | None, response: _Times | None, seen: Seen) -> dict[str, Any]:
    facts: dict[str, Any] = {"cycle_days": None, "cycle_count": 0}
    if cycle is not None:
        facts = {"cycle_days": cycle.median, "cycle_count": cycle.ended + cycle.going}
    if not seen.has_activities:
        return facts
    if response is None:
        return facts | {"inbound_count": 0, "unanswered_count": 0}
    return facts | {
        "inbound_count": response.ended + response.going,
        "response_hours": response.median,
        "unanswered_count": response.going,
    }


def _work_facts(total: Mapping[Hashable, Any], seen: Seen, *, has_queue: bool) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    if seen.has_activities and total["open_count"]:
        facts["activities_per_open"] = total["activity_count"] / total["open_count"]
    if total["dated_count"]:
        facts |= {
            "slipped_count": total["slipped_count"],
            "slipped_share": total["slipped_count"] / total["dated_count"],
        }
    if seen.has_activities or seen.has_changes:
        facts["stale_count"] = total["stale_count"]
        if total["counted_count"]:
            facts["stale_share"] = total["stale_count"] / total["counted_count"]
    if has_queue:
        facts["queue_count"] = total["queue_count"]
        if seen.has_activities or seen.has_changes:
            facts["queue_worked_count"] = total["worked_count"]
            if total["queue_count"]:
                facts["queue_worked_share"] = total["worked_count"] / total["queue_count"]
    return facts


def _stay(times: _Times) -> dict[str, Any]:
    return {"median_days": times.median, "stay_count": times.ended + times.going, "left_count": times.ended}


@dataclass(frozen=True)
class _Times:
    """Times of a key: their median (None: fewer than half have ended), how many have ended, how many go on."""

    median: float | None
    ended: int
    going: int


def _by_key(times: pd.DataFrame, key_of: Callable[[str], str], *columns: str) -> dict[tuple[str, ...], _Times]:
    """The times of each key, and of each value of the columns."""
    owners, names = pd.factorize(times["owner_id"])
    keys = np.array([key_of(name) for name in names], dtype=object)[owners]
    groups = pd.DataFrame({"key": keys, **{name: times[name].to_numpy() for name in columns}}).groupby(
        ["key", *columns], sort=True
    )
    group = np.asarray(groups.ngroup(), dtype=np.int64)
    ended, going = (times[f"{name}_count"].to_numpy(dtype=np.int64) for name in ("ended", "going"))
    medians = median_times(group, times["days"].to_numpy(dtype=np.float64), ended, going)
    sums = (np.bincount(group, weights=counts, minlength=len(medians)).astype(np.int64) for counts in (ended, going))
    found = zip(groups.size().index.tolist(), medians.tolist(), *(counts.tolist() for counts in sums), strict=True)
    return {
        name if isinstance(name, tuple) else (name,): _Times(None if median != median else median, ended, going)
        for name, median, ended, going in found
    }


def _table(rows: list[dict[str, Any]], contract: Table) -> pa.Table:
    names = contract.column_names
    filled = [{name: row.get(name) for name in names} for row in rows]
    return conform(pa.Table.from_pylist(filled, schema=arrow_schema(contract)), contract)
