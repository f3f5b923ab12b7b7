from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from sales_pipeline.delivery.kits.build import build_rollback
from sales_pipeline.delivery.params import MoveLimit
from sales_pipeline.delivery.state.settle import confirm_all
from sales_pipeline.delivery.state.store import read_state
from sales_pipeline.delivery.targets.spec import load_target
from sales_pipeline.errors import ConfigurationError, EnvironmentProblem
from sales_pipeline.lake.layout import Lake
from tests.support.kit_runs import (
    DAY,
    follow_up,
    kit_of,
    left_out,
    mapping,
    publish_rows,
    reason,
    scored_row,
    sfid,
    tasks,
    text,
)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path)


def test_a_first_kit_brings_every_row(lake: Lake) -> None:
    run = publish_rows(lake, "run-1", [scored_row("b", 0.25), scored_row("a", 0.5, reasons_up=reason("Fine, so far"))])
    kit = kit_of(lake, run, mapping())
    assert text(kit, "scores.csv") == (
        'id,win,reason,at\na,0.5000,"Fine, so far",2026-07-01T00:00:00.000Z\nb,0.2500,,2026-07-01T00:00:00.000Z\n'
    )
    assert (kit.objects[0].new, kit.objects[0].known, kit.rows) == (2, 0, 2)


def test_an_unchanged_day_has_no_rows_and_no_files(lake: Lake) -> None:
    run = publish_rows(lake, "run-1", [scored_row("a"), scored_row("b")])
    confirm_all(lake, "crm", kit_of(lake, run, mapping()).folder)
    again = kit_of(lake, publish_rows(lake, "run-2", [scored_row("a"), scored_row("b")]), mapping())
    assert again.parcel.parts == ()
    assert again.objects[0].unchanged == 2
    assert not list(again.folder.glob("scores*"))


def test_only_compared_fields_make_a_row_a_changed_one(lake: Lake) -> None:
    run = publish_rows(lake, "run-1", [scored_row("a"), scored_row("b")])
    confirm_all(lake, "crm", kit_of(lake, run, mapping()).folder)
    later = publish_rows(
        lake,
        "run-2",
        [scored_row("a", as_of=DAY + timedelta(days=1)), scored_row("b", 0.75, as_of=DAY + timedelta(days=1))],
        as_of=DAY + timedelta(days=1),
    )
    kit = kit_of(lake, later, mapping())
    assert text(kit, "scores.csv") == "id,win,reason,at\nb,0.7500,,2026-07-02T00:00:00.000Z\n"
    assert [(move.key, move.previous, move.new) for move in kit.objects[0].moves] == [("b", 0.5, 0.75)]


def test_all_rows_go_when_asked_for(lake: Lake) -> None:
    run = publish_rows(lake, "run-1", [scored_row("a"), scored_row("b")])
    confirm_all(lake, "crm", kit_of(lake, run, mapping()).folder)
    kit = kit_of(lake, run, mapping(), only_changed=False)
    assert (kit.rows, kit.objects[0].unchanged) == (2, 2)


def test_a_value_that_went_away_is_cleared_by_the_targets_word(lake: Lake) -> None:
    run = publish_rows(lake, "run-1", [scored_row("a", reasons_up=reason("Fine"))])
    confirm_all(lake, "crm", kit_of(lake, run, mapping()).folder)
    gone = publish_rows(lake, "run-2", [scored_row("a")])
    kit = kit_of(lake, gone, mapping())
    assert text(kit, "scores.csv").splitlines()[1] == "a,0.5000,#N/A,2026-07-01T00:00:00.000Z"
    confirm_all(lake, "crm", kit.folder)
    assert kit_of(lake, gone, mapping()).rows == 0


def test_where_a_blank_clears_a_blank_is_written(lake: Lake) -> None:
    spec = mapping(blank="clears", clear=None)
    run = publish_rows(lake, "run-1", [scored_row("a", reasons_up=reason("Fine"))])
    confirm_all(lake, "crm", kit_of(lake, run, spec).folder)
    kit = kit_of(lake, publish_rows(lake, "run-2", [scored_row("a")]), spec)
    assert text(kit, "scores.csv").splitlines()[1] == "a,0.5000,,2026-07-01T00:00:00.000Z"


