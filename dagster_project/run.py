"""Running a day from the command line: the same jobs as the schedules, in this process, recorded in the lake's instance.

Belongs here: order (lock, day, training where no model may be used, scoring) and what came of it. Does not belong here: the steps.
"""

import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import dagster as dg

from dagster_project import partitions
from dagster_project.arrivals import find_arrival, has_champion
from dagster_project.definitions import build_definitions
from dagster_project.instance import open_instance
from dagster_project.io_managers import RefIOManager
from dagster_project.jobs import SCORING_JOB, TRAINING_JOB
from dagster_project.opening import LakeResource
from dagster_project.publication import Publication
from sales_pipeline.errors import AuditBlocked, ConfigurationError, SalesPipelineError
from sales_pipeline.lake.durable import remove_leftovers
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.lock import lake_lock

if TYPE_CHECKING:
    from sales_pipeline.settings import Settings

Job = Literal["scoring", "training"]
Progress = Callable[[str], None]
JOBS: dict[str, str] = {"scoring": SCORING_JOB, "training": TRAINING_JOB}
STARTED_BY_TAG = "sales_pipeline/started_by"
SHOWN_FIGURES = ("log_loss", "brier", "auc", "average_precision", "calibration_error", "rows")
LAST_ASSET: dict[str, str] = {"scoring": "published", "training": "champion"}


@dataclass(frozen=True)
class RunOutcome:
    """What a run did.

    `records` counts physical records of the visible exports by outcome. `is_new` is False when the same run was published before.
    `run_id` and `path` are None for a training. `model` holds name, version, choice and the out-of-time figures.
    """

    job: str
    day: date
    as_of: str
    dagster_run_id: str
    has_trained: bool
    run_id: str | None = None
    path: Path | None = None
    is_new: bool = False
    is_current: bool = False
    records: Mapping[str, int] = field(default_factory=dict)
    rows: Mapping[str, int] = field(default_factory=dict)
    quarantined_share: float = 0.0
    too_much_quarantine: bool = False
    model: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data."""
        return {"schema_version": 1, **asdict(self), "path": str(self.path) if self.path else None}

    def summary(self) -> list[str]:
        """A few lines for people."""
        lines = [f"as of {self.as_of} (end of {self.day})"]
        if self.records:
            data = sum(count for outcome, count in self.records.items() if outcome != "structural")
            lines.append(
                f"records: {data:,} in, {self.records.get('accepted', 0):,} accepted, "
                f"{self.records.get('duplicate_of', 0):,} duplicates, {self.records.get('quarantined', 0):,} quarantined"
            )
        lines.append(
            f"model: {self.model.get('name', '')} {self.model.get('version', '')}: {self.model.get('choice') or 'none, rules only'}"
        )
        if figures := self.model.get("figures"):
            shown = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
            lines.append(f"  out of time: {shown}")
        for statement in self.model.get("statements", ()):
            lines.append(f"  {statement}")
        if self.run_id is not None:
            lines.append(f"{'published' if self.is_new else 'nothing new: published before'}: {self.run_id}")
            if not self.is_current:
                lines.append("  an older day: kept in the history, CURRENT still names the newer one")
            lines += [f"  {name}: {count:,} rows, {self.path}/{name}.parquet" for name, count in self.rows.items()]
        return lines


def execute(
    settings: "Settings",
    day: date | None = None,
    *,
    job: str = "scoring",
    make_current: bool = False,
    progress: Progress | None = None,
) -> RunOutcome:
    """Run a job for a day, under the lake's lock; without a day, for the day of the newest recorded instant.

    Scoring trains first when no eligible champion exists. Raises the error a step raised when it is one of ours, AuditBlocked
    when a blocking check failed, LakeLocked when another run holds the lake, ConfigurationError for a day that is no partition.
    """
    if job not in JOBS:
        raise ConfigurationError("no such job", expected=", ".join(JOBS), found=job)
    say = progress or _silent
    started = time.monotonic()
    lake = Lake(settings.lake)
    with ExitStack() as stack:
        stack.enter_context(lake_lock(lake.root))
        remove_leftovers(lake.root, but=lake.deliveries)
        if day is None:
            say("collect: which day is the newest record of?")
            day = find_arrival(settings).day
            say(f"  {day}")
        key = partitions.require_partition(partitions.daily(settings.start_date, settings.time_zone), day)
        instance = stack.enter_context(open_instance(lake))
        must_train = job == "scoring" and not _is_published(lake, settings, key) and not has_champion(settings, day)
        if must_train:
            say("no model may be used for this day yet: training first")
            _run_job(settings, instance, "training", key, make_current, say)
        dagster_run_id = _run_job(settings, instance, job, key, make_current, say)
        return _outcome(
            settings,
            job,
            day,
            dagster_run_id,
            has_trained=must_train or job == "training",
            seconds=time.monotonic() - started,
        )


def backfill(
    settings: "Settings", first: date, last: date, *, job: str = "scoring", progress: Progress | None = None
) -> list[RunOutcome]:
    """Run every day from `first` to `last`, both included, in the order of the days; stops at the first that fails."""
    if last < first:
        raise ConfigurationError("the last day lies before the first", found=f"{first} to {last}")
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    return [execute(settings, day, job=job, progress=progress) for day in days]


def _silent(_: str) -> None: ...


def _is_published(lake: Lake, settings: "Settings", key: str) -> bool:
    from sales_pipeline.lake.runs import published_runs

    as_of = LakeResource(settings).as_of(key).isoformat()
    return any(run.as_of == as_of for run in published_runs(lake))


def _run_job(
    settings: "Settings", instance: dg.DagsterInstance, job: str, key: str, make_current: bool, say: Progress
) -> str:
    """One job in this process; its Dagster run id."""
    failures: list[BaseException] = []
    definitions = build_definitions(settings, make_current=make_current, is_locked=True, failures=failures)
    dagster_run_id = str(uuid.uuid4())
    instance.add_event_listener(dagster_run_id, Narrator(say))
    result = definitions.resolve_job_def(JOBS[job]).execute_in_process(
        instance=instance,
        partition_key=key,
        run_id=dagster_run_id,
        raise_on_error=False,
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        tags={STARTED_BY_TAG: "command line"},
    )
    if not result.success:
        raise _as_ours(failures, result, dagster_run_id)
    return dagster_run_id


class Narrator:
    """Tells the progress of a run from its events: a line when a step begins, a line with its time when it is done."""

    def __init__(self, say: Progress) -> None:
        self._say = say
        self._began: dict[str, float] = {}
        self._rows: dict[str, list[str]] = {}

    def __call__(self, entry: dg.EventLogEntry) -> None:
        """One event."""
        event = entry.dagster_event
        if event is None or event.step_key is None:
            return
        step = event.step_key
        if event.event_type == dg.DagsterEventType.STEP_START:
            self._began[step] = entry.timestamp
            self._say(f"{step} ...")
        elif event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION and event.asset_key is not None:
            rows = event.step_materialization_data.materialization.metadata.get("dagster/row_count")
            if rows is not None and rows.value:
                self._rows.setdefault(step, []).append(f"{event.asset_key.to_user_string()} {rows.value:,}")
        elif event.event_type == dg.DagsterEventType.STEP_SUCCESS:
            counts = ", ".join(self._rows.get(step, ()))
            seconds = entry.timestamp - self._began.get(step, entry.timestamp)
            self._say(f"  done in {seconds:.1f} s" + (f": {counts}" if counts else ""))


def _as_ours(failures: list[BaseException], result: dg.ExecuteInProcessResult, dagster_run_id: str) -> BaseException:
    """What to raise for a failed run: the error of ours a step raised, the failed blocking checks, or the step's own error."""
    blocked = [
        evaluation
        for evaluation in result.get_asset_check_evaluations()
        if not evaluation.passed and evaluation.severity == dg.AssetCheckSeverity.ERROR
    ]
    for error in failures:
        if isinstance(error, SalesPipelineError):
            return error
    if blocked:
        return AuditBlocked(
            f"{len(blocked)} blocking check(s) failed; nothing was published",
            expected="every blocking check passes",
            found="\n    ".join(
                [
                    "",
                    *(
                        f"{evaluation.asset_key.to_user_string()}: {evaluation.check_name}"
                        + (f" ({evaluation.description})" if evaluation.description else "")
                        for evaluation in blocked
                    ),
                ]
            ),
            fix="the last published run still stands; see `sales-pipeline quarantine` and the Data Docs, mend the cause, run the day again",
        )
    if failures:
        return failures[0]
    return SalesPipelineError(
        "the run failed before a step could say why",
        where=f"Dagster run {dagster_run_id}",
        fix="open it with `sales-pipeline dagster`",
    )


