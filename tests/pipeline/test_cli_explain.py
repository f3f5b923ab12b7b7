"""`sales-pipeline explain` on what two runs left in a lake of the committed sample."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from dagster_project.explaining import Explanation
from dagster_project.explaining_text import NAMES, WORDS, to_lines
from tests.support.cli import IGNORED_WARNINGS, SAMPLE, Outcome, call

pytestmark = [pytest.mark.filterwarnings(text) for text in IGNORED_WARNINGS]

EARLY, NEWEST = "2026-06-02", "2026-06-30"
CHINESE = re.compile("[\u4e00-\u9fff]")


@dataclass(frozen=True)
class Desk:
    """Two published runs, the rows of the newer one that were scored in both, and a configuration to look at them with."""

    home: Path
    config: Path
    lake: Path
    folder: Path
    rows: list[dict[str, Any]]

    @property
    def moved(self) -> dict[str, Any]:
        """The opportunity whose probability moved most."""
        return max(self.rows, key=lambda row: abs(row["win_probability"] - row["previous_win_probability"]))

    def explain(self, opportunity: str, *more: str, config: Path | None = None) -> Outcome:
        return call("explain", opportunity, "-c", config or self.config, "--lake", self.lake, *more)

    def told(self, opportunity: str, *more: str) -> Any:
        return self.explain(opportunity, "--json", *more).done().json

    def configured(self, name: str, **scoring: Any) -> Path:
        """The configuration with other scoring parameters."""
        settings = yaml.safe_load(self.config.read_text(encoding="utf-8")) | {"scoring": scoring}
        path = self.config.with_name(f"{name}.yaml")
        path.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
        return path


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    home = tmp_path_factory.mktemp("explain")
    config, lake = home / "pipeline.yaml", home / "lake"
    call("init", SAMPLE / "export", "-o", config).done()
    settings = yaml.safe_load(config.read_text(encoding="utf-8"))
    settings["training"] = {
        "win_families": ["base_rate", "logistic_regression"],
        "amount_families": ["median"],
        "bootstrap_rounds": 20,
    }
    config.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    call("run", "-c", config, "--lake", lake, "--as-of", EARLY).done()
    folder = Path(call("run", "-c", config, "--lake", lake, "--json").done().json["path"])
    scored = pq.read_table(folder / "scored_opportunities.parquet").to_pylist()
    both = [row for row in scored if row["previous_win_probability"] is not None and row["win_probability"] is not None]
    assert both
    return Desk(home, config, lake, folder, both)


def is_chinese(reason: dict[str, Any]) -> bool:
    """Names and values of the export's own fields stay as they are; only the colon between them is ours."""
    return bool(CHINESE.search(reason["text"])) or (reason["code"].startswith("attribute:") and "：" in reason["text"])


def log_odds(p: float) -> float:
    return math.log(p) - math.log1p(-p)


def test_base_and_contributions_add_up_to_the_published_probability(desk: Desk) -> None:
    for row in desk.rows[:3]:
        told = desk.told(row["opportunity_id"])
        parts = told["contributions"]
        assert parts["note"] is None
        total = parts["base"] + sum(reason["weight"] for reason in parts["reasons"])
        assert total == pytest.approx(log_odds(row["win_probability"]), abs=1e-4)
        assert told["scored"]["score"] == row["score"]
        assert [abs(reason["weight"]) for reason in parts["reasons"]] == sorted(
            (abs(reason["weight"]) for reason in parts["reasons"]), reverse=True
        )
        published = {reason["code"]: reason for side in ("reasons_up", "reasons_down") for reason in row[side]}
        found = {reason["code"]: reason for reason in parts["reasons"]}
        for code, reason in published.items():
            assert found[code]["text"] == reason["text"]
            assert found[code]["weight"] == pytest.approx(reason["weight"], abs=1e-4)


def test_the_change_adds_up_to_the_published_change(desk: Desk) -> None:
    row = desk.moved
    told = desk.told(row["opportunity_id"])
    change = told["change"]
    parts = [change[part] for part in ("time", "data", "model", "recalibration")]
    assert sum(parts) == pytest.approx(change["total"], abs=1e-9)
    expected = log_odds(row["win_probability"]) - log_odds(row["previous_win_probability"])
    assert change["total"] == pytest.approx(expected, abs=1e-6)
    assert told["change_note"] is None
    assert told["previous"]["model_version"] == told["scored"]["model_version"]
    assert change["model"] == change["recalibration"] == 0


def test_people_read_score_reasons_change_and_history(desk: Desk) -> None:
    row = desk.moved
    out = desk.explain(row["opportunity_id"]).done().out
    for words in ("win probability", "where every score of this model starts", "together", "Why it changed", "in all"):
        assert words in out
    assert row["opportunity_id"] in out
    assert re.search(r"\d{4}-\d\d-\d\d  stage: ", out)
    assert re.search(r"activities: ", out)
    assert "{" not in out


