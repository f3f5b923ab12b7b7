"""What engine tests share: one DuckDB engine a module, and one world of empty tables made by it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sales_pipeline.engines.duckdb import DuckDBEngine
from tests.support.plans import EmptyWorld


@pytest.fixture(scope="module")
def duck() -> Iterator[DuckDBEngine]:
    with DuckDBEngine(threads=1) as engine:
        yield engine


@pytest.fixture(scope="module")
def world(duck: DuckDBEngine, tmp_path_factory: pytest.TempPathFactory) -> EmptyWorld:
    return EmptyWorld(duck, tmp_path_factory.mktemp("empty"))
