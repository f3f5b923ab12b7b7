"""Adjusted win rates of sellers against the simulation's truth: how often intervals cover, and what is told apart rightly.

    python -m tests.benchmarks.team --opportunities 5000 --seeds 11 23 37

The truth of a seller is what the world's own chain would win of the company's closed opportunities were they all this seller's: their hidden index with
the seller's skill in place of their own seller's, followed up by the seller's own habit. It is the quantity `adjusted_win_rate` estimates. Its level is moved
(in log-odds, alike for all sellers) so that the company's mean is the rate observed: the chain tells who is won ever, the table what closed within a year.

Belongs here: worlds made and estimates held against their truth. Does not belong here: the estimator (`sales_management.win_rates`).
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.stats import spearmanr

from sales_pipeline.contracts.published import SCORED_OPPORTUNITIES
from sales_pipeline.domain.time import AsOf
from sales_pipeline.engines.duckdb import DuckDBEngine
from sales_pipeline.features.build import build
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.tables import write_table
from sales_pipeline.sales_management.params import TeamParams
from sales_pipeline.sales_management.seen import look
from sales_pipeline.sales_management.team import Beside, build_team
from sales_pipeline.settings import load_settings
from sales_pipeline.simulation.dynamics import CLOSED_WON, Constants
from sales_pipeline.simulation.ids import make_ids
from sales_pipeline.simulation.params import WorldParams
from sales_pipeline.simulation.salesforce_export import write_export
from sales_pipeline.simulation.truth import step_back
from sales_pipeline.simulation.world import World, simulate
from tests.benchmarks.worlds import CONFIG
from tests.support.scored_rows import rows_of

YEAR = 365 * 86_400
CHUNK = 2048


@dataclass(frozen=True)
class Judged:
    """Per seller with closed opportunities: the estimate with its interval and verdict, the raw rate, the truth, and the truth of the company."""

    frame: pd.DataFrame
    company: float
    basis: str


def judged(params: WorldParams, sample: int) -> Judged:
    """One world, through the pipeline and beside its truth."""
    world = simulate(params)
    rows = estimates(world, params)
    owners = rows[(rows["level"] == "owner") & rows["adjusted_win_rate"].notna()].set_index("key")
    company = float(rows.loc[rows["level"] == "company", "win_rate"].iloc[0])
    chances = true_rates(world, sample)
    ids = make_ids("User", np.arange(world.population.sellers.seller_count)).to_pylist()
    truth = pd.Series(moved(chances, company), index=ids)
    kept = owners.index.intersection(truth.index)
    return Judged(owners.loc[kept].assign(truth=truth[kept]), company, str(rows["win_rate_basis"].iloc[0]))


def estimates(world: World, params: WorldParams) -> pd.DataFrame:
    """The team table of a world's export, as the pipeline makes it."""
    from sales_pipeline.clean.prepare import prepare
    from sales_pipeline.features.preparation import prepared
    from sales_pipeline.ingest.exports import collect, visible

    as_of = AsOf.end_of_day(params.end_on)
    with tempfile.TemporaryDirectory() as name, DuckDBEngine(threads=1) as engine:
        folder = Path(name)
        write_export(world, folder)
        (folder / "pipeline.yaml").write_text(CONFIG, encoding="utf-8")
        settings = load_settings(folder / "pipeline.yaml")
        lake = Lake(settings.lake)
        exports = collect(lake, settings.exports, settings.mapping, engine)
        canonical = prepare(lake, visible(exports, as_of), settings.mapping, settings.clean, engine)
        features = build(lake, canonical, as_of, purpose="scoring", params=settings.features, engine=engine)
        # Win rates look at nothing that is open: no scores are needed.
        scored = write_table(rows_of(SCORED_OPPORTUNITIES, []), folder / "scored.parquet", SCORED_OPPORTUNITIES)
        seen = look(
            scored, features, canonical.tables, prepared(lake, canonical.tables, engine), as_of=as_of, time_zone="UTC", currency=None, spoken_for="USD",
            engine=engine,
        )  # fmt: skip
        return build_team(seen, Beside(), TeamParams(), run_id="bench").performance.to_pandas()


