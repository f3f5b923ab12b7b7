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
from sales_pipeline.features.sql_models import inputs_of, model, with_model
from sales_pipeline.lake.layout import Lake

ACTIVITY_COLUMNS = ("activity_id", "opportunity_id", "contact_id", "kind", "direction", "occurred_at", "logged_at")
"""What is asked about an activity of an open opportunity; reading all columns takes twice as long."""
STATE_COLUMNS = ("opportunity_id", "changed_at", "position", "next_changed_at", "state", "amount")
"""What is asked about a state of an opportunity that may have been closed long ago."""
STAY_COLUMNS = (*STATE_COLUMNS, "is_state_entry", "owner_id", "stage", "stage_entered_at", "first_amount")
"""The same, where stages are asked about too."""
OUTCOME_COLUMNS = (
    "opportunity_id",
    "account_id",
    "created_at",
    "modified_at",
    "closed_at",
    "state",
    "currency",
    "amount",
    "has_timeline",
    "has_amount_history",
)
"""What is asked about such an opportunity."""
_BEFORE = exp.column("changed_at") < exp.Placeholder(this="as_of")
_AFTER = exp.or_(
    exp.column("next_changed_at").is_(exp.Null()), exp.column("next_changed_at") >= exp.Placeholder(this="as_of")
)
STANDS = exp.or_(exp.column("position").eq(1), exp.and_(_BEFORE, _AFTER))
"""The changes that scoring asks about: the first, which says that there are any, and the one that holds at the as-of."""


@contextmanager
def scoring_inputs(
    lake: Lake, canonical: CanonicalTables, as_of: AsOf, engine: Engine
) -> Iterator[tuple[Mapping[str, Source], Mapping[str, Source]]]:
    """What scoring features are made from besides canonical tables, by name, until the block ends: of all opportunities, and what takes its place
    once only those open at `as_of` are asked for.

    Of all: `timeline` (at least the first change of each and the one that holds at `as_of`, with STATE_COLUMNS), `current_facts` (OUTCOME_COLUMNS),
    `closings`. Of those that may be open: `timeline` and `current_facts` whole, `open_spans`, `activities` (ACTIVITY_COLUMNS); empty where all of it is
    said of all.
    """
    tables = canonical.tables
    if is_prepared(lake, tables, engine):
        yield prepared(lake, tables, engine), {}
        return
    at = {"as_of": as_of.instant}
    with _held(engine) as held:
        whole = held.at_rest(kept(lake, canonical, engine), STATE_COLUMNS, STANDS, at)
        facts = exp.select(*OUTCOME_COLUMNS).from_(model("current_facts").subquery("f"))
        whole["current_facts"] = held.facts({**tables, **whole}, facts)
        chosen = held.run("may_be_open", whole, parameters=at)
        few: dict[str, Source] = {"activities": held.among(chosen, tables["activities"], ACTIVITY_COLUMNS)}
        opportunities = held.among(chosen, tables["opportunities"])
        few["current_facts"] = held.facts({**tables, **whole, "opportunities": opportunities})
        changes = held.among(chosen, tables["opportunity_changes"])
        few["timeline"] = held.hold(with_model(model("timeline"), "states"), {"opportunity_changes": changes})
        few["open_spans"] = held.run("open_spans", few)
        yield whole, few


def stays_of_all(lake: Lake, canonical: CanonicalTables, engine: Engine) -> Mapping[str, Source | exp.Query]:
    """Of all opportunities, by name: `timeline` (of its columns at least STAY_COLUMNS), `current_facts`, `closings`: tables, or queries over tables named
    beside them (`sql_models.written_out`)."""
    at_rest = kept(lake, canonical, engine)
    found: dict[str, Source | exp.Query] = {"current_facts": model("current_facts")}
    for name, columns in (("timeline", STAY_COLUMNS), ("closings", ("*",))):
        found[name] = at_rest.of_all[name]
        if at_rest.changed.rows:
            tree, inputs = at_rest.rows(name, *columns)
            for table in tree.find_all(exp.Table):
                table.set("this", exp.to_identifier(f"{name}_{table.name}"))
            found |= {f"{name}_{own}": source for own, source in inputs.items()} | {name: tree}
    return found


class _Held:
    """Results of models that the engine holds until the block ends."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.tables: list[WorkTable] = []

    def run(
        self, name: str, known: Mapping[str, Source], *, parameters: Mapping[str, Scalar] | None = None
    ) -> WorkTable:
        """A model's result."""
        tree = model(name)
        return self.hold(tree, inputs_of(tree, known), parameters=parameters)

    def at_rest(
        self,
        at_rest: Kept,
        columns: Sequence[str],
        which: exp.Expr | None = None,
        parameters: Mapping[str, Scalar] | None = None,
    ) -> dict[str, Source]:
        """`timeline` with at least those columns of those rows, and `closings`: as they lie where nothing has changed since they were made."""
        if not at_rest.changed.rows:
            return dict(at_rest.of_all)
        made: dict[str, Source] = {}
        for name, names, test in (("timeline", columns, which), ("closings", ("*",), None)):
            tree, inputs = at_rest.rows(name, *names)
            tree = tree if test is None else exp.select("*").from_(tree.subquery("r")).where(test)
            cut = Cut("opportunity_id", ("whole", "renewed", "changed"))
            made[name] = self.hold(tree, inputs, cut=cut, parameters=parameters)
        return made

    def facts(self, known: Mapping[str, Source], tree: exp.Query | None = None) -> WorkTable:
        """`current_facts` of the opportunities known, as a query over the model where one is given."""
        tree = tree if tree is not None else model("current_facts")
        return self.hold(tree, inputs_of(tree, known), cut=Cut("opportunity_id", PREPARED["current_facts"][1]))

    def among(self, chosen: WorkTable, rows: Source, columns: Sequence[str] = ("*",)) -> WorkTable:
        """The rows of the chosen opportunities."""
        is_chosen = exp.column("opportunity_id").isin(query=exp.select("opportunity_id").from_("chosen"))
        tree = exp.select(*columns).from_("whole").where(is_chosen)
        return self.hold(tree, {"whole": rows, "chosen": chosen})

    def hold(
        self,
        tree: exp.Query,
        inputs: Mapping[str, Source],
        *,
        cut: Cut | None = None,
        parameters: Mapping[str, Scalar] | None = None,
    ) -> WorkTable:
        """A query's result."""
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
