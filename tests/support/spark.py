"""A Spark session for tests: the settings of the engine, and a Java that spends little on compiling what runs once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from sales_pipeline.engines.spark import SparkEngine

QUICK_START = {"spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"}
"""No second compiler and no threads for garbage: a third of the CPU time of a short session, the same results."""

INTERPRETED = {"spark.sql.codegen.wholeStage": "false", "spark.sql.codegen.factoryMode": "NO_CODEGEN"}
"""What runs once over a few hundred rows is quicker interpreted than compiled; values are the same."""

COMPILED = {"spark.sql.codegen.wholeStage": "true", "spark.sql.codegen.factoryMode": "FALLBACK"}
"""Spark's own defaults, to be named where they matter: what the first session of a process was given stays for the later ones."""

QUIET = [
    pytest.mark.spark,
    pytest.mark.filterwarnings("ignore:.*:DeprecationWarning", "ignore:.*:ResourceWarning"),
]


@contextmanager
def spark_engine(work: Path, master: str = "local[2]", **conf: str) -> Iterator[SparkEngine]:
    """An engine on that master; skips where pyspark is not installed (Java comes with the extra)."""
    pytest.importorskip("pyspark", reason="pyspark is not installed: pip install 'sales-pipeline[spark]'")
    from sales_pipeline.engines.spark import SparkEngine

    with SparkEngine(work, master=master, shuffle_partitions=2, conf=QUICK_START | conf) as engine:
        yield engine
