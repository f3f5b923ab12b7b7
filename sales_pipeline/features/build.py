"""From canonical tables to spine, features, outcomes and attributes as known strictly before an as-of.

Belongs here: the order of the SQL models, which landmarks a data set allows, and what is absent in it. Does not belong here: what a
feature means (`catalogue`), its computation (`sql/`), and whether it may be used (`leaks`).
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, Protocol

import pyarrow as pa
from sqlglot import exp

from sales_pipeline.contracts.canonical import CANONICAL_TABLES
from sales_pipeline.contracts.internal import OUTCOMES, SPINE
from sales_pipeline.domain.identifiers import digest_of
from sales_pipeline.domain.time import AsOf
from sales_pipeline.engines.base import Engine, Source
from sales_pipeline.engines.compiler import Scalar
from sales_pipeline.features.catalogue import FAMILIES, FEATURE_TABLE, FEATURES, Feature
from sales_pipeline.features.params import FeatureParams
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.tables import TableRef

Purpose = Literal["scoring", "training"]
Mode = Literal["scoring", "grid", "creation", "undated"]

_PACKAGE = Path(__file__).parent
_SQL = _PACKAGE / "sql"
_PREPARATION = ("timeline", "current_facts", "closings", "open_spans")
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
_RESULTS = ("spine", "features", "attributes", "outcomes")


class CanonicalTables(Protocol):
    """What this stage needs of the canonical tables: all of them, by name, at rest."""

    @property
    def tables(self) -> Mapping[str, TableRef]:
        """Every table of contracts.canonical.CANONICAL_TABLES; empty where the exports have none."""
        ...


@dataclass(frozen=True)
class FeatureSet:
    """Features of one spine.

    `spine` (SPINE), `features` (catalogue.FEATURE_TABLE, the spine's rows in its order), `attributes` (OPPORTUNITY_ATTRIBUTES
    of the spine's opportunities, as last seen) and `outcomes` (OUTCOMES, of every opportunity known before `as_of`).
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
    it. Where no field is versioned and there are no activities, one landmark a microsecond after creation; where
    no creation is recorded either, one row per opportunity at `as_of` itself, closed ones too, with last seen values (which
    only the leak ledger can judge). Attributes and account facts are last seen values in every mode.
    """
    inputs: dict[str, Source] = {name: canonical.tables[name] for name in _USED_TABLES}
    digests = {name: canonical.tables[name].sha256 for name in _USED_TABLES}
    key = digest_of("features", purpose, as_of.isoformat(), params.model_dump(), digests, code_digest(), engine.dialect)

    def make(folder: Path) -> dict[str, Any]:
        facts = _facts(engine, inputs, canonical)
        mode = _mode(purpose, facts, canonical)
        absent = _absent(facts)
        refs = _run(engine, inputs, folder, as_of, mode, params, absent)
        return {
            "mode": mode,
            "absent": absent,
            "versioned": sorted(name.removeprefix("history.") for name in facts if name.startswith("history.")),
            "tables": {name: ref.to_dict() | {"path": Path(ref.path).name} for name, ref in refs.items()},
        }

    folder, facts = lake.step("features", key, make)
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


@functools.cache
def code_digest() -> str:
    """A digest of this package's models and code and of the engines' macros: a change of either makes a new step."""
    digest = hashlib.sha256()
    macros = _PACKAGE.parent / "engines" / "macros"
    for path in sorted([*_SQL.glob("*.sql"), *macros.glob("*.sql"), _PACKAGE / "build.py", _PACKAGE / "catalogue.py"]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _run(
    engine: Engine,
    inputs: Mapping[str, Source],
    folder: Path,
    as_of: AsOf,
    mode: Mode,
    params: FeatureParams,
    absent: Mapping[str, str],
) -> dict[str, TableRef]:
    """Run the models in order; intermediate tables are deleted at the end."""
    work = folder / "_work"
    known = dict(inputs) | {"grid": _grid(engine, inputs, as_of, mode, params)}
    parameters: dict[str, Scalar] = {
        "as_of": as_of.instant,
        "mode": mode,
        "max_landmarks": params.max_landmarks_per_opportunity,
        "owner_prior_weight": params.owner_prior_weight,
        "account_prior_weight": params.account_prior_weight,
        "product_prior_weight": params.product_prior_weight,
    }

    def run(name: str, target: Path, **options: Any) -> TableRef:
        ref = engine.run(_SQL / f"{name}.sql", known, target / f"{name}.parquet", parameters=parameters, **options)
        known[name] = ref
        return ref

    for name in _PREPARATION:
        run(name, work)
    refs = {
        "spine": run("spine", folder, contract=SPINE),
        "outcomes": run("outcomes", folder, contract=OUTCOMES),
        "attributes": run("attributes", folder, contract=CANONICAL_TABLES["opportunity_attributes"]),
    }
    run("overall_record", work)
    present = [feature for feature in FEATURES if feature.name not in absent]
    families = [family for family in FAMILIES if any(feature.family == family for feature in present)]
    for family in families:
        run(family, work)
    refs["features"] = engine.run(
        wide(present, families), known, folder / "features.parquet", contract=FEATURE_TABLE, parameters=parameters
    )
    for path in sorted(work.iterdir()):
        path.unlink()
    work.rmdir()
    return {name: refs[name] for name in _RESULTS}


def wide(present: list[Feature], families: list[str]) -> exp.Select:
    """The join of the families onto the spine; features that are not present become NULL columns."""
    names = {feature.name for feature in present}
    tree = exp.select(
        exp.column("opportunity_id", table="spine"),
        exp.column("as_of", table="spine"),
        *(
            exp.alias_(
                exp.column(feature.name, table=feature.family) if feature.name in names else exp.Null(), feature.name
            )
            for feature in FEATURES
        ),
    ).from_("spine")
    for family in families:
        condition = exp.and_(
            *(
                exp.column(part, table=family).eq(exp.column(part, table="spine"))
                for part in ("opportunity_id", "as_of")
            )
        )
        tree = tree.join(exp.to_table(family), on=condition, join_type="left")
    return tree


def _grid(engine: Engine, inputs: Mapping[str, Source], as_of: AsOf, mode: Mode, params: FeatureParams) -> pa.Table:
    """The as-ofs asked for: one column `as_of`; one row except for the training grid."""
    instants = [as_of.instant]
    if mode == "grid":
        first = engine.query(
            exp.select(exp.alias_(exp.Min(this=exp.column("created_at")), "first")).from_("opportunities"), inputs
        )["first"][0].as_py()
        step = timedelta(days=params.landmark_every_days)
        count = 0 if first is None else max(0, (as_of.instant - first) // step)
        instants = [as_of.instant - step * number for number in range(count, 0, -1)]
    return pa.table({"as_of": pa.array(instants, pa.timestamp("us", tz="UTC"))})


def _facts(engine: Engine, inputs: Mapping[str, Source], canonical: CanonicalTables) -> dict[str, int]:
    """What the data set has: rows by `table`, filled cells by `table.column`, and 1 by `history.field` where versioned."""
    facts = {name: canonical.tables[name].rows for name in _USED_TABLES}
    wanted = sorted(
        {need for feature in FEATURES for need in feature.needs if "." in need and not need.startswith("history.")}
    )
    for table in sorted({need.split(".")[0] for need in wanted}):
        columns = [need.split(".")[1] for need in wanted if need.startswith(f"{table}.")]
        counts = exp.select(*(exp.alias_(exp.Count(this=exp.column(name)), name) for name in columns)).from_(table)
        row = engine.query(counts, inputs).to_pylist()[0]
        facts |= {f"{table}.{name}": int(count) for name, count in row.items()}
    history = engine.query(exp.select("field", "is_versioned").from_("field_history"), inputs).to_pylist()
    if facts["opportunity_changes"]:
        facts |= {f"history.{row['field']}": 1 for row in history if row["is_versioned"]}
    return facts


def _mode(purpose: Purpose, facts: Mapping[str, int], canonical: CanonicalTables) -> Mode:
    if purpose == "scoring":
        return "scoring"
    if not facts["opportunities.created_at"]:
        return "undated"
    is_versioned = any(name.startswith("history.") for name in facts)
    return "grid" if is_versioned or canonical.tables["activities"].rows else "creation"


_MISSING = {
    "activities": "no activities: engagement features absent",
    "planned_activities.logged_at": "no planned activities with the day they were planned",
    "opportunities.created_at": "no creation instants",
    "opportunities.closed_at": "no closing instants",
}


def _absent(facts: Mapping[str, int]) -> dict[str, str]:
    """Reason by feature for those this data set cannot have."""
    is_static = facts["opportunities.created_at"] == 0 or not (
        facts["activities"] or any(name.startswith("history.") for name in facts)
    )
    absent: dict[str, str] = {}
    for feature in FEATURES:
        missing = next((need for need in feature.needs if not facts.get(need)), None)
        if missing is not None:
            field = missing.removeprefix("history.")
            default = f"no history of {field}" if missing.startswith("history.") else f"no value in {missing}"
            absent[feature.name] = _MISSING.get(missing, default)
        elif is_static and not feature.at_creation:
            absent[feature.name] = "no history and no activities: only what is known at creation remains"
    return absent
