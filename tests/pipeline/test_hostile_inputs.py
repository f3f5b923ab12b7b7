"""Bad input through the command line: one clear message and the documented exit code, or a quarantine entry; nothing published by
mistake, nothing lost, no traceback.
"""

from __future__ import annotations

import io
import shutil
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tests.support.cli import (
    DEALS_MAPPING,
    HEADER,
    IGNORED_WARNINGS,
    Outcome,
    call,
    csv_text,
    deals,
    files_under,
    write_config,
)

pytestmark = [pytest.mark.filterwarnings(text) for text in IGNORED_WARNINGS]

ROWS = deals()
GOOD = csv_text(ROWS)
LINES = GOOD.splitlines()


def zipped(members: dict[str, str | bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def with_a_flipped_bit(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


@dataclass(frozen=True)
class Case:
    """Files of an export, the exit code of `run`, and words its message must have."""

    files: dict[str, str | bytes]
    words: tuple[str, ...]
    code: int = 5
    check_code: int = 5
    mapping: dict[str, Any] = field(default_factory=dict)


REFUSED = {
    "a missing required column": Case(
        {"deals.csv": csv_text([row[1:] for row in ROWS], HEADER[1:])},
        ("opportunities.opportunity_id", "expected: a header 'Deal'", "found: Seller", "deals.csv", "what to do"),
    ),
    "a renamed column": Case(
        {"deals.csv": GOOD.replace("Customer", "Customers", 1)}, ("did you mean 'Customers'?", "deals.csv, header")
    ),
    "stages nobody knows": Case(
        {"deals.csv": csv_text([(*row[:3], f"Phase {row[3]}", *row[4:]) for row in ROWS])},
        ("Phase Won", "mapping.stages", "what to do"),
        code=4,
        check_code=0,
    ),
    "an empty file": Case({"deals.csv": ""}, ("found: an empty file", "deals.csv", "what to do")),
    "a header alone": Case({"deals.csv": csv_text([])}, ("header only", "expected: a header and at least one record")),
    "blank lines alone": Case({"deals.csv": "\n\n\n"}, ("deals.csv", "at least one record")),
    "a delimiter nobody uses": Case(
        {"deals.csv": csv_text(ROWS, delimiter="^")}, ("the header has none of the mapped columns", "delimiter")
    ),
    "another delimiter than the header's": Case(
        {"deals.csv": "\n".join([LINES[0], *(line.replace(",", ";") for line in LINES[1:])])},
        ("the header has none of the mapped columns", "delimiter", "deals.csv"),
    ),
    "NUL bytes alone": Case({"deals.csv": b"\0" * 4_000}, ("the header has none of the mapped columns",)),
    "mixed encodings": Case(
        {"deals.csv": GOOD.replace("C0", "Cé", 1).encode() + "X,S1,Cé,Won,2025-01-01,,,1,web\n".encode("latin-1")},
        ("mixes encodings", "expected: UTF-8", "0xe9", "deals.csv, line 242"),
    ),
    "an encoding nobody named": Case(
        {"deals.csv": GOOD.replace("C0", "Cé", 1).encode("latin-1")}, ("0xe9", "mapping.encoding", "deals.csv, line")
    ),
    "a file still being written": Case(
        {"deals.csv": GOOD, "more.csv.part": "x"}, ("still being written", "more.csv.part")
    ),
    "a ZIP still being written": Case({"deals.zip": zipped({"deals.csv": GOOD})[:-40]}, ("being written", "deals.zip")),
    "a ZIP that points outside": Case(
        {"deals.zip": zipped({"../deals.csv": GOOD})}, ("outside the archive", "../deals.csv", "deals.zip")
    ),
    "a ZIP bomb": Case(
        {"deals.zip": zipped({"deals.csv": GOOD + "\0" * 20_000_000})}, ("unfolds suspiciously", "200:1", "deals.zip")
    ),
    "a ZIP in a ZIP": Case(
        {"a.zip": zipped({"b.zip": zipped({"deals.csv": GOOD})})}, ("an archive lies in the archive",)
    ),
    "a damaged ZIP": Case(
        {"deals.zip": with_a_flipped_bit(zipped({"deals.csv": GOOD}), 200)}, ("cannot be read", "deals.zip: deals.csv")
    ),
    "duplicate headers": Case(
        {"deals.csv": GOOD.replace("Source", "Deal", 1)},
        ("names the mapped column 'Deal' 2 times", "deals.csv, header"),
    ),
    "no workbook": Case({"deals.xlsx": "text"}, ("a workbook cannot be opened", "deals.xlsx")),
    "no Parquet": Case({"deals.parquet": "text"}, ("a Parquet file cannot be opened", "deals.parquet")),
    "files of something else": Case(
        {"weather.csv": "day,rain\n1,2\n"}, ("no file with opportunities", "deals*", "weather.csv")
    ),
    "no files": Case({}, ("no export was found", "--exports")),
    "lines without end": Case(
        {"deals.csv": LINES[0] + "\n" + ("x" * 70 + "\n") * 100}, ("most records of a file cannot be read", "line 2")
    ),
}


def landed(home: Path, files: dict[str, str | bytes], **mapping: Any) -> Path:
    """A configuration over a landing folder with these files."""
    config = write_config(home, mapping=DEALS_MAPPING | mapping)
    (home / "exports").mkdir(exist_ok=True)
    for name, data in files.items():
        (home / "exports" / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    return config


def published(lake: Path) -> list[str]:
    return sorted(path.name for path in lake.glob("runs/*.published"))


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_is_refused_with_one_message(name: str, tmp_path: Path) -> None:
    case = REFUSED[name]
    config = landed(tmp_path, case.files, **case.mapping)
    before = files_under(tmp_path / "exports")
    checked = call("check", "-c", config)
    assert checked.code == case.check_code, checked.text
    assert not (tmp_path / "lake").exists(), "check writes nothing"
    command = "run" if case.code == 5 else "quarantine"  # the same stages, without the orchestrator
    told = call(command, "-c", config).refused(case.code, *case.words)
    assert sum(line.startswith("error:") for line in told.text.splitlines()) == 1
    assert "what to do" in told.err
    assert published(tmp_path / "lake") == []
    assert files_under(tmp_path / "exports") == before


def test_a_refused_export_does_not_stand_in_the_way_of_its_mended_one(tmp_path: Path) -> None:
    config = landed(tmp_path, {"deals.csv": csv_text([])})
    call("quarantine", "-c", config).refused(5)
    landed(tmp_path, {"deals.csv": GOOD})
    assert call("quarantine", "-c", config, "--json").done().json == []


def test_a_missing_lake_folder_or_disk_is_told(tmp_path: Path) -> None:
    config = landed(tmp_path, {"deals.csv": GOOD})
    (tmp_path / "lake").write_text("a file where the lake should be")
    told = call("quarantine", "-c", config)
    assert told.code in (1, 6)
    assert "Traceback" not in told.text


@pytest.fixture(scope="module")
def bruised(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """One export with everything that is quarantined record by record, two overlapping files and a thousand columns, run once."""
    home = tmp_path_factory.mktemp("bruised")
    lines = csv_text(ROWS[:160]).splitlines()
    lines[5] = lines[5].replace(",2", ',"2', 1)
    lines[6] = '"' + lines[6]
    lines[7] = lines[7] + ",surplus"
    lines[8] = lines[8].rsplit(",", 3)[0]
    lines[9] = lines[9].replace("D0", "D\0", 1)
    lines[10] = (
        lines[10].replace(",Offer,", ",Haggling,").replace(",Won,", ",Haggling,").replace(",Lost,", ",Haggling,")
    )
    lines[10] = lines[10].replace(",New,", ",Haggling,")
    lines.insert(12, "")
    wide = [[*row, *(str(number % 7) for number in range(1_000))] for row in ROWS[140:]]
    config = landed(
        home,
        {
            "deals_1.csv": "\n".join(lines) + "\n",
            "deals_2.csv": csv_text(
                wide, [*HEADER, *(f"X{number}" for number in range(1_000))], delimiter=";", end="\r\n"
            ),
        },
    )
    return config, call("run", "-c", config, "--json")


def test_what_cannot_be_used_is_quarantined_and_the_rest_is_published(bruised: tuple[Path, Outcome]) -> None:
    _, done = bruised
    assert done.code == 3, done.text[-3_000:]
    assert "Traceback" not in done.text
    told = done.json
    assert told["too_much_quarantine"] is True
    assert told["records"] == {"accepted": 234, "duplicate_of": 20, "quarantined": 6, "structural": 3}
    ids = pq.read_table(Path(told["path"]) / "scored_opportunities.parquet")["opportunity_id"].to_pylist()
    open_rows = [row for row in ROWS if row[3] in ("New", "Offer")]
    lost = {ROWS[number][0] for number in (4, 5, 6, 7, 8, 9)}
    assert set(ids) == {row[0] for row in open_rows if row[0] not in lost}


def test_quarantine_says_where_and_why(bruised: tuple[Path, Outcome]) -> None:
    config, _ = bruised
    rows = [row for row in call("quarantine", "-c", config, "--json").done().json if row["scope"] == "record"]
    found = {row["line"]: row["reason"] for row in rows}
    assert {row["file"] for row in rows} == {"deals_1.csv"}
    assert set(found) == {6, 7, 8, 9, 10, 11}
    assert (found[8], found[9], found[10], found[11]) == (
        "too many fields",
        "too few fields",
        "NUL byte",
        "unknown stage",
    )
    assert {found[6], found[7]} == {"broken quote"}


def test_the_ledger_adds_up_to_the_files(bruised: tuple[Path, Outcome]) -> None:
    _, done = bruised
    summary = pq.read_table(Path(done.json["path"]) / "row_ledger_summary.parquet")
    counts = dict(zip(*summary.group_by("file").aggregate([("records", "sum")]).to_pydict().values(), strict=True))
    assert counts == {"deals_1.csv": 162, "deals_2.csv": 101}
    assert pc.sum(summary["records"]).as_py() == sum(done.json["records"].values())


@pytest.mark.parametrize(
    ("rows", "why", "level"),
    [
        (deals(120, open_share=1), "no closed opportunity is known: documented rules", "rules"),
        (deals(120, won=1.01), "closed opportunities were won", "rates"),
    ],
    ids=["no closed deals", "all won"],
)
def test_without_two_outcomes_scores_say_what_they_rest_on(
    rows: list[tuple[str, ...]], why: str, level: str, tmp_path: Path, bruised: tuple[Path, Outcome]
) -> None:
    # What a lake learns about lineage depends on the code alone and takes seconds to work out.
    shutil.copytree(bruised[0].parent / "lake" / "lineage", tmp_path / "lake" / "lineage")
    done = call("run", "-c", landed(tmp_path, {"deals.csv": csv_text(rows)}), "--json").done().json
    assert why.lower() in " ".join(done["model"]["statements"]).lower()
    scored = pq.read_table(Path(done["path"]) / "scored_opportunities.parquet").to_pylist()
    assert len(scored) == sum(row[3] in ("New", "Offer") for row in rows)
    for row in scored:
        assert row["evidence_level"] == level
        assert 0 < row["win_probability_low"] < row["win_probability"] < row["win_probability_high"] < 1
    left = pq.read_table(Path(done["path"]) / "left_out.parquet").num_rows
    queued = pq.read_table(Path(done["path"]) / "follow_up_queue.parquet").num_rows
    assert left + queued == len(scored)


def test_a_future_day_is_refused_before_anything_is_kept(tmp_path: Path) -> None:
    config = landed(tmp_path, {"deals.csv": GOOD})
    call("run", "-c", config, "--as-of", "2999-12-31").refused(2, "2999-12-31", "what to do")
    assert published(tmp_path / "lake") == []
