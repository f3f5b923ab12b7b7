"""Custom columns that leak the outcome, and columns that only look like it: what a leak ledger is measured by.

Each column is written as people and systems would write it, with its changes; nothing here acts on the world. Names are plain on purpose, so
that no word gives a column away.

Belongs here: planted columns, their changes and their truth. Does not belong here: the columns every export has (`salesforce_opportunities`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.random import Generator
from numpy.typing import NDArray

from sales_pipeline.simulation import columns as col
from sales_pipeline.simulation.dynamics import CLOSED_WON, Floats, Ints
from sales_pipeline.simulation.ids import make_ids
from sales_pipeline.simulation.params import WorldParams
from sales_pipeline.simulation.salesforce_records import Keys
from sales_pipeline.simulation.world import World

_DAY = 86_400
_DESKS = ("North desk", "Central desk", "South desk", "Partner desk")
_LEVELS = ("Basic", "Standard", "Extended", "Premium")
_BANDS = ("Small site", "Medium site", "Large site")
_PARTNERS = tuple(f"P-{number:02d}" for number in range(1, 13))
Texts = NDArray[np.str_]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class _Life:
    """Per opportunity: creation and end of what the export sees of it (seconds UTC), and how it ended in view."""

    created_at: Ints
    ended_at: Ints
    closed: Bools
    won: Bools
    win_index: Floats

    def __len__(self) -> int:
        return len(self.created_at)

    @property
    def lost(self) -> Bools:
        """Closed as lost in view."""
        return self.closed & ~self.won

    def at_close(self, rng: Generator) -> Ints:
        """An instant within the last hours before the end, after creation."""
        hours = (rng.random(len(self)) * 6 * 3_600).astype(np.int64)
        instants: Ints = np.maximum(self.ended_at - hours - 1, self.created_at + 1)
        return instants


@dataclass(frozen=True)
class _Written:
    """A column: its text at the export, and its changes (opportunity, instant, text before and after; empty text is no value)."""

    last: Texts
    opportunity: Ints
    at: Ints
    old: Texts
    new: Texts


def _changed_once(first: Texts, last: Texts, at: Ints) -> _Written:
    """A column with one change at most per opportunity: where its last text is not its first."""
    moved = np.flatnonzero(first != last)
    return _Written(last, moved, at[moved], first[moved], last[moved])


def _pick(names: tuple[str, ...], index: Ints) -> Texts:
    return np.array(names)[index]


def _filled_at_close(life: _Life, rng: Generator) -> _Written:
    """The desk that takes over, written at the closing of nine in ten, won or lost; won ones go to the partner desk more often."""
    count = len(life)
    desk = np.where(life.won & (rng.random(count) < 0.4), 3, rng.integers(0, 3, count))
    last = np.where(life.closed & (rng.random(count) < 0.9), _pick(_DESKS, desk), "")
    return _changed_once(np.full(count, ""), last, life.at_close(rng))


def _rewritten_at_close(life: _Life, rng: Generator) -> _Written:
    """A service level from creation on, raised at the signing of many and lowered where the sale is lost."""
    count = len(life)
    first = _pick(_LEVELS, rng.integers(0, 4, count))
    is_raised, is_lowered = life.won & (rng.random(count) < 0.5), life.lost & (rng.random(count) < 0.35)
    last = np.where(is_raised, _LEVELS[3], np.where(is_lowered, _LEVELS[0], first))
    return _changed_once(first, last, life.at_close(rng))


def _outcome_copy(life: _Life, rng: Generator) -> _Written:
    """A number from creation on, computed anew at the closing from the outcome and noise: alone an AUC of about 0.8."""
    count = len(life)
    first = rng.normal(50.0, 10.0, count)
    again = rng.normal(50.0, 10.0, count) + np.where(life.won, 6.0, -6.0)
    last = np.where(life.closed, again, first)
    return _changed_once(_numbers(first), _numbers(last), life.at_close(rng))


def _growing_count(life: _Life, rng: Generator) -> _Written:
    """Documents shared so far: one about every ten days while it is open, twice as many where it is won."""
    days = (life.ended_at - life.created_at) / _DAY
    events = rng.poisson(days * np.where(life.won, 0.2, 0.1))
    opportunity = np.repeat(np.arange(len(life)), events)
    at = life.created_at[opportunity] + 1
    at = at + (rng.random(len(opportunity)) * (life.ended_at[opportunity] - at - 1)).astype(np.int64)
    order = np.lexsort((at, opportunity))
    starts = np.cumsum(events) - events
    number = np.arange(len(opportunity)) - starts[opportunity]
    return _Written(
        events.astype(np.str_), opportunity[order], at[order], number.astype(np.str_), (number + 1).astype(np.str_)
    )


def _date_at_close(life: _Life, rng: Generator) -> _Written:
    """The day the work starts, a few days ahead, written when nearly every won sale is signed and for some that were lost."""
    count = len(life)
    is_set = (life.won & (rng.random(count) < 0.95)) | (life.lost & (rng.random(count) < 0.2))
    day = (life.ended_at // _DAY + rng.integers(5, 60, count)).astype("datetime64[D]").astype(np.str_)
    return _changed_once(np.full(count, ""), np.where(is_set, day, ""), life.at_close(rng))


def _telling_gap(life: _Life, rng: Generator) -> _Written:
    """A partner from creation on for most; taken out when half of the lost ones are put away."""
    count = len(life)
    first = np.where(rng.random(count) < 0.85, _pick(_PARTNERS, rng.integers(0, len(_PARTNERS), count)), "")
    last = np.where(life.lost & (rng.random(count) < 0.5), "", first)
    return _changed_once(first, last, life.at_close(rng))


def _strong_predictor(life: _Life, rng: Generator) -> _Written:
    """A number written once, at creation, that follows the hidden win index closely."""
    first = _numbers(100 + 20 * (life.win_index + rng.normal(0.0, 0.5, len(life))))
    return _changed_once(first, first, life.ended_at)


def _filled_early(life: _Life, rng: Generator) -> _Written:
    """A size class filled in after creation, within five days, for most that are still open then; whatever becomes of them."""
    count = len(life)
    at = life.created_at + (rng.random(count) * 5 * _DAY).astype(np.int64) + 1
    is_set = (rng.random(count) < 0.8) & (at < life.ended_at)
    last = np.where(is_set, _pick(_BANDS, rng.integers(0, 3, count)), "")
    return _changed_once(np.full(count, ""), last, at)


def _seasonal(life: _Life, rng: Generator) -> _Written:
    """The campaign that ran when it was created, another each quarter; some have none."""
    days = (life.created_at // _DAY).astype("datetime64[D]")
    quarter = days.astype("datetime64[M]").astype(np.int64) // 3
    names = np.char.add("Wave ", (quarter - quarter.min() + 1).astype(np.str_))
    first = np.where(rng.random(len(life)) < 0.9, names, "")
    return _changed_once(first, first, life.ended_at)


def _numbers(values: Floats) -> Texts:
    return np.char.mod("%.1f", values)


_COLUMNS: dict[str, tuple[str, str, Callable[[_Life, Generator], _Written]]] = {
    "filled_at_close": ("Takeover_Desk__c", "Picklist", _filled_at_close),
    "rewritten_at_close": ("Service_Level__c", "Picklist", _rewritten_at_close),
    "outcome_copy": ("Fit_Value__c", "Double", _outcome_copy),
    "growing_count": ("Documents_Shared__c", "Double", _growing_count),
    "date_at_close": ("Kickoff_Day__c", "Date", _date_at_close),
    "telling_gap": ("Partner_Code__c", "Text", _telling_gap),
    "strong_predictor": ("Need_Size__c", "Double", _strong_predictor),
    "filled_early": ("Site_Band__c", "Picklist", _filled_early),
    "seasonal": ("Campaign_Wave__c", "Picklist", _seasonal),
}
"""Column, type in the field history, and how it is written, by kind; leaks first."""


def planted_table(params: WorldParams) -> pa.Table:
    """The truth of the planted columns: column, kind, is_leak."""
    kinds = (*params.planted_leaks, *params.look_alikes)
    return pa.table(
        {
            "column": [_COLUMNS[kind][0] for kind in kinds],
            "kind": list(kinds),
            "is_leak": [kind in params.planted_leaks for kind in kinds],
        }
    )


def plant(world: World, keys: Keys, opportunities: pa.Table, history: pa.Table) -> dict[str, pa.Table]:
    """`Opportunity.csv` with the planted columns, and `OpportunityFieldHistory.csv` with their changes where the world tracks them.

    Each kind draws from a stream of its own, so that one more column changes no other.
    """
    data = world.population.opportunities
    closed = world.is_closed
    life = _Life(
        created_at=data.created_at,
        ended_at=np.where(closed, world.closed_at, world.end_at - 1),
        closed=closed,
        won=closed & (world.final_stage == CLOSED_WON),
        win_index=data.constants.win_index,
    )
    parts = [history]
    for number, (kind, (name, data_type, write)) in enumerate(_COLUMNS.items()):
        if kind not in (*world.params.planted_leaks, *world.params.look_alikes):
            continue
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence((world.params.seed, 2, number))))
        written = write(life, rng)
        opportunities = opportunities.append_column(name, pa.array(written.last, pa.string()))
        if world.params.tracks_planted:
            parts.append(_history_rows(written, name, data_type, world, keys))
    joined = pa.concat_tables(parts).sort_by([("CreatedDate", "ascending"), ("OpportunityId", "ascending")])
    ids = make_ids("OpportunityFieldHistory", np.arange(joined.num_rows))
    joined = joined.set_column(0, "Id", ids)
    return {"Opportunity.csv": opportunities, "OpportunityFieldHistory.csv": joined}


def _history_rows(written: _Written, name: str, data_type: str, world: World, keys: Keys) -> pa.Table:
    count = len(written.at)
    return col.table(
        {
            "Id": col.constant("", count),
            "IsDeleted": col.constant("0", count),
            "OpportunityId": col.pick(keys.opportunities, written.opportunity),
            "CreatedById": col.pick(keys.users, world.population.opportunities.owner[written.opportunity]),
            "CreatedDate": col.instants(written.at),
            "Field": col.constant(name, count),
            "DataType": col.constant(data_type, count),
            "OldValue": pa.array(written.old, pa.string()),
            "NewValue": pa.array(written.new, pa.string()),
        }
    )
