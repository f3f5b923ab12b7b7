"""What becomes of each row of an object: new, changed, unchanged, cleared, withdrawn, or not delivered.

A row is compared with what the target is known to hold, text by text. `new` is what the target holds once the row is in, `previous` what it held
before; a cell of the file is the new text, or the target's word for taking a value away.

Belongs here: that comparison. Does not belong here: files (`files`), the state itself (`state`).
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sales_pipeline.delivery.kit import NEW, PREVIOUS, ObjectFacts
from sales_pipeline.delivery.kits.cells import Cells, Mask, at, cells, packed, unpacked
from sales_pipeline.delivery.kits.moves import drifted, moved
from sales_pipeline.delivery.kits.refusals import Refusals, named, refuse_keys, refuse_owners, refuse_values
from sales_pipeline.delivery.kits.source import SourceRows, published_table
from sales_pipeline.delivery.params import MoveLimit
from sales_pipeline.delivery.state.store import HELD, HeldRows, in_key_order
from sales_pipeline.delivery.targets.spec import FieldSpec, ObjectSpec, TargetSpec


@dataclass(frozen=True)
class Judged:
    """One object's rows. `rows`: key, source_key, change, remote_id, `new.<field>`, `previous.<field>`, sorted by key; `not_delivered`: NOT_DELIVERED."""

    rows: pa.Table
    not_delivered: pa.Table
    facts: ObjectFacts


def judge(
    source: SourceRows,
    held: HeldRows,
    deleted: pa.Array,
    target: TargetSpec,
    spec: ObjectSpec,
    *,
    only_changed: bool,
    moves: MoveLimit,
    known_owners: Set[str] | None,
) -> Judged:
    """Compare an object's source rows with the state's. `deleted` are keys of records somebody deleted in the target."""
    count, source_keys = source.num_rows, source.keys
    keys = cells(_raw(source, spec.key), spec.key, target.format, count)
    refusals = Refusals(count)
    refuse_keys(refusals, keys, spec.key, spec.key_pattern)
    place = pc.index_in(keys.text, value_set=held.column("key"))
    is_known = pc.is_valid(place).to_numpy(zero_copy_only=False) & _valid(keys.text)
    is_cleared = _cleared(source, held, place, is_known, target, spec, refusals)
    if spec.operation == "insert":
        refusals.refuse(is_known, "sent_before", "the target creates a record each time, and has this one already")
    is_deleted = pc.is_in(keys.text, value_set=deleted).to_numpy(zero_copy_only=False) & _valid(keys.text)
    refusals.refuse(
        is_deleted, "deleted_there", "somebody deleted the record in the target, so it is not made again", keys.text
    )
    is_returned = is_known & _returned(held, place, spec)
    after, before, uncleared = {}, {}, {}
    is_changed = np.zeros(count, dtype=bool)
    for field in spec.fields:
        now, was, kept = _values(
            field, source, held, place, is_known, is_returned, is_cleared, target, spec, refusals, known_owners
        )
        after[field.field], before[field.field] = packed(now), packed(was)
        if kept.any():
            uncleared[field.field] = kept
        if field.is_compared and (not field.is_sent_once or field.field in spec.withdrawn):
            is_changed |= _differs(now, was) & ~drifted(now, was, field)
    for name, kept in uncleared.items():
        uncleared[name] = kept & refusals.is_open
    if uncleared and (rows := np.flatnonzero(np.logical_or.reduce(list(uncleared.values())))).size:
        fields = named(list(uncleared), list(uncleared.values()), np.arange(count))
        refusals.note(rows, "cannot_clear", "the target cannot be told to take a value away; clear it by hand", fields)
        cannot_clear = len(rows)
    else:
        cannot_clear = 0
    is_open = refusals.is_open
    is_cleared &= is_open
    is_changed |= is_cleared
    is_new, changed = is_open & ~is_known, is_open & is_known & is_changed & ~is_cleared
    unchanged = is_open & is_known & ~is_changed
    chosen = np.flatnonzero(is_new | changed | is_cleared | (unchanged if not only_changed else False))
    words = (is_new, "new"), (is_cleared, "cleared"), (is_returned, "returned"), (is_changed, "changed")
    change = np.select([mask for mask, _ in words], [word for _, word in words], "unchanged")
    keyed = {
        "key": keys.text,
        "source_key": source_keys,
        "change": pa.array(change),
        "remote_id": _ids(held, place, spec),
    }
    news = {NEW + name: texts for name, texts in after.items()}
    olds = {PREVIOUS + name: texts for name, texts in before.items()}
    rows_of_source = pa.table({name: unpacked(at(texts, chosen)) for name, texts in {**keyed, **news, **olds}.items()})
    leaving, gone = _leaving(held, keys.text, spec)
    table = published_table(spec.source).name
    known = is_open & is_known
    rows_moved, largest = moved(spec, after, before, keys.text, known, is_changed, moves)
    total = int(known.sum())
    facts = ObjectFacts(
        name=spec.name,
        source_rows=count,
        new=int(is_new.sum()),
        changed=int(changed.sum()),
        unchanged=int(unchanged.sum()),
        withdrawn=leaving.num_rows,
        gone=gone,
        not_delivered=int((~is_open).sum()),
        cannot_clear=cannot_clear,
        known=total,
        moved=rows_moved,
        is_over_limit=total >= moves.min_rows and rows_moved > moves.max_share * total,
        cleared=int(is_cleared.sum()),
        moves=largest,
    )
    rows = rows_of_source
    if leaving.num_rows:
        rows = pa.concat_tables([rows_of_source, leaving], promote_options="default").combine_chunks()
    return Judged(in_key_order(rows), refusals.table(spec.name, table, source_keys), facts)


