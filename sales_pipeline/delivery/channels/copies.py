"""What the channels that pass a kit on as it is have in common: its files in order, and the results when all of them arrived.

Belongs here: reading the kit's folder. Does not belong here: where it goes (`folder`, `object_store`).
"""

from __future__ import annotations

import pyarrow as pa

from sales_pipeline.delivery.journal import Journal
from sales_pipeline.delivery.parcel import MANIFEST, Parcel
from sales_pipeline.delivery.results.sent import sent_keys
from sales_pipeline.delivery.results.tables import joined, results_table
from sales_pipeline.errors import DeliveryFailed
from sales_pipeline.lake.tables import file_sha256


def kit_files(parcel: Parcel) -> dict[str, str]:
    """Every file of the kit, by its path in the folder with `/`, and its sha256; sorted, the manifest last.

    Raises DeliveryFailed when the manifest is missing or something else than files and folders lies in the kit.
    """
    found = {}
    for path in sorted(parcel.folder.rglob("*")):
        name = path.relative_to(parcel.folder).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise DeliveryFailed(
                "something in the kit is no file", expected="files", found=name, where=str(parcel.folder)
            )
        if path.is_file():
            found[name] = file_sha256(path)
    if MANIFEST not in found:
        raise DeliveryFailed("the kit has no manifest", expected=MANIFEST, where=str(parcel.folder))
    found[MANIFEST] = found.pop(MANIFEST)
    return found


def kept_results(parcel: Parcel, journal: Journal) -> pa.Table | None:
    """DELIVERY_RESULTS of a parcel that is delivered already, else None."""
    tables = [journal.results(part) for part in parcel.parts]
    return None if any(table is None for table in tables) or not tables else joined(tables)


def parcel_keys(parcel: Parcel) -> dict[str, list[str]]:
    """Keys of every part, from files that are what the manifest says; errors as in `sent_keys`."""
    return {part.name: sent_keys(parcel, part) for part in parcel.parts}


def all_succeeded(parcel: Parcel, keys: dict[str, list[str]], journal: Journal) -> pa.Table:
    """The whole kit arrived: so did every row."""
    tables = [journal.finish(part, results_table(part, keys[part.name], "succeeded")) for part in parcel.parts]
    return joined(tables)
