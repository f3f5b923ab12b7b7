"""The published tables of sales management: the team table with its stage times, and the account table.

Levels add up: the rows of owners to those of teams, those of teams to the company's. What has no owner, or an owner without a team, stands under
the key `unassigned`.

Belongs here: declarations. Does not belong here: how a figure is computed (`sales_management`), and the tables of single opportunities (`published`).
"""

from __future__ import annotations

from typing import Any

from sales_pipeline.contracts.model import Column, Table
from sales_pipeline.contracts.shared import AS_OF, PROBABILITY, RUN, SOURCE

C = Column
_COUNT: dict[str, Any] = {"minimum": 0}
_RATIO: dict[str, Any] = {"minimum": 0.0, "decimals": 4}

LEVELS = ("company", "team", "owner")
COMPANY = "company"
"""The key of the company's row."""
CLOSED_DAYS = 365
TIMES_DAYS = 730
ACTIVE_DAYS = 30
INBOUND_DAYS = 90
TREND_DAYS = 90
SURVEY_DAYS = 365
"""How far back from the as-of each kind of figure looks; the columns' meanings say so in words."""
UNASSIGNED = "unassigned"
"""The key of what has no owner, or whose owner has no team."""
RATE_VERDICTS = ("above", "below", "not_told_apart")
RATE_BASES = ("mix_model", "company_rate")
SEGMENTS = ("prospect", "champion", "new_customer", "loyal", "occasional", "at_risk", "dormant")
TRENDS = ("rising", "steady", "falling", "none")
SILENCE_LEVELS = ("low", "medium", "high")
REPEAT_BASES = ("bg_nbd", "rules")
CARE_ACTIONS = (
    "solve_case",
    "ask_about_satisfaction",
    "answer_customer",
    "win_back",
    "revive_contact",
    "offer_product",
    "check_in",
    "none",
)

_LEVEL = C("level", "string", "what the row is about", required=True, allowed=LEVELS)
_KEY = C(
    "key",
    "string",
    f"team or owner; `{COMPANY}` for the company, `{UNASSIGNED}` for what has no owner or no team",
    required=True,
)
_CURRENCY = C("currency", "string", "ISO 4217 code of all amounts in the row", required=True)

_NO_FORECAST = "the forecast does not know the key"

