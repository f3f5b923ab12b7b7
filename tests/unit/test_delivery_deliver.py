from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from sales_pipeline.delivery.channels.base import Channel
from sales_pipeline.delivery.deliver import Delivered, deliver, refusals, roll_back, take_results
from sales_pipeline.delivery.journal import Journal
from sales_pipeline.delivery.params import MoveLimit
from sales_pipeline.delivery.parcel import Parcel
from sales_pipeline.delivery.results.sent import sent_keys
from sales_pipeline.delivery.results.tables import results_table
from sales_pipeline.delivery.state.settle import delivery_status
from sales_pipeline.delivery.state.store import target_folder
from sales_pipeline.errors import ConfigurationError, DeliveryBlocked, DeliveryFailed, DeliveryUnderWay
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.lock import delivery_lock
from sales_pipeline.lake.runs import PublishedRun
from tests.support.kit_runs import ANY_MOVES, DAY, follow_up, left_out, mapping, publish_rows, scored_row, tasks


class Target:
    """A channel that remembers what it was sent. It refuses the keys it is told to, and dies at a send when told to."""

    def __init__(self, *, refuses: tuple[str, ...] = (), is_down: bool = False) -> None:
        self.refuses = refuses
        self.is_down = is_down
        self.sent: list[list[str]] = []

    def send(self, parcel: Parcel, journal: Journal) -> pa.Table:
        tables = []
        for part in parcel.parts:
            kept = journal.results(part)
            if kept is None:
                if self.is_down:
                    raise DeliveryFailed("the target does not answer")
                keys = sent_keys(parcel, part)
                self.sent.append(keys)
                good = [key for key in keys if key not in self.refuses]
                bad = [key for key in keys if key in self.refuses]
                pieces = [results_table(part, good, "succeeded")]
                pieces.append(
                    results_table(part, bad, "failed", codes=["LOCKED"] * len(bad), messages=["no"] * len(bad))
                )
                kept = journal.finish(part, pa.concat_tables(pieces))
            tables.append(kept)
        return pa.concat_tables(tables)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path)


def run(lake: Lake, number: int = 1, figure: float = 0.5, names: str = "abcd") -> PublishedRun:
    """The run of the `number`-th day, every opportunity with this win probability."""
    rows = [scored_row(name, figure) for name in names]
    return publish_rows(lake, f"run-{number}", rows, as_of=DAY + timedelta(days=number - 1))


def send(
    lake: Lake, published: PublishedRun, channel: Channel | None, moves: MoveLimit = ANY_MOVES, **options: bool
) -> Delivered:
    return deliver(lake, published, "crm", mapping(), channel, moves=moves, **options)


def test_a_delivery_ends_settled_and_the_same_run_again_has_nothing_to_deliver(lake: Lake) -> None:
    target = Target()
    done = send(lake, run(lake), target)
    assert done.ended == "settled"
    assert done.status is not None
    assert done.status.succeeded == 4
    assert send(lake, run(lake), target).ended == "nothing_to_deliver"
    assert target.sent == [["a", "b", "c", "d"]]


def test_all_rows_go_again_when_asked_for(lake: Lake) -> None:
    target = Target()
    send(lake, run(lake), target)
    send(lake, run(lake), target, only_changed=False)
    assert target.sent == [["a", "b", "c", "d"]] * 2


def test_a_dry_run_builds_the_kit_and_hands_nothing_over(lake: Lake) -> None:
    target = Target()
    done = send(lake, run(lake), target, is_dry_run=True)
    assert done.ended == "dry_run"
    assert (done.kit.folder / "review.xlsx").is_file()
    assert target.sent == []
    assert delivery_status(lake, "crm") == ()


def test_refused_rows_are_listed_and_come_again_until_they_are_taken(lake: Lake) -> None:
    target = Target(refuses=("b",))
    send(lake, run(lake), target)
    assert [(row["key"], row["code"], row["message"]) for row in refusals(lake, "crm")] == [("b", "LOCKED", "no")]
    target.refuses = ()
    send(lake, run(lake), target)
    assert target.sent[-1] == ["b"]
    assert refusals(lake, "crm") == []


def test_what_was_cut_short_is_finished_before_anything_new_is_built(lake: Lake) -> None:
    target = Target(is_down=True)
    with pytest.raises(DeliveryFailed, match="does not answer"):
        send(lake, run(lake), target)
    assert [one.unknown for one in delivery_status(lake, "crm")] == [4]
    target.is_down = False
    done = send(lake, run(lake, 2, 0.6), target)
    assert done.ended == "settled"
    assert target.sent == [["a", "b", "c", "d"]] * 2
    assert [one.succeeded for one in delivery_status(lake, "crm")] == [4, 4]


