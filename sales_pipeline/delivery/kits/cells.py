"""The exact text of a cell, by its field's notation, for whole columns at once.

Decimals are fixed-point and never have an exponent; dates are `2026-06-30`; instants `2026-06-30T22:00:00.000Z` or `2026-06-30 22:00:00` (UTC), as the
target's files want them; line breaks and other control characters in text become one space. NULL is a cell without a value: no text is ever empty.

Belongs here: values to text. Does not belong here: what may not be sent (`checks`).
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sales_pipeline.delivery.targets.spec import FieldSpec, FileFormat
from sales_pipeline.domain.identifiers import to_sfid18
from sales_pipeline.errors import ConfigurationError

_MOST_PRECISION = 38
_EXPONENT_FROM = 7
"""Arrow writes decimals of so many places with an exponent where they are small."""

_PACKED_FROM = 4
"""Texts are packed where each stands this many times or more."""

_CONTROLS = r"[\x00-\x1f\x7f\x{85}\x{2028}\x{2029}]+"
_SALESFORCE_ID = r"^[0-9A-Za-z]{15}([0-9A-Za-z]{3})?$"
_GUID = r"^\{?[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}\}?$"
_ALPHABET = np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345", dtype=np.uint8)

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Cells:
    """Texts of a column (NULL: no value), and rows whose value is no id of the notation's kind (their text is the value as it was)."""

    text: pa.Array
    is_bad: Mask


def cells(values: pa.Array | None, field: FieldSpec, form: FileFormat, rows: int) -> Cells:
    """The cells of a field. `values` is None for constants.

    Raises ConfigurationError when the field has codes and a value is not among them, or the notation does not fit the column.
    """
    fine = np.zeros(rows, dtype=bool)
    if field.constant is not None:
        return Cells(pa.repeat(pa.scalar(field.constant, pa.string()), rows), fine)
    assert values is not None
    if field.codes:
        return Cells(_coded(values, field), fine)
    if field.notation in ("salesforce_id", "guid"):
        text = _tidy(values.cast(pa.string()))
        return salesforce_ids(text) if field.notation == "salesforce_id" else _guids(text)
    return Cells(_text(values, field, form), fine)


def _text(column: pa.Array, field: FieldSpec, form: FileFormat) -> pa.Array:
    try:
        if field.notation == "text":
            return _tidy(column.cast(pa.string()))
        if field.notation == "decimal":
            return _decimals(column, field.decimals)
        if field.notation == "instant":
            return _instants(column, form)
        if field.notation == "integer":
            return column.cast(pa.int64()).cast(pa.string())
        return column.cast(pa.date32() if field.notation == "date" else pa.bool_()).cast(pa.string())
    except pa.ArrowInvalid as error:
        problem = str(error)
    except pa.ArrowNotImplementedError as error:
        problem = str(error)
    raise ConfigurationError(
        f"{field.field} cannot be written as {field.notation}",
        expected=f"values of {field.column} that are {field.notation}",
        found=f"{column.type}: {problem}",
        fix="mend `notation` of the field in the target's mapping",
    )


def _tidy(text: pa.Array) -> pa.Array:
    has_controls = pc.any(pc.match_substring_regex(text, _CONTROLS)).as_py()
    plain = pc.replace_substring_regex(text, _CONTROLS, " ") if has_controls else text
    trimmed = pc.utf8_trim_whitespace(plain)
    return pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, pa.string()), trimmed)


def _coded(column: pa.Array, field: FieldSpec) -> pa.Array:
    codes = column.cast(pa.string())
    place = pc.index_in(codes, value_set=pa.array(list(field.codes), pa.string()))
    missing = pc.and_(pc.is_null(place), pc.is_valid(codes))
    if pc.any(missing).as_py():
        unknown = sorted(pc.unique(codes.filter(missing)).to_pylist())
        raise ConfigurationError(
            f"{field.field} has no word for a code of {field.column}",
            expected=f"one of {', '.join(field.codes)}",
            found=", ".join(unknown[:5]),
            fix="add it to `codes` of the field in the target's mapping",
        )
    words = pa.array(list(field.codes.values()), pa.string()).take(place)
    return pc.if_else(pc.equal(words, ""), pa.scalar(None, pa.string()), words)


def _decimals(column: pa.Array, places: int) -> pa.Array:
    numbers = column
    if pa.types.is_floating(column.type):
        finite = pc.if_else(pc.is_finite(column), column, pa.scalar(None, column.type))
        numbers = pc.round(finite, ndigits=places, round_mode="half_to_even")
    elif pa.types.is_decimal(column.type):
        numbers = pc.round(column, ndigits=places, round_mode="half_towards_infinity")
    text = numbers.cast(pa.decimal128(_MOST_PRECISION, places)).cast(pa.string())
    if places < _EXPONENT_FROM:
        return text
    fixed = [None if value is None else f"{Decimal(value):f}" for value in text.to_pylist()]
    return pa.array(fixed, pa.string())


