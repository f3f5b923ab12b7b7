"""Which files make an export, and archives that are not safe to unpack."""

import stat
import zipfile
from pathlib import Path

import pytest

from sales_pipeline.errors import InputRejected
from sales_pipeline.ingest.landing import is_complete, landed_exports, members, open_archive, sizes, unpacked
from sales_pipeline.ingest.params import ArchiveLimits

LIMITS = ArchiveLimits()


def archive(path: Path, *entries: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name, data in entries:
            target.writestr(name, data)
    return path


def test_files_folders_and_sets_of_zips_are_exports_of_their_own(tmp_path: Path) -> None:
    for name in (
        "deals.csv",
        "notes.md",
        "2024-01/deals.csv",
        "2024-02/deals.csv",
        "truth/secret.csv",
        ".hidden/x.csv",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("a\n")
    for number in (1, 2):
        archive(tmp_path / f"WE_00D1_{number}.ZIP", ("Account.csv", b"Id\n"))
    found = {export.label: [path.name for path in export.files] for export in landed_exports(tmp_path)}
    assert found == {
        ".": ["deals.csv"],
        "./WE_00D1": ["WE_00D1_1.ZIP", "WE_00D1_2.ZIP"],
        "2024-01": ["deals.csv"],
        "2024-02": ["deals.csv"],
    }


def test_an_empty_folder_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(InputRejected, match=r"(?s)no export was found.*CSV, TSV, Excel"):
        landed_exports(tmp_path)


def test_a_file_in_transfer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "deals.csv.part").write_text("a")
    with pytest.raises(InputRejected, match="still being written"):
        landed_exports(tmp_path)


def test_complete_means_two_equal_looks_or_a_marker(tmp_path: Path) -> None:
    (tmp_path / "deals.csv").write_text("Id\n1\n")
    first = sizes(tmp_path)
    assert not is_complete(tmp_path, None)
    assert is_complete(tmp_path, first)
    (tmp_path / "deals.csv").write_text("Id\n1\n2\n")
    assert not is_complete(tmp_path, first)
    (tmp_path / "_COMPLETE").touch()
    assert is_complete(tmp_path, None)


def test_a_truncated_zip_is_not_complete_and_not_opened(tmp_path: Path) -> None:
    path = archive(tmp_path / "export.zip", ("Account.csv", b"Id\n" * 100))
    path.write_bytes(path.read_bytes()[:-30])
    assert not is_complete(tmp_path, sizes(tmp_path))
    with pytest.raises(InputRejected, match="still being written"):
        open_archive(path)


def _link() -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo("Account.csv")
    entry.create_system = 3
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry


@pytest.mark.parametrize(
    ("entries", "what"),
    [
        ([("../Account.csv", b"Id\n")], "outside the archive"),
        ([("/etc/Account.csv", b"Id\n")], "outside the archive"),
        ([("C:\\Account.csv", b"Id\n")], "outside the archive"),
        ([("a/..\\..\\Account.csv", b"Id\n")], "outside the archive"),
        ([(_link(), b"/etc/passwd")], "is a link"),
        ([("inner.zip", b"PK")], "archive lies in the archive"),
        ([("Account.csv", b"0" * 2_000_000)], "unfolds suspiciously"),
        ([(f"{number}.csv", b"") for number in range(1_001)], "too many members"),
    ],
)
def test_unsafe_archives_are_refused(tmp_path: Path, entries: list[tuple[str, bytes]], what: str) -> None:
    path = archive(tmp_path / "export.zip", *entries)
    with open_archive(path) as opened, pytest.raises(InputRejected, match=what):
        members(opened, path.name, LIMITS)


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "export.zip", ("Account.csv", b"Id\n"))
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(bytes(data))
    with open_archive(path) as opened, pytest.raises(InputRejected, match="encrypted"):
        members(opened, path.name, LIMITS)


def test_a_directory_that_lies_about_sizes_does_not_help(tmp_path: Path) -> None:
    path = archive(tmp_path / "export.zip", ("Account.csv", b"12345678" * 1_000))
    small = ArchiveLimits(max_bytes=4_000)
    with open_archive(path) as opened, pytest.raises(InputRejected, match="unfolds to too much"):
        members(opened, path.name, small)
    data = path.read_bytes().replace((8_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    path.write_bytes(data)
    with pytest.raises(InputRejected):
        list(unpacked([(path.name, path, "", 0)], small, tmp_path / "out"))


def test_members_come_out_with_their_own_digest(tmp_path: Path) -> None:
    path = archive(tmp_path / "export.zip", ("data/Account.csv", b"Id\n1\n"), ("readme.txt", b"x"))
    [file] = unpacked([(path.name, path, "zip-digest", 1)], LIMITS, tmp_path / "out")
    assert (file.name, file.base_name, file.bytes) == ("export.zip/data/Account.csv", "Account.csv", 5)
    assert file.path.read_bytes() == b"Id\n1\n"
