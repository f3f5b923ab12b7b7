from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from sales_pipeline.delivery.kit import Kit
from sales_pipeline.delivery.kits.build import build_rollback
from sales_pipeline.delivery.results.tables import results_table
from sales_pipeline.delivery.state import store
from sales_pipeline.delivery.state.settle import confirm_all, delivery_status, discard, hand_over, settle
from sales_pipeline.delivery.state.store import read_state
from sales_pipeline.errors import ConfigurationError, EnvironmentProblem, InputRejected
from sales_pipeline.lake.layout import Lake
from tests.support.kit_runs import follow_up, kit_of, left_out, mapping, publish_rows, reason, scored_row, tasks, text


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path)


def results(kit: Kit, outcome: str, *keys: str, part: int = 0, **facts: list[str | None]) -> pa.Table:
    return results_table(kit.parcel.parts[part], list(keys), outcome, **facts)


def first_kit(lake: Lake) -> Kit:
    return kit_of(lake, publish_rows(lake, "run-1", [scored_row(name) for name in "abcd"]), mapping())


def held(lake: Lake, name: str = "scores") -> dict[str, str | None]:
    table = read_state(lake, "crm").held(name)
    figure = "held.win" if name == "scores" else "held.subject"
    return dict(zip(table["key"].to_pylist(), table[figure].to_pylist(), strict=True)) if table.num_rows else {}


def test_only_rows_that_succeeded_are_held_and_the_others_come_again(lake: Lake) -> None:
    kit = first_kit(lake)
    pieces = [results(kit, "succeeded", "a"), results(kit, "failed", "b"), results(kit, "unprocessed", "c")]
    status = settle(lake, "crm", kit.folder, pa.concat_tables(pieces))
    assert (status.succeeded, status.failed, status.unprocessed, status.unknown) == (1, 1, 1, 1)
    assert not status.is_settled
    assert held(lake) == {"a": "0.5000"}
    again = kit_of(lake, publish_rows(lake, "run-2", [scored_row(name) for name in "abcd"]), mapping())
    assert (again.objects[0].new, again.objects[0].unchanged) == (3, 1)


def test_results_come_in_pieces_in_any_order_and_more_than_once(lake: Lake) -> None:
    kit = first_kit(lake)
    good, bad = results(kit, "succeeded", "a", "b"), results(kit, "failed", "c", "d", messages=["no such field", None])
    settle(lake, "crm", kit.folder, good)
    once = read_state(lake, "crm")
    settle(lake, "crm", kit.folder, good)
    assert read_state(lake, "crm") == once
    settle(lake, "crm", kit.folder, bad)
    status = settle(lake, "crm", kit.folder, results(kit, "succeeded", "c"))
    assert (status.succeeded, status.failed, status.unknown) == (3, 1, 0)
    settle(lake, "crm", kit.folder, bad)
    assert delivery_status(lake, "crm") == (status,)
    assert sorted(held(lake)) == ["a", "b", "c"]
    known = read_state(lake, "crm").results_of(kit.parcel.delivery_id)
    assert known is not None
    assert known["outcome"].to_pylist() == ["succeeded", "succeeded", "succeeded", "failed"]


def test_results_of_rows_that_were_not_sent_are_named(lake: Lake) -> None:
    kit = first_kit(lake)
    with pytest.raises(
        InputRejected, match=r"1 results are of rows that this delivery has not(.|\n)*ghost in scores.csv"
    ):
        settle(lake, "crm", kit.folder, results(kit, "succeeded", "a", "ghost"))
    assert held(lake) == {}


def test_the_records_number_in_the_target_is_kept(lake: Lake) -> None:
    spec = mapping(objects=[tasks()])
    run = publish_rows(lake, "run-1", [scored_row("a")], [follow_up("f1", "a")])
    kit = kit_of(lake, run, spec)
    settle(lake, "crm", kit.folder, results(kit, "succeeded", "f1", remote_ids=["00T1"]))
    changed = publish_rows(lake, "run-2", [scored_row("a")], [follow_up("f1", "a") | {"action": "email"}])
    confirm_all(lake, "crm", kit_of(lake, changed, spec).folder)
    row = read_state(lake, "crm").held("tasks").to_pylist()[0]
    assert (row["remote_id"], row["run_id"], row["held.subject"]) == (
        "00T1", "run-2", "Write an e-mail about the opportunity",
    )  # fmt: skip


