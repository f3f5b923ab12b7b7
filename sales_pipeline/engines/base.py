"""The seam: what a step may ask of an engine.

Belongs here: the abstract engine and its template methods. Does not belong here: anything that knows DuckDB or Spark.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq
from sqlglot import exp

from sales_pipeline.contracts.derive import sql_type
from sales_pipeline.contracts.model import Column, Table
from sales_pipeline.engines.compiler import DIALECT, Scalar, compile_model, compile_tree, parse_model
from sales_pipeline.engines.parts import Part, days_of, part_of
from sales_pipeline.errors import LedgerUnbalanced
from sales_pipeline.lake.tables import PARQUET, TableRef, table_ref


@dataclass(frozen=True)
class WorkTable:
    """A result between two models that only the engine that holds it can read, until it is released: its columns, and its number of rows.

    `parts` are its Parquet files where the engine keeps it as files.
    """

    name: str
    columns: tuple[str, ...]
    rows: int
    parts: tuple[Path, ...] = ()


Source: TypeAlias = TableRef | WorkTable | Path | Sequence[Path] | pa.Table
"""An input of a model: a table at rest or held by the engine, Parquet files (one or several of one schema), or a small table in memory."""

BatchFunction: TypeAlias = Callable[[pa.Table, Any], pa.Table]
"""Rows in, rows out, row by row and nothing else: what comes out for a row must not depend on the others of its batch."""


@dataclass(frozen=True)
class Cut:
    """Says that a model may be run range by range of a text key, so that memory stays bounded however many rows there are.

    Every row of its result must depend only on rows of `tables` with the same value of `key`, and the result must be ordered by `key` first; rows without
    a value must mean nothing to it. The other inputs are met whole in every range. `tables[0]` is the one whose rows the ranges share out evenly.

    Ranges, not buckets by a hash of the key: tables at rest are sorted by their keys (large ones in each part), so a range is a few row groups of each, its result is in
    its place when it is written behind that of the range before, and no merge of buckets is needed. Ranges hold about as many rows each, as they lie between quantiles.
    """

    key: str
    tables: tuple[str, ...]


class Engine(ABC):
    """Runs SQL models. One instance per process and run; use as a context manager."""

    dialect: str = DIALECT

    def run(
        self,
        model: Path | exp.Query,
        inputs: Mapping[str, Source],
        output: Path,
        *,
        contract: Table | None = None,
        parameters: Mapping[str, Scalar] | None = None,
        order_by: Sequence[str] = (),
        cut: Cut | None = None,
        parts: Sequence[Part] = (),
    ) -> TableRef:
        """Run one model over named inputs and write its result as one Parquet file, or with `parts` as a folder of files.

        With a contract the result has its columns, types and order, sorted by its key; without, `order_by` says the order
        (a file without an order is not reproducible, so give one). `cut` says how it may be run in parts; in how many changes no byte. An engine
        that spreads work over machines by itself takes no notice of it.

        With `parts`, which needs a contract, the rows of each are written as a file of its own into the folder `output`, beside what is there; a part without
        rows gets none, rows in no part are left out. The model is run once for each of them, so it should do little.
        """
        order = contract.key if contract is not None else tuple(order_by)
        if cut is not None and cut.key not in order[:1]:
            raise ValueError(f"cut by {cut.key}, but the result is ordered by {', '.join(order) or 'nothing'}")
        tree = self.compiled(model, parameters)
        if parts and contract is not None:
            output.mkdir(parents=True, exist_ok=True)
            for part in parts:
                file = output / f"{part.name}{PARQUET}"
                self._write(project(part.of(tree), contract), inputs, file, cut)
                if not pq.read_metadata(file).num_rows:
                    file.unlink()
            return table_ref(contract.name, output)
        if contract is not None:
            tree = project(tree, contract)
        elif order_by:
            tree = (
                exp.select("*")
                .from_(tree.subquery("result", copy=False))
                .order_by(*(exp.column(name, quoted=True) for name in order_by))
            )
        output.parent.mkdir(parents=True, exist_ok=True)
        self._write(tree, inputs, output, cut)
        return table_ref(contract.name if contract is not None else output.stem, output)

    def query(
        self, model: Path | exp.Query, inputs: Mapping[str, Source], *, parameters: Mapping[str, Scalar] | None = None
    ) -> pa.Table:
        """Run one model and return its (small) result in memory."""
        return self._read(self.compiled(model, parameters), inputs)

    def hold(
        self,
        model: Path | exp.Query,
        inputs: Mapping[str, Source],
        *,
        parameters: Mapping[str, Scalar] | None = None,
        cut: Cut | None = None,
        beside: int = 0,
    ) -> WorkTable:
        """Run one model and keep its result with the engine, of any size and in no stated order, for the models that come next.

        Cheaper than a table at rest: nothing is sorted or digested, and only what may exceed the memory is compressed. `release` it as soon as it is not
        needed; closing the engine drops it. `beside` is the number of rows of the largest table that will be met while this one is held: the memory may be
        wanted for those.
        """
        return self._hold(self.compiled(model, parameters), inputs, cut, beside)

    def parts_of(
        self,
        model: Path | exp.Query,
        inputs: Mapping[str, Source],
        column: Column,
        *,
        parameters: Mapping[str, Scalar] | None = None,
    ) -> list[Part]:
        """The parts the result of a model has by one of its columns. Raises LedgerUnbalanced where a row has no value there: it would be in none."""
        rows = parse_model(model) if isinstance(model, Path) else model
        days = self._read(self.compiled(days_of(rows, column), parameters), inputs).column("day").to_pylist()
        if None in days:
            raise LedgerUnbalanced(
                "a row of a table in parts is in none of them",
                expected=f"a value of {column.name} in every row",
                found="NULL",
                fix="this is a fault of the program: keep the export and report it",
            )
        return list(dict.fromkeys(part_of(column, day) for day in days))

    def compiled(self, model: Path | exp.Query, parameters: Mapping[str, Scalar] | None = None) -> exp.Query:
        """A model as this engine runs it."""
        if isinstance(model, Path):
            return compile_model(model, self.dialect, parameters)
        return compile_tree(model, self.dialect, parameters)

    @abstractmethod
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
        """Apply a pure function to the rows of a model, a few at a time, and write what comes out as one Parquet file.

        Parameters
        ----------
        function
            Called with batches of at most `batch_rows` rows and with `shared`; gives the columns of `contract`.
        shared
            What every batch needs, such as a model: handed to each process once.
        contract
            Of the result: its columns and types; its key must be columns of the model too, and stands for the order.
        cut
            How the model may be run in parts, as in `run`.
        """

    @abstractmethod
    def _write(self, tree: exp.Query, inputs: Mapping[str, Source], output: Path, cut: Cut | None) -> None:
        """Write the result of a query as one file."""

    @abstractmethod
    def release(self, table: WorkTable) -> None:
        """Free what a held table takes; it cannot be read afterwards."""

    @abstractmethod
    def _hold(self, tree: exp.Query, inputs: Mapping[str, Source], cut: Cut | None, beside: int) -> WorkTable: ...

    @abstractmethod
    def _read(self, tree: exp.Query, inputs: Mapping[str, Source]) -> pa.Table: ...

    @abstractmethod
    def close(self) -> None:
        """Free what the engine holds."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def project(tree: exp.Query, contract: Table) -> exp.Query:
    """The contract's columns in order, cast to its types, sorted by its key."""
    columns = (
        exp.alias_(
            exp.cast(exp.column(column.name, quoted=True), sql_type(column), dialect=DIALECT), column.name, quoted=True
        )
        for column in contract.columns
    )
    order = (exp.column(name, quoted=True) for name in contract.key)
    return exp.select(*columns).from_(tree.subquery("result", copy=False)).order_by(*order)
