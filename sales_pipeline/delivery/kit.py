"""A kit at rest and what is said of it: counts per object, how much of it moves, how its rows' columns are named.

Belongs here: those facts, as data that stands in the kit's manifest. Does not belong here: how they come about.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sales_pipeline.delivery.parcel import MANIFEST, Parcel, read_parcel

NEW, PREVIOUS = "new.", "previous."
"""What columns of a kit's rows (`rows/<object>.parquet`) begin with, before the field's name."""


@dataclass(frozen=True)
class Move:
    """One record whose main figure moved: by its key in the target, before and after (as numbers of the target's notation)."""

    key: str
    previous: float
    new: float


@dataclass(frozen=True)
class ObjectFacts:
    """Rows of one object of the mapping.

    Every row of the source is counted once in `new`, `changed`, `unchanged`, `cleared` or `not_delivered`. `cleared` rows have no score any more, and
    the one delivered is taken away (moved, by the limit). `withdrawn` rows left the source and are marked so
    in the target; `gone` rows left it and are only listed. `cannot_clear` counts rows that go although one of their values cannot be
    taken away. `known` rows are held by the target already, `moved` of them moved by the settings' limit; `is_over_limit` says that
    more moved than may.
    """

    name: str
    source_rows: int
    new: int
    changed: int
    unchanged: int
    withdrawn: int
    gone: int
    not_delivered: int
    cannot_clear: int
    known: int
    moved: int
    is_over_limit: bool
    cleared: int = 0
    moves: tuple[Move, ...] = ()

    @property
    def moved_share(self) -> float:
        """Share (0–1) of the known rows that moved; 0 where none is known."""
        return self.moved / self.known if self.known else 0.0


@dataclass(frozen=True)
class Kit:
    """A kit at rest: its parcel and its facts."""

    parcel: Parcel
    objects: tuple[ObjectFacts, ...]
    is_rollback_of: str | None = None

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self.parcel.folder

    @property
    def rows(self) -> int:
        """Rows of all its files."""
        return sum(part.rows for part in self.parcel.parts)

    @property
    def over_limit(self) -> tuple[ObjectFacts, ...]:
        """Objects of which more moves than may."""
        return tuple(facts for facts in self.objects if facts.is_over_limit)


def read_kit(folder: Path) -> Kit:
    """The kit of a folder, from its manifest."""
    entries: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    objects = tuple(
        ObjectFacts(**{**facts, "moves": tuple(Move(**move) for move in facts["moves"])})
        for facts in entries["objects"]
    )
    return Kit(read_parcel(folder), objects, entries["is_rollback_of"])
