"""Values that age a little every day do not make a changed row by themselves."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from sales_pipeline.delivery.kit import ObjectFacts
from sales_pipeline.delivery.state.settle import confirm_all
from sales_pipeline.delivery.targets.spec import FieldSpec
from sales_pipeline.lake.layout import Lake
from tests.support.kit_runs import kit_of, mapping, publish_rows, scored_row, text

FIELDS = [
    {"field": "win", "column": "win_probability", "notation": "decimal", "decimals": 4, "drift": 0.01},
    {"field": "amount", "column": "expected_amount", "notation": "decimal", "drift_share": 0.1},
    {"field": "closes", "column": "predicted_close_date", "notation": "date", "drift": 7},
]
DELIVERED: dict[str, Any] = {
    "win_probability": 0.5,
    "expected_amount": Decimal("1000.00"),
    "predicted_close_date": date(2026, 9, 1),
}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path)


def deliver(lake: Lake, number: int, **values: Any) -> tuple[ObjectFacts, str]:
    """The facts of the kit of another run of one opportunity, and its file; the kit is taken by the target."""
    row = scored_row("a") | DELIVERED | values
    kit = kit_of(lake, publish_rows(lake, f"run-{number}", [row]), mapping(item={"fields": FIELDS}))
    if kit.rows:
        confirm_all(lake, "crm", kit.folder)
    return kit.objects[0], text(kit, "scores.csv") if kit.rows else ""


@pytest.mark.parametrize(
    ("values", "is_changed"),
    [
        ({"win_probability": 0.51}, False),
        ({"win_probability": 0.49}, False),
        ({"win_probability": 0.5101}, True),
        ({"expected_amount": Decimal("1100.00")}, False),
        ({"expected_amount": Decimal("1100.01")}, True),
        ({"predicted_close_date": date(2026, 9, 8)}, False),
        ({"predicted_close_date": date(2026, 8, 24)}, True),
        ({"predicted_close_date": None}, True),
    ],
)
def test_a_difference_counts_beyond_the_field_s_drift(lake: Lake, values: dict[str, Any], is_changed: bool) -> None:
    deliver(lake, 1)
    facts, _ = deliver(lake, 2, **values)
    assert (facts.changed, facts.unchanged) == (int(is_changed), int(not is_changed))


def test_many_small_steps_add_up_to_a_change(lake: Lake) -> None:
    deliver(lake, 1)
    changed = [deliver(lake, number, win_probability=0.5 + 0.004 * (number - 1))[0].changed for number in range(2, 6)]
    assert changed == [0, 0, 1, 0]


def test_what_drifted_goes_along_when_something_else_changes(lake: Lake) -> None:
    deliver(lake, 1)
    _, file = deliver(lake, 2, win_probability=0.505, predicted_close_date=date(2026, 10, 1))
    assert file.splitlines()[1] == "a,0.5050,1000.00,2026-10-01"


def test_a_value_that_is_new_where_none_was_delivered_is_a_change(lake: Lake) -> None:
    deliver(lake, 1, predicted_close_date=None)
    assert deliver(lake, 2)[0].changed == 1


def test_only_numbers_and_dates_drift() -> None:
    with pytest.raises(ValidationError, match="only numbers and dates drift, and this is text"):
        FieldSpec(field="reason", column="reason_up", drift=1)
