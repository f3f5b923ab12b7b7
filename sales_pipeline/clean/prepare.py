"""Prepare: the raw tables of the visible exports become the canonical tables, once per set of exports, mapping and parameters.

Belongs here: the order of the SQL models and what each is given. Does not belong here: the rules (sql/, engines/macros/), the ledger's
arithmetic (`ledger`), words (`vocabulary`), validation (`validate`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from sqlglot import exp

from sales_pipeline.clean import audits, ledger, rules
from sales_pipeline.clean.attributes import write_attribute_changes, write_attributes
from sales_pipeline.clean.inputs import RawInputs, feed_several_tables, raw_inputs
from sales_pipeline.clean.params import CleanParams
from sales_pipeline.clean.versions import repeated_records, with_versions
from sales_pipeline.clean.vocabulary import (
    SQL,
    StageMap,
    ids_are_folded,
    learned_states,
    outcome_map,
    probability_scale,
    spellings,
    stage_map,
)
from sales_pipeline.contracts.canonical import CANONICAL_TABLES, FIELD_HISTORY
from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.contracts.raw import RAW_TABLES
from sales_pipeline.domain.identifiers import digest_bytes, digest_of
from sales_pipeline.engines.base import Engine, Source, WorkTable
from sales_pipeline.engines.compiler import Scalar, macro_text
from sales_pipeline.errors import LedgerUnbalanced
from sales_pipeline.ingest.params import SourceMapping
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.tables import TableRef, write_table

if TYPE_CHECKING:
    from sales_pipeline.ingest.exports import IngestedExport

STAGE = "canonical"
VERSION = "3"
"""Raised when code (not SQL, whose text is digested) changes what cleaning writes."""

_FIELDS = ("stage", "amount", "crm_close_date", "crm_probability", "owner_id")
_FLAG = {
    "stage": "stage",
    "amount": "amount",
    "crm_close_date": "close_date",
    "crm_probability": "probability",
    "owner_id": "owner",
}
_ENTITIES = ("accounts", "contacts", "owners", "products")
_STAGED = {
    "accounts": "accounts", "contacts": "contacts", "owners": "owners", "products": "products", "opportunities": "opportunities",
    "state_history": "opportunity_changes", "field_history": "opportunity_changes", "activities": "activities",
    "opportunity_products": "opportunity_products", "quotas": "quotas", "cases": "cases", "exchange_rates": "exchange_rates",
}  # fmt: skip
"""Raw table (without `raw_`) to the canonical table it feeds, in the order of staging."""
_ID_STYLES = {"salesforce": "salesforce", "dynamics": "guid"}
"""How `parse_id` reads the ids of a dialect; others are text."""
_WITH_DELETED_FLAG = ("accounts", "contacts", "owners", "products", "opportunities")


@dataclass(frozen=True)
class Canonical:
    """The canonical tables at rest.

    `tables` holds every table of CANONICAL_TABLES (empty where the exports have nothing); `ledger` the final ROW_LEDGER; `cell_issues`
    CELL_ISSUES; `rules` the count of what each rule touched; `facts` figures for the audit, JSON-able.
    """

    key: str
    path: Path
    tables: dict[str, TableRef]
    ledger: TableRef
    cell_issues: TableRef
    rules: tuple[rules.RuleCount, ...]
    facts: dict[str, Any]


def prepare(
    lake: Lake, exports: Sequence[IngestedExport], mapping: SourceMapping, params: CleanParams, engine: Engine
) -> Canonical:
    """Canonical tables of the visible exports (oldest first), read back where they were built before.

    Raises AuditBlocked when stages are mostly unknown or too many opportunities are absent from a full extract, and LedgerUnbalanced
    when a record is not accounted for.
    """
    key = digest_of(
        VERSION,
        engine.dialect,
        macro_text(engine.dialect),
        {path.name: digest_bytes(path.read_bytes()) for path in sorted(SQL.glob("*.sql"))},
        mapping.model_dump(mode="json"),
        params.model_dump(mode="json"),
        [
            (e.export.export_id, e.export.exported_at, e.ledger.sha256, {n: [p.sha256 for p in parts] for n, parts in sorted(e.tables.items())})
            for e in exports
        ],
    )  # fmt: skip
    folder, facts = lake.step(STAGE, key, lambda path: _Build(path, raw_inputs(exports), mapping, params, engine).run())
    refs = {
        name: TableRef(name, str(folder / f"{name}.parquet"), f["rows"], f["sha256"])
        for name, f in facts["tables"].items()
    }
    return Canonical(
        key=key,
        path=folder,
        tables={name: refs[name] for name in CANONICAL_TABLES},
        ledger=refs["row_ledger"],
        cell_issues=refs["cell_issues"],
        rules=tuple(rules.RuleCount(**count) for count in facts["rules"]),
        facts=facts["facts"],
    )


class _Build:
    """One build of a canonical folder. What lies between two models is held by the engine, and freed as soon as nothing reads it any more."""

    def __init__(self, path: Path, raw: RawInputs, mapping: SourceMapping, params: CleanParams, engine: Engine) -> None:
        self._path = path
        self._raw = raw
        self._mapping = mapping
        self._params = params
        self._engine = engine
        self._refs: dict[str, TableRef] = {}
        self._staged: dict[str, WorkTable] = {}
        self._held: list[WorkTable] = []
        self._issues: list[WorkTable] = []
        self._exceptions: list[WorkTable] = []
        self._accepted: list[WorkTable] = []
        self._counts: list[rules.RuleCount] = []
        self._inputs: dict[str, Source] = {"sightings": raw.sightings, "files": raw.files, **raw.tables}
        self._parameters: dict[str, Scalar] = {
            "source_system": mapping.source_system,
            "id_style": _ID_STYLES.get(mapping.dialect, "text"),
            "date_order": mapping.date_order,
            "decimal_sign": mapping.decimal,
            "zone": mapping.time_zone,
            "currency": mapping.currency,
            "kind": mapping.kind,
            "has_outcome": mapping.outcome is not None,
            "has_accounts": raw.has("raw_accounts"),
            "probability_scale": 1.0,
        }
        self._facts: dict[str, Any] = {"raw_rows": raw.rows}
        self._feeds_several = feed_several_tables(raw, engine)

    def run(self) -> dict[str, Any]:
        """Write every table into the folder; figures of them, JSON-able."""
        try:
            return self._run()
        finally:
            for table in self._held:
                self._engine.release(table)

    def _run(self) -> dict[str, Any]:
        self._parameters["probability_scale"] = probability_scale(
            (self._raw.tables["raw_opportunities"], self._raw.tables["raw_state_history"]), self._engine
        )
        for name in _ENTITIES:
            self._simple(name)
        stages = self._opportunities()
        self._changes(stages)
        self._canonical("opportunities")
        self._simple("activities", "activities", "planned_activities")
        for name in ("opportunity_products", "quotas", "cases", "exchange_rates"):
            self._simple(name)
        self._refs["attribute_changes"], tracking = write_attribute_changes(
            self._inputs, self._parameters, self._engine, self._path / "attribute_changes.parquet",
            compares_exports=len(self._raw.holding["raw_opportunities"]) > 1,
        )  # fmt: skip
        self._held.append(tracking)
        self._refs["opportunity_attributes"] = write_attributes(
            self._raw.tables["raw_opportunity_attributes"], self._inputs["opportunities"], tracking, self._mapping, self._params, self._parameters,
            self._engine, self._path / "opportunity_attributes.parquet",
        )  # fmt: skip
        self._account_for()
        self._facts["tables"] = audits.table_facts(self._refs, self._engine)
        self._facts["limits"] = {"quarantined_share": self._params.max_quarantined_share}
        self._facts["batch_rows"] = self._params.validation_batch_rows
        return {
            "tables": {name: {"rows": ref.rows, "sha256": ref.sha256} for name, ref in sorted(self._refs.items())},
            "rules": [count.to_dict() for count in self._counts],
            "facts": self._facts,
        }

    def _hold(self, model: Path | exp.Query, inputs: Mapping[str, Source], **extra: Scalar) -> WorkTable:
        table = self._engine.hold(model, inputs, parameters={**self._parameters, **extra})
        self._held.append(table)
        return table

    def _release(self, table: WorkTable) -> None:
        self._held.remove(table)
        self._engine.release(table)

    def _stage(self, name: str) -> WorkTable:
        """Parse one raw table, number the records of a key, and note what the rules touched; checks that no record was lost or doubled by a join."""
        raw = f"raw_{name}"
        columns = RAW_TABLES[raw].column_names[4:] if self._raw.has(raw) else ()
        self._inputs["spellings"] = spellings(name, self._raw.tables[raw], self._mapping, columns, self._engine)
        ids = [column for column in columns if column.endswith("_id") and column != "change_id"]
        if ids and self._mapping.dialect == "salesforce":
            is_folded = ids_are_folded(self._raw.tables[raw], ids, self._engine)
            self._parameters["id_style"] = "salesforce_folded" if is_folded else "salesforce"
        staged = self._hold(SQL / f"staged_{name}.sql", self._inputs)
        if staged.rows != self._raw.rows[raw]:
            raise LedgerUnbalanced(
                "cleaning lost or doubled records",
                expected=f"{self._raw.rows[raw]} records of {raw}",
                found=f"{staged.rows}",
                fix="this is a fault of the program: keep the export and report it",
            )
        repeated = repeated_records(name, staged, self._engine)
        self._held.append(repeated)
        if repeated.rows:
            parsed, staged = staged, with_versions(name, staged, repeated, self._engine)
            self._held.append(staged)
            self._release(parsed)
        self._note(name, staged, repeated)
        self._release(repeated)
        self._staged[name] = staged
        self._inputs[f"staged_{name}"] = staged
        return staged

    def _note(self, name: str, staged: WorkTable, repeated: WorkTable) -> None:
        """What the ledger and the rules need of a staged table, so that it need not be kept for them."""
        self._counts += rules.count(name, staged, self._engine)
        issues = ledger.issues_of("staged", _STAGED[name], staged.columns)
        if issues is not None:
            self._issues.append(self._hold(issues, {"staged": staged}))
        exceptions = ledger.exceptions_of(
            "staged", "repeated", keeps_deleted=name == "opportunities", has_deleted_flag=name in _WITH_DELETED_FLAG
        )
        self._exceptions.append(self._hold(exceptions, {"staged": staged, "repeated": repeated}))
        if self._feeds_several:
            self._accepted.append(self._hold(ledger.accepted_of("staged"), {"staged": staged}))

    def _simple(self, name: str, *canonical: str) -> None:
        """Stage a raw table and build what it alone feeds; where no export holds it, the tables are empty."""
        if self._raw.has(f"raw_{name}"):
            staged = self._stage(name)
            for table in canonical or (name,):
                self._canonical(table)
            del self._staged[name], self._inputs[f"staged_{name}"]
            self._release(staged)
            return
        for table in canonical or (name,):
            contract = CANONICAL_TABLES[table]
            self._keep(
                table, write_table(arrow_schema(contract).empty_table(), self._path / f"{table}.parquet", contract)
            )

    def _keep(self, name: str, ref: TableRef) -> None:
        self._refs[name] = ref
        self._inputs[name] = ref

    def _canonical(self, name: str, **extra: Scalar) -> None:
        ref = self._engine.run(
            SQL / f"{name}.sql", self._inputs, self._path / f"{name}.parquet",
            contract=CANONICAL_TABLES[name], parameters={**self._parameters, **extra},
        )  # fmt: skip
        self._keep(name, ref)

    def _helper(self, name: str) -> None:
        self._inputs[name] = self._hold(SQL / f"{name}.sql", self._inputs)

    def _opportunities(self) -> StageMap:
        """Stage the opportunities; which ids stand for which opportunity; which were removed."""
        stages = stage_map(
            self._raw.tables["raw_stages"], self._raw.tables["raw_opportunities"], self._mapping, self._engine
        )
        self._inputs["stage_map"] = stages.table()
        self._inputs["outcome_map"] = outcome_map(self._mapping)
        staged = self._stage("opportunities")
        self._facts["unknown_stage_records"] = audits.refuse_unknown_stages(staged, self._params, self._engine)
        self._helper("opportunity_keys")
        is_full = self._mapping.extract.get("opportunities", "full") == "full"
        instants = self._raw.holding["raw_opportunities"] if is_full else ()
        self._inputs["full_extracts"] = pa.table({"exported_at": pa.array(instants, pa.timestamp("us", tz="UTC"))})
        self._helper("removals")
        if len(instants) > 1:
            self._facts["absent_opportunities"] = audits.refuse_absence(
                staged, instants[-2], instants[-1], self._params, self._engine
            )
        return stages

    def _changes(self, stages: StageMap) -> None:
        """Stage both histories, settle which fields they version, and write the states over time."""
        learned = {} if stages.is_listed else learned_states(self._staged["opportunities"], self._engine)
        self._inputs["stage_map"] = stages.table(learned)
        self._parameters["stages_are_listed"] = stages.is_listed
        self._stage("state_history")
        self._helper("attribute_names")
        self._stage("field_history")
        basis = "history"
        if (
            not (self._raw.has("raw_state_history") or self._raw.has("raw_field_history"))
            and self._exports_are_history()
        ):
            basis = "exports"
            self._inputs["staged_state_history"] = self._hold(SQL / "export_snapshots.sql", self._inputs)
        snapshot = self._engine.query(
            SQL / "opportunity_changes_facts.sql", {"staged_state_history": self._inputs["staged_state_history"]}
        ).to_pylist()[0]
        tracked = set(
            self._engine.query(SQL / "tracked_fields.sql", {"staged_field_history": self._staged["field_history"]})
            .column("field")
            .to_pylist()
        )
        flags: dict[str, Scalar] = {f"snapshots_have_{_FLAG[f]}": bool(snapshot[f]) for f in _FIELDS}
        versioned = {field: bool(snapshot[field]) or field in tracked for field in _FIELDS}
        flags |= {f"{_FLAG[f]}_is_versioned": versioned[f] for f in _FIELDS}
        self._canonical("opportunity_changes", **flags)
        self._inputs["staged_state_history"] = self._staged["state_history"]
        history = pa.table(
            {
                "field": list(_FIELDS),
                "is_versioned": [versioned[f] for f in _FIELDS],
                "basis": [basis if versioned[f] else "none" for f in _FIELDS],
            }
        )
        self._refs["field_history"] = write_table(history, self._path / "field_history.parquet", FIELD_HISTORY)

    def _exports_are_history(self) -> bool:
        """Whether comparing exports shows the past of enough opportunities."""
        instants = self._raw.holding["raw_opportunities"]
        if len(instants) < 2:
            return False
        figures = self._engine.query(
            SQL / "new_since_first.sql",
            {"staged_opportunities": self._staged["opportunities"]},
            parameters={"first": instants[0]},
        )
        share = figures.column("new_share")[0].as_py() or 0.0
        self._facts["new_since_first_export_share"] = share
        return bool(share >= self._params.min_versioned_share)

    def _account_for(self) -> None:
        """Cell issues and the final ledger."""
        self._helper("orphan_accounts")
        self._helper("converted_leads")
        self._refs["cell_issues"] = ledger.write_cell_issues(
            [*self._issues, self._inputs["orphan_accounts"]],
            self._raw.files,
            self._engine,
            self._path / "cell_issues.parquet",
        )
        ingested: Source = list(self._raw.ledgers)
        if self._raw.shares_files:
            ingested = self._hold(SQL / "ledger_once.sql", {"ingest_ledger": ingested})
        self._refs["row_ledger"] = ledger.write_ledger(
            ingested,
            [*self._exceptions, self._inputs["converted_leads"]],
            self._accepted,
            self._engine,
            self._path / "row_ledger.parquet",
        )