def test_a_late_answer_to_an_earlier_kit_does_not_undo_a_later_one(lake: Lake) -> None:
    early = first_kit(lake)
    hand_over(lake, "crm", early.folder)
    late = kit_of(lake, publish_rows(lake, "run-2", [scored_row("a", 0.9)]), mapping())
    confirm_all(lake, "crm", late.folder)
    settle(lake, "crm", early.folder, results(early, "succeeded", "a", "b"))
    assert held(lake) == {"a": "0.9000", "b": "0.5000"}


def test_rows_that_may_be_sent_once_count_as_sent_when_the_kit_leaves(lake: Lake) -> None:
    spec = mapping(objects=[tasks("insert")])
    run = publish_rows(lake, "run-1", [scored_row("a")], [follow_up(f"f{number}", "a") for number in range(3)])
    kit = kit_of(lake, run, spec)
    assert kit.objects[0].new == 3
    hand_over(lake, "crm", kit.folder)
    waiting = kit_of(lake, run, spec, only_changed=False)
    assert waiting.rows == 0
    assert left_out(waiting) == {"f0": "sent_before", "f1": "sent_before", "f2": "sent_before"}
    settle(lake, "crm", kit.folder, results(kit, "failed", "f0"))
    again = kit_of(lake, run, spec)
    assert text(again, "tasks.csv").splitlines()[1].startswith("f0,")
    assert again.rows == 1
    settle(lake, "crm", kit.folder, results(kit, "succeeded", "f0"))
    assert kit_of(lake, run, spec).rows == 0
    state = read_state(lake, "crm").held("tasks")
    assert dict(zip(state["key"].to_pylist(), state["is_in_flight"].to_pylist(), strict=True)) == {
        "f0": False, "f1": True, "f2": True,
    }  # fmt: skip


def test_a_kit_that_was_thrown_away_was_never_sent(lake: Lake) -> None:
    spec = mapping(objects=[tasks("insert")])
    run = publish_rows(lake, "run-1", [scored_row("a")], [follow_up("f1", "a")])
    kit = kit_of(lake, run, spec)
    status = discard(lake, "crm", kit.folder)
    assert (status.is_discarded, status.is_settled, status.unprocessed) == (True, True, 1)
    assert kit_of(lake, run, spec).rows == 1
    settle(lake, "crm", kit.folder, results(kit, "succeeded", "f1"))
    assert not delivery_status(lake, "crm")[0].is_discarded
    with pytest.raises(ConfigurationError, match="cannot be thrown away"):
        discard(lake, "crm", kit.folder)


def test_confirming_leaves_what_failed_as_it_is(lake: Lake) -> None:
    kit = first_kit(lake)
    settle(lake, "crm", kit.folder, results(kit, "failed", "d"))
    status = confirm_all(lake, "crm", kit.folder)
    assert (status.succeeded, status.failed, status.is_settled) == (3, 1, True)
    assert confirm_all(lake, "crm", kit.folder) == status


def test_an_empty_kit_is_settled_at_once(lake: Lake) -> None:
    kit = kit_of(lake, publish_rows(lake, "run-1", []), mapping())
    assert confirm_all(lake, "crm", kit.folder).is_settled
    assert discard(lake, "crm", kit.folder).is_discarded


def test_a_state_that_was_changed_by_hand_is_refused(lake: Lake) -> None:
    confirm_all(lake, "crm", first_kit(lake).folder)
    state = read_state(lake, "crm")
    path = state.folder / state.objects["scores"][0]
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(EnvironmentProblem, match="what is known of a target was changed or lost"):
        state.held("scores")
    path.unlink()
    with pytest.raises(EnvironmentProblem, match="no such file"):
        state.held("scores")


def test_files_no_settlement_names_are_dropped(lake: Lake) -> None:
    kit = first_kit(lake)
    for name in "abcd":
        settle(lake, "crm", kit.folder, results(kit, "succeeded", name))
    state = read_state(lake, "crm")
    assert len(list(state.folder.glob("*.parquet"))) == 2