TEAM_PERFORMANCE = Table(
    "team_performance",
    "one row per company, team and owner; in no order of merit",
    ("level", "key"),
    (
        _LEVEL,
        _KEY,
        AS_OF,
        C("team", "string", "team of the owner", null_means="not an owner's row, or no team recorded"),
        C("is_active", "boolean", "the owner still works here", null_means="not an owner's row, or not recorded"),
        C("owner_count", "int64", "owners with figures in the row", required=True, **_COUNT),
        _CURRENCY,
        C(
            "counted_kind",
            "string",
            "what win rate, times, slipped and stale count: opportunities, or leads where the exports hold nothing else",
            required=True,
            allowed=("opportunity", "lead"),
        ),
        C("open_count", "int64", "opportunities and leads open at as_of", required=True, **_COUNT),
        C("open_value", "amount", "sum of the CRM's amounts of the open ones", unit="currency", required=True),
        C(
            "expected_value",
            "amount",
            "sum of expected_value of the open ones",
            unit="currency",
            required=True,
            minimum=0,
        ),
        C(
            "unvalued_count",
            "int64",
            "open ones that add nothing to open_value: no amount, or a currency without a rate",
            required=True,
            **_COUNT,
        ),
        C(
            "quota",
            "amount",
            "quota of the periods that hold the day of as_of, summed over owners",
            unit="currency",
            null_means="no quota for that day, or only in currencies without a rate",
        ),
        C(
            "quota_won",
            "amount",
            "amount won in those periods before as_of, by the owners who have a quota",
            unit="currency",
            null_means="no quota",
        ),
        C(
            "coverage",
            "float64",
            "pipeline coverage: open_value of the owners who have a quota over what is left of it",
            null_means="no quota, or nothing left of it",
            **_RATIO,
        ),
        C("closed_count", "int64", "closed in the year before as_of", required=True, **_COUNT),
        C("won_count", "int64", "of these won", required=True, **_COUNT),
        C("win_rate", "float64", "won_count over closed_count", null_means="nothing closed", **PROBABILITY),
        C(
            "expected_win_rate",
            "float64",
            "win rate the same opportunities would have had at the company's level, by their mix",
            null_means="nothing closed",
            **PROBABILITY,
        ),
        C(
            "adjusted_win_rate",
            "float64",
            "win rate as on the company's mix of opportunities, shrunken towards the company's",
            null_means="nothing closed",
            **PROBABILITY,
        ),
        C(
            "adjusted_win_rate_low",
            "float64",
            "lower end of its 80 % interval",
            null_means="nothing closed",
            **PROBABILITY,
        ),
        C(
            "adjusted_win_rate_high",
            "float64",
            "upper end of its 80 % interval",
            null_means="nothing closed",
            **PROBABILITY,
        ),
        C(
            "win_rate_verdict",
            "string",
            "the interval against the company's win rate: above it, below it, or not told apart from it",
            null_means="the company itself, or nothing closed",
            allowed=RATE_VERDICTS,
        ),
        C(
            "win_rate_basis",
            "string",
            "what the expected rate rests on: a model of the mix, or the company's rate where too little has closed for one",
            required=True,
            allowed=RATE_BASES,
        ),
        C(
            "cycle_days",
            "float64",
            "median time from creation to closing (Kaplan–Meier: open ones count as not yet closed)",
            unit="days",
            null_means="fewer than half will have closed in the time seen, or no creation dates",
            minimum=0.0,
            decimals=1,
        ),
        C("cycle_count", "int64", "opportunities behind cycle_days", required=True, **_COUNT),
        C(
            "activities_per_open",
            "float64",
            "activities of the last 30 days with open ones, per open one",
            null_means="nothing open, or the exports hold no activities",
            **_RATIO,
        ),
        C(
            "inbound_count",
            "int64",
            "times in the last 90 days the customer spoke and it was our turn",
            null_means="the exports hold no activities",
            **_COUNT,
        ),
        C(
            "response_hours",
            "float64",
            "median time until we answered (Kaplan–Meier: those without an answer count as not yet answered)",
            unit="hours",
            null_means="no inbound contacts, or fewer than half will be answered in the time seen",
            minimum=0.0,
            decimals=1,
        ),
        C(
            "unanswered_count",
            "int64",
            "of inbound_count still without an answer at as_of",
            null_means="the exports hold no activities",
            **_COUNT,
        ),
        C(
            "slipped_count",
            "int64",
            "open ones whose close date was moved to a later day or has passed",
            null_means="no close dates",
            **_COUNT,
        ),
        C(
            "slipped_share",
            "float64",
            "slipped_count over open ones with a close date",
            null_means="no close dates",
            **PROBABILITY,
        ),
        C(
            "stale_count",
            "int64",
            "open ones without activity and without change for team.stale_days (60 unless set)",
            null_means="neither activities nor changes are known",
            **_COUNT,
        ),
        C(
            "stale_share",
            "float64",
            "stale_count over open ones",
            null_means="nothing open, or as stale_count",
            **PROBABILITY,
        ),
        C(
            "queue_count",
            "int64",
            "rows of the queue of the run before",
            null_means="no earlier run",
            **_COUNT,
        ),
        C(
            "queue_worked_count",
            "int64",
            "of these followed by an activity or a change of the opportunity before as_of, or said to be done by feedback",
            null_means="no earlier run, or neither activities nor changes are known",
            **_COUNT,
        ),
        C(
            "queue_worked_share",
            "float64",
            "queue_worked_count over queue_count",
            null_means="as queue_worked_count, or no rows",
            **PROBABILITY,
        ),
        RUN,
        C(
            "forecast_period",
            "string",
            "the current quarter of revenue_forecast, which the columns after this one are of",
            null_means=_NO_FORECAST,
        ),
        C("forecast_expected", "amount", "expected to be won in it", unit="currency", null_means=_NO_FORECAST),
        C(
            "forecast_low",
            "amount",
            "10 % quantile of that",
            unit="currency",
            null_means=f"{_NO_FORECAST}, or no interval",
        ),
        C(
            "forecast_high",
            "amount",
            "90 % quantile of that",
            unit="currency",
            null_means=f"{_NO_FORECAST}, or no interval",
        ),
        C(
            "forecast_quota",
            "amount",
            "quota of the quarter",
            unit="currency",
            null_means=f"{_NO_FORECAST}, or no quota for it",
        ),
        C(
            "forecast_attainment",
            "float64",
            "forecast_expected over forecast_quota",
            null_means=f"{_NO_FORECAST}, or no quota for it",
            decimals=4,
        ),
    ),
)

