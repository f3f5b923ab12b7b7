"""A folder of one process: gone when it ends, and removed by the next where it was killed."""

from __future__ import annotations

from pathlib import Path

from sales_pipeline.engines.scratch import Scratch


def test_a_folder_is_gone_when_it_is_closed(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path)
    (scratch.path / "rows.parquet").write_bytes(b"rows")

    scratch.close()

    assert not list(tmp_path.iterdir())


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    left = tmp_path / "held_0123"
    left.mkdir()
    (left / "rows.parquet").write_bytes(b"rows")
    (tmp_path / "held_0123.lock").touch()

    scratch = Scratch(tmp_path)

    assert not left.exists()
    assert {path.name for path in tmp_path.iterdir()} == {scratch.path.name, f"{scratch.path.name}.lock"}
    scratch.close()


def test_what_another_process_works_in_is_left_alone(tmp_path: Path) -> None:
    other = Scratch(tmp_path)

    Scratch(tmp_path).close()

    assert other.path.is_dir()
    other.close()


def test_files_that_are_no_such_folder_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()

    Scratch(tmp_path).close()

    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
