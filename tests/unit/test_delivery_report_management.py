"""The report's sections on forecast, team, accounts and the queue's effect."""

from __future__ import annotations

import re
from decimal import Decimal

import pyarrow as pa
import pytest

from sales_pipeline.contracts.published import PUBLISHED_TABLES
from sales_pipeline.delivery.report.blocks import Column, DataTable
from sales_pipeline.delivery.report.charts import Bar, bridge_svg
from sales_pipeline.delivery.report.guard import outside_references
from sales_pipeline.delivery.report.page import report_page
from sales_pipeline.delivery.svg import Look
from sales_pipeline.features.terms import Language
from tests.support.management_rows import management_tables
from tests.support.published_run import run_tables
from tests.support.report_page import EVIL, Page, report_inputs

FILES = {f"{name}.csv" for name in PUBLISHED_TABLES} | {"model_card.html"}


def text_of(tables: dict[str, pa.Table], language: Language = "en") -> str:
    return re.sub(r"\s+", " ", Page(report_page(report_inputs(tables, language=language))).text)


@pytest.fixture(scope="module")
def told() -> str:
    return text_of({**run_tables(), **management_tables()})


def test_the_summary_gives_the_quarter_with_its_quota(told: str) -> None:
    assert "2026-Q3 stands at €1K won and €4K expected by its end (80 %: €2.5K–€6K), 50% of the quota of €8K." in told


def test_what_falls_short_is_worried_about(told: str) -> None:
    assert "2026-Q3 is out of reach of its quota: even the upper end of the range, €6K, lies below €8K." in told
    tables = {**run_tables(), **management_tables()}
    rows = tables["revenue_forecast"].to_pylist()
    rows[0]["high"] = Decimal(9000)
    tables["revenue_forecast"] = pa.Table.from_pylist(rows, schema=tables["revenue_forecast"].schema)
    team = [row | {"unanswered_count": 3} for row in tables["team_performance"].to_pylist()]
    tables["team_performance"] = pa.Table.from_pylist(team, schema=tables["team_performance"].schema)
    account = [
        row | {"segment": "loyal", "engagement_trend": "falling"} for row in tables["account_insights"].to_pylist()
    ]
    tables["account_insights"] = pa.Table.from_pylist(account, schema=tables["account_insights"].schema)
    text = text_of(tables)
    assert "2026-Q3 is expected to end €4K short of its quota of €8K (50% of it)." in text
    assert "3 times customers wrote or called in the last 90 days and nobody has answered." in text
    assert "1 good customer is in touch clearly less than before." in text
    rows[0] |= {"expected": Decimal(7950), "attainment": 0.99375}
    tables["revenue_forecast"] = pa.Table.from_pylist(rows, schema=tables["revenue_forecast"].schema)
    assert "short of its quota" not in text_of(tables)


def test_the_bridge_gives_its_parts_with_their_signs(told: str) -> None:
    assert "A bridge from €3.5K expected then to €4K expected now; the largest part is new with +€900." in told
    assert "lost −€400" in told


def test_the_history_is_that_of_published_runs_where_there_are_two(told: str) -> None:
    assert "What was said of 2026-Q3, date by date. From published runs." in told


def test_accuracy_gives_bias_and_coverage(told: str) -> None:
    assert "this forecast months · the replay of past dates 12 €500 −8% 80%" in told


def test_a_win_rate_never_stands_without_its_interval(told: str) -> None:
    assert "30% 20%–40% · above the company" in told.replace("20–40%", "20%–40%")
    assert "1 of 1 lie clearly above or below it" in told
    assert "North · not active" in told
    assert "€4K 50% of quota" in told


def test_accounts_at_risk_are_told_with_what_to_do(told: str) -> None:
    assert "account-a at risk · no owner" in told
    assert "win back The last win was 400 days ago." in told


def test_no_evidence_is_called_so(told: str) -> None:
    assert "No evidence yet: nothing has matured" in told


def test_without_quotas_the_columns_go_and_a_sentence_says_why() -> None:
    text = text_of({**run_tables(), **management_tables(has_quota=False)})
    assert "; there is no quota." in text
    assert "No quotas in the export: coverage and attainment are not shown." in text
    assert "No activities in the export" in text
    assert "expected / quota" not in text


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_stands_alone_with_every_section(language: Language) -> None:
    tables = {**run_tables(), **management_tables()}
    text = report_page(report_inputs(tables, language=language))
    page = Page(text)
    assert page.badly_closed == []
    assert len(page.ids) == len(set(page.ids))
    assert outside_references(text, FILES) == []
    assert {"forecast-title", "bridge-title", "history-title", "team-title", "accounts-title"} <= set(page.ids)


def test_hostile_keys_are_text() -> None:
    tables = {**run_tables(), **management_tables()}
    for name in ("revenue_forecast", "team_performance", "account_insights"):
        rows = tables[name].to_pylist()
        for row in rows:
            for column in ("key", "account_id", "care_reason", "owner_id", "team"):
                if column in row and row.get("level") != "company":
                    row[column] = EVIL
        tables[name] = pa.Table.from_pylist(rows, schema=tables[name].schema)
    page = Page(report_page(report_inputs(tables)))
    assert "script" not in page.tags
    assert page.badly_closed == []


def test_empty_tables_are_missing_ones() -> None:
    tables = {**run_tables(), **{name: table.slice(0, 0) for name, table in management_tables().items()}}
    text = text_of(tables)
    assert "This run holds no forecast." in text
    assert "This run holds no team table." in text
    assert "This run holds no account table." in text


def test_accounts_without_risk_and_without_anything_open_are_told() -> None:
    tables = management_tables()
    rows = tables["account_insights"].to_pylist()
    rows[0] |= {"silence_level": "low", "open_count": 0}
    tables["account_insights"] = pa.Table.from_pylist(rows, schema=tables["account_insights"].schema)
    assert "No account with a win is at more than a low risk of silence." in text_of({**run_tables(), **tables})


def test_a_first_forecast_has_no_bridge_and_says_so() -> None:
    tables = {**run_tables(), **management_tables()}
    rows = tables["forecast_changes"].to_pylist()
    rows[0] |= {"previous_expected": None, "previous_as_of": None, "note": "no earlier published forecast"}
    tables["forecast_changes"] = pa.Table.from_pylist(rows, schema=tables["forecast_changes"].schema)
    assert "No bridge: no earlier published forecast" in text_of(tables)


def test_a_bridge_through_negative_totals_is_drawn() -> None:
    bars = [Bar("then", -5.0, label="−5"), Bar("lost", -3.0, label="−3"), Bar("new", 2.0, label="+2"), Bar("now", -6.0)]
    assert "<svg" in bridge_svg(bars, str, "k", "t", Look())


def test_a_column_nobody_knows_is_left_out() -> None:
    table = DataTable("t", [Column("a"), Column("b"), Column("c")], [["1", "–", "x"], ["2", "", "–"]]).trimmed()
    assert [column.heading for column in table.columns] == ["a", "c"]
    assert table.rows == [["1", "x"], ["2", "–"]]
