"""A later export cleaned onto what is there gives what cleaning all records gives, byte for byte."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from sales_pipeline.clean import incremental, merged
from sales_pipeline.clean.params import CleanParams
from sales_pipeline.clean.prepare import Canonical, prepare
from sales_pipeline.engines.duckdb import DuckDBEngine
from sales_pipeline.ingest.params import SourceMapping
from sales_pipeline.lake.layout import Lake
from tests.support.days import Days
from tests.support.ledger import ledger_rows


@pytest.fixture(scope="module")
def engine() -> Iterator[DuckDBEngine]:
    with DuckDBEngine(threads=1) as one:
        yield one


@pytest.fixture(autouse=True)
def _however_much_is_affected(monkeypatch: pytest.MonkeyPatch) -> None:
    """A world of thirty opportunities is small, and everything in it hangs together; its tables lie in parts all the same."""
    monkeypatch.setattr(incremental, "MAX_SHARE", 10.0)
    monkeypatch.setattr(merged, "MIN_RECORDS", 0)


def test_every_day_is_cleaned_onto_the_one_before_as_if_from_nothing(engine: DuckDBEngine) -> None:
    were_built_on: list[bool] = []

    # Each example cleans whole worlds, so failing ones are not shrunk: the assertion names the table.
    @settings(
        max_examples=3,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(
        seed=st.integers(0, 1_000_000),
        lists_stages=st.booleans(),
        is_salesforce=st.booleans(),
        days=st.integers(2, 3),
        tidy_days=st.integers(0, 2),
    )
    def compare(seed: int, lists_stages: bool, is_salesforce: bool, days: int, tidy_days: int) -> None:
        world = Days(seed, lists_stages=lists_stages, is_salesforce=is_salesforce, tidy_days=tidy_days)
        mapping = SourceMapping(dialect="salesforce" if is_salesforce else "table", extract={"opportunities": "delta"})
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            exports: list[Any] = []
            for day in range(days):
                exports.append(world.export(folder / "raw"))
                onto = prepare(Lake(folder / "lake"), exports, mapping, CleanParams(), engine)
                if day:
                    anew = prepare(Lake(folder / f"day {day}"), exports, mapping, CleanParams(), engine)
                    assert _bytes(onto) == _bytes(anew)
                    assert (onto.facts, onto.rules) == (anew.facts, anew.rules)
                    assert anew.base is None
                    assert ledger_rows(onto.ledger) == ledger_rows(anew.ledger)
                    were_built_on.append(onto.base is not None)

    compare()
    assert sum(were_built_on) * 2 >= len(were_built_on), (
        "most days must be cleaned onto the day before, or little is compared"
    )


def _bytes(canonical: Canonical) -> dict[str, str]:
    refs = (*canonical.tables.values(), canonical.ledger.verdicts, canonical.cell_issues)
    return {ref.name: ref.sha256 for ref in refs}
