"""Deliveries for the command line and for Dagster: which run, which target, which way.

Belongs here: settings to calls of `sales_pipeline.delivery`. Does not belong here: how anything is delivered, what is told of it (`delivery_report`).
"""

import shutil
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagster_project.delivery_report import DeliveryReport, outcomes_of, publication_rows, status_row
from sales_pipeline.delivery.params import PostgresChannel, TargetParams
from sales_pipeline.domain.time import AsOf
from sales_pipeline.errors import ConfigurationError
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.runs import PublishedRun, require_current_run, require_run

if TYPE_CHECKING:
    from sales_pipeline.delivery.deliver import Delivered
    from sales_pipeline.delivery.kits.differences import RunDifference
    from sales_pipeline.delivery.targets.spec import TargetSpec
    from sales_pipeline.settings import Settings


POSTGRES = "postgres"
"""The target of `publish postgres`; it has no built-in mapping, since it takes whole runs."""


def deliver_run(
    settings: "Settings",
    target: str,
    *,
    run_id: str | None = None,
    dry_run: bool = False,
    only_changed: bool = True,
    accept_moves: bool = False,
    output: Path | None = None,
) -> DeliveryReport:
    """Deliver a published run, without an id the current one. Raises what `delivery.deliver` raises."""
    params = target_params(settings, target)
    lake = Lake(settings.lake)
    run = require_run(lake, run_id)
    if isinstance(params.channel, PostgresChannel):
        return _publish(lake, run, target, params.channel, is_dry_run=dry_run)
    from sales_pipeline.delivery.channels.opening import open_channel
    from sales_pipeline.delivery.deliver import deliver

    done = deliver(
        lake,
        run,
        target,
        target_spec(settings, target),
        None if dry_run else open_channel(params.channel),
        moves=params.moves,
        time_zone=settings.time_zone,
        only_changed=only_changed,
        is_dry_run=dry_run,
        accepts_moves=accept_moves,
        known_owners=active_owners(lake, run),
        keep_kits=params.keep_kits,
    )
    return _report(done, params, output)


def deliver_day(settings: "Settings", target: str, day: str) -> DeliveryReport:
    """Deliver the current run, which must be that day's: what targets hold never goes back by itself."""
    run = require_current_run(Lake(settings.lake))
    current = day_of(run, settings)
    if current != date.fromisoformat(day):
        raise ConfigurationError(
            "only the current run is delivered",
            expected=f"the day of {run.run_id}: {current}",
            found=day,
            fix="run the delivery for that day; to go back use `sales-pipeline deliver rollback`",
        )
    return deliver_run(settings, target)


def roll_back_delivery(
    settings: "Settings", run: str, *, target: str | None = None, dry_run: bool = False, output: Path | None = None
) -> DeliveryReport:
    """Undo the delivery of a run; without a target where it was delivered, if that is one place."""
    from sales_pipeline.delivery.channels.opening import open_channel
    from sales_pipeline.delivery.deliver import roll_back

    lake = Lake(settings.lake)
    place = target if target is not None else _where_delivered(lake, run)
    params = target_params(settings, place)
    channel = None if dry_run else open_channel(params.channel)
    done = roll_back(lake, run, place, channel, is_dry_run=dry_run, keep_kits=params.keep_kits)
    return _report(done, params, output)


def take_results(
    settings: "Settings",
    target: str,
    files: Sequence[Path],
    *,
    delivery_id: str | None = None,
    all_taken: bool = False,
    discard: bool = False,
) -> DeliveryReport:
    """Take in what a CRM answered. Raises ConfigurationError when nothing, or two things at once, are said."""
    from sales_pipeline.delivery.deliver import take_results as take

    if not (files or all_taken or discard) or (discard and (files or all_taken)):
        raise ConfigurationError(
            "say what became of the kit", expected="result files, --all-taken, or --discard", found="none or too many"
        )
    params = target_params(settings, target)
    done = take(
        Lake(settings.lake),
        target,
        files,
        delivery_id=delivery_id,
        all_taken=all_taken,
        is_discarded=discard,
        keep_kits=params.keep_kits,
    )
    return _report(done, params, None)


def delivery_status(settings: "Settings", target: str | None) -> list[dict[str, Any]]:
    """One row per delivery of a target, or of all."""
    from sales_pipeline.delivery.state.settle import delivery_status as status_of

    lake = Lake(settings.lake)
    return [
        row
        for name in ([target_name(settings, target)] if target else delivered_targets(lake))
        for row in (*(status_row(name, status) for status in status_of(lake, name)), *publication_rows(lake, name))
    ]


def refused_rows(settings: "Settings", target: str) -> list[dict[str, Any]]:
    """Rows of a target whose newest end is a refusal."""
    from sales_pipeline.delivery.deliver import refusals

    return refusals(Lake(settings.lake), target_name(settings, target))


def delivered_targets(lake: Lake) -> list[str]:
    """Targets something was delivered to."""
    return sorted(path.name for path in lake.deliveries.iterdir() if path.is_dir()) if lake.deliveries.is_dir() else []


def mapping_text(settings: "Settings", target: str) -> str:
    """The YAML of a target's mapping, as it stands."""
    return _mapping_path(settings, target).read_text(encoding="utf-8")


