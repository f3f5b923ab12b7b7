"""The effect of a contact at rest: learnt by the weekly training, read by the queue of later days.

Belongs here: keeping and finding it. Does not belong here: learning it (follow_up.effects).
"""

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sales_pipeline.domain.identifiers import digest_of
from sales_pipeline.domain.time import AsOf
from sales_pipeline.lake.layout import Lake

if TYPE_CHECKING:
    import pyarrow as pa

    from sales_pipeline.clean.prepare import Canonical
    from sales_pipeline.engines.base import Engine
    from sales_pipeline.features.build import FeatureSet
    from sales_pipeline.follow_up.effect_params import ContactEffectParams
    from sales_pipeline.follow_up.effects import EffectModel
    from sales_pipeline.follow_up.gain import Effect
    from sales_pipeline.models.store import Recorder

STAGE = "contact_effects"
MODEL_FILE = "contact_effect.json"
RUN_NAME = "contact-effect"


@dataclass(frozen=True)
class EffectRef:
    """An effect model at rest by its key, and what decided over it."""

    key: str
    method: str
    why: str
    trained_through: str


def learn(
    lake: Lake, canonical: "Canonical", features: "FeatureSet", params: "ContactEffectParams", engine: "Engine"
) -> tuple[str, "EffectModel"]:
    """The effect model of a training day and its key; learnt once per canonical tables, outcomes, parameters and code."""
    from sales_pipeline.features.preparation import prepared
    from sales_pipeline.follow_up import effects
    from sales_pipeline.follow_up.weeks import choose, contact_weeks
    from sales_pipeline.lake.tables import read_table

    as_of = features.as_of

    def build(folder: Path) -> dict[str, Any]:
        if not features.has_history:
            model = effects.nothing_claimed("no history of stages: who was open when is not known", as_of)
        elif not canonical.tables["activities"].rows:
            model = effects.nothing_claimed("no activities are exported", as_of)
        else:
            chosen = choose(canonical.tables["opportunities"], params.max_opportunities)
            known = {**canonical.tables, **prepared(lake, canonical.tables, engine)}
            weeks = contact_weeks(
                known, features.outcomes, chosen, as_of, params.history_weeks, folder / "weeks", engine
            )
            model = effects.learn_effects(read_table(weeks), as_of, params)
            _clear(folder / "weeks")
        text = json.dumps(model.to_dict(), sort_keys=True, indent=1)
        (folder / MODEL_FILE).write_text(text + "\n", encoding="utf-8")
        facts = {"trained_through": model.trained_through, "method": model.method, "why": model.why}
        return facts | {"format": effects.FORMAT}

    parts = (canonical.key, features.outcomes.sha256, as_of.isoformat(), params.model_dump(), effects.code_digest())
    key = digest_of(STAGE, *parts)
    folder, _ = lake.step(STAGE, key, build)
    return key, _read(folder)


def newest_effect(lake: Lake, as_of: AsOf) -> str | None:
    """The key of the model trained through the latest instant not after `as_of`; of several the last by key; None where there is none.

    Models written in another format are as if they were not there.
    """
    folder = lake.root / STAGE
    if not folder.is_dir():
        return None
    from sales_pipeline.follow_up.effects import FORMAT
    from sales_pipeline.lake.layout import STEP_FILE

    found = []
    for path in sorted(folder.iterdir()):
        facts = json.loads((path / STEP_FILE).read_text(encoding="utf-8")) if (path / STEP_FILE).is_file() else {}
        if facts.get("format") == FORMAT and datetime.fromisoformat(facts["trained_through"]) <= as_of.instant:
            found.append((facts["trained_through"], path.name))
    return max(found)[1] if found else None


def effects_now(
    lake: Lake,
    key: str | None,
    open_opportunities: "pa.Table",
    canonical: "Canonical",
    features: "FeatureSet",
    folder: Path,
    engine: "Engine",
) -> "dict[str, Effect]":
    """The estimated effect of a contact now by opportunity; nothing where nothing is claimed."""
    if key is None:
        return {}
    model = _read(lake.step_path(STAGE, key))
    if model.signs is None or not open_opportunities.num_rows:
        return {}
    from sales_pipeline.features.standing import scoring_inputs
    from sales_pipeline.follow_up.gain import Effect
    from sales_pipeline.follow_up.weeks import LAGS, contact_weeks
    from sales_pipeline.lake.tables import read_table

    chosen = open_opportunities.column("opportunity_id").to_pylist()
    as_of = features.as_of
    with scoring_inputs(lake, canonical, as_of, engine) as (whole, few):
        known = {**canonical.tables, **whole, **few}
        weeks = contact_weeks(known, features.outcomes, chosen, as_of, LAGS, folder, engine)
    found = model.estimate(read_table(weeks), as_of)
    _clear(folder)
    return {name: Effect(one.log_odds, one.low, one.high, model.by_kind) for name, one in found.items()}


def record(recorder: "Recorder", model: "EffectModel", tags: dict[str, str]) -> str | None:
    """The model as a run of the tracker: figures, and the facts as a document. Returns the tracker's run id."""
    facts = model.facts
    metrics: dict[str, float] = {}
    for name in ("adjusted_effect", "average_effect", "placebo_replies_before"):
        for part in ("value", "error"):
            if name in facts:
                metrics[f"{name}_{part}"] = float(facts[name][part])
    for name in ("rows", "opportunities", "first_stage_f", "over_identification_p", "spread_of_differences"):
        if name in facts:
            metrics[name] = float(facts[name])
    with recorder.training(RUN_NAME, tags) as run:
        run.log(
            params={"method": model.method, "trained_through": model.trained_through},
            metrics=metrics,
            tags={"why": model.why},
            documents={MODEL_FILE: model.to_dict()},
        )
        return run.run_id


def figures(model: "EffectModel") -> dict[str, Any]:
    """What Dagster shows of a model."""
    facts = model.facts
    shown = ("rows", "average_effect", "adjusted_effect", "placebo_replies_before", "overlap_and_balance", "by_kind")
    return {"method": model.method, "why": model.why} | {name: facts[name] for name in shown if name in facts}


def _read(folder: Path) -> "EffectModel":
    from sales_pipeline.follow_up.effects import EffectModel

    return EffectModel.from_dict(json.loads((folder / MODEL_FILE).read_text(encoding="utf-8")))


def _clear(folder: Path) -> None:
    """Intermediate tables of a step are not kept."""
    import shutil

    shutil.rmtree(folder)
