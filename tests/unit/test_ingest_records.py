"""Records of a text as stretches, the ledger told in few words, and cells counted while they are read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sales_pipeline.errors import InputRejected, LedgerUnbalanced
from sales_pipeline.ingest import records as rec
from sales_pipeline.ingest.cells import DelimitedCells
from sales_pipeline.ingest.file_ledger import FileLedger, Lines
from sales_pipeline.ingest.layout import find_layout

TEXT = (
    b"title\n\nId,Name,Stage\n1,a,Won\n2,b,Lost\n"
    b'3,"two\nlines",Won\n4,"x,y",Won\n5,24" screen,Won\n6,"broken,Won\n7,h\n\n'
    b'"","",""\nId,Name,Stage\n8,i\0,Won\n9,"j ""k""",Won\n10,l,Won\nTotal\n'
)


def _found(text: bytes) -> rec.Records:
    layout = find_layout(text)
    assert layout is not None
    return rec.find_records(text, layout)


def _told(found: rec.Records) -> dict[int, str]:
    return {index: one.reason for index, one in found.exceptional.items()}


@pytest.mark.parametrize("chunk", [1, 10, 40, 1 << 20])
def test_where_the_text_is_cut_for_reading_does_not_matter(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(rec, "_CHUNK", chunk)
    found = _found(TEXT)
    assert found.count == 17
    assert _told(found) == {
        0: rec.PREAMBLE, 1: rec.BLANK, 2: rec.HEADER, 8: rec.BROKEN_QUOTE, 9: rec.TOO_FEW, 10: rec.BLANK, 11: rec.EMPTY,
        12: rec.REPEATED_HEADER, 13: rec.NUL, 16: rec.FOOTER,
    }  # fmt: skip
    assert found.rewritten == {7: (b"5", b'24" screen', b"Won")}
    assert [TEXT[start:end] for start, end, cells in found.pieces() if cells is None] == [
        b'1,a,Won\n2,b,Lost\n3,"two\nlines",Won\n4,"x,y",Won\n',
        b'9,"j ""k""",Won\n10,l,Won\n',
    ]


def test_a_long_plain_text_is_a_few_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rec, "_CHUNK", 100)
    found = _found(b"Id,Name,Stage\n" + b"".join(b"%d,a,Won\n" % number for number in range(5_000)))
    assert (found.count, found.is_plain) == (5_001, True)
    assert len(found.stretches) < 20


def test_a_header_too_wide_for_a_pattern_is_read_line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    told = _told(_found(TEXT))
    monkeypatch.setattr(rec, "_WIDEST_PATTERN", 2)
    found = _found(TEXT)
    assert (found.count, _told(found)) == (17, told)


def test_numbers_and_lines_of_any_part_of_a_ledger() -> None:
    exceptional = {0: ("structural", "header", None), 3: ("quarantined", "too few fields", "a"), 4: ("structural", "blank line", None)}  # fmt: skip
    lines = Lines(np.array([0, 2, 5]), np.array([1, 5, 9]))
    ledger = FileLedger(7, 0, exceptional, lines)
    assert ledger.accepted == 4
    assert ledger.numbers().to_pylist() == [1, 2, 5, 6]
    assert ledger.numbers(1, 2).to_pylist() == [2, 5]
    assert ledger.rows().column("line").to_pylist() == [1, 2, 5, 6, 7, 9, 10]
    assert ledger.rows(2, 2).to_pylist() == ledger.rows().to_pylist()[2:4]
    assert ledger.rows(6, 9, ("structural", "not mapped", None)).to_pylist() == [
        {"source_record": 6, "line": 10, "outcome": "structural", "reason": "not mapped", "value": None}
    ]
    assert [row["source_record"] for row in ledger.quarantined()] == [3]


@pytest.mark.parametrize("records", [1, 3])
def test_a_reader_that_finds_another_number_of_records_is_not_believed(tmp_path: Path, records: int) -> None:
    (tmp_path / "x.csv").write_bytes(b"a,b\n1,2\n3,4\n")
    cells = DelimitedCells(tmp_path / "x.csv", 2, ",", records, 4, "x.csv")
    with pytest.raises(LedgerUnbalanced, match=rf"(?s)expected: {records} readable.*found: 2 by"):
        list(cells.batches([1]))


def test_what_the_strict_reader_refuses_is_told_with_its_words(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"a,b\n1,2\n3,4,5\n")
    with pytest.raises(InputRejected, match=r"(?s)strict reading.*x\.csv"):
        list(DelimitedCells(tmp_path / "x.csv", 2, ",", 2, 6, "x.csv").batches([0]))
