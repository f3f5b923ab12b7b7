"""Deliveries on the command line, over a lake with two small published runs: what is told, exit codes, wrong calls."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.runs import publish_run
from tests.support.cli import Outcome, call, write_config
from tests.support.kit_runs import DAY, follow_up, publish_rows, scored_row, sfid


class Desk:
    """Calls over one configuration."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = write_config(folder, mapping={"dialect": "salesforce"})
        self.ids = [sfid("006", number) for number in range(3)]
        lake = Lake(folder / "lake")
        for number, figure in ((1, 0.5), (2, 0.55)):
            rows = [scored_row(one, figure) for one in self.ids]
            queue = [follow_up("fu-1", self.ids[0])]
            publish_rows(lake, f"run-{number}", rows, queue, as_of=DAY + timedelta(days=number - 1))
            publish_run(lake, f"run-{number}")

    def call(self, *arguments: str | Path) -> Outcome:
        return call(*arguments, "-c", self.config)

    def file(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_kit_goes_out_comes_back_and_is_taken_back(desk: Desk) -> None:
    dry = desk.call("deliver", "salesforce", "--dry-run").done()
    assert "a dry run: nothing was sent" in dry.out
    assert "nothing was delivered yet" in desk.call("deliver", "status").done().err
    sent = desk.call("deliver", "salesforce", "--run", "run-1", "-o", desk.folder / "out").done()
    assert "waits for the target's answer" in sent.out
    assert "deliver results salesforce FILES" in sent.out
    (kit,) = (desk.folder / "out").iterdir()
    assert (kit / "opportunity_scores.csv").is_file()
    success = desk.file(
        "success.csv", "ID,Id,STATUS\n" + "".join(f"{one},{one},Item Updated\n" for one in desk.ids[:2])
    )
    waiting = desk.call("deliver", "results", "salesforce", success).done()
    assert "succeeded 2, unknown 2" in waiting.out
    error = desk.file("error.csv", f"Id,ERROR\n{desk.ids[2]},UNABLE_TO_LOCK_ROW: locked\n")
    refused = desk.call("deliver", "results", "salesforce", error, "--all-taken")
    assert refused.code == 3
    assert "1 rows were not taken" in refused.err
    (row,) = desk.call("deliver", "refused", "salesforce", "--json").done().json["rows"]
    assert (row["key"], row["object"]) == (desk.ids[2], "opportunity_scores")
    assert desk.ids[2] in desk.call("deliver", "refused", "salesforce").done().out
    desk.call("deliver", "salesforce", "--accept-moves").done()
    desk.call("deliver", "results", "salesforce", "--all-taken").done()
    back = desk.call("deliver", "rollback", "run-2").done()
    assert "waits for the target's answer" in back.out
    desk.call("deliver", "results", "salesforce", "--all-taken").done()
    status = desk.call("deliver", "status").done().out
    assert "done, rollback of" in status


def test_differences_of_two_runs_are_printed(desk: Desk) -> None:
    told = desk.call("diff", "run-1", "run-2").done().out
    assert "scored_opportunities" in told
    assert "win_probability" in told
    tables = desk.call("diff", "run-1", "run-2", "--json").done().json
    assert tables["schema_version"] == 1


def test_a_mapping_is_printed_to_start_ones_own_from(desk: Desk) -> None:
    text = desk.call("deliver", "mapping", "hubspot").done().out
    ours = desk.file("ours.yaml", text.replace("Win Probability", "Our Chance"))
    settings = yaml.safe_load(desk.config.read_text(encoding="utf-8"))
    settings["delivery"] = {"targets": {"ours": {"mapping": ours.name}}}
    desk.config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    assert "Our Chance" in desk.call("deliver", "mapping", "ours").done().out
    kit = desk.call("deliver", "ours", "--dry-run", "--json").done().json
    assert kit["target"] == "ours"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("deliver", "nowhere"), ("no such target", "salesforce")),
        (("deliver", "salesforce", "--run", "run-9"), ("no such published run", "run-2")),
        (("publish", "postgres"), ("no such target", "where the database is")),
        (("deliver", "results", "salesforce"), ("say what became of the kit",)),
        (("deliver", "results", "salesforce", "--all-taken", "--discard"), ("say what became of the kit",)),
        (("deliver", "results", "salesforce", "--all-taken"), ("no delivery waits for answers",)),
        (("deliver", "rollback", "run-1"), ("this run was delivered nowhere",)),
        (("diff", "run-1", "run-9"), ("no such published run",)),
    ],
)
def test_wrong_calls_say_what_to_do(desk: Desk, arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    desk.call(*arguments).refused(2, *words)


def test_a_run_delivered_to_two_places_needs_the_name_of_one(desk: Desk) -> None:
    for target in ("salesforce", "csv"):
        desk.call("deliver", target).done()
    desk.call("deliver", "rollback", "run-2").refused(2, "it is not plain which target is meant", "csv, salesforce")
