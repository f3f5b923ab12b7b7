"""The account table: who bought how much and when, what is open, whether contact grows or fades, what to expect, what to do next.

Belongs here: putting the rows together, segments and trends. Does not belong here: models of their own (`repeat`, `co_purchase`), the rules of care
(`care`), what counts (`sql/`).
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

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
Columns = dict[str, pa.Array]
"""Values by column, one per account."""


@one_core()
def build_accounts(
    seen: Seen, params: AccountParams, *, source_system: str, language: Language, run_id: str
) -> pa.Table:
    """ACCOUNT_INSIGHTS at an as-of: one row per account with anything open or won before it."""
    frame = seen.query("account_facts", answered_from=seen.before(SURVEY_DAYS), **_windows(seen))
    if frame.empty:
        return arrow_schema(ACCOUNT_INSIGHTS).empty_table()
    frame = frame.assign(**_money(seen, frame["account_id"]))
    for name in ("won_count", "purchase_days"):
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
    columns |= {"care_action": pa.array(actions), "care_reason": pa.array(reasons)}
    same = {
        "source_system": source_system,
        "as_of": seen.as_of.instant,
        "currency": seen.exchange.currency,
        "run_id": run_id,
    }
    columns |= {name: pa.repeat(value, len(frame)) for name, value in same.items()}
    columns |= {"account_id": _texts(frame["account_id"])}
    return conform(pa.table({name: columns[name] for name in ACCOUNT_INSIGHTS.column_names}), ACCOUNT_INSIGHTS)


def _money(seen: Seen, accounts: pd.Series) -> dict[str, Indices]:
    """By account: won, open and expected cents, and how many are open."""
    named = _texts(accounts)

    def total(table: pa.Table, values: Indices) -> Indices:
        found = np.zeros(len(named), dtype=np.int64)
        np.add.at(found, pc.index_in(table.column("account_id"), value_set=named).to_numpy(), values)
        return found

    wins, opened = seen.read("account_wins"), seen.read("account_open")
    return {
        "won_cents": total(wins, seen.cents(wins, "won_value")),
        "open_count": total(opened, opened.column("open_count").to_numpy()),
        "open_cents": total(opened, seen.cents(opened, "open_value")),
        "expected_cents": total(opened, seen.cents(opened, "expected_value")),
    }


def trend_from(as_of: AsOf) -> datetime:
    """The instant from which on contacts are counted one by one."""
    return as_of.instant - timedelta(days=2 * TREND_DAYS)


def _windows(seen: Seen) -> dict[str, Any]:
    return {"recent_from": seen.before(TREND_DAYS), "before_from": trend_from(seen.as_of)}


def _facts(seen: Seen, frame: pd.DataFrame) -> Columns:
    owners = _texts(frame["owner_id"]).dictionary_encode()
    teams = pa.array([seen.team_of(owner) for owner in owners.dictionary.to_pylist()], pa.string())
    open_cents = frame["open_cents"].clip(lower=0).to_numpy()
    total = int(open_cents.sum())
    return {
        "owner_id": owners.cast(pa.string()),
        "team": teams.take(owners.indices),
        "won_count": pa.array(frame["won_count"]),
        "purchase_days": pa.array(frame["purchase_days"]),
        "won_amount": amounts(pa.array(frame["won_cents"], pa.int64())),
        "first_won_at": _instants(frame["first_won_at"]),
        "last_won_at": _instants(frame["last_won_at"]),
        "days_since_last_win": _ints(frame["days_since_last_win"].to_numpy()),
        "last_contact_at": _instants(frame["last_contact_at"]),
        "days_since_last_contact": _ints(frame["days_since_last_contact"].to_numpy()),
        "open_count": pa.array(frame["open_count"]),
        "open_value": amounts(pa.array(frame["open_cents"], pa.int64())),
        "expected_value": amounts(pa.array(frame["expected_cents"], pa.int64())),
        "open_value_share": pa.array(open_cents / total) if total else pa.nulls(len(frame)),
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
    (r, f, m, won), place = _different(recency, frequency, money, has_won.astype(np.int64))
    segments = [
        segment(r or UNKNOWN_RECENCY, f, m) if won else "prospect"
        for r, f, m, won in zip(r.tolist(), f.tolist(), m.tolist(), won.tolist(), strict=True)
    ]
    return {
        "recency_score": _scores(recency),
        "frequency_score": _scores(frequency),
        "monetary_score": _scores(money),
        "segment": pa.array(segments).take(pa.array(place)),
    }


def _scores(values: Indices) -> pa.Array:
    """Scores from 1 on, NULL for 0."""
    return pa.array(values, mask=values == 0)


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


def _different(*columns: Indices) -> tuple[list[Indices], Indices]:
    """The different rows of columns of small counts, by column, and the place of each row among them: most accounts share theirs with many."""
    code = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        code = code * (column.max(initial=0) + 1) + column
    _, first, place = np.unique(code, return_index=True, return_inverse=True)
    return [column[first] for column in columns], place


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
            name: pa.nulls(len(frame))
            for name in ("inbound_count_90d", "inbound_count_previous_90d", "engagement_trend")
        }
    now = frame["recent_inbound_count"].fillna(0).to_numpy(dtype=np.int64)
    before = frame["earlier_inbound_count"].fillna(0).to_numpy(dtype=np.int64)
    both = now + before
    (one, sum_of_both), place = _different(now, both)
    p = 2 * np.minimum(binom.cdf(one, sum_of_both, 0.5), binom.sf(one - 1, sum_of_both, 0.5))[place]
    trend = np.where(now > before, "rising", "falling")
    trend = np.where((p > params.trend_p) | (now == before), "steady", trend)
    trend = np.where(both == 0, "none", trend)
    return {
        "inbound_count_90d": pa.array(now),
        "inbound_count_previous_90d": pa.array(before),
        "engagement_trend": pa.array(trend),
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
    is_told = ~np.isnan(silence)
    by_model = _levels(silence, params.silence_medium, params.silence_high)
    by_rule = _levels(days, params.quiet_medium_days, params.quiet_high_days)
    basis = pa.array(np.where(is_told, "bg_nbd", "rules"), mask=frame["won_count"].to_numpy() == 0)
    return {
        "p_alive": _floats(alive),
        "expected_purchases_12m": _floats(expected),
        "silence_risk": _floats(silence),
        "silence_level": pc.coalesce(by_model, by_rule),
        "repeat_basis": basis,
    }


def _levels(values: Floats, medium: float, high: float) -> pa.Array:
    levels = np.where(values >= high, "high", np.where(values >= medium, "medium", "low"))
    return pa.array(levels, mask=np.isnan(values))


def _products(seen: Seen, frame: pd.DataFrame, params: AccountParams) -> Columns:
    bought, offered = _baskets(seen.read("account_products")), _baskets(seen.read("account_open_products"))
    known = rules(bought.values(), params)
    nothing: frozenset[str] = frozenset()
    chosen: dict[int, Rule] = {}
    product_count, is_on_offer = np.zeros(len(frame), dtype=np.int64), np.zeros(len(frame), dtype=bool)
    places = pc.index_in(pa.array(bought, pa.string()), value_set=_texts(frame["account_id"])).to_pylist()
    for row, (account, basket) in zip(places, bought.items(), strict=True):
        product_count[row] = len(basket)
        if (rule := next_product(basket, known)) is not None:
            chosen[row] = rule
            is_on_offer[row] = rule.product in offered.get(account, nothing)
    found: Columns = {f"next_product_{name}": _at(chosen, part, len(frame)) for name, part in RULE_COLUMNS.items()}
    return found | {"product_count": pa.array(product_count), "is_on_offer": pa.array(is_on_offer)}


def _at(chosen: Mapping[int, Rule], part: str, count: int) -> pa.Array:
    """That part of the rules at their accounts' places, NULL at the others."""
    values: list[Any] = [None] * count
    for row, rule in chosen.items():
        values[row] = getattr(rule, part)
    return pa.array(values)


