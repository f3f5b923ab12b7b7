"""Every SQL model over empty tables of the contracts, so that an engine can be asked for its plan: shapes, not seconds."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from sqlglot import exp

import sales_pipeline
from sales_pipeline.contracts import canonical, forecast, internal, management, published, raw
from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.contracts.model import Table
from sales_pipeline.engines.base import Engine
from sales_pipeline.engines.compiler import Scalar, parse_model
from sales_pipeline.features.catalogue import FEATURE_TABLE, FEATURES
from sales_pipeline.features.sql_models import with_model
from sales_pipeline.features.wide import wide

PACKAGE = Path(sales_pipeline.__file__).parent
INSTANT = pa.timestamp("us", tz="UTC")


def _declared() -> dict[str, Table]:
    found: dict[str, Table] = {}
    for module in (raw, canonical, internal, published, management, forecast):
        for value in vars(module).values():
            for table in value.values() if isinstance(value, Mapping) else [value]:
                if isinstance(table, Table):
                    found[table.name] = table
    return {**found, "features": FEATURE_TABLE}


TABLES: dict[str, Table] = _declared()
PARAMETERS: dict[str, Scalar] = {
    "id_style": "text", "date_order": "ymd", "decimal_sign": ".", "zone": "UTC", "kind": "opportunity", "mode": "grid", "counted_kind": "opportunity",
    "currency": "EUR", "source_system": "crm", "run_id": "r", "field": "stage",
}  # fmt: skip
"""Texts that choose branches; every other parameter is an instant, a number or a flag by its name."""


def _schema(**columns: pa.DataType) -> pa.Schema:
    return pa.schema(list(columns.items()))


_TEXT = pa.string()
SMALL: dict[str, pa.Schema] = {
    "synonyms": _schema(attribute=_TEXT, found=_TEXT, value=_TEXT),
    "spellings": _schema(field=_TEXT, found=_TEXT, value=_TEXT),
    "attribute_kinds": _schema(attribute=_TEXT, kind=_TEXT),
    "attribute_spellings": _schema(attribute=_TEXT, found=_TEXT, spelling=_TEXT),
    "stage_map": _schema(key=_TEXT, state=_TEXT, label=_TEXT),
    "outcome_map": _schema(key=_TEXT, state=_TEXT),
    "sightings": _schema(source_file=_TEXT, exported_at=INSTANT),
    "full_extracts": _schema(exported_at=INSTANT),
    "files": _schema(source_file=_TEXT, file=_TEXT),
    "grid": _schema(as_of=INSTANT),
    "chosen": _schema(opportunity_id=_TEXT),
    "open_opportunities": _schema(opportunity_id=_TEXT, account_id=_TEXT, contact_id=_TEXT),
    "quota_periods": _schema(owner_id=_TEXT, period_start=pa.date32()),
}  # fmt: skip
"""Inputs a step gives from memory, or as a part of the tree."""
SAME_AS = {"later_activities": "activities", "ingest_ledger": "row_ledger", "verdicts": "row_verdicts", "previous_queue": "follow_up_queue", "week_starts": "spine", "raw": "raw_opportunities"}  # fmt: skip
"""Inputs that are a table of another name."""

READ_AS = {("pipedrive_opportunities", "field_history"): "raw_field_history"}
"""Inputs that have another meaning in one model."""


def model_paths() -> dict[str, Path]:
    """Every model by its name."""
    return {path.stem: path for path in sorted(PACKAGE.rglob("sql/*.sql"))}


@functools.cache
def tree_of(name: str) -> exp.Query:
    """A model's tree as it runs over all opportunities; `features` is the join of all families."""
    if name == "features":
        return wide(FEATURES)
    tree = parse_model(model_paths()[name])
    return with_model(tree, "states") if name == "timeline" else tree


def read_tables(tree: exp.Query) -> list[str]:
    """The tables a model reads, without its own common table expressions."""
    own = {expression.alias for expression in tree.find_all(exp.CTE)}
    return sorted({table.name for table in tree.find_all(exp.Table)} - own)


def parameters_of(tree: exp.Query) -> dict[str, Scalar]:
    """A value of the right kind for every parameter of a model."""
    return {name: _value(name) for name in {str(hole.this) for hole in tree.find_all(exp.Placeholder)}}


