import hashlib
import io
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sales_pipeline.delivery.parcel import Parcel
from sales_pipeline.delivery.results.ends import coded
from sales_pipeline.delivery.results.read import gathered, read_results
from sales_pipeline.delivery.results.sent import sent_keys
from sales_pipeline.domain.identifiers import to_sfid18
from sales_pipeline.errors import DeliveryFailed, InputRejected
from tests.support.parcels import a_parcel, a_part, part_bytes

IDS = [to_sfid18(f"006Hs0000{number:06d}") for number in range(6)]
SCORES = ("Id", "Win_Probability__c", "Score_Band__c")
TASKS = ("Follow_Up_Key__c", "Subject", "Status")
OWNER_ERROR = "INVALID_CROSS_REFERENCE_KEY:invalid cross reference id:OwnerId --"


@pytest.fixture
def parcel(tmp_path: Path) -> Parcel:
    folder = tmp_path / "kit"
    rows = [{"Id": key, "Win_Probability__c": "0.50", "Score_Band__c": "B"} for key in IDS]
    tasks = [{"Follow_Up_Key__c": f"k{n}", "Subject": "Call", "Status": "Not Started"} for n in range(3)]
    return a_parcel(
        folder,
        a_part(folder, "scores_1.csv", rows[:4], fields=SCORES),
        a_part(folder, "scores_2.csv", rows[4:], fields=SCORES),
        a_part(
            folder,
            "tasks.csv",
            tasks,
            fields=TASKS,
            object="Task",
            object_name="follow_ups",
            operation="upsert",
            key_field="Follow_Up_Key__c",
        ),
    )


def result_file(folder: Path, name: str, header: Sequence[str], *rows: Sequence[str], **form: Any) -> Path:
    path = folder / name
    data = part_bytes([dict(enumerate(row)) for row in rows], range(len(header)), **form)  # type: ignore[arg-type, misc]
    first = part_bytes([], header, **form)
    bom = b"\xef\xbb\xbf" if form.get("bom") else b""
    body = data.removeprefix(bom).split(form.get("line_end", "\n").encode(), 1)[1]
    path.write_bytes(first + body)
    return path


def _zipped(name: str, text: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, text)
    return buffer.getvalue()


def ends(table: pa.Table) -> dict[str, tuple[str, str | None, str | None, str | None]]:
    return {r["key"]: (r["outcome"], r["remote_id"], r["code"], r["message"]) for r in table.to_pylist()}


def test_data_loader_success_and_error_files_are_read_and_matched_over_split_parts(
    tmp_path: Path, parcel: Parcel
) -> None:
    good = result_file(
        tmp_path, "success.csv", ("ID", *SCORES[1:], "STATUS"), *[(key, "0.5", "B", "Item Updated") for key in IDS[2:]]
    )
    bad = result_file(tmp_path, "error.csv", ("ID", *SCORES[1:], "ERROR"), (IDS[0], "0.5", "B", OWNER_ERROR))
    one, two = read_results(good, parcel), read_results(bad, parcel)
    assert one["part"].to_pylist() == ["scores_1.csv"] * 2 + ["scores_2.csv"] * 2
    assert set(ends(one)) == set(IDS[2:])
    assert ends(two) == {IDS[0]: ("failed", None, "INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id:OwnerId")}


def test_rows_in_neither_file_stay_unknown_and_are_listed(tmp_path: Path, parcel: Parcel) -> None:
    good = result_file(tmp_path, "s.csv", ("ID", *SCORES[1:], "STATUS"), (IDS[1], "0.5", "B", "Item Updated"))
    bad = result_file(tmp_path, "e.csv", ("ID", *SCORES[1:], "ERROR"), (IDS[0], "0.5", "B", "no"))
    table = gathered(parcel, [read_results(good, parcel), read_results(bad, parcel)])
    assert table.num_rows == 9
    assert [row["outcome"] for row in table.to_pylist()] == ["failed", "succeeded", *["unknown"] * 7]