def _baskets(pairs: pa.Table) -> dict[str, frozenset[str]]:
    """By account, in their order, its products."""
    rows = zip(*(pairs.column(name).to_pylist() for name in ("account_id", "product_id")), strict=True)
    return {
        account: frozenset(product for _, product in some)
        for account, some in itertools.groupby(rows, key=operator.itemgetter(0))
    }


def _satisfactions(seen: Seen, frame: pd.DataFrame, params: AccountParams) -> Columns:
    table = seen.tables["cases"]
    if not isinstance(table, TableRef) or not table.rows:
        names = ("open_case_count", "survey_count", "satisfaction", "case_days")
        nothing: Columns = {name: pa.nulls(len(frame)) for name in names}
        return nothing | {"is_dissatisfied": pa.repeat(False, len(frame))}
    answers = frame["survey_count"].fillna(0).to_numpy(dtype=np.int64)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(answers > 0, frame["score_sum"].to_numpy(dtype=np.float64) / np.maximum(answers, 1), np.nan)
    told = mean[np.isfinite(mean)]
    bound, middle = np.quantile(told, [params.low_satisfaction, 0.5]) if len(told) else (np.nan, np.nan)
    with np.errstate(invalid="ignore"):
        is_low = (mean <= bound) & (mean < middle)
    return {
        "open_case_count": pa.array(frame["open_case_count"].fillna(0).astype("int64")),
        "survey_count": pa.array(answers),
        "satisfaction": _floats(mean),
        "is_dissatisfied": pa.array(is_low),
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


def _texts(values: pd.Series) -> pa.Array:
    return pa.array(values, pa.string(), from_pandas=True)


def _ints(values: Floats) -> pa.Array:
    return pa.array(values, from_pandas=True).cast(pa.int64())


def _floats(values: Floats) -> pa.Array:
    return pa.array(values, from_pandas=True)
