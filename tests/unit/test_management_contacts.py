"""Last contacts kept by part of the activities say what reading all activities says, at any as-of, and only parts that changed are read again."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sales_pipeline.contracts.canonical import ACTIVITIES
from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.engines.base import Source
from sales_pipeline.engines.compiler import parse_model
from sales_pipeline.engines.duckdb import DuckDBEngine
from sales_pipeline.features.sql_models import written_out
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.tables import TableRef, table_ref, write_table
from sales_pipeline.sales_management.contacts import LAST_CONTACTS, LATER_ACTIVITIES, STAGE, all_read, kept_or_read
from sales_pipeline.sales_management.seen import SQL, WRITTEN_OUT

START = datetime(2024, 1, 1, tzinfo=UTC)
QUARTER, WINDOW = timedelta(days=91), timedelta(days=90)


@pytest.fixture(scope="module")
def engine() -> Iterator[DuckDBEngine]:
    with DuckDBEngine(threads=1) as running:
        yield running


def part(draw: random.Random, number: int, rows: int = 40) -> list[dict[str, Any]]:
    """Activities of one quarter; a few were recorded long after they happened, and some name no account."""
    found = []
    for place in range(rows):
        # Whole days: some are at one instant, and their ids say which came last.
        at = START + number * QUARTER + timedelta(days=draw.randrange(91))
        found.append(
            {
                "source_system": "crm",
                "activity_id": f"{number}-{place}",
                "account_id": draw.choice([None, "a", "b", "c", "d"]),
                "opportunity_id": draw.choice([None, "o1", "o2", "o3"]),
                "kind": draw.choice(["call", "email", "task"]),
                "direction": draw.choice([None, "inbound", "outbound"]),
                "occurred_at": at,
                "logged_at": at + timedelta(days=draw.choice([0] * 60 + [200, 700])),
                "source_file": "f",
                "source_record": place,
            }
        )
    return found


def written(folder: Path, parts: dict[str, list[dict[str, Any]]]) -> TableRef:
    path = folder / f"{ACTIVITIES.name}.parquet"
    for name, rows in parts.items():
        write_table(pa.Table.from_pylist(rows, schema=arrow_schema(ACTIVITIES)), path / f"{name}.parquet", ACTIVITIES)
    return table_ref(ACTIVITIES.name, path)


def told(contacts: dict[str, Source], as_of: datetime, engine: DuckDBEngine) -> dict[str, list[dict[str, Any]]]:
    """What the two models that read them say."""
    states = pa.table(
        {
            "opportunity_id": ["o1", "o2", "o3"],
            "account_id": ["a", "e", None],
            "owner_id": ["u", "u", "v"],
            "is_won": [None, True, None],
        }
    )
    known = {**contacts, "opportunity_states": states}
    known |= {name: parse_model(SQL / f"{name}.sql") for name in WRITTEN_OUT}
    windows = {"as_of": as_of, "recent_from": as_of - WINDOW, "before_from": as_of - 2 * WINDOW}
    given = {"account_contacts": windows, "responses": {"as_of": as_of, "inbound_from": as_of - WINDOW}}
    found = {}
    for name, parameters in given.items():
        tree, inputs = written_out(parse_model(SQL / f"{name}.sql"), known)
        found[name] = sorted(engine.query(tree, inputs, parameters=parameters).to_pylist(), key=str)
    return found


@pytest.mark.parametrize("seed", range(4))
def test_what_is_kept_says_what_all_activities_say_at_any_as_of(
    seed: int, tmp_path: Path, engine: DuckDBEngine
) -> None:
    draw = random.Random(seed)
    activities = written(tmp_path, {f"part {number}": part(draw, number) for number in range(6)})
    lake = Lake(tmp_path / "lake")
    kept_parts, turns = set(), 0
    for days in (800, 546, 365, 300, 90, 0):
        as_of = START + timedelta(days=days)
        found = dict(kept_or_read(lake, activities, as_of - 2 * WINDOW, engine))
        assert told(found, as_of, engine) == told(all_read(activities), as_of, engine)
        turns += len(told(found, as_of, engine)["responses"])
        kept_parts.add(0 if isinstance(found[LAST_CONTACTS], pa.Table) else len(found[LAST_CONTACTS]))
    assert max(kept_parts) > 0 and 0 in kept_parts
    assert turns > 10


def test_only_a_part_that_changed_is_added_up_again(tmp_path: Path, engine: DuckDBEngine) -> None:
    draw = random.Random(7)
    parts = {
        f"part {number}": [row | {"logged_at": row["occurred_at"]} for row in part(draw, number)] for number in range(3)
    }
    lake = Lake(tmp_path / "lake")
    since = START + 2 * QUARTER
    first = kept_or_read(lake, written(tmp_path / "before", parts), since, engine)
    assert len(list((lake.root / STAGE).iterdir())) == 2
    assert first[LATER_ACTIVITIES] == [tmp_path / "before" / "activities.parquet" / "part 2.parquet"]
    changed = {**parts, "part 1": parts["part 1"][1:]}
    second = kept_or_read(lake, written(tmp_path / "now", changed), since, engine)
    assert first[LAST_CONTACTS][0] == second[LAST_CONTACTS][0]
    assert len(list((lake.root / STAGE).iterdir())) == 3
    as_of = since + 2 * WINDOW
    assert told(dict(second), as_of, engine) == told(all_read(written(tmp_path / "anew", changed)), as_of, engine)


def test_a_part_whose_file_tells_nothing_of_its_rows_is_read(tmp_path: Path, engine: DuckDBEngine) -> None:
    activities = written(tmp_path, {"part 0": part(random.Random(1), 0)})
    (file,) = activities.files
    pq.write_table(pq.read_table(file), file, write_statistics=False)
    found = kept_or_read(Lake(tmp_path / "lake"), activities, START + 20 * QUARTER, engine)
    assert found[LATER_ACTIVITIES] == activities
