"""Parcels for tests of channels and of results: a few rows, written and described as a kit describes them."""

import csv
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from sales_pipeline.delivery.parcel import MANIFEST, Parcel, Part, PartOperation, parcel_entries

Rows = Sequence[Mapping[str, str]]


def part_bytes(
    rows: Rows, fields: Sequence[str], line_end: str = "\n", delimiter: str = ",", bom: bool = False
) -> bytes:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator=line_end, delimiter=delimiter)
    writer.writerow(fields)
    writer.writerows([row[field] for field in fields] for row in rows)
    return buffer.getvalue().encode("utf-8-sig" if bom else "utf-8")


def a_part(
    folder: Path,
    name: str,
    rows: Rows,
    *,
    fields: Sequence[str],
    object: str = "Opportunity",
    object_name: str = "scores",
    operation: PartOperation = "update",
    key_field: str = "Id",
    line_end: str = "\n",
    delimiter: str = ",",
    bom: bool = False,
) -> Part:
    data = part_bytes(rows, fields, line_end, delimiter, bom)
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)
    return Part(
        name=name,
        object_name=object_name,
        object=object,
        operation=operation,
        key_field=key_field,
        fields=tuple(fields),
        rows=len(rows),
        bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
    )


def a_parcel(folder: Path, *parts: Part, line_end: str = "\n", delimiter: str = ",") -> Parcel:
    """Parts that were written into `folder`, and a manifest beside them."""
    digest = hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
    parcel = Parcel(digest, "target", "run", "2026-06-30", folder, parts, line_end, delimiter)  # type: ignore[arg-type]
    (folder / MANIFEST).write_text(json.dumps({"parcel": parcel_entries(parcel)}), encoding="utf-8")
    return parcel
