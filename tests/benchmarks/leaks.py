"""Recall and false positives of the leak ledger: simulated worlds with planted leaks, with and without change history, and flat tables of real deals.

    python -m tests.benchmarks.leaks [--opportunities 3000] [--seeds 7,11,23] [--keep FOLDER]

In a world the truth is known. Leaks are the planted columns, those every simulated export fills at the closing, the account's type (which
turns with the first win), and `Budget_Confirmed__c`, which is confirmed while the sale runs: as last seen it was not there yet at many
landmarks. On the flat tables the leaks are the columns that their descriptions or names place at or after the outcome.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from sales_pipeline.clean.params import CleanParams
from sales_pipeline.clean.prepare import prepare
from sales_pipeline.domain.time import AsOf
from sales_pipeline.engines.duckdb import DuckDBEngine
from sales_pipeline.features.build import build
from sales_pipeline.features.leaks import LedgerEvaluation, evaluate_ledger, leak_ledger, ledger_for_frame
from sales_pipeline.features.params import FeatureParams
from sales_pipeline.ingest.exports import collect, newest_recorded_instant, visible
from sales_pipeline.ingest.params import SourceMapping
from sales_pipeline.lake.layout import Lake
from sales_pipeline.models.flat_table import read_flat
from sales_pipeline.models.flat_target import read_target
from sales_pipeline.simulation.params import LookAlike, PlantedLeak, WorldParams
from sales_pipeline.simulation.salesforce_export import write_export
from sales_pipeline.simulation.world import simulate

DATA = Path(__file__).parents[3] / "shared" / "data"
ALWAYS_LEAKING = (
    "Loss_Reason__c", "Contract_Number__c", "Days_To_Close__c", "Final_Discount__c", "Budget_Confirmed__c", "account_type",
    "planned_activity_count", "days_to_next_planned_activity",
)  # fmt: skip
FLAT_TABLES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "ibm_sales_win_loss": (
        "ibm_sales_win_loss/WA_Fn-UseC_-Sales-Win-Loss.csv",
        "Opportunity Result",
        (
            "Elapsed Days In Sales Stage", "Sales Stage Change Count", "Total Days Identified Through Closing",
            "Total Days Identified Through Qualified", "Ratio Days Identified To Total Days", "Ratio Days Validated To Total Days",
            "Ratio Days Qualified To Total Days",
        ),
    ),
    "x_education": (
        "x_education/Leads.csv",
        "Converted",
        (
            "Tags", "Lead Quality", "Lead Profile", "Last Activity", "Last Notable Activity", "Asymmetrique Activity Index",
            "Asymmetrique Activity Score", "Asymmetrique Profile Index", "Asymmetrique Profile Score",
        ),
    ),
}  # fmt: skip
"""Table, target and known leaks, by name."""


@dataclass(frozen=True)
class Judged:
    """A ledger with what it was asked to find."""

    ledger: pa.Table
    found: LedgerEvaluation
    seconds: float

    def row(self, column: str) -> dict[str, object]:
        """The ledger's row of a column or attribute."""
        (row,) = (row for row in self.ledger.to_pylist() if row["column"] in (column, f"attribute:{column}"))
        return dict(row)


def judge_world(folder: Path, params: WorldParams) -> Judged:
    """Simulate a world with planted columns, read its export as any other, and judge its columns."""
    write_export(simulate(params), folder)
    mapping = SourceMapping(source_system="bench", dialect="salesforce", currency="USD")
    lake = Lake(folder / "lake")
    with DuckDBEngine(threads=1) as engine:
        exports = collect(lake, folder / "export", mapping, engine)
        as_of = AsOf.end_of_day(AsOf(newest_recorded_instant(exports)).day())
        canonical = prepare(lake, visible(exports, as_of), mapping, CleanParams(), engine)
        training = build(lake, canonical, as_of, purpose="training", params=FeatureParams(), engine=engine)
        started = time.perf_counter()
        ref = leak_ledger(lake, canonical, training, mapping, engine)
        seconds = time.perf_counter() - started
    planted = pq.read_table(folder / "truth" / "planted.parquet").to_pylist()
    known = [*ALWAYS_LEAKING, *(row["column"] for row in planted if row["is_leak"])]
    ledger = pq.read_table(ref.path)
    return Judged(ledger, evaluate_ledger(ledger, known), seconds)


def judge_flat(name: str) -> Judged:
    """Judge the columns of a flat table of real records."""
    file, target, known = FLAT_TABLES[name]
    frame = read_flat(DATA / file)
    y, _ = read_target(frame[target], "classify", DATA / file)
    started = time.perf_counter()
    ledger = ledger_for_frame(frame.drop(columns=target), pd.Series(y))
    return Judged(ledger, evaluate_ledger(ledger, known), time.perf_counter() - started)


def all_planted(opportunities: int, seed: int, *, tracks: bool) -> WorldParams:
    """A world with every planted leak and every look-alike."""
    return WorldParams(
        opportunities=opportunities,
        seed=seed,
        planted_leaks=get_args(PlantedLeak),
        look_alikes=get_args(LookAlike),
        tracks_planted=tracks,
    )


def _line(name: str, judged: Judged) -> str:
    found = judged.found
    known = len(found.caught) + len(found.missed)
    worth = [row["auc_without"] for row in judged.ledger.to_pylist() if row["auc_without"] is not None]
    text = f"{name:<34} recall {len(found.caught)}/{known}  false positives {len(found.false_positives)}/{judged.ledger.num_rows - known}"
    text += f"  AUC without {worth[0]:.3f}" if worth else ""
    text += f"  {judged.seconds:.1f} s"
    text += f"\n    missed: {', '.join(found.missed)}" if found.missed else ""
    return text + (f"\n    wrongly left out: {', '.join(found.false_positives)}" if found.false_positives else "")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line per world and table."""
    parser = argparse.ArgumentParser(description="recall and false positives of the leak ledger")
    parser.add_argument("--opportunities", type=int, default=3000)
    parser.add_argument("--seeds", default="7,11,23")
    parser.add_argument("--keep", type=Path, help="folder for the worlds (default: a temporary one)")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        base = chosen.keep or Path(temporary)
        for seed in (int(part) for part in chosen.seeds.split(",")):
            for tracks in (True, False):
                name = f"world {seed} {'with' if tracks else 'without'} history"
                folder = base / name.replace(" ", "_")
                print(
                    _line(name, judge_world(folder, all_planted(chosen.opportunities, seed, tracks=tracks))), flush=True
                )
    for name, (file, _, _) in FLAT_TABLES.items():
        if (DATA / file).is_file():
            print(_line(name, judge_flat(name)), flush=True)
        else:
            print(f"{name:<34} skipped: {file} is not in the folder of real data, ../shared/data", flush=True)


if __name__ == "__main__":
    main()
