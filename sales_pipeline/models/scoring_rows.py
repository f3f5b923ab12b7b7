"""The rows a bundle is applied to, joined by the engine: a spine with the features and attributes a model looks at, as one table of any size.

Belongs here: that join, and what of a model's columns this data set holds. Does not belong here: what becomes of the rows (`predict`), and matrices
of tables that fit in memory (`matrix`).
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from sales_pipeline.engines.base import Cut, Engine
from sales_pipeline.lake.tables import TableRef, read_schema
from sales_pipeline.models.matrix import (
    ATTRIBUTE_PREFIX,
    FEATURES_BY_NAME,
    VALUE_PREFIX,
    FeatureTables,
    SourceColumn,
    attribute_column,
    catalogue_column,
)

CUT = Cut("opportunity_id", ("spine", "features", "attributes"))
"""All of a row's values are its opportunity's."""
SPINE_COLUMNS = (
    "opportunity_id",
    "as_of",
    "kind",
    "account_id",
    "owner_id",
    "product_id",
    "stage",
    "currency",
    "amount",
    "crm_close_date",
    "crm_probability",
    "created_at",
)
"""What a matrix's keys are made of."""


def found_columns(features: FeatureTables, wanted: Sequence[str], engine: Engine) -> tuple[SourceColumn, ...]:
    """Of the named features and attributes those this data set holds, as they are in it: an attribute's type is found anew in every export."""
    names = set(read_schema(features.features).names)
    found = [catalogue_column(name) for name in wanted if name in FEATURES_BY_NAME and name in names]
    attributes = [name.removeprefix(ATTRIBUTE_PREFIX) for name in wanted if name.startswith(ATTRIBUTE_PREFIX)]
    if attributes:
        kinds = dict(
            zip(
                *engine.query(_kinds(attributes), {"attributes": features.attributes}).to_pydict().values(), strict=True
            )
        )
        columns = (attribute_column(name, kinds.get(name, "text")) for name in attributes)
        found.extend(column for column in columns if column is not None)
    return tuple(found)


def scoring_inputs(features: FeatureTables) -> dict[str, TableRef]:
    """The tables `joined` reads."""
    return {"spine": features.spine, "features": features.features, "attributes": features.attributes}


def joined(columns: Sequence[SourceColumn]) -> exp.Select:
    """One row per spine row, in no order: `SPINE_COLUMNS`, and `columns` under their names prefixed with `VALUE_PREFIX`; over `scoring_inputs`."""
    of_features = [column for column in columns if not column.name.startswith(ATTRIBUTE_PREFIX)]
    of_attributes = [column for column in columns if column.name.startswith(ATTRIBUTE_PREFIX)]
    tree = exp.select(
        *(_column(name, "spine") for name in SPINE_COLUMNS),
        *(exp.alias_(_column(c.name, "features"), VALUE_PREFIX + c.name, quoted=True) for c in of_features),
        *(_column(VALUE_PREFIX + c.name, "pivoted") for c in of_attributes),
    ).from_("spine")
    same_row = exp.and_(*(_column(key, "features").eq(_column(key, "spine")) for key in ("opportunity_id", "as_of")))
    tree = tree.join("features", on=same_row)
    if not of_attributes:
        return tree
    on = _column("opportunity_id", "pivoted").eq(_column("opportunity_id", "spine"))
    return tree.join(_pivoted(of_attributes).subquery("pivoted"), on=on, join_type="left")


def _pivoted(columns: Sequence[SourceColumn]) -> exp.Select:
    """One row per opportunity with an attribute, one column per attribute."""

    def value(column: SourceColumn) -> exp.Expr:
        is_it = exp.column("attribute").eq(exp.Literal.string(column.name.removeprefix(ATTRIBUTE_PREFIX)))
        held = exp.column("text_value" if column.kind == "category" else "number_value")
        return exp.alias_(exp.Max(this=exp.Case().when(is_it, held)), VALUE_PREFIX + column.name, quoted=True)

    names = [exp.Literal.string(column.name.removeprefix(ATTRIBUTE_PREFIX)) for column in columns]
    return (
        exp.select("opportunity_id", *(value(column) for column in columns))
        .from_("attributes")
        .where(exp.column("attribute").isin(*names))
        .group_by("opportunity_id")
    )


def _kinds(attributes: Sequence[str]) -> exp.Select:
    """The kind of each attribute; it is one over the whole column."""
    names = [exp.Literal.string(name) for name in attributes]
    return (
        exp.select("attribute", exp.alias_(exp.Min(this=exp.column("kind")), "kind"))
        .from_("attributes")
        .where(exp.column("attribute").isin(*names))
        .group_by("attribute")
    )


def _column(name: str, table: str) -> exp.Column:
    return exp.column(name, table=table, quoted=True)
