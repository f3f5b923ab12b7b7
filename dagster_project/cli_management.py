"""Commands for those who manage sales: the report, and the tables of sales management as people read them.

Belongs here: commands that read what is published. Does not belong here: running (`cli`), the figures (the tables).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from dagster_project.cli_options import AsJson, Config, LakeFolder, lake_root
from dagster_project.terminal import put, say

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dagster_project.people_text import Told
    from sales_pipeline.lake.runs import PublishedRun


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(report)
    app.command()(forecast)
    app.command()(team)
    app.command()(account)


def report(
    run: Annotated[str | None, typer.Option("--run", help="a published run's id; default the current run")] = None,
    open_: Annotated[bool, typer.Option("--open", help="show it in the browser")] = False,
    config: Config = None,
    lake: LakeFolder = None,
) -> None:
    """Where the report of a run lies: one page for people, readable without a network."""
    from dagster_project.reporting import find_report
    from sales_pipeline.lake.layout import Lake

    path = find_report(Lake(lake_root(config, lake)), run)
    put(str(path))
    if open_:
        import webbrowser

        if not webbrowser.open(path.resolve().as_uri()):
            say("no browser could be started here; open the file yourself")


def forecast(
    level: Annotated[str, typer.Option("--level", help="company, team or owner")] = "company",
    key: Annotated[str | None, typer.Option("--key", help="one team or owner; default all of the level")] = None,
    period: Annotated[
        str | None, typer.Option("--period", help="one month or quarter, as 2026-07 or 2026-Q3, with its history")
    ] = None,
    config: Config = None,
    lake: LakeFolder = None,
    as_json: AsJson = False,
) -> None:
    """What will have been won by the end of each month and quarter, what changed since last week, how right it was."""
    from dagster_project.forecasting import tell
    from sales_pipeline.lake.layout import Lake
    from sales_pipeline.lake.runs import require_current_run

    current = require_current_run(Lake(lake_root(config, lake)))
    told = tell(current, level=level, key=key, period=period)
    if as_json:
        put(json.dumps(told.to_dict(), indent=1, default=str, ensure_ascii=False))
        return
    for text in told.texts():
        put(text)
    say(f"run {current.run_id}, as of {current.as_of}")


def team(
    level: Annotated[
        str | None, typer.Option("--level", help="company, team or owner; default company and teams")
    ] = None,
    of_team: Annotated[str | None, typer.Option("--team", help="one team with its owners")] = None,
    config: Config = None,
    lake: LakeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Company, teams and owners: pipeline, win rates with their intervals, times, work done. In no order of merit."""
    from dagster_project.people_text import tell_team

    _tell(lambda run: tell_team(run, level=level, team=of_team), config, lake, as_json)


def account(
    account_id: Annotated[str, typer.Argument(help="its id; Salesforce ids of 15 characters too")],
    config: Config = None,
    lake: LakeFolder = None,
    as_json: AsJson = False,
) -> None:
    """One account: what it bought, what is open with its scores, what to expect of it and what to do next."""
    from dagster_project.people_text import tell_account

    _tell(lambda run: tell_account(run, account_id), config, lake, as_json)


def _tell(tell: Callable[[PublishedRun], Told], config: Path | None, lake: Path | None, as_json: bool) -> None:
    from sales_pipeline.lake.layout import Lake
    from sales_pipeline.lake.runs import require_current_run

    current = require_current_run(Lake(lake_root(config, lake)))
    told = tell(current)
    if as_json:
        put(json.dumps(told.to_dict(), indent=1, default=str, ensure_ascii=False))
        return
    for text in told.texts():
        put(text)
    say(f"run {current.run_id}, as of {current.as_of}")
