"""Custom columns: from text to typed attributes, the type found over the whole column, and how their values changed.

Belongs here: the order of the models (what is in a column; its values; its changes). Does not belong here: whether an attribute may be used by a
model (features).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sales_pipeline.clean.params import CleanParams
from sales_pipeline.clean.vocabulary import SQL
from sales_pipeline.contracts.canonical import ATTRIBUTE_CHANGES, OPPORTUNITY_ATTRIBUTES
from sales_pipeline.engines.base import Engine, Source, WorkTable
from sales_pipeline.engines.compiler import Scalar
from sales_pipeline.ingest.params import SourceMapping
from sales_pipeline.lake.tables import TableRef


def write_attribute_changes(
    inputs: Mapping[str, Source],
    parameters: Mapping[str, Scalar],
    engine: Engine,
    output: Path,
    *,
    compares_exports: bool,
) -> tuple[TableRef, WorkTable]:
    """ATTRIBUTE_CHANGES, and the columns whose changes are known with the instant from which on (attribute, tracked_from); the caller releases it.

    `inputs` hold raw_opportunity_attributes, staged_opportunities and staged_field_history. `compares_exports`: at least two exports hold opportunities.
    """
    bound = {**parameters, "compares_exports": compares_exports}
    looks = engine.hold(SQL / "attribute_looks.sql", inputs, parameters=bound)
    known = {**inputs, "attribute_looks": looks}
    tracking = engine.hold(SQL / "attribute_tracking.sql", known, parameters=bound)
    known["attribute_tracking"] = tracking
    changes = engine.run(
        SQL / "attribute_changes.sql", known, output, contract=ATTRIBUTE_CHANGES, parameters=parameters
    )
    engine.release(looks)
    return changes, tracking


def write_attributes(
    raw: Source,
    opportunities: Source,
    tracking: Source,
    mapping: SourceMapping,
    params: CleanParams,
    parameters: Mapping[str, Scalar],
    engine: Engine,
    output: Path,
) -> TableRef:
    """OPPORTUNITY_ATTRIBUTES of the records that `opportunities` kept; `tracking` names the columns whose changes are known
    (attribute, tracked_from)."""
    import pyarrow as pa

    rows = [
        (column, found, value)
        for column, pairs in sorted(mapping.synonyms.items())
        for found, value in sorted(pairs.items())
    ]
    synonyms = pa.table(
        {
            name: pa.array([row[i] for row in rows], pa.string())
            for i, name in enumerate(("attribute", "found", "value"))
        }
    )
    bound: dict[str, Scalar] = {
        **parameters,
        "identifier_share": params.identifier_distinct_share,
        "identifier_rows": params.identifier_min_rows,
        "text_levels": params.text_min_levels,
        "text_length": params.text_min_length,
    }
    values = engine.hold(
        SQL / "attribute_values.sql",
        {"raw_opportunity_attributes": raw, "opportunities": opportunities, "synonyms": synonyms},
        parameters=bound,
    )
    written = engine.run(
        SQL / "opportunity_attributes.sql",
        {"attribute_values": values, "attribute_tracking": tracking},
        output,
        contract=OPPORTUNITY_ATTRIBUTES,
        parameters=bound,
    )
    engine.release(values)
    return written
