"""A build of the canonical tables from raw ones: the order of the SQL models, and what each is given.

Belongs here: that. Does not belong here: when a build is made, and of which records (`prepare`, `incremental`), the rules (sql/, engines/macros/), the
ledger's arithmetic (`ledger`), words (`vocabulary`), validation (`validate`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
from sqlglot import exp

from sales_pipeline.clean import audits, ledger, rules
from sales_pipeline.clean.affected import LOOKED_UP, odd_ids
from sales_pipeline.clean.attributes import Seen, write_attribute_changes, write_attributes
from sales_pipeline.clean.built import Built, Given, step_facts
from sales_pipeline.clean.columns import Column, kind_of
from sales_pipeline.clean.inputs import NO_HISTORY, RawInputs, attributes_of, feed_several_tables
from sales_pipeline.clean.merged import PART_COLUMNS, may_be_built_on
from sales_pipeline.clean.params import CleanParams
from sales_pipeline.clean.versions import repeated_records, with_versions
from sales_pipeline.clean.vocabulary import (
    SQL,
    StageMap,
    category_texts,
    folded_ids,
    id_style,
    learned_states,
    outcome_map,
    probability_scale,
    spelling_table,
    spellings,
    stage_map,
)
from sales_pipeline.contracts.canonical import CANONICAL_TABLES, FIELD_HISTORY
from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.contracts.raw import RAW_TABLES
from sales_pipeline.engines.base import Cut, Engine, Source, WorkTable
from sales_pipeline.engines.compiler import Scalar
from sales_pipeline.engines.parts import Part
from sales_pipeline.errors import LedgerUnbalanced
from sales_pipeline.ingest.params import SourceMapping
from sales_pipeline.lake.tables import TableRef, write_table

_T = TypeVar("_T")

_FIELDS = ("stage", "amount", "crm_close_date", "crm_probability", "owner_id")
_FLAG = {"stage": "stage", "amount": "amount", "crm_close_date": "close_date", "crm_probability": "probability", "owner_id": "owner"}  # fmt: skip
_ENTITIES = ("accounts", "contacts", "owners", "products")
_STAGED = {
    "accounts": "accounts", "contacts": "contacts", "owners": "owners", "products": "products", "opportunities": "opportunities",
    "state_history": "opportunity_changes", "field_history": "opportunity_changes", "activities": "activities",
    "opportunity_products": "opportunity_products", "quotas": "quotas", "cases": "cases", "exchange_rates": "exchange_rates",
}  # fmt: skip
"""Raw table (without `raw_`) to the canonical table it feeds, in the order of staging."""
_BY_OPPORTUNITY = Cut(
    "opportunity_id", ("staged_state_history", "staged_field_history", "staged_opportunities", "opportunity_keys")
)
"""The states of an opportunity follow from its own records alone."""
_WITH_DELETED_FLAG = ("accounts", "contacts", "owners", "products", "opportunities")


class Build:
    """One build of a canonical folder. What lies between two models is held by the engine, and freed as soon as nothing reads it any more.

    `given`: `raw` is only a part of the exports' records, and what is decided over whole tables is given.
    """

    def __init__(
        self,
        path: Path,
        raw: RawInputs,
        mapping: SourceMapping,
        params: CleanParams,
        engine: Engine,
        given: Given | None = None,
    ) -> None:
        self._path = path
        self._raw = raw
        self._mapping = mapping
        self._params = params
        self._engine = engine
        self._refs: dict[str, TableRef] = {}
        self._held: list[WorkTable] = []
        self._issues: list[WorkTable] = []
        self._exceptions: list[WorkTable] = []
        self._accepted: list[WorkTable] = []
        self._counts: list[rules.RuleCount] = []
        self._inputs: dict[str, Source] = {"sightings": raw.sightings, "files": raw.files, **raw.tables}
        self._parameters: dict[str, Scalar] = {
            "source_system": mapping.source_system,
            "id_style": id_style(mapping, {}),
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
        self._given = given
        self._decided: dict[str, Any] = {}
        self._tallies: dict[str, Any] = {}
        self._in_parts = given is None and may_be_built_on(raw.rows, mapping, engine)
        self._feeds_several = self._decide("feeds_several", lambda: feed_several_tables(raw, engine))

    def run(self) -> dict[str, Any]:
        """Write every table into the folder; figures of them, JSON-able."""
        try:
            built = self._tables()
        finally:
            self.release()
        return {
            **step_facts(built.refs, built.counts, built.facts, self._raw.ledger, self._params, self._engine),
            "decided": self._decided,
            "tallies": built.tallies,
        }

    def part(self) -> Built:
        """Write the tables of a part of the records, but those that are there (`entity`)."""
        try:
            return self._tables()
        finally:
            self.release()

    def entity(self, name: str) -> TableRef:
        """Write one table that needs no other. What is said of its records stays held: `go_on`, or `release` it."""
        self._simple(name)
        return self._refs[name]

    def go_on(self, raw: RawInputs, given: Given) -> Build:
        """The same build of more of the records, those of the tables that are there among them."""
        self._raw, self._given = raw, given
        self._inputs |= {"sightings": raw.sightings, "files": raw.files, **raw.tables}
        for name, ref in self._refs.items():
            self._keep(name, ref)
        return self

    def release(self) -> None:
        """Free what the engine holds for this build."""
        for table in self._held:
            self._engine.release(table)
        self._held.clear()

    def _decide(self, name: str, find: Callable[[], _T]) -> _T:
        """What `find` finds out over whole tables, JSON-able; where this is a part of them, what is given."""
        if self._given is not None:
            given: _T = self._given.decided[name]
            return given
        self._decided[name] = found = find()
        return found

    def _tables(self) -> Built:
        self._parameters["probability_scale"] = self._decide(
            "probability_scale",
            lambda: probability_scale(
                (self._raw.tables["raw_opportunities"], self._raw.tables["raw_state_history"]), self._engine
            ),
        )
        for name in _ENTITIES:
            if name not in self._refs:
                self._simple(name)
        stages = self._opportunities()
        self._changes(stages)
        self._canonical("opportunities")
        self._drop("changed_states")
        self._simple("activities", "activities", "planned_activities")
        for name in ("opportunity_products", "quotas", "cases", "exchange_rates"):
            self._simple(name)
        self._refs["attribute_changes"], seen, tracking = write_attribute_changes(
            self._inputs, self._parameters, self._engine, self._path / "attribute_changes.parquet",
            Seen() if self._given is None else self._given.seen,
        )  # fmt: skip
        self._tallies["seen"] = seen.to_json()
        self._refs["opportunity_attributes"], columns = write_attributes(
            self._inputs, tracking, self._mapping, self._parameters, self._engine, self._path / "opportunity_attributes.parquet",
            self._kinds, dict if self._given is None else self._given.columns,
        )  # fmt: skip
        self._tallies["columns"] = {name: column.to_json() for name, column in columns.items()}
        self._account_for()
        return Built(self._refs, self._counts, self._facts, self._tallies, tracking)

    def _kinds(self, columns: Mapping[str, Column]) -> dict[str, str]:
        found = {name: kind_of(column, self._params) for name, column in columns.items()}
        return self._decide("kinds", lambda: {name: kind for name, kind in found.items() if kind})

    def _hold(
        self, model: Path | exp.Query, inputs: Mapping[str, Source], cut: Cut | None = None, **extra: Scalar
    ) -> WorkTable:
        table = self._engine.hold(
            model, inputs, parameters={**self._parameters, **extra}, cut=cut, beside=max(self._raw.rows.values())
        )
        self._held.append(table)
        return table

    def _release(self, table: WorkTable) -> None:
        self._held.remove(table)
        self._engine.release(table)

    def _drop(self, name: str) -> None:
        """Forget a held table that nothing reads any more."""
        table = self._inputs.pop(name)
        if isinstance(table, WorkTable):
            self._release(table)

    def _stage(self, name: str) -> WorkTable:
        """Parse one raw table, number the records of a key, and note what the rules touched; checks that no record was lost or doubled by a join."""
        raw = f"raw_{name}"
        columns = RAW_TABLES[raw].column_names[3:] if self._raw.has(raw) else ()
        respelled = self._decide(
            f"spellings of {name}",
            lambda: spellings(
                name, category_texts(name, self._raw.tables[raw], self._mapping, columns, self._engine), self._mapping
            ),
        )
        self._inputs["spellings"] = spelling_table(respelled)
        ids = [column for column in columns if column.endswith("_id") and column != "change_id"]
        if ids and self._mapping.dialect == "salesforce":
            folded = self._decide(f"folded ids of {name}", lambda: folded_ids(self._raw.tables[raw], ids, self._engine))
            self._parameters["id_style"] = id_style(self._mapping, folded)
        if self._in_parts and name in LOOKED_UP and self._raw.has(raw):
            style = str(self._parameters["id_style"])
            self._tallies.setdefault("odd_ids", {})[name] = odd_ids(name, self._raw.tables[raw], style, self._engine)
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
        """Stage a raw table and build what it alone feeds; where no export holds it, or none of its records is of this part, the tables are empty."""
        if self._raw.has(f"raw_{name}") and (self._given is None or self._raw.rows[f"raw_{name}"]):
            self._stage(name)
            for table in canonical or (name,):
                self._canonical(table)
            self._drop(f"staged_{name}")
            return
        for table in canonical or (name,):
            contract = CANONICAL_TABLES[table]
            self._keep(
                table, write_table(arrow_schema(contract).empty_table(), self._path / f"{table}.parquet", contract)
            )

    def _keep(self, name: str, ref: TableRef) -> None:
        self._refs[name] = ref
        self._inputs[name] = ref if self._given is None else self._given.whole.get(name, ref)

    def _canonical(self, name: str) -> None:
        model, contract, parts = SQL / f"{name}.sql", CANONICAL_TABLES[name], list[Part]()
        if self._in_parts and name in PART_COLUMNS:
            column = contract.column(PART_COLUMNS[name])
            parts = self._engine.parts_of(model, self._inputs, column, parameters=self._parameters)
        ref = self._engine.run(
            model, self._inputs, self._path / f"{name}.parquet",
            contract=contract, parameters=self._parameters, parts=parts,
        )  # fmt: skip
        self._keep(name, ref)

    def _helper(self, name: str) -> None:
        self._inputs[name] = self._hold(SQL / f"{name}.sql", self._inputs)

    def _opportunities(self) -> StageMap:
        """Stage the opportunities; which ids stand for which opportunity; which were removed."""
        known = self._decide(
            "stages",
            lambda: asdict(
                stage_map(
                    self._raw.tables["raw_stages"], self._raw.tables["raw_opportunities"], self._mapping, self._engine
                )
            ),
        )
        stages = StageMap(**known)
        self._inputs["stage_map"] = stages.table()
        self._inputs["outcome_map"] = outcome_map(self._mapping)
        staged = self._stage("opportunities")
        limit = self._params.max_unknown_stage_share if self._given is None else 1.0
        self._facts["unknown_stage_records"] = audits.refuse_unknown_stages(staged, limit, self._engine)
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
        """Stage both histories, settle which fields they version, and write the states over time, which stay held for the opportunities."""
        learned: dict[str, str] = {}
        if not stages.is_listed:
            inputs = {"staged_opportunities": self._inputs["staged_opportunities"]}
            records = self._engine.query(SQL / "stage_states.sql", inputs).to_pylist()
            counted = [(row["stage_key"], row["state"], row["records"]) for row in records]
            self._tallies["stage_states"] = counted
            learned = self._decide("learned_states", lambda: learned_states(counted))
        self._inputs["stage_map"] = stages.table(learned)
        self._parameters["stages_are_listed"] = stages.is_listed
        self._history("state_history")
        attributes = self._decide("attributes", lambda: attributes_of(self._raw, self._engine))
        self._inputs["attribute_names"] = self._hold(
            SQL / "attribute_names.sql", {"attributes": pa.table({"attribute": pa.array(attributes, pa.string())})}
        )
        self._history("field_history")
        basis = "history"
        if not self._raw.has_history() and self._exports_are_history():
            basis = "exports"
            self._drop("staged_state_history")
            self._inputs["staged_state_history"] = self._hold(SQL / "export_snapshots.sql", self._inputs)
        snapshots = self._engine.query(
            SQL / "opportunity_changes_facts.sql", {"staged_state_history": self._inputs["staged_state_history"]}
        ).to_pylist()[0]
        changes = self._engine.query(
            SQL / "tracked_fields.sql", {"staged_field_history": self._inputs["staged_field_history"]}
        ).to_pylist()
        self._tallies["snapshots"] = snapshots
        self._tallies["changes"] = {row["field"]: row["changes"] for row in changes}
        snapshot = self._decide("snapshots", lambda: {f: bool(snapshots[f]) for f in _FIELDS})
        tracked = self._decide("changes", lambda: [row["field"] for row in changes])
        flags: dict[str, Scalar] = {f"snapshots_have_{_FLAG[f]}": snapshot[f] for f in _FIELDS}
        versioned = {field: snapshot[field] or field in tracked for field in _FIELDS}
        flags |= {f"{_FLAG[f]}_is_versioned": versioned[f] for f in _FIELDS}
        self._inputs["changed_states"] = self._hold(SQL / "changed_states.sql", self._inputs, _BY_OPPORTUNITY, **flags)
        self._drop("staged_state_history")
        self._canonical("opportunity_changes")
        history = pa.table(
            {
                "field": list(_FIELDS),
                "is_versioned": [versioned[f] for f in _FIELDS],
                "basis": [basis if versioned[f] else "none" for f in _FIELDS],
            }
        )
        self._refs["field_history"] = write_table(history, self._path / "field_history.parquet", FIELD_HISTORY)

    def _history(self, name: str) -> None:
        """Stage a history. Where it has no records, as most CRMs export one of the two, its model is not even planned, which takes as long as cleaning some."""
        if self._raw.rows[f"raw_{name}"]:
            self._stage(name)
        else:
            self._inputs[f"staged_{name}"] = NO_HISTORY[name].empty_table()

    def _exports_are_history(self) -> bool:
        """Whether comparing exports shows the past of enough opportunities."""
        instants = self._raw.holding["raw_opportunities"]
        if len(instants) < 2:
            return False
        share = audits.new_since(instants[0], self._inputs["staged_opportunities"], self._engine)
        self._facts["new_since_first_export_share"] = share
        return share >= self._params.min_versioned_share

    def _account_for(self) -> None:
        """Cell issues, and the verdicts on records that are not taken."""
        self._helper("orphan_accounts")
        self._helper("converted_leads")
        self._refs["cell_issues"] = ledger.write_cell_issues(
            [*self._issues, self._inputs["orphan_accounts"]],
            self._raw.files,
            self._engine,
            self._path / "cell_issues.parquet",
        )
        self._refs["row_verdicts"] = ledger.write_verdicts(
            [*self._exceptions, self._inputs["converted_leads"]],
            self._accepted,
            self._engine,
            self._path / "row_verdicts.parquet",
        )
