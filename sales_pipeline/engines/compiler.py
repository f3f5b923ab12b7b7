"""SQL models to one engine's SQL: parse, bind parameters, inline macros, emit; column lineage from the same trees.

A model is one `.sql` file, one SELECT, in DuckDB's dialect. It may call the macros of `macros/` and name parameters as `$name`.
Belongs here: everything done to trees. Does not belong here: running SQL.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import sqlglot
from sqlglot import exp
from sqlglot.lineage import lineage as sqlglot_lineage

from sales_pipeline.errors import ConfigurationError

DIALECT = "duckdb"
_MACROS = Path(__file__).parent / "macros"

Scalar = str | int | float | bool | date | datetime | None


@dataclass(frozen=True)
class ColumnSource:
    """A column of an input table that an output column is computed from."""

    table: str
    column: str


@functools.cache
def macros(dialect: str) -> dict[str, tuple[tuple[str, ...], exp.Expression]]:
    """Macro bodies by lower-case name, the engine's overrides applied."""
    bodies = {} if dialect == DIALECT else dict(macros(DIALECT))
    path = _MACROS / f"{dialect}.sql"
    if path.is_file():
        for statement in sqlglot.parse(path.read_text(encoding="utf-8"), read=DIALECT):
            if isinstance(statement, exp.Create):
                function = statement.this
                names = tuple(parameter.name for parameter in function.expressions)
                bodies[function.this.name.lower()] = (names, statement.expression)
    return bodies


def literal(value: Scalar) -> exp.Expression:
    """A typed literal; instants become TIMESTAMPTZ, days DATE."""
    if value is None:
        return exp.Null()
    if isinstance(value, bool):
        return exp.Boolean(this=value)
    if isinstance(value, datetime):
        return exp.cast(exp.Literal.string(value.isoformat(sep=" ")), "TIMESTAMPTZ", dialect=DIALECT)
    if isinstance(value, date):
        return exp.cast(exp.Literal.string(value.isoformat()), "DATE", dialect=DIALECT)
    if isinstance(value, str):
        return exp.Literal.string(value)
    return exp.Literal.number(value)


def parse_model(path: Path) -> exp.Query:
    """The tree of a model file; ConfigurationError when it is not one SELECT."""
    tree = sqlglot.parse_one(path.read_text(encoding="utf-8"), read=DIALECT)
    if not isinstance(tree, exp.Query):
        raise ConfigurationError("a SQL model is one SELECT", found=type(tree).__name__, where=str(path))
    return tree


def _expand(tree: exp.Expression, dialect: str) -> exp.Expression:
    known = macros(dialect)

    def go(node: exp.Expression) -> exp.Expression:
        if isinstance(node, exp.Anonymous) and node.name.lower() in known:
            names, body = known[node.name.lower()]
            if len(names) != len(node.expressions):
                raise ConfigurationError(
                    f"macro {node.name} takes {len(names)} arguments",
                    found=f"{len(node.expressions)}: {node.sql(DIALECT)}",
                )
            arguments = {
                name: exp.paren(value.copy()) if isinstance(value, exp.Binary | exp.Case) else value.copy()
                for name, value in zip(names, (argument.transform(go) for argument in node.expressions), strict=True)
            }

            def substitute(part: exp.Expression) -> exp.Expression:
                if isinstance(part, exp.Column) and not part.table and part.name in arguments:
                    return arguments[part.name].copy()
                return part

            # Nested macros first, so that a macro's parameters are never mistaken for the caller's columns.
            expanded = body.copy().transform(go).transform(substitute)
            return exp.paren(expanded) if isinstance(expanded, exp.Binary) else expanded
        return node

    return tree.transform(go)


def compile_tree(tree: exp.Query, dialect: str = DIALECT, parameters: Mapping[str, Scalar] | None = None) -> exp.Query:
    """The tree with parameters bound and macros inlined; ConfigurationError for a parameter nobody gave."""
    given = dict(parameters or {})

    def bind(node: exp.Expression) -> exp.Expression:
        if isinstance(node, exp.Placeholder):
            name = str(node.this)
            if name not in given:
                raise ConfigurationError(
                    f"the SQL model needs the parameter ${name}", found=", ".join(sorted(given)) or "none"
                )
            return literal(given[name])
        return node

    expanded = _expand(tree.copy().transform(bind), dialect)
    assert isinstance(expanded, exp.Query)
    return expanded


def to_sql(tree: exp.Expr, dialect: str = DIALECT) -> str:
    """The engine's SQL text of a compiled tree."""
    return tree.sql(dialect=dialect)


def column_lineage(tree: exp.Query, schema: Mapping[str, list[str]]) -> dict[str, tuple[ColumnSource, ...]]:
    """For each output column, the input columns it is computed from.

    `schema` gives the columns of each input table. Parameters may be unbound.
    """
    bound = tree.copy().transform(lambda node: exp.Null() if isinstance(node, exp.Placeholder) else node)
    expanded = _expand(bound, DIALECT)
    types = {table: dict.fromkeys(columns, "VARCHAR") for table, columns in schema.items()}
    sources: dict[str, tuple[ColumnSource, ...]] = {}
    for name in expanded.named_selects if isinstance(expanded, exp.Query) else []:
        found: set[tuple[str, str]] = set()
        for node in sqlglot_lineage(name, expanded, schema=types, dialect=DIALECT).walk():
            if isinstance(node.expression, exp.Table):
                found.add((node.expression.name, node.name.rsplit(".", 1)[-1].strip('"')))
        sources[name] = tuple(ColumnSource(table, column) for table, column in sorted(found))
    return sources
