"""The engine beyond one machine: Apache Spark, from the same models.

Belongs here: how a compiled tree reaches Spark and one Parquet file comes back. Does not belong here: semantics, which live in the models
and macros, and which Java is started (`java`). Needs the extra `spark`.
"""

from __future__ import annotations

import os
import shutil
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from sqlglot import exp

from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.contracts.model import Table
from sales_pipeline.engines.base import BatchFunction, Cut, Engine, Source, WorkTable
from sales_pipeline.engines.compiler import to_sql
from sales_pipeline.engines.duckdb import DuckDBEngine
from sales_pipeline.engines.java import choose_java, packaged_java
from sales_pipeline.errors import EnvironmentProblem
from sales_pipeline.lake.tables import TableRef, conform

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

CONNECT = "sc://"
"""How the address of a Spark Connect server (Databricks too) begins."""

_SESSION = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.adaptive.enabled": "true",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.requireAllClusterKeysForCoPartition": "false",
}
"""What results depend on, whatever the cluster's own defaults are; and the last: rows that lie by opportunity are joined by opportunity and as-of where
they are, instead of being shuffled once more by both."""

_CODE = {"spark.sql.codegen.hugeMethodLimit": "8000"}
"""Bytes of code above which Java interprets a method for good: a stage that would come to more is run operator by operator instead, each compiled."""
_LONG_CODE = {"spark.sql.codegen.hugeMethodLimit": "65535"}
_COMPILE_LONG_CODE = "-XX:-DontCompileHugeMethods"
"""Where the Java that works is started here it is told to compile long methods too: rows then pass through a stage without being copied from operator to operator."""

_PARTITIONS = "spark.sql.shuffle.partitions"
_FEW_ROWS = 100_000
_OF_FEW = {_PARTITIONS: "1", "spark.sql.codegen.wholeStage": "false", "spark.sql.codegen.factoryMode": "NO_CODEGEN"}
_OF_MANY = {"spark.sql.codegen.wholeStage": "true", "spark.sql.codegen.factoryMode": "FALLBACK"}
"""Inputs of up to so many rows are shuffled into one partition and interpreted: cutting them, and writing code that Java compiles once more, costs more than
it gains."""

_ROWS = "rows_of_spark"

