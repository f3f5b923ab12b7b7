"""Every feature: its name (the column), family (the SQL model), type, unit, meaning, what it needs, and how a reason words it.

Belongs here: all features together, and what follows from the declaration alone (the wide table's contract). Does not belong here: their
computation (`sql/`), when they are absent in a data set (`availability`), and whether they may be used (`leaks`).
"""

from __future__ import annotations

from sales_pipeline.contracts.model import Column, Table, Type
from sales_pipeline.features.catalogue_engagement import ENGAGEMENT
from sales_pipeline.features.catalogue_opportunity import PLANNED, SEASON, STATE, STATIC
from sales_pipeline.features.catalogue_records import ACCOUNT_FACTS, ACCOUNT_RECORD, OWNER_RECORD, PRODUCT
from sales_pipeline.features.feature import Feature

FEATURES: tuple[Feature, ...] = (
    *STATE,
    *ENGAGEMENT,
    *PLANNED,
    *OWNER_RECORD,
    *ACCOUNT_RECORD,
    *PRODUCT,
    *SEASON,
    *ACCOUNT_FACTS,
    *STATIC,
)
"""In order of the families; names are unique."""

FAMILIES: tuple[str, ...] = tuple(dict.fromkeys(feature.family for feature in FEATURES))
"""Each is one SQL model `sql/<family>.sql` with one row per spine row."""

_COLUMN_TYPES: dict[str, Type] = {"number": "float64", "category": "string", "boolean": "boolean"}

FEATURE_TABLE = Table(
    "features",
    "one row per spine row: every feature of the catalogue, as known strictly before the as-of",
    ("opportunity_id", "as_of"),
    (
        Column("opportunity_id", "string", "opportunity", required=True),
        Column("as_of", "timestamp", "the instant the row holds for", unit="UTC", required=True),
        *(
            Column(
                feature.name,
                _COLUMN_TYPES[feature.type],
                feature.meaning,
                unit=feature.unit,
                null_means=feature.missing_text or "the feature is absent in this data set",
            )
            for feature in FEATURES
        ),
    ),
)
"""The wide table; an absent feature is a column of NULLs."""
