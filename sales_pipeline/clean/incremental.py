"""A later export is cleaned onto the canonical tables of the exports before it: what it cannot change is taken over, the rest is built twice.

The records that later exports affect (`affected`) are cleaned as they were and as they are now, by the same models as a whole build. The
rows that come of them as they were are taken out of the tables at rest, those of now put in; figures that add up are corrected by the same
two. What comes out is what a build of all records gives, byte for byte; where that is not certain, nothing is built here and all records are
cleaned anew:

- opportunities come as full extracts: every record is seen again, so nothing can be taken over; or a file of opportunities is sent again
- an export lies not after those before it, or holds a raw table that none held before
- records of one file feed several tables, or account ids are respelled: records then hang together in more ways than are followed
- something that is decided over whole tables comes out another way: the scale of probabilities, folded ids, how a category is spelled that was there
  before, stages with their states and labels, types and spellings of unmapped columns, which fields and unmapped columns a history versions, names of unmapped columns
- no history is exported, so that comparing all exports decides what the past was
- there are few records, or too many are affected, so that nothing is gained, or an engine's files depend on more than their rows

Belongs here: what is decided over whole tables, and whether it stands. Does not belong here: following ids (`affected`), putting tables together (`merged`),
cleaning (`prepare`).
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from sqlglot import exp

from sales_pipeline.clean.affected import Affected, Records, odd_ids, paths_of
from sales_pipeline.clean.attributes import Seen
from sales_pipeline.clean.audits import counts_merged
from sales_pipeline.clean.build import Build
from sales_pipeline.clean.built import Built, Given, step_facts
from sales_pipeline.clean.columns import Column, corrected, kind_of, usual_spellings
from sales_pipeline.clean.inputs import RawInputs, attributes_of, feed_several_tables, raw_inputs
from sales_pipeline.clean.merged import TABLES, Base, NotCertain, Tables, may_be_built_on
from sales_pipeline.clean.params import CleanParams
from sales_pipeline.clean.rules import PROBLEMS, RuleCount
from sales_pipeline.clean.vocabulary import (
    category_texts,
    folded_ids,
    id_style,
    learned_states,
    probability_scale,
    spellings,
    stage_map,
)
from sales_pipeline.contracts.canonical import CANONICAL_TABLES
from sales_pipeline.contracts.raw import RAW_TABLES
from sales_pipeline.engines.base import Engine
from sales_pipeline.engines.compiler import DIALECT
from sales_pipeline.ingest.params import SourceMapping
from sales_pipeline.lake.tables import TableRef

if TYPE_CHECKING:
    from sales_pipeline.ingest.exports import IngestedExport

_LOG = logging.getLogger(__name__)
CAME = "came"
"""Folder, in that of a step built on another, of the rows that are new in its tables."""
MAX_SHARE = 0.3
"""Share of the raw records above which cleaning the affected ones twice saves nothing."""


def build_on(
    base: Base,
    folder: Path,
    exports: Sequence[IngestedExport],
    mapping: SourceMapping,
    params: CleanParams,
    engine: Engine,
) -> dict[str, Any] | None:
    """Write all tables of `exports` into the folder, and give the facts of the step; None, with nothing written, where all records must be cleaned anew."""
    try:
        return _Increment(base, folder, exports, mapping, params, engine).run()
    except NotCertain as reason:
        _LOG.info("all records are cleaned anew: %s", reason)
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        return None


class _Increment:
    def __init__(
        self,
        base: Base,
        folder: Path,
        exports: Sequence[IngestedExport],
        mapping: SourceMapping,
        params: CleanParams,
        engine: Engine,
    ) -> None:
        self._base = base
        self._folder = folder
        self._mapping = mapping
        self._params = params
        self._engine = engine
        self._tables = Tables(base, folder, engine)
        self._exports = exports
        self._old = raw_inputs(exports[: base.exports])
        self._now = raw_inputs(exports)
        self._new = raw_inputs(exports[base.exports :])
        self._decided: dict[str, Any] = base.step["decided"]
        self._begun: dict[str, Build] = {}

    def run(self) -> dict[str, Any]:
        try:
            return self._run()
        finally:
            for build in self._begun.values():
                build.release()

    def _run(self) -> dict[str, Any]:
        self._hold_to_base()
        decided = self._decisions()
        styles = {
            name.removeprefix("raw_"): id_style(
                self._mapping, decided.get(f"folded ids of {name.removeprefix('raw_')}", {})
            )
            for name in RAW_TABLES
        }
        odd = self._base.step["tallies"]["odd_ids"]
        records = Records(self._old, self._now, styles, odd, self._engine)
        if records.moves_old("opportunities"):
            raise NotCertain("a file of opportunities is sent again")
        if any(self._old.file_of[path] is None for path in self._old.file_of) and records.moved_files & _files(
            self._old
        ):
            raise NotCertain("a file is sent again, and some tables are derived from several files")
        seen = Seen.from_json(self._base.step["tallies"]["seen"])
        accounts, changed = self._accounts(records, decided)
        affected = records.of(changed, self._base.ref("opportunities"))
        try:
            self._hold_to_share(affected)
            columns = _columns(self._base.step)
            given = Given(decided, {"accounts": self._base.ref("accounts")}, seen, lambda _: columns)
            old = self._part("old", affected.old, given)
            gone = _columns({"tallies": old.tallies})
            given = replace(given, whole={"accounts": accounts}, columns=lambda come: corrected(columns, gone, come))
            now = self._part("now", affected.now, given)
        finally:
            self._release(affected)
        tallies = self._tallies(old, now)
        tallies["odd_ids"] = {name: self._odd_ids(name, counts, styles[name]) for name, counts in odd.items()}
        refs = {
            name: self._tables.merged(name, old.refs[name], now.refs[name])
            for name in TABLES
            if name not in ("accounts", "opportunity_attributes")
        }
        refs["opportunity_attributes"] = self._tables.merged_attributes(old, now)
        refs["accounts"] = accounts
        refs["field_history"] = self._tables.taken_over("field_history")
        facts = {"raw_rows": self._now.rows, "unknown_stage_records": self._unknown_stages(old, now)}
        duplicates = self._tables.duplicates(old, now)
        counts = counts_merged(self._base.step["facts"]["tables"], old.refs, now.refs, self._engine)
        came = {
            name: {"rows": ref.rows, "sha256": ref.sha256} for name, ref in now.refs.items() if name in CANONICAL_TABLES
        }
        for name in now.refs.keys() - came.keys():
            (self._folder / "now" / f"{name}.parquet").unlink()
        (self._folder / "now").rename(self._folder / CAME)
        shutil.rmtree(self._folder / "old")
        _LOG.info("%s records were cleaned onto %s", sum(affected.now.rows.values()), self._base.folder.name)
        return {
            **step_facts(
                refs, self._counts(old, now), facts, self._now.ledger, self._params, self._engine, duplicates, counts
            ),
            "decided": {**self._decided, **decided},
            "tallies": tallies,
            "base": self._base.folder.name,
            "came": came,
        }

    def _hold_to_base(self) -> None:
        """What can be told before anything is read."""
        if not may_be_built_on(self._now.rows, self._mapping, self._engine):
            raise NotCertain(
                "few records, full extracts of opportunities, or an engine whose files depend on more than their rows"
            )
        if not may_be_built_on(self._old.rows, self._mapping, self._engine):
            raise NotCertain("there were few records")
        before, later = (
            [one.export.exported_at for one in part]
            for part in (self._exports[: self._base.exports], self._exports[self._base.exports :])
        )
        if min(later) <= max(before):
            raise NotCertain("an export lies not after those before it")
        if self._old.held != self._now.held:
            raise NotCertain("a table is held for the first time")
        if not self._now.has_history():
            raise NotCertain("no history is exported")
        if "account_id" in self._mapping.synonyms:
            raise NotCertain("account ids are respelled")
        if self._decided["feeds_several"] or feed_several_tables(self._new, self._engine):
            raise NotCertain("records of one file feed several tables")

    def _decisions(self) -> dict[str, Any]:
        """What is decided over whole tables, found out over all records; the same as before for the records that were there."""
        decided = dict(self._decided)
        new, now, old = self._new.tables, self._now.tables, self._old.tables
        histories = (new["raw_opportunities"], new["raw_state_history"])
        if decided["probability_scale"] != 100 and probability_scale(histories, self._engine) == 100:
            raise NotCertain("probabilities are percentages")
        for name in (n.removeprefix("raw_") for n in RAW_TABLES):
            columns = RAW_TABLES[f"raw_{name}"].column_names[3:]
            key = f"folded ids of {name}"
            if key in decided and self._new.has(f"raw_{name}"):
                found = folded_ids(new[f"raw_{name}"], decided[key], self._engine)
                both = {c: min((v for v in (decided[key][c], found[c]) if v is not None), default=None) for c in found}
                if any(both.values()) != any(decided[key].values()):
                    raise NotCertain(f"ids of {name} are folded")
                decided[key] = both
            key = f"spellings of {name}"
            if key in decided and self._new.has(f"raw_{name}"):
                before = category_texts(name, old[f"raw_{name}"], self._mapping, columns, self._engine)
                after = self._texts_of_all(name, columns, before)
                was, now_is = (spellings(name, texts, self._mapping) for texts in (before, after))
                known = {(column, text) for column, texts in before.items() for text, _ in texts}
                if {tuple(row) for row in was} != {row for row in now_is if row[:2] in known}:
                    raise NotCertain(f"categories of {name} are spelled another way")
                decided[key] = now_is
        stages = asdict(stage_map(now["raw_stages"], now["raw_opportunities"], self._mapping, self._engine))
        if stages != decided["stages"]:
            raise NotCertain("there are other stages")
        if not set(attributes_of(self._new, self._engine)) <= set(decided["attributes"]):
            raise NotCertain("there are other unmapped columns")
        return decided

    def _odd_ids(self, name: str, before: Mapping[str, int], style: str) -> dict[str, int]:
        """What `odd_ids` counts among all records; one of a file that is sent again may count twice."""
        came = self._came(name)
        found = odd_ids(name, came, style, self._engine) if came else {}
        return {column: count + found.get(column, 0) for column, count in before.items()}

    def _came(self, name: str) -> list[Path]:
        """Parts of a raw table that were not there before."""
        was = set(paths_of(self._old.tables[f"raw_{name}"]))
        return [path for path in paths_of(self._now.tables[f"raw_{name}"]) if path not in was]

    def _texts_of_all(
        self, name: str, columns: Sequence[str], before: Mapping[str, list[tuple[str, int]]]
    ) -> dict[str, list[tuple[str, int]]]:
        """`category_texts` over all records, those of the files before known."""
        was, is_ = (paths_of(raw.tables[f"raw_{name}"]) for raw in (self._old, self._now))
        if not set(was) <= set(is_):
            return category_texts(name, is_, self._mapping, columns, self._engine)
        found = category_texts(name, self._came(name), self._mapping, columns, self._engine)
        return {column: [*texts, *found[column]] for column, texts in before.items()}

    def _accounts(self, records: Records, decided: Mapping[str, Any]) -> tuple[TableRef, pa.Table]:
        """The accounts of now, and the ids that are there and were not, or the other way round."""
        ids = pa.schema([("id", pa.string())])
        if not records.moved("accounts"):
            return self._tables.taken_over("accounts"), ids.empty_table()
        affected = records.of_accounts()
        try:
            for side, raw in (("old", affected.old), ("now", affected.now)):
                self._begun[side] = self._build(side, raw, Given(decided))
            refs = {side: build.entity("accounts") for side, build in self._begun.items()}
        finally:
            self._release(affected)
        merged = self._tables.merged("accounts", refs["old"], refs["now"])
        there = [exp.select(exp.alias_(exp.column("account_id"), "id")).from_(side) for side in refs]
        both = exp.union(there[0], there[1], distinct=False, dialect=DIALECT).subquery("b")
        once = exp.select("id").from_(both).group_by("id").having(exp.Count(this=exp.Star()).eq(1))
        return merged, self._engine.query(once, refs).cast(ids)

    def _hold_to_share(self, affected: Affected) -> None:
        count, whole = sum(affected.now.rows.values()), sum(self._now.rows.values())
        if count > MAX_SHARE * whole:
            raise NotCertain(f"{count} of {whole} records are affected")

    def _part(self, side: str, raw: RawInputs, given: Given) -> Built:
        begun = self._begun.get(side)
        return (begun.go_on(raw, given) if begun else self._build(side, raw, given)).part()

    def _build(self, side: str, raw: RawInputs, given: Given) -> Build:
        path = self._folder / side
        path.mkdir()
        return Build(path, raw, self._mapping, self._params, self._engine, given)

    def _release(self, affected: Affected) -> None:
        for table in affected.held:
            self._engine.release(table)

    def _tallies(self, old: Built, now: Built) -> dict[str, Any]:
        """The tallies of all records; refuses where another decision would follow from them."""
        base = self._base.step["tallies"]
        tallies: dict[str, Any] = {
            name: _corrected(base[name], old.tallies[name], now.tallies[name]) for name in ("snapshots", "changes")
        }
        if {field: bool(count) for field, count in tallies["snapshots"].items()} != self._decided["snapshots"]:
            raise NotCertain("the history shows other fields")
        tallies["changes"] = {field: count for field, count in sorted(tallies["changes"].items()) if count}
        if list(tallies["changes"]) != self._decided["changes"]:
            raise NotCertain("the field history shows other fields")
        if "stage_states" in base:
            sides = (
                {(stage, state): n for stage, state, n in part["stage_states"]}
                for part in (base, old.tallies, now.tallies)
            )
            records = [(*key, count) for key, count in sorted(_corrected(*sides).items()) if count]
            if learned_states(records) != self._decided["learned_states"]:
                raise NotCertain("stages mean something else")
            tallies["stage_states"] = records
        seen, was, is_ = (Seen.from_json(part["seen"]) for part in (base, old.tallies, now.tallies))
        together = seen.with_(is_)
        if set(together.recorded) != set(seen.recorded):
            raise NotCertain("the history shows other unmapped columns")
        if any(at < is_.recorded.get(name, at) or name not in is_.recorded for name, at in was.recorded.items()):
            raise NotCertain("the first change of an unmapped column is gone")
        tallies["seen"] = together.to_json()
        tallies["columns"] = {name: column.to_json() for name, column in self._columns_of(old, now).items()}
        return tallies

    def _columns_of(self, old: Built, now: Built) -> dict[str, Column]:
        """Figures of the unmapped columns over all records; refuses where one is of another type, or a text that stays is spelled another way."""
        base, gone, come = (
            _columns(step) for step in (self._base.step, {"tallies": old.tallies}, {"tallies": now.tallies})
        )
        columns = corrected(base, gone, come)
        for name, column in columns.items():
            if name not in base or kind_of(column, self._params) != self._decided["kinds"][name]:
                raise NotCertain(f"the unmapped column {name} may be of another type")
            stay = corrected({name: base[name]}, gone, {}).get(name)
            was, is_ = usual_spellings(base[name]), usual_spellings(column)
            if stay is not None and any(was.get(text) != is_.get(text) for text in stay.texts):
                raise NotCertain(f"categories of {name} are spelled another way")
        return columns

    def _unknown_stages(self, old: Built, now: Built) -> int:
        count = "unknown_stage_records"
        records: int = self._base.step["facts"][count] - old.facts[count] + now.facts[count]
        if records > self._params.max_unknown_stage_share * max(self._now.rows["raw_opportunities"], 1):
            raise NotCertain("too many stages are unknown")
        return records

    def _counts(self, old: Built, now: Built) -> list[RuleCount]:
        """What each rule touched among all records, in the order of a whole build."""
        sides = [[RuleCount(**count) for count in self._base.step["rules"]], old.counts, now.counts]
        base, gone, come = ({(c.table, c.rule, c.column): c for c in counts} for counts in sides)
        found = {**base, **gone, **come}
        totals = {
            key: sum(sign * side[key].records for sign, side in ((1, base), (-1, gone), (1, come)) if key in side)
            for key in found
        }
        tables = list(dict.fromkeys(count.table for count in sides[0]))
        kept = [
            replace(count, records=totals[key]) for key, count in found.items() if totals[key] or not _is_problem(count)
        ]
        return sorted(kept, key=lambda count: (tables.index(count.table), _place(count, sides[0])))


def _columns(step: Mapping[str, Any]) -> dict[str, Column]:
    """Figures of the unmapped columns, as a step noted them."""
    return {name: Column.from_json(column) for name, column in step["tallies"]["columns"].items()}


def _files(raw: RawInputs) -> set[str]:
    return set(raw.sightings.column("source_file").to_pylist())


def _corrected(base: Mapping[Any, int], gone: Mapping[Any, int], come: Mapping[Any, int]) -> dict[Any, int]:
    """Counts of all records: those of the base, without those of `gone`, with those of `come`."""
    return {key: base.get(key, 0) - gone.get(key, 0) + come.get(key, 0) for key in {**base, **gone, **come}}


def _is_problem(count: RuleCount) -> bool:
    return count.rule in PROBLEMS and not count.column


def _place(count: RuleCount, order: Sequence[RuleCount]) -> tuple[int, int]:
    """Where a rule stands among those of its table: what leaves a value or cannot use one, then problems (only those that occur), then duplicates."""
    if count.rule == "duplicate":
        return (2, 0)
    if _is_problem(count):
        return (1, list(PROBLEMS).index(count.rule))
    return (0, [(one.table, one.rule, one.column) for one in order].index((count.table, count.rule, count.column)))
