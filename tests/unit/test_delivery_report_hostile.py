"""The report of tables that are odd, but keep their contracts: every one alone, every optional cell empty, every code once, extreme numbers."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from sales_pipeline.contracts.published import MODEL_MONITORING, PUBLISHED_TABLES, ROW_LEDGER_SUMMARY
from sales_pipeline.delivery.report.page import report_page, report_sections
from sales_pipeline.delivery.report.words import Words
from sales_pipeline.features.terms import Language
from tests.support.management_rows import filled, management_tables
from tests.support.published_run import run_tables
from tests.support.report_page import EARLIER, Page, ledger_row, report_inputs
from tests.support.scored_rows import rows_of


def tables() -> dict[str, pa.Table]:
    found = {**run_tables(), **management_tables()}
    found["row_ledger_summary"] = rows_of(ROW_LEDGER_SUMMARY, [ledger_row("accepted", 3)])
    found["model_monitoring"] = rows_of(
        MODEL_MONITORING,
        [
            filled(MODEL_MONITORING, figure="psi", value=0.4, limit_high=0.25, is_alert=True),
            filled(MODEL_MONITORING, figure="new_figure", reference="training"),
        ],
    )
    return found


def page_of(found: dict[str, pa.Table], **values: Any) -> Page:
    page = Page(report_page(report_inputs(found, **values)))
    assert page.badly_closed == []
    assert len(page.ids) == len(set(page.ids))
    assert "nan" not in page.text.lower().split()
    assert "None" not in page.text.split()
    return page


def emptied(name: str, data: pa.Table) -> pa.Table:
    """Every cell that may be empty is."""
    columns = PUBLISHED_TABLES[name].columns
    values = [
        data.column(column.name) if column.required else pa.nulls(data.num_rows, data.schema.field(column.name).type)
        for column in columns
    ]
    return pa.Table.from_arrays(values, schema=data.schema)


@pytest.mark.parametrize("name", sorted(tables()))
def test_each_table_alone_gives_its_sections(name: str) -> None:
    sections = report_sections(report_inputs({name: tables()[name]}), Words("en"))
    assert all(section.blocks for section in sections)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_everything_optional_may_be_empty(language: Language) -> None:
    found = {name: emptied(name, data) for name, data in tables().items()}
    previous = {"scored_opportunities": emptied("scored_opportunities", run_tables(EARLIER)["scored_opportunities"])}
    page_of(found, language=language, previous=previous, previous_as_of=EARLIER)


def test_every_code_of_a_column_has_a_place() -> None:
    found = tables()
    for name in management_tables():
        rows = found[name].to_pylist()
        coded = [column for column in PUBLISHED_TABLES[name].columns if column.allowed]
        most = max((len(column.allowed) for column in coded), default=0)
        rows += [
            rows[-1] | {column.name: column.allowed[number % len(column.allowed)] for column in coded}
            for number in range(most)
        ]
        found[name] = pa.Table.from_pylist(rows, schema=found[name].schema)
    page_of(found)


@pytest.mark.parametrize("value", [Decimal(0), Decimal("0.01"), Decimal("9999999999999999.99")])
def test_amounts_of_any_size_are_drawn(value: Decimal) -> None:
    found = tables()
    for name, data in found.items():
        rows = data.to_pylist()
        for row in rows:
            for column in PUBLISHED_TABLES[name].columns:
                if column.type == "amount" and row[column.name] is not None:
                    row[column.name] = value
        found[name] = pa.Table.from_pylist(rows, schema=data.schema)
    page_of(found)


def test_negative_amounts_are_drawn() -> None:
    found = tables()
    for name in ("revenue_forecast", "forecast_changes", "forecast_history"):
        rows = found[name].to_pylist()
        for row in rows:
            row |= {key: -value for key, value in row.items() if isinstance(value, Decimal)}
            if "low" in row:
                row["low"], row["high"] = row["high"], row["low"]
        found[name] = pa.Table.from_pylist(rows, schema=found[name].schema)
    page_of(found)


def test_several_currencies_are_counted_and_the_main_one_is_added() -> None:
    found = tables()
    rows = found["scored_opportunities"].to_pylist()
    rows[0]["currency"] = "XXQ"
    found["scored_opportunities"] = pa.Table.from_pylist(rows, schema=found["scored_opportunities"].schema)
    assert "1 open opportunity in other currencies is counted" in page_of(found).text
