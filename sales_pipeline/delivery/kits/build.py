"""A kit from a published run: the difference to what the target holds, as files that import.

    <object>.csv …                  the rows to import, by file
    rows/<object>.parquet           the same for machines: key, change, new and previous text of every field, the file the row stands in, and
                                    sent_key, the key it has there where that is the record's id in the target
    rollback/                       the same keys with the previous values, and what to take back by hand
    not_delivered.csv               rows left out, and why (for people: guarded; for machines rows/not_delivered.parquet)
    diff.json, diff_summary.txt, review.xlsx, README.txt, manifest.json

Belongs here: from a run or a delivery to a kit. Does not belong here: the folder (`assemble`), the rows (`rows`, `backwards`).
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sales_pipeline.delivery.kit import Kit, ObjectFacts, read_kit
from sales_pipeline.delivery.kits.assemble import ROLLBACK, Identity, write_kit, write_lists
from sales_pipeline.delivery.kits.backwards import backwards
from sales_pipeline.delivery.kits.rows import Judged, judge
from sales_pipeline.delivery.kits.source import SourceRows, published_table
from sales_pipeline.delivery.params import MoveLimit
from sales_pipeline.delivery.parcel import MANIFEST
from sales_pipeline.delivery.state.settle import succeeded_rows
from sales_pipeline.delivery.state.store import HELD, DeliveredState, kits_folder, read_state
from sales_pipeline.delivery.targets.spec import ObjectSpec, TargetSpec
from sales_pipeline.domain.identifiers import digest_bytes, digest_of
from sales_pipeline.errors import ConfigurationError, EnvironmentProblem
from sales_pipeline.lake.durable import write_directory
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.runs import PublishedRun
from sales_pipeline.lake.tables import file_sha256

_HERE = Path(__file__).parent


def build_kit(
    lake: Lake,
    run: PublishedRun,
    spec: TargetSpec,
    *,
    target: str,
    moves: MoveLimit,
    only_changed: bool = True,
    time_zone: str = "UTC",
    known_owners: Set[str] | None = None,
) -> Kit:
    """Write the kit of a run for a target (or find it written), under `deliveries/<target>/kits/<delivery_id>/`.

    Parameters
    ----------
    target
        The target's name in the settings (`spec.name` is the mapping's).
    only_changed
        Rows the target holds already, unchanged, are left out; False sends all rows but those of insert-only objects that were sent.
    time_zone
        The zone in which an instant's day is taken.
    known_owners
        Owners' ids the target knows, as the kit writes them; None where nobody says.

    Nothing is sent, and the state is not touched. The caller holds the target's lock. Raises ConfigurationError when the mapping names a
    column that is not there, EnvironmentProblem when a published file was changed or lost, and DeliveryBlocked when the bytes written fail the last check. Moves
    above the limit are facts of the kit: the caller stops the delivery.
    """
    state = read_state(lake, target)
    options = {
        "only_changed": only_changed,
        "time_zone": time_zone,
        "moves": moves.model_dump(mode="json"),
        "known_owners": None if known_owners is None else digest_of(sorted(known_owners)),
    }
    mapping = spec.model_dump(mode="json")
    digest = digest_of("kit", target, mapping, run.run_id, state.state_id, state.settled, options, code_digest())
    identity = Identity(
        delivery_id=f"kit-{digest}",
        target=target,
        run_id=run.run_id,
        as_of=run.as_of,
        state_id=state.state_id,
        model_version=run.manifest.get("model_version"),
        options=options,
    )
    folder = kits_folder(lake, target) / identity.delivery_id

    def judged() -> Iterator[tuple[ObjectSpec, Judged]]:
        for item in spec.delivered:
            _verify(run, item)
            source = SourceRows(run.path, item, time_zone)
            held, deleted = state.held_rows(item.name), state.deleted(item.name)
            how: dict[str, Any] = {"only_changed": only_changed, "moves": moves, "known_owners": known_owners}
            yield item, judge(source, held, deleted, spec, item, **how)

    write_directory(folder, lambda aside: write_kit(aside, spec, identity, judged()))
    return read_kit(folder)


def build_rollback(lake: Lake, target: str, folder: Path) -> Kit:
    """Write the kit that takes a delivery back: the values before it, of the rows that succeeded, to be sent by any channel.

    What is compared is what the target holds now, so that a later delivery of the same records is taken back with it. Records the delivery created are
    marked withdrawn where the mapping has such fields, else they are listed in `rollback/<object>_delete.csv`, for a person. Settling
    it returns the state to what it was, but for records that were created: those are there, marked or waiting for that person.
    Raises ConfigurationError when nothing of that delivery is known to have succeeded.
    """
    kit, state = read_kit(folder), read_state(lake, target)
    entries = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    spec = TargetSpec.model_validate(entries["mapping"])
    known = state.kit(kit.parcel.delivery_id)
    if known is None or not known.succeeded:
        raise ConfigurationError(
            "there is nothing to take back of this delivery",
            expected="a delivery of which rows are known to have succeeded",
            found="it was never handed over" if known is None else "no row has succeeded yet",
            where=kit.parcel.delivery_id,
            fix="read the target's results first, or confirm that the kit was imported",
        )
    digest = digest_of("rollback", target, kit.parcel.delivery_id, state.state_id, state.settled, code_digest())
    identity = Identity(
        delivery_id=f"rollback-{digest}",
        target=target,
        run_id=kit.parcel.run_id,
        as_of=kit.parcel.as_of,
        state_id=state.state_id,
        model_version=entries["model_version"],
        is_rollback_of=kit.parcel.delivery_id,
    )
    final = kits_folder(lake, target) / identity.delivery_id

    def build(aside: Path) -> None:
        (aside / ROLLBACK).mkdir()
        write_kit(aside, spec, identity, _turned(aside / ROLLBACK, folder, kit, state, spec))

    write_directory(final, build)
    return read_kit(final)


def _turned(
    lists: Path, folder: Path, kit: Kit, state: DeliveredState, spec: TargetSpec
) -> Iterator[tuple[ObjectSpec, Judged]]:
    sent = {part.object_name for part in kit.parcel.parts}
    for item in spec.objects:
        if item.name not in sent:
            continue
        rows = succeeded_rows(state, folder, item.name)
        rows = rows.filter(pc.invert(pc.is_in(rows["key"], value_set=state.deleted(item.name))))
        back = backwards(_held_now(rows, state.held(item.name), item), item, spec, now=HELD)
        write_lists(lists, item, back.to_delete, back.by_hand)
        yield item, Judged(back.rows, _none_left_out(), _facts_of_rollback(item, rows.num_rows, back.rows))


def _held_now(rows: pa.Table, held: pa.Table, item: ObjectSpec) -> pa.Table:
    """The rows with what the target holds of them now, and the records' ids there."""
    place = pc.index_in(rows["key"], value_set=held["key"]).combine_chunks()
    ids = held["remote_id"].combine_chunks().take(place)
    rows = rows.set_column(rows.schema.get_field_index("remote_id"), "remote_id", ids)
    for field in item.fields:
        name = HELD + field.field
        there = name in held.column_names
        now = held[name].combine_chunks().take(place) if there else pa.nulls(rows.num_rows, pa.string())
        rows = rows.append_column(name, now)
    return rows


