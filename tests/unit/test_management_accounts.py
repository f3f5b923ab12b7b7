"""The account table on customers small enough to count by hand, the rules of care one by one, and bad input."""

from __future__ import annotations

import itertools
import string
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from sales_pipeline.contracts.management import CARE_ACTIONS
from sales_pipeline.engines.duckdb import DuckDBEngine
from sales_pipeline.features.terms import Language
from sales_pipeline.sales_management.accounts import segment
from sales_pipeline.sales_management.care import care as care_of_all
from sales_pipeline.sales_management.checks import check_accounts
from sales_pipeline.sales_management.params import AccountParams
from sales_pipeline.sales_management.wording import CARE_TEXTS
from tests.support.managed import Company, activity, ago, opportunity

Found = Callable[..., dict[str, dict[str, Any]]]


@pytest.fixture(scope="module")
def engine() -> Iterator[DuckDBEngine]:
    with DuckDBEngine(threads=1) as running:
        yield running


@pytest.fixture
def found(tmp_path: Path, engine: DuckDBEngine) -> Found:
    places = itertools.count()

    def accounts(language: str = "en", params: dict[str, Any] | None = None, **rows: Any) -> dict[str, dict[str, Any]]:
        company = Company(tmp_path / str(next(places)), engine, **rows)
        table = company.account_table(language, **(params or {}))
        for verdict in check_accounts(table, company.scored):
            assert verdict.passed, verdict.message
        return {row["account_id"]: row for row in table.to_pylist()}

    return accounts


def bought(account: str, *days: float, **more: Any) -> list[dict[str, Any]]:
    """Wins of an account, so many days ago."""
    return [opportunity(f"{account}-{day}", day + 30, day, "won", account_id=account, **more) for day in days]


def test_what_was_bought_what_is_open_and_who_owns_the_account(found: Found) -> None:
    rows = found(
        owners=[{"owner_id": "u", "team": "North"}],
        accounts=[{"account_id": "a", "owner_id": "boss"}, {"account_id": "c", "owner_id": None}],
        opportunities=[
            *bought("a", 400, 10),
            opportunity("same day", 50, 10.2, "won", account_id="a"),
            opportunity("open", account_id="a", amount=Decimal("40.00")),
            opportunity("c1", account_id="c", amount=Decimal("60.00")),
            opportunity("lost", 80, 30, "lost", account_id="d"),
            opportunity("none", account_id=None),
        ],
    )
    assert set(rows) == {"a", "c"}
    a = rows["a"]
    assert (a["won_count"], a["purchase_days"], a["won_amount"], a["days_since_last_win"]) == (
        3,
        3,
        Decimal("300.00"),
        10,
    )
    assert (a["open_count"], a["open_value"], a["open_value_share"]) == (1, Decimal("40.00"), 0.4)
    assert (a["owner_id"], a["team"]) == ("boss", None)
    c = rows["c"]
    assert (c["owner_id"], c["team"], c["segment"], c["silence_level"], c["repeat_basis"]) == (
        "u",
        "North",
        "prospect",
        None,
        None,
    )
    assert c["last_won_at"] is c["recency_score"] is c["monetary_score"] is None


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ((5, 3, 4), "champion"),
        ((4, 1, 5), "new_customer"),
        ((3, 2, 1), "loyal"),
        ((5, 2, 5), "loyal"),
        ((3, 1, 5), "occasional"),
        ((2, 2, 1), "at_risk"),
        ((1, 1, 4), "at_risk"),
        ((2, 1, 3), "dormant"),
    ],
)
def test_segments_follow_their_rules(scores: tuple[int, int, int], expected: str) -> None:
    assert segment(*scores) == expected


def test_fifths_are_of_buyers_and_equal_values_share_one(found: Found) -> None:
    wins = [
        win for number in range(10) for win in bought(f"a{number}", 10 + 20 * number, amount=Decimal(100 + 10 * number))
    ]
    rows = found(opportunities=wins)
    assert [rows[f"a{number}"]["recency_score"] for number in range(10)] == [5, 5, 4, 4, 3, 3, 2, 2, 1, 1]
    assert [rows[f"a{number}"]["monetary_score"] for number in range(10)] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    same = found(opportunities=[win for number in range(4) for win in bought(f"a{number}", 50)])
    assert {row["recency_score"] for row in same.values()} == {3}


def test_where_all_bought_once_rules_speak_of_silence(found: Found) -> None:
    rows = found(opportunities=[win for number, day in enumerate((20, 200, 500)) for win in bought(f"a{number}", day)])
    assert [row["silence_level"] for row in rows.values()] == ["low", "medium", "high"]
    assert {row["repeat_basis"] for row in rows.values()} == {"rules"}
    assert all(row["p_alive"] is row["expected_purchases_12m"] is row["silence_risk"] is None for row in rows.values())


