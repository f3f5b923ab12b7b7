"""What was sent: the keys of a part, read from the very file, once it is known to be the file the manifest speaks of.

Belongs here: reading a kit's own files back. Does not belong here: what a target says of them (`files`).
"""

from __future__ import annotations

import csv

from sales_pipeline.delivery.parcel import Parcel, Part
from sales_pipeline.errors import DeliveryFailed
from sales_pipeline.lake.tables import file_sha256, read_table


def sent_keys(parcel: Parcel, part: Part) -> list[str]:
    """The part's keys in the file's order, one a row, none empty, none twice.

    Raises DeliveryFailed when the file is missing or is not what the manifest says: its bytes, its header, its number of rows, its keys.
    """
    path = parcel.path(part)
    if not path.is_file():
        raise _altered(parcel, part, expected="the file", found="no file")
    digest = file_sha256(path)
    if digest != part.sha256:
        raise _altered(parcel, part, expected=f"sha256 {part.sha256}", found=f"sha256 {digest}")
    keys = _parquet_keys(parcel, part) if path.suffix == ".parquet" else _csv_keys(parcel, part)
    if len(keys) != part.rows:
        raise _altered(parcel, part, expected=f"{part.rows} rows", found=f"{len(keys)} rows")
    if "" in keys:
        raise _altered(parcel, part, expected="a key in every row", found=f"row {keys.index('') + 1} has none")
    if len(set(keys)) != len(keys):
        seen: set[str] = set()
        twice = next(key for key in keys if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _altered(parcel, part, expected="each key once", found=f"{twice} twice")
    return keys


def _parquet_keys(parcel: Parcel, part: Part) -> list[str]:
    keys = read_table(parcel.path(part), columns=[part.key_field]).column(part.key_field).to_pylist()
    return ["" if key is None else str(key) for key in keys]


def _csv_keys(parcel: Parcel, part: Part) -> list[str]:
    with parcel.path(part).open(encoding="utf-8-sig", newline="") as handle:
        rows = csv.reader(handle, delimiter=parcel.delimiter, strict=True)
        header = tuple(next(rows, ()))
        if header != part.fields or part.key_field not in header:
            raise _altered(parcel, part, expected=",".join(part.fields), found=",".join(header))
        place = header.index(part.key_field)
        return [row[place] for row in rows]


def _altered(parcel: Parcel, part: Part, *, expected: str, found: str) -> DeliveryFailed:
    return DeliveryFailed(
        "a file of the kit is not what its manifest says; nothing of it was sent",
        expected=expected,
        found=found,
        where=str(parcel.path(part)),
        fix="remove the kit's folder, then deliver again: the kit is written anew",
    )
