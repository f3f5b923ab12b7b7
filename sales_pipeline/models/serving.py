"""A bundle applied to a plain data frame: what a model server is asked with, and how such a frame is written as CSV.

Belongs here: the frame's columns, their meaning, and the way there and back. Does not belong here: MLflow (adapters).
"""

from __future__ import annotations

import json
import re
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from sales_pipeline.engines.machine import one_core
from sales_pipeline.models.bundle import Bundle
from sales_pipeline.models.matrix import DAY, Floats, Matrix
from sales_pipeline.models.predict import needed_columns, predict_matrix

InputKind = Literal["string", "double", "instant"]

TEXT_KEYS = ("opportunity_id", "kind", "account_id", "owner_id", "product_id", "stage", "currency")
INSTANT_KEYS = {"as_of": "as_of_us", "created_at": "created_us"}
DATE_KEY = "crm_close_date"
REQUIRED_KEYS = ("opportunity_id", "as_of")

GUARD = "'"
"""Stands before a text that a CSV reader would take for something else (`0012`, `None`, `true`), as in a spreadsheet; taken off again when read."""
_MISREAD = re.compile(
    r"\s*[+-]?(\d[\d_]*\.?\d*|\.\d+)([eE][+-]?\d+)?\s*|[+-]?inf(inity)?|true|false|n/?a|#n/?a( n/a)?|<na>|[+-]?nan|[+-]?1\.#(ind|qnan)|null|none|",
    re.IGNORECASE,
)


def input_columns(bundle: Bundle) -> dict[str, InputKind]:
    """Column names and kinds of the frame, keys first; only opportunity_id and as_of must be there.

    `instant`: a datetime (UTC where it has no zone), or ISO 8601 text.
    """
    names: dict[str, InputKind] = dict.fromkeys(TEXT_KEYS, "string")
    names |= dict.fromkeys((*INSTANT_KEYS, DATE_KEY), "instant")
    names["amount"] = "double"
    return names | {
        column.name: "string" if column.kind == "category" else "double" for column in needed_columns(bundle)
    }


@one_core()
def predict_frame(bundle: Bundle, frame: pd.DataFrame) -> pd.DataFrame:
    """PREDICTIONS of a frame's rows, sorted by key, the reasons as JSON text. Columns that are missing count as not recorded, a missing
    kind as an opportunity."""
    rows = len(frame)

    def text(name: str) -> npt.NDArray[Any]:
        values = frame[name].tolist() if name in frame else [None] * rows
        return np.array([None if pd.isna(value) else _unguarded(value) for value in values], dtype=object)

    def number(name: str) -> npt.NDArray[np.float64]:
        return frame[name].to_numpy(dtype=np.float64, na_value=np.nan) if name in frame else np.full(rows, np.nan)

    def micros(name: str) -> npt.NDArray[np.float64]:
        if name not in frame:
            return np.full(rows, np.nan)
        instants = pd.to_datetime(frame[name], utc=True, format="ISO8601").dt.as_unit("us")
        return np.where(instants.isna(), np.nan, instants.astype("int64").to_numpy(dtype=np.float64))

    keys = pd.DataFrame({name: pd.Series(text(name), dtype=object) for name in TEXT_KEYS})
    keys["kind"] = keys["kind"].fillna("opportunity")
    keys["amount"] = number("amount")
    for name, key in INSTANT_KEYS.items():
        keys[key] = micros(name)
    keys["crm_close_us"] = micros(DATE_KEY) + DAY
    data: dict[str, Any] = {}
    for column in needed_columns(bundle):
        data[column.name] = text(column.name) if column.kind == "category" else number(column.name)
    matrix = Matrix(pd.DataFrame(data, index=range(rows)), keys, needed_columns(bundle))
    result: pd.DataFrame = predict_matrix(bundle, matrix).to_pandas()
    for name in ("reasons_up", "reasons_down"):
        result[name] = [json.dumps(list(reasons), ensure_ascii=False) for reasons in result[name]]
    return result


def to_frame(bundle: Bundle, matrix: Matrix) -> pd.DataFrame:
    """The rows of a matrix as such a frame: texts, numbers, and instants as ISO 8601 text. Columns without any value are left out."""
    keys = matrix.keys
    data: dict[str, Any] = {name: keys[name].to_numpy(dtype=object) for name in TEXT_KEYS}
    for name, key in INSTANT_KEYS.items():
        data[name] = _instants(keys[key].to_numpy(dtype=np.float64), "us")
    data[DATE_KEY] = _instants(keys["crm_close_us"].to_numpy(dtype=np.float64) - DAY, "D")
    data["amount"] = keys["amount"].to_numpy(dtype=np.float64)
    for column in needed_columns(bundle):
        data[column.name] = matrix.frame[column.name].to_numpy()
    frame = pd.DataFrame({name: data[name] for name in input_columns(bundle)}, index=range(len(matrix)))
    kept = [name for name in frame if name in REQUIRED_KEYS or bool(frame[name].notna().any())]
    return frame[kept]


def to_csv(frame: pd.DataFrame) -> bytes:
    """The frame as UTF-8 with LF, texts that would be misread behind a guard. `predict_frame` gives the same for what is read back."""
    guarded = frame.copy()
    for name in frame:
        if not pd.api.types.is_numeric_dtype(frame[name]) and name not in (*INSTANT_KEYS, DATE_KEY):
            guarded[name] = [None if pd.isna(value) else _guarded(str(value)) for value in frame[name]]
    return guarded.to_csv(index=False, lineterminator="\n").encode()


def _guarded(text: str) -> str:
    return GUARD + text if _MISREAD.fullmatch(text) else text


def _unguarded(value: Any) -> str:
    text = str(value)
    return text[1:] if text.startswith(GUARD) and _MISREAD.fullmatch(text[1:]) else text


def _instants(micros: Floats, unit: Literal["us", "D"]) -> list[str | None]:
    known = np.isfinite(micros)
    instants = np.where(known, micros, 0.0).astype(np.int64).astype("datetime64[us]")
    texts = np.datetime_as_string(instants.astype(f"datetime64[{unit}]"))
    zone = "Z" if unit == "us" else ""
    return [
        f"{text}{zone}" if is_known else None for text, is_known in zip(texts.tolist(), known.tolist(), strict=True)
    ]
