"""How a file of an export is recognised and read into a raw table: `TableSpec`, for built-in dialects and for the user's mapping alike.

Belongs here: recognition by name and header. Does not belong here: any one CRM's columns.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sales_pipeline.contracts.raw import RAW_TABLES
from sales_pipeline.errors import InputRejected
from sales_pipeline.ingest.columns import (
    Columns,
    Constant,
    FirstOf,
    Lookup,
    Rule,
    Take,
    WithUnit,
    fold,
    headers_of,
    parts,
    squash,
)
from sales_pipeline.ingest.params import REPAIR_REASON, SourceMapping, TableMapping

_PREFIX = re.compile(r"^(sf|sfdc|salesforce|hubspot|hs|pipedrive|tryton)[-_ ]+(crm[-_ ]exports[-_ ])?(all[-_ ])?")
_SUFFIX = re.compile(r"([-_ ](data|export|extract|part|repair(?:_[0-9a-f]{8})?|\d+|\d{4}-\d{2}-\d{2}.*))+$")
_PRIVATE = re.compile(
    r"e-?mail|phone|mobile|telefon|\bfax\b|street|first.?name|last.?name|full.?name|birth|passport|\bssn\b|linkedin|photo|\burl\b"
    r"|电话|手机|邮箱|邮件|传真|姓名|联系人|地址|微信|身份证|生日|备注|描述|说明|网址"
)

_DELIVERED = re.compile(
    r"^(deal|x|new)?(winprobability|scoreband|expectedamount|expectedvalue|predictedclosedate|nextfollowup|reasonfor|reasonagainst"
    r"|(score)?reason(up|down)|scoremodel|scoredat)c?$"
)
"""Fields that our own deliveries write, as a CRM's export heads them: they must not come back as evidence."""


@dataclass(frozen=True)
class TableSpec:
    """One way a raw table stands in an export.

    `objects` are names of files after `object_name`; `globs` are the user's. `requires` are headers the file must have to be read so.
    `marks` are sets of columns: a file whose name says nothing is read so where its header has all of one set. With `is_exclusive`
    two headers of a file that mean the same column are an error. `system` columns have a meaning of their own and `private` ones are about people or free text: neither
    becomes an attribute. With `is_squashed` headers are compared as a CRM spells them.
    """

    table: str
    columns: Mapping[str, Rule]
    objects: tuple[str, ...] = ()
    globs: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    system: frozenset[str] = frozenset()
    private: frozenset[str] = frozenset()
    is_squashed: bool = True
    sheet: str | None = None
    required_columns: tuple[str, ...] = field(default=())
    marks: tuple[tuple[str, ...], ...] = ()
    is_exclusive: bool = False

    def form(self, header: str) -> str:
        """A header as this spec compares it."""
        return squash(header) if self.is_squashed else fold(header)

    def may_be(self, name: str) -> bool:
        """Whether a file of that base name may be read by this spec, its header unseen."""
        return bool(self.marks) or self.is_named_like(name)

    def has(self, column: str, header: Sequence[str]) -> bool:
        """Whether one of the headers that give that column is there; a constant always is."""
        rule = self.columns.get(column)
        if rule is None:
            return False
        present = {self.form(cell) for cell in header}
        return isinstance(rule, Constant) or any(self.form(name) in present for name in headers_of(rule))

    def is_marked(self, header: Sequence[str]) -> bool:
        """Whether a header alone speaks for this spec."""
        return any(all(self.has(column, header) for column in mark) for mark in self.marks)

    def is_named_like(self, name: str) -> bool:
        """Whether a file's base name alone speaks for this spec."""
        if self.globs:
            return any(fnmatch.fnmatch(name.lower(), glob.lower()) for glob in self.globs)
        return object_name(name) in self.objects

    def fits(self, name: str, header: Sequence[str]) -> bool:
        """Whether a file of that base name and header is read by this spec."""
        if not self.is_named_like(name):
            return False
        present = {squash(cell) for cell in header}
        return all(squash(cell) in present for cell in self.requires)


@dataclass(frozen=True)
class Derived:
    """A raw table made by a SQL model from another one, where the export has no file of its own for it."""

    table: str
    source: str
    model: Path


@dataclass(frozen=True)
class DialectSpec:
    """A CRM's tables, the objects that only serve lookups (they hold no table of their own), and tables made from others.

    `hallmarks` are sets of headers of one file that only this CRM writes together: by them `guess` recognises it.
    """

    tables: tuple[TableSpec, ...]
    lookups: tuple[str, ...] = ()
    derived: tuple[Derived, ...] = ()
    hallmarks: tuple[tuple[str, ...], ...] = ()


def object_name(name: str) -> str:
    """The object a file is named after: `sf_opportunity_history_data.csv` and `OpportunityHistory.csv` are `opportunityhistory`."""
    stem = _SUFFIX.sub("", _PREFIX.sub("", name.lower().rsplit(".", 1)[0]))
    squashed = re.sub(r"[\W_]+", "", stem)
    return squashed.removesuffix("data") or squashed


