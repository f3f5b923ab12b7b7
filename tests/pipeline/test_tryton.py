"""A real CRM, both ways: Tryton 8.2 on SQLite, set up, filled, exported, read, scored, delivered to, read back, taken back.

One CRM and one run for all tests of this file, in the order they stand in. Needs `.venv-tryton` (`make .venv-tryton/.ready`).
"""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from sales_pipeline.clean.params import CleanParams
from sales_pipeline.clean.prepare import prepare
from sales_pipeline.delivery.channels.tryton import TrytonImport
from sales_pipeline.delivery.journal import Journal
from sales_pipeline.delivery.kit import Kit
from sales_pipeline.delivery.kits.build import build_kit
from sales_pipeline.delivery.params import MoveLimit, TrytonChannel
from sales_pipeline.delivery.parcel import Parcel, read_parcel
from sales_pipeline.delivery.targets.spec import load_target
from sales_pipeline.engines.duckdb import DuckDBEngine
from sales_pipeline.ingest.exports import collect
from sales_pipeline.ingest.params import SourceMapping
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.runs import require_current_run
from tests.support.cli import IGNORED_WARNINGS, ROOT, Outcome, call
from tests.support.parcels import a_parcel, a_part
from tests.support.tryton.crm import OPPORTUNITY_FIELDS, USER, TrytonCrm, is_installed
from tests.support.tryton.exports import OPPORTUNITY, days, end_of, land_days, land_history, table

pytestmark = [pytest.mark.tryton, *(pytest.mark.filterwarnings(text) for text in IGNORED_WARNINGS)]

OPPORTUNITIES, PARTIES = 400, 100
LAST = date(2025, 3, 31)
KEPT = (
    *(date(2024, 11, 30), date(2024, 12, 15), date(2024, 12, 31), date(2025, 1, 15), date(2025, 1, 31)),
    *(date(2025, 2, 14), date(2025, 2, 28), date(2025, 3, 17), date(2025, 3, 24)),
    *(date(2025, 3, 29), date(2025, 3, 30), LAST),
)
"""Days whose whole export is kept. More than half of the opportunities appear after the first: that much is asked of exports that stand for a history."""
BETWEEN = (
    date(2024, 12, 8),
    date(2025, 1, 7),
    date(2025, 2, 7),
    date(2025, 3, 7),
    date(2025, 3, 20),
    date(2025, 3, 27),
)
HISTORY_FROM = date(2025, 3, 17)
TARGET = "crm"
FOLLOW_UP = "crm.follow_up"
SCORES = ("number", "win_probability", "score_band", "expected_value", "scored_at")
FOLLOW_UP_FIELDS = ("key", "opportunity", "action", "due_date", "reason", "state")


@pytest.fixture(scope="module")
def crm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrytonCrm]:
    if not is_installed():
        pytest.skip("Tryton is not installed: make .venv-tryton/.ready")
    crm = TrytonCrm(tmp_path_factory.mktemp("tryton"))
    assert crm.build(OPPORTUNITIES, PARTIES)[1] == LAST.isoformat()
    with crm:
        yield crm


