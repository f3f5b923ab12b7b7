"""What was forecast at earlier dates, what came, and how right that was: FORECAST_HISTORY and FORECAST_ACCURACY.

Beside the forecast stand two simple ones: the CRM's stage-weighted pipeline (what is closed, plus the CRM's own probability times the amount of what the CRM expects to
close in the period) and the last complete period's total. Published runs do not keep the first, so it is known of replayed dates only.

Belongs here: rows and their judgement. Does not belong here: forecasting past dates (`replaying`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.contracts.forecast import FORECAST_ACCURACY, FORECAST_HISTORY, FORECAST_METHODS
from sales_pipeline.domain.time import zone as time_zone
from sales_pipeline.lake.tables import conform, read_table
from sales_pipeline.sales_management.deals import Known
from sales_pipeline.sales_management.figures import Key, closed_cents, keys
from sales_pipeline.sales_management.forecast import money
from sales_pipeline.sales_management.people import People
from sales_pipeline.sales_management.periods import Month, Period, before, instant_us, quarter_start
from sales_pipeline.sales_management.published import PastForecast

TOLD_LEVELS = ("company", "team")
ALL_AHEAD = -1
_SAID = {"forecast": "expected", "stage_weighted": "stage_weighted", "last_period": "last_period"}
ROW = ("level", "key", "period", "period_kind", "period_start", "period_end", "source", "said_at", "periods_ahead",
       "closed", "expected", "low", "high", "stage_weighted", "last_period", "came", "is_inside")  # fmt: skip
"""What a row says before as-of, currency and run are added."""


@dataclass(frozen=True)
class Came:
    """What was won in any period, as known at an instant: of keys by the owners of `people`."""

    known: Known
    people: People
    zone: str

    def cents(self, key: Key, start: date, end: date) -> int | None:
        """Won in [start, end); None where the period has not ended by then."""
        if (start, end) not in self._by_owner:
            edges = np.array([instant_us(start, self.zone), instant_us(end, self.zone)])
            is_over = edges[1] <= self.known.instant_us
            cents = closed_cents(self.known, self._places, len(self.people.owners), edges) if is_over else None
            self._by_owner[start, end] = cents
        by_owner = self._by_owner[start, end]
        return None if by_owner is None else int(by_owner[key.owners].sum())

    @cached_property
    def _by_owner(self) -> dict[tuple[date, date], npt.NDArray[np.int64] | None]:
        """By period what was asked for before: many dates spoke of the same one."""
        return {}

    @cached_property
    def _places(self) -> npt.NDArray[np.int64]:
        return self.people.places(self.known.deals.owner)


def judged(row: dict[str, Any], came: int | None) -> dict[str, Any]:
    """A row of what was said, with what came and whether that lies within the interval."""
    low, high = row["low"], row["high"]
    amount = money(came)
    inside = None if amount is None or low is None else bool(low <= amount <= high)
    return row | {"came": amount, "is_inside": inside}


def said_by_runs(
    runs: Sequence[PastForecast], came: Came, currency: str, fiscal_year_starts: int
) -> list[dict[str, Any]]:
    """Rows of what published runs said of company and teams; runs in another currency are passed over, keys nobody belongs to any more too."""
    named = {(key.level, key.name): key for key in keys(came.people) if key.level in TOLD_LEVELS}
    rows = []
    for run in runs:
        table = read_table(run.table)
        for said in table.filter(pc.is_in(table.column("level"), pa.array(TOLD_LEVELS))).to_pylist():
            key = named.get((said["level"], said["key"]))
            if key is None or said["currency"] != currency:
                continue
            row = {name: said.get(name) for name in ROW}
            row |= {"source": "run", "said_at": run.as_of, "stage_weighted": None, "last_period": None}
            row["periods_ahead"] = ahead(said, run.as_of, came.zone, fiscal_year_starts)
            rows.append(judged(row, came.cents(key, said["period_start"], said["period_end"])))
    return rows


def ahead(said: dict[str, Any], as_of: datetime, zone: str, fiscal_year_starts: int) -> int:
    """How many periods of its kind a period lies after the one of the as-of."""
    now = Month.of(as_of.astimezone(time_zone(zone)).date())
    first = Month.of(said["period_start"])
    if said["period_kind"] == "month":
        return first.minus(now)
    return first.minus(quarter_start(now, fiscal_year_starts)) // 3


def history_table(rows: Iterable[dict[str, Any]], as_of: datetime, currency: str, run_id: str) -> pa.Table:
    """FORECAST_HISTORY."""
    shared = {"as_of": as_of, "currency": currency, "run_id": run_id}
    complete = [row | shared for row in rows]
    return conform(pa.Table.from_pylist(complete, schema=arrow_schema(FORECAST_HISTORY)), FORECAST_HISTORY)


def accuracy_table(history: pa.Table, as_of: datetime, currency: str, run_id: str) -> pa.Table:
    """FORECAST_ACCURACY of FORECAST_HISTORY: every method on the same forecasts, those whose period has ended and that all methods made."""
    groups: dict[tuple[str, str, str, int], list[dict[str, Any]]] = defaultdict(list)
    for row in history.to_pylist():
        if row["came"] is None:
            continue
        for distance in (row["periods_ahead"], ALL_AHEAD):
            groups[row["source"], row["level"], row["period_kind"], distance].append(row)
    shared = {"as_of": as_of, "currency": currency, "run_id": run_id}
    rows = []
    for (source, level, kind, distance), found in groups.items():
        place = {"source": source, "level": level, "period_kind": kind, "periods_ahead": distance}
        methods = [name for name in FORECAST_METHODS if any(row[_SAID[name]] is not None for row in found)]
        shown = [row for row in found if all(row[_SAID[name]] is not None for name in methods)]
        rows += [place | {"method": name} | _figures(shown, name) | shared for name in methods]
    return conform(pa.Table.from_pylist(rows, schema=arrow_schema(FORECAST_ACCURACY)), FORECAST_ACCURACY)


def _figures(rows: list[dict[str, Any]], method: str) -> dict[str, Any]:
    said = np.array([float(row[_SAID[method]]) for row in rows])
    came = np.array([float(row["came"]) for row in rows])
    dates = len({row["said_at"] for row in rows})
    inside = [row["is_inside"] for row in rows if row["is_inside"] is not None] if method == "forecast" else []
    total = float(came.sum())
    return {
        "forecasts": len(rows),
        "dates": dates,
        "came": money(round(100 * float(came.mean()))) if len(rows) else None,
        "bias": float(said.sum()) / total - 1.0 if total > 0 else None,
        "mean_absolute_error": money(round(100 * float(np.abs(said - came).mean()))) if len(rows) else None,
        "covered_share": sum(inside) / len(inside) if inside else None,
        "note": "Forecasts of successive dates overlap: they are fewer independent ones than their number"
        if dates > 1
        else None,
    }


def last_complete(
    came: Came, key: Key, period: Period, first_us: float, zone: str, fiscal_year_starts: int
) -> int | None:
    """Won in the last period of the kind that was complete at the current one's start; None where nothing had been created by its start."""
    last = before(period, period.ahead + 1, fiscal_year_starts)
    if instant_us(last.start, zone) < first_us:
        return None
    return came.cents(key, last.start, last.end)
