"""Opportunities of owners who left: who works them meanwhile.

The rule, by opportunity in order of id: the inactive owner's manager, when he is active and has selling time; else the active member of the
owner's team with most free capacity (capacity less the minutes that his own opportunities call for and less what was reassigned to him so
far), ties by id; else nobody. The CRM's owner is left as he is: `reassigned_from` and the reason name him.

Belongs here: the rule. Does not belong here: capacities (`capacity`), weighing follow-ups (`allocation`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from sales_pipeline.follow_up.capacity import Owners
from sales_pipeline.follow_up.situation import Situation


def reassign(
    situations: Iterable[Situation], owners: Owners, needed_minutes: Mapping[str, int], minutes_each: int
) -> dict[tuple[str, str], Situation]:
    """Situations of inactive owners with whom they go to, by (source_system, opportunity_id); absent where nobody can stand in.

    `needed_minutes` are those that each active owner's own opportunities call for, `minutes_each` what a reassigned one is taken to call for.
    """
    free: dict[str, int] = {}

    def free_minutes(owner_id: str) -> int:
        if owner_id not in free:
            free[owner_id] = owners.day(owner_id).capacity_minutes - needed_minutes.get(owner_id, 0)
        return free[owner_id]

    found = {}
    for situation in sorted(situations, key=lambda one: (one.source_system, one.opportunity_id)):
        gone = situation.owner_id
        if gone is None:
            continue
        manager = owners.active_manager(gone)
        if manager is not None and owners.day(manager).capacity_minutes > 0:
            stand_in = manager
        else:
            colleagues = [name for name in owners.colleagues(gone) if owners.day(name).capacity_minutes > 0]
            if not colleagues:
                continue
            stand_in = min(colleagues, key=lambda name: (-free_minutes(name), name))
        free[stand_in] = free_minutes(stand_in) - minutes_each
        key = situation.source_system, situation.opportunity_id
        found[key] = replace(situation, owner_id=stand_in, is_owner_active=True, reassigned_from=gone)
    return found


def reassigned_reason(situation: Situation, owners: Owners) -> str:
    """The sentence that tells why the row is not the CRM's owner's; empty where it is."""
    if situation.reassigned_from is None:
        return ""
    is_manager = owners.active_manager(situation.reassigned_from) == situation.owner_id
    role = "manager" if is_manager else "member of the same team with most time"
    return f" Owner {situation.reassigned_from} is not active: reassigned to {situation.owner_id}, the {role}."
