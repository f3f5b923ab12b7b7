"""Canonical tables for tests of features: a numpy generator of any size, and a builder from plain rows.

The generator makes a world with a known structure (engaged opportunities are won more often), not a realistic one; the
simulation package is for that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from sales_pipeline.contracts.canonical import CANONICAL_TABLES
from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.domain.identifiers import digest_of
from sales_pipeline.lake.tables import TableRef, write_table

FIELDS = ("stage", "amount", "crm_close_date", "crm_probability", "owner_id")
STAGES = ("Prospecting", "Qualification", "Proposal", "Negotiation")
_DAY = 86_400_000_000
_DEFAULTS: dict[str, Any] = {
    "source_system": "test",
    "source_file": "0" * 64,
    "source_record": 1,
    "kind": "opportunity",
    "state": "open",
    "currency": "USD",
    "is_creation": False,
    "sequence": 0,
}


@dataclass(frozen=True)
class Tables:
    """Canonical tables at rest, as the features stage takes them."""

    tables: dict[str, TableRef]
    base: str | None = None
    came: dict[str, TableRef] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """A digest of all of them."""
        return digest_of({name: ref.sha256 for name, ref in self.tables.items()})


def write_tables(folder: Path, data: Mapping[str, pa.Table]) -> Tables:
    """All canonical tables under their contracts; those not given are empty."""
    tables = {}
    for name, contract in CANONICAL_TABLES.items():
        given = data.get(name, arrow_schema(contract).empty_table())
        for column in arrow_schema(contract):
            if column.name not in given.column_names:
                default = _DEFAULTS.get(column.name)
                given = given.append_column(column.name, pa.array([default] * given.num_rows, column.type))
        tables[name] = write_table(given, folder / f"{name}.parquet", contract)
    return Tables(tables)


def rows_table(name: str, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """A canonical table from rows; missing columns take a default or NULL."""
    schema = arrow_schema(CANONICAL_TABLES[name])
    filled = [{field.name: row.get(field.name, _DEFAULTS.get(field.name)) for field in schema} for row in rows]
    return pa.Table.from_pylist(filled, schema=schema)


def write_rows(folder: Path, rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> Tables:
    """All canonical tables from plain rows."""
    return write_tables(folder, {name: rows_table(name, entries) for name, entries in rows.items()})


def field_history(versioned: Sequence[str] = FIELDS) -> list[dict[str, Any]]:
    """Rows of field_history."""
    return [
        {"field": field, "is_versioned": field in versioned, "basis": "history" if field in versioned else "none"}
        for field in FIELDS
    ]


def _ids(prefix: str, numbers: np.ndarray) -> pa.Array:
    return pa.array([f"{prefix}{number:08d}" for number in numbers.tolist()])


def _instants(values: np.ndarray, mask: np.ndarray | None = None) -> pa.Array:
    return pa.array(values.astype(np.int64), mask=mask).cast(pa.timestamp("us", tz="UTC"))


def _dates(days: np.ndarray) -> pa.Array:
    return pa.array(days.astype(np.int32)).cast(pa.date32())


def _amounts(cents: np.ndarray) -> pa.Array:
    """DECIMAL(18, 2) straight from its memory layout: 128-bit integers of cents, low word first."""
    words = np.stack([cents.astype(np.int64), cents.astype(np.int64) >> 63], axis=1)
    return pa.Array.from_buffers(pa.decimal128(18, 2), len(cents), [None, pa.py_buffer(words.tobytes())])


def generate(
    count: int, *, seed: int = 0, changes_each: int = 5, activities_each: int = 10, days: int = 730
) -> dict[str, pa.Table]:
    """A world of `count` opportunities over `days` days up to 2026-01-01, about a third of them still open."""
    rng = np.random.default_rng(seed)
    end = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1_000_000)
    start = end - days * _DAY
    number = np.arange(count)
    owner = rng.integers(0, max(2, count // 200), count)
    account = rng.integers(0, max(2, count // 5), count)
    product = rng.integers(0, 12, count)
    created = start + rng.integers(0, days * _DAY - 2 * _DAY, count)
    length = (rng.gamma(2.0, 45.0, count) * _DAY).astype(np.int64) + _DAY // 2
    quality = rng.normal(0, 1, count)
    closed_at = created + length
    is_closed = closed_at < end
    is_won = rng.random(count) < 1 / (1 + np.exp(0.7 - quality))
    cents = np.exp(rng.normal(9.5, 1.0, count) + np.log(100)).astype(np.int64)

    # Changes: a creation row each, moves spread over the life that has been lived, and a closing row.
    lived = np.minimum(closed_at, end) - created
    moves = rng.integers(0, 2 * (changes_each - 1), count)
    which = np.repeat(number, moves)
    moved_at = created[which] + (rng.random(len(which)) * lived[which]).astype(np.int64)
    opportunity = np.concatenate([number, which, number[is_closed]])
    changed_at = np.concatenate([created, moved_at, closed_at[is_closed]])
    role = np.concatenate([np.zeros(count, int), np.ones(len(which), int), np.full(is_closed.sum(), 2)])
    order = np.lexsort((role, changed_at, opportunity))
    opportunity, changed_at, role = opportunity[order], changed_at[order], role[order]
    stage_number = np.where(role == 0, 0, rng.integers(0, len(STAGES), len(order)))
    stage = np.array(STAGES, dtype=object)[stage_number]
    won_here = is_won[opportunity]
    stage = np.where(role == 2, np.where(won_here, "Closed Won", "Closed Lost"), stage)
    state = np.where(role == 2, np.where(won_here, "won", "lost"), "open")
    drift = np.where(rng.random(len(order)) < 0.3, rng.integers(80, 120, len(order)), 100)
    amount = cents[opportunity] * drift // 100
    close_day = (created[opportunity] + length[opportunity] // 2) // _DAY + rng.integers(0, 60, len(order))
    change_owner = np.where(rng.random(len(order)) < 0.03, (owner[opportunity] + 1) % owner.max(), owner[opportunity])
    same = np.concatenate([[False], (opportunity[1:] == opportunity[:-1]) & (changed_at[1:] == changed_at[:-1])])
    changes = pa.table(
        {
            "opportunity_id": _ids("O", opportunity),
            "changed_at": _instants(changed_at),
            "sequence": np.where(same, 1, 0),
            "is_creation": role == 0,
            "stage": pa.array(stage.tolist()),
            "state": pa.array(state.tolist()),
            "amount": _amounts(amount),
            "crm_close_date": _dates(close_day),
            "crm_probability": np.round((stage_number + 1) / 10, 2),
            "owner_id": _ids("U", change_owner),
        }
    )
    last = np.concatenate([opportunity[1:] != opportunity[:-1], [True]])
    opportunities = pa.table(
        {
            "opportunity_id": _ids("O", number),
            "account_id": _ids("A", account),
            "product_id": _ids("P", product),
            "owner_id": _ids("U", change_owner[last]),
            "stage": pa.array(stage[last].tolist()),
            "state": pa.array(state[last].tolist()),
            "amount": _amounts(amount[last]),
            "crm_close_date": _dates(close_day[last]),
            "crm_probability": np.round((stage_number[last] + 1) / 10, 2),
            "lead_source": pa.array(
                np.array(["web", "referral", "event"], dtype=object)[rng.integers(0, 3, count)].tolist()
            ),
            "created_at": _instants(created),
            "closed_at": _instants(closed_at, mask=~is_closed),
            "modified_at": _instants(changed_at[last]),
        }
    )

    per = rng.poisson(activities_each * np.exp(0.3 * quality - 0.05), count)
    which = np.repeat(number, per)
    occurred = created[which] + (rng.random(len(which)) * lived[which]).astype(np.int64)
    kinds = np.array(["call", "email", "meeting", "task"], dtype=object)
    inbound = rng.random(len(which)) < 1 / (1 + np.exp(0.8 - 0.5 * quality[which]))
    activities = pa.table(
        {
            "activity_id": _ids("T", np.arange(len(which))),
            "opportunity_id": _ids("O", which),
            "account_id": _ids("A", account[which]),
            "contact_id": _ids("C", account[which] * 3 + rng.integers(0, 3, len(which))),
            "owner_id": _ids("U", owner[which]),
            "kind": pa.array(kinds[rng.integers(0, 4, len(which))].tolist()),
            "direction": pa.array(np.where(inbound, "inbound", "outbound").tolist()),
            "occurred_at": _instants(occurred),
            "logged_at": _instants(occurred + rng.integers(0, _DAY, len(which))),
        }
    )
    accounts = np.arange(account.max() + 1)
    owners = np.arange(owner.max() + 2)
    return {
        "opportunities": opportunities,
        "opportunity_changes": changes,
        "field_history": rows_table("field_history", field_history()),
        "activities": activities,
        "accounts": pa.table(
            {
                "account_id": _ids("A", accounts),
                "industry": pa.array(np.array(["retail", "finance", "health"], dtype=object)[accounts % 3].tolist()),
                "employees": rng.integers(1, 5000, len(accounts)),
                "created_at": _instants(np.full(len(accounts), start - 100 * _DAY)),
            }
        ),
        "owners": pa.table({"owner_id": _ids("U", owners), "team": _ids("team", owners % 4)}),
        "products": pa.table({"product_id": _ids("P", np.arange(12)), "family": _ids("family", np.arange(12) % 3)}),
    }
