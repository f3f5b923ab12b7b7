from __future__ import annotations

import json
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from openpyxl import load_workbook

from sales_pipeline.delivery.kits import build
from sales_pipeline.delivery.kits.cells import cells, salesforce_ids
from sales_pipeline.delivery.kits.files import Names, write_files
from sales_pipeline.delivery.kits.last_check import check_parts
from sales_pipeline.delivery.kits.review import disarmed
from sales_pipeline.delivery.params import MoveLimit
from sales_pipeline.delivery.parcel import MANIFEST, Part
from sales_pipeline.delivery.state.settle import confirm_all
from sales_pipeline.delivery.targets.spec import FieldSpec, FileFormat
from sales_pipeline.errors import ConfigurationError, DeliveryBlocked, EnvironmentProblem
from sales_pipeline.lake import durable
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.tables import file_sha256
from tests.support.kit_runs import follow_up, kit_of, mapping, publish_rows, reason, scored_row, tasks, text

TWO = [FieldSpec(field="id", column="id"), FieldSpec(field="words", column="words")]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path)


def columns(*words: str | None) -> dict[str, pa.Array]:
    return {"id": pa.array([f"k{n}" for n in range(len(words))]), "words": pa.array(words, pa.string())}


def test_quotes_stand_only_where_they_are_needed(tmp_path: Path) -> None:
    write_files(tmp_path, Names("o", "csv"), columns("plain", "a,b", 'say "no"', None, " x "), TWO, FileFormat())
    assert (tmp_path / "o.csv").read_bytes() == b'id,words\nk0,plain\nk1,"a,b"\nk2,"say ""no"""\nk3,\nk4, x \n'


def test_another_delimiter_is_what_needs_quotes(tmp_path: Path) -> None:
    write_files(tmp_path, Names("o", "csv"), columns("a,b", "a;b", "a]b"), TWO, FileFormat(delimiter=";"))
    assert (tmp_path / "o.csv").read_text() == 'id;words\nk0;a,b\nk1;"a;b"\nk2;a]b\n'


def test_a_file_stays_below_its_limits_and_each_has_the_header(tmp_path: Path) -> None:
    form = FileFormat(max_bytes=25, has_bom=True, line_end="\r\n")
    written = write_files(tmp_path, Names("o", "csv"), columns("aa", "bb", "cc", "dddd"), TWO, form)
    assert [(file.name, file.rows) for file in written] == [
        ("o.csv", 1),
        ("o__2.csv", 1),
        ("o__3.csv", 1),
        ("o__4.csv", 1),
    ]
    for file in written:
        data = (tmp_path / file.name).read_bytes()
        assert data.startswith(b"\xef\xbb\xbfid,words\r\n")
        assert (len(data), file_sha256(tmp_path / file.name)) == (file.bytes, file.sha256)
        assert len(data) <= 25
    by_rows = write_files(tmp_path, Names("r", "csv"), columns(*"abcde"), TWO, FileFormat(max_rows=3))
    assert [file.rows for file in by_rows] == [2, 2, 1]
    both = b"".join((tmp_path / file.name).read_bytes().removeprefix(b"id,words\n") for file in by_rows)
    assert both == b"k0,a\nk1,b\nk2,c\nk3,d\nk4,e\n"


def test_a_limit_below_a_single_row_is_a_mistake_of_the_mapping(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="max_bytes is too small for a single row"):
        write_files(tmp_path, Names("o", "csv"), columns("a" * 50), TWO, FileFormat(max_bytes=20))


def test_parquet_files_are_split_by_rows(tmp_path: Path) -> None:
    form = FileFormat(kind="parquet", max_rows=2)
    written = write_files(tmp_path, Names("o", "parquet"), columns(*"abc"), TWO, form)
    assert [(file.name, file.rows) for file in written] == [("o.parquet", 2), ("o__2.parquet", 1)]


@pytest.mark.parametrize(
    ("places", "value", "expected"),
    [
        (4, 1e-05, "0.0000"),
        (4, 0.123456, "0.1235"),
        (9, 1e-9, "0.000000001"),
        (9, 0.0, "0.000000000"),
        (2, 1e15, "1000000000000000.00"),
    ],
)
def test_decimals_are_fixed_point_and_never_have_an_exponent(places: int, value: float, expected: str) -> None:
    field = FieldSpec(field="f", column="c", notation="decimal", decimals=places)
    assert cells(pa.array([value]), field, FileFormat(), 1).text.to_pylist() == [expected]


