"""Earlier published forecasts: the chain of previous runs, and which of them the bridge starts from.

Each run's manifest names the run before it, so the chain depends on the first id alone, not on what was published in the meantime, and ends where
a run's folder is no longer kept.

Belongs here: finding and reading those runs. Does not belong here: what is made of them (`changes`, `accuracy`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sales_pipeline.contracts.forecast import REVENUE_FORECAST
from sales_pipeline.contracts.published import SCORED_OPPORTUNITIES
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.runs import MANIFEST, read_manifest
from sales_pipeline.lake.tables import read_table
from sales_pipeline.sales_management.changes import Earlier
from sales_pipeline.sales_management.pipeline import SCORED_COLUMNS

BRIDGE_DAYS = 7
HISTORY_DAYS = 400


@dataclass(frozen=True)
class PastForecast:
    """A published run that holds a forecast."""

    run_id: str
    as_of: datetime
    path: Path

    @property
    def table(self) -> Path:
        """Its REVENUE_FORECAST."""
        return self.path / f"{REVENUE_FORECAST.name}.parquet"


def past_forecasts(lake: Lake, previous_run_id: str | None, as_of: datetime) -> tuple[PastForecast, ...]:
    """The chain from that run back, youngest first, at most `HISTORY_DAYS` old; runs from before there were forecasts are passed over."""
    found: list[PastForecast] = []
    run_id = previous_run_id
    while run_id is not None and (lake.runs / run_id / MANIFEST).is_file():
        manifest = read_manifest(lake.runs / run_id)
        then = datetime.fromisoformat(str(manifest["as_of"]))
        if then < as_of - timedelta(days=HISTORY_DAYS):
            break
        one = PastForecast(run_id, then, lake.runs / run_id)
        if one.table.is_file() and then < as_of:
            found.append(one)
        run_id = manifest["previous_run_id"]
    return tuple(found)


def bridge_start(runs: Sequence[PastForecast], as_of: datetime) -> Earlier | None:
    """The run nearest to seven days before (of two as near the younger); None where there is no earlier one."""
    wanted = as_of - timedelta(days=BRIDGE_DAYS)
    chosen = min(runs, key=lambda run: (abs(run.as_of - wanted), as_of - run.as_of), default=None)
    if chosen is None:
        return None
    scored = read_table(chosen.path / f"{SCORED_OPPORTUNITIES.name}.parquet", SCORED_COLUMNS)
    return Earlier(chosen.run_id, chosen.as_of, scored, read_table(chosen.table))
