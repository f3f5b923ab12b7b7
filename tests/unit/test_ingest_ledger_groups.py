"""The ledger of a large file is written one row group at a time, and holds every record once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from sales_pipeline.errors import LedgerUnbalanced
from sales_pipeline.ingest.assemble import ReadFile
from sales_pipeline.ingest.file_ledger import FileLedger, Lines
from sales_pipeline.ingest.landing import SourceFile
from sales_pipeline.ingest.reader import FileReading
from sales_pipeline.ingest.row_ledger import NOT_MAPPED, write_ledger
from sales_pipeline.lake.tables import PARQUET_OPTIONS

RECORDS = 2 * PARQUET_OPTIONS["row_group_size"] + 5


def _file(tmp_path: Path, accepted: int) -> ReadFile:
    exceptional = {0: ("structural", "header", None), RECORDS - 1: ("quarantined", "too few fields", "a,b")}
    facts = {"records": RECORDS, "accepted": accepted}
    lines = Lines(np.zeros(1, np.int64), np.ones(1, np.int64))
    reading = FileReading(("a",), None, FileLedger(RECORDS, 0, exceptional, lines), facts)
    return ReadFile(SourceFile("x.csv", "0" * 64, 1, tmp_path / "x.csv"), (), False, reading)


def test_every_record_of_every_row_group_is_there(tmp_path: Path) -> None:
    write_ledger([_file(tmp_path, RECORDS - 2)], tmp_path / "ledger.parquet", export_id="e")
    groups = pq.read_metadata(tmp_path / "ledger.parquet")
    assert [groups.row_group(i).num_rows for i in range(groups.num_row_groups)] == [*[PARQUET_OPTIONS["row_group_size"]] * 2, 5]  # fmt: skip
    ledger = pq.read_table(tmp_path / "ledger.parquet")
    assert ledger.column("source_record").to_pylist() == list(range(RECORDS))
    counts = {(row["outcome"], row["reason"]): row["outcome_count"] for row in ledger.group_by(["outcome", "reason"]).aggregate([("outcome", "count")]).to_pylist()}  # fmt: skip
    assert counts == {("structural", "header"): 1, ("structural", NOT_MAPPED): RECORDS - 2, ("quarantined", "too few fields"): 1}  # fmt: skip
    assert pc.unique(ledger.column("source_file")).to_pylist() == ["0" * 64]


def test_a_ledger_that_does_not_add_up_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LedgerUnbalanced, match="does not add up"):
        write_ledger([_file(tmp_path, RECORDS - 1)], tmp_path / "ledger.parquet", export_id="e")
