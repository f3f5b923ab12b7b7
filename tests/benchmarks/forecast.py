"""How right the revenue forecast is at past dates, beside the CRM's stage-weighted pipeline and the last period's total.

Simulated worlds go the way a user's export goes; the replay trains and scores at each past date on what was known then, and the forecast of that date is
made from its scores and the deals known then, and held against what came. What is judged is what the run publishes as `forecast_history`. With
`--scores exact` the world's own probabilities stand in for the model's: what the forecast itself makes of perfect scores, in seconds.

    python -m tests.benchmarks.forecast [--scores exact,learned] [--worlds 5] [--opportunities 4000] [--dates 16] [--keep FOLDER] [--draws 2000]
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from sales_pipeline.domain.time import AsOf
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.tables import TableRef, read_table
from sales_pipeline.sales_management.forecast import Past
from sales_pipeline.sales_management.replaying import replay_forecasts
from sales_pipeline.settings import Settings, load_settings
from tests.benchmarks.exact_replay import exact_replay
from tests.benchmarks.worlds import CONFIG, WORLDS, world_params

EVERY_DAYS = 28
SCORES = ("exact", "learned")
METHODS = {"forecast": "expected", "stage-weighted pipeline": "stage_weighted", "last period": "last_period"}
LEVELS = ("company", "team")
KINDS = ("month", "quarter")


@dataclass(frozen=True)
class Told:
    """A world's name and its rows of FORECAST_HISTORY whose period has ended."""

    name: str
    rows: list[dict[str, Any]]


def prepared(folder: Path, name: str, opportunities: int) -> tuple[Settings, Mapping[str, TableRef], Past]:
    """A world's settings, canonical tables and past, made where they are not there yet."""
    from dagster_project.opening import open_engine
    from sales_pipeline.clean.prepare import prepare
    from sales_pipeline.features.preparation import prepared as prepared_past
    from sales_pipeline.ingest.exports import collect, visible
    from sales_pipeline.simulation.salesforce_export import write_export
    from sales_pipeline.simulation.world import simulate

    params = world_params(name, opportunities)
    if not (folder / "pipeline.yaml").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        write_export(simulate(params), folder)
        (folder / "pipeline.yaml").write_text(CONFIG, encoding="utf-8")
    settings = load_settings(folder / "pipeline.yaml")
    with open_engine(settings) as engine:
        lake = Lake(settings.lake)
        exports = collect(lake, settings.exports, settings.mapping, engine)
        as_of = AsOf.end_of_day(params.end_on)
        canonical = prepare(lake, visible(exports, as_of), settings.mapping, settings.clean, engine)
        return (
            settings,
            canonical.tables,
            Past.read(canonical.tables, prepared_past(lake, canonical.tables, engine), engine),
        )


def learned_replay(settings: Settings, name: str, opportunities: int, dates: int) -> pa.Table:
    """REPLAY rows: at each date trained on what was known then."""
    from dagster_project.replaying import run_replay

    end_on = world_params(name, opportunities).end_on
    first = end_on + timedelta(days=1 - EVERY_DAYS * dates)
    report = run_replay(settings, first, end_on, EVERY_DAYS, progress=lambda _: None)
    return read_table(report.result.rows)


def told_of(folder: Path, name: str, opportunities: int, dates: int, draws: int, scores: str) -> Told:
    """The forecasts of a world's past dates with what came."""
    settings, tables, past = prepared(folder, name, opportunities)
    end_on = world_params(name, opportunities).end_on
    end = AsOf.end_of_day(end_on).instant
    if scores == "exact":
        rows = exact_replay(folder, tables, end - timedelta(days=EVERY_DAYS * dates))
    else:
        rows = learned_replay(settings, name, opportunities, dates)
    params = settings.forecast.model_copy(update={"draws": draws})
    exchange = past.exchange(end_on, params)
    found = replay_forecasts(rows, past, exchange, end=end, zone=settings.time_zone, params=params)
    return Told(name, [row for row in found if row["came"] is not None])


