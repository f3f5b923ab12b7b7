"""A standalone cluster of two workers gives the cells DuckDB gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from sales_pipeline.engines.duckdb import DuckDBEngine
from tests.support.parity import both, compare_cleaned, compare_features, compare_predictions, some_world
from tests.support.spark import INTERPRETED, QUIET, spark_engine
from tests.support.spark_cluster import standalone_cluster

pytestmark = QUIET


def test_a_cluster_of_two_workers_agrees(tmp_path: Path) -> None:
    pytest.importorskip("pyspark", reason="pyspark is not installed: pip install 'sales-pipeline[spark]'")
    conf = INTERPRETED | {
        "spark.executor.memory": "512m",
        "spark.executor.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    }
    with (
        standalone_cluster(tmp_path / "cluster") as master,
        spark_engine(tmp_path / "shared", master, **conf) as spark,
        DuckDBEngine(threads=1) as duck,
    ):
        left, right = both(tmp_path, some_world(5, 20), duck, spark)
        compare_cleaned(left, right)
        compare_features(tmp_path, left, right, duck, spark)
        compare_predictions(tmp_path / "shared", duck, spark)
        workers = {log.parts[-4] for log in (tmp_path / "cluster").glob("work*/app-*/*/stderr")}
        assert workers == {"work0", "work1"}, "both workers ran an executor"
