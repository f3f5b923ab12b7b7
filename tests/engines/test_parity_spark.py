"""Cleaning and features give the same cells on DuckDB and on Spark."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
import sqlglot

from sales_pipeline.engines.base import Engine
from tests.support.parity import both, compare_cleaned, compare_features, compare_predictions, some_world
from tests.support.spark import COMPILED, QUIET, spark_engine

pytestmark = QUIET


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with spark_engine(tmp_path_factory.mktemp("spark"), **COMPILED) as engine:
        yield engine


@pytest.mark.parametrize(("seed", "size"), [(2, 30)])
def test_cleaning_and_features_agree(seed: int, size: int, tmp_path: Path, duck: Engine, spark: Engine) -> None:
    left, right = both(tmp_path, some_world(seed, size), duck, spark)
    compare_cleaned(left, right)
    compare_features(tmp_path, left, right, duck, spark)


def test_predictions_agree(tmp_path: Path, duck: Engine, spark: Engine) -> None:
    compare_predictions(tmp_path, duck, spark)


PARSED = (
    "12.5万元", "¥1,200万", "3千万", "1.2亿", "约5万", "1亿2000万", "人民币 5 万元整", "-3萬", "5百千", "2026年6月30日", "2026年06月30日 10:30", "2026年1月2日3时04分",
    "2026年2月31日", "2026年6月", "{0AB1C2D3-0000-4000-8000-00000000ABCD}", "Ada Owner", "1,234.56", "", None,
    "2026-06-30 10:30:05", "2026-06-30", "2026-06-30T10:30:05", "2026-06-30T10:30:05.5Z", "2026-06-30 10:30:05+02:00", "2026-06-30 10:30:5 ", "2026-06-30 24:00:00",
    "2026-02-30", "20026-04-27", "2026-6-3  3:04:05", "1969-12-31 10:00:00", "30.06.2026 4:05 PM", "1.234,5", "1.234.567", "12,345", "1,23,456.7", "a\tb  c", " x ", "é\u00a0",
    "2026-06-31 10:30:05", "2026-06-30 10:30:60", "2026-06-30 10:61:00", "2026-06-30 10:30:05\n", "2026-06-30 10:30:0Z", "2026-06-3 ", "2026-13-01",
    "1", " Yes ", "OFF", "1.0", "0.0", "n", "T", "yes\n",
)  # fmt: skip


def test_notations_are_read_alike(duck: Engine, spark: Engine) -> None:
    model = sqlglot.parse_one(
        "SELECT n, parse_amount(x, '.') AS amount, parse_day(x, 'ymd') AS day, CAST(parse_instant(x, 'ymd', 'UTC') AS VARCHAR) AS instant,"
        " parse_id(x, 'guid') AS id, parse_flag(x) AS flag, clean_text(x) AS text, parse_amount(x, ',') AS other_amount, CAST(parse_instant(x, 'ymd', 'Europe/Berlin') AS VARCHAR) AS local, cjk_exponent(bare_number(x)) AS exponent FROM t ORDER BY n",
        read="duckdb",
    )
    texts = pa.table({"n": range(len(PARSED)), "x": pa.array(PARSED, pa.string())})
    left, right = (engine.query(model, {"t": texts}).to_pylist() for engine in (duck, spark))  # type: ignore[arg-type]
    for row in (*left, *right):
        for name in ("instant", "local"):
            row[name] = row[name] and row[name][:19]
    assert left == right


def test_an_export_of_a_single_open_deal_agrees(tmp_path: Path, duck: Engine, spark: Engine) -> None:
    deal = {"opportunity_id": "006000000000001", "stage": "New", "created_at": str(date(2026, 1, 1))}
    left, right = both(tmp_path, {"opportunities": [deal]}, duck, spark)
    compare_cleaned(left, right)
    compare_features(tmp_path, left, right, duck, spark)
