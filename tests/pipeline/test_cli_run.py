"""The main job through the command line, on the committed sample: what a newcomer does, what a second run does, what a past day does.

One story in two lakes, told once per module: an early day (it trains), the newest day, the newest day again, a day between (twice);
and in the other lake the early day and the day between alone.
"""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.contracts.internal import BACKTEST_PREDICTIONS
from sales_pipeline.contracts.published import PUBLISHED_TABLES
from sales_pipeline.delivery.report.guard import outside_references
from sales_pipeline.delivery.report.limits import MOST_BYTES
from sales_pipeline.lake.tables import file_sha256
from tests.support.cli import (
    DEALS_MAPPING,
    IGNORED_WARNINGS,
    ROOT,
    SAMPLE,
    Outcome,
    call,
    csv_text,
    deals,
    files_under,
    write_config,
)

pytestmark = [pytest.mark.filterwarnings(text) for text in IGNORED_WARNINGS]

EARLY, BETWEEN, NEWEST = "2026-06-02", "2026-06-16", "2026-06-30"
MIN_GAIN, MIN_CORRELATION = 0.02, 0.5
"""Modest bounds on the simulated world: log loss gained on the best constant (nats), rank correlation with the exact probabilities."""
TABLES = (
    "scored_opportunities",
    "follow_up_queue",
    "left_out",
    "row_ledger_summary",
    "field_dictionary",
    "model_monitoring",
    "revenue_forecast",
    "forecast_changes",
    "forecast_history",
    "team_performance",
    "stage_times",
    "account_insights",
)


@dataclass(frozen=True)
class Story:
    """What happened, in its order."""

    config: Path
    lake: Path
    other: Path
    init: Outcome
    check: Outcome
    early: Outcome
    newest: Outcome
    before_again: dict[str, str]
    again: Outcome
    after_again: dict[str, str]
    between: Outcome
    before_repeat: dict[str, str]
    repeat: Outcome
    after_repeat: dict[str, str]
    other_early: Outcome
    other_between: Outcome

    @property
    def folder(self) -> Path:
        return Path(self.newest.json["path"])


def published(lake: Path) -> dict[str, str]:
    """Digests of everything a reader can see: the runs' files and CURRENT."""
    seen = {name: digest for name, digest in files_under(lake / "runs").items() if not name.endswith(".log.json")}
    return seen | {"CURRENT": file_sha256(lake / "CURRENT")}


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    home = tmp_path_factory.mktemp("story")
    config, lake, other = home / "pipeline.yaml", home / "lake", home / "other"
    told: dict[str, Outcome] = {"init": call("init", SAMPLE / "export", "-o", config).done()}
    told["check"] = call("check", "-c", config).done()

    def run(into: Path, *day: str) -> Outcome:
        return call("run", "-c", config, "--lake", into, "--json", *day).done()

    told["early"] = run(lake, "--as-of", EARLY)
    told["newest"] = run(lake)
    before_again = published(lake)
    told["again"] = run(lake)
    after_again = published(lake)
    told["between"] = run(lake, "--as-of", BETWEEN)
    before_repeat = published(lake)
    told["repeat"] = run(lake, "--as-of", BETWEEN)
    after_repeat = published(lake)
    # What a lake learns about lineage depends on the code alone and takes seconds to work out.
    shutil.copytree(lake / "lineage", other / "lineage")
    told["other_early"] = run(other, "--as-of", EARLY)
    told["other_between"] = run(other, "--as-of", BETWEEN)
    return Story(
        config,
        lake,
        other,
        before_again=before_again,
        after_again=after_again,
        before_repeat=before_repeat,
        after_repeat=after_repeat,
        **told,
    )


