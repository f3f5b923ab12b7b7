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

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sales_pipeline.contracts.management import INBOUND_DAYS
from sales_pipeline.features.terms import Language
from sales_pipeline.models.matrix import Floats
from sales_pipeline.sales_management.params import AccountParams
from sales_pipeline.sales_management.wording import CARE_TEXTS

Bools = npt.NDArray[np.bool_]
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


_FIGURES: Mapping[str, Mapping[str, str]] = {
    "solve_case": {"open_case_count": "open_case_count", "case_days": "case_days"},
    "ask_about_satisfaction": {"satisfaction": "satisfaction", "survey_count": "survey_count"},
    "answer_customer": {"inbound_days": "inbound_days"},
    "win_back_by_rule": {"won_count": "won_count", "win_days": "days_since_last_win"},
    "win_back": {"won_count": "won_count", "win_days": "days_since_last_win", "silence": "silence_risk"},
    "revive_contact": {"inbound_before": "inbound_count_previous_90d", "inbound_now": "inbound_count_90d"},
    "offer_product": {
        "because": "next_product_because",
        "product": "next_product_id",
        "confidence": "next_product_confidence",
        "support": "next_product_support",
        "lift": "next_product_lift",
    },
    "check_in_never": {},
    "check_in": {"contact_days": "days_since_last_contact"},
}
"""The texts in the order of the rules, each with its figures and the column each is."""
_SHOWN: Mapping[str, Callable[[Any], Any]] = {
    "satisfaction": "{:.1f}".format,
    "silence": "{:.2f}".format,
    "confidence": lambda share: round(100 * share),
    "lift": "{:.1f}".format,
}
"""How a figure is told; the others as they are."""


def care(
    accounts: Mapping[str, pa.Array], params: AccountParams, language: Language, *, has_activities: bool
) -> tuple[list[str], list[str]]:
    """Action and reason of each account.

    `accounts`: CARE_INPUTS of ACCOUNT_INSIGHTS by name, one value per account, with `case_days`, `inbound_days` (days since the customer's last contact where
    nothing of ours came after it, else None) and `is_dissatisfied` beside them.
    """
    texts = CARE_TEXTS[language]
    holds = _holds(accounts, params, has_activities=has_activities)
    count = len(accounts["won_count"])
    actions, reasons = ["none"] * count, [texts["none"]] * count
    is_left = np.ones(count, dtype=bool)
    for text, figures in _FIGURES.items():
        rows = np.flatnonzero(is_left & holds[text])
        is_left &= ~holds[text]
        told = [accounts[column].take(pa.array(rows)).to_pylist() for column in figures.values()]
        shown = [(name, _SHOWN.get(name, _as_it_is)) for name in figures]
        low_share = round(100 * params.low_satisfaction)
        action = _ACTIONS.get(text, text)
        for row, *values in zip(rows.tolist(), *told, strict=True):
            actions[row] = action
            said = {name: show(value) for (name, show), value in zip(shown, values, strict=True)}
            reasons[row] = texts[text].format(low_share=low_share, **said)
    return actions, reasons


_ACTIONS = {"win_back_by_rule": "win_back", "check_in_never": "check_in"}


def _holds(accounts: Mapping[str, pa.Array], params: AccountParams, *, has_activities: bool) -> dict[str, Bools]:
    """By text, the accounts it is true of."""

    def number(name: str) -> Floats:
        return np.asarray(accounts[name].cast(pa.float64()).to_numpy(zero_copy_only=False))

    def is_said(name: str, value: str) -> Bools:
        return np.asarray(
            pc.fill_null(pc.equal(accounts[name].cast(pa.string()), value), False).to_numpy(zero_copy_only=False)
        )

    def flag(name: str) -> Bools:
        return np.asarray(accounts[name].to_numpy(zero_copy_only=False), dtype=bool)

    # What is not known (NaN) is neither as large nor as small as anything.
    won, silence, contact = number("won_count") > 0, is_said("silence_level", "high"), number("days_since_last_contact")
    inbound, risk = number("inbound_days"), number("silence_risk")
    is_worth_it = (number("purchase_days") > 1) | (number("monetary_score") >= LARGE)
    is_lost = won & is_worth_it & silence & (number("open_count") == 0) & ~np.isnan(number("days_since_last_win"))
    is_named = np.asarray(accounts["next_product_id"].is_valid().to_numpy(zero_copy_only=False))
    return {
        "solve_case": (np.nan_to_num(number("case_days")) >= params.case_days) & (number("open_case_count") > 0),
        "ask_about_satisfaction": flag("is_dissatisfied"),
        "answer_customer": (params.answer_days <= inbound) & (inbound <= INBOUND_DAYS),
        "win_back_by_rule": is_lost & np.isnan(risk),
        "win_back": is_lost & ~np.isnan(risk),
        "revive_contact": is_said("engagement_trend", "falling"),
        "offer_product": is_named & ~flag("is_on_offer") & ~silence,
        "check_in_never": won & has_activities & np.isnan(contact),
        "check_in": won & has_activities & (contact >= params.check_in_days),
    }


def _as_it_is(value: Any) -> Any:
    return value