def test_with_repeat_buyers_a_model_speaks(found: Found) -> None:
    wins = [
        win
        for number in range(40)
        for win in bought(f"r{number}", 700 - 10 * number, 400 - 5 * number, 30 + 2 * number)
    ]
    wins += [win for number in range(40) for win in bought(f"s{number}", 20 + 15 * number)]
    rows = found(opportunities=wins)
    assert {row["repeat_basis"] for row in rows.values()} == {"bg_nbd"}
    repeated, once = rows["r0"], rows["s39"]
    assert repeated["expected_purchases_12m"] > once["expected_purchases_12m"]
    assert repeated["silence_risk"] < once["silence_risk"]
    assert once["p_alive"] == 1.0


def test_wins_without_a_day_are_counted_and_judged_by_no_time(found: Found) -> None:
    (row,) = found(opportunities=[opportunity("a", closed=None, state="won", created_at=None)]).values()
    assert (row["won_count"], row["purchase_days"], row["last_won_at"], row["silence_level"], row["repeat_basis"]) == (
        1,
        1,
        None,
        None,
        "rules",
    )
    assert row["segment"] == "occasional"


def test_contact_grows_or_fades_only_beyond_chance(found: Found) -> None:
    def contacts(account: str, now: int, before: int) -> list[dict[str, Any]]:
        days = [*(1 + number for number in range(now)), *(91 + number for number in range(before))]
        return [activity(f"{account}{day}", day, "inbound", opportunity_id=None, account_id=account) for day in days]

    opened = [opportunity(f"o{account}", account_id=account) for account in "abcd"]
    rows = found(opportunities=opened, activities=[*contacts("a", 2, 12), *contacts("b", 12, 2), *contacts("c", 3, 5)])
    assert [rows[account]["engagement_trend"] for account in "abcd"] == ["falling", "rising", "steady", "none"]
    assert (rows["a"]["inbound_count_90d"], rows["a"]["inbound_count_previous_90d"]) == (2, 12)
    assert (rows["d"]["last_contact_at"], rows["d"]["days_since_last_contact"]) == (None, None)
    assert found(opportunities=opened)["a"]["engagement_trend"] is None


def test_the_next_product_is_what_others_bought_with_it(found: Found) -> None:
    wins, lines = [], []
    for number in range(20):
        wins += bought(f"a{number}", 100 + number)
        products = ("p", "q") if number < 8 else ("p",) if number < 12 else ("r",)
        lines += [
            {"line_id": f"{number}-{product}", "opportunity_id": f"a{number}-{100 + number}", "product_id": product}
            for product in products
        ]
    wins.append(opportunity("offer", account_id="a9"))
    lines.append({"line_id": "offer", "opportunity_id": "offer", "product_id": "q"})
    rows = found(opportunities=wins, opportunity_products=lines)
    assert (rows["a8"]["next_product_id"], rows["a8"]["next_product_because"], rows["a8"]["next_product_support"]) == (
        "q",
        "p",
        8,
    )
    assert (rows["a8"]["next_product_confidence"], rows["a8"]["next_product_lift"]) == (
        pytest.approx(8 / 12, abs=1e-6),
        1.6667,
    )
    assert rows["a8"]["care_action"] == "offer_product"
    assert rows["a9"]["care_action"] == "none"
    assert rows["a0"]["next_product_id"] is rows["a15"]["next_product_id"] is None
    assert rows["a0"]["product_count"] == 2


def test_without_products_none_is_named(found: Found) -> None:
    (row,) = found(opportunities=bought("a", 10, 20)).values()
    assert (row["product_count"], row["next_product_id"], row["next_product_confidence"]) == (0, None, None)


def test_cases_and_survey_scores_count_from_when_they_were_known(found: Found) -> None:
    def case(
        name: str, opened: float, closed: float | None = None, score: float | None = None, account: str = "a"
    ) -> dict[str, Any]:
        return {
            "case_id": name,
            "account_id": account,
            "opened_at": ago(opened),
            "closed_at": None if closed is None else ago(closed),
            "score": score,
        }

    cases = [
        case("1", 50, 40, 2.0),
        case("2", 45, 44, 4.0),
        case("3", 20),
        case("4", 30, -5, 1.0),
        case("5", 500, 400, 1.0),
    ]
    cases += [case(f"b{number}", 60, 50, 5.0, "b") for number in range(3)]
    rows = found(
        opportunities=[opportunity("o"), opportunity("p", account_id="b"), opportunity("q", account_id="c")],
        cases=cases,
    )
    a = rows["a"]
    assert (a["open_case_count"], a["survey_count"], a["satisfaction"]) == (2, 2, 3.0)
    assert (a["care_action"], a["care_reason"]) == ("solve_case", "Open cases: 2, the oldest for 30 days.")
    assert (rows["b"]["satisfaction"], rows["b"]["care_action"]) == (5.0, "none")
    assert (rows["c"]["survey_count"], rows["c"]["satisfaction"]) == (0, None)
    without = found(opportunities=[opportunity("o")])["a"]
    assert without["open_case_count"] is without["survey_count"] is without["satisfaction"] is None


def test_reasons_are_told_in_chinese_where_reasons_are(found: Found) -> None:
    asked = [activity("a1", 5, "inbound")]
    rows = found("zh", opportunities=[opportunity("o")], activities=asked)
    assert (rows["a"]["care_action"], rows["a"]["care_reason"]) == (
        "answer_customer",
        "客户上次联系在 5 天前，尚未回复。",
    )
    english = found(opportunities=[opportunity("o")], activities=asked)
    assert english["a"]["care_reason"] == "The customer's last contact, 5 days ago, has no answer."