def test_a_salesforce_id_of_15_characters_is_the_same_record(desk: Desk) -> None:
    name = desk.moved["opportunity_id"]
    assert len(name) == 18
    assert desk.told(name[:15]) == desk.told(name) == desk.told(name.lower())


def test_it_speaks_chinese(desk: Desk) -> None:
    row = desk.moved
    out = desk.explain(row["opportunity_id"], "--language", "zh").done().out
    assert "赢单概率" in out
    assert "合计" in out
    told = desk.told(row["opportunity_id"], "--language", "zh")
    assert all(is_chinese(reason) for reason in told["contributions"]["reasons"])
    english = desk.told(row["opportunity_id"])
    assert [reason["weight"] for reason in told["contributions"]["reasons"]] == [
        reason["weight"] for reason in english["contributions"]["reasons"]
    ]
    desk.explain(row["opportunity_id"], "--language", "fr").refused(2, "no such language", "en, zh", "fr")


def test_the_day_before_has_nothing_to_compare(desk: Desk) -> None:
    told = desk.told(desk.moved["opportunity_id"], "--as-of", EARLY)
    assert told["as_of"].startswith("2026-06-03")
    assert told["change"] is None
    assert told["change_note"] == "first_run"
    assert all(move["on"] <= EARLY for move in told["history"]["changes"])
    desk.explain(desk.moved["opportunity_id"], "--as-of", "2026-06-10").refused(
        2, "nothing is published", EARLY, NEWEST
    )


def test_an_unknown_id_is_refused(desk: Desk) -> None:
    desk.explain("nobody").refused(2, "no such opportunity", "nobody", "--as-of")


def test_a_closed_opportunity_is_named_as_closed(desk: Desk) -> None:
    known = pq.read_table(
        next((desk.lake / "canonical").glob("*/opportunities.parquet")), columns=["opportunity_id", "state"]
    ).to_pylist()
    closed = next(row["opportunity_id"] for row in known if row["state"] == "won")
    desk.explain(closed).refused(2, "not scored", closed, "won since")


def test_sensitive_fields_are_told_nowhere(desk: Desk) -> None:
    config = desk.configured("sensitive", sensitive=["stage", "amount", "activity_count_30d"])
    row = desk.moved
    out = desk.explain(row["opportunity_id"], "--json", config=config).done().json
    told = [*out["contributions"]["reasons"], *(out["change"] or {}).get("details", ())]
    assert not {"stage", "amount"} & {reason["code"] for reason in told}
    assert not any(row["stage"] in reason["text"] for reason in told)
    assert not {"stage", "amount"} & {move["field"] for move in out["history"]["changes"]}
    assert "activities" not in out["history"]


def test_a_run_words_its_reasons_as_the_configuration_says(desk: Desk) -> None:
    """The wording belongs to what predictions are kept by: the same day in Chinese is another run with the same figures."""
    config = desk.configured("chinese", language="zh")
    done = call("run", "-c", config, "--lake", desk.lake, "--json").done().json
    again = pq.read_table(Path(done["path"]) / "scored_opportunities.parquet").to_pylist()
    before = pq.read_table(desk.folder / "scored_opportunities.parquet").to_pylist()
    assert [row["win_probability"] for row in again] == [row["win_probability"] for row in before]
    reasons = [reason for row in again for side in ("reasons_up", "reasons_down") for reason in row[side]]
    assert reasons
    assert all(is_chinese(reason) for reason in reasons)


def test_an_abstention_is_told_with_its_reason() -> None:
    row = dict.fromkeys(("amount", "crm_close_date", "currency", "expected_amount", "grade", "predicted_close_date"))
    row |= dict.fromkeys(("score", "trend", "win_probability", "win_probability_30d", "win_probability_90d"))
    row |= {"abstain_reason": "no creation date", "evidence_level": "rules", "model_name": "m", "model_version": "v"}
    told = Explanation(
        run_id="r",
        as_of="2026-07-01T00:00:00Z",
        opportunity_id="x",
        language="en",
        row=row,
        family=None,
        base=None,
        reasons=(),
        note=None,
        previous=None,
        change=None,
        change_note="not_scored_before",
        history={"changes": [], "activities": [], "planned": []},
    )
    text = "\n".join(to_lines(told))
    assert "no win probability: no creation date" in text
    assert "nothing to take apart" in text
    assert "did not hold it" in text
    assert "no changes recorded" in text


def test_headings_are_there_in_both_languages() -> None:
    placeholder = re.compile(r"\{\w+\}")
    assert set(WORDS["en"]) == set(WORDS["zh"])
    for key, text in WORDS["en"].items():
        assert sorted(placeholder.findall(text)) == sorted(placeholder.findall(WORDS["zh"][key])), key
    assert set(NAMES["en"]) <= set(NAMES["zh"])