def test_where_nobody_knows_what_a_blank_does_no_file_has_one(lake: Lake) -> None:
    spec = mapping(blank="unknown", clear=None)
    run = publish_rows(lake, "run-1", [scored_row("a", reasons_up=reason("Fine")), scored_row("b")])
    kit = kit_of(lake, run, spec)
    assert text(kit, "scores.csv").splitlines() == ["id,win,reason,at", "a,0.5000,Fine,2026-07-01T00:00:00.000Z"]
    assert text(kit, "scores__2.csv").splitlines() == ["id,win,at", "b,0.5000,2026-07-01T00:00:00.000Z"]


def test_a_value_nobody_can_clear_is_listed_and_the_rest_of_the_row_goes(lake: Lake) -> None:
    spec = mapping(blank="unknown", clear=None)
    run = publish_rows(lake, "run-1", [scored_row("a", reasons_up=reason("Fine"))])
    confirm_all(lake, "crm", kit_of(lake, run, spec).folder)
    later = publish_rows(lake, "run-2", [scored_row("a", 0.6)])
    kit = kit_of(lake, later, spec)
    assert text(kit, "scores.csv").splitlines()[1] == "a,0.6000,Fine,2026-07-01T00:00:00.000Z"
    assert left_out(kit) == {"a": "cannot_clear"}
    assert (kit.objects[0].changed, kit.objects[0].cannot_clear) == (1, 1)
    confirm_all(lake, "crm", kit.folder)
    assert kit_of(lake, later, spec).rows == 0


@pytest.mark.parametrize("how", [{"clear": "#N/A"}, {"blank": "clears", "clear": None}], ids=["word", "blank"])
def test_a_score_that_is_not_given_any_more_is_taken_away_once_and_comes_back(lake: Lake, how: dict[str, Any]) -> None:
    spec = mapping(**how)
    run = publish_rows(lake, "run-1", [scored_row("a", reasons_up=reason("Fine")), scored_row("b")])
    confirm_all(lake, "crm", kit_of(lake, run, spec).folder)
    silent = publish_rows(lake, "run-2", [scored_row("a", None), scored_row("b"), scored_row("c", None)])
    kit = kit_of(lake, silent, spec)
    empty = how["clear"] or ""
    assert [part.name for part in kit.parcel.parts] == ["scores_cleared.csv"]
    assert text(kit, "scores_cleared.csv") == f"id,win,reason,at\na,{empty},{empty},{empty}\n"
    facts = kit.objects[0]
    assert (facts.cleared, facts.changed, facts.unchanged, facts.not_delivered, facts.moved) == (1, 0, 1, 1, 1)
    assert left_out(kit) == {"a": "abstained", "c": "abstained"}
    assert "is taken away: no creation date is recorded" in text(kit, "not_delivered.csv")
    assert "1 cleared (no score any more)" in text(kit, "README.txt")
    confirm_all(lake, "crm", kit.folder)
    assert read_state(lake, "crm").held("scores")["key"].to_pylist() == ["b"]
    assert kit_of(lake, silent, spec).rows == 0
    again = kit_of(lake, run, spec)
    assert text(again, "scores.csv").splitlines()[1].startswith("a,0.5000,Fine,")


def test_a_score_that_was_taken_away_comes_back_with_a_rollback(lake: Lake) -> None:
    run = publish_rows(lake, "run-1", [scored_row("a", reasons_up=reason("Fine")), scored_row("b")])
    confirm_all(lake, "crm", kit_of(lake, run, mapping()).folder)
    start = read_state(lake, "crm").state_id
    kit = kit_of(lake, publish_rows(lake, "run-2", [scored_row("a", None), scored_row("b")]), mapping())
    filled = "id,win,reason,at\na,0.5000,Fine,2026-07-01T00:00:00.000Z\n"
    assert text(kit, "rollback/scores.csv") == filled
    confirm_all(lake, "crm", kit.folder)
    back = build_rollback(lake, "crm", kit.folder)
    assert text(back, "scores.csv") == filled
    confirm_all(lake, "crm", back.folder)
    assert read_state(lake, "crm").state_id == start


