"""How many kits of a target stay: the newest settled ones, and whatever is needed still. A dropped one stays in the status as a line.

    the state says `is_dropped` ─► the kit's folder and its journal are renamed aside ─► removed

A crash between two of these leaves folders the next call (or the sweep at the start of a delivery) removes; none is dropped that the state does not
call so.

Belongs here: which kits go, and their folders. Does not belong here: the state at rest (`state.store`).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Set
from dataclasses import replace
from pathlib import Path

from sales_pipeline.delivery.kit import read_kit
from sales_pipeline.delivery.parcel import MANIFEST
from sales_pipeline.delivery.state.store import KitStatus, kits_folder, read_state, replace_state, target_folder
from sales_pipeline.lake.durable import disk_problems, fsync_directory
from sales_pipeline.lake.layout import Lake


def drop_old_kits(lake: Lake, target: str, keep: int, needed: Set[str]) -> tuple[str, ...]:
    """Keep the newest `keep` settled kits of a target, and drop the others; the ids that were dropped now. The caller holds the target's lock.

    Kits that wait for answers and those in `needed` stay. Of kits that were never handed over (dry runs, blocked ones) the newest `keep` stay.
    """
    state = read_state(lake, target)
    settled = sorted((kit for kit in state.kits if kit.is_settled and not kit.is_dropped), key=lambda kit: kit.order)
    old = {kit.delivery_id for kit in settled[:-keep]} - needed
    if old:
        kits = tuple(replace(kit, is_dropped=True) if kit.delivery_id in old else kit for kit in state.kits)
        state = replace_state(state, held={}, results={}, kits=kits)
    gone = [kit.delivery_id for kit in state.kits if kit.is_dropped]
    loose = _never_handed_over(kits_folder(lake, target), state.kits)[:-keep]
    for one in [*gone, *sorted(set(loose) - needed)]:
        for folder in (kits_folder(lake, target) / one, target_folder(lake, target) / "journals" / one):
            _remove(folder)
    return tuple(sorted(old))


def _never_handed_over(folder: Path, kits: Iterable[KitStatus]) -> list[str]:
    """Kits the state does not know, oldest run first."""
    known = {kit.delivery_id for kit in kits}
    names = [path.parent.name for path in folder.glob(f"*/{MANIFEST}") if not path.parent.name.startswith(".")]
    loose = [name for name in names if name not in known]
    return sorted(loose, key=lambda name: (read_kit(folder / name).parcel.as_of, name))


def _remove(folder: Path) -> None:
    """Rename a folder to what a sweep takes for unfinished, then remove it: no reader finds half of it under its name."""
    if not folder.is_dir():
        return
    aside = folder.with_name(f".{folder.name}.building")
    with disk_problems(folder):
        if aside.exists():
            shutil.rmtree(aside)
        folder.rename(aside)
        fsync_directory(folder.parent)
        shutil.rmtree(aside)
