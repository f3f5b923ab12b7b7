"""Tables at rest, and those of a later set of exports put together from them: what did not change is taken over, rows that went are left out, rows that came put in.

Belongs here: which tables may be built on, which have parts, merging one table. Does not belong here: which rows went and came, and whether that is
certain (`incremental`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from sqlglot import exp

from sales_pipeline.clean.audits import duplicate_keys_merged
from sales_pipeline.clean.built import Built
from sales_pipeline.contracts.canonical import CANONICAL_TABLES
from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.contracts.internal import CELL_ISSUES, ROW_VERDICTS
from sales_pipeline.contracts.model import Table
from sales_pipeline.engines.base import Engine, Source
from sales_pipeline.engines.compiler import DIALECT
from sales_pipeline.engines.parts import Part
from sales_pipeline.ingest.params import SourceMapping
from sales_pipeline.lake.layout import STEP_FILE
from sales_pipeline.lake.tables import TableRef, table_ref, take_over

MIN_RECORDS = 2_000_000
"""Raw records from which tables are such that a later export may be cleaned onto them: of fewer, compiling and planning each model twice costs what cleaning all takes."""
PART_COLUMNS = {"activities": "occurred_at", "opportunity_changes": "changed_at"}
"""Tables that are written in parts where a later export may be cleaned onto them, by the column that tells a row's part: what is new lies in few of them."""
TABLES: dict[str, Table] = {
    **{name: table for name, table in CANONICAL_TABLES.items() if name != "field_history"},
    "row_verdicts": ROW_VERDICTS,
    "cell_issues": CELL_ISSUES,
}


class NotCertain(Exception):
    """Why all records are cleaned anew."""


@dataclass(frozen=True)
class Base:
    """A step at rest of the same settings whose exports are the first ones of those wanted."""

    folder: Path
    step: dict[str, Any]

    @property
    def exports(self) -> int:
        """How many of the exports it holds."""
        return len(self.step["exports"])

    def ref(self, name: str) -> TableRef:
        """A table of it."""
        table = self.step["tables"][name]
        return TableRef(name, str(self.folder / f"{name}.parquet"), table["rows"], table["sha256"])


def may_be_built_on(rows: Mapping[str, int], mapping: SourceMapping, engine: Engine) -> bool:
    """Whether a later export may be cleaned onto tables of so many raw records."""
    return (
        sum(rows.values()) >= MIN_RECORDS
        and mapping.extract.get("opportunities", "full") != "full"
        and engine.dialect == DIALECT
    )


def find_base(stage: Path, settings: str, exports: Sequence[str]) -> Base | None:
    """The step below `stage` that holds the most of the first exports under the same settings, but not all."""
    best: Base | None = None
    for path in sorted(stage.glob(f"[!.]*/{STEP_FILE}")):
        step = json.loads(path.read_text(encoding="utf-8"))
        held = step.get("exports")
        if (
            step.get("settings") != settings
            or not held
            or len(held) >= len(exports)
            or held != list(exports[: len(held)])
        ):
            continue
        if best is None or len(held) > best.exports:
            best = Base(path.parent, step)
    return best


@dataclass(frozen=True)
class Tables:
    """Tables that are put together in a folder from those of a base."""

    base: Base
    folder: Path
    engine: Engine

    def taken_over(self, name: str) -> TableRef:
        """A table of the base as it lies there."""
        base = self.base.ref(name)
        target = self.folder / Path(base.path).name
        take_over(base, target)
        return replace(base, path=str(target))

    def merged_attributes(self, old: Built, now: Built) -> TableRef:
        """As `merged`, where the instant from which on changes of a column are known may have moved for all of its rows."""
        name = "opportunity_attributes"
        tracking = None if _same_tracking(old, now) else now.tracking
        return self.merged(name, old.refs[name], now.refs[name], tracking)

    def merged(self, name: str, gone: TableRef, come: TableRef, tracking: pa.Table | None = None) -> TableRef:
        """The table of the base without the rows of `gone`, with those of `come`; all of them tracked from the instants of `tracking`, where it is given.

        Parts in which no row went or came are taken over as they lie.
        """
        contract = TABLES[name]
        base = self.base.ref(name)
        is_same = gone.sha256 == come.sha256
        parts = self._parts(name, gone, come) if name in PART_COLUMNS and not is_same else []
        if tracking is None and (is_same or (name in PART_COLUMNS and not parts)):
            return self.taken_over(name)
        output = self.folder / Path(base.path).name
        names = {part.name for part in parts}
        rows: Source = [file for file in base.files if not parts or file.stem in names]
        inputs = {"base": rows or arrow_schema(contract).empty_table(), "gone": gone, "come": come}
        same = exp.and_(
            *(exp.column(k, table="b", quoted=True).eq(exp.column(k, table="g", quoted=True)) for k in contract.key)
        )
        stay = exp.select("*").from_("base")
        if tracking is not None:
            inputs["tracking"] = tracking
            stay = _tracked(contract.column_names)
        kept = exp.select("b.*").from_(stay.subquery("b")).join("gone AS g", on=same, join_type="anti")
        tree = exp.union(kept, exp.select("*").from_("come"), distinct=False, dialect=DIALECT)
        ref = self.engine.run(tree, inputs, output, contract=contract, parts=parts)
        if parts and base.rows:
            take_over(base, output, but=names)
            ref = table_ref(name, output)
        if not ref.files:
            raise NotCertain(f"no row of {name} is left")
        if ref.rows != base.rows - gone.rows + come.rows:
            raise NotCertain(f"{name} does not add up: {base.rows} - {gone.rows} + {come.rows} is not {ref.rows}")
        return ref

    def duplicates(self, old: Built, now: Built) -> dict[str, int]:
        """Counts of duplicate keys of the merged tables, where no key of the base occurs twice; of all others nothing is known."""
        facts = self.base.step["facts"]["tables"]
        return {
            name: duplicate_keys_merged(contract, self.base.ref(name), old.refs[name], now.refs[name], self.engine)
            for name, contract in TABLES.items()
            if name in facts and name != "accounts" and not facts[name]["duplicate_key_count"]
        }

    def _parts(self, name: str, gone: TableRef, come: TableRef) -> list[Part]:
        """The parts of a table in which a row went, came or changed."""
        one, other = (exp.select("*").from_(side) for side in ("gone", "come"))
        differing = exp.union(
            exp.select("*").from_(exp.except_(one, other, dialect=DIALECT).subquery("g")),
            exp.select("*").from_(exp.except_(other.copy(), one.copy(), dialect=DIALECT).subquery("c")),
            dialect=DIALECT,
        )
        column = TABLES[name].column(PART_COLUMNS[name])
        return self.engine.parts_of(differing, {"gone": gone, "come": come}, column)


def _tracked(columns: Sequence[str]) -> exp.Select:
    """The rows of `base` with the instants of `tracking`, by attribute."""
    others = (exp.column(name, table="s") for name in columns if name != "tracked_from")
    rows = exp.select(*others, "t.tracked_from").from_("base AS s")
    return rows.join("tracking AS t", on="t.attribute = s.attribute", join_type="left", dialect=DIALECT)


def _same_tracking(old: Built, now: Built) -> bool:
    """Whether changes of the same unmapped columns are known from the same instants on."""
    return bool(old.tracking.sort_by("attribute").equals(now.tracking.sort_by("attribute")))
