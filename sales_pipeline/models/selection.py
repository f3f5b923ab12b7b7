"""Which columns a fold's training rows keep: the border to the selector of the features step.

Belongs here: calling it with training rows only. Does not belong here: how it judges (`features.selector`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from sales_pipeline.models.matrix import Floats, Matrix, SourceColumn
from sales_pipeline.models.params import TrainingParams

MIN_ROWS = 100
"""With fewer training rows importance is noise: all columns are kept, and the penalty of the families does the rest."""


def keep_columns(part: Matrix, y: Floats, task: str, params: TrainingParams) -> Sequence[SourceColumn]:
    """The source columns to encode, in their order; opportunities stay together in the selector's own folds.

    Of near-duplicates the selector keeps the one it meets first, so it meets the finer ones first (an amount before its size class).
    """
    if len(y) < MIN_ROWS or len(np.unique(y)) < 2 or not part.columns:
        return part.columns
    from sales_pipeline.features.selector import select

    distinct = part.frame.nunique()
    finest_first = sorted(part.frame.columns, key=lambda name: -int(distinct[name]))
    kept = set(
        select(
            part.frame[finest_first],
            pd.Series(y),
            task="classify" if task == "win" else "regress",
            groups=part.keys["opportunity_id"].astype(object),
            max_columns=params.max_columns,
            seed=params.seed,
        )
    )
    return tuple(column for column in part.columns if column.name in kept)
