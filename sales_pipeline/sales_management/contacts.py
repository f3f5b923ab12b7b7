"""When accounts and opportunities were last in touch, kept by part of the activities: what was done long ago is added up once, and read again only where its part has changed.

A part of whose rows none became known after an instant says the same at every later one. So of such parts the last contacts of each account and the last talk of
each opportunity are kept, under the digest of the part; of the others the rows themselves are read. A table of one file is a part like others.

Belongs here: which parts are which, and that step in the lake. Does not belong here: what is counted (`sql/account_contacts.sql`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sales_pipeline.contracts.canonical import ACTIVITIES
from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.domain.identifiers import digest_of
from sales_pipeline.engines.base import Engine, Source
from sales_pipeline.engines.compiler import parse_model
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.tables import TableRef, file_sha256

STAGE = "contacts"
LAST_CONTACTS, LAST_TALKS, LATER_ACTIVITIES = "last_contacts", "last_talks", "later_activities"
_SQL = Path(__file__).parent / "sql"
_INSTANT = pa.timestamp("us", tz="UTC")
_KEPT = {
    LAST_CONTACTS: pa.schema(
        [
            ("account_id", pa.string()),
            ("opportunity_id", pa.string()),
            ("last_inbound_at", _INSTANT),
            ("last_outbound_at", _INSTANT),
        ]
    ),
    LAST_TALKS: pa.schema(
        [
            ("opportunity_id", pa.string()),
            ("activity_id", pa.string()),
            ("occurred_at", _INSTANT),
            ("direction", pa.string()),
        ]
    ),
}
"""What is kept of a part: models and their columns; the first two are the order."""


def all_read(activities: Source) -> dict[str, Source]:
    """LAST_CONTACTS, LAST_TALKS and LATER_ACTIVITIES where nothing is kept: rows of all activities."""
    return {LATER_ACTIVITIES: activities} | {name: schema.empty_table() for name, schema in _KEPT.items()}


def kept_or_read(lake: Lake, activities: TableRef, since: datetime, engine: Engine) -> Mapping[str, Source]:
    """LAST_CONTACTS and LAST_TALKS of the parts all of whose rows were known before `since`, and LATER_ACTIVITIES: the rows of the others.

    `since` must not lie after the beginning of any window of single rows.
    """
    later = [file for file in activities.files if not _is_known_before(file, since)]
    kept = [_kept(lake, file, engine) for file in activities.files if file not in later]
    if not kept:
        return all_read(activities)
    rest: Source = later or arrow_schema(ACTIVITIES).empty_table()
    return {LATER_ACTIVITIES: rest} | {name: [folder / f"{name}.parquet" for folder in kept] for name in _KEPT}


def _kept(lake: Lake, part: Path, engine: Engine) -> Path:
    """The folder of what is kept of a part."""
    trees = {name: parse_model(_SQL / f"{name}.sql") for name in _KEPT}

    def make(folder: Path) -> dict[str, Any]:
        return {
            name: engine.run(
                tree, {"activities": part}, folder / f"{name}.parquet", order_by=_KEPT[name].names[:2]
            ).rows
            for name, tree in trees.items()
        }

    texts = [engine.compiled(tree).sql(engine.dialect) for tree in trees.values()]
    return lake.step(STAGE, digest_of(STAGE, file_sha256(part), texts, engine.dialect), make)[0]


def _is_known_before(part: Path, since: datetime) -> bool:
    """Whether the file's statistics say so of every row; where they tell nothing it is not certain."""
    groups = pq.read_metadata(part)
    places = [n for n in range(groups.num_columns) if groups.schema.column(n).path in ("occurred_at", "logged_at")]
    told = [
        groups.row_group(group).column(place).statistics for group in range(groups.num_row_groups) for place in places
    ]
    return len(places) == 2 and all(one is not None and one.has_min_max and one.max < since for one in told)