def _outcome(
    settings: "Settings", job: str, day: date, dagster_run_id: str, *, has_trained: bool, seconds: float
) -> RunOutcome:
    resource = LakeResource(settings)
    refs = RefIOManager(resource.refs)
    last = refs.read(dg.AssetKey(LAST_ASSET[job]), day.isoformat())
    common: dict[str, Any] = {
        "job": job,
        "day": day,
        "as_of": resource.as_of(day.isoformat()).isoformat(),
        "dagster_run_id": dagster_run_id,
        "has_trained": has_trained,
        "seconds": round(seconds, 1),
    }
    if not isinstance(last, Publication):
        return RunOutcome(**common, model=_model(resource.lake, last.name, last.version))
    return RunOutcome(
        **common,
        run_id=last.run_id,
        path=Path(last.path),
        is_new=last.is_new,
        is_current=last.is_current,
        records=last.records,
        rows=last.rows,
        quarantined_share=last.quarantined_share,
        too_much_quarantine=last.too_much_quarantine,
        model=_model(resource.lake, last.model_name, last.model_version),
    )


def _model(lake: Lake, name: str, version: str) -> dict[str, Any]:
    """What the summary says of a model, from its card."""
    from sales_pipeline.models.bundle import read_bundle

    card = read_bundle(lake.models / version).card
    win = card["win"]
    figures = {key: value for key, value in (win.get("test") or {}).items() if key in SHOWN_FIGURES}
    return {
        "name": name,
        "version": version,
        "choice": win["choice"],
        "evidence_level": win["evidence_level"],
        "figures": figures,
        "statements": [*([win["why"]] if win["choice"] is None else []), *card.get("statements", ())],
    }
