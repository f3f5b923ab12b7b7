"""Published runs in a lake of their own, small, one per day."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sales_pipeline.contracts.published import CONTRACT_VERSION
from sales_pipeline.delivery.publish import publish, write_and_audit
from sales_pipeline.domain.time import AsOf
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.runs import publish_run, write_run
from sales_pipeline.lake.tables import PARQUET_OPTIONS
from tests.support.published_run import run_tables
from tests.support.scored_rows import AS_OF

Change = Callable[[dict[str, pa.Table]], Mapping[str, pa.Table]]


def published_folder(root: Path, run_id: str, day: int = 0, change: Change = dict) -> Path:
    """The folder of a published run whose as-of is `day` days after the usual one."""
    lake = Lake(root)
    as_of = AsOf(AS_OF.instant + timedelta(days=day))
    tables = change(run_tables(as_of, run_id))
    folder = write_and_audit(lake, run_id, tables, {"as_of": as_of.isoformat()}, {})
    publish(lake, run_id, log={})
    return folder


def unaudited_folder(
    root: Path, run_id: str, tables: Mapping[str, pa.Table], *, as_of: AsOf = AS_OF, **manifest: Any
) -> Path:
    """A published run that no audit looked at: what a broken writer, or a newer version, might leave."""
    lake = Lake(root)

    def build(folder: Path) -> dict[str, Any]:
        for name, data in tables.items():
            pq.write_table(data, folder / f"{name}.parquet", **PARQUET_OPTIONS)
        rows = {name: data.num_rows for name, data in tables.items()}
        return {"as_of": as_of.isoformat(), "contract_version": CONTRACT_VERSION, "rows": rows} | manifest

    folder = write_run(lake, run_id, build)
    publish_run(lake, run_id)
    return folder
