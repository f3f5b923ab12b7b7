"""Answers to a kit: of each row the one that says most, whichever order they come in.

Belongs here: answers beside answers. Does not belong here: what they do to the state (`settle`).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sales_pipeline.contracts.delivery import DELIVERY_RESULTS
from sales_pipeline.errors import InputRejected
from sales_pipeline.lake.tables import conform

_RANK = ("unknown", "unprocessed", "failed", "succeeded")
"""Outcomes by how much they say: what succeeded once has succeeded."""

_JOINT = "\x1f"
_NAMED = 5


def joint(rows: pa.Table) -> pa.Array:
    """Part and key of each row in one text."""
    return pc.binary_join_element_wise(rows["part"], rows["key"], _JOINT).combine_chunks()


def count(results: pa.Table, outcome: str) -> int:
    """Rows of DELIVERY_RESULTS with an outcome."""
    return int(pc.sum(pc.equal(results["outcome"], outcome)).as_py() or 0)


def succeeded(results: pa.Table | None) -> pa.Array:
    """Rows that succeeded, as `joint` writes them."""
    if results is None:
        return pa.array([], pa.string())
    return joint(results.filter(pc.equal(results["outcome"], "succeeded")))


def merge(sent: Iterable[pa.Table], before: pa.Table | None, results: pa.Table) -> pa.Table:
    """What is known of every row that has an answer: of several the one that says most; of equal ones the latest.

    `sent` has part and key of the rows sent, `before` the answers known already. Raises InputRejected where results are of other rows.
    """
    tables = list(sent)
    known = joint(pa.concat_tables(tables)) if tables else pa.array([], pa.string())
    fresh = conform(results, DELIVERY_RESULTS)
    place_of_fresh = _places(known, fresh)
    if before is None:
        everything, place = fresh, place_of_fresh
    else:
        everything = pa.concat_tables([before, fresh])
        place = np.concatenate([_places(known, before), place_of_fresh])
    rank = pc.index_in(everything["outcome"], value_set=pa.array(_RANK, pa.string())).to_numpy()
    order = np.lexsort((np.arange(len(place)), rank, place))
    is_last = np.append(place[order][1:] != place[order][:-1], True) if len(order) else np.zeros(0, dtype=bool)
    return conform(everything.take(pa.array(order[is_last])), DELIVERY_RESULTS)


def _places(known: pa.Array, results: pa.Table) -> npt.NDArray[np.int64]:
    place = pc.index_in(joint(results), value_set=known)
    if place.null_count:
        strange = results.filter(pc.is_null(place)).slice(0, _NAMED).to_pylist()
        raise InputRejected(
            f"{place.null_count} results are of rows that this delivery has not",
            expected="keys and files of the kit",
            found=", ".join(f"{row['key']} in {row['part']}" for row in strange),
            fix="name the delivery the results belong to",
        )
    return np.asarray(place.to_numpy(zero_copy_only=False)).astype(np.int64)
