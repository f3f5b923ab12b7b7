"""What the past says: deals read by SQL, new pipeline from a business whose law is known, quotas and rates."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from sales_pipeline.contracts.canonical import FIELD_HISTORY, OPPORTUNITIES, OPPORTUNITY_CHANGES
from sales_pipeline.engines.base import Engine
from sales_pipeline.engines.duckdb import DuckDBEngine
from sales_pipeline.features.preparation import prepare_into
from sales_pipeline.lake.tables import TableRef, write_table
from sales_pipeline.sales_management.currency import Exchange, exchange_at
from sales_pipeline.sales_management.deals import deals_of, read_deals
from sales_pipeline.sales_management.new_pipeline import creation_rate, learn_new_pipeline, wins_by_age
from sales_pipeline.sales_management.params import ForecastParams
from sales_pipeline.sales_management.people import gather_people
from sales_pipeline.sales_management.periods import Month, as_of_us
from sales_pipeline.sales_management.quota import read_quotas
from tests.support.forecast_rows import days_before, deal, history, owner, past, quota, rate
from tests.support.scored_rows import AS_OF, rows_of

DAY = 86_400e6
EURO = Exchange("EUR", {})
NOW = as_of_us(AS_OF)
PARAMS = ForecastParams()


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with DuckDBEngine(threads=1) as one:
        yield one


def texts(values: list[str]) -> pa.ChunkedArray:
    return pa.chunked_array([values], pa.string())


def at(day: int, hour: int = 12) -> datetime:
    return datetime(2026, 3, day, hour, tzinfo=UTC)


def tables(
    folder: Path,
    opportunities: list[dict[str, Any]],
    moves: list[tuple[str, datetime, str, int | None, str]],
    versioned: tuple[str, ...] = ("stage", "amount", "owner_id"),
) -> dict[str, TableRef]:
    shared = {"source_system": "crm", "kind": "opportunity", "currency": "EUR", "source_file": "f", "source_record": 1}
    changes = [
        {
            "source_system": "crm", "opportunity_id": name, "changed_at": when, "sequence": number, "is_creation": number == 0,
            "stage": state, "state": state, "amount": None if amount is None else Decimal(amount), "owner_id": who,
        }
        for number, (name, when, state, amount, who) in enumerate(moves)
    ]  # fmt: skip
    fields = [
        {"field": name, "is_versioned": name in versioned, "basis": "history" if name in versioned else "none"}
        for name in ("stage", "amount", "crm_close_date", "crm_probability", "owner_id")
    ]
    written = {
        "opportunities": write_table(
            rows_of(OPPORTUNITIES, [shared | row for row in opportunities]), folder / "o.parquet", OPPORTUNITIES
        ),
        "opportunity_changes": write_table(
            rows_of(OPPORTUNITY_CHANGES, changes), folder / "c.parquet", OPPORTUNITY_CHANGES
        ),
        "field_history": write_table(rows_of(FIELD_HISTORY, fields), folder / "f.parquet", FIELD_HISTORY),
    }
    with DuckDBEngine(threads=1) as one:
        return prepare_into(folder, written, one)


def opportunity(name: str, state: str, closed: datetime | None = None, **values: Any) -> dict[str, Any]:
    return {
        "opportunity_id": name,
        "state": state,
        "owner_id": "now",
        "amount": Decimal(900),
        "created_at": at(1),
        "closed_at": closed,
    } | values


def test_deals_are_read_with_amount_and_owner_at_the_closing(tmp_path: Path, engine: Engine) -> None:
    moves = [
        ("a", at(1), "open", 500, "first"),
        ("a", at(5), "won", 600, "second"),
        ("b", at(1), "open", 500, "first"),
        ("b", at(4), "lost", 500, "first"),
        ("b", at(6), "open", 500, "first"),
        ("b", at(9), "won", 700, "first"),
        ("c", at(1), "open", 500, "first"),
    ]
    found = read_deals(
        tables(
            tmp_path,
            [
                opportunity("a", "won", at(5)),
                opportunity("b", "won", at(9)),
                opportunity("c", "open"),
                opportunity("d", "won", at(3)),
                opportunity("e", "won", kind="lead"),
            ],
            moves,
        ),
        engine,
    ).to_pylist()
    told = [
        (row["opportunity_id"], row["is_won"], row["closed_at"], row["reopened_at"], row["amount"], row["owner_id"])
        for row in found
    ]
    assert told == [
        ("a", True, at(5), None, Decimal(600), "second"),
        ("b", False, at(4), at(6), Decimal(500), "first"),
        ("b", True, at(9), None, Decimal(700), "first"),
        ("c", None, None, None, Decimal(900), "now"),
        ("d", True, at(3), None, Decimal(900), "now"),
    ]


def test_without_history_the_last_seen_values_stand(tmp_path: Path, engine: Engine) -> None:
    moves = [("a", at(1), "open", None, "first"), ("a", at(5), "won", None, "first")]
    (row,) = read_deals(
        tables(tmp_path, [opportunity("a", "won", at(5))], moves, versioned=("stage",)), engine
    ).to_pylist()
    assert (row["amount"], row["owner_id"], row["closed_at"]) == (Decimal(900), "now", at(5))
    (row,) = read_deals(tables(tmp_path / "x", [opportunity("a", "won", at(7))], [], versioned=()), engine).to_pylist()
    assert (row["is_won"], row["closed_at"]) == (True, at(7))


def test_a_deal_is_known_strictly_after_it_closed_and_until_it_is_reopened() -> None:
    deals = deals_of(past([deal("a", days_before(90), days_before(30), reopened_at=days_before(10))]).deals, EURO)

    def is_won(days: float) -> bool:
        return bool(deals.known_at(NOW - days * DAY).won.any())

    assert [is_won(days) for days in (31, 30, 29, 10, 9)] == [False, False, True, True, False]


def test_new_pipeline_follows_a_known_law() -> None:
    deals = deals_of(past(history(weeks=150, per_week=20, win_share=0.3, days_to_close=60)).deals, EURO)
    ages, _, share = wins_by_age(deals.known_at(NOW), PARAMS)
    assert share.sum() == pytest.approx(0.3, abs=0.03)
    assert share[ages <= 60].sum() == pytest.approx(0.3 * (1 - np.exp(-1)), abs=0.03)
    days = np.array([0.0, 91.0, 182.0])
    found = learn_new_pipeline(deals, NOW + days[:-1] * DAY, NOW + days[1:] * DAY, NOW, PARAMS)
    assert found.rate == pytest.approx(20, rel=0.05)
    # Of deals created evenly, those won within t days of now: rate x share x (t - mean (1 - exp(-t / mean))).
    won = 20 / 7 * 0.3 * (days - 60 * (1 - np.exp(-days / 60)))
    assert found.counts() == pytest.approx(np.diff(won), rel=0.12)
    assert found.expected() / found.counts() == pytest.approx(np.full(2, 100 * np.exp(8 + 0.32)), rel=0.1)
    assert 0.05 < found.spread < 0.3
    assert found.judged > 3


def test_young_deals_speak_too() -> None:
    """Half a year of history: most deals are still open, and counting closed ones alone would say that a third of them is won within weeks."""
    deals = deals_of(past(history(weeks=26, per_week=40, win_share=0.3, days_to_close=200)).deals, EURO)
    ages, _, share = wins_by_age(deals.known_at(NOW), PARAMS)
    assert share[ages <= 100].sum() == pytest.approx(0.3 * (1 - np.exp(-0.5)), abs=0.02)


def test_creations_have_a_trend_where_they_show_one() -> None:
    steady = deals_of(past(history(weeks=100, per_week=10)).deals, EURO)
    level, rise = creation_rate(steady, NOW, PARAMS)
    assert level == pytest.approx(10, rel=0.02)
    assert abs(rise) < 0.01
    growing = [
        deal(f"d{week}-{number}", days_before(7 * week + 3)) for week in range(60) for number in range(70 - week)
    ]
    level, rise = creation_rate(deals_of(past(growing).deals, EURO), NOW, PARAMS)
    assert level == pytest.approx(70, rel=0.03)
    assert rise == pytest.approx(1.0, rel=0.15)
    assert creation_rate(deals_of(past([]).deals, EURO), NOW, PARAMS) == (0.0, 0.0)


def test_too_few_wins_say_nothing_about_new_pipeline() -> None:
    deals = deals_of(past([deal("a", days_before(90), days_before(30))]).deals, EURO)
    found = learn_new_pipeline(deals, np.array([NOW]), np.array([NOW + 90 * DAY]), NOW, PARAMS)
    assert found.counts().tolist() == [0.0]
    assert found.expected().tolist() == [0.0]


def test_the_corporate_currency_is_configured_else_that_of_rate_one_else_the_most_frequent() -> None:
    rates = past([], rates=[rate("EUR", 1.0), rate("USD", 1.25), rate("JPY", 160.0, date(2030, 1, 1))]).exchange_rates
    day = date(2026, 6, 30)
    assert exchange_at(rates, texts(["USD", "USD", "EUR"]), day).currency == "EUR"
    chosen = exchange_at(rates, texts(["USD"]), day, wanted="USD")
    assert chosen.factors(np.array(["USD", "EUR", "JPY"], dtype=object))[:2] == pytest.approx([1.0, 1.25])
    assert np.isnan(chosen.factors(np.array(["JPY"], dtype=object))[0])
    assert exchange_at(rates, texts(["GBP", "GBP"]), day).currency == "GBP"
    none = past([]).exchange_rates
    assert exchange_at(none, texts(["GBP", "USD", "USD"]), day).currency == "USD"
    assert exchange_at(none, texts([]), day, spoken_for="CHF").currency == "CHF"


def test_quotas_are_spread_over_months_and_the_shortest_period_speaks() -> None:
    rows = [
        quota("a", date(2026, 7, 1), date(2026, 10, 1), 100),
        quota("a", date(2026, 8, 1), date(2026, 9, 1), 50),
        quota("b", date(2026, 6, 16), date(2026, 7, 16), 300),
    ]
    owners = past([], owners=[owner("a"), owner("b")]).owners
    people = gather_people(owners, [np.array(["a", "b"], dtype=object)])
    months = [Month(2026, number) for number in (7, 8, 9)]
    found = read_quotas(past([], quotas=rows).quotas, owners, people, months, EURO)
    assert found.cents[0].tolist() == [3333.0, 5000.0, 3334.0]
    assert found.cents[1][0] == 15000.0
    assert np.isnan(found.cents[1][1])
    assert found.of(np.array([0, 1]), [0], is_one=False) == 18333
    assert found.of(np.array([1]), [0, 1], is_one=True) is None
