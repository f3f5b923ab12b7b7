from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sales_pipeline.domain.identifiers import digest_of, to_sfid18
from sales_pipeline.domain.money import to_amount
from sales_pipeline.domain.time import AsOf, Window, zone
from sales_pipeline.errors import ConfigurationError


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("006x0000001YtCr", "006x0000001YtCrAAK"),
        ("001x0000002xLD0", "001x0000002xLD0AAM"),
        ("005x0000000fNSi", "005x0000000fNSiAAM"),
        ("0015500000Xyy06", "0015500000Xyy06AAB"),
    ],
)
def test_salesforce_ids_get_their_checksum(short: str, long: str) -> None:
    assert to_sfid18(short) == long
    assert to_sfid18(long) == long


def test_a_case_folded_id_is_repaired() -> None:
    assert to_sfid18("006X0000001YTCRAAK") == "006x0000001YtCrAAK"
    assert to_sfid18("006x0000001ytcraak") == "006x0000001YtCrAAK"


@pytest.mark.parametrize("other", ["", "1C1I7A6R", "D-000123", "006x0000001YtC!"])
def test_other_ids_are_left_alone(other: str) -> None:
    assert to_sfid18(other) == other


@given(st.text(alphabet="ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", min_size=15, max_size=15))
def test_folding_the_case_of_any_id_loses_nothing(short: str) -> None:
    long = to_sfid18(short)
    assert to_sfid18(long.lower()) == long
    assert to_sfid18(long.upper()) == long


def test_an_as_of_is_the_end_of_its_day_in_its_zone() -> None:
    as_of = AsOf.end_of_day(date(2026, 3, 29), "Europe/Berlin")
    assert as_of.instant == datetime(2026, 3, 29, 22, tzinfo=UTC)
    assert as_of.day("Europe/Berlin") == date(2026, 3, 29)
    assert as_of.isoformat() == "2026-03-29T22:00:00Z"


def test_an_as_of_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        AsOf(datetime(2026, 1, 1))


def test_an_unknown_zone_says_what_was_expected() -> None:
    with pytest.raises(ConfigurationError, match="IANA"):
        zone("Mars/Olympus")


def test_windows_are_half_open() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    window = Window(start, start + timedelta(days=1))
    assert start in window
    assert start + timedelta(days=1) not in window
    with pytest.raises(ValueError, match="ends before"):
        Window(start, start - timedelta(days=1))


def test_amounts_round_half_up_to_cents() -> None:
    assert to_amount("2.345") == Decimal("2.35")
    assert to_amount(-2.5) == Decimal("-2.50")


def test_digests_do_not_depend_on_the_order_of_keys() -> None:
    assert digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})
    assert digest_of("a") != digest_of("b")
