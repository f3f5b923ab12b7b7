"""The channel to Tryton: what goes in, what is told of every row, and what happens when something breaks."""

import re
import time
from pathlib import Path

import pyarrow as pa
import pytest

from sales_pipeline.delivery.channels.tryton import TrytonImport
from sales_pipeline.delivery.channels.tryton_fields import TrytonField, fields_of
from sales_pipeline.delivery.journal import Journal
from sales_pipeline.delivery.params import TrytonChannel
from sales_pipeline.delivery.parcel import Parcel
from sales_pipeline.delivery.targets.spec import load_target
from sales_pipeline.errors import DeliveryFailed, EnvironmentProblem
from tests.support.parcels import a_parcel, a_part
from tests.support.tryton.fake import FIELDS, FOLLOW_UP, OPPORTUNITY, PASSWORD, USER, Broken, FakeTryton

SCORES = ("number", "win_probability", "score_band", "scored_at")
FOLLOW_UPS = ("key", "opportunity", "due_date", "reason", "attempt", "is_urgent")


@pytest.fixture
def crm():
    with FakeTryton() as crm:
        yield crm


def score(place: int, probability: str = "0.250000", band: str = "A", number: str | None = None) -> dict[str, str]:
    """The score of the record with this database id; its number is another one."""
    values = (str(100 + place) if number is None else number, probability, band, "2025-04-01 00:00:00")
    return dict(zip(SCORES, values, strict=True))


def follow_up(place: int, reason: str = "Call about the offer") -> dict[str, str]:
    values = (f"fu-{place}", str(100 + place), "2025-04-02", reason, "1", "0")
    return dict(zip(FOLLOW_UPS, values, strict=True))


def scores(folder: Path, rows: list[dict[str, str]], fields: tuple[str, ...] = SCORES) -> Parcel:
    folder.mkdir(exist_ok=True)
    part = a_part(folder, "scores.csv", rows, fields=fields, object=OPPORTUNITY, key_field="number")
    return a_parcel(folder, part)


def follow_ups(folder: Path, rows: list[dict[str, str]]) -> Parcel:
    folder.mkdir(exist_ok=True)
    part = a_part(folder, "tasks.csv", rows, fields=FOLLOW_UPS, object=FOLLOW_UP, operation="upsert", key_field="key")
    return a_parcel(folder, part)


def send(crm: FakeTryton, parcel: Parcel, journal: Path, **params) -> pa.Table:
    values = {
        "user": USER,
        "token": PASSWORD,
        "requests_per_second": 10_000,
        "timeout_seconds": 5,
        "attempts": 2,
        **params,
    }
    return TrytonImport(TrytonChannel(url=crm.url, **values), sleep=lambda _: None).send(parcel, Journal(journal))


def outcomes(results: pa.Table) -> dict[str, tuple[str, str | None]]:
    return {row["key"]: (row["outcome"], row["code"]) for row in results.to_pylist()}


def test_scores_go_into_the_records_their_numbers_name(crm, tmp_path) -> None:
    # Number 105 is the record with id 5: a number sent as `id` would hit another record, or none.
    results = send(crm, scores(tmp_path / "kit", [score(5), score(6, "0.5", "B")]), tmp_path / "j")
    assert [(row["key"], row["outcome"], row["remote_id"]) for row in results.to_pylist()] == [
        ("105", "succeeded", "5"),
        ("106", "succeeded", "6"),
    ]
    assert crm.records[OPPORTUNITY][6]["win_probability"] == {"__class__": "Decimal", "decimal": "0.5"}
    assert [place for (_, place) in crm.revisions] == [5, 6]


