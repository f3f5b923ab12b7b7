"""Verdicts of the leak ledger: each finding on data made to show it, and none on data made not to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from sales_pipeline.domain.time import AsOf
from sales_pipeline.engines.duckdb import DuckDBEngine
from sales_pipeline.features.build import build
from sales_pipeline.features.leak_statistics import area_under_curve
from sales_pipeline.features.leak_words import suspicion, words
from sales_pipeline.features.leaks import evaluate_ledger, leak_ledger, ledger_for_frame, usable_columns
from sales_pipeline.features.params import FeatureParams
from sales_pipeline.lake.layout import Lake
from tests.support.histories import field_history, generate, rows_table, write_rows, write_tables

COUNT = 600
OPEN = np.arange(COUNT) < 200
WON = np.where(OPEN, np.nan, (np.random.default_rng(4).random(COUNT) < 0.4).astype(float))
IS_WON = WON == 1


def frame() -> pd.DataFrame:
    rng = np.random.default_rng(5)
    only_closed = np.where(OPEN, np.nan, rng.normal(size=COUNT))
    return pd.DataFrame(
        {
            "honest": rng.normal(size=COUNT) + 0.3 * IS_WON,
            "colour": pd.Series(rng.choice(["red", "blue"], COUNT), dtype="string"),
            "only after": only_closed,
            "lost because": pd.Series(np.where(WON == 0, "price", None), dtype="string"),
            "sure": IS_WON * 1.0 + rng.normal(size=COUNT) / 10,
            "nothing": "same",
            "Record Number": np.arange(COUNT),
            "key": pd.Series([f"k{number}" for number in range(COUNT)], dtype="string"),
            "remarks": pd.Series(["long text " * 10 + str(number % 3) for number in range(COUNT)], dtype="string"),
            "Elapsed Days": rng.integers(0, 90, COUNT),
            "half missing": np.where(OPEN & (rng.random(COUNT) < 0.5), np.nan, 1.0 + rng.integers(0, 3, COUNT)),
            "shifted": rng.normal(size=COUNT) + 2 * OPEN,
        }
    )


@pytest.fixture(scope="module")
def verdicts() -> dict[str, dict[str, Any]]:
    ledger = ledger_for_frame(frame(), pd.Series(WON), never_use=["Colour"])
    return {row["column"]: row for row in ledger.to_pylist()}


@pytest.mark.parametrize(
    ("column", "verdict", "basis"),
    [
        ("honest", "use", "statistics"),
        ("colour", "never_use", "configuration"),
        ("only after", "leak", "statistics"),
        ("lost because", "leak", "statistics"),
        ("sure", "leak", "statistics"),
        ("nothing", "constant", "shape"),
        ("Record Number", "identifier", "shape"),
        ("key", "identifier", "shape"),
        ("remarks", "identifier", "shape"),
        ("Elapsed Days", "suspect", "semantics"),
        ("half missing", "suspect", "statistics"),
        ("shifted", "suspect", "statistics"),
    ],
)
def test_each_finding(verdicts: dict[str, dict[str, Any]], column: str, verdict: str, basis: str) -> None:
    row = verdicts[column]
    assert (row["verdict"], row["basis"], row["is_used"]) == (verdict, basis, verdict == "use")
    assert row["reason"]


def test_reasons_carry_their_figures(verdicts: dict[str, dict[str, Any]]) -> None:
    assert verdicts["only after"]["reason"] == "filled only at close: 0.0% of open, 100.0% of closed"
    assert verdicts["only after"]["figure"] == 1.0
    assert "AUC" in verdicts["sure"]["reason"]
    assert verdicts["sure"]["auc_alone"] >= 0.9
    assert (verdicts["honest"]["filled_open_share"], verdicts["honest"]["filled_closed_share"]) == (1.0, 1.0)


def test_the_configuration_overrules_and_the_finding_is_still_told() -> None:
    data = frame()[["sure", "Elapsed Days"]]
    ledger = ledger_for_frame(data, pd.Series(WON), use_anyway=["elapsed days", "sure"])
    rows = {row["column"]: row for row in ledger.to_pylist()}
    assert usable_columns(ledger) == ("Elapsed Days", "sure")
    assert rows["sure"]["verdict"] == "use_anyway"
    assert "too good alone" in rows["sure"]["reason"]
    assert "duration" in rows["Elapsed Days"]["reason"]


def test_a_small_table_gets_no_statistical_verdict() -> None:
    data = frame().iloc[190:212][["only after", "sure"]]
    ledger = ledger_for_frame(data, pd.Series(WON).iloc[190:212])
    assert {row["verdict"] for row in ledger.to_pylist()} == {"use"}


def test_a_copy_of_a_numeric_target_is_a_leak_and_a_good_predictor_is_not() -> None:
    rng = np.random.default_rng(6)
    target = pd.Series(rng.integers(0, 15, 500).astype(float))
    data = pd.DataFrame({"copy": target * 2, "good": target + rng.normal(size=500)})
    rows = {row["column"]: row["verdict"] for row in ledger_for_frame(data, target).to_pylist()}
    assert rows == {"copy": "leak", "good": "use"}


def test_the_evaluation_names_what_was_missed_and_what_was_wrongly_set_aside() -> None:
    ledger = ledger_for_frame(frame(), pd.Series(WON))
    found = evaluate_ledger(ledger, ["sure", "honest", "SHIFTED", "only after", "lost because", "Elapsed Days"])
    assert found.missed == ("honest",)
    assert found.false_positives == ("half missing",)
    assert found.recall == pytest.approx(5 / 6)
    assert evaluate_ledger(ledger, []).recall == 1.0


@pytest.mark.parametrize(
    "name",
    [
        "Tags", "Lead Quality", "Lead Profile", "Last Activity", "Last Notable Activity", "Asymmetrique Activity Index",
        "Elapsed Days In Sales Stage", "Sales Stage Change Count", "Ratio Days Validated To Total Days", "Loss_Reason__c",
        "Contract_Number__c", "DaysToClose", "Final_Discount__c", "Next Step", "order_id", "leadStatus", "DURATION", "Budget_Confirmed__c",
    ],
)  # fmt: skip
def test_names_of_late_facts_are_suspect(name: str) -> None:
    assert suspicion(name)


@pytest.mark.parametrize(
    "name",
    [
        "Opportunity Amount USD", "Region", "Supplies Subgroup", "Client Size By Employee Count", "Client Size By Revenue",
        "Competitor Type", "Route To Market", "Revenue From Client Past Two Years", "Lead Source", "Lead Origin", "TotalVisits",
        "Page Views Per Visit", "Total Time Spent on Website", "Do Not Email", "City", "Search", "Number of Seats",
    ],
)  # fmt: skip
def test_names_of_early_facts_are_not(name: str) -> None:
    assert suspicion(name) is None


def test_words_of_a_name() -> None:
    assert words("Days_To_Close__c") == words("daysToClose") == ("days", "to", "close")
    assert words("HTTPStatus2") == ("http", "status", "2")


def test_area_under_curve_with_ties_and_one_class() -> None:
    assert area_under_curve(np.array([1.0, 1.0, 2.0, 2.0]), np.array([0.0, 1.0, 0.0, 1.0])) == 0.5
    assert area_under_curve(np.array([1.0, 2.0, 3.0]), np.array([0.0, 0.0, 1.0])) == 1.0
    assert area_under_curve(np.array([1.0, 2.0]), np.array([1.0, 1.0])) is None


@dataclass(frozen=True)
class Rules:
    never_use: tuple[str, ...] = ()
    use_anyway: tuple[str, ...] = ()


@pytest.fixture(scope="module")
def engine() -> Iterator[DuckDBEngine]:
    with DuckDBEngine(threads=1) as engine:
        yield engine


def canonical_ledger(
    folder: Path, engine: DuckDBEngine, data: dict[str, pa.Table], rules: Rules = Rules()
) -> dict[str, dict[str, Any]]:
    tables, lake = write_tables(folder / "canonical", data), Lake(folder / "lake")
    as_of = AsOf(datetime(2026, 1, 1, tzinfo=UTC))
    training = build(lake, tables, as_of, purpose="training", params=FeatureParams(), engine=engine)
    ledger = leak_ledger(lake, tables, training, rules, engine)
    assert leak_ledger(lake, tables, training, rules, engine) == ledger
    return {row["column"]: row for row in pa.parquet.read_table(ledger.path).to_pylist()}


def attributes(ids: list[str], name: str, values: list[Any], kind: str = "category") -> list[dict[str, Any]]:
    return [
        {"opportunity_id": opportunity_id, "attribute": name, "kind": kind, "text_value": str(value)}
        | {"number_value": float(value) if kind == "number" else None}
        for opportunity_id, value in zip(ids, values, strict=True)
        if value is not None
    ]


def test_versioned_features_are_used_and_attributes_judged(tmp_path: Path, engine: DuckDBEngine) -> None:
    data = generate(500, seed=3)
    opportunities = data["opportunities"].select(["opportunity_id", "state"]).to_pydict()
    ids, states = opportunities["opportunity_id"], opportunities["state"]
    # Leads that are all still open and lack every column of opportunities must not make those columns look written at close.
    leads = [
        {"opportunity_id": f"L{number}", "kind": "lead", "created_at": datetime(2025, 12, 1, tzinfo=UTC)}
        for number in range(300)
    ]
    whole = data["opportunities"].append_column("kind", pa.array(["opportunity"] * 500))
    data["opportunities"] = pa.concat_tables(
        [whole, rows_table("opportunities", leads).select(whole.column_names).cast(whole.schema)]
    )
    data["opportunity_attributes"] = rows_table(
        "opportunity_attributes",
        [
            *attributes(ids, "Region__c", ["north" if number % 3 else "south" for number in range(500)]),
            *attributes(ids, "Loss_Reason__c", ["price" if state == "lost" else None for state in states]),
            *attributes(ids, "Ref", list(range(500)), "identifier"),
            *attributes(ids, "Days_Open", list(range(500)), "number"),
        ],
    )
    rows = canonical_ledger(tmp_path, engine, data, Rules(never_use=("lead_source",), use_anyway=("days_open",)))
    assert rows["stage"]["verdict"] == rows["amount"]["verdict"] == rows["activity_count_30d"]["verdict"] == "use"
    assert rows["amount"]["basis"] == "none"
    assert {
        name: rows[f"attribute:{name}"]["verdict"] for name in ("Region__c", "Loss_Reason__c", "Ref", "Days_Open")
    } == {
        "Region__c": "use",
        "Loss_Reason__c": "leak",
        "Ref": "identifier",
        "Days_Open": "use_anyway",
    }
    assert rows["lead_source"]["verdict"] == "never_use"
    assert rows["account_industry"]["verdict"] == "use"
    assert "pipeline" not in rows


def test_values_only_seen_last_are_never_silently_trusted(tmp_path: Path, engine: DuckDBEngine) -> None:
    start = datetime(2025, 1, 1, tzinfo=UTC)
    opportunities = [
        {
            "opportunity_id": f"O{number:03d}",
            "created_at": start + timedelta(days=number),
            "closed_at": start + timedelta(days=number + 9) if number < 200 else None,
            "state": ("won" if number % 2 else "lost") if number < 200 else "open",
            "amount": number % 7 if number < 200 and number % 2 else (0 if number < 200 else None),
            "crm_close_date": (start + timedelta(days=number + 9 + number % 5)).date(),
            "owner_id": f"U{number % 4}",
        }
        for number in range(300)
    ]
    data = {
        "opportunities": rows_table("opportunities", opportunities),
        "field_history": rows_table("field_history", field_history(())),
    }
    rows = canonical_ledger(tmp_path, engine, data)
    assert rows["amount"]["verdict"] == "leak"
    assert (rows["days_to_crm_close_date"]["verdict"], rows["days_to_crm_close_date"]["basis"]) == (
        "suspect",
        "semantics",
    )
    assert rows["owner_open_count"]["is_used"]
    assert "stage" not in rows


def test_no_closed_opportunities_give_a_ledger_without_figures(tmp_path: Path, engine: DuckDBEngine) -> None:
    tables = write_rows(
        tmp_path / "canonical",
        {
            "opportunities": [
                {"opportunity_id": "O1", "created_at": datetime(2025, 1, 1, tzinfo=UTC), "lead_source": "web"}
            ],
            "field_history": field_history(()),
        },
    )
    lake = Lake(tmp_path / "lake")
    as_of = AsOf(datetime(2026, 1, 1, tzinfo=UTC))
    training = build(lake, tables, as_of, purpose="training", params=FeatureParams(), engine=engine)
    ledger = pa.parquet.read_table(leak_ledger(lake, tables, training, Rules(), engine).path)
    assert set(ledger["auc_alone"].to_pylist()) == {None}
