from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sales_pipeline.contracts.model import Column, Table
from sales_pipeline.lake.tables import TableRef, conform, only_value, read_table, write_pieces, write_table

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


def test_pieces_encoded_by_look_hold_the_same_cells_in_the_same_bytes_however_they_were_cut(tmp_path: Path) -> None:
    rows = 3_000
    table = pa.table(
        {
            "number": pa.array(range(rows), pa.int64()),
            "id": [f"id-{number}" for number in range(rows)],
            "word": ["same"] * rows,
            "nothing": pa.nulls(rows, pa.string()),
            "at": pa.array([0] * rows, pa.timestamp("us", "UTC")),
        }
    )
    whole, cut, none = (tmp_path / name for name in ("whole.parquet", "cut.parquet", "none.parquet"))
    write_pieces([table], whole, table.schema, is_encoded_by_look=True)
    write_pieces((table.slice(at, 700) for at in range(0, rows, 700)), cut, table.schema, is_encoded_by_look=True)
    write_pieces([], none, table.schema, is_encoded_by_look=True)
    assert pq.read_table(whole).equals(table)
    assert pq.read_table(whole).schema == table.schema
    assert whole.read_bytes() == cut.read_bytes()
    assert pq.read_table(none).num_rows == 0
    group = pq.read_metadata(whole).row_group(0)
    encodings = {group.column(at).path_in_schema: group.column(at).encodings for at in range(group.num_columns)}
    assert "DELTA_BINARY_PACKED" in encodings["number"]
    assert "RLE_DICTIONARY" not in encodings["id"]
    assert "RLE_DICTIONARY" in encodings["word"]
