"""Flat tables of real deals and leads through `init` and `fit`: what is caught as known too late, and what that is worth."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.cli import DATA, IGNORED_WARNINGS, call

pytestmark = [
    pytest.mark.skipif(not DATA.is_dir(), reason="the folder of real data, ../shared/data, is not there"),
    *(pytest.mark.filterwarnings(text) for text in IGNORED_WARNINGS),
]

IBM = DATA / "ibm_sales_win_loss" / "WA_Fn-UseC_-Sales-Win-Loss.csv"
PROCESS_COLUMNS = {
    "Elapsed Days In Sales Stage",
    "Sales Stage Change Count",
    "Total Days Identified Through Closing",
    "Total Days Identified Through Qualified",
    "Ratio Days Identified To Total Days",
    "Ratio Days Validated To Total Days",
    "Ratio Days Qualified To Total Days",
}
LEADS = DATA / "x_education" / "Leads.csv"
AFTER_CONTACT = {
    "Tags",
    "Lead Quality",
    "Lead Profile",
    "Last Activity",
    "Last Notable Activity",
    "Asymmetrique Activity Index",
    "Asymmetrique Activity Score",
    "Asymmetrique Profile Index",
    "Asymmetrique Profile Score",
}
FAMILIES = {
    "base_rate",
    "frequency_naive_bayes",
    "logistic_regression",
    "decision_tree",
    "linear_svm",
    "rbf_svm",
    "gradient_boosting",
}


def best(told: dict[str, Any], columns: str, figure: str = "auc") -> float:
    return max(one[figure] for one in told["results"] if one["columns"] == columns)


def left_out(told: dict[str, Any], *verdicts: str) -> set[str]:
    return {row["column"] for row in told["ledger"] if row["verdict"] in verdicts}


def hold_ibm(told: dict[str, Any]) -> None:
    """The seven process columns are suspects, nothing else is, and the figures stand side by side."""
    caught = left_out(told, "suspect", "leak")
    assert caught == PROCESS_COLUMNS, (
        f"recall {len(caught & PROCESS_COLUMNS)}/7, false positives {caught - PROCESS_COLUMNS}"
    )
    assert left_out(told, "identifier") == {"Opportunity Number"}
    assert told["is_time_ordered"] is False
    assert any("RANDOM" in statement for statement in told["statements"])
    for columns in ("without suspects", "with suspects"):
        assert {one["family"] for one in told["results"] if one["columns"] == columns} == FAMILIES
    assert 0.76 < best(told, "without suspects") < 0.88
    assert best(told, "with suspects") > 0.9


@pytest.fixture(scope="module")
def ibm_sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every fifteenth record, for a fast look."""
    with IBM.open(newline="", encoding="utf-8") as handle:
        rows = list(csv.reader(handle))
    path = tmp_path_factory.mktemp("ibm") / "Sales-Win-Loss.csv"
    with path.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows([rows[0], *rows[1::15]])
    return path


def test_ibm_init_finds_the_outcome_and_asks_for_the_time(ibm_sample: Path, tmp_path: Path) -> None:
    told = call("init", ibm_sample, "-o", tmp_path / "pipeline.yaml").done()
    mapping = yaml.safe_load((tmp_path / "pipeline.yaml").read_text())["mapping"]
    assert mapping["outcome"]["column"] == "Opportunity Result"
    assert mapping["outcome"]["won"] == ["Won"]
    assert "None" not in mapping.get("missing", [])
    assert "question:" in told.err
    told = call("run", "-c", tmp_path / "pipeline.yaml", "--lake", tmp_path / "lake")
    told.refused(5, "does not say when it was written", "mapping.exported_at")


def test_ibm_suspects_are_all_seven_and_no_other(ibm_sample: Path, tmp_path: Path) -> None:
    hold_ibm(
        call("fit", ibm_sample, "--target", "Opportunity Result", "--lake", tmp_path / "lake", "--json").done().json
    )


@pytest.mark.slow
def test_ibm_whole(tmp_path: Path) -> None:
    told = call("fit", IBM, "--target", "Opportunity Result", "--lake", tmp_path / "lake", "--json").done().json
    hold_ibm(told)
    assert told["rows"] == 78_025


def test_x_education_columns_after_the_contact_are_left_out(tmp_path: Path) -> None:
    told = call("fit", LEADS, "--target", "Converted", "--lake", tmp_path / "lake", "--json").done().json
    assert told["rows"] == 9_240
    assert left_out(told, "suspect", "leak") == AFTER_CONTACT
    assert left_out(told, "identifier") == {"Prospect ID", "Lead Number"}
    assert 0.82 < best(told, "without suspects") < 0.9
    assert best(told, "with suspects") > 0.92


def test_x_education_select_is_guessed_to_be_missing(tmp_path: Path) -> None:
    call("init", LEADS, "-o", tmp_path / "pipeline.yaml").done()
    mapping = yaml.safe_load((tmp_path / "pipeline.yaml").read_text())["mapping"]
    assert "Select" in mapping["missing"]
    assert mapping["outcome"]["column"] == "Converted"
