"""Every SQL model compiles for both engines and keeps to functions whose meaning is the same on both.

SQLGlot passes functions it does not know through unchanged, so compiling alone would prove nothing.
"""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
import sqlglot
from sqlglot import exp

import sales_pipeline
from sales_pipeline.engines.compiler import compile_tree, parse_model, to_sql

PACKAGE = Path(sales_pipeline.__file__).parent
MODELS = sorted(PACKAGE.rglob("sql/*.sql"))
CONNECTIVES = {"And", "Or", "Case", "If", "Cast", "TryCast"}
AGGREGATES = {"Count", "Max", "Min", "Sum"}
WINDOWS = {"FirstValue", "Lag", "LastValue", "Lead", "RowNumber"}
TEXT = {
    "ConcatWs", "Length", "Lower", "Pad", "RegexpExtract", "RegexpLike", "RegexpReplace", "Replace", "StrPosition", "Substring", "Trim", "Upper",
}  # fmt: skip
VALUES = {
    "Coalesce",
    "DateDiff",
    "Extract",
    "Floor",
    "Greatest",
    "Least",
    "Ln",
    "MD5",
    "Nullif",
    "Round",
    "TimestampTrunc",
}
ALLOWED = CONNECTIVES | AGGREGATES | WINDOWS | TEXT | VALUES
OWN = {
    "duckdb": {"ARG_MAX_NULL", "EPOCH_US", "MAKE_TIMESTAMPTZ", "TRY_STRPTIME", "UnixToTime"},
    "spark": {"ArgMax", "TIMESTAMP_MICROS", "UnixMicros"},
}
"""Functions of the macros whose bodies differ by engine: `latest`, and the arithmetic of instants."""


@functools.cache
def _compiled(model: Path, dialect: str) -> exp.Query:
    tree = parse_model(model)
    names = {str(placeholder.this) for placeholder in tree.find_all(exp.Placeholder)}
    return compile_tree(tree, dialect, {name: "salesforce_folded" if name == "id_style" else "x" for name in names})


def _functions(tree: exp.Query) -> set[str]:
    return {f.name.upper() if isinstance(f, exp.Anonymous) else type(f).__name__ for f in tree.find_all(exp.Func)}


def test_there_are_models() -> None:
    assert len(MODELS) > 30


@pytest.mark.parametrize("dialect", ["duckdb", "spark"])
@pytest.mark.parametrize("model", MODELS, ids=lambda path: f"{path.parent.parent.name}-{path.stem}")
def test_a_model_compiles_within_the_functions_both_engines_share(model: Path, dialect: str) -> None:
    tree = _compiled(model, dialect)
    assert _functions(tree) <= ALLOWED | OWN[dialect]
    assert to_sql(tree, dialect)


@pytest.mark.parametrize("model", MODELS, ids=lambda path: f"{path.parent.parent.name}-{path.stem}")
def test_a_model_avoids_what_the_engines_read_differently(model: Path) -> None:
    tree = _compiled(model, "duckdb")
    assert not list(tree.find_all(exp.Qualify)), "QUALIFY is translated wrongly: rank in a CTE"
    for division in tree.find_all(exp.Div):
        divisor = division.expression.unnest()
        assert isinstance(divisor, exp.Nullif | exp.Literal) or _is_safe(divisor), f"divides by {divisor.sql('duckdb')}"
    for difference in tree.find_all(exp.DateDiff):
        assert _is_whole(difference.this), f"counts begun or elapsed units: {difference.sql('duckdb')}"
        assert _is_whole(difference.expression), f"counts begun or elapsed units: {difference.sql('duckdb')}"
    for replacement in tree.find_all(exp.RegexpReplace):
        assert replacement.args.get("modifiers") is not None, "regexp_replace replaces one match or all: say 'g'"


def _is_safe(divisor: exp.Expr) -> bool:
    """A sum with a positive literal in it is never zero when the rest is a count or a weight."""
    return isinstance(divisor, exp.Add)


def _is_whole(side: exp.Expr) -> bool:
    """A day, or an instant cut to its unit: begun and elapsed units between two such are the same number."""
    side = side.unnest()
    return isinstance(side, exp.TimestampTrunc | exp.DateTrunc) or (isinstance(side, exp.Cast) and side.is_type("date"))


def test_a_difference_of_bare_instants_is_found() -> None:
    tree = sqlglot.parse_one("SELECT DATE_DIFF('HOUR', a, DATE_TRUNC('HOUR', b)) FROM t", read="duckdb")
    difference = tree.find(exp.DateDiff)
    assert difference is not None
    assert [_is_whole(side) for side in (difference.this, difference.expression)] == [True, False]


def test_the_allow_list_can_fail() -> None:
    tree = sqlglot.parse_one("SELECT quantile_cont(a, 0.5) FROM t", read="duckdb")
    assert isinstance(tree, exp.Query)
    assert not _functions(tree) <= ALLOWED
