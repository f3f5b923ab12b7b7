"""What the canonical tables say of opportunities over time, whatever the as-of: made once, and shared by every build from the same tables.

Training, the landmarks of a replay, the days of a backfill, the weeks of contacts and the team's table all start from these, and scoring where they are
there. No model here takes a parameter, so none of them can know of an as-of; each table is ordered by a key, so equal inputs give equal bytes.

Belongs here: those models and their step in the lake. Does not belong here: what is seen at an as-of (`build`), what a day that only scores reads
instead (`standing`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sales_pipeline.domain.identifiers import digest_of
from sales_pipeline.engines.base import Cut, Engine, Source
from sales_pipeline.features.sql_models import code_digest, inputs_of, model, with_model
from sales_pipeline.lake.layout import STEP_FILE, Lake
from sales_pipeline.lake.tables import TableRef

PREPARED: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "timeline": (("opportunity_id", "position"), ("opportunity_changes",)),
    "current_facts": (("opportunity_id",), ("opportunities", "timeline")),
    "closings": (("opportunity_id", "closed_at"), ("timeline", "current_facts")),
    "open_spans": (("opportunity_id", "started_at"), ("timeline", "current_facts")),
}
"""The models in their order, each with the key its rows are ordered by, and the tables of which an opportunity's rows need no other's."""
READ = ("opportunities", "opportunity_changes", "field_history")
"""The canonical tables they are made from."""


def prepared(lake: Lake, canonical: Mapping[str, TableRef], engine: Engine) -> dict[str, TableRef]:
    """The tables of PREPARED by name, built or found in the lake; what a row is says each model's head."""

    def make(folder: Path) -> dict[str, Any]:
        made = prepare_into(folder, canonical, engine)
        return {name: ref.to_dict() | {"path": Path(ref.path).name} for name, ref in made.items()}

    folder, facts = lake.step("features", _key(canonical, engine), make)
    return {name: TableRef.from_dict(data | {"path": str(folder / data["path"])}) for name, data in facts.items()}


def is_prepared(lake: Lake, canonical: Mapping[str, TableRef], engine: Engine) -> bool:
    """Whether `prepared` would find its tables in the lake."""
    return (lake.step_path("features", _key(canonical, engine)) / STEP_FILE).is_file()


def _key(canonical: Mapping[str, TableRef], engine: Engine) -> str:
    digests = {name: canonical[name].sha256 for name in READ}
    return digest_of("preparation", digests, code_digest(), engine.dialect)


def prepare_into(folder: Path, canonical: Mapping[str, TableRef], engine: Engine) -> dict[str, TableRef]:
    """Run the models into a folder."""
    known: dict[str, Source] = {name: canonical[name] for name in READ}
    made: dict[str, TableRef] = {}
    for name, (key, cut) in PREPARED.items():
        tree = with_model(model(name), "states") if name == "timeline" else model(name)
        output = folder / f"{name}.parquet"
        ref = engine.run(tree, inputs_of(tree, known), output, order_by=key, cut=Cut("opportunity_id", cut))
        known[name] = made[name] = ref
    return made
