"""What a build of the canonical tables is given where it is a part of one, and what it hands over.

Belongs here: the hand-over between `prepare` and `incremental`. Does not belong here: how tables are built.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from sales_pipeline.clean import audits
from sales_pipeline.clean.attributes import Seen
from sales_pipeline.clean.columns import Column
from sales_pipeline.clean.params import CleanParams
from sales_pipeline.clean.rules import RuleCount
from sales_pipeline.engines.base import Engine, Source
from sales_pipeline.lake.tables import TableRef


@dataclass(frozen=True)
class Given:
    """What a build of a part of the records cannot find out by itself.

    `decided`: by name what was decided over whole tables; `whole`: canonical tables that models must see whole; `seen`: what the other records
    show of unmapped columns; `columns` gives the figures of unmapped columns over all records, by those of the part.
    """

    decided: Mapping[str, Any]
    whole: Mapping[str, Source] = field(default_factory=dict)
    seen: Seen = field(default_factory=Seen)
    columns: Callable[[Mapping[str, Column]], Mapping[str, Column]] = dict


@dataclass(frozen=True)
class Built:
    """Tables at rest by name, row_verdicts and cell_issues among them.

    `tallies` are figures from which decisions over whole tables follow, and which add up over parts; `tracking` holds the unmapped columns
    whose changes are known.
    """

    refs: dict[str, TableRef]
    counts: Sequence[RuleCount]
    facts: dict[str, Any]
    tallies: dict[str, Any]
    tracking: pa.Table


def step_facts(
    refs: Mapping[str, TableRef],
    counts: Sequence[RuleCount],
    facts: Mapping[str, Any],
    ledger: Source,
    params: CleanParams,
    engine: Engine,
    duplicates: Mapping[str, int] | None = None,
    additive: Mapping[str, Mapping[str, int]] | None = None,
) -> dict[str, Any]:
    """What the step of all tables says about them, JSON-able. `ledger`: what ingest said of every record; `duplicates` and `additive`: what is known of tables, as `table_facts` takes it."""
    return {
        "tables": {name: {"rows": ref.rows, "sha256": ref.sha256} for name, ref in sorted(refs.items())},
        "rules": [count.to_dict() for count in counts],
        "facts": {
            **facts,
            "tables": audits.table_facts(refs, ledger, engine, duplicates or {}, additive or {}),
            "limits": {"quarantined_share": params.max_quarantined_share},
            "batch_rows": params.validation_batch_rows,
        },
    }
