"""The model card: its parts, its limits, its page, and which replay speaks for it."""

import json
import re
import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dagster_project.cards import REPLAY_FACTS, REPLAY_ROWS, card_documents, newest_replay, replay_proof, stored_replay
from sales_pipeline.contracts.internal import REPLAY
from sales_pipeline.delivery.card_charts import dates_svg, reliability_svg, segments_svg
from sales_pipeline.delivery.card_page import card_page
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.tables import write_table
from sales_pipeline.models.card import JudgedWindow, judged_figures, ledger_summary
from sales_pipeline.models.encoding import Encoding, learn_encoding
from sales_pipeline.models.estimators import Linear, Rates
from sales_pipeline.models.matrix import Matrix, SourceColumn
from sales_pipeline.models.model_card import model_card
from sales_pipeline.models.params import TrainingParams
from sales_pipeline.models.proof import proof
from sales_pipeline.models.stability import importance, owner_columns
from tests.support.cards import training_card
from tests.support.replay_rows import expit, logit, make_replay, replay_facts
from tests.support.scores_page import PAGE, fill, parts_of


@pytest.fixture(scope="module")
def proven() -> dict[str, Any]:
    rows, end = make_replay(opportunities=4000)
    return proof(rows, rounds=20, seed=1, end=end)


@pytest.fixture(scope="module")
def off() -> dict[str, Any]:
    rows, end = make_replay(opportunities=8000, says=lambda p, stage: expit(logit(p) + 1.2 * (stage == "Proposal")))
    return proof(rows, rounds=20, seed=1, end=end)


def _card(proven: dict[str, Any] | None, **win: Any) -> dict[str, Any]:
    facts = replay_facts(8) if proven else None
    return model_card(training_card(**win), name="win-probability", version="v1", proof=proven, replay=facts)


class TestCard:
    def test_what_the_training_said_stays_where_it_was(self, proven: dict[str, Any]) -> None:
        training, card = training_card(), _card(proven)
        assert {name: card[name] for name in training} == training
        assert card["schema_version"] == 1
        json.dumps(card, allow_nan=False)

    def test_figures_come_from_the_replay_where_there_is_one(self, proven: dict[str, Any]) -> None:
        card = _card(proven)
        assert card["figures"]["basis"] == "replay"
        assert card["figures"]["win"] == proven["win"]["model"]

    def test_without_a_replay_it_says_so(self) -> None:
        card = _card(None)
        assert card["figures"]["basis"] == "last_window"
        assert card["limits"][0].startswith("No replay yet: figures of the untouched last window")
        assert card["proof"] is None

    def test_without_any_later_outcome_there_are_no_figures(self) -> None:
        card = _card(None, test=None)
        assert card["figures"] == {
            "basis": "none",
            "note": "No replay yet, and no window of later outcomes to judge by: there are no figures out of time.",
            "win": None,
        }

    def test_features_carry_importance_and_how_often_they_were_kept(self, proven: dict[str, Any]) -> None:
        rows = {row["column"]: row for row in _card(proven)["features"]}
        assert rows["days_in_stage"]["share"] == 0.6
        assert (rows["days_in_stage"]["kept"], rows["days_in_stage"]["dates"]) == (0, 8)

    def test_owner_effects_are_told(self, proven: dict[str, Any]) -> None:
        card = _card(proven)
        assert card["owner_effects"]["share"] == 0.4
        assert card["owner_effects"]["owner_free"] is None
        assert any("40% of what moves the scores is about the owner" in limit for limit in card["limits"])
        assert _card(proven, importance=None)["owner_effects"]["share"] is None

    def test_a_good_replay_leaves_few_words(self, proven: dict[str, Any]) -> None:
        limits = _card(proven, importance=None)["limits"]
        assert "Landmarks are weighted" in limits
        assert not any("Clearly off" in limit or "not clearly better" in limit for limit in limits)

    def test_what_is_off_is_named(self, off: dict[str, Any]) -> None:
        text = "\n".join(_card(off)["limits"])
        assert "Clearly off in 1 of 3 segments by stage; wins seen over wins expected: Proposal 0." in text
        assert "Probabilities are off by" in text
        assert "Wins seen were 0." in text

    def test_a_model_no_better_than_the_stage_rate_is_called_so(self) -> None:
        rows, end = make_replay(opportunities=900)
        index = rows.schema.get_field_index("stage_rate")
        same = rows.set_column(index, "stage_rate", rows.column("win_probability"))
        card = _card(proof(same, rounds=20, seed=1, end=end))
        assert any(limit.startswith("The model is not clearly better than the stage rate") for limit in card["limits"])

    def test_a_replay_of_another_family_is_no_proof_of_this_model(self, proven: dict[str, Any]) -> None:
        card = _card(proven, choice="gradient_boosting")
        assert any(
            "The replay used logistic_regression; this model is gradient_boosting" in limit for limit in card["limits"]
        )

    def test_a_model_that_abstains_has_a_card_too(self) -> None:
        win = {
            "choice": None,
            "why": "all 3 closed opportunities were won",
            "evidence_level": "rules",
            "candidates": [],
        }
        training = training_card() | {"win": win}
        card = model_card(training, name="m", version="v")
        assert card["limits"][0] == "No probability is given: all 3 closed opportunities were won."
        assert "The model looks at no columns" in card_page(card)


