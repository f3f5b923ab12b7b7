"""The embedded engine: DuckDB, out of core, on one machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from sqlglot import exp

from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.contracts.model import Table
from sales_pipeline.engines.base import BatchFunction, CsvDialect, Engine, Source, WorkTable
from sales_pipeline.engines.compiler import DIALECT, to_sql
from sales_pipeline.errors import InputRejected
from sales_pipeline.lake.tables import TableRef, conform, table_ref, write_pieces

_NOTHING = "no_rows"
_NO_ROWS = pa.table({"nothing": pa.array([], pa.int64())})


class DuckDBEngine(Engine):
    """One in-memory database; tables at rest are Parquet files and never a `.db` file.

    Parameters
    ----------
    threads
        Fixed, so that equal runs give equal bytes.
    memory_limit
        DuckDB's own limit, such as "4GB"; what does not fit spills into `spill_directory`.
    """

    dialect = DIALECT

    def __init__(self, *, threads: int = 2, memory_limit: str = "4GB", spill_directory: Path | None = None) -> None:
        config: dict[str, str | bool | int | float | list[str]] = {
            "threads": threads,
            "memory_limit": memory_limit,
            "preserve_insertion_order": True,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
        if spill_directory is not None:
            spill_directory.mkdir(parents=True, exist_ok=True)
            config["temp_directory"] = str(spill_directory)
        self._connection = duckdb.connect(":memory:", config=config)
        self._connection.execute("SET TimeZone = 'UTC'")
        self._held = 0

    def close(self) -> None:
        """Close the database; nothing of it lasts."""
        self._connection.close()

    def _write(self, tree: exp.Query, inputs: Mapping[str, Source], output: Path) -> None:
        with self._views({**inputs, _NOTHING: _NO_ROWS}):
            target = exp.Literal.string(str(output)).sql(DIALECT)
            query = to_sql(tree)
            names = tree.named_selects
            count = len(self._connection.sql(query).columns if "*" in names else names)
            # A column the planner knows to hold no NULL would be written as required, in other bytes: what it knows depends on the plan. Of a
            # union with no rows of unknown columns it knows nothing.
            query = f"SELECT * FROM ({query}) UNION ALL SELECT {', '.join(['NULL'] * count)} FROM {_NOTHING}"
            self._connection.execute(
                f"COPY ({query}) TO {target} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 122880)"
            )

    def _hold(self, tree: exp.Query, inputs: Mapping[str, Source]) -> WorkTable:
        """A temporary table: in memory as long as it fits under the limit, else in the spill directory."""
        self._held += 1
        name = f"held_{self._held}"
        with self._views(inputs):
            self._connection.execute(f"CREATE TEMP TABLE {name} AS {to_sql(tree)}")
        table = self._connection.table(name)
        return WorkTable(name, tuple(table.columns), len(table))

    def release(self, table: WorkTable) -> None:
        """See `Engine.release`."""
        self._connection.execute(f"DROP TABLE {table.name}")

    def _read(self, tree: exp.Query, inputs: Mapping[str, Source]) -> pa.Table:
        with self._views(inputs):
            return self._connection.sql(to_sql(tree)).to_arrow_table()

    def explain(self, model: Path | exp.Query, inputs: Mapping[str, Source], **parameters: Any) -> str:
        """DuckDB's physical plan of a model, as JSON."""
        tree = self.compiled(model, parameters)
        with self._views(inputs):
            return str(self._connection.execute(f"EXPLAIN (FORMAT json) {to_sql(tree)}").fetchall()[0][1])

    def apply_batches(
        self,
        source: Source,
        function: BatchFunction,
        shared: Any,
        output: Path,
        contract: Table,
        *,
        batch_rows: int = 10_000,
    ) -> TableRef:
        """See `Engine.apply_batches`: one batch after the other in this process; the sort by the key spills what does not fit."""
        order = ", ".join(exp.column(name, quoted=True).sql(DIALECT) for name in contract.key)
        query = f"SELECT * FROM batches ORDER BY {order}"
        with (
            self._views({"batches": source}),
            self._connection.sql(query).to_arrow_reader(batch_rows) as reader,
        ):
            pieces = (conform(function(pa.Table.from_batches([batch]), shared), contract) for batch in reader)
            write_pieces(pieces, output, arrow_schema(contract))
        return table_ref(contract.name, output)

    def _views(self, inputs: Mapping[str, Source]) -> _Views:
        return _Views(self._connection, inputs)

    def csv_batches(
        self, source: Path, columns: Sequence[str], dialect: CsvDialect, *, keep: Sequence[str]
    ) -> Iterator[pa.RecordBatch]:
        """Read a delimited UTF-8 file strictly, as text: its columns `keep`, batch by batch, in the file's order.

        The first record is the header and is skipped; `columns` names all. No sniffing, no ignored errors, no NULL text: an empty
        cell is an empty string. Batches are of any length. Raises InputRejected where DuckDB's strict reader fails.
        """
        names = [exp.column(name, quoted=True).sql(DIALECT) for name in keep]
        struct = exp.Struct(
            expressions=[
                exp.PropertyEQ(this=exp.to_identifier(name, quoted=True), expression=exp.Literal.string("VARCHAR"))
                for name in columns
            ]
        ).sql(DIALECT)
        options = {
            "delim": exp.Literal.string(dialect.delimiter),
            "quote": exp.Literal.string(dialect.quote),
            "escape": exp.Literal.string(dialect.quote),
        }
        rendered = ", ".join(f"{key} = {value.sql(DIALECT)}" for key, value in options.items())
        scan = (
            f"read_csv({exp.Literal.string(str(source)).sql(DIALECT)}, columns = {struct}, header = true, auto_detect = false, "
            f"strict_mode = true, null_padding = false, ignore_errors = false, max_line_size = 16777216, buffer_size = 33554432, "
            f"force_not_null = [{', '.join(exp.Literal.string(name).sql(DIALECT) for name in columns)}], {rendered})"
        )
        try:
            with (
                self._connection.cursor() as cursor,
                cursor.sql(f"SELECT {', '.join(names)} FROM {scan}").to_arrow_reader(122_880) as reader,
            ):
                yield from reader
        except (duckdb.Error, OSError) as error:
            # Arrow hands on what DuckDB says while it streams as an OSError.
            raise InputRejected(
                "the file does not fit a strict reading", found=str(error).splitlines()[0], where=source.name
            ) from error


