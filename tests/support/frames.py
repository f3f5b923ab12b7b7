"""Feature sets of a small world with a known win probability, written straight as spine, features and outcomes.

Every opportunity is met on a grid of landmarks while it is open. `true` holds each spine row's true probability of being won.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from sales_pipeline.contracts.canonical import OPPORTUNITY_ATTRIBUTES
from sales_pipeline.contracts.internal import LEAK_LEDGER, OUTCOMES, SPINE
from sales_pipeline.domain.time import AsOf
from sales_pipeline.features.catalogue import FEATURES
from sales_pipeline.lake.tables import TableRef, write_table

START = datetime(2024, 1, 1, tzinfo=UTC)
STAGES = ("Qualification", "Proposal", "Negotiation")
COLUMNS = ("amount", "days_in_stage", "age_days", "stage", "days_since_last_activity", "attribute:Segment__c")


@dataclass(frozen=True)
class Frames:
    """A feature set (see models.matrix.FeatureTables) with its ledger and the truth."""

    key: str
    as_of: AsOf
    spine: TableRef
    features: TableRef
    attributes: TableRef
    outcomes: TableRef
    ledger: TableRef
    true: np.ndarray
    has_history: bool = True
    absent: dict[str, str] = field(default_factory=dict)


def make_frames(
    folder: Path,
    *,
    opportunities: int = 600,
    seed: int = 1,
    signal: float = 1.5,
    days: int = 720,
    horizon: int | None = None,
    every: int = 28,
    purpose: str = "training",
    win_share: float = 0.4,
    has_history: bool = True,
    dated: bool = True,
) -> Frames:
    """Generate and write. The same seed (and `horizon`, the world's length) gives the same world for both purposes and any as-of."""
    random = np.random.default_rng(seed)
    n = opportunities
    ids = np.array([f"006{number:06d}" for number in range(n)])
    created = random.uniform(0, (horizon or days) - 30, n)
    fit = random.normal(size=n)
    segment = random.choice(["Small", "Medium", "Large"], n)
    quiet = random.exponential(12, n)
    amount = np.exp(9 + 0.5 * random.normal(size=n) + (segment == "Large"))
    index = np.log(win_share / (1 - win_share)) + signal * (
        0.8 * fit - 0.05 * (quiet - 12) + 0.5 * (segment == "Large")
    )
    p = 1 / (1 + np.exp(-index))
    won = random.uniform(size=n) < p
    life = np.where(won, random.gamma(3, 25, n), random.gamma(3, 35, n)) + 1
    closed = created + life
    won_amount = amount * np.exp(0.1 * random.normal(size=n))
    is_closed = closed < days
    is_known = created < days
    rows: list[tuple[int, float]] = []
    if purpose == "scoring":
        rows = [(i, float(days)) for i in range(n) if is_known[i] and not is_closed[i]]
    elif not dated:
        rows = [(i, float(days)) for i in range(n) if is_known[i]]
    elif not has_history:
        rows = [(i, float(created[i]) + 1e-9) for i in range(n) if is_known[i]]
    else:
        for landmark in np.arange(days - every, 0, -every, dtype=float):
            rows.extend((i, float(landmark)) for i in np.flatnonzero((created < landmark) & (closed > landmark)))
    rows.sort(key=lambda row: (ids[row[0]], row[1]))
    who = np.array([row[0] for row in rows], dtype=int)
    when = np.array([row[1] for row in rows])
    age = when - created[who]
    stage = np.array(STAGES)[np.clip((3 * age / life[who]).astype(int), 0, 2)]

    def instants(offsets: np.ndarray, mask: np.ndarray | None = None) -> pa.Array:
        values = [START + timedelta(days=float(o)) for o in offsets]
        kept = np.zeros(len(values), dtype=bool) if mask is None else mask
        return pa.array([None if m else v for v, m in zip(values, kept, strict=True)], pa.timestamp("us", tz="UTC"))

    spine: dict[str, Any] = {
        "opportunity_id": pa.array(ids[who].tolist(), pa.string()),
        "as_of": instants(when),
        "source_system": pa.array(["crm"] * len(who)),
        "kind": pa.array(["opportunity"] * len(who)),
        "account_id": pa.array([f"001{i % 150:06d}" for i in who], pa.string()),
        "owner_id": pa.array([f"005{i % 7:03d}" for i in who], pa.string()),
        "product_id": pa.array([f"01t{i % 3}" for i in who], pa.string()),
        "stage": pa.array(stage.tolist(), pa.string()),
        "currency": pa.array(["USD"] * len(who)),
        "amount": pa.array(amount[who].round(2).tolist()).cast(pa.decimal128(18, 2)),
        "crm_close_date": pa.array([(START + timedelta(days=float(created[i] + 90))).date() for i in who], pa.date32()),
        "created_at": instants(created[who], None if dated else np.ones(len(who), dtype=bool)),
        "is_landmark": pa.array([purpose == "training"] * len(who)),
    }
    outcomes: dict[str, Any] = {
        "opportunity_id": pa.array(ids.tolist()),
        "is_won": pa.array([bool(w) if c else None for w, c in zip(won, is_closed, strict=True)], pa.bool_()),
        "closed_at": instants(closed, ~is_closed if dated else np.ones(n, dtype=bool)),
        "won_amount": pa.array(
            [round(float(a), 2) if w and c else None for a, w, c in zip(won_amount, won, is_closed, strict=True)]
        ).cast(pa.decimal128(18, 2)),
        "currency": pa.array(["USD"] * n),
    }
    features: dict[str, Any] = {feature.name: pa.nulls(len(who)) for feature in FEATURES}
    # `age_days` stands in for the hidden fit, so that one number carries most of the signal.
    features |= {
        "amount": pa.array(amount[who]),
        "age_days": pa.array(fit[who]),
        "days_in_stage": pa.array(age * random.uniform(0, 1, len(who))),
        "days_since_last_activity": pa.array(
            [None if random.uniform() < 0.05 else float(quiet[i]) for i in who], pa.float64()
        ),
        "stage": spine["stage"],
    }
    attributes = {
        "source_system": ["crm"] * n,
        "opportunity_id": ids.tolist(),
        "attribute": ["Segment__c"] * n,
        "kind": ["category"] * n,
        "text_value": segment.tolist(),
        "number_value": pa.nulls(n, pa.float64()),
    }
    ledger = [
        {"column": name, "verdict": "use", "is_used": True, "basis": "none", "reason": "nothing against it"}
        for name in COLUMNS
    ]
    folder.mkdir(parents=True, exist_ok=True)
    wide = {"opportunity_id": spine["opportunity_id"], "as_of": spine["as_of"], **features}
    return Frames(
        key=f"frames-{seed}-{n}-{purpose}",
        as_of=AsOf(START + timedelta(days=days)),
        spine=write_table(_table(spine, SPINE), folder / "spine.parquet", SPINE),
        features=write_table(pa.table(wide), folder / "features.parquet"),
        attributes=write_table(
            _table(attributes, OPPORTUNITY_ATTRIBUTES), folder / "attributes.parquet", OPPORTUNITY_ATTRIBUTES
        ),
        outcomes=write_table(_table(outcomes, OUTCOMES), folder / "outcomes.parquet", OUTCOMES),
        ledger=write_table(pa.Table.from_pylist(_filled(ledger), schema=None), folder / "ledger.parquet"),
        true=p[who],
        has_history=has_history,
    )


def _filled(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{column: row.get(column) for column in LEAK_LEDGER.column_names} for row in rows]


def _table(data: dict[str, Any], contract: Any) -> pa.Table:
    rows = len(next(iter(data.values())))
    return pa.table({name: data.get(name, pa.nulls(rows)) for name in contract.column_names})
