"""Published reasons of single opportunities, read for the few that are shown.

Belongs here: finding them. Does not belong here: which are shown and how (sections).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

SIDES = ("reasons_up", "reasons_down")


def reasons_of(scored: pa.Table, wanted: Collection[str]) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """By opportunity: `reasons_up` and `reasons_down`, each {code, text, weight} with the largest first."""
    rows = scored.filter(pc.is_in(scored.column("opportunity_id"), value_set=pa.array(sorted(wanted), pa.string())))
    return {
        row["opportunity_id"]: {side: list(row[side] or ()) for side in SIDES}
        for row in rows.select(["opportunity_id", *SIDES]).to_pylist()
    }
