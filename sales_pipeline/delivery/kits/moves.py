"""How far figures move: the rows a limit counts, the largest moves, and differences too small to be sent.

Belongs here: distances between what is delivered and what was. Does not belong here: which rows are compared (`rows`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sales_pipeline.delivery.kit import Move
from sales_pipeline.delivery.kits.cells import Mask, unpacked
from sales_pipeline.delivery.params import MoveLimit
from sales_pipeline.delivery.targets.spec import FieldSpec, ObjectSpec

_LISTED_MOVES = 20


def moved(
    spec: ObjectSpec,
    after: dict[str, pa.Array],
    before: dict[str, pa.Array],
    keys: pa.Array,
    known: Mask,
    is_changed: Mask,
    limit: MoveLimit,
) -> tuple[int, tuple[Move, ...]]:
    """Known rows that moved by the limit, and the largest moves. Without a main figure every change is a move."""
    if spec.moves is None:
        return int((known & is_changed).sum()), ()
    new, old = _numbers(unpacked(after[spec.moves])), _numbers(unpacked(before[spec.moves]))
    size = np.where(known, np.abs(new - old), np.nan)
    went = known & np.isnan(new) & ~np.isnan(old)
    count = int((np.nan_to_num(size) >= limit.at_least - 1e-9).sum() + went.sum())
    candidates = np.flatnonzero(np.nan_to_num(size) > 0)
    if len(candidates) > _LISTED_MOVES:
        bound = np.partition(size[candidates], -_LISTED_MOVES)[-_LISTED_MOVES]
        candidates = candidates[size[candidates] >= bound]
    named_keys = keys.take(pa.array(candidates)).to_pylist()
    listed = sorted(
        (Move(key, float(old[row]), float(new[row])) for key, row in zip(named_keys, candidates, strict=True)),
        key=lambda move: (-round(abs(move.new - move.previous), 9), move.key),
    )
    return count, tuple(listed[:_LISTED_MOVES])


def drifted(now: pa.Array, was: pa.Array, field: FieldSpec) -> Mask:
    """Rows whose value differs from what was delivered by no more than the field's drift; never where one of the two has none."""
    if not field.drift and not field.drift_share:
        return np.zeros(len(now), dtype=bool)
    new, old = (_days(texts) if field.notation == "date" else _numbers(texts) for texts in (now, was))
    most = np.maximum(field.drift, field.drift_share * np.abs(old))
    return np.asarray(np.abs(new - old) <= most + 1e-9)


def _numbers(texts: pa.Array) -> npt.NDArray[np.float64]:
    """Texts of a figure as numbers; NaN where there is none, or none that is a number."""
    is_number = pc.match_substring_regex(texts, r"^-?[0-9]+(\.[0-9]+)?$")
    return np.asarray(
        pc.if_else(is_number, texts, pa.scalar(None, pa.string())).cast(pa.float64()).to_numpy(zero_copy_only=False)
    )


def _days(texts: pa.Array) -> npt.NDArray[np.float64]:
    """Days as numbers, NaN where there is none: `1970-01-02` is 1."""
    is_day = pc.match_substring_regex(texts, r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")
    days = pc.if_else(is_day, texts, pa.scalar(None, pa.string())).cast(pa.date32()).cast(pa.int32()).cast(pa.float64())
    return np.asarray(days.to_numpy(zero_copy_only=False))