def figures(rows: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Of forecasts all methods made: mean of what came, bias and mean absolute error by method, coverage of the forecast's interval."""
    judged = [row for row in rows if all(row[column] is not None for column in METHODS.values())]
    if not judged:
        return {"forecasts": 0}
    came = np.array([float(row["came"]) for row in judged])
    inside = [row["is_inside"] for row in judged if row["is_inside"] is not None]
    found: dict[str, float] = {
        "forecasts": len(judged),
        "came": float(came.mean()),
        "covered": float(np.mean(inside)) if inside else float("nan"),
        "above": float(np.mean([row["came"] > row["high"] for row in judged if row["high"] is not None])),
        "below": float(np.mean([row["came"] < row["low"] for row in judged if row["low"] is not None])),
    }
    for method, column in METHODS.items():
        said = np.array([float(row[column]) for row in judged])
        found[f"bias of {method}"] = float(said.sum() / came.sum() - 1.0) if came.sum() else float("nan")
        found[f"error of {method}"] = float(np.abs(said - came).mean())
    return found


def print_table(title: str, groups: Mapping[str, list[Mapping[str, Any]]]) -> None:
    """One line per group."""
    print(f"\n{title}")
    heads = (
        "n",
        "came",
        "covered",
        "below",
        "above",
        *(f"{what} {name.split()[0]}" for name in METHODS for what in ("bias", "MAE")),
    )
    print(f"  {'':<28}" + "".join(f"{head:>15}" for head in heads))
    for name, rows in groups.items():
        found = figures(rows)
        if not found["forecasts"]:
            continue
        cells = [
            f"{found['forecasts']:.0f}",
            f"{found['came']:,.0f}",
            *(f"{found[key]:.1%}" for key in ("covered", "below", "above")),
        ]
        for method in METHODS:
            cells += [f"{found[f'bias of {method}']:+.1%}", f"{found[f'error of {method}']:,.0f}"]
        print(f"  {name:<28}" + "".join(f"{cell:>15}" for cell in cells), flush=True)


def chosen(told: Iterable[Told], **wanted: Any) -> list[Mapping[str, Any]]:
    """Rows of all worlds with the given values."""
    return [row for one in told for row in one.rows if all(row[name] == value for name, value in wanted.items())]


def targets(told: list[Told], scores: str) -> list[str]:
    """The figures to reach, one line each: over all worlds, dates, periods and distances, of the company."""
    lines = [f"figures to reach, {scores} scores (company, all worlds, dates and distances together)"]

    def line(text: str, reached: bool, found: str) -> None:
        lines.append(f"  {'reached' if reached else 'NOT REACHED':<12} {text}: {found}")

    for kind in KINDS:
        found = figures(chosen(told, level="company", period_kind=kind))
        by_world = [figures(chosen([one], level="company", period_kind=kind)) for one in told]
        covers = ", ".join(f"{world['covered']:.0%}" for world in by_world)
        line(
            f"80 % interval of {kind}s covers 75 to 85 %",
            0.75 <= found["covered"] <= 0.85,
            f"{found['covered']:.1%} (by world {covers})",
        )
        mine = found["error of forecast"]
        for method in list(METHODS)[1:]:
            other = found[f"error of {method}"]
            wins = sum(world["error of forecast"] < world[f"error of {method}"] for world in by_world)
            line(
                f"mean absolute error of {kind}s below that of {method}",
                mine < other,
                f"{mine:,.0f} to {other:,.0f}, in {wins} of {len(told)} worlds",
            )
    return lines


def bench(scores: str, names: list[str], keep: Path, given: argparse.Namespace) -> None:
    """Print the tables of one kind of scores."""
    told = []
    for name in names:
        folder = (keep / f"{name.replace(' ', '-')}-{given.opportunities}").resolve()
        one = told_of(folder, name, given.opportunities, given.dates, given.draws, scores)
        told.append(one)
        groups = {f"{level} {kind}": chosen([one], level=level, period_kind=kind) for level in LEVELS for kind in KINDS}
        print_table(
            f"world '{name}', {scores} scores: {given.opportunities:,} opportunities, {given.dates} dates", groups
        )
    distances = sorted({row["periods_ahead"] for one in told for row in one.rows})
    print_table(
        f"all {len(told)} worlds, {scores} scores, by periods ahead",
        {
            f"{level} {kind} {ahead} ahead": chosen(told, level=level, period_kind=kind, periods_ahead=ahead)
            for level in LEVELS
            for kind in KINDS
            for ahead in distances
        },
    )
    print("\n" + "\n".join(targets(told, scores)), flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scores", default=",".join(SCORES), help="whose: " + ", ".join(SCORES))
    parser.add_argument("--worlds", type=int, default=len(WORLDS), help="how many of the five")
    parser.add_argument("--opportunities", type=int, default=4000)
    parser.add_argument("--dates", type=int, default=16, help="past dates, four weeks apart")
    parser.add_argument("--keep", type=Path, help="where worlds are kept for the next look")
    parser.add_argument("--draws", type=int, default=2000)
    given = parser.parse_args()
    wanted = given.scores.split(",")
    if unknown := set(wanted) - set(SCORES):
        parser.error(f"--scores: expected some of {', '.join(SCORES)}; found {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory() as scratch:
        for scores in wanted:
            bench(scores, list(WORLDS)[: given.worlds], given.keep or Path(scratch), given)


if __name__ == "__main__":
    main()
