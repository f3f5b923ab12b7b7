"""What a user names in a flat table: the target, its classes, the column that orders the rows.

Belongs here: finding and reading those columns, with errors a user can act on. Does not belong here: reading the file (`flat_table`), fitting (`flat`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from sales_pipeline.errors import ConfigurationError
from sales_pipeline.models.matrix import Floats

FlatTask = Literal["classify", "regress"]
POSITIVE_WORDS = ("won", "win", "yes", "true", "1", "1.0", "converted", "success", "y", "t")
MAX_CLASSES_OF_NUMBERS = 2


def find_column(frame: pd.DataFrame, name: str, path: Path) -> str:
    """The column of that name, without regard to case where it is not there as written."""
    matches = [column for column in frame.columns if column.lower() == name.strip().lower()]
    if not matches:
        raise ConfigurationError(
            "the table has no such column",
            expected=f"one of: {', '.join(frame.columns)}",
            found=name,
            where=str(path),
            fix="name a column of the table with --target (or --time)",
        )
    return str(name if name in matches else matches[0])


def guess_task(values: pd.Series) -> FlatTask:
    """Two values are classified, more numbers regressed."""
    return "regress" if values.dtype == np.float64 and values.nunique() > MAX_CLASSES_OF_NUMBERS else "classify"


def read_target(values: pd.Series, task: FlatTask, path: Path) -> tuple[Floats, str | None]:
    """Numbers (regress), or 1 for the positive class and 0 for the other, and that class's name.

    Positive is the class whose name says so (won, yes, 1 …), else the rarer one.
    """
    where = f"{path}, column {values.name}"
    if task == "regress":
        if values.dtype != np.float64:
            example = next(str(v) for v in values if not _is_number(v))
            raise ConfigurationError(
                "the target is not a number",
                expected="numbers",
                found=repr(example),
                where=where,
                fix="use --task classify",
            )
        return values.to_numpy(dtype=np.float64), None
    classes = sorted({_class_name(value) for value in values})
    if len(classes) != 2:
        raise ConfigurationError(
            "the target cannot be classified",
            expected="two different values",
            found=f"{len(classes)}: {', '.join(classes[:8])}",
            where=where,
            fix="choose a target with two values" + (", or --task regress" if values.dtype == np.float64 else ""),
        )
    names = np.array([_class_name(value) for value in values], dtype=object)
    named = [name for name in classes if name.lower() in POSITIVE_WORDS]
    rarer = min(classes, key=lambda name: (int((names == name).sum()), name))
    positive = named[0] if len(named) == 1 else rarer
    return (names == positive).astype(np.float64), positive


def _class_name(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float))


def read_instants(values: pd.Series, path: Path) -> Floats:
    """Numbers that order the rows in time."""
    if values.dtype == np.float64:
        instants = values.to_numpy(dtype=np.float64)
    else:
        parsed = pd.to_datetime(values, errors="coerce", utc=True, format="ISO8601")
        instants = np.where(parsed.isna(), np.nan, parsed.astype("int64").to_numpy(dtype=np.float64))
    if not np.isfinite(instants).all():
        raise ConfigurationError(
            "the time column does not order the rows",
            expected="a number or an ISO date (2026-06-30) in every row",
            found=f"{int((~np.isfinite(instants)).sum())} rows without one",
            where=f"{path}, column {values.name}",
            fix="name another column with --time, or leave it away",
        )
    return instants
