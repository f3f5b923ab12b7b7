"""Commands for those who make models: past dates, comparisons, promotion, what a score is made of.

Belongs here: commands about models and scores. Does not belong here: running the jobs (`cli`), computing anything (the modules called).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dagster_project.cli_options import AsJson, Config, LakeFolder, settings_of
from dagster_project.terminal import parse_day, print_rows, put, say
from sales_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from dagster_project.promoting import ChangeReport

PastDates = Annotated[
    int,
    typer.Option(
        "--dates", help="judge on this many past dates, both recipes fitted again at each; 0: on the last window", min=0
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (backtest, replay, fit, card, explain, compare, promote, rollback, feature_rows):
        app.command()(command)


def backtest(
    config: Config = None,
    exports: Annotated[Path | None, typer.Option("--exports", help="export folder")] = None,
    lake: LakeFolder = None,
    test_from: Annotated[str, typer.Option("--test-from", help="train only on what was known before this day")] = "",
    test_to: Annotated[
        str | None, typer.Option("--test-to", help="last day of the test period; default the export's end")
    ] = None,
    predictions: Annotated[Path | None, typer.Option("--predictions", help="write the predictions as CSV")] = None,
    as_json: AsJson = False,
) -> None:
    """Train on the past of a day, score what came after, and print how right it was."""
    settings = settings_of(config, exports=exports, lake=lake)
    start = parse_day(test_from or None, "--test-from")
    if start is None:
        raise ConfigurationError("--test-from is needed", expected="YYYY-MM-DD", found="nothing")
    from dagster_project.backtesting import run_backtest

    result = run_backtest(settings, start, parse_day(test_to, "--test-to"), progress=say)
    if predictions is not None:
        result.write_predictions(predictions)
        say(f"predictions: {predictions} ({result.rows} rows)")
    if as_json:
        put(json.dumps(result.to_dict(), indent=1, sort_keys=True, default=str))
    else:
        for line in result.summary():
            put(line)


def replay(
    first: Annotated[str, typer.Option("--from", help="first day to train and score at")],
    last: Annotated[
        str | None, typer.Option("--to", help="day through which outcomes count; default the newest")
    ] = None,
    every: Annotated[str, typer.Option("--every", help="step between dates, as 4w or 28d")] = "4w",
    config: Config = None,
    exports: Annotated[Path | None, typer.Option("--exports", help="folder of exports")] = None,
    lake: LakeFolder = None,
    as_json: AsJson = False,
) -> None:
    """At each past date train on what was known, score what was open, and compare with what came."""
    from dagster_project.replaying import parse_every, run_replay

    step = parse_every(every)
    settings = settings_of(config, exports=exports, lake=lake)
    start = parse_day(first, "--from")
    assert start is not None
    result = run_replay(settings, start, parse_day(last, "--to"), step, progress=say)
    if as_json:
        put(json.dumps(result.to_dict(), indent=1, sort_keys=True, default=str))
        return
    from sales_pipeline.models.proof_text import dates_table, text_table

    for table in (text_table(result.proof), dates_table(result.proof)):
        if table:
            print_rows(table, list(table[0]))
            put("")
    say(f"rows: {result.result.rows.path}")


def fit(
    file: Annotated[Path, typer.Argument(help="any flat table: CSV, TSV, Excel, Parquet")],
    target: Annotated[str, typer.Option("--target", help="column to predict")],
    task: Annotated[str | None, typer.Option("--task", help="classify or regress; default by the column")] = None,
    time: Annotated[str | None, typer.Option("--time", help="column that orders the rows in time")] = None,
    use_anyway: Annotated[
        list[str] | None, typer.Option("--use-anyway", help="a suspected column to use all the same")
    ] = None,
    never_use: Annotated[list[str] | None, typer.Option("--never-use", help="a column to leave out")] = None,
    lake: Annotated[Path, typer.Option("--lake", help="lake that keeps the MLflow runs")] = Path("lake"),
    seed: Annotated[int, typer.Option("--seed")] = 7,
    as_json: AsJson = False,
) -> None:
    """Select, train and compare all families on one flat table; figures printed and kept in MLflow."""
    from dagster_project.fitting import run_fit

    result = run_fit(
        file,
        target,
        task=task,
        time_column=time,
        use_anyway=use_anyway or [],
        never_use=never_use or [],
        lake=lake.resolve(),
        seed=seed,
        progress=say,
    )
    if as_json:
        put(json.dumps(result.to_dict(), indent=1, sort_keys=True, default=str))
    else:
        for line in result.summary():
            put(line)


def card(
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="folder for model_card.json and model_card.html")
    ] = None,
    config: Config = None,
    lake: LakeFolder = None,
    as_json: AsJson = False,
) -> None:
    """What the current run's model is worth: its limits, and its figures with the newest replay."""
    from dagster_project.cards import write_card
    from sales_pipeline.lake.layout import Lake
    from sales_pipeline.models.proof_text import dates_table, text_table

    settings = settings_of(config, lake=lake)
    found = write_card(Lake(settings.lake), settings.training, output, progress=say)
    if as_json:
        put(json.dumps(found, indent=1, sort_keys=True, ensure_ascii=False))
        return
    say(found["figures"]["note"])
    for sentence in found["limits"]:
        say(f"  {sentence}")
    for rows in (text_table(found["proof"]), dates_table(found["proof"])) if found["proof"] else ():
        if rows:
            print_rows(rows, list(rows[0]))
            put("")


