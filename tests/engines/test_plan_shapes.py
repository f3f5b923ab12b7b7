"""What the engines make of the models, read from their plans over empty tables: joins by key, filters in the scans, one shuffle per key."""

from __future__ import annotations

import json
from typing import Any

import pyarrow.parquet as pq
import pytest
import sqlglot
from sqlglot import exp

from sales_pipeline.clean.inputs import NO_HISTORY
from sales_pipeline.engines.duckdb import DuckDBEngine
from tests.support.plans import (
    EmptyWorld,
    late_filters,
    model_paths,
    operators,
    parameters_of,
    pushed,
    slow_joins,
    tree_of,
)

MODELS = [*model_paths(), "features"]
ALLOWED = {
    ("removals", "NESTED_LOOP_JOIN"): "an opportunity meets the full extracts after the last that shows it: there are as many as exports",
    ("spine", "NESTED_LOOP_JOIN"): "a span in which an opportunity was open meets the as-ofs within it: the grid has some dozens, and the rows are the result",
}  # fmt: skip
"""Joins without an equality that are meant, and why they cost little."""
IN_THE_SCAN = {
    "accounts": {"problem", "version", "is_deleted"}, "activities": {"problem", "version", "is_done"}, "opportunities": {"problem", "version"},
    "changed_states": {"problem", "version"}, "planned_activities": {"problem", "version", "is_done"}, "quarantine": {"outcome"},
    "owner_counts": {"owner_id"}, "outcomes": {"created_at", "closed_at", "changed_at"}, "overall_record": {"reopened_at"},
    "account_counts_now": {"closed_at"}, "owner_counts_now": {"owner_id", "closed_at"}, "product_counts_now": {"product_id", "closed_at"}, "overall_record_now": {"closed_at"},
    "planned": {"opportunity_id", "due_at", "logged_at"}, "done_tasks": {"occurred_at", "logged_at", "queue_id"},
    "touches": {"occurred_at", "logged_at"}, "next_step": {"due_at", "logged_at"}, "account_cases": {"opened_at"},
    "closed_mix": {"kind", "is_won", "closed_at"}, "cycle_times": {"kind", "created_at"}, "deals": {"kind"},
    "opportunity_states": {"created_at", "removed_at", "closed_at", "changed_at"}, "known_talks": {"occurred_at", "logged_at"}, "known_contacts": {"occurred_at", "logged_at"},
    "open_states": {"changed_at", "stage", "state", "stage_entered_at"},
}  # fmt: skip
"""By model: columns of base tables it filters, which must not be read where the filter rules them out."""


@pytest.fixture(scope="module")
def plans(duck: DuckDBEngine, world: EmptyWorld) -> dict[str, Any]:
    """DuckDB's plan of every model."""
    found = {}
    for name in MODELS:
        tree = tree_of(name)
        found[name] = json.loads(duck.explain(tree, world.inputs(name), **parameters_of(tree)))
    return found


@pytest.mark.parametrize("name", NO_HISTORY)
def test_what_stands_for_a_history_without_records_has_its_columns(name: str, world: EmptyWorld) -> None:
    staged = pq.read_schema(world.table(f"staged_{name}"))
    assert {field.name: field.type for field in NO_HISTORY[name]} == {field: staged.field(field).type for field in NO_HISTORY[name].names}  # fmt: skip


def test_no_model_joins_without_a_key_but_those_named(plans: dict[str, Any]) -> None:
    found = {(name, join) for name, plan in plans.items() for join in slow_joins(plan)}
    assert found == set(ALLOWED)


def test_filters_of_base_tables_are_in_their_scans(plans: dict[str, Any]) -> None:
    missing = {name: columns - pushed(plans[name]) for name, columns in IN_THE_SCAN.items()}
    assert {name: columns for name, columns in missing.items() if columns} == {}


def test_no_comparison_with_a_constant_waits_above_its_scan(plans: dict[str, Any]) -> None:
    assert {name: late for name, plan in plans.items() if (late := late_filters(plan))} == {}