def test_a_newcomer_gets_tables_without_editing(story: Story) -> None:
    assert "dialect: salesforce" in story.init.err
    assert "error:" not in story.check.out
    done = story.newest.json
    assert done["as_of"] == "2026-07-01T00:00:00Z"
    assert done["day"] == NEWEST
    assert (done["is_new"], done["is_current"], done["has_trained"]) == (True, True, False)
    assert story.early.json["has_trained"] is True
    assert done["rows"]["scored_opportunities"] > 100
    assert sum(done["records"].values()) == done["records"]["accepted"] + sum(
        done["records"][name] for name in ("duplicate_of", "quarantined", "structural")
    )


def test_init_does_not_overwrite_what_people_wrote(story: Story) -> None:
    before = story.config.read_bytes()
    call("init", SAMPLE / "export", "-o", story.config).refused(2, "there already", "--force")
    assert story.config.read_bytes() == before


@pytest.mark.parametrize("name", TABLES)
def test_published_tables_keep_their_contract(story: Story, name: str) -> None:
    table = pq.read_table(story.folder / f"{name}.parquet")
    contract = PUBLISHED_TABLES[name]
    assert table.schema.equals(arrow_schema(contract))
    assert table.num_rows > 0
    keys = [tuple(row.values()) for row in table.select(list(contract.key)).to_pylist()]
    assert len(set(keys)) == len(keys)
    for column in contract.columns:
        if column.required:
            assert table[column.name].null_count == 0, column.name


@pytest.mark.parametrize("name", TABLES)
def test_a_plain_csv_lies_beside_each_table(story: Story, name: str) -> None:
    data = (story.folder / f"{name}.csv").read_bytes()
    rows = list(csv.reader(data.decode("utf-8-sig").splitlines(keepends=True)))
    table = pq.read_table(story.folder / f"{name}.parquet")
    assert rows[0] == table.column_names
    assert len(rows) - 1 == table.num_rows


def test_the_field_dictionary_names_every_published_column(story: Story) -> None:
    dictionary = pq.read_table(story.folder / "field_dictionary.parquet").to_pylist()
    named = {tuple(row.values())[:2] for row in dictionary}
    for name in TABLES:
        for column in PUBLISHED_TABLES[name].column_names:
            assert (name, column) in named


def test_the_manifest_is_true_to_the_files(story: Story) -> None:
    manifest = json.loads((story.folder / "manifest.json").read_text())
    assert {name: entry["sha256"] for name, entry in manifest["files"].items()} == {
        name: digest for name, digest in files_under(story.folder).items() if name != "manifest.json"
    }
    assert manifest["run_id"] == story.newest.json["run_id"] == (story.lake / "CURRENT").read_text().strip()
    assert manifest["previous_run_id"] == story.early.json["run_id"]
    for name in TABLES:
        assert manifest["rows"][name] == pq.read_metadata(story.folder / f"{name}.parquet").num_rows


def test_every_open_opportunity_is_in_the_queue_or_left_out(story: Story) -> None:
    scored, queue, left = (
        pq.read_table(story.folder / f"{name}.parquet")["opportunity_id"].to_pylist()
        for name in ("scored_opportunities", "follow_up_queue", "left_out")
    )
    assert set(queue) | set(left) == set(scored)
    assert not set(queue) & set(left)


def test_scores_are_what_they_say(story: Story) -> None:
    table = pq.read_table(story.folder / "scored_opportunities.parquet")
    rows = table.to_pylist()
    for row in rows:
        if row["win_probability"] is None:
            assert row["abstain_reason"]
            continue
        assert 0 <= row["win_probability_low"] <= row["win_probability"] <= row["win_probability_high"] <= 1
        assert row["win_probability_30d"] <= row["win_probability_90d"] <= row["win_probability"]
        assert row["score"] == min(99, max(1, round(100 * row["win_probability"])))
    assert {row["run_id"] for row in rows} == {story.newest.json["run_id"]}
    known = [row for row in rows if row["trend"] not in (None, "new")]
    assert known
    assert all(row["previous_win_probability"] is not None for row in known)


def test_no_published_file_holds_people(story: Story) -> None:
    for path in story.folder.rglob("*.csv"):
        assert "@" not in path.read_text(encoding="utf-8-sig"), path.name