STAGE_TIMES = Table(
    "stage_times",
    "one row per company, team or owner and stage of the sales process: how long opportunities stay in it",
    ("level", "key", "stage"),
    (
        _LEVEL,
        _KEY,
        C("stage", "string", "open stage, as the CRM writes it", required=True),
        AS_OF,
        C(
            "median_days",
            "float64",
            "median stay in the stage (Kaplan–Meier: those still in it count as not yet left)",
            unit="days",
            null_means="fewer than half will have left it in the time seen",
            minimum=0.0,
            decimals=1,
        ),
        C("stay_count", "int64", "stays begun in the two years before as_of", required=True, **_COUNT),
        C("left_count", "int64", "of these ended before as_of", required=True, **_COUNT),
        RUN,
    ),
)

_NO_CONTACT = "no contact, or the exports hold no activities"
_NO_WIN = "nothing won"
_NO_PAIR = "nothing bought, everything bought, or no pair of products bought together often enough"
_NO_SCORE = "no survey answer in the last year, or the exports hold none"

ACCOUNT_INSIGHTS = Table(
    "account_insights",
    "one row per account with anything open or won before as_of",
    ("source_system", "account_id"),
    (
        SOURCE,
        C("account_id", "string", "identifier of the account", required=True),
        AS_OF,
        C(
            "owner_id",
            "string",
            "owner of the account, else of its newest open opportunity",
            null_means="no owner recorded",
        ),
        C(
            "team",
            "string",
            "team of that owner",
            null_means="no owner or no team recorded",
        ),
        _CURRENCY,
        C("won_count", "int64", "opportunities won before as_of", required=True, **_COUNT),
        C("purchase_days", "int64", "different days with a win", required=True, **_COUNT),
        C("won_amount", "amount", "sum of their amounts", unit="currency", required=True),
        C("first_won_at", "timestamp", "first win", unit="UTC", null_means=f"{_NO_WIN}, or at an unknown instant"),
        C("last_won_at", "timestamp", "last win", unit="UTC", null_means=f"{_NO_WIN}, or at an unknown instant"),
        C(
            "days_since_last_win",
            "int64",
            "recency",
            unit="days",
            null_means=f"{_NO_WIN}, or at an unknown instant",
            **_COUNT,
        ),
        C("last_contact_at", "timestamp", "last contact either way", unit="UTC", null_means=_NO_CONTACT),
        C("days_since_last_contact", "int64", "since last_contact_at", unit="days", null_means=_NO_CONTACT, **_COUNT),
        C("open_count", "int64", "opportunities and leads open at as_of", required=True, **_COUNT),
        C("open_value", "amount", "sum of the CRM's amounts of the open ones", unit="currency", required=True),
        C(
            "expected_value",
            "amount",
            "sum of expected_value of the open ones",
            unit="currency",
            required=True,
            minimum=0,
        ),
        C(
            "open_value_share",
            "float64",
            "share of open_value of all accounts",
            null_means="no open value at all",
            unit="0–1",
            decimals=6,
        ),
        C(
            "recency_score",
            "int64",
            "fifth by days since the last win, 5 for the most recent",
            unit="1–5",
            null_means=f"{_NO_WIN}, or at an unknown instant",
            minimum=1,
            maximum=5,
        ),
        C(
            "frequency_score",
            "int64",
            "1, 2, 3, 4 for so many days with a win, 5 for more",
            unit="1–5",
            null_means=_NO_WIN,
            minimum=1,
            maximum=5,
        ),
        C(
            "monetary_score",
            "int64",
            "fifth by won_amount, 5 for the largest",
            unit="1–5",
            null_means=_NO_WIN,
            minimum=1,
            maximum=5,
        ),
        C(
            "segment",
            "string",
            "the first that holds, R, F, M being the scores (R taken as 3 where unknown): prospect: nothing won; champion: R 4–5, F 3–5, M 4–5; "
            "new_customer: R 4–5, F 1; loyal: R 3–5, F 2–5; occasional: R 3; at_risk: F 2–5 or M 4–5; dormant: the rest",
            required=True,
            allowed=SEGMENTS,
        ),
        C(
            "inbound_count_90d",
            "int64",
            "contacts by the customer in the last 90 days",
            null_means="the exports hold no activities",
            **_COUNT,
        ),
        C(
            "inbound_count_previous_90d",
            "int64",
            "contacts by the customer in the 90 days before these",
            null_means="the exports hold no activities",
            **_COUNT,
        ),
        C(
            "engagement_trend",
            "string",
            "the one count against the other; rising or falling only where an exact test tells them apart, none without contacts",
            null_means="the exports hold no activities",
            allowed=TRENDS,
        ),
        C(
            "p_alive",
            "float64",
            "probability that the account still is a customer",
            null_means="nothing won, or repeat_basis is rules",
            **PROBABILITY,
        ),
        C(
            "expected_purchases_12m",
            "float64",
            "expected number of days with a win in the next 12 months",
            null_means="nothing won, or repeat_basis is rules",
            **_RATIO,
        ),
        C(
            "silence_risk",
            "float64",
            "probability of no win in the next 12 months",
            null_means="nothing won, or repeat_basis is rules",
            **PROBABILITY,
        ),
        C(
            "silence_level",
            "string",
            "silence_risk as a level; by rules the days since the last win as one",
            null_means=f"{_NO_WIN}, or by rules at an unknown instant",
            allowed=SILENCE_LEVELS,
        ),
        C(
            "repeat_basis",
            "string",
            "what these rest on: a BG/NBD model, or rules on the days since the last win where too few have bought again",
            null_means=_NO_WIN,
            allowed=REPEAT_BASES,
        ),
        C("product_count", "int64", "different products bought", required=True, **_COUNT),
        C("next_product_id", "string", "product not bought yet that is most likely to fit", null_means=_NO_PAIR),
        C("next_product_because", "string", "product bought that speaks for it", null_means=_NO_PAIR),
        C(
            "next_product_support",
            "int64",
            "accounts that bought both",
            null_means=_NO_PAIR,
            **_COUNT,
        ),
        C(
            "next_product_confidence",
            "float64",
            "share of the buyers of the one that bought the other too",
            null_means=_NO_PAIR,
            **PROBABILITY,
        ),
        C(
            "next_product_lift",
            "float64",
            "that share over the share among all buyers",
            null_means=_NO_PAIR,
            **_RATIO,
        ),
        C("open_case_count", "int64", "service cases open at as_of", null_means="the exports hold no cases", **_COUNT),
        C("survey_count", "int64", "survey answers of the last year", null_means="the exports hold no cases", **_COUNT),
        C(
            "satisfaction",
            "float64",
            "mean survey score of the last year, on the survey's own scale",
            null_means=_NO_SCORE,
            decimals=4,
        ),
        C("care_action", "string", "what to do for the account next, by rules", required=True, allowed=CARE_ACTIONS),
        C("care_reason", "string", "why, in one plain sentence", required=True),
        RUN,
    ),
)

MANAGEMENT_TABLES = (TEAM_PERFORMANCE, STAGE_TIMES, ACCOUNT_INSIGHTS)
"""In the order they are written."""