class _Views:
    """Named inputs as views for the length of one statement."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, inputs: Mapping[str, Source]) -> None:
        self._connection = connection
        self._inputs = inputs

    def __enter__(self) -> None:
        for name, source in self._inputs.items():
            if isinstance(source, pa.Table):
                self._connection.register(name, source)
                continue
            view = exp.to_identifier(name, quoted=True).sql(DIALECT)
            if isinstance(source, WorkTable):
                self._connection.execute(f"CREATE OR REPLACE TEMP VIEW {view} AS SELECT * FROM {source.name}")
                continue
            paths = (
                [Path(source.path)]
                if isinstance(source, TableRef)
                else [source]
                if isinstance(source, Path)
                else list(source)
            )
            files = ", ".join(exp.Literal.string(str(path)).sql(DIALECT) for path in paths)
            self._connection.execute(
                f"CREATE OR REPLACE TEMP VIEW {view} AS SELECT * FROM read_parquet([{files}], union_by_name = true)"
            )

    def __exit__(self, *_: object) -> None:
        for name, source in self._inputs.items():
            if isinstance(source, pa.Table):
                self._connection.unregister(name)
            else:
                self._connection.execute(f"DROP VIEW IF EXISTS {exp.to_identifier(name, quoted=True).sql(DIALECT)}")
