"""Records somebody deleted in the target: not held any more, and remembered where the next kit could make them again.

Belongs here: how answers move both. Does not belong here: which answers say so (`sent`), what succeeded (`settle`).
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from sales_pipeline.delivery.state.answers import joint
from sales_pipeline.delivery.state.store import KitStatus


def after_deletions(
    held: pa.Table, deleted: pa.Table, rows: pa.Table, gone: pa.Table, taken: pa.Array, status: KitStatus
) -> tuple[pa.Table | None, pa.Table | None]:
    """An object's held records and its deleted ones after a kit's answers; None for what stays as it is.

    Parameters
    ----------
    held, deleted
        As the state has them (`DeliveredState.held`).
    rows
        `part`, `key` and `own_key` of the kit's rows.
    gone
        The answers that say a record was deleted; what a later kit set of it stands.
    taken
        Own keys of rows that succeeded now: a record the target takes is there.

    Only records sent by the target's id are remembered: an update by their own key cannot make them again, and brings them back by itself should
    somebody restore them.
    """
    said = pc.is_in(joint(rows), value_set=joint(gone))
    later = held.filter(pc.greater(held["order"], status.order))["key"]
    keys = rows.filter(said)["own_key"]
    keys = keys.filter(pc.invert(pc.is_in(keys, value_set=later)))
    is_kept = pc.invert(pc.is_in(held["key"], value_set=keys))
    held_after = None if pc.all(is_kept).as_py() is not False else held.filter(is_kept)

    is_back = pc.and_(pc.is_in(deleted["key"], value_set=taken), pc.less_equal(deleted["order"], status.order))
    rest = deleted.filter(pc.invert(is_back))
    is_by_id = pc.and_(said, pc.not_equal(rows["key"], rows["own_key"]))
    fresh = rows.filter(is_by_id)["own_key"]
    fresh = fresh.filter(
        pc.invert(pc.or_(pc.is_in(fresh, value_set=later), pc.is_in(fresh, value_set=rest["key"])))
    ).combine_chunks()
    if not len(fresh) and rest.num_rows == deleted.num_rows:
        return held_after, None
    remembered = {
        "key": fresh,
        "is_in_flight": pa.repeat(pa.scalar(False), len(fresh)),
        "remote_id": pa.nulls(len(fresh), pa.string()),
        "run_id": pa.repeat(pa.scalar(status.run_id), len(fresh)),
        "order": pa.repeat(pa.scalar(status.order, pa.int64()), len(fresh)),
    }
    return held_after, pa.concat_tables([rest, pa.table(remembered)])
