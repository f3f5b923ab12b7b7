"""The real exports beside the project through `check` and `run`: what comes out, and that every record has its place."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.contracts.published import PUBLISHED_TABLES
from tests.support.cli import DATA, IGNORED_WARNINGS, MAPPINGS, call

pytestmark = [
    pytest.mark.skipif(not DATA.is_dir(), reason="the folder of real data, ../shared/data, is not there"),
    *(pytest.mark.filterwarnings(text) for text in IGNORED_WARNINGS),
]


@dataclass(frozen=True)
class Ran:
    """A data set after its run."""

    done: dict[str, Any]

    def table(self, name: str) -> pa.Table:
        return pq.read_table(Path(self.done["path"]) / f"{name}.parquet")

    @property
    def statements(self) -> str:
        return " ".join(self.done["model"]["statements"])


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Ran]:
    """Each data set checked and run once, by its name. The lineage of the SQL models, which depends on no data, is worked out once."""
    known: dict[str, Ran] = {}
    lineage: list[Path] = []

    def of(name: str) -> Ran:
        if name not in known:
            config = MAPPINGS / f"{name}.yaml"
            checked = call("check", "-c", config).done()
            assert "error:" not in checked.out
            lake = tmp_path_factory.mktemp(name) / "lake"
            if lineage:
                shutil.copytree(lineage[0], lake / "lineage")
            told = call("run", "-c", config, "--lake", lake, "--json")
            assert told.code == EXIT_CODES.get(name, 0), told.text[-3_000:]
            known[name] = Ran(told.json)
            lineage.append(lake / "lineage")
        return known[name]

    return of


EXIT_CODES = {"sf_fivetran_seeds": 3, "hubspot_fivetran_seeds": 3}
"""Seeds whose history and line items name opportunities that no file holds: published, with more quarantine than allowed."""

SETS = {
    "maven_crm": (8_953, 2_089),
    "enpal_pipedrive": (21_795, 0),
    "sf_dataloader_samples": (None, 30),
    "sf_fivetran_seeds": (None, 0),
    "hubspot_fivetran_seeds": (None, 44),
}
"""Physical records of all files, where the files are all mapped or counted by hand, and open opportunities."""


@pytest.mark.parametrize("name", sorted(SETS))
def test_what_is_open_is_scored_or_abstained_with_a_reason(name: str, ran: Callable[[str], Ran]) -> None:
    one = ran(name)
    scored = one.table("scored_opportunities")
    assert scored.schema.equals(arrow_schema(PUBLISHED_TABLES["scored_opportunities"]))
    assert scored.num_rows == SETS[name][1]
    for row in scored.to_pylist():
        assert (row["win_probability"] is None) == (row["abstain_reason"] is not None)
    listed = {table: one.table(table)["opportunity_id"].to_pylist() for table in ("follow_up_queue", "left_out")}
    assert set(listed["follow_up_queue"]) | set(listed["left_out"]) == set(scored["opportunity_id"].to_pylist())


@pytest.mark.parametrize("name", sorted(SETS))
def test_every_record_has_its_place(name: str, ran: Callable[[str], Ran]) -> None:
    one = ran(name)
    summary = one.table("row_ledger_summary")
    total = pc.sum(summary["records"]).as_py()
    assert total == sum(one.done["records"].values())
    if SETS[name][0] is not None:
        assert total == SETS[name][0]
    assert set(summary["outcome"].to_pylist()) <= {"accepted", "duplicate_of", "quarantined", "structural"}
    told = summary.filter(pc.is_in(summary["outcome"], pa.array(["quarantined", "structural"])))
    assert all(told["reason"].to_pylist())


def test_maven_says_no_skill_instead_of_pretending(ran: Callable[[str], Ran]) -> None:
    one = ran("maven_crm")
    assert "No skill" in one.statements
    assert one.done["model"]["evidence_level"] == "rates"
    assert 0.45 < one.done["model"]["figures"]["auc"] < 0.6
    rows = one.table("scored_opportunities").to_pylist()
    scored = [row for row in rows if row["win_probability"] is not None]
    assert {row["stage"] for row in scored} == {"Engaging"}
    assert len(scored) == 1_589
    assert all(0.4 < row["win_probability"] < 0.8 for row in scored), "near the base rate, with no skill to go by"
    undated = [row for row in rows if row["stage"] == "Prospecting"]
    assert len(undated) == 500
    assert all("no creation date" in row["abstain_reason"] and row["evidence_level"] == "rules" for row in undated)


def test_maven_joins_its_products_despite_two_spellings(ran: Callable[[str], Ran]) -> None:
    run = Path(ran("maven_crm").done["path"])
    [opportunities] = (run.parents[1] / "canonical").glob("*/opportunities.parquet")
    products = pq.read_table(opportunities.with_name("products.parquet"))["product_id"].to_pylist()
    held = pq.read_table(opportunities)["product_id"]
    assert held.null_count == 0
    assert set(held.to_pylist()) == set(products)


def test_pipedrive_where_every_closed_deal_was_lost(ran: Callable[[str], Ran]) -> None:
    one = ran("enpal_pipedrive")
    assert "closed opportunities were lost" in one.statements
    assert one.done["model"]["evidence_level"] == "rates"
    rows = one.table("scored_opportunities").to_pylist()
    assert all(row["win_probability"] < 0.01 for row in rows if row["win_probability"] is not None)


def test_hubspot_without_a_closed_deal(ran: Callable[[str], Ran]) -> None:
    rows = ran("hubspot_fivetran_seeds").table("scored_opportunities").to_pylist()
    assert {row["evidence_level"] for row in rows} == {"rules"}
    for row in rows:
        assert 0 < row["win_probability_low"] < row["win_probability"] < row["win_probability_high"] < 1
        assert row["win_probability_high"] - row["win_probability_low"] > 0.3
        assert row["reasons_up"] == row["reasons_down"] == []
