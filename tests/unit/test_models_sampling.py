"""More landmark rows than fit: what is drawn, how many are fitted, and that nothing is drawn where all of them fit."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from sales_pipeline.delivery.card_page import _data
from sales_pipeline.engines.duckdb import DuckDBEngine
from sales_pipeline.features.build import FeatureSet, find
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.tables import read_table, write_table
from sales_pipeline.models import sampling
from sales_pipeline.models.bundle import read_bundle
from sales_pipeline.models.params import SAMPLE_PARAMS, TrainingParams
from sales_pipeline.models.sampling import Sample, training_sample
from sales_pipeline.models.store import NullRecorder
from sales_pipeline.models.train import train
from sales_pipeline.models.win import Recipe
from tests.support.frames import Frames, make_frames

DRAWING = TrainingParams(
    sample_above_rows=1000,
    min_sample_opportunities=300,
    sample_tolerance=1.0,
    bootstrap_rounds=20,
    amount_families=("median", "crm_amount", "linear_regression"),
).model_copy(update={"max_training_rows": 200})


@dataclass(frozen=True)
class Place:
    frames: Frames
    whole: FeatureSet
    lake: Lake

    def drawn(self, **update: Any) -> Sample:
        params = DRAWING.model_copy(update=update)
        with DuckDBEngine(threads=1) as engine:
            return training_sample(self.lake, self.whole, self.frames.ledger, params, engine)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("sampling")
    frames = make_frames(folder / "t", opportunities=1500, signal=2.0)
    whole = FeatureSet(
        key=frames.key,
        as_of=frames.as_of,
        purpose="training",
        mode="grid",
        spine=frames.spine,
        features=frames.features,
        attributes=frames.attributes,
        outcomes=frames.outcomes,
        absent={"call_count": "no activities"},
        has_history=True,
        versioned=("stage",),
    )
    return Place(frames, whole, Lake(folder / "lake"))


def ids(features: FeatureSet, name: str = "spine") -> set[str]:
    return set(read_table(getattr(features, name)).column("opportunity_id").to_pylist())


def test_where_all_rows_fit_everything_is_used(place: Place) -> None:
    rows = place.whole.spine.rows
    assert place.drawn(sample_above_rows=rows) == Sample(place.whole, None)
    assert place.drawn(sample_above_rows=rows).params(DRAWING) is DRAWING
    assert place.drawn(sample_above_rows=rows, max_sample_rows=rows - 1).facts is not None
    assert not (place.lake.root / "features" / place.whole.key).exists()


def test_a_model_of_everything_does_not_know_of_samples(place: Place, tmp_path: Path) -> None:
    recipe = Recipe("logistic_regression", {"C": 0.01}, ("median", {}))
    versions = set()
    for number, tolerance in enumerate((0.1, 0.2)):
        params = DRAWING.model_copy(update={"sample_tolerance": tolerance})
        model = train(place.whole, place.frames.ledger, params, models=tmp_path / str(number), recorder=NullRecorder(), recipe=recipe)  # fmt: skip
        assert not set(SAMPLE_PARAMS) & set(model.card["params"])
        assert "sample" not in model.card["data"]
        versions.add(model.version)
    assert len(versions) == 1


def test_a_sample_is_whole_opportunities_in_all_four_tables(place: Place) -> None:
    sample = place.drawn()
    assert sample.facts is not None
    chosen = ids(sample.features)
    assert 300 <= len(chosen) < len(ids(place.whole))
    for name in ("spine", "features", "attributes", "outcomes"):
        expected = read_table(getattr(place.whole, name))
        kept = expected.filter(pa.array([one in chosen for one in expected.column("opportunity_id").to_pylist()]))
        found = read_table(getattr(sample.features, name))
        assert found.num_rows == kept.num_rows
        assert found.column("opportunity_id").to_pylist() == kept.column("opportunity_id").to_pylist()
    facts = sample.facts
    assert facts["opportunities"] == len(chosen)
    assert facts["landmark_rows"] == sample.features.spine.rows
    assert (facts["of_opportunities"], facts["of_landmark_rows"]) == (len(ids(place.whole)), place.whole.spine.rows)


def test_every_month_keeps_its_share(place: Place) -> None:
    def months(features: FeatureSet) -> Counter[Any]:
        open_now = {row["opportunity_id"] for row in read_table(features.outcomes).to_pylist() if row["is_won"] is None}
        last = {row["opportunity_id"]: row["as_of"] for row in read_table(features.spine).to_pylist()}
        return Counter((at.year, at.month, name in open_now) for name, at in last.items())

    sample = place.drawn()
    share = 300 / len(ids(place.whole))
    whole, drawn = months(place.whole), months(sample.features)
    assert sum(drawn.values()) > 300
    assert len(whole) > 15
    for stratum, count in whole.items():
        # The first ones up to the share, and at least one.
        assert share * count <= drawn[stratum] < share * count + 1


def test_the_same_seed_draws_the_same_and_a_larger_share_draws_more_of_the_same(place: Place) -> None:
    first = place.drawn()
    again = Place(place.frames, place.whole, Lake(place.lake.root / "again")).drawn()
    assert again.features.spine.sha256 == first.features.spine.sha256
    assert again.facts == first.facts
    assert ids(first.features) < ids(place.drawn(min_sample_opportunities=600).features)
    other = ids(place.drawn(seed=8).features)
    assert other != ids(first.features)


def test_the_curve_ends_where_doubling_gains_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here twice 200 rows gain 0.1, and twice 400 nothing."""
    real = sampling._Window.loss

    def flat_from_400(window: Any, matrix: Any, rows: int, params: TrainingParams) -> Any:
        return real(window, matrix, 200, params) * 0 + (0.5 if rows < 400 else 0.4)

    monkeypatch.setattr(sampling._Window, "loss", flat_from_400)
    facts = place.drawn(sample_tolerance=0.0).facts
    assert facts is not None
    assert [(point["rows"], point["log_loss"]) for point in facts["curve"]] == [(200, 0.5), (400, 0.4), (800, 0.4)]
    assert facts["curve"][1]["gain"] == pytest.approx(0.1)
    assert facts["fitted_rows"] == 400
    assert facts["landmark_rows"] == facts["curve"][1]["landmark_rows"]
    assert "twice as many gained 0.00000 log loss" in facts["why"]