def test_a_rollback_returns_the_state_to_what_it_was(lake: Lake) -> None:
    before = first_kit(lake)
    confirm_all(lake, "crm", before.folder)
    start = read_state(lake, "crm").state_id
    rows = [scored_row(name, 0.9, reasons_up=reason("Why")) for name in "abe"]
    kit = kit_of(lake, publish_rows(lake, "run-2", rows), mapping())
    settle(lake, "crm", kit.folder, results(kit, "succeeded", "a", "e"))
    settle(lake, "crm", kit.folder, results(kit, "failed", "b"))
    assert read_state(lake, "crm").state_id != start
    back = build_rollback(lake, "crm", kit.folder)
    assert text(back, "scores.csv") == ("id,win,reason,at\na,0.5000,#N/A,2026-07-01T00:00:00.000Z\ne,#N/A,#N/A,#N/A\n")
    assert back.is_rollback_of == kit.parcel.delivery_id
    assert "It takes back delivery" in text(back, "README.txt")
    confirm_all(lake, "crm", back.folder)
    assert read_state(lake, "crm").state_id == start
    assert delivery_status(lake, "crm")[-1].is_rollback_of == kit.parcel.delivery_id


def test_a_rollback_where_nobody_can_clear_lists_what_a_person_must_empty(lake: Lake) -> None:
    spec = mapping(blank="unknown", clear=None, objects=[mapping().objects[0].model_dump(), tasks("insert")])
    run = publish_rows(lake, "run-1", [scored_row("a", 0.5)], [follow_up("f1", "a")])
    kit = kit_of(lake, run, spec)
    assert text(kit, "rollback/scores_clear_by_hand.csv") == 'id,fields\na,"win, at"\n'
    assert text(kit, "rollback/tasks_delete.csv") == "key\nf1\n"
    confirm_all(lake, "crm", kit.folder)
    back = build_rollback(lake, "crm", kit.folder)
    assert back.rows == 0
    assert text(back, "rollback/scores_clear_by_hand.csv") == 'id,fields\na,"win, at"\n'
    assert text(back, "rollback/tasks_delete.csv") == "key\nf1\n"


def test_records_a_delivery_created_are_marked_as_withdrawn_by_its_rollback(lake: Lake) -> None:
    spec = mapping(objects=[tasks(withdrawn={"state": "withdrawn"})])
    run = publish_rows(lake, "run-1", [scored_row("a")], [follow_up("f1", "a")])
    kit = kit_of(lake, run, spec)
    assert text(kit, "rollback/tasks_withdrawn.csv") == "key,state\nf1,withdrawn\n"
    confirm_all(lake, "crm", kit.folder)
    back = build_rollback(lake, "crm", kit.folder)
    assert text(back, "tasks_withdrawn.csv") == "key,state\nf1,withdrawn\n"


def test_there_is_nothing_to_take_back_before_a_row_succeeded(lake: Lake) -> None:
    kit = first_kit(lake)
    with pytest.raises(ConfigurationError, match=r"nothing to take back(.|\n)*never handed over"):
        build_rollback(lake, "crm", kit.folder)
    settle(lake, "crm", kit.folder, results(kit, "failed", "a"))
    with pytest.raises(ConfigurationError, match="no row has succeeded yet"):
        build_rollback(lake, "crm", kit.folder)


@pytest.mark.parametrize("dies_at", [1, 2, 3])
def test_a_settlement_that_dies_leaves_the_state_as_it_was_and_can_be_repeated(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, dies_at: int
) -> None:
    kit = first_kit(lake)
    hand_over(lake, "crm", kit.folder)
    before = read_state(lake, "crm")
    written = 0
    write = store.write_bytes

    def dying(path: Path, data: bytes) -> None:
        nonlocal written
        written += 1
        if written == dies_at:
            raise OSError(28, "No space left on device")
        write(path, data)

    monkeypatch.setattr(store, "write_bytes", dying)
    with pytest.raises(OSError, match="No space"):
        settle(lake, "crm", kit.folder, results(kit, "succeeded", "a"))
    monkeypatch.undo()
    assert read_state(lake, "crm") == before
    assert settle(lake, "crm", kit.folder, results(kit, "succeeded", "a")).succeeded == 1
    assert held(lake) == {"a": "0.5000"}
