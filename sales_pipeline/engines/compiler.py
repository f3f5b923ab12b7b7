"""SQL models to one engine's SQL: parse, bind parameters, inline macros, emit; column lineage from the same trees.

A model is one `.sql` file, one SELECT, in DuckDB's dialect. It may call the macros of `macros/` and name parameters as `$name`.
Belongs here: everything done to trees. Does not belong here: running SQL.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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


@dataclass(frozen=True)
class Macro:
    """A macro's parameters and its body, in which no other macro is called any more."""

    parameters: tuple[str, ...]
    body: exp.Expr
    _given: dict[tuple[exp.Expr | None, ...], exp.Expr] = field(default_factory=dict, compare=False, repr=False)

    def of(self, arguments: Sequence[exp.Expr]) -> exp.Expr:
        """The body with arguments in place of the parameters.

        Most arguments but the first are constants, the same ones in every call of a model: what they leave of the body is worked out once.
        """
        constants = tuple(value if isinstance(value, _CONSTANTS) else None for value in arguments)
        if constants not in self._given:
            known = {name: value for name, value in zip(self.parameters, constants, strict=True) if value is not None}
            self._given[constants] = _substitute(self.body.copy(), known)
        others = {
            name: value
            for name, value in zip(self.parameters, arguments, strict=True)
            if not isinstance(value, _CONSTANTS)
        }
        return _substitute(self._given[constants].copy(), others)


_CONSTANTS = (exp.Literal, exp.Boolean, exp.Null)


@functools.cache
def macros(dialect: str) -> dict[str, Macro]:
    """The macros an engine compiles with, by lower-case name, its overrides applied and nested calls inlined."""
    written: dict[str, tuple[tuple[str, ...], exp.Expr]] = {}
    for name in dict.fromkeys((DIALECT, dialect)):
        path = _MACROS / f"{name}.sql"
        if path.is_file():
            for statement in sqlglot.parse(path.read_text(encoding="utf-8"), read=DIALECT):
                if isinstance(statement, exp.Create):
                    function = statement.this
                    parameters = tuple(parameter.name for parameter in function.expressions)
                    _forget_positions(statement)
                    written[function.this.name.lower()] = (parameters, statement.expression)
    done: dict[str, Macro] = {}

    def settle(name: str, callers: tuple[str, ...]) -> None:
        if name in callers:
            raise ConfigurationError("a macro calls itself", found=" > ".join((*callers, name)), where=f"{dialect}.sql")
        parameters, body = written[name]
        for call in list(body.find_all(exp.Anonymous)):
            called = call.name.lower()
            if called in written and called not in done:
                settle(called, (*callers, name))
        done[name] = Macro(parameters, _inline(body.copy(), done))

    for name in written:
        if name not in done:
            settle(name, ())
    return done


def macro_text(dialect: str = DIALECT) -> str:
    """The text of the macros an engine compiles with: part of the digest of everything that is computed with them."""
    paths = [_MACROS / f"{name}.sql" for name in dict.fromkeys((DIALECT, dialect))]
    return "".join(path.read_text(encoding="utf-8") for path in paths if path.is_file())


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
    return _parsed(path.read_text(encoding="utf-8"), path)


def _parsed(text: str, path: Path) -> exp.Query:
    tree = sqlglot.parse_one(text, read=DIALECT)
    if not isinstance(tree, exp.Query):
        raise ConfigurationError("a SQL model is one SELECT", found=type(tree).__name__, where=str(path))
    _forget_positions(tree)
    return tree


def compile_model(path: Path, dialect: str, parameters: Mapping[str, Scalar] | None = None) -> exp.Query:
    """As `compile_tree`, of a model file. What it gave for the same text and parameters before is copied, which costs a tenth of compiling it."""
    given = parameters or {}
    text = path.read_text(encoding="utf-8")
    # A truth value, a whole number and a fraction may be equal, but are written in different ways.
    used = tuple((name, type(value), value) for name, value in sorted(given.items()) if f"${name}" in text)
    return _compiled(text, path, dialect, used).copy()


@functools.lru_cache(maxsize=128)
def _compiled(text: str, path: Path, dialect: str, given: tuple[tuple[str, type, Scalar], ...]) -> exp.Query:
    return compile_tree(_parsed(text, path), dialect, {name: value for name, _, value in given})


def _forget_positions(tree: exp.Expr) -> exp.Expr:
    """Drop where in the file each node stood: copying that costs more than copying the tree."""
    for node in tree.walk():
        node._meta = None
        node.comments = None
    return tree


_NEEDS_BRACKETS = (exp.Binary, exp.Case, exp.Not, exp.Between, exp.In, exp.Unary)


