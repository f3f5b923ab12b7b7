"""From a frame of source columns to the numeric matrix every family sees; learnt on training rows only, stored as JSON.

Numbers: clipped to the training rows' 0.5–99.5 % range (twice their range below 1,000 rows), log-transformed where they are money or heavy-tailed, missing replaced by the median and flagged,
standardised. Categories: one column per frequent value, one for the rest, one for missing.

Belongs here: learning and applying that specification. Does not belong here: choosing columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from sales_pipeline.models.matrix import Encoded, Floats, Indices, Matrix, SourceColumn, Texts

OTHER = "\x00other"
MISSING = "\x00missing"
LARGEST = 1e15
"""Numbers are held within it before anything is learnt: squares of what typing errors make of a number are no numbers any more."""


@dataclass(frozen=True)
class Encoding:
    """How each source column becomes matrix columns. `groups[j]` is the source column matrix column j comes from."""

    columns: tuple[SourceColumn, ...]
    blocks: tuple[Mapping[str, Any], ...]

    @property
    def names(self) -> list[str]:
        """Matrix column names, in order; stable, for people."""
        names: list[str] = []
        for column, block in zip(self.columns, self.blocks, strict=True):
            if column.kind == "category":
                names.extend(f"{column.name}={level.strip(chr(0))}" for level in block["levels"])
            else:
                names.append(column.name)
                if block["flag"]:
                    names.append(f"{column.name} missing")
        return names

    @property
    def groups(self) -> Indices:
        """Index into `columns` of every matrix column."""
        return np.repeat(np.arange(len(self.columns), dtype=np.int64), [width(block) for block in self.blocks])

    def apply(self, frame: pd.DataFrame) -> Floats:
        """The matrix of a frame that holds all source columns: (rows, matrix columns), no NaN."""
        parts: list[Floats] = []
        for column, block in zip(self.columns, self.blocks, strict=True):
            if column.kind == "category":
                parts.append(_one_hot(Texts.of(frame[column.name]), block["levels"]))
            else:
                parts.append(_numeric(frame[column.name].to_numpy(dtype=np.float64), block))
        return np.hstack(parts) if parts else np.zeros((len(frame), 0))

    def encode(self, matrix: Matrix) -> Encoded:
        """A matrix's rows, encoded."""
        return Encoded(self.apply(matrix.frame), matrix.keys, self.groups)

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data."""
        return {"columns": [column.to_dict() for column in self.columns], "blocks": [dict(b) for b in self.blocks]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Encoding:
        """The inverse of `to_dict`."""
        return cls(tuple(SourceColumn(**column) for column in data["columns"]), tuple(data["blocks"]))


def width(block: Mapping[str, Any]) -> int:
    """How many matrix columns a block gives."""
    return len(block["levels"]) if "levels" in block else 1 + bool(block["flag"])


def learn_encoding(
    frame: pd.DataFrame, columns: Sequence[SourceColumn], *, max_categories: int = 12, min_category_rows: int = 20
) -> Encoding:
    """The encoding of training rows. Columns that are constant or all missing there are left out."""
    kept: list[SourceColumn] = []
    blocks: list[dict[str, Any]] = []
    for column in columns:
        if column.kind == "category":
            block = _learn_category(frame[column.name].to_numpy(dtype=object), max_categories, min_category_rows)
        else:
            block = _learn_number(frame[column.name].to_numpy(dtype=np.float64), column)
        if block is not None:
            kept.append(column)
            blocks.append(block)
    return Encoding(tuple(kept), tuple(blocks))


def _learn_number(values: Floats, column: SourceColumn) -> dict[str, Any] | None:
    known = np.clip(values[np.isfinite(values)], -LARGEST, LARGEST)
    if not len(known):
        return None
    low, middle, high = (float(v) for v in np.quantile(known, [0.005, 0.5, 0.995]))
    is_heavy = column.unit == "currency" or high > 10 * max(middle, 1.0)
    if low == high or len(known) < 1000:
        # Few rows say little about the range: twice what was seen is let through.
        reach = float(known.max() - known.min())
        low, high = float(known.min()) - reach, float(known.max()) + reach
    is_log = bool(column.kind == "number" and known.min() >= 0 and is_heavy)
    low = max(low, 0.0) if is_log else low
    missing = len(values) - len(known)
    flag = bool(missing >= max(5, 0.01 * len(values)) and missing < len(values))
    block: dict[str, Any] = {
        "low": low,
        "high": high,
        "log": is_log,
        "median": middle,
        "flag": flag,
        "mean": 0.0,
        "scale": 1.0,
    }
    encoded = _numeric(values, block)[:, 0]
    scale = float(encoded.std())
    if scale < 1e-12 and not flag:
        return None
    block["mean"] = float(encoded.mean())
    block["scale"] = scale if scale >= 1e-12 else 1.0
    return block


def _numeric(values: Floats, block: Mapping[str, Any]) -> Floats:
    is_missing = ~np.isfinite(values)
    clipped: Floats = np.clip(np.where(is_missing, block["median"], values), block["low"], block["high"])
    if block["log"]:
        clipped = np.log1p(clipped)
    encoded: Floats = (clipped - float(block["mean"])) / float(block["scale"])
    if not block["flag"]:
        return encoded[:, None]
    return np.column_stack([encoded, is_missing.astype(np.float64)])


def _learn_category(values: npt.NDArray[Any], max_categories: int, min_rows: int) -> dict[str, Any] | None:
    series = pd.Series(values, dtype=object)
    counts = series.dropna().astype(str).value_counts()
    ordered = sorted(counts.items(), key=lambda item: (-int(item[1]), str(item[0])))
    levels = [str(level) for level, count in ordered[:max_categories] if count >= min_rows]
    rest = int(counts.sum()) - sum(int(counts[level]) for level in levels)
    missing = int(series.isna().sum())
    if rest:
        levels.append(OTHER)
    if missing:
        levels.append(MISSING)
    if len(levels) < 2:
        return None
    return {"levels": levels}


def _one_hot(texts: Texts, levels: Sequence[str]) -> Floats:
    """A column per level: the row's value, or `MISSING`; `OTHER` for what is no level."""
    encoded = np.zeros((len(texts.names), len(levels)))
    for row, name in enumerate(texts.names):
        level = MISSING if name is None else name
        if level != OTHER and level in levels:
            encoded[row, levels.index(level)] = 1.0
        elif OTHER in levels:
            encoded[row, levels.index(OTHER)] = 1.0
    return encoded[texts.number]