def test_keys_under_id_are_names_even_where_they_are_digits(crm, tmp_path) -> None:
    crm.records[OPPORTUNITY] = {5: {"number": "7", "reference": "9"}, 7: {"number": "5"}, 9: {"number": "12"}}
    rows = [{"id": key, "score_band": band} for key, band in (("7", "A"), ("5", "B"), ("9", "A"))]
    (tmp_path / "kit").mkdir()
    part = a_part(tmp_path / "kit", "s.csv", rows, fields=("id", "score_band"), object=OPPORTUNITY, key_field="id")
    results = send(crm, a_parcel(tmp_path / "kit", part), tmp_path / "j")
    assert {row["key"]: (row["outcome"], row["remote_id"]) for row in results.to_pylist()} == {
        "7": ("succeeded", "5"),
        "5": ("succeeded", "7"),
        "9": ("failed", None),
    }
    assert {place: record.get("score_band") for place, record in crm.records[OPPORTUNITY].items()} == {
        5: "A",
        7: "B",
        9: None,
    }


def test_follow_ups_are_created_once_and_changed_afterwards(crm, tmp_path) -> None:
    first = send(crm, follow_ups(tmp_path / "a", [follow_up(1), follow_up(2)]), tmp_path / "ja")
    again = send(crm, follow_ups(tmp_path / "b", [follow_up(1), follow_up(2, "Ask for a date")]), tmp_path / "jb")
    assert (
        [row["remote_id"] for row in first.to_pylist()] == [row["remote_id"] for row in again.to_pylist()] == ["1", "2"]
    )
    assert [record["reason"] for record in crm.records[FOLLOW_UP].values()] == [
        "Call about the offer",
        "Ask for a date",
    ]
    assert crm.revisions == {(FOLLOW_UP, 1): 1, (FOLLOW_UP, 2): 2}


def test_what_is_there_already_is_not_written_again(crm, tmp_path) -> None:
    rows = [score(place) for place in range(1, 6)]
    send(crm, scores(tmp_path / "a", rows), tmp_path / "ja")
    again = send(crm, scores(tmp_path / "b", rows), tmp_path / "jb")
    assert set(outcomes(again).values()) == {("succeeded", None)}
    assert set(crm.revisions.values()) == {1}


def test_a_blank_cell_takes_a_value_away_and_is_then_there_already(crm, tmp_path) -> None:
    send(crm, scores(tmp_path / "a", [score(1)]), tmp_path / "ja")
    for name in ("b", "c"):
        send(crm, scores(tmp_path / name, [score(1, "", "")]), tmp_path / f"j{name}")
    assert crm.records[OPPORTUNITY][1]["win_probability"] is None
    assert crm.revisions == {(OPPORTUNITY, 1): 2}


def test_half_the_rows_refused_leave_the_other_half_in(crm, tmp_path) -> None:
    crm.faults.refuses = lambda row: "The record is locked" if int(row["id"]) % 2 else None
    results = send(
        crm, scores(tmp_path / "kit", [score(place) for place in range(1, 21)]), tmp_path / "j", rows_per_call=8
    )
    table = results.to_pylist()
    assert sorted(int(row["key"]) for row in table if row["outcome"] == "succeeded") == list(range(102, 121, 2))
    failed = [row for row in table if row["outcome"] == "failed"]
    assert sorted(int(row["key"]) for row in failed) == list(range(101, 121, 2))
    assert {(row["code"], row["message"]) for row in failed} == {("UserError", "The record is locked at row 1")}
    assert set(crm.revisions.values()) == {1}


