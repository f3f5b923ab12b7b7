"""What a power loss may leave of a publish: all of the old run or all of the new, and never less than was acknowledged."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sales_pipeline.errors import SalesPipelineError
from sales_pipeline.lake.durable import remove_leftovers, write_bytes, write_directory
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.runs import MANIFEST, current_run, publish_run, verify_run, write_run
from tests.support.power_loss import Recording, State, record, states_after

OLD, NEW = "run-old", "run-new"
AS_OF = {OLD: "2026-07-01T00:00:00Z", NEW: "2026-07-02T00:00:00Z"}
FILES = {"scored_opportunities.csv": b"opportunity_id\na\nb\n", "kits/crm.csv": b"queue_id\nfu-1\n"}


def build(run_id: str) -> Callable[[Path], dict[str, Any]]:
    def write(folder: Path) -> dict[str, Any]:
        for name, content in FILES.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(run_id.encode() + content)
        return {"as_of": AS_OF[run_id]}

    return write


def publish(root: Path, run_id: str) -> None:
    lake = Lake(root)
    write_run(lake, run_id, build(run_id))
    publish_run(lake, run_id)


def publish_naively(root: Path, run_id: str) -> None:
    """What not to do: in place, in no order, nothing synced."""
    folder = root / "runs" / run_id
    folder.mkdir(parents=True)
    write_run(Lake(root / "aside"), run_id, build(run_id))
    shutil.copytree(root / "aside" / "runs" / run_id, folder, dirs_exist_ok=True)
    (root / "CURRENT").write_text(run_id + "\n")


def judge(state: State, root: Path) -> str:
    """`old`, `new`, `torn` (a reader fails or sees a mixture) or `lost` (acknowledged, and not there)."""
    state.restore(root)
    try:
        run = current_run(Lake(root))
        if run is None:
            return "torn"
        verify_run(run.path)
        whole = all((run.path / name).read_bytes() == run.run_id.encode() + FILES[name] for name in FILES)
    except (SalesPipelineError, OSError, ValueError, KeyError):
        return "torn"
    if not whole:
        return "torn"
    if state.is_acknowledged and run.run_id == OLD:
        return "lost"
    return "new" if run.run_id == NEW else "old"


def outcomes(recording: Recording, folder: Path) -> dict[str, int]:
    counts: dict[str, int] = {}
    for number, state in enumerate(sorted(states_after(recording), key=repr)):
        outcome = judge(state, folder / f"state{number}")
        counts[outcome] = counts.get(outcome, 0) + 1
    return counts


@pytest.fixture
def disk() -> Iterator[Path]:
    """A folder in memory where there is one: hundreds of small disks are restored."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


@pytest.fixture
def lake(disk: Path) -> Path:
    root = disk / "lake"
    publish(root, OLD)
    return root


def test_a_power_loss_leaves_the_old_run_or_the_new_one(lake: Path, disk: Path) -> None:
    counts = outcomes(record(lake, lambda: publish(lake, NEW)), disk)
    assert set(counts) == {"old", "new"}, counts
    assert sum(counts.values()) > 30


def test_the_first_publish_into_a_new_lake_is_kept_once_acknowledged(disk: Path) -> None:
    root = disk / "lake"
    root.mkdir()
    recording = record(root, lambda: publish(root, NEW))
    for number, state in enumerate(sorted(states_after(recording), key=repr)):
        state.restore(disk / f"state{number}")
        run = current_run(Lake(disk / f"state{number}"))
        if state.is_acknowledged:
            assert run is not None
        if run is not None:
            verify_run(run.path)


def test_a_naive_publish_is_caught(lake: Path, disk: Path) -> None:
    counts = outcomes(record(lake, lambda: publish_naively(lake, NEW)), disk)
    assert counts.get("torn", 0) > 0
    assert counts.get("lost", 0) > 0


@pytest.mark.parametrize("forgotten", ["files", "folders of a run", "the lake's folder"])
def test_each_kind_of_sync_is_needed(lake: Path, disk: Path, forgotten: str) -> None:
    def ignore(path: Path) -> bool:
        if forgotten == "files":
            return path.is_file()
        return path.is_dir() and (path == lake) == (forgotten == "the lake's folder")

    counts = outcomes(record(lake, lambda: publish(lake, NEW), ignore_sync=ignore), disk)
    assert counts.get("torn", 0) + counts.get("lost", 0) > 0, counts


def test_running_again_after_any_crash_ends_with_the_new_run_and_nothing_left_over(lake: Path, disk: Path) -> None:
    recording = record(lake, lambda: publish(lake, NEW))
    for number, state in enumerate(sorted(states_after(recording), key=repr)):
        root = disk / f"state{number}"
        state.restore(root)
        publish(root, NEW)
        remove_leftovers(root)
        run = current_run(Lake(root))
        assert run is not None
        assert run.run_id == NEW
        verify_run(run.path)
        found = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
        files = {f"runs/{run_id}/{name}" for run_id in (OLD, NEW) for name in (*FILES, MANIFEST)}
        assert found == files | {f"runs/{run_id}.published" for run_id in (OLD, NEW)} | {"CURRENT"}


def test_a_file_is_replaced_whole(disk: Path) -> None:
    root = disk / "lake"
    root.mkdir()
    write_bytes(root / "CURRENT", b"old")
    recording = record(root, lambda: write_bytes(root / "CURRENT", b"new"))
    states = states_after(recording)
    assert {dict(state.tree)["CURRENT"] for state in states} == {b"old", b"new"}
    assert {dict(state.tree)["CURRENT"] for state in states if state.is_acknowledged} == {b"new"}


def test_a_directory_appears_whole_or_not_at_all(disk: Path) -> None:
    root = disk / "lake"
    root.mkdir()

    def fill(folder: Path) -> None:
        (folder / "a").write_bytes(b"1234")
        (folder / "sub").mkdir()
        (folder / "sub" / "b").write_bytes(b"5678")

    states = states_after(record(root, lambda: write_directory(root / "deep" / "final", fill)))
    whole = {"a": b"1234", "sub": None, "sub/b": b"5678"}
    for state in states:
        found = {n.removeprefix("deep/final/"): c for n, c in state.tree if n.startswith("deep/final/")}
        is_there = any(name == "deep/final" for name, _ in state.tree)
        assert found == (whole if is_there else {})
        assert is_there or not state.is_acknowledged
