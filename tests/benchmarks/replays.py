"""The replay of one simulated world: how long training and twelve dates take, and how right what was said then was.

Belongs here: running the commands users run and holding the rows they leave against the truth. Does not belong here: the figures of a replay as such
(`models.proof`).
"""

from __future__ import annotations

import shutil
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sales_pipeline.lake.tables import read_table
from sales_pipeline.models.proof import proof
from sales_pipeline.models.proof_text import text_table
from tests.benchmarks.bench import measured
from tests.benchmarks.judging import win_figures
from tests.benchmarks.worlds import World

DATES = 12
EVERY_DAYS = 28
LIMIT_SECONDS = 300.0
PREPARED = ("exports", "ingested", "canonical", "features")
"""Folders of the lake that training and replay start from."""
COMMAND = str(Path(sys.executable).parent / "sales-pipeline")


def bench_replay(world: World) -> list[str]:
    """Train and replay in a lake of its own, print the figures, return the lines on what was reached."""
    lake = world.folder / "lake_replay"
    shutil.rmtree(lake, ignore_errors=True)
    for name in PREPARED:
        if (world.folder / "lake" / name).is_dir():
            shutil.copytree(world.folder / "lake" / name, lake / name)
    place = ["-c", str(world.folder / "pipeline.yaml"), "--lake", str(lake)]
    # Dates are counted back from the end of `--to`, through which outcomes are known; that day itself is none of them.
    last = world.params.end_on
    first = last + timedelta(days=1 - EVERY_DAYS * DATES)
    dates = ["--from", first.isoformat(), "--to", last.isoformat(), "--every", f"{EVERY_DAYS // 7}w"]
    print(f"\nreplay of {world.params.opportunities:,} opportunities over {DATES} dates, {first} to {last}", flush=True)
    wall = 0.0
    for label, arguments in {"train": ["train", *place], "replay": ["replay", *place, *dates]}.items():
        figure = measured([COMMAND, *arguments], world.folder)
        wall += figure.wall
        print(
            f"  {label}: {figure.wall:.0f} s wall, {figure.cpu:.0f} s CPU, {figure.peak_mb:.0f} MB at most", flush=True
        )
    (path,) = lake.glob("replays/*/replay.parquet")
    rows = read_table(path)
    params = world.settings.training
    found = proof(rows, rounds=params.bootstrap_rounds, seed=params.seed, end=world.features_scoring.as_of.instant)
    for row in text_table(found):
        print("  " + "  ".join(f"{name} {value}" for name, value in row.items()), flush=True)
    against_truth = _against_truth(world, rows.to_pandas())
    print("  under the truth: " + ", ".join(f"{name} {value:.3f}" for name, value in against_truth.items()), flush=True)
    return _lines(found, against_truth, wall)


def _against_truth(world: World, rows: pd.DataFrame) -> dict[str, float]:
    """Figures over all replay dates on eventual outcomes and under the true probabilities, rows that abstained left out."""
    truth = read_table(world.folder / "truth" / "landmarks.parquet").to_pandas()
    both = rows[["opportunity_id", "as_of", "win_probability"]].merge(
        truth[["opportunity_id", "as_of", "win_probability", "is_eventually_won"]],
        on=["opportunity_id", "as_of"],
        suffixes=("", "_true"),
    )
    both = both[both["win_probability"].notna()]
    if both.empty:
        raise ValueError(f"{world.folder}: no replay date is a landmark of the world's truth")
    columns = ("is_eventually_won", "win_probability", "win_probability_true")
    won, p, true_p = (both[name].to_numpy(dtype=np.float64) for name in columns)
    return {"rows": float(len(both)), **win_figures(won, p, true_p)}


def _lines(found: dict[str, Any], against_truth: dict[str, float], wall: float) -> list[str]:
    def line(text: str, reached: bool, told: str) -> str:
        return f"  {'reached' if reached else 'NOT REACHED':<12} replay, {text}: {told}"

    in_time = line(f"training and {DATES} dates within {LIMIT_SECONDS:.0f} s", wall <= LIMIT_SECONDS, f"{wall:.0f} s")
    if found["win"] is None:
        return [in_time, line("figures on outcomes", False, "no date of which enough has closed")]
    win = found["win"]["model"]
    lines = [
        in_time,
        line(
            "calibration error at most 0.02, as the replay itself tells it",
            win["calibration_error"] <= 0.02,
            f"{win['calibration_error']:.4f}",
        ),
        line(
            "the same under the true probabilities",
            against_truth["true_calibration_error"] <= 0.02,
            f"{against_truth['true_calibration_error']:.4f}",
        ),
        line(
            "observed over expected within 0.95 to 1.05, under the true probabilities",
            0.95 <= against_truth["true_observed_to_expected"] <= 1.05,
            f"{against_truth['true_observed_to_expected']:.3f}",
        ),
    ]
    for name, text in (("amount", "amounts"), ("close_date", "close dates")):
        interval = (found[name] or {}).get("interval")
        share = interval["covered_share"] if interval else float("nan")
        lines.append(line(f"80 % intervals of {text} cover 75 to 85 %", 0.75 <= share <= 0.85, f"{share:.1%}"))
    crm = found["win"].get("crm_probability")
    gain = crm["gain"]["log_loss"] if crm else float("nan")
    lines.append(line("better than the CRM's own probability (log loss)", gain > 0, f"{gain:+.4f}"))
    return lines
