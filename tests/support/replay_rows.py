"""REPLAY tables of a world whose true probabilities, times and amounts are known in closed form.

Won deals last exponentially with one mean, lost ones with another, so that at any age the chance of winning is known, and so are the
chances of closing by any day. `says` turns the true probability into what the model said (the identity: a perfect model).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa

from sales_pipeline.contracts.internal import REPLAY
from sales_pipeline.lake.tables import conform
from sales_pipeline.models.replay import MIN_KNOWN_SHARE

START = datetime(2025, 1, 1, tzinfo=UTC)
STAGES = ("Qualification", "Proposal", "Negotiation")
TEAMS = ("North", "South", None)
SOURCES = ("Web", "Partner", "Fair", None)
WON_DAYS, LOST_DAYS = 60.0, 100.0
SPREAD = 0.3
"""Standard deviation of the logarithm of the won amount around its expectation."""
Z80 = 1.2815515655446004


def logit(p: np.ndarray) -> np.ndarray:
    return np.log(p / (1 - p))


def expit(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def make_replay(
    *,
    opportunities: int = 1500,
    dates: int = 8,
    every: int = 28,
    follow_up_days: int = 280,
    seed: int = 3,
    says: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
    currencies: tuple[str, ...] = ("USD",),
    has_history: bool = True,
) -> tuple[pa.Table, datetime]:
    """The table and the replay's end. `says(p, stage)` gives the model's probability; `has_history` False: the CRM's own is not known."""
    random = np.random.default_rng(seed)
    first, last = 200.0, 200.0 + (dates - 1) * every
    end = last + follow_up_days
    n = opportunities
    created = random.uniform(0, end, n)
    stage_of = random.integers(0, 3, n)
    chance = expit(-0.9 + 0.8 * (stage_of - 1) + random.normal(size=n))
    won = random.uniform(size=n) < chance
    closed = created + np.where(won, random.exponential(WON_DAYS, n), random.exponential(LOST_DAYS, n))
    crm_close = created + random.uniform(20, 150, n)
    log_amount = 9 + 0.8 * random.normal(size=n)
    noise = SPREAD * random.normal(size=n)
    crm_amount = np.exp(log_amount + 0.6 * random.normal(size=n))
    days = first + every * np.arange(dates)
    who, when = np.nonzero((created[:, None] < days) & (closed[:, None] > days))
    at = days[when]
    age = at - created[who]
    alive_won = chance[who] * np.exp(-age / WON_DAYS)
    p = alive_won / (alive_won + (1 - chance[who]) * np.exp(-age / LOST_DAYS))
    said = np.clip(says(p, np.array(STAGES)[stage_of[who]]) if says else p, 1e-6, 1 - 1e-6)
    is_closed = closed[who] < end
    left_won = chance[who] * np.exp(-(end - created[who]) / WON_DAYS)
    expected = left_won / (left_won + (1 - chance[who]) * np.exp(-(end - created[who]) / LOST_DAYS))
    closed_share = np.array([is_closed[when == number].mean() for number in range(dates)])

    def still_open(days_on: np.ndarray) -> np.ndarray:
        return p * np.exp(-days_on / WON_DAYS) + (1 - p) * np.exp(-days_on / LOST_DAYS)

    def quantile(level: float) -> np.ndarray:
        low, high = np.zeros(len(p)), np.full(len(p), 2000.0)
        for _ in range(60):
            middle = (low + high) / 2
            is_before = 1 - still_open(middle) < level
            low, high = np.where(is_before, middle, low), np.where(is_before, high, middle)
        return high

    rates = np.array([p[(stage_of[who] == number)].mean() for number in range(3)])
    amount = np.exp(log_amount[who] + SPREAD**2 / 2)
    until = np.floor(crm_close[who]) + 1 - at

    def instants(offsets: np.ndarray, known: np.ndarray | None = None) -> pa.Array:
        kept = np.ones(len(offsets), dtype=bool) if known is None else known
        values = [START + timedelta(days=float(o)) if k else None for o, k in zip(offsets, kept, strict=True)]
        return pa.array(values, pa.timestamp("us", tz="UTC"))

    def dates_of(offsets: np.ndarray) -> pa.Array:
        return pa.array([(START + timedelta(days=float(o))).date() for o in offsets], pa.date32())

    def money(values: np.ndarray, known: np.ndarray | None = None) -> pa.Array:
        kept = np.ones(len(values), dtype=bool) if known is None else known
        return pa.array([round(float(v), 2) if k else None for v, k in zip(values, kept, strict=True)]).cast(
            pa.decimal128(18, 2)
        )

    rows = len(who)
    data = {
        "opportunity_id": pa.array([f"006{i:06d}" for i in who]),
        "as_of": instants(at),
        "kind": pa.array(["opportunity"] * rows),
        "pipeline": pa.nulls(rows, pa.string()),
        "account_id": pa.array([None if i % 11 == 0 else f"001{i % 700:06d}" for i in who], pa.string()),
        "owner_id": pa.array([f"005{i % 9:03d}" for i in who]),
        "owner_team": pa.array([TEAMS[i % 3] for i in who], pa.string()),
        "lead_source": pa.array([SOURCES[i % 4] for i in who], pa.string()),
        "stage": pa.array([STAGES[number] for number in stage_of[who]]),
        "currency": pa.array([currencies[i % len(currencies)] for i in who]),
        "amount": money(crm_amount[who], who % 13 != 0),
        "crm_close_date": dates_of(crm_close[who]),
        "crm_probability": pa.array(np.array([0.1, 0.5, 0.75])[stage_of[who]])
        if has_history
        else pa.nulls(rows, pa.float64()),
        "is_won": pa.array([bool(w) if c else None for w, c in zip(won[who], is_closed, strict=True)], pa.bool_()),
        "closed_at": instants(closed[who], is_closed),
        "won_amount": money(np.exp(log_amount[who] + noise[who]), is_closed & won[who]),
        "outcome": pa.array(np.where(is_closed, won[who], expected).astype(float)),
        "weight": pa.array((closed_share[when] >= MIN_KNOWN_SHARE).astype(float)),
        "model_version": pa.array([f"model-{number}" for number in when]),
        "evidence_level": pa.array(["full_model"] * rows),
        "abstain_reason": pa.nulls(rows, pa.string()),
        "win_probability": pa.array(said),
        "win_probability_low": pa.array(np.maximum(said - 0.05, 0)),
        "win_probability_high": pa.array(np.minimum(said + 0.05, 1)),
        "win_probability_30d": pa.array(said * (1 - np.exp(-30 / WON_DAYS))),
        "win_probability_90d": pa.array(said * (1 - np.exp(-90 / WON_DAYS))),
        "slip_probability": pa.array(np.where(until <= 0, 1.0, still_open(np.maximum(until, 0.0)))),
        "challenger_probability": pa.array(expit(0.7 * logit(p))),
        "base_rate": pa.array(np.full(rows, p.mean())),
        "stage_rate": pa.array(rates[stage_of[who]]),
        "expected_amount": pa.array(amount),
        "expected_amount_low": pa.array(np.exp(log_amount[who] - Z80 * SPREAD)),
        "expected_amount_high": pa.array(np.exp(log_amount[who] + Z80 * SPREAD)),
        "predicted_close_date": dates_of(at + quantile(0.5)),
        "predicted_close_date_low": dates_of(at + quantile(0.1)),
        "predicted_close_date_high": dates_of(at + quantile(0.9)),
    }
    return conform(pa.table(data), REPLAY), START + timedelta(days=end)


def replay_facts(dates: int = 8, every: int = 28) -> dict[str, object]:
    """Facts of a replay as `models.replay` notes them."""
    first = START + timedelta(days=200)
    days = [first + timedelta(days=every * number) for number in range(dates)]
    return {
        "from": days[0].isoformat(),
        "end": (days[-1] + timedelta(days=280)).isoformat(),
        "every_days": every,
        "features": "f",
        "dates": [
            {
                "as_of": day.isoformat(),
                "champion": {"family": "logistic_regression", "setting": {"penalty": 1.0}},
                "model_version": f"model-{number}",
                "rows": 100,
                "closed_opportunities": 60,
                "evidence_level": "full_model",
                "challenger": None,
                "columns_used": ["amount", "stage", *(["age_days"] if number % 2 else [])],
                "is_search": number == 0,
            }
            for number, day in enumerate(days)
        ],
    }