def test_one_bad_row_costs_few_calls(crm, tmp_path) -> None:
    crm.faults.refuses = lambda row: "No" if row["id"] == "13" else None
    results = send(crm, scores(tmp_path / "kit", [score(place) for place in range(1, 17)]), tmp_path / "j")
    assert [key for key, (outcome, _) in outcomes(results).items() if outcome == "failed"] == ["113"]
    assert crm.calls.count(f"model.{OPPORTUNITY}.import_data") == 9  # two for each of four halvings, and the first


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"win_probability": "0.1234567"}, "at most 1 and 6 digits before and behind the decimal point"),
        ({"win_probability": "10.5"}, "at most 1 and 6 digits before and behind the decimal point"),
        ({"win_probability": "0,5"}, "a number such as 0.125"),
        ({"win_probability": "1e-05"}, "a number such as 0.125"),
        ({"score_band": "Z"}, "one of A, B"),
        ({"scored_at": "2025-04-01T00:00:00Z"}, "an instant such as 2026-06-30 08:15:00"),
        ({"scored_at": "2025-04-01 00:00:00.123456"}, "an instant such as 2026-06-30 08:15:00"),
    ],
)
def test_a_cell_that_tryton_would_not_take_does_not_hold_up_the_others(crm, tmp_path, changes, told) -> None:
    bad, good = send(crm, scores(tmp_path / "kit", [score(1) | changes, score(2)]), tmp_path / "j").to_pylist()
    assert (good["key"], good["outcome"]) == ("102", "succeeded")
    assert (bad["key"], bad["outcome"], bad["code"]) == ("101", "failed", "not_importable")
    assert f"expected {told}, found {next(iter(changes.values()))!r}" in bad["message"]
    assert crm.imported == [1]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"due_date": "02/04/2025"}, "a day such as 2026-06-30"),
        ({"due_date": ""}, "due_date: is required and would be emptied"),
        ({"attempt": "1.5"}, "a whole number"),
        ({"is_urgent": "maybe"}, "0 or 1"),
    ],
)
def test_cells_of_other_types_are_looked_at_too(crm, tmp_path, changes, told) -> None:
    [row] = send(crm, follow_ups(tmp_path / "kit", [follow_up(1) | changes]), tmp_path / "j").to_pylist()
    assert (row["outcome"], row["code"]) == ("failed", "not_importable")
    assert told in row["message"]
    assert crm.records[FOLLOW_UP] == {}


def test_an_unknown_number_is_an_error_and_creates_nothing(crm, tmp_path) -> None:
    results = send(crm, scores(tmp_path / "kit", [score(1), score(99)]), tmp_path / "j")
    assert outcomes(results) == {"101": ("succeeded", None), "199": ("failed", "unknown_key")}
    assert len(crm.records[OPPORTUNITY]) == 20


def test_a_number_of_two_records_is_an_error(crm, tmp_path) -> None:
    crm.records[OPPORTUNITY][2]["number"] = "101"
    results = send(crm, scores(tmp_path / "kit", [score(1)]), tmp_path / "j")
    assert outcomes(results) == {"101": ("failed", "ambiguous_key")}
    assert crm.revisions == {}


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([score(1), score(2, number="")], "record 2 has no number: a new record could come of it"),
        ([score(1), score(2), score(1, "0.9")], "records 1 and 3 have the same number"),
    ],
)
def test_a_file_with_a_blank_or_a_repeated_key_is_not_sent_at_all(crm, tmp_path, rows, told) -> None:
    with pytest.raises(DeliveryFailed, match=told):
        send(crm, scores(tmp_path / "kit", rows), tmp_path / "j")
    assert crm.calls == []


def test_a_file_that_was_changed_after_it_was_built_is_not_sent(crm, tmp_path) -> None:
    parcel = scores(tmp_path / "kit", [score(1)])
    (tmp_path / "kit" / "scores.csv").write_text("number,win_probability\n101,0.9\n")
    with pytest.raises(DeliveryFailed, match="not the one that was built"):
        send(crm, parcel, tmp_path / "j")
    assert crm.calls == []


def test_a_file_without_its_columns_is_not_sent(crm, tmp_path) -> None:
    (tmp_path / "kit").mkdir()
    part = a_part(tmp_path / "kit", "s.csv", [score(1)], fields=SCORES, object=OPPORTUNITY, key_field="number")
    other = a_part(tmp_path / "kit", "s.csv", [score(1)], fields=SCORES[:2], object=OPPORTUNITY, key_field="number")
    wrong = part.__class__(**{**part.__dict__, "sha256": other.sha256})
    with pytest.raises(DeliveryFailed, match="does not have the columns its manifest says"):
        send(crm, a_parcel(tmp_path / "kit", wrong), tmp_path / "j")


