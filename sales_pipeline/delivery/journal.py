"""What was done of a delivery, line by line, so that it can go on after a crash in the middle.

A note is on disk before the next request leaves. Results of a part are written whole, once.

Belongs here: notes and results at rest. Does not belong here: what they mean to a channel.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa

from sales_pipeline.contracts.delivery import DELIVERY_RESULTS
from sales_pipeline.delivery.parcel import Part
from sales_pipeline.lake.durable import disk_problems, make_directory, write_directory
from sales_pipeline.lake.tables import read_table, write_table

PUBLISHED = "published"
"""The note of a whole run that a target took."""

_NOTES = "notes.jsonl"
_RESULTS = "results.parquet"


class Journal:
    """The journal of one delivery, in a folder of its own beside the (immutable) kit.

    Under one writer: the caller holds the target's lock. A last line that a crash cut short is left out when read.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def note(self, part: Part | None, event: str, **facts: Any) -> None:
        """Append a note about a part (or the whole delivery) and force it to the disk. Facts are JSON-able and hold no secret."""
        path = self._folder / _NOTES
        line = json.dumps({"part": part.name if part else None, "event": event, **facts}, sort_keys=True)
        with disk_problems(path):
            make_directory(self._folder)
            is_cut = _is_cut(path)
            with path.open("a", encoding="utf-8") as handle:
                handle.write(("\n" if is_cut else "") + line + "\n")
                handle.flush()
                os.fsync(handle.fileno())

    def notes(self, part: Part | None, event: str | None = None) -> list[dict[str, Any]]:
        """Notes about a part (or the whole delivery), oldest first; of one event where it is named."""
        path = self._folder / _NOTES
        if not path.is_file():
            return []
        found = []
        for line in path.read_text(encoding="utf-8").split("\n"):
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:
                continue  # cut short by a crash, or the empty rest after the last line
            if entry["part"] == (part.name if part else None) and event in (None, entry["event"]):
                found.append(entry)
        return found

    def finish(self, part: Part, results: pa.Table) -> pa.Table:
        """Keep what became of a part's rows (DELIVERY_RESULTS), whole and once; what is kept already wins."""

        def build(folder: Path) -> None:
            write_table(results, folder / _RESULTS, DELIVERY_RESULTS)

        write_directory(self._place(part), build)
        kept = self.results(part)
        assert kept is not None
        return kept

    def results(self, part: Part) -> pa.Table | None:
        """What became of a part's rows, or None while it is not finished."""
        path = self._place(part) / _RESULTS
        return read_table(path) if path.is_file() else None

    def _place(self, part: Part) -> Path:
        return self._folder / "parts" / part.name


def _is_cut(path: Path) -> bool:
    """Whether a crash cut the last line short. Only the last byte is read: notes of a long delivery are many."""
    if not path.is_file() or path.stat().st_size == 0:
        return False
    with path.open("rb") as handle:
        handle.seek(-1, os.SEEK_END)
        return handle.read(1) != b"\n"