def true_rates(world: World, sample: int) -> np.ndarray:
    """Chances of winning, one row per seller and one column per opportunity of a sample of those closed in the last year, each handed to each seller."""
    data, sellers = world.population.opportunities, world.population.sellers
    closed = np.flatnonzero(world.is_closed & (world.closed_at >= world.end_at - YEAR))
    drawn = np.sort(np.random.default_rng(world.params.seed).permutation(closed)[:sample])
    count = sellers.seller_count
    seller = np.repeat(np.arange(count), len(drawn))
    opportunity = np.tile(drawn, count)
    own = data.constants.take(opportunity)
    handed = replace(
        own,
        win_index=own.win_index - sellers.skill[data.owner[opportunity]] + sellers.skill[seller],
        contact_logit=own.contact_logit
        - sellers.contact_habit[data.owner[opportunity]]
        + sellers.contact_habit[seller],
    )
    order = np.argsort(handed.created_week, kind="stable")
    found = np.zeros(len(order))
    for start in range(0, len(order), CHUNK):
        rows = order[start : start + CHUNK]
        found[rows] = at_creation(world, handed.take(rows), data.first_engagement[opportunity[rows]])
    return found.reshape(count, len(drawn))


def at_creation(world: World, constants: Constants, engagement: np.ndarray) -> np.ndarray:
    """The chance of ever being won in the week after the creation, in the first stage."""
    first = constants.created_week + 1
    max_age = world.params.max_age_weeks
    found = np.zeros(len(first))
    values = np.zeros((len(first), CLOSED_WON, 4))
    for week in range(int(constants.created_week.max()) + max_age, int(first.min()) - 1, -1):
        values = step_back(values, constants, week, world.calendar, max_age).expected
        here = first == week
        found[here] = values[here, 0, engagement[here]]
    return found


def moved(chances: np.ndarray, company: float) -> np.ndarray:
    """Each seller's mean chance, after one step in log-odds that brings the mean of all to the company's rate."""
    log_odds = np.log(np.clip(chances, 1e-9, 1 - 1e-9)) - np.log1p(-np.clip(chances, 1e-9, 1 - 1e-9))
    step = brentq(lambda by: float((1 / (1 + np.exp(-(log_odds + by)))).mean()) - company, -10, 10)
    return np.asarray((1 / (1 + np.exp(-(log_odds + step)))).mean(axis=1))


def told(name: str, found: Judged) -> str:
    """One line of figures."""
    frame, truth = found.frame, found.frame["truth"]
    covered = ((truth >= frame["adjusted_win_rate_low"]) & (truth <= frame["adjusted_win_rate_high"])).mean()
    apart = frame["win_rate_verdict"] != "not_told_apart"
    right = (frame["win_rate_verdict"] == "above") == (truth > found.company)
    adjusted, raw = (float(spearmanr(frame[column], truth).statistic) for column in ("adjusted_win_rate", "win_rate"))
    errors = [float(np.sqrt(((frame[column] - truth) ** 2).mean())) for column in ("adjusted_win_rate", "win_rate")]
    return (
        f"{name}: {len(frame)} sellers with {frame['closed_count'].median():.0f} closed each; 80 % intervals cover {covered:.0%}; told apart {apart.sum()}, "
        f"of these on the right side {right[apart].mean() if apart.any() else float('nan'):.0%}; Spearman with the truth {adjusted:.2f} adjusted, {raw:.2f} raw; "
        f"root mean square error {errors[0]:.3f} adjusted, {errors[1]:.3f} raw ({found.basis})"
    )


def main() -> None:
    """Print the figures of each world and of all together."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--opportunities", type=int, default=5000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[11, 23, 37])
    parser.add_argument("--sample", type=int, default=100, help="closed opportunities each seller is judged on")
    given = parser.parse_args()
    worlds = []
    for seed in given.seeds:
        worlds.append(judged(WorldParams(opportunities=given.opportunities, seed=seed), given.sample))
        print(told(f"seed {seed}", worlds[-1]), flush=True)
    # Sellers of different worlds are held against their own company: rates relative to it.
    frames = [
        one.frame.assign(
            **{column: one.frame[column] - one.company for column in one.frame.columns if column == "truth" or (column.startswith(("adjusted_", "win_rate"))
               and column not in ("win_rate_verdict", "win_rate_basis"))}
        )
        for one in worlds
    ]  # fmt: skip
    print(told("all", Judged(pd.concat(frames), 0.0, worlds[0].basis)))


if __name__ == "__main__":
    main()
