"""How a raw column comes about from the columns of an export file: a few small rules, computed batch by batch on Arrow arrays.

Values stay text as found, after Unicode NFKC; empty cells and the mapping's tokens for "missing" become NULL.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_SPACE, _FIRST_BEYOND_ASCII = 0x20, 0x80


@dataclass(frozen=True)
class Take:
    """Row by row the first of these columns that is filled; columns the file lacks are passed over. `is_list`: the first of `a;b`."""

    headers: tuple[str, ...]
    is_list: bool = False


@dataclass(frozen=True)
class Constant:
    """The same text in every row."""

    text: str


@dataclass(frozen=True)
class Words:
    """The word of the first pattern found in the first of these columns where one is; `otherwise` where none is."""

    headers: tuple[str, ...]
    patterns: tuple[tuple[str, str], ...]
    otherwise: str | None = None


@dataclass(frozen=True)
class Translate:
    """Values replaced by table (compared without regard to case); others stay."""

    headers: tuple[str, ...]
    table: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Lookup:
    """The value another object's record of that key holds; of several the smallest, so that it does not depend on order.

    `object` is the name of a file's object or a raw table whose files are looked up in. With `is_unique` a key that several values
    bear gives nothing: where the key is a display name, the record meant is not known.
    """

    by: tuple[str, ...]
    object: str
    key: tuple[str, ...]
    value: tuple[str, ...]
    is_unique: bool = False


@dataclass(frozen=True)
class Past:
    """ "true" where the instant (ISO text) lies before the export, "false" where it does not."""

    headers: tuple[str, ...]


@dataclass(frozen=True)
class WithUnit:
    """As `Take`, with a unit behind texts that end in a digit: for columns whose header alone says it, such as `金额(万元)`."""

    headers: tuple[str, ...]
    unit: str


@dataclass(frozen=True)
class When:
    """The rule's value in rows where the first filled one of these columns matches; NULL elsewhere, and where the file has none of them."""

    headers: tuple[str, ...]
    pattern: str
    rule: Rule


@dataclass(frozen=True)
class FirstOf:
    """Row by row the first rule that gives a value."""

    rules: tuple[Rule, ...]


Rule: TypeAlias = Take | Constant | Words | Translate | Lookup | Past | WithUnit | When | FirstOf
LookupTable: TypeAlias = tuple[pa.Array, pa.Array]


def parts(rule: Rule) -> Iterator[Rule]:
    """The rules that a rule is made of, in their order; itself where it is simple."""
    if isinstance(rule, FirstOf):
        for part in rule.rules:
            yield from parts(part)
    elif isinstance(rule, When):
        yield from parts(rule.rule)
    else:
        yield rule


def headers_of(rule: Rule) -> tuple[str, ...]:
    """Every header whose column can give the rule its value."""
    found: list[str] = []
    for part in parts(rule):
        if not isinstance(part, Constant | FirstOf | When):
            found += part.by if isinstance(part, Lookup) else part.headers
    return tuple(found)


def fold(header: str) -> str:
    """A header for comparison: NFKC, trimmed, without regard to case."""
    return unicodedata.normalize("NFKC", header).strip().strip("\ufeff").strip().casefold()


def squash(header: str) -> str:
    """A header for comparison among a CRM's spellings: `StageName`, `STAGENAME`, `stage_name` and `Stage Name` are one."""
    return re.sub(r"[\W_]+", "", fold(header))


@dataclass(frozen=True)
class Columns:
    """The positions of a file's headers, and what rules need besides: lookups by rule, the export's instant as ISO text."""

    positions: Mapping[str, int]
    is_squashed: bool
    lookups: Mapping[Lookup, LookupTable]
    exported_at: str = ""

    def position(self, header: str) -> int | None:
        """Where the column of that header stands, None where the file lacks it."""
        return self.positions.get(squash(header) if self.is_squashed else fold(header))

    def used(self, rule: Rule) -> list[int]:
        """Positions a rule reads."""
        if isinstance(rule, Constant):
            return []
        if isinstance(rule, FirstOf):
            return [position for part in rule.rules for position in self.used(part)]
        if isinstance(rule, When):
            tested = [position for header in rule.headers if (position := self.position(header)) is not None]
            return [*tested, *self.used(rule.rule)] if tested else []
        headers = rule.by if isinstance(rule, Lookup) else rule.headers
        return [position for header in headers if (position := self.position(header)) is not None]


