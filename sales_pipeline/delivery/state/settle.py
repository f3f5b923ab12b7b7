"""From results to state: what a target is known to hold after its answers.

Belongs here: how answers move the state. Does not belong here: how answers are read (`results`, `channels`).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sales_pipeline.contracts.delivery import DELIVERY_RESULTS
from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.delivery.kit import NEW, Kit, read_kit
from sales_pipeline.delivery.results.tables import results_table
from sales_pipeline.delivery.state.answers import count, joint, merge, succeeded
from sales_pipeline.delivery.state.gone import after_deletions
from sales_pipeline.delivery.state.sent import is_deleted_there, sent_keys, whole_rows
from sales_pipeline.delivery.state.store import DELETED, HELD, DeliveredState, KitStatus, read_state, replace_state
from sales_pipeline.errors import ConfigurationError
from sales_pipeline.lake.layout import Lake


def hand_over(lake: Lake, target: str, folder: Path) -> KitStatus:
    """Note that a kit leaves the house, before its first row does: rows that may be sent only once count as sent from now on. Repeatable."""
    state, kit = read_state(lake, target), read_kit(folder)
    known = state.kit(kit.parcel.delivery_id)
    if known is not None:
        return known
    status = KitStatus(
        delivery_id=kit.parcel.delivery_id,
        order=len(state.kits) + 1,
        run_id=kit.parcel.run_id,
        as_of=kit.parcel.as_of,
        rows=kit.rows,
        unknown=kit.rows,
        is_rollback_of=kit.is_rollback_of,
    )
    held = {}
    for name in sorted({part.object_name for part in kit.parcel.parts if part.operation == "insert"}):
        rows = whole_rows(folder, name)
        held[name] = _held_after(
            state.held(name), rows, status, pa.nulls(rows.num_rows, pa.string()), is_in_flight=True
        )
    replace_state(state, held=held, results={}, kits=(*state.kits, status))
    return status


def settle(lake: Lake, target: str, folder: Path, results: pa.Table) -> KitStatus:
    """Take DELIVERY_RESULTS of a kit, whole or in pieces, into the state. Repeatable; hands the kit over where that was not noted.

    Rows that succeeded are held by the target from now on; failed and unprocessed rows are not, and come again with the next kit. A record that
    somebody deleted there is not held any more, and not made again (`gone`). A row that
    succeeded once has succeeded, whatever a later piece says; what a later kit set is not overwritten by a late answer to an earlier one.
    Raises InputRejected when results name parts or keys that the kit has not.
    """
    hand_over(lake, target, folder)
    state, kit = read_state(lake, target), read_kit(folder)
    status = state.kit(kit.parcel.delivery_id)
    assert status is not None
    objects = {name: sent_keys(folder, name) for name in _sent_objects(kit)}
    before = state.results_of(status.delivery_id)
    merged = merge((rows.select(["part", "key"]) for rows in objects.values()), before, results)
    gone = merged.filter(is_deleted_there(merged, folder))
    had_succeeded = succeeded(before)
    counts = {name: count(merged, name) for name in ("succeeded", "failed", "unprocessed")}
    status = replace(
        status,
        succeeded=counts["succeeded"],
        failed=counts["failed"] - gone.num_rows,
        deleted=gone.num_rows,
        unprocessed=counts["unprocessed"],
        unknown=status.rows - sum(counts.values()),
        is_discarded=status.is_discarded and not counts["succeeded"],
    )
    held: dict[str, pa.Table] = {}
    for name, rows in objects.items():
        before_it, deleted = state.held(name), state.held(f"{DELETED}{name}")
        is_fresh = _fresh(rows, merged, had_succeeded)
        after = _advanced(before_it, rows, merged, is_fresh, status, folder, name)
        found = before_it if after is None else after
        left, deleted_after = after_deletions(found, deleted, rows, gone, rows.filter(is_fresh)["own_key"], status)
        moved = {name: after if left is None else left, f"{DELETED}{name}": deleted_after}
        held |= {place: table for place, table in moved.items() if table is not None}
    kits = tuple(status if known.delivery_id == status.delivery_id else known for known in state.kits)
    if not held and kits == state.kits and before is not None and merged.equals(before):
        return status
    replace_state(state, held=held, results={status.delivery_id: merged}, kits=kits)
    return status


def confirm_all(lake: Lake, target: str, folder: Path) -> KitStatus:
    """Somebody says that the kit was imported whole: every row without a definite answer has succeeded; rows that failed stay failed."""
    return _answer_rest(lake, target, folder, "succeeded")


def discard(lake: Lake, target: str, folder: Path) -> KitStatus:
    """Somebody says that the kit was thrown away: nothing of it was imported. Raises ConfigurationError when rows of it succeeded."""
    hand_over(lake, target, folder)
    delivery_id = read_kit(folder).parcel.delivery_id
    known = read_state(lake, target).kit(delivery_id)
    assert known is not None
    if known.succeeded:
        raise ConfigurationError(
            "this delivery cannot be thrown away: the target took rows of it",
            expected="a kit of which nothing was imported",
            found=f"{known.succeeded} of {known.rows} rows succeeded",
            where=delivery_id,
            fix="take it back with `sales-pipeline deliver rollback`",
        )
    _answer_rest(lake, target, folder, "unprocessed")
    state = read_state(lake, target)
    kits = tuple(replace(kit, is_discarded=True) if kit.delivery_id == delivery_id else kit for kit in state.kits)
    found = replace_state(state, held={}, results={}, kits=kits).kit(delivery_id)
    assert found is not None
    return found


def delivery_status(lake: Lake, target: str) -> tuple[KitStatus, ...]:
    """Kits that were handed over, the latest last."""
    return read_state(lake, target).kits


def succeeded_rows(state: DeliveredState, folder: Path, object_name: str) -> pa.Table:
    """Rows of a kit's object that are known to have succeeded, as the kit keeps them."""
    results = state.results_of(read_kit(folder).parcel.delivery_id)
    is_taken = pc.is_in(joint(sent_keys(folder, object_name)), value_set=succeeded(results))
    return whole_rows(folder, object_name).filter(is_taken)