def built_in(dialect: str) -> DialectSpec:
    """The built-in spec of a dialect; empty for `table`."""
    if dialect == "salesforce":
        from sales_pipeline.ingest.dialects.salesforce import SALESFORCE

        return SALESFORCE
    if dialect == "hubspot":
        from sales_pipeline.ingest.dialects.hubspot import HUBSPOT

        return HUBSPOT
    if dialect == "pipedrive":
        from sales_pipeline.ingest.dialects.pipedrive import PIPEDRIVE

        return PIPEDRIVE
    if dialect == "tryton":
        from sales_pipeline.ingest.dialects.tryton import TRYTON

        return TRYTON
    if dialect == "dynamics":
        from sales_pipeline.ingest.dialects.dynamics import DYNAMICS

        return DYNAMICS
    if dialect == "odoo":
        from sales_pipeline.ingest.dialects.odoo import ODOO

        return ODOO
    if dialect == "chinese":
        from sales_pipeline.ingest.dialects.chinese import CHINESE

        return CHINESE
    return DialectSpec(())


def resolve(mapping: SourceMapping) -> DialectSpec:
    """The specs that hold for a source: the user's tables, then the built-in ones of the tables the user does not name."""
    known = built_in(mapping.dialect)
    synonyms = mapping.header_synonyms
    own = tuple(_of_mapping(table, part, mapping) for table, parts in mapping.tables.items() for part in parts)
    return DialectSpec(
        (*own, *(with_synonyms(spec, synonyms) for spec in known.tables if spec.table not in mapping.tables)),
        known.lookups,
        known.derived,
    )


_MONEY = ("amount", "annual_revenue", "total_price", "list_price")
_UNITS = (("万", "万"), ("万元", "万"), ("亿", "亿"), ("亿元", "亿"), ("千元", "千"))


def taking(column: str, headers: tuple[str, ...]) -> Rule:
    """The first filled of these columns; of a column of money whose header names a unit (`金额(万元)`) the amount in that unit."""
    if column not in _MONEY:
        return Take(headers)
    units = {header: unit for header in headers for ending, unit in _UNITS if squash(header).endswith(ending)}
    plain = tuple(header for header in headers if header not in units)
    rules: list[Rule] = [Take(plain)] if plain else []
    rules += [WithUnit((header,), unit) for header, unit in units.items()]
    return rules[0] if len(rules) == 1 else FirstOf(tuple(rules))


def with_synonyms(spec: TableSpec, synonyms: Mapping[str, tuple[str, ...]]) -> TableSpec:
    """A built-in spec that knows the user's headers too; where a file has one of them, it comes before the built-in ones."""
    columns = dict(spec.columns)
    for name, headers in synonyms.items():
        table, _, column = name.rpartition(".")
        if (table or spec.table) != spec.table or column not in RAW_TABLES[f"raw_{spec.table}"].column_names:
            continue
        own = taking(column, headers)
        columns[column] = FirstOf((own, columns[column])) if column in columns else own
    return spec if columns == spec.columns else replace(spec, columns=columns)


def _of_mapping(table: str, part: TableMapping, mapping: SourceMapping) -> TableSpec:
    columns: dict[str, Rule] = {column: taking(column, (header,)) for column, header in part.columns.items()}
    columns |= {column: Constant(text) for column, text in part.constants.items()}
    if table == "opportunities":
        columns.setdefault("kind", Constant(mapping.kind))
        if mapping.outcome is not None:
            columns.setdefault("outcome", Take((mapping.outcome.column,)))
    return TableSpec(
        table,
        columns,
        globs=part.files,
        is_squashed=False,
        sheet=part.sheet,
        required_columns=tuple(part.columns),
    )


def choose(specs: DialectSpec, name: str, header: Sequence[str]) -> tuple[TableSpec, ...]:
    """The specs a file is read by, at most one per table, in order; empty where it is not mapped.

    The file's name speaks first. Where it says nothing, the first spec marked by the header does, with those of the same objects.
    """
    fitting = [spec for spec in specs.tables if spec.fits(name, header)]
    if not fitting:
        first = next((spec for spec in specs.tables if spec.is_marked(header)), None)
        fitting = [] if first is None else [first]
        fitting += [spec for spec in specs.tables if first and first.objects and spec.objects == first.objects]
    chosen: dict[str, TableSpec] = {}
    for spec in fitting:
        chosen.setdefault(spec.table, spec)
    return tuple(chosen.values())


def positions(spec: TableSpec, header: Sequence[str]) -> dict[str, int]:
    """Where each header stands, by its form for comparison; of equal ones the first."""
    found: dict[str, int] = {}
    for position, cell in enumerate(header):
        found.setdefault(spec.form(cell), position)
    return found


def used_positions(spec: TableSpec, columns: Columns) -> set[int]:
    """Positions of the columns that the spec's rules read."""
    return {position for rule in spec.columns.values() for position in columns.used(rule)}


