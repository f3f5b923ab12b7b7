"""Rows that are not delivered, and why: the first reason found stands.

Belongs here: the reasons and how they are kept. Does not belong here: how cells are written (`cells`).
"""

from __future__ import annotations

from collections.abc import Sequence, Set

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sales_pipeline.contracts.delivery import NOT_DELIVERED
from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.delivery.kits.cells import Cells, Mask
from sales_pipeline.delivery.targets.spec import FieldSpec
from sales_pipeline.errors import ConfigurationError

_TRIGGER = r"^[=+\-@\t\r\x00＝＋－＠]"
"""First characters that a spreadsheet takes for a formula (OWASP ASVS 1.2.10), and their full-width twins."""

_FREE = frozenset({"text", "salesforce_id", "guid"})


class Refusals:
    """Reasons against rows of one object, by place. `is_open` says which rows nothing speaks against."""

    def __init__(self, rows: int) -> None:
        self._reasons: list[tuple[npt.NDArray[np.int64], str, pa.Array]] = []
        self.is_open: Mask = np.ones(rows, dtype=bool)

    def refuse(self, mask: Mask, code: str, message: str, detail: pa.Array | None = None) -> None:
        """Refuse the rows of a mask that are still open. `detail` (one text per row of the object) is put behind the message."""
        place = np.flatnonzero(mask & self.is_open)
        if not len(place):
            return
        self.is_open[place] = False
        self.note(place, code, message, detail)

    def note(self, place: npt.NDArray[np.int64], code: str, message: str, detail: pa.Array | None = None) -> None:
        """List rows without refusing them."""
        words = pa.repeat(pa.scalar(message), len(place))
        if detail is not None:
            words = pc.binary_join_element_wise(words, pc.fill_null(detail.take(pa.array(place)), ""), ": ")
        self._reasons.append((place, code, words))

    def table(self, object_name: str, table: str, keys: pa.Array) -> pa.Table:
        """NOT_DELIVERED, sorted by its key."""
        schema = arrow_schema(NOT_DELIVERED)
        parts = [
            pa.table(
                {
                    "object_name": pa.repeat(pa.scalar(object_name), len(place)),
                    "table": pa.repeat(pa.scalar(table), len(place)),
                    "key": keys.take(pa.array(place)),
                    "code": pa.repeat(pa.scalar(code), len(place)),
                    "message": words,
                }
            ).cast(schema)
            for place, code, words in self._reasons
        ]
        whole = pa.concat_tables([schema.empty_table(), *parts])
        return whole.sort_by([(name, "ascending") for name in NOT_DELIVERED.key])


def refuse_keys(refusals: Refusals, keys: Cells, field: FieldSpec, pattern: str | None) -> None:
    """Keys that are missing, damaged, not of the target's form, or stand in several rows: which of those is meant, nobody knows."""
    text = keys.text
    refusals.refuse(_mask(pc.is_null(text)), "no_key", f"there is no value for the key {field.field}")
    refusals.refuse(
        keys.is_bad, "bad_key", f"no id of the target: its form or its checksum is wrong ({field.column})", text
    )
    if pattern is not None:
        fits = _matches(text, pattern, field)
        refusals.refuse(~_mask(fits), "bad_key", f"{field.column} is no key of the target", text)
    refusals.refuse(starts_like_formula(text), "formula", f"{field.field} begins like a formula", text)
    encoded = text.dictionary_encode()
    places = pc.fill_null(encoded.indices, len(encoded.dictionary)).to_numpy(zero_copy_only=False)
    counts = np.bincount(places, minlength=len(encoded.dictionary) + 1)
    refusals.refuse(counts[places] > 1, "duplicate_key", "several rows have this key, and none of them is sent", text)


def refuse_values(
    refusals: Refusals,
    field: FieldSpec,
    found: Cells,
    raw: pa.Array | None,
    applies: Mask | None = None,
) -> None:
    """Values that are missing, would be read as a formula, are longer than the field, or damaged ids.

    `raw` is the column before control characters were taken out: a leading tab is a trigger too. `applies` restricts the rows.
    """
    where = applies if applies is not None else np.ones(len(found.text), dtype=bool)
    if field.required:
        refusals.refuse(
            where & _mask(pc.is_null(found.text)),
            "blank",
            f"{field.field} must have a value and {field.column} has none",
        )
    if field.notation in _FREE:
        before = np.zeros(len(where), dtype=bool)
        if raw is not None and (pa.types.is_string(raw.type) or pa.types.is_large_string(raw.type)):
            before = starts_like_formula(raw)
        refusals.refuse(
            where & (before | starts_like_formula(found.text)),
            "formula",
            f"{field.field} begins with a character that a spreadsheet takes for a formula",
        )
    if field.length is not None:
        refusals.refuse(
            where & _mask(pc.greater(pc.utf8_length(found.text), field.length)),
            "too_long",
            f"{field.field} takes {field.length} characters",
        )
    refusals.refuse(where & found.is_bad, "bad_key", f"{field.field} is no id of the target", found.text)


def refuse_owners(refusals: Refusals, field: str, found: pa.Array, known: Set[str], applies: Mask) -> None:
    """Owners the target does not know: it would refuse the row, or give it to whoever imports."""
    is_known = pc.is_in(found, value_set=pa.array(sorted(known), pa.string()))
    is_unknown = _mask(pc.is_valid(found)) & ~_mask(is_known)
    refusals.refuse(applies & is_unknown, "unknown_owner", f"{field} names nobody the target knows", found)


def starts_like_formula(text: pa.Array) -> Mask:
    """Whether a spreadsheet would take the text for a formula; no for NULL."""
    return _mask(pc.match_substring_regex(text, _TRIGGER))


def guarded(table: pa.Table) -> pa.Table:
    """The same rows for people to read: an apostrophe before text that a spreadsheet would run (OWASP ASVS 1.2.10)."""
    columns = {}
    for name in table.column_names:
        texts = table[name].combine_chunks()
        columns[name] = pc.if_else(
            pa.array(starts_like_formula(texts)), pc.binary_join_element_wise("'", texts, ""), texts
        )
    return pa.table(columns)


def named(fields: Sequence[str], masks: Sequence[Mask], place: npt.NDArray[np.int64]) -> pa.Array:
    """For each place the names of the fields whose mask holds there."""
    return pa.array(
        [", ".join(field for field, mask in zip(fields, masks, strict=True) if mask[row]) for row in place], pa.string()
    )


def _matches(text: pa.Array, pattern: str, field: FieldSpec) -> pa.Array:
    try:
        return pc.match_substring_regex(text, f"^(?:{pattern})$")
    except pa.ArrowInvalid as error:
        raise ConfigurationError(
            "key_pattern is no regular expression",
            expected="a regular expression (RE2) that a whole key matches",
            found=f"{pattern}: {error}",
            where=field.field,
            fix="mend `key_pattern` of the object in the target's mapping",
        ) from error


def _mask(values: pa.Array) -> Mask:
    return np.asarray(pc.fill_null(values, False).to_numpy(zero_copy_only=False))
