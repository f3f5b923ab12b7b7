"""Kits of a million scored opportunities: seconds and peak memory of a first kit, of taking its results, and of an unchanged day.

    python -m tests.benchmarks.kits [--rows 1000000] [--targets salesforce,csv]

The published run is drawn (no CRM, no models). The floor is what cannot be avoided: reading the columns a mapping names from Parquet and writing them
as CSV with pyarrow. Each step runs in a fresh process, its peak memory is that process's own. An unchanged day must have no row.

Belongs here: the measurement. Does not belong here: what a kit contains (unit and property tests).
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from sales_pipeline.contracts.derive import REASON_TYPE
from sales_pipeline.contracts.published import FOLLOW_UP_QUEUE, SCORED_OPPORTUNITIES
from sales_pipeline.delivery.kits.build import build_kit
from sales_pipeline.delivery.kits.cells import salesforce_ids
from sales_pipeline.delivery.kits.source import published_table
from sales_pipeline.delivery.params import MoveLimit
from sales_pipeline.delivery.state.settle import confirm_all
from sales_pipeline.delivery.state.store import kits_folder
from sales_pipeline.delivery.targets.spec import load_target
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.runs import PublishedRun, read_manifest, write_run
from sales_pipeline.lake.tables import write_table
from tests.benchmarks.queue_scale import table

DAY = datetime(2026, 7, 1, tzinfo=UTC)
QUEUED_SHARE = 0.05
MOST_SECONDS, MOST_MB = 60.0, 2000.0


def sfids(prefix: str, count: int) -> pa.Array:
    return salesforce_ids(pa.array([f"{prefix}A{number:011d}" for number in range(count)])).text


def reasons(count: int, draw: np.random.Generator) -> pa.Array:
    """One reason a row, of a few hundred sentences; one row in ten has none."""
    has = draw.random(count) < 0.9
    offsets = np.concatenate([[0], np.cumsum(has)]).astype(np.int32)
    sentences = pa.array([f"The last contact was {days} days ago, longer than usual" for days in range(300)])
    total = int(offsets[-1])
    texts = sentences.take(pa.array(draw.integers(0, 300, total)))
    codes = pa.array(["quiet"] * total)
    items = pa.StructArray.from_arrays([codes, texts, pa.array(draw.random(total))], fields=list(REASON_TYPE))
    return pa.ListArray.from_arrays(pa.array(offsets), items)


def publish(lake: Lake, rows: int) -> PublishedRun:
    """A published run of that many scored opportunities, one in twenty of them with a follow-up."""
    draw = np.random.default_rng(7)
    ids, owners = sfids("006", rows), sfids("005", 500)
    amounts = pa.array(np.round(draw.lognormal(9, 1, rows), 2)).cast(pa.decimal128(18, 2), safe=False)
    days = pa.array(draw.integers(20_650, 20_900, rows).astype(np.int32)).cast(pa.date32())
    probability = draw.beta(2, 4, rows)
    scored = table(
        SCORED_OPPORTUNITIES,
        rows,
        source_system="crm",
        opportunity_id=ids,
        kind="opportunity",
        owner_id=owners.take(pa.array(draw.integers(0, 500, rows))),
        as_of=DAY,
        currency="EUR",
        win_probability=probability,
        win_probability_low=probability * 0.8,
        win_probability_high=np.minimum(1.0, probability * 1.2),
        win_probability_30d=probability / 4,
        win_probability_90d=probability / 2,
        score=np.clip(np.round(100 * probability), 1, 99).astype(np.int64),
        grade=pa.array(["A", "B", "C", "D"]).take(pa.array(draw.integers(0, 4, rows))),
        trend="steady",
        expected_amount=amounts,
        expected_value=amounts,
        predicted_close_date=days,
        slip_probability=draw.random(rows),
        reasons_up=reasons(rows, draw),
        reasons_down=reasons(rows, draw),
        evidence_level="full_model",
        model_name="win",
        model_version="0123abcd",
        run_id="run-bench",
    )
    queued = max(1, int(rows * QUEUED_SHARE))
    chosen = pa.array(np.sort(draw.choice(rows, queued, replace=False)))
    queue = table(
        FOLLOW_UP_QUEUE,
        queued,
        queue_id=pa.array([f"fu-{number:08d}" for number in range(queued)]),
        source_system="crm",
        as_of=DAY,
        owner_id=scored["owner_id"].take(chosen).combine_chunks(),
        rank=1,
        opportunity_id=ids.take(chosen),
        action="call",
        channel="phone",
        due_at=DAY + timedelta(hours=17),
        expires_at=DAY + timedelta(days=5),
        priority="high",
        expected_gain=Decimal("50.00"),
        gain_basis="value_at_risk_rules",
        estimated_minutes=15,
        reason="The last contact was 35 days ago.",
        evidence="win probability 0.50",
        attempt=1,
        propensity=0.95,
        policy="value_at_risk_rules/1",
        run_id="run-bench",
        episode_id="ep",
        chosen_by="gain",
    )

    def build(folder: Path) -> dict[str, Any]:
        write_table(scored, folder / "scored_opportunities.parquet", SCORED_OPPORTUNITIES)
        write_table(queue, folder / "follow_up_queue.parquet", FOLLOW_UP_QUEUE)
        return {"as_of": "2026-07-01T00:00:00Z", "model_version": "0123abcd", "drawn_on": str(date(2026, 7, 1))}

    return _run(write_run(lake, "run-bench", build))


def _run(folder: Path) -> PublishedRun:
    manifest = read_manifest(folder)
    return PublishedRun(folder.name, manifest["as_of"], folder, manifest)


def step(lake: Lake, target: str, name: str) -> dict[str, Any]:
    """One timed step in this process."""
    run = _run(lake.runs / "run-bench")
    steps: dict[str, Callable[[], dict[str, Any]]] = {
        "floor": lambda: floor(lake, run, target),
        "first kit": lambda: kit(lake, run, target),
        "settle": lambda: settled(lake, target),
        "unchanged day": lambda: kit(lake, run, target),
    }
    started, cpu = time.perf_counter(), time.process_time()
    facts = steps[name]()
    wall, spent = time.perf_counter() - started, time.process_time() - cpu
    return {**facts, "wall": wall, "cpu": spent, "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def floor(lake: Lake, run: PublishedRun, target: str) -> dict[str, Any]:
    """Read the stored columns that the mapping names and write them as CSV."""
    rows = 0
    for item in load_target(target).objects:
        contract = published_table(item.source)
        named = {field.column for field in (item.key, *item.fields)} & set(contract.column_names)
        data = pq.read_table(run.path / f"{contract.name}.parquet", columns=sorted(named))
        pacsv.write_csv(data, lake.root / f"floor-{target}-{item.name}.csv")
        rows += data.num_rows
    return {"rows": rows}


def kit(lake: Lake, run: PublishedRun, target: str) -> dict[str, Any]:
    """Build the kit of the run."""
    return {"rows": build_kit(lake, run, load_target(target), target=target, moves=MoveLimit()).rows}


def settled(lake: Lake, target: str) -> dict[str, Any]:
    """Confirm the one kit that is there."""
    (folder,) = kits_folder(lake, target).iterdir()
    return {"rows": confirm_all(lake, target, folder).succeeded}


def main() -> None:
    """Draw the run, measure each step in a process of its own, print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--targets", default="salesforce,csv")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    parser.add_argument("--lake", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        lake = Lake(options.lake)
        facts = {"rows": len(publish(lake, options.rows).manifest)} if options.step == "publish" else None
        print(json.dumps(facts or step(lake, options.targets, options.step)))
        return
    with tempfile.TemporaryDirectory() as folder:
        measured(folder, "", "publish", options.rows)
        print(
            f"{options.rows:,} scored opportunities; target: a kit in under {MOST_SECONDS:.0f} s and {MOST_MB:,.0f} MB"
        )
        for target in options.targets.split(","):
            least = measured(folder, target, "floor")
            for name in ("first kit", "settle", "unchanged day"):
                figure = measured(folder, target, name)
                ratio = figure["cpu"] / least["cpu"]
                told = "" if name == "settle" else _told(figure, name)
                print(
                    f"  {target:<11} {name:<14} {figure['rows']:>9,} rows {figure['wall']:7.1f} s wall {figure['cpu']:7.1f} s CPU "
                    f"{figure['mb']:7.0f} MB  {ratio:5.1f} x floor ({least['cpu']:.1f} s CPU) {told}",
                    flush=True,
                )


def _told(figure: dict[str, Any], name: str) -> str:
    is_fast = figure["wall"] < MOST_SECONDS and figure["mb"] < MOST_MB
    is_right = figure["rows"] == 0 if name == "unchanged day" else figure["rows"] > 0
    return "reached" if is_fast and is_right else "NOT reached"


def measured(folder: str, target: str, name: str, rows: int = 0) -> dict[str, Any]:
    """One step in a fresh process. This process stays small: a child's peak memory begins with its parent's."""
    arguments = ["--step", name, "--targets", target, "--lake", folder, "--rows", str(rows)]
    found = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.kits", *arguments], capture_output=True, text=True, check=False
    )
    if found.returncode:
        raise SystemExit(found.stderr)
    facts: dict[str, Any] = json.loads(found.stdout)
    return facts


if __name__ == "__main__":
    main()
