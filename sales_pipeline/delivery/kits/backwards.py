"""The way back: for each row of a kit what takes it back, and what only a person can take back.

Known records get their previous values. Of records an update filled for the first time our fields are emptied. Records a delivery created are
marked withdrawn where the mapping has such fields; else a person deletes them, by a list.

Belongs here: those rows. Does not belong here: files (`variants`), which rows succeeded (`state`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sales_pipeline.delivery.kit import NEW, PREVIOUS
from sales_pipeline.delivery.kits.cells import Mask
from sales_pipeline.delivery.kits.refusals import named
from sales_pipeline.delivery.targets.spec import ObjectSpec, TargetSpec


@dataclass(frozen=True)
class Backwards:
    """`rows` as of a kit (what to send); `to_delete` keys of records the delivery created; `by_hand` key and fields that only a person can empty."""

    rows: pa.Table
    to_delete: pa.Table
    by_hand: pa.Table


def backwards(
    rows: pa.Table, spec: ObjectSpec, target: TargetSpec, *, now: str = NEW, before: str = PREVIOUS
) -> Backwards:
    """Turn rows of a kit round. `now` and `before` are the prefixes of what the target holds and should hold again."""
    change = rows["change"].to_numpy()
    is_created = (change == "new") if spec.operation != "update" else np.zeros(len(change), dtype=bool)
    is_marked = is_created & bool(spec.withdrawn) & (spec.operation != "insert")
    is_kept = ~is_created | is_marked
    kept = rows if is_kept.all() else rows.filter(pa.array(is_kept))
    marked = is_marked[is_kept]
    columns = {
        "key": kept["key"].combine_chunks(),
        "source_key": kept["source_key"].combine_chunks(),
        "change": pc.if_else(pa.array(marked), "withdrawn", _turned(kept["change"].combine_chunks())),
        "remote_id": kept["remote_id"].combine_chunks(),
    }
    news, olds, stuck = {}, {}, {}
    is_moving = np.zeros(kept.num_rows, dtype=bool)
    for field in spec.fields:
        name = field.field
        holds, held = kept[now + name].combine_chunks(), kept[before + name].combine_chunks()
        back = pc.if_else(pa.array(marked), _mark(spec, name, holds), held) if marked.any() else held
        stays = np.zeros(kept.num_rows, dtype=bool)
        if not target.can_clear:
            stays = np.asarray((~_valid(back)) & _valid(holds))
            back = pc.if_else(pa.array(stays), holds, back)
        if stays.any():
            stuck[name] = stays
        news[NEW + name], olds[PREVIOUS + name] = back, holds
        is_moving |= ~np.asarray(pc.fill_null(pc.equal(back, holds), False).to_numpy(zero_copy_only=False)) & (
            _valid(back) | _valid(holds)
        )
    turned = pa.table({**columns, **news, **olds})
    if not is_moving.all():
        turned = turned.filter(pa.array(is_moving))
    to_delete = rows.filter(pa.array(is_created & ~is_marked)).select(["key"])
    return Backwards(turned.combine_chunks(), to_delete, _by_hand(columns["key"], stuck))


def _turned(change: pa.Array) -> pa.Array:
    """A record that was cleared is filled again."""
    return pc.if_else(pc.equal(change, "cleared"), "changed", change)


def _mark(spec: ObjectSpec, name: str, holds: pa.Array) -> pa.Array:
    if name not in spec.withdrawn:
        return holds
    return pa.repeat(pa.scalar(spec.withdrawn[name]), len(holds))


def _by_hand(keys: pa.Array, stuck: dict[str, Mask]) -> pa.Table:
    if not stuck:
        return pa.table({"key": pa.array([], pa.string()), "fields": pa.array([], pa.string())})
    place = np.flatnonzero(np.logical_or.reduce(list(stuck.values())))
    return pa.table({"key": keys.take(pa.array(place)), "fields": named(list(stuck), list(stuck.values()), place)})


def _valid(values: pa.Array) -> Mask:
    return np.asarray(pc.is_valid(values).to_numpy(zero_copy_only=False))
