"""A day's monitoring: the features, scores and outcomes of the day brought together with the training and the runs before it.

Everything it reads is named by the run's own inputs: the champion, the chain of previous runs, the day's features. So a repeated day gives the same
figures whatever was published in the meantime.

Belongs here: finding these, and the order. Does not belong here: the figures (`inputs`, `scores`, `outcomes`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from sales_pipeline.domain.identifiers import digest_of
from sales_pipeline.domain.time import AsOf
from sales_pipeline.features.build import FeatureSet, find
from sales_pipeline.features.catalogue import FEATURES
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.tables import TableRef, read_table
from sales_pipeline.models.bundle import Bundle, read_bundle
from sales_pipeline.models.matrix import Matrix, SourceColumn, align, load_matrix
from sales_pipeline.models.predict import needed_columns
from sales_pipeline.monitoring.figure import Figure, figure_table
from sales_pipeline.monitoring.history import COLUMNS, PastRun, one_in, past_runs, said, scored_frame
from sales_pipeline.monitoring.inputs import input_figures
from sales_pipeline.monitoring.kept import FEATURES_KEY, kept_facts
from sales_pipeline.monitoring.outcomes import HORIZONS, OUTCOME_COLUMNS, Known, outcome_figures
from sales_pipeline.monitoring.params import MonitoringParams
from sales_pipeline.monitoring.reference import Reference, landmark_reference, plain_reference
from sales_pipeline.monitoring.scores import score_figures

REFERENCE_FILE = "reference.json"
TRAINING = "training"
PREVIOUS = "previous_run"
STAGE = "stage"


@dataclass(frozen=True)
class Monitored:
    """MODEL_MONITORING of a run. `values` names, per column, values that are new or have vanished: not for publishing."""

    table: pa.Table
    values: dict[str, dict[str, list[str]]]


def monitor(
    lake: Lake,
    features: FeatureSet,
    scored: TableRef,
    params: MonitoringParams,
    *,
    model_version: str,
    code_version: str,
    previous_run_id: str | None,
    run_id: str,
) -> Monitored:
    """The figures of one run.

    Parameters
    ----------
    features
        The scoring features of the day; their `outcomes` are what is known strictly before it.
    scored
        SCORED_OPPORTUNITIES of the run.
    model_version
        The champion, by the version of its bundle in the lake.
    previous_run_id
        The head of the chain of past runs that is looked back on; None where nothing was published before.
    """
    as_of = features.as_of
    today_us = as_of.instant.timestamp() * 1e6
    bundle = read_bundle(lake.models / model_version)
    chain = past_runs(
        lake, previous_run_id, as_of.instant - timedelta(days=max(HORIZONS.values()) + params.history_days)
    )
    figures, values = _inputs(lake, features, bundle, chain, params, code_version)
    past = said(one_in(chain, params.run_every_days))
    previous = said(chain[:1]) if chain else None
    known = _known(features, [past] if previous is None else [past, previous])
    today = scored_frame(read_table(scored, COLUMNS))
    figures += score_figures(today, previous, past, known, params)
    figures += outcome_figures(past, known, today_us, params)
    return Monitored(figure_table(figures, as_of, run_id), values)


def _known(features: FeatureSet, asked: list[pd.DataFrame]) -> Known:
    """What came of the opportunities of some frames: few of all that ever closed."""
    ids = pd.concat([frame["opportunity_id"] for frame in asked], ignore_index=True).unique()
    outcomes = read_table(features.outcomes, list(OUTCOME_COLUMNS))
    is_asked = pc.is_in(outcomes.column("opportunity_id"), value_set=pa.array(ids, pa.string()))
    return Known.of_outcomes(outcomes.filter(is_asked))


def _inputs(
    lake: Lake,
    features: FeatureSet,
    bundle: Bundle,
    chain: tuple[PastRun, ...],
    params: MonitoringParams,
    code_version: str,
) -> tuple[list[Figure], dict[str, dict[str, list[str]]]]:
    columns = watched_columns(bundle)
    kinds = bundle.card["data"]["kinds"]
    today = _matrix(features, columns, kinds)
    figures: list[Figure] = []
    values: dict[str, dict[str, list[str]]] = {}
    for name, found in (
        (TRAINING, _training_reference(lake, bundle, columns, kinds, params, code_version)),
        (PREVIOUS, _previous_reference(lake, chain, columns, kinds, params)),
    ):
        if isinstance(found, str):
            figures.append(Figure("input_drift", "features", "psi", name, None, found))
            continue
        more, named = input_figures(today, tuple(features.absent), columns, found, name, params)
        figures += more
        for column, lists in named.items():
            for label, items in lists.items():
                values.setdefault(column, {})[f"{label} against {name}"] = items
    return figures, values


def watched_columns(bundle: Bundle) -> tuple[SourceColumn, ...]:
    """The source columns the model looks at; the stage too where its probabilities are rates, which rest on no column."""
    columns = needed_columns(bundle)
    if bundle.win is not None and bundle.win.encoding.columns:
        return columns
    stage = next(feature for feature in FEATURES if feature.name == STAGE)
    extra = SourceColumn(stage.name, stage.type, stage.meaning)
    return columns if any(column.name == STAGE for column in columns) else (*columns, extra)


def _matrix(features: FeatureSet, columns: tuple[SourceColumn, ...], kinds: list[str]) -> Matrix:
    """Rows of the kinds the model has learnt from, all rows where it has learnt from none; columns the data lacks are all missing."""
    matrix = align(load_matrix(features, [column.name for column in columns], with_outcomes=False), columns)
    use = matrix.keys["kind"].isin(kinds).to_numpy()
    return matrix.take(use.nonzero()[0]) if kinds else matrix


def _training_reference(
    lake: Lake,
    bundle: Bundle,
    columns: tuple[SourceColumn, ...],
    kinds: list[str],
    params: MonitoringParams,
    code_version: str,
) -> Reference | str:
    """The reference of the champion's training, kept in the lake once made; or why there is none."""
    card = bundle.card
    data_digest = str(card.get("data_digest"))
    key = digest_of(
        "reference", bundle.version, data_digest, [column.name for column in columns], params.model_dump(), code_version
    )
    kept = lake.step_path("references", key) / REFERENCE_FILE
    if not kept.is_file():
        trained_through = AsOf(datetime.fromisoformat(str(card["trained_through"])))
        training = find(lake, data_digest, trained_through, "training")
        if training is None:
            return "no reference: the features the champion was trained on are no longer kept; train again to have one"
        if training.mode != "grid":
            return (
                "no reference: without a history the champion was trained on rows of another kind (at creation, or closed "
                "ones as last seen) than those it scores"
            )

        def build(folder: Path) -> dict[str, Any]:
            matrix = _matrix(training, columns, kinds)
            reference = landmark_reference(matrix, columns, tuple(training.absent), params)
            text = json.dumps(reference.to_dict(), sort_keys=True, ensure_ascii=False, indent=1)
            (folder / REFERENCE_FILE).write_text(text, encoding="utf-8")
            return {"rows": reference.rows, "columns": len(reference.columns)}

        lake.step("references", key, build)
    return Reference.from_dict(json.loads(kept.read_text(encoding="utf-8")))


def _previous_reference(
    lake: Lake,
    chain: tuple[PastRun, ...],
    columns: tuple[SourceColumn, ...],
    kinds: list[str],
    params: MonitoringParams,
) -> Reference | str:
    """The scoring features of the previous run, where the lake still keeps them; or why there is no reference."""
    if not chain:
        return "no run was published before: nothing to compare with"
    facts = kept_facts(lake, chain[0].run_id)
    features = find(lake, str(facts[FEATURES_KEY]), AsOf(chain[0].as_of), "scoring") if facts is not None else None
    if features is None:
        return "no reference: the features of the previous run are no longer kept"
    matrix = _matrix(features, columns, kinds)
    return plain_reference(matrix, columns, tuple(features.absent), params)
