"""Column lineage of the assets, from the parse trees of the SQL models; followed once per version of the models and kept in the lake.

A model may read what another one makes; in the end only columns of assets are named.
Belongs here: following columns through models. Does not belong here: parsing (engines.compiler).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sales_pipeline
from sales_pipeline.contracts.canonical import CANONICAL_TABLES
from sales_pipeline.contracts.model import Table
from sales_pipeline.contracts.raw import RAW_TABLES
from sales_pipeline.domain.identifiers import digest_bytes, digest_of
from sales_pipeline.lake.layout import Lake

if TYPE_CHECKING:
    from sqlglot import exp

Sources = dict[str, list[tuple[str, str]]]
"""Per output column, the (asset, column) pairs it is computed from."""
PACKAGE = Path(sales_pipeline.__file__).parent
CLEAN_MODELS = PACKAGE / "clean" / "sql"
FEATURE_MODELS = PACKAGE / "features" / "sql"
FEATURES = "features"


def canonical_lineage(lake: Lake) -> dict[str, Sources]:
    """Lineage of each canonical table that a SQL model makes, down to columns of raw tables and of other canonical tables."""

    def follow() -> dict[str, Sources]:
        models = read_models(CLEAN_MODELS)
        wanted = [name for name in CANONICAL_TABLES if name in models and not models[name].is_star]
        return chain(models, wanted, {**RAW_TABLES, **CANONICAL_TABLES})

    return _kept(lake, CLEAN_MODELS, follow)


def feature_lineage(lake: Lake) -> Sources:
    """Lineage of the wide feature table down to columns of canonical tables."""

    def follow() -> dict[str, Sources]:
        from sales_pipeline.features.catalogue import FEATURES as ALL
        from sales_pipeline.features.wide import wide

        models = read_models(FEATURE_MODELS) | {FEATURES: wide(ALL)}
        return chain(models, [FEATURES], CANONICAL_TABLES)

    return _kept(lake, FEATURE_MODELS, follow)[FEATURES]


def read_models(folder: Path) -> dict[str, "exp.Query"]:
    """The models of a package by name."""
    from sales_pipeline.engines.compiler import parse_model

    return {path.stem: parse_model(path) for path in sorted(folder.glob("*.sql"))}


def reads(tree: "exp.Query") -> set[str]:
    """The tables a model reads, its own subqueries not among them."""
    from sqlglot import exp

    own = {part.alias for part in tree.find_all(exp.CTE)}
    return {table.name for table in tree.find_all(exp.Table)} - own


def chain(models: Mapping[str, "exp.Query"], wanted: Iterable[str], assets: Mapping[str, Table]) -> dict[str, Sources]:
    """Lineage of the models wanted down to columns of assets, through the models between them.

    What a model reads that is neither an asset nor a model (a small table of the mapping) has no columns to name.
    """
    from sales_pipeline.engines.compiler import column_lineage

    schema = {name: list(table.column_names) for name, table in assets.items()}
    found: dict[str, Sources] = {}

    def follow(name: str) -> None:
        for source in sorted(reads(models[name])):
            if source in models and source not in assets and source not in found:
                follow(source)
        direct = column_lineage(models[name], schema)
        found[name] = {
            column: sorted(
                {pair for source in sources for pair in _resolved(source.table, source.column, assets, found)}
            )
            for column, sources in direct.items()
        }
        if name not in assets:
            schema[name] = list(direct)

    names = list(wanted)
    for name in names:
        follow(name)
    return {name: found[name] for name in names}


def _resolved(
    table: str, column: str, assets: Mapping[str, Table], found: Mapping[str, Sources]
) -> Iterator[tuple[str, str]]:
    if table in assets:
        yield table, column
    elif table in found:
        yield from found[table].get(column, [])


def _kept(lake: Lake, folder: Path, follow: Callable[[], dict[str, Sources]]) -> dict[str, Sources]:
    texts = {path.name: digest_bytes(path.read_bytes()) for path in sorted(folder.glob("*.sql"))}

    def build(_: Path) -> dict[str, Any]:
        return follow()

    _, facts = lake.step(
        "lineage", digest_of(folder.parent.name, texts, digest_bytes(Path(__file__).read_bytes())), build
    )
    return {
        name: {column: [(asset, source) for asset, source in pairs] for column, pairs in sources.items()}
        for name, sources in facts.items()
    }
