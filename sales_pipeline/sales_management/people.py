"""Owners and teams as the keys figures are told by: every owner has one place, and every place one team.

Belongs here: the keys. Does not belong here: figures.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sales_pipeline.contracts.management import UNASSIGNED

Ints = npt.NDArray[np.int64]
Texts = npt.NDArray[np.object_]


@dataclass(frozen=True)
class People:
    """`owners` in order, `unassigned` always among them; `team_of` gives each the position of its team in `teams`; `is_active` says who still works here."""

    owners: tuple[str, ...]
    teams: tuple[str, ...]
    team_of: Ints
    is_active: npt.NDArray[np.bool_]

    def places(self, owners: Texts) -> Ints:
        """The position of each owner; None stands for `unassigned`. KeyError for an owner who is not among them."""
        position = {owner: number for number, owner in enumerate(self.owners)}
        return np.array([position[UNASSIGNED if owner is None else owner] for owner in owners], dtype=np.int64)


def gather_people(owners: pa.Table, named: Iterable[Texts]) -> People:
    """All owners named by opportunities, with the teams the owners table gives them; an owner it lacks has none, and counts as active."""
    rows = {row["owner_id"]: row for row in owners.select(["owner_id", "team", "is_active"]).to_pylist()}
    found = [*sorted({owner for part in named for owner in part if owner is not None} - {UNASSIGNED}), UNASSIGNED]
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
