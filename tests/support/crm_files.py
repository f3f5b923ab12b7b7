"""Small export files as Dynamics 365, Odoo and Chinese workbooks write them, and what ingest and cleaning make of them.

The shapes follow the notes on CRM formats: hidden key columns, display names in lookup columns, external ids, guarded text, units in amounts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from ruamel.yaml import YAML

from sales_pipeline.clean.params import CleanParams
from sales_pipeline.clean.prepare import Canonical, prepare
from sales_pipeline.engines.base import Engine
from sales_pipeline.ingest.check import Finding, check
from sales_pipeline.ingest.exports import IngestedExport, collect
from sales_pipeline.ingest.guess import GuessedMapping, guess_mapping, render
from sales_pipeline.ingest.params import SourceMapping
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.tables import read_table
from tests.support.cli import csv_text
from tests.support.ledger import ledger_rows

Table = tuple[Sequence[str], Sequence[Sequence[Any]]]


def write_csv(path: Path, table: Table, *, encoding: str = "utf-8") -> None:
    """Header and rows as a CSV file."""
    header, rows = table
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(csv_text(rows, header).encode(encoding))


def write_xlsx(path: Path, table: Table, *, sheet: str = "Sheet1") -> None:
    """Header and rows as a workbook of typed cells."""
    from openpyxl import Workbook

    header, rows = table
    path.parent.mkdir(parents=True, exist_ok=True)
    book = Workbook()
    page = book.active
    assert page is not None
    page.title = sheet
    page.append(list(header))
    for row in rows:
        page.append(list(row))
    book.save(path)


@dataclass(frozen=True)
class Read:
    """An export on its way: the guessed mapping, what the check finds, the raw and the canonical tables."""

    guessed: GuessedMapping
    mapping: SourceMapping
    text: str
    findings: list[Finding]
    ingested: IngestedExport
    canonical: Canonical

    def raw(self, table: str) -> list[dict[str, Any]]:
        """The filled cells of a raw table's records."""
        return raw_rows(self.ingested, table)

    def rows(self, table: str, key: str) -> dict[str, dict[str, Any]]:
        """A canonical table by its key."""
        return {row[key]: row for row in read_table(self.canonical.tables[table]).to_pylist()}

    def issues(self) -> list[tuple[str, str, str]]:
        """The cells that could not be used: column, reason, value."""
        rows = read_table(self.canonical.cell_issues).to_pylist()
        return sorted((row["column"], row["reason"], row["value"]) for row in rows)

    def verdicts(self, outcome: str) -> list[tuple[str, int, str]]:
        """The records of an outcome: file, number, reason."""
        rows = ledger_rows(self.canonical.ledger)
        return [(row["file"], row["source_record"], row["reason"]) for row in rows if row["outcome"] == outcome]

    def touched(self, rule: str) -> int:
        """How many records a rule touched, over all tables."""
        return sum(count.records for count in self.canonical.rules if count.rule == rule)

    def hold_that_every_record_has_its_place(self) -> None:
        """As many ledger rows as physical records."""
        records = sum(facts["records"] for facts in self.ingested.facts["files"].values())
        assert len(ledger_rows(self.canonical.ledger)) == records


def raw_rows(one: IngestedExport, table: str) -> list[dict[str, Any]]:
    """The filled cells of a raw table's records."""
    found = [row for part in one.tables.get(f"raw_{table}", ()) for row in pq.read_table(part.path).to_pylist()]
    return [{key: value for key, value in row.items() if value is not None} for row in found]


def read_all(
    landing: Path, work: Path, engine: Engine, change: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None
) -> Read:
    """`init`, `check`, ingest and cleaning of a landing folder; `change` is the user's answer to the guessed mapping."""
    guessed = guess_mapping(landing)
    text = render(guessed, landing, work / "pipeline.yaml")
    values = YAML(typ="safe").load(text)["mapping"]
    mapping = SourceMapping(**(change(values) if change else values))
    findings = check(landing, mapping)
    lake = Lake(work / "lake")
    [one] = collect(lake, landing, mapping, engine)
    return Read(guessed, mapping, text, findings, one, prepare(lake, [one], mapping, CleanParams(), engine))


def guid(number: int, kind: str = "a") -> str:
    """A made-up GUID."""
    return f"{kind * 8}-0000-4000-8000-{number:012d}"
