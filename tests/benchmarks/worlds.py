"""Simulated worlds made ready for the benchmark of scores, and kept, so that a second look only trains.

A world goes the way a user's export goes: written as a Salesforce export, collected, cleaned, turned into features and a leak ledger. Beside
it stands the truth of the opportunities that were open when the export was written.

Belongs here: making and keeping worlds. Does not belong here: judging (`judging`), other models (`peers`).
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import sales_pipeline
from sales_pipeline.domain.time import AsOf
from sales_pipeline.features.build import FeatureSet
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.tables import TableRef, read_table
from sales_pipeline.settings import Settings, load_settings
from sales_pipeline.simulation.params import WorldParams

CONFIG = """source_system: bench
exports: export
lake: lake
start_date: 2024-01-01
mapping:
  dialect: salesforce
  currency: USD
"""
PREPARATION = ("contracts", "domain", "engines", "ingest", "clean", "features")
"""The packages a prepared world depends on: when their code changes, its features are made again."""

WORLDS: dict[str, Mapping[str, Any]] = {
    "usual": {"seed": 11},
    "hard to predict": {"seed": 23, "unseen_spread": 0.9},
    "growing fast": {"seed": 37, "growth": 4.0},
    "busy sellers": {"seed": 41, "contact_rate": 2.5, "unseen_spread": 0.2, "growth": 0.0},
    "short history": {"seed": 53, "start_on": date(2025, 1, 1), "contact_rate": 0.5, "max_age_weeks": 52},
}
"""Five worlds that differ in what makes scoring hard; the size is an argument of the benchmark."""


@dataclass(frozen=True)
class World:
    """A prepared world.

    `truth` has one row per opportunity open at the export's as-of, indexed by opportunity_id: `win_probability`, `win_probability_30d`,
    `win_probability_90d` and `expected_amount` (exact), `is_eventually_won`, `eventually_closed_on`, and `signed_amount`: one draw by the world's own law of
    what it would be signed for if won.
    """

    folder: Path
    params: WorldParams
    settings: Settings
    features_training: FeatureSet
    features_scoring: FeatureSet
    ledger: TableRef
    truth: pd.DataFrame

    @property
    def as_of_us(self) -> float:
        """The scoring as-of, microseconds since 1970-01-01 UTC."""
        return self.features_scoring.as_of.instant.timestamp() * 1e6


def world_params(name: str, opportunities: int) -> WorldParams:
    """One of `WORLDS` in a size."""
    return WorldParams(opportunities=opportunities, **WORLDS[name])


def prepare_world(folder: Path, params: WorldParams, *, as_prepared: bool = False) -> World:
    """The world in that folder, made where it is not there yet or was made with other parameters.

    Features are made again where the code behind them has changed since; `as_prepared` takes them as they are, and says so.
    """
    folder = folder.resolve()
    told = params.model_dump(mode="json", exclude_defaults=True)
    written = folder / "world.json"
    if not written.is_file() or json.loads(written.read_text(encoding="utf-8")) != told:
        from sales_pipeline.simulation.salesforce_export import write_export
        from sales_pipeline.simulation.world import simulate

        folder.mkdir(parents=True, exist_ok=True)
        (folder / "prepared.json").unlink(missing_ok=True)
        write_export(simulate(params), folder)
        (folder / "pipeline.yaml").write_text(CONFIG, encoding="utf-8")
        written.write_text(json.dumps(told), encoding="utf-8")
    settings = load_settings(folder / "pipeline.yaml")
    prepared = folder / "prepared.json"
    code = f"{_code_digest()} {settings.features} {settings.clean}"
    known = json.loads(prepared.read_text(encoding="utf-8")) if prepared.is_file() else None
    if known is not None and known["code"] != code and as_prepared:
        print(f"{folder}: features made by earlier code are taken as they are", file=sys.stderr)
    elif known is None or known["code"] != code:
        known = {"code": code, **_prepare(settings, params)}
        prepared.write_text(json.dumps(known), encoding="utf-8")
    return World(
        folder=folder,
        params=params,
        settings=settings,
        features_training=_feature_set(known["training"]),
        features_scoring=_feature_set(known["scoring"]),
        ledger=TableRef.from_dict(known["ledger"]),
        truth=_truth(folder, params),
    )


def _prepare(settings: Settings, params: WorldParams) -> dict[str, Any]:
    from dagster_project.opening import open_engine
    from sales_pipeline.clean.prepare import prepare
    from sales_pipeline.features.build import build
    from sales_pipeline.features.leaks import leak_ledger
    from sales_pipeline.ingest.exports import collect, visible

    lake = Lake(settings.lake)
    as_of = AsOf.end_of_day(params.end_on)
    with open_engine(settings) as engine:
        exports = collect(lake, settings.exports, settings.mapping, engine)
        canonical = prepare(lake, visible(exports, as_of), settings.mapping, settings.clean, engine)
        made = {
            purpose: build(lake, canonical, as_of, purpose=purpose, params=settings.features, engine=engine)
            for purpose in ("training", "scoring")
        }
        ledger = leak_ledger(lake, canonical, made["training"], settings.mapping, engine)
    sets = {purpose: asdict(features) | {"as_of": as_of.isoformat()} for purpose, features in made.items()}
    return {**sets, "ledger": ledger.to_dict()}


def _feature_set(data: Mapping[str, Any]) -> FeatureSet:
    tables = {name: TableRef.from_dict(data[name]) for name in ("spine", "features", "attributes", "outcomes")}
    as_of = AsOf(datetime.fromisoformat(data["as_of"]))
    return FeatureSet(**{**data, **tables, "as_of": as_of, "versioned": tuple(data["versioned"])})


def _code_digest() -> str:
    """A digest of the code a prepared world depends on."""
    digest = hashlib.sha256()
    root = Path(sales_pipeline.__file__).parent
    for package in PREPARATION:
        for path in sorted((root / package).rglob("*")):
            if path.suffix in (".py", ".sql"):
                digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _truth(folder: Path, params: WorldParams) -> pd.DataFrame:
    landmarks = read_table(folder / "truth" / "landmarks.parquet").to_pandas()
    rows = landmarks[landmarks["is_world_end"]].set_index("opportunity_id")
    if rows["as_of"].nunique() != 1 or rows["as_of"].iloc[0] != AsOf.end_of_day(params.end_on).instant:
        raise ValueError(f"{folder}: the truth does not hold for the end of {params.end_on}")
    hidden = read_table(folder / "truth" / "opportunities.parquet").to_pandas().set_index("opportunity_id")
    hidden = hidden.loc[rows.index]
    mean = hidden["discount_mean"].to_numpy(dtype=np.float64)
    # The law of `simulation.journal`: a Beta discount on the budget, taken at signing.
    discount = np.random.default_rng((params.seed, 2)).beta(4.0, 4.0 * (1.0 / mean - 1.0))
    return pd.DataFrame(
        {
            **{name: rows[name].to_numpy(dtype=np.float64) for name in PROBABILITIES},
            "expected_amount": rows["expected_amount"].to_numpy(dtype=np.float64),
            "signed_amount": np.round(hidden["budget"].to_numpy(dtype=np.float64) * (1.0 - discount), 2),
            "is_eventually_won": rows["is_eventually_won"].to_numpy(dtype=np.float64),
            "eventually_closed_on": rows["eventually_closed_at"].dt.tz_localize(None).dt.floor("D").to_numpy(),
        },
        index=pd.Index(rows.index.to_numpy(dtype=object), name="opportunity_id"),
    )


PROBABILITIES = ("win_probability", "win_probability_30d", "win_probability_90d")
