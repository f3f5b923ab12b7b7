"""A company changes its CRM between two runs of one lake: a column vanishes, another appears, deals move to a stage nobody knew."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.support.cli import DEALS_MAPPING, HEADER, IGNORED_WARNINGS, Outcome, call, csv_text, deals, write_config

pytestmark = [pytest.mark.filterwarnings(text) for text in IGNORED_WARNINGS]

QUICK = {
    "win_families": ["base_rate", "stage_rate", "logistic_regression"],
    "amount_families": ["median", "crm_amount"],
    "bootstrap_rounds": 20,
}
FIRST = deals(600, open_share=0.2)
NEW_STAGE = "Review"


def coin(deal: tuple[str, ...], salt: str) -> float:
    """Between 0 and 1, the same for a deal every time."""
    return hashlib.sha256(f"{salt} {deal[0]}".encode()).digest()[0] / 256


def on_the_first_day() -> str:
    """With a column that says much about who wins."""
    share = {"Won": 0.88, "Lost": 0.15}
    return csv_text(
        [[*deal, "Big" if coin(deal, "segment") < share.get(deal[3], 0.5) else "Small"] for deal in FIRST],
        [*HEADER, "Segment"],
    )


def a_week_later() -> list[tuple[str, ...]]:
    """Of five open deals one is won, one stands in a new stage; some are new."""
    later: list[tuple[str, ...]] = []
    for number, deal in enumerate(FIRST):
        if deal[3] in ("New", "Offer") and number % 5 == 0:
            deal = (*deal[:3], NEW_STAGE, *deal[4:])
        elif deal[3] in ("New", "Offer") and number % 5 == 1:
            deal = (*deal[:3], "Won", deal[4], "2026-01-05", *deal[6:])
        later.append(deal)
    new = [
        (f"E{number:03d}", "S1", "C001", "New", "2026-01-06", "", "2026-03-01", "500.00", "web") for number in range(5)
    ]
    return later + new


LATER = a_week_later()


@dataclass(frozen=True)
class Story:
    """The run of the first day, two of the second (before and after the new stage was mapped), and a training on it."""

    lake: Path
    first: Outcome
    unmapped: Outcome
    quarantine: list[dict[str, Any]]
    mapped: Outcome
    trained: Outcome

    def rows(self, outcome: Outcome, table: str) -> list[dict[str, Any]]:
        return pq.read_table(Path(outcome.json["path"]) / f"{table}.parquet").to_pylist()

    def card(self, trained_through: str) -> dict[str, Any]:
        """What the model trained as of an instant says of itself."""
        cards = [json.loads(path.read_text())["card"] for path in self.lake.glob("models/*/model.json")]
        [card] = [card for card in cards if card["trained_through"] == trained_through]
        return card


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    home = tmp_path_factory.mktemp("story")
    mapping = DEALS_MAPPING | {"exported_at": "file_name"}
    config = write_config(home, mapping=mapping, training=QUICK)

    def land(day: str, text: str) -> None:
        (home / "exports" / day).mkdir(parents=True)
        (home / "exports" / day / f"deals_{day}.csv").write_text(text, encoding="utf-8")

    land("2025-12-31", on_the_first_day())
    first = call("run", "-c", config, "--json").done()
    region = [[*deal, "North" if coin(deal, "region") < 0.5 else "South"] for deal in LATER]
    land("2026-01-06", csv_text(region, [*HEADER, "Region"]))
    unmapped = call("run", "-c", config, "--json")
    quarantine = call("quarantine", "-c", config, "--json").done().json
    stages = {**DEALS_MAPPING["stages"], "open": ["New", "Offer", NEW_STAGE]}
    config = write_config(home, mapping=mapping | {"stages": stages}, training=QUICK)
    mapped = call("run", "-c", config, "--json")
    trained = call("train", "-c", config, "--json")
    return Story(home / "lake", first, unmapped, quarantine, mapped, trained)


def believable(rows: list[dict[str, Any]]) -> None:
    """Each row has a probability in its interval with a score and a grade, or a reason why not."""
    for row in rows:
        p = row["win_probability"]
        if p is None:
            assert row["abstain_reason"]
            continue
        assert row["abstain_reason"] is None
        assert 0 <= row["win_probability_low"] <= p <= row["win_probability_high"] <= 1
        assert row["win_probability_30d"] <= row["win_probability_90d"] <= p
        assert 1 <= row["score"] <= 99
        assert row["expected_amount_low"] <= row["expected_amount"] <= row["expected_amount_high"]


def test_the_first_day_learns_from_the_column(story: Story) -> None:
    model = story.first.json["model"]
    assert model["choice"] == "logistic_regression", model
    assert "attribute:Segment" in story.card("2026-01-01T00:00:00Z")["win"]["columns_used"]
    believable(story.rows(story.first, "scored_opportunities"))


def test_a_vanished_column_does_not_stop_the_run_and_is_told(story: Story) -> None:
    told = story.mapped.done().json
    assert not told["has_trained"]
    assert told["model"]["version"] == story.first.json["model"]["version"]
    rows = story.rows(story.mapped, "scored_opportunities")
    assert len(rows) == sum(deal[3] not in ("Won", "Lost") for deal in LATER)
    believable(rows)
    assert all(row["win_probability"] is not None for row in rows)
    alerts = [row for row in story.rows(story.mapped, "model_monitoring") if row["is_alert"]]
    [vanished] = [row for row in alerts if row["subject"] == "attribute:Segment"]
    assert "the column has vanished" in vanished["detail"]


def test_the_next_training_goes_with_the_columns_there_are(story: Story) -> None:
    """Nothing tells deals apart any more, so it says no skill, and rates do not take the champion's place."""
    told = story.trained.done().json
    card = story.card("2026-01-07T00:00:00Z")
    assert "attribute:Region" in card["ledger"]["used"]
    assert "attribute:Segment" not in card["ledger"]["used"]
    assert not card["win"]["has_skill"]
    assert told["model"]["version"] == story.first.json["model"]["version"]


def test_a_stage_nobody_mapped_is_quarantined_by_name_and_its_deals_keep_their_last_state(story: Story) -> None:
    assert story.unmapped.code == 3, story.unmapped.text[-3_000:]
    moved = {deal[0] for deal in LATER if deal[3] == NEW_STAGE}
    assert len(moved) > 20
    records = [row for row in story.quarantine if row["scope"] == "record"]
    assert {row["reason"] for row in records} == {"unknown stage"}
    assert NEW_STAGE in str(records[0])
    assert len(records) == len(moved)
    rows = {row["opportunity_id"]: row for row in story.rows(story.unmapped, "scored_opportunities")}
    before = {deal[0]: deal[3] for deal in FIRST}
    assert all(rows[deal]["stage"] == before[deal] for deal in moved)
    believable(list(rows.values()))


def test_a_new_stage_is_scored_once_it_is_mapped(story: Story) -> None:
    """Where no history of stages taught the model what they mean, a new one is one more stage without a past."""
    rows = [row for row in story.rows(story.mapped, "scored_opportunities") if row["stage"] == NEW_STAGE]
    assert {row["opportunity_id"] for row in rows} == {deal[0] for deal in LATER if deal[3] == NEW_STAGE}
    believable(rows)
