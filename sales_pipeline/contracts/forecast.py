"""The published tables of sales management: the revenue forecast, what changed in it, what was said earlier and how right that was.

Levels add up: the rows of owners to those of teams, those of teams to the company's; and the months of a quarter to the quarter's. Keys are those of
`management`: `company`, and `unassigned` for what has no owner or whose owner has no team.

Belongs here: declarations. Does not belong here: how a figure is computed (`sales_management`), and the tables of single opportunities (`published`).
"""

from __future__ import annotations

from sales_pipeline.contracts.management import COMPANY, LEVELS, UNASSIGNED
from sales_pipeline.contracts.model import Column, Table
from sales_pipeline.contracts.shared import AS_OF, RUN

C = Column


PERIOD_KINDS = ("month", "quarter")
FORECAST_METHODS = ("forecast", "stage_weighted", "last_period")

_LEVEL = C("level", "string", "what the key names", required=True, allowed=LEVELS)
_KEY = C(
    "key",
    "string",
    f"team or owner; `{COMPANY}` for the company, `{UNASSIGNED}` for what has no owner or no team",
    required=True,
)
_PERIOD = C(
    "period", "string", "calendar month (2026-07) or quarter (2026-Q3; FY2027-Q1 by fiscal year)", required=True
)
_PERIOD_KIND = C(
    "period_kind", "string", "month or quarter; a quarter is the sum of its months", required=True, allowed=PERIOD_KINDS
)
_CURRENCY = C("currency", "string", "ISO 4217 code of all amounts in the row: the corporate currency", required=True)


def _amount(name: str, meaning: str, null_means: str = "") -> Column:
    return C(name, "amount", meaning, unit="currency", null_means=null_means, required=not null_means)


REVENUE_FORECAST = Table(
    "revenue_forecast",
    "one row per level, key and period: what is won already and what is expected to be won in it",
    ("level", "key", "period"),
    (
        AS_OF,
        _LEVEL,
        _KEY,
        _PERIOD,
        _CURRENCY,
        _amount("closed", "won in the period strictly before as_of"),
        _amount("commit", "closed, and open opportunities beyond the higher cut-off of win probability predicted to close in the period"),
        _amount("best_case", "the same with the lower cut-off; never below commit for positive amounts"),
        _amount("expected", "closed + from_open + from_new"),
        _amount("low", "10 % quantile of what will have been won by the period's end, by simulation", "nothing to simulate from"),
        _amount("high", "90 % quantile of it", "as low"),
        _amount("quota", "quota of the period", "no quota recorded for it, or none that can be converted; see note"),
        C(
            "coverage",
            "float64",
            "open value placed in the period over what is missing of the quota: open_value / (quota - closed)",
            null_means="no quota, or it is reached",
            decimals=4,
        ),
        RUN,
        _PERIOD_KIND,
        C("period_start", "date", "first day of the period, in the configured zone", required=True),
        C("period_end", "date", "day after the last day of the period", required=True),
        _amount("from_open", "expected to be won in the period from opportunities open at as_of"),
        _amount("from_new", "expected to be won in the period from opportunities not yet created at as_of"),
        _amount("open_value", "expected amounts (if won) of open opportunities predicted to close in the period"),
        C("open_count", "int64", "open opportunities predicted to close in the period", required=True, minimum=0),
        C(
            "attainment",
            "float64",
            "expected over quota",
            null_means="no quota, or it is zero",
            decimals=4,
        ),
        C("left_out_count", "int64", "open opportunities of the key that could not be counted (no score, no amount or no rate; leads bring no revenue yet and are not among them); see note", required=True, minimum=0),
        C("evidence", "string", "what the figures rest on", required=True),
        C("note", "string", "what is missing or was left out, and why", null_means="nothing to say"),
    ),
)  # fmt: skip

