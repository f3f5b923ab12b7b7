"""Runs: the manifest, the history of published runs, and the one pointer all readers follow.

Write, audit, publish: a run writes into its own folder, which appears whole; then its publication is recorded, and
CURRENT is replaced atomically. Readers follow CURRENT and see all of the old run or all of the new.

Belongs here: the protocol. Does not belong here: what a run contains (delivery).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sales_pipeline.errors import AuditBlocked, ConfigurationError, EnvironmentProblem
from sales_pipeline.lake.durable import write_bytes, write_directory
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.tables import file_sha256

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class PublishedRun:
    """A run that was published: its id, its as-of (ISO text), its folder and its manifest."""

    run_id: str
    as_of: str
    path: Path
    manifest: dict[str, Any]


def write_run(lake: Lake, run_id: str, build: Callable[[Path], dict[str, Any]]) -> Path:
    """Write a run's folder whole: the files `build` writes, and a manifest of them with sha256 and size.

    `build` returns the manifest's other entries (`as_of` among them). A run that is there already is left as it is.
    """

    def build_and_manifest(folder: Path) -> None:
        entries = build(folder)
        files = {
            str(path.relative_to(folder)): {"sha256": file_sha256(path), "bytes": path.stat().st_size}
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        manifest = {"run_id": run_id, **entries, "files": files}
        (folder / MANIFEST).write_text(
            json.dumps(manifest, sort_keys=True, indent=1, default=str) + "\n", encoding="utf-8"
        )

    write_directory(lake.runs / run_id, build_and_manifest)
    return lake.runs / run_id


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a run's folder."""
    manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    return manifest


def verify_run(folder: Path) -> dict[str, Any]:
    """The manifest, after every file's bytes were compared with it; EnvironmentProblem when one differs.

    Of a published run the manifest itself is compared with the digest its publication recorded, and a file nobody wrote
    counts as a change too.
    """
    marker = _marker(folder.parent, folder.name)
    if marker.is_file():
        _require_digest(folder / MANIFEST, json.loads(marker.read_text(encoding="utf-8"))["manifest_sha256"])
    manifest = read_manifest(folder)
    for name, facts in manifest["files"].items():
        _require_digest(folder / name, facts["sha256"])
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    if unknown := sorted(found - set(manifest["files"]) - {MANIFEST}):
        raise EnvironmentProblem(
            "a run holds files it did not write",
            expected=f"the {len(manifest['files'])} files of its manifest",
            found=", ".join(unknown),
            where=str(folder),
            fix="move them elsewhere",
        )
    return manifest


def _require_digest(path: Path, sha256: str) -> None:
    found = f"sha256 {file_sha256(path)}" if path.is_file() else "no such file"
    if found != f"sha256 {sha256}":
        raise EnvironmentProblem(
            "a published file was changed or lost",
            expected=f"sha256 {sha256}",
            found=found,
            where=str(path),
            fix="restore the file from a backup, or run that day again into a new lake",
        )


def _marker(runs: Path, run_id: str) -> Path:
    return runs / f"{run_id}.published"


def is_published(folder: Path) -> bool:
    """Whether the publication of the run in this folder was recorded."""
    return _marker(folder.parent, folder.name).is_file()


def publish_run(lake: Lake, run_id: str, *, make_current: bool = False) -> bool:
    """Record a run as published and move CURRENT to it when its as-of is not older than the current one's.

    Returns whether CURRENT names the run afterwards. Publishing the same run again changes nothing. `make_current` moves CURRENT
    backwards too. Raises AuditBlocked when the run's folder is not there.
    """
    folder = lake.runs / run_id
    if not (folder / MANIFEST).is_file():
        raise AuditBlocked(
            "the run cannot be published", expected="a complete run folder", found="none", where=str(folder)
        )
    manifest = verify_run(folder)
    marker = _marker(lake.runs, run_id)
    if not marker.exists():
        facts = {"run_id": run_id, "as_of": manifest["as_of"], "manifest_sha256": file_sha256(folder / MANIFEST)}
        write_bytes(marker, (json.dumps(facts) + "\n").encode())
    now = current_run(lake)
    if now is not None and now.run_id == run_id:
        return True
    if now is not None and _instant(now.as_of) > _instant(manifest["as_of"]) and not make_current:
        return False
    write_bytes(lake.current, (run_id + "\n").encode())
    return True


def published_runs(lake: Lake) -> list[PublishedRun]:
    """All published runs, oldest as-of first; of the same as-of, by run id."""
    runs = []
    for marker in sorted(lake.runs.glob("*.published")):
        facts = json.loads(marker.read_text(encoding="utf-8"))
        folder = lake.runs / facts["run_id"]
        if not (folder / MANIFEST).is_file():
            raise EnvironmentProblem(
                "a published run is not there",
                expected=f"the folder {folder}",
                found="no manifest in it",
                where=str(marker),
                fix="restore the folder from a backup",
            )
        runs.append(PublishedRun(facts["run_id"], facts["as_of"], folder, read_manifest(folder)))
    return sorted(runs, key=lambda run: (_instant(run.as_of), run.run_id))


def _instant(as_of: str) -> datetime:
    return datetime.fromisoformat(as_of)


def current_run(lake: Lake) -> PublishedRun | None:
    """The run CURRENT names, or None before the first publish."""
    if not lake.current.is_file():
        return None
    run_id = lake.current.read_text(encoding="utf-8").strip()
    folder = lake.runs / run_id
    if not (folder / MANIFEST).is_file():
        raise EnvironmentProblem(
            "CURRENT names a run that is not there",
            expected=f"the folder {folder}",
            found="no manifest in it",
            where=str(lake.current),
            fix="restore the folder, or run again with --make-current",
        )
    manifest = read_manifest(folder)
    return PublishedRun(run_id, str(manifest["as_of"]), folder, manifest)


def require_current_run(lake: Lake) -> PublishedRun:
    """The current run; ConfigurationError when nothing was published yet."""
    run = current_run(lake)
    if run is None:
        raise ConfigurationError(
            "nothing is published in this lake yet",
            where=str(lake.root),
            fix="run `sales-pipeline run` first, or name the lake with --lake",
        )
    return run


def require_run(lake: Lake, run_id: str | None) -> PublishedRun:
    """A published run by its id, without one the current run; ConfigurationError where there is none."""
    if run_id is None:
        return require_current_run(lake)
    runs = {run.run_id: run for run in published_runs(lake)}
    if run_id not in runs:
        known = ", ".join(f"{run.run_id} ({run.as_of[:10]})" for run in list(runs.values())[-5:]) or "none yet"
        raise ConfigurationError("no such published run", expected=f"one of the newest: {known}", found=run_id)
    return runs[run_id]


def require_run_of(lake: Lake, as_of: str) -> PublishedRun:
    """The published run of that as-of: the current one where it is, else the last by id; ConfigurationError where there is none."""
    runs = [run for run in published_runs(lake) if _instant(run.as_of) == _instant(as_of)]
    if not runs:
        raise ConfigurationError(
            "nothing is published for this day",
            expected="one of " + ", ".join(sorted({run.as_of for run in published_runs(lake)})[-5:]),
            found=as_of,
            where=str(lake.root),
            fix="run the day with `sales-pipeline run --as-of`",
        )
    now = current_run(lake)
    return next((run for run in runs if now is not None and run.run_id == now.run_id), runs[-1])


def previous_run(lake: Lake, as_of: str) -> PublishedRun | None:
    """The published run with the greatest as-of strictly earlier than the one given."""
    earlier = [run for run in published_runs(lake) if _instant(run.as_of) < _instant(as_of)]
    return earlier[-1] if earlier else None
