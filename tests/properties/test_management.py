"""Team table, stage times and account table of worlds full of ties, gaps and instants right on the as-of."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from sales_pipeline.domain.time import AsOf
from sales_pipeline.engines.duckdb import DuckDBEngine
from sales_pipeline.sales_management.checks import check_accounts, check_stage_times, check_team
from tests.support.histories import FIELDS
from tests.support.managed import Company
from tests.support.worlds import AS_OF, Rows, make_world, with_future

COMMON = settings(
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
seeds = st.integers(0, 1_000_000)
histories = st.sampled_from([FIELDS, ("stage",), ("amount",), ()])


@pytest.fixture(scope="module")
def engine() -> Iterator[DuckDBEngine]:
    with DuckDBEngine(threads=1) as running:
        yield running


class Towns:
    """Companies of small worlds, each in a folder of its own."""

    def __init__(self, folder: Path, engine: DuckDBEngine) -> None:
        self.folder, self.engine, self.places = folder, engine, itertools.count()

    def of(self, rows: Rows) -> Company:
        return Company(self.folder / str(next(self.places)), self.engine, as_of=AsOf(AS_OF), **rows)


@pytest.fixture(scope="module")
def towns(tmp_path_factory: pytest.TempPathFactory, engine: DuckDBEngine) -> Towns:
    return Towns(tmp_path_factory.mktemp("towns"), engine)


def tables_of(company: Company) -> list[pa.Table]:
    return [company.tables.performance, company.tables.stage_times, company.account_table()]


@settings(COMMON, max_examples=5)
@given(seed=seeds, versioned=histories)
def test_what_must_hold_holds(seed: int, versioned: tuple[str, ...], towns: Towns) -> None:
    company = towns.of(make_world(seed, versioned=versioned))
    performance, stage_times, accounts = tables_of(company)
    verdicts = [
        *check_team(performance, company.scored),
        *check_stage_times(stage_times),
        *check_accounts(accounts, company.scored),
    ]
    assert [verdict.message for verdict in verdicts if not verdict.passed] == []


@settings(COMMON, max_examples=2)
@given(seed=seeds)
def test_what_happens_at_or_after_the_as_of_changes_nothing(seed: int, towns: Towns) -> None:
    rows = make_world(seed, with_unknown_creation=False)
    before = tables_of(towns.of(rows))
    assert tables_of(towns.of(with_future(rows, AS_OF, timedelta()))) == before
    just_before = tables_of(towns.of(with_future(rows, AS_OF, -timedelta(microseconds=1))))
    assert just_before != before, "a change just before the as-of must show"
