import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sales_pipeline.delivery.channels.base import Channel
from sales_pipeline.delivery.channels.folder import Folder
from sales_pipeline.delivery.journal import Journal
from sales_pipeline.delivery.params import FolderChannel
from sales_pipeline.delivery.parcel import Parcel
from sales_pipeline.errors import DeliveryFailed, EnvironmentProblem
from tests.support.parcels import a_parcel, a_part


@pytest.fixture
def parcel(tmp_path: Path) -> Parcel:
    kit = tmp_path / "kit"
    rows = [{"Id": f"id-{number}", "A": "x" * 50} for number in range(40)]
    one = a_part(kit, "one.csv", rows, fields=("Id", "A"))
    two = a_part(kit, "deep/two.csv", rows[:1], fields=("Id", "A"))
    (kit / "README.txt").write_text("how to", encoding="utf-8")
    return a_parcel(kit, one, two)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "share").mkdir()
    return tmp_path / "share"


def send(parcel: Parcel, target: Path, journal: Path | None = None) -> Any:
    channel: Channel = Folder(FolderChannel(path=target))
    return channel.send(parcel, Journal(journal or target.parent / "journal"))


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_whole_kit_arrives_and_its_rows_have_succeeded(parcel: Parcel, target: Path) -> None:
    table = send(parcel, target)
    assert content(target / parcel.delivery_id) == content(parcel.folder)
    assert set(table["outcome"].to_pylist()) == {"succeeded"}
    assert table.num_rows == 41


def test_sending_again_changes_nothing(parcel: Parcel, target: Path) -> None:
    first = send(parcel, target)
    before = {path: path.stat() for path in target.rglob("*")}
    assert send(parcel, target).equals(first)
    assert send(parcel, target, target.parent / "a lost journal").equals(first)
    assert {path: path.stat() for path in target.rglob("*")} == before


def test_what_the_reader_took_away_is_not_delivered_again(parcel: Parcel, target: Path) -> None:
    first = send(parcel, target)
    shutil.rmtree(target / parcel.delivery_id)
    assert send(parcel, target).equals(first)
    assert list(target.iterdir()) == []


def test_a_process_killed_between_the_copy_and_the_results_goes_on(
    parcel: Parcel, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Journal, "finish", killed)
        with pytest.raises(KeyboardInterrupt):
            send(parcel, target)
    shutil.rmtree(target / parcel.delivery_id)  # the reader was quick
    assert set(send(parcel, target)["outcome"].to_pylist()) == {"succeeded"}
    assert list(target.iterdir()) == []


@pytest.mark.parametrize("change", ["more", "other", "less"])
def test_other_content_under_the_same_id_is_an_error_and_is_left_alone(
    parcel: Parcel, target: Path, change: str
) -> None:
    send(parcel, target, target.parent / "first")
    there = target / parcel.delivery_id / ("more.csv" if change == "more" else "one.csv")
    there.unlink() if change == "less" else there.write_text("other", encoding="utf-8")
    before = content(target)
    with pytest.raises(DeliveryFailed, match=f"(?s)other content stands.*found: {there.name}"):
        send(parcel, target)
    assert content(target) == before


def test_a_folder_that_is_not_there_is_not_made_up_for(parcel: Parcel, tmp_path: Path) -> None:
    with pytest.raises(DeliveryFailed, match=r"(?s)is not there.*found: nothing.*mount"):
        send(parcel, tmp_path / "missing")
    (tmp_path / "file").touch()
    with pytest.raises(DeliveryFailed, match="found: something else"):
        send(parcel, tmp_path / "file")


@contextmanager
def files_no_longer_than(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_takes_no_more_leaves_nothing_half_delivered(parcel: Parcel, target: Path) -> None:
    with files_no_longer_than(1000), pytest.raises(EnvironmentProblem, match=r"(?s)cannot be written.*File too large"):
        send(parcel, target)
    assert list(target.iterdir()) == []
    assert send(parcel, target).num_rows == 41


def test_a_full_disk_at_any_file_leaves_nothing_half_delivered(
    parcel: Parcel, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = shutil.copyfile
    for full_at in range(4):
        copied: list[Path] = []

        def full(source: Path, to: Path, full_at: int = full_at, copied: list[Path] = copied) -> None:
            if len(copied) == full_at:
                to.write_bytes(source.read_bytes()[:10])
                raise OSError(28, "No space left on device")
            real(source, to)
            copied.append(to)

        with monkeypatch.context() as patched:
            patched.setattr(shutil, "copyfile", full)
            with pytest.raises(EnvironmentProblem, match="No space left on device"):
                send(parcel, target)
        assert list(target.iterdir()) == []
    assert send(parcel, target).num_rows == 41


def test_a_share_that_fails_is_told_from_a_full_disk(
    parcel: Parcel, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stale(*_: Any) -> None:
        raise OSError(116, "Stale file handle")

    monkeypatch.setattr(shutil, "copyfile", stale)
    with pytest.raises(DeliveryFailed, match=r"(?s)folder to deliver to fails.*Stale"):
        send(parcel, target)


def test_a_file_that_arrives_otherwise_than_it_was_sent_stops_the_delivery(
    parcel: Parcel, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "copyfile", lambda source, to: to.write_bytes(source.read_bytes()[:-1]))
    with pytest.raises(DeliveryFailed, match="did not arrive as it was sent"):
        send(parcel, target)
    assert list(target.iterdir()) == []


def test_a_kit_that_is_not_whole_is_not_delivered(parcel: Parcel, target: Path) -> None:
    (parcel.folder / "link").symlink_to("/etc/hostname")
    with pytest.raises(DeliveryFailed, match=r"(?s)something in the kit is no file.*found: link"):
        send(parcel, target)
    (parcel.folder / "link").unlink()
    (parcel.folder / "manifest.json").unlink()
    with pytest.raises(DeliveryFailed, match="no manifest"):
        send(parcel, target)
    (parcel.folder / "one.csv").write_text("other", encoding="utf-8")
    with pytest.raises(DeliveryFailed, match="not what its manifest says"):
        send(parcel, target)
    assert list(target.iterdir()) == []