def test_a_second_run_publishes_nothing_new_and_says_so(story: Story) -> None:
    assert story.again.json["is_new"] is False
    assert story.again.json["run_id"] == story.newest.json["run_id"]
    assert story.after_again == story.before_again


def test_an_older_day_goes_to_the_history(story: Story) -> None:
    assert (story.between.json["is_new"], story.between.json["is_current"]) == (True, False)
    assert (story.lake / "CURRENT").read_text().strip() == story.newest.json["run_id"]
    assert Path(story.between.json["path"]).is_dir()
    assert story.before_repeat["CURRENT"] == story.after_again["CURRENT"]


def test_a_repeated_day_gives_the_same_bytes(story: Story) -> None:
    assert story.repeat.json["run_id"] == story.between.json["run_id"]
    assert story.repeat.json["is_new"] is False
    assert story.after_repeat == story.before_repeat


@pytest.mark.parametrize("day", ["early", "between"])
def test_the_same_inputs_in_another_lake_give_the_same_bytes(story: Story, day: str) -> None:
    """The day between was run here before the newest day was: what came later must not show."""
    here, there = getattr(story, day).json, getattr(story, f"other_{day}").json
    assert there["run_id"] == here["run_id"]
    assert files_under(Path(there["path"])) == files_under(Path(here["path"]))


def test_tables_and_show_read_through_current(story: Story) -> None:
    told = call("tables", "-c", story.config, "--lake", story.lake, "--json").done().json
    assert told["run_id"] == story.newest.json["run_id"]
    assert {entry["table"] for entry in told["tables"]} >= set(TABLES)
    assert all(Path(entry["path"]).is_file() for entry in told["tables"])
    shown = call("show", "follow_up_queue", "--lake", story.lake, "-n", "3", "--json").done().json
    queue = pq.read_table(story.folder / "follow_up_queue.parquet").to_pylist()
    as_worked = sorted(queue, key=lambda row: (row["owner_id"], row["rank"]))
    assert shown == json.loads(json.dumps(as_worked[:3], default=str))
    plain = call(
        "show", "scored_opportunities", "--lake", story.lake, "-n", "2", "--columns", "opportunity_id,grade"
    ).done()
    assert plain.out.splitlines()[0].split() == ["opportunity_id", "grade"]
    assert len(plain.out.splitlines()) == 3


def test_team_and_account_are_told_from_what_is_published(story: Story) -> None:
    team = call("team", "--lake", story.lake).done()
    assert {"company", "EMEA", "Americas", "APAC"} <= {
        line.split()[0] for line in team.out.splitlines() if line.strip()
    }
    rows = call("team", "--level", "owner", "--lake", story.lake, "--json").done().json["pipeline"]
    assert sum(row["open_count"] for row in rows) == story.newest.json["rows"]["scored_opportunities"]
    call("team", "--team", "Mars", "--lake", story.lake).refused(2, "Mars", "EMEA")
    accounts = pq.read_table(story.folder / "account_insights.parquet").to_pylist()
    known = max(accounts, key=lambda row: (row["open_count"], row["account_id"]))
    told = call("account", known["account_id"][:15], "--lake", story.lake).done()
    assert known["care_reason"] in told.out
    assert str(known["open_count"]) in told.out
    call("account", "nobody", "--lake", story.lake).refused(2, "no such account")


def test_show_names_what_there_is(story: Story) -> None:
    call("show", "nonsense", "--lake", story.lake).refused(2, "scored_opportunities")
    call("show", "left_out", "--lake", story.lake, "--columns", "colour").refused(2, "colour", "opportunity_id")
    call("tables", "--lake", story.lake.parent / "nowhere").refused(2, "nothing")


