"""`sales-pipeline backtest`: the library's steps in order for one past date, without the orchestrator.

Belongs here: handing the steps to each other and printing figures. Does not belong here: any figure's computation (models.backtest).
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from dagster_project.freshness import recorded_day
from dagster_project.opening import open_engine, open_store
from sales_pipeline.domain.time import AsOf
from sales_pipeline.errors import ConfigurationError
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.lock import lake_lock

if TYPE_CHECKING:
    from sales_pipeline.features.build import FeatureSet
    from sales_pipeline.models.backtest import Backtest
    from sales_pipeline.settings import Settings


@dataclass(frozen=True)
class BacktestReport:
    """A backtest with the days it was made for; `rows` counts judged predictions."""

    test_from: date
    test_to: date
    result: "Backtest"

    @property
    def rows(self) -> int:
        """Predictions whose outcome is known."""
        return int(self.result.predictions.num_rows)

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data."""
        return {
            "schema_version": 1,
            "test_from": self.test_from.isoformat(),
            "test_to": self.test_to.isoformat(),
            "chosen": self.result.trained.card.get("chosen"),
            "figures": self.result.figures,
        }

    def write_predictions(self, path: Path) -> None:
        """opportunity_id, as_of, is_won (0/1), win_probability, amount, expected_amount; UTF-8, LF."""
        from sales_pipeline.contracts.internal import BACKTEST_PREDICTIONS
        from sales_pipeline.delivery.csv_text import csv_bytes

        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(csv_bytes(self.result.predictions, BACKTEST_PREDICTIONS))

    def summary(self) -> list[str]:
        """A few lines for people."""
        figures = self.result.figures
        lines = [
            f"trained on what was known before {self.test_from}; scored what was open then and every 28 days to {self.test_to}",
            f"  rows: {figures['scored']} scored, {figures['closed']} closed since, {figures['still_open']} still open, {figures['abstained']} abstained",
        ]
        for name, label in (
            ("win", "model, all rows"),
            ("win_first", "model, first row each"),
            ("base_rate", "base rate"),
        ):
            shown = ", ".join(f"{key} {value:.4g}" for key, value in figures[name].items() if isinstance(value, float))
            lines.append(f"  {label}: {shown}")
        if "amount" in figures:
            lines.append(
                "  amount if won: " + ", ".join(f"{key} {value:.4g}" for key, value in figures["amount"].items())
            )
        return lines


def run_backtest(
    settings: "Settings", start: date, end: date | None, *, progress: Callable[[str], None]
) -> BacktestReport:
    """Train as of the start of `start`, score from then on, compare with what is known by the end of `end`.

    Without `end`, the day of the newest recorded instant. ConfigurationError for days the exports do not reach; else raises what the steps raise.
    """
    from sales_pipeline.clean.prepare import prepare
    from sales_pipeline.features.build import build
    from sales_pipeline.features.leaks import leak_ledger
    from sales_pipeline.ingest.exports import collect, newest_recorded_instant, visible
    from sales_pipeline.models.backtest import backtest

    lake = Lake(settings.lake)
    with lake_lock(lake.root), open_engine(settings) as engine:
        progress("collect and prepare")
        exports = collect(lake, settings.exports, settings.mapping, engine)
        newest = recorded_day(newest_recorded_instant(exports), settings)
        end = end or newest
        if not start <= end <= newest:
            raise ConfigurationError(
                "the test period is no part of what the exports record",
                expected=f"--test-from on or before --test-to, and both by {newest}, the day of the newest record",
                found=f"{start} to {end}",
                fix="name earlier days, or bring a newer export",
            )
        last = AsOf.end_of_day(end, settings.time_zone)
        first = AsOf.end_of_day(start - timedelta(days=1), settings.time_zone)
        canonical = prepare(lake, visible(exports, last), settings.mapping, settings.clean, engine)
        known = build(lake, canonical, last, purpose="scoring", params=settings.features, engine=engine)
        progress(f"train as of {first.isoformat()}, score until {last.isoformat()}")
        result = backtest(
            lambda as_of: build(lake, canonical, as_of, purpose="training", params=settings.features, engine=engine),
            lambda as_of: build(lake, canonical, as_of, purpose="scoring", params=settings.features, engine=engine),
            lambda features: leak_ledger(lake, canonical, cast("FeatureSet", features), settings.mapping, engine),
            known.outcomes,
            test_from=first,
            test_to=last,
            params=settings.training,
            models=lake.models,
            recorder=open_store(settings),
        )
    return BacktestReport(start, end, result)
