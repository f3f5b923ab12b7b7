"""Flat tables of real deals and leads: our `fit` beside AutoGluon on the same rows, the same columns and the same split.

The split is by a hash of the row (of its identifier where that repeats), so that equal records stand on one side: four fifths teach, one fifth judges. Our family is chosen on the teaching rows alone
(one `fit` over all families), then fitted for the judging rows (a second `fit`); the time of both is counted.

Belongs here: these tables. Does not belong here: worlds with a known truth (`scores`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from sales_pipeline.features.leaks import ledger_for_frame
from sales_pipeline.models.flat import FlatResult, fit_flat
from sales_pipeline.models.flat_table import read_flat
from sales_pipeline.models.flat_target import read_target
from sales_pipeline.models.metrics import win_metrics
from sales_pipeline.models.params import TrainingParams
from sales_pipeline.models.store import NullRecorder
from tests.benchmarks.peers import Peer, Rows, autogluon, library_peers

DATA = Path(__file__).parents[3] / "shared" / "data"
TABLES = {
    "ibm_sales_win_loss": (DATA / "ibm_sales_win_loss" / "WA_Fn-UseC_-Sales-Win-Loss.csv", "Opportunity Result"),
    "x_education": (DATA / "x_education" / "Leads.csv", "Converted"),
}
ORDER = "split order"
TEACHING_SHARE = 0.8
FIGURES = ("auc", "log_loss", "brier", "calibration_error")


@dataclass(frozen=True)
class Table:
    """A table without its target: the columns the ledger lets through, the outcome, and the rank that orders the split."""

    frame: pd.DataFrame
    won: np.ndarray
    rank: np.ndarray
    group: np.ndarray
    left_out: tuple[str, ...]

    @property
    def is_taught(self) -> np.ndarray:
        """Rows that teach; the others judge. Where `fit` cuts, too."""
        return self.rank < int(TEACHING_SHARE * len(self.rank))


def load(path: Path, target: str) -> Table:
    """Read a table, judge its columns by the leak ledger, rank its rows by hash."""
    frame = read_flat(path)
    frame = frame[frame[target].notna()].reset_index(drop=True)
    won, _ = read_target(frame[target], "classify", path)
    features = frame.drop(columns=[target])
    ledger = ledger_for_frame(features, pd.Series(won)).to_pylist()
    used = [row["column"] for row in ledger if row["is_used"]]
    left_out = tuple(f"{row['column']} ({row['verdict']})" for row in ledger if not row["is_used"])
    kept = features[used]
    repeated = [
        row["column"]
        for row in ledger
        if row["verdict"] == "identifier" and frame[row["column"]].nunique() < len(frame)
    ]
    group = pd.util.hash_pandas_object(features[repeated[:1] or list(features)].astype(str), index=False).to_numpy()
    rank = np.empty(len(kept))
    rank[np.lexsort((np.arange(len(kept)), group))] = np.arange(len(kept))
    return Table(kept, won, rank, group, left_out)


def fit_ours(table: Table, folder: Path) -> tuple[FlatResult, float, float]:
    """Our figures on the judging rows by the family that is best on the teaching rows alone; wall and CPU seconds of both fits."""
    whole = table.frame.assign(**{ORDER: table.rank, "outcome": table.won})
    wall, cpu = time.perf_counter(), time.process_time()
    folder.mkdir(parents=True, exist_ok=True)

    def fitted(rows: pd.DataFrame, name: str, params: TrainingParams) -> list[FlatResult]:
        path = folder / f"{name}.parquet"
        rows.to_parquet(path, index=False)
        found = fit_flat(
            path,
            target="outcome",
            params=params,
            recorder=NullRecorder(),
            time_column=ORDER,
            use_anyway=list(table.frame.columns),
            missing=(),
        )
        return list(found.results)

    params = TrainingParams()
    tried = fitted(whole[table.is_taught], "teaching", params)
    best = min(tried, key=lambda result: result.figures["log_loss"])
    chosen = fitted(whole, "whole", params.model_copy(update={"win_families": (best.family,)}))
    return chosen[0], time.perf_counter() - wall, time.process_time() - cpu


def bench_flat(folder: Path, peer_seconds: float) -> list[str]:
    """Print each table's figures; return the lines on what was reached."""
    lines: list[str] = []
    for name, (path, target) in TABLES.items():
        if not path.is_file():
            lines.append(f"  not measured {name}: {path} is not there")
            continue
        lines += _bench_table(name, load(path, target), folder / name, peer_seconds)
    return lines


def _bench_table(name: str, table: Table, folder: Path, peer_seconds: float) -> list[str]:
    taught = table.is_taught
    print(
        f"\n{name}: {taught.sum():,} rows teach, {(~taught).sum():,} judge; {table.frame.shape[1]} columns, left out: {', '.join(table.left_out)}"
    )
    print(f"  {'':<20}" + "".join(f"{figure:>19}" for figure in FIGURES) + "   wall s    CPU s", flush=True)

    def show(label: str, figures: dict[str, float], wall: float, cpu: float, note: str) -> None:
        cells = "".join(f"{figures[figure]:>19.4f}" for figure in FIGURES)
        print(f"  {label:<20}{cells}  {wall:>7.1f}  {cpu:>7.1f}  {note}".rstrip(), flush=True)

    ours, wall, cpu = fit_ours(table, folder)
    show("Sales Pipeline", dict(ours.figures), wall, cpu, f"{ours.family} ({ours.setting})")
    judged = table.won[~taught]
    rows = Rows(
        train=table.frame[taught].reset_index(drop=True),
        test=table.frame[~taught].reset_index(drop=True),
        won=table.won[taught],
        group=table.group[taught],
        test_group=table.group[~taught],
    )
    for peer in library_peers(rows):
        show(peer.name, win_metrics(judged, peer.probability), peer.wall, peer.cpu, peer.note)
    strong = (
        autogluon(rows, folder, peer_seconds)
        if peer_seconds
        else Peer("AutoGluon", None, note="not asked for (--peer-seconds)")
    )
    if strong.probability is None:
        print(f"  {strong.name:<20}{strong.note}", flush=True)
        return [f"  not measured {name} against AutoGluon: {strong.note}"]
    theirs = win_metrics(judged, strong.probability)
    show(strong.name, theirs, strong.wall, strong.cpu, strong.note)

    def line(text: str, reached: bool, found: str) -> str:
        return f"  {'reached' if reached else 'NOT REACHED':<12} {name}, {text}: {found}"

    gap = theirs["auc"] - ours.figures["auc"]
    errors = ours.figures["calibration_error"], theirs["calibration_error"]
    return [
        line("AUC within 0.003 of AutoGluon's", gap <= 0.003, f"{-gap:+.4f}"),
        line(
            "at a tenth of its time",
            wall <= 0.1 * strong.wall,
            f"{wall / strong.wall:.2f} (CPU {cpu / strong.cpu:.2f})",
        ),
        line("better calibrated", errors[0] < errors[1], f"{errors[0]:.4f} against {errors[1]:.4f}"),
    ]
