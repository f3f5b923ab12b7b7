"""A bundle applied to a plain data frame: what a model server is asked with.

Belongs here: the frame's columns and their meaning. Does not belong here: MLflow (adapters).
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from sales_pipeline.models.bundle import Bundle
from sales_pipeline.models.matrix import DAY, Matrix
from sales_pipeline.models.predict import needed_columns, predict_matrix

TEXT_KEYS = ("opportunity_id", "kind", "account_id", "owner_id", "product_id", "stage", "currency")
INSTANT_KEYS = ("as_of", "created_at")
DATE_KEY = "crm_close_date"


def input_columns(bundle: Bundle) -> dict[str, str]:
    """Column names and types (`string`, `double`, `datetime`) of the frame, keys first; only opportunity_id and as_of must be there."""
    names = dict.fromkeys(TEXT_KEYS, "string") | dict.fromkeys((*INSTANT_KEYS, DATE_KEY), "datetime")
    columns = {column.name: "string" if column.kind == "category" else "double" for column in needed_columns(bundle)}
    return names | {"amount": "double"} | columns


def predict_frame(bundle: Bundle, frame: pd.DataFrame) -> pd.DataFrame:
    """PREDICTIONS of a frame's rows, sorted by key, the reasons as JSON text. Columns that are missing count as not recorded, a missing
    kind as an opportunity."""
    rows = len(frame)

    def text(name: str) -> npt.NDArray[Any]:
        values = frame[name].tolist() if name in frame else [None] * rows
        return np.array([None if pd.isna(value) else str(value) for value in values], dtype=object)

    def number(name: str) -> npt.NDArray[np.float64]:
        return frame[name].to_numpy(dtype=np.float64, na_value=np.nan) if name in frame else np.full(rows, np.nan)

    def micros(name: str) -> npt.NDArray[np.float64]:
        if name not in frame:
            return np.full(rows, np.nan)
        instants = pd.to_datetime(frame[name], utc=True).dt.as_unit("us")
        return np.where(instants.isna(), np.nan, instants.astype("int64").to_numpy(dtype=np.float64))

    keys = pd.DataFrame({name: pd.Series(text(name), dtype=object) for name in TEXT_KEYS})
    keys["kind"] = keys["kind"].fillna("opportunity")
    keys["amount"] = number("amount")
    keys["as_of_us"] = micros("as_of")
    keys["created_us"] = micros("created_at")
    keys["crm_close_us"] = micros(DATE_KEY) + DAY
    data: dict[str, Any] = {}
    for column in needed_columns(bundle):
        data[column.name] = text(column.name) if column.kind == "category" else number(column.name)
    matrix = Matrix(pd.DataFrame(data, index=range(rows)), keys, needed_columns(bundle))
    result: pd.DataFrame = predict_matrix(bundle, matrix).to_pandas()
    for name in ("reasons_up", "reasons_down"):
        result[name] = [json.dumps(list(reasons), ensure_ascii=False) for reasons in result[name]]
    return result
