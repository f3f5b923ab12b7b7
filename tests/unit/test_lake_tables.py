from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from sales_pipeline.contracts.model import Column, Table
from sales_pipeline.lake.tables import TableRef, conform, only_value, read_table, write_table

CONTRACT = Table(
    "things",
    "one row per thing",
    ("id",),
    (
        Column("id", "string", "id", required=True),
        Column("share", "float64", "share", null_means="unknown", decimals=3),
        Column("amount", "amount", "amount", null_means="unknown"),
    ),
)


def things(**columns: object) -> pa.Table:
    return pa.table({"id": ["b", "a"], "share": [0.12349, None], "amount": [None, 2.0]} | columns)


def test_conform_orders_casts_rounds_and_sorts() -> None:
    table = conform(things().select(["amount", "share", "id"]), CONTRACT)
    assert table.column_names == ["id", "share", "amount"]
    assert table.column("id").to_pylist() == ["a", "b"]
    assert table.column("share").to_pylist() == [None, 0.123]
    assert str(table.schema.field("amount").type) == "decimal128(18, 2)"


def test_conform_refuses_what_does_not_fit() -> None:
    with pytest.raises(pa.ArrowInvalid, match=r"things\.id is required and holds 1 NULL"):
        conform(things(id=["a", None]), CONTRACT)
    with pytest.raises(KeyError):
        conform(things().drop_columns(["share"]), CONTRACT)
    with pytest.raises(pa.ArrowInvalid):
        conform(things(share=["a", "b"]), CONTRACT)


def test_equal_rows_give_equal_bytes_whatever_their_order(tmp_path: Path) -> None:
    one = write_table(things(), tmp_path / "one.parquet", CONTRACT)
    other = write_table(things().take([1, 0]), tmp_path / "other.parquet", CONTRACT)
    assert one.sha256 == other.sha256
    assert (one.name, one.rows) == ("things", 2)


def test_a_reference_survives_json_and_reads_its_table(tmp_path: Path) -> None:
    ref = write_table(things(), tmp_path / "deep" / "one.parquet", CONTRACT)
    assert TableRef.from_dict(ref.to_dict()) == ref
    assert read_table(ref, ["id"]).column("id").to_pylist() == ["a", "b"]


@pytest.mark.parametrize(
    ("values", "told"), [(["a", "a"], "a"), (["a", "b"], None), (["a", None], None), ([None], None), ([], None)]
)
def test_the_only_value_of_a_column_is_told_by_its_statistics(values, told, tmp_path: Path) -> None:
    ref = write_table(pa.table({"file": pa.array(values, pa.string())}), tmp_path / "t.parquet")
    assert only_value(ref, "file") == told
    assert only_value(ref, "another") is None
