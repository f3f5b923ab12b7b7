import logging
import traceback
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import SecretStr

from sales_pipeline.delivery.channels import salesforce
from sales_pipeline.delivery.channels.base import Channel
from sales_pipeline.delivery.channels.salesforce import Salesforce
from sales_pipeline.delivery.journal import Journal
from sales_pipeline.delivery.params import SalesforceChannel
from sales_pipeline.delivery.parcel import Parcel, Part
from sales_pipeline.errors import ConfigurationError, DeliveryFailed, EnvironmentProblem
from tests.support.parcels import a_parcel, a_part
from tests.support.salesforce_org import OPPORTUNITY, TASK, Faults, Org
from tests.support.salesforce_stub import SalesforceStub, Weather

TOKEN = "canary-5f3e-token"
SCORES = ("Id", "Win_Probability__c", "Next_Follow_Up__c")
TASKS = ("Follow_Up_Key__c", "Subject", "ActivityDate", "WhatId", "OwnerId")


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of small files: that they survive a power loss is tested elsewhere."""
    monkeypatch.setattr("os.fsync", lambda _: None)


class Time:
    """A clock that moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def clock(self) -> float:
        return self.now


class Setting:
    """An org with opportunities and an owner, a parcel of scores and tasks for it, and a journal."""

    def __init__(self, folder: Path, count: int = 6, **form: str) -> None:
        objects = {
            "Opportunity": {**OPPORTUNITY, "Win_Probability__c": "number", "Next_Follow_Up__c": "date"},
            "Task": dict(TASK),
            "User": {},
        }
        self.org = Org(objects, {"Task": "Follow_Up_Key__c"})  # type: ignore[arg-type]
        self.ids = self.org.add("Opportunity", count)
        self.owner = self.org.add("User")[0]
        self.keys = [f"key-{number}" for number in range(count)]
        self.folder = folder
        self.scores = [{"Id": key, "Win_Probability__c": "0.50", "Next_Follow_Up__c": "2026-07-01"} for key in self.ids]
        self.tasks = [
            {
                "Follow_Up_Key__c": key,
                "Subject": "Call about the offer, today",
                "ActivityDate": "2026-07-01",
                "WhatId": opportunity,
                "OwnerId": self.owner,
            }
            for key, opportunity in zip(self.keys, self.ids, strict=True)
        ]
        self.form = form

    def parcel(self) -> Parcel:
        kit = self.folder / "kit"
        form: Any = self.form
        scores = a_part(kit, "scores.csv", self.scores, fields=SCORES, **form)
        tasks = a_part(
            kit,
            "tasks.csv",
            self.tasks,
            fields=TASKS,
            object="Task",
            object_name="follow_ups",
            operation="upsert",
            key_field="Follow_Up_Key__c",
            **form,
        )
        return a_parcel(kit, scores, tasks, **form)

    def journal(self) -> Journal:
        return Journal(self.folder / "journal")


def channel(url: str, **changes: Any) -> Salesforce:
    options = {"requests_per_second": 1e9, "timeout_seconds": 5.0, "attempts": 3, "poll_seconds": 5.0, **changes}
    time = Time()
    return Salesforce(SalesforceChannel(url=url, token=SecretStr(TOKEN), **options), sleep=time.sleep, clock=time.clock)


def stub(setting: Setting, **options: Any) -> SalesforceStub:
    return SalesforceStub(TOKEN, setting.org, **options)


def outcomes(table: pa.Table) -> dict[str, str]:
    return {row["key"]: row["outcome"] for row in table.to_pylist()}


def messages(table: pa.Table) -> dict[str, tuple[str, str]]:
    return {row["key"]: (row["code"], row["message"]) for row in table.to_pylist() if row["message"]}


