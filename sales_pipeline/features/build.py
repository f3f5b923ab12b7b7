"""From canonical tables to spine, features, outcomes and attributes as known strictly before an as-of.

Belongs here: the order of the SQL models, which landmarks a data set allows, and what is absent in it. Does not belong here: what a
feature means (`catalogue`), its computation (`sql/`), and whether it may be used (`leaks`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from sqlglot import exp

from sales_pipeline.contracts.canonical import CANONICAL_TABLES
from sales_pipeline.contracts.internal import OUTCOMES, SPINE, TOUCHES
from sales_pipeline.contracts.model import Table
from sales_pipeline.domain.identifiers import digest_of
from sales_pipeline.domain.time import AsOf
from sales_pipeline.engines.base import Cut, Engine, Source, WorkTable
from sales_pipeline.engines.compiler import Scalar
from sales_pipeline.features.availability import Mode, Purpose, look
from sales_pipeline.features.catalogue import FEATURE_TABLE, FEATURES
from sales_pipeline.features.kept import CanonicalTables
from sales_pipeline.features.params import FeatureParams
from sales_pipeline.features.preparation import prepared
from sales_pipeline.features.sql_models import code_digest, inputs_of, model
from sales_pipeline.features.standing import scoring_inputs
from sales_pipeline.features.wide import wide
from sales_pipeline.lake.layout import STEP_FILE, Lake
from sales_pipeline.lake.tables import TableRef

_USED_TABLES = (
    "opportunities",
    "opportunity_changes",
    "field_history",
    "activities",
    "planned_activities",
    "accounts",
    "owners",
    "products",
    "opportunity_attributes",
)
CUTS: Mapping[str, Cut] = {
    "spine": Cut("opportunity_id", ("current_facts", "timeline")),
    "outcomes": Cut("opportunity_id", ("current_facts", "timeline", "closings")),
    "attributes": Cut("opportunity_id", ("opportunity_attributes", "spine")),
    "features": Cut("opportunity_id", ("spine", "timeline", "opportunities", "activities", "planned_activities")),
    "touches": Cut("opportunity_id", ("spine", "activities")),
    "account_counts": Cut("account_id", ("closings", "open_spans", "spine")),
}
"""How models may be run in parts: an opportunity's rows need no other opportunity's, and an account's no other account's."""
RECORDS = ("overall_record", "owner_counts", "account_counts", "product_counts")
"""Models of which families read the results for all opportunities at once; the first is read by the others' families. Where there is one as-of, a model of
the same rows (`<name>_now`) adds up what was before it; for many as-ofs events and questions are put in one order instead."""


@dataclass(frozen=True)
class FeatureSet:
    """Features of one spine.

    `spine` (SPINE), `features` (catalogue.FEATURE_TABLE, the spine's rows in its order), `attributes` (OPPORTUNITY_ATTRIBUTES
    of the spine's opportunities, as last seen) and `outcomes` (OUTCOMES, of every opportunity known before `as_of`).
    `touches` (TOUCHES) are there for scoring alone: the queue asks for them of the rows features are counted from, so that activities are read once for both.
    `absent` maps the features this data set cannot have to the reason; their columns are NULL. `mode` says how the
    spine was made; `has_history` that past stages are known. `versioned` names the fields whose past values are known.
    """

    key: str
    as_of: AsOf
    purpose: Purpose
    mode: Mode
    spine: TableRef
    features: TableRef
    attributes: TableRef
    outcomes: TableRef
    absent: dict[str, str]
    has_history: bool
    versioned: tuple[str, ...]
    touches: TableRef | None = None

    @property
    def usable(self) -> tuple[str, ...]:
        """The features that are there, in catalogue order."""
        return tuple(feature.name for feature in FEATURES if feature.name not in self.absent)


def build(
    lake: Lake,
    canonical: CanonicalTables,
    as_of: AsOf,
    *,
    purpose: Purpose,
    params: FeatureParams,
    engine: Engine,
) -> FeatureSet:
    """Build (or find in the lake) the features of one as-of.

    Scoring: one row per opportunity open at `as_of`, not removed before it, created before it or at an unknown instant.
    Training: landmarks strictly before `as_of` of opportunities then open, on a grid of `landmark_every_days` counted back from
    it and on `random_landmark_dates` days drawn at random. Where no field is versioned and there are no activities, one landmark a microsecond after creation; where
    no creation is recorded either, one row per opportunity at `as_of` itself, closed ones too, with last seen values (which
    only the leak ledger can judge). Attributes and account facts are last seen values in every mode.
    """
    inputs: dict[str, Source] = {name: canonical.tables[name] for name in _USED_TABLES}
    digests = {name: canonical.tables[name].sha256 for name in _USED_TABLES}
    key = digest_of("features", purpose, as_of.isoformat(), params.model_dump(), digests, code_digest(), engine.dialect)

    def make(folder: Path) -> dict[str, Any]:
        with _past(lake, canonical, as_of, purpose, engine) as (whole, few):
            run = _Run(engine, {**inputs, **whole}, folder, as_of, params)
            available = look(engine, run.known, as_of.instant)
            mode, absent = available.mode(purpose), available.absent()
            refs = run.all(mode, absent, few)
        return {
            "mode": mode,
            "absent": absent,
            "versioned": available.versioned,
            "tables": {name: ref.to_dict() | {"path": Path(ref.path).name} for name, ref in refs.items()},
        }

    folder, facts = lake.step("features", key, make)
    return _feature_set(folder, facts, key, as_of, purpose)


@contextmanager
def _past(
    lake: Lake, canonical: CanonicalTables, as_of: AsOf, purpose: Purpose, engine: Engine
) -> Iterator[tuple[Mapping[str, Source], Mapping[str, Source]]]:
    """What the models read besides canonical tables, as `standing.scoring_inputs` says; landmarks ask all of it of all opportunities."""
    if purpose == "training":
        yield prepared(lake, canonical.tables, engine), {}
        return
    with scoring_inputs(lake, canonical, as_of, engine) as inputs:
        yield inputs


def find(lake: Lake, key: str, as_of: AsOf, purpose: Purpose) -> FeatureSet | None:
    """The features of that key (a model card's `data_digest`) where the lake still keeps them, else None.

    `as_of` and `purpose` are those it was built for, which the caller knows.
    """
    path = lake.step_path("features", key) / STEP_FILE
    if not path.is_file():
        return None
    return _feature_set(path.parent, json.loads(path.read_text(encoding="utf-8")), key, as_of, purpose)


def _feature_set(folder: Path, facts: Mapping[str, Any], key: str, as_of: AsOf, purpose: Purpose) -> FeatureSet:
    refs = {
        name: TableRef.from_dict(data | {"path": str(folder / data["path"])}) for name, data in facts["tables"].items()
    }
    versioned = tuple(facts["versioned"])
    return FeatureSet(
        key=key,
        as_of=as_of,
        purpose=purpose,
        mode=facts["mode"],
        absent=facts["absent"],
        has_history="stage" in versioned,
        versioned=versioned,
        **refs,
    )


class _Run:
    """The SQL models of one feature set, in order; what only features read is held by the engine until they are there."""

    def __init__(
        self, engine: Engine, inputs: Mapping[str, Source], folder: Path, as_of: AsOf, params: FeatureParams
    ) -> None:
        self.engine = engine
        self.folder = folder
        self.as_of = as_of
        self.params = params
        self.known: dict[str, Source] = dict(inputs)
        self.parameters: dict[str, Scalar] = {
            "as_of": as_of.instant,
            "max_landmarks": params.max_landmarks_per_opportunity,
            "owner_prior_weight": params.owner_prior_weight,
            "account_prior_weight": params.account_prior_weight,
            "product_prior_weight": params.product_prior_weight,
        }

    def all(self, mode: Mode, absent: Mapping[str, str], few: Mapping[str, Source]) -> dict[str, TableRef]:
        """The results, by name. `few` takes the place of what is known of all opportunities where only those on the spine are asked for."""
        self.parameters["mode"] = mode
        self.known["grid"] = grid = self._grid(mode)
        self.parameters["is_thinned"] = grid.num_rows > self.params.max_landmarks_per_opportunity
        refs = {"outcomes": self._result("outcomes", model("outcomes"), OUTCOMES)}
        self.known |= few
        refs["spine"] = self._result("spine", model("spine"), SPINE)
        refs["attributes"] = self._result("attributes", model("attributes"), CANONICAL_TABLES["opportunity_attributes"])
        if mode == "scoring":
            refs["touches"] = self._result("touches", model("touches"), TOUCHES)
        tree = wide([feature for feature in FEATURES if feature.name not in absent])
        read = {table.name for table in tree.find_all(exp.Table)}
        held = [self._record(name, mode) for name in RECORDS if name in read]
        refs["features"] = self._result("features", tree, FEATURE_TABLE)
        for table in held:
            self.engine.release(table)
        return refs

    def _result(self, name: str, tree: exp.Query, contract: Table) -> TableRef:
        self.known[name] = ref = self.engine.run(
            tree,
            inputs_of(tree, self.known),
            self.folder / f"{name}.parquet",
            contract=contract,
            parameters=self.parameters,
            cut=CUTS[name],
        )
        return ref

    def _record(self, name: str, mode: Mode) -> WorkTable:
        tree = model(f"{name}_now" if mode == "scoring" else name)
        inputs = inputs_of(tree, self.known)
        self.known[name] = table = self.engine.hold(tree, inputs, parameters=self.parameters, cut=CUTS.get(name))
        return table

    def _grid(self, mode: Mode) -> pa.Table:
        """The as-ofs asked for: one column `as_of`; one row except for the training grid."""
        instants = [self.as_of.instant]
        if mode == "grid":
            earliest = exp.select(exp.alias_(exp.Min(this=exp.column("created_at")), "first")).from_("opportunities")
            first = self.engine.query(earliest, {"opportunities": self.known["opportunities"]})["first"][0].as_py()
            step = timedelta(days=self.params.landmark_every_days)
            instants = [self.as_of.instant - step * k for k in range((self.as_of.instant - first) // step, 0, -1)]
            instants = sorted({*instants, *self._random_dates(first)})
        return pa.table({"as_of": pa.array(instants, pa.timestamp("us", tz="UTC"))})

    def _random_dates(self, first: datetime) -> list[datetime]:
        """Ends of days before the as-of, drawn without replacement from those after the first creation."""
        days = (self.as_of.instant - first).days - 1
        count = min(self.params.random_landmark_dates, max(days, 0))
        drawn = np.random.default_rng(self.params.landmark_seed).choice(max(days, 1), size=count, replace=False)
        return [self.as_of.instant - timedelta(days=int(day) + 1) for day in drawn]
