"""CSV text: every cell in its one notation, quoted where it must be, however many rows are written at a time."""

import csv
import io
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.contracts.model import Column, Table
from sales_pipeline.delivery import csv_text
from sales_pipeline.delivery.csv_text import csv_bytes
from sales_pipeline.domain.time import AsOf

CONTRACT = Table(
    "shown",
    "a row",
    ("name",),
    (
        Column("name", "string", "text", null_means="none"),
        Column("count", "int64", "whole", null_means="none"),
        Column("share", "float64", "a share", null_means="none", decimals=3),
        Column("value", "amount", "money", null_means="none"),
        Column("is_it", "boolean", "yes or no", null_means="none"),
        Column("day", "date", "a day", null_means="none"),
        Column("at", "timestamp", "an instant", null_means="none"),
        Column("reasons_up", "reasons", "why", null_means="none"),
    ),
)
TEXT = st.text('ab",\n ;é中', max_size=6)
REASON = st.fixed_dictionaries({"code": st.just("c"), "text": TEXT, "weight": st.floats(-9, 9, allow_nan=False)})
ROW = st.fixed_dictionaries(
    {
        "name": st.none() | TEXT,
        "count": st.none() | st.integers(-(2**63), 2**63 - 1),
        "share": st.none() | st.floats(-1e6, 1e6, allow_nan=False) | st.just(-0.0),
        "value": st.none() | st.decimals(-(10**9), 10**9, places=2, allow_nan=False),
        "is_it": st.none() | st.booleans(),
        "day": st.none() | st.dates(),
        "at": st.none() | st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),
        "reasons_up": st.none() | st.lists(REASON, max_size=3),
    }
)


def table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=arrow_schema(CONTRACT))


def cell(name: str, value: Any) -> str:
    """The notation, one value at a time."""
    if value is None:
        return ""
    if name == "share":
        return f"{value:.3f}"
    if name == "value":
        return f"{value:f}"
    if name == "is_it":
        return "true" if value else "false"
    if name == "at":
        instant = AsOf(value).instant
        return f"{instant:%Y-%m-%dT%H:%M:%S}.{instant.microsecond // 1000:03d}Z"
    if name == "reasons_up":
        return "; ".join(f"{reason['text']} ({reason['weight']:+.2f})" for reason in value)
    return str(value)


def one_by_one(data: pa.Table) -> bytes:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(data.column_names)
    writer.writerows([cell(name, value) for name, value in row.items()] for row in data.to_pylist())
    return buffer.getvalue().encode()


@settings(deadline=None)
@given(st.lists(ROW, max_size=8))
def test_cells_are_what_they_are_one_by_one(rows: list[dict[str, Any]]) -> None:
    assert csv_bytes(table(rows), CONTRACT) == one_by_one(table(rows))


def test_rows_written_at_a_time_and_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    reasons = [{"code": "c", "text": f"because {number}", "weight": number / 3} for number in range(4)]
    rows = [
        {
            "name": f"n{number}",
            "count": number % 3,
            "share": number / 7,
            "value": Decimal(number).scaleb(-2),
            "is_it": number % 2 == 0,
            "day": date(2026, 1, 1 + number),
            "at": datetime(2026, 1, 1, 1, number, tzinfo=UTC),
            "reasons_up": None if number % 5 == 0 else reasons[: number % 4],
        }
        for number in range(20)
    ]
    whole = table(rows)
    text = csv_bytes(whole, CONTRACT)
    assert text == one_by_one(whole)
    monkeypatch.setattr(csv_text, "_ROWS", 3)
    assert csv_bytes(pa.concat_tables([whole.slice(0, 7), whole.slice(7)]), CONTRACT) == text


def test_a_line_break_within_a_cell_is_quoted() -> None:
    assert csv_bytes(table([{"name": "a\rb"}]), CONTRACT).splitlines(keepends=True)[1:] == [b'"a\r', b'b",,,,,,,\n']
