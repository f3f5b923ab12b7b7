"""Where the report's inputs come from, and what open opportunities bring together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from sales_pipeline.contracts.canonical import OPPORTUNITIES, OWNERS
from sales_pipeline.delivery.report.sources import report_inputs
from sales_pipeline.delivery.report.totals import LEAST_DRAWS, simulated_totals
from sales_pipeline.engines.duckdb import DuckDBEngine
from sales_pipeline.lake.tables import TableRef, write_table
from tests.support.management_rows import filled
from tests.support.published_run import run_tables
from tests.support.report_page import EARLIER, card
from tests.support.scored_rows import AS_OF, rows_of


def canonical(folder: Path) -> dict[str, TableRef]:
    owners = [filled(OWNERS, owner_id="seller-1", team="North"), filled(OWNERS, owner_id="seller-2", team=None)]
    states = {"a": "open", "b": "won", "c": "lost"}
    opportunities = [filled(OPPORTUNITIES, opportunity_id=name, state=state) for name, state in states.items()]
    tables = ((OWNERS, owners), (OPPORTUNITIES, opportunities))
    return {table.name: write_table(rows_of(table, rows), folder / f"{table.name}.parquet") for table, rows in tables}


def gathered(folder: Path, tables: dict[str, pa.Table], previous: Path | None) -> Any:
    with DuckDBEngine(threads=1, memory_limit="500MB", spill_directory=folder / "spill") as engine:
        return report_inputs(
            tables,
            card(),
            canonical(folder),
            engine,
            run_id="run-1",
            as_of=AS_OF,
            previous=(previous, EARLIER) if previous else None,
            source_system="crm",
            language="en",
            time_zone="UTC",
        )


def test_outcomes_are_those_of_opportunities_no_longer_scored(tmp_path: Path) -> None:
    before = run_tables(EARLIER)["scored_opportunities"]
    write_table(before, tmp_path / "before" / "scored_opportunities.parquet")
    now = {"scored_opportunities": before.slice(0, 1)}
    found = gathered(tmp_path, now, tmp_path / "before")
    assert found.outcomes == {"b": "won", "c": "lost"}
    assert found.teams == {"seller-1": "North"}
    assert found.previous.keys() == {"scored_opportunities"}
    assert found.previous_day.isoformat() == "2026-06-23"


def test_the_first_run_has_no_previous_one(tmp_path: Path) -> None:
    found = gathered(tmp_path, run_tables(), None)
    assert (found.previous, found.outcomes, found.previous_day) == ({}, {}, None)


def rows(count: int, *, width: float = 0.0, probability: float = 0.3) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "win_probability": [probability] * count,
            "win_probability_low": [probability - width] * count,
            "win_probability_high": [probability + width] * count,
            "expected_amount": [100.0] * count,
            "expected_amount_low": [None] * count,
            "expected_amount_high": [None] * count,
        }
    )


class TestTotals:
    def test_without_an_error_of_the_model_wins_are_binomial(self) -> None:
        from scipy.stats import binom

        found = simulated_totals(rows(400), pd.Series(["x"] * 400), seed=1)
        assert found.all_expected == pytest.approx(12_000)
        assert found.all_low == pytest.approx(100 * binom.ppf(0.1, 400, 0.3), abs=200)
        assert found.all_high == pytest.approx(100 * binom.ppf(0.9, 400, 0.3), abs=200)

    def test_a_shared_error_does_not_cancel(self) -> None:
        narrow = simulated_totals(rows(400), pd.Series(["x"] * 400), seed=1)
        wide = simulated_totals(rows(400, width=0.1), pd.Series(["x"] * 400), seed=1)
        assert wide.all_high - wide.all_low > 3 * (narrow.all_high - narrow.all_low)
        assert wide.all_low == pytest.approx(100 * 400 * 0.2, rel=0.08)
        assert wide.all_high == pytest.approx(100 * 400 * 0.4, rel=0.08)

    def test_neither_error_moves_the_mean(self) -> None:
        data = rows(300, width=0.08, probability=0.1)
        data["expected_amount_low"], data["expected_amount_high"] = 5.0, 250.0
        found = simulated_totals(data, pd.Series(["x"] * 300), seed=1)
        middle = (found.all_low + found.all_high) / 2
        assert middle == pytest.approx(found.all_expected, rel=0.15)

    def test_groups_add_up_and_the_seed_decides(self) -> None:
        groups = pd.Series(["x", "y"] * 50)
        one, same = (simulated_totals(rows(100, width=0.05), groups, seed=3) for _ in range(2))
        assert one.groups == ("x", "y")
        assert one.expected.sum() == pytest.approx(one.all_expected)
        assert (one.low <= one.expected).all()
        assert (one.expected <= one.high).all()
        assert np.array_equal(one.low, same.low)

    def test_certain_and_impossible_ones_are_no_error(self) -> None:
        data = pd.concat([rows(1, probability=0.0), rows(1, probability=1.0)])
        found = simulated_totals(data, pd.Series(["x", "x"]), seed=1)
        assert (found.all_low, found.all_expected, found.all_high) == (100, 100, 100)

    def test_many_rows_take_fewer_draws(self) -> None:
        found = simulated_totals(rows(210_000), pd.Series(["x"] * 210_000), seed=1)
        assert found.draws == LEAST_DRAWS
