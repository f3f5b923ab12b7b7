"""How long the queue of a large company takes, and how good it is: seconds, peak memory, gap to the bound, the greedy order's gain.

    python -m tests.benchmarks.queue_scale --owners 1000 --opportunities 200000

Open opportunities are drawn (no CRM files, no models): amounts log-normal, win probabilities beta, most accounts worked by one owner and `--shared` of
the opportunities owned by somebody else; three activities each. What is timed is `build_queue` and `check_queue`, as a run calls them.

Belongs here: the measurement. Does not belong here: whether the queue wins more (the policy lab).
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from sales_pipeline.contracts.canonical import ACTIVITIES, CONTACTS, OWNERS, PLANNED_ACTIVITIES
from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.contracts.internal import SPINE
from sales_pipeline.contracts.model import Table
from sales_pipeline.contracts.published import SCORED_OPPORTUNITIES
from sales_pipeline.domain.time import AsOf
from sales_pipeline.engines.duckdb import DuckDBEngine
from sales_pipeline.follow_up.checks import check_queue
from sales_pipeline.follow_up.params import FollowUpParams
from sales_pipeline.follow_up.queue import build_queue
from sales_pipeline.lake.tables import write_table
from tests.support.follow_up_desk import touches_of

AS_OF = AsOf(datetime(2026, 7, 1, tzinfo=UTC))
LINEAGE = {"source_system": "crm", "source_file": "f", "source_record": 1}
ACTIVITIES_EACH = 3


def table(contract: Table, rows: int, **columns: Any) -> pa.Table:
    """A table of the contract: columns given as arrays or one value for all, the others NULL."""
    arrays = []
    for field in arrow_schema(contract):
        given = columns.get(field.name)
        is_array = isinstance(given, np.ndarray | pa.Array)
        arrays.append(pa.array(given, field.type) if is_array else pa.array([given] * rows, field.type))
    return pa.Table.from_arrays(arrays, schema=arrow_schema(contract))


def world(owners: int, opportunities: int, shared: float, seed: int) -> dict[str, pa.Table]:
    """The tables a queue is made of."""
    draw = np.random.default_rng(seed)
    accounts = max(1, int(0.6 * opportunities))
    home = draw.integers(0, owners, accounts)
    account = draw.integers(0, accounts, opportunities)
    owner = np.where(draw.random(opportunities) < shared, draw.integers(0, owners, opportunities), home[account])
    names = np.array([f"o{number:07d}" for number in range(opportunities)])
    account_names = np.array([f"a{number:07d}" for number in range(accounts)])
    owner_names = np.array([f"s{number:05d}" for number in range(owners)])
    contact_names = np.array([f"c{number:07d}" for number in range(accounts)])
    probability = draw.beta(1.2, 3.0, opportunities).round(6)
    amount = np.exp(draw.normal(9, 1.2, opportunities)).round(2)
    day = np.timedelta64(1, "D")
    now = np.datetime64(AS_OF.instant.replace(tzinfo=None), "us")
    created = now - draw.integers(1, 300, opportunities) * day
    closes = (now + draw.integers(-60, 120, opportunities) * day).astype("datetime64[D]")
    spine = {
        "opportunity_id": names, "account_id": account_names[account], "contact_id": contact_names[account],
        "owner_id": owner_names[owner], "stage": "Qualify", "currency": "EUR", "kind": "opportunity", "source_system": "crm",
        "as_of": AS_OF.instant, "created_at": created, "crm_close_date": closes, "is_landmark": False,
    }  # fmt: skip
    scored = spine | {
        "win_probability": probability, "expected_amount": pa.array(amount).cast(pa.decimal128(18, 2), safe=False),
        "expected_value": pa.array((amount * probability).round(2)).cast(pa.decimal128(18, 2), safe=False),
        "reasons_up": pa.array([[]] * opportunities, arrow_schema(SCORED_OPPORTUNITIES).field("reasons_up").type),
        "reasons_down": pa.array([[]] * opportunities, arrow_schema(SCORED_OPPORTUNITIES).field("reasons_down").type),
        "evidence_level": "full_model", "model_name": "win", "model_version": "v", "run_id": "run-1",
    }  # fmt: skip
    touches = ACTIVITIES_EACH * opportunities
    about = draw.integers(0, opportunities, touches)
    at = now - (draw.gamma(1.5, 30.0, touches) * 86400).astype("timedelta64[s]")
    activities = {
        "activity_id": np.array([f"t{number:08d}" for number in range(touches)]), "opportunity_id": names[about],
        "account_id": account_names[account[about]], "contact_id": contact_names[account[about]],
        "owner_id": owner_names[owner[about]], "kind": draw.choice(["call", "email", "meeting"], touches, p=[0.35, 0.55, 0.1]),
        "direction": draw.choice(["inbound", "outbound"], touches, p=[0.25, 0.75]), "occurred_at": at, "logged_at": at,
    }  # fmt: skip
    return {
        "scored": table(SCORED_OPPORTUNITIES, opportunities, **scored),
        "spine": table(SPINE, opportunities, **spine),
        "activities": table(ACTIVITIES, touches, **(LINEAGE | activities)),
        "planned": table(PLANNED_ACTIVITIES, 0),
        "contacts": table(CONTACTS, accounts, **(LINEAGE | {"contact_id": contact_names, "account_id": account_names})),
        "owners": table(
            OWNERS,
            owners,
            **(LINEAGE | {"owner_id": owner_names, "is_active": draw.random(owners) > 0.02, "team": "t1"}),
        ),
    }


def measure(owners: int, opportunities: int, shared: float, seed: int, params: FollowUpParams) -> dict[str, Any]:
    """The figures of one world."""
    made = world(owners, opportunities, shared, seed)
    contracts = {"activities": ACTIVITIES, "planned": PLANNED_ACTIVITIES, "contacts": CONTACTS, "owners": OWNERS}
    with tempfile.TemporaryDirectory() as folder, DuckDBEngine(threads=2) as engine:
        refs = {
            name: write_table(made[name], Path(folder) / f"{name}.parquet", contract)
            for name, contract in contracts.items()
        }
        touches = touches_of(made["spine"], refs["activities"], AS_OF, engine)
        wall, cpu = time.perf_counter(), time.process_time()
        queue = build_queue(
            made["scored"], touches=touches, **refs, previous_queue=None, feedback=None, as_of=AS_OF, params=params, run_id="run-1",
            engine=engine, spine=made["spine"],
        )  # fmt: skip
        built, built_cpu = time.perf_counter() - wall, time.process_time() - cpu
        checks = check_queue(
            queue.rows, queue.left_out, queue.workload, made["scored"], None, as_of=AS_OF, params=params
        )
        checked = time.perf_counter() - wall - built
    return {
        "owners": owners,
        "opportunities": opportunities,
        "shared": shared,
        "queue rows": queue.rows.num_rows,
        "seconds to build": round(built, 1),
        "CPU seconds to build": round(built_cpu, 1),
        "seconds to check": round(checked, 1),
        "peak memory, MB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "gap to the bound, %": round(100 * queue.facts["gap_to_bound"], 3),
        "gain over the greedy order, %": round(
            100 * (queue.facts["expected_gain"] / queue.facts["greedy_expected_gain"] - 1), 2
        ),
        "separate problems": queue.facts["parts"],
        "of them rounded": queue.facts["rounded_parts"],
        "proposals considered": f"{queue.facts['proposals_considered']:,} of {queue.facts['proposals']:,}",
        "checks failed": [check.name for check in checks if not check.passed] or "none",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--owners", type=int, default=1000)
    parser.add_argument("--opportunities", type=int, default=200_000)
    parser.add_argument(
        "--shared", type=float, nargs="+", default=[0.0, 0.1], help="share owned by others than the account's owner"
    )
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--capacity", type=int, default=240, help="minutes of every owner; 0: learned from activities")
    given = parser.parse_args()
    params = FollowUpParams(capacity_minutes_per_day=given.capacity or None)
    for shared in given.shared:
        for name, value in measure(given.owners, given.opportunities, shared, given.seed, params).items():
            print(f"{name:32} {value}")
        print(flush=True)


if __name__ == "__main__":
    main()