def _cleared(
    source: SourceRows,
    held: HeldRows,
    place: pa.Array,
    is_known: Mask,
    target: TargetSpec,
    spec: ObjectSpec,
    refusals: Refusals,
) -> Mask:
    """Rows without a score whose record has ours, to be emptied (and listed, with the reason); the others without a score are refused."""
    nobody = np.zeros(source.num_rows, dtype=bool)
    if (why := source.abstained) is None:
        return nobody
    reason, is_silent = why.cast(pa.string()), _valid(why)
    is_cleared = nobody
    if target.clears_abstained(spec) and (is_silent & is_known).any():
        ours = [held.column(HELD + field.field).take(place) for field in spec.fields if not field.is_sent_once]
        is_filled = np.logical_or.reduce([_valid(texts) for texts in ours]) if ours else nobody
        is_cleared = is_silent & is_known & is_filled & refusals.is_open
        note = "no score is given any more, and the one in the target is taken away"
        if is_cleared.any():
            refusals.note(np.flatnonzero(is_cleared), "abstained", note, reason)
    refusals.refuse(is_silent & ~is_cleared, "abstained", "no score is given", reason)
    return is_cleared


def _values(
    field: FieldSpec,
    source: SourceRows,
    held: HeldRows,
    place: pa.Array,
    is_known: Mask,
    is_returned: Mask,
    is_cleared: Mask,
    target: TargetSpec,
    spec: ObjectSpec,
    refusals: Refusals,
    known_owners: Set[str] | None,
) -> tuple[pa.Array, pa.Array, Mask]:
    """What the target will hold, what it holds, and where a value stays although it should go."""
    raw = _raw(source, field)
    found = cells(raw, field, target.format, source.num_rows)
    was = held.column(HELD + field.field).take(place)
    if is_cleared.any() and not field.is_sent_once:
        nothing = pc.if_else(pa.array(is_cleared), pa.scalar(None, pa.string()), found.text)
        found = Cells(nothing, found.is_bad & ~is_cleared)
    applies = ~is_cleared
    if field.is_sent_once:
        applies = ~is_known | (is_returned if field.field in spec.withdrawn else False)
    refuse_values(refusals, field, found, raw, applies)
    if known_owners is not None and field.field == spec.owner:
        refuse_owners(refusals, field.field, found.text, known_owners, applies)
    if field.is_sent_once:
        return pc.if_else(pa.array(applies), found.text, was), was, np.zeros(source.num_rows, dtype=bool)
    if target.can_clear:
        return found.text, was, np.zeros(source.num_rows, dtype=bool)
    stays = ~_valid(found.text) & _valid(was)
    return (pc.if_else(pa.array(stays), was, found.text) if stays.any() else found.text), was, stays


