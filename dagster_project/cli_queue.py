"""`sales-pipeline queue` and `sales-pipeline feedback`: the day of a seller, and what sellers say of it.

Belongs here: the two commands. Does not belong here: what feedback means (follow_up), plain tables of anything published (`show`).
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from dagster_project.cli_options import AsJson, Config, LakeFolder, settings_of
from dagster_project.terminal import parse_day, print_rows, put, say, to_text
from sales_pipeline.errors import ConfigurationError

EXIT_REJECTED = 5
_QUEUE_COLUMNS = ("rank", "due", "action", "opportunity_id", "contact_id", "minutes", "gain", "why")
_OWNER_COLUMNS = ("owner_id", "rows", "minutes", "of", "capacity from", "drawn", "reassigned", "left for time", "open")


def register(app: typer.Typer) -> None:
    """The commands, on the command line's app."""
    app.command("queue")(queue)
    app.command("feedback")(feedback)


def queue(
    owner: Annotated[str | None, typer.Option("--owner", help="id of one owner; without it a line per owner")] = None,
    day: Annotated[str | None, typer.Option("--day", help="as of the end of this day; default the current run")] = None,
    config: Config = None,
    lake: LakeFolder = None,
    as_json: AsJson = False,
) -> None:
    """The follow-ups of an owner's day in their order, or what fills everybody's day."""
    from sales_pipeline.domain.time import AsOf
    from sales_pipeline.lake.layout import Lake
    from sales_pipeline.lake.runs import require_current_run, require_run_of
    from sales_pipeline.lake.tables import read_table

    settings = settings_of(config, lake=lake)
    place, wanted = Lake(settings.lake), parse_day(day, "--day")
    run = (
        require_current_run(place)
        if wanted is None
        else require_run_of(place, AsOf.end_of_day(wanted, settings.time_zone).isoformat())
    )
    tables = {
        name: read_table(run.path / f"{name}.parquet").to_pylist() if (run.path / f"{name}.parquet").is_file() else []
        for name in ("follow_up_queue", "owner_workload", "queue_effect")
    }
    rows = sorted(tables["follow_up_queue"], key=lambda row: (row["owner_id"], row["rank"]))
    if owner is not None:
        rows = [row for row in rows if row["owner_id"] == owner]
    workload = {row["owner_id"]: row for row in tables["owner_workload"]}
    if owner is not None and not rows and owner not in workload:
        raise ConfigurationError(
            "no such owner has open opportunities or rows in the queue",
            expected="one of " + (", ".join(sorted(workload)[:5]) + " …" if workload else "none at all"),
            found=owner,
            where=f"{run.run_id}, as of {run.as_of}",
            fix="`sales-pipeline queue` names all owners",
        )
    left = _left_of(run.path, owner)
    if as_json:
        facts = {"schema_version": 1, "run_id": run.run_id, "as_of": run.as_of, "rows": rows}
        facts |= {"left_out": left, "workload": workload[owner] if owner in workload else list(workload.values())}
        put(json.dumps(facts, indent=1, default=str))
        return
    say(f"as of {run.as_of}, {run.run_id}")
    if owner is None:
        print_rows([_owner_line(one) for one in workload.values()], _OWNER_COLUMNS)
        _say_effect(tables["queue_effect"])
    else:
        print_rows([_row_line(row) for row in rows], _QUEUE_COLUMNS)
        if owner in workload:
            one = workload[owner]
            say(
                f"{one['planned_minutes']} of {one['capacity_minutes']} minutes ({_basis(one['capacity_basis'])}), "
                f"{one['open_count']} open opportunities"
            )
    if left:
        say("left out: " + ", ".join(f"{reason} {count:,}" for reason, count in left.items()))


def _left_of(folder: Path, owner: str | None) -> dict[str, int]:
    """Left-out opportunities by reason, most first."""
    from sales_pipeline.lake.tables import read_table

    rows = read_table(folder / "left_out.parquet", ["owner_id", "reason"]).to_pylist()
    counts = Counter(row["reason"] for row in rows if owner is None or row["owner_id"] == owner)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _row_line(row: dict[str, Any]) -> dict[str, Any]:
    gain = row["expected_gain"]
    return {
        "rank": row["rank"],
        "due": to_text(row["due_at"]),
        "action": row["action"],
        "opportunity_id": row["opportunity_id"],
        "contact_id": row["contact_id"],
        "minutes": row["estimated_minutes"],
        "gain": None if gain is None else f"{gain:,.2f}",
        "why": row["reason"] + (" (drawn at random, to learn from)" if row.get("chosen_by") == "exploration" else ""),
    }


def _owner_line(one: dict[str, Any]) -> dict[str, Any]:
    return {
        "owner_id": one["owner_id"],
        "rows": one["queue_rows"],
        "minutes": one["planned_minutes"],
        "of": one["capacity_minutes"],
        "capacity from": _basis(one["capacity_basis"]),
        "drawn": one["exploration_rows"],
        "reassigned": one["reassigned_rows"],
        "left for time": one["capacity_left_out_count"],
        "open": one["open_count"],
    }


def _basis(code: str) -> str:
    return code.replace("_", " ")


def _say_effect(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        if row["method"] == "adjusted" or (row["method"] == "feedback" and row["value"] is not None):
            say(f"{row['figure'].replace('_', ' ')}: {row['detail']}")


def feedback(
    file: Annotated[Path, typer.Argument(help="CSV with queue_id, outcome, dealt_with_at and reason")],
    config: Config = None,
    lake: LakeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Take in what became of follow-ups: done, skipped with a reason, or wrong. The next day's queue goes by it."""
    from dagster_project.queueing import take_feedback

    settings = settings_of(config, lake=lake)
    if not file.is_file():
        raise ConfigurationError("the feedback file is not there", expected="a CSV file", where=str(file))
    taken = take_feedback(settings, file)
    found = taken.file
    if as_json:
        facts = {
            "schema_version": 1,
            "records": found.records,
            "accepted": len(found.accepted),
            "duplicates": found.duplicates,
            "quarantined": [vars(entry) for entry in found.quarantined],
            "folder": None if taken.folder is None else str(taken.folder),
        }
        put(json.dumps(facts, indent=1))
    else:
        outcomes = Counter(row["outcome"] for row in found.accepted)
        named = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
        put(
            f"{found.records} lines: {len(found.accepted)} accepted{f' ({named})' if named else ''}, "
            f"{len(found.duplicates)} known already, {len(found.quarantined)} quarantined"
        )
        if found.quarantined:
            print_rows([vars(entry) for entry in found.quarantined], ["line", "column", "value", "reason"])
    if found.records and len(found.quarantined) == found.records:
        say("no line could be used; mend them and give the file again")
        raise typer.Exit(EXIT_REJECTED)
