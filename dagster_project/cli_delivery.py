"""Commands for those who bring the tables into a CRM: deliver, what became of it, back again; and what differs between two runs.

`deliver TARGET` and `deliver status` are one group: a word that is no command of the group is a target's name.

Belongs here: the commands. Does not belong here: deliveries (`delivering`, and `sales_pipeline.delivery`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from dagster_project.cli_options import AsJson, Config, LakeFolder, settings_of
from dagster_project.terminal import print_rows, put, say

if TYPE_CHECKING:
    from dagster_project.delivery_report import DeliveryReport

EXIT_ROWS_REFUSED = 3
TO = "to"


class _TargetGroup(TyperGroup):
    """A group in which an unknown word is the argument of its command `to`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            args = [TO, *args]
        return super().resolve_command(ctx, args)


deliver_app = typer.Typer(
    name="deliver",
    cls=_TargetGroup,
    help="Bring what is published to a target: `deliver TARGET`; `deliver status` tells what became of it.",
    no_args_is_help=True,
    rich_markup_mode=None,
    subcommand_metavar="TARGET | COMMAND [ARGS]...",
)
publish_app = typer.Typer(
    name="publish", help="Whole runs into a database.", no_args_is_help=True, rich_markup_mode=None
)
Target = Annotated[str, typer.Argument(help="a target: salesforce, hubspot, … or one the configuration names")]
RunOption = Annotated[str | None, typer.Option("--run", help="a published run's id; default the current run")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="only say what would change; writes and sends nothing")]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(deliver_app)
    app.add_typer(publish_app)
    app.command("diff")(diff)


@deliver_app.command(TO)
def deliver(
    target: Target,
    run: RunOption = None,
    dry_run: DryRun = False,
    only_changed: Annotated[
        bool, typer.Option("--only-changed/--all", help="what differs from the last delivery, or every row again")
    ] = True,
    accept_moves: Annotated[
        bool, typer.Option("--accept-moves", help="deliver although more moves than the limit allows; look first")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="copy the kit's folder here as well, for the import")
    ] = None,
    config: Config = None,
    lake: LakeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Build the kit of a target and send it its way; without a channel a person imports it."""
    from dagster_project.delivering import deliver_run

    settings = settings_of(config, lake=lake)
    done = deliver_run(
        settings,
        target,
        run_id=run,
        dry_run=dry_run,
        only_changed=only_changed,
        accept_moves=accept_moves,
        output=output,
    )
    _tell(done, as_json)


@deliver_app.command()
def status(
    target: Annotated[str | None, typer.Argument(help="one target; default all")] = None,
    config: Config = None,
    lake: LakeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Every delivery, newest last: rows taken, refused and without an answer, and what to do next."""
    from dagster_project.delivering import delivery_status
    from dagster_project.delivery_report import STATUS_COLUMNS

    rows = delivery_status(settings_of(config, lake=lake), target)
    if as_json:
        put(json.dumps({"schema_version": 1, "deliveries": rows}, indent=1, default=str))
    elif rows:
        print_rows(rows, STATUS_COLUMNS)
    else:
        say("nothing was delivered yet: `sales-pipeline deliver TARGET`")


@deliver_app.command()
def results(
    target: Target,
    files: Annotated[
        list[Path] | None, typer.Argument(help="the CRM's success, error and unprocessed files, in any order")
    ] = None,
    all_taken: Annotated[
        bool, typer.Option("--all-taken", help="the CRM took every row that is still without an answer")
    ] = False,
    discard: Annotated[
        bool, typer.Option("--discard", help="the kit was never imported: its rows come again with the next")
    ] = False,
    delivery: Annotated[
        str | None, typer.Option("--delivery", help="id of the delivery; default the target's newest")
    ] = None,
    config: Config = None,
    lake: LakeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Take in what the CRM answered, row by row; what it refused comes again or is listed to be mended."""
    from dagster_project.delivering import take_results

    done = take_results(
        settings_of(config, lake=lake), target, files or [], delivery_id=delivery, all_taken=all_taken, discard=discard
    )
    _tell(done, as_json)


@deliver_app.command()
def refused(target: Target, config: Config = None, lake: LakeFolder = None, as_json: AsJson = False) -> None:
    """Rows a target refused or never came to and that were not taken since, with the target's own words."""
    from dagster_project.delivering import refused_rows
    from dagster_project.delivery_report import REFUSED_COLUMNS

    rows = refused_rows(settings_of(config, lake=lake), target)
    if as_json:
        put(json.dumps({"schema_version": 1, "rows": rows}, indent=1))
    else:
        print_rows(rows, REFUSED_COLUMNS)
        say(f"{len(rows)} rows; they come again with the next delivery")


@deliver_app.command()
def rollback(
    run: Annotated[str, typer.Argument(help="the run (or delivery) whose delivery is to be undone")],
    target: Annotated[str | None, typer.Option("--target", help="where; default the one it was delivered to")] = None,
    dry_run: DryRun = False,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="copy the kit's folder here as well")] = None,
    config: Config = None,
    lake: LakeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Put back the values a target had before a run was delivered."""
    from dagster_project.delivering import roll_back_delivery

    done = roll_back_delivery(settings_of(config, lake=lake), run, target=target, dry_run=dry_run, output=output)
    _tell(done, as_json)


@deliver_app.command()
def mapping(target: Target, config: Config = None) -> None:
    """Print the mapping of a target as YAML, to start your own from (`mapping` under delivery.targets)."""
    from dagster_project.delivering import mapping_text

    put(mapping_text(settings_of(config), target).rstrip())


@publish_app.command()
def postgres(run: RunOption = None, config: Config = None, lake: LakeFolder = None, as_json: AsJson = False) -> None:
    """Publish a run into PostgreSQL: the target `postgres` of the configuration."""
    from dagster_project.delivering import POSTGRES, deliver_run

    _tell(deliver_run(settings_of(config, lake=lake), POSTGRES, run_id=run), as_json)


@publish_app.command()
def roles(
    publisher: Annotated[str, typer.Argument(help="role that publishes")],
    reader: Annotated[str, typer.Argument(help="role that may read the views and nothing else")],
) -> None:
    """Print the SQL that an administrator runs once in the database: both roles, and the schemas they need."""
    from sales_pipeline.delivery.postgres.roles import roles_sql

    put(roles_sql(publisher, reader).rstrip())


def diff(
    before: Annotated[str, typer.Argument(help="id of the earlier run")],
    after: Annotated[str, typer.Argument(help="id of the later run")],
    config: Config = None,
    lake: LakeFolder = None,
    as_json: AsJson = False,
) -> None:
    """What differs between two published runs: rows added, gone and changed per table, and the largest moves."""
    from dagster_project.delivering import compare_runs

    found = compare_runs(settings_of(config, lake=lake), before, after)
    if as_json:
        put(json.dumps({"schema_version": 1, **found.to_dict()}, indent=1, sort_keys=True, default=str))
        return
    print_rows(found.table_rows(), found.TABLE_COLUMNS)
    if moves := found.move_rows():
        put("")
        print_rows(moves, found.MOVE_COLUMNS)


def _tell(done: DeliveryReport, as_json: bool) -> None:
    if as_json:
        put(json.dumps(done.to_dict(), indent=1, sort_keys=True, default=str))
    else:
        rows = done.object_rows()
        if rows:
            print_rows(rows, done.OBJECT_COLUMNS)
        for line in done.summary():
            put(line)
    if done.refused:
        say(done.refusal())
        raise typer.Exit(EXIT_ROWS_REFUSED)