def compare_runs(settings: "Settings", before: str, after: str) -> "RunDifference":
    """What differs between two published runs."""
    from sales_pipeline.delivery.kits.differences import diff_runs

    lake = Lake(settings.lake)
    return diff_runs(require_run(lake, before).path, require_run(lake, after).path)


def active_owners(lake: Lake, run: PublishedRun) -> frozenset[str] | None:
    """Owners who were active when the run was made, which CRMs take as owners of a task; None where the export had none, or its tables are gone."""
    path = lake.step_path("canonical", run.manifest.get("canonical_key") or "none") / "owners.parquet"
    if not path.is_file():
        return None
    from sales_pipeline.lake.tables import read_table

    rows = read_table(path, ["owner_id", "is_active"]).to_pylist()
    return frozenset(row["owner_id"] for row in rows if row["is_active"] is not False) or None


def day_of(run: PublishedRun, settings: "Settings") -> date:
    """The day a run is for."""
    return AsOf(datetime.fromisoformat(run.as_of)).day(settings.time_zone)


def target_name(settings: "Settings", target: str) -> str:
    """The name, if there is such a target; ConfigurationError names them all otherwise."""
    from sales_pipeline.delivery.targets.spec import built_in_targets

    known = sorted({*built_in_targets(), *settings.delivery.targets})
    if target not in known:
        raise ConfigurationError(
            "no such target",
            expected=f"one of {', '.join(known)}",
            found=target,
            fix="say in the configuration where the database is: `delivery: {targets: {postgres: {channel: {kind: postgres, url: ...}}}}`"
            if target == POSTGRES
            else "name it under delivery.targets in the configuration",
        )
    return target


def target_params(settings: "Settings", target: str) -> TargetParams:
    """What the settings say of a target; a built-in one needs no entry."""
    return settings.delivery.targets.get(target_name(settings, target), TargetParams())


def target_spec(settings: "Settings", target: str) -> "TargetSpec":
    """The mapping of a target."""
    from sales_pipeline.delivery.targets.spec import load_target

    params = target_params(settings, target)
    return load_target(params.like or target, params.mapping).on_the_way_by(params.channel.kind)


def _mapping_path(settings: "Settings", target: str) -> Path:
    from sales_pipeline.delivery.targets.spec import BUILT_IN, load_target

    params = target_params(settings, target)
    load_target(params.like or target, params.mapping)
    return params.mapping or BUILT_IN / f"{params.like or target}.yaml"


def _publish(
    lake: Lake, run: PublishedRun, target: str, channel: PostgresChannel, *, is_dry_run: bool
) -> DeliveryReport:
    from sales_pipeline.delivery.channels.credentials import secret_of
    from sales_pipeline.delivery.channels.postgres import PostgresTables, run_parcel
    from sales_pipeline.delivery.deliver import publish_run

    parcel = run_parcel(run.path, target)
    objects = tuple({"object": part.object_name, "rows": part.rows} for part in parcel.parts)
    common: dict[str, Any] = {"delivery_id": parcel.delivery_id, "objects": objects}
    if is_dry_run:
        return DeliveryReport(target, run.run_id, run.as_of, "dry_run", **common)
    has_secret = channel.token is not None or channel.token_file is not None
    said = publish_run(lake, target, parcel, PostgresTables(channel, secret_of(channel) if has_secret else None))
    ended = "published" if said["is_new"] else "nothing_new"
    return DeliveryReport(target, run.run_id, run.as_of, ended if said["is_current"] else "kept", **common)


def _report(done: "Delivered", params: TargetParams, output: Path | None) -> DeliveryReport:
    folder = done.kit.folder
    if output is not None and done.kit.rows:
        place = output / done.kit.parcel.delivery_id
        if not place.exists():
            shutil.copytree(folder, place)
        folder = place
    status = done.status
    return DeliveryReport(
        done.target,
        done.kit.parcel.run_id,
        done.kit.parcel.as_of,
        done.ended,
        done.kit.parcel.delivery_id,
        folder,
        tuple(
            {
                "object": facts.name,
                "rows": facts.source_rows,
                "new": facts.new,
                "changed": facts.changed,
                "unchanged": facts.unchanged,
                "cleared": facts.cleared,
                "withdrawn": facts.withdrawn,
                "gone": facts.gone,
                "not_delivered": facts.not_delivered,
                "moved": facts.moved,
            }
            for facts in done.objects
        ),
        outcomes_of(status) if status is not None else None,
        by_hand=params.channel.kind == "kit",
    )


def _where_delivered(lake: Lake, run: str) -> str:
    from sales_pipeline.delivery.state.settle import delivery_status as status_of

    found = [
        name
        for name in delivered_targets(lake)
        if any(run in (one.run_id, one.delivery_id) for one in status_of(lake, name))
    ]
    if not found:
        raise ConfigurationError(
            "this run was delivered nowhere",
            expected="the id of a run or of a delivery",
            found=run,
            fix="`sales-pipeline deliver status` names them",
        )
    if len(found) > 1:
        raise ConfigurationError(
            "it is not plain which target is meant", expected="--target NAME", found=f"delivered to {', '.join(found)}"
        )
    return found[0]
