"""Commands for those who manage sales: the report, and the tables of sales management as people read them.

Belongs here: commands that read what is published. Does not belong here: running (`cli`), the figures (the tables).
"""

from __future__ import annotations

from typing import Annotated

import typer

from dagster_project.cli_options import Config, LakeFolder, lake_root
from dagster_project.terminal import put, say


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(report)


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
