"""Custom columns: from text to typed attributes, the type found over the whole column.

Belongs here: the order of the two models (what is in a column; its values). Does not belong here: whether an attribute may be used by a
model (features).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sales_pipeline.clean.params import CleanParams
from sales_pipeline.clean.vocabulary import SQL
from sales_pipeline.contracts.canonical import OPPORTUNITY_ATTRIBUTES
from sales_pipeline.engines.base import Engine, Source
from sales_pipeline.engines.compiler import Scalar
from sales_pipeline.ingest.params import SourceMapping
from sales_pipeline.lake.tables import TableRef


def write_attributes(
    raw: Source,
    opportunities: Source,
    mapping: SourceMapping,
    params: CleanParams,
    parameters: Mapping[str, Scalar],
    engine: Engine,
    output: Path,
    work: Path,
) -> TableRef:
    """OPPORTUNITY_ATTRIBUTES of the records that `opportunities` kept; `work` takes the intermediate table."""
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
    values = engine.run(
        SQL / "attribute_values.sql",
        {"raw_opportunity_attributes": raw, "opportunities": opportunities, "synonyms": synonyms},
        work / "attribute_values.parquet",
        parameters=bound,
    )
    return engine.run(
        SQL / "opportunity_attributes.sql",
        {"attribute_values": values},
        output,
        contract=OPPORTUNITY_ATTRIBUTES,
        parameters=bound,
    )
