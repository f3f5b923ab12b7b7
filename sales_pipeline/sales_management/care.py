"""What to do for an account next: stated rules, the first that holds.

1. `solve_case`: a case has been open for `case_days` or longer.
2. `ask_about_satisfaction`: satisfaction lies in the lowest share (`low_satisfaction`) of all accounts that answered, and below their median.
3. `answer_customer`: the customer spoke last, `answer_days` ago or longer, but within 90 days.
4. `win_back`: bought more than once or for much (money score 4 or 5), nothing is open, and the risk of silence is high.
5. `revive_contact`: contacts by the customer have fallen, by the test of `engagement_trend`.
6. `offer_product`: a product fits next, it is not on offer already, and the risk of silence is not high.
7. `check_in`: a customer without contact for `check_in_days`, or without any on record.
8. `none`.

The order is a judgement: what the customer waits for comes before what we want. Belongs here: the rules. Does not belong here: the figures (`accounts`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sales_pipeline.contracts.management import INBOUND_DAYS
from sales_pipeline.features.terms import Language
from sales_pipeline.sales_management.params import AccountParams
from sales_pipeline.sales_management.wording import CARE_TEXTS

LARGE = 4
"""Money score from which an account is large."""

CARE_INPUTS = (
    "won_count",
    "purchase_days",
    "monetary_score",
    "open_count",
    "days_since_last_win",
    "days_since_last_contact",
    "silence_level",
    "silence_risk",
    "engagement_trend",
    "inbound_count_90d",
    "inbound_count_previous_90d",
    "inbound_days",
    "open_case_count",
    "case_days",
    "survey_count",
    "satisfaction",
    "is_dissatisfied",
    "next_product_id",
    "next_product_because",
    "next_product_support",
    "next_product_confidence",
    "next_product_lift",
    "is_on_offer",
)
"""What the rules look at."""


def care(
    account: Mapping[str, Any], params: AccountParams, language: Language, *, has_activities: bool
) -> tuple[str, str]:
    """Action and reason for an account.

    `account`: CARE_INPUTS of ACCOUNT_INSIGHTS, with `case_days`, `inbound_days` (days since the customer's last contact where nothing of ours came after
    it, else None) and `is_dissatisfied` beside them.
    """
    action, text, values = _judged(account, params, has_activities=has_activities)
    return action, CARE_TEXTS[language][text].format(**values)


def _judged(
    account: Mapping[str, Any], params: AccountParams, *, has_activities: bool
) -> tuple[str, str, dict[str, Any]]:
    won, silence = account["won_count"], account["silence_level"]
    if (account["case_days"] or 0) >= params.case_days and account["open_case_count"]:
        return _said("solve_case", open_case_count=account["open_case_count"], case_days=account["case_days"])
    if account["is_dissatisfied"]:
        return _said(
            "ask_about_satisfaction",
            satisfaction=f"{account['satisfaction']:.1f}",
            survey_count=account["survey_count"],
            low_share=round(100 * params.low_satisfaction),
        )
    if account["inbound_days"] is not None and params.answer_days <= account["inbound_days"] <= INBOUND_DAYS:
        return _said("answer_customer", inbound_days=account["inbound_days"])
    is_worth_it = account["purchase_days"] > 1 or (account["monetary_score"] or 0) >= LARGE
    if (
        won
        and is_worth_it
        and silence == "high"
        and not account["open_count"]
        and account["days_since_last_win"] is not None
    ):
        values = {"won_count": won, "win_days": account["days_since_last_win"]}
        if account["silence_risk"] is None:
            return "win_back", "win_back_by_rule", values
        return "win_back", "win_back", values | {"silence": f"{account['silence_risk']:.2f}"}
    if account["engagement_trend"] == "falling":
        return _said(
            "revive_contact",
            inbound_before=account["inbound_count_previous_90d"],
            inbound_now=account["inbound_count_90d"],
        )
    if account["next_product_id"] is not None and not account["is_on_offer"] and silence != "high":
        return _said(
            "offer_product",
            because=account["next_product_because"],
            product=account["next_product_id"],
            confidence=round(100 * account["next_product_confidence"]),
            support=account["next_product_support"],
            lift=f"{account['next_product_lift']:.1f}",
        )
    if won and has_activities and account["days_since_last_contact"] is None:
        return "check_in", "check_in_never", {}
    if won and has_activities and account["days_since_last_contact"] >= params.check_in_days:
        return _said("check_in", contact_days=account["days_since_last_contact"])
    return _said("none")


def _said(action: str, **values: Any) -> tuple[str, str, dict[str, Any]]:
    return action, action, values