def test_fields_that_are_not_there_or_read_only_stop_the_delivery(crm, tmp_path) -> None:
    rows = [{"number": "101", "win_chance": "0.5", "state": "lead"}]
    parcel = scores(tmp_path / "kit", rows, fields=("number", "win_chance", "state"))
    with pytest.raises(DeliveryFailed, match="win_chance does not exist; state is read-only"):
        send(crm, parcel, tmp_path / "j")
    assert crm.imported == []


def test_a_user_who_may_not_write_stops_the_delivery(crm, tmp_path) -> None:
    crm.faults.rights = {"read": True, "write": False, "create": False}
    with pytest.raises(DeliveryFailed, match="no right to write; the user has no right to create"):
        send(crm, follow_ups(tmp_path / "kit", [follow_up(1)]), tmp_path / "j")


def test_a_model_that_is_not_there_stops_the_delivery(crm, tmp_path) -> None:
    (tmp_path / "kit").mkdir()
    part = a_part(tmp_path / "kit", "x.csv", [score(1)], fields=SCORES, object="crm.score", key_field="number")
    with pytest.raises(DeliveryFailed, match="Tryton refuses a question"):
        send(crm, a_parcel(tmp_path / "kit", part), tmp_path / "j")


def test_a_session_that_expires_in_the_middle_is_opened_again(crm, tmp_path) -> None:
    crm.faults.after_import = lambda count: crm.expire_sessions()
    results = send(
        crm, scores(tmp_path / "kit", [score(place) for place in range(1, 10)]), tmp_path / "j", rows_per_call=3
    )
    assert set(outcomes(results).values()) == {("succeeded", None)}
    assert crm.calls.count("common.db.login") == 3
    assert crm.imported == [3, 3, 3]


def test_a_wrong_password_is_told_without_repeating_it(crm, tmp_path) -> None:
    with pytest.raises(DeliveryFailed, match="wrong user or password") as told:
        send(crm, scores(tmp_path / "kit", [score(1)]), tmp_path / "j", token="not the password")
    assert "not the password" not in str(told.value)


def test_a_target_that_dies_in_the_middle_is_gone_on_with(crm, tmp_path) -> None:
    """The connection breaks after the second batch was committed: its answer never comes, and it is not written again."""
    parcel = scores(tmp_path / "kit", [score(place) for place in range(1, 10)])

    def die(_: int) -> None:
        if len(crm.imported) == 2:
            raise Broken

    crm.faults.after_import = die
    with pytest.raises(DeliveryFailed, match="did not say whether it carried out"):
        send(crm, parcel, tmp_path / "j", rows_per_call=3)
    crm.faults.after_import = lambda count: None
    calls = len(crm.calls)
    results = send(crm, parcel, tmp_path / "j", rows_per_call=3)
    assert set(outcomes(results).values()) == {("succeeded", None)}
    assert crm.imported == [3, 3, 3]
    assert set(crm.revisions.values()) == {1}
    assert crm.calls[calls:].count(f"model.{OPPORTUNITY}.search_read") == 2  # the confirmed batch is not even looked at


def test_follow_ups_created_before_a_break_are_not_created_again(crm, tmp_path) -> None:
    parcel = follow_ups(tmp_path / "kit", [follow_up(place) for place in range(1, 7)])

    def die(_: int) -> None:
        raise Broken

    crm.faults.after_import = die
    with pytest.raises(DeliveryFailed):
        send(crm, parcel, tmp_path / "j", rows_per_call=4)
    crm.faults.after_import = lambda count: None
    results = send(crm, parcel, tmp_path / "j", rows_per_call=4)
    assert [row["outcome"] for row in results.to_pylist()] == ["succeeded"] * 6
    assert len(crm.records[FOLLOW_UP]) == 6
    assert set(crm.revisions.values()) == {1}