def _instants(column: pa.Array, form: FileFormat) -> pa.Array:
    if form.instant == "space":
        return pc.strftime(column.cast(pa.timestamp("s"), safe=False), "%Y-%m-%d %H:%M:%S")
    return pc.strftime(column.cast(pa.timestamp("ms"), safe=False), "%Y-%m-%dT%H:%M:%SZ")


def _guids(text: pa.Array) -> Cells:
    is_guid = pc.match_substring_regex(text, _GUID)
    plain = pc.ascii_lower(pc.utf8_trim(text, characters="{}"))
    return Cells(pc.if_else(is_guid, plain, text), _false_of(is_guid))


def salesforce_ids(text: pa.Array) -> Cells:
    """18-character ids: 15-character ones get their checksum, folded ones their case back; a wrong checksum is a bad id.

    The checksum says which of the characters are capitals, so an id with mixed case and another checksum was damaged, while one in a single case was
    merely folded (`domain.identifiers`).
    """
    is_shaped = pc.match_substring_regex(text, _SALESFORCE_ID)
    shaped = pc.fill_null(is_shaped, False).to_numpy(zero_copy_only=False)
    lengths = pc.fill_null(pc.binary_length(text), 0).to_numpy(zero_copy_only=False)
    bad = _false_of(is_shaped)
    result = text
    for length in (15, 18):
        place = np.flatnonzero(shaped & (lengths == length))
        if not len(place):
            continue
        ids = _letters(text.take(pa.array(place)), length)
        whole = np.hstack([ids[:, :15], _checksums(ids[:, :15])])
        mended = _strings(whole)
        if length == 18:
            wrong = np.flatnonzero((whole[:, 15:] != ids[:, 15:]).any(axis=1))
            mended, still = _unfold(_strings(ids), wrong)
            bad[place[still]] = True
        result = _put(result, place, mended)
    return Cells(result, bad)


def _unfold(ids: pa.Array, wrong: npt.NDArray[np.int64]) -> tuple[pa.Array, npt.NDArray[np.int64]]:
    """Ids with those of a folded case mended, and the places of those that are damaged."""
    if not len(wrong):
        return ids, wrong
    found = ids.take(pa.array(wrong)).to_pylist()
    mended = [to_sfid18(value) for value in found]
    is_right = np.array(
        [
            value in (value.lower(), value.upper()) and to_sfid18(whole[:15]) == whole
            for value, whole in zip(found, mended, strict=True)
        ]
    )
    good = [whole for whole, right in zip(mended, is_right, strict=True) if right]
    return _put(ids, wrong[is_right], pa.array(good, pa.string())), wrong[~is_right]


def at(texts: pa.Array, place: npt.NDArray[np.int64]) -> pa.Array:
    """The texts at ascending places; the array itself, not a copy, where that is all of them."""
    return texts if len(place) == len(texts) else texts.take(pa.array(place))


def packed(texts: pa.Array) -> pa.Array:
    """The same texts, each kept once where most are repeated (stamps, bands, owners)."""
    encoded = texts.dictionary_encode()
    return encoded if len(encoded.dictionary) * _PACKED_FROM < len(texts) else texts


def unpacked(texts: pa.Array) -> pa.Array:
    """The inverse of `packed`."""
    return texts.dictionary_decode() if pa.types.is_dictionary(texts.type) else texts


def _put(texts: pa.Array, place: npt.NDArray[np.int64], values: pa.Array) -> pa.Array:
    if len(place) == len(texts):
        return values
    mask = np.zeros(len(texts), dtype=bool)
    mask[place] = True
    return pc.replace_with_mask(texts, pa.array(mask), values)


def _letters(texts: pa.Array, length: int) -> npt.NDArray[np.uint8]:
    data = b"" if len(texts) == 0 else texts.buffers()[2]
    letters: npt.NDArray[np.uint8] = np.frombuffer(data, dtype=np.uint8, count=len(texts) * length)
    return letters.reshape(len(texts), length)


def _strings(letters: npt.NDArray[np.uint8]) -> pa.Array:
    count, length = letters.shape
    offsets = np.arange(count + 1, dtype=np.int32) * length
    data = np.ascontiguousarray(letters)
    return pa.Array.from_buffers(pa.string(), count, [None, pa.py_buffer(offsets), pa.py_buffer(data)])


def _checksums(letters: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    is_capital = (letters >= ord("A")) & (letters <= ord("Z"))
    bits = is_capital.reshape(len(letters), 3, 5) @ np.array([1, 2, 4, 8, 16])
    return np.asarray(_ALPHABET[bits])


def _false_of(mask: pa.Array) -> Mask:
    """Where a value is there and the mask says no."""
    return np.asarray(pc.fill_null(pc.invert(mask), False).to_numpy(zero_copy_only=False))
