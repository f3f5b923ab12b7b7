"""The revenue forecast as a table: one row per company, team and owner, and month and quarter, with quota, coverage and words.

`commit` and `best_case` are what is closed plus the expected amounts (if won) of open opportunities whose win probability reaches the cut-off and whose predicted close
date lies in the period; the CRM's own forecast category is not used. `expected` is exact: chances times amounts, and history for what does not exist yet.

Belongs here: rows and their notes. Does not belong here: figures (`figures`), the bridge between two forecasts (`changes`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from sqlglot import exp

from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.contracts.forecast import REVENUE_FORECAST
from sales_pipeline.contracts.model import Table
from sales_pipeline.domain.time import AsOf
from sales_pipeline.engines.base import Engine, Source
from sales_pipeline.engines.machine import one_core
from sales_pipeline.lake.tables import TableRef, conform, read_table
from sales_pipeline.sales_management.currency import Exchange, exchange_at
from sales_pipeline.sales_management.deals import DEAL_TABLES, Deals, amounts, deals_of, read_deals
from sales_pipeline.sales_management.figures import EXPECTED, Figures, Key, compute, keys
from sales_pipeline.sales_management.params import ForecastParams
from sales_pipeline.sales_management.periods import Horizon, as_of_us, horizon
from sales_pipeline.sales_management.pipeline import OMISSIONS, PastWins, read_pipeline
from sales_pipeline.sales_management.quota import Quotas, read_quotas
from sales_pipeline.sales_management.shocks import Shocks

FORECAST_INPUTS = (*DEAL_TABLES, "owners", "quotas", "exchange_rates")
"""Canonical tables the forecast reads."""


@dataclass(frozen=True)
class Past:
    """What the canonical tables say of deals, owners, quotas and rates: read once, used at any as-of."""

    deals: pa.Table
    owners: pa.Table
    quotas: pa.Table
    exchange_rates: pa.Table

    @classmethod
    def read(cls, tables: Mapping[str, TableRef], past: Mapping[str, Source | exp.Query], engine: Engine) -> Past:
        """From the canonical tables and what they say of closings (see `read_deals`)."""
        return cls(
            read_deals({**tables, **past}, engine),
            *(read_table(tables[name]) for name in ("owners", "quotas", "exchange_rates")),
        )

    def exchange(self, day: date, params: ForecastParams, otherwise: str | None = None) -> Exchange:
        """The corporate currency and the rates of a day."""
        currencies = self.deals.column("currency")
        return exchange_at(self.exchange_rates, currencies, day, wanted=params.currency, spoken_for=otherwise)


@dataclass(frozen=True)
class Forecast:
    """The table, and what it was made from."""

    table: pa.Table
    figures: Figures
    exchange: Exchange
    deals: Deals


@one_core()
def forecast(
    scored: pa.Table,
    past: Past,
    *,
    as_of: AsOf,
    zone: str,
    params: ForecastParams,
    shocks: Shocks,
    run_id: str,
    currency: str | None = None,
) -> Forecast:
    """REVENUE_FORECAST at an as-of.

    Parameters
    ----------
    scored
        SCORED_OPPORTUNITIES of the run. Rows without a probability, an amount or a rate are counted in `left_out_count` and the note, never replaced.
    past
        Closed deals, owners, quotas and rates; anything from at or after `as_of` is cut off.
    shocks
        What opportunities share (`shocks.estimate_shocks`).
    currency
        What a company without a single opportunity counts in.
    """
    periods = horizon(as_of, params, zone)
    exchange = past.exchange(as_of.day(zone), params, currency)
    deals = deals_of(past.deals, exchange)
    with_quota = tuple(sorted(set(past.quotas.column("owner_id").to_pylist())))
    past_wins = PastWins.of(deals.known_at(as_of_us(as_of)), params)
    figures = compute(
        read_pipeline(scored, periods, exchange, past_wins),
        deals,
        past.owners,
        periods,
        shocks,
        params,
        also=with_quota,
    )
    quotas = read_quotas(past.quotas, past.owners, figures.people, periods.months, exchange)
    shared = {"as_of": as_of.instant, "currency": exchange.currency, "run_id": run_id}
    told = _told_keys(figures, quotas)
    columns = _figures(figures, told) | _targets(figures, quotas, told, _Words(figures, quotas, params))
    return Forecast(forecast_table(REVENUE_FORECAST, told, periods, columns, shared), figures, exchange, deals)


def _told_keys(figures: Figures, quotas: Quotas) -> list[Key]:
    """The company, and every team and owner of whom there is anything to tell."""
    owners = len(figures.people.owners)
    has_anything = (np.bincount(figures.places, minlength=owners) > 0) | np.isfinite(quotas.cents).any(axis=1)
    for name in ("closed", "from_open", "from_new"):
        has_anything |= figures.by_month[name].any(axis=1)
    return [key for key in keys(figures.people) if key.level == "company" or has_anything[key.owners].any()]


def forecast_table(
    contract: Table,
    told: Sequence[Key],
    horizon: Horizon,
    columns: Mapping[str, pa.Array],
    shared: Mapping[str, Any],
    *,
    is_told: npt.NDArray[np.bool_] | None = None,
) -> pa.Table:
    """A table with a row per key and period, of those that are told where `is_told` (keys, periods) says which: `columns` key by key, `shared` in every row; NULL in
    columns that are in neither."""
    periods, each = horizon.periods, len(horizon.periods)
    named: dict[str, Any] = {
        "level": [key.level for key in told for _ in range(each)],
        "key": [key.name for key in told for _ in range(each)],
        "period": [period.name for period in periods] * len(told),
        "period_kind": [period.kind for period in periods] * len(told),
        "period_start": [period.start for period in periods] * len(told),
        "period_end": [period.end for period in periods] * len(told),
    }
    arrays = []
    for field in arrow_schema(contract):
        if field.name in columns:
            arrays.append(columns[field.name])
        elif field.name in named:
            arrays.append(pa.array(named[field.name], field.type))
        else:
            arrays.append(pa.repeat(pa.scalar(shared.get(field.name), field.type), len(told) * each))
    table = pa.Table.from_arrays(arrays, names=list(contract.column_names))
    return conform(table if is_told is None else table.filter(pa.array(is_told.ravel())), contract)


def _figures(figures: Figures, told: Sequence[Key]) -> dict[str, pa.Array]:
    """Figures of keys and all periods, key by key."""
    places = np.array([key.place for key in told])
    of = {name: values[places].ravel() for name, values in figures.sums.by_name.items()}
    not_drawn = np.repeat(~figures.is_drawn[places], len(figures.horizon.periods))
    cents = {
        "closed": of["closed"],
        "commit": of["closed"] + of["commit"],
        "best_case": of["closed"] + of["best_case"],
        **{name: of[name] for name in (EXPECTED, "from_open", "from_new", "open_value")},
    }
    interval = {"low": figures.low[places].ravel(), "high": figures.high[places].ravel()}
    return (
        {name: amounts(pa.array(values)) for name, values in cents.items()}
        | {name: amounts(pa.array(values, mask=not_drawn)) for name, values in interval.items()}
        | {"open_count": pa.array(of["open_count"])}
    )


def _targets(figures: Figures, quotas: Quotas, told: Sequence[Key], words: _Words) -> dict[str, pa.Array]:
    """Quota, what it means, and words, of keys and all periods, key by key."""
    positions = [figures.horizon.positions(period) for period in figures.horizon.periods]
    found: dict[str, list[Any]] = defaultdict(list)
    for key in told:
        omitted, evidence = words.omitted(key), words.evidence(key)
        closed, expected, open_value = (
            figures.sums.by_name[name][key.place].tolist() for name in ("closed", EXPECTED, "open_value")
        )
        for column, months in enumerate(positions):
            quota = quotas.of(key.owners, months, is_one=key.level == "owner")
            missing = quota - closed[column] if quota is not None else 0
            found["quota"].append(quota)
            found["coverage"].append(open_value[column] / missing if missing > 0 else None)
            found["attainment"].append(expected[column] / quota if quota is not None and quota > 0 else None)
            found["left_out_count"].append(sum(omitted.values()))
            found["evidence"].append(evidence)
            found["note"].append(words.note(key, omitted, quota))
    arrays = {name: pa.array(values) for name, values in found.items()}
    return arrays | {"quota": amounts(pa.array(found["quota"], pa.int64()))}


def counted(count: int, one: str, many: str) -> str:
    """`1 lead is`, `3 leads are`."""
    return f"{count:,} {one} is" if count == 1 else f"{count:,} {many} are"


def money(cents: int | None) -> Decimal | None:
    """Cents as an amount."""
    return None if cents is None else Decimal(cents).scaleb(-2)


class _Words:
    """What the figures of a key rest on, and what is missing."""

    def __init__(self, figures: Figures, quotas: Quotas, params: ForecastParams) -> None:
        self._figures = figures
        self._quotas = quotas
        self._params = params
        owners = len(figures.people.owners)
        omission = figures.pipeline.omission
        self._omitted = {name: np.bincount(figures.places[omission == name], minlength=owners) for name in OMISSIONS}
        self._has_won = bool(figures.known.countable.any())
        self._of_the_company = self._company()
        self._counted = np.bincount(figures.places[figures.pipeline.counted], minlength=owners)

    def omitted(self, key: Key) -> dict[str, int]:
        """How many open opportunities are not counted, by reason."""
        return {name: int(counts[key.owners].sum()) for name, counts in self._omitted.items()}

    def evidence(self, key: Key) -> str:
        figures = self._figures
        parts = [f"Scores of {self._counted[key.owners].sum():,} open opportunities"]
        if len(figures.new.cents):
            parts.append(
                f"new pipeline by {len(figures.new.cents):,} past wins and {figures.new.rate:.1f} creations a week in the company"
            )
        else:
            parts.append("no new pipeline: too few past wins of known age")
        parts.append(f"{self._params.draws:,} simulated futures with {figures.shocks.basis}")
        return "; ".join(parts)

    def note(self, key: Key, omitted: Mapping[str, int], quota: int | None) -> str | None:
        parts = [
            f"{counted(count, 'open opportunity', 'open opportunities')} {OMISSIONS[name]} and not counted"
            for name, count in omitted.items()
            if count
        ]
        if key.level == "company":
            parts += self._of_the_company
        parts += self._of_quota(key, quota)
        if not self._has_won:
            parts.append("nothing has been won with a known amount and closing time yet")
        text = "; ".join(parts)
        return f"{text[0].upper()}{text[1:]}" if text else None

    def _company(self) -> list[str]:
        figures = self._figures
        known, deals = figures.known, figures.known.deals
        unplaced = int((known.is_there & (deals.is_won == 1) & np.isnan(deals.closed)).sum())
        no_rate = int((known.won & ~deals.has_rate).sum())
        no_amount = int((known.won & deals.has_rate & np.isnan(deals.cents)).sum())
        deal, deals_ = "won opportunity", "won opportunities"
        found = [
            (
                figures.pipeline.lead_count,
                "open lead",
                "open leads",
                "not counted: leads bring no revenue before they are converted",
            ),
            (
                figures.pipeline.by_crm_date,
                "open opportunity",
                "open opportunities",
                "placed by the CRM's close date, as no closing times are known",
            ),
            (unplaced, deal, deals_, "in no period, as the closing time is not recorded"),
            (no_rate, deal, deals_, "in a currency without an exchange rate and not counted"),
            (no_amount, deal, deals_, "without an amount"),
        ]
        words = [f"{counted(count, one, many)} {text}" for count, one, many, text in found if count]
        if len(figures.people.owners) == 1:
            words.append("no owners are recorded")
        return words

    def _of_quota(self, key: Key, quota: int | None) -> list[str]:
        if self._quotas.is_empty:
            return ["no quotas in the exports"] if key.level == "company" else []
        words = [self._quotas.notes[owner] for owner in key.owners.tolist() if owner in self._quotas.notes]
        if len(words) > 1:
            words = [f"{counted(len(words), 'quota', 'quotas')} in currencies without an exchange rate"]
        rolled = [owner for owner in key.owners.tolist() if not self._quotas.adds_up[owner]]
        if rolled and key.level != "owner":
            words.append(
                f"{counted(len(rolled), 'quota of a manager', 'quotas of managers')} taken for the team's and not added"
            )
        if quota is None:
            words.append("no quota recorded for the whole period")
        elif quota <= 0:
            words.append("the quota is zero: no coverage")
        return words