def test_models_read_their_tables(plans: dict[str, Any]) -> None:
    """A plan that read nothing would prove nothing: DuckDB cuts off what is known to be empty."""
    unread = {
        name for name, plan in plans.items() if not any(node["name"] == "READ_PARQUET" for node in operators(plan))
    }
    assert unread == set()


@pytest.mark.parametrize("is_thinned", [True, False])
def test_landmarks_are_numbered_only_where_there_can_be_too_many(duck: DuckDBEngine, world: EmptyWorld, is_thinned: bool) -> None:  # fmt: skip
    tree = tree_of("spine")
    given = parameters_of(tree) | {"is_thinned": is_thinned}
    plan = json.loads(duck.explain(tree, world.inputs("spine"), **given))
    assert any(node["name"] == "WINDOW" for node in operators(plan)) is is_thinned


PLANTED = {
    "a cross join": "SELECT s.opportunity_id, a.activity_id FROM spine AS s CROSS JOIN activities AS a",
    "a forgotten key": "SELECT s.opportunity_id, a.activity_id FROM spine AS s JOIN activities AS a ON a.occurred_at < s.as_of",
    "a comma": "SELECT s.opportunity_id, COUNT(*) AS n FROM spine AS s, activities AS a WHERE a.occurred_at < s.as_of GROUP BY s.opportunity_id",
    "a key that may be one or the other": "SELECT s.opportunity_id FROM spine AS s JOIN activities AS a ON a.opportunity_id = s.opportunity_id OR a.account_id = s.account_id",
    "a product with a group": "SELECT s.opportunity_id, g.n FROM spine AS s CROSS JOIN (SELECT kind, COUNT(*) AS n FROM activities GROUP BY kind) AS g",
}  # fmt: skip


def _planted(text: str) -> exp.Query:
    tree = sqlglot.parse_one(text, read="duckdb")
    assert isinstance(tree, exp.Query)
    return tree


def _plan(duck: DuckDBEngine, world: EmptyWorld, text: str) -> Any:
    inputs = {name: world.table(name) for name in ("spine", "activities")}
    return json.loads(duck.explain(_planted(text), inputs))


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_join_without_a_key_is_found(planted: str, duck: DuckDBEngine, world: EmptyWorld) -> None:
    assert slow_joins(_plan(duck, world, PLANTED[planted]))


def test_a_cross_join_put_into_a_model_is_found(duck: DuckDBEngine, world: EmptyWorld, plans: dict[str, Any]) -> None:
    tree = tree_of("engagement").copy()
    first = next(iter(tree.find_all(exp.Select)))
    planted = "(SELECT activity_id AS planted_id FROM activities) AS planted"
    first.join(planted, join_type="cross", copy=False, dialect="duckdb")
    found = json.loads(duck.explain(tree, world.inputs("engagement"), **parameters_of(tree)))
    assert slow_joins(plans["engagement"]) == []
    assert slow_joins(found) != []


def test_a_product_with_a_single_row_is_no_slow_join(duck: DuckDBEngine, world: EmptyWorld) -> None:
    text = "SELECT s.opportunity_id, g.n FROM spine AS s CROSS JOIN (SELECT COUNT(*) AS n FROM activities) AS g"
    assert slow_joins(_plan(duck, world, text)) == []


def test_a_filter_that_cannot_reach_its_scan_is_seen(duck: DuckDBEngine, world: EmptyWorld) -> None:
    late = "SELECT activity_id FROM (SELECT *, ROW_NUMBER() OVER (ORDER BY activity_id) AS n FROM activities) AS a WHERE kind = 'call'"
    early = "SELECT activity_id FROM activities WHERE kind = 'call'"
    assert "kind" not in pushed(_plan(duck, world, late))
    assert "kind" in pushed(_plan(duck, world, early))


def test_a_comparison_above_a_scan_is_seen() -> None:
    scan = {"name": "READ_PARQUET", "children": [], "extra_info": {}}
    plan = {
        "name": "FILTER",
        "children": [scan],
        "extra_info": {"Expression": ["(kind = 'call')", "(left_at < right_at)"]},
    }
    assert late_filters(plan) == ["(kind = 'call')"]
