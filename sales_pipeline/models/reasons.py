"""Why a probability is what it is: effects per source column, in calibrated log-odds, as text.

Linear, tree and boosting contributions are exact against the training mean; kernel machines are explained by occlusion. One-hot columns and
missing flags count for their source column. Belongs here: effects to text. Does not belong here: how an effect is computed (`estimators`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from sales_pipeline.models.encoding import Encoding
from sales_pipeline.models.matrix import ATTRIBUTE_PREFIX, Floats, SourceColumn

MOST = 3
LEAST_WEIGHT = 0.005
"""Effects smaller than this, in log-odds, are not worth a sentence."""

RATE_TEXTS = {
    "stage": ("stage {value}: won more often than average", "stage {value}: won less often than average"),
    "owner_id": ("this owner wins more often than average", "this owner wins less often than average"),
    "product_id": ("this product is won more often than average", "this product is won less often than average"),
}

Reason = dict[str, Any]


def rate_columns(names: Sequence[str]) -> list[SourceColumn]:
    """Columns of the keys that rates speak of."""
    return [SourceColumn(name, "category", name, "", *RATE_TEXTS[name]) for name in names]


def rank_reasons(
    effects: Floats,
    columns: Sequence[SourceColumn],
    values: Mapping[str, npt.NDArray[Any]],
    encoding: Encoding | None = None,
) -> tuple[list[list[Reason]], list[list[Reason]]]:
    """Per row up to three reasons up and three down, largest first; `weight` is the effect, so its sign is its direction."""
    known = _known_levels(encoding)
    up: list[list[Reason]] = []
    down: list[list[Reason]] = []
    order = np.argsort(-effects, axis=1, kind="stable")
    for row in range(len(effects)):
        ranked = order[row]
        highest = [i for i in ranked[:MOST] if effects[row, i] >= LEAST_WEIGHT]
        lowest = [i for i in ranked[::-1][:MOST] if effects[row, i] <= -LEAST_WEIGHT]
        up.append([_reason(columns[i], values[columns[i].name][row], float(effects[row, i]), known) for i in highest])
        down.append([_reason(columns[i], values[columns[i].name][row], float(effects[row, i]), known) for i in lowest])
    return up, down


def _known_levels(encoding: Encoding | None) -> dict[str, set[str]]:
    if encoding is None:
        return {}
    return {
        column.name: set(block["levels"])
        for column, block in zip(encoding.columns, encoding.blocks, strict=True)
        if "levels" in block
    }


def _reason(column: SourceColumn, value: Any, weight: float, known: Mapping[str, set[str]]) -> Reason:
    return {"code": column.name, "text": reason_text(column, value, weight, known), "weight": round(weight, 6)}


def reason_text(column: SourceColumn, value: Any, weight: float, known: Mapping[str, set[str]]) -> str:
    """The catalogue's wording for the direction with the value in it; `<label>: <value>` where it has none."""
    if value is None or (isinstance(value, float) and not np.isfinite(value)) or value is pd.NA:
        return column.missing_text or f"{column.label}: not recorded"
    if column.kind == "category" and column.name in known and str(value) not in known[column.name]:
        shown = "another value"
    else:
        shown = format_value(value, column)
    wording = column.up_text if weight > 0 else column.down_text
    if column.negative_text and shown.startswith("-"):
        wording, shown = column.negative_text, shown[1:]
    if wording and not column.name.startswith(ATTRIBUTE_PREFIX):
        return wording.replace("{value}", shown)
    return f"{column.label}: {shown}"


def format_value(value: Any, column: SourceColumn) -> str:
    """A value for people: days and counts whole, shares in percent, amounts with separators, no more digits than help."""
    if column.kind == "category":
        return str(value)
    number = float(value)
    if column.kind == "boolean":
        return "yes" if number > 0.5 else "no"
    if column.is_date:
        return f"{abs(number):,.0f} days {'ago' if number >= 0 else 'ahead'}"
    if column.unit.startswith("ln(1+"):
        return f"{np.expm1(number):,.0f}"
    if column.unit == "0–1":
        return f"{100 * number:.0f} %"
    if abs(number) >= 100 or float(number).is_integer() or column.unit in ("days", "currency"):
        return f"{number:,.0f}"
    return f"{number:,.2f}".rstrip("0").rstrip(".")
