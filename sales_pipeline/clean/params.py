"""Parameters of cleaning. Belongs here: what a user may set. Does not belong here: what the mapping says about a source."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class CleanParams(BaseModel):
    """Limits and thresholds of cleaning; shares are 0–1.

    Parameters
    ----------
    max_quarantined_share
        Share of quarantined records of the opportunities above which a run is published with exit code 3.
    max_absent_share
        Share of the opportunities of the last full extract that may be absent from the newest one; above it the publish is blocked.
    max_unknown_stage_share
        Share of opportunities with an unknown stage above which the run stops and names the stages to map.
    min_versioned_share
        Where no history export exists: share of opportunities that must have appeared after the first export before comparing exports
        counts as history.
    identifier_distinct_share, identifier_min_rows
        An attribute with more rows and a greater share of distinct values is an identifier.
    text_min_levels, text_min_length
        An attribute with more distinct values, or with values longer than this on average, is free text.
    validation_batch_rows
        Rows per batch that Great Expectations sees, so that its memory stays bounded.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_quarantined_share: float = Field(0.02, ge=0, le=1)
    max_absent_share: float = Field(0.2, ge=0, le=1)
    max_unknown_stage_share: float = Field(0.5, ge=0, le=1)
    min_versioned_share: float = Field(0.5, ge=0, le=1)
    identifier_distinct_share: float = Field(0.9, ge=0, le=1)
    identifier_min_rows: int = Field(50, ge=1)
    text_min_levels: int = Field(200, ge=2)
    text_min_length: int = Field(60, ge=2)
    validation_batch_rows: int = Field(250_000, ge=1_000)
