"""`sales-pipeline`: the outermost layer. Runs the same jobs as the schedules, or calls one step of the library.

Data goes to standard output, everything else to standard error. Heavy libraries are imported by the commands that need them,
so that `--help` stays quick. Exit codes: 0 done, 1 run failed, 2 usage or configuration, 3 published with more
quarantine than allowed, 4 audit blocked the publish, 5 input rejected, 6 environment, 7 another run holds the lock, 8 a
target refused a delivery.
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dagster_project import cli_delivery, cli_management, cli_models, cli_queue
from dagster_project.cli_options import AsJson, Config, EngineKind, LakeFolder, Master
from dagster_project.cli_options import lake_root as _lake_root
from dagster_project.cli_options import settings_of as _settings
from dagster_project.terminal import parse_day, print_rows, put, say, shortened
from sales_pipeline.errors import ConfigurationError, EnvironmentProblem, SalesPipelineError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sales_pipeline.settings import Settings

EXIT_TOO_MUCH_QUARANTINE = 3
NEW_OBJECTS = (10_000, 20, 20)
"""After how many new objects Python looks for reference cycles (its own: 700, 10, 10). Imports and parse trees make millions that stay: looking through them
again and again took a fifth of the CPU of a short run."""

app = typer.Typer(
    name="sales-pipeline",
    help="CRM exports in, scored opportunities and a follow-up queue out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
config_app = typer.Typer(name="config", help="The configuration in force.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(config_app)


@app.callback()
def _root(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="show the traceback of an error")] = False,
) -> None:
    context.obj = {"debug": debug}


@app.command()
def init(
    exports: Annotated[Path, typer.Argument(help="folder or file of a CRM's export")],
    output: Annotated[Path, typer.Option("-o", "--output", help="where to write the configuration")] = Path(
        "pipeline.yaml"
    ),
    force: Annotated[bool, typer.Option("--force", help="overwrite the file")] = False,
) -> None:
    """Look at an export, recognise the CRM, and write pipeline.yaml with a comment on every guess."""
    from sales_pipeline.ingest.guess import guess_mapping, render

    if output.exists() and not force:
        raise ConfigurationError(
            "the configuration is there already", where=str(output), fix="name another file with -o, or add --force"
        )
    guessed = guess_mapping(exports)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(render(guessed, exports, output), encoding="utf-8")
    say(f"dialect: {guessed.dialect}; wrote {output}")
    for question in guessed.questions:
        say(f"  question: {question}")
    say(f"next: read {output}, then `sales-pipeline check -c {output}`")


@app.command()
def check(
    config: Config = None, exports: Annotated[Path | None, typer.Option("--exports", help="export folder")] = None
) -> None:
    """Configuration and exports against the mapping; writes nothing."""
    from sales_pipeline.ingest.check import check as check_exports

    settings = _settings(config, exports=exports)
    findings = check_exports(settings.exports, settings.mapping)
    for finding in findings:
        put(f"{finding.level}: {finding.message}")
    errors = [finding for finding in findings if finding.level == "error"]
    if errors:
        raise typer.Exit(5)


@app.command()
def run(
    config: Config = None,
    exports: Annotated[
        Path | None, typer.Option("--exports", help="export folder, instead of the configuration's")
    ] = None,
    as_of: Annotated[
        str | None, typer.Option("--as-of", help="day whose end is the as-of; default the newest recorded instant")
    ] = None,
    lake: LakeFolder = None,
    make_current: Annotated[bool, typer.Option("--make-current", help="let CURRENT move back to an older day")] = False,
    engine: EngineKind = None,
    master: Master = None,
    as_json: AsJson = False,
) -> None:
    """The main job: exports in, scored opportunities and follow-up queue published."""
    settings = _settings(config, exports=exports, lake=lake, engine=engine, master=master)
    _execute("scoring", settings, as_of, make_current, as_json)


@app.command()
def train(
    config: Config = None,
    exports: Annotated[
        Path | None, typer.Option("--exports", help="export folder, instead of the configuration's")
    ] = None,
    as_of: Annotated[str | None, typer.Option("--as-of", help="train on what was known by the end of this day")] = None,
    lake: LakeFolder = None,
    engine: EngineKind = None,
    master: Master = None,
    as_json: AsJson = False,
) -> None:
    """Train and evaluate all candidates; the weekly job."""
    settings = _settings(config, exports=exports, lake=lake, engine=engine, master=master)
    _execute("training", settings, as_of, False, as_json)


def _execute(job: str, settings: Settings, as_of: str | None, make_current: bool, as_json: bool) -> None:
    day = parse_day(as_of, "--as-of")
    from dagster_project.run import execute

    outcome = execute(settings, day, job=job, make_current=make_current, progress=say)
    if as_json:
        put(json.dumps(outcome.to_dict(), indent=1, sort_keys=True, default=str))
    else:
        for line in outcome.summary():
            put(line)
        if outcome.path is not None:
            _first_rows(outcome.path)
            _next_steps(settings)
    if outcome.too_much_quarantine:
        say(
            f"published, but more records are quarantined than allowed ({outcome.quarantined_share:.1%}); see `sales-pipeline quarantine`"
        )
        raise typer.Exit(EXIT_TOO_MUCH_QUARANTINE)


def _first_rows(folder: Path, rows: int = 5) -> None:
    from sales_pipeline.lake.tables import read_table

    columns = ["owner_id", "rank", "opportunity_id", "action", "due_at", "expected_gain", "reason"]
    queue = read_table(folder / "follow_up_queue.parquet", columns)
    first = queue.sort_by([("rank", "ascending"), ("owner_id", "ascending")]).slice(0, rows)
    put("")
    put(f"first rows of the follow-up queue ({queue.num_rows:,} in all):")
    print_rows(first.to_pylist(), columns)


def _next_steps(settings: Settings) -> None:
    from sales_pipeline.settings import CONFIG_NAMES

    path = settings.path
    known = path is not None and any(path == Path(name).resolve() for name in CONFIG_NAMES)
    named = "" if known or path is None else f" -c {path}"
    program = sys.argv[0] if Path(sys.argv[0]).name == "sales-pipeline" else "sales-pipeline"
    put("")
    put("next:")
    put(f"  {program} report{named} --open  # the run in one page, for people")
    put(f"  {program} dagster{named}  # runs, checks and lineage on http://127.0.0.1:3000")
    put(f"  {program} mlflow{named}  # candidates side by side on http://127.0.0.1:5000")
    put(f"  {program} init YOUR_EXPORTS  # a configuration for your own CRM's files")


@app.command()
def backfill(
    first: Annotated[str, typer.Argument(help="first day, YYYY-MM-DD")],
    last: Annotated[str, typer.Argument(help="last day, YYYY-MM-DD, included")],
    config: Config = None,
    exports: Annotated[
        Path | None, typer.Option("--exports", help="export folder, instead of the configuration's")
    ] = None,
    lake: LakeFolder = None,
) -> None:
    """The main job for every day of a span, in the order of the days."""
    settings = _settings(config, exports=exports, lake=lake)
    start, end = parse_day(first, "first"), parse_day(last, "last")
    assert start is not None
    assert end is not None
    from dagster_project.run import backfill as run_days

    for outcome in run_days(settings, start, end, progress=say):
        put(f"{outcome.day}  {outcome.run_id}  {'published' if outcome.is_new else 'nothing new'}")


@app.command()
def tables(config: Config = None, lake: LakeFolder = None, as_json: AsJson = False) -> None:
    """Names and paths of what is published now."""
    from sales_pipeline.lake.layout import Lake
    from sales_pipeline.lake.runs import require_current_run

    current = require_current_run(Lake(_lake_root(config, lake)))
    rows = [
        {
            "table": Path(name).stem,
            "rows": current.manifest.get("rows", {}).get(Path(name).stem),
            "path": str(current.path / name),
        }
        for name in sorted(current.manifest["files"])
        if name.endswith(".parquet")
    ]
    if as_json:
        put(
            json.dumps(
                {"schema_version": 1, "run_id": current.run_id, "as_of": current.as_of, "tables": rows}, indent=1
            )
        )
    else:
        print_rows(rows, ["table", "rows", "path"])


@app.command()
def show(
    table: Annotated[str, typer.Argument(help="a published table")],
    config: Config = None,
    lake: LakeFolder = None,
    rows: Annotated[int, typer.Option("-n", "--rows", help="how many rows")] = 20,
    columns: Annotated[str | None, typer.Option("--columns", help="columns, separated by commas")] = None,
    as_json: AsJson = False,
) -> None:
    """The first rows of a published table."""
    from sales_pipeline.lake.layout import Lake
    from sales_pipeline.lake.runs import require_current_run
    from sales_pipeline.lake.tables import read_table

    current = require_current_run(Lake(_lake_root(config, lake)))
    path = current.path / f"{table}.parquet"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in current.path.glob("*.parquet")))
        raise ConfigurationError("no such published table", expected=known, found=table)
    data = read_table(path)
    if "rank" in data.column_names:
        data = data.sort_by([("owner_id", "ascending"), ("rank", "ascending")])
    chosen = columns.split(",") if columns else data.column_names
    if unknown := [name for name in chosen if name not in data.column_names]:
        raise ConfigurationError("no such column", expected=", ".join(data.column_names), found=", ".join(unknown))
    found = data.select(chosen).slice(0, rows).to_pylist()
    if as_json:
        put(json.dumps(found, indent=1, default=str))
    else:
        print_rows(found, chosen)
        say(f"{min(rows, data.num_rows)} of {data.num_rows} rows, run {current.run_id}, as of {current.as_of}")


@app.command()
def quarantine(
    config: Config = None,
    lake: LakeFolder = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="folder to write repairable CSV files into")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Records and cells that could not be used: file, line, column, value and reason."""
    from dagster_project.quarantining import quarantined

    listing = quarantined(_settings(config, lake=lake))
    if as_json:
        put(json.dumps(listing.rows, indent=1, default=str))
    else:
        shown = [{**row, "value": shortened(row["value"])} for row in listing.rows]
        print_rows(shown, ["file", "line", "column", "value", "reason"])
        say(f"{len(listing.rows)} entries")
    if output is not None:
        for path in listing.write_repairable(output):
            say(f"wrote {path}: repair it and drop it back into the exports folder")


