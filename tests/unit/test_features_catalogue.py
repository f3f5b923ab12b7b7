"""The declaration of features and the SQL models that compute them."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlglot import exp

import sales_pipeline.features as package
from sales_pipeline.contracts.canonical import CANONICAL_TABLES, FIELD_HISTORY, OPPORTUNITY_CHANGES
from sales_pipeline.engines.compiler import compile_tree, to_sql
from sales_pipeline.features.catalogue import FAMILIES, FEATURE_TABLE, FEATURES
from sales_pipeline.features.sql_models import model
from sales_pipeline.features.wide import wide

SQL = Path(package.__file__).parent / "sql"
PARAMETERS = dict.fromkeys(
    (
        "as_of",
        "mode",
        "is_thinned",
        "max_landmarks",
        "owner_prior_weight",
        "account_prior_weight",
        "product_prior_weight",
    ),
    1,
)


def test_names_are_unique_and_the_contract_follows_them() -> None:
    names = [feature.name for feature in FEATURES]
    assert len(set(names)) == len(names)
    assert FEATURE_TABLE.column_names == ("opportunity_id", "as_of", *names)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_selects_its_features_and_nothing_else(family: str) -> None:
    expected = {feature.name for feature in FEATURES if feature.family == family}
    assert set(model(family).named_selects) == expected | {"opportunity_id", "as_of"}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_adds_columns_to_rows_of_the_spine(family: str) -> None:
    """What `wide` relies on when it puts the joins of all families into one SELECT."""
    tree = model(family)
    assert isinstance(tree, exp.Select)
    source = tree.args["from_"].this
    assert (source.name, source.alias) == ("spine", "s")
    assert set(tree.args) - {"with_", "expressions", "from_", "joins"} <= {
        key for key, value in tree.args.items() if not value
    }
    outer = [*tree.expressions, *(tree.args.get("joins") or [])]
    joined = {join.this.alias for join in tree.args.get("joins") or []}
    assert "" not in joined
    assert {column.table for part in outer for column in part.find_all(exp.Column)} <= {"s", *joined}


@pytest.mark.parametrize("name", sorted(path.stem for path in SQL.glob("*.sql")))
@pytest.mark.parametrize("dialect", ["duckdb", "spark"])
def test_every_model_compiles_for_both_engines(name: str, dialect: str) -> None:
    text = to_sql(compile_tree(model(name), dialect, PARAMETERS), dialect)
    for forbidden in ("QUALIFY", "ASOF", "$"):
        assert forbidden not in text


def test_needs_name_tables_and_columns_that_exist() -> None:
    fields = FIELD_HISTORY.column("field").allowed
    for feature in FEATURES:
        assert feature.state_field is None or feature.state_field in fields
        for need in feature.needs:
            table, _, column = need.partition(".")
            if table == "history":
                assert column in fields
                assert OPPORTUNITY_CHANGES.column(column)
            elif need != "closings.closed_at":
                assert not column or CANONICAL_TABLES[table].column(column)


def test_reasons_are_worded_for_a_value_and_for_none() -> None:
    for feature in FEATURES:
        assert "7" in feature.text("7", is_up=True)
        assert "7" in feature.text("7", is_up=False)
        assert "{" not in feature.text("7", is_up=True) + feature.text(None, is_up=False)
        for text in (feature.up_text, feature.down_text, feature.missing_text, feature.negative_text):
            assert not text or text[0].isalpha()
    close_date = next(feature for feature in FEATURES if feature.name == "days_to_crm_close_date")
    assert close_date.text("-11", is_up=False) == "close date passed 11 days ago"
    inbound = next(feature for feature in FEATURES if feature.name == "days_since_last_inbound")
    assert inbound.text("12", is_up=False) == "no reply from the customer for 12 days"


def test_absent_features_are_columns_of_nulls() -> None:
    tree = wide([feature for feature in FEATURES if feature.family == "season"])
    assert list(tree.named_selects) == list(FEATURE_TABLE.column_names)
    assert "NULL AS stage" in tree.sql("duckdb")
