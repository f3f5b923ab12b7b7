"""How long the publication of a large run into PostgreSQL takes: seconds, peak memory, and the ratio to a floor measured in the same run.

    python -m tests.benchmarks.postgres [--rows 1000000] [--seed 7]

The floor is COPY of the same text, made beforehand, into a table without keys, by the same client. The server is a new one, with fsync and
write-ahead log as they come. The publication is all of it: comparing the files with the manifest, making the text, COPY, key, audit,
statistics, swap, ledger, commit.

Belongs here: the measurement. Does not belong here: whether the rows are right (tests/pipeline/test_postgres.py).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from sales_pipeline.contracts.derive import REASON_TYPE, arrow_schema
from sales_pipeline.contracts.published import EVIDENCE_LEVELS, GRADES, SCORED_OPPORTUNITIES, TRENDS
from sales_pipeline.delivery.postgres import tables
from sales_pipeline.delivery.postgres.copying import Tally, copy_text
from sales_pipeline.delivery.postgres.publish import publish_to_postgres
from tests.support.postgres_server import Server, missing, postgres_server
from tests.support.published_lake import unaudited_folder
from tests.support.scored_rows import AS_OF

AS_THEY_COME = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "autovacuum": "on"}
BLOCK_BYTES = 1 << 22


def reasons(draw: np.random.Generator, rows: int, sign: int) -> pa.Array:
    """Up to three reasons a row, their texts with figures in them."""
    counts = draw.integers(0, 4, rows)
    total = int(counts.sum())
    days, kind = draw.integers(0, 400, total), draw.integers(0, 12, total)
    texts = [
        f"The last contact of kind {k} was {d} days ago" for k, d in zip(kind.tolist(), days.tolist(), strict=True)
    ]
    weights = pa.array((sign * draw.gamma(1.2, 0.4, total)).round(6))
    codes = pa.array([f"code_{k}" for k in range(12)]).take(pa.array(kind))
    offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]), pa.int32())
    return pa.ListArray.from_arrays(
        offsets, pa.StructArray.from_arrays([codes, pa.array(texts), weights], fields=list(REASON_TYPE))
    )


def scored(rows: int, seed: int, run_id: str) -> pa.Table:
    """A scored table of that many open opportunities."""
    draw = np.random.default_rng(seed)
    day = np.datetime64("2026-07-01", "D")
    names = [f"006Q{number:014d}" for number in range(rows)]
    probability = draw.beta(1.2, 3.0, rows).round(6)

    def decimals(values: Any) -> pa.Array:
        return pa.array(values).cast(pa.decimal128(18, 2), safe=False)

    def pick(values: tuple[str, ...]) -> pa.Array:
        return pa.array(values).take(pa.array(draw.integers(0, len(values), rows)))

    amount = decimals(np.exp(draw.normal(9, 1.2, rows)).round(2))
    given: dict[str, Any] = {
        "source_system": "crm", "kind": "opportunity", "currency": "EUR", "model_name": "win", "run_id": run_id,
        "model_version": "0123456789abcdef", "as_of": AS_OF.instant, "opportunity_id": names,
        "account_id": [f"001Q{n:014d}" for n in draw.integers(0, rows, rows).tolist()],
        "owner_id": [f"005Q{n:014d}" for n in draw.integers(0, 1000, rows).tolist()],
        "stage": pick(("Prospecting", "Qualification", "Proposal/Price Quote", "Negotiation/Review")),
        "grade": pick(GRADES), "trend": pick(TRENDS), "evidence_level": pick(EVIDENCE_LEVELS),
        "score": pa.array(np.clip((100 * probability).round(), 1, 99).astype("int64")),
        "reasons_up": reasons(draw, rows, 1), "reasons_down": reasons(draw, rows, -1),
    }  # fmt: skip
    for field in arrow_schema(SCORED_OPPORTUNITIES):
        if field.name in given or field.name in ("pipeline", "abstain_reason"):
            continue
        if pa.types.is_decimal(field.type):
            given[field.name] = amount
        elif pa.types.is_date(field.type):
            given[field.name] = pa.array(day + draw.integers(0, 200, rows))
        else:
            given[field.name] = pa.array(draw.random(rows).round(6))
    columns = []
    for field in arrow_schema(SCORED_OPPORTUNITIES):
        value = given.get(field.name)
        is_column = isinstance(value, pa.Array | pa.ChunkedArray | list)
        columns.append(
            pa.array(value, field.type)
            if isinstance(value, list)
            else value
            if is_column
            else pa.array([value] * rows, field.type)
        )
    return pa.Table.from_arrays(columns, schema=arrow_schema(SCORED_OPPORTUNITIES))


def floor_seconds(server: Server, database: str, parquet: Path, text: Path) -> float:
    """COPY of the text alone."""
    columns = SCORED_OPPORTUNITIES.columns
    with text.open("wb") as handle:
        handle.writelines(memoryview(part) for part in copy_text(parquet, columns, Tally()))
    with server.connect(database) as connection:
        connection.execute("CREATE SCHEMA runs")
        connection.execute(tables.create_run_table("floor", columns, 1))
        started = time.perf_counter()
        with (
            connection.cursor() as cursor,
            cursor.copy(
                "COPY runs.floor (" + ", ".join(column.name for column in columns) + ") FROM STDIN (FORMAT csv)"
            ) as copy,
            text.open("rb") as handle,
        ):
            while block := handle.read(BLOCK_BYTES):
                copy.write(block)
        return time.perf_counter() - started


def published(folder: Path, url: str, password: str) -> tuple[bool, float, float]:
    """Whether the run was new, seconds, and the peak memory in MB of the process that publishes (imports included)."""
    started = time.perf_counter()
    done = publish_to_postgres(folder, url, password, keep_runs=2, reader_role=None)
    seconds = time.perf_counter() - started
    # Not `ru_maxrss`: it begins with what the parent held when it started this process.
    status = Path("/proc/self/status").read_text()
    return done.is_new, seconds, int(status.split("VmHWM:")[1].split()[0]) / 1024


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    if reason := missing():
        print(f"PostgreSQL was not measured: {reason}")
        return
    with tempfile.TemporaryDirectory() as name, postgres_server(on_disk=True, **AS_THEY_COME) as server:
        root = Path(name)
        tables_made = {"scored_opportunities": scored(given.rows, given.seed, "run-1")}
        folder = unaudited_folder(root, "run-1", tables_made)
        floor = floor_seconds(server, server.new_database(), folder / "scored_opportunities.parquet", root / "text.csv")
        size = (root / "text.csv").stat().st_size / 1e6
        asked = (folder, server.url(server.new_database()), server.password)
        # A process of its own, so that its memory is the publication's and not that of making the rows.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as other:
            is_new, seconds, peak = other.submit(published, *asked).result()
            is_new_again, repeated, _ = other.submit(published, *asked).result()
    assert (is_new, is_new_again) == (True, False)
    print(f"PostgreSQL, {given.rows:,} rows of scored_opportunities ({size:,.0f} MB as text)")
    print(f"  floor (COPY alone)    {floor:7.1f} s")
    print(f"  publication           {seconds:7.1f} s   {seconds / floor:.2f} x floor, peak memory {peak:,.0f} MB")
    print(f"  the same run again    {repeated:7.1f} s   (the files are compared, nothing is written)")


if __name__ == "__main__":
    main()
