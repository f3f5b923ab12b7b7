"""The compiler: macros inlined, parameters bound, identifiers kept, lineage found."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pytest
import sqlglot
from sqlglot import exp

from sales_pipeline.engines.compiler import (
    DIALECT,
    ColumnSource,
    Scalar,
    column_lineage,
    compile_model,
    compile_tree,
    macros,
    parse_model,
    to_sql,
)
from sales_pipeline.errors import ConfigurationError


def _query(text: str) -> exp.Query:
    tree = sqlglot.parse_one(text, read=DIALECT)
    assert isinstance(tree, exp.Query)
    return tree


def _sql(text: str, dialect: str = DIALECT, **parameters: object) -> str:
    return to_sql(compile_tree(_query(text), dialect, parameters), dialect)  # type: ignore[arg-type]


def test_no_macro_body_calls_another_macro() -> None:
    for dialect in (DIALECT, "spark"):
        known = macros(dialect)
        for name, macro in known.items():
            left = {node.name.lower() for node in macro.body.find_all(exp.Anonymous)} & set(known)
            assert not left, f"{name} still calls {left}"


def test_a_macro_is_inlined_with_its_argument() -> None:
    assert "norm" not in _sql("SELECT norm(a) AS b FROM t").lower().replace("nfc_normalize", "")
    assert _sql("SELECT ratio(a + b, c) AS r FROM t") == (
        "SELECT (CAST((a + b) AS DOUBLE) / NULLIF(CAST(c AS DOUBLE), 0)) AS r FROM t"
    )


def test_a_macros_parameter_never_captures_a_column_of_the_caller() -> None:
    """`latest(x, t)`: the caller's own columns are called t and x, the other way round."""
    assert _sql("SELECT latest(t, x) AS v FROM s") == "SELECT ARG_MAX_NULL(t, x) AS v FROM s"
    assert _sql("SELECT ratio(y, x) AS v FROM s").index("y") < _sql("SELECT ratio(y, x) AS v FROM s").index("NULLIF")


def test_calls_within_arguments_are_inlined() -> None:
    assert "trimmed" not in _sql("SELECT parse_flag(trimmed(a)) AS v FROM s")


def test_branches_that_constants_rule_out_are_dropped() -> None:
    plain = _sql("SELECT parse_id(a, $id_style) AS v FROM s", id_style="text")
    assert "SUBSTRING" not in plain
    assert "SUBSTRING" in _sql("SELECT parse_id(a, $id_style) AS v FROM s", id_style="salesforce")


def test_the_wrong_number_of_arguments_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="takes 2 arguments"):
        _sql("SELECT ratio(a) AS v FROM s")


def test_spark_has_its_own_latest() -> None:
    assert "MAX_BY(" in _sql("SELECT latest(a, b) AS v FROM s", "spark")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("it's", "'it''s'"),
        (3, "3"),
        (1.5, "1.5"),
        (True, "TRUE"),
        (None, "NULL"),
        (date(2026, 1, 2), "CAST('2026-01-02' AS DATE)"),
        (datetime(2026, 1, 2, 3, tzinfo=UTC), "CAST('2026-01-02 03:00:00+00:00' AS TIMESTAMPTZ)"),
    ],
)
def test_parameters_become_typed_literals(value: object, text: str) -> None:
    assert _sql("SELECT $p AS v FROM s", p=value) == f"SELECT {text} AS v FROM s"


def test_a_missing_parameter_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"\$zone"):
        _sql("SELECT $zone AS v FROM s", other=1)


def test_a_model_that_is_no_select_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.sql").write_text("DROP TABLE x")
    with pytest.raises(ConfigurationError, match="one SELECT"):
        parse_model(tmp_path / "m.sql")


def test_compiling_leaves_the_given_tree_alone() -> None:
    tree = _query("SELECT norm(a) AS b, $p AS c FROM t")
    before = tree.sql(DIALECT)
    compile_tree(tree, DIALECT, {"p": 1})
    assert tree.sql(DIALECT) == before


def test_lineage_goes_through_macros_and_subqueries() -> None:
    tree = _query(
        "WITH p AS (SELECT norm(r.a) AS x, r.b AS y FROM raw AS r) SELECT p.x || d.z AS v, p.y FROM p JOIN d ON d.k = p.y"
    )
    lineage = column_lineage(tree, {"raw": ["a", "b"], "d": ["k", "z"]})
    assert lineage["v"] == (ColumnSource("d", "z"), ColumnSource("raw", "a"))
    assert lineage["y"] == (ColumnSource("raw", "b"),)


def test_identifiers_with_quotes_survive() -> None:
    from sales_pipeline.engines.duckdb import DuckDBEngine

    name = 'odd "name"; DROP TABLE x --'
    with DuckDBEngine(threads=1) as engine:
        tree = exp.select(exp.alias_(exp.column(name, quoted=True), "v")).from_("t")
        assert engine.query(tree, {"t": pa.table({name: [1, 2]})}).column("v").to_pylist() == [1, 2]


def test_a_query_that_calls_no_macro_is_compiled_without_reading_them() -> None:
    macros.cache_clear()
    tree = compile_tree(exp.select("a").from_("t"))
    assert macros.cache_info().currsize == 0
    assert to_sql(tree) == "SELECT a FROM t"


def test_what_was_compiled_before_is_told_apart_by_text_and_type_and_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "m.sql"
    path.write_text("SELECT $p AS v, norm(a) AS b FROM s", encoding="utf-8")

    def value(given: Scalar) -> str:
        tree = compile_model(path, DIALECT, {"p": given, "another": 1})
        text = tree.selects[0].sql(DIALECT)
        tree.selects[0].set("this", exp.Null())
        return text

    values: list[Scalar] = [1, 1, True, 1.5, "1"]
    assert [value(one) for one in values] == ["1 AS v", "1 AS v", "TRUE AS v", "1.5 AS v", "'1' AS v"]
    path.write_text("SELECT 7 AS v", encoding="utf-8")
    assert value(1) == "7 AS v"
