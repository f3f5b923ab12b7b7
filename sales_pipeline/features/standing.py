"""What a day that only scores reads of the past, without making for every opportunity what only the open ones need.

Of all opportunities scoring asks how they closed. How they moved, when they were open and what was done about them it asks of those that are open at
the as-of alone, which are few. So the models of `preparation` run here on less: the closings on the bare states, the others on the
rows of opportunities that may be open. What is computed from it is what the whole preparation gives, byte for byte.

Belongs here: those inputs, held by the engine. Does not belong here: the models (`sql/`), what is seen at an as-of (`build`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from sqlglot import exp

from sales_pipeline.domain.time import AsOf
from sales_pipeline.engines.base import Cut, Engine, Source, WorkTable
from sales_pipeline.features.preparation import PREPARED, READ
from sales_pipeline.features.sql_models import inputs_of, model
from sales_pipeline.lake.tables import TableRef


@contextmanager
def standing(
    canonical: Mapping[str, TableRef], as_of: AsOf, engine: Engine
) -> Iterator[tuple[dict[str, Source], dict[str, Source]]]:
    """Inputs of the scoring features by name, until the block ends: of all opportunities, and of those that may be open at `as_of`.

    Of all: `timeline` (without the columns that count what has happened), `current_facts`, `closings`. Of those that may be open: `timeline` whole,
    `current_facts`, `open_spans`, `activities`.
    """
    held: list[WorkTable] = []

    def hold(name: str, known: Mapping[str, Source], cut: Cut | None = None) -> WorkTable:
        tree = model(name)
        held.append(engine.hold(tree, inputs_of(tree, known), parameters={"as_of": as_of.instant}, cut=cut))
        return held[-1]

    def narrow(rows: Source, chosen: WorkTable) -> WorkTable:
        among = exp.column("opportunity_id").isin(query=exp.select("opportunity_id").from_("chosen"))
        tree = exp.select("*").from_("whole").where(among)
        held.append(engine.hold(tree, {"whole": rows, "chosen": chosen}))
        return held[-1]

    try:
        whole: dict[str, Source] = {name: canonical[name] for name in READ}
        whole["timeline"] = hold("states", whole, Cut("opportunity_id", ("opportunity_changes",)))
        for name in ("current_facts", "closings"):
            whole[name] = hold(name, whole, Cut("opportunity_id", PREPARED[name][1]))
        chosen = hold("may_be_open", whole)
        states = narrow(whole["timeline"], chosen)
        few: dict[str, Source] = {
            "current_facts": narrow(whole["current_facts"], chosen),
            "activities": narrow(canonical["activities"], chosen),
        }
        few["open_spans"] = hold("open_spans", few | {"timeline": states})
        few["timeline"] = hold("timeline", {"states": states})
        yield whole, few
    finally:
        for table in held:
            engine.release(table)
