"""A parcel: the files of one delivery, ready to be sent. The border between kits and channels.

Belongs here: what a channel is given. Does not belong here: how files come about (`kits`) or are sent (`channels`).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

MANIFEST = "manifest.json"

PartOperation = Literal["update", "upsert", "insert", "replace"]


@dataclass(frozen=True)
class Part:
    """One file that is imported in one go.

    `name` is relative to the parcel's folder; `fields` is its header, the key among them. `operation` replace: the whole table takes the place of
    what was there.
    """

    name: str
    object_name: str
    object: str
    operation: PartOperation
    key_field: str
    fields: tuple[str, ...]
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Parcel:
    """The files of one delivery. `delivery_id` is a digest of everything in it: the same parcel twice has the same id."""

    delivery_id: str
    target: str
    run_id: str
    as_of: str
    folder: Path
    parts: tuple[Part, ...]
    line_end: Literal["\n", "\r\n"] = "\n"
    delimiter: str = ","

    def path(self, part: Part) -> Path:
        """Where a part lies."""
        return self.folder / part.name


def parcel_entries(parcel: Parcel) -> dict[str, Any]:
    """What the manifest says of the parcel, JSON-able, without its folder."""
    return {name: value for name, value in asdict(parcel).items() if name != "folder"}


def read_parcel(folder: Path) -> Parcel:
    """The parcel of a kit's folder, from its manifest."""
    entries = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["parcel"]
    parts = tuple(Part(**{**part, "fields": tuple(part["fields"])}) for part in entries.pop("parts"))
    return Parcel(**entries, folder=folder, parts=parts)
