"""Spark on empty tables and on batches: every model gives what DuckDB gives, joins by key, and shuffles once per key."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import sqlglot
from sqlglot import exp

from sales_pipeline.contracts.model import Column, Table
from sales_pipeline.engines.duckdb import DuckDBEngine
from sales_pipeline.lake.tables import read_table
from tests.support.filled import FilledWorld
from tests.support.parity import differences
from tests.support.plans import EmptyWorld, model_paths, parameters_of, tree_of
from tests.support.spark import INTERPRETED, QUICK_START, QUIET, spark_engine

if TYPE_CHECKING:
    from sales_pipeline.engines.spark import SparkEngine

pytestmark = QUIET

ONE_ROW = {"facts_of_opportunities", "staged_quotas", "current_facts"}
"""Models that put a single row of figures beside every row: Spark broadcasts it."""
RANGES = {
    "removals": "an opportunity meets the full extracts after the last that shows it: there are as many as exports",
    "spine": "a span in which an opportunity was open meets the as-ofs within it: the grid has some dozens, and the rows are the result",
}
ONE_KEY = {"timeline": "opportunity_id", "engagement": "opportunity_id", "state": "opportunity_id", "open_spans": "opportunity_id", "planned": "opportunity_id"}  # fmt: skip
"""Models whose every join, window and group goes by one key: all their shuffles are by it, and each input is shuffled once at most."""


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkEngine]:
    """Joins are never broadcast by size, as with tables too large for it; what runs once is interpreted."""
    conf = INTERPRETED | {"spark.sql.autoBroadcastJoinThreshold": "-1"}
    with spark_engine(tmp_path_factory.mktemp("spark"), **conf) as engine:
        yield engine


@pytest.fixture(scope="module")
def plans(spark: SparkEngine, world: EmptyWorld) -> dict[str, str]:
    """Spark's plan of every model."""
    found = {}
    for name in [*model_paths(), "features"]:
        tree = tree_of(name)
        found[name] = spark.explain(tree, world.inputs(name), **parameters_of(tree))
    return found


def slow_joins(plan: str) -> set[str]:
    return set(re.findall(r"CartesianProduct|BroadcastNestedLoopJoin", plan))


def shuffles(plan: str) -> list[str]:
    """The keys of the shuffles of a plan, without the numbers Spark gives to columns."""
    return [re.sub(r"#\d+L?", "", keys) for keys in re.findall(r"Exchange hashpartitioning\((.*?), \d+\)", plan)]


def test_no_model_is_a_cartesian_product_or_a_nested_loop_but_those_named(plans: dict[str, str]) -> None:
    assert {name for name, plan in plans.items() if slow_joins(plan)} == ONE_ROW | set(RANGES)


def test_a_cross_join_put_into_a_model_is_found(spark: SparkEngine, world: EmptyWorld, plans: dict[str, str]) -> None:
    tree = tree_of("engagement").copy()
    planted = "(SELECT activity_id AS planted_id FROM activities) AS planted"
    next(iter(tree.find_all(exp.Select))).join(planted, join_type="cross", copy=False, dialect="duckdb")
    assert slow_joins(plans["engagement"]) == set()
    assert slow_joins(spark.explain(tree, world.inputs("engagement"), **parameters_of(tree))) != set()


@pytest.mark.parametrize("name", ONE_KEY)
def test_a_model_of_one_key_shuffles_each_input_once(name: str, plans: dict[str, str]) -> None:
    found = shuffles(plans[name])
    assert {keys.split(",")[0].strip() for keys in found} == {ONE_KEY[name]}
    assert len(found) <= plans[name].count("FileScan parquet")


def test_a_second_key_is_seen(spark: SparkEngine, world: EmptyWorld) -> None:
    tree = sqlglot.parse_one(
        "SELECT kind, COUNT(*) AS n FROM (SELECT opportunity_id, kind FROM activities GROUP BY opportunity_id, kind HAVING COUNT(*) > 1) AS a GROUP BY kind",
        read="duckdb",
    )
    assert isinstance(tree, exp.Query)
    found = shuffles(spark.explain(tree, {"activities": world.table("activities")}))
    assert {keys.split(",")[0].strip() for keys in found} == {"opportunity_id", "kind"}


@pytest.mark.parametrize("name", [*model_paths(), "features"])
def test_a_model_over_empty_tables_gives_the_same_on_both(
    name: str, spark: SparkEngine, duck: DuckDBEngine, world: EmptyWorld
) -> None:
    tree = tree_of(name)
    one, other = (engine.query(tree, world.inputs(name), parameters=parameters_of(tree)) for engine in (duck, spark))
    assert other.column_names == one.column_names
    assert other.to_pylist() == one.to_pylist()