def test_a_figure_that_is_no_number_is_no_value() -> None:
    field = FieldSpec(field="f", column="c", notation="decimal")
    assert cells(pa.array([float("nan"), float("inf")]), field, FileFormat(), 2).text.to_pylist() == [None, None]


def test_guids_lose_their_braces_and_other_texts_are_bad() -> None:
    field = FieldSpec(field="f", column="c", notation="guid")
    found = cells(pa.array(["{0F8FAD5B-D9CB-469F-A165-70867728950E}", "12", None]), field, FileFormat(), 3)
    assert found.text.to_pylist()[0] == "0f8fad5b-d9cb-469f-a165-70867728950e"
    assert found.is_bad.tolist() == [False, True, False]


def test_ids_are_checked_all_at_once_as_one_by_one() -> None:
    from sales_pipeline.domain.identifiers import to_sfid18

    draw = np.random.default_rng(1)
    letters = np.array(list("ABCDEFXYZabcxyz0189"))
    short = ["".join(draw.choice(letters, 15)) for _ in range(300)]
    whole = [to_sfid18(value) for value in short]
    assert salesforce_ids(pa.array(short)).text.to_pylist() == whole
    assert salesforce_ids(pa.array(whole)).text.to_pylist() == whole
    assert salesforce_ids(pa.array([value.lower() for value in whole])).text.to_pylist() == whole
    assert salesforce_ids(pa.array([None, "x", "é" * 15, whole[0]])).is_bad.tolist() == [False, True, True, False]


def part_of(folder: Path, data: str, rows: int) -> Part:
    path = folder / "scores.csv"
    path.write_text(data, encoding="utf-8")
    size, digest = path.stat().st_size, file_sha256(path)
    return Part("scores.csv", "scores", "deal", "update", "id", ("id", "win", "reason"), rows, size, digest)


@pytest.mark.parametrize(
    ("message", "lines", "rows"),
    [
        ("a key stands in a file twice", "a,0.1,x\na,0.2,y\n", 2),
        ("win is blank", "a,,x\n", 1),
        ("reason is blank", "a,0.1,\n", 1),
        ("id is blank", ",0.1,x\n", 1),
        ("reason begins like a formula", "a,0.1,=x\n", 1),
        ("a file reads back differently", "a,0.1,x\n", 2),
    ],
)
def test_the_last_check_finds_what_would_do_harm(tmp_path: Path, message: str, lines: str, rows: int) -> None:
    spec = mapping(blank="unknown", clear=None)
    check_parts(tmp_path, [part_of(tmp_path, "id,win,reason\na,0.1,Fine\n", 1)], spec)
    part = part_of(tmp_path, f"id,win,reason\n{lines}", rows)
    with pytest.raises(DeliveryBlocked, match=message):
        check_parts(tmp_path, [part], spec)


def test_the_last_check_compares_the_bytes(tmp_path: Path) -> None:
    part = part_of(tmp_path, "id,win,reason\na,0.1,Fine\n", 1)
    part_of(tmp_path, "id,win,reason\na,0.2,Fine\n", 1)
    with pytest.raises(DeliveryBlocked, match="a file is not what was written"):
        check_parts(tmp_path, [part], mapping())


def test_a_required_blank_is_found_where_other_blanks_are_fine(tmp_path: Path) -> None:
    check_parts(tmp_path, [part_of(tmp_path, "id,win,reason\na,0.1,\n", 1)], mapping())
    required = part_of(tmp_path, "id,win,reason\na,,x\n", 1)
    check_parts(tmp_path, [required], mapping(), may_clear=True)
    with pytest.raises(DeliveryBlocked, match="win is blank"):
        check_parts(tmp_path, [required], mapping())


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    kits = []
    for name in ("one", "two"):
        lake = Lake(tmp_path / name)
        run = publish_rows(
            lake, "run-1", [scored_row("b", reasons_up=reason("x")), scored_row("a")], [follow_up("f", "a")]
        )
        kits.append(kit_of(lake, run, mapping(has_sdl=True)))
        time.sleep(0.01)
    first, second = (
        {path.relative_to(kit.folder): path.read_bytes() for path in kit.folder.rglob("*") if path.is_file()}
        for kit in kits
    )
    assert kits[0].parcel.delivery_id == kits[1].parcel.delivery_id
    assert first == second


