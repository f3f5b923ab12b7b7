"""Prepare: the raw tables of the visible exports become the canonical tables, once per set of exports, mapping and parameters.

Belongs here: the step in the lake, and what it stands for. Does not belong here: how tables are built (`build`), or put together from those of a day before
(`incremental`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sales_pipeline.clean import rules
from sales_pipeline.clean.build import Build
from sales_pipeline.clean.incremental import CAME, build_on
from sales_pipeline.clean.inputs import raw_inputs
from sales_pipeline.clean.ledger import RowLedger
from sales_pipeline.clean.merged import find_base
from sales_pipeline.clean.params import CleanParams
from sales_pipeline.clean.vocabulary import SQL
from sales_pipeline.contracts.canonical import CANONICAL_TABLES
from sales_pipeline.domain.identifiers import digest_bytes, digest_of
from sales_pipeline.engines.base import Engine
from sales_pipeline.engines.compiler import macro_text
from sales_pipeline.ingest.params import SourceMapping
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.tables import TableRef

if TYPE_CHECKING:
    from sales_pipeline.ingest.exports import IngestedExport

STAGE = "canonical"
VERSION = "9"
"""Raised when code (not SQL, whose text is digested) changes what cleaning writes."""


@dataclass(frozen=True)
class Canonical:
    """The canonical tables at rest.

    `tables` holds every table of CANONICAL_TABLES (empty where the exports have nothing); `ledger` says what became of every record; `cell_issues`
    are CELL_ISSUES; `rules` the count of what each rule touched; `facts` figures for the audit, JSON-able.
    `base` is the key of the tables these were built on, None where all records were cleaned; `came` then holds, of some tables, the rows that are new
    or were computed again: all others stand in the base's too, but for the instants attributes are tracked from.
    """

    key: str
    path: Path
    tables: dict[str, TableRef]
    ledger: RowLedger
    cell_issues: TableRef
    rules: tuple[rules.RuleCount, ...]
    facts: dict[str, Any]
    base: str | None = None
    came: Mapping[str, TableRef] = field(default_factory=dict)


def prepare(
    lake: Lake, exports: Sequence[IngestedExport], mapping: SourceMapping, params: CleanParams, engine: Engine
) -> Canonical:
    """Canonical tables of the visible exports (oldest first), read back where they were built before.

    Raises AuditBlocked when stages are mostly unknown or too many opportunities are absent from a full extract, and LedgerUnbalanced
    when a record is not accounted for.
    """
    settings = digest_of(
        VERSION,
        engine.dialect,
        macro_text(engine.dialect),
        {path.name: digest_bytes(path.read_bytes()) for path in sorted(SQL.glob("*.sql"))},
        mapping.model_dump(mode="json"),
        params.model_dump(mode="json"),
    )
    shown = [
        digest_of(e.export.export_id, e.export.exported_at, e.ledger.sha256, {n: [p.sha256 for p in parts] for n, parts in sorted(e.tables.items())})
        for e in exports
    ]  # fmt: skip
    key = digest_of(settings, shown)

    def build(folder: Path) -> dict[str, Any]:
        base = find_base(lake.root / STAGE, settings, shown)
        facts = base and build_on(base, folder, exports, mapping, params, engine)
        return {
            **(facts or Build(folder, raw_inputs(exports), mapping, params, engine).run()),
            "settings": settings,
            "exports": shown,
        }

    folder, facts = lake.step(STAGE, key, build)
    refs = {
        name: TableRef(name, str(folder / f"{name}.parquet"), f["rows"], f["sha256"])
        for name, f in facts["tables"].items()
    }
    return Canonical(
        key=key,
        path=folder,
        tables={name: refs[name] for name in CANONICAL_TABLES},
        ledger=RowLedger(tuple(e.ledger for e in exports), refs["row_verdicts"]),
        cell_issues=refs["cell_issues"],
        rules=tuple(rules.RuleCount(**count) for count in facts["rules"]),
        facts=facts["facts"],
        base=facts.get("base"),
        came={
            name: TableRef(name, str(folder / CAME / f"{name}.parquet"), f["rows"], f["sha256"])
            for name, f in facts.get("came", {}).items()
        },
    )