@pytest.mark.parametrize("how", [{"blank": "unknown", "clear": None}, {"item": {"clears_abstained": False}}], ids=str)
def test_a_score_that_is_not_given_any_more_stays_where_nothing_can_or_may_take_it_away(
    lake: Lake, how: dict[str, Any]
) -> None:
    spec = mapping(**how)
    confirm_all(lake, "crm", kit_of(lake, publish_rows(lake, "run-1", [scored_row("a")]), spec).folder)
    kit = kit_of(lake, publish_rows(lake, "run-2", [scored_row("a", None)]), spec)
    assert (kit.rows, kit.objects[0].cleared, left_out(kit)) == (0, 0, {"a": "abstained"})


def test_taking_every_score_away_is_more_than_the_limit_allows(lake: Lake) -> None:
    names = [f"k{number}" for number in range(5)]
    run = publish_rows(lake, "run-1", [scored_row(name) for name in names])
    confirm_all(lake, "crm", kit_of(lake, run, mapping()).folder)
    silent = publish_rows(lake, "run-2", [scored_row(name, None) for name in names])
    assert kit_of(lake, silent, mapping(), moves=MoveLimit(min_rows=1)).objects[0].is_over_limit


def test_what_people_keep_is_not_emptied_with_the_score(lake: Lake) -> None:
    fields = [
        *mapping().objects[0].model_dump()["fields"],
        {"field": "owner", "column": "owner_id", "is_sent_once": True},
    ]
    spec = mapping(item={"fields": fields, "operation": "upsert"})
    run = publish_rows(lake, "run-1", [scored_row("a", owner_id="o-1")])
    confirm_all(lake, "crm", kit_of(lake, run, spec).folder)
    silent = publish_rows(lake, "run-2", [scored_row("a", None, owner_id="o-2")])
    kit = kit_of(lake, silent, spec)
    assert text(kit, "scores_cleared.csv") == "id,win,reason,at\na,#N/A,,#N/A\n"
    confirm_all(lake, "crm", kit.folder)
    assert read_state(lake, "crm").held("scores").to_pylist()[0]["held.owner"] == "o-1"
    assert (kit_of(lake, silent, spec).rows, left_out(kit_of(lake, silent, spec))) == (0, {"a": "abstained"})


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", "\r=", "\x00x", "＝", "＋", "－", "＠"])
def test_text_that_begins_like_a_formula_is_not_delivered(lake: Lake, start: str) -> None:
    run = publish_rows(lake, "run-1", [scored_row("a", reasons_up=reason(f"{start}1+1")), scored_row("b")])
    kit = kit_of(lake, run, mapping())
    assert left_out(kit) == {"a": "formula"}
    assert "1+1" not in text(kit, "scores.csv")


def test_line_breaks_become_spaces(lake: Lake) -> None:
    run = publish_rows(lake, "run-1", [scored_row("a", reasons_up=reason("One\r\ntwo\u2028three \n"))])
    assert ",One two three," in text(kit_of(lake, run, mapping()), "scores.csv")


def test_rows_are_left_out_with_their_reason(lake: Lake) -> None:
    twins = [scored_row("twin", source_system="crm"), scored_row("twin", source_system="other")]
    rows = [scored_row(""), scored_row("=1"), scored_row("silent", None), scored_row("fine"), *twins]
    rows.append(scored_row("long", reasons_up=reason("x" * 41)))
    rows.append(scored_row("bad!"))
    run = publish_rows(lake, "run-1", rows)
    kit = kit_of(lake, run, mapping(item={"key_pattern": "[a-z=1]+"}))
    raw = pq.read_table(kit.folder / "rows" / "not_delivered.parquet")["key"].to_pylist()
    assert "crm / =1" in raw
    assert left_out(kit) == {
        "": "no_key",
        "=1": "formula",
        "silent": "abstained",
        "twin": "duplicate_key",
        "other / twin": "duplicate_key",
        "long": "too_long",
        "bad!": "bad_key",
    }
    assert text(kit, "scores.csv").splitlines()[1].startswith("fine,")
    assert kit.objects[0].not_delivered == 7
    assert "none of them is sent" in text(kit, "not_delivered.csv")
    assert "takes 40 characters" in text(kit, "not_delivered.csv")