def test_another_input_is_another_delivery(lake: Lake) -> None:
    run = publish_rows(lake, "run-1", [scored_row("a")])
    kit = kit_of(lake, run, mapping())
    ids = {
        kit.parcel.delivery_id,
        kit_of(lake, run, mapping(title="Other")).parcel.delivery_id,
        kit_of(lake, run, mapping(), only_changed=False).parcel.delivery_id,
        kit_of(lake, run, mapping(), known_owners=set()).parcel.delivery_id,
        kit_of(lake, run, mapping(), moves=MoveLimit()).parcel.delivery_id,
        kit_of(lake, publish_rows(lake, "run-2", [scored_row("a")]), mapping()).parcel.delivery_id,
    }
    confirm_all(lake, "crm", kit.folder)
    ids.add(kit_of(lake, run, mapping()).parcel.delivery_id)
    assert len(ids) == 7


def test_the_manifest_says_what_every_file_is(lake: Lake) -> None:
    kit = kit_of(lake, publish_rows(lake, "run-1", [scored_row("a")]), mapping())
    manifest = json.loads(text(kit, MANIFEST))
    file = manifest["files"]["scores.csv"]
    assert (file["object"], file["operation"], file["key"], file["rows"]) == ("deal", "update", "id", 1)
    assert (file["encoding"], file["line_end"], file["columns"]) == ("UTF-8", "LF", ["id", "win", "reason", "at"])
    for name, facts in manifest["files"].items():
        assert file_sha256(kit.folder / name) == facts["sha256"]
    assert (manifest["run_id"], manifest["model_version"], manifest["state_id"]) == (
        "run-1", "0123abcd", manifest["state_id"],
    )  # fmt: skip
    assert manifest["as_of"] == "2026-07-01T00:00:00Z"


def test_too_many_moves_are_told(lake: Lake) -> None:
    names = [f"k{number:02d}" for number in range(20)]
    confirm_all(
        lake, "crm", kit_of(lake, publish_rows(lake, "run-1", [scored_row(n) for n in names]), mapping()).folder
    )
    run = publish_rows(lake, "run-2", [scored_row(n, 0.6 if k < 7 else 0.55) for k, n in enumerate(names)])
    kit = kit_of(lake, run, mapping(), moves=MoveLimit())
    facts = kit.objects[0]
    assert (facts.known, facts.moved, facts.is_over_limit, facts.moved_share) == (20, 7, True, 0.35)
    assert kit.over_limit == (facts,)
    assert "more than the settings allow" in text(kit, "diff_summary.txt")
    assert not kit_of(lake, run, mapping(), moves=MoveLimit(max_share=0.35)).over_limit
    assert not kit_of(lake, run, mapping(), moves=MoveLimit(min_rows=21)).over_limit
    plain = kit_of(lake, run, mapping(item={"moves": None}), moves=MoveLimit())
    assert plain.objects[0].moved == 20


def test_the_workbook_is_for_reading_and_runs_nothing(lake: Lake) -> None:
    rows = [scored_row("a", reasons_up=reason("Fine")), scored_row("=cmd"), scored_row("@x")]
    kit = kit_of(lake, publish_rows(lake, "run-1", rows), mapping())
    book = load_workbook(kit.folder / "review.xlsx")
    assert book.sheetnames == ["summary", "largest moves", "scores", "not delivered"]
    first = list(book["scores"][2])
    assert [cell.value for cell in first[:4]] == ["a", "new", 0.5, None]
    assert [cell.data_type for cell in first[:3]] == ["s", "s", "n"]
    refused = {row[2].value for row in book["not delivered"].iter_rows(min_row=2)}
    assert refused == {"crm / =cmd", "crm / @x"}
    assert all(cell.data_type != "f" for sheet in book for row in sheet.iter_rows() for cell in row)
    with zipfile.ZipFile(kit.folder / "review.xlsx") as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert b"2026-07-01T00:00:00Z" in archive.read("docProps/core.xml")


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠"])
def test_text_in_the_workbook_is_disarmed(start: str) -> None:
    assert disarmed(f"{start}1") == f"'{start}1"
    assert disarmed("plain = text") == "plain = text"
    assert disarmed("\x00x") == "'\ufffdx"