@pytest.fixture(scope="module")
def landing(crm: TrytonCrm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("landing") / "exports"
    land_days(crm, folder, KEPT)
    return folder


@dataclass(frozen=True)
class Ran:
    """A published run over the CRM's exports."""

    lake: Lake
    config: Path
    told: Mapping[str, Outcome]

    def table(self, name: str) -> list[dict[str, Any]]:
        return pq.read_table(require_current_run(self.lake).path / f"{name}.parquet").to_pylist()


@pytest.fixture(scope="module")
def ran(crm: TrytonCrm, landing: Path) -> Ran:
    """`init` and `run`, as an administrator types them, with the CRM as a target."""
    config = landing.parent / "pipeline.yaml"
    told = {"init": call("init", landing, "-o", config).done()}
    secret = landing.parent / "secret"
    secret.touch(0o600)
    secret.write_text(crm.password)
    way = {"kind": "tryton", "url": crm.url, "user": USER, "token_file": str(secret), "requests_per_second": 1_000}
    targets = {"targets": {TARGET: {"like": "tryton", "channel": {**way, "rows_per_call": 50}}}}
    with config.open("a", encoding="utf-8") as handle:
        handle.write(f"delivery: {json.dumps(targets)}\n")
    told["run"] = call("run", "-c", config).done()
    return Ran(Lake(landing.parent / "data" / "lake"), config, told)


State = tuple[str | None, Decimal | None, str | None, str | None, float | None]


def shown(crm: TrytonCrm, landing: Path, day: date) -> dict[str, State]:
    """What Tryton itself shows of every opportunity at the end of a day."""
    kept = landing / day.isoformat() / "Sale-Opportunity.csv"
    text = kept.read_bytes().decode() if kept.is_file() else crm.export(OPPORTUNITY, OPPORTUNITY_FIELDS, at=end_of(day))
    return {
        row["Number"]: (
            row["State"],
            Decimal(row["Amount"]),
            row["End Date"],
            row["Employee/Party/Code"],
            float(row["Conversion Probability"]),
        )
        for row in table(text)
    }


def rebuilt(changes: Path, day: date) -> dict[str, State]:
    """What our canonical tables say of every opportunity at the end of a day: the last change strictly before the next one."""
    end = datetime.combine(day + timedelta(days=1), datetime.min.time(), UTC)
    rows = sorted(
        pq.read_table(changes).to_pylist(), key=lambda row: (row["opportunity_id"], row["changed_at"], row["sequence"])
    )
    return {
        row["opportunity_id"]: (
            row["stage"],
            row["amount"],
            None if row["crm_close_date"] is None else row["crm_close_date"].isoformat(),
            row["owner_id"],
            row["crm_probability"],
        )
        for row in rows
        if row["changed_at"] < end
    }


def differing(ours: Mapping[str, State], theirs: Mapping[str, State]) -> set[str]:
    return {key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)}


def revisions(crm: TrytonCrm, model: str = OPPORTUNITY, name: str = "number") -> dict[str, list[datetime]]:
    """Instants of all revisions of all records, by number or key, oldest first."""
    records = crm.call(f"model.{model}.search_read", [], 0, None, None, [name])
    names = {record["id"]: record[name] for record in records}
    found: dict[str, list[datetime]] = {key: [] for key in names.values()}
    parts = ("year", "month", "day", "hour", "minute", "second", "microsecond")
    for told, record, _user in crm.call(f"model.{model}.history_revisions", list(names)):
        found[names[record]].append(datetime(*(told[part] for part in parts)))
    return {key: sorted(instants) for key, instants in found.items()}


def test_the_crm_lived_through_every_state(crm: TrytonCrm) -> None:
    states = [row["State"] for row in table(crm.export(OPPORTUNITY, ("state",)))]
    assert len(states) == OPPORTUNITIES
    for state in ("lead", "opportunity", "won", "lost", "cancelled"):
        assert states.count(state) >= 5, state
    assert sum(len(instants) for instants in revisions(crm).values()) > 2 * OPPORTUNITIES


def test_init_recognises_the_export_and_run_scores_every_open_opportunity(crm: TrytonCrm, ran: Ran) -> None:
    assert "dialect: tryton" in ran.told["init"].text
    states = {
        row["Number"]: row["State"] for row in table(crm.export(OPPORTUNITY, ("number", "state"), at=end_of(LAST)))
    }
    scored = ran.table("scored_opportunities")
    assert {row["opportunity_id"] for row in scored} == {
        number for number, state in states.items() if state in ("lead", "opportunity", "converted")
    }
    assert {row["stage"] for row in scored} <= {"lead", "opportunity", "converted"}
    assert ran.table("follow_up_queue")
    assert "0 quarantined" in ran.told["run"].text


def test_kept_exports_give_back_what_the_crm_showed_on_each_of_their_days(
    crm: TrytonCrm, landing: Path, ran: Ran
) -> None:
    """Stage, amount, close date, owner and probability of every opportunity, with no difference on any kept day."""
    found = sorted(ran.lake.root.glob("canonical/*/opportunity_changes.parquet"))
    assert found
    for changes in found:
        for day in KEPT:
            assert differing(rebuilt(changes, day), shown(crm, landing, day)) == set(), day


def test_between_kept_exports_only_what_was_overwritten_before_the_next_one_is_unknown(
    crm: TrytonCrm, landing: Path, ran: Ran
) -> None:
    """On a day without an export, a state that began after the last kept one and was changed again before the next was never seen.

    The only differences to what the CRM showed are those: every one of them is explained by the CRM's own revisions, one before
    and one after the day's end, both between the same two exports. All other states are known to the instant, from when they were last edited.
    """
    [changes, *_] = sorted(ran.lake.root.glob("canonical/*/opportunity_changes.parquet"))
    edited = revisions(crm)
    explained = 0
    for day in BETWEEN:
        last, following = max(kept for kept in KEPT if kept < day), min(kept for kept in KEPT if kept > day)
        unseen = {
            key
            for key, instants in edited.items()
            if any(end_of(last) < at <= end_of(day) for at in instants)
            and any(end_of(day) < at <= end_of(following) for at in instants)
        }
        found = differing(rebuilt(changes, day), shown(crm, landing, day))
        assert found <= unseen, (day, found - unseen)
        assert len(found) < len(edited) / 4
        explained += len(found)
    assert explained, "without a state that was overwritten this says nothing"


