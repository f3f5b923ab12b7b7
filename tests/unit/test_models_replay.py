"""The replay: what was known then, what was said, what came; kept, repeatable, and the same as what a run of that day says."""

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.contracts.internal import REPLAY
from sales_pipeline.domain.time import AsOf
from sales_pipeline.errors import ConfigurationError
from sales_pipeline.features.build import FeatureSet
from sales_pipeline.features.past import known_before, open_at
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.tables import read_table
from sales_pipeline.models.params import TrainingParams
from sales_pipeline.models.replay import MIN_KNOWN_SHARE, Replay, replay, replay_dates
from tests.support.frames import START, make_frames

PARAMS = TrainingParams(
    win_families=("base_rate", "stage_rate", "logistic_regression", "decision_tree"),
    amount_families=("median", "crm_amount"),
    bootstrap_rounds=20,
)
EVERY = 84


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lake, FeatureSet, pa.Table]:
    folder = tmp_path_factory.mktemp("replay")
    frames = make_frames(folder / "frames", opportunities=700)
    features = FeatureSet(
        key=frames.key,
        as_of=frames.as_of,
        purpose="training",
        mode="grid",
        spine=frames.spine,
        features=frames.features,
        attributes=frames.attributes,
        outcomes=frames.outcomes,
        absent={},
        has_history=True,
        versioned=("stage",),
    )
    return Lake(folder / "lake"), features, frames.ledger


def _replay(world: tuple[Lake, FeatureSet, pa.Table], lake: Lake | None = None, workers: int = 1) -> Replay:
    kept, features, ledger = world
    first = AsOf(START + timedelta(days=400))
    return replay(
        lake or kept,
        features,
        lambda _: ledger,
        PARAMS,
        first=first,
        every_days=EVERY,
        progress=lambda _: None,
        workers=workers,
    )


@pytest.fixture(scope="module")
def result(world: tuple[Lake, FeatureSet, pa.Table]) -> Replay:
    return _replay(world)


def test_dates_count_back_from_the_end() -> None:
    end = AsOf(START + timedelta(days=100))
    found = replay_dates(AsOf(START + timedelta(days=20)), end, 28)
    assert [(end.instant - date.instant).days for date in found] == [56, 28]


def test_every_open_opportunity_of_a_date_has_its_row(world, result: Replay) -> None:
    rows = read_table(result.rows)
    assert rows.schema.equals(arrow_schema(REPLAY))
    when = read_table(world[1].spine, ["as_of"]).column("as_of").to_pylist()
    for fact in result.facts["dates"]:
        assert fact["rows"] == when.count(datetime.fromisoformat(fact["as_of"])) > 0
    assert rows.num_rows == sum(fact["rows"] for fact in result.facts["dates"])


def test_a_search_is_made_at_two_dates_and_recipes_are_kept_between(result: Replay) -> None:
    facts = result.facts["dates"]
    assert sum(fact["is_search"] for fact in facts) == 2
    assert facts[0]["is_search"]
    assert facts[1]["champion"] == facts[0]["champion"]


def test_outcomes_are_seen_expected_or_too_young(result: Replay) -> None:
    rows = read_table(result.rows).to_pandas()
    closed = rows["is_won"].notna()
    assert (rows.loc[closed, "outcome"] == rows.loc[closed, "is_won"].astype(float)).all()
    assert rows.loc[~closed, "outcome"].dropna().between(0, 1).all()
    share = closed.groupby(rows["as_of"]).transform("mean")
    assert ((rows["weight"] == 1) == ((share >= MIN_KNOWN_SHARE) & rows["outcome"].notna())).all()


def test_the_model_beats_the_base_rate_on_what_came(result: Replay) -> None:
    rows = read_table(result.rows).to_pandas()
    rows = rows[rows["is_won"].notna() & (rows["weight"] > 0)]
    won = rows["is_won"].astype(float).to_numpy()

    def loss(p: np.ndarray) -> float:
        return float(-(won * np.log(p) + (1 - won) * np.log1p(-p)).mean())

    assert loss(rows["win_probability"].to_numpy()) < loss(rows["base_rate"].to_numpy()) - 0.02


def test_again_it_gives_the_same_rows_and_uses_what_is_there(world, result: Replay, tmp_path: Path) -> None:
    again = _replay(world)
    assert again.rows.path == result.rows.path
    elsewhere = _replay(world, Lake(tmp_path / "other"))
    assert elsewhere.rows.sha256 == result.rows.sha256


def test_nothing_after_a_date_moves_what_was_said_at_it(world, result: Replay, tmp_path: Path) -> None:
    """A set cut to a date is the same whether or not outcomes came after it."""
    lake, features, _ = world
    date = AsOf(features.as_of.instant - timedelta(days=EVERY))
    known = known_before(lake, features, date)
    outcomes = read_table(known.outcomes)
    closed = outcomes.column("closed_at").drop_null()
    assert pc.max(closed).as_py() < date.instant
    assert pc.max(read_table(known.spine, ["as_of"]).column("as_of")).as_py() < date.instant
    scoring = read_table(open_at(lake, features, date).spine)
    assert set(scoring.column("as_of").to_pylist()) == {date.instant}
    assert not any(scoring.column("is_landmark").to_pylist())


def test_a_period_without_dates_is_an_error(world) -> None:
    lake, features, ledger = world
    with pytest.raises(ConfigurationError, match="nothing to replay"):
        replay(
            lake,
            features,
            lambda _: ledger,
            PARAMS,
            first=features.as_of,
            every_days=EVERY,
            progress=lambda _: None,
        )


def test_two_workers_say_the_same_as_one(world, result: Replay, tmp_path: Path) -> None:
    again = _replay(world, Lake(tmp_path / "lake"), workers=2)
    assert (again.key, again.rows.sha256, again.facts) == (result.key, result.rows.sha256, result.facts)
