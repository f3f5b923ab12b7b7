"""Cleaning and features give the same cells on DuckDB and on Spark."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlglot

from sales_pipeline.clean.params import CleanParams
from sales_pipeline.clean.prepare import Canonical, prepare
from sales_pipeline.domain.time import AsOf
from sales_pipeline.engines.base import Engine
from sales_pipeline.engines.duckdb import DuckDBEngine
from sales_pipeline.features.build import build
from sales_pipeline.features.params import FeatureParams
from sales_pipeline.ingest.params import SourceMapping, StageMapping
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.tables import TableRef, read_table
from tests.support.raw import ingested
from tests.support.spark import QUIET, spark_engine

pytestmark = QUIET

MAPPING = SourceMapping(
    dialect="salesforce",
    stages=StageMapping(won=("Closed Won",), lost=("Closed Lost",), open=("New", "Offer", "Talks")),
    time_zone="Europe/Berlin",
)
DAYS = (
    "2026-01-{:02d}T08:00:00.000Z",
    "2026-02-{:02d} 7:42:59",
    "01/{:02d}/2026 2:14 PM",
    "{:02d}.02.2026 14:05",
    "2026-03-{:02d}T01:00:00+0800",
)
AMOUNTS = ("1,234.56", "1.234,56 €", "(500)", "n/a", "$10,000", "-3", "1.0E4", "", None, "12 345,5", "7")
TEXTS = (
    "Retail",
    " retail",
    "RETAIL  ",
    "Größe Ü",
    "日本\u3000語",
    "None",
    'quo"te',
    "it's",
    "tab\there",
    None,
    "a\\b",
)


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with spark_engine(tmp_path_factory.mktemp("spark")) as engine:
        yield engine


@pytest.fixture(scope="module")
def duck() -> Iterator[Engine]:
    with DuckDBEngine(threads=1) as engine:
        yield engine


def _world(seed: int, size: int) -> dict[str, list[dict[str, Any]]]:
    """Ties, NULLs, offsets, odd text, 15- and 18-character ids, unknown records; few instants, so that many events share one."""
    rng = random.Random(seed)

    def some_id(prefix: str, number: int) -> str:
        return f"{prefix}0000000000{number:02d}" if rng.random() < 0.5 else f"{prefix}0000000000{number:02d}AAA"

    def instant() -> str | None:
        return None if rng.random() < 0.05 else rng.choice(DAYS).format(rng.randint(1, 31))

    def stage() -> str:
        return rng.choice(("New", "offer", " Talks", "Closed Won", "Closed Lost"))

    opportunities = [
        {
            "opportunity_id": some_id("006", n % max(size - 3, 1)), "account_id": some_id("001", rng.randint(0, 4)), "owner_id": some_id("005", rng.randint(0, 3)),
            "stage": stage(), "amount": rng.choice(AMOUNTS), "crm_close_date": rng.choice(("2026-04-01", "2026-02-31", "04/05/2026", None)),
            "crm_probability": rng.choice(("10", "50%", "100", "140", None)), "lead_source": rng.choice(TEXTS), "created_at": instant(),
            "modified_at": instant(), "is_deleted": rng.choice(("0", "0", "0", "1")), "currency": rng.choice(("EUR", "usd", "Euro", None)),
        }
        for n in range(size)
    ]  # fmt: skip
    return {
        "accounts": [{"account_id": some_id("001", n), "industry": rng.choice(TEXTS), "employees": rng.choice(("10", "1.200", "-1", None))} for n in range(4)],
        "owners": [{"owner_id": some_id("005", n), "team": rng.choice(TEXTS), "is_active": rng.choice(("1", "false", None))} for n in range(3)],
        "opportunities": opportunities,
        "opportunity_attributes": [
            {"source_record": n + 1, "attribute": name, "value": value}
            for n in range(size)
            for name, value in (("Kind__c", rng.choice(TEXTS)), ("Size__c", str(rng.randint(0, 9))), ("Day__c", "2026-01-05"))
            if value is not None
        ],
        "state_history": [
            {"change_id": rng.choice((f"h{n}", "h1", None)), "opportunity_id": some_id("006", rng.randint(0, size)), "changed_at": instant(), "stage": stage(),
             "amount": rng.choice(AMOUNTS), "crm_close_date": "2026-05-01", "crm_probability": "30"}
            for n in range(size * 2)
        ],
        "field_history": [
            {"change_id": f"f{n}", "opportunity_id": some_id("006", rng.randint(0, size)), "changed_at": instant(), "field": rng.choice(("owner_id", "amount", "Other__c")),
             "old_value": some_id("005", 1), "new_value": rng.choice((some_id("005", 2), None))}
            for n in range(size)
        ],
        "activities": [
            {"activity_id": f"t{n % (3 * size - 2)}", "opportunity_id": rng.choice((some_id("006", rng.randint(0, size)), some_id("001", 1), None)),
             "owner_id": some_id("005", 1), "contact_id": rng.choice((some_id("003", 1), None)), "kind": rng.choice(("Call", "Email", "Meeting", "x", None)),
             "direction": rng.choice(("Inbound", "outbound", None)), "occurred_at": instant(), "logged_at": instant(), "due_at": instant(),
             "is_done": rng.choice(("true", "0", "Completed", None))}
            for n in range(size * 3)
        ],
    }  # fmt: skip


def _cells(ref: TableRef) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = read_table(ref).to_pylist()
    return [{key: round(value, 6) if isinstance(value, float) else value for key, value in row.items()} for row in rows]


def _compare(left: TableRef, right: TableRef) -> None:
    assert read_table(left).schema.names == read_table(right).schema.names
    for number, (one, other) in enumerate(zip(_cells(left), _cells(right), strict=True)):
        assert one == other, f"{left.name}, row {number}"


def _both(
    folder: Path, tables: dict[str, list[dict[str, Any]]], duck: Engine, spark: Engine
) -> tuple[Canonical, Canonical]:
    params = CleanParams(max_unknown_stage_share=1.0)
    export = ingested(folder / "raw", tables)
    return (
        prepare(Lake(folder / "duck"), [export], MAPPING, params, duck),
        prepare(Lake(folder / "spark"), [export], MAPPING, params, spark),
    )


@pytest.mark.parametrize(("seed", "size"), [(2, 30)])
def test_cleaning_and_features_agree(seed: int, size: int, tmp_path: Path, duck: Engine, spark: Engine) -> None:
    left, right = _both(tmp_path, _world(seed, size), duck, spark)
    for name in left.tables:
        _compare(left.tables[name], right.tables[name])
    _compare(left.ledger, right.ledger)
    _compare(left.cell_issues, right.cell_issues)
    assert left.rules == right.rules
    as_of = AsOf(datetime(2026, 3, 20, tzinfo=UTC))
    for purpose in ("scoring", "training"):
        one = build(Lake(tmp_path / "duck"), left, as_of, purpose=purpose, params=FeatureParams(), engine=duck)
        other = build(Lake(tmp_path / "spark"), left, as_of, purpose=purpose, params=FeatureParams(), engine=spark)
        assert one.absent == other.absent
        for part in ("spine", "features", "attributes", "outcomes"):
            _compare(getattr(one, part), getattr(other, part))


PARSED = (
    "12.5万元", "¥1,200万", "3千万", "1.2亿", "约5万", "1亿2000万", "人民币 5 万元整", "-3萬", "5百千", "2026年6月30日", "2026年06月30日 10:30", "2026年1月2日3时04分",
    "2026年2月31日", "2026年6月", "{0AB1C2D3-0000-4000-8000-00000000ABCD}", "Ada Owner", "1,234.56", "", None,
)  # fmt: skip


def test_chinese_notations_and_guids_are_read_alike(duck: Engine, spark: Engine) -> None:
    model = sqlglot.parse_one(
        "SELECT n, parse_amount(x, '.') AS amount, parse_day(x, 'ymd') AS day, CAST(parse_instant(x, 'ymd', 'UTC') AS VARCHAR) AS instant,"
        " parse_id(x, 'guid') AS id, cjk_exponent(bare_number(x)) AS exponent FROM t ORDER BY n",
        read="duckdb",
    )
    texts = pa.table({"n": range(len(PARSED)), "x": pa.array(PARSED, pa.string())})
    left, right = (engine.query(model, {"t": texts}).to_pylist() for engine in (duck, spark))  # type: ignore[arg-type]
    for row in (*left, *right):
        row["instant"] = row["instant"] and row["instant"][:19]
    assert left == right


def test_an_export_of_a_single_open_deal_agrees(tmp_path: Path, duck: Engine, spark: Engine) -> None:
    deal = {"opportunity_id": "006000000000001", "stage": "New", "created_at": str(date(2026, 1, 1))}
    left, right = _both(tmp_path, {"opportunities": [deal]}, duck, spark)
    for name in left.tables:
        _compare(left.tables[name], right.tables[name])
