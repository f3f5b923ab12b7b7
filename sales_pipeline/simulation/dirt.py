"""Realistic dirt on the text tables of an export, every piece of it written down so that a cleaner can be asked to find it.

Dirt changes how a record is written or adds a record that should not count; the world behind it stays as it is. Structural dirt
(ragged and empty lines) cannot live in a table: it is handed over as `RawLine`s for the writer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.random import Generator

from sales_pipeline.simulation.dynamics import Ints
from sales_pipeline.simulation.ids import make_ids
from sales_pipeline.simulation.params import DirtParams

_NOWHERE = 700_000_000
_CLOSING_FIELDS = ("Loss_Reason__c", "Contract_Number__c", "Days_To_Close__c", "Final_Discount__c")
_REFERENCES: dict[str, tuple[str, ...]] = {
    "Contact.csv": ("AccountId",),
    "Opportunity.csv": ("AccountId",),
    "OpportunityHistory.csv": ("OpportunityId",),
    "Task.csv": ("WhatId",),
}
_BLANK_COLUMNS: dict[str, tuple[str, ...]] = {
    "Account.csv": ("Industry", "Name"),
    "Opportunity.csv": ("StageName", "LeadSource"),
    "Task.csv": ("Subject",),
}
_CATEGORIES: dict[str, tuple[str, ...]] = {
    "Account.csv": ("Industry",),
    "Opportunity.csv": ("LeadSource",),
    "Lead.csv": ("LeadSource",),
}
_WITH_DELETED = ("Account", "Contact", "Opportunity", "Task")


@dataclass(frozen=True, slots=True)
class RawLine:
    """Text to stand as a line of its own before the record at `position` (from 0) of a file's table."""

    position: int
    text: str


@dataclass
class DirtLog:
    """What was done: one entry per touched cell or added record. `key` is the record's Id, `column` empty for whole records."""

    entries: dict[str, list[str]] = field(
        default_factory=lambda: {name: [] for name in ("file", "key", "kind", "column", "original", "written")}
    )

    def add(self, file: str, keys: list[str], kind: str, column: str, original: list[str], written: list[str]) -> None:
        """Note one kind of dirt on several records of a file; the lists are aligned."""
        for key, old, new in zip(keys, original, written, strict=True):
            for name, value in zip(self.entries, (file, key, kind, column, old, new), strict=True):
                self.entries[name].append(value)

    def to_table(self) -> pa.Table:
        """The log as text columns."""
        return pa.table({name: pa.array(values, pa.string()) for name, values in self.entries.items()})