class WithDeleted(Setting):
    """Besides: tasks that are there and go by their ids, one of which somebody deleted."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.there = self.org.add("Task", 3)
        self.org.delete("Task", self.there[1])

    def parcel(self) -> Parcel:
        whole = super().parcel()
        rows = [{"Id": one, "Status": "Completed"} for one in self.there]
        names = {"object": "Task", "object_name": "follow_ups"}
        return a_parcel(
            whole.folder, *whole.parts, a_part(whole.folder, "tasks_by_id.csv", rows, fields=("Id", "Status"), **names)
        )

    def assert_deleted_once(self, table: pa.Table) -> None:
        """The deleted task is told so and stays deleted; all other rows were written exactly once."""
        gone = self.there[1]
        assert [key for key, outcome in outcomes(table).items() if outcome != "succeeded"] == [gone]
        assert messages(table) == {gone: ("ENTITY_IS_DELETED", "entity is deleted:")}
        assert len(self.org.records["Task"]) == len(self.keys) + 2
        assert set(self.org.writes.values()) == {1}
        assert sum(self.org.writes.values()) == len(self.ids) + len(self.keys) + 2


@pytest.mark.parametrize("kind", ["die_before", "die_after"])
def test_a_deleted_record_stays_deleted_whichever_request_the_connection_dies_at(tmp_path: Path, kind: str) -> None:
    total = 3 * 8
    for number in range(2 * 8 + 1, total + 1):
        there = WithDeleted(tmp_path / str(number))
        with stub(there, weather=Weather(**{kind: {number}})) as server:
            sender = channel(server.url, attempts=1)
            try:
                there.assert_deleted_once(sender.send(there.parcel(), there.journal()))
            except DeliveryFailed:
                there.assert_deleted_once(sender.send(there.parcel(), there.journal()))
            assert len(server.requests) >= total


def assert_all_once(setting: Setting, table: pa.Table) -> None:
    """Every row is reported as succeeded, and was written exactly once; nothing else was."""
    assert set(outcomes(table)) == {*setting.ids, *setting.keys}
    assert set(outcomes(table).values()) == {"succeeded"}
    assert len(setting.org.records["Task"]) == len(setting.keys)
    assert set(setting.org.writes.values()) == {1}
    assert sum(setting.org.writes.values()) == len(setting.ids) + len(setting.keys)


def test_a_parcel_is_delivered_and_the_org_holds_it(tmp_path: Path) -> None:
    there = Setting(tmp_path)
    with stub(there) as server:
        sender: Channel = channel(server.url)
        table = sender.send(there.parcel(), there.journal())
    assert_all_once(there, table)
    held = there.org.records["Opportunity"][there.ids[0]]
    assert held == {"Win_Probability__c": "0.50", "Next_Follow_Up__c": "2026-07-01"}
    tasks = table.filter(pa.compute.equal(table["part"], "tasks.csv"))
    assert sorted(tasks["remote_id"].to_pylist()) == sorted(there.org.records["Task"])
    assert table.filter(pa.compute.equal(table["part"], "scores.csv"))["remote_id"].null_count == len(there.ids)


def test_sending_again_asks_nothing_of_the_target(tmp_path: Path) -> None:
    there = Setting(tmp_path)
    with stub(there) as server:
        first = channel(server.url).send(there.parcel(), there.journal())
        asked = len(server.requests)
        again = channel(server.url).send(there.parcel(), there.journal())
        assert len(server.requests) == asked
    assert again.equals(first)
    without_secret = Salesforce(SalesforceChannel(url="https://x.example"))
    assert without_secret.send(there.parcel(), there.journal()).equals(first)


@pytest.mark.parametrize("form", [{"line_end": "\r\n"}, {"delimiter": ";"}, {"delimiter": "\t"}], ids=str)
def test_the_job_is_told_the_parcels_line_end_and_delimiter(tmp_path: Path, form: dict[str, str]) -> None:
    there = Setting(tmp_path, **form)
    with stub(there) as server:
        assert_all_once(there, channel(server.url).send(there.parcel(), there.journal()))


def test_a_target_that_refuses_half_the_rows(tmp_path: Path) -> None:
    there = Setting(tmp_path)
    with stub(there, faults=Faults(refuse_half=True)) as server:
        table = channel(server.url).send(there.parcel(), there.journal())
    assert Counter(outcomes(table).values()) == {"succeeded": 6, "failed": 6}
    for row in table.to_pylist():
        assert (row["outcome"] == "failed") == (row["code"] == "FIELD_CUSTOM_VALIDATION_EXCEPTION")
    written = {key for _, key in there.org.writes}
    assert {key for key, end in outcomes(table).items() if end == "succeeded" and key in there.ids} <= written


def test_a_record_that_changed_or_went_since_the_export_is_a_row_that_failed(tmp_path: Path) -> None:
    there = Setting(tmp_path)
    gone, changed = there.ids[0], there.ids[1]
    del there.org.records["Opportunity"][gone]
    faults = Faults(errors={changed: "FIELD_CUSTOM_VALIDATION_EXCEPTION:The deal was closed:StageName --"})
    with stub(there, faults=faults) as server:
        table = channel(server.url).send(there.parcel(), there.journal())
    assert messages(table) == {
        gone: ("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id:Id"),
        changed: ("FIELD_CUSTOM_VALIDATION_EXCEPTION", "The deal was closed:StageName"),
    }
    assert Counter(outcomes(table).values()) == {"succeeded": 10, "failed": 2}


def test_an_unknown_owner_is_a_row_that_failed(tmp_path: Path) -> None:
    there = Setting(tmp_path)
    there.tasks[2]["OwnerId"] = "005Hs0000999999AAA"
    with stub(there) as server:
        table = channel(server.url).send(there.parcel(), there.journal())
    assert messages(table) == {"key-2": ("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id:OwnerId")}


def test_a_field_that_does_not_exist_there_fails_all_rows_of_the_part_in_the_targets_words(tmp_path: Path) -> None:
    there = Setting(tmp_path)
    del there.org.objects["Opportunity"]["Next_Follow_Up__c"]
    with stub(there) as server:
        table = channel(server.url).send(there.parcel(), there.journal())
    assert {outcomes(table)[key] for key in there.ids} == {"failed"}
    assert set(messages(table).values()) == {("InvalidBatch", "Field name not found : Next_Follow_Up__c")}
    assert {outcomes(table)[key] for key in there.keys} == {"succeeded"}


def test_a_line_end_other_than_said_fails_the_job_and_all_its_rows(tmp_path: Path) -> None:
    there = Setting(tmp_path)
    parcel = replace(there.parcel(), line_end="\r\n")
    with stub(there) as server:
        table = channel(server.url).send(parcel, there.journal())
    assert set(outcomes(table).values()) == {"failed"}
    assert set(messages(table).values()) == {("ClientInputError", "LineEnding is invalid on user data")}
    assert not there.org.writes


def test_a_job_stopped_in_the_middle_leaves_rows_unprocessed(tmp_path: Path) -> None:
    there = Setting(tmp_path)
    with stub(there, faults=Faults(stop_after=4)) as server:
        table = channel(server.url).send(there.parcel(), there.journal())
    assert Counter(outcomes(table).values()) == {"succeeded": 8, "unprocessed": 4}


def test_a_job_that_fails_in_the_middle_tells_why_the_rest_was_not_processed(tmp_path: Path) -> None:
    there = Setting(tmp_path)
    words = "TooManyRetries : A batch failed 20 times"
    with stub(there, faults=Faults(stop_after=4, stop_as="Failed", stop_message=words)) as server:
        table = channel(server.url).send(there.parcel(), there.journal())
    assert Counter(outcomes(table).values()) == {"succeeded": 8, "unprocessed": 4}
    assert set(messages(table).values()) == {("TooManyRetries", "A batch failed 20 times")}
    assert set(messages(table)) == {*there.ids[4:], *there.keys[4:]}


def test_a_row_no_result_speaks_of_is_unknown(tmp_path: Path) -> None:
    there = Setting(tmp_path)
    with stub(there, faults=Faults(forget={there.ids[3]})) as server:
        table = channel(server.url).send(there.parcel(), there.journal())
    assert [key for key, end in outcomes(table).items() if end == "unknown"] == [there.ids[3]]


def test_duplicate_keys_never_leave_the_house(tmp_path: Path) -> None:
    there = Setting(tmp_path)
    there.tasks[1]["Follow_Up_Key__c"] = "key-0"
    with stub(there) as server:
        with pytest.raises(DeliveryFailed, match=r"(?s)each key once.*key-0 twice"):
            channel(server.url).send(there.parcel(), there.journal())
        assert server.requests == []


@pytest.mark.parametrize(
    ("kind", "attempts"), [("die_before", 1), ("die_after", 1), ("die_after", 3), ("die_from", 1)], ids=str
)
def test_a_connection_that_dies_at_any_request_delivers_nothing_twice(tmp_path: Path, kind: str, attempts: int) -> None:
    with stub(whole := Setting(tmp_path / "whole")) as server:
        channel(server.url).send(whole.parcel(), whole.journal())
        total = len(server.requests)
        closes = {number for number, (method, _) in enumerate(server.requests, start=1) if method == "PATCH"}
    assert total == 2 * 8
    assert len(closes) == 2  # looked after at once when the answer is lost
    for number in range(1, total + 1):
        there = Setting(tmp_path / str(number))
        weather = Weather(die_before=set(range(number, 99))) if kind == "die_from" else Weather(**{kind: {number}})
        with stub(there, weather=weather) as server:
            sender = channel(server.url, attempts=attempts)
            if attempts == 1 and not (kind == "die_after" and number in closes):
                with pytest.raises(DeliveryFailed):
                    sender.send(there.parcel(), there.journal())
            server.weather.die_before.clear()
            assert_all_once(there, sender.send(there.parcel(), there.journal()))


class Killed(BaseException):
    """The process dies here."""


class DyingJournal(Journal):
    """Dies at the n-th thing it is to write, before or after it is on disk."""

    def __init__(self, folder: Path, at: int, is_after: bool) -> None:
        super().__init__(folder)
        self.at, self.is_after, self.count = at, is_after, 0

    def note(self, part: Part | None, event: str, **facts: Any) -> None:
        self._die(lambda: super(DyingJournal, self).note(part, event, **facts))

    def finish(self, part: Part, results: pa.Table) -> pa.Table:
        return self._die(lambda: super(DyingJournal, self).finish(part, results))

    def _die(self, write: Any) -> Any:
        self.count += 1
        if self.count == self.at and not self.is_after:
            raise Killed
        done = write()
        if self.count == self.at:
            raise Killed
        return done


@pytest.mark.parametrize("is_after", [False, True])
def test_a_process_killed_around_any_note_goes_on_and_delivers_nothing_twice(tmp_path: Path, is_after: bool) -> None:
    for at in range(1, 9):
        there = Setting(tmp_path / str(at))
        with stub(there) as server:
            with pytest.raises(Killed):
                channel(server.url).send(there.parcel(), DyingJournal(there.folder / "journal", at, is_after))
            assert_all_once(there, channel(server.url).send(there.parcel(), there.journal()))
    with stub(there := Setting(tmp_path / "9")) as server:  # the eight above are all there are
        assert_all_once(there, channel(server.url).send(there.parcel(), DyingJournal(there.folder / "j", 9, is_after)))


def test_an_open_job_of_a_killed_attempt_is_aborted_before_another_is_made(tmp_path: Path) -> None:
    there = Setting(tmp_path)
    with stub(there) as server:
        with pytest.raises(Killed):
            channel(server.url).send(there.parcel(), DyingJournal(there.folder / "journal", 2, False))
        channel(server.url).send(there.parcel(), there.journal())
        assert [job.state for job in server.jobs.values()] == ["Aborted", "JobComplete", "JobComplete"]


def test_429_and_500_are_waited_out(tmp_path: Path) -> None:
    there = Setting(tmp_path)
    with stub(there, weather=Weather(too_many={1: "7", 2: "7", 4: "7"}, broken={6, 9})) as server:
        assert_all_once(there, channel(server.url).send(there.parcel(), there.journal()))


def test_a_broken_upload_is_aborted_and_made_anew_until_attempts_run_out(tmp_path: Path) -> None:
    there = Setting(tmp_path)
    with stub(there, weather=Weather(broken={2, 5})) as server:  # create, upload, abort, create, upload, abort
        with pytest.raises(DeliveryFailed, match=r"(?s)could not be uploaded.*none, 2 times.*aborted"):
            channel(server.url, attempts=2).send(there.parcel(), there.journal())
        assert [job.state for job in server.jobs.values()] == ["Aborted", "Aborted"]
        assert_all_once(there, channel(server.url).send(there.parcel(), there.journal()))


def test_a_target_that_answers_slowly_is_waited_for_and_given_up_in_time(tmp_path: Path) -> None:
    there = Setting(tmp_path)
    with stub(there, weather=Weather(slow_seconds=0.01)) as server:
        assert_all_once(there, channel(server.url).send(there.parcel(), there.journal()))
    slow = Setting(tmp_path / "slow")
    with stub(slow, weather=Weather(slow_seconds=0.3)) as server:
        with pytest.raises(DeliveryFailed, match=r"ReadTimeout \(timed out\) after 2 attempts"):
            channel(server.url, timeout_seconds=0.05, attempts=2).send(slow.parcel(), slow.journal())
        server.weather.slow_seconds = 0.0
        assert_all_once(slow, channel(server.url).send(slow.parcel(), slow.journal()))


def test_a_job_that_does_not_end_is_waited_for_again_and_not_sent_again(tmp_path: Path) -> None:
    there = Setting(tmp_path)
    with stub(there, weather=Weather(stuck=True)) as server:
        sender = channel(server.url, job_timeout_seconds=60.0, poll_seconds=20.0)
        for _ in range(2):
            with pytest.raises(DeliveryFailed, match=r"(?s)end within 60 s.*state InProgress, 0 rows"):
                sender.send(there.parcel(), there.journal())
        assert len(server.jobs) == 1
        assert [method for method, _ in server.requests].count("PATCH") == 1
        server.weather.stuck = False
        assert_all_once(there, sender.send(there.parcel(), there.journal()))


def test_a_job_salesforce_no_longer_knows_leaves_its_rows_unknown(tmp_path: Path) -> None:
    there = Setting(tmp_path)
    with stub(there, weather=Weather(stuck=True)) as server:
        with pytest.raises(DeliveryFailed):
            channel(server.url, job_timeout_seconds=20.0).send(there.parcel(), there.journal())
        server.jobs.clear()
        server.weather.stuck = False
        table = channel(server.url).send(there.parcel(), there.journal())
    assert {outcomes(table)[key] for key in there.ids} == {"unknown"}
    assert "knows job" in messages(table)[there.ids[0]][1]


def test_a_job_that_was_never_closed_and_is_gone_is_made_anew(tmp_path: Path) -> None:
    there = Setting(tmp_path)
    with stub(there) as server:
        with pytest.raises(Killed):
            channel(server.url).send(there.parcel(), DyingJournal(there.folder / "journal", 2, True))
        server.jobs.clear()
        assert_all_once(there, channel(server.url).send(there.parcel(), there.journal()))


def test_a_delivery_begun_elsewhere_is_not_taken_up_here(tmp_path: Path) -> None:
    there = Setting(tmp_path)
    with stub(there) as one, stub(there) as two:
        with pytest.raises(Killed):
            channel(one.url).send(there.parcel(), DyingJournal(there.folder / "journal", 1, True))
        with pytest.raises(DeliveryFailed, match=f"(?s)begun at another address.*{one.url}.*{two.url}"):
            channel(two.url).send(there.parcel(), there.journal())


def test_a_job_that_fails_without_a_word_fails_the_delivery_and_is_made_anew(tmp_path: Path) -> None:
    there = Setting(tmp_path)
    with stub(there) as server:
        process = server._process
        server._process = lambda job: setattr(job, "state", "Failed")  # type: ignore[method-assign]
        with pytest.raises(DeliveryFailed, match=r"(?s)failed as a whole.*does not say why"):
            channel(server.url).send(there.parcel(), there.journal())
        server._process = process  # type: ignore[method-assign]
        assert_all_once(there, channel(server.url).send(there.parcel(), there.journal()))


def test_a_job_salesforce_will_not_close_is_aborted_and_made_anew(tmp_path: Path) -> None:
    there = Setting(tmp_path)
    with stub(there) as server:
        with pytest.raises(Killed):
            channel(server.url).send(there.parcel(), DyingJournal(there.folder / "journal", 2, True))
        next(iter(server.jobs.values())).uploads.append(b"somebody else's")
        with pytest.raises(DeliveryFailed, match=r"(?s)did not take a job's data.*Found 2 contents"):
            channel(server.url).send(there.parcel(), there.journal())
        assert_all_once(there, channel(server.url).send(there.parcel(), there.journal()))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda done: done.successful.append(done.successful[0]), "a key twice"),
        (lambda done: done.failed.append(["", "no", *done.successful[0][2:]]), "succeeded elsewhere and failed here"),
        (lambda done: done.failed.append(["", "no", "006Hs9999999999ZZZ", "", ""]), "a key that was not sent"),
        (lambda done: done.failed.append(["", "no", "short"]), "another number of cells"),
    ],
)
def test_results_that_do_not_fit_what_was_sent_are_an_error(tmp_path: Path, change: Any, words: str) -> None:
    there = Setting(tmp_path)
    with stub(there) as server:
        process = server._process

        def spoilt(job: Any) -> None:
            process(job)
            change(job.outcome)

        server._process = spoilt  # type: ignore[method-assign]
        with pytest.raises(DeliveryFailed, match=f"(?s)results do not fit.*{words}.*scores.csv"):
            channel(server.url).send(there.parcel(), there.journal())
        server._process = process  # type: ignore[method-assign]


def test_a_file_above_the_limit_is_refused_before_anything_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = Setting(tmp_path)
    monkeypatch.setattr(salesforce, "MAX_BYTES", 300)
    with stub(there) as server:
        with pytest.raises(ConfigurationError, match=r"(?s)too large.*at most 300 bytes.*format.max_bytes"):
            channel(server.url).send(there.parcel(), there.journal())
        assert server.requests == []


def test_what_the_interface_has_not_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    there = Setting(tmp_path)
    parcel = there.parcel()
    scores = parcel.parts[0]
    cases = [
        (replace(parcel, parts=(replace(scores, operation="replace"),)), "found: replace"),
        (replace(parcel, parts=(replace(scores, key_field="Ext__c"),)), "upsert for another key"),
        (replace(parcel, parts=(replace(scores, name="scores.parquet"),)), "a CSV file"),
        (replace(parcel, delimiter="~"), "a delimiter of"),
        (replace(parcel, line_end="\r"), "end in LF or CRLF"),  # type: ignore[arg-type]
    ]
    with stub(there) as server:
        for bad, words in cases:
            with pytest.raises(ConfigurationError, match=words):
                channel(server.url).send(bad, there.journal())
        assert server.requests == []


def test_a_wrong_token_and_a_wrong_version_are_told_apart(tmp_path: Path) -> None:
    there = Setting(tmp_path)
    bad = pytest.raises(DeliveryFailed, match=r"(?s)401.*INVALID_SESSION_ID.*whether the token")
    with SalesforceStub("another", there.org) as server, bad:
        channel(server.url).send(there.parcel(), there.journal())
    with stub(there) as server, pytest.raises(DeliveryFailed, match=r"(?s)404.*version of the interface"):
        channel(server.url, api_version="40.0").send(there.parcel(), there.journal())


def test_a_part_without_rows_needs_no_job(tmp_path: Path) -> None:
    there = Setting(tmp_path)
    there.tasks.clear()
    with stub(there) as server:
        table = channel(server.url).send(there.parcel(), there.journal())
        assert len(server.jobs) == 1
    assert set(outcomes(table)) == set(there.ids)


def test_a_disk_that_fills_under_the_journal_or_the_results_stops_the_delivery_and_it_goes_on_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = Setting(tmp_path)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with stub(there) as server:
        for place in ("os.fsync", "sales_pipeline.delivery.channels.salesforce_jobs.Jobs.results"):
            with monkeypatch.context() as patched:
                patched.setattr(place, full)
                with pytest.raises(EnvironmentProblem, match="No space left"):
                    channel(server.url).send(there.parcel(), there.journal())
        assert_all_once(there, channel(server.url).send(there.parcel(), there.journal()))


def test_the_token_stands_in_no_log_error_note_or_result(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    said = []
    weathers = [Weather(), *[Weather(die_after={number}) for number in (1, 2, 3, 4)], Weather(broken=set(range(99)))]
    for number, weather in enumerate(weathers):
        there = Setting(tmp_path / str(number))
        with stub(there, weather=weather) as server:
            sender = channel(server.url, attempts=1)
            said.append(repr(sender) + repr(vars(sender)))
            try:
                said.append(str(sender.send(there.parcel(), there.journal()).to_pylist()))
            except DeliveryFailed as error:
                said += ["".join(traceback.format_exception(error)), repr(error), repr(vars(error))]
    with SalesforceStub("x" + TOKEN, there.org) as server:
        server.handle = lambda *_: (400, "text/plain", f"you sent {TOKEN}".encode())  # type: ignore[method-assign]
        with pytest.raises(DeliveryFailed, match=r"you sent \*\*\*") as caught:
            channel(server.url).send(there.parcel(), Journal(tmp_path / "echo"))
        said.append("".join(traceback.format_exception(caught.value)))
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 10
    assert len(caplog.records) > 50
    assert not any(TOKEN in text for text in said)
    assert not any(TOKEN.encode() in data for data in written)
    assert TOKEN not in caplog.text


def test_a_secret_that_can_be_no_access_token_is_refused(tmp_path: Path) -> None:
    there = Setting(tmp_path)
    for secret in ("tökén", "two words"):
        params = SalesforceChannel(url="https://x.example", token=SecretStr(secret))
        with pytest.raises(ConfigurationError, match="no Salesforce access token") as caught:
            Salesforce(params).send(there.parcel(), there.journal())
        assert secret not in str(caught.value)
