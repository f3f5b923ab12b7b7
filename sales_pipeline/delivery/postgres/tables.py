"""The tables of a run in schema `runs`: how they are made, keyed, described and checked.

Every name goes through `psycopg.sql.Identifier` and every text through `psycopg.sql.Literal`.

Belongs here: statements about one run's tables. Does not belong here: views, the ledger.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from psycopg import sql

from sales_pipeline.contracts.model import Column, Table
from sales_pipeline.delivery.postgres.types import column_type

RUN_NUMBER = "run_number"
"""The column that says which run a row is of: small, the same in every row of a run's table, and what the partitions are told apart by."""


def in_runs(name: str) -> sql.Identifier:
    """A name in schema `runs`."""
    return sql.Identifier("runs", name)


def create_run_table(name: str, columns: Sequence[Column], run_number: int) -> sql.Composed:
    """A run's own table, empty, with NOT NULL where the contract requires a value.

    The check lets the server attach it as a partition without reading it again.
    """
    number = sql.Identifier(RUN_NUMBER)
    own = sql.SQL("{} integer NOT NULL DEFAULT {} CHECK ({} = {})").format(
        number, sql.Literal(run_number), number, sql.Literal(run_number)
    )
    parts = [*(_declared(column, with_null=True) for column in columns), own]
    return sql.SQL("CREATE TABLE {} ({})").format(in_runs(name), sql.SQL(", ").join(parts))


def create_shape_table(name: str, columns: Sequence[Column]) -> sql.Composed:
    """The partitioned table that holds all runs of a shape; keys and NOT NULL stand in its partitions."""
    parts = [
        *(_declared(column, with_null=False) for column in columns),
        sql.SQL("{} integer").format(sql.Identifier(RUN_NUMBER)),
    ]
    return sql.SQL("CREATE TABLE IF NOT EXISTS {} ({}) PARTITION BY LIST ({})").format(
        in_runs(name), sql.SQL(", ").join(parts), sql.Identifier(RUN_NUMBER)
    )


def attach(shape_table: str, name: str, run_number: int) -> sql.Composed:
    """Put a run's table among those of its shape; readers are not waited for."""
    return sql.SQL("ALTER TABLE {} ATTACH PARTITION {} FOR VALUES IN ({})").format(
        in_runs(shape_table), in_runs(name), sql.Literal(run_number)
    )


def add_key(name: str, contract: Table) -> sql.Composed:
    """The contract's key as primary key; fails when two rows share it."""
    key = sql.SQL(", ").join(sql.Identifier(column) for column in contract.key)
    return sql.SQL("ALTER TABLE {} ADD PRIMARY KEY ({})").format(in_runs(name), key)


def copy_in(name: str, columns: Sequence[Column]) -> sql.Composed:
    """COPY of CSV text into a table that was made in the same transaction (FREEZE: no later rewriting of its pages)."""
    names = sql.SQL(", ").join(sql.Identifier(column.name) for column in columns)
    return sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv, ENCODING 'UTF8', FREEZE)").format(in_runs(name), names)


def analyze(name: str) -> sql.Composed:
    """Statistics for the planner, at once instead of some minutes later."""
    return sql.SQL("ANALYZE {}").format(in_runs(name))


def lock_alone(names: Sequence[str]) -> sql.Composed:
    """Keep readers out of tables of shapes (not of the runs in them) until the transaction ends."""
    return sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(
        sql.SQL(", ").join(sql.SQL("ONLY {}").format(in_runs(name)) for name in names)
    )


def drop_table(name: str) -> sql.Composed:
    """Drop a table of schema `runs`; fails where something stands on it."""
    return sql.SQL("DROP TABLE IF EXISTS {}").format(in_runs(name))


def comments(
    kind: str, place: sql.Identifier, contract: Table, columns: Sequence[Column], note: str
) -> Iterator[sql.Composed]:
    """What a table or view (`kind`) and its columns mean, by the contract."""
    yield sql.SQL("COMMENT ON {} {} IS {}").format(sql.SQL(kind), place, sql.Literal(f"{contract.grain}; {note}"))
    for column in columns:
        yield sql.SQL("COMMENT ON COLUMN {}.{} IS {}").format(
            place, sql.Identifier(column.name), sql.Literal(column_comment(column))
        )


def column_comment(column: Column) -> str:
    """Meaning, unit, allowed values and what NULL means, in one line."""
    parts = [column.meaning]
    if column.unit:
        parts.append(f"unit: {column.unit}")
    if column.allowed:
        parts.append(f"one of {', '.join(column.allowed)}")
    parts.append(f"NULL: {column.null_means}" if column.nullable else "never NULL")
    return "; ".join(parts)


def count_what_came(name: str, columns: Sequence[Column]) -> sql.Composed:
    """One row: rows, values that are not NULL per column, sums of the amounts, then rows of another run or as-of."""
    asked: list[sql.Composable] = [
        sql.SQL("count(*)"),
        *(sql.SQL("count({})").format(sql.Identifier(c.name)) for c in columns),
    ]
    asked += [sql.SQL("coalesce(sum({}), 0)").format(sql.Identifier(c.name)) for c in columns if c.type == "amount"]
    given = {"run_id": "%(run_id)s", "as_of": "%(as_of)s::timestamptz"}
    other: list[sql.Composable] = [
        sql.SQL("{} IS DISTINCT FROM {}").format(sql.Identifier(c.name), sql.SQL(given[c.name]))
        for c in columns
        if c.name in given
    ]
    asked.append(sql.SQL("count(*) FILTER (WHERE {})").format(sql.SQL(" OR ").join(other or [sql.SQL("false")])))
    return sql.SQL("SELECT {} FROM {}").format(sql.SQL(", ").join(asked), in_runs(name))


def _declared(column: Column, *, with_null: bool) -> sql.Composed:
    null = sql.SQL(" NOT NULL") if with_null and column.required else sql.SQL("")
    return sql.SQL("{} {}{}").format(sql.Identifier(column.name), sql.SQL(column_type(column)), null)
