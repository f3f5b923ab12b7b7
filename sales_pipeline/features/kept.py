"""Where every opportunity stood and how it was closed, at rest: made once per set of canonical tables, and on a new day only for the opportunities it changed.

A day changes few opportunities. So the tables of all are made seldom; later days take them over as they lie and add what stands of the opportunities that have changed since,
whose older rows no longer count. Who has changed is what canonical tables say that were built on those of the day before (`came`); where they were not, or the rows
do not add up to those of the changes, or too many have changed, all is made anew.

Belongs here: that step in the lake. Does not belong here: the models (`sql/`), what a day reads of them (`standing`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from sqlglot import exp

from sales_pipeline.domain.identifiers import digest_of
from sales_pipeline.engines.base import Cut, Engine, Source, WorkTable
from sales_pipeline.engines.compiler import DIALECT
from sales_pipeline.features.preparation import PREPARED, READ, is_prepared, prepared
from sales_pipeline.features.sql_models import code_digest, inputs_of, model, with_model
from sales_pipeline.lake.layout import STEP_FILE, Lake
from sales_pipeline.lake.tables import TableRef, take_over

STAGE = "standing"
TIMELINE, CLOSINGS = "timeline", "closings"
MAX_SHARE = 0.05
"""Share of the opportunities that may have changed since the tables of all were made: of more, leaving out old rows costs what making all does."""


class CanonicalTables(Protocol):
    """What features need of the canonical tables: all of them at rest by name, and what of them came since those they were built on (see `clean.prepare.Canonical`)."""

    @property
    def key(self) -> str:
        """A digest of what they were made from."""
        ...

    @property
    def tables(self) -> Mapping[str, TableRef]:
        """Every table of contracts.canonical.CANONICAL_TABLES; empty where the exports have none."""
        ...

    @property
    def base(self) -> str | None:
        """The key of the tables they were built on, None where they were built on none."""
        ...

    @property
    def came(self) -> Mapping[str, TableRef]:
        """Of some tables the rows that are new or were computed again: all others stand in the base's too."""
        ...


@dataclass(frozen=True)
class Kept:
    """`timeline` (at least the columns of the model `stage_entries`) and `closings` by name: of all opportunities, and, of those in `changed` (one
    column `opportunity_id`), the rows that stand in place of theirs."""

    of_all: Mapping[str, TableRef]
    renewed: Mapping[str, TableRef]
    changed: TableRef

    def rows(self, name: str, *columns: str) -> tuple[exp.Query, dict[str, Source]]:
        """Those columns of a table as they stand, as a query over inputs."""
        if not self.changed.rows:
            return exp.select(*columns).from_("whole"), {"whole": self.of_all[name]}
        old = exp.select(*columns).from_("whole").join("changed", using="opportunity_id", join_type="anti")
        tree = exp.union(old, exp.select(*columns).from_("renewed"), distinct=False, dialect=DIALECT)
        return tree, {"whole": self.of_all[name], "changed": self.changed, "renewed": self.renewed[name]}


def kept(lake: Lake, canonical: CanonicalTables, engine: Engine) -> Kept:
    """The tables as they stand, built or found in the lake."""

    def make(folder: Path) -> dict[str, Any]:
        base = _find(lake, canonical.base, engine) if canonical.base is not None else None
        step = _Step(folder, canonical, engine)
        refs = base and step.on(*base)
        if not refs and is_prepared(lake, canonical.tables, engine):
            refs = step.taken_over(prepared(lake, canonical.tables, engine))
        refs = refs or step.anew()
        told = {name: ref.to_dict() | {"path": Path(ref.path).name} for name, ref in refs.items()}
        return {"tables": told, "field_history": canonical.tables["field_history"].sha256}

    folder, facts = lake.step(STAGE, _key(canonical.key, engine), make)
    return _kept(folder, facts)


def _key(canonical_key: str, engine: Engine) -> str:
    return digest_of(STAGE, canonical_key, code_digest(), engine.dialect)


def _find(lake: Lake, canonical_key: str, engine: Engine) -> tuple[Kept, str] | None:
    """What is kept for those canonical tables, with the digest of their field history; None where nothing is."""
    path = lake.step_path(STAGE, _key(canonical_key, engine)) / STEP_FILE
    if not path.is_file():
        return None
    facts = json.loads(path.read_text(encoding="utf-8"))
    return _kept(path.parent, facts), facts["field_history"]


def _kept(folder: Path, facts: Mapping[str, Any]) -> Kept:
    refs = {
        name: TableRef.from_dict(data | {"path": str(folder / data["path"])}) for name, data in facts["tables"].items()
    }
    names = (TIMELINE, CLOSINGS)
    return Kept({name: refs[name] for name in names}, {name: refs[_renewed(name)] for name in names}, refs["changed"])


def _renewed(name: str) -> str:
    return f"renewed_{name}"