def test_an_export_of_every_days_edits_gives_back_every_day(crm: TrytonCrm, landing: Path, tmp_path: Path) -> None:
    """The change history as one file: no difference on any day from its first on, kept or not."""
    land_history(crm, tmp_path / "exports", HISTORY_FROM, LAST)
    mapping = SourceMapping(dialect="tryton", exported_at="file_name")
    lake = Lake(tmp_path / "lake")
    with DuckDBEngine(threads=1) as engine:
        exports = collect(lake, tmp_path / "exports", mapping, engine)
        changes = Path(prepare(lake, exports, mapping, CleanParams(), engine).tables["opportunity_changes"].path)
    compared = [day for day in days(HISTORY_FROM, LAST) if day in KEPT or day in BETWEEN]
    assert len(compared) == 7
    for day in compared:
        assert differing(rebuilt(changes, day), shown(crm, landing, day)) == set(), day


def channel(crm: TrytonCrm, **params: Any) -> TrytonImport:
    values = {"requests_per_second": 1_000, "rows_per_call": 50, **params}
    return TrytonImport(TrytonChannel(url=crm.url, user=USER, token=crm.password, **values))


def cells(parcel: Parcel, object: str) -> dict[str, dict[str, str]]:
    """What the kit's files of one model hold, by key."""
    found = {}
    for part in parcel.parts:
        if part.object == object:
            with parcel.path(part).open(newline="", encoding="utf-8") as handle:
                found |= {row[part.key_field]: row for row in csv.DictReader(handle)}
    return found


def opportunities(crm: TrytonCrm) -> dict[str, dict[str, str]]:
    """Every exported column and our own, by number, under the labels of the CRM."""
    fields = (*OPPORTUNITY_FIELDS, *SCORES[1:])
    return {row["Number"]: row for row in table(crm.export(OPPORTUNITY, fields))}


OURS = {
    "win_probability": "Win Probability",
    "score_band": "Score Band",
    "expected_value": "Expected Value",
    "scored_at": "Scored At",
}


def without(row: Mapping[str, str], *names: str) -> dict[str, str]:
    return {name: value for name, value in row.items() if name not in names}


def same_value(sent: str, there: str) -> bool:
    """Text by text; numbers as numbers, since the CRM writes none of their trailing zeros."""
    try:
        return Decimal(sent) == Decimal(there)
    except ArithmeticError:
        return sent == there


def follow_ups(crm: TrytonCrm) -> dict[str, dict[str, str]]:
    text = crm.export(FOLLOW_UP, ("key", "opportunity/number", *FOLLOW_UP_FIELDS[2:]))
    names = FOLLOW_UP_FIELDS
    return {row[0]: dict(zip(names, row, strict=True)) for row in list(csv.reader(text.splitlines()))[1:]}


def delivered(ran: Ran, *arguments: str) -> dict[str, Any]:
    """What `sales-pipeline deliver` tells."""
    return call("deliver", *arguments, "-c", ran.config, "--json").done().json