def _inline(tree: exp.Expr, known: Mapping[str, Macro]) -> exp.Expr:
    """`tree` with every call of a known macro replaced by the macro's body. Changes `tree`; calls among the arguments go first."""
    calls = [node for node in tree.find_all(exp.Anonymous, bfs=False) if node.name.lower() in known]
    for call in reversed(calls):
        macro = known[call.name.lower()]
        if len(macro.parameters) != len(call.expressions):
            raise ConfigurationError(
                f"macro {call.name} takes {len(macro.parameters)} arguments",
                found=f"{len(call.expressions)}: {call.sql(DIALECT)}",
            )
        body = macro.of(call.expressions)
        if isinstance(body, _NEEDS_BRACKETS):
            body = exp.paren(body, copy=False)
        if call is tree:
            tree = body
        else:
            call.replace(body)
    return tree


def _substitute(body: exp.Expr, arguments: Mapping[str, exp.Expr]) -> exp.Expr:
    """The body with arguments in place of its parameters; branches that constant arguments rule out are left out."""
    holes = [c for c in body.find_all(exp.Column) if not c.table and c.name in arguments]
    for hole in holes:
        value = arguments[hole.name].copy()
        if isinstance(value, _NEEDS_BRACKETS):
            value = exp.paren(value, copy=False)
        if hole is body:
            return value
        hole.replace(value)
    return _prune(body)


def _constant(node: exp.Expr) -> bool | None:
    """The truth of a condition that compares literals, or None where it depends on data."""
    if isinstance(node, exp.Paren):
        return _constant(node.this)
    if isinstance(node, exp.Boolean):
        return bool(node.this)
    if (
        isinstance(node, exp.EQ | exp.NEQ)
        and isinstance(node.left, exp.Literal)
        and isinstance(node.right, exp.Literal)
    ):
        return bool(node.left.this == node.right.this) == isinstance(node, exp.EQ)
    if isinstance(node, exp.And | exp.Or):
        decisive = isinstance(node, exp.Or)
        left, right = _constant(node.left), _constant(node.right)
        if decisive in (left, right):
            return decisive
        return None if left is None or right is None else not decisive
    return None


def _prune(body: exp.Expr) -> exp.Expr:
    """Drop the branches of CASE that can never be taken."""
    for case in list(body.find_all(exp.Case)):
        if case.this is not None:
            continue
        kept: list[exp.Expr] = []
        otherwise = case.args.get("default")
        for branch in case.args["ifs"]:
            truth = _constant(branch.this)
            if truth is False:
                continue
            if truth is True:
                otherwise = branch.args["true"]
                break
            kept.append(branch)
        if kept:
            case.set("ifs", kept)
            case.set("default", otherwise)
            continue
        only = otherwise if otherwise is not None else exp.Null()
        if case is body:
            return only
        case.replace(only)
    return body


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

    bound = tree.copy().transform(bind, copy=False)
    # Reading all macros takes longer than a short query does: one that calls none of them does without.
    expanded = _prune(_inline(bound, macros(dialect)) if bound.find(exp.Anonymous) else bound)
    if not isinstance(expanded, exp.Query):
        raise ConfigurationError("a SQL model is one SELECT", found=type(expanded).__name__)
    return expanded


def to_sql(tree: exp.Expr, dialect: str = DIALECT) -> str:
    """The engine's SQL text of a compiled tree, which is used up: writing may rearrange it, and copying it first costs as much again."""
    return tree.sql(dialect=dialect, copy=False)


def column_lineage(tree: exp.Query, schema: Mapping[str, list[str]]) -> dict[str, tuple[ColumnSource, ...]]:
    """For each output column, the input columns it is computed from.

    `schema` gives the columns of each input table. Parameters may be unbound. A macro depends on its arguments, so it is not inlined.
    """
    bound = tree.transform(lambda node: exp.Null() if isinstance(node, exp.Placeholder) else node)
    types = {table: dict.fromkeys(columns, "VARCHAR") for table, columns in schema.items()}
    sources: dict[str, tuple[ColumnSource, ...]] = {}
    for name, root in sqlglot_lineage(
        None, bound, schema=types, dialect=DIALECT, trim_selects=False, copy=False
    ).items():
        found: set[tuple[str, str]] = set()
        seen: set[int] = set()
        waiting = [root]
        while waiting:
            node = waiting.pop()
            if id(node) in seen:
                continue
            seen.add(id(node))
            waiting += node.downstream
            if isinstance(node.expression, exp.Table):
                found.add((node.expression.name, node.name.rsplit(".", 1)[-1].strip('"')))
        sources[name] = tuple(ColumnSource(table, column) for table, column in sorted(found))
    return sources