def hold_header(spec: TableSpec, header: Sequence[str], label: str) -> list[str]:
    """Warnings about a header; InputRejected where a mapped column is missing, stands twice, or is meant by two headers of an exclusive spec."""
    forms = [spec.form(cell) for cell in header]
    problems: list[InputRejected] = []
    told: set[str] = set()
    for column, rule in spec.columns.items():
        if isinstance(rule, Lookup):
            continue
        wanted = headers_of(rule)
        for name in wanted:
            count = forms.count(spec.form(name))
            if count > 1 and spec.form(name) not in told:
                told.add(spec.form(name))
                problems.append(_twice(name, count, header, label))
        problems += _ambiguous(spec, column, rule, header, label)
        if column in spec.required_columns and not spec.has(column, header):
            problems.append(_missing(spec, column, wanted, header, label))
    known = {spec.form(name) for rule in spec.columns.values() for name in headers_of(rule)}
    if len(problems) > 1 and not known & set(forms):
        raise InputRejected(
            "the header has none of the mapped columns",
            expected=", ".join(headers_of(rule)[0] for rule in spec.columns.values() if headers_of(rule)),
            found=_shown(header),
            where=f"{label}, header",
            fix="see whether the delimiter (known are , ; tab |) or the header line is another than it seems, or mend the mapping",
        )
    if problems:
        raise InputRejected.all_of(f"{label} does not fit the mapping", problems)
    twice = sorted({cell for cell, form in zip(header, forms, strict=True) if form and forms.count(form) > 1})
    return [f"the header names {cell!r} more than once" for cell in twice]


def _twice(wanted: str, count: int, header: Sequence[str], label: str) -> InputRejected:
    return InputRejected(
        f"the header names the mapped column {wanted!r} {count} times",
        expected="one column of that name",
        found=_shown(header),
        where=f"{label}, header",
        fix="rename all but one of them in the file",
    )


def _ambiguous(spec: TableSpec, column: str, rule: Rule, header: Sequence[str], label: str) -> list[InputRejected]:
    """One problem where two headers mean one column of an exclusive spec; the first part that is there decides, so that the user's word counts."""
    if not spec.is_exclusive:
        return []
    for part in parts(rule):
        names = {spec.form(name) for name in headers_of(part)}
        found = [cell for cell in header if spec.form(cell) in names]
        if len({spec.form(cell) for cell in found}) > 1:
            return [
                InputRejected(
                    f"several columns mean {spec.table}.{column}",
                    expected="one of them",
                    found=", ".join(found),
                    where=f"{label}, header",
                    fix=f"name the right one in mapping.header_synonyms under {spec.table}.{column}, or rename the others",
                )
            ]
        if found:
            break
    return []


def _shown(header: Sequence[str]) -> str:
    """A header for a message: no more than a line, and nothing a terminal would obey."""
    text = ", ".join(header[:40])[:600] or "an empty header"
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def _missing(spec: TableSpec, column: str, wanted: tuple[str, ...], header: Sequence[str], label: str) -> InputRejected:
    from rapidfuzz import fuzz, process

    near = process.extractOne(wanted[0], list(header), scorer=fuzz.ratio, score_cutoff=60)
    hint = (
        f"did you mean {near[0]!r}? Mend mapping.tables.{spec.table}.columns.{column}"
        if near
        else f"mend the mapping (a CRM's dialect learns other headers from mapping.header_synonyms: {column}) or the file"
    )
    if len(header) == 1:
        hint = "only one column was found: the delimiter may be another than , ; tab |"
    return InputRejected(
        f"a mapped column is missing: {spec.table}.{column}",
        expected="a header " + " or ".join(repr(name) for name in wanted[:12]),
        found=_shown(header),
        where=f"{label}, header",
        fix=hint,
    )


def attribute_positions(
    spec: TableSpec, header: Sequence[str], used: set[int]
) -> tuple[dict[str, int], dict[str, str]]:
    """The unmapped columns that become attributes, by name, and those not taken, with the reason.

    Only the opportunities table has attributes. A header that stands twice gets a number from the second on.
    """
    taken: dict[str, int] = {}
    left: dict[str, str] = {}
    if spec.table != "opportunities":
        return taken, left
    for position, cell in enumerate(header):
        form = squash(cell)
        if position in used or not form:
            continue
        if cell == REPAIR_REASON:
            left[cell] = "written by `quarantine`"
        elif form in spec.system or form.startswith("fivetran"):
            left[cell] = "system column, as of the export"
        elif not spec.globs and _DELIVERED.match(form):
            left[cell] = "written by our own deliveries"
        elif form in spec.private or _PRIVATE.search(cell.lower().replace("_", " ")):
            left[cell] = "about people, or free text"
        else:
            name, number = cell, 1
            while name in taken:
                number += 1
                name = f"{cell} ({number})"
            taken[name] = position
    return taken, left
