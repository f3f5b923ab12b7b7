"""What the system would have said: train on what was known before a date, score what was open then, compare with what came.

Belongs here: the walk over landmarks of a test period. Does not belong here: building features (the caller hands in how).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from sales_pipeline.domain.time import AsOf
from sales_pipeline.errors import ConfigurationError
from sales_pipeline.lake.tables import TableRef, read_table
from sales_pipeline.models.matrix import FeatureTables
from sales_pipeline.models.metrics import amount_metrics, bootstrap_interval, calibration_table, win_metrics
from sales_pipeline.models.params import TrainingParams
from sales_pipeline.models.predict import predict
from sales_pipeline.models.store import NullRecorder, Recorder
from sales_pipeline.models.train import TrainedModel, train

SCHEMA = pa.schema(
    [
        ("opportunity_id", pa.string()),
        ("as_of", pa.timestamp("us", tz="UTC")),
        ("is_won", pa.int64()),
        ("win_probability", pa.float64()),
        ("amount", pa.float64()),
        ("expected_amount", pa.float64()),
    ]
)
"""One row per opportunity and landmark at which it was open; `amount` is the amount it was won with (NULL: lost, or not recorded)."""


@dataclass(frozen=True)
class Backtest:
    """Predictions of the test period, their figures, and the model they come from.

    `figures`: `win` (all rows), `win_first` (each opportunity's first row), `base_rate` (the training's win rate for every row),
    `intervals`, `calibration_table`, `amount` (won rows; absent without amounts), and the counts of rows `scored`, `closed`, `still_open`, `abstained`.
    """

    predictions: pa.Table
    figures: dict[str, Any]
    trained: TrainedModel


def backtest(
    training: Callable[[AsOf], FeatureTables],
    scoring: Callable[[AsOf], FeatureTables],
    ledger: Callable[[FeatureTables], TableRef],
    outcomes: TableRef,
    *,
    test_from: AsOf,
    test_to: AsOf,
    params: TrainingParams,
    models: Path,
    every_days: int = 28,
    recorder: Recorder | None = None,
) -> Backtest:
    """Train at `test_from`; score the opportunities open at it and every `every_days` until `test_to` (exclusive).

    `training` and `scoring` build feature sets as of an instant, `ledger` the leak ledger of a training set. `outcomes` (OUTCOMES) are those
    known at the end; rows still open then are censored and left out. ConfigurationError when the period is empty or nothing in it closed.
    """
    if not test_from < test_to:
        raise ConfigurationError(
            "the test period is empty",
            expected="a start before the end",
            found=f"{test_from.isoformat()} to {test_to.isoformat()}",
            where="--test-from, --test-to",
            fix="choose an earlier --test-from",
        )
    known = training(test_from)
    trained = train(known, ledger(known), params, models=models, recorder=recorder or NullRecorder())
    parts: list[pa.Table] = []
    instant = test_from
    while instant < test_to:
        parts.append(predict(trained.path, scoring(instant)))
        instant = AsOf(instant.instant + timedelta(days=every_days))
    rows = _joined(pa.concat_tables(parts), outcomes)
    closed = rows[rows["is_won"].notna()]
    judged = closed[closed["win_probability"].notna()]
    counts = {
        "scored": len(rows),
        "closed": len(closed),
        "still_open": len(rows) - len(closed),
        "abstained": int(rows["win_probability"].isna().sum()),
    }
    if judged.empty:
        raise ConfigurationError(
            "nothing to compare with",
            expected="opportunities open at --test-from that closed later, and a model that scores them",
            found=", ".join(f"{name} {count}" for name, count in counts.items()),
            where="--test-from",
            fix="choose an earlier --test-from",
        )
    figures = counts | _figures(judged, trained, params)
    table = pa.table(
        {
            name: pa.array(judged[name].to_numpy(), from_pandas=True).cast(SCHEMA.field(name).type)
            for name in SCHEMA.names
        }
    )
    return Backtest(table.sort_by([("opportunity_id", "ascending"), ("as_of", "ascending")]), figures, trained)


def _joined(predictions: pa.Table, outcomes: TableRef) -> pd.DataFrame:
    left = pd.DataFrame(
        {
            "opportunity_id": predictions.column("opportunity_id").to_pandas(),
            "as_of": predictions.column("as_of").cast(pa.int64()).to_numpy(),
            "win_probability": predictions.column("win_probability").to_numpy(),
            "expected_amount": predictions.column("expected_amount").to_numpy(),
        }
    )
    known = read_table(outcomes, ["opportunity_id", "is_won", "won_amount"])
    right = pd.DataFrame(
        {
            "opportunity_id": known.column("opportunity_id").to_pandas(),
            "is_won": known.column("is_won").cast(pa.float64()).to_pandas(),
            "amount": known.column("won_amount").cast(pa.float64()).to_pandas(),
        }
    )
    joined: pd.DataFrame = left.merge(right, on="opportunity_id", how="left", validate="many_to_one")
    return joined


def _figures(judged: pd.DataFrame, trained: TrainedModel, params: TrainingParams) -> dict[str, Any]:
    won = judged["is_won"].to_numpy(dtype=np.float64)
    p = judged["win_probability"].to_numpy(dtype=np.float64)
    opportunity = judged["opportunity_id"].to_numpy(dtype=object)
    first = ~judged.sort_values("as_of", kind="stable").duplicated("opportunity_id").sort_index().to_numpy()
    data = trained.card["data"]
    base = data["won_opportunities"] / max(1, data["closed_opportunities"])
    intervals = bootstrap_interval(won, p, opportunity, rounds=params.bootstrap_rounds, seed=params.seed)
    figures: dict[str, Any] = {
        "win": win_metrics(won, p, opportunity),
        "win_first": win_metrics(won[first], p[first], opportunity[first]),
        "base_rate": win_metrics(won, np.full(len(won), base), opportunity),
        "intervals": {name: list(bounds) for name, bounds in intervals.items()},
        "calibration_table": calibration_table(won, p),
    }
    with_amount = judged[judged["amount"].notna() & judged["expected_amount"].notna()]
    if len(with_amount):
        figures["amount"] = amount_metrics(
            with_amount["amount"].to_numpy(dtype=np.float64), with_amount["expected_amount"].to_numpy(dtype=np.float64)
        )
    return figures
