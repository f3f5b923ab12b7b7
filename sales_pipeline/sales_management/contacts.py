"""When each account was last in touch, kept by part of the activities: what was done long ago is added up once, and read again only where its part has changed.

A part of whose rows none became known after an instant says the same at every later one. So of such parts the last contacts of each account are kept, under
the digest of the part; of the others the rows themselves are read. A table of one file is a part like others.

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
LAST_CONTACTS, LATER_ACTIVITIES = "last_contacts", "later_activities"
_MODEL = Path(__file__).parent / "sql" / "last_contacts.sql"
_INSTANT = pa.timestamp("us", tz="UTC")
_NONE_KEPT = pa.schema(
    [
        ("account_id", pa.string()),
        ("opportunity_id", pa.string()),
        ("last_inbound_at", _INSTANT),
        ("last_outbound_at", _INSTANT),
    ]
)


def all_read(activities: Source) -> dict[str, Source]:
    """LAST_CONTACTS and LATER_ACTIVITIES where nothing is kept: rows of all activities."""
    return {LAST_CONTACTS: _NONE_KEPT.empty_table(), LATER_ACTIVITIES: activities}


def kept_or_read(lake: Lake, activities: TableRef, since: datetime, engine: Engine) -> Mapping[str, Source]:
    """LAST_CONTACTS of the parts all of whose rows were known before `since`, and LATER_ACTIVITIES: the rows of the others."""
    later = [file for file in activities.files if not _is_known_before(file, since)]
    kept = [_kept(lake, file, engine) for file in activities.files if file not in later]
    if not kept:
        return all_read(activities)
    return {LAST_CONTACTS: kept, LATER_ACTIVITIES: later or arrow_schema(ACTIVITIES).empty_table()}


def _kept(lake: Lake, part: Path, engine: Engine) -> Path:
    tree = parse_model(_MODEL)

    def make(folder: Path) -> dict[str, Any]:
        order = ("account_id", "opportunity_id")
        return {
            "rows": engine.run(tree, {"activities": part}, folder / f"{LAST_CONTACTS}.parquet", order_by=order).rows
        }

    key = digest_of(STAGE, file_sha256(part), engine.compiled(tree).sql(engine.dialect), engine.dialect)
    return lake.step(STAGE, key, make)[0] / f"{LAST_CONTACTS}.parquet"


def _is_known_before(part: Path, since: datetime) -> bool:
    """Whether the file's statistics say so of every row; where they tell nothing it is not certain."""
    groups = pq.read_metadata(part)
    places = [n for n in range(groups.num_columns) if groups.schema.column(n).path in ("occurred_at", "logged_at")]
    told = [
        groups.row_group(group).column(place).statistics for group in range(groups.num_row_groups) for place in places
    ]
    return len(places) == 2 and all(one is not None and one.has_min_max and one.max < since for one in told)