def _answer_rest(lake: Lake, target: str, folder: Path, outcome: str) -> KitStatus:
    hand_over(lake, target, folder)
    kit = read_kit(folder)
    known = read_state(lake, target).results_of(kit.parcel.delivery_id)
    answered = pa.array([], pa.string())
    if known is not None:
        answered = joint(known.filter(pc.not_equal(known["outcome"], "unknown")))
    pieces = [arrow_schema(DELIVERY_RESULTS).empty_table()]
    for name in _sent_objects(kit):
        rows = sent_keys(folder, name)
        rest = rows.filter(pc.invert(pc.is_in(joint(rows), value_set=answered)))
        for part in kit.parcel.parts:
            keys = rest.filter(pc.equal(rest["part"], part.name))["key"]
            pieces.append(results_table(part, keys, outcome))
    return settle(lake, target, folder, pa.concat_tables(pieces))


def _sent_objects(kit: Kit) -> list[str]:
    return sorted({part.object_name for part in kit.parcel.parts})


def _set_by(folder: Path, object_name: str, chosen: pa.Array) -> pa.Table:
    """Key and new texts of the chosen ones among the rows of an object that stand in a file."""
    path = folder / "rows" / f"{object_name}.parquet"
    names = [name for name in pq.read_schema(path).names if name.startswith(NEW)]
    rows = pq.read_table(path, columns=["key", *names], filters=pc.field("part").is_valid())
    return rows if pc.all(chosen).as_py() else rows.filter(chosen)


def _fresh(rows: pa.Table, merged: pa.Table, had_succeeded: pa.Array) -> pa.Array:
    """Rows that succeeded and were not known to before."""
    sent = joint(rows)
    return pc.and_(pc.is_in(sent, value_set=succeeded(merged)), pc.invert(pc.is_in(sent, value_set=had_succeeded)))


def _advanced(
    held: pa.Table,
    rows: pa.Table,
    merged: pa.Table,
    is_fresh: pa.Array,
    status: KitStatus,
    folder: Path,
    name: str,
) -> pa.Table | None:
    """The object's records after results; None when nothing changes."""
    place = pc.index_in(joint(rows), value_set=joint(merged))
    outcome = merged["outcome"].combine_chunks().take(place)
    is_refused = pc.fill_null(pc.is_in(outcome, value_set=pa.array(["failed", "unprocessed"])), False)
    refused = rows.filter(is_refused)["own_key"]
    is_back = pc.and_(
        pc.and_(held["is_in_flight"], pc.equal(held["order"], status.order)), pc.is_in(held["key"], value_set=refused)
    )
    has_back = bool(pc.any(is_back).as_py())
    if not has_back and not pc.any(is_fresh).as_py():
        return None
    kept = held.filter(pc.invert(is_back)) if has_back else held
    remote = merged["remote_id"].combine_chunks().take(place).filter(is_fresh)
    return _held_after(kept, _set_by(folder, name, is_fresh), status, remote)


def _held_after(
    held: pa.Table, rows: pa.Table, status: KitStatus, remote: pa.Array, *, is_in_flight: bool = False
) -> pa.Table:
    """Records with those of a kit's rows put in their place; a record of which no field is set any more is not held."""
    later = held.filter(pc.greater(held["order"], status.order))
    is_due = pc.invert(pc.is_in(rows["key"], value_set=later["key"]))
    if later.num_rows:
        rows, remote = rows.filter(is_due), remote.filter(is_due.combine_chunks())
    fields = [name.removeprefix(NEW) for name in rows.column_names if name.startswith(NEW)]
    total = rows.num_rows
    place = pc.index_in(rows["key"], value_set=held["key"]).combine_chunks()
    columns = {
        "key": rows["key"].combine_chunks(),
        "is_in_flight": pa.repeat(pa.scalar(is_in_flight), total),
        "remote_id": pc.coalesce(remote, held["remote_id"].combine_chunks().take(place)),
        "run_id": pa.repeat(pa.scalar(status.run_id), total),
        "order": pa.repeat(pa.scalar(status.order, pa.int64()), total),
    }
    columns |= {HELD + name: rows[NEW + name].combine_chunks() for name in fields}
    fresh = pa.table(columns)
    if fields:
        is_set = np.logical_or.reduce([pc.is_valid(fresh[HELD + name]).to_numpy() for name in fields])
        fresh = fresh if is_set.all() else fresh.filter(pa.array(is_set))
    rest = held.filter(pc.invert(pc.is_in(held["key"], value_set=rows["key"])))
    if not rest.num_rows:
        return fresh
    return pa.concat_tables([rest, fresh], promote_options="default")