def test_a_row_that_was_mended_and_imported_again_has_succeeded(tmp_path: Path, parcel: Parcel) -> None:
    bad = result_file(tmp_path, "e.csv", ("ID", *SCORES[1:], "ERROR"), (IDS[0], "0.5", "B", "no"))
    good = result_file(tmp_path, "s.csv", ("ID", *SCORES[1:], "STATUS"), (IDS[0], "0.5", "B", "Item Updated"))
    for order in ((bad, good), (good, bad)):
        table = gathered(parcel, [read_results(path, parcel) for path in order])
        assert ends(table)[IDS[0]][0] == "succeeded"


def test_bulk_files_tell_created_failed_and_unprocessed_rows(tmp_path: Path, parcel: Parcel) -> None:
    task = to_sfid18("00THs0000000001")
    created = result_file(
        tmp_path, "ok.csv", ("sf__Id", "sf__Created", *TASKS), (task, "true", "k0", "Call", "Not Started")
    )
    failed = result_file(
        tmp_path, "bad.csv", ("sf__Id", "sf__Error", *TASKS), ("", OWNER_ERROR, "k1", "Call", "Not Started")
    )
    rest = result_file(tmp_path, "750-unprocessed-records.csv", TASKS, ("k2", "Call", "Not Started"))
    assert ends(read_results(created, parcel)) == {"k0": ("succeeded", task, None, None)}
    assert ends(read_results(failed, parcel))["k1"][:3] == ("failed", None, "INVALID_CROSS_REFERENCE_KEY")
    assert ends(read_results(rest, parcel)) == {"k2": ("unprocessed", None, None, None)}


def test_data_loaders_status_is_told_from_a_tasks_status(tmp_path: Path, parcel: Parcel) -> None:
    both = result_file(
        tmp_path, "s.csv", ("ID", *TASKS, "STATUS"), ("00T", "k0", "Call", "Not Started", "Item Created")
    )
    assert ends(read_results(both, parcel)) == {"k0": ("succeeded", "00T", None, None)}
    capitals = result_file(
        tmp_path, "e.csv", ("ID", *[name.upper() for name in TASKS], "ERROR"), ("", "k1", "Call", "Not Started", "no")
    )
    assert ends(read_results(capitals, parcel)) == {"k1": ("failed", None, None, "no")}
    kit = result_file(tmp_path, "x.csv", TASKS, ("k0", "Call", "Done"))
    with pytest.raises(InputRejected, match="fits no part"):
        read_results(kit, parcel)


def test_a_kits_file_with_one_column_more_is_not_taken_for_a_success_file(tmp_path: Path) -> None:
    folder = tmp_path / "kit"
    changed = a_part(
        folder, "t.csv", [{"Key__c": "k", "Subject": "Call"}], fields=("Key__c", "Subject"), key_field="Key__c"
    )
    path = result_file(tmp_path, "new.csv", ("Key__c", "Subject", "Status"), ("k", "Call", "Not Started"))
    with pytest.raises(InputRejected, match="fits no part"):
        read_results(path, a_parcel(folder, changed))


def test_ids_a_spreadsheet_folded_and_short_ones_are_known_again(tmp_path: Path, parcel: Parcel) -> None:
    header = ("ID", *SCORES[1:], "STATUS")
    path = result_file(
        tmp_path, "s.csv", header, (IDS[0].upper(), "1", "B", "Item Updated"), (IDS[1][:15], "1", "B", "Item Updated")
    )
    assert set(ends(read_results(path, parcel))) == set(IDS[:2])


DEALS = ("Record ID", "Win probability")
TODO = ("Follow-Up Key", "Task Title")


@pytest.fixture
def hubspot(tmp_path: Path) -> Parcel:
    folder = tmp_path / "hubspot"
    deals = [{"Record ID": key, "Win probability": "0.5"} for key in ("7", "8")]
    todo = [{"Follow-Up Key": key, "Task Title": "Call"} for key in ("k0", "k1")]
    return a_parcel(
        folder,
        a_part(folder, "deals.csv", deals, fields=DEALS, key_field="Record ID"),
        a_part(folder, "tasks.csv", todo, fields=TODO, key_field="Follow-Up Key", operation="insert"),
    )