def explain(
    opportunity: Annotated[str, typer.Argument(help="its id; Salesforce ids of 15 characters too")],
    config: Config = None,
    lake: LakeFolder = None,
    as_of: Annotated[str | None, typer.Option("--as-of", help="the run of this day; default the current run")] = None,
    language: Annotated[
        str | None, typer.Option("--language", help="en or zh; default the configuration's scoring.language")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Why an open opportunity has its score, why that changed since the run before, and what happened to it."""
    from dagster_project.explaining import explain as explain_one
    from dagster_project.explaining_text import to_lines

    told = explain_one(settings_of(config, lake=lake), opportunity, day=parse_day(as_of, "--as-of"), language=language)
    if as_json:
        put(json.dumps(told.to_dict(), indent=1, ensure_ascii=False, default=str))
    else:
        for line in to_lines(told):
            put(line)


def compare(
    champion: Annotated[str, typer.Argument(help="version, content version or alias")] = "champion",
    challenger: Annotated[str, typer.Argument(help="the same for the other model")] = "challenger",
    dates: PastDates = 0,
    config: Config = None,
    lake: LakeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Two registered models on the same rows: figures side by side, every segment, and the verdict."""
    from dagster_project.comparing import compare_models

    found = compare_models(settings_of(config, lake=lake), champion, challenger, dates=dates, progress=say)
    if as_json:
        put(json.dumps(found.to_dict(), indent=1, sort_keys=True))
        return
    for line in found.heading():
        put(line)
    print_rows(found.figures(), ["figure", "champion", "challenger"])
    put("")
    segments = ["kind", "segment", "rows", "win_rate", "champion_log_loss", "log_loss", "gain", "is_worse"]
    print_rows(found.result.verdict.segments, segments)
    put("")
    for line in found.verdict():
        put(line)


def promote(
    version: Annotated[str, typer.Argument(help="version, content version or `challenger`")],
    reason: Annotated[str, typer.Option("--reason", help="kept on the registry's entry")] = "",
    force: Annotated[bool, typer.Option("--force", help="against the verdict; never a constant model")] = False,
    dates: PastDates = 0,
    config: Config = None,
    lake: LakeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Make a registered model champion, where the comparison with the present one lets it pass."""
    from dagster_project.promoting import promote_model

    changed = promote_model(
        settings_of(config, lake=lake), version, reason=reason, force=force, dates=dates, progress=say
    )
    _tell_change(changed, as_json)


def rollback(
    reason: Annotated[str, typer.Option("--reason", help="kept on the registry's entry")] = "",
    config: Config = None,
    lake: LakeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Make the champion before the present one champion again."""
    from dagster_project.promoting import roll_back

    _tell_change(roll_back(settings_of(config, lake=lake), reason=reason), as_json)


def _tell_change(changed: ChangeReport, as_json: bool) -> None:
    if as_json:
        put(json.dumps(changed.to_dict(), indent=1, sort_keys=True))
        return
    for line in changed.summary():
        put(line)


def feature_rows(
    output: Annotated[Path, typer.Option("-o", "--output", help="CSV to write")] = Path("feature_rows.csv"),
    rows: Annotated[int | None, typer.Option("-n", "--rows", help="how many; default all", min=1)] = None,
    config: Config = None,
    lake: LakeFolder = None,
) -> None:
    """Write the feature rows the current run scored as CSV, as `mlflow models predict` takes them."""
    from dagster_project.feature_rows import feature_rows as rows_of

    found = rows_of(settings_of(config, lake=lake), rows)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_bytes(found.content)
    say(f"{found.rows} rows, {found.columns} columns: {output}")
    say("have them scored by the champion, as a model server would:")
    for line in found.usage(output):
        put(line)