def test_a_required_field_without_a_value_keeps_the_row_back(lake: Lake) -> None:
    item = {
        "fields": [{"field": "end", "column": "predicted_close_date", "notation": "date", "required": True}],
        "moves": None,
    }
    rows = [scored_row("a", predicted_close_date=None), scored_row("b", predicted_close_date=date(2026, 8, 1))]
    kit = kit_of(lake, publish_rows(lake, "run-1", rows), mapping(item=item))
    assert left_out(kit) == {"a": "blank"}
    assert text(kit, "scores.csv") == "id,end\nb,2026-08-01\n"


def test_an_owner_the_target_does_not_know_keeps_the_row_back(lake: Lake) -> None:
    spec = mapping(objects=[tasks(owner="owner")])
    run = publish_rows(
        lake, "run-1", [scored_row("a")], [follow_up("f1", "a"), follow_up("f2", "a") | {"owner_id": "ghost"}]
    )
    assert kit_of(lake, run, spec).objects[0].new == 2
    kit = kit_of(lake, run, spec, known_owners={sfid("005", 1)})
    assert left_out(kit) == {"f2": "unknown_owner"}
    assert "ghost" in text(kit, "not_delivered.csv")


def test_salesforce_ids_get_their_checksum_and_a_wrong_one_is_a_bad_key(lake: Lake) -> None:
    right = sfid("006", 7)
    rows = [
        scored_row(right[:15]),
        scored_row(sfid("006", 8).upper()),
        scored_row(sfid("006", 9)[:17] + ("5" if sfid("006", 9)[17] != "5" else "4")),
        scored_row(sfid("00Q", 1)),
    ]
    kit = kit_of(lake, publish_rows(lake, "run-1", rows), load_target("salesforce"))
    keys = [line.split(",")[0] for line in text(kit, "opportunity_scores.csv").splitlines()[1:]]
    assert keys == [right, sfid("006", 8)]
    assert set(left_out(kit).values()) == {"bad_key"}
    assert len(left_out(kit)) == 2


def test_fields_sent_once_go_with_new_records_only(lake: Lake) -> None:
    spec = mapping(objects=[tasks()])
    run = publish_rows(lake, "run-1", [scored_row("a")], [follow_up("f1", "a")])
    kit = kit_of(lake, run, spec)
    assert text(kit, "tasks_new.csv").splitlines()[0] == "key,subject,due,owner,state"
    confirm_all(lake, "crm", kit.folder)
    moved = follow_up("f1", "a") | {"owner_id": sfid("005", 2), "action": "email"}
    kit = kit_of(lake, publish_rows(lake, "run-2", [scored_row("a")], [moved]), spec)
    assert text(kit, "tasks_changed.csv") == (
        "key,subject,due,state\nf1,Write an e-mail about the opportunity,2026-07-01,proposed\n"
    )