def test_scores_and_follow_ups_arrive_are_kept_and_can_be_taken_back(crm: TrytonCrm, ran: Ran) -> None:
    before = opportunities(crm)
    assert {before[key]["Win Probability"] for key in before} == {""}
    edits = revisions(crm)

    first = delivered(ran, TARGET)
    assert first["ended"] == "settled"
    kit = read_parcel(Path(first["kit"]))
    scores, tasks = cells(kit, OPPORTUNITY), cells(kit, FOLLOW_UP)
    assert first["outcomes"] == {"succeeded": len(scores) + len(tasks)}

    # Every value is there, as sent and as published; nothing else was touched, but for when the record was edited.
    after = opportunities(crm)
    published = {row["opportunity_id"]: row for row in ran.table("scored_opportunities")}
    assert scores.keys() == published.keys()
    for number, row in after.items():
        if number not in scores:
            assert row == before[number]
            continue
        for field, label in OURS.items():
            assert same_value(scores[number][field], row[label]), (number, field, scores[number][field], row[label])
        assert abs(float(row["Win Probability"]) - published[number]["win_probability"]) <= 0.00005
        assert row["Score Band"] == published[number]["grade"]
        assert Decimal(row["Expected Value"]) == published[number]["expected_value"]
        assert row["Scored At"] == "2025-04-01 00:00:00"
        assert without(row, *OURS.values(), "Edited at") == without(before[number], *OURS.values(), "Edited at")
    there = follow_ups(crm)
    assert there == {key: {name: row[name] for name in FOLLOW_UP_FIELDS} for key, row in tasks.items()}
    queue = {row["queue_id"]: row for row in ran.table("follow_up_queue")}
    assert {key: row["opportunity"] for key, row in there.items()} == {
        key: row["opportunity_id"] for key, row in queue.items()
    }
    once = revisions(crm)
    assert {key for key in once if len(once[key]) == len(edits[key]) + 1} == scores.keys()

    # The difference to what the CRM holds is nothing now.
    assert delivered(ran, TARGET)["ended"] == "nothing_to_deliver"

    # Taken back: our fields are empty again, the follow-ups are marked, and nobody's work was touched.
    back = delivered(ran, "rollback", first["run_id"], "--target", TARGET)
    assert (back["ended"], back["outcomes"]) == ("settled", first["outcomes"])
    assert {key: without(row, "Edited at") for key, row in opportunities(crm).items()} == {
        key: without(row, "Edited at") for key, row in before.items()
    }
    assert follow_ups(crm) == {key: {**row, "state": "withdrawn"} for key, row in there.items()}

    # Delivered anew, which moves every follow-up, it is as before, without a second record; all rows once more make no revision.
    call("deliver", TARGET, "-c", ran.config).refused(4, "would move too much", "--accept-moves")
    assert delivered(ran, TARGET, "--accept-moves")["outcomes"] == first["outcomes"]
    anew = opportunities(crm), follow_ups(crm)
    assert {key: without(row, "Edited at") for key, row in anew[0].items()} == {
        key: without(row, "Edited at") for key, row in after.items()
    }
    assert anew[1].keys() == there.keys()
    twice = revisions(crm), revisions(crm, FOLLOW_UP, "key")
    again = delivered(ran, TARGET, "--all")
    assert again["outcomes"] == first["outcomes"]
    assert (opportunities(crm), follow_ups(crm)) == anew
    assert (revisions(crm), revisions(crm, FOLLOW_UP, "key")) == twice


def imported(crm: TrytonCrm, kit: Kit, object: str, *, as_id: bool) -> dict[str, Any]:
    """What Tryton answers when a person imports the files of one model; `as_id`: with the field ID chosen for their first column."""
    [part] = [part for part in kit.parcel.parts if part.object == object]
    with kit.parcel.path(part).open(newline="", encoding="utf-8") as handle:
        header, *rows = csv.reader(handle)
    return crm.answer(f"model.{object}.import_data", ["id", *header[1:]] if as_id else header, rows)


def test_files_imported_by_hand_hit_the_records_they_mean(crm: TrytonCrm, ran: Ran) -> None:
    """Tryton reads an id of digits as a database id: rows that would hit another record stay out of files, and are told."""
    before = opportunities(crm)
    run = require_current_run(ran.lake)
    kit = build_kit(ran.lake, run, load_target("tryton"), target="by_hand", moves=MoveLimit())
    scores, tasks = cells(kit.parcel, OPPORTUNITY), cells(kit.parcel, FOLLOW_UP)
    published = {row["opportunity_id"] for row in ran.table("scored_opportunities")}
    assert scores.keys() == {number for number in published if number.startswith("OP-")}
    with (kit.folder / "not_delivered.csv").open(newline="") as handle:
        left_out = {row["key"].rpartition(" / ")[2]: row["code"] for row in csv.DictReader(handle)}
    assert left_out == dict.fromkeys(published - scores.keys(), "bad_key")
    assert left_out

    assert imported(crm, kit, OPPORTUNITY, as_id=True) == {"id": 1, "result": len(scores)}
    for number, row in opportunities(crm).items():
        if number in scores:
            assert all(same_value(scores[number][field], row[label]) for field, label in OURS.items())
        else:
            assert row == before[number]

    # The follow-ups are there: as new ones they are refused as a whole, as known ones they are changed.
    there = follow_ups(crm)
    assert "must be unique" in imported(crm, kit, FOLLOW_UP, as_id=False)["error"][1][0]
    assert follow_ups(crm) == there
    assert imported(crm, kit, FOLLOW_UP, as_id=True) == {"id": 1, "result": len(tasks)}
    assert follow_ups(crm) == {key: {**row, "state": "open"} for key, row in there.items()}


