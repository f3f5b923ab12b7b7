"""What a day that trains nothing reads of the past, without making for every opportunity what only the open ones need.

Of all opportunities such a day asks where they stood and how they closed. How they moved, when they were open and what was done about them it asks of
those that are open at the as-of alone, which are few. So the models of `preparation` run here on less: the closings on the bare states, the
others on the rows of opportunities that may be open. What is computed from it is what the whole preparation gives, byte for byte; where that lies in the
lake already, it is read instead.

Belongs here: those inputs, held by the engine for as long as they are read. Does not belong here: the models (`sql/`), what is seen at an as-of (`build`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from sqlglot import exp

from sales_pipeline.domain.time import AsOf
from sales_pipeline.engines.base import Cut, Engine, Source, WorkTable
from sales_pipeline.engines.compiler import Scalar
from sales_pipeline.features.kept import CanonicalTables, Kept, kept
from sales_pipeline.features.preparation import PREPARED, is_prepared, prepared
from sales_pipeline.features.sql_models import inputs_of, model
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.tables import TableRef

ACTIVITY_COLUMNS = ("opportunity_id", "contact_id", "kind", "direction", "occurred_at", "logged_at")
"""What is asked about an activity of an open opportunity; reading all columns takes twice as long."""
STATE_COLUMNS = (
    "opportunity_id",
    "changed_at",
    "position",
    "next_changed_at",
    "state",
    "is_state_entry",
    "amount",
    "owner_id",
)
"""What is asked about a state of an opportunity that may have been closed long ago."""
STAY_COLUMNS = (*STATE_COLUMNS, "stage", "stage_entered_at", "first_amount")
"""The same, where stages are asked about too."""


@contextmanager
def scoring_inputs(
    lake: Lake, canonical: CanonicalTables, as_of: AsOf, engine: Engine
) -> Iterator[tuple[Mapping[str, Source], Mapping[str, Source]]]:
    """What scoring features are made from besides canonical tables, by name, until the block ends: of all opportunities, and what takes its place
    once only those open at `as_of` are asked for.

    Of all: `timeline` (of its columns at least STATE_COLUMNS), `current_facts`, `closings`. Of those that may be open: `timeline` whole,
    `current_facts`, `open_spans`, `activities` (ACTIVITY_COLUMNS); empty where all of it is said of all.
    """
    tables = canonical.tables
    if is_prepared(lake, tables, engine):
        yield prepared(lake, tables, engine), {}
        return
    with _held(engine) as held:
        whole = held.of_all(kept(lake, canonical, engine), tables, STATE_COLUMNS)
        chosen = held.run("may_be_open", whole, parameters={"as_of": as_of.instant})
        states = held.run("states", {"opportunity_changes": held.among(chosen, tables["opportunity_changes"])})
        few: dict[str, Source] = {
            "current_facts": held.among(chosen, whole["current_facts"]),
            "activities": held.among(chosen, tables["activities"], ACTIVITY_COLUMNS),
        }
        few["open_spans"] = held.run("open_spans", few | {"timeline": states})
        few["timeline"] = held.run("timeline", {"states": states})
        yield whole, few


@contextmanager
def stays_of_all(lake: Lake, canonical: CanonicalTables, engine: Engine) -> Iterator[Mapping[str, Source]]:
    """Of all opportunities, by name, until the block ends: `timeline` (of its columns at least STAY_COLUMNS), `current_facts`, `closings`."""
    with _held(engine) as held:
        yield held.of_all(kept(lake, canonical, engine), canonical.tables, STAY_COLUMNS)


@contextmanager
def closings_of_all(lake: Lake, canonical: CanonicalTables, engine: Engine) -> Iterator[Mapping[str, Source]]:
    """The same without `timeline`."""
    with _held(engine) as held:
        found = held.of_all(kept(lake, canonical, engine), canonical.tables, ("opportunity_id", "position"))
        yield {name: table for name, table in found.items() if name != "timeline"}


class _Held:
    """Results of models that the engine holds until the block ends."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.tables: list[WorkTable] = []

    def run(
        self,
        name: str,
        known: Mapping[str, Source],
        *,
        cut: Cut | None = None,
        parameters: Mapping[str, Scalar] | None = None,
    ) -> WorkTable:
        """A model's result."""
        tree = model(name)
        return self._hold(tree, inputs_of(tree, known), parameters=parameters, cut=cut)

    def of_all(self, at_rest: Kept, canonical: Mapping[str, TableRef], columns: Sequence[str]) -> dict[str, Source]:
        """`timeline` with at least those columns, `current_facts`, `closings`: as they lie where nothing has changed since they were made."""
        made: dict[str, Source] = dict(at_rest.of_all)
        if at_rest.changed.rows:
            made = {
                name: self._hold(
                    *at_rest.rows(name, *names), cut=Cut("opportunity_id", ("whole", "renewed", "changed"))
                )
                for name, names in (("timeline", columns), ("closings", ("*",)))
            }
        made["current_facts"] = self.run(
            "current_facts", {**canonical, **made}, cut=Cut("opportunity_id", PREPARED["current_facts"][1])
        )
        return made

    def among(self, chosen: WorkTable, rows: Source, columns: Sequence[str] = ("*",)) -> WorkTable:
        """The rows of the chosen opportunities."""
        is_chosen = exp.column("opportunity_id").isin(query=exp.select("opportunity_id").from_("chosen"))
        tree = exp.select(*columns).from_("whole").where(is_chosen)
        return self._hold(tree, {"whole": rows, "chosen": chosen})

    def _hold(
        self,
        tree: exp.Query,
        inputs: Mapping[str, Source],
        *,
        cut: Cut | None = None,
        parameters: Mapping[str, Scalar] | None = None,
    ) -> WorkTable:
        self.tables.append(self._engine.hold(tree, inputs, parameters=parameters, cut=cut))
        return self.tables[-1]


@contextmanager
def _held(engine: Engine) -> Iterator[_Held]:
    held = _Held(engine)
    try:
        yield held
    finally:
        for table in held.tables:
            engine.release(table)
