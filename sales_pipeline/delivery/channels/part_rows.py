"""The rows of a part as they are imported, for channels that send rows instead of files.

Belongs here: reading a CSV part, and refusing one that is not as it was built. Does not belong here: what a target makes of the cells.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator

from sales_pipeline.delivery.parcel import Parcel, Part
from sales_pipeline.errors import DeliveryFailed
from sales_pipeline.lake.tables import file_sha256


def hold_part(parcel: Parcel, part: Part) -> None:
    """DeliveryFailed where a part's file is not what the manifest says, or names a record twice or not at all: then nothing of it is sent."""
    path = parcel.path(part)
    if not path.is_file() or file_sha256(path) != part.sha256:
        raise DeliveryFailed(
            "a file of the kit is not the one that was built",
            expected=f"sha256 {part.sha256}",
            found="other bytes" if path.is_file() else "no file",
            where=str(path),
            fix="build the kit again",
        )
    lines: dict[str, int] = {}
    problems = []
    for number, (key, _) in enumerate(part_rows(parcel, part), start=1):
        if not key.strip():
            problems.append(f"record {number} has no {part.key_field}: a new record could come of it")
        elif key in lines:
            problems.append(f"records {lines[key]} and {number} have the same {part.key_field}")
        lines.setdefault(key, number)
    if problems:
        raise DeliveryFailed(
            f"{part.name} names records twice or not at all",
            expected=f"one row for each {part.key_field}",
            found="; ".join(problems[:5]) + (f"; {len(problems) - 5} more" if len(problems) > 5 else ""),
            where=str(path),
            fix="build the kit again",
        )


def part_rows(parcel: Parcel, part: Part) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Key and other cells of each record, in the order of the part's fields."""
    place = part.fields.index(part.key_field)
    with parcel.path(part).open(encoding="utf-8-sig", newline="") as handle:
        reader = csv.reader(handle, delimiter=parcel.delimiter, strict=True)
        for number, cells in enumerate(reader):
            if len(cells) != len(part.fields) or (number == 0 and tuple(cells) != part.fields):
                raise DeliveryFailed(
                    "a file of the kit does not have the columns its manifest says",
                    expected=", ".join(part.fields),
                    found=f"{len(cells)} cells, first {', '.join(cells)[:300]}",
                    where=f"{parcel.path(part)}, record {number}",
                    fix="build the kit again",
                )
            if number:
                yield cells[place], (*cells[:place], *cells[place + 1 :])
