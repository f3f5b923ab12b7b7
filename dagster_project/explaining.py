"""`sales-pipeline explain`: one opportunity of a published run: what its probability is made of, why it changed, what happened to it.

Everything is read from what runs left in the lake; nothing is computed anew but contributions. Ids only: no names, no notes.
Belongs here: finding run, model, features and events of one opportunity. Does not belong here: contributions and their words (models), text for people
(`explaining_text`).
"""

import json
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from dagster_project.applying import FEATURES_KEY, RUN_ID, SCORED_STAGE
from dagster_project.history import history_of
from dagster_project.opening import open_engine
from sales_pipeline.contracts.published import SCORED_OPPORTUNITIES
from sales_pipeline.domain.identifiers import to_sfid18
from sales_pipeline.domain.time import AsOf
from sales_pipeline.errors import ConfigurationError, EnvironmentProblem, SalesPipelineError
from sales_pipeline.features.terms import LANGUAGES, Language
from sales_pipeline.lake.layout import STEP_FILE, Lake
from sales_pipeline.lake.runs import PublishedRun, published_runs, require_current_run
from sales_pipeline.lake.tables import TableRef, read_table

if TYPE_CHECKING:
    from sales_pipeline.engines.base import Engine
    from sales_pipeline.features.build import FeatureSet
    from sales_pipeline.models.bundle import Bundle
    from sales_pipeline.models.matrix import Matrix
    from sales_pipeline.models.wording import Wording
    from sales_pipeline.settings import Settings

TOLERANCE = 1e-5
"""How far (in probability) a recomputed score may lie from the published one: rounding."""
SHOWN = (
    "kind", "pipeline", "account_id", "owner_id", "stage", "currency", "amount", "crm_close_date", "win_probability", "win_probability_low",
    "win_probability_high", "win_probability_30d", "win_probability_90d", "score", "grade", "trend", "previous_win_probability",
    "expected_amount", "expected_amount_low", "expected_amount_high", "predicted_close_date", "predicted_close_date_low",
    "predicted_close_date_high", "slip_probability", "evidence_level", "abstain_reason", "model_name", "model_version",
)  # fmt: skip
CANONICAL_STAGE = "canonical"