def hand_made(crm: TrytonCrm, folder: Path, numbers: list[str], probability: str, **bad: dict[str, str]) -> Parcel:
    """Scores for these opportunities, and cells in their place for some."""
    folder.mkdir()
    rows = []
    for number in numbers:
        row = dict(zip(SCORES, (number, probability, "B", "12.50", "2025-04-02 00:00:00"), strict=True))
        rows.append({**row, **bad.get(f"n{number}", {})})
    return a_parcel(folder, a_part(folder, "scores.csv", rows, fields=SCORES, object=OPPORTUNITY, key_field="number"))


def test_bad_rows_in_the_middle_come_back_in_the_crms_own_words_and_the_others_go_in(
    crm: TrytonCrm, tmp_path: Path
) -> None:
    numbers = sorted(opportunities(crm))[:40]
    bad = {
        f"n{numbers[7]}": {"win_probability": "1.500000"},
        f"n{numbers[21]}": {"win_probability": "-0.250000"},
        f"n{numbers[22]}": {"number": "no such number"},
        f"n{numbers[30]}": {"scored_at": "2025-04-02T00:00:00Z"},
    }
    parcel = hand_made(crm, tmp_path / "kit", numbers, "0.625000", **bad)
    rows = {row["key"]: row for row in channel(crm, rows_per_call=16).send(parcel, Journal(tmp_path / "j")).to_pylist()}
    failed = {key: row for key, row in rows.items() if row["outcome"] == "failed"}
    assert {key: row["code"] for key, row in failed.items()} == {
        numbers[7]: "UserError",
        numbers[21]: "UserError",
        "no such number": "unknown_key",
        numbers[30]: "not_importable",
    }
    assert 'The value "1.500000" for field "Win Probability"' in failed[numbers[7]]["message"]
    after = opportunities(crm)
    assert len(after) == OPPORTUNITIES
    assert {key for key, row in after.items() if row["Win Probability"] == "0.625000"} == set(numbers) - {
        *failed,
        numbers[22],
    }


KILLED = """
import sys
from pathlib import Path
from sales_pipeline.delivery.channels.tryton import TrytonImport
from sales_pipeline.delivery.journal import Journal
from sales_pipeline.delivery.params import TrytonChannel
from sales_pipeline.delivery.parcel import read_parcel
kit, journal, url, user, secret = sys.argv[1:]
channel = TrytonImport(TrytonChannel(url=url, user=user, token_file=secret, rows_per_call=5, requests_per_second=10))
channel.send(read_parcel(Path(kit)), Journal(Path(journal)))
"""


def test_a_client_killed_in_the_middle_goes_on_and_writes_nothing_twice(crm: TrytonCrm, tmp_path: Path) -> None:
    numbers = sorted(opportunities(crm))[40:140]
    parcel = hand_made(crm, tmp_path / "kit", numbers, "0.375000")
    edits = revisions(crm)
    secret = tmp_path / "secret"
    secret.write_text(crm.password)
    secret.chmod(0o600)
    arguments = [str(tmp_path / "kit"), str(tmp_path / "j"), crm.url, USER, str(secret)]
    client = subprocess.Popen(
        [sys.executable, "-c", KILLED, *arguments], env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=ROOT
    )
    notes = tmp_path / "j" / "notes.jsonl"
    end = time.monotonic() + 60
    while not (notes.is_file() and notes.read_text().count("confirmed") >= 3):
        assert client.poll() is None, "the client ended before it was killed"
        assert time.monotonic() < end, "the client does not come forward"
        time.sleep(0.05)
    client.send_signal(signal.SIGKILL)
    assert client.wait(20) == -signal.SIGKILL
    confirmed = sum(json.loads(line)["event"] == "confirmed" for line in notes.read_text().splitlines() if line)
    assert 3 <= confirmed < 20

    results = channel(crm, rows_per_call=5).send(parcel, Journal(tmp_path / "j"))
    assert [row["outcome"] for row in results.to_pylist()] == ["succeeded"] * len(numbers)
    after = opportunities(crm)
    assert {after[number]["Win Probability"] for number in numbers} == {"0.375000"}
    once = revisions(crm)
    assert {number: len(once[number]) - len(edits[number]) for number in once} == {
        number: int(number in numbers) for number in once
    }
