"""The views in schema `published`: made and replaced only when the columns of their table change, without losing what was granted on them.

Columns added at the end: CREATE OR REPLACE, which keeps grants and the views of others that stand on it. Anything else (a changed type or
name, a column gone): DROP and CREATE in the same transaction, and the grants are given again. Another's view on top of it then stops the
publication (SQLSTATE 2BP01); it is never dropped with it.

Belongs here: views and grants on them. Does not belong here: the tables behind them (`tables`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psycopg import Connection, sql

from sales_pipeline.contracts.model import Column
from sales_pipeline.delivery.postgres.run_folder import RunTable
from sales_pipeline.delivery.postgres.tables import RUN_NUMBER, comments, in_runs
from sales_pipeline.delivery.postgres.types import column_type, shape_table_name

_NOTE = "of the run that is shown (published.run_ledger)"

_GRANTS = """
SELECT NULL AS column_name, a.grantee, r.rolname, a.privilege_type, a.is_grantable
FROM pg_class AS c CROSS JOIN LATERAL aclexplode(c.relacl) AS a LEFT JOIN pg_roles AS r ON r.oid = a.grantee
WHERE c.oid = to_regclass(%(view)s) AND a.grantee <> c.relowner
UNION ALL
SELECT t.attname, a.grantee, r.rolname, a.privilege_type, a.is_grantable
FROM pg_class AS c JOIN pg_attribute AS t ON t.attrelid = c.oid CROSS JOIN LATERAL aclexplode(t.attacl) AS a
LEFT JOIN pg_roles AS r ON r.oid = a.grantee
WHERE c.oid = to_regclass(%(view)s) AND a.grantee <> c.relowner
"""


def in_published(name: str) -> sql.Identifier:
    """A name in schema `published`."""
    return sql.Identifier("published", name)


def view_statement(table: RunTable) -> sql.Composed:
    """The view of a published table: the rows of the run that is shown, with the contract's columns in order.

    Which run that is, what shape it has and whether its rows are within reach is asked under the query's own snapshot, before any row is
    read: by the first condition where the server chooses among runs, by the second where its plan knows only one. The LIMIT keeps
    the server from reading all runs into a hash, as it does for EXISTS.
    """
    names = {
        "view": in_published(table.contract.name),
        "columns": sql.SQL(", ").join(sql.Identifier("t", column.name) for column in table.columns),
        "rows": in_runs(shape_table_name(table.contract.name, table.shape)),
        "number": sql.Identifier(RUN_NUMBER),
        "name": sql.Literal(table.contract.name),
        "shape": sql.Literal(table.shape),
    }
    shown = sql.SQL(
        "(SELECT runs.require_shown(l.run_number, l.run_id, {name}, l.tables -> {name} ->> 'shape' = {shape}"
        " AND (l.tables -> {name} ->> 'rows' = '0' OR (SELECT true FROM {rows} AS r WHERE r.{number} = l.run_number LIMIT 1)))"
        " FROM runs.current_run AS c JOIN runs.ledger AS l ON l.run_number = c.run_number)"
    ).format(**names)
    return sql.SQL(
        "CREATE OR REPLACE VIEW {view} AS SELECT {columns} FROM {rows} AS t"
        " WHERE t.{number} = {shown} AND {shown} IS NOT NULL"
    ).format(**names, shown=shown)


def can_be_replaced(found: Sequence[tuple[str, str]], columns: Sequence[Column]) -> bool:
    """Whether CREATE OR REPLACE will do: the view's columns (name, type) come first, unchanged."""
    return list(found) == [(column.name, column_type(column)) for column in columns[: len(found)]]


def make_views(connection: Connection[Any], tables: Sequence[RunTable], shown: dict[str, dict[str, Any]]) -> None:
    """Make the views fit a run's tables; `shown` are the tables of the run shown until now (the ledger's entry).

    Waits for readers only where a view has to change.
    """
    names = {table.contract.name for table in tables}
    for name in sorted(set(shown) - names):
        connection.execute(sql.SQL("DROP VIEW IF EXISTS {}").format(in_published(name)))
    for table in tables:
        name = table.contract.name
        is_there = connection.execute("SELECT to_regclass(%s) IS NOT NULL", [in_published(name).as_string(connection)])
        if is_there.fetchone() != (True,) or shown.get(name, {}).get("shape") != table.shape:
            _make_view(connection, table)


def _make_view(connection: Connection[Any], table: RunTable) -> None:
    name = table.contract.name
    found = connection.execute(
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
        " WHERE attrelid = to_regclass(%s) AND attnum > 0 ORDER BY attnum",
        [in_published(name).as_string(connection)],
    ).fetchall()
    grants: list[tuple[Any, ...]] = []
    if not can_be_replaced(found, table.columns):
        grants = connection.execute(_GRANTS, {"view": in_published(name).as_string(connection)}).fetchall()
        connection.execute(sql.SQL("DROP VIEW {}").format(in_published(name)))
    connection.execute(view_statement(table))
    for statement in comments("VIEW", in_published(name), table.contract, table.columns, _NOTE):
        connection.execute(statement)
    kept = {column.name for column in table.columns}
    for column, _, role, privilege, is_grantable in grants:
        if column is None or column in kept:
            connection.execute(_grant(name, privilege, column, role, is_grantable=is_grantable))


def _grant(view: str, privilege: str, column: str | None, role: str | None, *, is_grantable: bool) -> sql.Composed:
    """The privilege's name is one of the server's own words; without a role it is PUBLIC."""
    return sql.SQL("GRANT {}{} ON {} TO {}{}").format(
        sql.SQL(privilege),
        sql.SQL(" ({})").format(sql.Identifier(column)) if column else sql.SQL(""),
        in_published(view),
        sql.Identifier(role) if role else sql.SQL("PUBLIC"),
        sql.SQL(" WITH GRANT OPTION") if is_grantable else sql.SQL(""),
    )


def let_read(connection: Connection[Any], role: str, views: Sequence[str]) -> None:
    """Let a role read these views and the run ledger, where it may not yet; nothing else is granted."""
    may_use = connection.execute("SELECT has_schema_privilege(%s, 'published', 'USAGE')", [role]).fetchone()
    if may_use == (False,):
        connection.execute(sql.SQL("GRANT USAGE ON SCHEMA published TO {}").format(sql.Identifier(role)))
    for name in (*views, "run_ledger"):
        place = in_published(name)
        asked = [role, place.as_string(connection)]
        if connection.execute("SELECT has_table_privilege(%s, %s, 'SELECT')", asked).fetchone() == (False,):
            connection.execute(sql.SQL("GRANT SELECT ON {} TO {}").format(place, sql.Identifier(role)))
