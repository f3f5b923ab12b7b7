"""The day of each owner: minutes of selling time, working hours, and who stands in for whom.

Belongs here: what is known about owners, from settings, the owners table and past activities. Does not belong here: filling the
day (`allocation`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sales_pipeline.domain.time import AsOf
from sales_pipeline.engines.base import Engine
from sales_pipeline.errors import ConfigurationError
from sales_pipeline.follow_up.calendar import WorkingCalendar
from sales_pipeline.follow_up.params import CapacityLearning, FollowUpParams, OwnerSetting
from sales_pipeline.lake.tables import TableRef, read_table

_SQL = Path(__file__).parent / "sql"
_FROM_TABLE = ("team", "manager_id", "is_active", "country", "time_zone", "capacity_minutes")
_ROUNDED_TO_MINUTES = 5


@dataclass(frozen=True)
class OwnerDay:
    """One owner's next working day. `capacity_basis` is one of CAPACITY_BASES; instants are UTC.

    `holidays_before` counts the public holidays between as_of and the day.
    """

    owner_id: str
    capacity_minutes: int
    capacity_basis: str
    due_at: datetime
    expires_at: datetime
    holidays_before: int


@dataclass(frozen=True)
class Owners:
    """All that is known about owners: rows of the owners table by id, and the minutes learned from activities."""

    params: FollowUpParams
    as_of: AsOf
    rows: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    learned: Mapping[str, int] = field(default_factory=dict)

    def is_active(self, owner_id: str) -> bool:
        """Whether the owner still works here; taken as such where nothing is recorded."""
        return self.rows.get(owner_id, {}).get("is_active") is not False

    def day(self, owner_id: str) -> OwnerDay:
        """The owner's next working day; every owner has one, known to the owners table or not."""
        found = self._days.get(owner_id)
        if found is None:
            minutes, basis = self._capacity(owner_id)
            due_at, expires_at, holidays = self._dates(owner_id)
            found = self._days[owner_id] = OwnerDay(owner_id, minutes, basis, due_at, expires_at, holidays)
        return found

    def colleagues(self, owner_id: str) -> list[str]:
        """Active members of the owner's team by id, the owner left out."""
        team = self.rows.get(owner_id, {}).get("team")
        return [name for name in self._teams.get(team, ()) if name != owner_id] if team is not None else []

    def active_manager(self, owner_id: str) -> str | None:
        """The owner's manager, when the owners table knows him as active."""
        manager = self.rows.get(owner_id, {}).get("manager_id")
        if manager is None or manager not in self.rows or manager == owner_id:
            return None
        return str(manager) if self.is_active(manager) else None

    @cached_property
    def _days(self) -> dict[str, OwnerDay]:
        return {}

    @cached_property
    def _calendars(self) -> dict[tuple[Any, ...], tuple[datetime, datetime, int]]:
        return {}

    @cached_property
    def _teams(self) -> dict[Any, list[str]]:
        teams: dict[Any, list[str]] = {}
        for name in sorted(self.rows):
            if self.is_active(name):
                teams.setdefault(self.rows[name].get("team"), []).append(name)
        return teams

    def _capacity(self, owner_id: str) -> tuple[int, str]:
        setting = self.params.owners.get(owner_id, OwnerSetting())
        if setting.capacity_minutes is not None:
            return setting.capacity_minutes, "owner_setting"
        recorded = self.rows.get(owner_id, {}).get("capacity_minutes")
        if recorded is not None:
            return max(0, int(recorded)), "owners_table"
        if self.params.capacity_minutes_per_day is not None:
            return self.params.capacity_minutes_per_day, "setting"
        if owner_id in self.learned:
            return self.learned[owner_id], "learned"
        return self.params.default_capacity_minutes, "default"

    def _dates(self, owner_id: str) -> tuple[datetime, datetime, int]:
        params, row = self.params, self.rows.get(owner_id, {})
        setting = params.owners.get(owner_id, OwnerSetting())
        country = setting.country or row.get("country") or params.country
        time_zone = setting.time_zone or row.get("time_zone") or params.time_zone
        hours = (setting.work_from or params.work_from, setting.work_to or params.work_to)
        key = (country, time_zone, *hours, setting.working_days)
        if key not in self._calendars:
            calendar = self._calendar(country, time_zone, hours, setting, is_from_table=key[:2] != self._said(setting))
            self._calendars[key] = (
                calendar.due_at(self.as_of),
                calendar.end_of_working_day(self.as_of, params.expires_after_working_days),
                calendar.holidays_before(self.as_of),
            )
        return self._calendars[key]

    def _said(self, setting: OwnerSetting) -> tuple[str | None, str]:
        return setting.country or self.params.country, setting.time_zone or self.params.time_zone

    def _calendar(
        self,
        country: str | None,
        time_zone: str,
        hours: tuple[time, time],
        setting: OwnerSetting,
        *,
        is_from_table: bool,
    ) -> WorkingCalendar:
        params = self.params

        def of(country: str | None, time_zone: str) -> WorkingCalendar:
            return WorkingCalendar(
                country,
                time_zone,
                work_from=hours[0],
                work_to=hours[1],
                quiet_from=params.quiet_from,
                quiet_to=params.quiet_to,
                working_days=setting.working_days,
            )

        if not is_from_table:
            return of(country, time_zone)
        # A CRM's country or zone that no library knows is no reason to stop the day: the settings hold then.
        said_country, said_zone = self._said(setting)
        for place in ((country, time_zone), (said_country, time_zone), (country, said_zone)):
            try:
                return of(*place)
            except ConfigurationError:
                continue
        return of(said_country, said_zone)