@dataclass(frozen=True)
class _Step:
    """Tables written into the folder of a step."""

    folder: Path
    canonical: CanonicalTables
    engine: Engine

    def anew(self) -> dict[str, TableRef]:
        """Everything made from the canonical tables."""
        known: dict[str, Source] = {name: self.canonical.tables[name] for name in READ}
        made = self._made(known, {TIMELINE: TIMELINE, CLOSINGS: CLOSINGS})
        return made | self._nothing_renewed(made)

    def taken_over(self, found: Mapping[str, TableRef]) -> dict[str, TableRef]:
        """The tables of the whole preparation, where it lies in the lake."""
        made = {name: self._linked(found[name]) for name in (TIMELINE, CLOSINGS)}
        return made | self._nothing_renewed(made)

    def on(self, base: Kept, field_history: str) -> dict[str, TableRef] | None:
        """The tables of the day before, and those of the opportunities that have changed since all were made; None where that is not certain or saves nothing."""
        tables, came = self.canonical.tables, self.canonical.came
        sources = ("opportunities", "opportunity_changes")
        if field_history != tables["field_history"].sha256 or not all(name in came for name in sources):
            return None
        inputs = {"before": base.changed, **{name: came[name] for name in sources}}
        ids = exp.union(*(exp.select("opportunity_id").from_(name) for name in inputs), distinct=True, dialect=DIALECT)
        changed = self.engine.run(ids, inputs, self.folder / "changed.parquet", order_by=("opportunity_id",))
        if changed.rows > MAX_SHARE * tables["opportunities"].rows:
            Path(changed.path).unlink()
            return None
        made = {name: self._linked(base.of_all[name]) for name in (TIMELINE, CLOSINGS)}
        few: dict[str, Source] = {name: self._of(changed, tables[name]) for name in sources}
        try:
            renewed = self._made(
                few | {"field_history": tables["field_history"]}, {name: _renewed(name) for name in made}
            )
        finally:
            for table in few.values():
                assert isinstance(table, WorkTable)
                self.engine.release(table)
        refs = made | renewed | {"changed": changed}
        if self._adds_up(Kept(made, {name: renewed[_renewed(name)] for name in made}, changed)):
            return refs
        for ref in refs.values():
            Path(ref.path).unlink()
        return None

    def _made(self, known: Mapping[str, Source], files: Mapping[str, str]) -> dict[str, TableRef]:
        """Timeline and closings of the opportunities known, under those names."""
        stays = with_model(model("stage_entries"), "states")
        timeline = self._written(stays, known, TIMELINE, files[TIMELINE])
        known = {**known, TIMELINE: timeline}
        tree = model("current_facts")
        facts = self.engine.hold(tree, inputs_of(tree, known), cut=Cut("opportunity_id", PREPARED["current_facts"][1]))
        try:
            closings = self._written(model(CLOSINGS), {**known, "current_facts": facts}, CLOSINGS, files[CLOSINGS])
        finally:
            self.engine.release(facts)
        return {ref.name: ref for ref in (timeline, closings)}

    def _written(self, tree: exp.Query, known: Mapping[str, Source], name: str, file: str) -> TableRef:
        key, cut = PREPARED[name]
        output = self.folder / f"{file}.parquet"
        return self.engine.run(tree, inputs_of(tree, known), output, order_by=key, cut=Cut("opportunity_id", cut))

    def _nothing_renewed(self, made: Mapping[str, TableRef]) -> dict[str, TableRef]:
        nothing = {_renewed(name): exp.select("*").from_("t").limit(0) for name in made}
        found = {
            name: self.engine.run(tree, {"t": ref}, self.folder / f"{name}.parquet")
            for (name, tree), ref in zip(nothing.items(), made.values(), strict=True)
        }
        ids = exp.select("opportunity_id").from_("t").limit(0)
        return found | {"changed": self.engine.run(ids, {"t": made[TIMELINE]}, self.folder / "changed.parquet")}

    def _linked(self, ref: TableRef) -> TableRef:
        target = self.folder / Path(ref.path).name
        take_over(ref, target)
        return TableRef(ref.name, str(target), ref.rows, ref.sha256)

    def _of(self, changed: TableRef, rows: TableRef) -> WorkTable:
        tree = exp.select("*").from_("whole").join("changed", using="opportunity_id", join_type="semi")
        return self.engine.hold(tree, {"whole": rows, "changed": changed})

    def _adds_up(self, now: Kept) -> bool:
        """Whether there is a row for every change, and nothing of an opportunity that is gone."""
        tree, inputs = now.rows(TIMELINE, "opportunity_id")
        count = exp.select(exp.alias_(exp.Count(this=exp.Star()), "n"))
        rows = self.engine.query(count.from_(tree.subquery("r")), inputs)
        if rows["n"][0].as_py() != self.canonical.tables["opportunity_changes"].rows:
            return False
        tree, inputs = now.rows(CLOSINGS, "opportunity_id")
        gone = count.copy().from_(tree.subquery("r")).join("opportunities", using="opportunity_id", join_type="anti")
        found = self.engine.query(gone, {**inputs, "opportunities": self.canonical.tables["opportunities"]})
        return bool(found["n"][0].as_py() == 0)
