"""A table's file as text for COPY."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sales_pipeline.contracts.derive import REASON_TYPE, arrow_schema
from sales_pipeline.contracts.model import Column, Table
from sales_pipeline.delivery.postgres.copying import Tally, copy_text, json_texts

COLUMNS = (
    Column("id", "string", "x", required=True),
    Column("text", "string", "x", null_means="none"),
    Column("amount", "amount", "x", null_means="none"),
    Column("share", "float64", "x", null_means="none"),
    Column("is_open", "boolean", "x", null_means="none"),
    Column("day", "date", "x", null_means="none"),
    Column("at", "timestamp", "x", null_means="none"),
    Column("why", "reasons", "x", null_means="none"),
)


def written(tmp_path: Path, rows: list[dict[str, Any]], batch_rows: int = 100) -> tuple[list[str], Tally]:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema=arrow_schema(Table("t", "x", ("id",), COLUMNS))), path)
    tally = Tally()
    return [bytes(text).decode() for text in copy_text(path, COLUMNS, tally, batch_rows)], tally


def test_null_and_empty_text_stay_apart(tmp_path: Path) -> None:
    texts, _ = written(tmp_path, [{"id": "a", "text": ""}, {"id": "b"}])
    assert texts == ['"a","",,,,,,\n"b",,,,,,,\n']


def test_values_are_in_the_servers_notation(tmp_path: Path) -> None:
    row = {
        "id": 'x"); drop table runs.x; --',
        "text": "two\nlines \\.",
        "amount": Decimal("1000.10"),
        "share": 1e-7,
        "is_open": True,
        "day": date(2026, 6, 30),
        "at": datetime(2026, 6, 30, 22, 0, 0, 1, tzinfo=UTC),
        "why": [],
    }
    texts, _ = written(tmp_path, [row])
    assert texts == [
        '"x""); drop table runs.x; --","two\nlines \\.",1000.10,1e-7,true,2026-06-30,2026-06-30 22:00:00.000001Z,"[]"\n'
    ]


def test_the_tally_counts_values_and_adds_amounts_over_all_batches(tmp_path: Path) -> None:
    rows = [{"id": str(n), "amount": Decimal("9999999999999999.99"), "share": 0.5 if n else None} for n in range(5)]
    texts, tally = written(tmp_path, rows, batch_rows=2)
    assert len(texts) == 3
    assert tally.rows == 5
    assert (tally.values["id"], tally.values["amount"], tally.values["share"], tally.values["why"]) == (5, 5, 4, 0)
    assert tally.sums == {"amount": Decimal("49999999999999999.95")}


def test_an_empty_table_is_no_text(tmp_path: Path) -> None:
    texts, tally = written(tmp_path, [])
    assert "".join(texts) == ""
    assert (tally.rows, tally.values["id"]) == (0, 0)


def test_reasons_become_json_whatever_their_text_holds() -> None:
    lists: list[list[dict[str, Any]] | None] = [
        [
            {"code": "a", "text": 'say "hi", \\ and\n\x07 é 中', "weight": 0.1},
            {"code": "b", "text": "t", "weight": -2.0},
        ],
        [],
        None,
        [{"code": None, "text": None, "weight": None}],
        [{"code": "c", "text": "t", "weight": 1e-12}],
    ]
    found = json_texts(pa.array(lists, pa.list_(REASON_TYPE))).to_pylist()
    assert [None if text is None else json.loads(text) for text in found] == lists


def test_reasons_of_a_slice_are_those_of_its_rows() -> None:
    lists = [[{"code": str(n), "text": "t", "weight": float(n)}] * n for n in range(6)]
    found = json_texts(pa.array(lists, pa.list_(REASON_TYPE))[2:5]).to_pylist()
    assert [json.loads(text) for text in found] == lists[2:5]


def test_a_weight_that_is_no_number_is_null_in_json() -> None:
    lists = pa.array([[{"code": "a", "text": "t", "weight": float("nan")}]], pa.list_(REASON_TYPE))
    assert json.loads(json_texts(lists)[0].as_py())[0]["weight"] is None