def test_batches_of_another_size_after_a_break_are_looked_at_again(crm, tmp_path) -> None:
    parcel = scores(tmp_path / "kit", [score(place) for place in range(1, 10)])

    def die(_: int) -> None:
        if len(crm.imported) == 2:
            raise Broken

    crm.faults.after_import = die
    with pytest.raises(DeliveryFailed):
        send(crm, parcel, tmp_path / "j", rows_per_call=3)
    crm.faults.after_import = lambda count: None
    results = send(crm, parcel, tmp_path / "j", rows_per_call=4)
    assert len(outcomes(results)) == 9
    assert set(crm.revisions.values()) == {1}


def test_an_import_that_answers_too_late_is_not_sent_twice(crm, tmp_path) -> None:
    parcel = scores(tmp_path / "kit", [score(1)])
    crm.faults.after_import = lambda count: time.sleep(0.6)
    with pytest.raises(DeliveryFailed, match="did not say whether it carried out"):
        send(crm, parcel, tmp_path / "j", timeout_seconds=0.2)
    crm.faults.after_import = lambda count: None
    send(crm, parcel, tmp_path / "j")
    assert crm.imported == [1]


def test_a_disk_that_fills_while_answers_are_noted_costs_nothing_but_a_second_look(crm, tmp_path, monkeypatch) -> None:
    parcel = scores(tmp_path / "kit", [score(place) for place in range(1, 7)])
    note = Journal.note

    def full(journal: Journal, part, event: str, **facts) -> None:
        if crm.imported == [3, 3]:
            raise EnvironmentProblem("the lake cannot be written")
        note(journal, part, event, **facts)

    monkeypatch.setattr(Journal, "note", full)
    with pytest.raises(EnvironmentProblem):
        send(crm, parcel, tmp_path / "j", rows_per_call=3)
    monkeypatch.undo()
    results = send(crm, parcel, tmp_path / "j", rows_per_call=3)
    assert set(outcomes(results).values()) == {("succeeded", None)}
    assert crm.imported == [3, 3]


def test_a_finished_delivery_is_not_sent_again(crm, tmp_path) -> None:
    parcel = scores(tmp_path / "kit", [score(1)])
    first = send(crm, parcel, tmp_path / "j")
    crm.calls.clear()
    assert send(crm, parcel, tmp_path / "j").equals(first)
    assert crm.calls == []


def test_a_record_that_people_changed_since_is_given_its_values_back(crm, tmp_path) -> None:
    parcel = scores(tmp_path / "kit", [score(1), score(2)])
    send(crm, parcel, tmp_path / "ja")
    crm.records[OPPORTUNITY][1]["score_band"] = "B"
    send(crm, parcel, tmp_path / "jb")
    assert crm.records[OPPORTUNITY][1]["score_band"] == "A"
    assert crm.revisions == {(OPPORTUNITY, 1): 2, (OPPORTUNITY, 2): 1}


def test_an_empty_delivery_has_no_results(crm, tmp_path) -> None:
    (tmp_path / "kit").mkdir()
    assert send(crm, a_parcel(tmp_path / "kit"), tmp_path / "j").num_rows == 0


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (["UserError", ["Not valid", "see the domain", None]], "UserError", "Not valid - see the domain"),
        (["UserWarning", ["name", "Are you sure?", "Really"]], "UserWarning", "Are you sure? - Really"),
        (["ConcurrencyException", "Records were modified"], "ConcurrencyException", "Records were modified"),
        (["value too large\n\x1b[31m", "Traceback …"], "ServerError", "value too large [31m"),
    ],
)
def test_each_kind_of_error_is_told_in_its_own_words(crm, tmp_path, error, code, message) -> None:
    crm.faults.error = error
    [row] = send(crm, scores(tmp_path / "kit", [score(1)]), tmp_path / "j").to_pylist()
    assert (row["outcome"], row["code"], row["message"]) == ("failed", code, message)


