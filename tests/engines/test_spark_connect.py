"""The engine over Spark Connect: a client without a Java of its own. In a process of its own, as pyspark is either a client or not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.spark_cluster import connect_server

pytestmark = pytest.mark.spark

CLIENT = """
import json, sys
from pathlib import Path
import pyarrow as pa, pyarrow.compute as pc, sqlglot
from sales_pipeline.contracts.model import Column, Table
from sales_pipeline.engines.spark import SparkEngine
from sales_pipeline.lake.tables import read_table

def doubled(batch, shared):
    return batch.select(["key"]).append_column("value", pc.multiply(batch.column("x"), shared["factor"]))

contract = Table("t", "key", ("key",), (Column("key", "string", "key", required=True), Column("value", "float64", "value", null_means="none")))
rows = pa.table({"key": ["b", "a", "b"], "x": [1.5, None, 2.0]})
tree = sqlglot.parse_one("SELECT key, latest(x, x) AS x, COUNT(*) AS n FROM t GROUP BY key", read="duckdb")
with SparkEngine(Path(sys.argv[2]), master=sys.argv[1], shuffle_partitions=1) as engine:
    ref = engine.run(tree, {"t": rows}, Path(sys.argv[2]) / "out.parquet", order_by=["key"])
    made = engine.apply_batches(sqlglot.parse_one("SELECT key, x FROM t", read="duckdb"), {"t": rows.slice(0, 2)}, doubled, {"factor": 2.0}, Path(sys.argv[2]) / "made.parquet", contract)
    plan = engine.explain(tree, {"t": rows})
    kind = type(engine._session).__module__
left = sorted(path.name for path in Path(sys.argv[2]).iterdir())
print(json.dumps([kind, read_table(ref).to_pylist(), read_table(made).to_pylist(), "HashAggregate" in plan or "SortAggregate" in plan, left]))
"""


def test_models_and_functions_run_over_spark_connect(tmp_path: Path) -> None:
    pytest.importorskip("pyspark", reason="pyspark is not installed: pip install 'sales-pipeline[spark]'")
    with connect_server(tmp_path / "server") as address:
        client = subprocess.run(
            [sys.executable, "-c", CLIENT, address, str(tmp_path / "shared")], capture_output=True, text=True, check=False
        )  # fmt: skip
    assert client.returncode == 0, client.stderr[-3_000:]
    kind, rows, made, is_plan, left = json.loads(client.stdout.splitlines()[-1])
    assert kind.startswith("pyspark.sql.connect")
    assert rows == [{"key": "a", "x": None, "n": 1}, {"key": "b", "x": 2.0, "n": 2}]
    assert made == [{"key": "a", "value": None}, {"key": "b", "value": 3.0}]
    assert is_plan
    assert left == ["made.parquet", "out.parquet"], "a session leaves nothing in its folder"