def _facts_of_rollback(item: ObjectSpec, succeeded: int, rows: pa.Table) -> ObjectFacts:
    withdrawn = int(pc.sum(pc.equal(rows["change"], "withdrawn")).as_py() or 0)
    return ObjectFacts(
        name=item.name,
        source_rows=succeeded,
        new=0,
        changed=rows.num_rows - withdrawn,
        unchanged=0,
        withdrawn=withdrawn,
        gone=0,
        not_delivered=0,
        cannot_clear=0,
        known=rows.num_rows,
        moved=0,
        is_over_limit=False,
    )


def _none_left_out() -> pa.Table:
    from sales_pipeline.contracts.delivery import NOT_DELIVERED
    from sales_pipeline.contracts.derive import arrow_schema

    return arrow_schema(NOT_DELIVERED).empty_table()


def _verify(run: PublishedRun, item: ObjectSpec) -> None:
    """The published file is the one its run wrote."""
    name = f"{published_table(item.source).name}.parquet"
    told, path = run.manifest.get("files", {}).get(name), run.path / name
    if told is None:
        return
    found = file_sha256(path) if path.is_file() else None
    if found != told["sha256"]:
        raise EnvironmentProblem(
            "a published file was changed or lost",
            expected=f"sha256 {told['sha256']}",
            found="no such file" if found is None else f"sha256 {found}",
            where=str(path),
            fix="restore the file from a backup, or run that day again into a new lake",
        )


@functools.cache
def code_digest() -> str:
    """A digest of the code that shapes a kit: other code, another kit."""
    sources = [*sorted(_HERE.glob("*.py")), _HERE.parent / "targets" / "spec.py", _HERE.parent / "csv_text.py"]
    return digest_of([digest_bytes(path.read_bytes()) for path in sources])
