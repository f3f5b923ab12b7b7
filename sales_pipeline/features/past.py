"""What a feature set would have been at an earlier instant, without building it again.

A landmark row sees only what was known strictly before its as-of, so the training set of an earlier instant is the rows before it, and the scoring set of
a landmark instant is the rows at it. What the CRM shows only as last seen (attributes, account facts) is that of the later export in both: the
leak ledger decides on it. Outcomes that came at or after the instant are taken back.

Belongs here: cutting a feature set by time. Does not belong here: building one (`build`).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sales_pipeline.contracts.internal import OUTCOMES, SPINE
from sales_pipeline.domain.identifiers import digest_of
from sales_pipeline.domain.time import AsOf
from sales_pipeline.features.build import FeatureSet
from sales_pipeline.features.catalogue import FEATURE_TABLE
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.tables import TableRef, read_table, table_ref, write_table

_KEY = [("opportunity_id", "ascending"), ("as_of", "ascending")]


def known_before(lake: Lake, features: FeatureSet, as_of: AsOf) -> FeatureSet:
    """The training set as of an earlier instant: landmarks before it, outcomes known strictly before it. ValueError for a later instant."""
    if not as_of <= features.as_of:
        raise ValueError(f"{as_of.isoformat()} is after the features' own as-of, {features.as_of.isoformat()}")
    return _cut(lake, features, as_of, "training", pc.less)


def open_at(lake: Lake, features: FeatureSet, as_of: AsOf) -> FeatureSet:
    """The scoring set of a landmark instant: the rows at it, outcomes known strictly before it."""
    return _cut(lake, features, as_of, "scoring", pc.equal)


def _cut(lake: Lake, features: FeatureSet, as_of: AsOf, purpose: Any, keeps: Any) -> FeatureSet:
    key = digest_of("cut", features.key, purpose, as_of.isoformat())
    instant = pa.scalar(as_of.instant, pa.timestamp("us", tz="UTC"))

    def make(folder: Path) -> dict[str, Any]:
        spine, wide = read_table(features.spine), read_table(features.features)
        spine = spine.filter(keeps(spine.column("as_of"), instant))
        if purpose == "scoring":
            spine = spine.set_column(
                spine.column_names.index("is_landmark"), "is_landmark", pa.repeat(False, spine.num_rows)
            )
        refs = (
            write_table(spine, folder / "spine.parquet", SPINE),
            write_table(wide.filter(keeps(wide.column("as_of"), instant)), folder / "features.parquet", FEATURE_TABLE),
            write_table(_known(read_table(features.outcomes), instant), folder / "outcomes.parquet", OUTCOMES),
        )
        return {ref.name: ref.rows for ref in refs}

    folder, _ = lake.step("features", key, make)

    def ref(name: str) -> TableRef:
        return table_ref(name, folder / f"{name}.parquet")

    return replace(
        features,
        key=key,
        as_of=as_of,
        purpose=purpose,
        spine=ref("spine"),
        features=ref("features"),
        outcomes=ref("outcomes"),
    )


def _known(outcomes: pa.Table, instant: pa.Scalar) -> pa.Table:
    """Outcomes as known strictly before the instant, of opportunities created before it (or at an unknown instant)."""
    created = outcomes.column("created_at")
    outcomes = outcomes.filter(pc.or_kleene(pc.is_null(created), pc.less(created, instant)))
    later = pc.fill_null(pc.greater_equal(outcomes.column("closed_at"), instant), False)
    for name in ("is_won", "closed_at", "won_amount"):
        column = outcomes.column(name)
        outcomes = outcomes.set_column(
            outcomes.column_names.index(name), name, pc.if_else(later, pa.scalar(None, column.type), column)
        )
    return outcomes