def _value(name: str) -> Scalar:
    if name in PARAMETERS:
        return PARAMETERS[name]
    if name.endswith(("_from", "_before")) or name in ("as_of", "first", "newest", "previous", "since"):
        month = 2 if name.endswith("_from") or name in ("first", "previous", "since") else 3
        return datetime(2026, month, 1, tzinfo=UTC)
    if name.startswith(("is_", "has_", "snapshots_", "stages_", "compares_")) or name.endswith("_is_versioned"):
        return True
    return 5


class EmptyWorld:
    """Empty tables at rest for the models of one engine: those of contracts as declared, those models make as the models make them."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self._engine = engine
        self._folder = folder
        self._known: dict[str, Path] = {}

    def table(self, name: str) -> Path:
        """The Parquet file of a table of that name."""
        if name not in self._known:
            path = self._folder / f"{name}.parquet"
            pq.write_table(self._content(name), path)
            self._known[name] = path
        return self._known[name]

    def parameters(self, name: str) -> dict[str, Scalar]:
        """A value for every parameter of a model."""
        return parameters_of(tree_of(name))

    def _content(self, name: str) -> pa.Table:
        if name in SMALL:
            return self._rows(name, SMALL[name])
        if name in SAME_AS:
            return pq.read_table(self.table(SAME_AS[name]))
        if name in TABLES:
            return self._rows(name, arrow_schema(TABLES[name]))
        return self._engine.query(tree_of(name), self.inputs(name), parameters=self.parameters(name))

    def _rows(self, name: str, schema: pa.Schema) -> pa.Table:
        """The rows of a table that no model makes: none."""
        return schema.empty_table()

    def inputs(self, name: str) -> dict[str, Path]:
        """What a model reads."""
        return {read: self.table(READ_AS.get((name, read), read)) for read in read_tables(tree_of(name))}


def operators(plan: Any) -> Iterator[dict[str, Any]]:
    """Every operator of a DuckDB plan in JSON, from the top down."""
    for node in plan if isinstance(plan, list) else [plan]:
        yield node
        yield from operators(node.get("children", []))


def slow_joins(plan: Any) -> list[str]:
    """The joins of a DuckDB plan that meet every row with every other: those without an equality, but not a product with a single row."""
    tables = {
        node["extra_info"]["Table Index"]: node["children"][0] for node in operators(plan) if node["name"] == "CTE"
    }

    def is_single_row(node: dict[str, Any]) -> bool:
        if node["name"] == "CTE_SCAN":
            return is_single_row(tables[node["extra_info"]["CTE Index"]])
        if node["name"] == "COLUMN_DATA_SCAN":
            return bool(node["extra_info"].get("Estimated Cardinality") == "1")
        if node["name"] in ("PROJECTION", "FILTER"):
            return is_single_row(node["children"][0])
        if node["name"] == "CROSS_PRODUCT":
            return all(is_single_row(child) for child in node["children"])
        return bool(node["name"] == "UNGROUPED_AGGREGATE")

    found: list[str] = []
    for node in operators(plan):
        if "JOIN" not in node["name"] and node["name"] != "CROSS_PRODUCT":
            continue
        is_product = node["name"] == "CROSS_PRODUCT" and any(is_single_row(child) for child in node["children"])
        if node["name"] != "HASH_JOIN" and not is_product:
            found.append(node["name"])
    return sorted(found)


def pushed(plan: Any) -> set[str]:
    """The columns of base tables that a DuckDB plan filters while it reads them."""
    told = [_texts(node, "Filters") for node in operators(plan) if node["name"] == "READ_PARQUET"]
    return {
        word for texts in told for text in texts for word in re.findall(r"[a-z_0-9]+", re.sub(r"'[^']*'", "", text))
    }


def _texts(node: dict[str, Any], name: str) -> list[str]:
    found = node["extra_info"].get(name, [])
    return found if isinstance(found, list) else [found]


def late_filters(plan: Any) -> list[str]:
    """Filters right above the scan of a file that compare one of its columns with a constant: the scan could have done it."""
    found: list[str] = []
    for node in operators(plan):
        below = node["children"][0]["name"] if node["children"] else ""
        if node["name"] == "FILTER" and below == "READ_PARQUET":
            found += [text for text in _texts(node, "Expression") if _COMPARISON.fullmatch(text)]
    return found


_COMPARISON = re.compile(r"\(*(NOT )?\(*[a-z_]+( (=|<|<=|>|>=|!=) ('[^']*'(::[A-Z ]+)?|[0-9.]+)| IS NULL)?\)*")
