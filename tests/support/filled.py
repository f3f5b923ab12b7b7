"""A generated world for single models: canonical tables of `worlds`, every other input drawn from few keys and few instants, with NULLs and ties.

What a model reads of another model (timeline, states, closings …) is made by that model, as in `EmptyWorld`. Belongs here: rows for models that are asked
alone. Does not belong here: whole steps over raw tables (`parity`).
"""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa

from sales_pipeline.contracts.canonical import CANONICAL_TABLES
from sales_pipeline.contracts.model import Table
from sales_pipeline.engines.base import Engine
from sales_pipeline.engines.compiler import Scalar
from tests.support.histories import rows_table
from tests.support.plans import TABLES, EmptyWorld
from tests.support.worlds import AS_OF, START, make_world

ROWS = 40
POOLS: dict[str, tuple[Any, ...]] = {
    "opportunity_id": tuple(f"O{n:02d}" for n in range(12)), "account_id": ("A1", "A2", "A3"), "owner_id": ("U1", "U2", "U3"), "contact_id": ("C1", "C2", "C3"),
    "product_id": ("P1", "P2"), "kind": ("opportunity", "lead"), "currency": ("USD", "EUR"), "queue_id": ("Q1", "Q2", "Q3"), "outcome": ("accepted", "quarantined"),
}  # fmt: skip
"""By the end of a column's name: what stands in it. Other texts are one of a few."""
TEXTS = ("a", "B", "Größe", "it's", "")
DAYS = tuple(range(0, 140, 7))


class FilledWorld(EmptyWorld):
    """Tables with rows: the same for the same seed."""

    def __init__(self, engine: Engine, folder: Path, seed: int) -> None:
        super().__init__(engine, folder)
        self._seed = seed
        self._canonical = make_world(seed, count=30)

    def parameters(self, name: str) -> dict[str, Scalar]:
        """As of the world's own day, with windows of the eight weeks before it."""
        given = super().parameters(name)
        begins = {key: START + timedelta(days=56) for key in given if key.endswith("_from") or key in ("first", "since", "previous")}  # fmt: skip
        ends = {key: AS_OF for key in given if key.endswith("_before") or key in ("as_of", "newest")}
        return given | begins | ends

    def _rows(self, name: str, schema: pa.Schema) -> pa.Table:
        drawn = random.Random(f"{self._seed} {name}")
        if name in self._canonical and name in CANONICAL_TABLES:
            free = [field for field in schema if field.nullable and pa.types.is_string(field.type)]
            known = [{field.name: _value(drawn, field) for field in free} | row for row in self._canonical[name]]
            return rows_table(name, known)
        rows = [{field.name: _value(drawn, field) for field in schema} for _ in range(ROWS)]
        declared: Table | None = TABLES.get(name)
        if declared is not None:
            rows = list({tuple(row[part] for part in declared.key): row for row in rows}.values())
        return pa.Table.from_pylist(rows, schema=schema)


def _value(drawn: random.Random, field: pa.Field) -> Any:
    if field.nullable and drawn.random() < 0.2:
        return None
    for ending, values in POOLS.items():
        if field.name.endswith(ending) and pa.types.is_string(field.type):
            return drawn.choice(values)
    if pa.types.is_string(field.type):
        return drawn.choice(TEXTS)
    if pa.types.is_boolean(field.type):
        return drawn.random() < 0.5
    if pa.types.is_timestamp(field.type):
        return datetime(2025, 1, 1, tzinfo=UTC) + timedelta(days=drawn.choice(DAYS), hours=drawn.choice((0, 0, 11)))
    if pa.types.is_date(field.type):
        return date(2025, 1, 1) + timedelta(days=drawn.choice(DAYS))
    if pa.types.is_decimal(field.type):
        return drawn.choice((Decimal("0.00"), Decimal("99.99"), Decimal("1234567.89")))
    if pa.types.is_floating(field.type):
        return drawn.choice((0.0, 0.1, 0.5, 1.0, 7.25))
    return [] if pa.types.is_list(field.type) else drawn.randint(0, 5)