_DRIVER = {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false"}
_ONE_PROCESS = {"spark.network.timeout": "3600s"}
"""With a local master nothing is lost on a way; but a pause of two minutes (a laptop asleep, a machine short of memory) would be taken for a lost
executor, from which local mode does not recover."""
_JAVA_OPTIONS = "spark.driver.extraJavaOptions"
_JAVA = {
    _JAVA_OPTIONS: "-XX:+UseParallelGC -XX:Tier4InvocationThreshold=50000 -XX:Tier4MinInvocationThreshold=6000"
    " -XX:Tier4CompileThreshold=150000 -XX:Tier4BackEdgeThreshold=400000"
}
"""Garbage is collected between the work and not beside it; and of what Spark writes as code for one query each, Java's second compiler is asked only for what has
been called ten times as often as it would wait for by itself: it took a third of all CPU time of a hundred thousand opportunities."""
_LOOPBACK = {"spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1"}
"""For a master on this machine only: workers elsewhere must reach the driver by its own address."""


class SparkEngine(Engine):
    """One Spark session; SQL models and Arrow functions run on it, rows are put in order beside it.

    What was read of exports (`ingest`, in this process) lies as Parquet in the lake, and every model runs on Spark. Where its rows become one file, on the
    driver, the embedded engine puts them in order: Spark would look at all of them first, move them, and write and read them once more.

    Parameters
    ----------
    work
        A folder every node sees, for small in-memory inputs and for what Spark writes before it becomes one file. Its content is removed at the end.
    master
        Where Spark runs: `local[2]`, `spark://host:7077`, `yarn`, `k8s://https://…`, or a Spark Connect address `sc://host:port/;…`
        (Databricks), whose server reads and writes the lake's paths itself.
    token
        Of a Spark Connect server; None where it asks for none.
    shuffle_partitions
        Of every join and aggregation of more than a few rows; two to four per core. Adaptive execution merges small ones.
    driver_memory
        The heap of the driver's Java, as Spark writes sizes (`2g`); of no effect where a session is there already and on Spark Connect.
    conf
        More of Spark's own settings, by name; they come last.
    java_home
        The Java to prefer; None takes the one on the path, or the packaged one.
    threads, memory_limit
        Of the embedded engine.

    Raises EnvironmentProblem when pyspark or Java is missing or Spark does not start.
    """

    dialect = "spark"

    def __init__(
        self,
        work: Path,
        *,
        master: str = "local[2]",
        token: str | None = None,
        shuffle_partitions: int = 8,
        driver_memory: str = "2g",
        conf: Mapping[str, str] | None = None,
        java_home: Path | None = None,
        threads: int = 2,
        memory_limit: str = "4GB",
    ) -> None:
        try:
            from pyspark.sql import SparkSession
        except ImportError as error:
            raise EnvironmentProblem(
                "the Spark engine needs pyspark",
                found=str(error),
                fix="install the extra: pip install 'sales-pipeline[spark]'",
            ) from error
        self._work = work / f"session-{uuid.uuid4().hex}"
        self._work.mkdir(parents=True)
        self._embedded: DuckDBEngine | None = None
        self._limits: dict[str, Any] = {"threads": threads, "memory_limit": memory_limit}
        self._number = 0
        self._is_connect = master.startswith(CONNECT)
        self._input_rows = 0
        given = {**_SESSION, **_CODE, _PARTITIONS: str(shuffle_partitions)}
        builder: Any = SparkSession.builder
        if self._is_connect:
            builder = builder.remote(_with_token(master, token))
        else:
            self._prepare_processes(java_home)
            given |= {**_DRIVER, **_JAVA, "spark.driver.memory": driver_memory}
            given["spark.sql.warehouse.dir"] = str(self._work / "warehouse")
            given |= _ONE_PROCESS | _LONG_CODE if master.startswith("local") else {}
            given |= _LOOPBACK if master.startswith(("local", "spark://127.0.0.1")) else {}
            builder = builder.master(master)
        given |= conf or {}
        if master.startswith("local"):
            given[_JAVA_OPTIONS] += f" {_COMPILE_LONG_CODE}"
        chosen = {name: value for name, value in (conf or {}).items() if name in _OF_MANY}
        self._of_few, self._of_many = _OF_FEW | chosen, {_PARTITIONS: given[_PARTITIONS]} | _OF_MANY | chosen
        for key, value in given.items():
            builder = builder.config(key, value)
        try:
            self._session = builder.appName("sales-pipeline").getOrCreate()
            if not self._is_connect:
                self._session.sparkContext.setLogLevel("ERROR")
        except Exception as error:
            shutil.rmtree(self._work, ignore_errors=True)
            raise EnvironmentProblem(
                "Spark did not start",
                found=str(error).splitlines()[0] if str(error) else type(error).__name__,
                where=f"engine.master: {master.split(';')[0]}",
                fix="see that the master is up and reachable from here, and which Java is used (`java -version`: 17 or later)",
            ) from error

    def _prepare_processes(self, java_home: Path | None) -> None:
        """Java's place for the processes Spark starts, and this Python for its workers (else they take `python3` from the path)."""
        java = choose_java(java_home, shutil.which("java"), packaged_java(), self._work)
        os.environ["JAVA_HOME"] = str(java.home)
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        os.environ.setdefault("PYSPARK_DRIVER_PYTHON", sys.executable)

    def close(self) -> None:
        """Stop the session and remove what it left."""
        self._session.stop()
        if self._embedded is not None:
            self._embedded.close()
        shutil.rmtree(self._work, ignore_errors=True)

    def _at_hand(self) -> DuckDBEngine:
        """The embedded engine in this process."""
        if self._embedded is None:
            self._embedded = DuckDBEngine(**self._limits, spill_directory=self._work / "spill")
        return self._embedded

    def explain(self, model: Path | exp.Query, inputs: Mapping[str, Source], **parameters: Any) -> str:
        """Spark's physical plan of a model, before adaptive execution changes it."""
        tree = self.compiled(model, parameters)
        self._name(tree, inputs)
        return str(self._session.sql("EXPLAIN " + to_sql(tree, self.dialect)).collect()[0][0])

    def _write(self, tree: exp.Query, inputs: Mapping[str, Source], output: Path, _cut: Cut | None) -> None:
        """Rows as Spark finds them, put in the query's order as they become one file."""
        rows = exp.select("*").from_(_ROWS)
        rows.set("order", tree.args.pop("order", None))
        folder = self._run(self._frame(tree, inputs))
        self._at_hand().write_readable(rows, {_ROWS: _parts(folder)}, output)
        shutil.rmtree(folder)

    def _hold(self, tree: exp.Query, inputs: Mapping[str, Source], _cut: Cut | None, _beside: int) -> WorkTable:
        """Its partitions as Spark wrote them, in the folder every node sees."""
        folder = self._run(self._frame(tree, inputs))
        parts = _parts(folder)
        return WorkTable(
            folder.name, tuple(pq.read_schema(parts[0]).names), sum(pq.read_metadata(p).num_rows for p in parts), parts=tuple(parts)
        )  # fmt: skip

    def release(self, table: WorkTable) -> None:
        """See `Engine.release`."""
        shutil.rmtree(self._work / table.name)

    def _read(self, tree: exp.Query, inputs: Mapping[str, Source]) -> pa.Table:
        folder = self._run(self._frame(tree, inputs))
        table = pa.concat_tables([pq.read_table(part) for part in _parts(folder)])
        shutil.rmtree(folder)
        return table

    def apply_batches(
        self,
        model: Path | exp.Query,
        inputs: Mapping[str, Source],
        function: BatchFunction,
        shared: Any,
        output: Path,
        contract: Table,
        *,
        batch_rows: int = 10_000,
        cut: Cut | None = None,  # noqa: ARG002 - Spark spreads work by itself
    ) -> TableRef:
        """See `Engine.apply_batches`. `function` and `shared` are pickled; `shared` is broadcast once (with Spark Connect, sent with each task)."""
        from pyspark.sql.pandas.types import from_arrow_schema

        broadcast = None if self._is_connect else self._session.sparkContext.broadcast(shared)
        held = shared if broadcast is None else None

        def each(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            value = held if broadcast is None else broadcast.value
            for batch in batches:
                yield from conform(function(pa.Table.from_batches([batch]), value), contract).to_batches()

        self._session.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", str(batch_rows))
        schema = from_arrow_schema(arrow_schema(contract))
        folder = self._run(self._frame(self.compiled(model), inputs).mapInArrow(each, schema))
        rows = exp.select("*").from_(_ROWS)
        ref = self._at_hand().apply_batches(rows, {_ROWS: _parts(folder)}, _as_they_are, None, output, contract)
        shutil.rmtree(folder)
        if broadcast is not None:
            broadcast.destroy()
        return ref

    def _frame(self, tree: exp.Query, inputs: Mapping[str, Source]) -> DataFrame:
        self._name(tree, inputs)
        return self._session.sql(to_sql(tree, self.dialect))

    def _run(self, frame: DataFrame) -> Path:
        """A folder with a frame's rows: its partitions in order of the file names."""
        self._number += 1
        folder = self._work / f"result-{self._number}"
        for name, value in (self._of_few if self._input_rows <= _FEW_ROWS else self._of_many).items():
            self._session.conf.set(name, value)
        frame.write.mode("overwrite").parquet(str(folder))
        return folder

    def _name(self, tree: exp.Query, inputs: Mapping[str, Source]) -> None:
        """The inputs a query reads as views. Their columns are read here from the ends of the files: Spark would start a job for each."""
        from pyspark.sql.pandas.types import from_arrow_schema

        self._input_rows = 0
        read = {table.name for table in tree.find_all(exp.Table)}
        for name, source in inputs.items():
            if name not in read:
                continue
            paths = self._paths(name, source)
            if hidden := [str(path) for path in paths if path.name.startswith(("_", "."))]:
                raise ValueError(f"Spark passes over files whose names begin with _ or .: {', '.join(hidden)}")
            ends = [pq.read_metadata(path) for path in paths]
            schema = from_arrow_schema(pa.unify_schemas([end.schema.to_arrow_schema() for end in ends]))
            self._session.read.schema(schema).parquet(*(str(path) for path in paths)).createOrReplaceTempView(name)
            self._input_rows += sum(end.num_rows for end in ends)

    def _paths(self, name: str, source: Source) -> Sequence[Path]:
        if isinstance(source, pa.Table):
            self._number += 1
            path = self._work / "inputs" / f"{name}-{self._number}.parquet"
            path.parent.mkdir(exist_ok=True)
            pq.write_table(source, path)
            return [path]
        if isinstance(source, TableRef):
            return source.files
        if isinstance(source, WorkTable):
            return source.parts
        return [source] if isinstance(source, Path) else list(source)


def _with_token(address: str, token: str | None) -> str:
    """A Spark Connect address with its token; parameters stand after a slash and semicolons (Spark's client-connection-string.md)."""
    if token is None:
        return address
    place = address if "/" in address.removeprefix(CONNECT) else f"{address}/"
    return f"{place.rstrip(';')};token={token}"


def _as_they_are(rows: pa.Table, _: Any) -> pa.Table:
    return rows


def _parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("part-*.parquet"))