def test_the_candidate_is_judged_on_later_rows_and_learns_from_more(place: Place) -> None:
    """A real curve: with signal and few rows to begin with, twice as many are better."""
    facts = place.drawn(max_training_rows=100, sample_tolerance=0.0).facts
    assert facts is not None
    first, second = facts["curve"][:2]
    assert second["gain"] == pytest.approx(first["log_loss"] - second["log_loss"], abs=2e-6)
    assert facts["fitted_rows"] > 100
    assert second["standard_error"] > 0


def test_the_curve_goes_on_while_doubling_gains(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a loss that falls at every doubling: up to all rows, or to what memory holds; a larger draw is made where the rows call for one."""
    real = sampling._Window.loss

    def falling(window: Any, matrix: Any, rows: int, params: TrainingParams) -> Any:
        return real(window, matrix, 200, params) * 0 + 200.0 / rows

    monkeypatch.setattr(sampling._Window, "loss", falling)
    total = place.whole.spine.rows
    everything = place.drawn(sample_tolerance=0.001).facts
    assert everything is not None
    assert "no more rows" in everything["why"]
    assert everything["landmark_rows"] == total
    sizes = [point["landmark_rows"] for point in everything["curve"]]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]
    limited = place.drawn(sample_tolerance=0.001, max_sample_rows=total // 2).facts
    assert limited is not None
    assert limited["landmark_rows"] <= 1.05 * total // 2
    assert limited["fitted_rows"] < everything["fitted_rows"]
    assert limited["why"] == f"memory holds {total // 2:,} landmark rows"


def test_where_no_column_tells_rows_apart_the_base_rate_is_the_candidate(place: Place, tmp_path: Path) -> None:
    rows = [
        row | {"is_used": row["column"] == "attribute:Gone__c"} for row in read_table(place.frames.ledger).to_pylist()
    ]
    ledger = write_table(pa.Table.from_pylist(rows), tmp_path / "ledger.parquet")
    with DuckDBEngine(threads=1) as engine:
        facts = training_sample(place.lake, place.whole, ledger, DRAWING, engine).facts
    assert facts is not None
    assert all(0.6 < point["log_loss"] < 0.75 for point in facts["curve"])
    assert len(facts["curve"]) == 2


def test_a_short_history_has_no_curve(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling._Window, "of", lambda *_: None)
    facts = place.drawn(seed=9).facts
    assert facts is not None
    assert facts["curve"] == []
    assert facts["fitted_rows"] == 200
    assert "too short" in facts["why"]


def test_a_sample_is_found_again_and_a_model_says_what_it_was_trained_on(place: Place, tmp_path: Path) -> None:
    sample = place.drawn()
    assert find(place.lake, sample.features.key, place.whole.as_of, "training") == sample.features
    assert sample.features.absent == place.whole.absent
    params = sample.params(DRAWING)
    recipe = Recipe("logistic_regression", {"C": 0.01}, ("median", {}))
    model = train(
        sample.features,
        place.frames.ledger,
        params,
        models=tmp_path,
        recorder=NullRecorder(),
        recipe=recipe,
        sample=sample.facts,
    )
    card = read_bundle(model.path).card
    assert card["data"]["sample"] == sample.facts
    assert card["data"]["landmark_rows"] == sample.features.spine.rows
    assert card["data_digest"] == sample.features.key
    assert card["params"]["max_training_rows"] == sample.facts["fitted_rows"]  # type: ignore[index]
    assert card["statements"][0].startswith("Trained on a sample: ")
    assert f"{place.whole.spine.rows:,} landmarks" in card["statements"][0]


def test_the_cards_page_names_the_sample(place: Place) -> None:
    card: dict[str, Any] = {"method": defaultdict(str, amount={"why": "", "interval": ""}), "model": {"trained_through": ""}, "replay": None}  # fmt: skip
    assert "Sample" not in _data(card | {"data": {}})
    facts = place.drawn().facts
    assert facts is not None
    assert f"{facts['opportunities']:,} of 1," in _data(card | {"data": {"sample": facts}})["Sample"]
