"""The SQL models of this package by name, and a digest of everything its results are computed with.

Belongs here: reading them. Does not belong here: their order (`preparation`, `build`).
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path

from sqlglot import exp

from sales_pipeline.engines.base import Source
from sales_pipeline.engines.compiler import parse_model

_PACKAGE = Path(__file__).parent
_SQL = _PACKAGE / "sql"


@functools.cache
def model(name: str) -> exp.Query:
    """The parsed SQL model of that name; not to be changed in place."""
    return parse_model(_SQL / f"{name}.sql")


def with_model(tree: exp.Query, name: str) -> exp.Query:
    """A model with another one, which it reads, written out as its first subquery: their rows then never lie between the two."""
    tree = tree.copy()
    subquery = exp.CTE(this=model(name).copy(), alias=exp.TableAlias(this=exp.to_identifier(name)))
    tree.set("with_", exp.With(expressions=[subquery, *(own.copy() for own in tree.ctes)]))
    return tree


def written_out(tree: exp.Query, known: Mapping[str, Source | exp.Query]) -> tuple[exp.Query, dict[str, Source]]:
    """A model with every known query that it reads, or that those read, in the place of its name; and the tables it then reads.

    So what is a few rows put in the place of others is never laid down as a whole: a model reads the columns and rows of it that it asks for.
    """
    queries = {name: one for name, one in known.items() if isinstance(one, exp.Query)}
    written = tree.copy()
    while found := next((table for table in written.find_all(exp.Table) if table.name in queries), None):
        found.replace(queries[found.name].copy().subquery(found.alias_or_name))
    tables = {name: one for name, one in known.items() if not isinstance(one, exp.Query)}
    return written, inputs_of(written, tables)


def inputs_of(tree: exp.Query, known: Mapping[str, Source]) -> dict[str, Source]:
    """Those of the known tables that a model reads."""
    return {table.name: known[table.name] for table in tree.find_all(exp.Table) if table.name in known}


@functools.cache
def code_digest() -> str:
    """A digest of this package's models and code and of the engines' macros: a change of either makes a new step."""
    digest = hashlib.sha256()
    macros = _PACKAGE.parent / "engines" / "macros"
    for path in sorted([*_SQL.glob("*.sql"), *macros.glob("*.sql"), *_PACKAGE.glob("*.py")]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
