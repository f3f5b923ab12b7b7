"""Who takes part in measuring the queue: every opportunity from the first run on in which a follow-up could be queued for it.

The hold-out draw depends on the opportunity's id and a seed alone, so at that moment the held-out ones differ from the others by chance only.
Whatever happens afterwards (queued or not, followed up or not) does not change the side an opportunity is on: intention to treat
(Imbens and Rubin, "Causal Inference for Statistics, Social, and Biomedical Sciences", 2015, chapter 23).

Belongs here: the cohort. Does not belong here: the estimate (`queue_effect`).
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.contracts.internal import COHORT
from sales_pipeline.lake.tables import conform

ELIGIBLE_REASONS = ("hold_out", "capacity", "duplicate_account")
"""Reasons of LEFT_OUT with which a follow-up could have been queued: the others had none to propose."""
_KEYS = ["source_system", "opportunity_id"]


def join_cohort(before: pa.Table | None, queue: pa.Table, left_out: pa.Table, scored: pa.Table) -> pa.Table:
    """COHORT after a run: `before` (that of the run before, None for the first) and the opportunities eligible for the first time.

    `queue`, `left_out` and `scored` are the run's published tables.
    """
    known = arrow_schema(COHORT).empty_table() if before is None else before
    is_eligible = pc.is_in(left_out.column("reason"), value_set=pa.array(ELIGIBLE_REASONS))
    left = left_out.filter(is_eligible).select([*_KEYS, "as_of", "reason"])
    sides = pa.concat_tables(
        [
            queue.select([*_KEYS, "as_of"]).append_column(
                "is_held_out", pa.array([False] * queue.num_rows, pa.bool_())
            ),
            left.select([*_KEYS, "as_of"]).append_column("is_held_out", pc.equal(left.column("reason"), "hold_out")),
        ]
    ).rename_columns([*_KEYS, "assigned_at", "is_held_out"])
    new = sides.join(known.select(_KEYS), _KEYS, join_type="left anti")
    predicted = scored.select([*_KEYS, "win_probability", "expected_value", "currency"])
    return conform(pa.concat_tables([known, conform(new.join(predicted, _KEYS, join_type="inner"), COHORT)]), COHORT)
