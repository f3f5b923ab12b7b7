from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from sales_pipeline.domain.time import AsOf
from sales_pipeline.errors import ConfigurationError
from sales_pipeline.follow_up.capacity import Owners, learned_minutes
from sales_pipeline.follow_up.params import CapacityLearning, FollowUpParams, OwnerSetting

AS_OF = AsOf(datetime(2026, 7, 1, tzinfo=UTC))


def people(
    rows: dict[str, dict[str, Any]] | None = None, learned: dict[str, int] | None = None, **params: Any
) -> Owners:
    return Owners(FollowUpParams(**params), AS_OF, rows or {}, learned or {})


def contact_days(owner_id: str, minutes: list[int]) -> pa.Table:
    """A day each, of five-minute pieces: calls take 5 minutes here."""
    return pa.Table.from_pylist(
        [
            {"owner_id": owner_id, "occurred_on": date(2026, 5, 1 + n), "kind": "call", "contact_count": m // 5}
            for n, m in enumerate(minutes)
        ]
    )


LEARNING = FollowUpParams(minutes={"call": 5, "email": 10, "meeting": 45})


def test_a_full_day_is_learned_from_the_days_with_contacts() -> None:
    usual = [60, 70, 80, 90, 100, 110, 120, 130, 140, 1000]  # the 80 % quantile is 132; the long day does not move it
    assert learned_minutes(contact_days("s", usual), LEARNING) == {"s": 130}


@pytest.mark.parametrize(("minutes", "learned"), [([10] * 10, {"s": 60}), ([900] * 10, {"s": 360}), ([100] * 9, {})])
def test_what_is_learned_keeps_its_bounds_and_needs_days(minutes: list[int], learned: dict[str, int]) -> None:
    assert learned_minutes(contact_days("s", minutes), LEARNING) == learned


def test_kinds_take_their_own_minutes_and_add_up_by_day() -> None:
    rows = [
        {"owner_id": "s", "occurred_on": date(2026, 5, 1 + n), "kind": kind, "contact_count": 2}
        for n in range(10)
        for kind in ("email", "meeting")
    ]
    assert learned_minutes(pa.Table.from_pylist(rows), LEARNING) == {"s": 110}


def test_what_is_said_of_one_owner_holds_before_what_is_said_of_all() -> None:
    rows = {"b": {"capacity_minutes": 200}, "c": {"capacity_minutes": None}}
    learned = {"a": 100, "b": 100, "c": 100}
    found = people(rows, learned, owners={"a": OwnerSetting(capacity_minutes=0)})
    assert [(found.day(name).capacity_minutes, found.day(name).capacity_basis) for name in "abcd"] == [
        (0, "owner_setting"),
        (200, "owners_table"),
        (100, "learned"),
        (240, "default"),
    ]
    assert people(rows, learned, capacity_minutes_per_day=90).day("c").capacity_basis == "setting"


def test_every_owner_has_the_calendar_of_his_place() -> None:
    rows = {"tokyo": {"time_zone": "Asia/Tokyo", "country": "JP"}, "berlin": {}}
    setting = OwnerSetting(country="DE", time_zone="Europe/Berlin", work_to=time(16))
    found = people(rows, owners={"berlin": setting})
    # as_of is nine in the morning of 1 July in Tokyo, two at night in Berlin
    assert found.day("tokyo").due_at == datetime(2026, 7, 1, 8, tzinfo=UTC)
    assert found.day("berlin").due_at == datetime(2026, 7, 1, 14, tzinfo=UTC)
    assert found.day("nobody").due_at == datetime(2026, 7, 1, 17, tzinfo=UTC)


def test_a_place_in_the_crm_that_no_library_knows_leaves_the_settings_in_force() -> None:
    rows = {
        "s": {"time_zone": "Mars/Olympus", "country": "Utopia"},
        "t": {"time_zone": "Asia/Tokyo", "country": "Utopia"},
    }
    found = people(rows, country="DE", time_zone="Europe/Berlin")
    assert found.day("s").due_at == datetime(2026, 7, 1, 15, tzinfo=UTC)
    assert found.day("t").due_at == datetime(2026, 7, 1, 8, tzinfo=UTC)


def test_a_place_in_the_settings_that_no_library_knows_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="unknown country"):
        people(owners={"s": OwnerSetting(country="Utopia")}).day("s")


def test_part_time_days() -> None:
    found = people(owners={"s": OwnerSetting(working_days=("mon",))})
    assert found.day("s").due_at == datetime(2026, 7, 6, 17, tzinfo=UTC)


def test_clocks_may_be_written_without_quotes_in_yaml() -> None:
    import yaml

    assert FollowUpParams(**yaml.safe_load("work_from: 08:30\nwork_to: 17:30\nquiet_from: 21:00")).work_to == time(
        17, 30
    )


def test_bounds_the_wrong_way_round_are_refused() -> None:
    with pytest.raises(ValidationError, match="floor is above ceiling"):
        CapacityLearning(floor=100, ceiling=50)


def test_managers_and_colleagues_are_active_ones() -> None:
    rows = {
        "gone": {"team": "t", "manager_id": "boss", "is_active": False},
        "boss": {"team": "b", "is_active": True},
        "one": {"team": "t", "is_active": None},
        "left": {"team": "t", "manager_id": "gone", "is_active": False},
        "loner": {"team": None, "manager_id": "loner", "is_active": False},
    }
    found = people(rows)
    assert (found.active_manager("gone"), found.colleagues("gone")) == ("boss", ["one"])
    assert (found.active_manager("left"), found.active_manager("loner"), found.colleagues("loner")) == (None, None, [])
    assert found.active_manager("unknown") is None
