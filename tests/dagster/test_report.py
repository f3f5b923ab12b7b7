"""The report as Dagster shows it: metadata and two checks of `published`, each seen to fail."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from dagster_project.checks import REPORT_ALONE_CHECK, REPORT_SIZE_CHECK
from dagster_project.report_checks import report_checks, report_metadata
from dagster_project.reporting import REPORT, ReportFacts, find_report, report_facts
from sales_pipeline.errors import ConfigurationError
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.runs import publish_run, write_run


def facts(**values: object) -> ReportFacts:
    given = {"path": "report.html", "bytes": 10, "most_bytes": 20, "references": ()} | values
    return ReportFacts(**given)  # type: ignore[arg-type]


def verdicts(report: ReportFacts | None) -> dict[str, tuple[bool, dg.AssetCheckSeverity, str]]:
    return {
        check.check_name or "": (check.passed, check.severity, check.description or "")
        for check in report_checks("published", report)
    }


def test_a_good_report_passes_and_shows_its_size() -> None:
    found = verdicts(facts())
    assert [passed for passed, _, _ in found.values()] == [True, True]
    assert found[REPORT_SIZE_CHECK][2] == "10 of at most 20 bytes"
    assert report_metadata(facts())["report bytes"] == 10


def test_a_large_report_is_a_warning_and_one_that_leads_out_an_error() -> None:
    found = verdicts(facts(bytes=21, references=("<script>",)))
    assert found[REPORT_SIZE_CHECK][:2] == (False, dg.AssetCheckSeverity.WARN)
    assert found[REPORT_ALONE_CHECK] == (False, dg.AssetCheckSeverity.ERROR, "leads out of the page: <script>")


def test_a_run_without_a_report_has_nothing_to_show() -> None:
    assert report_metadata(None) == {}
    assert [passed for passed, _, _ in verdicts(None).values()] == [True, True]


def test_facts_are_read_from_the_published_bytes(tmp_path: Path) -> None:
    assert report_facts(tmp_path) is None
    (tmp_path / REPORT).write_text('<a href="left_out.csv">x</a><img src="y">', encoding="utf-8")
    (tmp_path / "left_out.csv").touch()
    found = report_facts(tmp_path)
    assert found is not None
    assert found.references == ("<img>", "img src=y")
    assert found.is_small


def test_the_report_of_a_run_is_found_or_said_to_be_missing(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    with pytest.raises(ConfigurationError, match="nothing is published"):
        find_report(lake, None)

    def build(folder: Path, *, has_report: bool) -> dict[str, str]:
        if has_report:
            (folder / REPORT).write_text("<p>x</p>", encoding="utf-8")
        return {"as_of": "2026-07-01T00:00:00Z" if has_report else "2026-06-01T00:00:00Z"}

    for name, has_report in (("run-old", False), ("run-new", True)):
        write_run(lake, name, lambda folder, has_report=has_report: build(folder, has_report=has_report))
        publish_run(lake, name)
    assert find_report(lake, None) == lake.runs / "run-new" / REPORT
    with pytest.raises(ConfigurationError, match="published without a report"):
        find_report(lake, "run-old")
    with pytest.raises(ConfigurationError, match=r"one of the newest: run-old \(2026-06-01\), run-new"):
        find_report(lake, "run-1")