def test_too_much_movement_stops_before_anything_is_sent(lake: Lake) -> None:
    target, limit = Target(), MoveLimit(max_share=0.5, min_rows=1)
    send(lake, run(lake), target, limit)
    with pytest.raises(DeliveryBlocked, match=r"scores: 4 of 4 rows \(100.0%\) move by 0.1 or more") as caught:
        send(lake, run(lake, 2, 0.9), target, limit)
    assert caught.value.exit_code == 4
    assert len(target.sent) == 1
    send(lake, run(lake, 2, 0.9), target, limit, accepts_moves=True)
    assert len(target.sent) == 2


def test_a_run_older_than_one_delivered_is_refused_until_that_is_rolled_back(lake: Lake) -> None:
    target = Target()
    send(lake, run(lake, 1), target)
    send(lake, run(lake, 2, 0.6), target)
    with pytest.raises(ConfigurationError, match="a newer run was delivered already"):
        send(lake, run(lake, 1), target)
    roll_back(lake, "run-2", "crm", target)
    assert send(lake, run(lake, 1), target).ended == "nothing_to_deliver"


def test_deliveries_are_rolled_back_from_the_newest_on(lake: Lake) -> None:
    target = Target()
    send(lake, run(lake, 1), target)
    send(lake, run(lake, 2, 0.6), target)
    with pytest.raises(ConfigurationError, match="only the newest delivery can be rolled back"):
        roll_back(lake, "run-1", "crm", target)
    assert roll_back(lake, "run-2", "crm", target, is_dry_run=True).ended == "dry_run"
    assert roll_back(lake, "run-2", "crm", target).ended == "settled"
    assert roll_back(lake, "run-1", "crm", target).ended == "settled"
    with pytest.raises(ConfigurationError, match="nothing of this target can be rolled back"):
        roll_back(lake, "run-1", "crm", target)


def test_a_second_delivery_to_the_same_target_is_told_to_wait(lake: Lake) -> None:
    published = run(lake)
    with delivery_lock(target_folder(lake, "crm")), pytest.raises(DeliveryUnderWay, match="another delivery"):
        send(lake, published, Target())


def test_a_kit_a_person_imports_waits_for_its_answers(lake: Lake, tmp_path: Path) -> None:
    assert send(lake, run(lake), None).ended == "handed_over"
    answers = tmp_path / "answers.csv"
    answers.write_text("key,outcome,message\na,succeeded,\nb,failed,no such record\n", encoding="utf-8")
    waiting = take_results(lake, "crm", [answers])
    assert waiting.ended == "handed_over"
    assert waiting.status is not None
    assert (waiting.status.succeeded, waiting.status.failed, waiting.status.unknown) == (1, 1, 2)
    assert take_results(lake, "crm", [], all_taken=True).ended == "settled"
    with pytest.raises(ConfigurationError, match="no delivery waits for answers"):
        take_results(lake, "crm", [], all_taken=True)
    with pytest.raises(ConfigurationError, match="there is no such delivery"):
        take_results(lake, "crm", [], delivery_id="kit-0", all_taken=True)
    assert send(lake, run(lake), None).kit.rows == 1


def test_a_kit_thrown_away_comes_again(lake: Lake) -> None:
    send(lake, run(lake), None)
    assert take_results(lake, "crm", [], is_discarded=True).ended == "discarded"
    assert send(lake, run(lake), None).kit.rows == 4


def test_a_run_whose_rows_were_all_refused_or_rolled_back_is_sent_again(lake: Lake) -> None:
    target = Target(refuses=tuple("abcd"))
    send(lake, run(lake), target)
    target.refuses = ()
    send(lake, run(lake), target)
    roll_back(lake, "run-1", "crm", target)
    send(lake, run(lake), target)
    assert target.sent == [["a", "b", "c", "d"]] * 4
    assert [one.succeeded for one in delivery_status(lake, "crm")] == [0, 4, 4, 4]


def test_a_delivery_of_which_nothing_was_taken_is_not_in_the_way_of_a_rollback(lake: Lake) -> None:
    send(lake, run(lake, 1), Target())
    send(lake, run(lake, 2, 0.6), Target(refuses=tuple("abcd")))
    assert roll_back(lake, "run-1", "crm", Target()).ended == "settled"


def test_a_follow_up_of_an_owner_the_target_does_not_take_stays_out(lake: Lake) -> None:
    spec = mapping(objects=[tasks(owner="owner")])
    published = publish_rows(lake, "run-1", [scored_row("a")], [follow_up("q-1", "a")])
    done = deliver(lake, published, "crm", spec, None, moves=ANY_MOVES, known_owners={"somebody"})
    assert left_out(done.kit) == {"q-1": "unknown_owner"}
