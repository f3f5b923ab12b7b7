"""The remaining time of open opportunities in pieces on which a rate is constant, and what rates add up to along them.

The pieces are fixed intervals of days after the as-of, split once more around the close date the CRM states, because closings gather there. They depend on
the as-of and that date alone, which few rows have to themselves: what follows from the two is worked out once for all rows of such a state.

Belongs here: rows, pieces, integrals. Does not belong here: what rates rest on (`hazards`), mixing outcomes, dates (`timing`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from sales_pipeline.models.matrix import DAY, Floats, Indices, Texts

AFTER_DAYS = 14.0
"""Days after the stated close date that are a piece of their own."""


@dataclass(frozen=True)
class Clock:
    """What a row's pace may depend on, one element per row: all known at its as-of.

    `until` are the days to the end of the stated close date (negative: past; NaN: none), `age` those since creation (NaN: unknown),
    `as_of` the as-of in days since 1970-01-01, `amount` the CRM's amount.
    """

    stage: Texts
    kind: Texts
    as_of: Floats
    age: Floats
    until: Floats
    amount: Floats

    @classmethod
    def of(cls, keys: pd.DataFrame) -> Clock:
        """From a matrix's keys."""
        as_of = keys["as_of_us"].to_numpy(dtype=np.float64)
        until = (keys["crm_close_us"].to_numpy(dtype=np.float64) - as_of) / DAY
        age = (as_of - keys["created_us"].to_numpy(dtype=np.float64)) / DAY
        return cls(
            Texts.of(keys["stage"]),
            Texts.of(keys["kind"]),
            as_of / DAY,
            np.where(np.isfinite(age), np.maximum(age, 0.0), np.nan),
            np.where(np.isfinite(until), np.clip(until, -3650.0, 3650.0), np.nan),
            keys["amount"].to_numpy(dtype=np.float64),
        )

    def take(self, rows: Any) -> Clock:
        """Those rows."""
        return Clock(
            self.stage.take(rows),
            self.kind.take(rows),
            *(getattr(self, name)[rows] for name in ("as_of", "age", "until", "amount")),
        )

    def __len__(self) -> int:
        return len(self.as_of)


@dataclass(frozen=True)
class Pieces:
    """The pieces of some rows, by state: rows of one as-of and one stated close date are in the same.

    state
        (rows,): the state of each row.
    as_of, until
        (states,): as `Clock` has them.
    starts
        (pieces, states): ascending, in days after the as-of. Starts may coincide: such a piece is empty. The last piece has no end.
    """

    state: Indices
    as_of: Floats
    until: Floats
    starts: Floats

    @classmethod
    def of(cls, edges: Floats, clock: Clock) -> Pieces:
        """The intervals that start at `edges`, split at the stated close day's start and end, and some days on."""
        day, days = pd.factorize(clock.as_of)
        end, ends = pd.factorize(clock.until, use_na_sentinel=False)
        state, found = pd.factorize(day * len(ends) + end)
        until = ends[found % max(len(ends), 1)]
        known = np.where(np.isfinite(until), until, 0.0)
        # Beyond the last interval's start nothing is split: the tail has one rate.
        own = np.clip([known - 1.0, known, known + AFTER_DAYS], 0.0, edges[-1])
        starts = np.concatenate([np.broadcast_to(edges[:, None], (len(edges), len(until))), own])
        return cls(state, days[found // max(len(ends), 1)], until, np.sort(starts, axis=0))

    @cached_property
    def widths(self) -> Floats:
        """(pieces - 1, states): days of each piece but the last."""
        return np.diff(self.starts, axis=0)

    @cached_property
    def around_close_date(self) -> tuple[Floats, ...]:
        """Where each piece lies to the stated close date, as columns of a design, each (pieces, states): none stated; it has passed, and how far; the piece's
        start is the day itself, how far before it, within `AFTER_DAYS` of it, later.
        """
        known = np.isfinite(self.until)
        distance = np.where(known, self.until, 0.0) - self.starts
        everywhere = np.ones(self.starts.shape, dtype=bool)
        overdue = known & (self.until <= 0) & everywhere
        ahead = known & ~overdue
        return (
            (~known & everywhere).astype(np.float64),
            overdue.astype(np.float64),
            np.where(overdue, np.log1p(np.maximum(-distance, 0.0)) / 2.0, 0.0),
            (ahead & (distance > 0.0) & (distance <= 1.0 + 1e-9)).astype(np.float64),
            np.where(ahead & (distance > 0.0), np.log1p(np.maximum(distance, 0.0)) / 2.0, 0.0),
            (ahead & (distance <= 0.0) & (distance > -AFTER_DAYS)).astype(np.float64),
            (ahead & (distance <= -AFTER_DAYS)).astype(np.float64),
        )

    @cached_property
    def around_quarter_end(self) -> tuple[Floats, ...]:
        """Shares of each piece's days within the last three weeks, and within the first ten days, of a calendar quarter."""
        starts = self.starts
        if not starts.size:
            return starts, starts
        first = np.floor(self.as_of) + starts
        ends = np.concatenate([starts[1:], starts[-1:] + 91.0])
        last = np.floor(self.as_of) + np.maximum(ends, starts + 1.0)
        lowest, highest = int(np.floor(first.min())), int(np.ceil(last.max())) + 1
        days = np.arange(lowest, highest, dtype=np.int64).astype("datetime64[D]")
        month = days.astype("datetime64[M]").astype(np.int64)
        begin = (month - month % 3).astype("datetime64[M]").astype("datetime64[D]")
        following = (month - month % 3 + 3).astype("datetime64[M]").astype("datetime64[D]")
        shares: list[Floats] = []
        for inside in ((following - days).astype(np.int64) <= 21, (days - begin).astype(np.int64) < 10):
            running = np.concatenate([[0.0], np.cumsum(inside)])
            position = np.arange(lowest, highest + 1, dtype=np.float64)
            covered = np.interp(last, position, running) - np.interp(first, position, running)
            shares.append(covered / (last - first))
        return tuple(shares)

    def at(self, days: Floats) -> Indices:
        """The piece each row's number of days lies in; the first where it is below 0."""
        piece = np.zeros(len(self.state), dtype=np.int64)
        for starts in self.starts[1:]:
            piece += starts[self.state] <= days
        return piece


@dataclass(frozen=True)
class Course:
    """How something comes to rows over time: its rate per day on each piece, and what that adds up to by the piece's start, both (pieces, rows)."""

    pieces: Pieces
    rates: Floats

    @cached_property
    def before(self) -> Floats:
        """The integrated rate up to the start of each piece."""
        total = np.zeros(self.rates.shape)
        for piece, widths in enumerate(self.pieces.widths):
            np.multiply(self.rates[piece], widths[self.pieces.state], out=total[piece + 1])
            total[piece + 1] += total[piece]
        return total

    def by(self, days: Floats) -> Floats:
        """The integrated rate from the as-of to each row's number of days; 0 at and below 0 days."""
        piece = self.pieces.at(days)
        every = np.arange(len(piece))
        start = self.pieces.starts[piece, self.pieces.state]
        return np.asarray(self.before[piece, every] + self.rates[piece, every] * np.maximum(days - start, 0.0))
