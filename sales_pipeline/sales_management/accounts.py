"""The account table: who bought how much and when, what is open, whether contact grows or fades, what to expect, what to do next.

Belongs here: putting the rows together, segments and trends. Does not belong here: models of their own (`repeat`, `co_purchase`), the rules of care
(`care`), what counts (`sql/`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.contracts.management import ACCOUNT_INSIGHTS, SURVEY_DAYS, TREND_DAYS
from sales_pipeline.domain.time import AsOf
from sales_pipeline.engines.machine import one_core
from sales_pipeline.features.terms import Language
from sales_pipeline.lake.tables import TableRef, conform
from sales_pipeline.models.matrix import Floats, Indices
from sales_pipeline.sales_management.care import CARE_INPUTS, care
from sales_pipeline.sales_management.co_purchase import Rule, next_product, rules
from sales_pipeline.sales_management.deals import amounts
from sales_pipeline.sales_management.params import AccountParams
from sales_pipeline.sales_management.repeat import WEEKS_PER_YEAR, Purchases, fit
from sales_pipeline.sales_management.seen import Seen

UNKNOWN_RECENCY = 3
MOST_FREQUENT = 5
_DAY_SECONDS = 86_400.0
RULE_COLUMNS = {name: name for name in ("because", "support", "confidence", "lift")} | {"id": "product"}
"""Columns of the next product, with the part of its rule that each tells."""
Columns = dict[str, Sequence[Any]]
"""Values by column, one per account."""


@one_core()
def build_accounts(
    seen: Seen, params: AccountParams, *, source_system: str, language: Language, run_id: str
) -> pa.Table:
    """ACCOUNT_INSIGHTS at an as-of: one row per account with anything open or won before it."""
    frame = seen.query("account_owners").set_index("account_id").sort_index()
    if frame.empty:
        return arrow_schema(ACCOUNT_INSIGHTS).empty_table()
    frame = frame.join(_money(seen)).join(seen.query("account_purchases").set_index("account_id"))
    frame = frame.join(seen.query("account_contacts", **_windows(seen)).set_index("account_id"))
    frame = frame.join(seen.query("account_cases", answered_from=seen.before(SURVEY_DAYS)).set_index("account_id"))
    for name in ("won_count", "purchase_days", "won_cents", "open_count", "open_cents", "expected_cents"):
        frame[name] = frame[name].fillna(0).astype("int64")
    frame["days_since_last_win"] = _days_since(seen, frame["last_won_at"])
    frame["days_since_last_contact"] = _days_since(seen, frame["last_contact_at"])
    columns = (
        _facts(seen, frame)
        | _segments(frame)
        | _trends(seen, frame, params)
        | _repeats(seen, frame, params)
        | _products(seen, frame, params)
        | _satisfactions(seen, frame, params)
        | _waiting(seen, frame)
    )
    told = {name: columns[name] for name in CARE_INPUTS}
    actions, reasons = care(told, params, language, has_activities=seen.has_activities)
    columns |= {"care_action": actions, "care_reason": reasons}
    same = {
        "source_system": source_system,
        "as_of": seen.as_of.instant,
        "currency": seen.exchange.currency,
        "run_id": run_id,
    }
    columns |= {name: [value] * len(frame) for name, value in same.items()}
    columns |= {"account_id": frame.index.tolist()}
    schema = arrow_schema(ACCOUNT_INSIGHTS)
    arrays = [pa.array(columns[field.name], field.type) for field in schema]
    return conform(pa.Table.from_arrays(arrays, schema=schema), ACCOUNT_INSIGHTS)


def _money(seen: Seen) -> pd.DataFrame:
    """By account: won, open and expected cents, and how many are open."""
    wins, opened = seen.query("account_wins"), seen.query("account_open")
    wins = wins.assign(won_cents=seen.cents(wins, "won_value"))
    opened = opened.assign(
        open_cents=seen.cents(opened, "open_value"), expected_cents=seen.cents(opened, "expected_value")
    )
    return pd.concat(
        [
            wins.groupby("account_id")[["won_cents"]].sum(),
            opened.groupby("account_id")[["open_count", "open_cents", "expected_cents"]].sum(),
        ],
        axis=1,
    )


def trend_from(as_of: AsOf) -> datetime:
    """The instant from which on contacts are counted one by one."""
    return as_of.instant - timedelta(days=2 * TREND_DAYS)


def _windows(seen: Seen) -> dict[str, Any]:
    return {"recent_from": seen.before(TREND_DAYS), "before_from": trend_from(seen.as_of)}


def _facts(seen: Seen, frame: pd.DataFrame) -> Columns:
    owners = pa.array(frame["owner_id"], pa.string(), from_pandas=True).to_pylist()
    open_cents = frame["open_cents"].clip(lower=0).to_numpy()
    total = int(open_cents.sum())
    return {
        "owner_id": owners,
        "team": [seen.team_of(owner) for owner in owners],
        "won_count": frame["won_count"].tolist(),
        "purchase_days": frame["purchase_days"].tolist(),
        "won_amount": amounts(pa.array(frame["won_cents"], pa.int64())),
        "first_won_at": _instants(frame["first_won_at"]),
        "last_won_at": _instants(frame["last_won_at"]),
        "days_since_last_win": _ints(frame["days_since_last_win"].to_numpy()),
        "last_contact_at": _instants(frame["last_contact_at"]),
        "days_since_last_contact": _ints(frame["days_since_last_contact"].to_numpy()),
        "open_count": frame["open_count"].tolist(),
        "open_value": amounts(pa.array(frame["open_cents"], pa.int64())),
        "expected_value": amounts(pa.array(frame["expected_cents"], pa.int64())),
        "open_value_share": (open_cents / total).tolist() if total else [None] * len(frame),
    }


def _segments(frame: pd.DataFrame) -> Columns:
    """The three scores and the segment.

    Recency, frequency, monetary value: Hughes, "Strategic Database Marketing", 1994. Fifths are of the accounts that have bought, equal values in the same
    one; frequency has fixed bounds, since most accounts of a sales force have bought once or twice. The segment's rules stand in the contract.
    """
    has_won = frame["won_count"].to_numpy() > 0
    days = frame["days_since_last_win"].to_numpy(dtype=np.float64)
    recency = _fifths(-days, has_won & np.isfinite(days))
    money = _fifths(frame["won_cents"].to_numpy(dtype=np.float64), has_won)
    frequency = np.minimum(frame["purchase_days"].to_numpy(), MOST_FREQUENT)
    segments = [
        segment(int(r) or UNKNOWN_RECENCY, int(f), int(m)) if won else "prospect"
        for r, f, m, won in zip(recency, frequency, money, has_won, strict=True)
    ]
    return {
        "recency_score": [int(value) or None for value in recency],
        "frequency_score": [int(value) or None for value in frequency],
        "monetary_score": [int(value) or None for value in money],
        "segment": segments,
    }


def segment(recency: int, frequency: int, money: int) -> str:
    """The segment of a buyer by its scores (1–5)."""
    if recency >= 4 and frequency >= 3 and money >= 4:
        return "champion"
    if recency >= 4 and frequency == 1:
        return "new_customer"
    if recency >= 3 and frequency >= 2:
        return "loyal"
    if recency >= 3:
        return "occasional"
    return "at_risk" if frequency >= 2 or money >= 4 else "dormant"


def _fifths(values: Floats, counted: np.ndarray[Any, np.dtype[np.bool_]]) -> Indices:
    """1–5 by the share of counted values that are smaller (equal ones by half), 0 where not counted."""
    from scipy.stats import rankdata

    found = np.zeros(len(values), dtype=np.int64)
    if counted.any():
        share = (rankdata(values[counted]) - 0.5) / counted.sum()
        found[counted] = np.minimum(1 + (5 * share).astype(np.int64), 5)
    return found


def _trends(seen: Seen, frame: pd.DataFrame, params: AccountParams) -> Columns:
    """Contacts by the customer, one 90 days against the 90 before.

    Of two Poisson counts over equal times the first is binomial with one half, given their sum (Przyborowski & Wilenski, "Homogeneity of results in
    testing samples from Poisson series", 1940); two-sided as twice the smaller tail.
    """
    from scipy.stats import binom

    if not seen.has_activities:
        return {
            name: [None] * len(frame)
            for name in ("inbound_count_90d", "inbound_count_previous_90d", "engagement_trend")
        }
    now = frame["recent_inbound_count"].fillna(0).to_numpy(dtype=np.int64)
    before = frame["earlier_inbound_count"].fillna(0).to_numpy(dtype=np.int64)
    both = now + before
    # The same two counts have the same chance: most accounts share theirs with many.
    pairs, place = np.unique(np.stack([now, both]), axis=1, return_inverse=True)
    p = 2 * np.minimum(binom.cdf(pairs[0], pairs[1], 0.5), binom.sf(pairs[0] - 1, pairs[1], 0.5))[place]
    trend = np.where(now > before, "rising", "falling")
    trend = np.where((p > params.trend_p) | (now == before), "steady", trend)
    trend = np.where(both == 0, "none", trend)
    return {
        "inbound_count_90d": now.tolist(),
        "inbound_count_previous_90d": before.tolist(),
        "engagement_trend": trend.tolist(),
    }


def _repeats(seen: Seen, frame: pd.DataFrame, params: AccountParams) -> Columns:
    """Repeat purchases to expect and the risk of silence: BG/NBD where enough accounts have bought again, else rules."""
    first, last = _seconds(frame["first_won_at"]), _seconds(frame["last_won_at"])
    dated = np.isfinite(first)
    weeks = 7 * _DAY_SECONDS
    bought = Purchases(
        repeats=frame["purchase_days"].to_numpy(dtype=np.float64)[dated] - 1,
        recency=np.floor(last[dated] / _DAY_SECONDS) / 7 - np.floor(first[dated] / _DAY_SECONDS) / 7,
        age=(seen.as_of.instant.timestamp() - first[dated]) / weeks,
    )
    model = fit(bought) if (bought.repeats > 0).sum() >= params.min_repeat_buyers else None
    count = len(frame)
    alive, expected, silence = (np.full(count, np.nan) for _ in range(3))
    if model is not None:
        alive[dated] = model.p_alive(bought)
        expected[dated] = model.expected_purchases(bought, WEEKS_PER_YEAR)
        silence[dated] = np.clip(model.p_silent(bought, WEEKS_PER_YEAR), 0.0, 1.0)
    days = frame["days_since_last_win"].to_numpy(dtype=np.float64)
    by_model = _levels(silence, params.silence_medium, params.silence_high)
    by_rule = _levels(days, params.quiet_medium_days, params.quiet_high_days)
    basis = ["bg_nbd" if value == value else "rules" for value in silence]
    has_won = frame["won_count"].to_numpy() > 0
    return {
        "p_alive": _floats(alive),
        "expected_purchases_12m": _floats(expected),
        "silence_risk": _floats(silence),
        "silence_level": [by_model[i] or by_rule[i] for i in range(count)],
        "repeat_basis": [basis[i] if has_won[i] else None for i in range(count)],
    }


def _levels(values: Floats, medium: float, high: float) -> list[str | None]:
    return [
        None if value != value else "high" if value >= high else "medium" if value >= medium else "low"
        for value in values
    ]


def _products(seen: Seen, frame: pd.DataFrame, params: AccountParams) -> Columns:
    bought = _baskets(seen.query("account_products"))
    offered = _baskets(seen.query("account_open_products"))
    known = rules((bought[account] for account in sorted(bought)), params)
    nothing: frozenset[str] = frozenset()
    chosen: dict[int, tuple[str, Rule]] = {}
    product_count = [0] * len(frame)
    for row, account in enumerate(frame.index.tolist()):
        if account in bought:
            product_count[row] = len(bought[account])
            if (rule := next_product(bought[account], known)) is not None:
                chosen[row] = account, rule
    found: Columns = {f"next_product_{name}": _at(chosen, part, len(frame)) for name, part in RULE_COLUMNS.items()}
    on_offer = {row for row, (account, rule) in chosen.items() if rule.product in offered.get(account, nothing)}
    return found | {
        "product_count": product_count,
        "is_on_offer": [row in on_offer for row in range(len(frame))],
    }


def _at(chosen: Mapping[int, tuple[str, Rule]], part: str, count: int) -> list[Any]:
    """That part of the rules at their accounts' places, None at the others."""
    values: list[Any] = [None] * count
    for row, (_, rule) in chosen.items():
        values[row] = getattr(rule, part)
    return values


def _baskets(pairs: pd.DataFrame) -> dict[str, frozenset[str]]:
    return {str(account): frozenset(rows) for account, rows in pairs.groupby("account_id")["product_id"]}


def _satisfactions(seen: Seen, frame: pd.DataFrame, params: AccountParams) -> Columns:
    table = seen.tables["cases"]
    if not isinstance(table, TableRef) or not table.rows:
        names = ("open_case_count", "survey_count", "satisfaction", "case_days")
        nothing: Columns = {name: [None] * len(frame) for name in names}
        return nothing | {"is_dissatisfied": [False] * len(frame)}
    answers = frame["survey_count"].fillna(0).to_numpy(dtype=np.int64)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(answers > 0, frame["score_sum"].to_numpy(dtype=np.float64) / np.maximum(answers, 1), np.nan)
    told = mean[np.isfinite(mean)]
    bound, middle = np.quantile(told, [params.low_satisfaction, 0.5]) if len(told) else (np.nan, np.nan)
    with np.errstate(invalid="ignore"):
        is_low = (mean <= bound) & (mean < middle)
    return {
        "open_case_count": frame["open_case_count"].fillna(0).astype("int64").tolist(),
        "survey_count": answers.tolist(),
        "satisfaction": _floats(mean),
        "is_dissatisfied": is_low.tolist(),
        "case_days": _ints(_days_since(seen, frame["oldest_open_at"])),
    }


def _waiting(seen: Seen, frame: pd.DataFrame) -> Columns:
    """Days since the customer's last contact where nothing of ours came after it, else None."""
    inbound, outbound = _seconds(frame["last_inbound_at"]), _seconds(frame["last_outbound_at"])
    waits = np.isfinite(inbound) & ~(outbound >= inbound)
    return {"inbound_days": _ints(np.where(waits, _days_since(seen, frame["last_inbound_at"]), np.nan))}


def _seconds(instants: pd.Series) -> Floats:
    """Seconds since 1970-01-01 UTC, NaN where there is no instant."""
    stamps = _stamps(instants)
    return np.where(np.isnat(stamps), np.nan, stamps.astype(np.int64) / 1e6)


def _stamps(instants: pd.Series) -> npt.NDArray[np.datetime64]:
    return pd.to_datetime(instants, utc=True).to_numpy(dtype="datetime64[us]")


def _days_since(seen: Seen, instants: pd.Series) -> Floats:
    """Whole days of 24 hours before the as-of, NaN where there is no instant."""
    return np.asarray(np.floor((seen.as_of.instant.timestamp() - _seconds(instants)) / _DAY_SECONDS))


def _instants(values: pd.Series) -> pa.Array:
    stamps = pa.array(_stamps(values), pa.timestamp("us"), from_pandas=True)
    return stamps.cast(pa.timestamp("us", tz="UTC"))


def _ints(values: Floats) -> list[int | None]:
    return [None if value != value else int(value) for value in values.tolist()]


def _floats(values: Floats) -> list[float | None]:
    return [None if value != value else value for value in values.tolist()]
