"""What is open: chances meet the published horizons, nothing is counted that cannot be, and everything left out is counted."""

from datetime import date
from decimal import Decimal

import numpy as np
import pytest

from sales_pipeline.sales_management.currency import Exchange
from sales_pipeline.sales_management.deals import deals_of
from sales_pipeline.sales_management.periods import as_of_us, horizon
from sales_pipeline.sales_management.pipeline import PastWins, Pipeline, log_spread, read_pipeline, won_by
from tests.support.forecast_rows import PARAMS, history, past, scored
from tests.support.scored_rows import AS_OF

NOTHING = PastWins(np.zeros(0), np.zeros(0))
EURO = Exchange("EUR", {"EUR": 1.0, "USD": 1.25})


def read(*rows: tuple[str, float | None, dict[str, object]]) -> Pipeline:
    return read_pipeline(scored(*rows), horizon(AS_OF, PARAMS, "UTC"), EURO, NOTHING)


def test_chances_meet_the_horizons_and_never_fall() -> None:
    p, p30, p90 = np.array([0.6, 0.2, 0.9]), np.array([0.1, 0.0, 0.9]), np.array([0.3, 0.05, 0.9])
    days = np.array([0.0, 10.0, 30.0, 60.0, 90.0, 180.0, 5000.0])
    for wins_of in (NOTHING, _steady()):
        wins = won_by(p, p30, p90, days, np.array([50.0, np.nan, 200.0]), wins_of)
        assert np.allclose(wins[:, 2], p30, atol=1e-6)
        assert np.allclose(wins[:, 4], p90, atol=1e-6)
        assert np.all(wins[:, 0] == 0)
        assert np.all(np.diff(wins, axis=1) >= -1e-12)
        assert np.all(wins <= p[:, None] + 1e-9)


def _steady() -> PastWins:
    return PastWins(np.linspace(1, 400, 400), np.full(400, 1e-3))


def test_between_horizons_wins_lie_as_past_wins_of_that_age() -> None:
    late = PastWins(np.concatenate([np.full(10, 130.0), np.full(30, 180.0)]), np.full(40, 1e-3))
    chances = np.array([0.8]), np.array([0.0]), np.array([0.4])
    wins = won_by(*chances, np.array([35.0, 85.0, 100.0]), np.array([100.0]), late)
    # Ages 130 to 190 days: a quarter of the past wins lies right at the start, the others at 180, 80 days from now.
    assert wins[0, 0] == pytest.approx(0.0)
    assert wins[0, 1] == pytest.approx(0.4)


def test_what_cannot_be_counted_is_named_and_not_replaced() -> None:
    found = read(
        ("a", 0.5, {}),
        ("b", None, {"crm_probability": 0.9}),
        ("c", 0.5, {"expected_amount": None, "expected_amount_low": None, "expected_amount_high": None}),
        ("d", 0.5, {"currency": "GBP"}),
        ("e", 0.5, {"win_probability_30d": None, "win_probability_90d": None, "crm_close_date": date(2026, 6, 1)}),
        ("f", 0.5, {"kind": "lead"}),
    )
    assert found.opportunity_id.tolist() == ["a", "b", "c", "d", "e"]
    assert found.omission.tolist() == ["", "no_score", "no_amount", "no_rate", "no_time"]
    assert found.lead_count == 1
    assert found.expected_cents()[1:].sum() == 0
    assert found.expected_cents()[0].sum() > 0


def test_without_closing_times_all_of_the_chance_lies_in_the_month_of_the_crm_date() -> None:
    untimed = {"win_probability_30d": None, "win_probability_90d": None}
    found = read(
        ("a", 0.5, {**untimed, "crm_close_date": date(2026, 8, 31)}),
        ("b", 0.5, {**untimed, "crm_close_date": date(2031, 1, 1)}),
    )
    assert found.by_crm_date == 2
    assert found.expected_cents()[0].tolist() == [0, 50_000, 0, 0, 0, 0, 0, 0, 0]
    assert found.expected_cents()[1].sum() == 0


def test_amounts_are_converted_at_the_rates_given() -> None:
    found = read(("a", 0.5, {"currency": "USD"}), ("b", 0.5, {}))
    assert found.cents.tolist() == [80_000.0, 100_000.0]


def test_the_spread_of_amounts_is_that_of_their_interval() -> None:
    low, high = np.exp(-1.2815515655446004 * 0.3), np.exp(1.2815515655446004 * 0.3)
    assert log_spread(np.array([low, 0.0, np.nan]), np.array([high, 5.0, 1.0])) == pytest.approx([0.3, 0.0, 0.0])


def test_ages_of_open_deals_are_known_from_the_past() -> None:
    deals = deals_of(past(history(weeks=30)).deals, Exchange("EUR", {}))
    known = PastWins.of(deals.known_at(as_of_us(AS_OF)), PARAMS)
    assert known.ages_of(np.array(["past-0000", "unknown"], dtype=object))[0] == pytest.approx(7.0 * 0.5 / 4)
    assert np.isnan(known.ages_of(np.array(["unknown"], dtype=object))[0])
    assert np.all(np.diff(known.win_ages) >= 0)
    assert Decimal(str(round(float(known.shares.sum()), 2))) > 0