def test_an_account_with_5000_open_opportunities_is_one_row(found: Found) -> None:
    (row,) = found(opportunities=[opportunity(f"o{number}") for number in range(5_000)]).values()
    assert (row["open_count"], row["open_value"], row["open_value_share"]) == (5_000, Decimal("500000.00"), 1.0)


def test_no_history_gives_no_row_and_no_amount_no_share(found: Found) -> None:
    assert found(opportunities=[]) == {}
    (row,) = found(opportunities=[opportunity("o", amount=None)]).values()
    assert (row["open_value"], row["open_value_share"]) == (Decimal("0.00"), None)


def care(account: dict[str, Any], language: Language, *, has_activities: bool) -> tuple[str, str]:
    """Of one account, among others of which nothing is said."""
    many = {name: pa.array([QUIET[name], value, QUIET[name]]) for name, value in account.items()}
    actions, reasons = care_of_all(many, AccountParams(), language, has_activities=has_activities)
    assert actions[0] == actions[2] == "none"
    return actions[1], reasons[1]


QUIET = {
    "won_count": 2,
    "purchase_days": 2,
    "monetary_score": 3,
    "silence_level": "medium",
    "silence_risk": 0.6,
    "open_count": 0,
    "open_case_count": 0,
    "case_days": None,
    "is_dissatisfied": False,
    "satisfaction": None,
    "survey_count": 0,
    "inbound_days": None,
    "days_since_last_win": 200,
    "days_since_last_contact": 20,
    "engagement_trend": "steady",
    "inbound_count_90d": 1,
    "inbound_count_previous_90d": 9,
    "next_product_id": None,
    "next_product_because": "p",
    "next_product_confidence": 0.4,
    "next_product_support": 9,
    "next_product_lift": 1.5,
    "is_on_offer": False,
}


@pytest.mark.parametrize(
    ("values", "action", "told"),
    [
        ({}, "none", "Nothing is due"),
        ({"open_case_count": 1, "case_days": 14}, "solve_case", "14 days"),
        ({"open_case_count": 1, "case_days": 13}, "none", "Nothing"),
        (
            {"is_dissatisfied": True, "satisfaction": 2.25, "survey_count": 4},
            "ask_about_satisfaction",
            "2.2 (survey answers: 4), among the lowest 20 %",
        ),
        ({"inbound_days": 2}, "answer_customer", "2 days ago"),
        ({"inbound_days": 1}, "none", "Nothing"),
        ({"inbound_days": 91}, "none", "Nothing"),
        ({"silence_level": "high", "silence_risk": 0.91}, "win_back", "0.91"),
        ({"silence_level": "high", "silence_risk": None}, "win_back", "the last 200 days ago, nothing open."),
        ({"silence_level": "high", "open_count": 1}, "none", "Nothing"),
        ({"silence_level": "high", "purchase_days": 1}, "none", "Nothing"),
        ({"silence_level": "high", "purchase_days": 1, "monetary_score": 4}, "win_back", "Wins: 2"),
        ({"engagement_trend": "falling"}, "revive_contact", "from 9 to 1"),
        ({"next_product_id": "q"}, "offer_product", "Bought p; 40 % of its buyers bought q too (9 accounts, 1.5 times"),
        ({"next_product_id": "q", "is_on_offer": True}, "none", "Nothing"),
        ({"next_product_id": "q", "silence_level": "high", "open_count": 1}, "none", "Nothing"),
        ({"days_since_last_contact": 90}, "check_in", "90 days"),
        ({"days_since_last_contact": None}, "check_in", "without any contact"),
        ({"days_since_last_contact": None, "won_count": 0}, "none", "Nothing"),
    ],
)
def test_care_follows_its_rules(values: dict[str, Any], action: str, told: str) -> None:
    found, reason = care(QUIET | values, "en", has_activities=True)
    assert found == action
    assert told in reason
    assert care(QUIET | values, "zh", has_activities=True)[0] == action


def test_without_activities_nobody_is_checked_in_on() -> None:
    assert care(QUIET | {"days_since_last_contact": None}, "en", has_activities=False)[0] == "none"


def test_the_first_rule_that_holds_decides() -> None:
    everything = QUIET | {
        "open_case_count": 1,
        "case_days": 30,
        "is_dissatisfied": True,
        "satisfaction": 1.0,
        "inbound_days": 5,
    }
    assert care(everything, "en", has_activities=True)[0] == "solve_case"
    assert care(everything | {"case_days": 1}, "en", has_activities=True)[0] == "ask_about_satisfaction"


def test_both_languages_say_the_same_with_the_same_figures() -> None:
    fields = {
        language: {name: {part[1] for part in string.Formatter().parse(text)} for name, text in texts.items()}
        for language, texts in CARE_TEXTS.items()
    }
    assert fields["en"] == fields["zh"]
    assert set(CARE_ACTIONS) <= set(CARE_TEXTS["en"])