FORECAST_CHANGES = Table(
    "forecast_changes",
    "one row per level, key and period of the forecast: the bridge from an earlier published forecast to this one",
    ("level", "key", "period"),
    (
        AS_OF,
        _LEVEL,
        _KEY,
        _PERIOD,
        _CURRENCY,
        C("previous_run_id", "string", "the published run compared with: nearest to seven days before", null_means="no earlier run"),
        C("previous_as_of", "timestamp", "its as-of", unit="UTC", null_means="no earlier run"),
        _amount("previous_expected", "expected then", "no earlier run, or it did not forecast this key and period"),
        _amount("new", "opportunities created since, won ones too", "as previous_expected"),
        _amount("won", "opportunities open then and won since: their amount in place of what was expected", "as previous_expected"),
        _amount("lost", "opportunities open then and lost since", "as previous_expected"),
        _amount("slipped", "still open, less likely to be won within this period by their timing", "as previous_expected"),
        _amount("pulled_in", "still open, more likely to be won within this period by their timing", "as previous_expected"),
        _amount("revalued", "change of expected amount, and of amounts won earlier", "as previous_expected"),
        _amount("rescored", "still open, change of win probability", "as previous_expected"),
        _amount("reassigned", "opportunities that came from or went to another owner or team", "as previous_expected"),
        _amount("removed", "opportunities deleted, no longer in the export, or no longer counted", "as previous_expected"),
        _amount("not_yet_created", "change of from_new", "as previous_expected"),
        _amount("restated", "difference the data now shows for the earlier date: corrected records, rates or settings", "as previous_expected"),
        _amount("expected", "expected now: previous_expected plus all parts"),
        RUN,
        _PERIOD_KIND,
        C("note", "string", "why there is no bridge, or what to mind", null_means="nothing to say"),
    ),
)  # fmt: skip

FORECAST_HISTORY = Table(
    "forecast_history",
    "one row per period of company and teams and date at which it was forecast, by published runs and by the replay: what was said, and what came",
    ("level", "key", "period", "source", "said_at"),
    (
        AS_OF,
        _LEVEL,
        _KEY,
        _PERIOD,
        _CURRENCY,
        C("source", "string", "a published run, or the replay of a past date", required=True, allowed=("run", "replay")),
        C("said_at", "timestamp", "as-of of the forecast", unit="UTC", required=True),
        _amount("closed", "won in the period before said_at"),
        _amount("expected", "expected then"),
        _amount("low", "10 % quantile then", "nothing to simulate from"),
        _amount("high", "90 % quantile then", "as low"),
        _amount("stage_weighted", "closed, and the CRM's own probability x amount of opportunities with a CRM close date in the period", "not known of a published run"),
        _amount("last_period", "won in the last period of the kind that was complete then", "as stage_weighted, or nothing that old"),
        _amount("came", "won in the period in the end", "the period has not ended yet"),
        C("is_inside", "boolean", "what came lies within low and high", null_means="not known yet, or no interval"),
        RUN,
        _PERIOD_KIND,
        C("period_start", "date", "first day of the period", required=True),
        C("period_end", "date", "day after the last day of the period", required=True),
        C("periods_ahead", "int64", "0: the period said_at lies in, 1: the next one, and so on", required=True, minimum=0),
    ),
)  # fmt: skip

FORECAST_ACCURACY = Table(
    "forecast_accuracy",
    "one row per source, level, kind of period and method: how right past forecasts of periods that have ended were",
    ("source", "level", "period_kind", "periods_ahead", "method"),
    (
        AS_OF,
        C("source", "string", "published runs, or the replay of past dates", required=True, allowed=("run", "replay")),
        C("level", "string", "company or team", required=True, allowed=("company", "team")),
        C("period_kind", "string", "month or quarter", required=True, allowed=PERIOD_KINDS),
        C("periods_ahead", "int64", "0: the period of the date itself, 1: the next one; -1: all together", required=True, minimum=-1),
        C("method", "string", "the forecast, the CRM's stage-weighted pipeline, or the last period's total", required=True, allowed=FORECAST_METHODS),
        C("forecasts", "int64", "forecasts judged", required=True, minimum=0),
        C("dates", "int64", "dates they were made at", required=True, minimum=0),
        C("came", "amount", "mean of what came", unit="currency", null_means="nothing to judge"),
        C("bias", "float64", "sum of forecasts over sum of what came, less 1", null_means="nothing came", decimals=4),
        C("mean_absolute_error", "amount", "mean distance from what came", unit="currency", null_means="nothing to judge", minimum=0),
        C("covered_share", "float64", "share of what came within the 80 % interval", null_means="no intervals", decimals=4, minimum=0, maximum=1),
        C("currency", "string", "ISO 4217 code of the amounts", required=True),
        RUN,
        C("note", "string", "what to mind", null_means="nothing to say"),
    ),
)  # fmt: skip

FORECAST_TABLES = (REVENUE_FORECAST, FORECAST_CHANGES, FORECAST_HISTORY, FORECAST_ACCURACY)
"""In the order they are written."""
