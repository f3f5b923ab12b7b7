"""The published runs a day looks back on: the chain of previous runs, which is the same however often the day is repeated.

Belongs here: following the chain, choosing runs of it, reading what they said. Does not belong here: judging it (`scores`, `outcomes`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from sales_pipeline.contracts.published import SCORED_OPPORTUNITIES
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.runs import MANIFEST, read_manifest
from sales_pipeline.lake.tables import read_table
from sales_pipeline.models.matrix import DAY, texts

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TEXTS = ("opportunity_id", "account_id", "kind", "currency", "model_version")
PROBABILITIES = ("win_probability", "win_probability_30d", "win_probability_90d")
AMOUNTS = ("expected_amount_low", "expected_amount_high")
DATES = ("predicted_close_date_low", "predicted_close_date_high")
COLUMNS = [*TEXTS, "as_of", *PROBABILITIES, *AMOUNTS, *DATES]


@dataclass(frozen=True)
class PastRun:
    """A published run of the chain."""

    run_id: str
    as_of: datetime
    path: Path
    model_version: str


def past_runs(lake: Lake, previous_run_id: str | None, since: datetime) -> tuple[PastRun, ...]:
    """The chain of previous runs from that run back to `since`, youngest first.

    Each run's manifest names the run before it, so the chain depends on the first id alone, not on what was published in the meantime. It ends
    where a run's folder is no longer kept.
    """
    found: list[PastRun] = []
    run_id = previous_run_id
    while run_id is not None and (lake.runs / run_id / MANIFEST).is_file():
        manifest = read_manifest(lake.runs / run_id)
        as_of = datetime.fromisoformat(str(manifest["as_of"]))
        if as_of < since:
            break
        found.append(PastRun(run_id, as_of, lake.runs / run_id, str(manifest["model"]["version"])))
        run_id = manifest["previous_run_id"]
    return tuple(found)


def one_in(runs: Sequence[PastRun], days: int) -> tuple[PastRun, ...]:
    """The earliest run of every period of so many days (counted from 1970-01-01), youngest first."""
    earliest: dict[int, PastRun] = {}
    for run in runs:
        earliest[(run.as_of - _EPOCH) // timedelta(days=days)] = run
    return tuple(earliest[period] for period in sorted(earliest, reverse=True))


def said(runs: Sequence[PastRun]) -> pd.DataFrame:
    """What those runs said: one row per run and opportunity, the earliest run first, in the order of the runs' tables.

    Texts, probabilities, amounts (float64); `as_of_us` and the predicted dates as microseconds, the latter at the start of the day.
    """
    tables = [read_table(run.path / f"{SCORED_OPPORTUNITIES.name}.parquet", COLUMNS) for run in reversed(runs)]
    return scored_frame(pa.concat_tables(tables)) if tables else scored_frame(_nothing())


def scored_frame(scored: pa.Table) -> pd.DataFrame:
    """The columns of SCORED_OPPORTUNITIES that are judged, as `said` gives them."""
    frame = pd.DataFrame({name: texts(scored.column(name)) for name in TEXTS})
    for name in (*PROBABILITIES, *AMOUNTS):
        frame[name] = _floats(scored.column(name).cast(pa.float64()))
    for name in DATES:
        frame[name] = _floats(scored.column(name).cast(pa.int32()).cast(pa.float64())) * DAY
    frame["as_of_us"] = _floats(scored.column("as_of").cast(pa.int64()).cast(pa.float64()))
    return frame


def _nothing() -> pa.Table:
    from sales_pipeline.contracts.derive import arrow_schema

    return arrow_schema(SCORED_OPPORTUNITIES).empty_table()


def _floats(column: pa.ChunkedArray) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)
