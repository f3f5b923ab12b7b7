"""Predictions a few rows at a time: the rows the engine joins are those a matrix has, and what comes out is what comes out of all at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from sales_pipeline.contracts.canonical import OPPORTUNITY_ATTRIBUTES
from sales_pipeline.contracts.internal import PREDICTIONS
from sales_pipeline.engines.compiler import compile_tree, to_sql
from sales_pipeline.engines.duckdb import DuckDBEngine
from sales_pipeline.lake.tables import conform, read_table, write_table
from sales_pipeline.models.matrix import align, attribute_column, catalogue_column, joined_matrix, load_matrix
from sales_pipeline.models.params import TrainingParams
from sales_pipeline.models.predict import predict, write_predictions
from sales_pipeline.models.scoring_rows import found_columns, joined, scoring_inputs
from sales_pipeline.models.store import NullRecorder
from sales_pipeline.models.train import TrainedModel, train
from sales_pipeline.models.win import Recipe
from sales_pipeline.models.wording import Wording
from tests.support.frames import Frames, make_frames

KINDS = {"Segment__c": "category", "Odd 'name'": "number", "Renewal__c": "date", "Is_New__c": "boolean", "Note": "text"}
LEARNT = tuple(
    column
    for column in (
        *(catalogue_column(name) for name in ("amount", "stage", "age_days", "is_past_crm_close_date")),
        *(attribute_column(name, kind) for name, kind in KINDS.items()),
        attribute_column("Gone__c", "number"),
    )
    if column is not None
)


def with_attributes(frames: Frames, folder: Path, kinds: dict[str, str] = KINDS) -> Frames:
    """The frames with attributes of those kinds, each on most opportunities."""
    rows: list[dict[str, Any]] = []
    for place, name in enumerate(sorted(set(read_table(frames.spine).column("opportunity_id").to_pylist()))):
        for number, (attribute, kind) in enumerate(kinds.items()):
            if (place + number) % 5:
                value = 19_000.0 + place if kind == "date" else float(place % 2) if kind == "boolean" else place / 7
                told = None if kind in ("category", "text") else value
                rows.append({"opportunity_id": name, "attribute": attribute, "kind": kind, "text_value": f"v{place % 4}"} | {"number_value": told})  # fmt: skip
    table = pa.Table.from_pylist(rows)
    table = table.append_column("source_system", pa.array(["crm"] * len(rows)))
    table = table.append_column("tracked_from", pa.nulls(len(rows), pa.timestamp("us", tz="UTC")))
    table = table.set_column(
        table.column_names.index("number_value"), "number_value", table["number_value"].cast("double")
    )
    return replace(
        frames, attributes=write_table(table, folder / "many" / "attributes.parquet", OPPORTUNITY_ATTRIBUTES)
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Frames, Path]:
    folder = tmp_path_factory.mktemp("world")
    return make_frames(folder / "s", opportunities=900, purpose="scoring"), folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TrainedModel]:
    folder = tmp_path_factory.mktemp("models")
    frames = make_frames(folder / "t", opportunities=900)
    recipes = {
        "logistic_regression": {"C": 1.0},
        "gradient_boosting": {"start": "base", "leaves": 7, "rate": 0.1},
        "shrunken_rates": {},
    }
    params = TrainingParams(amount_families=("median", "crm_amount", "linear_regression"), bootstrap_rounds=20, boosting_rounds=30)  # fmt: skip
    return {
        family: train(
            frames,
            frames.ledger,
            params,
            models=folder / "models",
            recorder=NullRecorder(),
            recipe=Recipe(family, setting),
        )
        for family, setting in recipes.items()
    }


@pytest.mark.parametrize("kinds", [KINDS, {**KINDS, "Segment__c": "number", "Renewal__c": "number"}, {}])
def test_joined_rows_are_the_matrix_of_the_tables(
    kinds: dict[str, str], world: tuple[Frames, Path], tmp_path: Path
) -> None:
    """Also where an attribute is of another kind than it was learnt with, or is gone."""
    frames = with_attributes(world[0], tmp_path, kinds) if kinds else world[0]
    with DuckDBEngine(threads=1) as engine:
        found = found_columns(frames, [column.name for column in LEARNT], engine)
        rows = engine.query(joined(found), scoring_inputs(frames))
    rows = rows.sort_by([("opportunity_id", "ascending"), ("as_of", "ascending")])
    matrix = joined_matrix(rows, found, LEARNT)
    expected = align(load_matrix(frames, [column.name for column in LEARNT]), LEARNT)
    pd.testing.assert_frame_equal(matrix.frame, expected.frame)
    outcome = ["is_won", "closed_us", "won_amount"]
    pd.testing.assert_frame_equal(matrix.keys.drop(columns=outcome), expected.keys.drop(columns=outcome))
    assert matrix.keys[outcome].isna().all(axis=None)
    assert matrix.columns == LEARNT
    assert matrix.frame["attribute:Segment__c"].notna().any() == (kinds.get("Segment__c", "category") == "category")


@pytest.mark.parametrize("family", ["logistic_regression", "gradient_boosting", "shrunken_rates"])
def test_batches_give_what_all_rows_at_once_give(
    family: str, world: tuple[Frames, Path], models: dict[str, TrainedModel], tmp_path: Path
) -> None:
    frames, path = world[0], models[family].path
    wording = Wording.of("zh", ("amount",))
    whole = write_table(predict(path, frames, wording), tmp_path / "whole.parquet", PREDICTIONS)
    with DuckDBEngine(threads=1) as engine:
        one = write_predictions(path, frames, tmp_path / "one", engine, wording)
        many = write_predictions(path, frames, tmp_path / "many", engine, wording, batch_rows=37)
    assert one.sha256 == whole.sha256
    assert sorted(item.name for item in (tmp_path / "one").iterdir()) == ["predictions.parquet"]
    # A matrix product's last bit depends on how many rows there are.
    expected, found = read_table(whole), read_table(many)
    assert len(found) > 2 * 37
    for name in PREDICTIONS.column_names:
        if pa.types.is_floating(expected.schema.field(name).type):
            values = [table.column(name).to_numpy() for table in (found, expected)]
            np.testing.assert_allclose(*values, rtol=1e-12, err_msg=name)
        else:
            assert found.column(name).equals(expected.column(name)), name


def test_no_rows_give_no_predictions(
    world: tuple[Frames, Path], models: dict[str, TrainedModel], tmp_path: Path
) -> None:
    frames = world[0]
    none = {
        name: write_table(read_table(getattr(frames, name)).slice(0, 0), tmp_path / f"{name}.parquet")
        for name in ("spine", "features", "attributes")
    }
    with DuckDBEngine(threads=1) as engine:
        ref = write_predictions(models["logistic_regression"].path, replace(frames, **none), tmp_path / "p", engine)
    assert ref.rows == 0
    assert read_table(ref).schema.equals(conform(read_table(ref), PREDICTIONS).schema)


@pytest.mark.parametrize("dialect", ["duckdb", "spark"])
def test_the_join_compiles_for_both_engines(dialect: str) -> None:
    text = to_sql(compile_tree(joined(LEARNT), dialect), dialect)
    assert "CROSS" not in text
    assert "Odd ''name''" in text or "Odd \\'name\\'" in text
