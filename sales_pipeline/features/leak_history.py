"""What change history shows of a column: when it is first filled relative to the closing, and whether its value at a landmark still stands.

A model sees an attribute in its last seen value at every landmark. Where changes are known, that value can be held against the one that
stood at the landmark: what differs was written later and tells the future.

Belongs here: figures from changes. Does not belong here: verdicts (`leak_verdicts`), figures from last seen values (`leak_statistics`).
Loaded only where a ledger is made.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from sales_pipeline.features.params import LeakParams
from sales_pipeline.lake.tables import TableRef, read_matching

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

DAY = 86_400_000_000
_EMPTY = -1
_SHORT_LIVES_DAYS = 2
VERSIONED_FIELDS = ("stage", "amount", "crm_close_date", "crm_probability", "owner_id")


@dataclass(frozen=True)
class Past:
    """What the changes of one column show, over opportunities closed while changes were known.

    known: closed opportunities looked at (None-valued figures where none was).
    first_filled_days_before_close: median days from the first value to the closing; a value that no change brought counts from creation.
    filled_at_close_share: of those that ever held a value, the share that got the first one within `at_close_days` before closing, or
        later. Opportunities that lived for two days or less are not looked at: everything in them is near the closing.
    landmarks, changed_share: landmarks at which the value is known, and the share where another value is seen last.
    changed_z: how far apart the win shares are of opportunities whose value changed after their last landmark and of the others,
        in standard errors; None where one group has fewer than ten.
    """

    known: int
    first_filled_days_before_close: float | None
    filled_at_close_share: float | None
    landmarks: int
    changed_share: float | None
    changed_z: float | None


@dataclass(frozen=True)
class Lives:
    """The opportunities a ledger looks at, in its order, with the landmarks of those that closed.

    `created_us`, `closed_us`: microseconds since 1970-01-01 UTC, NaN where unknown or still open; `is_won` NaN where open.
    `landmark_of` (positions into the opportunities) and `landmark_us`: training landmarks of closed opportunities.
    """

    ids: pd.Index
    created_us: Floats
    closed_us: Floats
    is_won: Floats
    landmark_of: Integers
    landmark_us: Integers


@dataclass(frozen=True)
class Changes:
    """The changes of one column, ordered by opportunity and time; `old` and `new` are codes of values, -1 for none."""

    opportunity: Integers
    at_us: Integers
    old: Integers
    new: Integers


def micros(values: pa.ChunkedArray | pa.Array) -> Floats:
    """Instants as microseconds, NaN where there is none."""
    numbers = values.cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()).cast(pa.float64())
    return np.asarray(numbers.to_numpy(zero_copy_only=False), dtype=np.float64)


def lives_of(outcomes: pd.DataFrame, spine: TableRef) -> Lives:
    """The opportunities of `outcomes` (opportunity_id, created_us, closed_us, is_won), with their landmarks on the spine."""
    ids = pd.Index(outcomes["opportunity_id"])
    closed = outcomes["closed_us"].to_numpy(dtype=np.float64)
    table = read_matching(spine, ["opportunity_id", "as_of"], "opportunity_id", pa.array(ids, pa.string()))
    position = ids.get_indexer(pd.Index(table.column("opportunity_id").to_pandas()))
    at = micros(table.column("as_of"))
    keep = (position >= 0) & ~np.isnan(closed[position])
    return Lives(
        ids,
        outcomes["created_us"].to_numpy(dtype=np.float64),
        closed,
        outcomes["is_won"].to_numpy(dtype=np.float64),
        position[keep].astype(np.int64),
        at[keep].astype(np.int64),
    )


def attribute_changes(table: TableRef, lives: Lives) -> dict[str, Changes]:
    """The changes of every attribute, by attribute: all that the exports show, as the last seen value is theirs too."""
    if not table.rows:
        return {}
    names = ["opportunity_id", "attribute", "changed_at", "old_value", "new_value"]
    data = read_matching(table, names, "opportunity_id", pa.array(lives.ids, pa.string()))
    found: dict[str, Changes] = {}
    for attribute in sorted(pc.unique(data.column("attribute")).to_pylist()):
        part = data.filter(pc.equal(data.column("attribute"), attribute))
        opportunity = lives.ids.get_indexer(pd.Index(part.column("opportunity_id").to_pandas()))
        at = micros(part.column("changed_at")).astype(np.int64)
        values = [pc.utf8_lower(part.column(name)).to_pandas() for name in ("old_value", "new_value")]
        codes = pd.factorize(pd.concat(values, ignore_index=True))[0].astype(np.int64)
        keep = opportunity >= 0
        # The table's own order (opportunity, attribute, instant, sequence) settles ties within an instant.
        order = np.lexsort((at[keep], opportunity[keep]))
        half = len(at)
        found[attribute] = Changes(
            opportunity[keep][order].astype(np.int64),
            at[keep][order],
            codes[:half][keep][order],
            codes[half:][keep][order],
        )
    return found


def field_changes(table: TableRef, lives: Lives, fields: tuple[str, ...]) -> Iterator[tuple[str, Changes]]:
    """The changes of the versioned fields of opportunity_changes, one field after the other."""
    if not table.rows or not fields:
        return
    names = ["opportunity_id", "changed_at", *fields]
    data = read_matching(table, names, "opportunity_id", pa.array(lives.ids, pa.string()))
    opportunity = lives.ids.get_indexer(pd.Index(data.column("opportunity_id").to_pandas()))
    at = micros(data.column("changed_at")).astype(np.int64)
    keep = opportunity >= 0
    opportunity, at = opportunity[keep].astype(np.int64), at[keep]
    order = np.lexsort((at, opportunity))
    opportunity, at = opportunity[order], at[order]
    is_first = np.append(True, opportunity[1:] != opportunity[:-1])[: len(opportunity)]
    for field in fields:
        new = pd.factorize(data.column(field).to_pandas())[0].astype(np.int64)[keep][order]
        old = np.where(is_first, _EMPTY, np.roll(new, 1))
        moved = old != new
        yield field, Changes(opportunity[moved], at[moved], old[moved], new[moved])


def past_of(changes: Changes, lives: Lives, has_value: Flags, tracked_from_us: float, params: LeakParams) -> Past:
    """The figures of one column; `has_value` says which opportunities hold a value as last seen."""
    count = len(lives.ids)
    first = np.searchsorted(changes.opportunity, np.arange(count), side="left")
    end = np.searchsorted(changes.opportunity, np.arange(count), side="right")
    known = lives.closed_us > tracked_from_us + DAY
    known &= ~(lives.closed_us - lives.created_us <= _SHORT_LIVES_DAYS * DAY)
    filled_us = _first_filled(changes, first, end, lives.created_us, has_value)
    held = known & ~np.isnan(filled_us)
    before = lives.closed_us[held] - filled_us[held]
    changed_of, changed = _changed_landmarks(changes, lives, end, tracked_from_us)
    return Past(
        int(known.sum()),
        float(np.median(before)) / DAY if len(before) else None,
        float((before <= params.at_close_days * DAY).mean()) if len(before) else None,
        len(changed),
        float(changed.mean()) if len(changed) else None,
        _outcome_z(changed_of, changed, lives),
    )


def _first_filled(changes: Changes, first: Integers, end: Integers, created_us: Floats, has_value: Flags) -> Floats:
    """When each opportunity got its first value: at creation where its first change starts from a value, or it has one without a change."""
    count = len(first)
    filled = np.full(count, np.nan)
    has_change = end > first
    starts_filled = np.zeros(count, dtype=np.bool_)
    starts_filled[has_change] = changes.old[first[has_change]] != _EMPTY
    rises = np.flatnonzero((changes.old == _EMPTY) & (changes.new != _EMPTY))
    owners, positions = np.unique(changes.opportunity[rises], return_index=True)
    filled[owners] = changes.at_us[rises[positions]]
    at_creation = starts_filled | (~has_change & has_value)
    filled[at_creation] = created_us[at_creation]
    return filled


def _changed_landmarks(changes: Changes, lives: Lives, end: Integers, tracked_from_us: float) -> tuple[Integers, Flags]:
    """Landmarks since changes are known: whose they are, and whether another value than the one that stood then is seen last."""
    keep = lives.landmark_us >= tracked_from_us
    of, at = lives.landmark_of[keep], lives.landmark_us[keep]
    if not len(changes.at_us) or not len(of):
        return of, np.zeros(len(of), dtype=np.bool_)
    # Ranks instead of instants, so that opportunity and instant fit one sortable number.
    instants = np.unique(np.concatenate((changes.at_us, at)))
    step = len(instants) + 1
    key = changes.opportunity * step + np.searchsorted(instants, changes.at_us)
    following = np.searchsorted(key, of * step + np.searchsorted(instants, at), side="left")
    has_later = following < end[of]
    changed = np.zeros(len(of), dtype=np.bool_)
    later = np.flatnonzero(has_later)
    changed[later] = changes.old[following[later]] != changes.new[end[of[later]] - 1]
    return of, changed


def _outcome_z(of: Integers, changed: Flags, lives: Lives) -> float | None:
    """The difference of the win shares of opportunities with and without a landmark whose value changed, in standard errors."""
    seen = np.unique(of)
    moved = np.isin(seen, of[changed])
    won = lives.is_won[seen] > 0.5
    n_moved, n_still = int(moved.sum()), int((~moved).sum())
    if min(n_moved, n_still) < 10:
        return None
    pooled = float(won.mean())
    error = float(np.sqrt(pooled * (1 - pooled) * (1 / n_moved + 1 / n_still)))
    return abs(float(won[moved].mean()) - float(won[~moved].mean())) / error if error > 0 else 0.0
