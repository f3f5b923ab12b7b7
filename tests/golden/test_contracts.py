"""The contracts, frozen: published and canonical tables of version 1.

A published column may be added at the end; nothing else may change within a version. To take a change that is meant:

    .venv/bin/python -m tests.golden.test_contracts
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from sales_pipeline.contracts.canonical import CANONICAL_TABLES
from sales_pipeline.contracts.model import Table
from sales_pipeline.contracts.published import CONTRACT_VERSION, PUBLISHED_TABLES

GOLDEN = Path(__file__).with_name("contracts.json")


def declared() -> dict[str, Any]:
    """Every table as plain data, in order."""
    return {
        "contract_version": CONTRACT_VERSION,
        "published": {name: _plain(table) for name, table in PUBLISHED_TABLES.items()},
        "canonical": {name: _plain(table) for name, table in CANONICAL_TABLES.items()},
    }


def _plain(table: Table) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(asdict(table)))
    return plain


def frozen() -> dict[str, Any]:
    golden: dict[str, Any] = json.loads(GOLDEN.read_text(encoding="utf-8"))
    return golden


@pytest.mark.parametrize("layer", ["published", "canonical"])
def test_the_contracts_are_as_frozen(layer: str) -> None:
    now, then = declared()[layer], frozen()[layer]
    assert list(now) == list(then)
    for name, table in then.items():
        assert now[name] == table, f"{layer} table {name} differs from {GOLDEN.name}"


def test_published_columns_are_only_added_at_the_end() -> None:
    for name, table in frozen()["published"].items():
        then = [column["name"] for column in table["columns"]]
        assert list(PUBLISHED_TABLES[name].column_names)[: len(then)] == then
        assert list(PUBLISHED_TABLES[name].key) == table["key"]


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(declared(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
