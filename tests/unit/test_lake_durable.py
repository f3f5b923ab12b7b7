from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from sales_pipeline.errors import EnvironmentProblem
from sales_pipeline.lake.durable import make_directory, remove_leftovers, write_bytes, write_directory
from sales_pipeline.lake.layout import Lake


def test_bytes_replace_bytes_and_leave_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    write_bytes(path, b"one")
    write_bytes(path, b"two")
    assert path.read_bytes() == b"two"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_a_directory_is_built_once(tmp_path: Path) -> None:
    calls = []

    def build(folder: Path) -> None:
        calls.append(folder)
        (folder / "a").write_bytes(b"1")

    assert write_directory(tmp_path / "final", build)
    assert not write_directory(tmp_path / "final", build)
    assert len(calls) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["final"]


def test_a_failed_build_leaves_nothing(tmp_path: Path) -> None:
    def build(folder: Path) -> None:
        (folder / "a").write_bytes(b"1")
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        write_directory(tmp_path / "final", build)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_writer_left_is_replaced(tmp_path: Path) -> None:
    (tmp_path / ".final.building").mkdir()
    (tmp_path / ".final.building" / "stale").write_bytes(b"x")
    write_directory(tmp_path / "final", lambda folder: (folder / "a").write_bytes(b"1") and None)
    assert [p.name for p in (tmp_path / "final").iterdir()] == ["a"]


def test_leftovers_are_removed_and_named(tmp_path: Path) -> None:
    (tmp_path / "runs" / ".r.building" / "sub").mkdir(parents=True)
    (tmp_path / ".CURRENT.12.tmp").write_bytes(b"x")
    kept = [tmp_path / "CURRENT", tmp_path / "runs" / "notes.tmp", tmp_path / ".lock"]
    for path in kept:
        path.write_bytes(b"x")
    assert remove_leftovers(tmp_path) == [tmp_path / ".CURRENT.12.tmp", tmp_path / "runs" / ".r.building"]
    assert sorted(p for p in tmp_path.rglob("*") if p.is_file()) == sorted(kept)
    assert remove_leftovers(tmp_path) == []


def test_leftovers_below_a_folder_with_a_lock_of_its_own_stay(tmp_path: Path) -> None:
    (tmp_path / "deliveries" / "salesforce" / ".kit.building").mkdir(parents=True)
    assert remove_leftovers(tmp_path, but=tmp_path / "deliveries") == []
    assert len(remove_leftovers(tmp_path)) == 1


def test_a_full_disk_is_told_and_the_old_bytes_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bytes(tmp_path / "CURRENT", b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EnvironmentProblem, match="No space left") as caught:
        write_bytes(tmp_path / "CURRENT", b"new")
    assert caught.value.exit_code == 6
    assert (tmp_path / "CURRENT").read_bytes() == b"old"
    with pytest.raises(EnvironmentProblem, match="No space left"):
        write_directory(tmp_path / "final", lambda folder: (folder / "a").write_bytes(b"1") and None)
    assert [p.name for p in tmp_path.iterdir()] == ["CURRENT"]


def test_an_unreadable_input_is_not_blamed_on_the_lake(tmp_path: Path) -> None:
    def build(_: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "/exports/Opportunity.csv")

    with pytest.raises(PermissionError):
        write_directory(tmp_path / "lake" / "final", build)


def test_new_directories_are_synced_into_their_parents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    real = os.fsync

    def note(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        real(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    make_directory(tmp_path / "a" / "b")
    assert synced == [tmp_path, tmp_path / "a"]


def test_a_step_is_computed_once_per_key(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    calls = []

    def build(folder: Path) -> dict[str, Any]:
        calls.append(folder)
        (folder / "table").write_bytes(b"1")
        return {"rows": 1}

    assert lake.step("features", "k", build) == (tmp_path / "features" / "k", {"rows": 1})
    assert lake.step("features", "k", build)[1] == {"rows": 1}
    lake.step("features", "other", build)
    assert len(calls) == 2