def test_quarantine_shows_file_line_column_value_and_reason(story: Story, tmp_path: Path) -> None:
    listing = call("quarantine", "-c", story.config, "--lake", story.lake, "--json", "-o", tmp_path / "repair").done()
    records = [row for row in listing.json if row["scope"] == "record"]
    assert len(records) == story.newest.json["records"]["quarantined"]
    assert all(row["file"] and row["line"] > 0 and row["reason"] for row in listing.json)
    assert list((tmp_path / "repair").glob("*_repair_*.csv"))


def test_config_show_prints_what_is_in_force(story: Story) -> None:
    import yaml

    told = yaml.safe_load(call("config", "show", "-c", story.config).done().out)
    assert told["mapping"]["dialect"] == "salesforce"
    assert told["max_staleness_days"] == 7


def test_doctor_finds_a_sound_lake_and_a_changed_file(story: Story, tmp_path: Path) -> None:
    told = call("doctor", "-c", story.config, "--lake", story.other, "--json").done().json
    assert not [finding for finding in told if finding["level"] == "error"]
    damaged = tmp_path / "damaged"
    shutil.copytree(story.other / "runs", damaged / "runs")
    shutil.copy(story.other / "CURRENT", damaged / "CURRENT")
    target = damaged / "runs" / story.other_between.json["run_id"] / "left_out.csv"
    target.write_text(target.read_text() + "x")
    call("doctor", "-c", story.config, "--lake", damaged).refused(6, "left_out.csv")


def test_a_future_day_is_refused(story: Story) -> None:
    before = published(story.lake)
    call("run", "-c", story.config, "--lake", story.lake, "--as-of", "2999-01-01").refused(2, "2999-01-01", "expected")
    assert published(story.lake) == before


def test_a_stale_export_is_refused(story: Story) -> None:
    before = published(story.lake)
    told = call("run", "-c", story.config, "--lake", story.lake, "--as-of", "2026-07-20")
    told.refused(5, "too old", "2026-06-30", "max_staleness_days")
    assert published(story.lake) == before


def test_what_is_not_a_day_is_refused(story: Story) -> None:
    call("run", "-c", story.config, "--as-of", "yesterday").refused(2, "yesterday", "YYYY-MM-DD")
    call("backtest", "-c", story.config).refused(2, "--test-from")


def test_a_held_lake_is_refused(story: Story) -> None:
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, pathlib\nfrom sales_pipeline.lake.lock import lake_lock\n"
            "with lake_lock(pathlib.Path(sys.argv[1])):\n    print('held', flush=True)\n    sys.stdin.read()",
            str(story.lake),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == b"held\n"
        call("run", "-c", story.config, "--lake", story.lake).refused(7, "another run holds the lake")
    finally:
        holder.stdin.close()
        holder.wait()
        holder.stdout.close()


