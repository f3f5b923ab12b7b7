"""What differs between two published runs: rows by key, and the largest moves of the main figures.

Belongs here: that comparison. Does not belong here: what a target holds (`rows`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sales_pipeline.contracts.model import Table
from sales_pipeline.contracts.published import PUBLISHED_TABLES
from sales_pipeline.delivery.kits.cells import Mask

_OF_THE_RUN = frozenset({"run_id", "as_of", "previous_run_id"})
"""Columns that say which run a row is of: they always differ, and say nothing."""

_FIGURES = ("win_probability", "expected_value")
_LISTED = 10
_JOINT = "\x1f"


@dataclass(frozen=True)
class TableDifference:
    """Rows of a published table in two runs: keys only the later has (`added`), only the earlier (`removed`), in both with other values or the same."""

    table: str
    before: int
    after: int
    added: int
    removed: int
    changed: int
    unchanged: int


@dataclass(frozen=True)
class FigureMove:
    """One scored opportunity's figure in both runs."""

    opportunity_id: str
    figure: str
    before: float
    after: float

    @property
    def difference(self) -> float:
        """After less before."""
        return round(self.after - self.before, 6)


@dataclass(frozen=True)
class RunDifference:
    """Two runs, table by table, and the largest moves of the scored table, by figure."""

    before: str
    after: str
    tables: tuple[TableDifference, ...]
    moves: tuple[FigureMove, ...]

    TABLE_COLUMNS: ClassVar[tuple[str, ...]] = ("table", "before", "after", "added", "removed", "changed", "unchanged")
    MOVE_COLUMNS: ClassVar[tuple[str, ...]] = ("figure", "opportunity_id", "before", "after", "difference")

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data."""
        return asdict(self)

    def table_rows(self) -> list[dict[str, Any]]:
        """A row per table, by `TABLE_COLUMNS`."""
        return [asdict(table) for table in self.tables]

    def move_rows(self) -> list[dict[str, Any]]:
        """A row per move, by `MOVE_COLUMNS`."""
        return [{**asdict(move), "difference": move.difference} for move in self.moves]


def diff_runs(before: Path, after: Path) -> RunDifference:
    """Compare two runs' folders; a table only one of them has counts as empty in the other."""
    tables: list[TableDifference] = []
    moves: tuple[FigureMove, ...] = ()
    for name, contract in PUBLISHED_TABLES.items():
        paths = [folder / f"{name}.parquet" for folder in (before, after)]
        if not any(path.is_file() for path in paths):
            continue
        old, new = (pq.read_table(path) if path.is_file() else None for path in paths)
        keys = [_keys(table, contract) for table in (old, new)]
        place = pc.index_in(keys[1], value_set=keys[0])
        both = pc.is_valid(place).to_numpy(zero_copy_only=False)
        shared_new = np.flatnonzero(both)
        shared_old = place.drop_null()
        changed = _changed(old, new, shared_old, pa.array(shared_new), contract)
        tables.append(
            TableDifference(
                table=name,
                before=len(keys[0]),
                after=len(keys[1]),
                added=int((~both).sum()),
                removed=len(keys[0]) - int(both.sum()),
                changed=changed,
                unchanged=int(both.sum()) - changed,
            )
        )
        if name == "scored_opportunities" and old is not None and new is not None:
            moves = _moves(old.take(shared_old), new.take(pa.array(shared_new)))
    return RunDifference(before.name, after.name, tuple(tables), moves)


def _keys(table: pa.Table | None, contract: Table) -> pa.Array:
    if table is None:
        return pa.array([], pa.string())
    names = [name for name in contract.key if name not in _OF_THE_RUN]
    texts = [pc.fill_null(table[name].cast(pa.string()), "") for name in names]
    joined = texts[0] if len(texts) == 1 else pc.binary_join_element_wise(*texts, _JOINT)
    return joined.combine_chunks()


def _changed(old: pa.Table | None, new: pa.Table | None, of_old: pa.Array, of_new: pa.Array, contract: Table) -> int:
    if old is None or new is None:
        return 0
    is_changed = np.zeros(len(of_new), dtype=bool)
    for column in contract.columns:
        is_there = column.name in old.column_names and column.name in new.column_names
        if is_there and column.name not in _OF_THE_RUN:
            left, right = (table[column.name].combine_chunks() for table in (old, new))
            is_changed |= _differs(_comparable(left).take(of_old), _comparable(right).take(of_new))
    return int(is_changed.sum())


def _comparable(values: pa.Array) -> pa.Array:
    """Lists of reasons by their codes in order: the weights move with every model."""
    if not pa.types.is_list(values.type):
        return values
    codes = pc.struct_field(values.values, "code")
    return pc.binary_join(pa.ListArray.from_arrays(values.offsets, codes), ",")


def _differs(left: pa.Array, right: pa.Array) -> Mask:
    same = pc.fill_null(pc.equal(left, right), False)
    neither = pc.and_(pc.is_null(left), pc.is_null(right))
    return np.asarray(pc.invert(pc.or_(same, neither)).to_numpy(zero_copy_only=False))


def _moves(old: pa.Table, new: pa.Table) -> tuple[FigureMove, ...]:
    found: list[FigureMove] = []
    for figure in _FIGURES:
        before, after = (table[figure].cast(pa.float64()).to_numpy() for table in (old, new))
        size = np.nan_to_num(np.abs(after - before))
        largest = np.lexsort((np.arange(len(size)), -size))[:_LISTED]
        ids = new["opportunity_id"].take(pa.array(largest)).to_pylist()
        found += [
            FigureMove(name, figure, float(before[row]), float(after[row]))
            for name, row in zip(ids, largest, strict=True)
            if size[row] > 0
        ]
    return tuple(found)
