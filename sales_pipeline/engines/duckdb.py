"""The embedded engine: DuckDB, out of core, on one machine."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from sqlglot import exp

from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.contracts.model import Table
from sales_pipeline.engines.base import BatchFunction, Cut, Engine, Source, WorkTable
from sales_pipeline.engines.compiler import DIALECT, to_sql
from sales_pipeline.engines.ranges import Range, between, how_many, probe_step
from sales_pipeline.engines.ranges import rows_at_once as room_for
from sales_pipeline.engines.scratch import Scratch
from sales_pipeline.lake.tables import PARQUET, TableRef, conform, table_ref, write_pieces

_BATCH_ROWS = 122_880
"""Rows of a result that are handed on at once: as many as a row group has, which then needs no copy."""
_DICTIONARY = 4096
"""Different values of a column in a row group above which a dictionary of them is given up: building and packing a larger one costs more than it saves."""
_RANGE_ROWS = 500_000
"""Rows of input a range has at most whose result is not a table but a stream: a larger one would take more memory and be no quicker."""
_HELD = (
    f"FORMAT parquet, PARQUET_VERSION V2, COMPRESSION lz4, ROW_GROUP_SIZE 122880, DICTIONARY_SIZE_LIMIT {_DICTIONARY}"
)
"""How a large held table is written: in an eighth of the room it takes in memory, at half the cost of a table at rest."""
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
    rows_at_once
        Rows of input a model that may be cut meets at once; None takes as many as the memory limit has room for. No result depends on it.
    """

    dialect = DIALECT

    def __init__(
        self,
        *,
        threads: int = 2,
        memory_limit: str = "4GB",
        spill_directory: Path | None = None,
        rows_at_once: int | None = None,
    ) -> None:
        config: dict[str, str | bool | int | float | list[str]] = {
            "threads": threads,
            "memory_limit": memory_limit,
            # Blocks come out of one stretch of addresses, of which only what is used takes memory: the kernel hands out pages at two thirds of the cost.
            "block_allocator_memory": memory_limit,
            "preserve_insertion_order": True,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
        if spill_directory is not None:
            spill_directory.mkdir(parents=True, exist_ok=True)
            config["temp_directory"] = str(spill_directory)
        self._connection = duckdb.connect(":memory:", config=config)
        self._connection.execute("SET TimeZone = 'UTC'")
        # It cuts a large sort into ranges by statistics and reads its input once for each; row groups then end where its estimates say.
        self._connection.execute("SET disabled_optimizers = 'partitioned_execution'")
        limit = self._connection.sql("SELECT parse_formatted_bytes(current_setting('memory_limit'))").fetchall()[0][0]
        self._rows_at_once = rows_at_once or room_for(int(limit))
        self._held = 0
        self._files = Scratch(spill_directory) if spill_directory else None

    def close(self) -> None:
        """Close the database; nothing of it lasts."""
        self._connection.close()
        if self._files is not None:
            self._files.close()

    def _write(self, tree: exp.Query, inputs: Mapping[str, Source], output: Path, cut: Cut | None) -> None:
        if cut is not None:
            self._write_pieces(tree, inputs, output, cut)
            return
        names = tree.named_selects
        with self._bound(tree, inputs) as query, self._registered({_NOTHING: _NO_ROWS}):
            target = exp.Literal.string(str(output)).sql(DIALECT)
            count = len(self._connection.sql(query).columns if "*" in names else names)
            # A column the planner knows to hold no NULL would be written as required, in other bytes: what it knows depends on the plan. Of a
            # union with no rows of unknown columns it knows nothing.
            query = f"SELECT * FROM ({query}) UNION ALL SELECT {', '.join(['NULL'] * count)} FROM {_NOTHING}"
            self._connection.execute(
                f"COPY ({query}) TO {target} (FORMAT parquet, PARQUET_VERSION V2, COMPRESSION zstd, ROW_GROUP_SIZE 122880, "
                f"DICTIONARY_SIZE_LIMIT {_DICTIONARY})"
            )

    def _pieces(
        self, tree: exp.Query, inputs: Mapping[str, Source], cut: Cut | None, *, rows: int = _BATCH_ROWS, most: int | None = None
    ) -> Iterator[pa.Table]:  # fmt: skip
        """The rows of a query, range by range where it is cut, a few at a time; the first piece of each range holds none."""
        for one in self._ranges(inputs, cut, most=most) if cut is not None else [None]:
            with self._bound(tree.copy(), inputs, cut, one) as query, self._connection.sql(query).to_arrow_reader(rows) as reader:  # fmt: skip
                yield reader.schema.empty_table()
                for batch in reader:
                    yield pa.Table.from_batches([batch])

    def write_readable(self, tree: exp.Query, inputs: Mapping[str, Source], output: Path) -> None:
        """The rows of a query in its order as one Parquet file that Spark's reader can read too: it knows not every encoding that DuckDB writes."""
        self._write_pieces(tree, inputs, output, None)

    def _write_pieces(self, tree: exp.Query, inputs: Mapping[str, Source], output: Path, cut: Cut | None) -> None:
        pieces = self._pieces(tree, inputs, cut)
        first = next(pieces)
        write_pieces(itertools.chain([first], pieces), output, first.schema, is_encoded_by_look=True)

    def _ranges(self, inputs: Mapping[str, Source], cut: Cut, *, most: int | None = None) -> list[Range]:
        """As many ranges as the memory asks for, of at most so many rows; one, which leaves nothing out, for few rows."""
        first = cut.tables[0]
        rows = {name: _row_count(inputs[name]) for name in cut.tables if name in inputs}
        count = how_many(sum(rows.values()), min(self._rows_at_once, most or self._rows_at_once))
        if count == 1:
            return [Range(cut.key, None, None)]
        step = probe_step(rows[first], count)
        numbered = exp.select(
            exp.alias_(exp.column(cut.key, quoted=True), "value"),
            exp.alias_(exp.Window(this=exp.RowNumber()), "number"),
        ).from_(exp.to_table(first))
        with self._bound(numbered, inputs) as query:
            probes = self._connection.sql(f"SELECT value FROM ({query}) WHERE number % {step} = 0").fetchall()
        return between(cut.key, (value for (value,) in probes if value is not None), count)

    def _hold(self, tree: exp.Query, inputs: Mapping[str, Source], cut: Cut | None, beside: int) -> WorkTable:
        """A temporary table; where the model reads a table that may exceed the memory, or one will be met beside it, compressed files among what is spilled.

        What is spilled of a temporary table lies there as wide as it was in memory (350 bytes a staged activity instead of 40), and is read in full for each model.
        """
        self._held += 1
        name = f"held_{self._held}"
        read = {table.name for table in tree.find_all(exp.Table)}
        inputs = {key: source for key, source in inputs.items() if key in read}
        ranges = self._ranges(inputs, cut) if cut is not None else [None]
        if self._files is not None and max([beside, *map(_row_count, inputs.values())]) > self._rows_at_once:
            return self._hold_files(self._files.path / name, tree, inputs, cut, ranges)
        start = f"CREATE TEMP TABLE {name} AS"
        for part in ranges:
            with self._bound(tree.copy() if part else tree, inputs, cut, part) as query:
                self._connection.execute(f"{start} {query}")
            start = f"INSERT INTO {name}"
        table = self._connection.table(name)
        return WorkTable(name, tuple(table.columns), len(table))

    def _hold_files(self, folder: Path, tree: exp.Query, inputs: Mapping[str, Source], cut: Cut | None, ranges: Sequence[Range | None]) -> WorkTable:  # fmt: skip
        """A file for each range."""
        folder.mkdir()
        files = tuple(folder / f"{number}{PARQUET}" for number in range(len(ranges)))
        for part, file in zip(ranges, files, strict=True):
            target = exp.Literal.string(str(file)).sql(DIALECT)
            with self._bound(tree.copy(), inputs, cut, part) as query:
                found = self._connection.sql(query)
                names, types = found.columns, found.types
                self._connection.execute(f"COPY ({query}) TO {target} ({_HELD})")
            kept = self._connection.sql(f"SELECT * FROM read_parquet({target})").types
            if changed := [name for name, one, other in zip(names, types, kept, strict=True) if one != other]:
                raise TypeError(f"no Parquet file can hold what a model gives as {', '.join(changed)}: cast it there")
        rows = sum(pq.read_metadata(file).num_rows for file in files)
        return WorkTable(folder.name, tuple(names), rows, files)

    def release(self, table: WorkTable) -> None:
        """See `Engine.release`."""
        if table.parts:
            shutil.rmtree(table.parts[0].parent)
        else:
            self._connection.execute(f"DROP TABLE {table.name}")

    def _read(self, tree: exp.Query, inputs: Mapping[str, Source]) -> pa.Table:
        with self._bound(tree, inputs) as query:
            return self._connection.sql(query).to_arrow_table()

    def explain(self, model: Path | exp.Query, inputs: Mapping[str, Source], **parameters: Any) -> str:
        """DuckDB's physical plan of a model, as JSON."""
        with self._bound(self.compiled(model, parameters), inputs) as query:
            return str(self._connection.execute(f"EXPLAIN (FORMAT json) {query}").fetchall()[0][1])

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
        cut: Cut | None = None,
    ) -> TableRef:
        """See `Engine.apply_batches`: one batch after the other in this process, of a model that is cut one range after the other."""
        rows = self.compiled(model).subquery("rows", copy=False)
        tree = exp.select("*").from_(rows).order_by(*(exp.column(name, quoted=True) for name in contract.key))

        pieces = self._pieces(tree, inputs, cut, rows=batch_rows, most=_RANGE_ROWS)
        results = (conform(function(piece, shared), contract) for piece in pieces if piece.num_rows)
        write_pieces(results, output, arrow_schema(contract))
        return table_ref(contract.name, output)

    @contextmanager
    def _bound(
        self, tree: exp.Query, inputs: Mapping[str, Source], cut: Cut | None = None, part: Range | None = None
    ) -> Iterator[str]:
        """The text of a query, which is used up, with its inputs in it where their names stood; of the tables that are cut the rows within the range alone.

        Views of them would be bound twice, when they are made and where they are read, which takes longer than a short query does. Tables in
        memory have no name but the one they are registered under for as long as the text is used.
        """
        is_cut = cut is not None and part is not None and (part.low, part.high) != (None, None)
        parts = dict.fromkeys(cut.tables, part) if cut and is_cut else {}
        in_memory: dict[str, pa.Table] = {}
        made = {cte.alias.lower() for cte in tree.find_all(exp.CTE)}
        known = {name.lower(): name for name in inputs if name.lower() not in made}
        for table in list(tree.find_all(exp.Table)):
            name = known.get(table.name.lower())
            if name is None:
                continue
            source, part = inputs[name], parts.get(name)
            if isinstance(source, pa.Table):
                in_memory[name] = part.rows(source) if part else source
                continue
            if not table.alias:
                table.set("alias", exp.TableAlias(this=exp.to_identifier(table.name, quoted=True)))
            if part is None:
                table.set("this", _rows_of(source))
                continue
            rows = exp.select("*").from_(exp.Table(this=_rows_of(source))).where(part.condition())
            table.replace(exp.Subquery(this=rows, alias=table.args["alias"]))
        with self._registered(in_memory):
            yield to_sql(tree)

    @contextmanager
    def _registered(self, tables: Mapping[str, pa.Table]) -> Iterator[None]:
        """Tables in memory under their names."""
        for name, table in tables.items():
            self._connection.register(name, table)
        try:
            yield
        finally:
            for name in tables:
                self._connection.unregister(name)


def _rows_of(source: TableRef | WorkTable | Path | Sequence[Path]) -> exp.Expr:
    """What stands for a table after FROM."""
    if isinstance(source, WorkTable) and not source.parts:
        return exp.to_identifier(source.name)
    files = exp.Array(expressions=[exp.Literal.string(str(path)) for path in _paths(source)])
    by_name = exp.EQ(this=exp.column("union_by_name"), expression=exp.true())
    return exp.ReadParquet(expressions=[files, by_name])


def _paths(source: TableRef | WorkTable | Path | Sequence[Path]) -> list[Path]:
    if isinstance(source, TableRef):
        return source.files
    if isinstance(source, WorkTable):
        return list(source.parts)
    return [source] if isinstance(source, Path) else list(source)


def _row_count(source: Source) -> int:
    if isinstance(source, pa.Table):
        return int(source.num_rows)
    if isinstance(source, TableRef | WorkTable):
        return source.rows
    return sum(pq.read_metadata(path).num_rows for path in _paths(source))