def read_owners(
    owners: TableRef, activities: TableRef, *, as_of: AsOf, params: FollowUpParams, engine: Engine
) -> Owners:
    """What the owners table and the activities before `as_of` say about owners; both may be empty."""
    names = set(pq.read_schema(owners.path).names)
    columns = ["owner_id", *(name for name in _FROM_TABLE if name in names)]
    rows = {row["owner_id"]: row for row in read_table(owners, columns).to_pylist()}
    learned: dict[str, int] = {}
    if activities.rows and params.capacity_minutes_per_day is None:
        window = {"as_of": as_of.instant, "since": as_of.instant - timedelta(days=params.capacity_learning.days)}
        found = engine.query(_SQL / "contact_days.sql", {"activities": activities}, parameters=window)
        learned = learned_minutes(found, params)
    return Owners(params, as_of, rows, learned)


def learned_minutes(contact_days: pa.Table, params: FollowUpParams) -> dict[str, int]:
    """Capacity by owner from columns owner_id, occurred_on, kind, contact_count: see CapacityLearning."""
    import numpy as np

    learning: CapacityLearning = params.capacity_learning
    minutes_of = {"call": params.minutes.call, "email": params.minutes.email, "meeting": params.minutes.meeting}
    each = pa.array([minutes_of[kind] for kind in contact_days.column("kind").to_pylist()], pa.int64())
    minutes = pc.multiply(each, contact_days.column("contact_count"))
    days = contact_days.append_column("minutes", minutes).group_by(["owner_id", "occurred_on"])
    of_days = days.aggregate([("minutes", "sum")]).group_by("owner_id").aggregate([("minutes_sum", "list")])
    learned = {}
    owners, by_owner = (of_days.column(name).to_pylist() for name in ("owner_id", "minutes_sum_list"))
    counts = np.array([len(by_day) for by_day in by_owner], np.int64)
    for count in np.unique(counts[counts >= learning.least_days]):
        # Quantiles of one owner after the other take a hundred times as long.
        rows = np.flatnonzero(counts == count)
        full_days = np.quantile([sorted(by_owner[row]) for row in rows], learning.quantile, axis=1)
        for row, full_day in zip(rows.tolist(), full_days.tolist(), strict=True):
            rounded = _ROUNDED_TO_MINUTES * round(full_day / _ROUNDED_TO_MINUTES)
            learned[owners[row]] = min(max(rounded, learning.floor), learning.ceiling)
    return learned
