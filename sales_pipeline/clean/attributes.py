"""Custom columns: from text to typed attributes, the type found over the whole column, and how their values changed.

Belongs here: the order of the models (what is in a column; its values; its changes). Does not belong here: whether an attribute may be used by a
model (features).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from sales_pipeline.clean.columns import Column, columns_of, kind_table, spelling_table, with_texts
from sales_pipeline.clean.vocabulary import SQL
from sales_pipeline.contracts.canonical import ATTRIBUTE_CHANGES, OPPORTUNITY_ATTRIBUTES
from sales_pipeline.engines.base import Engine, Source
from sales_pipeline.engines.compiler import Scalar
from sales_pipeline.ingest.params import SourceMapping
from sales_pipeline.lake.tables import TableRef

_INSTANT = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True)
class Seen:
    """What the exports show of unmapped columns, whatever their values.

    `exports`: by column and export instant that holds it, whether any text stands in it. `recorded`: by column that a history export versions,
    the first change.
    """

    exports: dict[tuple[str, datetime], bool] = field(default_factory=dict)
    recorded: dict[str, datetime] = field(default_factory=dict)

    def with_(self, other: Seen) -> Seen:
        """What two sets of records show together."""
        exports = {**self.exports}
        for key, is_filled in other.exports.items():
            exports[key] = is_filled or exports.get(key, False)
        recorded = {**self.recorded}
        for name, at in other.recorded.items():
            recorded[name] = min(at, recorded.get(name, at))
        return Seen(exports, recorded)

    def to_json(self) -> dict[str, Any]:
        """As JSON-able data."""
        return {
            "exports": [[name, at.isoformat(), filled] for (name, at), filled in sorted(self.exports.items())],
            "recorded": {name: at.isoformat() for name, at in sorted(self.recorded.items())},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Seen:
        """The inverse of `to_json`."""
        return cls(
            {(name, datetime.fromisoformat(at)): filled for name, at, filled in data["exports"]},
            {name: datetime.fromisoformat(at) for name, at in data["recorded"].items()},
        )

    def tables(self) -> dict[str, pa.Table]:
        """As inputs of the models."""
        keys = sorted(self.exports)
        names = sorted(self.recorded)
        return {
            "attribute_sightings": pa.table(
                {
                    "attribute": pa.array([name for name, _ in keys], pa.string()),
                    "exported_at": pa.array([at for _, at in keys], _INSTANT),
                    "is_filled": pa.array([self.exports[key] for key in keys], pa.bool_()),
                }
            ),
            "attribute_records": pa.table(
                {
                    "attribute": pa.array(names, pa.string()),
                    "tracked_from": pa.array([self.recorded[name] for name in names], _INSTANT),
                }
            ),
        }


def write_attribute_changes(
    inputs: Mapping[str, Source], parameters: Mapping[str, Scalar], engine: Engine, output: Path, elsewhere: Seen
) -> tuple[TableRef, Seen, pa.Table]:
    """ATTRIBUTE_CHANGES, what these inputs show, and the columns whose changes are known with the instant from which on (attribute, tracked_from).

    `inputs` hold raw_opportunity_attributes, staged_opportunities and staged_field_history; `elsewhere` is what records outside them show.
    """
    looks = engine.hold(SQL / "attribute_looks.sql", inputs, parameters=parameters)
    known: dict[str, Source] = {**inputs, "attribute_looks": looks}
    sightings = engine.query(SQL / "attribute_sightings.sql", known, parameters=parameters).to_pylist()
    records = engine.query(SQL / "attribute_records.sql", known, parameters=parameters).to_pylist()
    seen = Seen(
        {(row["attribute"], row["exported_at"]): row["is_filled"] for row in sightings},
        {row["attribute"]: row["tracked_from"] for row in records},
    )
    known |= elsewhere.with_(seen).tables()
    tracking = engine.query(SQL / "attribute_tracking.sql", known)
    known["attribute_tracking"] = tracking
    changes = engine.run(
        SQL / "attribute_changes.sql", known, output, contract=ATTRIBUTE_CHANGES, parameters=parameters
    )
    engine.release(looks)
    return changes, seen, tracking


def write_attributes(
    inputs: Mapping[str, Source],
    tracking: Source,
    mapping: SourceMapping,
    parameters: Mapping[str, Scalar],
    engine: Engine,
    output: Path,
    decide: Callable[[Mapping[str, Column]], dict[str, str]],
    whole: Callable[[Mapping[str, Column]], Mapping[str, Column]],
) -> tuple[TableRef, dict[str, Column]]:
    """OPPORTUNITY_ATTRIBUTES, and figures of their columns.

    `inputs` hold raw_opportunity_attributes and the opportunities whose records count; `tracking` names the columns whose changes are known (attribute,
    tracked_from); `decide` gives the type of each column by its figures, `whole` the figures of all cells where these are but a part.
    """
    rows = [
        (column, found, value)
        for column, pairs in sorted(mapping.synonyms.items())
        for found, value in sorted(pairs.items())
    ]
    names = ("attribute", "found", "value")
    synonyms = pa.table({name: pa.array([row[i] for row in rows], pa.string()) for i, name in enumerate(names)})
    values = engine.hold(
        SQL / "attribute_values.sql",
        {**{name: inputs[name] for name in ("raw_opportunity_attributes", "opportunities")}, "synonyms": synonyms},
        parameters=parameters,
    )
    figures = columns_of(values, engine)
    kinds = kind_table(decide(figures))
    columns = with_texts(figures, values, kinds, engine)
    known: dict[str, Source] = {
        "attribute_values": values,
        "attribute_kinds": kinds,
        "attribute_spellings": spelling_table(whole(columns)),
        "attribute_tracking": tracking,
    }
    written = engine.run(
        SQL / "opportunity_attributes.sql", known, output, contract=OPPORTUNITY_ATTRIBUTES, parameters=parameters
    )
    engine.release(values)
    return written, columns
