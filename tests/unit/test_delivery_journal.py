"""What a delivery keeps of itself outlives a crash at any byte."""

from pathlib import Path

from sales_pipeline.delivery.journal import Journal
from sales_pipeline.delivery.parcel import Part
from sales_pipeline.delivery.results.tables import results_table

PART = Part("scores.csv", "scores", "deal", "update", "id", ("id",), 2, 10, "0" * 64)


def test_notes_are_kept_in_their_order_and_by_their_part(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    journal.note(PART, "sending", first=0)
    journal.note(None, "begun")
    journal.note(PART, "confirmed", first=0)
    assert [note["event"] for note in Journal(tmp_path / "j").notes(PART)] == ["sending", "confirmed"]
    assert [note["event"] for note in journal.notes(None)] == ["begun"]
    assert [note["first"] for note in journal.notes(PART, "confirmed")] == [0]


def test_a_line_that_a_crash_cut_short_is_left_out_and_does_not_spoil_the_next(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    journal.note(PART, "sending", first=0)
    whole = (tmp_path / "j" / "notes.jsonl").read_bytes()
    for cut in range(len(whole)):
        (tmp_path / "j" / "notes.jsonl").write_bytes(whole + whole[:cut])
        journal.note(PART, "sending", first=1)
        found = [note["first"] for note in journal.notes(PART)]
        # A line without its end alone is whole: all of it was written.
        assert found == ([0, 0, 1] if cut == len(whole) - 1 else [0, 1]), cut


def test_results_are_kept_once_and_what_is_kept_wins(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    assert journal.results(PART) is None
    first = journal.finish(PART, results_table(PART, ["1", "2"], "succeeded"))
    again = journal.finish(PART, results_table(PART, ["1", "2"], "failed"))
    assert again.equals(first)
    assert Journal(tmp_path / "j").results(PART).equals(first)
