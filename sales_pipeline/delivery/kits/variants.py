"""Which rows go into which files, and what stands in their cells: no blank where a blank would erase, or where nobody knows what it does.

Belongs here: that division. Does not belong here: bytes (`files`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sales_pipeline.delivery.kit import NEW, PREVIOUS
from sales_pipeline.delivery.kits.cells import Mask, at, cells
from sales_pipeline.delivery.kits.files import Names, Written, write_files
from sales_pipeline.delivery.parcel import Part
from sales_pipeline.delivery.targets.spec import BY_ID, FieldSpec, ObjectSpec, Operation, TargetSpec

CLEARED = "cleared"


@dataclass(frozen=True)
class Variant:
    """Rows of one object that share their fields: places in the rows table, file stem, fields, and whether they go by the record's id there."""

    stem: str
    place: npt.NDArray[np.int64]
    fields: tuple[FieldSpec, ...]
    is_by_id: bool = False


def variants(rows: pa.Table, spec: ObjectSpec, has_id: Mask) -> list[Variant]:
    """Records that are created get every field; known ones none that is sent once (but their marks where they come
    back); those without a score any more all but those sent once; those that left the source only their marks. Rows that have an id go in
    files of their own."""
    change = rows["change"].to_numpy()
    is_new, is_leaving, is_returned = change == "new", change == "withdrawn", change == "returned"
    is_cleared = change == "cleared"
    always = tuple(field for field in spec.fields if not field.is_sent_once)
    marks = tuple(field for field in spec.fields if field.field in spec.withdrawn)
    if len(always) == len(spec.fields):
        found = [Variant(spec.name, np.flatnonzero(~is_leaving & ~is_cleared), spec.fields)]
    else:
        known = np.flatnonzero(~is_new & ~is_leaving & ~is_returned & ~is_cleared)
        again = tuple(field for field in spec.fields if not field.is_sent_once or field.field in spec.withdrawn)
        found = [
            Variant(f"{spec.name}_new", np.flatnonzero(is_new), spec.fields),
            Variant(f"{spec.name}_changed", known, always),
            Variant(f"{spec.name}_returned", np.flatnonzero(is_returned), again),
        ]
    found.append(Variant(f"{spec.name}_{CLEARED}", np.flatnonzero(is_cleared), always))
    found.append(Variant(f"{spec.name}_withdrawn", np.flatnonzero(is_leaving), marks))
    if not has_id.any():
        return found
    split = []
    for one in found:
        is_by_id = has_id[one.place]
        split.append(replace(one, place=one.place[~is_by_id]))
        split.append(replace(one, stem=f"{one.stem}_{BY_ID}", place=one.place[is_by_id], is_by_id=True))
    return split


def write_parts(
    folder: Path, rows: pa.Table, spec: ObjectSpec, target: TargetSpec
) -> tuple[list[Part], pa.Array, pa.Array]:
    """Write an object's files, and say for each row which of them it stands in, and by which key where that is not its own."""
    parts: list[Part] = []
    stands_in = np.full(rows.num_rows, -1, dtype=np.int64)
    ids = known_ids(rows, spec, target)
    for variant in variants(rows, spec, np.asarray(pc.is_valid(ids).to_numpy(zero_copy_only=False))):
        key, keys = (spec.key, rows["key"].combine_chunks())
        if variant.is_by_id:
            assert spec.updates_by is not None
            key, keys = spec.updates_by, ids
        names = Names(variant.stem, target.format.kind)
        texts = variant_cells(rows, variant, target)
        for fields, place in groups(variant.fields, texts, target):
            places = variant.place[place]
            columns = {key.field: at(keys, places)}
            columns |= {field.field: at(texts[field.field], place) for field in fields}
            start = 0
            for file in write_files(folder, names, columns, (key, *fields), target.format):
                stands_in[places[start : start + file.rows]] = len(parts)
                start += file.rows
                operation = "update" if variant.is_by_id else spec.operation
                parts.append(as_part(file, spec, tuple(columns), operation))
    numbers = pa.array(stands_in, mask=stands_in < 0)
    return parts, pa.array([part.name for part in parts], pa.string()).take(numbers), ids


def is_clearing(part: Part) -> bool:
    """Whether a part's rows empty fields: those of records without a score any more."""
    return part.name.startswith(f"{part.object_name}_{CLEARED}")


def known_ids(rows: pa.Table, spec: ObjectSpec, target: TargetSpec) -> pa.Array:
    """By row the record's id in the target, where rows go by it: NULL for records that are created, and for ids that are missing, no ids, or of two rows."""
    if spec.updates_by is None or not rows.num_rows:
        return pa.nulls(rows.num_rows, pa.string())
    told = cells(rows["remote_id"].combine_chunks(), spec.updates_by, target.format, rows.num_rows)
    encoded = told.text.dictionary_encode()
    places = pc.fill_null(encoded.indices, len(encoded.dictionary)).to_numpy(zero_copy_only=False)
    is_twice = np.bincount(places, minlength=len(encoded.dictionary) + 1)[places] > 1
    is_known = ~is_twice & ~told.is_bad & (rows["change"].to_numpy() != "new")
    return pc.if_else(pa.array(is_known), told.text, pa.scalar(None, pa.string()))


def as_part(file: Written, spec: ObjectSpec, header: tuple[str, ...], operation: Operation) -> Part:
    """A file of rows to import as a part of the parcel; its key is the first column."""
    return Part(
        name=file.name,
        object_name=spec.name,
        object=spec.object,
        operation=operation,
        key_field=header[0],
        fields=header,
        rows=file.rows,
        bytes=file.bytes,
        sha256=file.sha256,
    )


def variant_cells(rows: pa.Table, variant: Variant, target: TargetSpec) -> dict[str, pa.Array]:
    """Cells by field: the new text, or, where a value goes, the target's word for that (a blank where a blank does it)."""
    found = {}
    for field in variant.fields:
        now = at(rows[NEW + field.field].combine_chunks(), variant.place)
        if target.clear is not None and target.blank != "clears" and now.null_count:
            was = at(rows[PREVIOUS + field.field].combine_chunks(), variant.place)
            goes = pc.and_(pc.is_null(now), pc.is_valid(was))
            now = pc.if_else(goes, target.clear, now)
        found[field.field] = now
    return found


def groups(
    fields: Sequence[FieldSpec], texts: dict[str, pa.Array], target: TargetSpec
) -> list[tuple[tuple[FieldSpec, ...], npt.NDArray[np.int64]]]:
    """Where nobody knows what a blank does, rows by the fields they have a value of (fullest first); else all rows with all fields."""
    count = len(next(iter(texts.values()))) if texts else 0
    everything = np.arange(count, dtype=np.int64)
    if target.blank != "unknown":
        return [(tuple(fields), everything)]
    pattern = np.zeros(count, dtype=np.int64)
    for number, field in enumerate(fields):
        pattern |= pc.is_null(texts[field.field]).to_numpy(zero_copy_only=False).astype(np.int64) << number
    found = sorted(np.unique(pattern).tolist(), key=lambda bits: (bin(bits).count("1"), bits))
    return [
        (tuple(field for number, field in enumerate(fields) if not bits >> number & 1), np.flatnonzero(pattern == bits))
        for bits in found
    ]
