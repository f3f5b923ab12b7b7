"""The replay: trained before, scored after, compared with what came."""

from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from sales_pipeline.domain.time import AsOf
from sales_pipeline.errors import ConfigurationError
from sales_pipeline.models.backtest import SCHEMA, Backtest, backtest
from sales_pipeline.models.params import TrainingParams
from tests.support.frames import START, Frames, make_frames

PARAMS = TrainingParams(
    win_families=("base_rate", "logistic_regression"), amount_families=("median", "crm_amount"), bootstrap_rounds=20
)
END = 900


def _at(folder: Path, as_of: AsOf, purpose: str) -> Frames:
    days = (as_of.instant - START).days
    return make_frames(folder / f"{purpose}{days}", opportunities=900, days=days, horizon=END, purpose=purpose)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> tuple[Backtest, Path]:
    folder = tmp_path_factory.mktemp("backtest")
    known = make_frames(folder / "end", opportunities=900, days=END, horizon=END, purpose="scoring")
    start = make_frames(folder / "start", opportunities=900, days=640, horizon=END, purpose="scoring")
    found = backtest(
        lambda as_of: _at(folder, as_of, "training"),
        lambda as_of: _at(folder, as_of, "scoring"),
        lambda features: features.ledger,
        known.outcomes,
        test_from=start.as_of,
        test_to=known.as_of,
        params=PARAMS,
        models=folder / "models",
        every_days=56,
    )
    return found, folder


def test_it_scores_what_was_open_and_keeps_what_closed(result: tuple[Backtest, Path]) -> None:
    found, _ = result
    assert found.predictions.schema.equals(SCHEMA)
    figures = found.figures
    assert figures["scored"] == figures["closed"] + figures["still_open"]
    assert found.predictions.num_rows == figures["closed"]
    assert len(set(found.predictions["as_of"].to_pylist())) == 5
    assert set(found.predictions["is_won"].to_pylist()) == {0, 1}


def test_the_model_beats_the_base_rate_out_of_time(result: tuple[Backtest, Path]) -> None:
    figures = result[0].figures
    assert figures["win"]["auc"] > 0.65
    assert figures["win"]["log_loss"] < figures["base_rate"]["log_loss"]
    assert figures["win_first"]["rows"] == figures["win"]["opportunities"]
    assert figures["amount"]["r2"] > 0.5


def test_only_won_rows_have_an_amount(result: tuple[Backtest, Path]) -> None:
    rows = result[0].predictions
    won = rows["is_won"].to_numpy()
    assert np.array_equal(np.isnan(rows["amount"].to_numpy(zero_copy_only=False)), won == 0)


def test_it_was_trained_before_the_test(result: tuple[Backtest, Path]) -> None:
    found, _ = result
    through = datetime.fromisoformat(found.trained.card["trained_through"])
    assert through <= min(found.predictions["as_of"].to_pylist())


def test_an_empty_period_is_said(tmp_path: Path) -> None:
    frames = make_frames(tmp_path / "f", opportunities=40)
    with pytest.raises(ConfigurationError, match="empty"):
        backtest(
            lambda _: frames,
            lambda _: frames,
            lambda features: features.ledger,
            frames.outcomes,
            test_from=frames.as_of,
            test_to=frames.as_of,
            params=PARAMS,
            models=tmp_path,
        )