class TestParts:
    def test_the_ledger_s_figures_are_in_the_card(self) -> None:
        verdicts = [
            {
                "column": "b",
                "verdict": "leak",
                "is_used": False,
                "reason": "r",
                "basis": "statistics",
                "auc_alone": 0.93,
                "figure": None,
            },
            {
                "column": "a",
                "verdict": "use",
                "is_used": True,
                "reason": "",
                "basis": "none",
                "auc_alone": 0.6,
                "figure": None,
            },
        ]
        assert ledger_summary(verdicts) == {
            "used": ["a"],
            "left_out": [{"column": "b", "verdict": "leak", "reason": "r", "basis": "statistics", "auc_alone": 0.93}],
        }

    def test_the_last_window_is_judged_with_its_weights(self) -> None:
        won, p = np.array([1.0, 0.0, 0.0, 1.0] * 20), np.full(80, 0.5)
        weight = np.where(won == 1, 3.0, 1.0)
        window = JudgedWindow(np.arange(80), np.arange(80).astype(object), won, p, weight)
        figures = judged_figures(window, TrainingParams(bootstrap_rounds=20))
        assert figures is not None
        assert figures["win_rate"] == pytest.approx(0.75)
        assert judged_figures(None, TrainingParams()) is None

    def test_importance_is_the_share_of_the_contributions(self) -> None:
        columns = (
            SourceColumn("amount", "number", "amount"),
            SourceColumn("owner_win_rate", "number", "owner's win rate"),
        )
        random = np.random.default_rng(1)
        frame = pd.DataFrame({"amount": random.normal(size=400), "owner_win_rate": random.normal(size=400)})
        keys = pd.DataFrame({"opportunity_id": [str(n) for n in range(400)]})
        encoding = learn_encoding(frame, columns, max_categories=5, min_category_rows=5)
        matrix = Matrix(frame, keys, columns)
        x = encoding.encode(matrix)
        coefficients = np.where(x.groups == 1, 3.0, 1.0) * (np.abs(x.x).sum(axis=0) > 0)
        rows = importance(encoding, Linear(coefficients, 0.0, x.x.mean(axis=0)), matrix)
        assert [row["column"] for row in rows] == ["owner_win_rate", "amount"]
        assert rows[0]["is_about_owner"]
        assert rows[0]["share"] == pytest.approx(0.75, abs=0.05)
        assert sum(row["share"] for row in rows) == pytest.approx(1.0, abs=1e-5)
        assert importance(encoding, Linear(0 * coefficients, 0.0, x.x.mean(axis=0)), matrix) == []

    def test_importance_of_rates_names_their_fields(self) -> None:
        keys = pd.DataFrame({"stage": ["A", "B"], "owner_id": ["x", "y"], "opportunity_id": ["1", "2"]})
        rates = Rates(0.0, {"stage": {"A": 1.0, "B": -1.0}, "owner_id": {"x": 0.5}})
        rows = importance(Encoding((), ()), rates, Matrix(pd.DataFrame(index=range(2)), keys, ()))
        assert [(row["column"], row["is_about_owner"]) for row in rows] == [("stage", False), ("owner_id", True)]

    def test_owner_columns_are_found_in_the_catalogue(self) -> None:
        assert {"owner_win_rate", "owner_team", "owner_id"} <= owner_columns()
        assert "stage" not in owner_columns()


