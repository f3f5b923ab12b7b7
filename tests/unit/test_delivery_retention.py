"""Old kits go once a delivery is settled; what is needed still stays, whatever moment the process dies at."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dagster_project.delivery_report import status_row
from sales_pipeline.delivery.channels.base import Channel
from sales_pipeline.delivery.deliver import Delivered, deliver, refusals, roll_back, take_results
from sales_pipeline.delivery.state.settle import delivery_status
from sales_pipeline.delivery.state.store import kits_folder, read_state, target_folder
from sales_pipeline.errors import ConfigurationError
from sales_pipeline.lake.layout import Lake
from tests.support.kit_runs import ANY_MOVES, DAY, mapping, publish_rows, scored_row
from tests.unit.test_delivery_deliver import Target


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path)


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda _: None)


def send(lake: Lake, number: int, channel: Channel | None, *, keep: int = 2, is_dry_run: bool = False) -> Delivered:
    """Deliver the run of the `number`-th day; every figure moves every day."""
    rows = [scored_row(name, 0.1 + number / 100) for name in "ab"]
    published = publish_rows(lake, f"run-{number}", rows, as_of=DAY + timedelta(days=number))
    options = {"moves": ANY_MOVES, "keep_kits": keep, "is_dry_run": is_dry_run}
    return deliver(lake, published, "crm", mapping(), channel, **options)  # type: ignore[arg-type]


def there(lake: Lake, place: str = "kits") -> set[str]:
    """Deliveries that have a folder, as the runs they are of."""
    runs = {one.delivery_id: one.run_id for one in delivery_status(lake, "crm")}
    return {runs.get(path.name, path.name) for path in (target_folder(lake, "crm") / place).iterdir()}


def test_the_newest_settled_kits_stay_and_the_others_keep_their_line(lake: Lake) -> None:
    target = Target()
    for number in range(1, 5):
        send(lake, number, target)
    assert there(lake) == there(lake, "journals") == {"run-3", "run-4"}
    statuses = delivery_status(lake, "crm")
    assert [(one.run_id, one.succeeded, one.is_dropped) for one in statuses] == [
        ("run-1", 2, True), ("run-2", 2, True), ("run-3", 2, False), ("run-4", 2, False),
    ]  # fmt: skip
    assert [status_row("crm", one)["state"] for one in statuses][1:3] == ["done; its kit was dropped", "done"]
    state = read_state(lake, "crm")
    assert len(state.results) == 2
    named = {*state.results.values(), *(file for file, _ in state.objects.values())}
    assert {path.name for path in state.folder.glob("*.parquet")} == named
    assert refusals(lake, "crm") == []
    assert send(lake, 4, target).ended == "nothing_to_deliver"


def test_what_waits_for_answers_stays_however_old_it_is(lake: Lake) -> None:
    waiting = send(lake, 1, None)
    for number in range(2, 6):
        send(lake, number, None)
        take_results(lake, "crm", [], all_taken=True, keep_kits=1)
    assert there(lake) == {"run-1", "run-5"}
    late = take_results(lake, "crm", [], delivery_id=waiting.kit.parcel.delivery_id, all_taken=True, keep_kits=1)
    assert late.status is not None
    assert late.status.is_settled


def test_the_delivery_a_rollback_would_take_back_stays_though_newer_ones_took_nothing(lake: Lake) -> None:
    send(lake, 1, Target(), keep=1)
    for number in (2, 3, 4):
        send(lake, number, Target(refuses=("a", "b")), keep=1)
    assert there(lake) == {"run-1", "run-4"}
    assert roll_back(lake, "run-1", "crm", Target(), keep_kits=1).ended == "settled"


def test_nothing_can_be_done_with_a_dropped_delivery_and_that_is_said(lake: Lake) -> None:
    target = Target()
    dropped = send(lake, 1, target).kit.parcel.delivery_id
    for number in (2, 3):
        send(lake, number, target)
    with pytest.raises(ConfigurationError, match="the kit of this delivery was dropped"):
        take_results(lake, "crm", [], delivery_id=dropped, all_taken=True)
    roll_back(lake, "run-3", "crm", target, keep_kits=9)
    roll_back(lake, "run-2", "crm", target, keep_kits=9)
    with pytest.raises(ConfigurationError, match=r"was dropped(.|\n)*raise `keep_kits`"):
        roll_back(lake, "run-1", "crm", target, keep_kits=9)


def test_kits_that_were_never_handed_over_are_bounded_too(lake: Lake) -> None:
    for number in (1, 2, 3):
        send(lake, number, None, is_dry_run=True)
    send(lake, 4, Target())
    assert len(there(lake)) == 3
    assert "run-4" in there(lake)


class Killed(BaseException):
    """The process dies here."""


@pytest.mark.parametrize("at", [1, 4, 6])
@pytest.mark.parametrize("step", ["rename", "rmtree"])
def test_a_crash_while_kits_are_dropped_loses_nothing_that_is_needed(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, step: str, at: int
) -> None:
    target, kits = Target(), kits_folder(lake, "crm")
    for number in (1, 2, 3):
        send(lake, number, target, keep=9)
    owner: Any = Path if step == "rename" else shutil
    real, count = getattr(owner, step), 0

    def dying(path: Path, *arguments: Any, **options: Any) -> Any:
        nonlocal count
        count += Path(arguments[0] if arguments else path).name.endswith(".building")
        if count == at:
            raise Killed
        return real(path, *arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(owner, step, dying)
        with pytest.raises(Killed):
            send(lake, 4, target, keep=1)
    kept = [one.delivery_id for one in delivery_status(lake, "crm") if not one.is_dropped]
    assert len(kept) == 1
    assert (kits / kept[0] / "manifest.json").is_file()
    assert send(lake, 5, target, keep=1).ended == "settled"
    assert there(lake) == there(lake, "journals") == {"run-5"}
    assert [one.succeeded for one in delivery_status(lake, "crm")] == [2] * 5
    assert roll_back(lake, "run-5", "crm", target).ended == "settled"