@app.command()
def simulate(
    out: Annotated[Path, typer.Argument(help="folder to write into")],
    opportunities: Annotated[int, typer.Option("--opportunities", "-n", help="how many", min=1)] = 5000,
    seed: Annotated[int, typer.Option("--seed", help="the same seed gives the same bytes")] = 7,
) -> None:
    """Write a simulated CRM's Salesforce export, and the truth beside it."""
    from sales_pipeline.simulation.params import WorldParams
    from sales_pipeline.simulation.salesforce_export import write_export
    from sales_pipeline.simulation.world import simulate as simulate_world

    write_export(simulate_world(WorldParams(opportunities=opportunities, seed=seed)), out)
    say(f"wrote {out / 'export'} and {out / 'truth'}: {opportunities} opportunities, seed {seed}")


@app.command()
def doctor(config: Config = None, lake: LakeFolder = None, as_json: AsJson = False) -> None:
    """Check the environment, the lake and the configuration."""
    from dagster_project.doctor import examine

    findings = examine(config, lake)
    if as_json:
        put(json.dumps([finding.to_dict() for finding in findings], indent=1))
    else:
        for finding in findings:
            put(f"{finding.level}: {finding.message}")
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(EnvironmentProblem.exit_code)


@config_app.command("show")
def config_show(config: Config = None) -> None:
    """The settings in force, as YAML; secrets are not shown."""
    import yaml

    settings = _settings(config)
    put(yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True).rstrip())
    say(f"from {settings.path}")