def test_an_answer_that_is_not_trytons_is_told(tmp_path) -> None:
    with FakeTryton() as crm:
        crm._answer = lambda *_: (200, {"greeting": "hello"})  # type: ignore[method-assign]
        with pytest.raises(DeliveryFailed, match="not one of Tryton's"):
            send(crm, scores(tmp_path / "kit", [score(1)]), tmp_path / "j")


@pytest.mark.parametrize("answer", [{"result": None}, {"result": []}])
def test_a_login_without_a_session_is_told(tmp_path, answer) -> None:
    with FakeTryton() as crm:
        crm._answer = lambda *_: (200, answer)  # type: ignore[method-assign]
        with pytest.raises(DeliveryFailed, match="no session"):
            send(crm, scores(tmp_path / "kit", [score(1)]), tmp_path / "j")


def test_a_session_refused_right_away_is_told(crm, tmp_path) -> None:
    answer = crm._answer
    crm._answer = lambda method, params, authorization: (  # type: ignore[method-assign]
        (401, {}) if method.endswith("fields_get") else answer(method, params, authorization)
    )
    with pytest.raises(DeliveryFailed, match="refused right after it was opened"):
        send(crm, scores(tmp_path / "kit", [score(1)]), tmp_path / "j")


@pytest.mark.parametrize(
    ("field", "record", "text", "is_held"),
    [
        ("win_probability", {"win_probability": {"__class__": "Decimal", "decimal": "0.5"}}, "0.500000", True),
        ("win_probability", {"win_probability": {"__class__": "Decimal", "decimal": "0.5"}}, "0.500001", False),
        ("win_probability", {"win_probability": {"__class__": "Decimal", "decimal": "0"}}, "", False),
        ("win_probability", {"win_probability": None}, "", True),
        ("win_probability", {"win_probability": {"__class__": "bytes"}}, "1", False),
        ("score_band", {"score_band": "A"}, "A", True),
        ("score_band", {"score_band": None}, "A", False),
        ("opportunity", {"opportunity.": {"rec_name": "101 [SF-000001]"}}, "101", True),
        ("opportunity", {"opportunity.": {"rec_name": "1011"}}, "101", False),
        ("opportunity", {"opportunity.": None}, "101", False),
        ("opportunity", {"opportunity.": {"rec_name": "101"}}, "", False),
        ("attempt", {"attempt": 1}, "1", True),
        ("attempt", {"attempt": 0}, "", False),
        ("is_urgent", {"is_urgent": False}, "0", True),
        ("is_urgent", {"is_urgent": True}, "0", False),
        ("reason", {"reason": "Call"}, "Call ", True),
        ("due_date", {"due_date": {"__class__": "date", "year": 2025, "month": 4, "day": 2}}, "2025-04-02", True),
    ],
)
def test_a_record_holds_a_text_when_the_import_would_not_change_it(field, record, text, is_held) -> None:
    fields: dict[str, TrytonField] = fields_of({**FIELDS[OPPORTUNITY], **FIELDS[FOLLOW_UP]})
    assert fields[field].holds(record, text) is is_held


def test_numbers_of_digits_go_by_the_channel_and_not_into_files() -> None:
    """By hand Tryton would take them for database ids; the channel looks them up."""
    by_hand = load_target("tryton").on_the_way_by("kit").objects[0]
    assert by_hand.key_pattern is not None
    assert [bool(re.fullmatch(by_hand.key_pattern, key)) for key in ("101", "OP-101", "")] == [False, True, False]
    by_channel = load_target("tryton").on_the_way_by("tryton")
    assert by_channel.objects[0].key_pattern is None
    assert by_channel.objects[1:] == load_target("tryton").objects[1:]
