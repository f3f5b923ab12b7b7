"""Planted columns do what their kind says, write the history they claim, and change nothing else."""

from __future__ import annotations

from collections import defaultdict
from typing import get_args

import pytest
from pydantic import ValidationError

from sales_pipeline.features.leak_words import suspicion
from sales_pipeline.simulation.params import DirtParams, LookAlike, PlantedLeak, WorldParams
from sales_pipeline.simulation.planted import planted_table
from sales_pipeline.simulation.salesforce_export import export_tables
from sales_pipeline.simulation.world import simulate

CLEAN = DirtParams(**dict.fromkeys(DirtParams.model_fields, 0.0))
PLAIN = WorldParams(opportunities=600, seed=7, dirt=CLEAN)
PLANTED = PLAIN.model_copy(update={"planted_leaks": get_args(PlantedLeak), "look_alikes": get_args(LookAlike)})
Rows = list[dict[str, str]]


def tables_of(params: WorldParams) -> dict[str, Rows]:
    tables, _ = export_tables(simulate(params))
    return {name: table.to_pylist() for name, table in tables.items()}


@pytest.fixture(scope="module")
def plain() -> dict[str, Rows]:
    return tables_of(PLAIN)


@pytest.fixture(scope="module")
def planted() -> dict[str, Rows]:
    return tables_of(PLANTED)


@pytest.fixture(scope="module")
def columns() -> dict[str, str]:
    """Column by kind."""
    return {row["kind"]: row["column"] for row in planted_table(PLANTED).to_pylist()}


def test_nothing_else_changes(plain: dict[str, Rows], planted: dict[str, Rows], columns: dict[str, str]) -> None:
    for name, rows in plain.items():
        if name == "OpportunityFieldHistory.csv":
            ours = [row for row in planted[name] if row["Field"] not in columns.values()]
            assert [{**row, "Id": ""} for row in ours] == [{**row, "Id": ""} for row in rows]
        else:
            kept = [{column: row[column] for column in rows[0]} for row in planted[name]]
            assert kept == rows, name


def test_without_tracking_the_history_is_the_plain_one(plain: dict[str, Rows]) -> None:
    untracked = tables_of(PLANTED.model_copy(update={"tracks_planted": False}))
    assert untracked["OpportunityFieldHistory.csv"] == plain["OpportunityFieldHistory.csv"]


def test_a_column_does_not_depend_on_the_others(planted: dict[str, Rows], columns: dict[str, str]) -> None:
    alone = tables_of(PLAIN.model_copy(update={"planted_leaks": ("telling_gap",)}))["Opportunity.csv"]
    name = columns["telling_gap"]
    assert [row[name] for row in alone] == [row[name] for row in planted["Opportunity.csv"]]


def test_history_ends_in_the_value_seen_last_and_every_step_follows_from_the_one_before(
    planted: dict[str, Rows], columns: dict[str, str]
) -> None:
    steps: dict[tuple[str, str], Rows] = defaultdict(list)
    for row in planted["OpportunityFieldHistory.csv"]:
        if row["Field"] in columns.values():
            steps[row["Field"], row["OpportunityId"]].append(row)
    deals = {row["Id"]: row for row in planted["Opportunity.csv"]}
    assert {field for field, _ in steps} == set(columns.values()) - {columns["strong_predictor"], columns["seasonal"]}
    for (field, deal), rows in steps.items():
        rows.sort(key=lambda row: (row["CreatedDate"], row["Id"]))
        assert rows[0]["CreatedDate"] >= deals[deal]["CreatedDate"]
        if field == columns["growing_count"]:
            assert sorted(int(row["NewValue"]) for row in rows) == list(range(1, len(rows) + 1))
            assert int(deals[deal][field]) == len(rows)
        else:
            assert len(rows) == 1
            assert rows[0]["NewValue"] == deals[deal][field]
            assert rows[0]["OldValue"] != rows[0]["NewValue"]


@pytest.mark.parametrize("kind", ["filled_at_close", "date_at_close"])
def test_what_is_written_at_the_closing_is_empty_while_it_is_open(
    planted: dict[str, Rows], columns: dict[str, str], kind: str
) -> None:
    rows = planted["Opportunity.csv"]
    assert not any(row[columns[kind]] for row in rows if row["IsClosed"] == "0")
    assert sum(bool(row[columns[kind]]) for row in rows if row["IsWon"] == "1") > 50


def test_no_word_of_a_planted_column_gives_it_away(columns: dict[str, str]) -> None:
    assert not any(suspicion(name) for name in columns.values())


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValidationError, match="planted_leaks"):
        WorldParams.model_validate({"planted_leaks": ("no_such_leak",)})
