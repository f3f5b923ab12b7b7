"""The lake's folders, and steps that are computed once.

    exports/files/<sha256>        every export file, byte for byte, once
    exports/<export_id>.json      which files make an export, its instant, its extract kind
    ingested/<key>/               one export file as raw Parquet and its ledger, by file digest and mapping
    canonical/<key>/              canonical tables of a set of visible exports, and what became of the records they did not take
    features/<key>/               what changes say over time (shared by all as-ofs), spines, features, leak ledger
    standing/<key>/               where every opportunity stood and how it closed, taken over from day to day
    contacts/<key>/               last contacts of accounts and opportunities in one part of the activities, by its digest
    models/<model_version>/       model bundles by content digest
    runs/<run_id>/                published and unpublished runs; CURRENT names one of them
    deliveries/<target>/          kits, journals and settlements of one target, under a lock of its own
    _dagster/ _mlflow/            the state of the two servers

Belongs here: where things are. Does not belong here: what they mean.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sales_pipeline.lake.durable import write_directory

STEP_FILE = "_step.json"


@dataclass(frozen=True)
class Lake:
    """A lake by its root folder."""

    root: Path

    @property
    def exports(self) -> Path:
        """Kept exports."""
        return self.root / "exports"

    @property
    def runs(self) -> Path:
        """Runs, one folder each."""
        return self.root / "runs"

    @property
    def current(self) -> Path:
        """The file that names the current run."""
        return self.root / "CURRENT"

    @property
    def models(self) -> Path:
        """Model bundles by version."""
        return self.root / "models"

    @property
    def deliveries(self) -> Path:
        """Deliveries, one folder per target; each is written under its own lock, not the lake's."""
        return self.root / "deliveries"

    @property
    def dagster_home(self) -> Path:
        """DAGSTER_HOME of this lake."""
        return self.root / "_dagster"

    @property
    def mlflow_home(self) -> Path:
        """MLflow's database and artifacts."""
        return self.root / "_mlflow"

    def step_path(self, stage: str, key: str) -> Path:
        """Where the step of that key lies or would lie."""
        return self.root / stage / key

    def step(self, stage: str, key: str, build: Callable[[Path], dict[str, Any]]) -> tuple[Path, dict[str, Any]]:
        """The folder of a step computed once per key, and the facts its builder returned.

        `key` is a digest of everything the step's result depends on. `build` writes into the folder it is given and
        returns JSON-able facts (counts, figures). A second call with the same key reads what the first one wrote.
        """
        final = self.step_path(stage, key)

        def build_and_note(folder: Path) -> None:
            facts = build(folder)
            (folder / STEP_FILE).write_text(json.dumps(facts, sort_keys=True, indent=1, default=str), encoding="utf-8")

        write_directory(final, build_and_note)
        return final, json.loads((final / STEP_FILE).read_text(encoding="utf-8"))