def test_the_workbook_says_in_words_what_it_does_not_show(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    from sales_pipeline.delivery.kits import review

    monkeypatch.setattr(review.Review.__init__, "__defaults__", (2,))
    rows = [scored_row(name) for name in "abc"] + [scored_row(name, None) for name in "xyz"]
    kit = kit_of(lake, publish_rows(lake, "run-1", rows), mapping())
    book = load_workbook(kit.folder / "review.xlsx")
    assert [row[0].value for row in book["scores"].iter_rows()][
        -1
    ] == "and 1 row more, in the files beside this workbook"
    assert [row[0].value for row in book["not delivered"].iter_rows()][-1].startswith("and 1 row more")


def test_the_way_back_has_the_same_keys_and_columns_with_the_previous_values(lake: Lake) -> None:
    before = publish_rows(lake, "run-1", [scored_row("a", reasons_up=reason("Old")), scored_row("b")])
    confirm_all(lake, "crm", kit_of(lake, before, mapping()).folder)
    kit = kit_of(
        lake,
        publish_rows(lake, "run-2", [scored_row("a", 0.9), scored_row("b", 0.8, reasons_up=reason("New"))]),
        mapping(),
    )
    assert text(kit, "rollback/scores.csv") == (
        "id,win,reason,at\na,0.5000,Old,2026-07-01T00:00:00.000Z\nb,0.5000,#N/A,2026-07-01T00:00:00.000Z\n"
    )
    assert text(kit, "scores.csv").splitlines()[0] == text(kit, "rollback/scores.csv").splitlines()[0]


def test_the_readme_says_what_to_do(lake: Lake) -> None:
    spec = mapping(set_up=["Create fields."], import_steps=["Import it."], rollback_steps=["Import the other."])
    kit = kit_of(lake, publish_rows(lake, "run-1", [scored_row("a"), scored_row("b", None)]), spec)
    readme = text(kit, "README.txt")
    assert "scores.csv: 1 row; update deal by id" in readme
    assert "1. Import it." in readme
    assert "`sales-pipeline deliver results crm --all-taken`" in readme
    assert "`sales-pipeline deliver rollback run-1 --target crm`" in readme
    assert "1 not delivered" in readme
    confirm_all(lake, "crm", kit.folder)
    nothing = kit_of(lake, publish_rows(lake, "run-2", []), spec)
    assert "none: the target holds everything already" in text(nothing, "README.txt")


def test_a_disk_that_fills_leaves_no_kit(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    run = publish_rows(lake, "run-1", [scored_row("a")])

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(durable, "fsync_tree", full)
    with pytest.raises(EnvironmentProblem, match="cannot be written"):
        kit_of(lake, run, mapping())
    monkeypatch.undo()
    assert list((lake.deliveries / "crm" / "kits").iterdir()) == []
    assert kit_of(lake, run, mapping()).rows == 1


def test_other_code_is_another_kit(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    run = publish_rows(lake, "run-1", [scored_row("a")])
    first = kit_of(lake, run, mapping()).parcel.delivery_id
    monkeypatch.setattr(build, "code_digest", lambda: "other")
    assert kit_of(lake, run, mapping()).parcel.delivery_id != first


def test_a_table_the_run_has_not_gives_no_rows(lake: Lake) -> None:
    run = publish_rows(lake, "run-1", [scored_row("a")], [follow_up("f", "a")])
    (run.path / "follow_up_queue.parquet").unlink()
    with pytest.raises(EnvironmentProblem, match=r"a published file was changed or lost(.|\n)*no such file"):
        kit_of(lake, run, mapping(objects=[tasks()]))
    assert kit_of(lake, replace(run, manifest={}), mapping(objects=[tasks()])).objects[0].source_rows == 0