class Soiler:
    """Applies dirt to the tables of an export (file name -> text table) and logs it. A cell is soiled at most once."""

    def __init__(self, tables: Mapping[str, pa.Table], params: DirtParams, rng: Generator) -> None:
        self.tables = dict(tables)
        self.raw_lines: dict[str, list[RawLine]] = {}
        self.log = DirtLog()
        self._params = params
        self._rng = rng
        self._taken: dict[tuple[str, str], set[int]] = {}

    def soil(self) -> None:
        """Cells first, then added records, then lines, so that added records keep the file's own look."""
        self._soil_cells()
        self._add_deleted()
        self._add_stale_versions()
        self._add_duplicates()
        self._add_lines()

    def _soil_cells(self) -> None:
        rates = self._params
        opportunity = "Opportunity.csv"
        self._edit(opportunity, "Amount", "amount_unparsable", rates.amount_unparsable, lambda _: "TBD")
        self._edit(opportunity, "Amount", "amount_negative", rates.amount_negative, lambda value: f"({value})")
        self._edit(opportunity, "Amount", "amount_dollar", rates.amount_notation / 2, _dollars)
        self._edit(opportunity, "Amount", "amount_european", rates.amount_notation / 2, _euros)
        self._close_before_created(rates.close_before_created)
        self._edit(opportunity, "CloseDate", "date_us", rates.date_notation, _us_date)
        self._edit("Task.csv", "ActivityDate", "date_us", rates.date_notation, _us_date)
        self._edit(opportunity, "AccountId", "orphan", rates.orphan, lambda _: _unknown("Account"))
        self._edit("Task.csv", "WhatId", "orphan", rates.orphan, lambda _: _unknown("Opportunity"))
        self._edit(opportunity, "OwnerId", "missing_owner", rates.missing_owner, lambda _: "")
        for file in (opportunity, "Task.csv"):
            self._edit(file, "Description", "multiline_text", rates.multiline_text, _multiline, filled=False)
        for file, names in _REFERENCES.items():
            for name in names:
                self._edit(file, name, "short_id", rates.short_id, lambda value: value[:15])
        for file, names in _CATEGORIES.items():
            for name in names:
                self._edit(file, name, "category_case", rates.category_case, _other_case)
        for file, names in _BLANK_COLUMNS.items():
            for name in names:
                self._edit(file, name, "blanks", rates.blanks, lambda value: f"  {value} ")
                self._edit(file, name, "no_break_space", rates.no_break_space, lambda value: f"{value}\u00a0")

    def _edit(
        self, file: str, column: str, kind: str, rate: float, change: Callable[[str], str], *, filled: bool = True
    ) -> None:
        """Rewrite a share of a column's cells (`filled`: only those with a value)."""
        table = self.tables[file]
        values = table.column(column)
        rows = self._free_rows(file, column, np.asarray(pc.not_equal(values, "")) if filled else None, rate)
        if len(rows):
            old = values.take(pa.array(rows)).to_pylist()
            self._write(file, column, kind, rows, old, [change(value) for value in old])

    def _free_rows(self, file: str, column: str, allowed: np.ndarray | None, rate: float) -> Ints:
        """Rows not yet soiled in this column, in order; at least one where the rate is positive and one is left."""
        count = self.tables[file].num_rows
        candidates = np.arange(count) if allowed is None else np.flatnonzero(allowed)
        taken = self._taken.setdefault((file, column), set())
        if rate <= 0.0 or not len(candidates):
            return np.zeros(0, dtype=np.int64)
        wanted = min(max(1, round(rate * count)), len(candidates))
        drawn = self._rng.choice(candidates, size=wanted, replace=False)
        rows = np.array(sorted(set(drawn.tolist()) - taken), dtype=np.int64)
        taken.update(rows.tolist())
        return rows

    def _write(self, file: str, column: str, kind: str, rows: Ints, old: list[str], new: list[str]) -> None:
        table = self.tables[file]
        mask = np.zeros(table.num_rows, dtype=np.bool_)
        mask[rows] = True
        values = pc.replace_with_mask(table.column(column).combine_chunks(), mask, pa.array(new, pa.string()))
        self.tables[file] = table.set_column(table.schema.get_field_index(column), column, values)
        keys = table.column("Id").take(pa.array(rows)).to_pylist()
        self.log.add(file, keys, kind, column, old, new)

    def _close_before_created(self, rate: float) -> None:
        file, column = "Opportunity.csv", "CloseDate"
        table = self.tables[file]
        rows = self._free_rows(file, column, None, rate)
        if len(rows):
            created = table.column("CreatedDate").take(pa.array(rows)).to_pylist()
            new = [str(np.datetime64(value[:10]) - 20) for value in created]
            self._write(
                file, column, "close_before_created", rows, table.column(column).take(pa.array(rows)).to_pylist(), new
            )

    def _add_deleted(self) -> None:
        """Records from the recycle bin: copies of others under an id of their own."""
        for kind in _WITH_DELETED:
            file = f"{kind}.csv"
            rows = self._rows_to_add(file, self._params.deleted)
            if len(rows):
                count = self.tables[file].num_rows
                ids = make_ids(kind, _NOWHERE + count + np.arange(len(rows)))
                flags = pa.repeat(pa.scalar("1", pa.string()), len(rows))
                self._insert(file, "deleted", rows, {"Id": ids, "IsDeleted": flags})

    def _add_stale_versions(self) -> None:
        """Older versions of a record under the same Id: LastModifiedDate tells which is the latest."""
        for file in ("Opportunity.csv", "Account.csv"):
            table = self.tables[file]
            changed = np.asarray(pc.greater(table.column("LastModifiedDate"), table.column("CreatedDate")))
            alive = np.asarray(pc.equal(table.column("IsDeleted"), "0"))
            rows = self._rows_to_add(file, self._params.stale_duplicate, changed & alive)
            if not len(rows):
                continue
            created = table.column("CreatedDate").combine_chunks().take(pa.array(rows))
            changes = {"LastModifiedDate": created, "SystemModstamp": created}
            texts = {"NumberOfEmployees": ""}
            if file == "Opportunity.csv":
                texts = {"StageName": "Prospecting", "Probability": "10", "IsClosed": "0", "IsWon": "0"}
                texts |= {"ForecastCategory": "Pipeline", "ForecastCategoryName": "Pipeline"}
                texts |= dict.fromkeys(_CLOSING_FIELDS, "")
            changes |= {name: pa.repeat(pa.scalar(text, pa.string()), len(rows)) for name, text in texts.items()}
            self._insert(file, "stale_duplicate", rows, changes)

    def _add_duplicates(self) -> None:
        for file in ("Account.csv", "Contact.csv", "Opportunity.csv", "OpportunityHistory.csv", "Task.csv"):
            rows = self._rows_to_add(file, self._params.duplicate_row)
            if len(rows):
                self._insert(file, "duplicate_row", rows, {})

    def _rows_to_add(self, file: str, rate: float, allowed: np.ndarray | None = None) -> Ints:
        count = self.tables[file].num_rows
        candidates = np.arange(count) if allowed is None else np.flatnonzero(allowed)
        if rate <= 0.0 or not len(candidates):
            return np.zeros(0, dtype=np.int64)
        wanted = min(max(1, round(rate * count)), len(candidates))
        return np.sort(self._rng.choice(candidates, size=wanted, replace=False))

    def _insert(self, file: str, kind: str, rows: Ints, changes: Mapping[str, pa.Array]) -> None:
        """Put changed copies of the rows at random places of the file."""
        table = self.tables[file]
        copies = table.take(pa.array(rows))
        for name, values in changes.items():
            copies = copies.set_column(copies.schema.get_field_index(name), name, values)
        places = np.sort(self._rng.integers(0, table.num_rows + 1, len(rows)))
        order = np.insert(np.arange(table.num_rows), places, table.num_rows + np.arange(len(rows)))
        self.tables[file] = pa.concat_tables([table, copies]).take(pa.array(order)).combine_chunks()
        nothing = [""] * len(rows)
        self.log.add(file, copies.column("Id").to_pylist(), kind, "", nothing, nothing)

    def _add_lines(self) -> None:
        """Lines that are no record: a record cut off before its last field, and a line without text."""
        for file in ("Account.csv", "Opportunity.csv", "Task.csv"):
            table = self.tables[file]
            lines: list[RawLine] = []
            for kind, rate in (("ragged_line", self._params.ragged_line), ("empty_line", self._params.empty_line)):
                rows = self._rows_to_add(file, rate)
                if not len(rows):
                    continue
                keys = table.column("Id").take(pa.array(rows)).to_pylist()
                texts = [
                    _cut_line(record) if kind == "ragged_line" else ""
                    for record in table.take(pa.array(rows)).to_pylist()
                ]
                lines += [RawLine(int(row) + 1, text) for row, text in zip(rows, texts, strict=True)]
                self.log.add(file, keys, kind, "", [""] * len(rows), texts)
            self.raw_lines[file] = sorted(lines, key=lambda line: (line.position, line.text))


def _cut_line(record: Mapping[str, str]) -> str:
    values = [value.replace('"', '""').replace("\n", " ") for value in record.values()]
    return ",".join(f'"{value}"' for value in values[:-1])


def _unknown(kind: str) -> str:
    return str(make_ids(kind, np.array([_NOWHERE]))[0])


def _dollars(value: str) -> str:
    return f"${float(value):,.2f}"


def _euros(value: str) -> str:
    return f"{float(value):,.2f} EUR".translate(str.maketrans(",.", ".,"))


def _us_date(value: str) -> str:
    return f"{value[5:7]}/{value[8:10]}/{value[:4]}"


def _other_case(value: str) -> str:
    return value.lower() if len(value) % 2 else f"{value.upper()} "


def _multiline(_: str) -> str:
    return 'Asked for a "revised" quote\nand a call back, early next week'
