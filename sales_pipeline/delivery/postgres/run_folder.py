"""A published run's folder as PostgreSQL takes it: checked bytes, tables of a known shape.

Belongs here: reading and checking the folder. Does not belong here: anything that needs a server.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.contracts.model import Column, Table
from sales_pipeline.contracts.published import CONTRACT_VERSION, PUBLISHED_TABLES
from sales_pipeline.delivery.postgres.types import run_table_name, shape_of
from sales_pipeline.errors import ConfigurationError, EnvironmentProblem
from sales_pipeline.lake.runs import MANIFEST, is_published, verify_run
from sales_pipeline.lake.tables import file_sha256


@dataclass(frozen=True)
class RunTable:
    """One published table of a run: its file, the contract's columns it has, its rows by the manifest, its name in schema `runs`."""

    contract: Table
    columns: tuple[Column, ...]
    path: Path
    rows: int
    name: str

    @property
    def shape(self) -> str:
        """Digest of the columns' names and types."""
        return shape_of(self.columns)


@dataclass(frozen=True)
class RunToPublish:
    """A published run, its bytes compared with its manifest."""

    run_id: str
    as_of: str
    manifest_sha256: str
    tables: tuple[RunTable, ...]

    @property
    def rows(self) -> dict[str, int]:
        """Rows per table."""
        return {table.contract.name: table.rows for table in self.tables}


def read_run(folder: Path) -> RunToPublish:
    """The run of a folder of the lake.

    Raises ConfigurationError where the run is not published or of another contract version, EnvironmentProblem where its files are not
    what was published or a table is not of its contract. A table may lack columns at its end: it was written before they were added.
    """
    if not (folder / MANIFEST).is_file() or not is_published(folder):
        raise ConfigurationError(
            "only a published run goes to PostgreSQL",
            expected="the folder of a published run",
            found="no such folder" if not folder.is_dir() else "a run that was not published",
            where=str(folder),
            fix="publish it first with `sales-pipeline run`",
        )
    manifest = verify_run(folder)
    if manifest["contract_version"] != CONTRACT_VERSION:
        raise ConfigurationError(
            "the run was published under another contract",
            expected=f"contract version {CONTRACT_VERSION}",
            found=str(manifest["contract_version"]),
            where=str(folder / MANIFEST),
            fix="publish it with the version of sales-pipeline that wrote it",
        )
    run_id = str(manifest["run_id"])
    tables = [_table(folder, name, int(rows), run_id) for name, rows in manifest["rows"].items()]
    digest = file_sha256(folder / MANIFEST)
    return RunToPublish(run_id, str(manifest["as_of"]), digest, tuple(sorted(tables, key=lambda table: table.name)))


def _table(folder: Path, name: str, rows: int, run_id: str) -> RunTable:
    path = folder / f"{name}.parquet"
    contract = PUBLISHED_TABLES.get(name)
    if contract is None:
        raise ConfigurationError(
            "the run holds a table this version does not know",
            expected=f"one of {', '.join(PUBLISHED_TABLES)}",
            found=name,
            where=str(folder),
            fix="publish it with the version of sales-pipeline that wrote it",
        )
    found, expected = list(pq.read_schema(path)), list(arrow_schema(contract))
    columns = contract.columns[: len(found)]
    wrong = [
        number
        for number in range(len(found))
        if [(f.name, f.type) for f in found[number : number + 1]]
        != [(f.name, f.type) for f in expected[number : number + 1]]
    ]
    if wrong or not set(contract.key) <= {column.name for column in columns}:
        place = wrong[0] if wrong else len(found)
        raise EnvironmentProblem(
            "a published table is not of its contract",
            expected=_told(expected, place),
            found=_told(found, place),
            where=f"{path}, column {place + 1}",
            fix="publish it with the version of sales-pipeline that wrote it",
        )
    return RunTable(contract, columns, path, rows, run_table_name(name, run_id))


def _told(fields: list[pa.Field], place: int) -> str:
    return f"{fields[place].name} {fields[place].type}" if place < len(fields) else "no further column"
