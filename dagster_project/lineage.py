"""Column lineage of the assets, from the parse trees of the SQL models.

A model may read what an earlier one made; only columns of assets are named in the end.
Belongs here: following columns through a chain of models. Does not belong here: parsing (engines.compiler).
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import sales_pipeline
from sales_pipeline.contracts.canonical import CANONICAL_TABLES
from sales_pipeline.contracts.model import Table
from sales_pipeline.contracts.raw import RAW_TABLES

if TYPE_CHECKING:
    from sqlglot import exp

Sources = dict[str, tuple[tuple[str, str], ...]]
"""Per output column, the (asset, column) pairs it is computed from."""
PACKAGE = Path(sales_pipeline.__file__).parent


def chain(models: Mapping[str, "exp.Query"], assets: Mapping[str, Table]) -> dict[str, Sources]:
    """Lineage of each model, in the order given, down to columns of assets; a model may read assets and earlier models."""
    from sales_pipeline.engines.compiler import column_lineage

    schema = {name: list(table.column_names) for name, table in assets.items()}
    found: dict[str, Sources] = {}
    for name, tree in models.items():
        direct = column_lineage(tree, schema)
        found[name] = {
            column: tuple(
                sorted(
                    {
                        pair
                        for source in sources
                        for pair in (
                            found[source.table].get(source.column, ())
                            if source.table in found
                            else [(source.table, source.column)]
                            if source.table in assets
                            else []
                        )
                    }
                )
            )
            for column, sources in direct.items()
        }
        schema[name] = list(direct)
    return found


def read_models(folder: Path, names: tuple[str, ...]) -> dict[str, "exp.Query"]:
    """The models of a package by name."""
    from sales_pipeline.engines.compiler import parse_model

    return {name: parse_model(folder / f"{name}.sql") for name in names}


@cache
def canonical_lineage(table: str) -> Sources:
    """Lineage of a canonical table down to columns of raw tables."""
    return {}


@cache
def feature_lineage() -> Sources:
    """Lineage of the wide feature table down to columns of canonical tables."""
    from sales_pipeline.features import build
    from sales_pipeline.features.catalogue import FAMILIES, FEATURES

    models = read_models(
        PACKAGE / "features" / "sql",
        ("timeline", "current_facts", "closings", "open_spans", "spine", "overall_record", *FAMILIES),
    )
    models["features"] = build.wide(list(FEATURES), list(FAMILIES))
    return chain(models, CANONICAL_TABLES)["features"]
