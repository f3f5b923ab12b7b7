"""Which records a later export can change the meaning of: the raw tables cut down to them, as they were and as they are now.

Records hang together by what they are about. A later export *moves* the records of its files: those it brings, and those of a file it
sends again, which count as seen later. With them go all records of the same key, of opportunities that are one with theirs (leads and
what they were converted to), and all records that look one of these up: their history, what was done about them, what was an orphan until
now. Activities and line items look up of an opportunity only which it is and its account: where both are found as they were, they are not taken along.
A record without a key hangs together with none, and is taken along where it may look something up. Whatever such a record refers to is taken along,
so that it finds it.

Belongs here: following ids through raw tables. Does not belong here: what becomes of the records (`incremental`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from sqlglot import exp

from sales_pipeline.clean.inputs import RawInputs
from sales_pipeline.clean.vocabulary import union
from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.contracts.raw import RAW_TABLES
from sales_pipeline.engines.base import Engine, Source, WorkTable
from sales_pipeline.engines.compiler import DIALECT

WHOLE = ("owners", "products", "quotas", "exchange_rates")
"""Small tables that are cleaned whole where any of their records moved."""
LOOKED_UP: Mapping[str, tuple[str, ...]] = {
    "activities": ("activity_id", "opportunity_id", "contact_id"),
    "opportunities": ("opportunity_id",),
    "state_history": ("opportunity_id",),
    "field_history": ("opportunity_id",),
}
"""Of raw tables that may be large the columns by which records are looked for; the first says what a record is about."""
_IDS = pa.schema([("id", pa.string())])
_RECORD = ("source_file", "source_record")
_LINKS = ("opportunity_id", "converted_from_lead_id", "converted_to_opportunity_id")


@dataclass(frozen=True)
class Affected:
    """Raw tables of the affected records before and after; `held` are to be released when both were read."""

    old: RawInputs
    now: RawInputs
    held: tuple[WorkTable, ...]


class Records:
    """The records of two sets of inputs, of which `now` goes on where `old` ended; `styles` says how the ids of each raw table are read, `odd` is what
    `odd_ids` counted at most among the records of `old`, by table: where it counted none, the texts of a column are its ids.
    """

    def __init__(
        self,
        old: RawInputs,
        now: RawInputs,
        styles: Mapping[str, str],
        odd: Mapping[str, Mapping[str, int]],
        engine: Engine,
    ) -> None:
        self._old = old
        self._now = now
        self._styles = styles
        self._odd = odd
        self._engine = engine
        self._held: list[WorkTable] = []
        self.moved_files = _moved(old, now)
        self._still: dict[str, list[Path]] = {}
        self._moved: dict[str, tuple[list[Path], list[Path]]] = {}
        for name in RAW_TABLES:
            before, after = paths_of(old.tables[name]), paths_of(now.tables[name])
            still = [p for p in before if p in set(after) and now.file_of[p] not in self.moved_files]
            self._still[name] = still
            self._moved[name] = ([p for p in before if p not in still], [p for p in after if p not in still])

    def moved(self, name: str) -> bool:
        """Whether any record of a raw table (without `raw_`) moved."""
        return bool(self._moved[f"raw_{name}"][1])

    def moves_old(self, name: str) -> bool:
        """Whether any record that was there before moved."""
        return bool(self._moved[f"raw_{name}"][0])

    def of_accounts(self) -> Affected:
        """The accounts of the keys that moved."""
        picked = self._pick("accounts", "account_id", self._ids("accounts", ("account_id",)))
        return self._cut({"raw_accounts": picked})

    def of(self, accounts: pa.Table, opportunities: Source) -> Affected:
        """All affected records, where the accounts of these ids (`id`) are there now and were not, or the other way round; `opportunities` is the table as it was."""
        links = self._links()
        is_account = {"account_id": accounts}
        about = self._closed(
            _joined(self._ids("opportunities", _LINKS), self._found("opportunities", "opportunity_id", is_account)),
            links,
        )
        others = self._finds_another(about, links, opportunities)
        picked: dict[str, WorkTable | None] = {}
        looked_up: list[pa.Table] = []
        for name, key, refers in (
            ("activities", "activity_id", {"opportunity_id": others, "contact_id": others}),
            ("opportunity_products", "line_id", {"opportunity_id": others}),
        ):
            by = dict(refers)
            found = [self._ids(name, (key,)), self._found(name, key, by)]
            if name == "activities":
                found.append(self._found(name, key, {"account_id": accounts, "opportunity_id": accounts}))
            picked[f"raw_{name}"] = rows = self._pick(name, key, _joined(*found), with_none=True)
            looked_up += [self._ids(name, tuple(refers)), self._ids_in(rows, name, tuple(refers))]
        looked_up += [self._ids(name, ("opportunity_id",)) for name in ("state_history", "field_history")]
        subjects = self._closed(_joined(about, *looked_up), links)
        for name in ("opportunities", "state_history", "field_history"):
            picked[f"raw_{name}"] = self._pick(name, "opportunity_id", subjects)
        for name, key in (("accounts", "account_id"), ("contacts", "contact_id")):
            picked[f"raw_{name}"] = self._pick(name, key, self._ids(name, (key,)))
        cases = _joined(self._ids("cases", ("case_id",)), self._found("cases", "case_id", is_account))
        picked["raw_cases"] = self._pick("cases", "case_id", cases, with_none=True)
        for name in WHOLE:
            still = self._still[f"raw_{name}"]
            picked[f"raw_{name}"] = (
                self._hold(exp.select("*").from_("raw"), {"raw": still}) if still and self.moved(name) else None
            )
        records = picked["raw_opportunities"]
        picked["raw_opportunity_attributes"] = (
            self._hold(_with_records("raw"), {"raw": self._still["raw_opportunity_attributes"], "records": records})
            if records is not None and records.rows and self._still["raw_opportunity_attributes"]
            else None
        )
        return self._cut(picked)

    def _cut(self, picked: Mapping[str, WorkTable | None]) -> Affected:
        tables: tuple[dict[str, Source], dict[str, Source]] = ({}, {})
        rows: tuple[dict[str, int], dict[str, int]] = ({}, {})
        for name, contract in RAW_TABLES.items():
            for side in (0, 1):
                moved = self._moved[name][side]
                parts: list[Source] = [moved] if moved else []
                still = picked.get(name)
                if still is not None and still.rows:
                    parts.append(still)
                if not parts or name == "raw_stages" or name not in picked:
                    tables[side][name], rows[side][name] = arrow_schema(contract).empty_table(), 0
                    continue
                both = parts[0] if len(parts) == 1 and parts[0] is still else self._union(parts, contract.column_names)
                assert isinstance(both, WorkTable)
                tables[side][name], rows[side][name] = both, both.rows
        held = tuple(self._held)
        self._held.clear()
        return Affected(
            replace(self._old, tables=tables[0], rows=rows[0]),
            replace(self._now, tables=tables[1], rows=rows[1]),
            held,
        )

    def _links(self) -> pa.Table:
        """Ids that are one opportunity's: of records that name a lead they came from, or what they were converted to."""
        style = self._styles["opportunities"]
        named = exp.or_(*(exp.column(c).is_(exp.Null()).not_() for c in _LINKS[1:]))
        query = exp.select(*(exp.alias_(_id(c, style), c) for c in _LINKS)).distinct().from_("raw").where(named)
        return self._engine.query(query, {"raw": self._now.tables["raw_opportunities"]})

    def _finds_another(self, about: pa.Table, links: pa.Table, opportunities: Source) -> pa.Table:
        """Of these ids those under which a record may now find another opportunity or account than before.

        All that is found is the opportunity a record stands for and its account. Both are as they were where an opportunity was there, is linked to none, and
        all that moved names the account it had.
        """
        moved = self._moved["raw_opportunities"][1]
        if not moved:
            return about
        style = self._styles["opportunities"]
        named = exp.select(
            exp.alias_(_id("opportunity_id", style), "id"), exp.alias_(_id("account_id", style), "account")
        ).from_("raw")
        same = "b.opportunity_id = n.id AND b.account_id = n.account"
        met = exp.select("n.id", exp.alias_(exp.column("opportunity_id", table="b"), "met")).from_(named.subquery("n"))
        met = met.join("opportunities AS b", on=same, join_type="left", dialect=DIALECT)
        counts = exp.Count(this=exp.Star()).eq(exp.Count(this=exp.column("met")))
        steady = exp.select("id").from_(met.subquery("m")).group_by("id").having(counts)
        found = self._distinct(steady, {"raw": moved, "opportunities": opportunities}).column("id")
        linked = pa.chunked_array(
            [chunk for name in links.column_names for chunk in links.column(name).chunks], pa.string()
        )
        stays = pc.and_not(pc.is_in(about.column("id"), found), pc.is_in(about.column("id"), linked))
        return about.filter(pc.invert(stays))

    def _closed(self, ids: pa.Table, links: pa.Table) -> pa.Table:
        """The ids with all that are linked to them, over any number of links."""
        if not links.num_rows:
            return ids
        touches = exp.or_(*(exp.column(c).isin(query=exp.select("id").from_("ids")) for c in _LINKS))
        linked = union(
            [exp.select(exp.alias_(exp.column(c), "id")).from_("links").where(touches.copy()) for c in _LINKS]
        )
        while True:
            found = self._distinct(linked, {"links": links, "ids": ids})
            grown = _joined(ids, found)
            if grown.num_rows == ids.num_rows:
                return ids
            ids = grown

    def _ids(self, name: str, columns: Sequence[str]) -> pa.Table:
        """Ids in these columns of the records that moved."""
        moved = self._moved[f"raw_{name}"][1]
        return self._ids_in(moved, name, columns) if moved else _IDS.empty_table()

    def _ids_in(self, source: Source | None, name: str, columns: Sequence[str]) -> pa.Table:
        if source is None:
            return _IDS.empty_table()
        queries = [exp.select(exp.alias_(_id(c, self._styles[name]), "id")).from_("raw") for c in columns]
        return self._distinct(union(queries), {"raw": source})

    def _distinct(self, query: exp.Query, inputs: Mapping[str, Source]) -> pa.Table:
        """The ids of a query, each once, without NULL: left out here, as a condition would be asked of every record before any other."""
        found = self._engine.query(exp.select("id").distinct().from_(query.subquery("found")), inputs)
        return found.filter(pc.is_valid(found.column("id")))

    def _found(self, name: str, key: str, by: Mapping[str, pa.Table]) -> pa.Table:
        """The keys of the records that did not move and name one of the ids given by column."""
        written, others, inputs = self._matching(name, by)
        query = exp.select(exp.alias_(_id(key, self._styles[name]), "id")).from_("raw")
        queries = [query.copy().where(test) for test in (*written, *others)]
        return self._distinct(union(queries), inputs) if queries else _IDS.empty_table()

    def _pick(self, name: str, key: str, ids: pa.Table, *, with_none: bool = False) -> WorkTable | None:
        """The records that did not move and have one of these keys, or (`with_none`) no key; None where there can be none."""
        written, others, inputs = self._matching(name, {key: ids})
        queries: list[exp.Query] = [exp.select("*").from_("raw").where(test) for test in written]
        if self._still[f"raw_{name}"] and (others or (with_none and self._may_be_odd(name, key))):
            # All columns of a record are read before a computed text is compared: so the few records are found first.
            found = self._engine.query(self._unlike(name, key, with_none=with_none, ids=bool(others)), inputs)
            if found.num_rows:
                inputs["records"] = found
                queries.append(_with_records("raw"))
        return self._hold(union(queries), inputs) if queries else None

    def _unlike(self, name: str, key: str, *, with_none: bool, ids: bool) -> exp.Query:
        """Records whose key does not stand in the file as it is read, and is one of the ids, or (`with_none`) none at all."""
        text, read = exp.column(key), _id(key, self._styles[name])
        differs = exp.or_(text.is_(exp.Null()), _differs(key, self._styles[name]))
        unlike = exp.select(*_RECORD, exp.alias_(read, "id")).from_("raw").where(differs)
        wanted: list[exp.Expr] = [exp.column("id").is_(exp.Null())] if with_none else []
        if ids:
            wanted.append(exp.column("id").isin(query=exp.select("id").from_(f"ids_of_{key}")))
        return exp.select(*_RECORD).from_(unlike.subquery("u")).where(exp.or_(*wanted))

    def _matching(
        self, name: str, by: Mapping[str, pa.Table]
    ) -> tuple[list[exp.Expr], list[exp.Expr], dict[str, Source]]:
        """Conditions on records that did not move, each for records of its own of one column, and what they are asked of.

        Most ids stand in a file as they are read. Those are told by their text alone (the first list), which costs a tenth of reading them; the others,
        where there are any, are read (the second).
        """
        still = self._still[f"raw_{name}"]
        inputs: dict[str, Source] = {"raw": still}
        written: list[exp.Expr] = []
        others: list[exp.Expr] = []
        for column, ids in by.items():
            if not still or not ids.num_rows:
                continue
            inputs[f"ids_of_{column}"] = ids
            known = exp.select("id").from_(f"ids_of_{column}")
            text, read = exp.column(column), _id(column, self._styles[name])
            written.append(text.isin(query=known.copy()))
            if self._may_be_odd(name, column):
                others.append(exp.and_(_differs(column, self._styles[name]), read.isin(query=known)))
        return written, others, inputs

    def _may_be_odd(self, name: str, column: str) -> bool:
        return bool(self._odd.get(name, {}).get(column, 1))

    def _union(self, parts: Sequence[Source], columns: Sequence[str]) -> WorkTable:
        inputs = {f"part_{number}": part for number, part in enumerate(parts)}
        return self._hold(
            union([exp.select(*(exp.column(c, quoted=True) for c in columns)).from_(n) for n in inputs]), inputs
        )

    def _hold(self, query: exp.Query, inputs: Mapping[str, Source]) -> WorkTable:
        table = self._engine.hold(query, inputs)
        self._held.append(table)
        return table


