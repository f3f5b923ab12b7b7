"""What is said to PostgreSQL: types from contracts, names that fit, statements composed, the script of roles."""

from __future__ import annotations

import pytest

from sales_pipeline.contracts.model import Column, Table
from sales_pipeline.contracts.published import PUBLISHED_TABLES
from sales_pipeline.delivery.postgres import tables
from sales_pipeline.delivery.postgres.roles import roles_sql
from sales_pipeline.delivery.postgres.types import (
    MAX_NAME_BYTES,
    column_type,
    run_table_name,
    shape_of,
    shape_table_name,
)
from sales_pipeline.delivery.postgres.views import can_be_replaced

HOSTILE = 'x"); drop table runs.x; --'
CONTRACT = Table(
    "deals",
    "one row per deal, it's said",
    ("id",),
    (
        Column("id", "string", "the deal's id", required=True),
        Column(HOSTILE, "amount", "a 'quoted' meaning", unit="EUR", null_means="not told"),
    ),
)


def test_every_type_of_a_contract_has_a_type_in_the_database() -> None:
    found = {column.type: column_type(column) for table in PUBLISHED_TABLES.values() for column in table.columns}
    assert found == {
        "string": "text",
        "int64": "bigint",
        "float64": "double precision",
        "amount": "numeric(18,2)",
        "boolean": "boolean",
        "date": "date",
        "timestamp": "timestamp with time zone",
        "reasons": "jsonb",
    }


@pytest.mark.parametrize("table", [*PUBLISHED_TABLES, "t" * 80, "é" * 40, HOSTILE])
@pytest.mark.parametrize("run", ["run-0123456789abcdef", "r" * 90, 'run"; drop schema runs; --'])
def test_names_of_tables_fit_and_are_plain(table: str, run: str) -> None:
    for name in (run_table_name(table, run), shape_table_name(table, shape_of(CONTRACT.columns))):
        assert len(name.encode()) <= MAX_NAME_BYTES
        assert name.isascii()
        assert not set(name) & set("\"'; ()")


def test_names_are_readable_where_they_fit_and_differ_where_they_do_not() -> None:
    assert run_table_name("left_out", "run-0123456789abcdef") == "left_out__run-0123456789abcdef"
    assert run_table_name("t" * 80, "run-1") != run_table_name("t" * 80, "run-2")
    assert run_table_name("t" * 80, "run-1") != run_table_name("t" * 81, "run-1")


def test_the_shape_changes_with_names_types_and_order_and_with_nothing_else() -> None:
    one, two = Column("a", "string", "x", required=True), Column("b", "int64", "y", required=True)
    assert shape_of([one, two]) == shape_of([Column("a", "string", "z", null_means="none"), two])
    others = [[two, one], [one], [one, Column("b", "float64", "y", required=True)], [one, two, two]]
    assert len({shape_of(columns) for columns in [[one, two], *others]}) == 5


def test_a_run_table_has_keys_nulls_and_its_own_number() -> None:
    assert tables.create_run_table("deals__run-1", CONTRACT.columns, 7).as_string(None) == (
        'CREATE TABLE "runs"."deals__run-1" ("id" text NOT NULL, "x""); drop table runs.x; --" numeric(18,2), '
        '"run_number" integer NOT NULL DEFAULT 7 CHECK ("run_number" = 7))'
    )
    assert tables.add_key("deals__run-1", CONTRACT).as_string(None) == (
        'ALTER TABLE "runs"."deals__run-1" ADD PRIMARY KEY ("id")'
    )


def test_meanings_of_the_contract_become_comments() -> None:
    found = [
        statement.as_string(None)
        for statement in tables.comments("TABLE", tables.in_runs("d"), CONTRACT, CONTRACT.columns, "run run-1")
    ]
    assert found == [
        """COMMENT ON TABLE "runs"."d" IS 'one row per deal, it''s said; run run-1'""",
        """COMMENT ON COLUMN "runs"."d"."id" IS 'the deal''s id; never NULL'""",
        """COMMENT ON COLUMN "runs"."d"."x""); drop table runs.x; --" IS """
        """'a ''quoted'' meaning; unit: EUR; NULL: not told'""",
    ]


def test_a_view_is_replaced_in_place_only_when_columns_are_added_at_its_end() -> None:
    before = [("id", "text")]
    assert can_be_replaced(before, CONTRACT.columns)
    assert can_be_replaced([], CONTRACT.columns)
    assert not can_be_replaced([("id", "bigint")], CONTRACT.columns)
    assert not can_be_replaced([("key", "text")], CONTRACT.columns)
    assert not can_be_replaced([*before, (HOSTILE, "numeric(18,2)"), ("more", "text")], CONTRACT.columns)


def test_the_script_of_roles_quotes_names_that_try_to_end_it() -> None:
    script = roles_sql("o'wner\"$do$; DROP SCHEMA runs; --", "reader")
    assert 'AUTHORIZATION "o\'wner""$do$; DROP SCHEMA runs; --";' in script
    # Within the body of DO, which is a literal, the quote of a literal is doubled twice.
    assert "''o" + "'" * 4 + 'wner"$do$; DROP SCHEMA runs; --' in script