@app.command()
def dagster(config: Config = None, port: Annotated[int, typer.Option("--port")] = 3000) -> None:
    """The Dagster UI with its daemon, on loopback, over the lake's own state."""
    from dagster_project.servers import serve_dagster

    raise typer.Exit(serve_dagster(_settings(config), port, say))


@app.command()
def mlflow(config: Config = None, port: Annotated[int, typer.Option("--port")] = 5000) -> None:
    """The MLflow UI, on loopback, over the lake's own runs and models."""
    from dagster_project.servers import serve_mlflow

    raise typer.Exit(serve_mlflow(_settings(config), port, say))


cli_models.register(app)
cli_management.register(app)
cli_queue.register(app)
cli_delivery.register(app)


def main(arguments: Iterable[str] | None = None) -> None:
    """The entry point: an error of ours becomes its message and its exit code, any other a line that says how to see more."""
    given = list(arguments) if arguments is not None else sys.argv[1:]
    gc.set_threshold(*NEW_OBJECTS)
    debug = "--debug" in given
    try:
        app(args=[item for item in given if item != "--debug"], standalone_mode=True)
    except SalesPipelineError as error:
        if debug:
            raise
        say(f"error: {error}")
        sys.exit(error.exit_code)
    except Exception as error:
        if debug:
            raise
        say(f"error: {type(error).__name__}: {error}\n  what to do: run again with --debug to see where it happened")
        sys.exit(1)
