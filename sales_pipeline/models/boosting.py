"""Fitting boosted trees with LightGBM: how many rounds, and from where they start.

The number of rounds is chosen by the loss on a fifth of the training opportunities, drawn at random, and the trees are then grown on all rows. (The
latest rows would be the wrong judge: most of them are still open, and what is expected of those is smoother than what happens, so that trees
stopped after 2 rounds where 150 were best.) They start at the base rate, or at a linear model's scores: what is linear is then learnt as a line, which takes few rows,
and the trees learn what is left (offset boosting; Bühlmann and Hothorn, "Boosting algorithms", 2007, on base procedures).

Belongs here: those two choices and LightGBM's options. Does not belong here: the settings that are tried (`candidates`), scoring (`estimators`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np

from sales_pipeline.models.estimators import Blend, Boosting, Estimator, Linear
from sales_pipeline.models.teaching import TeachingRows, split_by_opportunity

Objective = Literal["binary", "regression"]

PATIENCE = 40
"""Rounds without a gain after which the search for their number ends."""
ROUNDS_WITHOUT_SEARCH = 60
TREE_COLUMNS = 10
"""Columns each tree may choose from, at least; else `COLUMN_SHARE` of them. Trees that see few columns differ, and their sum is steadier."""
COLUMN_SHARE = 0.3


def fit_boosting(
    rows: TeachingRows,
    objective: Objective,
    setting: Mapping[str, Any],
    *,
    most_rounds: int,
    threads: int,
    seed: int,
    start: Callable[[TeachingRows], Linear] | None = None,
) -> Estimator:
    """Boosted trees: a `Boosting`, or with a `start` the `Blend` (a plain sum) of that linear model and the trees."""
    options = {
        "objective": objective,
        "num_leaves": setting["leaves"],
        "learning_rate": setting["rate"],
        "min_data_in_leaf": int(np.clip(0.001 * len(rows.y), 20, 50)),
        "lambda_l2": 10.0,
        "feature_fraction": float(np.clip(TREE_COLUMNS / rows.x.shape[1], COLUMN_SHARE, 1.0)),
        "bagging_fraction": 0.5,
        "bagging_freq": 1,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": threads,
        "seed": seed,
        "verbosity": -1,
    }
    rounds = min(most_rounds, ROUNDS_WITHOUT_SEARCH)
    split = split_by_opportunity(rows, seed)
    if split is not None:
        taught, held = (rows.take(part) for part in split)
        first = start(taught) if start is not None else None
        rounds = _grow(taught, options, most_rounds, first, held).best_iteration
    first = start(rows) if start is not None else None
    trees = Boosting(str(_grow(rows, options, max(1, rounds), first).model_to_string()))
    return trees if first is None else Blend((first, trees), np.ones(2), 0.0)


def _grow(
    rows: TeachingRows, options: Mapping[str, Any], rounds: int, first: Linear | None, held: TeachingRows | None = None
) -> Any:
    import lightgbm

    def data(part: TeachingRows, reference: Any = None) -> Any:
        offset = None if first is None else part.x @ first.coefficients + first.intercept
        return lightgbm.Dataset(
            part.x, part.y, weight=part.weight, init_score=offset, reference=reference, params={"verbosity": -1}
        )

    taught = data(rows)
    if held is None:
        return lightgbm.train(dict(options), taught, num_boost_round=rounds)
    return lightgbm.train(
        dict(options),
        taught,
        num_boost_round=rounds,
        valid_sets=[data(held, taught)],
        callbacks=[lightgbm.early_stopping(PATIENCE, verbose=False)],
    )