@pytest.mark.parametrize(
    "header",
    [
        ("Error", "Error code"),
        ("Reason", "Error Code"),
        ("Error message", "Error type"),
        ("Import error", "Error code"),
    ],
)
def test_an_error_file_of_another_crm_is_known_by_its_error_column(
    tmp_path: Path, hubspot: Parcel, header: tuple[str, str]
) -> None:
    columns = ("Row number", "Object type", header[1], header[0], *DEALS)
    path = result_file(tmp_path, "f.csv", columns, ("2", "Deal", "INVALID_NUMBER", "No number", "8", "0.6"))
    assert ends(read_results(path, hubspot)) == {"8": ("failed", None, "INVALID_NUMBER", "No number")}
    bare = result_file(tmp_path, "f.csv", (*DEALS, "Error code"), ("8", "0.6", "INVALID_NUMBER"))
    assert ends(read_results(bare, hubspot)) == {"8": ("failed", None, "INVALID_NUMBER", "INVALID_NUMBER")}


def test_several_errors_of_one_row_are_all_told(tmp_path: Path, hubspot: Parcel) -> None:
    path = result_file(tmp_path, "f.csv", (*DEALS, "Error"), ("8", "1", "one"), ("8", "1", "two"), ("8", "1", "two"))
    assert ends(read_results(path, hubspot))["8"][3] == "one; two"


def test_a_row_that_may_be_sent_only_once_is_not_taken_for_failed_where_a_crm_imports_some_rows_with_errors(
    tmp_path: Path, hubspot: Parcel
) -> None:
    path = result_file(tmp_path, "f.csv", (*TODO, "Error"), ("k1", "Call", "no such owner"))
    assert ends(read_results(path, hubspot)) == {"k1": ("unknown", None, None, "no such owner")}
    path = result_file(tmp_path, "f.csv", (*TODO, "Skip reason"), ("k1", "Call", "no such owner"))
    assert ends(read_results(path, hubspot)) == {"k1": ("failed", None, None, "no such owner")}


def test_a_workbook_is_read_as_well(tmp_path: Path, hubspot: Parcel) -> None:
    book = openpyxl.Workbook()
    for row in (("Skip reason", *DEALS), ("Deal not found", 8, 0.5), (None, None, None), ("Deal not found", 7, 0.5)):
        book.active.append(row)
    book.save(tmp_path / "skip.xlsx")
    assert ends(read_results(tmp_path / "skip.xlsx", hubspot)) == dict.fromkeys(
        ("7", "8"), ("failed", None, None, "Deal not found")
    )


def test_a_mere_list_of_rows_says_by_its_name_what_became_of_them(tmp_path: Path, hubspot: Parcel) -> None:
    for name, outcome in (
        ("Unprocessed.csv", "unprocessed"),
        ("deals-failed.csv", "failed"),
        ("ErrorRows.csv", "failed"),
    ):
        path = result_file(tmp_path, name, DEALS, ("8", "0.7"))
        assert ends(read_results(path, hubspot)) == {"8": (outcome, None, None, None)}
    with pytest.raises(InputRejected, match="a mere list of rows"):
        read_results(result_file(tmp_path, "deals.csv", DEALS, ("8", "0.7")), hubspot)


def test_the_plain_form_takes_what_any_system_can_write(tmp_path: Path, parcel: Parcel) -> None:
    path = result_file(
        tmp_path,
        "plain.csv",
        ("key", "outcome", "message"),
        (IDS[0], "succeeded", ""),
        (IDS[5], "Failed", "locked"),
        ("k0", "unprocessed", ""),
    )
    assert ends(read_results(path, parcel)) == {
        IDS[0]: ("succeeded", None, None, None),
        IDS[5]: ("failed", None, None, "locked"),
        "k0": ("unprocessed", None, None, None),
    }
    wrong = result_file(tmp_path, "wrong.csv", ("key", "outcome"), (IDS[0], "fine"))
    with pytest.raises(InputRejected, match=r"(?s)an outcome that is none of succeeded.*found: fine.*wrong.csv:2"):
        read_results(wrong, parcel)


