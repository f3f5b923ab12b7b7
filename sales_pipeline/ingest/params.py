"""What a user says about a source: the mapping of its exports to raw tables.

Belongs here: frozen, light models that a YAML file is read into. Does not belong here: built-in knowledge about a CRM (`dialects`).
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from sales_pipeline.contracts.raw import RAW_TABLES

Dialect = Literal["salesforce", "hubspot", "pipedrive", "dynamics", "odoo", "tryton", "chinese", "table"]


REPAIR_REASON = "quarantine_reason"
"""Column that `quarantine` puts behind the columns of a file to repair; it is never read back."""

REPAIR_NAME = "_repair"
"""In the name of a file of repaired records: it belongs to the export it lies beside."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TableMapping(_Frozen):
    """Which files of an export hold a table, and under which headers its columns stand.

    `files` are globs on the base name, compared without regard to case. `columns` goes from the raw table's column to the export's
    header (case and outer blanks do not matter); `constants` gives a column the same text in every record. `sheet` names the sheet
    of a workbook; without it the first one is read.
    """

    files: tuple[str, ...]
    columns: dict[str, str] = Field(default_factory=dict)
    constants: dict[str, str] = Field(default_factory=dict)
    sheet: str | None = None


class StageMapping(_Frozen):
    """The stages by what they say; compared without regard to case. `open` stands in the order of the process."""

    won: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    open: tuple[str, ...] = ()


class OutcomeRule(_Frozen):
    """A column, apart from the stage, whose values say won or lost; any other value means open."""

    column: str
    won: tuple[str, ...]
    lost: tuple[str, ...] = ()


class ArchiveLimits(_Frozen):
    """How much a ZIP may unfold to. `max_ratio` is uncompressed by compressed bytes of a member of a megabyte or more."""

    max_members: int = 1_000
    max_bytes: int = 1_000_000_000
    max_ratio: float = 200.0


class SourceMapping(_Frozen):
    """Everything about one source that its files do not say themselves.

    Parameters
    ----------
    tables
        By raw table without its `raw_`, such as `opportunities` or `state_history`. For a CRM dialect the built-in mapping holds
        for every table not named here.
    missing
        Texts that stand for a missing value; empty cells always do. The text "None" is a value unless listed.
    encoding
        Tried after a byte order mark and strict UTF-8.
    exported_at
        "newest": just after the newest recorded instant; "file_name": the end of the day named by a file or its folder; or an ISO instant.
    extract
        Per table: `full` (a record that is absent was removed) or `delta`. Full where nothing is said.
    synonyms
        By raw column: value as found to value as meant.
    header_synonyms
        For a CRM's dialect, by raw column (`stage`, or `accounts.owner_id` for one table alone): headers that mean it besides the built-in
        ones. Where a file has one of them it comes first. Tables mapped under `tables` name their headers themselves.
    time_zone
        IANA name: instants without an offset are read in it, and days end in it. Close dates are days without a zone, taken as written (of an instant
        the day it is written with); features and models count days in UTC, so that a record means the same in every season. In zones west of
        UTC the days to a close date are therefore one fewer than on a wall calendar there, and `slip_probability` asks for the end of the close date
        in UTC: less than a day from its end anywhere.
    order_by
        Header of a column that orders the records where no time is recorded: a weak order, never used as an instant.
    """

    source_system: str = "crm"
    dialect: Dialect = "table"
    tables: dict[str, tuple[TableMapping, ...]] = Field(default_factory=dict)
    stages: StageMapping = StageMapping()
    outcome: OutcomeRule | None = None
    missing: tuple[str, ...] = ()
    synonyms: dict[str, dict[str, str]] = Field(default_factory=dict)
    header_synonyms: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    date_order: Literal["ymd", "mdy", "dmy"] = "ymd"
    decimal: Literal[".", ","] = "."
    currency: str = "USD"
    time_zone: str = "UTC"
    encoding: str | None = None
    exported_at: str = "newest"
    extract: dict[str, Literal["full", "delta"]] = Field(default_factory=dict)
    never_use: tuple[str, ...] = ()
    use_anyway: tuple[str, ...] = ()
    kind: Literal["opportunity", "lead"] = "opportunity"
    order_by: str | None = None
    limits: ArchiveLimits = ArchiveLimits()

    @field_validator("tables", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: object) -> object:
        """A table with a single mapping may be written without the list around it."""
        if isinstance(value, dict):
            return {name: (part,) if isinstance(part, dict | TableMapping) else part for name, part in value.items()}
        return value

    @field_validator("tables")
    @classmethod
    def _known_tables_and_columns(
        cls, value: dict[str, tuple[TableMapping, ...]]
    ) -> dict[str, tuple[TableMapping, ...]]:
        for name, parts in value.items():
            table = RAW_TABLES.get(f"raw_{name}")
            if table is None:
                known = ", ".join(key.removeprefix("raw_") for key in RAW_TABLES)
                raise ValueError(f"there is no table {name!r}; the tables are {known}")
            for part in parts:
                for column in (*part.columns, *part.constants):
                    if column not in table.column_names[3:]:
                        raise ValueError(
                            f"{name} has no column {column!r}; its columns are {', '.join(table.column_names[3:])}"
                        )
        return value

    @field_validator("header_synonyms", mode="before")
    @classmethod
    def _one_header_is_a_list(cls, value: object) -> object:
        """A column with a single header may be written without the list around it."""
        if isinstance(value, dict):
            return {name: (headers,) if isinstance(headers, str) else headers for name, headers in value.items()}
        return value

    @field_validator("header_synonyms")
    @classmethod
    def _known_columns_and_one_meaning(cls, value: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        meant: dict[tuple[str, str], str] = {}
        for name, headers in value.items():
            table, _, column = name.rpartition(".")
            tables = [key for key, one in RAW_TABLES.items() if column in one.column_names[3:]]
            tables = [key for key in tables if not table or key == f"raw_{table}"]
            if not tables:
                raise ValueError(
                    f"there is no column {name!r}: write a raw column such as stage, or table.column such as accounts.owner_id"
                )
            for header in headers:
                if not header.strip():
                    raise ValueError(f"an empty header cannot mean {name}")
                for key in tables:
                    other = meant.setdefault((key, header.strip().casefold()), column)
                    if other != column:
                        raise ValueError(
                            f"the header {header!r} means two columns of {key.removeprefix('raw_')}: {other} and {column}"
                        )
        return value
