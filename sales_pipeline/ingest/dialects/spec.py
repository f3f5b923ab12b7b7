"""How a file of an export is recognised and read into a raw table: `TableSpec`, for built-in dialects and for the user's mapping alike.

Belongs here: recognition by name and header. Does not belong here: any one CRM's columns.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sales_pipeline.errors import InputRejected
from sales_pipeline.ingest.columns import Columns, Constant, Past, Rule, Take, Translate, Words, fold, squash
from sales_pipeline.ingest.params import REPAIR_REASON, SourceMapping, TableMapping

_PREFIX = re.compile(r"^(sf|sfdc|salesforce|hubspot|hs|pipedrive|tryton)[-_ ]+(crm[-_ ]exports[-_ ])?(all[-_ ])?")
_SUFFIX = re.compile(r"([-_ ](data|export|extract|part|repair(?:_[0-9a-f]{8})?|\d+|\d{4}-\d{2}-\d{2}.*))+$")
_PRIVATE = re.compile(
    r"e-?mail|phone|mobile|telefon|\bfax\b|street|first.?name|last.?name|full.?name|birth|passport|\bssn\b|linkedin|photo|\burl\b"
)


@dataclass(frozen=True)
class TableSpec:
    """One way a raw table stands in an export.

    `objects` are names of files after `object_name`; `globs` are the user's. `requires` are headers the file must have to be read so.
    `key` must be there. `system` columns have a meaning of their own and `private` ones are about people or free text: neither
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
    return DialectSpec(())


def resolve(mapping: SourceMapping) -> DialectSpec:
    """The specs that hold for a source: the user's tables, then the built-in ones of the tables the user does not name."""
    known = built_in(mapping.dialect)
    own = tuple(_of_mapping(table, part, mapping) for table, parts in mapping.tables.items() for part in parts)
    return DialectSpec(
        (*own, *(spec for spec in known.tables if spec.table not in mapping.tables)), known.lookups, known.derived
    )


def _of_mapping(table: str, part: TableMapping, mapping: SourceMapping) -> TableSpec:
    columns: dict[str, Rule] = {column: Take((header,)) for column, header in part.columns.items()}
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
    """The specs a file is read by, at most one per table, in order; empty where it is not mapped."""
    chosen: dict[str, TableSpec] = {}
    for spec in specs.tables:
        if spec.table not in chosen and spec.fits(name, header):
            chosen[spec.table] = spec
    return tuple(chosen.values())


def positions(spec: TableSpec, header: Sequence[str]) -> dict[str, int]:
    """Where each header stands, by its form for comparison; of equal ones the first."""
    found: dict[str, int] = {}
    for position, cell in enumerate(header):
        found.setdefault(squash(cell) if spec.is_squashed else fold(cell), position)
    return found


def used_positions(spec: TableSpec, columns: Columns) -> set[int]:
    """Positions of the columns that the spec's rules read."""
    return {position for rule in spec.columns.values() for position in columns.used(rule)}


def hold_header(spec: TableSpec, header: Sequence[str], label: str) -> list[str]:
    """Warnings about a header; InputRejected where a mapped column is missing or stands twice."""
    forms = [squash(cell) if spec.is_squashed else fold(cell) for cell in header]
    problems: list[InputRejected] = []
    for column, headers in _wanted(spec):
        counts = [forms.count(squash(wanted) if spec.is_squashed else fold(wanted)) for wanted in headers]
        for wanted, count in zip(headers, counts, strict=True):
            if count > 1:
                problems.append(
                    InputRejected(
                        f"the header names the mapped column {wanted!r} {count} times",
                        expected="one column of that name",
                        found=_shown(header),
                        where=f"{label}, header",
                        fix="rename all but one of them in the file",
                    )
                )
        if not any(counts) and column in spec.required_columns:
            problems.append(_missing(spec, column, headers, header, label))
    wanted_forms = {squash(name) if spec.is_squashed else fold(name) for _, names in _wanted(spec) for name in names}
    if len(problems) > 1 and not wanted_forms & set(forms):
        raise InputRejected(
            "the header has none of the mapped columns",
            expected=", ".join(name for column, names in _wanted(spec) for name in names[:1]),
            found=_shown(header),
            where=f"{label}, header",
            fix="see whether the delimiter (known are , ; tab |) or the header line is another than it seems, or mend the mapping",
        )
    if problems:
        raise InputRejected.all_of(f"{label} does not fit the mapping", problems)
    twice = sorted({cell for cell, form in zip(header, forms, strict=True) if form and forms.count(form) > 1})
    return [f"the header names {cell!r} more than once" for cell in twice]


def _shown(header: Sequence[str]) -> str:
    """A header for a message: no more than a line, and nothing a terminal would obey."""
    text = ", ".join(header[:40])[:600] or "an empty header"
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def _wanted(spec: TableSpec) -> list[tuple[str, tuple[str, ...]]]:
    plain = (Take, Words, Translate, Past)
    return [(column, rule.headers) for column, rule in spec.columns.items() if isinstance(rule, plain)]


def _missing(spec: TableSpec, column: str, wanted: tuple[str, ...], header: Sequence[str], label: str) -> InputRejected:
    from rapidfuzz import fuzz, process

    near = process.extractOne(wanted[0], list(header), scorer=fuzz.ratio, score_cutoff=60)
    hint = (
        f"did you mean {near[0]!r}? Mend mapping.tables.{spec.table}.columns.{column}"
        if near
        else "mend the mapping or the file"
    )
    if len(header) == 1:
        hint = "only one column was found: the delimiter may be another than , ; tab |"
    return InputRejected(
        f"a mapped column is missing: {spec.table}.{column}",
        expected="a header " + " or ".join(repr(name) for name in wanted),
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
        elif form in spec.private or _PRIVATE.search(cell.lower().replace("_", " ")):
            left[cell] = "about people, or free text"
        else:
            name, number = cell, 1
            while name in taken:
                number += 1
                name = f"{cell} ({number})"
            taken[name] = position
    return taken, left