def test_bom_crlf_other_delimiters_and_quoted_line_breaks_are_read_right(tmp_path: Path, parcel: Parcel) -> None:
    rows = [("", 'two\r\nlines, "quoted"', "k1", "Call", "Not Started"), ("", "x", "k2", "Call", "Not Started")]
    for form in ({"bom": True, "line_end": "\r\n"}, {"delimiter": ";"}, {"delimiter": "\t"}, {}):
        path = result_file(tmp_path, "f.csv", ("sf__Id", "sf__Error", *TASKS), *rows, **form)
        assert ends(read_results(path, parcel)) == {
            "k1": ("failed", None, None, 'two lines, "quoted"'),
            "k2": ("failed", None, None, "x"),
        }


def test_problems_of_rows_come_at_once_with_their_lines(tmp_path: Path, parcel: Parcel) -> None:
    header = ("sf__Id", "sf__Error", *TASKS)
    path = result_file(
        tmp_path,
        "f.csv",
        header,
        ("", "two\nlines", "k1", "Call", "x"),
        ("", "no", "foreign", "Call", "x"),
        ("", " ", "k2", "Call", "x"),
    )
    with pytest.raises(InputRejected, match=r"2 problems") as caught:
        read_results(path, parcel)
    assert "a key that was not sent\n  found: foreign\n" in str(caught.value)
    assert "f.csv:4" in str(caught.value)
    assert "a row of an error file without an error\n  found: k2\n" in str(caught.value)


def test_a_key_with_two_different_ends_is_refused_and_the_same_end_twice_is_not(tmp_path: Path, parcel: Parcel) -> None:
    path = result_file(tmp_path, "f.csv", ("key", "outcome"), ("k0", "failed"), ("k0", "succeeded"))
    with pytest.raises(InputRejected, match=r"(?s)failed elsewhere and succeeded here.*found: k0.*f.csv:3"):
        read_results(path, parcel)
    path = result_file(tmp_path, "f.csv", ("key", "outcome"), ("k0", "failed"), ("k0", "failed"))
    assert ends(read_results(path, parcel))["k0"][0] == "failed"


def test_a_key_sent_in_several_parts_needs_to_be_told(tmp_path: Path) -> None:
    folder = tmp_path / "kit"
    row = [{"Id": IDS[0], "A": "1"}]
    one = a_part(folder, "one.csv", row, fields=("Id", "A"), object_name="one")
    two = a_part(folder, "two.csv", row, fields=("Id", "A"), object_name="two")
    parcel = a_parcel(folder, one, two)
    path = result_file(tmp_path, "f.csv", ("key", "outcome"), (IDS[0], "succeeded"))
    with pytest.raises(InputRejected, match=r"(?s)say which the file is about.*in one.csv, two.csv"):
        read_results(path, parcel)
    assert read_results(path, parcel, "two")["part"].to_pylist() == ["two.csv"]
    with pytest.raises(InputRejected, match=r"(?s)no such part.*one.csv.*found: three"):
        read_results(path, parcel, "three")


