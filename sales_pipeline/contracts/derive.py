"""What follows from a table's declaration: Arrow schema, expectations, dictionary rows.

Belongs here: pure derivations. Does not belong here: running the checks (clean, delivery) or writing files (lake).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from sales_pipeline.contracts.model import Column, Table
from sales_pipeline.domain.money import AMOUNT_PRECISION, AMOUNT_SCALE

REASON_TYPE = pa.struct([("code", pa.string()), ("text", pa.string()), ("weight", pa.float64())])

_ARROW: dict[str, pa.DataType] = {
    "string": pa.string(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "amount": pa.decimal128(AMOUNT_PRECISION, AMOUNT_SCALE),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "reasons": pa.list_(REASON_TYPE),
}

_SQL: dict[str, str] = {
    "string": "VARCHAR",
    "int64": "BIGINT",
    "float64": "DOUBLE",
    "amount": f"DECIMAL({AMOUNT_PRECISION}, {AMOUNT_SCALE})",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "timestamp": "TIMESTAMPTZ",
}


def arrow_schema(table: Table) -> pa.Schema:
    """The Arrow schema of a table, in column order, with nullability."""
    return pa.schema([pa.field(c.name, _ARROW[c.type], nullable=c.nullable) for c in table.columns])


def sql_type(column: Column) -> str:
    """The column's type in DuckDB's dialect (the dialect SQL models are written in)."""
    return _SQL[column.type]


@dataclass(frozen=True)
class Expectation:
    """One check of a contract, by the name of its Great Expectations class; `row_level` ones can quarantine single rows."""

    name: str
    kind: str
    row_level: bool
    arguments: dict[str, Any] = field(default_factory=dict)


def expectations(table: Table) -> tuple[Expectation, ...]:
    """The checks that follow from the declaration, in column order; names are unique within the table and stable."""
    checks: list[Expectation] = []
    for column in table.columns:
        if column.required:
            checks.append(
                Expectation(
                    f"{column.name}_not_null", "expect_column_values_to_not_be_null", True, {"column": column.name}
                )
            )
        if column.allowed:
            checks.append(
                Expectation(
                    f"{column.name}_allowed",
                    "expect_column_values_to_be_in_set",
                    True,
                    {"column": column.name, "value_set": list(column.allowed)},
                )
            )
        if column.minimum is not None or column.maximum is not None:
            checks.append(
                Expectation(
                    f"{column.name}_range",
                    "expect_column_values_to_be_between",
                    True,
                    {"column": column.name, "min_value": column.minimum, "max_value": column.maximum},
                )
            )
    if len(table.key) == 1:
        checks.append(Expectation("key_unique", "expect_column_values_to_be_unique", False, {"column": table.key[0]}))
    else:
        checks.append(
            Expectation("key_unique", "expect_compound_columns_to_be_unique", False, {"column_list": list(table.key)})
        )
    return tuple(checks)


def dictionary_rows(table: Table) -> list[dict[str, str]]:
    """One row per column for the field dictionary an administrator reads."""
    return [
        {
            "table": table.name,
            "column": column.name,
            "type": column.type,
            "unit": column.unit,
            "meaning": column.meaning,
            "empty_means": column.null_means if column.nullable else "never empty",
            "allowed": ", ".join(column.allowed),
            "key": "yes" if column.name in table.key else "",
        }
        for column in table.columns
    ]
