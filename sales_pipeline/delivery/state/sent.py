"""Rows of a kit that were sent: the key each was sent by, the record's own key, and what the target's answers say of the record.

Belongs here: a kit's rows beside its answers. Does not belong here: what that does to the state (`settle`).
"""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sales_pipeline.delivery.kit import read_kit
from sales_pipeline.delivery.parcel import MANIFEST

DELETED_THERE = "deleted"
"""Outcome of rows the target refused because somebody had deleted the record."""

_IN_A_FILE = pc.field("part").is_valid()


def whole_rows(folder: Path, object_name: str) -> pa.Table:
    """Rows of an object that stand in a file, as the kit keeps them."""
    return pq.read_table(_path(folder, object_name), filters=_IN_A_FILE)


def sent_keys(folder: Path, object_name: str) -> pa.Table:
    """`part`, `key` (as sent) and `own_key` (the record's in the state) of the rows of an object that stand in a file."""
    rows = pq.read_table(_path(folder, object_name), columns=["part", "key", "sent_key"], filters=_IN_A_FILE)
    key = pc.coalesce(rows["sent_key"], rows["key"])
    return pa.table({"part": rows["part"], "key": key, "own_key": rows["key"]}).combine_chunks()


def is_deleted_there(results: pa.Table, folder: Path) -> pa.Array:
    """Which rows of DELIVERY_RESULTS say that the record was deleted in the target: updates refused with a code that the mapping names for that.

    The same code of a row that creates a record speaks of another one, which the row refers to.
    """
    mapping = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["mapping"]
    updates = [part.name for part in read_kit(folder).parcel.parts if part.operation == "update"]
    is_update = pc.is_in(results["part"], value_set=pa.array(updates, pa.string()))
    is_told = pc.is_in(results["code"], value_set=pa.array(mapping["deleted_codes"], pa.string()))
    is_failed = pc.equal(results["outcome"], "failed")
    return pc.and_(pc.and_(is_update, is_told), is_failed).combine_chunks()


def answers_by_record(results: pa.Table, folder: Path) -> pa.Table:
    """DELIVERY_RESULTS with the records' own keys, their `object`, and the outcome `deleted` where the record was deleted in the target."""
    outcome = pc.if_else(is_deleted_there(results, folder), DELETED_THERE, results["outcome"])
    objects = {part.name: part.object_name for part in read_kit(folder).parcel.parts}
    of_row = pa.array([objects[name] for name in results["part"].to_pylist()], pa.string())
    own: dict[tuple[str, str], str] = {}
    for name in sorted(set(objects.values())):
        rows = sent_keys(folder, name)
        rows = rows.filter(pc.not_equal(rows["key"], rows["own_key"]))
        own |= {(row["part"], row["key"]): row["own_key"] for row in rows.to_pylist()}
    sent = zip(results["part"].to_pylist(), results["key"].to_pylist(), strict=True)
    keys = pa.array([own.get(place, place[1]) for place in sent], pa.string())
    for name, values in (("key", keys), ("outcome", outcome)):
        results = results.set_column(results.schema.get_field_index(name), name, values)
    return results.append_column("object", of_row)


def _path(folder: Path, object_name: str) -> Path:
    return folder / "rows" / f"{object_name}.parquet"