def test_the_kits_own_file_is_not_taken_for_an_answer(tmp_path: Path, parcel: Parcel) -> None:
    path = tmp_path / "unprocessed.csv"
    path.write_bytes((parcel.folder / "tasks.csv").read_bytes())
    with pytest.raises(InputRejected, match="not what the CRM said of it"):
        read_results(path, parcel)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"PK\x03\x04rest", "workbook cannot be opened"),
        (_zipped("errors.csv", "Id"), "is a ZIP archive"),
        (b"", "has no header"),
        (b"key,outcome\nk0,failed,more\n", r"another number of cells(?s:.)*f.csv:2"),
        (b"key,outcome\nk0,\xff\n", r"not UTF-8 text(?s:.)*f.csv:2"),
        (b"k\xffy,outcome\n", r"not UTF-8 text(?s:.)*f.csv:1"),
        (b'key,outcome\nk0,"failed\n', r"is not CSV: unexpected end of data(?s:.)*f.csv:2"),
        (b"a,b\n1,2\n", r"fits no part(?s:.)*scores_1.csv: Id, Win(?s:.)*found: a, b"),
        (b"ID,Win_Probability__c,STATUS,Surprise\n", "fits no part"),
        (b"Id,sf__Error,Win_Probability__c,sf__Error\n", "fits no part"),
        (b"Win_Probability__c,STATUS\n", "fits no part"),
        (b"sf__Id,sf__Error,Win_Probability__c,Surprise\n", "fits no part"),
    ],
)
def test_a_file_that_is_no_result_file_is_refused(tmp_path: Path, parcel: Parcel, data: bytes, words: str) -> None:
    path = tmp_path / "f.csv"
    path.write_bytes(data)
    with pytest.raises(InputRejected, match=words):
        read_results(path, parcel)


def test_the_key_and_the_outcome_are_enough(tmp_path: Path, parcel: Parcel) -> None:
    path = result_file(tmp_path, "s.csv", ("ID", "STATUS"), (IDS[0], "Item Updated"))
    assert ends(read_results(path, parcel)) == {IDS[0]: ("succeeded", None, None, None)}


def test_a_missing_file_is_refused(tmp_path: Path, parcel: Parcel) -> None:
    with pytest.raises(InputRejected, match="no such result file"):
        read_results(tmp_path / "none.csv", parcel)


def test_an_error_text_is_parted_into_code_and_words_on_one_line() -> None:
    assert coded(OWNER_ERROR) == ("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id:OwnerId")
    assert coded("Something: else\x1b[0m\nhere") == (None, "Something: else [0m here")
    assert coded("  ") == (None, None)
    assert len(coded("x" * 5000)[1] or "") == 1000


def test_keys_are_read_from_parquet_too(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": pa.array(["a", "b"]), "x": [1, 2]}), tmp_path / "t.parquet")
    part = a_part(tmp_path, "t.csv", [], fields=("id", "x"), key_field="id")
    data = (tmp_path / "t.parquet").read_bytes()
    part = replace(part, name="t.parquet", rows=2, sha256=hashlib.sha256(data).hexdigest())
    assert sent_keys(a_parcel(tmp_path, part), part) == ["a", "b"]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"Id": "a", "A": "1"}, {"Id": "a", "A": "2"}], r"each key once(?s:.)*a twice"),
        ([{"Id": "", "A": "1"}], r"a key in every row(?s:.)*row 1 has none"),
    ],
)
def test_a_part_without_unique_keys_is_not_sent(tmp_path: Path, rows: list[dict[str, str]], words: str) -> None:
    part = a_part(tmp_path, "p.csv", rows, fields=("Id", "A"))
    with pytest.raises(DeliveryFailed, match=words):
        sent_keys(a_parcel(tmp_path, part), part)


def test_a_kit_that_was_changed_or_lost_a_file_is_not_sent(tmp_path: Path) -> None:
    part = a_part(tmp_path, "p.csv", [{"Id": "a", "A": "1"}], fields=("Id", "A"))
    for changed, words in (
        (replace(part, rows=2), r"2 rows(?s:.)*1 rows"),
        (replace(part, fields=("Id", "B")), r"Id,B(?s:.)*Id,A"),
    ):
        with pytest.raises(DeliveryFailed, match=words):
            sent_keys(a_parcel(tmp_path, changed), changed)
    (tmp_path / "p.csv").write_text("Id,A\nb,1\n", encoding="utf-8")
    with pytest.raises(DeliveryFailed, match="sha256"):
        sent_keys(a_parcel(tmp_path, part), part)
    (tmp_path / "p.csv").unlink()
    with pytest.raises(DeliveryFailed, match="no file"):
        sent_keys(a_parcel(tmp_path, part), part)