def test_records_whose_row_is_gone_are_marked_once_and_come_back(lake: Lake) -> None:
    spec = mapping(objects=[tasks(withdrawn={"state": "withdrawn"})])
    run = publish_rows(lake, "run-1", [scored_row("a")], [follow_up("f1", "a"), follow_up("f2", "a")])
    confirm_all(lake, "crm", kit_of(lake, run, spec).folder)
    less = publish_rows(lake, "run-2", [scored_row("a")], [follow_up("f1", "a")])
    kit = kit_of(lake, less, spec)
    assert text(kit, "tasks_withdrawn.csv") == "key,state\nf2,withdrawn\n"
    assert (kit.objects[0].withdrawn, kit.rows) == (1, 1)
    confirm_all(lake, "crm", kit.folder)
    assert kit_of(lake, less, spec).rows == 0
    back = kit_of(
        lake, publish_rows(lake, "run-3", [scored_row("a")], [follow_up("f1", "a"), follow_up("f2", "a")]), spec
    )
    assert text(back, "tasks_changed.csv").splitlines()[1:] == ["f2,Call about the opportunity,2026-07-01,proposed"]


def test_records_whose_row_is_gone_are_only_counted_where_nothing_marks_them(lake: Lake) -> None:
    run = publish_rows(lake, "run-1", [scored_row("a"), scored_row("b")])
    confirm_all(lake, "crm", kit_of(lake, run, mapping()).folder)
    kit = kit_of(lake, publish_rows(lake, "run-2", [scored_row("a")]), mapping())
    assert (kit.objects[0].gone, kit.rows) == (1, 0)


def test_the_first_follow_up_gives_the_day_in_the_zone(lake: Lake) -> None:
    late = follow_up("f1", "a") | {"due_at": datetime(2026, 7, 3, 23, 30, tzinfo=UTC)}
    later = follow_up("f2", "a") | {"due_at": datetime(2026, 7, 9, 12, tzinfo=UTC)}
    item = {"fields": [{"field": "next", "column": "next_follow_up_on", "notation": "date"}], "moves": None}
    run = publish_rows(lake, "run-1", [scored_row("a"), scored_row("b")], [later, late])
    assert (
        text(kit_of(lake, run, mapping(item=item), time_zone="Europe/Berlin"), "scores.csv")
        == "id,next\na,2026-07-04\nb,\n"
    )
    assert "a,2026-07-03\n" in text(kit_of(lake, run, mapping(item=item)), "scores.csv")


def test_mistakes_of_the_mapping_are_told(lake: Lake) -> None:
    run = publish_rows(lake, "run-1", [scored_row("a")], [follow_up("f1", "a")])
    with pytest.raises(ConfigurationError, match="names columns that scores has not"):
        kit_of(lake, run, mapping(item={"key": {"field": "id", "column": "nonsense"}}))
    with pytest.raises(ConfigurationError, match="a source that is not published"):
        kit_of(lake, run, mapping(item={"source": "opportunities"}))
    coded = {"fields": [{"field": "band", "column": "grade", "codes": {"A": "hot"}}], "moves": None}
    with pytest.raises(ConfigurationError, match="band has no word for a code of grade"):
        kit_of(lake, run, mapping(item=coded))
    dated = {"fields": [{"field": "band", "column": "grade", "notation": "date"}], "moves": None}
    with pytest.raises(ConfigurationError, match="band cannot be written as date"):
        kit_of(lake, run, mapping(item=dated))

    with pytest.raises(ConfigurationError, match="key_pattern is no regular expression"):
        kit_of(lake, run, mapping(item={"key_pattern": "("}))


def test_what_people_read_of_hostile_keys_is_guarded(lake: Lake) -> None:
    spec = mapping(objects=[tasks()])
    kit = kit_of(lake, publish_rows(lake, "run-1", [scored_row("a")], [follow_up("=cmd", "a")]), spec)
    assert left_out(kit) == {"'=cmd": "formula"}
    raw = pq.read_table(kit.folder / "rows" / "not_delivered.parquet").to_pylist()
    assert raw[0]["key"] == "=cmd"


def test_a_published_file_that_was_changed_is_refused(lake: Lake) -> None:
    run = publish_rows(lake, "run-1", [scored_row("a")])
    other = publish_rows(lake, "run-2", [scored_row("b")])
    (run.path / "scored_opportunities.parquet").write_bytes((other.path / "scored_opportunities.parquet").read_bytes())
    with pytest.raises(EnvironmentProblem, match="a published file was changed"):
        kit_of(lake, run, mapping())