@dataclass(frozen=True)
class Explanation:
    """What `explain` tells. `base` and the reasons' weights are in log-odds and add up to those of the win probability.

    `change` is None where there is nothing to compare, then `change_note` says why. `history` holds tracked changes ({on, field, before, after}),
    activities by kind and what is planned.
    """

    run_id: str
    as_of: str
    opportunity_id: str
    language: Language
    row: dict[str, Any]
    family: str | None
    base: float | None
    reasons: tuple[dict[str, Any], ...]
    note: str | None
    previous: dict[str, Any] | None
    change: dict[str, Any] | None
    change_note: str | None
    history: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data."""
        return {
            "schema_version": 1,
            "run_id": self.run_id,
            "as_of": self.as_of,
            "opportunity_id": self.opportunity_id,
            "language": self.language,
            "scored": self.row,
            "family": self.family,
            "contributions": {"base": self.base, "reasons": list(self.reasons), "note": self.note},
            "previous": self.previous,
            "change": self.change,
            "change_note": self.change_note,
            "history": self.history,
        }


@dataclass(frozen=True)
class _Scored:
    """One opportunity in one run: its published row, the model, and its row of the matrix (None where the run's features are not known)."""

    run: PublishedRun
    row: dict[str, Any]
    bundle: "Bundle"
    features_key: str | None

    def features(self, lake: Lake) -> "FeatureSet | None":
        """The features it was scored on; None where the run does not name them or the lake does not keep them."""
        from sales_pipeline.features.build import find

        as_of = AsOf(_instant(self.run.as_of))
        return find(lake, self.features_key, as_of, "scoring") if self.features_key is not None else None

    def matrix(self, lake: Lake, other: "Bundle | None" = None) -> "Matrix":
        """The one row, with the columns of the model (and of the other one)."""
        import numpy as np

        from sales_pipeline.models.matrix import align, load_matrix
        from sales_pipeline.models.predict import needed_columns

        columns = {column.name: column for column in needed_columns(self.bundle)}
        for column in needed_columns(other) if other is not None else ():
            columns.setdefault(column.name, column)
        found = self.features(lake)
        if found is None:
            raise EnvironmentProblem(
                "the features a run was scored on are not in the lake",
                expected=f"features {self.features_key or 'noted by the run (runs of earlier versions note none)'}",
                found="none",
                where=f"run {self.run.run_id} in {lake.root}",
                fix="run that day again",
            )
        whole = align(load_matrix(found, list(columns)), tuple(columns.values()))
        ids = whole.keys["opportunity_id"].to_numpy(dtype=object)
        return whole.take(np.flatnonzero(ids == self.row["opportunity_id"]))


def explain(
    settings: "Settings", opportunity: str, *, day: date | None = None, language: str | None = None
) -> Explanation:
    """Explain one opportunity of the current run, or of the run published for a day.

    Raises ConfigurationError when nothing is published (for that day), when the run does not hold the opportunity, and for a language there is none of.
    """
    from sales_pipeline.models.wording import Wording

    lake = Lake(settings.lake)
    wording = Wording.of(_language(language or settings.scoring.language), settings.scoring.sensitive)
    run = _run_of(lake, day, settings.time_zone)
    scored = _scored(lake, run, opportunity)
    with open_engine(settings) as engine:
        history = history_of(
            _canonical(lake, run), scored.row["opportunity_id"], AsOf(_instant(run.as_of)), wording, engine
        )
        parts = _contributions(lake, scored, wording)
        previous, change, change_note = _change(lake, scored, wording, engine)
    row = {name: scored.row[name] for name in SHOWN}
    return Explanation(
        run_id=run.run_id,
        as_of=run.as_of,
        opportunity_id=scored.row["opportunity_id"],
        language=wording.language,
        row=row | {"abstain_reason": wording.abstention(row["abstain_reason"])},
        family=scored.bundle.win.family if scored.bundle.win is not None else None,
        previous=previous,
        change=change,
        change_note=change_note,
        history=history,
        **parts,
    )


def _language(name: str) -> Language:
    for language in LANGUAGES:
        if language == name:
            return language
    raise ConfigurationError("no such language", expected=", ".join(LANGUAGES), found=name)


def _instant(as_of: str) -> datetime:
    return datetime.fromisoformat(as_of)


def _run_of(lake: Lake, day: date | None, time_zone: str) -> PublishedRun:
    current = require_current_run(lake)
    if day is None:
        return current
    wanted = AsOf.end_of_day(day, time_zone)
    runs = published_runs(lake)
    alike = [run for run in runs if _instant(run.as_of) == wanted.instant]
    if not alike:
        days = sorted({AsOf(_instant(run.as_of)).day(time_zone).isoformat() for run in runs})
        raise ConfigurationError(
            "nothing is published for that day",
            expected=f"one of {', '.join(days[-10:])}",
            found=day.isoformat(),
            where=str(lake.root),
            fix=f"run that day first: `sales-pipeline run --as-of {day}`",
        )
    return next((run for run in alike if run.run_id == current.run_id), alike[-1])


def _scored(lake: Lake, run: PublishedRun, opportunity: str) -> _Scored:
    """The opportunity by its id as published, or by a Salesforce id of 15 characters or in the wrong case."""
    row = _row(run, opportunity)
    if row is None:
        raise _unknown(lake, run, opportunity)
    return _of(lake, run, row)


def _of(lake: Lake, run: PublishedRun, row: dict[str, Any]) -> _Scored:
    from sales_pipeline.models.bundle import read_bundle

    return _Scored(run, row, read_bundle(lake.models / row["model_version"]), _features_key(lake, run.run_id))


def _row(run: PublishedRun, opportunity: str) -> dict[str, Any] | None:
    table = read_table(run.path / f"{SCORED_OPPORTUNITIES.name}.parquet")
    names = pa.array(list(dict.fromkeys((opportunity.strip(), to_sfid18(opportunity.strip())))), pa.string())
    found = table.filter(pc.is_in(table.column("opportunity_id"), value_set=names)).to_pylist()
    return found[0] if found else None


def _unknown(lake: Lake, run: PublishedRun, opportunity: str) -> SalesPipelineError:
    """Why the run does not score it: closed or removed by then, or not known at all."""
    names = (opportunity.strip(), to_sfid18(opportunity.strip()))
    known = read_table(
        _canonical(lake, run)["opportunities"], ["opportunity_id", "state", "closed_at", "created_at", "removed_at"]
    )
    found = known.filter(pc.is_in(known.column("opportunity_id"), value_set=pa.array(names, pa.string()))).to_pylist()
    if not found:
        return ConfigurationError(
            "no such opportunity",
            expected="the id of an opportunity that was open at the as-of, as in `sales-pipeline show scored_opportunities`",
            found=opportunity,
            where=f"run {run.run_id}, as of {run.as_of}",
            fix="check the id, or name another day with --as-of",
        )
    facts = found[0]
    told = f"{facts['state']}" + (f" since {facts['closed_at']:%Y-%m-%d}" if facts["closed_at"] else "")
    told += f", created {facts['created_at']:%Y-%m-%d}" if facts["created_at"] else ""
    told += f", removed {facts['removed_at']:%Y-%m-%d}" if facts["removed_at"] else ""
    return ConfigurationError(
        "the opportunity was not scored: only what was open at the as-of has a score",
        expected=f"open as of {run.as_of}",
        found=f"{facts['opportunity_id']}: {told}",
        where=f"run {run.run_id}",
        fix="name a day on which it was open with --as-of",
    )


def _canonical(lake: Lake, run: PublishedRun) -> dict[str, TableRef]:
    """The canonical tables a run was made from."""
    folder = lake.step_path(CANONICAL_STAGE, run.manifest["canonical_key"])
    if not (folder / STEP_FILE).is_file():
        raise EnvironmentProblem(
            "the canonical tables a run was made from are not in the lake",
            expected=f"the folder {folder}",
            found="none",
            where=f"run {run.run_id}",
            fix="run that day again",
        )
    facts = json.loads((folder / STEP_FILE).read_text(encoding="utf-8"))
    return {
        name: TableRef(name, str(folder / f"{name}.parquet"), entry["rows"], entry["sha256"])
        for name, entry in facts["tables"].items()
    }


def _features_key(lake: Lake, run_id: str) -> str | None:
    for path in sorted((lake.root / SCORED_STAGE).glob(f"*/{STEP_FILE}")):
        facts = json.loads(path.read_text(encoding="utf-8"))
        if facts.get(RUN_ID) == run_id:
            return str(facts[FEATURES_KEY])
    return None


def _contributions(lake: Lake, scored: _Scored, wording: "Wording") -> dict[str, Any]:
    """`base`, `reasons` and `note` of an Explanation."""
    from sales_pipeline.models.contributions import contributions
    from sales_pipeline.models.estimators import expit
    from sales_pipeline.models.reasons import all_reasons

    published = scored.row["win_probability"]
    if published is None or scored.bundle.win is None or scored.bundle.win.evidence_level == "rules":
        return {"base": None, "reasons": (), "note": None}
    parts = contributions(scored.bundle.win, scored.matrix(lake))
    found = float(expit(parts.log_odds)[0])
    note = None if abs(found - published) <= TOLERANCE else _another_version(found, published)
    return {"base": parts.base, "reasons": tuple(all_reasons(parts, 0, wording)), "note": note}


def _another_version(found: float, published: float) -> str:
    return (
        f"this version of the code gives {found:.6f}, the run published {published:.6f}: it was made by another version"
    )


def _change(
    lake: Lake, scored: _Scored, wording: "Wording", engine: "Engine"
) -> tuple[dict[str, Any] | None, dict[str, Any] | None, str | None]:
    """`previous`, `change` and `change_note` of an Explanation."""
    import numpy as np

    from sales_pipeline.models.estimators import logit

    previous_id = scored.run.manifest["previous_run_id"]
    if previous_id is None:
        return None, None, "first_run"
    run = next(run for run in published_runs(lake) if run.run_id == previous_id)
    row = _row(run, scored.row["opportunity_id"])
    if row is None:
        return None, None, "not_scored_before"
    previous = {
        "run_id": run.run_id,
        "as_of": run.as_of,
        "win_probability": row["win_probability"],
        "model_version": row["model_version"],
    }
    if row["win_probability"] is None or scored.row["win_probability"] is None:
        return previous, None, "no_probability"
    total = float(np.diff(logit(np.array([row["win_probability"], scored.row["win_probability"]])))[0])
    try:
        before = _of(lake, run, row)
    except EnvironmentProblem:
        # A model of an earlier format, or one that was cleaned up: the total still stands.
        return previous, {"total": total}, "model_unreadable"
    if before.features(lake) is None:
        return previous, {"total": total}, "features_unknown"
    if not _same_kinds(before.bundle, scored.bundle):
        return previous, {"total": total}, "kinds_differ"
    found = _split(lake, before, scored, wording, engine)
    if abs(found["total"] - total) > TOLERANCE * 100:
        return previous, {"total": total}, "another_version"
    return previous, found, None if found["is_split"] else "family_changed"


def _same_kinds(old: "Bundle", new: "Bundle") -> bool:
    """Whether no field is a number to one model and a category to the other."""
    from sales_pipeline.models.predict import needed_columns

    kinds = {column.name: column.kind for column in needed_columns(old)}
    return all(kinds.get(column.name, column.kind) == column.kind for column in needed_columns(new))


def _split(lake: Lake, before: _Scored, now: _Scored, wording: "Wording", engine: "Engine") -> dict[str, Any]:
    from sales_pipeline.features.elapsed import windows_without_events
    from sales_pipeline.models.explanation import pass_time, why_changed

    old_row = before.matrix(lake, now.bundle)
    new_row = replace(now.matrix(lake, before.bundle), columns=old_row.columns)
    windows = windows_without_events(
        _canonical(lake, before.run),
        before.row["opportunity_id"],
        known_before=AsOf(_instant(before.run.as_of)),
        as_of=AsOf(_instant(now.run.as_of)),
        engine=engine,
    )
    moved = pass_time(old_row, new_row, windows)
    return why_changed(before.bundle, old_row, now.bundle, new_row, moved=moved, wording=wording).to_dict()