def test_an_error_of_no_kind_of_ours_ends_in_one_line(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    from dagster_project import run

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a disk made of cheese")

    monkeypatch.setattr(run, "execute", fail)
    call("run", "-c", story.config).refused(1, "a disk made of cheese", "--debug")


def test_a_configuration_tells_all_its_problems(tmp_path: Path) -> None:
    config = write_config(tmp_path, mapping={"dialect": "siebel"}, max_staleness_days=-1, colour="red")
    told = call("run", "-c", config).refused(2, "mapping.dialect", "max_staleness_days", "colour")
    assert "3 problems" in told.err
    call("check", "-c", tmp_path / "none.yaml").refused(2, "none.yaml")


def test_backtest_prints_figures_and_writes_predictions(story: Story, tmp_path: Path) -> None:
    target = tmp_path / "predictions.csv"
    told = call(
        "backtest",
        "-c",
        story.config,
        "--lake",
        story.lake,
        "--test-from",
        "2026-01-01",
        "--predictions",
        target,
        "--json",
    ).done()
    figures = told.json["figures"]
    assert 0 < figures["win"]["log_loss"] < 1
    assert figures["base_rate"]["log_loss"] > 0
    with target.open(newline="", encoding="utf-8-sig") as handle:
        rows = list(csv.DictReader(handle))
    assert tuple(rows[0]) == BACKTEST_PREDICTIONS.column_names
    assert list(rows[0])[:4] == ["opportunity_id", "as_of", "is_won", "win_probability"]
    assert len(rows) == figures["win"]["rows"] > 20
    assert {row["is_won"] for row in rows} == {"0", "1"}
    assert all(0 <= float(row["win_probability"]) <= 1 for row in rows)
    assert all(row["as_of"] >= "2026-01-01" for row in rows)
    log_loss = -pc.mean(
        pc.ln(
            pa.array(
                [
                    float(row["win_probability"]) if row["is_won"] == "1" else 1 - float(row["win_probability"])
                    for row in rows
                ]
            )
        )
    ).as_py()
    assert log_loss == pytest.approx(figures["win"]["log_loss"], abs=1e-4)


@pytest.mark.parametrize(
    "period",
    [("2999-01-01",), ("2026-03-01", "--test-to", "2026-02-01"), ("2026-03-01", "--test-to", "2999-01-01")],
    ids=["from the future", "back to front", "to the future"],
)
def test_a_backtest_outside_the_records_is_refused(story: Story, period: tuple[str, ...]) -> None:
    told = call("backtest", "-c", story.config, "--lake", story.lake, "--test-from", *period)
    told.refused(2, "no part of what the exports record", NEWEST)


def test_simulate_writes_the_same_bytes_for_the_same_seed(tmp_path: Path) -> None:
    for name in ("a", "b"):
        call("simulate", tmp_path / name, "--opportunities", "30", "--seed", "3").done()
    assert files_under(tmp_path / "a" / "export") == files_under(tmp_path / "b" / "export")
    call("simulate", tmp_path / "c", "--opportunities", "0").refused_by_usage()


def test_repaired_records_dropped_back_in_are_accepted(tmp_path: Path) -> None:
    config = write_config(tmp_path, mapping=DEALS_MAPPING)
    lines = csv_text(deals(60)).splitlines()
    lines[10] = lines[10].replace(",", ";", 3)
    lines[20] = '"' + lines[20]
    (tmp_path / "exports").mkdir()
    (tmp_path / "exports" / "deals.csv").write_text("\n".join(lines) + "\n")
    first = call("quarantine", "-c", config, "--json", "-o", tmp_path / "repair").done()
    assert [(row["line"], row["reason"]) for row in first.json] == [(11, "too few fields"), (21, "broken quote")]
    [repair] = (tmp_path / "repair").iterdir()
    text = repair.read_text(encoding="utf-8-sig")
    header = text.splitlines()[0]
    good = csv_text(deals(60)).splitlines()
    columns = len(header.split(","))
    mended = [line + "," * (columns - len(line.split(","))) for line in (good[10], good[20])]
    (tmp_path / "exports" / repair.name).write_text("\n".join([header, *mended]) + "\n")
    second = call("quarantine", "-c", config, "--json").done()
    left = [row for row in second.json if row["file"] == repair.name]
    assert left == []
    newest = max(
        (tmp_path / "lake" / "canonical").glob("*/opportunities.parquet"), key=lambda path: path.stat().st_mtime_ns
    )
    found = pq.read_table(newest)["opportunity_id"].to_pylist()
    assert {"D00009", "D00019"} <= set(found)
    assert len(found) == 60


@pytest.mark.slow
def test_probabilities_come_near_the_truth_and_never_beat_it(tmp_path: Path) -> None:
    """2,000 simulated opportunities: the model earns something over the base rate, and not more than all there is to know.

    The truth beside the export holds the exact probability of being won given the hidden state at the export's end. A score that agreed better with how the
    deals ended than that does would have seen the future.
    """
    call("simulate", tmp_path / "world", "--opportunities", "2000", "--seed", "11").done()
    config = tmp_path / "pipeline.yaml"
    call("init", tmp_path / "world" / "export", "-o", config).done()
    done = call("run", "-c", config, "--lake", tmp_path / "lake", "--json").done().json
    scored = pq.read_table(Path(done["path"]) / "scored_opportunities.parquet").to_pandas()
    truth = pq.read_table(tmp_path / "world" / "truth" / "landmarks.parquet").to_pandas()
    truth = truth[truth["is_world_end"]]
    both = scored[scored["win_probability"].notna()].merge(truth, on="opportunity_id", suffixes=("", "_true"))
    assert len(both) > 300
    won = both["is_eventually_won"].to_numpy(float)
    exact = both["win_probability_true"].to_numpy(float)
    model = log_losses(won, both["win_probability"].to_numpy(float))
    oracle = log_losses(won, exact)
    constant = log_losses(won, np.full(len(won), won.mean()))
    ahead = oracle - model
    noise = ahead.std() / len(ahead) ** 0.5
    assert ahead.mean() < 2 * noise, "the scores agree better with the outcomes than the exact probabilities do"
    assert model.mean() < constant.mean() - MIN_GAIN
    assert both["win_probability"].corr(both["win_probability_true"], method="spearman") > MIN_CORRELATION


def log_losses(won: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Per opportunity."""
    return -np.log(np.clip(np.where(won == 1, probability, 1 - probability), 1e-6, 1))


def test_the_report_lies_beside_the_tables_and_says_what_changed(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    import webbrowser

    shown: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda address: shown.append(address) or True)
    place = ("-c", story.config, "--lake", story.lake)
    told = call("report", *place).done()
    report = Path(told.out.strip())
    assert report == story.folder / "report.html"
    assert shown == []
    assert call("report", *place, "--open").done().out == told.out
    assert shown == [report.resolve().as_uri()]
    call("report", *place, "--run", "run-0").refused(2, "no such published run", story.folder.name)

    page = report.read_text(encoding="utf-8")
    files = {path.name for path in story.folder.iterdir()}
    assert outside_references(page, files) == []
    assert report.stat().st_size < MOST_BYTES
    facts = json.loads((story.folder / "manifest.json").read_text())["files"]["report.html"]
    assert facts == {"sha256": file_sha256(report), "bytes": report.stat().st_size}
    assert "Compared with the published run of June 2, 2026." in page
    assert f"{pq.read_metadata(story.folder / 'scored_opportunities.parquet').num_rows:,}" in page
    first = Path(story.early.json["path"]) / "report.html"
    assert call("report", *place, "--run", first.parent.name).done().out.strip() == str(first)
    assert "This is the first published run" in first.read_text(encoding="utf-8")


def test_the_forecast_is_told_with_its_bridge_and_its_history(story: Story) -> None:
    told = call("forecast", "--lake", story.lake).done()
    assert "forecast by company, in USD" in told.out
    # Of the runs published before the newest day's only that of the early day was there: the bridge starts from it.
    assert f"what changed since {EARLY[:8]}03" in told.out
    assert "open leads are not counted" in told.out
    period = call("forecast", "--lake", story.lake, "--level", "team", "--period", "2026-Q3").done()
    assert "what was said of it earlier" in period.out
    data = call("forecast", "--lake", story.lake, "--level", "owner", "--json").done().json
    assert data["schema_version"] == 1
    assert {row["level"] for row in data["figures"]} == {"owner"}
    assert any(row["quota"] for row in data["figures"])
    company = pq.read_table(story.folder / "revenue_forecast.parquet").to_pylist()
    expected = sum(float(row["expected"]) for row in data["figures"] if row["period"] == "2026-Q3")
    assert expected == pytest.approx(
        next(float(row["expected"]) for row in company if (row["level"], row["period"]) == ("company", "2026-Q3"))
    )
    call("forecast", "--lake", story.lake, "--level", "planet").refused(2, "company, team, owner", "planet")
    call("forecast", "--lake", story.lake, "--key", "nobody").refused(2, "company", "nobody")
    call("forecast", "--lake", story.lake, "--period", "2019-Q1").refused(2, "2026-Q3", "2019-Q1")