def _moved(old: RawInputs, now: RawInputs) -> frozenset[str]:
    """Files that only the later exports hold, or that they send again."""
    before = dict(zip(*(old.sightings.column(c).to_pylist() for c in ("source_file", "exported_at")), strict=True))
    after = zip(*(now.sightings.column(c).to_pylist() for c in ("source_file", "exported_at")), strict=True)
    return frozenset(file for file, at in after if before.get(file) != at)


def odd_ids(name: str, raw: Source, style: str, engine: Engine) -> dict[str, int]:
    """By column of LOOKED_UP how many texts are not the id that is read from them; of the first column also how many are missing."""
    columns = LOOKED_UP[name]
    tests = [_differs(column, style) for column in columns]
    tests[0] = exp.or_(exp.column(columns[0]).is_(exp.Null()), tests[0])
    counts = (exp.Count(this=exp.Case().when(test, exp.Literal.number(1))) for test in tests)
    tree = exp.select(*(exp.alias_(count, column) for column, count in zip(columns, counts, strict=True))).from_("raw")
    found: dict[str, int] = engine.query(tree, {"raw": raw}).to_pylist()[0]
    return found


def paths_of(source: Source) -> list[Path]:
    """The parts of a raw table; none where it is empty."""
    return [Path(path) for path in source] if isinstance(source, list) else []


