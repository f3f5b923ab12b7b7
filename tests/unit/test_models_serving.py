"""Frames a model server is asked with: written as CSV and read back by plain pandas they give the predictions the run gives."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sales_pipeline.models.bundle import Bundle, read_bundle
from sales_pipeline.models.matrix import Matrix, load_matrix
from sales_pipeline.models.params import TrainingParams
from sales_pipeline.models.predict import needed_columns, predict_matrix
from sales_pipeline.models.serving import REQUIRED_KEYS, input_columns, predict_frame, to_csv, to_frame
from sales_pipeline.models.store import NullRecorder
from sales_pipeline.models.train import train
from sales_pipeline.models.win import Recipe
from tests.support.frames import make_frames

PARAMS = TrainingParams(amount_families=("median",), bootstrap_rounds=20)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Matrix]:
    folder = tmp_path_factory.mktemp("served")
    frames = make_frames(folder / "t", opportunities=300, signal=2.0)
    recipe = Recipe("logistic_regression", {"C": 1.0})
    path = train(frames, frames.ledger, PARAMS, models=folder / "models", recorder=NullRecorder(), recipe=recipe).path
    bundle = read_bundle(path)
    scoring = make_frames(folder / "s", opportunities=300, signal=2.0, purpose="scoring")
    matrix = load_matrix(scoring, [column.name for column in needed_columns(bundle)])
    # The frame has one column for the amount; this world's feature is the spine's amount before rounding.
    return bundle, replace(matrix, frame=matrix.frame.assign(amount=matrix.keys["amount"]))


def read_back(frame: pd.DataFrame) -> pd.DataFrame:
    """As a model server reads a CSV: pandas guesses every type."""
    return pd.read_csv(io.BytesIO(to_csv(frame)))


def test_what_is_written_predicts_what_the_run_does(served: tuple[Bundle, Matrix]) -> None:
    bundle, matrix = served
    expected = predict_matrix(bundle, matrix).to_pandas()
    got = predict_frame(bundle, read_back(to_frame(bundle, matrix)))
    assert got["opportunity_id"].tolist() == expected["opportunity_id"].tolist()
    for name in ("win_probability", "win_probability_30d", "slip_probability", "expected_amount"):
        np.testing.assert_allclose(got[name], expected[name], rtol=1e-12)
    assert got["predicted_close_date"].tolist() == expected["predicted_close_date"].tolist()


@pytest.mark.parametrize("text", ["0012", "12", "-1.5e3", "None", "NA", "n/a", "nan", "null", "True", "false", "inf"])
def test_texts_that_look_like_something_else_stay_texts(served: tuple[Bundle, Matrix], text: str) -> None:
    bundle, matrix = served
    keys = matrix.keys.copy()
    keys["opportunity_id"] = [f"{number:05d}" for number in range(len(keys))]
    keys["owner_id"] = text
    again = Matrix(matrix.frame.assign(**{"attribute:Segment__c": text}), keys, matrix.columns)
    back = read_back(to_frame(bundle, again))
    assert back.dtypes[["opportunity_id", "owner_id", "attribute:Segment__c"]].map(pd.api.types.is_string_dtype).all()
    got = predict_frame(bundle, back)
    assert got["opportunity_id"].tolist() == keys["opportunity_id"].tolist()
    expected = predict_matrix(bundle, again).to_pandas()
    np.testing.assert_allclose(got["win_probability"], expected["win_probability"], rtol=1e-12)


def test_numbers_are_written_so_that_they_are_read_as_numbers_with_a_point(served: tuple[Bundle, Matrix]) -> None:
    """A column of whole numbers would be read as integers, which a signature of doubles refuses."""
    bundle, matrix = served
    whole = Matrix(matrix.frame.assign(amount=1000.0), matrix.keys.assign(amount=1000.0), matrix.columns)
    back = read_back(to_frame(bundle, whole))
    kinds = input_columns(bundle)
    assert all(back[name].dtype == np.float64 for name in back if kinds[name] == "double")


def test_columns_without_a_value_are_left_out_but_the_required_ones(served: tuple[Bundle, Matrix]) -> None:
    bundle, matrix = served
    empty = Matrix(matrix.frame.assign(amount=np.nan), matrix.keys.assign(amount=np.nan, owner_id=None), matrix.columns)
    frame = to_frame(bundle, empty)
    assert {"amount", "owner_id"}.isdisjoint(frame.columns)
    assert set(REQUIRED_KEYS) <= set(frame.columns)
    got = predict_frame(bundle, frame)
    assert np.isfinite(got["win_probability"]).all()


def test_the_required_columns_alone_are_enough(served: tuple[Bundle, Matrix]) -> None:
    bundle, matrix = served
    got = predict_frame(bundle, to_frame(bundle, matrix)[list(REQUIRED_KEYS)])
    assert len(got) == len(matrix)
    assert (got["win_probability"].notna() | got["abstain_reason"].notna()).all()


def test_datetimes_serve_as_well_as_text(served: tuple[Bundle, Matrix]) -> None:
    bundle, matrix = served
    frame = to_frame(bundle, matrix)
    timed = frame.assign(**{name: pd.to_datetime(frame[name]) for name in ("as_of", "created_at", "crm_close_date")})
    naive = timed.assign(as_of=timed["as_of"].dt.tz_localize(None))
    for other in (timed, naive):
        pd.testing.assert_frame_equal(predict_frame(bundle, other), predict_frame(bundle, frame))


def test_equal_rows_give_equal_bytes(served: tuple[Bundle, Matrix], tmp_path: Path) -> None:
    bundle, matrix = served
    assert to_csv(to_frame(bundle, matrix)) == to_csv(to_frame(bundle, matrix))
    assert b"\r" not in to_csv(to_frame(bundle, matrix))
