"""`sales-pipeline replay`: the library's replay over the kept exports, without the orchestrator.

Belongs here: handing the steps to each other and printing figures. Does not belong here: any figure's computation (models.replay, models.proof).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from dagster_project.cards import replay_proof, stored_replay
from dagster_project.freshness import recorded_day
from dagster_project.opening import open_engine
from sales_pipeline.domain.time import AsOf
from sales_pipeline.errors import ConfigurationError
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.lock import lake_lock

if TYPE_CHECKING:
    from sales_pipeline.models.replay import Replay
    from sales_pipeline.settings import Settings

UNTHINNED = 10_000


@dataclass(frozen=True)
class ReplayReport:
    """A replay with the days it was made for, and the proof from its rows."""

    first: date
    last: date
    result: "Replay"
    proof: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data."""
        return {
            "schema_version": 1,
            "from": self.first.isoformat(),
            "to": self.last.isoformat(),
            "rows": self.result.rows.rows,
            "path": self.result.rows.path,
            "dates": self.result.facts["dates"],
            "proof": self.proof,
        }


def parse_every(text: str) -> int:
    """Days of a step such as `4w` or `28d`. ConfigurationError for anything else."""
    found = re.fullmatch(r"([1-9]\d{0,3})([dw])", text.strip().lower())
    if found is None:
        raise ConfigurationError(
            "the step is not understood",
            expected="a number of days or weeks, such as 28d or 4w",
            found=repr(text),
            where="--every",
            fix="write for example --every 4w",
        )
    return int(found[1]) * (7 if found[2] == "w" else 1)


def run_replay(
    settings: "Settings", start: date, end: date | None, every_days: int, *, progress: Callable[[str], None]
) -> ReplayReport:
    """Replay from the start of `start` to the end of `end` (without: the day of the newest recorded instant).

    ConfigurationError for days the exports do not reach; else raises what the steps raise.
    """
    from sales_pipeline.clean.prepare import prepare
    from sales_pipeline.features.build import build
    from sales_pipeline.features.leaks import leak_ledger
    from sales_pipeline.ingest.exports import collect, newest_recorded_instant, visible
    from sales_pipeline.models.replay import replay

    lake = Lake(settings.lake)
    with lake_lock(lake.root), open_engine(settings) as engine:
        progress("collect and prepare")
        exports = collect(lake, settings.exports, settings.mapping, engine)
        newest = recorded_day(newest_recorded_instant(exports), settings)
        end = end or newest
        if not start <= end <= newest:
            raise ConfigurationError(
                "the period is no part of what the exports record",
                expected=f"--from on or before --to, and both by {newest}, the day of the newest record",
                found=f"{start} to {end}",
                fix="name earlier days, or bring a newer export",
            )
        last = AsOf.end_of_day(end, settings.time_zone)
        first = AsOf.end_of_day(start - timedelta(days=1), settings.time_zone)
        canonical = prepare(lake, visible(exports, last), settings.mapping, settings.clean, engine)
        params = settings.features.model_copy(
            update={"landmark_every_days": every_days, "max_landmarks_per_opportunity": UNTHINNED}
        )
        progress("features")
        features = build(lake, canonical, last, purpose="training", params=params, engine=engine)
        result = replay(
            lake,
            features,
            lambda known: leak_ledger(lake, canonical, known, settings.mapping, engine),
            settings.training,
            first=first,
            every_days=every_days,
            progress=progress,
            workers=settings.engine.threads,
        )
    progress("figures")
    stored = stored_replay(lake, result.key)
    assert stored is not None
    return ReplayReport(start, end, result, replay_proof(lake, stored, settings.training))
