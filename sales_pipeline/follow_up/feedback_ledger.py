"""The lake's ledger of feedback: append-only, one folder per file that said something new.

    feedback/000001-<digest>/source.csv       the file, byte for byte
                             feedback.parquet its statements (FEEDBACK)
                             report.json      lines accepted, duplicate, quarantined with their reasons

Nothing is ever changed: a correction is a later statement about the same follow-up.

Belongs here: keeping and reading. Does not belong here: what feedback means (`feedback`).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.contracts.internal import FEEDBACK
from sales_pipeline.domain.identifiers import digest_bytes
from sales_pipeline.follow_up.feedback_file import FeedbackFile, read_feedback
from sales_pipeline.lake.durable import write_directory
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.tables import read_table, write_table

_TABLE = f"{FEEDBACK.name}.parquet"


@dataclass(frozen=True)
class Taken:
    """What became of a file: `folder` is None where it said nothing new and nothing was quarantined, so that nothing was kept."""

    file: FeedbackFile
    folder: Path | None


def ledger_folder(lake: Lake) -> Path:
    """Where the ledger lies."""
    return lake.root / "feedback"


def read_ledger(lake: Lake) -> pa.Table:
    """All statements ever taken, in the order of the files; empty where there are none."""
    parts = [read_table(folder / _TABLE) for folder in _batches(lake)]
    return pa.concat_tables([arrow_schema(FEEDBACK).empty_table(), *parts])


def quarantined_feedback(lake: Lake) -> list[dict[str, Any]]:
    """Every line that was quarantined: file (the folder in the ledger), line, column, value, reason."""
    return [
        {"file": f"{folder.name}/source.csv", **entry}
        for folder in _batches(lake)
        for entry in json.loads((folder / "report.json").read_text(encoding="utf-8"))["quarantined"]
    ]


def take(lake: Lake, data: bytes, *, name: str, issued: dict[str, dict[str, Any]], time_zone: str) -> Taken:
    """Read a file and keep what it says. The same file again is all duplicates and changes nothing.

    Raises InputRejected where it cannot be read as a whole; nothing is kept then. The caller holds the lake's lock.
    """
    ledger = read_ledger(lake)
    columns = (ledger.column(column).to_pylist() for column in ("queue_id", "outcome", "dealt_with_at"))
    found = read_feedback(data, name=name, issued=issued, known=set(zip(*columns, strict=True)), time_zone=time_zone)
    digest = digest_bytes(data)[:16]
    batches = _batches(lake)
    is_known = any(folder.name.endswith(f"-{digest}") for folder in batches)
    if not found.accepted and (is_known or not found.quarantined):
        return Taken(found, None)
    rows = pa.Table.from_pylist(found.accepted, schema=arrow_schema(FEEDBACK))

    def build(folder: Path) -> None:
        (folder / "source.csv").write_bytes(data)
        write_table(rows, folder / _TABLE, FEEDBACK)
        report = {
            "name": name,
            "records": found.records,
            "accepted": len(found.accepted),
            "duplicates": found.duplicates,
            "quarantined": [asdict(entry) for entry in found.quarantined],
        }
        (folder / "report.json").write_text(json.dumps(report, indent=1, sort_keys=True) + "\n", encoding="utf-8")

    final = ledger_folder(lake) / f"{len(batches) + 1:06d}-{digest}"
    write_directory(final, build)
    return Taken(found, final)


def _batches(lake: Lake) -> list[Path]:
    folder = ledger_folder(lake)
    return sorted(path for path in folder.iterdir() if (path / _TABLE).is_file()) if folder.is_dir() else []