OF_PACKAGES = ("delivery", "follow_up", "sales_management")
GENERATED = sorted(name for name, path in model_paths().items() if path.parts[-3] in OF_PACKAGES)
"""Models that no whole step over generated raw tables covers; those of cleaning and features are in test_parity_spark."""


@pytest.fixture(scope="module")
def filled(duck: DuckDBEngine, tmp_path_factory: pytest.TempPathFactory) -> FilledWorld:
    return FilledWorld(duck, tmp_path_factory.mktemp("filled"), seed=4)


@pytest.mark.parametrize("name", GENERATED)
def test_a_model_over_a_generated_world_gives_the_same_on_both(
    name: str, spark: SparkEngine, duck: DuckDBEngine, filled: FilledWorld
) -> None:
    given = filled.inputs(name), filled.parameters(name)
    one, other = (engine.query(tree_of(name), given[0], parameters=given[1]) for engine in (duck, spark))
    assert other.column_names == one.column_names
    assert one.num_rows > 0, "a model without rows would prove nothing here"
    assert list(differences(in_order(one), in_order(other), name)) == []


def in_order(table: pa.Table) -> list[dict[str, Any]]:
    """Rows in an order of their own, for models that promise none: by every value, floats last and roughly."""
    return sorted(
        table.to_pylist(),
        key=lambda row: (
            [repr(value) for value in row.values() if not isinstance(value, float)],
            [round(value, 6) for value in row.values() if isinstance(value, float)],
        ),
    )


def test_hours_and_days_between_instants_agree(spark: SparkEngine, duck: DuckDBEngine) -> None:
    minutes = [0, 1, 59, 60, 61, 119, 120, 1_439, 1_440, 1_441, None]
    pairs = [(one, other) for one in minutes for other in minutes]
    instants = [
        pa.array([None if m is None else m * 60_000_000 for m in column], pa.int64())
        for column in zip(*pairs, strict=True)
    ]
    table = pa.table(
        {name: values.cast(pa.timestamp("us", tz="UTC")) for name, values in zip(("a", "b"), instants, strict=True)}
    )
    tree = sqlglot.parse_one(
        "SELECT a, b, hours_between(a, b) AS hours, days_between(a, b) AS days FROM t ORDER BY a, b", read="duckdb"
    )
    assert isinstance(tree, exp.Query)
    one, other = (engine.query(tree, {"t": table}).to_pylist() for engine in (duck, spark))
    assert one == other
    assert {row["hours"] for row in one if row["a"] and row["b"]} >= {-23, 0, 1, 24}


SCORES = Table(
    "scores", "one row per key and instant", ("key", "at"),
    (
        Column("key", "string", "key", required=True), Column("at", "timestamp", "instant", required=True), Column("amount", "amount", "amount", null_means="none"),
        Column("value", "float64", "value", null_means="none", decimals=6),
    ),
)  # fmt: skip


@pytest.mark.parametrize("rows", [0, 1, 501])
def test_a_function_over_batches_gives_the_same_bytes_on_both(
    rows: int, spark: SparkEngine, duck: DuckDBEngine, tmp_path: Path
) -> None:
    def scored(batch: pa.Table, weights: dict[str, float]) -> pa.Table:
        value = pc.add(pc.multiply(batch.column("x"), weights["x"]), weights["bias"])
        return batch.select(["key", "at", "amount"]).append_column("value", value)

    numbers = [(n * 7919) % max(rows, 1) for n in range(rows)]
    instants = pa.array([n * 1_000_003 for n in numbers], pa.int64()).cast(pa.timestamp("us", tz="UTC"))
    source: Any = pa.table(
        {
            "key": pa.array([f"Größe {n % 50}" if n % 3 else "日本" for n in numbers], pa.string()),
            "at": instants,
            "amount": pa.array([None if n % 5 == 0 else n for n in numbers], pa.decimal128(18, 2)),
            "x": pa.array([None if n % 11 == 0 else n / 7 for n in numbers], pa.float64()),
        }
    )
    pq.write_table(source, tmp_path / "in.parquet", row_group_size=100)
    weights = {"x": 0.3, "bias": -1.0}
    one, other = (
        engine.apply_batches(
            exp.select("*").from_("t"),
            {"t": tmp_path / "in.parquet"},
            scored,
            weights,
            tmp_path / f"{number}.parquet",
            SCORES,
            batch_rows=64,
        )
        for number, engine in enumerate((duck, spark))
    )
    assert (one.rows, one.sha256) == (rows, other.sha256)
    assert read_table(other).schema.equals(read_table(one).schema)


