import pyarrow as pa
import pytest

from sales_pipeline.contracts.canonical import CANONICAL_TABLES
from sales_pipeline.contracts.derive import arrow_schema, dictionary_rows, expectations
from sales_pipeline.contracts.model import Column, Table
from sales_pipeline.contracts.published import PUBLISHED_TABLES
from sales_pipeline.contracts.raw import RAW_TABLES

ALL = [*CANONICAL_TABLES.values(), *PUBLISHED_TABLES.values(), *RAW_TABLES.values()]


@pytest.mark.parametrize("table", ALL, ids=lambda table: table.name)
def test_every_table_has_a_schema_and_uniquely_named_checks(table: Table) -> None:
    assert arrow_schema(table).names == list(table.column_names)
    names = [check.name for check in expectations(table)]
    assert len(names) == len(set(names))
    assert "key_unique" in names


@pytest.mark.parametrize("table", PUBLISHED_TABLES.values(), ids=lambda table: table.name)
def test_every_published_column_is_in_the_dictionary_with_a_meaning(table: Table) -> None:
    rows = dictionary_rows(table)
    assert [row["column"] for row in rows] == list(table.column_names)
    assert all(row["meaning"] and row["empty_means"] for row in rows)


def test_a_nullable_column_must_say_what_null_means() -> None:
    with pytest.raises(ValueError, match="what NULL means"):
        Table("t", "one row each", ("a",), (Column("a", "string", "an a", required=True), Column("b", "string", "a b")))


def test_a_key_must_be_declared_and_columns_once() -> None:
    a = Column("a", "string", "an a", required=True)
    with pytest.raises(ValueError, match="not declared"):
        Table("t", "one row each", ("b",), (a,))
    with pytest.raises(ValueError, match="declared twice"):
        Table("t", "one row each", ("a",), (a, a))


def test_probabilities_get_range_checks_and_amounts_are_decimal() -> None:
    scored = PUBLISHED_TABLES["scored_opportunities"]
    checks = {check.name: check for check in expectations(scored)}
    assert checks["win_probability_range"].arguments["max_value"] == 1.0
    assert arrow_schema(scored).field("amount").type == pa.decimal128(18, 2)