def _id(column: str, style: str) -> exp.Expr:
    return exp.func("parse_id", exp.column(column), exp.Literal.string(style), dialect=DIALECT)


def _differs(column: str, style: str) -> exp.Expr:
    """Whether a text is not the id that is read from it; of one without anything in it none is read.

    Of Salesforce's ids only one of 15 characters, or with blanks around it, is read as another text: looking for those first costs a fifth of reading every id.
    As branches of a CASE what they have in common would be worked out for all of them.
    """
    text = exp.column(column)
    differs = exp.NullSafeNEQ(this=text.copy(), expression=_id(column, style))
    if style != "salesforce":
        return differs
    blank = (exp.Like(this=text.copy(), expression=exp.Literal.string(pattern)) for pattern in (" %", "% "))
    may = exp.or_(exp.func("LENGTH", text.copy()).eq(15), text.copy().eq(exp.Literal.string("")), *blank)
    return exp.and_(may, differs)


def _joined(*ids: pa.Table) -> pa.Table:
    """Sets of ids as one."""
    every = pa.concat_tables([table.cast(_IDS) for table in ids])
    return every.group_by("id").aggregate([]).select(["id"]) if every.num_rows else every


def _with_records(name: str) -> exp.Query:
    """The rows of `name` whose record is among `records`."""
    same = exp.and_(*(exp.column(c, table="r").eq(exp.column(c, table="k")) for c in _RECORD))
    return exp.select("r.*").from_(f"{name} AS r").join("records AS k", on=same, join_type="semi")