@pytest.mark.parametrize("rows", [0, 501])
def test_rows_of_several_partitions_are_in_order_in_one_file_that_spark_reads(
    rows: int, spark: SparkEngine, duck: DuckDBEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sales_pipeline.engines.spark._FEW_ROWS", -1)
    keys = [f"Größe {(n * 7919) % 501:03d}" for n in range(rows)]
    source: Any = pa.table({"key": pa.array(keys, pa.string()), "n": pa.array(range(rows), pa.int64())})
    tree = sqlglot.parse_one(
        "SELECT key, CAST(SUM(n) AS BIGINT) AS total, CAST(AVG(n) AS DOUBLE) / 7 AS mean, n % 3 AS part FROM t GROUP BY key, n % 3",
        read="duckdb",
    )
    assert isinstance(tree, exp.Query)
    one, other = (
        engine.run(tree, {"t": source}, tmp_path / f"{number}.parquet", order_by=("key", "part"))
        for number, engine in enumerate((duck, spark))
    )
    assert read_table(other).to_pylist() == read_table(one).to_pylist()
    again = sqlglot.parse_one("SELECT key, part, mean FROM t ORDER BY key, part", read="duckdb")
    assert isinstance(again, exp.Query)
    assert spark.query(again, {"t": other}).to_pylist() == read_table(other).select(["key", "part", "mean"]).to_pylist()


def test_few_rows_are_not_cut_and_what_a_user_sets_is_kept(spark: SparkEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = sqlglot.parse_one("SELECT k FROM t", read="duckdb")
    assert isinstance(tree, exp.Query)
    rows = pa.table({"k": [1, 2, 3]})
    seen = []
    for limit in (3, 2):
        monkeypatch.setattr("sales_pipeline.engines.spark._FEW_ROWS", limit)
        spark.query(tree, {"t": rows, "not_read": pa.table({"k": list(range(9))})})
        names = ("spark.sql.shuffle.partitions", *INTERPRETED)
        seen.append([spark._session.conf.get(name) for name in names])
    assert seen == [["1", *INTERPRETED.values()], ["2", *INTERPRETED.values()]]


def test_a_held_table_is_read_by_the_next_model_until_it_is_released(spark: SparkEngine) -> None:
    tree = sqlglot.parse_one("SELECT k, k % 2 AS odd FROM t WHERE k > 6", read="duckdb")
    assert isinstance(tree, exp.Query)
    held = spark.hold(tree, {"t": pa.table({"k": list(range(10))})})
    assert (held.columns, held.rows) == (("k", "odd"), 3)
    total = sqlglot.parse_one("SELECT SUM(k) AS total FROM t", read="duckdb")
    assert isinstance(total, exp.Query)
    assert spark.query(total, {"t": held}).to_pylist() == [{"total": 24}]
    spark.release(held)
    assert not any(part.exists() for part in held.parts)


def test_a_file_spark_would_pass_over_is_refused(spark: SparkEngine, tmp_path: Path) -> None:
    pq.write_table(pa.table({"n": [1]}), tmp_path / "_hidden.parquet")
    tree = sqlglot.parse_one("SELECT n FROM t", read="duckdb")
    assert isinstance(tree, exp.Query)
    with pytest.raises(ValueError, match=r"_hidden\.parquet"):
        spark.query(tree, {"t": tmp_path / "_hidden.parquet"})


def test_a_long_pause_of_a_local_session_is_not_taken_for_a_lost_executor(spark: SparkEngine) -> None:
    assert spark._session.conf.get("spark.network.timeout") == "3600s"


def test_java_of_a_local_session_compiles_long_code_whatever_else_it_is_told(spark: SparkEngine) -> None:
    told = spark._session.conf.get("spark.driver.extraJavaOptions")
    assert told == f"{QUICK_START['spark.driver.extraJavaOptions']} -XX:-DontCompileHugeMethods"
    assert spark._session.conf.get("spark.sql.codegen.hugeMethodLimit") == "65535"


def test_a_session_leaves_nothing_between_steps(spark: SparkEngine) -> None:
    left = sorted(path.name for path in spark._work.iterdir())
    assert set(left) <= {"inputs", "spill", "warehouse"}