class Resources(HTMLParser):
    """Collects what a browser would fetch or run, ids, and whether tags close."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href") and value and not value.startswith("#"):
                self.fetched.append(value)
            if name == "id" and value:
                self.ids.append(value)


class TestPage:
    def test_it_needs_nothing_from_outside_and_runs_nothing(self, proven: dict[str, Any]) -> None:
        page = card_page(_card(proven))
        found = Resources()
        found.feed(page)
        assert found.fetched == []
        assert not {"script", "iframe", "link", "img", "object"} & set(found.tags)
        assert "@import" not in page
        assert len(found.ids) == len(set(found.ids))

    def test_the_same_card_gives_the_same_bytes(self, proven: dict[str, Any]) -> None:
        assert card_documents(_card(proven)) == card_documents(_card(proven))

    def test_it_shows_the_figures_of_the_card(self, proven: dict[str, Any]) -> None:
        page = card_page(_card(proven))
        assert f"{proven['win']['model']['log_loss']:.3f}" in page
        for row in proven["dates"]:
            assert row["as_of"][:10] in page
        for row in proven["segments"]:
            assert row["value"] in page
        assert "Lost_Reason__c" in page
        assert page.count("<svg") == 3

    def test_without_a_replay_it_shows_the_last_window(self) -> None:
        page = card_page(_card(None))
        assert "The untouched last window" in page
        assert "<svg" not in page

    def test_a_replay_in_which_nothing_closed_has_a_page(self) -> None:
        rows, end = make_replay(opportunities=100)
        empty = proof(rows.slice(0, 0), rounds=20, seed=1, end=end)
        card = _card(empty)
        assert card["figures"]["basis"] == "last_window"
        assert any("nothing has closed yet" in limit for limit in card["limits"])
        assert "<svg" not in card_page(card)

    def test_names_from_the_crm_are_text_never_markup(self, proven: dict[str, Any]) -> None:
        evil = '<script>alert("$x^2$")</script>'
        segments = [row | ({"value": evil} if index == 0 else {}) for index, row in enumerate(proven["segments"])]
        card = _card({**proven, "segments": segments})
        page = card_page(card)
        found = Resources()
        found.feed(page)
        assert "script" not in found.tags
        assert "&lt;script&gt;alert" in page

    @pytest.mark.parametrize("draw", ["reliability", "dates", "segments"])
    def test_pictures_are_well_formed_named_and_without_a_date(self, proven: dict[str, Any], draw: str) -> None:
        text = {
            "reliability": lambda: reliability_svg(proven["reliability"]),
            "dates": lambda: dates_svg(proven["dates"]),
            "segments": lambda: segments_svg(proven["segments"]),
        }[draw]()
        root = ET.fromstring(text)
        assert root.attrib["role"] == "img"
        assert root.find("{http://www.w3.org/2000/svg}title") is not None
        assert "metadata" not in text
        assert not re.search(r"20\d\d-\d\d-\d\dT", text)


class TestWhichReplay:
    def _store(self, lake: Lake, key: str, end: datetime, dates: int = 4) -> None:
        rows, _ = make_replay(opportunities=60, dates=4)
        path = lake.step_path("replays", key)
        write_table(rows, path / REPLAY_ROWS, REPLAY)
        (path / REPLAY_FACTS).write_text(json.dumps(replay_facts(dates) | {"end": end.isoformat()}))

    def test_the_newest_that_knows_nothing_later(self, tmp_path: Path) -> None:
        lake, day = Lake(tmp_path), datetime(2026, 7, 1, tzinfo=UTC)
        assert newest_replay(lake, day) is None
        self._store(lake, "older", day - timedelta(days=60))
        self._store(lake, "newer", day - timedelta(days=1))
        self._store(lake, "tomorrow", day + timedelta(days=1))
        found = newest_replay(lake, day)
        assert found is not None
        assert found.key == "newer"
        assert stored_replay(lake, "nowhere") is None

    def test_of_two_through_the_same_day_the_longer(self, tmp_path: Path) -> None:
        lake, day = Lake(tmp_path), datetime(2026, 7, 1, tzinfo=UTC)
        self._store(lake, "a", day, dates=8)
        self._store(lake, "b", day, dates=4)
        found = newest_replay(lake, day)
        assert found is not None
        assert found.key == "a"

    def test_its_proof_is_computed_once(self, tmp_path: Path) -> None:
        lake, day = Lake(tmp_path), datetime(2027, 7, 1, tzinfo=UTC)
        self._store(lake, "a", day)
        replay = stored_replay(lake, "a")
        assert replay is not None
        params = TrainingParams(bootstrap_rounds=20)
        first = replay_proof(lake, replay, params)
        (replay.path / REPLAY_ROWS).unlink()
        assert replay_proof(lake, replay, params) == first


def test_the_documentation_page_has_a_place_for_every_part(proven: dict[str, Any]) -> None:
    page = PAGE.read_text(encoding="utf-8")
    parts = parts_of(_card(proven))
    filled = fill(page, parts)
    assert all(text.strip() in filled for text in parts.values())
    assert fill(filled, parts) == filled
    with pytest.raises(KeyError, match="no markers"):
        fill(page, {"nothing": ""})
