from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sales_pipeline.errors import AuditBlocked, ConfigurationError, EnvironmentProblem, LakeLocked
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.lock import lake_lock
from sales_pipeline.lake.runs import (
    MANIFEST,
    current_run,
    previous_run,
    publish_run,
    published_runs,
    read_manifest,
    require_current_run,
    verify_run,
    write_run,
)


def build(as_of: str, content: bytes = b"a\n1\n") -> Callable[[Path], dict[str, Any]]:
    def write(folder: Path) -> dict[str, Any]:
        (folder / "table.csv").write_bytes(content)
        return {"as_of": as_of}

    return write


def published(lake: Lake, run_id: str, day: int, **options: Any) -> bool:
    write_run(lake, run_id, build(f"2026-07-{day:02d}T00:00:00Z"))
    return publish_run(lake, run_id, **options)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def bytes_below(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_nothing_is_published_at_first(lake: Lake) -> None:
    assert current_run(lake) is None
    assert published_runs(lake) == []
    with pytest.raises(ConfigurationError, match="nothing is published"):
        require_current_run(lake)


def test_a_written_run_is_invisible_until_it_is_published(lake: Lake) -> None:
    write_run(lake, "one", build("2026-07-01T00:00:00Z"))
    assert current_run(lake) is None
    assert publish_run(lake, "one")
    assert require_current_run(lake).run_id == "one"


def test_a_run_that_was_not_written_cannot_be_published(lake: Lake) -> None:
    with pytest.raises(AuditBlocked, match="complete run folder"):
        publish_run(lake, "ghost")


def test_the_same_run_twice_changes_no_byte(lake: Lake) -> None:
    published(lake, "one", 1)
    before = bytes_below(lake.root)
    assert published(lake, "one", 1)
    assert bytes_below(lake.root) == before


def test_a_run_id_never_changes_its_content(lake: Lake) -> None:
    published(lake, "one", 1)
    write_run(lake, "one", build("2026-07-01T00:00:00Z", b"other"))
    assert (lake.runs / "one" / "table.csv").read_bytes() == b"a\n1\n"


def test_current_moves_only_forward_and_an_older_day_goes_to_the_history(lake: Lake) -> None:
    assert published(lake, "day2", 2)
    assert not published(lake, "day1", 1)
    assert require_current_run(lake).run_id == "day2"
    assert [run.run_id for run in published_runs(lake)] == ["day1", "day2"]
    assert published(lake, "day3", 3)
    assert require_current_run(lake).run_id == "day3"


def test_the_same_day_run_anew_replaces_the_current_one(lake: Lake) -> None:
    published(lake, "first", 1)
    assert published(lake, "again", 1)
    assert require_current_run(lake).run_id == "again"


def test_an_older_day_can_be_made_current_on_purpose(lake: Lake) -> None:
    published(lake, "day2", 2)
    assert published(lake, "day1", 1, make_current=True)
    assert require_current_run(lake).run_id == "day1"


def test_previous_is_the_published_run_with_the_greatest_earlier_as_of(lake: Lake) -> None:
    for run_id, day in (("day3", 3), ("day1", 1), ("day2", 2)):
        published(lake, run_id, day)
    write_run(lake, "unpublished", build("2026-07-02T12:00:00Z"))
    previous = previous_run(lake, "2026-07-03T00:00:00Z")
    assert previous is not None
    assert previous.run_id == "day2"
    assert previous_run(lake, "2026-07-01T00:00:00Z") is None


def test_instants_are_compared_as_time_not_as_text(lake: Lake) -> None:
    write_run(lake, "late", build("2026-07-01T00:00:00.500000Z"))
    write_run(lake, "early", build("2026-07-01T00:00:00Z"))
    publish_run(lake, "late")
    assert not publish_run(lake, "early")
    assert [run.run_id for run in published_runs(lake)] == ["early", "late"]


def test_verify_accepts_what_was_written(lake: Lake) -> None:
    published(lake, "one", 1)
    assert verify_run(lake.runs / "one")["run_id"] == "one"


def _flip(folder: Path) -> None:
    (folder / "table.csv").write_bytes(b"a\n2\n")


def _lose(folder: Path) -> None:
    (folder / "table.csv").unlink()


def _add(folder: Path) -> None:
    (folder / "extra.csv").write_bytes(b"x")


def _forge(folder: Path) -> None:
    manifest = read_manifest(folder)
    (folder / MANIFEST).write_text(json.dumps(manifest | {"as_of": "2030-01-01T00:00:00Z"}))


@pytest.mark.parametrize("tamper", [_flip, _lose, _add, _forge])
def test_verify_detects_tampering(lake: Lake, tamper: Callable[[Path], None]) -> None:
    published(lake, "one", 1)
    tamper(lake.runs / "one")
    with pytest.raises(EnvironmentProblem):
        verify_run(lake.runs / "one")


def test_a_tampered_run_is_not_published(lake: Lake) -> None:
    write_run(lake, "one", build("2026-07-01T00:00:00Z"))
    _flip(lake.runs / "one")
    with pytest.raises(EnvironmentProblem, match="changed or lost"):
        publish_run(lake, "one")
    assert current_run(lake) is None


@pytest.mark.parametrize("content", ["gone\n", ""])
def test_a_damaged_current_is_named(lake: Lake, content: str) -> None:
    published(lake, "one", 1)
    lake.current.write_text(content)
    with pytest.raises(EnvironmentProblem, match="CURRENT names a run that is not there"):
        current_run(lake)


def test_a_lost_run_of_the_history_is_named(lake: Lake) -> None:
    published(lake, "one", 1)
    (lake.runs / "one" / MANIFEST).unlink()
    with pytest.raises(EnvironmentProblem, match="a published run is not there"):
        published_runs(lake)


HOLD = """
import sys
from pathlib import Path
from sales_pipeline.lake.lock import lake_lock
with lake_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_the_lock_keeps_a_second_process_out_and_dies_with_its_holder(lake: Lake) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lake.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LakeLocked, match="another run holds the lake"), lake_lock(lake.root):
            pass
        holder.kill()
        holder.wait()
    with lake_lock(lake.root):
        pass


def test_the_lock_is_free_again_after_an_error(lake: Lake) -> None:
    with pytest.raises(ValueError, match="broken"), lake_lock(lake.root):
        raise ValueError("broken")
    with lake_lock(lake.root):
        pass