def evaluate(rule: Rule, columns: Columns, values: Mapping[int, Any], count: int) -> Any:
    """The rule's column for one batch of `count` rows; `values` holds cleaned columns by position."""
    if isinstance(rule, Constant):
        return pa.repeat(pa.scalar(rule.text, pa.string()), count)
    if isinstance(rule, FirstOf):
        return pc.coalesce(*(evaluate(part, columns, values, count) for part in rule.rules))
    if isinstance(rule, Lookup):
        keys, found = columns.lookups[rule]
        return found.take(pc.index_in(_first(rule.by, columns, values, count), value_set=keys))
    if isinstance(rule, Words):
        return _words(rule, columns, values, count)
    taken = _first(rule.headers, columns, values, count)
    if isinstance(rule, When):
        return pc.if_else(
            pc.fill_null(pc.match_substring_regex(taken, rule.pattern, ignore_case=True), False),
            evaluate(rule.rule, columns, values, count) if columns.used(rule) else pa.nulls(count, pa.string()),
            pa.scalar(None, pa.string()),
        )
    if isinstance(rule, WithUnit):
        trimmed = pc.utf8_trim_whitespace(taken)
        is_bare = pc.match_substring_regex(trimmed, r"\d$")
        return pc.if_else(is_bare, pc.binary_join_element_wise(trimmed, rule.unit, ""), taken)
    if isinstance(rule, Translate):
        place = pc.index_in(
            pc.utf8_lower(taken), value_set=pa.array([old.lower() for old, _ in rule.table], pa.string())
        )
        return pc.coalesce(pa.array([new for _, new in rule.table], pa.string()).take(place), taken)
    if isinstance(rule, Past):
        moment = pc.replace_substring(pc.utf8_slice_codeunits(taken, 0, 19), "T", " ")
        is_iso = pc.match_substring_regex(moment, r"^\d{4}-\d{2}-\d{2}")
        word = pc.if_else(pc.less(moment, columns.exported_at), "true", "false")
        return pc.if_else(is_iso, word, pa.scalar(None, pa.string()))
    if rule.is_list:
        return pc.utf8_trim_whitespace(pc.replace_substring_regex(taken, r"[;,].*$", ""))
    return taken


def _first(headers: tuple[str, ...], columns: Columns, values: Mapping[int, Any], count: int) -> Any:
    present = [values[position] for header in headers if (position := columns.position(header)) is not None]
    if not present:
        return pa.nulls(count, pa.string())
    return present[0] if len(present) == 1 else pc.coalesce(*present)


def _words(rule: Words, columns: Columns, values: Mapping[int, Any], count: int) -> Any:
    result = pa.nulls(count, pa.string())
    for header in rule.headers:
        position = columns.position(header)
        if position is None or result.null_count == 0:
            continue
        # Few distinct texts stand in such columns: the patterns are tried on the dictionary.
        coded = pc.dictionary_encode(values[position])
        texts = coded.dictionary.to_pylist()
        words = pa.array([word(text, rule.patterns) for text in texts], pa.string())
        found = words.take(coded.indices)
        result = found if result.null_count == count else pc.coalesce(result, found)
    return result if rule.otherwise is None else pc.fill_null(result, rule.otherwise)


def word(text: str, patterns: tuple[tuple[str, str], ...]) -> str | None:
    """The word of the first pattern found in a text."""
    return next((word for pattern, word in patterns if re.search(pattern, text, re.IGNORECASE)), None)


def clean(values: Any, missing: pa.Array) -> Any:
    """Text after NFKC, with NULL for empty cells and for the tokens of `missing`."""
    if _is_surely_filled(values, missing):
        return values
    if not pc.all(pc.string_is_ascii(values), min_count=0).as_py():
        values = pc.utf8_normalize(values, form="NFKC")
        trimmed = pc.utf8_trim_whitespace(values)
    else:
        trimmed = pc.ascii_trim_whitespace(values)
    is_missing = pc.is_in(trimmed, value_set=missing)
    if not pc.any(is_missing, min_count=0).as_py():
        return values
    return pc.if_else(is_missing, pa.scalar(None, pa.string()), values)


def _is_surely_filled(values: pa.Array, missing: pa.Array) -> bool:
    """Whether no cell can be missing, nor change by NFKC, at a glance: all is ASCII, each is longer than any token, and none begins or ends
    with white space or a control character. False where a look at the edges does not tell."""
    if not len(values) or values.null_count or values.type != pa.string():
        return False
    _, offsets, letters = values.buffers()
    ends = np.frombuffer(offsets, dtype=np.int32)[values.offset : values.offset + len(values) + 1]
    if int(np.diff(ends).min()) <= pc.max(pc.binary_length(missing)).as_py():
        return False
    text = np.frombuffer(letters, dtype=np.uint8)
    edges = (text[ends[:-1]].min(), text[ends[1:] - 1].min())
    return min(edges) > _SPACE and bool(text[ends[0] : ends[-1]].max() < _FIRST_BEYOND_ASCII)


def missing_tokens(tokens: tuple[str, ...]) -> pa.Array:
    """The value set for `clean`: the empty text and the tokens, normalised as values are."""
    normal = {unicodedata.normalize("NFKC", token).strip() for token in tokens}
    return pa.array(sorted({"", *normal}), pa.string())
