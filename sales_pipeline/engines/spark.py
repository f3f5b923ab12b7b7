"""The engine beyond one machine: Apache Spark, from the same models.

Belongs here: how a compiled tree reaches Spark and one Parquet file comes back. Does not belong here: semantics, which live in the models
and macros. Needs the extra `spark` and Java.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from sqlglot import exp

from sales_pipeline.engines.base import Engine, Source
from sales_pipeline.engines.compiler import to_sql
from sales_pipeline.errors import EnvironmentProblem
from sales_pipeline.lake.tables import PARQUET_OPTIONS, TableRef

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_SETTINGS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
}


class SparkEngine(Engine):
    """One Spark session.

    Parameters
    ----------
    master
        Where Spark runs: `local[2]`, or a cluster's address.
    work
        A folder every node sees, for small in-memory inputs and for what Spark writes before it becomes one file.
    shuffle_partitions
        Of every join and aggregation; small for small data.

    Raises EnvironmentProblem when pyspark or Java is missing.
    """

    dialect = "spark"

    def __init__(self, work: Path, *, master: str = "local[2]", shuffle_partitions: int = 4) -> None:
        try:
            from pyspark.sql import SparkSession
        except ImportError as error:
            raise EnvironmentProblem(
                "the Spark engine needs pyspark",
                found=str(error),
                fix="install the extra: pip install 'sales-pipeline[spark]'",
            ) from error
        self._work = work
        work.mkdir(parents=True, exist_ok=True)
        builder: Any = SparkSession.builder
        builder = builder.master(master).appName("sales-pipeline")
        for key, value in {**_SETTINGS, "spark.sql.shuffle.partitions": str(shuffle_partitions)}.items():
            builder = builder.config(key, value)
        builder = builder.config("spark.sql.warehouse.dir", str(work / "warehouse"))
        try:
            self._session = builder.getOrCreate()
        except Exception as error:
            raise EnvironmentProblem(
                "Spark did not start",
                found=str(error).splitlines()[0],
                fix="install Java 17 or later, or set JAVA_HOME",
            ) from error
        self._session.sparkContext.setLogLevel("ERROR")
        self._number = 0

    def close(self) -> None:
        """Stop the session."""
        self._session.stop()

    def _write(self, tree: exp.Query, inputs: Mapping[str, Source], output: Path) -> None:
        table = self._read(tree, inputs)
        pq.write_table(table, output, **PARQUET_OPTIONS)

    def _read(self, tree: exp.Query, inputs: Mapping[str, Source]) -> pa.Table:
        for name, source in inputs.items():
            self._frame(name, source).createOrReplaceTempView(name)
        folder = self._work / f"result-{self._number}"
        self._number += 1
        self._session.sql(to_sql(tree, self.dialect)).coalesce(1).write.mode("overwrite").parquet(str(folder))
        parts = sorted(folder.glob("part-*.parquet"))
        table = pa.concat_tables([pq.read_table(part) for part in parts])
        shutil.rmtree(folder)
        return table

    def _frame(self, name: str, source: Source) -> DataFrame:
        if isinstance(source, pa.Table):
            path = self._work / "inputs" / f"{name}-{self._number}.parquet"
            path.parent.mkdir(exist_ok=True)
            pq.write_table(source, path)
            return self._session.read.parquet(str(path))
        if isinstance(source, TableRef):
            return self._session.read.parquet(source.path)
        paths = [source] if isinstance(source, Path) else list(source)
        return self._session.read.option("mergeSchema", "true").parquet(*(str(path) for path in paths))
