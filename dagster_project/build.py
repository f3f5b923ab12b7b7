"""Dagster's declarations derived from the contracts: asset specs, column schemas, check specs, metadata, lineage.

Belongs here: pure derivations. Does not belong here: the assets themselves (`assets/`) or how a check is run (library).
"""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from sales_pipeline.contracts.model import Table

if TYPE_CHECKING:
    from sales_pipeline.lake.tables import TableRef

REFS = "refs"
"""The key of the IO manager every asset uses."""


def column_schema(table: Table) -> dg.TableSchema:
    """A contract as Dagster shows it: types, descriptions with unit and the meaning of NULL, constraints."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=column.name,
                type=column.type,
                description=column.meaning
                + (f" [{column.unit}]" if column.unit else "")
                + (f"; NULL: {column.null_means}" if column.nullable else ""),
                constraints=dg.TableColumnConstraints(nullable=column.nullable, unique=table.key == (column.name,)),
            )
            for column in table.columns
        ]
    )


def table_spec(
    table: Table,
    *,
    group: str,
    days: dg.PartitionsDefinition,
    deps: Iterable[str] = (),
    kinds: Iterable[str] = ("parquet",),
) -> dg.AssetSpec:
    """The asset of a table: its key is the table's name, its description the grain and the key."""
    return asset_spec(
        table.name,
        f"{table.grain[0].upper()}{table.grain[1:]}. Key: {', '.join(table.key)}.",
        group=group,
        days=days,
        deps=deps,
        kinds=kinds,
        metadata={"dagster/column_schema": column_schema(table)},
    )


def asset_spec(
    name: str,
    description: str,
    *,
    group: str,
    days: dg.PartitionsDefinition,
    deps: Iterable[str] = (),
    kinds: Iterable[str] = (),
    metadata: Mapping[str, Any] | None = None,
) -> dg.AssetSpec:
    """An asset of one day, handed over by reference."""
    return dg.AssetSpec(
        name,
        description=description,
        group_name=group,
        partitions_def=days,
        deps=list(deps),
        kinds=set(kinds),
        metadata=dict(metadata or {}),
    ).with_io_manager_key(REFS)


def check_specs(
    table: str, names: Iterable[str], *, days: dg.PartitionsDefinition, descriptions: Mapping[str, str] | None = None
) -> list[dg.AssetCheckSpec]:
    """Blocking check specs of an asset, one per name; a result of severity WARN does not block.

    They carry the partition, so that a backfill of an old day leaves today's verdict alone.
    """
    with warnings.catch_warnings():
        # Partitioned checks are a preview feature of Dagster 1.13; without them a backfill overwrites today's verdict.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return [
            dg.AssetCheckSpec(
                name, asset=table, description=(descriptions or {}).get(name), blocking=True, partitions_def=days
            )
            for name in names
        ]


def expectation_descriptions(table: Table) -> dict[str, str]:
    """What each check that follows from a contract says, in words."""
    from sales_pipeline.contracts.derive import expectations

    words = {}
    for check in expectations(table):
        arguments = {name: value for name, value in check.arguments.items() if value is not None}
        subject = arguments.pop("column", None) or ", ".join(arguments.pop("column_list", []))
        detail = "; ".join(f"{name.replace('_', ' ')} {value}" for name, value in arguments.items())
        words[check.name] = f"{subject}: {check.kind.replace('expect_', '').replace('_', ' ')}" + (
            f" ({detail})" if detail else ""
        )
    return words


def table_metadata(ref: "TableRef") -> dict[str, Any]:
    """What is shown of a table that was written: rows, path, digest."""
    return {
        "dagster/row_count": ref.rows,
        "dagster/uri": Path(ref.path).resolve().as_uri(),
        "sha256": ref.sha256,
    }


def column_lineage(sources: Mapping[str, Iterable[tuple[str, str]]]) -> dg.TableColumnLineage:
    """Column lineage from, per output column, the (asset, column) pairs it is computed from."""
    return dg.TableColumnLineage(
        deps_by_column={
            column: [dg.TableColumnDep(asset_key=asset, column_name=name) for asset, name in pairs]
            for column, pairs in sources.items()
        }
    )


def markdown_table(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, limit: int = 200
) -> dg.MarkdownMetadataValue:
    """Rows as a Markdown table; what is left out beyond `limit` is said below it."""
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(_cell(row.get(column)) for column in columns) + " |" for row in rows[:limit]]
    if len(rows) > limit:
        lines.append(f"\n{len(rows) - limit} more rows in the table itself.")
    return dg.MetadataValue.md("\n".join(lines))


def figures_metadata(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Figures as metadata: numbers and text as they are, the rest as JSON."""
    shown: dict[str, Any] = {}
    for name, value in figures.items():
        if isinstance(value, bool | int | float | str):
            shown[name] = value
        elif value is not None:
            shown[name] = dg.MetadataValue.json(_plain(value))
    return shown


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return value if isinstance(value, bool | int | float | str) or value is None else str(value)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")
