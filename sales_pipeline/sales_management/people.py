"""Owners and teams as the keys figures are told by: every owner has one place, and every place one team.

Belongs here: the keys. Does not belong here: figures.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sales_pipeline.contracts.management import UNASSIGNED

Ints = npt.NDArray[np.int64]
Texts: TypeAlias = npt.NDArray[np.object_] | pa.ChunkedArray


@dataclass(frozen=True)
class People:
    """`owners` in order, `unassigned` always among them; `team_of` gives each the position of its team in `teams`; `is_active` says who still works here."""

    owners: tuple[str, ...]
    teams: tuple[str, ...]
    team_of: Ints
    is_active: npt.NDArray[np.bool_]

    def places(self, owners: Texts) -> Ints:
        """The position of each owner; None stands for `unassigned`. KeyError for an owner who is not among them."""
        named = pc.fill_null(_arrow(owners), UNASSIGNED)
        places = pc.index_in(named, value_set=pa.array(self.owners, pa.string()))
        if places.null_count:
            raise KeyError(named.filter(pc.is_null(places))[0].as_py())
        return np.asarray(places.to_numpy(zero_copy_only=False), dtype=np.int64)


def gather_people(owners: pa.Table, named: Iterable[Texts]) -> People:
    """All owners named by opportunities, with the teams the owners table gives them; an owner it lacks has none, and counts as active."""
    rows = {row["owner_id"]: row for row in owners.select(["owner_id", "team", "is_active"]).to_pylist()}
    told = {owner for part in named for owner in _arrow(part).unique().to_pylist()}
    found = [*sorted(told - {UNASSIGNED, None}), UNASSIGNED]
    team_names = [(rows.get(owner) or {}).get("team") or UNASSIGNED for owner in found]
    teams = tuple(sorted(set(team_names)))
    position = {team: number for number, team in enumerate(teams)}
    active = [(rows.get(owner) or {}).get("is_active") is not False for owner in found]
    return People(
        tuple(found),
        teams,
        np.array([position[name] for name in team_names], dtype=np.int64),
        np.array(active, dtype=bool),
    )


def _arrow(owners: Texts) -> pa.Array | pa.ChunkedArray:
    return owners if isinstance(owners, pa.ChunkedArray) else pa.array(owners, pa.string())