def _raw(source: SourceRows, field: FieldSpec) -> pa.Array | None:
    return None if field.column is None else source.column(field.column)


def _returned(held: HeldRows, place: pa.Array, spec: ObjectSpec) -> Mask:
    """Records that were marked as withdrawn by a field that is else sent once: it has to be sent again."""
    marks = {field.field for field in spec.fields if field.is_sent_once} & set(spec.withdrawn)
    if not marks:
        return np.zeros(len(place), dtype=bool)
    return np.asarray(
        np.logical_and.reduce(
            [_equal(held.column(HELD + name).take(place), text) for name, text in sorted(spec.withdrawn.items())]
        )
    )


def _leaving(held: HeldRows, keys: pa.Array, spec: ObjectSpec) -> tuple[pa.Table, int]:
    """Records whose row left the source: those to be marked (with all their fields), and the count of the others."""
    is_gone = ~pc.is_in(held.column("key"), value_set=keys).to_numpy(zero_copy_only=False)
    place = np.flatnonzero(is_gone)[:0]
    if spec.withdrawn and spec.operation != "insert":
        marks = spec.withdrawn.items()
        is_marked = np.logical_and.reduce([_equal(held.column(HELD + name), text) for name, text in marks])
        place = np.flatnonzero(is_gone & ~is_marked)
    return _marked(held, spec, place), int(is_gone.sum()) - len(place)


def _marked(held: HeldRows, spec: ObjectSpec, place: npt.NDArray[np.int64]) -> pa.Table:
    rows, count, marks = pa.array(place), len(place), spec.withdrawn
    if not count:
        return pa.table({"key": pa.array([], pa.string())})
    before = {field.field: held.column(HELD + field.field).take(rows) for field in spec.fields}
    after = {
        name: pa.repeat(pa.scalar(marks[name]), count) if name in marks else texts for name, texts in before.items()
    }
    columns: dict[str, Any] = {
        "key": held.column("key").take(rows),
        "source_key": pa.nulls(count, pa.string()),
        "change": pa.repeat(pa.scalar("withdrawn"), count),
        "remote_id": _ids(held, rows, spec),
    }
    columns |= {NEW + name: texts for name, texts in after.items()}
    columns |= {PREVIOUS + name: texts for name, texts in before.items()}
    return pa.table(columns)


def _ids(held: HeldRows, place: pa.Array, spec: ObjectSpec) -> pa.Array:
    """Ids of the records in the target; read only where rows go by them."""
    return pa.nulls(len(place), pa.string()) if spec.updates_by is None else held.column("remote_id").take(place)


def _differs(left: pa.Array, right: pa.Array) -> Mask:
    same = pc.fill_null(pc.equal(left, right), False).to_numpy(zero_copy_only=False)
    both_none = ~_valid(left) & ~_valid(right)
    return np.asarray(~(same | both_none))


def _equal(texts: pa.Array, value: str) -> Mask:
    return np.asarray(pc.fill_null(pc.equal(texts, value), False).to_numpy(zero_copy_only=False))


def _valid(values: pa.Array) -> Mask:
    return np.asarray(pc.is_valid(values).to_numpy(zero_copy_only=False))
